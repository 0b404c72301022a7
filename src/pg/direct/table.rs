//! Opening tables, and which tables can be used directly.

use std::cell::{Cell, RefCell};
use std::ptr::{self, null_mut};
use std::rc::Rc;

use pgrx::pg_sys;

use super::known::{self, Known};
use super::places::places;
use super::usage::{self, Why};
use crate::error::Result;
use crate::pg::ereport::guarded;
use crate::pg::major::Changed;
use crate::pg::shape::{self, Columns};
use crate::pg::{Session, catalog, ffi, guc, major};

/// What a direct path knows of a table.
pub struct Layout {
    /// Names and types of columns.
    pub columns: Columns,
    /// The primary key's index, as `pg_get_indexdef` has it after `USING`; empty where it is not
    /// used.
    pub key: &'static str,
}

impl Layout {
    /// Of a table whose columns are not looked at.
    pub const fn with_key(key: &'static str) -> Self {
        Self { columns: &[], key }
    }
}

/// What a table is opened for, and with whose rights.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Reading, with the caller's rights.
    Read,
    /// Reading a partition, where the caller has been found to have the rights.
    ReadPart,
    /// Reading and writing what the engine alone reads and writes, as its owner would.
    WriteOwn,
    /// Reading of the same.
    ReadOwn,
}

impl Access {
    pub(super) fn writes(self) -> bool {
        self == Self::WriteOwn
    }

    fn is_own(self) -> bool {
        matches!(self, Self::WriteOwn | Self::ReadOwn)
    }

    fn rights(self) -> &'static [catalog::Right] {
        match self {
            Self::Read => &[catalog::SELECT],
            Self::ReadPart | Self::WriteOwn | Self::ReadOwn => &[],
        }
    }

    fn lock(self) -> i32 {
        match self.writes() {
            true => pg_sys::RowExclusiveLock as i32,
            false => pg_sys::AccessShareLock as i32,
        }
    }
}

/// An open table. It is closed with the call, or left to the transaction's end when that failed.
pub struct Table {
    pub(super) relation: pg_sys::Relation,
    pub(super) layout: &'static Layout,
    pub(super) known: Rc<Known>,
    pub(super) lock: i32,
    /// The row read last, with its page pinned.
    pub(super) row: *mut pg_sys::TupleTableSlot,
    /// Whether that row has been read, and neither been changed through this since nor has a
    /// statement been run, which may have changed it.
    pub(super) is_fresh: Cell<bool>,
    /// What writing takes, once a row is written.
    pub(super) writing: Cell<Option<Writing>>,
    /// Indexes that were opened for reading, by where their definitions are kept.
    pub(super) indexes: RefCell<Vec<(*const u8, pg_sys::Relation)>>,
}

/// What the executor's functions need for writing rows.
#[derive(Clone, Copy)]
pub(super) struct Writing {
    /// The row being written.
    pub new: *mut pg_sys::TupleTableSlot,
    pub state: *mut pg_sys::EState,
    pub target: *mut pg_sys::ResultRelInfo,
    pub recheck: *mut pg_sys::EPQState,
    pub changed: Changed,
}

/// The tables that a call has opened, by name; none for one that cannot be used directly.
#[derive(Default)]
pub struct Tables {
    open: RefCell<Vec<Opened>>,
}

struct Opened {
    name: String,
    layout: &'static Layout,
    access: Access,
    table: Option<Rc<Table>>,
}

impl Session {
    /// A table of schema `absurd` for direct use in this call; none when statements must be used.
    /// It stays open until the call ends.
    ///
    /// # Errors
    /// Postgres's own.
    pub fn table(
        &self,
        name: &str,
        layout: &'static Layout,
        access: Access,
    ) -> Result<Option<Rc<Table>>> {
        let tables = &self.tables.open;
        let is_it = |known: &Opened| {
            known.access == access && std::ptr::eq(known.layout, layout) && known.name == name
        };
        let known =
            tables.borrow().iter().find(|known| is_it(known)).map(|known| known.table.clone());
        if let Some(table) = known {
            return Ok(table);
        }
        let opened = match self.why_not() {
            Some(why) => Err(why),
            None => Table::open(name, layout, access)?.map(Rc::new),
        };
        usage::count(name, opened.as_ref().err().copied());
        let table = opened.ok();
        let name = name.to_owned();
        tables.borrow_mut().push(Opened { name, layout, access, table: table.clone() });
        Ok(table)
    }

    /// Why a table cannot be used directly now; none when it can.
    ///
    /// # Errors
    /// Postgres's own.
    pub fn why_not_table(
        &self,
        name: &str,
        layout: &'static Layout,
        access: Access,
    ) -> Result<Option<Why>> {
        if let Some(why) = self.why_not() {
            return Ok(Some(why));
        }
        match Table::open(name, layout, access)? {
            Ok(table) => table.close().map(|()| None),
            Err(why) => Ok(Some(why)),
        }
    }

    /// Why this call may not use tables directly; none when it may.
    pub(super) fn why_not(&self) -> Option<Why> {
        let hook = &raw const pg_sys::ExecutorCheckPerms_hook;
        // SAFETY: a hook is a plain global.
        let is_audited = unsafe { (*hook).is_some() };
        if !guc::is_direct() {
            Some(Why::Off)
        } else if self.keeps_snapshot() {
            Some(Why::Snapshot)
        } else {
            is_audited.then_some(Why::Audited)
        }
    }

    /// Before a statement, which may change what has been read.
    pub(in crate::pg) fn doubt_rows(&self) {
        for table in self.tables.open.borrow().iter().filter_map(|opened| opened.table.as_ref()) {
            table.is_fresh.set(false);
        }
    }

