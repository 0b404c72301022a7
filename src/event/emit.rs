//! emit_event and emit_events: an event happens, once, and its waiters wake.

use crate::error::{Error, Result};
use crate::params;
use crate::pg::lock::{self, EventSide};
use crate::pg::row::Rows;
use crate::pg::trigger::{Fired, Version};
use crate::pg::{Jsonb, Session, Statement};
use crate::queue::{QueueName, ready};

static EMIT: Statement = Statement::new(include_str!("../../sql/event/emit.sql"));
static WAITERS: Statement = Statement::new(
    "select count(*) from {w}
      where event_name = $1 and (timeout_at is null or timeout_at > $2)",
);
static WAKE: Statement = Statement::new(include_str!("../../sql/event/wake.sql"));

/// Emits events; none of them twice in one call. The first emission of a name stands, later ones
/// change nothing. Returns the places of those that are new.
///
/// The locks of all names come first, and the runs that wait for any of them are taken in one order:
/// taking a second name's lock while holding the runs of a first one is how two would wait for each
/// other in a circle.
///
/// # Errors
/// 42P01 for an unknown queue; 40001 when the transaction keeps a snapshot that does not show every
/// waiter.
pub fn run(session: &Session, queue: &QueueName, events: &[(&str, Jsonb)]) -> Result<Vec<usize>> {
    let sides: Vec<_> = events.iter().map(|(name, _)| (*name, EventSide::Emit)).collect();
    lock::events(queue.as_str(), &sides, true)?;
    let now = session.now();
    let mut awaited: Vec<(String, Jsonb)> = Vec::new();
    let mut new = Vec::new();
    for (place, (name, payload)) in events.iter().enumerate() {
        if session.keeps_snapshot() {
            check_snapshot(session, queue, name)?;
        }
        let rows = session.run(&EMIT, queue, params![*name, *payload, now])?;
        let has_waiters = rows.first().map(|row| row.need(0)).transpose()?;
        if has_waiters.is_some() {
            new.push(place);
        }
        if has_waiters == Some(true) {
            awaited.push(((*name).to_owned(), *payload));
        }
    }
    if awaited.is_empty() {
        return Ok(new);
    }
    let (names, payloads): (Vec<_>, Vec<_>) =
        awaited.into_iter().map(|(name, payload)| (Some(name), Some(payload))).unzip();
    session.run(&WAKE, queue, params![names, payloads, now])?;
    ready::announce(session, queue, now)?;
    Ok(new)
}

/// Takes the emitter's side of an event whose row is being inserted, into the table of the queue that
/// is the trigger's argument. Clients that write the table themselves meet await_event this way.
pub fn guard(fired: &Fired) -> Result<()> {
    let name: Option<String> = fired.get(Version::New, "event_name")?;
    match (fired.argument()?, name) {
        (Some(queue), Some(name)) => lock::event(&queue, &name, EventSide::Emit),
        // A row without a name is refused by its column.
        _ => Ok(()),
    }
}

fn check_snapshot(session: &Session, queue: &QueueName, name: &str) -> Result<()> {
    let values = params![name, session.now()];
    let seen = session.run(&WAITERS, queue, values)?;
    let all = session.run_latest(&WAITERS, queue, values)?;
    let count = |rows: Rows| rows.first().map_or(Ok(0), |row| row.need::<i64>(0));
    if count(seen)? == count(all)? {
        return Ok(());
    }
    Err(Error::Serialization {
        what: format!("a run began or ceased to wait for event \"{name}\""),
    })
}
