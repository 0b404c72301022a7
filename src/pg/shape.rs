//! Which tables the engine uses: whose they are, what kind they are of, and the types of their
//! columns.
//!
//! With its owner's rights the engine touches only what the owner alone can shape, and with a
//! caller's only what is a queue's. So a table is looked at before it is used, and again after
//! Postgres says that something of it has changed. The extension's own tables are those that are
//! its members.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ffi::CString;
use std::rc::Rc;

use pgrx::pg_sys;

use super::catalog;
use super::ereport::guarded;
use super::ffi::{
    CacheRegisterRelcacheCallback, CacheRegisterSyscacheCallback, ReleaseSysCache, SearchSysCache2,
    get_extension_oid, getExtensionOfObject, superuser_arg,
};
use crate::error::{Error, Result};

/// Names and types of columns.
pub type Columns = &'static [(&'static str, pg_sys::Oid)];

/// Groups of tables that a backend remembers, a queue's each.
const GROUPS: usize = 1024;

/// A table that has been looked at.
#[derive(Clone, Copy, Debug)]
pub struct Looked {
    pub id: pg_sys::Oid,
    pub is_partitioned: bool,
    /// Whether it has triggers, policies or more CHECK constraints than the one that the engine
    /// gives tasks and runs; of partitions nothing is known.
    pub may_refuse: bool,
}

/// Tables that are used together, in the order in which they were named; none for one that is not
/// there.
pub struct Group {
    pub tables: Vec<Option<Looked>>,
}

#[derive(Default)]
struct Memory {
    is_told: bool,
    groups: HashMap<Box<str>, Rc<Group>>,
    /// The extension's own tables that have been asked for.
    own: HashMap<Box<str>, (pg_sys::Oid, pg_sys::Oid)>,
}

/// Is told which relation has changed; none for any.
type Listener = fn(Option<pg_sys::Oid>);

thread_local! {
    static MEMORY: RefCell<Memory> = RefCell::default();
    /// How often something has changed: what was looked at before is not remembered after.
    static CHANGES: Cell<u64> = const { Cell::new(0) };
    /// Called with each relation that changes, none for all.
    static LISTENERS: RefCell<Vec<Listener>> = const { RefCell::new(Vec::new()) };
}

/// A table of the extension's own, and its owner: found in schema `absurd` and a member of the
/// extension.
///
/// # Errors
/// 55000 when it is not there, or is not a member.
pub fn own(table: &str) -> Result<(pg_sys::Oid, pg_sys::Oid)> {
    if let Some(known) = MEMORY.with_borrow(|memory| memory.own.get(table).copied()) {
        return Ok(known);
    }
    listen()?;
    let changes = CHANGES.get();
    let strange =
        |rule: &str| Error::NotOurs { relation: format!("absurd.{table}"), rule: rule.to_owned() };
    let Some(id) = catalog::id(table)? else { return Err(strange("does not exist")) };
    // SAFETY: looks into the catalogue; the closure's frame is plain.
    let is_member = unsafe {
        guarded(|| {
            let extension = get_extension_oid(c"absurd".as_ptr(), true);
            extension != pg_sys::InvalidOid
                && getExtensionOfObject(pg_sys::RelationRelationId, id) == extension
        })?
    };
    let row = catalog::row(id)?.filter(|_| is_member);
    let Some(row) = row else { return Err(strange("is not a table of the extension")) };
    if CHANGES.get() == changes {
        MEMORY.with_borrow_mut(|memory| memory.own.insert(table.into(), (id, row.relowner)));
    }
    Ok((id, row.relowner))
}

/// The engine's owner: who owns the registry of queues.
///
/// # Errors
/// As [`own`].
pub fn owner() -> Result<pg_sys::Oid> {
    own("queues").map(|(_, owner)| owner)
}

/// Whether what a role owns counts as the engine's: it is the owner, or a superuser, who could be.
///
/// # Errors
/// As [`own`].
pub fn is_trusted(role: pg_sys::Oid) -> Result<bool> {
    // SAFETY: looks into the catalogue's cache; the closure's frame is plain.
    Ok(role == owner()? || unsafe { guarded(|| superuser_arg(role))? })
}

/// Looks at tables of schema `absurd` that are used together under a key. Remembered until one of
/// them changes, if they are whole.
///
/// # Errors
/// 55000 naming the table, and the column, when one is not the engine's, is of another kind or has
/// columns of other types.
pub fn group(
    key: &str,
    is_whole: impl FnOnce(&[Option<Looked>]) -> bool,
    tables: impl FnOnce() -> Vec<(String, Columns)>,
) -> Result<Rc<Group>> {
    if let Some(known) = MEMORY.with_borrow(|memory| memory.groups.get(key).cloned()) {
        return Ok(known);
    }
    listen()?;
    let changes = CHANGES.get();
    let tables = tables()
        .iter()
        .map(|(name, columns)| look(name, columns))
        .collect::<Result<Vec<Option<Looked>>>>()?;
    let is_whole = is_whole(&tables);
    let group = Rc::new(Group { tables });
    if is_whole && CHANGES.get() == changes {
        MEMORY.with_borrow_mut(|memory| {
            if memory.groups.len() >= GROUPS {
                memory.groups.clear();
            }
            memory.groups.insert(key.into(), Rc::clone(&group));
        });
    }
    Ok(group)
}

