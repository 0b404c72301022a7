//! What a backend remembers of the tables that it uses directly: which table a name is, that it is
//! plain, where its columns stand and which indexes it has. To ask the catalogue anew with every
//! call was a tenth of what a step of a workflow cost.
//!
//! Postgres tells every backend what changes of a relation; what was known of it is forgotten then.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use pgrx::pg_sys;

use super::table::{Access, Layout};
use crate::error::Result;
use crate::pg::{catalog, shape};

/// So many tables are remembered, of some hundred queues or a dozen of a year's weeks; some 300
/// bytes each.
const MOST: usize = 2048;

/// A table that can be used directly in one way.
pub(super) struct Known {
    pub id: pg_sys::Oid,
    /// Where the layout's columns stand, from 0.
    pub places: Vec<usize>,
    /// Indexes by where their definitions are kept.
    indexes: RefCell<Vec<(*const u8, pg_sys::Oid)>>,
    /// False since something of the table has changed.
    holds: Cell<bool>,
}

impl Known {
    pub fn new(id: pg_sys::Oid, places: Vec<usize>) -> Self {
        Self { id, places, indexes: RefCell::default(), holds: Cell::new(true) }
    }

    /// Whether a relation is the table or one of the indexes that have been found of it.
    fn concerns(&self, relation: pg_sys::Oid) -> bool {
        self.id == relation || self.indexes.borrow().iter().any(|(_, index)| *index == relation)
    }

    /// Whether it can still be relied upon. To be asked with the table locked.
    pub fn holds(&self) -> bool {
        self.holds.get()
    }

    /// The index that has been found to be what `definition` says.
    pub fn index(&self, definition: &'static str) -> Option<pg_sys::Oid> {
        let indexes = self.indexes.borrow();
        let found = indexes.iter().find(|(known, _)| std::ptr::eq(*known, definition.as_ptr()));
        found.filter(|_| self.holds()).map(|(_, id)| *id)
    }

    pub fn note_index(&self, definition: &'static str, id: pg_sys::Oid) {
        if !self.holds() {
            return;
        }
        self.indexes.borrow_mut().push((definition.as_ptr(), id));
    }
}

/// One use of a table, and what is known for it.
type Use = (*const Layout, Access, Rc<Known>);

#[derive(Default)]
struct Tables {
    is_told: bool,
    count: usize,
    by_name: HashMap<String, Vec<Use>>,
}

impl Tables {
    fn forget(&mut self, is_gone: impl Fn(&Known) -> bool) {
        for known in self.by_name.values().flatten().map(|(_, _, known)| known) {
            if is_gone(known) {
                known.holds.set(false);
            }
        }
        self.by_name.retain(|_, uses| {
            uses.retain(|(_, _, known)| known.holds());
            !uses.is_empty()
        });
        self.count = self.by_name.values().map(Vec::len).sum();
    }
}

thread_local! {
    static TABLES: RefCell<Tables> = RefCell::default();
}

/// What is known of a table, if it is.
pub(super) fn get(name: &str, layout: &'static Layout, access: Access) -> Option<Rc<Known>> {
    TABLES.with_borrow(|tables| {
        let uses = tables.by_name.get(name)?;
        let is_it = |one: &&Use| std::ptr::eq(one.0, layout) && one.1 == access;
        uses.iter().find(is_it).map(|(_, _, known)| Rc::clone(known))
    })
}

/// Remembers what has been found of a table, which must be locked and found by its name since.
///
/// # Errors
/// None: Postgres has room for what is registered here.
pub(super) fn put(
    name: &str,
    layout: &'static Layout,
    access: Access,
    known: &Rc<Known>,
) -> Result<()> {
    listen()?;
    TABLES.with_borrow_mut(|tables| {
        if tables.count >= MOST {
            tables.forget(|_| true);
        }
        tables.count += 1;
        let uses = tables.by_name.entry(name.to_owned()).or_default();
        uses.push((layout, access, Rc::clone(known)));
    });
    Ok(())
}

/// Has this backend told what changes, once.
fn listen() -> Result<()> {
    if TABLES.with_borrow_mut(|tables| std::mem::replace(&mut tables.is_told, true)) {
        return Ok(());
    }
    shape::on_change(changed)
}

/// A relation has changed, or for none all may have.
fn changed(relation: Option<pg_sys::Oid>) {
    catalog::forget(relation);
    forget(|known| relation.is_none_or(|relation| known.concerns(relation)));
}

fn forget(is_gone: impl Fn(&Known) -> bool) {
    // Nothing of Postgres is called while the tables are borrowed.
    let _ = TABLES.try_with(|tables| {
        if let Ok(mut tables) = tables.try_borrow_mut() {
            tables.forget(is_gone);
        }
    });
}
