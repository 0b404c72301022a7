//! Opening tables, and which tables can be used directly.

use std::cell::{Cell, RefCell};
use std::ffi::{CStr, CString};
use std::ptr::{self, null_mut};
use std::rc::Rc;

use pgrx::pg_sys;

use super::{compiled, ffi};
use crate::error::Result;
use crate::pg::ereport::guarded;
use crate::pg::{Session, catalog, guc};

/// What a direct path knows of a table.
pub struct Layout {
    /// Names and types of columns.
    pub columns: &'static [(&'static str, pg_sys::Oid)],
    /// The primary key's index, as `pg_get_indexdef` has it after `USING`; empty where it is not used.
    pub key: &'static str,
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
    /// Reading and writing what the engine alone reads and writes, as its owner would.
    WriteOwn,
    /// Reading of the same.
    ReadOwn,
}

impl Access {
    fn writes(self) -> bool {
        matches!(self, Self::Write | Self::WriteOwn)
    }

    fn is_own(self) -> bool {
        matches!(self, Self::WriteOwn | Self::ReadOwn)
    }

    /// The rights that it takes.
    fn rights(self) -> pg_sys::AclMode {
        let rights = match self {
            Self::Write => pg_sys::ACL_SELECT | pg_sys::ACL_INSERT | pg_sys::ACL_UPDATE,
            Self::Remove => pg_sys::ACL_SELECT | pg_sys::ACL_UPDATE | pg_sys::ACL_DELETE,
            Self::Read => pg_sys::ACL_SELECT,
            Self::WriteOwn | Self::ReadOwn => 0,
        };
        rights as pg_sys::AclMode
    }

    fn changes(self) -> bool {
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
    pub(super) key: &'static str,
    /// Where the layout's columns stand, from 0.
    pub(super) places: Vec<usize>,
    /// The row read last, with its page pinned.
    pub(super) row: *mut pg_sys::TupleTableSlot,
    /// The row being written.
    pub(super) new: *mut pg_sys::TupleTableSlot,
    /// What the executor's functions need; null for reading.
    pub(super) state: *mut pg_sys::EState,
    pub(super) target: *mut pg_sys::ResultRelInfo,
    pub(super) range: *mut pg_sys::RangeTblEntry,
    /// Indexes that were opened for reading, by their names.
    pub(super) indexes: RefCell<Vec<(CString, pg_sys::Relation)>>,
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
        // What is called here has changed its form with nearly every version.
        let is_possible = cfg!(feature = "pg15") && guc::is_direct() && !self.keeps_snapshot();
        let table = match is_possible {
            false => None,
            true => Table::open(name, layout, access)?.map(Rc::new),
        };
        let name = name.to_owned();
        tables.borrow_mut().push(Opened { name, layout, access, table: table.clone() });
        Ok(table)
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
        outcome
    }
}

impl Table {
    fn open(name: &str, layout: &'static Layout, access: Access) -> Result<Option<Self>> {
        let Some(id) = catalog::id(name)? else { return Ok(None) };
        let lock = access.lock();
        // SAFETY: the closures' frames are plain; what is opened belongs to the transaction's resources.
        unsafe {
            let relation = guarded(|| ffi::try_table_open(id, lock))?;
            if relation.is_null() {
                return Ok(None);
            }
            let Some(places) = places(relation, layout, access)? else {
                guarded(|| ffi::table_close(relation, lock))?;
                return Ok(None);
            };
            let row = guarded(|| ffi::table_slot_create(relation, null_mut()))?;
            let mut table = Self {
                relation,
                key: layout.key,
                places,
                row,
                new: null_mut(),
                state: null_mut(),
                target: null_mut(),
                range: null_mut(),
                indexes: RefCell::default(),
            };
            if access.writes() {
                let (new, state, target, range) = guarded(|| prepare_to_write(relation))?;
                (table.new, table.state, table.target, table.range) = (new, state, target, range);
                compiled::open_indexes(relation, target)?;
                compiled::give_checks(relation, target)?;
            }
            Ok(Some(table))
        }
    }

