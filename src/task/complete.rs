//! complete_run: the work is done.

use super::lease;
use crate::error::Result;
use crate::params;
use crate::pg::{Jsonb, Session, Statement, Uuid};
use crate::queue::QueueName;

static COMPLETE: Statement = Statement::new(include_str!("../../sql/task/complete.sql"));

/// Completes a running run and its task with a payload.
///
/// # Errors
/// AB001, AB002, 55000 or 02000 when the run is not running.
pub fn run(session: &Session, queue: &QueueName, run: Uuid, payload: Option<Jsonb>) -> Result<()> {
    let rows = session.run(&COMPLETE, queue, params![run, payload, session.now()])?;
    lease::settled(session, queue, run, rows)
}
