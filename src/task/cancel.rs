//! cancel_task: the task ends, whatever its runs are doing.

use super::state::State;
use crate::error::{Error, Result};
use crate::params;
use crate::pg::{Session, Statement, Uuid};
use crate::queue::QueueName;

/// Cancels the open runs of some tasks, in one order. Waits for runs that others hold, a
/// completing worker for one.
static CANCEL_RUNS: Statement = Statement::new(
    "with held as materialized (
        select r.run_id
          from {r} r
         where r.task_id = any ($1) and r.state in ('pending', 'running', 'sleeping')
         order by r.run_id
           for no key update
     )
     update {r} r
        set state = 'cancelled', claimed_by = null, claim_expires_at = null
       from held
      where r.run_id = held.run_id",
);
/// Cancels the tasks that are open and have no open run, and removes their waits: only now, since
/// a run that had to be waited for may have registered one.
static CANCEL_TASKS: Statement = Statement::new(
    "with held as materialized (
        select t.task_id
          from {t} t
         where t.task_id = any ($1) and t.state in ('pending', 'running', 'sleeping')
           and not exists (
                select from {r} r
                 where r.task_id = t.task_id and r.state in ('pending', 'running', 'sleeping'))
         order by t.task_id
           for no key update
     ), waits as (
        delete from {w} w using held where w.task_id = held.task_id
     )
     update {t} t
        set state = 'cancelled', cancelled_at = $2,
            cancel_done = case when t.cancellation is not null then true else t.cancel_done end
       from held
      where t.task_id = held.task_id
     returning t.task_id, t.workflow_step is true",
);
static OPEN: Statement = Statement::new(
    "select task_id from {t}
      where task_id = any ($1) and state in ('pending', 'running', 'sleeping')",
);
static RESOLVE: Statement = Statement::new(
    "select t.task_id, t.state, t.workflow_step is true from {t} t where t.task_id = $1
     union all
     select t.task_id, t.state, t.workflow_step is true
       from {r} r join {t} t on t.task_id = r.task_id
      where r.run_id = $1
     limit 1",
);

/// What has become of tasks that were to be cancelled.
pub struct Cancelled {
    pub count: usize,
    /// Those among them that steps of workflow runs follow.
    pub followed: Vec<Uuid>,
}

/// A task to cancel.
pub struct Target {
    pub task: Uuid,
    /// Whether steps of workflow runs follow it.
    pub followed: bool,
}

/// The task with an id, or the task of the run with that id; none when it has ended and is to be
/// left alone.
///
/// # Errors
/// P0002 when no task and no run has the id.
pub fn resolve(session: &Session, queue: &QueueName, id: Uuid) -> Result<Option<Target>> {
    let Some(row) = session.run(&RESOLVE, queue, params![id])?.first() else {
        return Err(Error::NotFound {
            what: "Task",
            id: id.to_string(),
            queue: Some(queue.as_str().to_owned()),
        });
    };
    let (task, state): (Uuid, String) = (row.need(0)?, row.need(1)?);
    let open = State::parse(&state).is_some_and(|state| state.task_may_become(State::Cancelled));
    Ok(if open { Some(Target { task, followed: row.need(2)? }) } else { None })
}

/// Cancels those of the tasks that are open.
///
/// Runs come before tasks, as everywhere. A run that failed while we waited for it may have left a
/// successor that the first look could not see: the tasks are only cancelled once no open run is
/// left, and those that still have one go round again. Holding every open run, nobody can add one.
pub fn many(session: &Session, queue: &QueueName, mut tasks: Vec<Uuid>) -> Result<Cancelled> {
    let mut cancelled = Cancelled { count: 0, followed: Vec::new() };
    let mut was_in_vain = false;
    while !tasks.is_empty() {
        let runs = session.run(&CANCEL_RUNS, queue, params![tasks.clone()])?.processed();
        let done = session.run(&CANCEL_TASKS, queue, params![tasks.clone(), session.now()])?;
        let count = done.len();
        cancelled.count += count;
        for row in done {
            if row.need(1)? {
                cancelled.followed.push(row.need(0)?);
            }
        }
        if count == tasks.len() {
            break;
        }
        let left = session.run(&OPEN, queue, params![tasks.clone()])?;
        let left = left.into_iter().map(|row| row.need(0)).collect::<Result<Vec<Uuid>>>()?;
        // What is still open after that, with no run that has come since, is not the caller's to
        // change.
        if left.len() == tasks.len() && count == 0 && was_in_vain {
            return Err(Session::kept(queue, "{t} or {r}"));
        }
        was_in_vain = count == 0 && runs == 0;
        tasks = left;
    }
    Ok(cancelled)
}
