//! schedule_run: the run sleeps until an instant.

use super::lease;
use crate::error::Result;
use crate::params;
use crate::pg::{Session, Statement, Timestamp, Uuid};
use crate::queue::{QueueName, ready};

static SCHEDULE: Statement = Statement::new(include_str!("../../sql/task/schedule.sql"));
static TASK: Statement = Statement::new(
    "update {t} set state = 'sleeping'
      where task_id = $1 and state in ('pending', 'running', 'sleeping')
     returning task_id",
);
static FORGET_WAITS: Statement = Statement::new("delete from {w} where run_id = $1");

/// Puts a running run to sleep until `wake_at`; an instant that has passed makes it ready at once.
///
/// # Errors
/// AB001, AB002, 55000 or P0002 when the run is not running.
pub fn run(session: &Session, queue: &QueueName, run: Uuid, wake_at: Timestamp) -> Result<()> {
    let Some(row) = session.run(&SCHEDULE, queue, params![run, wake_at])?.first() else {
        return Err(lease::refusal(session, queue, run)?);
    };
    let (task, waits): (Uuid, bool) = (row.need(0)?, row.need(1)?);
    if session.run(&TASK, queue, params![task])?.is_empty() {
        return Err(lease::task_has_ended(session, queue, run)?);
    }
    if waits {
        session.run(&FORGET_WAITS, queue, params![run])?;
    }
    ready::announce(session, queue, wake_at)
}
