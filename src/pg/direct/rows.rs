//! Finding, reading, locking, inserting and changing rows.

use std::cell::Cell;
use std::ptr::null_mut;

use pgrx::pg_sys;

use super::ffi;
use super::index::{Key, Which, scan_keys};
use super::table::Table;
use crate::error::{Error, Result};
use crate::pg::Session;
use crate::pg::ereport::guarded;
use crate::pg::session::blocks;
use crate::pg::value::{Column, Param};

/// The most conditions that a search has.
const KEYS: usize = 3;

const FORWARD: pg_sys::ScanDirection::Type = pg_sys::ScanDirection::ForwardScanDirection;

/// What came of changing a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Done,
    /// Somebody else has changed it, or is about to and is not waited for. Nothing was done.
    Elsewhere,
}

/// A search through an index. It ends with the call or by [`Scan::end`].
pub struct Scan<'t> {
    table: &'t Table,
    scan: pg_sys::IndexScanDesc,
}

thread_local! {
    static SEARCHED: Cell<i64> = const { Cell::new(0) };
}

impl Session {
    /// Blocks that the backend's direct searches have looked at since it began.
    pub fn blocks_searched(&self) -> i64 {
        SEARCHED.get()
    }

    /// Runs `f` with a snapshot of what is committed now and of what the transaction has done so far,
    /// as a statement would have it.
    ///
    /// # Errors
    /// Those of `f`.
    pub fn with_snapshot<T>(&self, f: impl FnOnce() -> Result<T>) -> Result<T> {
        // SAFETY: pushed and popped here; after an error the (sub)transaction's end pops it. The
        // closures' frames are plain.
        unsafe {
            guarded(|| ffi::PushActiveSnapshot(ffi::GetTransactionSnapshot()))?;
            let value = f()?;
            guarded(|| ffi::PopActiveSnapshot())?;
            Ok(value)
        }
    }
}

