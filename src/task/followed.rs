//! The verbs on tasks that steps of executed workflow runs follow.
//!
//! Whoever moves such a task must first have locked the root of its workflow run's tree. The
//! ordinary verbs refuse it therefore, and these move it, once their caller has done so.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};

use super::{complete, direct, fail};
use crate::error::Result;
use crate::params;
use crate::pg::direct::Key;
use crate::pg::{Jsonb, Session, Statement, Timestamp, Uuid};
use crate::queue::QueueName;
use crate::queue::rows::{runs, tasks};

/// What an ordinary verb has come to.
pub enum Outcome {
    Done,
    /// Nothing was done: the run is not in the state for it, or steps follow its task.
    Refused,
    /// Done, and in the same moment a step of some workflow run has begun to follow the task.
    Joined(Uuid),
}

/// A failed attempt at a task.
pub struct Attempt {
    pub task: Uuid,
    /// Its number, from 1, among those that were not lost with a lease.
    pub attempt: i32,
    pub reason: Option<Jsonb>,
    /// Whether the task ended with it: failed, or cancelled because no other could end in time.
    pub last: bool,
    pub cancelled: bool,
    /// Whether steps follow the task, and are to be told.
    pub followed: bool,
    /// When its lease, or its time, ended; none for one that its worker has failed.
    pub ended_at: Option<Timestamp>,
}

impl Attempt {
    /// The reason as JSON text; null when none was given.
    pub fn reason_text(&self) -> String {
        self.reason.map_or_else(|| "null".to_owned(), Jsonb::to_text)
    }
}

/// Runs that a backend remembers to have handed out with a task that steps follow.
const EXPECTED: usize = 64;

thread_local! {
    static HANDED_OUT: RefCell<VecDeque<Uuid>> = const { RefCell::new(VecDeque::new()) };
}

/// Remembers that steps follow the task of a run which is handed out: who completes it here need
/// not try the ordinary way first. Only an expectation, for whoever asks must look.
pub fn expect(run: Uuid) {
    HANDED_OUT.with_borrow_mut(|runs| {
        if runs.len() == EXPECTED {
            runs.pop_front();
        }
        runs.push_back(run);
    });
}

/// Whether [`expect`] was told of the run; it is forgotten then.
pub fn is_expected(run: Uuid) -> bool {
    HANDED_OUT.with_borrow_mut(|runs| {
        let place = runs.iter().position(|one| *one == run);
        place.and_then(|place| runs.remove(place)).is_some()
    })
}

/// The task of a run.
pub struct Task {
    pub id: Uuid,
    pub attempts: i32,
    pub is_followed: bool,
    pub workflow_run: Option<uuid::Uuid>,
    /// Whether the run is a worker's, and when its attempt runs out of time.
    pub is_running: bool,
    pub attempt_ends_at: Option<Timestamp>,
}

/// The task of a run, read without a statement; none in it when there is no such run, and none at
/// all when a statement must be used.
///
/// # Errors
/// Postgres's own.
fn direct_task_of(session: &Session, queue: &QueueName, run: Uuid) -> Result<Option<Option<Task>>> {
    let Some((runs, tasks)) = direct::open(session, queue)? else { return Ok(None) };
    session.with_snapshot(|| {
        let Some(mut found) = runs.find(&[Key::is(1, run)])? else { return Ok(None) };
        if found {
            let task: Uuid = runs.need(runs::TASK_ID)?;
            match tasks.find(&[Key::is(1, task)])? {
                None => return Ok(None),
                Some(is_there) => found = is_there,
            }
        }
        if !found {
            return Ok(Some(None));
        }
        Ok(Some(Some(Task {
            id: tasks.need(tasks::TASK_ID)?,
            attempts: tasks.need(tasks::ATTEMPTS)?,
            is_followed: tasks.get(tasks::WORKFLOW_STEP)? == Some(true),
            workflow_run: tasks.get(tasks::WORKFLOW_RUN_ID)?,
            is_running: runs.need::<String>(runs::STATE)? == "running",
            attempt_ends_at: runs.get(runs::ATTEMPT_ENDS_AT)?,
        })))
    })
}

