//! Runs that are made ready at an instant that has passed.
//!
//! Claims of a queue whose front is costly begin where its ready runs were last seen to begin, and
//! look now and then at what came since. A run whose caller gives it an instant of long ago, or
//! whose call had to wait after it had read the clock, comes to stand where no look goes. Whoever
//! makes such a run ready says so in a row of `absurd.queue_late`, which the next look takes.

use super::QueueName;
use crate::error::Result;
use crate::params;
use crate::pg::plan::Own;
use crate::pg::row::Rows;
use crate::pg::{Session, Statement, Timestamp, clock};

/// Seconds that an instant may have passed: looks come upon those that are younger.
const LATE: f64 = 0.4;

static IS_COSTLY: Statement =
    Statement::new("select from absurd.queue_watermark where queue_name = $1 and not is_bypassed");
static NOTE: Statement = Statement::new(
    "insert into absurd.queue_late (queue_name, available_at) select $1, unnest($2)",
);
static NOTED: Statement =
    Statement::new("select available_at from absurd.queue_late where queue_name = $1");
static TAKE: Statement =
    Statement::new("delete from absurd.queue_late where queue_name = $1 returning available_at");

/// Notes those instants that looks would pass by, after runs were made ready at them.
///
/// # Errors
/// Postgres's own.
pub fn note(session: &Session, queue: &QueueName, instants: &[Timestamp]) -> Result<()> {
    let late = clock::wall().plus_seconds(-LATE);
    let mut behind: Vec<Timestamp> = instants.iter().copied().filter(|at| *at < late).collect();
    if behind.is_empty() {
        return Ok(());
    }
    // Others' looks are what matters, not what this transaction's snapshot shows of them.
    if session.run_latest(&IS_COSTLY, &Own, params![queue.as_str()])?.is_empty() {
        return Ok(());
    }
    behind.sort_unstable();
    behind.dedup();
    let behind: Vec<Option<Timestamp>> = behind.into_iter().map(Some).collect();
    session.run(&NOTE, &Own, params![queue.as_str(), behind]).map(drop)
}

/// The instants that were noted of a queue.
///
/// # Errors
/// Postgres's own.
pub fn noted(session: &Session, queue: &QueueName) -> Result<Vec<Timestamp>> {
    read(session.run(&NOTED, &Own, params![queue.as_str()])?)
}

/// As [`noted`], and takes the notes away.
///
/// # Errors
/// Postgres's own.
pub fn take(session: &Session, queue: &QueueName) -> Result<Vec<Timestamp>> {
    read(session.run(&TAKE, &Own, params![queue.as_str()])?)
}

fn read(rows: Rows) -> Result<Vec<Timestamp>> {
    rows.into_iter().map(|row| row.need(0)).collect()
}
