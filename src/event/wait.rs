//! await_event: an answer at once, or a registered wait and a run that sleeps.

use crate::checkpoint;
use crate::error::{Error, Result};
use crate::params;
use crate::pg::lock::{self, EventSide};
use crate::pg::{Jsonb, Session, Statement, Uuid};
use crate::queue::QueueName;
use crate::task::lease;
use crate::task::state::State;

/// The answer to await_event.
pub struct Answer {
    /// Whether the caller must stop: its run sleeps until the event or the timeout.
    pub suspend: bool,
    pub payload: Option<Jsonb>,
}

/// Who waits for what.
pub struct Wait<'a> {
    /// The run's task, or the run's own id.
    pub task: Uuid,
    pub run: Uuid,
    pub step: &'a str,
    pub event: &'a str,
    /// Seconds, or for ever.
    pub timeout: Option<i32>,
}

static LOCK: Statement = Statement::new("select from {r} where run_id = $1 for no key update");
static LOOK: Statement = Statement::new(include_str!("../../sql/event/look.sql"));
static EMITTED: Statement = Statement::new("select 1 from {e} where event_name = $1");
static WAIT: Statement = Statement::new(include_str!("../../sql/event/wait.sql"));
static ANSWERED: Statement =
    Statement::new("update {r} set wake_event = null, event_payload = null where run_id = $1");

/// Awaits an event as a step of a running run.
///
/// In this order: the step's checkpoint answers; else the event, when it has been emitted, answers
/// and is checkpointed; else a run that its timeout woke gets (false, null), once; else the wait is
/// registered and the run sleeps.
///
/// # Errors
/// 22023 for a negative timeout or a run of another task; AB001, AB002, 55000 or P0002 when the run
/// is not running; 40001 when the event is newer than the snapshot that the transaction keeps.
pub fn run(session: &Session, queue: &QueueName, wait: &Wait) -> Result<Answer> {
    if let Some(timeout) = wait.timeout
        && timeout < 0
    {
        return Err(Error::invalid(format!("timeout {timeout}"), "must be >= 0 seconds"));
    }
    lock::event(queue.as_str(), wait.event, EventSide::Await)?;
    session.run(&LOCK, queue, params![wait.run])?;
    let rows = session.run(&LOOK, queue, params![wait.run, wait.step, wait.event])?;
    let Some(row) = rows.first() else {
        return Err(lease::refusal(session, queue, wait.run)?);
    };
    let task: Uuid = row.need(0)?;
    if wait.task != task && wait.task != wait.run {
        return Err(checkpoint::not_of_task(queue, wait.run, wait.task));
    }
    let (run_state, task_state): (String, String) = (row.need(1)?, row.need(2)?);
    let open = State::parse(&task_state).is_some_and(|state| !state.is_final());
    let may_sleep =
        State::parse(&run_state).is_some_and(|state| state.run_may_become(State::Sleeping));
    if !open || !may_sleep {
        return Err(lease::why_not(queue, wait.run, task, &run_state, Some(&task_state)));
    }
    let wake_event: Option<String> = row.get(3)?;
    let has_payload: bool = row.need(4)?;
    let (checkpointed, emitted): (bool, bool) = (row.need(5)?, row.need(7)?);
    let timed_out = wake_event.as_deref() == Some(wait.event) && !has_payload;

    if checkpointed || emitted || timed_out {
        let payload = if checkpointed {
            row.get(6)?
        } else if emitted {
            // A row without payload is an event without one.
            let payload = row.get(8)?.map_or_else(Jsonb::null, Ok)?;
            checkpoint::put(session, queue, task, wait.step, Some(payload), wait.run, None)?;
            Some(payload)
        } else {
            None
        };
        if wake_event.is_some() || has_payload {
            session.run(&ANSWERED, queue, params![wait.run])?;
        }
        return Ok(Answer { suspend: false, payload: session.keep(payload) });
    }

    if session.keeps_snapshot()
        && !session.run_latest(&EMITTED, queue, params![wait.event])?.is_empty()
    {
        return Err(Error::Serialization { what: format!("event \"{}\" was emitted", wait.event) });
    }
    let now = session.now();
    let until = wait.timeout.map(|seconds| now.plus_seconds(f64::from(seconds)));
    let values = params![wait.run, task, wait.step, wait.event, until, now];
    session.change(&WAIT, queue, values, (1, "{t} or {r}"))?;
    Ok(Answer { suspend: true, payload: None })
}
