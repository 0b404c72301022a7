//! Spawns.

use crate::error::Result;
use crate::params;
use crate::pg::direct::Access;
use crate::pg::{Jsonb, Param, Session, Timestamp, Uuid};
use crate::queue::QueueName;
use crate::queue::rows::{self, runs, tasks};
use crate::task::state::State;

/// A task to insert with its first run.
pub struct New<'a> {
    pub task: Uuid,
    pub run: Uuid,
    pub name: &'a str,
    pub params: Option<Jsonb>,
    pub headers: Option<Jsonb>,
    pub retry_strategy: Option<Jsonb>,
    pub max_attempts: Option<i32>,
    pub cancellation: Option<Jsonb>,
    pub available_at: Timestamp,
    pub tenant: Option<&'a str>,
    pub workflow_run: Option<Uuid>,
    pub priority: i16,
    /// Of a task that steps follow: the seconds that an attempt may take, and whether late workers are
    /// left alone.
    pub step: Option<(Option<f64>, bool)>,
}

/// Inserts the two rows; false when a statement must do it.
///
/// # Errors
/// Those of the tables' constraints.
pub fn run(session: &Session, queue: &QueueName, new: &New) -> Result<bool> {
    let Some(runs) = rows::open(session, queue, "r", &runs::LAYOUT, Access::Write)? else {
        return Ok(false);
    };
    let Some(tasks) = rows::open(session, queue, "t", &tasks::LAYOUT, Access::Write)? else {
        return Ok(false);
    };
    let (timeout, leave_late) = new.step.unwrap_or_default();
    let [task, run, pending, first, now, tenant]: &[Param; 6] =
        params![new.task, new.run, State::Pending.as_str(), 1, session.now(), new.tenant,];
    let [name, given, headers, retry_strategy, max_attempts, cancellation, workflow_run]: &[Param;
         7] = params![
        new.name,
        new.params,
        new.headers,
        new.retry_strategy,
        new.max_attempts,
        new.cancellation,
        new.workflow_run,
    ];
    let [is_step, timeout, leave_late, available_at, priority]: &[Param; 5] = params![
        new.step.map(|_| true),
        timeout,
        new.step.map(|_| leave_late),
        new.available_at,
        new.priority,
    ];
    tasks.insert(&[
        (tasks::TASK_ID, *task),
        (tasks::TASK_NAME, *name),
        (tasks::PARAMS, *given),
        (tasks::HEADERS, *headers),
        (tasks::RETRY_STRATEGY, *retry_strategy),
        (tasks::MAX_ATTEMPTS, *max_attempts),
        (tasks::CANCELLATION, *cancellation),
        (tasks::ENQUEUE_AT, *now),
        (tasks::STATE, *pending),
        (tasks::ATTEMPTS, *first),
        (tasks::LAST_ATTEMPT_RUN, *run),
        (tasks::TENANT_ID, *tenant),
        (tasks::WORKFLOW_RUN_ID, *workflow_run),
        (tasks::WORKFLOW_STEP, *is_step),
        (tasks::ATTEMPT_TIMEOUT, *timeout),
        (tasks::LEAVE_LATE, *leave_late),
    ])?;
    runs.insert(&[
        (runs::RUN_ID, *run),
        (runs::TASK_ID, *task),
        (runs::ATTEMPT, *first),
        (runs::STATE, *pending),
        (runs::AVAILABLE_AT, *available_at),
        (runs::CREATED_AT, *now),
        (runs::TENANT_ID, *tenant),
        (runs::PRIORITY, *priority),
    ])?;
    Ok(true)
}
