//! Noticing ends of transactions: what a backend remembers of what it did in one is wrong when
//! that, or a part of it, is rolled back, and its locks are gone.

use std::cell::Cell;
use std::ffi::c_void;
use std::ptr::null_mut;

use pgrx::pg_sys;

use super::ffi::{RegisterSubXactCallback, RegisterXactCallback};
use super::lock;

thread_local! {
    static ABORTS: Cell<u64> = const { Cell::new(0) };
    static IS_COUNTED: Cell<bool> = const { Cell::new(true) };
}

/// Asks Postgres to tell of ends of transactions; called once when the library is loaded.
pub fn install() {
    // SAFETY: registers functions that live as long as the library.
    unsafe {
        RegisterXactCallback(Some(transaction), null_mut());
        RegisterSubXactCallback(Some(subtransaction), null_mut());
    }
}

/// How many transactions and subtransactions of this backend have been rolled back so far.
pub fn count() -> u64 {
    ABORTS.get()
}

/// Runs `f`, which rolls back a subtransaction that has only read.
pub fn uncounted<T>(f: impl FnOnce() -> T) -> T {
    IS_COUNTED.set(false);
    let value = f();
    IS_COUNTED.set(true);
    value
}

fn add() {
    if IS_COUNTED.get() {
        ABORTS.set(ABORTS.get() + 1);
    }
}

/// # Safety
/// Called by Postgres at the steps of a transaction's end.
unsafe extern "C-unwind" fn transaction(event: pg_sys::XactEvent::Type, _: *mut c_void) {
    match event {
        pg_sys::XactEvent::XACT_EVENT_ABORT => {
            add();
            lock::forget();
        }
        pg_sys::XactEvent::XACT_EVENT_COMMIT | pg_sys::XactEvent::XACT_EVENT_PREPARE => {
            lock::forget();
        }
        _ => {}
    }
}

/// # Safety
/// Called by Postgres at the steps of a subtransaction.
unsafe extern "C-unwind" fn subtransaction(
    event: pg_sys::SubXactEvent::Type,
    _: pg_sys::SubTransactionId,
    _: pg_sys::SubTransactionId,
    _: *mut c_void,
) {
    match event {
        pg_sys::SubXactEvent::SUBXACT_EVENT_ABORT_SUB => {
            add();
            lock::end_level(false);
        }
        pg_sys::SubXactEvent::SUBXACT_EVENT_COMMIT_SUB => lock::end_level(true),
        _ => {}
    }
}
