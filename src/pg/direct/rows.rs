//! Reading, inserting and changing rows.

use std::ptr::null_mut;

use pgrx::pg_sys;

use super::table::{Table, Writing};
use crate::error::{Error, Result};
use crate::pg::ereport::guarded;
use crate::pg::value::{Column, Param};
use crate::pg::{Session, ffi, major};

/// Where a row stands in its table.
#[derive(Clone, Copy)]
pub struct Tid(pg_sys::ItemPointerData);

impl Session {
    /// Runs `f` with a snapshot of what is committed now and of what the transaction has done so
    /// far, as a statement would have it.
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

    /// Whether the row that was read last is as this call has left it: no statement has been run
    /// since, and this has not changed it.
    pub fn is_fresh(&self) -> bool {
        self.is_fresh.get()
    }

    /// Says that of what this call has changed in the row read last nothing is read again: what it
    /// was is as good as what it is. It must be found anew before it is changed again.
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
            let columns = major::columns((*self.row).tts_tupleDescriptor);
            // Read by reference, and the page is not kept.
            if columns[place].atttypid == pg_sys::JSONBOID {
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

    /// Where the row that was read last stands.
    pub fn tid(&self) -> Tid {
        // SAFETY: the slot holds a row.
        unsafe { Tid((*self.row).tts_tid) }
    }

    /// Waits for the row that was read last, locks it and reads it as it is now. False when it is
    /// gone.
    ///
    /// # Errors
    /// Those of a wait.
    pub fn lock(&self) -> Result<bool> {
        // SAFETY: `row` holds a row of the table, pinned; the closure's frame is plain.
        let result = unsafe {
            guarded(|| {
                let Some(lock) = (*(*self.relation).rd_tableam).tuple_lock else {
                    return pg_sys::TM_Result::TM_Deleted;
                };
                let mut at = (*self.row).tts_tid;
                let mut failure = pg_sys::TM_FailureData::default();
                lock(
                    self.relation,
                    &mut at,
                    ffi::GetActiveSnapshot(),
                    self.row,
                    ffi::GetCurrentCommandId(true),
                    pg_sys::LockTupleMode::LockTupleNoKeyExclusive,
                    pg_sys::LockWaitPolicy::LockWaitBlock,
                    pg_sys::TUPLE_LOCK_FLAG_FIND_LAST_VERSION as u8,
                    &mut failure,
                )
            })?
        };
        match result {
            pg_sys::TM_Result::TM_Ok => Ok(true),
            pg_sys::TM_Result::TM_Deleted => Ok(false),
            other => Err(Error::Corrupt { what: format!("a row could not be locked ({other})") }),
        }
    }

    /// Inserts a row; the columns that are not given are null.
    ///
    /// # Errors
    /// Those of the table's constraints and indexes.
    pub fn insert(&self, values: &[(usize, Param)]) -> Result<()> {
        let writing = self.writing()?;
        // SAFETY: the slot and what the executor needs were made for this table; the closure's
        // frame is plain.
        unsafe {
            guarded(|| {
                self.begin(writing, |_| true);
                self.give(writing, values);
                ffi::ExecStoreVirtualTuple(writing.new);
                self.execute(writing, || {
                    ffi::ExecSimpleRelationInsert(writing.target, writing.state, writing.new);
                });
            })
        }
    }

    /// Changes the row that was read last, which nobody else may be changing: it is locked, or
    /// belongs to something that is.
    ///
    /// # Errors
    /// Those of the table's constraints and indexes.
    pub fn update(&self, values: &[(usize, Param)]) -> Result<()> {
        let writing = self.writing()?;
        // SAFETY: as in `insert`; `row` holds a row of the table, pinned.
        unsafe {
            guarded(|| {
                let (row, new) = (self.row, writing.new);
                let count = (*(*self.relation).rd_att).natts;
                if i32::from((*row).tts_nvalid) < count {
                    ffi::slot_getsomeattrs_int(row, count);
                }
                // What a dropped column held goes, as with any UPDATE.
                let columns = major::columns((*self.relation).rd_att);
                let is_null =
                    |place: usize| columns[place].attisdropped || *(*row).tts_isnull.add(place);
                self.begin(writing, is_null);
                for place in 0..count as usize {
                    *(*new).tts_values.add(place) = *(*row).tts_values.add(place);
                }
                self.give(writing, values);
                ffi::ExecStoreVirtualTuple(new);
                self.execute(writing, || {
                    let Writing { target, state, recheck, .. } = writing;
                    ffi::ExecSimpleRelationUpdate(target, state, recheck, row, new);
                });
            })?;
        }
        self.is_fresh.set(false);
        Ok(())
    }

    /// Runs one of the executor's functions for a row, with the triggers that come after it.
    unsafe fn execute(&self, Writing { state, .. }: Writing, f: impl FnOnce()) {
        // SAFETY: runs under `guarded`.
        unsafe {
            (*state).es_output_cid = ffi::GetCurrentCommandId(true);
            let has_triggers = !(*self.relation).trigdesc.is_null();
            if has_triggers {
                ffi::AfterTriggerBeginQuery();
            }
            f();
            if has_triggers {
                ffi::AfterTriggerEndQuery(state);
            }
            let context = (*state).es_per_tuple_exprcontext;
            if !context.is_null() {
                ffi::MemoryContextReset((*context).ecxt_per_tuple_memory);
            }
            ffi::CommandCounterIncrement();
        }
    }

    /// Empties the row to write.
    unsafe fn begin(&self, Writing { new, changed, .. }: Writing, is_null: impl Fn(usize) -> bool) {
        // SAFETY: runs under `guarded`; the slot has a place for each column.
        unsafe {
            if let Some(clear) = (*(*new).tts_ops).clear {
                clear(new);
            }
            for place in 0..(*(*self.relation).rd_att).natts as usize {
                *(*new).tts_values.add(place) = pg_sys::Datum::null();
                *(*new).tts_isnull.add(place) = is_null(place);
            }
            *changed.columns() = null_mut();
        }
    }

    /// Puts values into the row to write, and notes which columns they are.
    unsafe fn give(&self, Writing { new, changed, .. }: Writing, values: &[(usize, Param)]) {
        // SAFETY: runs under `guarded`; places are those of the layout.
        unsafe {
            for (place, value) in values {
                let place = self.known.places[*place];
                *(*new).tts_values.add(place) = value.datum.unwrap_or(pg_sys::Datum::null());
                *(*new).tts_isnull.add(place) = value.datum.is_none();
                let number = place as i32 + 1 - pg_sys::FirstLowInvalidHeapAttributeNumber;
                let columns = changed.columns();
                *columns = ffi::bms_add_member(*columns, number);
            }
        }
    }
}
