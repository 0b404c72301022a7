//! Notifications, and a backend's memory of which queues want them.
//!
//! Every spawn must know whether its queue wants a notification, and reading the registry would
//! cost each of them a look-up. A backend remembers the answers instead. A trigger on the registry
//! declares its relation changed, and Postgres tells every backend so before it runs its next
//! statement.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ffi::CString;

use pgrx::{PgTrigger, pg_sys};

use super::ereport::guarded;
use super::ffi::{Async_Notify, CacheInvalidateRelcacheByRelid, CacheRegisterRelcacheCallback};
use crate::error::{Error, Result};

/// Answers kept at most; beyond, they are asked for anew.
const KEPT: usize = 4096;

#[derive(Default)]
struct Memory {
    /// The registry's relation, once an answer has been remembered.
    registry: Option<pg_sys::Oid>,
    wanted: HashMap<Box<str>, bool>,
}

thread_local! {
    static MEMORY: RefCell<Memory> = RefCell::default();
    /// How often relations have changed.
    static CHANGES: Cell<u64> = const { Cell::new(0) };
}

/// Asks Postgres to tell of changed relations; called once when the library is loaded.
pub fn install() {
    // SAFETY: registers a function that lives as long as the library.
    unsafe { CacheRegisterRelcacheCallback(Some(changed), pg_sys::Datum::null()) }
}

/// # Safety
/// Called by Postgres with the relation that changed, or none when all may have.
unsafe extern "C-unwind" fn changed(_: pg_sys::Datum, relation: pg_sys::Oid) {
    CHANGES.set(CHANGES.get().wrapping_add(1));
    MEMORY.with(|memory| {
        if let Ok(mut memory) = memory.try_borrow_mut()
            && (relation == pg_sys::InvalidOid || memory.registry == Some(relation))
        {
            memory.wanted.clear();
        }
    });
}

/// The answer remembered for a queue.
pub fn remembered(queue: &str) -> Option<bool> {
    MEMORY.with_borrow(|memory| memory.wanted.get(queue).copied())
}

/// How often relations have changed, for [`remember`].
pub fn changes() -> u64 {
    CHANGES.get()
}

/// Remembers an answer that was read since `changes`, unless a relation has changed meanwhile.
pub fn remember(queue: &str, wanted: bool, changes: u64) -> Result<()> {
    let registry = super::catalog::id("queues")?;
    if CHANGES.get() != changes {
        return Ok(());
    }
    MEMORY.with_borrow_mut(|memory| {
        if memory.wanted.len() >= KEPT {
            memory.wanted.clear();
        }
        memory.registry = registry;
        if registry.is_some() {
            memory.wanted.insert(queue.into(), wanted);
        }
    });
    Ok(())
}

/// Declares that rows of a trigger's relation have changed in a way that backends remember.
pub fn forget_relation_of(trigger: &PgTrigger) -> Result<()> {
    // SAFETY: a trigger's relation is open while it runs; the message is queued for the
    // transaction's end.
    unsafe {
        let relation = (*trigger.trigger_data().tg_relation).rd_id;
        guarded(|| CacheInvalidateRelcacheByRelid(relation))
    }
}

/// Sends a notification when the transaction commits, once however often it is asked for.
pub fn send(channel: &str, payload: &str) -> Result<()> {
    let text = |text: &str| {
        CString::new(text)
            .map_err(|_| Error::invalid("notification", "must not contain a zero byte"))
    };
    let (channel, payload) = (text(channel)?, text(payload)?);
    let (channel, payload) = (channel.as_ptr(), payload.as_ptr());
    // SAFETY: both texts outlive the call, which copies them.
    unsafe { guarded(|| Async_Notify(channel, payload)) }
}