    /// Closes what the call has opened.
    pub(in crate::pg) fn close_tables(&self) -> Result<()> {
        for table in self.tables.open.take().into_iter().filter_map(|opened| opened.table) {
            table.close()?;
        }
        Ok(())
    }

    /// Runs `f` with no table open, as a subtransaction needs it: what it opens is closed when it
    /// has succeeded, and forgotten when it has failed, for its end closes that.
    pub(in crate::pg) fn apart<T>(&self, f: impl FnOnce() -> Result<T>) -> Result<T> {
        let outer = self.tables.open.take();
        let outcome = f().and_then(|value| self.close_tables().map(|()| value));
        self.tables.open.replace(outer);
        self.doubt_rows();
        outcome
    }
}

impl Table {
    fn open(
        name: &str,
        layout: &'static Layout,
        access: Access,
    ) -> Result<std::result::Result<Self, Why>> {
        let lock = access.lock();
        let before = known::get(name, layout, access);
        let id = match &before {
            Some(known) => Some(known.id),
            None => catalog::id(name)?,
        };
        let Some(id) = id else { return Ok(Err(Why::Missing)) };
        if !catalog::has_rights_on(id, access.rights())? {
            return Ok(Err(Why::Rights));
        }
        // SAFETY: reads globals of this backend.
        if access.writes() && unsafe { pg_sys::XactReadOnly || ffi::IsInParallelMode() } {
            return Ok(Err(Why::ReadOnly));
        }
        // SAFETY: the closures' frames are plain; what is opened belongs to the transaction's
        // resources.
        unsafe {
            let relation = guarded(|| ffi::try_table_open(id, lock))?;
            if relation.is_null() {
                return Ok(Err(Why::Missing));
            }
            // With the lock has come what changed before it was had.
            let known = match before.filter(|known| known.holds()) {
                Some(known) => Ok(known),
                None => learn(relation, name, layout, access)?,
            };
            let known = match known {
                Ok(known) => known,
                Err(why) => {
                    guarded(|| ffi::table_close(relation, lock))?;
                    return Ok(Err(why));
                }
            };
            let row = guarded(|| ffi::table_slot_create(relation, null_mut()))?;
            Ok(Ok(Self {
                relation,
                layout,
                known,
                lock,
                row,
                is_fresh: Cell::new(false),
                writing: Cell::new(None),
                indexes: RefCell::default(),
            }))
        }
    }

    fn close(&self) -> Result<()> {
        let (indexes, writing) = (self.indexes.take(), self.writing.take());
        let (relation, row, indexes) = (self.relation, self.row, indexes.as_slice());
        // SAFETY: what was opened in this (sub)transaction, in reverse. The locks stay until its
        // end, but for those on indexes that were only written, which the executor does not keep
        // either. The closure's frame is plain.
        unsafe {
            guarded(|| {
                for (_, index) in indexes {
                    ffi::relation_close(*index, pg_sys::NoLock as i32);
                }
                ffi::ExecDropSingleTupleTableSlot(row);
                if let Some(Writing { new, state, target, .. }) = writing {
                    ffi::ExecCloseIndices(target);
                    ffi::ExecDropSingleTupleTableSlot(new);
                    // Triggers have slots of their own.
                    ffi::ExecResetTupleTable((*state).es_tupleTable, false);
                    ffi::FreeExecutorState(state);
                }
                ffi::table_close(relation, pg_sys::NoLock as i32);
            })
        }
    }

    /// What writing rows takes, made with the first.
    pub(super) fn writing(&self) -> Result<Writing> {
        if let Some(writing) = self.writing.get() {
            return Ok(writing);
        }
        let relation = self.relation;
        // SAFETY: the closure's frame is plain.
        let writing = unsafe { guarded(|| prepare_to_write(relation))? };
        self.writing.set(Some(writing));
        Ok(writing)
    }
}

/// The executor's view of a table that it did not plan for, as the worker of logical replication
/// makes it.
unsafe fn prepare_to_write(relation: pg_sys::Relation) -> Writing {
    // SAFETY: runs under `guarded`; everything lives in the call's memory.
    unsafe {
        let state = ffi::CreateExecutorState();
        let changed = major::begin(state, relation);
        let target: *mut pg_sys::ResultRelInfo =
            ffi::palloc0(size_of::<pg_sys::ResultRelInfo>()).cast();
        ffi::InitResultRelInfo(target, relation, 1, null_mut(), 0);
        ffi::ExecOpenIndices(target, false);
        let recheck: *mut pg_sys::EPQState = ffi::palloc0(size_of::<pg_sys::EPQState>()).cast();
        major::begin_recheck(recheck, state);
        let new =
            ffi::MakeSingleTupleTableSlot((*relation).rd_att, ptr::addr_of!(pg_sys::TTSOpsVirtual));
        Writing { new, state, target, recheck, changed }
    }
}

/// Finds out what is to be known of an open table, or why it cannot be used directly.
unsafe fn learn(
    relation: pg_sys::Relation,
    name: &str,
    layout: &'static Layout,
    access: Access,
) -> Result<std::result::Result<Rc<Known>, Why>> {
    // SAFETY: the caller's open relation.
    let (id, places) = unsafe { ((*relation).rd_id, places(relation, layout, access)?) };
    // The name was looked up before the table was locked.
    if catalog::id(name)? != Some(id) {
        return Ok(Err(Why::Missing));
    }
    if access.is_own() && shape::own(name)?.0 != id {
        return Ok(Err(Why::NotOurs));
    }
    let places = match places {
        Ok(places) => places,
        Err(why) => return Ok(Err(why)),
    };
    let known = Rc::new(Known::new(id, places));
    known::put(name, layout, access, &known)?;
    Ok(Ok(known))
}