static TASK: Statement = Statement::new(
    "select t.task_id, t.attempts, t.workflow_step is true, t.workflow_run_id,
            r.state = 'running', r.attempt_ends_at
       from {r} r join {t} t on t.task_id = r.task_id
      where r.run_id = $1",
);

/// The task of a run; none when there is no such run.
///
/// # Errors
/// Postgres's own.
pub fn task_of(session: &Session, queue: &QueueName, run: Uuid) -> Result<Option<Task>> {
    if let Some(found) = direct_task_of(session, queue, run)? {
        return Ok(found);
    }
    let Some(row) = session.run(&TASK, queue, params![run])?.first() else { return Ok(None) };
    Ok(Some(Task {
        id: row.need(0)?,
        attempts: row.need(1)?,
        is_followed: row.need(2)?,
        workflow_run: row.get(3)?,
        is_running: row.need(4)?,
        attempt_ends_at: row.get(5)?,
    }))
}

/// Completes a running run and its task; false when the run is not running.
///
/// # Errors
/// AB001, 55000 when the task has ended without its run.
pub fn complete(
    session: &Session,
    queue: &QueueName,
    run: Uuid,
    payload: Option<Jsonb>,
) -> Result<bool> {
    complete::any(session, queue, run, payload)
}

static RUNNING: Statement =
    Statement::new("select from {r} where run_id = $1 and state = 'running'");

/// Whether a run is a worker's.
///
/// # Errors
/// Postgres's own.
pub fn is_running(session: &Session, queue: &QueueName, run: Uuid) -> Result<bool> {
    Ok(!session.run(&RUNNING, queue, params![run])?.is_empty())
}

/// Fails a run whose attempt has run out of time, when no claim has yet.
///
/// # Errors
/// Postgres's own.
pub fn overrun(session: &Session, queue: &QueueName, run: Uuid) -> Result<Option<Attempt>> {
    fail::overrun(session, queue, run)
}

/// Fails a running or sleeping run; none when it is neither.
///
/// # Errors
/// Postgres's own.
pub fn fail(
    session: &Session,
    queue: &QueueName,
    run: Uuid,
    reason: Option<Jsonb>,
    retry_at: Option<Timestamp>,
) -> Result<Option<Attempt>> {
    fail::any(session, queue, run, reason, retry_at)
}

static FOLLOWED: Statement = Statement::new(
    "select r.run_id, t.workflow_run_id
       from unnest($1) as given (run_id)
       join {r} r on r.run_id = given.run_id
       join {t} t on t.task_id = r.task_id
      where t.workflow_step",
);

/// Those of the runs whose tasks are followed, with the workflow runs that these belong to.
pub fn among(
    session: &Session,
    queue: &QueueName,
    runs: &[Uuid],
) -> Result<HashMap<Uuid, Option<uuid::Uuid>>> {
    let rows = session.run(&FOLLOWED, queue, params![runs.to_vec()])?;
    rows.into_iter().map(|row| Ok((row.need(0)?, row.get(1)?))).collect()
}

/// Whether a run's attempt ran out of its time and its worker is to be left alone about it.
static LEFT_ALONE: Statement = Statement::new(
    "select t.leave_late and r.state = 'failed' and r.attempt_ends_at <= r.failed_at
       from {r} r join {t} t on t.task_id = r.task_id
      where r.run_id = $1",
);

pub fn is_left_alone(session: &Session, queue: &QueueName, run: Uuid) -> Result<bool> {
    let found = session.run(&LEFT_ALONE, queue, params![run])?.first();
    Ok(found.map(|row| row.get(0)).transpose()?.flatten() == Some(true))
}
