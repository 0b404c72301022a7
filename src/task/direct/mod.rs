//! The hottest verbs on plain queues, without statements, see [`crate::pg::direct`]. Each has a statement
//! that does the same, and says when that must be used.

pub mod claim;
pub mod complete;
pub mod fail;
pub mod front;
pub mod lease;
pub mod line;
pub mod look;
pub mod spawn;

use std::rc::Rc;

use super::state::State;
use crate::error::Result;
use crate::pg::direct::{Access, Key, Table, Which};
use crate::pg::{Session, Timestamp, Uuid};
use crate::queue::QueueName;
use crate::queue::rows::{self, runs, tasks, waits};
use crate::queue::week::Week;

/// The tables that verbs on runs read and write.
pub struct Tables {
    pub runs: Rc<Table>,
    pub tasks: Rc<Table>,
    pub waits: Rc<Table>,
    /// Whether they hold all of the queue, and not one of its weeks.
    pub are_all: bool,
}

impl Tables {
    /// None when statements must be used.
    ///
    /// # Errors
    /// Postgres's own.
    pub fn open(session: &Session, queue: &QueueName) -> Result<Option<Self>> {
        let Some(runs) = rows::open(session, queue, "r", &runs::LAYOUT, Access::Write)? else {
            return Ok(None);
        };
        let Some(tasks) = rows::open(session, queue, "t", &tasks::LAYOUT, Access::Write)? else {
            return Ok(None);
        };
        let Some(waits) = rows::open(session, queue, "w", &waits::LAYOUT, Access::Read)? else {
            return Ok(None);
        };
        Ok(Some(Self { runs, tasks, waits, are_all: true }))
    }

    /// Those of a week, which the caller has been found to have the rights on; none when statements must be
    /// used.
    ///
    /// # Errors
    /// Postgres's own.
    pub fn open_week(session: &Session, week: &Week) -> Result<Option<Self>> {
        let runs = week.open(session, "r", &runs::LAYOUT, Access::WritePart)?;
        let tasks = week.open(session, "t", &tasks::LAYOUT, Access::WritePart)?;
        let waits = week.open(session, "w", &waits::LAYOUT, Access::ReadPart)?;
        let (Some(runs), Some(tasks), Some(waits)) = (runs, tasks, waits) else { return Ok(None) };
        Ok(Some(Self { runs, tasks, waits, are_all: false }))
    }

    /// Whether a timeout has woken a run, which the claim takes note of; none when statements must be used.
    fn is_timed_out(&self, run: Uuid, now: Timestamp) -> Result<Option<bool>> {
        let Some(scan) = self.waits.scan(Which::PrimaryKey, &[Key::is(1, run)])? else {
            return Ok(None);
        };
        let mut is_timed_out = false;
        while !is_timed_out && scan.next()? {
            let timeout_at = self.waits.get::<Timestamp>(waits::TIMEOUT_AT)?;
            is_timed_out = timeout_at.is_some_and(|at| at <= now);
        }
        scan.end()?;
        Ok(Some(is_timed_out))
    }
}

/// Whether the task that was read last is still to be worked on.
///
/// # Errors
/// None but a damaged row's.
pub fn is_open(tasks: &Table) -> Result<bool> {
    let state = State::parse(&tasks.need::<String>(tasks::STATE)?);
    Ok(state.is_some_and(|state| !state.is_final()))
}

/// Whether the run that was read last is at work.
///
/// # Errors
/// None but a damaged row's.
pub fn is_running(runs: &Table) -> Result<bool> {
    Ok(State::parse(&runs.need::<String>(runs::STATE)?) == Some(State::Running))
}
