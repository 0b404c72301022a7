//! Completions.

use super::{Tables, is_open, is_running};
use crate::error::Result;
use crate::params;
use crate::pg::direct::{Change, Key};
use crate::pg::{Jsonb, Session, Statement, Uuid};
use crate::queue::QueueName;
use crate::queue::rows::{runs, tasks};
use crate::task::state::State;

static FORGET_WAITS: Statement = Statement::new("delete from {w} where run_id = $1");

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    Done,
    /// The run is not running, or others complete runs of its task.
    Refused,
    /// The run is completed. Its task had ended, or has been followed since a moment ago.
    TaskRefused,
}

/// Completes a running run and its task: one that steps follow when `followed`, else one that none does.
/// None when a statement must be used.
///
/// # Errors
/// Postgres's own.
pub fn run(
    session: &Session,
    queue: &QueueName,
    run: Uuid,
    payload: Option<Jsonb>,
    followed: bool,
) -> Result<Option<Settled>> {
    let Some(tables) = Tables::open(session, queue)? else { return Ok(None) };
    let settled = session.with_snapshot(|| settle(session, &tables, run, payload, followed))?;
    let Some((settled, waits)) = settled else { return Ok(None) };
    if waits && settled != Settled::Refused {
        session.run(&FORGET_WAITS, queue, params![run])?;
    }
    Ok(Some(settled))
}

/// With whether the run has waits to forget.
fn settle(
    session: &Session,
    tables: &Tables,
    run: Uuid,
    payload: Option<Jsonb>,
    followed: bool,
) -> Result<Option<(Settled, bool)>> {
    let Tables { runs, tasks, waits, .. } = tables;
    let refused = Ok(Some((Settled::Refused, false)));
    let Some(waits) = waits.find(&[Key::is(1, run)])? else { return Ok(None) };
    // What the caller has read need not be read again: who has changed it since is met by the update.
    let has_task = match is_read(tables, run)? {
        true => true,
        false => match runs.find(&[Key::is(1, run)])? {
            None => return Ok(None),
            Some(false) => return refused,
            Some(true) => match tasks.find(&[Key::is(1, runs.need::<Uuid>(runs::TASK_ID)?)])? {
                None => return Ok(None),
                Some(has_task) => has_task,
            },
        },
    };
    let may_end =
        || -> Result<bool> { Ok(followed || tasks.get(tasks::WORKFLOW_STEP)? != Some(true)) };
    let may_begin = followed || (has_task && may_end()?);
    if !may_begin {
        return refused;
    }
    let [completed, now, result, done] =
        params![State::Completed.as_str(), session.now(), payload, true];
    let changes = [(runs::STATE, *completed), (runs::COMPLETED_AT, *now), (runs::RESULT, *result)];
    loop {
        if !is_running(runs)? {
            return refused;
        }
        if runs.update(&changes, true)? == Change::Done {
            break;
        }
        if !runs.follow()? {
            return refused;
        }
    }
    let mut is_there = has_task;
    while is_there && is_open(tasks)? && may_end()? {
        let mut changes = vec![(tasks::STATE, *completed), (tasks::COMPLETED_PAYLOAD, *result)];
        if tasks.get::<Jsonb>(tasks::CANCELLATION)?.is_some() {
            changes.push((tasks::CANCEL_DONE, *done));
        }
        if tasks.update(&changes, true)? == Change::Done {
            return Ok(Some((Settled::Done, waits)));
        }
        is_there = tasks.follow()?;
    }
    Ok(Some((Settled::TaskRefused, waits)))
}

/// Whether the rows read last are a run at work and its task.
fn is_read(Tables { runs, tasks, .. }: &Tables, run: Uuid) -> Result<bool> {
    Ok(runs.is_fresh()
        && tasks.is_fresh()
        && runs.need::<Uuid>(runs::RUN_ID)? == run
        && runs.need::<Uuid>(runs::TASK_ID)? == tasks.need::<Uuid>(tasks::TASK_ID)?
        && is_running(runs)?)
}
