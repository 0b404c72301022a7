//! The heavyweight locks that the engine takes beside row locks.
//!
//! One keeps emit_event and await_event of one event apart. An awaiter that looks for the event and an emitter that looks for waiters must not miss each
//! other, while awaiters need not wait for awaiters, nor emitters for emitters. Two modes of one
//! heavyweight lock say exactly that: each conflicts with the other and not with itself. Names fall
//! into a fixed number of slots, so that a transaction which emits tens of thousands of events
//! holds a bounded number of locks.

use std::collections::BTreeMap;
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
    let mode = side.mode();
    let (queue, slot) = place(queue, name);
    acquire(queue, slot, mode, CLASS, false).map(drop)
}

/// As [`event`] for several events of one queue, whose locks are taken in one order. Without `wait`
/// it gives up at the first that is not free, and says so.
///
/// # Errors
/// As [`event`].
pub fn events(queue: &str, sides: &[(&str, EventSide)], wait: bool) -> Result<bool> {
    let mut modes: BTreeMap<(u32, u32), c_int> = BTreeMap::new();
    for (name, side) in sides {
        let mode = side.mode();
        let slot = modes.entry(place(queue, name)).or_insert(mode);
        if *slot != mode {
            // Both sides of one slot, at once: one after the other could wait in a circle.
            *slot = pg_sys::ExclusiveLock as c_int;
        }
    }
    for ((queue, slot), mode) in modes {
        if !acquire(queue, slot, mode, CLASS, !wait)? {
            return Ok(false);
        }
    }
    Ok(true)
}

impl EventSide {
    const fn mode(self) -> c_int {
        match self {
            Self::Emit => pg_sys::RowExclusiveLock as c_int,
            Self::Await => pg_sys::ShareLock as c_int,
        }
    }
}

/// The lock of an event: its queue and its slot.
fn place(queue: &str, name: &str) -> (u32, u32) {
    // SAFETY: hashes the bytes of two live strings.
    unsafe {
        (
            hash_bytes(queue.as_ptr(), queue.len() as c_int),
            hash_bytes(name.as_ptr(), name.len() as c_int) % SLOTS,
        )
    }
}

/// Whether the lock was got, as it always is unless `dont_wait`.
fn acquire(field2: u32, field3: u32, mode: c_int, class: u16, dont_wait: bool) -> Result<bool> {
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
        // 0 is LOCKACQUIRE_NOT_AVAIL.
        Ok(guarded(|| LockAcquire(tag, mode, false, dont_wait))? != 0)
    }
}

/// Makes sessions that create queues take turns; held to the transaction's end.
///
/// # Errors
/// 40P01, 55P03 or 57014 when the wait is given up.
pub fn provisioning() -> Result<()> {
    acquire(0, 0, pg_sys::ExclusiveLock as c_int, CLASS + 1, false).map(drop)
}

/// Whether this session is the one to look at the front of a queue: of several, one is, to its
/// transaction's end.
pub fn front(queue: &str) -> Result<bool> {
    let (queue, _) = place(queue, "");
    acquire(queue, 0, pg_sys::ExclusiveLock as c_int, CLASS + 3, true)
}

/// Makes sessions that register workflow documents take turns, so that registrations are numbered
/// without gaps or doubles; held to the transaction's end.
///
/// # Errors
/// As [`provisioning`].
pub fn registering() -> Result<()> {
    acquire(0, 0, pg_sys::ExclusiveLock as c_int, CLASS + 2, false).map(drop)
}
