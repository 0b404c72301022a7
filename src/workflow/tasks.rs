//! The tasks of a workflow run, over all queues.

use super::{run, work};
use crate::error::Result;
use crate::params;
use crate::pg::plan::{Global, Statement};
use crate::pg::{Jsonb, Session, Timestamp, Uuid};
use crate::queue::{QueueName, policy};
use crate::task::cancel;
use crate::task::state::State;

/// A task that belongs to a workflow run.
pub struct LinkedTask {
    pub queue: String,
    pub task_id: Uuid,
    pub name: String,
    pub state: String,
    pub attempts: i32,
    pub enqueue_at: Timestamp,
    pub first_started_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
    pub result: Option<Jsonb>,
    pub failure_reason: Option<Jsonb>,
}

static LIST: Statement = Statement::new(
    "select t.task_id, t.task_name, t.state, t.attempts, t.enqueue_at, t.first_started_at,
            case t.state when 'completed' then r.completed_at
                         when 'failed' then r.failed_at
                         when 'cancelled' then t.cancelled_at end,
            case when t.state = 'completed' then t.completed_payload end,
            case when t.state = 'failed' then r.failure_reason end
       from {t} t
       left join {r} r on r.run_id = t.last_attempt_run
      where t.workflow_run_id = $1
      order by t.enqueue_at, t.task_id",
);
static STATES: Statement =
    Statement::new("select state, count(*) from {t} where workflow_run_id = $1 group by state");
static OPEN: Statement = Statement::new(
    "select task_id from {t}
      where workflow_run_id = $1 and state in ('pending', 'running', 'sleeping')",
);
/// Those that no step follows.
static JOINED: Statement = Statement::new(
    "select task_id from {t}
      where workflow_run_id = $1 and state in ('pending', 'running', 'sleeping')
        and workflow_step is not true",
);
static EXISTS: Statement =
    Statement::new("select 1 from absurd.workflow_run where workflow_run_id = $1");

fn check_exists(session: &Session, id: Uuid) -> Result<()> {
    if session.run(&EXISTS, &Global, params![id])?.is_empty() {
        return Err(run::not_found(id));
    }
    Ok(())
}

/// Queues whose names tables can carry; a registry row of another making may have any.
fn queues(session: &Session) -> Result<Vec<QueueName>> {
    let names = policy::names(session)?;
    Ok(names.iter().filter_map(|name| QueueName::parse(Some(name)).ok()).collect())
}

/// The tasks of a workflow run, by queue and the order in which they were enqueued.
///
/// # Errors
/// P0002 for an unknown workflow run.
pub fn list(session: &Session, id: Uuid) -> Result<Vec<LinkedTask>> {
    check_exists(session, id)?;
    let mut tasks = Vec::new();
    for queue in queues(session)? {
        for row in session.run(&LIST, &queue, params![id])? {
            tasks.push(LinkedTask {
                queue: queue.as_str().to_owned(),
                task_id: row.need(0)?,
                name: row.need(1)?,
                state: row.need(2)?,
                attempts: row.need(3)?,
                enqueue_at: row.need(4)?,
                first_started_at: row.get(5)?,
                finished_at: row.get(6)?,
                result: session.keep(row.get(7)?),
                failure_reason: session.keep(row.get(8)?),
            });
        }
    }
    Ok(tasks)
}

/// How many of a workflow run's tasks are in which state.
#[derive(Debug, Default, PartialEq)]
pub struct Progress {
    counts: [i64; 6],
}

impl Progress {
    fn add(&mut self, state: State, tasks: i64) {
        self.counts[state as usize] += tasks;
    }

    pub fn of(&self, state: State) -> i64 {
        self.counts[state as usize]
    }

    pub fn total(&self) -> i64 {
        self.counts.iter().sum()
    }

    /// Completed tasks per hundred, to two decimals; 0 when there are no tasks.
    pub fn percent(&self) -> f64 {
        match self.total() {
            0 => 0.0,
            total => (self.of(State::Completed) as f64 * 10_000.0 / total as f64).round() / 100.0,
        }
    }
}

/// Counts a workflow run's tasks.
///
/// # Errors
/// P0002 for an unknown workflow run.
pub fn progress(session: &Session, id: Uuid) -> Result<Progress> {
    check_exists(session, id)?;
    let mut progress = Progress::default();
    for queue in queues(session)? {
        for row in session.run(&STATES, &queue, params![id])? {
            if let Some(state) = State::parse(&row.need::<String>(0)?) {
                progress.add(state, row.need(1)?);
            }
        }
    }
    Ok(progress)
}

/// Cancels every open task of a workflow run; returns how many.
pub fn cancel_all(session: &Session, id: Uuid) -> Result<i32> {
    cancel(session, id, &OPEN)
}

/// As [`cancel_all`], of the tasks that joined a run otherwise than as its steps.
pub fn cancel_joined(session: &Session, id: Uuid) -> Result<i32> {
    cancel(session, id, &JOINED)
}

fn cancel(session: &Session, id: Uuid, which: &'static Statement) -> Result<i32> {
    let mut cancelled = 0;
    for queue in queues(session)? {
        let open = session.run(which, &queue, params![id])?;
        let tasks = open.into_iter().map(|row| row.need(0)).collect::<Result<Vec<Uuid>>>()?;
        let done = cancel::many(session, &queue, tasks)?;
        cancelled += done.count;
        work::tell(session, &queue, done.followed)?;
    }
    Ok(cancelled as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_is_of_completed_tasks() {
        let mut progress = Progress::default();
        assert_eq!((progress.total(), progress.percent()), (0, 0.0));
        progress.add(State::Completed, 1);
        assert_eq!(progress.percent(), 100.0);
        progress.add(State::Failed, 1);
        progress.add(State::Running, 1);
        assert_eq!((progress.total(), progress.percent()), (3, 33.33));
    }
}
