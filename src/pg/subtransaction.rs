//! An attempt whose failure the rest of the call survives.

use std::ffi::c_char;

use pgrx::pg_sys;

use super::Session;
use super::ereport::{Caught, guarded};
use crate::error::{Error, Result};

unsafe extern "C-unwind" {
    fn BeginInternalSubTransaction(name: *const c_char);
    fn ReleaseCurrentSubTransaction();
    fn RollbackAndReleaseCurrentSubTransaction();
}

impl Session {
    /// Runs `f` in a subtransaction: what it did is undone when it fails, and the call may go on.
    /// The error comes back as the inner result; the outer one is Postgres failing at the
    /// subtransaction itself.
    pub fn attempt<T>(&self, f: impl FnOnce() -> Result<T>) -> Result<Result<T>> {
        // SAFETY: begun and ended here, with context and resource owner put back as plpgsql's
        // exception blocks do; the closures' frames are plain.
        unsafe {
            let (context, owner) = (pg_sys::CurrentMemoryContext, pg_sys::CurrentResourceOwner);
            guarded(|| BeginInternalSubTransaction(std::ptr::null()))?;
            pg_sys::MemoryContextSwitchTo(context);
            let outcome = f();
            let ended = match &outcome {
                Ok(_) => guarded(|| ReleaseCurrentSubTransaction()),
                Err(_) => guarded(|| RollbackAndReleaseCurrentSubTransaction()),
            };
            pg_sys::MemoryContextSwitchTo(context);
            pg_sys::CurrentResourceOwner = owner;
            ended?;
            Ok(outcome)
        }
    }
}

/// Whether an attempt failed with this SQLSTATE of Postgres's.
pub fn failed_with<T>(outcome: &Result<T>, sqlstate: &str) -> bool {
    matches!(outcome, Err(Error::Postgres(caught)) if Caught::is(caught, sqlstate))
}
