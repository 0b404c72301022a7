//! Leases: how long a run is its worker's, and why a worker is told that its run is not.

use super::state::State;
use crate::error::{Error, Result};
use crate::params;
use crate::pg::{Row, Session, Statement, Uuid};
use crate::queue::QueueName;

static EXTEND: Statement = Statement::new(
    "update {r} r
        set claim_expires_at = $2, last_heartbeat = $3
       from {t} t
      where r.run_id = $1 and r.state = 'running' and r.claim_expires_at is not null
        and t.task_id = r.task_id and t.state in ('pending', 'running', 'sleeping')
     returning r.run_id",
);

/// Sets a running run's lease to end `seconds` from now.
///
/// # Errors
/// 22004 without seconds; 22023 unless they are > 0; AB001, AB002, 55000 or P0002 when the run is
/// not running, 55000 also when it has no lease.
pub fn extend(session: &Session, queue: &QueueName, run: Uuid, seconds: Option<i32>) -> Result<()> {
    // Clients look for "extend_by must be > 0", also when it is NULL.
    let seconds =
        seconds.ok_or_else(|| Error::null("extend_by must be > 0 seconds: p_extend_by"))?;
    if seconds <= 0 {
        return Err(Error::invalid("extend_by", format!("must be > 0 seconds, not {seconds}")));
    }
    let now = session.now();
    let until = now.plus_seconds(f64::from(seconds));
    if session.run(&EXTEND, queue, params![run, until, now])?.is_empty() {
        return Err(why_no_lease(session, queue, run)?);
    }
    Ok(())
}

static PROLONG: Statement = Statement::new(
    "update {r} r
        set claim_expires_at = greatest(r.claim_expires_at, $2), last_heartbeat = $3
       from {t} t
      where r.run_id = $1 and r.state = 'running' and r.claim_expires_at is not null
        and t.task_id = r.task_id
     returning r.task_id, r.attempt, t.state in ('pending', 'running', 'sleeping')",
);

/// A run that this transaction holds, so that it cannot end meanwhile.
pub struct Held {
    pub task: Uuid,
    pub attempt: i32,
    /// Whether run and task are to be worked on.
    pub open: bool,
}

impl Held {
    /// From the columns task, attempt, open.
    ///
    /// # Errors
    /// None but a damaged statement's.
    pub fn read(row: Row) -> Result<Self> {
        Ok(Self { task: row.need(0)?, attempt: row.need(1)?, open: row.need(2)? })
    }
}

/// Makes a running run's lease end no earlier than `seconds` from now, as a checkpoint does. A
/// claim without a lease stays without one, which is longer than any: none then.
pub fn prolong(
    session: &Session,
    queue: &QueueName,
    run: Uuid,
    seconds: i32,
) -> Result<Option<Held>> {
    let now = session.now();
    let until = now.plus_seconds(f64::from(seconds));
    session.run(&PROLONG, queue, params![run, until, now])?.first().map(Held::read).transpose()
}

static STATES: Statement = Statement::new(
    "select r.state, r.task_id, t.state from {r} r left join {t} t on t.task_id = r.task_id
      where r.run_id = $1",
);

/// Why a verb that needs a running run cannot have this one, as the error to return. A cancelled
/// task comes first, then a failed run: those two tell a worker to stop.
pub fn refusal(session: &Session, queue: &QueueName, run: Uuid) -> Result<Error> {
    let Some(row) = session.run(&STATES, queue, params![run])?.first() else {
        return Ok(not_found(queue, run));
    };
    let run_state: String = row.need(0)?;
    let task: Uuid = row.need(1)?;
    let task_state: Option<String> = row.get(2)?;
    Ok(why_not(queue, run, task, &run_state, task_state.as_deref()))
}

/// Why a run's lease cannot be extended: as [`refusal`], or it is running without one.
fn why_no_lease(session: &Session, queue: &QueueName, run: Uuid) -> Result<Error> {
    let error = refusal(session, queue, run)?;
    static UNLEASED: Statement = Statement::new(
        "select from {r} r join {t} t on t.task_id = r.task_id
          where r.run_id = $1 and r.state = 'running' and r.claim_expires_at is null
            and t.state in ('pending', 'running', 'sleeping')",
    );
    if session.run(&UNLEASED, queue, params![run])?.is_empty() {
        return Ok(error);
    }
    Ok(Error::WrongState {
        what: format!("Run \"{run}\""),
        rule: format!("does not have an active claim in queue \"{}\"", queue.as_str()),
        hint: Some("It was claimed without a lease, which has no end to extend.".into()),
    })
}

/// The error for a run that does not exist.
pub fn not_found(queue: &QueueName, run: Uuid) -> Error {
    Error::NotFound { what: "Run", id: run.to_string(), queue: Some(queue.as_str().to_owned()) }
}

/// As [`refusal`], with the states at hand.
pub fn why_not(
    queue: &QueueName,
    run: Uuid,
    task: Uuid,
    run_state: &str,
    task_state: Option<&str>,
) -> Error {
    let is = |text: &str, state: State| text == state.as_str();
    let (queue, run, task) = (queue.as_str().to_owned(), run.to_string(), task.to_string());
    if is(run_state, State::Cancelled) || task_state.is_some_and(|t| is(t, State::Cancelled)) {
        return Error::Cancelled { task, queue };
    }
    if is(run_state, State::Failed) {
        return Error::RunFailed { run, queue };
    }
    let is_open = is(run_state, State::Running)
        && task_state.and_then(State::parse).is_some_and(|state| !state.is_final());
    let states = match task_state {
        Some(task_state) => format!("the run is {run_state}, its task {task_state}"),
        None => format!("the run is {run_state}, its task is gone"),
    };
    Error::WrongState {
        what: format!("Run \"{run}\""),
        rule: format!("is not currently running in queue \"{queue}\": {states}"),
        hint: is_open.then(|| {
            "It became so meanwhile, or a trigger or a policy has kept it as it was.".into()
        }),
    }
}

/// The error for a run that was running while its task had ended.
pub fn task_has_ended(session: &Session, queue: &QueueName, run: Uuid) -> Result<Error> {
    let row = session.run(&STATES, queue, params![run])?.first();
    let task_state = row.map(|row| row.get::<String>(2)).transpose()?.flatten();
    let task = row.map(|row| row.need::<Uuid>(1)).transpose()?;
    Ok(match task {
        Some(task) => why_not(queue, run, task, "running", task_state.as_deref()),
        None => not_found(queue, run),
    })
}
