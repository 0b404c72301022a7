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

/// Fails a run at work of an open task and settles the task: one that steps follow when `followed`, else
/// one that none does. Says beside when the next run becomes available. None when a statement must be used,
/// and nothing has been changed then: where somebody else is at one of the rows, for a run that sleeps or
/// waits, and for what is to be refused.
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
) -> Result<Option<(Attempt, Option<Timestamp>)>> {
    let Some(tables) = Tables::open(session, queue)? else { return Ok(None) };
    session.with_snapshot(|| {
        if !is_plain(&tables, run, followed)? {
            return Ok(None);
        }
        let Some(next) = Next::of(session, &tables, retry_at)? else { return Ok(None) };
        // What has been changed cannot be left as it was: the run is held before the task is changed.
        if tables.runs.lock()? != Change::Done {
            return Ok(None);
        }
        let Some(failed) = settle_task(session, &tables, &next, reason)? else { return Ok(None) };
        settle_run(session, &tables, &next, reason)?;
        Ok(Some((failed, next.verdict.retry_at())))
    })
}

/// Reads a run and its task, and says whether they are for this path.
fn is_plain(Tables { runs, tasks, waits, .. }: &Tables, run: Uuid, followed: bool) -> Result<bool> {
    Ok(waits.find(&[Key::is(1, run)])? == Some(false)
        && runs.find(&[Key::is(1, run)])? == Some(true)
        && is_running(runs)?
        && tasks.find(&[Key::is(1, runs.need::<Uuid>(runs::TASK_ID)?)])? == Some(true)
        && is_open(tasks)?
        && (followed || tasks.get(tasks::WORKFLOW_STEP)? != Some(true)))
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
    /// Of the run and the task that were read last; none when there is no number for another attempt.
    fn of(
        session: &Session,
        Tables { runs, tasks, .. }: &Tables,
        retry_at: Option<Timestamp>,
    ) -> Result<Option<Self>> {
        let attempt: i32 = runs.need(runs::ATTEMPT)?;
        let Some(following) = attempt.checked_add(1) else { return Ok(None) };
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
        Ok(Some(Self {
            verdict,
            state: verdict.state(session.now()),
            run: verdict.retry_at().map(|_| session.new_id()).transpose()?,
            attempts: (attempt, following),
            task: tasks.need(tasks::TASK_ID)?,
            has_rules: rules.is_some(),
        }))
    }
}

/// Changes the task that was read last; none when somebody else is at it.
fn settle_task(
    session: &Session,
    Tables { runs, tasks, .. }: &Tables,
    next: &Next,
    reason: Option<Jsonb>,
) -> Result<Option<Attempt>> {
    let (before, cancelled) =
        (tasks.get::<Uuid>(tasks::LAST_ATTEMPT_RUN)?, next.verdict == Verdict::Cancel);
    let last = next.run.or(before).map_or_else(|| runs.need(runs::RUN_ID), Ok)?;
    let attempt = Attempt {
        task: next.task,
        attempt: next.attempts.0,
        reason,
        last: next.run.is_none(),
        cancelled,
        followed: tasks.get(tasks::WORKFLOW_STEP)? == Some(true),
    };
    let [state, last, attempts, now, done]: &[Param; 5] =
        params![next.state.as_str(), last, next.attempts.1, session.now(), true];
    let mut values = vec![(tasks::STATE, *state), (tasks::LAST_ATTEMPT_RUN, *last)];
    if next.run.is_some() {
        values.push((tasks::ATTEMPTS, *attempts));
    } else if next.has_rules {
        values.push((tasks::CANCEL_DONE, *done));
    }
    if cancelled {
        values.push((tasks::CANCELLED_AT, *now));
    }
    Ok((tasks.update(&values, false)? == Change::Done).then_some(attempt))
}

/// Changes the run that was locked, and makes the next.
fn settle_run(
    session: &Session,
    Tables { runs, .. }: &Tables,
    next: &Next,
    reason: Option<Jsonb>,
) -> Result<()> {
    let (tenant, priority): (Option<String>, i16) =
        (runs.get(runs::TENANT_ID)?, runs.need(runs::PRIORITY)?);
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
