//! schedule_run: the run sleeps until an instant.

use super::lease;
use crate::error::Result;
use crate::params;
use crate::pg::{Session, Statement, Timestamp, Uuid};
use crate::queue::{QueueName, ready};

static SCHEDULE: Statement = Statement::new(include_str!("../../sql/task/schedule.sql"));

/// Puts a running run to sleep until `wake_at`; an instant that has passed makes it ready at once.
///
/// # Errors
/// AB001, AB002, 55000 or P0002 when the run is not running.
pub fn run(session: &Session, queue: &QueueName, run: Uuid, wake_at: Timestamp) -> Result<()> {
    let rows = session.run(&SCHEDULE, queue, params![run, wake_at])?;
    lease::settled(session, queue, run, rows)?;
    ready::announce(session, queue, wake_at)
}
