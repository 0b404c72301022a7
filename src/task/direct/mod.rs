//! What claims look at on plain queues, read without statements, see [`crate::pg::direct`]. Each
//! has a statement that does the same, and says when that must be used.

pub mod front;
pub mod line;
pub mod look;

use std::rc::Rc;

use crate::error::Result;
use crate::pg::Session;
use crate::pg::direct::{Access, Table};
use crate::queue::QueueName;
use crate::queue::rows::{self, runs, tasks};

/// A queue's runs and tasks, for reading; none when statements must be used.
///
/// # Errors
/// Postgres's own.
pub fn open(session: &Session, queue: &QueueName) -> Result<Option<(Rc<Table>, Rc<Table>)>> {
    let runs = rows::open(session, queue, "r", &runs::LAYOUT, Access::Read)?;
    let tasks = rows::open(session, queue, "t", &tasks::LAYOUT, Access::Read)?;
    Ok(runs.zip(tasks))
}
