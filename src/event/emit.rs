//! emit_event: the event happens, once, and its waiters wake.

use crate::error::Result;
use crate::params;
use crate::pg::lock::{self, EventSide};
use crate::pg::{Jsonb, Session, Statement};
use crate::queue::QueueName;

static EMIT: Statement = Statement::new(include_str!("../../sql/event/emit.sql"));
static WAKE: Statement = Statement::new(include_str!("../../sql/event/wake.sql"));

/// Emits an event. The first emission of a name stands, later ones change nothing.
///
/// # Errors
/// 42P01 for an unknown queue.
pub fn run(session: &Session, queue: &QueueName, name: &str, payload: Jsonb) -> Result<()> {
    lock::event(queue.as_str(), name, EventSide::Emit)?;
    let now = session.now();
    let rows = session.run(&EMIT, queue, params![name, payload, now])?;
    let has_waiters = rows.first().map(|row| row.need(0)).transpose()?;
    if has_waiters == Some(true) {
        session.run(&WAKE, queue, params![name, payload, now])?;
    }
    Ok(())
}