    fn close(&self) -> Result<()> {
        let indexes = self.indexes.take();
        // SAFETY: what `open` has opened in this (sub)transaction, in reverse; the locks stay until its
        // end. The closures' frames are plain.
        unsafe {
            for (_, index) in &indexes {
                let index = *index;
                guarded(|| ffi::relation_close(index, pg_sys::NoLock as i32))?;
            }
            guarded(|| {
                ffi::ExecDropSingleTupleTableSlot(self.row);
                if !self.state.is_null() {
                    ffi::ExecCloseIndices(self.target);
                    ffi::ExecDropSingleTupleTableSlot(self.new);
                    ffi::FreeExecutorState(self.state);
                }
                ffi::table_close(self.relation, pg_sys::NoLock as i32);
            })
        }
    }
}

/// The executor's view of a table that it did not plan for, as the worker of logical replication makes
/// it.
unsafe fn prepare_to_write(
    relation: pg_sys::Relation,
) -> (
    *mut pg_sys::TupleTableSlot,
    *mut pg_sys::EState,
    *mut pg_sys::ResultRelInfo,
    *mut pg_sys::RangeTblEntry,
) {
    // SAFETY: runs under `guarded`; everything lives in the call's memory.
    unsafe {
        let state = ffi::CreateExecutorState();
        let range: *mut pg_sys::RangeTblEntry =
            pg_sys::palloc0(size_of::<pg_sys::RangeTblEntry>()).cast();
        (*range).type_ = pg_sys::NodeTag::T_RangeTblEntry;
        (*range).rtekind = pg_sys::RTEKind::RTE_RELATION;
        (*range).relid = (*relation).rd_id;
        (*range).relkind = (*(*relation).rd_rel).relkind;
        (*range).rellockmode = pg_sys::RowExclusiveLock as i32;
        let cell = pg_sys::ListCell { ptr_value: range.cast() };
        ffi::ExecInitRangeTable(state, ffi::list_make1_impl(pg_sys::NodeTag::T_List, cell));
        let target: *mut pg_sys::ResultRelInfo =
            pg_sys::palloc0(size_of::<pg_sys::ResultRelInfo>()).cast();
        ffi::InitResultRelInfo(target, relation, 1, null_mut(), 0);
        let new =
            ffi::MakeSingleTupleTableSlot((*relation).rd_att, ptr::addr_of!(pg_sys::TTSOpsVirtual));
        (new, state, target, range)
    }
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
            && !row.relispartition
            && !row.relhasrules
            && !row.relrowsecurity
            && has_plain_triggers(table.trigdesc, access);
        if !is_plain || (access.changes() && !may_write()) {
            return Ok(None);
        }
        let rights = access.rights();
        if guarded(|| ffi::pg_class_aclmask(row.oid, pg_sys::GetUserId(), rights, ALL))? != rights {
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
        // A column that is not the layout's and has a default would stay empty.
        let is_filled = columns.iter().enumerate().all(|(place, column)| {
            (!column.atthasdef && !column.attisdropped) || places.contains(&place)
        });
        Ok((!access.writes() || is_filled).then_some(places))
    }
}

/// Whether no trigger of a table would have to fire. A read fires none; of the engine's own tables no row
/// is removed here and no key is changed, which is what their triggers are about.
unsafe fn has_plain_triggers(triggers: *const pg_sys::TriggerDesc, access: Access) -> bool {
    if triggers.is_null() || !access.changes() {
        return true;
    }
    // SAFETY: as many triggers as are counted.
    let triggers = unsafe {
        std::slice::from_raw_parts((*triggers).triggers, (*triggers).numtriggers as usize)
    };
    let is_apart = |trigger: &pg_sys::Trigger| {
        trigger.tgisinternal || trigger.tgtype as u32 & EVENTS == pg_sys::TRIGGER_TYPE_DELETE
    };
    access.is_own() && triggers.iter().all(is_apart)
}

const ALL: pg_sys::AclMaskHow::Type = pg_sys::AclMaskHow::ACLMASK_ALL;

/// The events in a trigger's type.
const EVENTS: u32 = pg_sys::TRIGGER_TYPE_INSERT
    | pg_sys::TRIGGER_TYPE_DELETE
    | pg_sys::TRIGGER_TYPE_UPDATE
    | pg_sys::TRIGGER_TYPE_TRUNCATE;

/// Whether the transaction may write at all. A statement says why not.
unsafe fn may_write() -> bool {
    // SAFETY: reads globals of this backend.
    unsafe { !pg_sys::XactReadOnly && !ffi::IsInParallelMode() }
}
