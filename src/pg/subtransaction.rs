//! An attempt whose failure the rest of the call survives.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::thread;

use pgrx::pg_sys;

use super::ereport::{Caught, guarded};
use super::ffi::{
    AtEOXact_GUC, BeginInternalSubTransaction, NewGUCNestLevel, ReleaseCurrentSubTransaction,
    RollbackAndReleaseCurrentSubTransaction,
};
use super::{Session, aborts, guc};
use crate::error::{Error, Result};

impl Session {
    /// Runs `f` in a subtransaction: what it did is undone when it fails, and the call may go on.
    /// The error comes back as the inner result; the outer one is Postgres failing at the
    /// subtransaction itself.
    pub fn attempt<T>(&self, f: impl FnOnce() -> Result<T>) -> Result<Result<T>> {
        self.subtransaction(f, |outcome| match outcome {
            Ok(Ok(_)) => release(),
            _ => roll_back(),
        })
    }

    /// As [`Session::attempt`], and what `f` did is undone in any case.
    pub fn rehearse<T>(&self, f: impl FnOnce() -> Result<T>) -> Result<Result<T>> {
        self.subtransaction(f, |_| roll_back())
    }

    /// Runs `f`, which only reads, in a subtransaction that is rolled back in any case: what it has
    /// locked is free again.
    pub fn peek<T>(&self, f: impl FnOnce() -> Result<T>) -> Result<Result<T>> {
        self.subtransaction(f, |_| aborts::uncounted(roll_back))
    }

    fn subtransaction<T>(
        &self,
        f: impl FnOnce() -> Result<T>,
        end: impl FnOnce(&thread::Result<Result<T>>) -> Result<()>,
    ) -> Result<Result<T>> {
        // SAFETY: begun and ended here, with context and resource owner put back as plpgsql's
        // exception blocks do; the closures' frames are plain.
        unsafe {
            let (context, owner) = (pg_sys::CurrentMemoryContext, pg_sys::CurrentResourceOwner);
            guarded(|| BeginInternalSubTransaction(std::ptr::null()))?;
            pg_sys::MemoryContextSwitchTo(context);
            // What pgrx catches of Postgres's errors comes up as a panic.
            let outcome = catch_unwind(AssertUnwindSafe(|| self.apart(f)));
            let ended = end(&outcome);
            pg_sys::MemoryContextSwitchTo(context);
            pg_sys::CurrentResourceOwner = owner;
            ended?;
            outcome.map_or_else(|panic| resume_unwind(panic), Ok)
        }
    }

    /// As [`Session::attempt`], for work that must not make its caller wait: what waits for a lock
    /// for longer than a moment fails with 55P03.
    pub fn attempt_briefly<T>(&self, f: impl FnOnce() -> Result<T>) -> Result<Result<T>> {
        self.attempt(|| {
            // SAFETY: as a function's SET clause does it; on an error the subtransaction's end puts
            // the setting back. The closures' frames are plain.
            unsafe {
                let level = guarded(|| {
                    let level = NewGUCNestLevel();
                    guc::set_locally(c"lock_timeout", c"10ms");
                    level
                })?;
                let value = f()?;
                guarded(|| AtEOXact_GUC(true, level))?;
                Ok(value)
            }
        })
    }
}

fn release() -> Result<()> {
    // SAFETY: of the subtransaction that `Session::subtransaction` has begun.
    unsafe { guarded(|| ReleaseCurrentSubTransaction()) }
}

fn roll_back() -> Result<()> {
    // SAFETY: as in `release`.
    unsafe { guarded(|| RollbackAndReleaseCurrentSubTransaction()) }
}

/// Whether an attempt failed with this SQLSTATE of Postgres's.
pub fn failed_with<T>(outcome: &Result<T>, sqlstate: &str) -> bool {
    matches!(outcome, Err(Error::Postgres(caught)) if Caught::is(caught, sqlstate))
}
