//! Reading, inserting and changing rows.

use std::ptr::null_mut;

use pgrx::pg_sys;

use super::hold::Tid;
use super::table::{Table, Writing};
use super::{compiled, ffi};
use crate::error::{Error, Result};
use crate::pg::Session;
use crate::pg::ereport::guarded;
use crate::pg::value::{Column, Param};

/// What came of changing a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Done,
    /// Somebody else has changed it, or is about to and is not waited for. Nothing was done.
    Elsewhere,
}

impl Session {
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
    /// Reads a row that was read before; false when it is not visible any longer.
    ///
    /// # Errors
    /// Postgres's own.
    pub fn read_again(&self, Tid(at): Tid) -> Result<bool> {
        // SAFETY: the table is open and a snapshot is active; the closure's frame is plain.
        let found = unsafe {
            guarded(|| {
                let mut at = at;
                let fetch = (*(*self.relation).rd_tableam).tuple_fetch_row_version;
                let snapshot = ffi::GetActiveSnapshot();
                fetch.is_some_and(|fetch| fetch(self.relation, &mut at, snapshot, self.row))
            })?
        };
        self.is_fresh.set(found);
        Ok(found)
    }

    /// Whether the row that was read last is as this call has left it: no statement has been run since,
    /// and this has not changed it.
    pub fn is_fresh(&self) -> bool {
        self.is_fresh.get()
    }

    /// Says that of what this call has changed in the row read last nothing is read again: what it was is
    /// as good as what it is. It must be found anew before it is changed again.
    pub fn read_on(&self) {
        self.is_fresh.set(true);
    }

    /// A column of the row that was read last, by its place in the layout.
    ///
    /// # Errors
    /// None but a damaged row's.
    pub fn get<T: Column>(&self, place: usize) -> Result<Option<T>> {
        let place = self.known.places[place];
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
        let writing = self.writing()?;
        self.open_indexes(writing)?;
        // SAFETY: the slot and what the executor needs were made for this table; the closure's frame is
        // plain.
        unsafe {
            guarded(|| {
                let new = writing.new;
                self.begin(writing, |_| true);
                self.give(writing, values);
                ffi::ExecStoreVirtualTuple(new);
                self.check(writing);
                self.make_room(writing);
                if let Some(insert) = (*(*self.relation).rd_tableam).tuple_insert {
                    insert(self.relation, new, ffi::GetCurrentCommandId(true), 0, null_mut());
                }
                self.enter(writing, false);
                ffi::CommandCounterIncrement();
            })
        }
    }

    /// Changes the row that was read last. Without `wait` it gives up when somebody else holds the row.
    ///
    /// # Errors
    /// Those of the table's constraints and indexes, and of a wait.
    pub fn update(&self, values: &[(usize, Param)], wait: bool) -> Result<Change> {
        let writing = self.writing()?;
        // SAFETY: as in `insert`; `row` holds a row of the table, pinned.
        let (outcome, indexes) = unsafe {
            guarded(|| {
                let (row, new) = (self.row, writing.new);
                let count = (*(*self.relation).rd_att).natts;
                if i32::from((*row).tts_nvalid) < count {
                    ffi::slot_getsomeattrs_int(row, count);
                }
                // What a dropped column held goes, as with any UPDATE.
                let columns = (*(*self.relation).rd_att).attrs.as_slice(count as usize);
                let is_null =
                    |place: usize| columns[place].attisdropped || *(*row).tts_isnull.add(place);
                self.begin(writing, is_null);
                for place in 0..count as usize {
                    *(*new).tts_values.add(place) = *(*row).tts_values.add(place);
                }
                self.give(writing, values);
                ffi::ExecStoreVirtualTuple(new);
                ffi::CheckCmdReplicaIdentity(self.relation, pg_sys::CmdType::CMD_UPDATE);
                self.check(writing);
                self.make_room_beside(writing);
                let mut indexes = false;
                let Some(update) = (*(*self.relation).rd_tableam).tuple_update else {
                    return (pg_sys::TM_Result::TM_Updated, indexes);
                };
                let mut at = (*row).tts_tid;
                let mut failure = pg_sys::TM_FailureData::default();
                let mut mode = pg_sys::LockTupleMode::LockTupleNoKeyExclusive;
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
                (result, indexes)
            })?
        };
        if outcome == pg_sys::TM_Result::TM_Ok {
            self.is_fresh.set(false);
            // Mostly the row stays in its page and none of its indexes is needed.
            if indexes {
                self.open_indexes(writing)?;
            }
            // SAFETY: as in `insert`.
            unsafe {
                guarded(|| {
                    if indexes {
                        self.enter(writing, true);
                    }
                    ffi::CommandCounterIncrement();
                })?;
            }
        }
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

    fn open_indexes(&self, writing: Writing) -> Result<()> {
        // SAFETY: made by `writing`.
        match unsafe { (*writing.target).ri_IndexRelationDescs.is_null() } {
            true => compiled::open_indexes(self.relation, writing.target),
            false => Ok(()),
        }
    }

    /// Empties the row to write.
    unsafe fn begin(
        &self,
        Writing { new, target, range, .. }: Writing,
        is_null: impl Fn(usize) -> bool,
    ) {
        // SAFETY: runs under `guarded`; the slot has a place for each column.
        unsafe {
            if let Some(clear) = (*(*new).tts_ops).clear {
                clear(new);
            }
            for place in 0..(*(*self.relation).rd_att).natts as usize {
                *(*new).tts_values.add(place) = pg_sys::Datum::null();
                *(*new).tts_isnull.add(place) = is_null(place);
            }
            (*range).updatedCols = null_mut();
            for i in 0..(*target).ri_NumIndices as usize {
                (**(*target).ri_IndexRelationInfo.add(i)).ii_CheckedUnchanged = false;
            }
        }
    }

    /// Puts values into the row to write, and notes which columns they are.
    unsafe fn give(&self, Writing { new, range, .. }: Writing, values: &[(usize, Param)]) {
        // SAFETY: runs under `guarded`; places are those of the layout.
        unsafe {
            for (place, value) in values {
                let place = self.known.places[*place];
                *(*new).tts_values.add(place) = value.datum.unwrap_or(pg_sys::Datum::null());
                *(*new).tts_isnull.add(place) = value.datum.is_none();
                let number = place as i32 + 1 - pg_sys::FirstLowInvalidHeapAttributeNumber;
                (*range).updatedCols = ffi::bms_add_member((*range).updatedCols, number);
            }
        }
    }

    unsafe fn check(&self, Writing { new, state, target, .. }: Writing) {
        // SAFETY: runs under `guarded`.
        unsafe {
            if !(*(*self.relation).rd_att).constr.is_null() {
                ffi::ExecConstraints(target, new, state);
            }
        }
    }

    /// Makes the index entries of a row that has been written.
    unsafe fn enter(&self, Writing { new, state, target, .. }: Writing, is_update: bool) {
        // SAFETY: runs under `guarded`.
        unsafe {
            if (*target).ri_NumIndices > 0 {
                let none = null_mut();
                ffi::ExecInsertIndexTuples(target, new, state, is_update, false, none, null_mut());
            }
            let context = (*state).es_per_tuple_exprcontext;
            if !context.is_null() {
                ffi::MemoryContextReset((*context).ecxt_per_tuple_memory);
            }
        }
    }
}
