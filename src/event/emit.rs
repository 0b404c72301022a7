//! emit_event: the event happens, once, and its waiters wake.

use crate::error::{Error, Result};
use crate::params;
use crate::pg::lock::{self, EventSide};
use crate::pg::row::Rows;
use crate::pg::{Jsonb, Session, Statement};
use crate::queue::{QueueName, ready};

static EMIT: Statement = Statement::new(include_str!("../../sql/event/emit.sql"));
static WAITERS: Statement = Statement::new(
    "select count(*) from {w}
      where event_name = $1 and (timeout_at is null or timeout_at > $2)",
);
static WAKE: Statement = Statement::new(include_str!("../../sql/event/wake.sql"));

/// Emits an event. The first emission of a name stands, later ones change nothing.
///
/// # Errors
/// 42P01 for an unknown queue; 40001 when the transaction keeps a snapshot that does not show every
/// waiter.
pub fn run(session: &Session, queue: &QueueName, name: &str, payload: Jsonb) -> Result<()> {
    lock::event(queue.as_str(), name, EventSide::Emit)?;
    let now = session.now();
    if session.keeps_snapshot() {
        let seen = session.run(&WAITERS, queue, params![name, now])?;
        let all = session.run_latest(&WAITERS, queue, params![name, now])?;
        let count = |rows: Rows| rows.first().map_or(Ok(0), |row| row.need::<i64>(0));
        if count(seen)? != count(all)? {
            return Err(Error::Serialization {
                what: format!("a run began or ceased to wait for event \"{name}\""),
            });
        }
    }
    let rows = session.run(&EMIT, queue, params![name, payload, now])?;
    let has_waiters = rows.first().map(|row| row.need(0)).transpose()?;
    if has_waiters == Some(true) {
        session.run(&WAKE, queue, params![name, payload, now])?;
        ready::announce(session, queue, now)?;
    }
    Ok(())
}
