//! complete_run: the work is done.

use super::direct::complete::{self as direct, Settled};
use super::followed::Outcome;
use super::lease;
use crate::error::Result;
use crate::params;
use crate::pg::{Jsonb, Session, Statement, Uuid};
use crate::queue::QueueName;

static COMPLETE: Statement = Statement::new(include_str!("../../sql/task/complete.sql"));
/// For a run that is completed already, of a task that has been followed since a moment ago: whoever
/// follows is told.
static TASK: Statement = Statement::new(
    "update {t} t
        set state = 'completed', completed_payload = $2,
            cancel_done = case when t.cancellation is not null then true else t.cancel_done end
       from {r} r
      where r.run_id = $1 and t.task_id = r.task_id and t.workflow_step
        and t.state in ('pending', 'running', 'sleeping')
     returning t.task_id",
);

/// Completes a running run and its task with a payload.
///
/// # Errors
/// AB001, 55000 when the task has ended without its run.
pub fn run(
    session: &Session,
    queue: &QueueName,
    run: Uuid,
    payload: Option<Jsonb>,
) -> Result<Outcome> {
    match direct::run(session, queue, run, payload, false)? {
        Some(Settled::Done) => return Ok(Outcome::Done),
        Some(Settled::Refused) => return Ok(Outcome::Refused),
        Some(Settled::TaskRefused) => return late(session, queue, run, payload),
        None => {}
    }
    let rows = session.run(&COMPLETE, queue, params![run, payload, session.now()])?;
    match rows.first().map(|row| row.need(0)).transpose()? {
        Some(true) => Ok(Outcome::Done),
        None => Ok(Outcome::Refused),
        Some(false) => late(session, queue, run, payload),
    }
}

/// The run is completed, its task was not.
fn late(
    session: &Session,
    queue: &QueueName,
    run: Uuid,
    payload: Option<Jsonb>,
) -> Result<Outcome> {
    match session.run(&TASK, queue, params![run, payload])?.first() {
        Some(row) => Ok(Outcome::Joined(row.need(0)?)),
        None => Err(lease::task_has_ended(session, queue, run)?),
    }
}
