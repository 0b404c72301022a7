//! What the last look at the front of a queue has found, read with every claim that relies upon it.

use super::claim;
use crate::error::Result;
use crate::params;
use crate::pg::direct::{Access, Key};
use crate::pg::plan::Own;
use crate::pg::{Session, Statement, Timestamp};
use crate::queue::QueueName;

mod row {
    crate::layout! {
        "btree (queue_name)";
        LOOKED_AT "looked_at" TIMESTAMPTZ,
        BLOCKS "blocks" INT8,
        SECONDS "seconds" FLOAT8,
        IS_OVERDUE "is_overdue" BOOL,
        PRIORITIES "priorities" INT2S,
        FLOORS "floors" TIMESTAMPTZS,
        WEEKS "weeks" TEXTS,
        UNTILS "untils" TIMESTAMPTZS,
    }
}

static PUBLISHED: Statement = Statement::new(
    "select exists (select from absurd.workflow_timer where queue_name = $2 and due_at <= $1)
            or exists (select from absurd.workflow_stimulus where queue_name = $2),
            f.looked_at, f.blocks, f.seconds, f.is_overdue, f.priorities, f.floors, f.weeks, f.untils
       from (values (true)) as always
       left join absurd.queue_front f on f.queue_name = $2",
);

/// A row of `queue_front`; nothing in it when there is none.
#[derive(Default)]
pub struct Stored {
    pub looked_at: Option<Timestamp>,
    pub blocks: i64,
    pub seconds: f64,
    pub is_overdue: bool,
    pub priorities: Vec<i16>,
    pub floors: Vec<Timestamp>,
    pub weeks: Vec<Option<String>>,
    pub untils: Vec<Timestamp>,
}

/// Whether workflow runs of a queue have something to go on with, and its row.
///
/// # Errors
/// Postgres's own.
pub fn published(session: &Session, queue: &QueueName) -> Result<(bool, Stored)> {
    match (claim::goes_on(session, queue)?, read(session, queue)?) {
        (Some(goes_on), Some(stored)) => Ok((goes_on, stored)),
        _ => stated(session, queue),
    }
}

fn read(session: &Session, queue: &QueueName) -> Result<Option<Stored>> {
    let Some(fronts) = session.table("queue_front", &row::LAYOUT, Access::ReadOwn)? else {
        return Ok(None);
    };
    session.with_snapshot(|| match fronts.find(&[Key::is(1, queue.as_str())])? {
        None => Ok(None),
        Some(false) => Ok(Some(Stored::default())),
        Some(true) => Ok(Some(Stored {
            looked_at: fronts.get(row::LOOKED_AT)?,
            blocks: fronts.need(row::BLOCKS)?,
            seconds: fronts.need(row::SECONDS)?,
            is_overdue: fronts.need(row::IS_OVERDUE)?,
            priorities: fronts.need(row::PRIORITIES)?,
            floors: fronts.need(row::FLOORS)?,
            weeks: fronts.need(row::WEEKS)?,
            untils: fronts.need(row::UNTILS)?,
        })),
    })
}

/// The same by a statement.
fn stated(session: &Session, queue: &QueueName) -> Result<(bool, Stored)> {
    let values = params![session.now(), queue.as_str()];
    let row = session.run(&PUBLISHED, &Own, values)?.only()?;
    let stored = Stored {
        looked_at: row.get(1)?,
        blocks: row.get(2)?.unwrap_or(0),
        seconds: row.get(3)?.unwrap_or(0.0),
        is_overdue: row.get(4)?.unwrap_or(false),
        priorities: row.get(5)?.unwrap_or_default(),
        floors: row.get(6)?.unwrap_or_default(),
        weeks: row.get(7)?.unwrap_or_default(),
        untils: row.get(8)?.unwrap_or_default(),
    };
    Ok((row.need(0)?, stored))
}
