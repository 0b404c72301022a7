//! Locking and removing rows.

use std::ptr::null_mut;

use pgrx::pg_sys;

use super::ffi;
use super::rows::Change;
use super::table::Table;
use crate::error::{Error, Result};
use crate::pg::ereport::guarded;

/// Where a row stands in its table.
#[derive(Clone, Copy)]
pub struct Tid(pub(super) pg_sys::ItemPointerData);

impl Table {
    /// Locks the row that was read last against changes, unless somebody else holds or has changed it.
    /// It is never waited for: other than FOR UPDATE SKIP LOCKED, this does not follow a row to a version
    /// that another is changing.
    ///
    /// # Errors
    /// Postgres's own.
    pub fn lock(&self) -> Result<Change> {
        let mode = pg_sys::LockTupleMode::LockTupleNoKeyExclusive;
        self.lock_as(mode, pg_sys::LockWaitPolicy::LockWaitSkip, 0)
    }

    /// As [`Table::lock`], against everything.
    ///
    /// # Errors
    /// Postgres's own.
    pub fn lock_to_remove(&self) -> Result<Change> {
        let mode = pg_sys::LockTupleMode::LockTupleExclusive;
        self.lock_as(mode, pg_sys::LockWaitPolicy::LockWaitSkip, 0)
    }

    /// After a change that came upon somebody else's: waits for the row, locks it and reads it as it is
    /// now. False when it is gone.
    ///
    /// # Errors
    /// Those of a wait.
    pub fn follow(&self) -> Result<bool> {
        let mode = pg_sys::LockTupleMode::LockTupleNoKeyExclusive;
        let last = pg_sys::TUPLE_LOCK_FLAG_FIND_LAST_VERSION as u8;
        let locked = self.lock_as(mode, pg_sys::LockWaitPolicy::LockWaitBlock, last)?;
        Ok(locked == Change::Done)
    }

    fn lock_as(
        &self,
        mode: pg_sys::LockTupleMode::Type,
        wait: pg_sys::LockWaitPolicy::Type,
        flags: u8,
    ) -> Result<Change> {
        // SAFETY: `row` holds a row of the table, pinned; the closure's frame is plain.
        let outcome = unsafe {
            guarded(|| {
                let Some(lock) = (*(*self.relation).rd_tableam).tuple_lock else {
                    return pg_sys::TM_Result::TM_Updated;
                };
                let mut at = (*self.row).tts_tid;
                let mut failure = pg_sys::TM_FailureData::default();
                let (row, snapshot) = (self.row, ffi::GetActiveSnapshot());
                let command = ffi::GetCurrentCommandId(true);
                lock(
                    self.relation,
                    &mut at,
                    snapshot,
                    row,
                    command,
                    mode,
                    wait,
                    flags,
                    &mut failure,
                )
            })?
        };
        self.outcome(outcome)
    }

    /// Where the row that was read last stands.
    pub fn tid(&self) -> Tid {
        // SAFETY: the slot holds a row.
        unsafe { Tid((*self.row).tts_tid) }
    }

    /// Removes the row that was read last, unless somebody else holds or has changed it.
    ///
    /// # Errors
    /// Postgres's own.
    pub fn remove(&self) -> Result<Change> {
        if self.remove_at(self.tid(), false)? == Change::Done {
            return Ok(Change::Done);
        }
        // Who holds it may be this very transaction.
        match self.lock_to_remove()? {
            Change::Done => self.remove_held(self.tid()).map(|()| Change::Done),
            Change::Elsewhere => Ok(Change::Elsewhere),
        }
    }

    /// Removes a row that has been locked for it.
    ///
    /// # Errors
    /// XX001 when it was not.
    pub fn remove_held(&self, row: Tid) -> Result<()> {
        match self.remove_at(row, true)? {
            Change::Done => Ok(()),
            Change::Elsewhere => {
                Err(Error::Corrupt { what: "a row that was locked has been changed".to_owned() })
            }
        }
    }

    fn remove_at(&self, row: Tid, wait: bool) -> Result<Change> {
        // SAFETY: the table is open; index entries go with vacuum. The closure's frame is plain.
        let outcome = unsafe {
            guarded(|| {
                let Some(delete) = (*(*self.relation).rd_tableam).tuple_delete else {
                    return pg_sys::TM_Result::TM_Updated;
                };
                ffi::CheckCmdReplicaIdentity(self.relation, pg_sys::CmdType::CMD_DELETE);
                let Tid(mut at) = row;
                let mut failure = pg_sys::TM_FailureData::default();
                let (command, none) = (ffi::GetCurrentCommandId(true), null_mut());
                let snapshot = ffi::GetActiveSnapshot();
                delete(self.relation, &mut at, command, snapshot, none, wait, &mut failure, false)
            })?
        };
        self.outcome(outcome)
    }
}
