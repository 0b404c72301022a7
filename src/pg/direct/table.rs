//! Opening tables, and which tables can be used directly.

use std::cell::{Cell, RefCell};
use std::ffi::CStr;
use std::ptr::{self, null_mut};
use std::rc::Rc;

use pgrx::pg_sys;

use super::known::{self, Known};
use super::{compiled, ffi, triggers};
use crate::error::Result;
use crate::pg::ereport::guarded;
use crate::pg::{Session, catalog, guc};

/// What a direct path knows of a table.
pub struct Layout {
    /// Names and types of columns.
    pub columns: &'static [(&'static str, pg_sys::Oid)],
    /// The primary key's index, as `pg_get_indexdef` has it after `USING`; empty where it is not used.
    pub key: &'static str,
    /// Trigger functions of schema `absurd` whose work the direct path does itself.
    pub does: &'static [&'static str],
    /// Foreign keys, by their names, for which the direct path sees to it that the row is there.
    pub refers: &'static [&'static str],
}

impl Layout {
    /// Of a table whose columns are not looked at.
    pub const fn with_key(key: &'static str) -> Self {
        Self { columns: &[], key, does: &[], refers: &[] }
    }
}

/// What a table is opened for, and with whose rights.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Reading and writing, with the caller's rights.
    Write,
    /// Reading, with the caller's rights.
    Read,
    /// Reading and removing, with the caller's rights.
    Remove,
    /// Reading and writing a partition, where the caller has been found to have the rights.
    WritePart,
    /// Reading of the same.
    ReadPart,
    /// Reading and writing what the engine alone reads and writes, as its owner would.
    WriteOwn,
    /// Reading of the same.
    ReadOwn,
}

impl Access {
    fn writes(self) -> bool {
        matches!(self, Self::Write | Self::WritePart | Self::WriteOwn)
    }

    pub(super) fn is_own(self) -> bool {
        matches!(self, Self::WriteOwn | Self::ReadOwn)
    }

    fn is_of_part(self) -> bool {
        matches!(self, Self::WritePart | Self::ReadPart)
    }

    /// The rights that it takes.
    fn rights(self) -> pg_sys::AclMode {
        let rights = match self {
            Self::Write => pg_sys::ACL_SELECT | pg_sys::ACL_INSERT | pg_sys::ACL_UPDATE,
            Self::Remove => pg_sys::ACL_SELECT | pg_sys::ACL_UPDATE | pg_sys::ACL_DELETE,
            Self::Read => pg_sys::ACL_SELECT,
            Self::WritePart | Self::ReadPart | Self::WriteOwn | Self::ReadOwn => 0,
        };
        rights as pg_sys::AclMode
    }

    pub(super) fn changes(self) -> bool {
        self.writes() || self == Self::Remove
    }

