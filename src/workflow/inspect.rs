//! How the engine goes about its work, for who looks after it.

use super::driver::direct;
use crate::error::Result;
use crate::pg::direct::Access;
use crate::pg::direct::{Usage, Why, usage};
use crate::pg::{Session, catalog};
use crate::queue::{QueueName, policy, rows};

/// A table that can be used without statements.
pub struct Path {
    pub table: String,
    /// Why it is not.
    pub why: Option<Why>,
    /// What this session has done so far.
    pub usage: Usage,
}

/// The tables that claims look at, of every queue that the role may know of, and those of executed
/// workflow runs.
///
/// # Errors
/// 42501 without SELECT on `absurd.queues`.
pub fn fast_path(session: &Session) -> Result<Vec<Path>> {
    catalog::require("queues", catalog::SELECT)?;
    let mut paths = Vec::new();
    let mut add = |table: String, why| {
        let usage = usage(&table);
        paths.push(Path { table, why, usage });
    };
    for name in policy::names(session)? {
        // A registry row of another making may have a name that no table can carry.
        let Ok(queue) = QueueName::parse(Some(&name)) else { continue };
        for (prefix, layout) in [("r", &rows::runs::LAYOUT), ("t", &rows::tasks::LAYOUT)] {
            let table = queue.relation(prefix, "");
            let why = session.why_not_table(&table, layout, Access::Read)?;
            add(table, why);
        }
    }
    for (table, layout) in direct::tables() {
        let why = session.why_not_table(table, layout, Access::WriteOwn)?;
        add(table.to_owned(), why);
    }
    Ok(paths)
}
