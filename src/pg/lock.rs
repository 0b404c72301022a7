//! The heavyweight locks that the engine takes beside row locks.
//!
//! Those of events keep emit_event and await_event of one event apart: an awaiter that looks for
//! the event and an emitter that looks for waiters must not miss each other, while awaiters need
//! not wait for awaiters, nor emitters for emitters. Two modes of one lock say exactly that: ROW
//! EXCLUSIVE and SHARE conflict with each other and neither with itself.
//!
//! | lock             | emitting a name | awaiting a name | emitting any name | awaiting any name |
//! |------------------|-----------------|-----------------|-------------------|-------------------|
//! | queue's awaiters |                 | ROW EXCLUSIVE   | SHARE             | ROW EXCLUSIVE     |
//! | queue's emitters | ROW EXCLUSIVE   |                 | ROW EXCLUSIVE     | SHARE             |
//! | the name         | ROW EXCLUSIVE   | SHARE           |                   |                   |
//!
//! So who emits or awaits single names meets only the other side of those names. A transaction
//! holds at most [`MOST_NAMES`] of them, since the server's lock table is shared by all: who needs
//! more takes any name of the queue instead, and meets all of the other side there.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::c_int;

use pgrx::pg_sys;

use super::ereport::guarded;
use super::ffi::{GetCurrentTransactionNestLevel, LockAcquire, hash_bytes_extended};
use super::major;
use crate::error::Result;

/// Names of events that a transaction locks one by one.
const MOST_NAMES: usize = 1000;

/// What a lock of ours is about. The numbers set them apart from each other and from those of the
/// SQL functions pg_advisory_lock(), which use 1 and 2.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u16)]
enum Class {
    EventName = 0xAB,
    Provisioning = 0xAC,
    Registering = 0xAD,
    Front = 0xAE,
    Awaiters = 0xAF,
    Emitters = 0xB0,
    Looking = 0xB1,
    Probing = 0xB2,
}

/// A lock: what it is about, and of which queue or name, as 64 bits of a hash.
type Tag = (Class, u64);

const ROW_EXCLUSIVE: c_int = pg_sys::RowExclusiveLock as c_int;
const SHARE: c_int = pg_sys::ShareLock as c_int;
/// Both of the above at once: one after the other could wait in a circle.
const BOTH: c_int = pg_sys::ShareRowExclusiveLock as c_int;

thread_local! {
    /// How many names' locks the transaction has taken, by the nesting level of the subtransaction
    /// that holds them, from the outermost in.
    static NAMES: RefCell<Vec<(c_int, usize)>> = const { RefCell::new(Vec::new()) };
}

/// The two sides of an event.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum EventSide {
    Emit,
    Await,
}

/// Waits until no transaction of the other side has the name under way, and keeps the other side
/// out until this transaction ends. The first lock in the engine's order.
///
/// # Errors
/// 40P01, 55P03 or 57014 when the wait is given up.
pub fn event(queue: &str, name: &str, side: EventSide) -> Result<()> {
    events(queue, &[(name, side)], true).map(drop)
}

/// As [`event`] for several events of one queue, whose locks are taken in one order. Without `wait`
/// it gives up at the first that is not free, and says so.
///
/// # Errors
/// As [`event`].
pub fn events(queue: &str, sides: &[(&str, EventSide)], wait: bool) -> Result<bool> {
    let of_queue = hash(queue, 0);
    let mut names: BTreeMap<Tag, c_int> = BTreeMap::new();
    for (name, side) in sides {
        let mode = if *side == EventSide::Emit { ROW_EXCLUSIVE } else { SHARE };
        let wanted = names.entry((Class::EventName, hash(name, of_queue))).or_insert(mode);
        if *wanted != mode {
            *wanted = BOTH;
        }
    }
    let room = MOST_NAMES.saturating_sub(names_held());
    if names.len() > room {
        names.retain(|tag, mode| !is_held(*tag, *mode));
    }
    let any_name = names.len() > room;
    if any_name {
        names.clear();
    }
    let has = |side| sides.iter().any(|(_, other)| *other == side);
    let (emits, awaits) = (has(EventSide::Emit), has(EventSide::Await));
    let modes = [
        (Class::Awaiters, mode(awaits, any_name && emits)),
        (Class::Emitters, mode(emits, any_name && awaits)),
    ];
    let of_sides = modes.into_iter().filter_map(|(class, mode)| Some(((class, of_queue), mode?)));
    for (tag, mode) in of_sides.chain(names) {
        match acquire(tag, mode, !wait)? {
            Acquired::Not => return Ok(false),
            Acquired::New if tag.0 == Class::EventName => count_name(),
            Acquired::New | Acquired::Again => {}
        }
    }
    Ok(true)
}

/// The mode in which a side's lock of a queue is taken, by who is of the side and by who keeps it
/// out.
const fn mode(is_of_it: bool, keeps_it_out: bool) -> Option<c_int> {
    match (is_of_it, keeps_it_out) {
        (false, false) => None,
        (true, false) => Some(ROW_EXCLUSIVE),
        (false, true) => Some(SHARE),
        (true, true) => Some(BOTH),
    }
}