/// A table of schema `absurd` as the engine wants it; none when there is none.
///
/// # Errors
/// As [`group`].
pub fn look(name: &str, columns: Columns) -> Result<Option<Looked>> {
    let Some(id) = catalog::id(name)? else { return Ok(None) };
    let Some(row) = catalog::row(id)? else { return Ok(None) };
    let not_ours =
        |rule: &str| Error::NotOurs { relation: format!("absurd.{name}"), rule: rule.to_owned() };
    let is_partitioned = row.relkind as u8 == catalog::PARTITIONED;
    if !is_partitioned && row.relkind as u8 != b'r' {
        return Err(not_ours("is not a table"));
    }
    if !is_trusted(row.relowner)? {
        return Err(not_ours(
            "is not the engine's: neither the extension's owner nor a superuser owns it",
        ));
    }
    for (column, kind) in columns {
        let found = type_of(id, column)?;
        if found == Some(*kind) {
            continue;
        }
        let (table, column) = (format!("relation \"absurd.{name}\""), (*column).to_owned());
        return Err(match found {
            Some(_) => Error::ColumnType { table, column },
            None => not_ours(&format!("lacks the column \"{column}\"")),
        });
    }
    let may_refuse =
        is_partitioned || row.relhastriggers || row.relrowsecurity || row.relchecks > 1;
    Ok(Some(Looked { id, is_partitioned, may_refuse }))
}

/// The type of a column; none when there is no such column.
pub(super) fn type_of(table: pg_sys::Oid, column: &str) -> Result<Option<pg_sys::Oid>> {
    let column = CString::new(column).unwrap_or_default();
    let name = column.as_ptr();
    // SAFETY: a row of pg_attribute, read before it is released; the closure's frame is plain.
    unsafe {
        guarded(|| {
            let cache = pg_sys::SysCacheIdentifier::ATTNAME as i32;
            let tuple =
                SearchSysCache2(cache, pg_sys::Datum::from(table), pg_sys::Datum::from(name));
            if tuple.is_null() {
                return None;
            }
            let row = &*pg_sys::GETSTRUCT(tuple).cast::<pg_sys::FormData_pg_attribute>();
            let found = (!row.attisdropped).then_some(row.atttypid);
            ReleaseSysCache(tuple);
            found
        })
    }
}

/// Has `f` called with each relation that changes from now on, none for all of them.
///
/// # Errors
/// None: Postgres has room for what is registered here.
pub(super) fn on_change(f: Listener) -> Result<()> {
    LISTENERS.with_borrow_mut(|listeners| listeners.push(f));
    listen()
}

/// Lets Postgres tell this backend what changes, once.
fn listen() -> Result<()> {
    if MEMORY.with_borrow_mut(|memory| std::mem::replace(&mut memory.is_told, true)) {
        return Ok(());
    }
    // SAFETY: both functions live as long as the library, which is never unloaded. The closure's
    // frame is plain.
    unsafe {
        guarded(|| {
            let none = pg_sys::Datum::null();
            CacheRegisterRelcacheCallback(Some(relation_changed), none);
            for cache in [
                pg_sys::SysCacheIdentifier::NAMESPACEOID,
                // A superuser may cease to be one.
                pg_sys::SysCacheIdentifier::AUTHOID,
            ] {
                CacheRegisterSyscacheCallback(cache as i32, Some(other_changed), none);
            }
        })
    }
}

/// Called by Postgres with the relation that has changed, or with none for all of them.
unsafe extern "C-unwind" fn relation_changed(_: pg_sys::Datum, relation: pg_sys::Oid) {
    changed((relation != pg_sys::InvalidOid).then_some(relation));
}

/// Called by Postgres when a schema or a role has changed.
unsafe extern "C-unwind" fn other_changed(_: pg_sys::Datum, _: i32, _: u32) {
    changed(None);
}

fn changed(relation: Option<pg_sys::Oid>) {
    let _ = CHANGES.try_with(|changes| changes.set(changes.get().wrapping_add(1)));
    // Nothing of Postgres is called while the memory is borrowed.
    let _ = MEMORY.try_with(|memory| {
        if let Ok(mut memory) = memory.try_borrow_mut() {
            memory.forget(relation);
        }
    });
    let _ = LISTENERS.try_with(|listeners| {
        if let Ok(listeners) = listeners.try_borrow() {
            listeners.iter().for_each(|listener| listener(relation));
        }
    });
}

impl Memory {
    fn forget(&mut self, relation: Option<pg_sys::Oid>) {
        let Some(relation) = relation else {
            self.groups.clear();
            self.own.clear();
            return;
        };
        self.own.retain(|_, (id, _)| *id != relation);
        self.groups
            .retain(|_, group| group.tables.iter().flatten().all(|table| table.id != relation));
    }
}
