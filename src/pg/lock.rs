//! The heavyweight locks that the engine takes beside row locks.
//!
//! One keeps emit_event and await_event of one event apart. An awaiter that looks for the event and an emitter that looks for waiters must not miss each
//! other, while awaiters need not wait for awaiters, nor emitters for emitters. Two modes of one
//! heavyweight lock say exactly that: each conflicts with the other and not with itself. Names fall
//! into a fixed number of slots, so that a transaction which emits tens of thousands of events
//! holds a bounded number of locks.

use std::ffi::c_int;

use pgrx::pg_sys;

use super::ereport::guarded;
use crate::error::Result;

unsafe extern "C-unwind" {
    fn LockAcquire(tag: *const pg_sys::LOCKTAG, mode: c_int, session: bool, dont_wait: bool)
    -> u32;
    fn hash_bytes(bytes: *const u8, length: c_int) -> u32;
}

/// Event names of one queue share this many locks.
const SLOTS: u32 = 64;

/// Sets our locks apart from those of the SQL functions pg_advisory_lock(), which use 1 and 2; the
/// next number is the lock on creating queues.
const CLASS: u16 = 0xAB;

/// The two sides of an event.
#[derive(Clone, Copy)]
pub enum EventSide {
    Emit,
    Await,
}

/// Waits until no transaction of the other side has a name of this slot under way, and keeps the
/// other side out until this transaction ends. The first lock in the engine's order.
///
/// # Errors
/// 40P01, 55P03 or 57014 when the wait is given up.
pub fn event(queue: &str, name: &str, side: EventSide) -> Result<()> {
    let mode = match side {
        EventSide::Emit => pg_sys::RowExclusiveLock,
        EventSide::Await => pg_sys::ShareLock,
    } as c_int;
    acquire(hash(queue), slot(name), mode, CLASS)
}

/// The slot of an event's name. Who needs several takes them in the order of their slots.
pub fn slot(name: &str) -> u32 {
    hash(name) % SLOTS
}

fn hash(text: &str) -> u32 {
    // SAFETY: hashes the bytes of a live string.
    unsafe { hash_bytes(text.as_ptr(), text.len() as c_int) }
}

fn acquire(field2: u32, field3: u32, mode: c_int, class: u16) -> Result<()> {
    // SAFETY: an advisory lock tag as SET_LOCKTAG_ADVISORY fills it, held to the transaction's
    // end; the closure's frame is plain.
    unsafe {
        let tag = pg_sys::LOCKTAG {
            locktag_field1: pg_sys::MyDatabaseId.to_u32(),
            locktag_field2: field2,
            locktag_field3: field3,
            locktag_field4: class,
            locktag_type: pg_sys::LockTagType::LOCKTAG_ADVISORY as u8,
            locktag_lockmethodid: pg_sys::USER_LOCKMETHOD as u8,
        };
        let tag = &raw const tag;
        guarded(|| LockAcquire(tag, mode, false, false))?;
    }
    Ok(())
}

/// Makes sessions that create queues take turns; held to the transaction's end.
///
/// # Errors
/// 40P01, 55P03 or 57014 when the wait is given up.
pub fn provisioning() -> Result<()> {
    acquire(0, 0, pg_sys::ExclusiveLock as c_int, CLASS + 1)
}
