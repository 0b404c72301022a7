//! Failures.

use super::{Tables, is_open, is_running};
use crate::error::Result;
use crate::params;
use crate::pg::direct::{Change, Key};
use crate::pg::{Jsonb, Param, Session, Timestamp, Uuid};
use crate::queue::QueueName;
use crate::queue::rows::{runs, tasks};
use crate::task::fail::{Case, Verdict};
use crate::task::followed::Attempt;
use crate::task::state::State;

/// What came of it.
pub enum Failed {
    /// The run has failed; with the instant at which the next becomes available.
    Done(Attempt, Option<Timestamp>),
    /// Steps follow the task. Nothing was done.
    Followed,
}

/// Fails a run at work of an open task and settles the task: one that steps follow when `followed`, else
/// one that none does. None when a statement must be used, and nothing has been changed then: where somebody
/// else is at one of the rows, for a run that sleeps or waits, and for what is to be refused.
///
/// # Errors
/// Postgres's own.
pub fn run(
    session: &Session,
    queue: &QueueName,
    run: Uuid,
    reason: Option<Jsonb>,
    retry_at: Option<Timestamp>,
    followed: bool,
) -> Result<Option<Failed>> {
    let Some(tables) = Tables::open(session, queue)? else { return Ok(None) };
    let Tables { runs, tasks, waits, .. } = &tables;
    // None where steps follow the task.
    let is_held = session.with_snapshot(|| {
        if !is_at_work(&tables, run)? {
            return Ok(Some(false));
        }
        if !followed && tasks.get(tasks::WORKFLOW_STEP)? == Some(true) {
            return Ok(None);
        }
        // Both before one is changed: what has been changed cannot be left as it was.
        Ok(Some(runs.lock()? == Change::Done && tasks.lock()? == Change::Done))
    })?;
    match is_held {
        None => return Ok(Some(Failed::Followed)),
        Some(false) => return Ok(None),
        Some(true) => {}
    }
    // Waits that others have inserted while they held the run are seen now.
    session.with_snapshot(|| {
        if waits.find(&[Key::is(1, run)])? != Some(false) {
            return Ok(None);
        }
        let next = Next::of(session, &tables, retry_at)?;
        settle_run(session, &tables, &next, reason)?;
        let attempt = settle_task(session, &tables, &next, run, reason)?;
        Ok(Some(Failed::Done(attempt, next.verdict.retry_at())))
    })
}

/// Reads a run and its task, and says whether these are at work.
fn is_at_work(Tables { runs, tasks, .. }: &Tables, run: Uuid) -> Result<bool> {
    Ok(runs.find(&[Key::is(1, run)])? == Some(true)
        && is_running(runs)?
        && tasks.find(&[Key::is(1, runs.need::<Uuid>(runs::TASK_ID)?)])? == Some(true)
        && is_open(tasks)?)
}

/// What follows a failed run.
struct Next {
    verdict: Verdict,
    /// Of the task and of the next run.
    state: State,
    run: Option<Uuid>,
    /// Number of the attempt that has failed, and of the next.
    attempts: (i32, i32),
    task: Uuid,
    has_rules: bool,
}

impl Next {
    /// Of the run and the task that were read last.
    fn of(
        session: &Session,
        Tables { runs, tasks, .. }: &Tables,
        retry_at: Option<Timestamp>,
    ) -> Result<Self> {
        let attempt: i32 = runs.need(runs::ATTEMPT)?;
        // After the last there is none.
        let following = attempt.saturating_add(1);
        let text = |place| -> Result<Option<String>> {
            Ok(tasks.get::<Jsonb>(place)?.map(Jsonb::to_text))
        };
        let (strategy, rules) = (text(tasks::RETRY_STRATEGY)?, text(tasks::CANCELLATION)?);
        let case = Case {
            attempt,
            retry_strategy: strategy.as_deref(),
            max_attempts: tasks.get(tasks::MAX_ATTEMPTS)?,
            cancellation: rules.as_deref(),
            first_started_at: tasks.get(tasks::FIRST_STARTED_AT)?,
        };
        let verdict = case.verdict(session.now(), retry_at);
        Ok(Self {
            verdict,
            state: verdict.state(session.now()),
            run: verdict.retry_at().map(|_| session.new_id()).transpose()?,
            attempts: (attempt, following),
            task: tasks.need(tasks::TASK_ID)?,
            has_rules: rules.is_some(),
        })
    }
}

/// Changes the task that was locked last.
fn settle_task(
    session: &Session,
    Tables { tasks, .. }: &Tables,
    next: &Next,
    run: Uuid,
    reason: Option<Jsonb>,
) -> Result<Attempt> {
    let attempt = Attempt {
        task: next.task,
        attempt: next.attempts.0,
        reason,
        last: next.run.is_none(),
        cancelled: next.verdict == Verdict::Cancel,
        followed: tasks.get(tasks::WORKFLOW_STEP)? == Some(true),
    };
    let last = next.run.or(tasks.get(tasks::LAST_ATTEMPT_RUN)?).unwrap_or(run);
    let [state, last, attempts, now, done]: &[Param; 5] =
        params![next.state.as_str(), last, next.attempts.1, session.now(), true];
    let mut values = vec![(tasks::STATE, *state), (tasks::LAST_ATTEMPT_RUN, *last)];
    if next.run.is_some() {
        values.push((tasks::ATTEMPTS, *attempts));
    } else if next.has_rules {
        values.push((tasks::CANCEL_DONE, *done));
    }
    if attempt.cancelled {
        values.push((tasks::CANCELLED_AT, *now));
    }
    tasks.update_locked(&values)?;
    Ok(attempt)
}

/// Changes the run that was locked last, and makes the next.
fn settle_run(
    session: &Session,
    Tables { runs, .. }: &Tables,
    next: &Next,
    reason: Option<Jsonb>,
) -> Result<()> {
    let (tenant, priority): (Option<String>, Option<i16>) =
        (runs.get(runs::TENANT_ID)?, runs.get(runs::PRIORITY)?);
    let [failed, now, reason, no_event] =
        params![State::Failed.as_str(), session.now(), reason, None::<&str>];
    runs.update_locked(&[
        (runs::STATE, *failed),
        (runs::FAILED_AT, *now),
        (runs::FAILURE_REASON, *reason),
        (runs::WAKE_EVENT, *no_event),
    ])?;
    let (Some(run), Some(at)) = (next.run, next.verdict.retry_at()) else { return Ok(()) };
    let [run, task, attempt, state, at, tenant, priority]: &[Param; 7] = params![
        run,
        next.task,
        next.attempts.1,
        next.state.as_str(),
        at,
        tenant.as_deref(),
        priority
    ];
    runs.insert(&[
        (runs::RUN_ID, *run),
        (runs::TASK_ID, *task),
        (runs::ATTEMPT, *attempt),
        (runs::STATE, *state),
        (runs::AVAILABLE_AT, *at),
        (runs::CREATED_AT, *now),
        (runs::TENANT_ID, *tenant),
        (runs::PRIORITY, *priority),
    ])
}
