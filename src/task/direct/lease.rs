//! Leases.

use super::{is_open, is_running};
use crate::error::Result;
use crate::params;
use crate::pg::direct::{Access, Change, Key};
use crate::pg::{Session, Timestamp, Uuid};
use crate::queue::QueueName;
use crate::queue::rows::{self, runs, tasks};

/// Sets the lease of a running run to end at `until`, or not before it when it only `prolongs`; then the
/// task's state is not asked for. False when there is no such lease, none when a statement must be used.
///
/// # Errors
/// Postgres's own.
pub fn set(
    session: &Session,
    queue: &QueueName,
    run: Uuid,
    until: Timestamp,
    prolongs: bool,
) -> Result<Option<bool>> {
    let Some(runs) = rows::open(session, queue, "r", &runs::LAYOUT, Access::Write)? else {
        return Ok(None);
    };
    session.with_snapshot(|| {
        match runs.find(&[Key::is(1, run)])? {
            None => return Ok(None),
            Some(false) => return Ok(Some(false)),
            Some(true) => {}
        }
        if !prolongs {
            match task_is_open(session, queue, runs.need(runs::TASK_ID)?)? {
                Some(true) => {}
                other => return Ok(other),
            }
        }
        loop {
            let end = runs.get::<Timestamp>(runs::CLAIM_EXPIRES_AT)?;
            let Some(end) = end else { return Ok(Some(false)) };
            if !is_running(&runs)? {
                return Ok(Some(false));
            }
            let end = if prolongs { end.max(until) } else { until };
            let [end, now] = params![end, session.now()];
            let values = [(runs::CLAIM_EXPIRES_AT, *end), (runs::LAST_HEARTBEAT, *now)];
            if runs.update(&values, true)? == Change::Done {
                return Ok(Some(true));
            }
            if !runs.follow()? {
                return Ok(Some(false));
            }
        }
    })
}

/// Whether a task is to be worked on; false when it is gone, none when a statement must be used.
///
/// # Errors
/// Postgres's own.
pub fn task_is_open(session: &Session, queue: &QueueName, task: Uuid) -> Result<Option<bool>> {
    let tasks = rows::open(session, queue, "t", &tasks::LAYOUT, Access::Read)?;
    let Some(tasks) = tasks else { return Ok(None) };
    let Some(found) = tasks.find(&[Key::is(1, task)])? else { return Ok(None) };
    Ok(Some(found && is_open(&tasks)?))
}