fn hash(text: &str, seed: u64) -> u64 {
    // SAFETY: hashes the bytes of a live string.
    unsafe { hash_bytes_extended(text.as_ptr(), text.len() as c_int, seed) }
}

fn names_held() -> usize {
    NAMES.with_borrow(|levels| levels.iter().map(|(_, count)| count).sum())
}

fn count_name() {
    // SAFETY: reads the state of this backend's transaction.
    let level = unsafe { GetCurrentTransactionNestLevel() };
    NAMES.with_borrow_mut(|levels| match levels.last_mut() {
        Some((last, count)) if *last == level => *count += 1,
        _ => levels.push((level, 1)),
    });
}

/// The transaction has ended, and with it its locks.
pub(super) fn forget() {
    NAMES.with_borrow_mut(Vec::clear);
}

/// A subtransaction ends: its locks are released, or become those of the one around it.
pub(super) fn end_level(is_committed: bool) {
    // SAFETY: as above; while Postgres tells of its end, the subtransaction is still the current
    // one.
    let level = unsafe { GetCurrentTransactionNestLevel() };
    NAMES.with_borrow_mut(|levels| {
        let mut ended = 0;
        while let Some((_, count)) = levels.pop_if(|(last, _)| *last >= level) {
            ended += count;
        }
        if !is_committed || ended == 0 {
            return;
        }
        match levels.last_mut() {
            Some((last, count)) if *last == level - 1 => *count += ended,
            _ => levels.push((level - 1, ended)),
        }
    });
}

/// What came of asking for a lock.
enum Acquired {
    /// Somebody else has it.
    Not,
    New,
    /// The transaction had it already.
    Again,
}

/// An advisory lock tag as SET_LOCKTAG_ADVISORY fills it.
fn locktag((class, hash): Tag) -> pg_sys::LOCKTAG {
    pg_sys::LOCKTAG {
        // SAFETY: reads a global of this backend.
        locktag_field1: unsafe { pg_sys::MyDatabaseId.to_u32() },
        locktag_field2: (hash >> 32) as u32,
        locktag_field3: hash as u32,
        locktag_field4: class as u16,
        locktag_type: pg_sys::LockTagType::LOCKTAG_ADVISORY as u8,
        locktag_lockmethodid: pg_sys::USER_LOCKMETHOD as u8,
    }
}

/// Takes a lock to the transaction's end.
fn acquire(tag: Tag, mode: c_int, dont_wait: bool) -> Result<Acquired> {
    let tag = locktag(tag);
    let tag = &raw const tag;
    // SAFETY: the tag outlives the call; the closure's frame is plain.
    let outcome = unsafe { guarded(|| LockAcquire(tag, mode, false, dont_wait))? };
    // LOCKACQUIRE_NOT_AVAIL, LOCKACQUIRE_OK, and two kinds of having had it.
    Ok(match outcome {
        0 => Acquired::Not,
        1 => Acquired::New,
        _ => Acquired::Again,
    })
}

/// Whether the transaction has a lock in this mode.
fn is_held(tag: Tag, mode: c_int) -> bool {
    let tag = locktag(tag);
    // SAFETY: a look into this backend's own table of locks.
    unsafe { major::holds(&tag, mode) }
}

/// Makes sessions that create queues take turns; held to the transaction's end.
///
/// # Errors
/// 40P01, 55P03 or 57014 when the wait is given up.
pub fn provisioning() -> Result<()> {
    acquire((Class::Provisioning, 0), pg_sys::ExclusiveLock as c_int, false).map(drop)
}

/// Whether this session is the one to look at the front of a queue: of several, one is, to its
/// transaction's end.
pub fn front(queue: &str) -> Result<bool> {
    let tag = (Class::Front, hash(queue, 0));
    Ok(!matches!(acquire(tag, pg_sys::ExclusiveLock as c_int, true)?, Acquired::Not))
}

/// Whether this session may look at all weeks of a queue: of several, one may at a time, to the end
/// of the subtransaction in which it does.
pub fn looking(queue: &str) -> Result<bool> {
    let tag = (Class::Looking, hash(queue, 0));
    Ok(!matches!(acquire(tag, pg_sys::ExclusiveLock as c_int, true)?, Acquired::Not))
}

/// Whether this session may let a step probe a breaker that is not closed, the answer of which it
/// has to look at then: of several, one may at a time. Never waited for, so that no one waits in a
/// circle who holds it.
///
/// # Errors
/// 53200 when the server's lock table is full.
pub fn probing(workflow: &str, node: &str) -> Result<bool> {
    let tag = (Class::Probing, hash(node, hash(workflow, 0)));
    Ok(!matches!(acquire(tag, pg_sys::ExclusiveLock as c_int, true)?, Acquired::Not))
}

/// Makes sessions that register workflow documents take turns, so that registrations are numbered
/// without gaps or doubles; held to the transaction's end.
///
/// # Errors
/// As [`provisioning`].
pub fn registering() -> Result<()> {
    acquire((Class::Registering, 0), pg_sys::ExclusiveLock as c_int, false).map(drop)
}