impl Table {
    /// Begins a search; none when the index cannot be relied upon.
    ///
    /// # Errors
    /// Postgres's own.
    pub fn scan(&self, which: Which, keys: &[Key]) -> Result<Option<Scan<'_>>> {
        let Some(index) = self.index(which)? else { return Ok(None) };
        let count = keys.len().min(KEYS);
        let mut space = [pg_sys::ScanKeyData::default(); KEYS];
        // SAFETY: table and index are open and a snapshot is active; the scan copies the keys. The
        // closure's frame is plain.
        let scan = unsafe {
            guarded(|| {
                scan_keys(index, keys, &mut space);
                let snapshot = ffi::GetActiveSnapshot();
                let scan = ffi::index_beginscan(self.relation, index, snapshot, count as i32, 0);
                ffi::index_rescan(scan, space.as_mut_ptr(), count as i32, null_mut(), 0);
                scan
            })?
        };
        Ok(Some(Scan { table: self, scan }))
    }

    /// Reads the first row that an index has for the keys; none when the index cannot be relied upon.
    ///
    /// # Errors
    /// Postgres's own.
    pub fn first(&self, which: Which, keys: &[Key]) -> Result<Option<bool>> {
        let Some(scan) = self.scan(which, keys)? else { return Ok(None) };
        let found = scan.next()?;
        scan.end()?;
        Ok(Some(found))
    }

    /// Reads the row with a key; none when the index cannot be relied upon.
    ///
    /// # Errors
    /// Postgres's own.
    pub fn find(&self, keys: &[Key]) -> Result<Option<bool>> {
        self.first(Which::PrimaryKey, keys)
    }

    /// A column of the row that was read last, by its place in the layout.
    ///
    /// # Errors
    /// None but a damaged row's.
    pub fn get<T: Column>(&self, place: usize) -> Result<Option<T>> {
        let place = self.places[place];
        // SAFETY: the slot holds a row of the table, whose columns have the layout's types.
        unsafe {
            if (*self.row).tts_nvalid as usize <= place {
                guarded(|| ffi::slot_getsomeattrs_int(self.row, place as i32 + 1))?;
            }
            if *(*self.row).tts_isnull.add(place) {
                return Ok(None);
            }
            let mut value = *(*self.row).tts_values.add(place);
            let descriptor = &*(*self.row).tts_tupleDescriptor;
            // Read by reference, and the page is not kept.
            if descriptor.attrs.as_slice(place + 1)[place].atttypid == pg_sys::JSONBOID {
                value = guarded(|| ffi::datumCopy(value, false, -1))?;
            }
            Ok(T::read(value))
        }
    }

    /// As [`Table::get`], of a column that is not null.
    ///
    /// # Errors
    /// XX001 when it is.
    pub fn need<T: Column>(&self, place: usize) -> Result<T> {
        self.get(place)?.ok_or_else(|| Error::Corrupt {
            what: format!("a row that the engine has read has no value in place {place}"),
        })
    }

    /// Inserts a row; the columns that are not given are null.
    ///
    /// # Errors
    /// Those of the table's constraints and indexes.
    pub fn insert(&self, values: &[(usize, Param)]) -> Result<()> {
        // SAFETY: the slot and what the executor needs were made for this table; the closure's frame is
        // plain.
        unsafe {
            guarded(|| {
                let new = self.new;
                self.begin(|_| true);
                self.give(values);
                ffi::ExecStoreVirtualTuple(new);
                self.check();
                if let Some(insert) = (*(*self.relation).rd_tableam).tuple_insert {
                    insert(self.relation, new, ffi::GetCurrentCommandId(true), 0, null_mut());
                }
                self.enter(false);
                ffi::CommandCounterIncrement();
            })
        }
    }

    /// Changes the row that was read last. Without `wait` it gives up when somebody else holds the row.
    ///
    /// # Errors
    /// Those of the table's constraints and indexes, and of a wait.
    pub fn update(&self, values: &[(usize, Param)], wait: bool) -> Result<Change> {
        // SAFETY: as in `insert`; `row` holds a row of the table, pinned.
        let outcome = unsafe {
            guarded(|| {
                let (row, new) = (self.row, self.new);
                let count = (*(*self.relation).rd_att).natts;
                if i32::from((*row).tts_nvalid) < count {
                    ffi::slot_getsomeattrs_int(row, count);
                }
                // What a dropped column held goes, as with any UPDATE.
                let columns = (*(*self.relation).rd_att).attrs.as_slice(count as usize);
                self.begin(|place| columns[place].attisdropped || *(*row).tts_isnull.add(place));
                for place in 0..count as usize {
                    *(*new).tts_values.add(place) = *(*row).tts_values.add(place);
                }
                self.give(values);
                ffi::ExecStoreVirtualTuple(new);
                ffi::CheckCmdReplicaIdentity(self.relation, pg_sys::CmdType::CMD_UPDATE);
                self.check();
                let Some(update) = (*(*self.relation).rd_tableam).tuple_update else {
                    return pg_sys::TM_Result::TM_Updated;
                };
                let mut at = (*row).tts_tid;
                let mut failure = pg_sys::TM_FailureData::default();
                let (mut mode, mut indexes) =
                    (pg_sys::LockTupleMode::LockTupleNoKeyExclusive, false);
                let result = update(
                    self.relation,
                    &mut at,
                    new,
                    ffi::GetCurrentCommandId(true),
                    ffi::GetActiveSnapshot(),
                    null_mut(),
                    wait,
                    &mut failure,
                    &mut mode,
                    &mut indexes,
                );
                if result == pg_sys::TM_Result::TM_Ok {
                    if indexes {
                        self.enter(true);
                    }
                    ffi::CommandCounterIncrement();
                }
                result
            })?
        };
        self.outcome(outcome)
    }

    /// Changes the row that was read and locked last.
    ///
    /// # Errors
    /// As [`Table::update`]; XX001 when it was not locked.
    pub fn update_locked(&self, values: &[(usize, Param)]) -> Result<()> {
        match self.update(values, true)? {
            Change::Done => Ok(()),
            Change::Elsewhere => {
                Err(Error::Corrupt { what: "a row that was locked has been changed".to_owned() })
            }
        }
    }

    pub(super) fn outcome(&self, result: pg_sys::TM_Result::Type) -> Result<Change> {
        use pg_sys::TM_Result as Came;
        match result {
            Came::TM_Ok => Ok(Change::Done),
            Came::TM_Updated
            | Came::TM_Deleted
            | Came::TM_BeingModified
            | Came::TM_WouldBlock
            | Came::TM_SelfModified => Ok(Change::Elsewhere),
            other => Err(Error::Corrupt { what: format!("a row could not be changed ({other})") }),
        }
    }

    /// Empties the row to write.
    unsafe fn begin(&self, is_null: impl Fn(usize) -> bool) {
        // SAFETY: runs under `guarded`; the slot has a place for each column.
        unsafe {
            let new = self.new;
            if let Some(clear) = (*(*new).tts_ops).clear {
                clear(new);
            }
            for place in 0..(*(*self.relation).rd_att).natts as usize {
                *(*new).tts_values.add(place) = pg_sys::Datum::null();
                *(*new).tts_isnull.add(place) = is_null(place);
            }
            (*self.range).updatedCols = null_mut();
            for i in 0..(*self.target).ri_NumIndices as usize {
                (**(*self.target).ri_IndexRelationInfo.add(i)).ii_CheckedUnchanged = false;
            }
        }
    }

    /// Puts values into the row to write, and notes which columns they are.
    unsafe fn give(&self, values: &[(usize, Param)]) {
        // SAFETY: runs under `guarded`; places are those of the layout.
        unsafe {
            for (place, value) in values {
                let place = self.places[*place];
                *(*self.new).tts_values.add(place) = value.datum.unwrap_or(pg_sys::Datum::null());
                *(*self.new).tts_isnull.add(place) = value.datum.is_none();
                let number = place as i32 + 1 - pg_sys::FirstLowInvalidHeapAttributeNumber;
                (*self.range).updatedCols = ffi::bms_add_member((*self.range).updatedCols, number);
            }
        }
    }

    unsafe fn check(&self) {
        // SAFETY: runs under `guarded`.
        unsafe {
            if !(*(*self.relation).rd_att).constr.is_null() {
                ffi::ExecConstraints(self.target, self.new, self.state);
            }
        }
    }

    /// Makes the index entries of a row that has been written.
    unsafe fn enter(&self, is_update: bool) {
        // SAFETY: runs under `guarded`.
        unsafe {
            if (*self.target).ri_NumIndices > 0 {
                let (target, new, state) = (self.target, self.new, self.state);
                ffi::ExecInsertIndexTuples(
                    target,
                    new,
                    state,
                    is_update,
                    false,
                    null_mut(),
                    null_mut(),
                );
            }
            let context = (*self.state).es_per_tuple_exprcontext;
            if !context.is_null() {
                pg_sys::MemoryContextReset((*context).ecxt_per_tuple_memory);
            }
        }
    }
}

impl Scan<'_> {
    /// Reads the next row into the table's place for it; false at the end.
    ///
    /// # Errors
    /// Postgres's own.
    pub fn next(&self) -> Result<bool> {
        let before = blocks();
        // SAFETY: the scan is open; the closure's frame is plain.
        let found =
            unsafe { guarded(|| ffi::index_getnext_slot(self.scan, FORWARD, self.table.row)) };
        SEARCHED.set(SEARCHED.get() + blocks() - before);
        found
    }

    /// Ends the search; the row that was read last stays.
    ///
    /// # Errors
    /// Postgres's own.
    pub fn end(self) -> Result<()> {
        // SAFETY: the scan is open and not used again.
        unsafe { guarded(|| ffi::index_endscan(self.scan)) }
    }
}
