//! complete_run: the work is done.

use super::followed::Outcome;
use super::lease;
use crate::error::Result;
use crate::params;
use crate::pg::{Jsonb, Session, Statement, Uuid};
use crate::queue::QueueName;

const RUN: &str = include_str!("../../sql/task/complete.sql");
const TASK: &str = include_str!("../../sql/task/complete_task.sql");
const UNLESS: &str = "and t.workflow_step is not true";
const IF: &str = "and t.workflow_step";
static PLAIN_RUN: Statement = Statement::with(RUN, "<followed>", UNLESS);
static PLAIN_TASK: Statement = Statement::with(TASK, "<followed>", UNLESS);
static ANY_RUN: Statement = Statement::with(RUN, "<followed>", "");
static ANY_TASK: Statement = Statement::with(TASK, "<followed>", "");
/// For a run that is completed already, of a task that has been followed since a moment ago:
/// whoever follows is told.
static FOLLOWED_TASK: Statement = Statement::with(TASK, "<followed>", IF);
static FORGET_WAITS: Statement = Statement::new("delete from {w} where run_id = $1");

/// Completes a running run and its task with a payload, unless steps follow the task.
///
/// # Errors
/// AB001, 55000 when the task has ended without its run.
pub fn run(
    session: &Session,
    queue: &QueueName,
    run: Uuid,
    payload: Option<Jsonb>,
) -> Result<Outcome> {
    let Some(task) = complete(session, queue, &PLAIN_RUN, run, payload)? else {
        return Ok(Outcome::Refused);
    };
    if !session.run(&PLAIN_TASK, queue, params![task, payload])?.is_empty() {
        return Ok(Outcome::Done);
    }
    match session.run(&FOLLOWED_TASK, queue, params![task, payload])?.first() {
        Some(row) => Ok(Outcome::Joined(row.need(0)?)),
        None => Err(lease::task_has_ended(session, queue, run)?),
    }
}

/// As [`run`], whoever follows the task; false when the run is not running.
///
/// # Errors
/// AB001, 55000 when the task has ended without its run.
pub fn any(
    session: &Session,
    queue: &QueueName,
    run: Uuid,
    payload: Option<Jsonb>,
) -> Result<bool> {
    let Some(task) = complete(session, queue, &ANY_RUN, run, payload)? else { return Ok(false) };
    if session.run(&ANY_TASK, queue, params![task, payload])?.is_empty() {
        return Err(lease::task_has_ended(session, queue, run)?);
    }
    Ok(true)
}

/// Completes the run alone and forgets its waits; returns its task.
fn complete(
    session: &Session,
    queue: &QueueName,
    statement: &'static Statement,
    run: Uuid,
    payload: Option<Jsonb>,
) -> Result<Option<Uuid>> {
    let rows = session.run(statement, queue, params![run, payload, session.now()])?;
    let Some(row) = rows.first() else { return Ok(None) };
    let task = row.need(0)?;
    if row.need(1)? {
        session.run(&FORGET_WAITS, queue, params![run])?;
    }
    Ok(Some(task))
}