    fn lock(self) -> i32 {
        match self.changes() {
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
    /// Whether that row has been read, and neither been changed through this since nor has a statement
    /// been run, which may have changed it.
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
    pub range: *mut pg_sys::RangeTblEntry,
}

/// The tables that a call has opened, by name; none for one that cannot be used directly.
#[derive(Default)]
pub struct Tables {
    open: RefCell<Vec<Opened>>,
    /// Whether others are open beside these, set aside by a subtransaction.
    others: Cell<bool>,
}

struct Opened {
    name: String,
    layout: &'static Layout,
    access: Access,
    table: Option<Rc<Table>>,
}

impl Session {
    /// A table of schema `absurd` for direct use in this call; none when statements must be used. It
    /// stays open until the call ends.
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
        if self.is_outermost() && tables.borrow().is_empty() && !self.tables.others.get() {
            compiled::make_room()?;
        }
        let table = match self.uses_tables() {
            false => None,
            true => Table::open(name, layout, access)?.map(Rc::new),
        };
        let name = name.to_owned();
        tables.borrow_mut().push(Opened { name, layout, access, table: table.clone() });
        Ok(table)
    }

    /// Whether this call may use tables directly.
    pub(super) fn uses_tables(&self) -> bool {
        // What is called there has changed its form with nearly every version.
        cfg!(feature = "pg15") && guc::is_direct() && !self.keeps_snapshot()
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

    /// Runs `f` with no table open, as a subtransaction needs it: what it opens is closed when it has
    /// succeeded, and forgotten when it has failed, for its end closes that.
    pub(in crate::pg) fn apart<T>(&self, f: impl FnOnce() -> Result<T>) -> Result<T> {
        let (outer, others) = (self.tables.open.take(), self.tables.others.get());
        self.tables.others.set(others || !outer.is_empty());
        let outcome = f().and_then(|value| self.close_tables().map(|()| value));
        self.tables.open.replace(outer);
        self.tables.others.set(others);
        self.doubt_rows();
        outcome
    }
}

impl Table {
    fn open(name: &str, layout: &'static Layout, access: Access) -> Result<Option<Self>> {
        let lock = access.lock();
        let before = known::get(name, layout, access);
        let id = match &before {
            Some(known) => Some(known.id),
            None => catalog::id(name)?,
        };
        let Some(id) = id else { return Ok(None) };
        // SAFETY: the closures' frames are plain; what is opened belongs to the transaction's resources.
        unsafe {
            let relation = guarded(|| ffi::try_table_open(id, lock))?;
            if relation.is_null() {
                return Ok(None);
            }
            // With the lock has come what changed before it was had.
            let known = match before.filter(|known| known.holds()) {
                Some(known) => Some(known),
                None => learn(relation, name, layout, access)?,
            };
            let Some(known) = known.filter(|_| may_use(layout, access)) else {
                guarded(|| ffi::table_close(relation, lock))?;
                return Ok(None);
            };
            let rights = access.rights();
            let row = guarded(|| {
                let has = ffi::pg_class_aclmask(id, pg_sys::GetUserId(), rights, ALL) == rights;
                if has { ffi::table_slot_create(relation, null_mut()) } else { null_mut() }
            })?;
            if row.is_null() {
                guarded(|| ffi::table_close(relation, lock))?;
                return Ok(None);
            }
            Ok(Some(Self {
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
        // SAFETY: what was opened in this (sub)transaction, in reverse. The locks stay until its end, but for
        // those on indexes that were only written, which the executor does not keep either. The closure's
        // frame is plain.
        unsafe {
            guarded(|| {
                for (_, index) in indexes {
                    ffi::relation_close(*index, pg_sys::NoLock as i32);
                }
                ffi::ExecDropSingleTupleTableSlot(row);
                if let Some(Writing { new, state, target, .. }) = writing {
                    for i in 0..(*target).ri_NumIndices as usize {
                        let index = *(*target).ri_IndexRelationDescs.add(i);
                        ffi::relation_close(index, pg_sys::RowExclusiveLock as i32);
                    }
                    ffi::ExecDropSingleTupleTableSlot(new);
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
        compiled::give_checks(relation, writing.target, &self.known.checks)?;
        Ok(writing)
    }
}

/// The executor's view of a table that it did not plan for, as the worker of logical replication makes
/// it.
unsafe fn prepare_to_write(relation: pg_sys::Relation) -> Writing {
    // SAFETY: runs under `guarded`; everything lives in the call's memory.
    unsafe {
        let state = ffi::CreateExecutorState();
        let range: *mut pg_sys::RangeTblEntry =
            ffi::palloc0(size_of::<pg_sys::RangeTblEntry>()).cast();
        (*range).type_ = pg_sys::NodeTag::T_RangeTblEntry;
        (*range).rtekind = pg_sys::RTEKind::RTE_RELATION;
        (*range).relid = (*relation).rd_id;
        (*range).relkind = (*(*relation).rd_rel).relkind;
        (*range).rellockmode = pg_sys::RowExclusiveLock as i32;
        let cell = pg_sys::ListCell { ptr_value: range.cast() };
        ffi::ExecInitRangeTable(state, ffi::list_make1_impl(pg_sys::NodeTag::T_List, cell));
        let target: *mut pg_sys::ResultRelInfo =
            ffi::palloc0(size_of::<pg_sys::ResultRelInfo>()).cast();
        ffi::InitResultRelInfo(target, relation, 1, null_mut(), 0);
        let new =
            ffi::MakeSingleTupleTableSlot((*relation).rd_att, ptr::addr_of!(pg_sys::TTSOpsVirtual));
        Writing { new, state, target, range }
    }
}

/// Finds out what is to be known of an open table; none when it cannot be used directly.
unsafe fn learn(
    relation: pg_sys::Relation,
    name: &str,
    layout: &'static Layout,
    access: Access,
) -> Result<Option<Rc<Known>>> {
    // SAFETY: the caller's open relation.
    let (id, places) = unsafe { ((*relation).rd_id, places(relation, layout, access)?) };
    // The name was looked up before the table was locked.
    if catalog::id(name)? != Some(id) {
        return Ok(None);
    }
    let Some(places) = places else { return Ok(None) };
    let known = Rc::new(Known::new(id, places));
    known::put(name, layout, access, &known)?;
    Ok(Some(known))
}

/// Where the layout's columns stand in the table; none when it cannot be used directly.
unsafe fn places(
    relation: pg_sys::Relation,
    layout: &'static Layout,
    access: Access,
) -> Result<Option<Vec<usize>>> {
    // SAFETY: an open relation's descriptors; the closure's frame is plain.
    unsafe {
        let table = &*relation;
        let row = &*table.rd_rel;
        let is_plain = row.relkind as u8 == b'r'
            && row.relam == pg_sys::HEAP_TABLE_AM_OID
            && row.relispartition == access.is_of_part()
            && !row.relhasrules
            && !row.relrowsecurity
            && triggers::are_plain(relation, layout, access)?;
        if !is_plain {
            return Ok(None);
        }
        let descriptor = &*table.rd_att;
        let columns = descriptor.attrs.as_slice(descriptor.natts as usize);
        let constraints = descriptor.constr;
        if access.writes() && !constraints.is_null() && (*constraints).has_generated_stored {
            return Ok(None);
        }
        let mut places = Vec::with_capacity(layout.columns.len());
        let mut next = 0;
        for (name, kind) in layout.columns {
            // The columns mostly come in the layout's order.
            let order = (next..columns.len()).chain(0..next);
            let is_it = |place: &usize| {
                let column = &columns[*place];
                !column.attisdropped
                    && CStr::from_ptr(column.attname.data.as_ptr()).to_bytes() == name.as_bytes()
            };
            match order.into_iter().find(is_it) {
                Some(place) if columns[place].atttypid == *kind => {
                    places.push(place);
                    next = place + 1;
                }
                _ => return Ok(None),
            }
        }
        // A column that is not the layout's stays empty, which is not what a default is for, nor a domain's.
        for (place, column) in columns.iter().enumerate() {
            if !access.writes() || column.attisdropped || places.contains(&place) {
                continue;
            }
            let kind = column.atttypid;
            let is_domain = guarded(|| ffi::get_typtype(kind))? as u8 == b'd';
            if column.atthasdef || column.attidentity != 0 || is_domain {
                return Ok(None);
            }
        }
        Ok(Some(places))
    }
}

/// Whether this transaction may use a table as it wants to. A statement says why it may not write.
unsafe fn may_use(layout: &Layout, access: Access) -> bool {
    // SAFETY: reads globals of this backend.
    unsafe {
        let may_write = !pg_sys::XactReadOnly && !ffi::IsInParallelMode();
        (!access.changes() || may_write) && (layout.does.is_empty() || triggers::fire())
    }
}

const ALL: pg_sys::AclMaskHow::Type = pg_sys::AclMaskHow::ACLMASK_ALL;
