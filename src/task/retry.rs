//! retry_task: another chance for a task that has failed for good.

use super::options::RetryOptions;
use super::spawn::Spawned;
use super::state::State;
use crate::error::{Error, Result};
use crate::params;
use crate::pg::{Session, Statement, Uuid};
use crate::queue::{QueueName, ready};

static LOAD: Statement = Statement::new(
    "select t.state, greatest(t.attempts, (select max(r.attempt) from {r} r where r.task_id = $1)),
            t.max_attempts, t.workflow_run_id
       from {t} t
      where t.task_id = $1
        for no key update",
);
static RETRY: Statement = Statement::new(include_str!("../../sql/task/retry.sql"));
static RESPAWN: Statement = Statement::new(include_str!("../../sql/task/respawn.sql"));

/// A failed task, locked.
pub struct Failed {
    attempts: i32,
    max_attempts: Option<i32>,
    /// The workflow run that a new task would join.
    pub workflow_run: Option<Uuid>,
}

/// Locks a task that has failed.
///
/// # Errors
/// P0002 for an unknown task, 55000 for one that has not failed.
pub fn load(session: &Session, queue: &QueueName, task: Uuid) -> Result<Failed> {
    let rows = session.run(&LOAD, queue, params![task])?;
    let Some(row) = rows.first() else {
        return Err(Error::NotFound {
            what: "Task",
            id: task.to_string(),
            queue: Some(queue.as_str().to_owned()),
        });
    };
    let state: String = row.need(0)?;
    let revivable = State::parse(&state)
        .is_some_and(|state| state.is_final() && state.task_may_become(State::Pending));
    if !revivable {
        return Err(Error::WrongState {
            what: format!("Task \"{task}\""),
            rule: format!("is not currently failed in queue \"{}\": it is {state}", queue.as_str()),
            hint: Some("Only a failed task can be retried.".into()),
        });
    }
    Ok(Failed { attempts: row.need(1)?, max_attempts: row.get(2)?, workflow_run: row.get(3)? })
}

/// Retries a task that [`load`] has locked: in place, or as a new task.
///
/// # Errors
/// 22023 when the attempts asked for do not exceed those made.
pub fn run(
    session: &Session,
    queue: &QueueName,
    task: Uuid,
    failed: &Failed,
    options: &RetryOptions,
) -> Result<Spawned> {
    let now = session.now();
    let run_id = session.new_id()?;
    if options.spawn_new {
        let task_id = session.new_id()?;
        let allowed = options.max_attempts.or(failed.max_attempts);
        let values = params![task_id, run_id, task, now, allowed];
        session.change(&RESPAWN, queue, values, (1, "{t} or {r}"))?;
        ready::announce(session, queue, now)?;
        return Ok(Spawned { task_id, run_id: Some(run_id), attempt: 1, created: true });
    }
    let attempt = failed.attempts.saturating_add(1);
    let allowed = options.max_attempts.unwrap_or(attempt);
    if allowed <= failed.attempts {
        return Err(Error::invalid(
            format!("max_attempts ({allowed})"),
            format!("must be greater than current attempts ({})", failed.attempts),
        ));
    }
    let values = params![task, run_id, attempt, now, allowed];
    session.change(&RETRY, queue, values, (1, "{t} or {r}"))?;
    ready::announce(session, queue, now)?;
    Ok(Spawned { task_id: task, run_id: Some(run_id), attempt, created: false })
}
