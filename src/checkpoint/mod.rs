//! Checkpoints: what a task's steps have stored, so that a later attempt does not repeat them.

use crate::error::{Error, Result, check_size};
use crate::params;
use crate::pg::{Jsonb, Row, Session, Statement, Timestamp, Uuid};
use crate::queue::QueueName;
use crate::task::lease::{self, Held};

/// A stored checkpoint.
pub struct Checkpoint {
    pub name: String,
    pub state: Option<Jsonb>,
    pub status: String,
    pub owner_run: Option<Uuid>,
    pub updated_at: Timestamp,
}

/// Writers of one run share it.
static HOLD: Statement =
    Statement::new(concat!(include_str!("../../sql/checkpoint/hold.sql"), " for share of r"));
static HOLD_ALONE: Statement = Statement::new(concat!(
    include_str!("../../sql/checkpoint/hold.sql"),
    " for no key update of r"
));
static PUT: Statement = Statement::new(include_str!("../../sql/checkpoint/put.sql"));
static NEWER: Statement = Statement::new(
    "select from {c} c join {r} owner on owner.run_id = c.owner_run_id
      where c.task_id = $1 and c.checkpoint_name = $2 and owner.attempt > $3",
);
static LIST: Statement = Statement::new(include_str!("../../sql/checkpoint/list.sql"));
static GET: Statement = Statement::new(
    "select checkpoint_name, state, status, owner_run_id, updated_at
       from {c}
      where task_id = coalesce((select r.task_id from {r} r where r.run_id = $1), $1)
        and checkpoint_name = $2 and (status = 'committed' or $3)",
);
static OF_RUN: Statement = Statement::new(
    "select c.checkpoint_name, c.state, c.status, c.owner_run_id, c.updated_at
       from {r} r join {c} c on c.task_id = r.task_id
      where r.run_id = $1 and c.owner_run_id = $1
      order by c.updated_at, c.checkpoint_name",
);
static STATE_OF_RUN: Statement = Statement::new(
    "select c.state from {r} r join {c} c on c.task_id = r.task_id
      where r.run_id = $1 and c.owner_run_id = $1 and c.checkpoint_name = $2",
);
static TASK_OF_RUN: Statement = Statement::new("select task_id from {r} where run_id = $1");

/// Checks a step's name.
///
/// # Errors
/// 22004 for NULL, 22023 for a blank one or one that no index can hold.
pub fn check_step(name: Option<&str>) -> Result<&str> {
    let name = name.ok_or_else(|| Error::null("step_name"))?;
    if name.trim().is_empty() {
        return Err(Error::blank("step_name"));
    }
    check_size("step_name", name)?;
    Ok(name)
}

/// Writes a checkpoint of `task` as its run `owner`. `task` may be the run's own id: it stands for
/// the run's task. A name that a newer attempt has written stays as it is. `extend` > 0 prolongs
/// the run's lease by so many seconds from now.
///
/// # Errors
/// AB001, AB002 or 55000 when task or run have ended, P0002 for an unknown run, 22023 when the run
/// is not the task's; 27000 when a trigger or policy keeps a row as it was.
pub fn put(
    session: &Session,
    queue: &QueueName,
    task: Uuid,
    step: &str,
    state: Option<Jsonb>,
    owner: Uuid,
    extend: Option<i32>,
) -> Result<()> {
    let held = match extend {
        Some(seconds) if seconds > 0 => hold_longer(session, queue, owner, seconds)?,
        _ => session.run(&HOLD, queue, params![owner])?.first().map(Held::read).transpose()?,
    };
    let actual = match &held {
        Some(held) => held.task,
        None => task_of(session, queue, owner)?,
    };
    if task != owner && task != actual {
        return Err(not_of_task(queue, owner, task));
    }
    let Some(held) = held.filter(|held| held.open) else {
        return Err(lease::refusal(session, queue, owner)?);
    };
    let values = params![held.task, step, state, owner, session.now(), held.attempt];
    if session.run(&PUT, queue, values)?.processed() == 0
        && session.run(&NEWER, queue, params![held.task, step, held.attempt])?.is_empty()
    {
        return Err(Session::kept(queue, "{c}"));
    }
    Ok(())
}

/// Holds a run and prolongs its lease, if it has one. The lease needs the run for itself: sharing
/// it and then asking for more is how two writers would wait for each other.
fn hold_longer(
    session: &Session,
    queue: &QueueName,
    run: Uuid,
    seconds: i32,
) -> Result<Option<Held>> {
    if let Some(held) = lease::prolong(session, queue, run, seconds)? {
        return Ok(Some(held));
    }
    match session.run(&HOLD_ALONE, queue, params![run])?.first() {
        // It has been claimed since, or it is kept.
        Some(row) if row.need(3)? => match lease::prolong(session, queue, run, seconds)? {
            None => Err(Session::kept(queue, "{r}")),
            held => Ok(held),
        },
        row => row.map(Held::read).transpose(),
    }
}

/// The error for a run of another task.
pub fn not_of_task(queue: &QueueName, run: Uuid, task: Uuid) -> Error {
    Error::NotOfTask {
        run: run.to_string(),
        task: task.to_string(),
        queue: queue.as_str().to_owned(),
    }
}

/// The task of a run.
///
/// # Errors
/// P0002 for an unknown run.
pub fn task_of(session: &Session, queue: &QueueName, run: Uuid) -> Result<Uuid> {
    match session.run(&TASK_OF_RUN, queue, params![run])?.first() {
        Some(row) => row.need(0),
        None => Err(lease::not_found(queue, run)),
    }
}

/// One checkpoint of a task, named by its id or by that of one of its runs; one that is not
/// committed only when `pending` asks for it.
pub fn get(
    session: &Session,
    queue: &QueueName,
    task: Uuid,
    step: &str,
    pending: bool,
) -> Result<Option<Checkpoint>> {
    let rows = session.run(&GET, queue, params![task, step, pending])?;
    rows.first().map(|row| read(session, row)).transpose()
}

/// The committed checkpoints that a run of a task sees, oldest first: its own and those of earlier
/// attempts.
///
/// # Errors
/// P0002 for an unknown run, 22023 when it is not the task's.
pub fn visible(
    session: &Session,
    queue: &QueueName,
    task: Uuid,
    run: Uuid,
) -> Result<Vec<Checkpoint>> {
    let actual = task_of(session, queue, run)?;
    if task != actual && task != run {
        return Err(not_of_task(queue, run, task));
    }
    let task = actual;
    let rows = session.run(&LIST, queue, params![task, run])?;
    rows.into_iter().map(|row| read(session, row)).collect()
}

/// The checkpoints that a run owns, oldest first.
pub fn of_run(session: &Session, queue: &QueueName, run: Uuid) -> Result<Vec<Checkpoint>> {
    let rows = session.run(&OF_RUN, queue, params![run])?;
    rows.into_iter().map(|row| read(session, row)).collect()
}

/// The state of one checkpoint that a run owns.
pub fn state_of_run(
    session: &Session,
    queue: &QueueName,
    run: Uuid,
    step: &str,
) -> Result<Option<Jsonb>> {
    let rows = session.run(&STATE_OF_RUN, queue, params![run, step])?;
    let state = rows.first().map(|row| row.get(0)).transpose()?.flatten();
    Ok(session.keep(state))
}

fn read(session: &Session, row: Row) -> Result<Checkpoint> {
    Ok(Checkpoint {
        name: row.need(0)?,
        state: session.keep(row.get(1)?),
        status: row.need(2)?,
        owner_run: row.get(3)?,
        updated_at: row.need(4)?,
    })
}
