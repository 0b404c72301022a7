//! What workers and their like do to tasks: the ordinary way first, and where steps of an executed
//! workflow run follow a task, with the run moved on in the same transaction.

use std::collections::HashMap;

use super::driver::{self, Shared, due, events, followed, inbox, turn};
use crate::error::Result;
use crate::event::emit;
use crate::pg::{Jsonb, Session, Timestamp, Uuid};
use crate::queue::QueueName;
use crate::task::claim;
use crate::task::followed::Outcome;
use crate::task::hand_out::Claimed;
use crate::task::options::RetryOptions;
use crate::task::spawn::Spawned;
use crate::task::{self, batch, cancel, complete, fail, lease, retry};
use crate::workflow::link;

/// Claims runs, after the sweeps and after letting workflow runs go on that are due in the queue.
///
/// # Errors
/// As [`claim::run`].
pub fn claim(
    session: &Session,
    queue: &QueueName,
    worker: Option<&str>,
    timeout: i32,
    quantity: i32,
) -> Result<Vec<Claimed>> {
    claim::run(session, queue, worker, timeout, quantity, |swept, budget| {
        followed::swept(session, queue, &swept.attempts, swept.cancelled)?;
        due::on_claim(session, queue, budget)
    })
}

/// Completes a running run and its task.
///
/// # Errors
/// AB001, AB002, 55000 or P0002 when the run is not running.
pub fn complete(
    session: &Session,
    queue: &QueueName,
    run: Uuid,
    payload: Option<Jsonb>,
) -> Result<()> {
    complete_one(session, queue, run, payload, None)
}

/// As [`complete`]; what is `shared` with other calls is left to the last.
fn complete_one(
    session: &Session,
    queue: &QueueName,
    run: Uuid,
    payload: Option<Jsonb>,
    shared: Option<&Shared>,
) -> Result<()> {
    let step = || followed::complete(session, queue, run, payload, shared);
    if task::followed::is_expected(run) && step()? {
        return Ok(());
    }
    match complete::run(session, queue, run, payload)? {
        Outcome::Done => Ok(()),
        Outcome::Refused => match step()? {
            true => Ok(()),
            false => Err(lease::refusal(session, queue, run)?),
        },
        Outcome::Joined(task) => tell(session, queue, vec![task]),
    }
}

/// As [`complete`] for many runs, each error with its element's place.
///
/// # Errors
/// As [`complete`]; 22023 for a run that stands in the list twice.
pub fn complete_many(
    session: &Session,
    queue: &QueueName,
    runs: &[Uuid],
    payloads: Vec<Option<Jsonb>>,
) -> Result<()> {
    batch::check_distinct(runs)?;
    let followed = task::followed::among(session, queue, runs)?;
    if followed.is_empty() {
        // What is refused here says why, unless a step has begun to follow its task this moment.
        for index in batch::complete(session, queue, runs, payloads.clone())? {
            let payload = payloads.get(index).copied().flatten();
            complete(session, queue, runs[index], payload).map_err(|e| e.at(batch::RUNS, index))?;
        }
        return Ok(());
    }
    in_order(session, queue, runs, followed, |index, shared| {
        let payload = payloads.get(index).copied().flatten();
        complete_one(session, queue, runs[index], payload, shared)
    })
}

/// Does something to many runs. All trees are taken before runs, and both in one order, then the
/// runs that steps follow come, then the others; breakers come last.
fn in_order(
    session: &Session,
    queue: &QueueName,
    runs: &[Uuid],
    followed: HashMap<Uuid, Option<uuid::Uuid>>,
    mut work: impl FnMut(usize, Option<&Shared>) -> Result<()>,
) -> Result<()> {
    let mut places: Vec<usize> = (0..runs.len()).collect();
    places.sort_by_key(|index| (!followed.contains_key(&runs[*index]), *runs[*index].as_bytes()));
    if !followed.is_empty() {
        followed::take_all(session, queue, followed.into_values().collect())?;
    }
    let shared = Shared::default();
    for index in places {
        work(index, Some(&shared)).map_err(|error| error.at(batch::RUNS, index))?;
    }
    driver::finish_later(session, &shared)
}

/// As [`fail`] for many runs, each error with its element's place.
///
/// # Errors
/// As [`fail`]; 22023 for a run that stands in the list twice.
pub fn fail_many(
    session: &Session,
    queue: &QueueName,
    runs: &[Uuid],
    reasons: &[Option<Jsonb>],
    retry_at: Option<Timestamp>,
) -> Result<()> {
    batch::check_distinct(runs)?;
    let followed = task::followed::among(session, queue, runs)?;
    in_order(session, queue, runs, followed, |index, shared| {
        let reason = reasons.get(index).copied().flatten();
        fail_one(session, queue, runs[index], (reason, retry_at), shared)
    })
}

/// Fails a run that is running or sleeping.
///
/// # Errors
/// AB001, AB002, 55000 or P0002 when the run is neither.
pub fn fail(
    session: &Session,
    queue: &QueueName,
    run: Uuid,
    reason: Option<Jsonb>,
    retry_at: Option<Timestamp>,
) -> Result<()> {
    fail_one(session, queue, run, (reason, retry_at), None)
}

/// As [`fail`]; what is `shared` with other calls is left to the last.
fn fail_one(
    session: &Session,
    queue: &QueueName,
    run: Uuid,
    (reason, retry_at): (Option<Jsonb>, Option<Timestamp>),
    shared: Option<&Shared>,
) -> Result<()> {
    match fail::run(session, queue, run, reason, retry_at)? {
        Outcome::Done => Ok(()),
        Outcome::Joined(task) => tell(session, queue, vec![task]),
        Outcome::Refused => followed::fail(session, queue, run, (reason, retry_at), shared),
    }
}

/// Cancels one task, named by its id or by the id of one of its runs. Returns whether this call did
/// it: a task that has ended is left alone.
///
/// # Errors
/// P0002 when no task and no run has the id.
pub fn cancel(session: &Session, queue: &QueueName, id: Uuid) -> Result<bool> {
    let Some(target) = cancel::resolve(session, queue, id)? else { return Ok(false) };
    if target.followed {
        return followed::cancel(session, queue, target.task);
    }
    let cancelled = cancel::many(session, queue, vec![target.task])?;
    tell(session, queue, cancelled.followed)?;
    Ok(cancelled.count == 1)
}

/// Retries a failed task, in place or as a new task.
///
/// # Errors
/// P0002 for an unknown task, 55000 for one that has not failed, whose workflow run takes no more,
/// or whose failure a step has taken note of; 22023 for too few attempts.
pub fn retry(
    session: &Session,
    queue: &QueueName,
    task: Uuid,
    options: &RetryOptions,
) -> Result<Spawned> {
    followed::hold(session, queue, task)?;
    let failed = retry::load(session, queue, task)?;
    if let Some(workflow_run) = failed.workflow_run {
        link::rejoin(session, workflow_run, options.spawn_new)?;
    }
    if !options.spawn_new {
        followed::check_retry(session, queue, task)?;
    }
    retry::run(session, queue, task, &failed, options)
}

/// Emits events, none of them twice, and wakes the runs and the steps that wait for them. The first
/// emission of a name stands, later ones change nothing.
///
/// # Errors
/// 42P01 for an unknown queue; 40001 when the transaction keeps a snapshot that does not show every
/// waiter.
pub fn emit(session: &Session, queue: &QueueName, events: &[(&str, Jsonb)]) -> Result<()> {
    let new = emit::run(session, queue, events)?;
    events::emitted(session, queue, new.into_iter().map(|place| events[place]))
}

/// Tells the steps that follow tasks which have ended otherwise than by their own tree.
pub fn tell(session: &Session, queue: &QueueName, tasks: Vec<Uuid>) -> Result<()> {
    let roots = inbox::put_ended(session, queue, tasks, None, session.now())?;
    turn::try_roots(session, roots)
}
