//! A queue's tables as the engine uses them, and what a role needs to do something with them.
//!
//! Statements run with the rights of their caller, and Postgres asks for them when it executes
//! each. That is too late for a verb that has taken a lock before, or moved a workflow run: so
//! every verb that does more than read asks first, here, before it takes a lock and before it reads
//! an argument.

use std::rc::Rc;

use super::rows::{checkpoints, events, keys, runs, tasks, waits};
use super::{QueueName, policy};
use crate::error::{Error, Result};
use crate::pg::Session;
use crate::pg::catalog::{self, DELETE, INSERT, Right, SELECT, UPDATE};
use crate::pg::shape::{self, Columns, Group, Looked};

/// The prefixes of a queue's tables, with the columns that the engine names.
const TABLES: [(&str, Columns); 6] = [
    ("t", tasks::COLUMNS),
    ("r", runs::COLUMNS),
    ("c", checkpoints::COLUMNS),
    ("e", events::COLUMNS),
    ("w", waits::COLUMNS),
    ("i", keys::COLUMNS),
];
const T: usize = 0;
const R: usize = 1;
const C: usize = 2;
const E: usize = 3;
const W: usize = 4;

/// Rights on one of a queue's tables, by its place in [`TABLES`].
type Need = (usize, &'static [Right]);

/// What a verb needs. Rights are asked for on whole tables: who may change some columns alone, as a
/// role that only produces work, changes them by the verbs that ask for no more than that.
pub struct Needs {
    whole: &'static [Need],
    /// On the table or on some of its columns.
    some: &'static [Need],
}

macro_rules! needs {
    ($($(#[$doc:meta])* $name:ident: [$($whole:expr),*] some [$($some:expr),*];)*) => {
        $($(#[$doc])* pub static $name: Needs = Needs { whole: &[$($whole),*], some: &[$($some),*] };)*
    };
}

needs! {
    /// To spawn tasks, and to start workflow runs.
    SPAWN: [(T, &[INSERT]), (R, &[INSERT])] some [];
    /// To see how tasks stand.
    READ: [(T, &[SELECT]), (R, &[SELECT]), (W, &[SELECT])] some [];
    /// To look whether the tables fit together.
    VERIFY: [(T, &[SELECT]), (R, &[SELECT]), (C, &[SELECT]), (E, &[SELECT]), (W, &[SELECT])] some [];
    /// To emit events.
    EMIT: [(E, &[INSERT])] some [(R, &[UPDATE]), (T, &[UPDATE])];
    /// To claim runs.
    CLAIM: [(T, &[SELECT, UPDATE]), (R, &[SELECT, UPDATE])] some [];
    /// To complete, fail, prolong and put to sleep claimed ones.
    WORK: [(R, &[SELECT, UPDATE]), (T, &[SELECT, UPDATE])] some [];
    /// To end runs whose lease or time is over, and tasks whose rule has come due.
    SWEEP: [(R, &[SELECT, INSERT, UPDATE]), (T, &[SELECT, UPDATE]), (W, &[SELECT, DELETE])] some [];
    /// To write checkpoints.
    CHECKPOINT: [(R, &[SELECT, UPDATE]), (T, &[SELECT]), (C, &[INSERT, UPDATE])] some [];
    /// To await events.
    AWAIT: [(R, &[SELECT, UPDATE]), (T, &[SELECT, UPDATE]), (W, &[INSERT]), (E, &[SELECT])] some [];
    /// To retry tasks.
    RETRY: [(T, &[SELECT, UPDATE]), (R, &[SELECT, INSERT])] some [];
    /// To cancel tasks.
    CANCEL: [(T, &[SELECT, UPDATE]), (R, &[SELECT, UPDATE]), (W, &[DELETE])] some [];
    /// To move workflow runs on by hand: what it takes to start and to cancel them.
    OPERATE: [(T, &[SELECT, INSERT, UPDATE]), (R, &[SELECT, INSERT, UPDATE]), (W, &[DELETE])] some [];
    /// To remove ended tasks.
    CLEAN_TASKS: [(R, &[DELETE]), (T, &[DELETE]), (C, &[DELETE]), (W, &[DELETE])] some [];
    /// To remove old events.
    CLEAN_EVENTS: [(E, &[DELETE])] some [];
}

/// Looks at a queue's tables, unless nothing of them has changed since they were looked at.
///
/// # Errors
/// 55000 naming the table, and the column, when one is not the engine's or not as it makes them.
pub fn check(queue: &str) -> Result<Rc<Group>> {
    // Of an unpartitioned queue the table of keys is none.
    let is_whole = |tables: &[Option<Looked>]| {
        let is_partitioned = tables[T].is_some_and(|tasks| tasks.is_partitioned);
        let needed = if is_partitioned { TABLES.len() } else { TABLES.len() - 1 };
        tables.iter().take(needed).all(Option::is_some)
    };
    let named = || {
        TABLES
            .iter()
            .map(|(prefix, columns)| (super::name::relation(queue, prefix, ""), *columns))
            .collect()
    };
    shape::group(queue, is_whole, named)
}

/// Checks that the current role may do something to a queue, and that its tables are the engine's.
///
/// # Errors
/// 42P01 when a table is not there, 42501 without a right on it, and as [`check`].
pub fn require(queue: &QueueName, needs: &Needs) -> Result<()> {
    match lacks(queue, needs)? {
        None => Ok(()),
        Some(relation) => Err(Error::Denied { relation }),
    }
}

/// Whether the queue's tables have been dropped.
///
/// # Errors
/// As [`check`].
pub fn is_gone(queue: &QueueName) -> Result<bool> {
    Ok(check(queue.as_str())?.tables[T].is_none())
}

/// Whether changing a task or a run of the queue may fail for what its owner has added.
///
/// # Errors
/// As [`check`].
pub fn may_refuse(queue: &QueueName) -> Result<bool> {
    let group = check(queue.as_str())?;
    Ok([T, R].iter().any(|place| group.tables[*place].is_none_or(|table| table.may_refuse)))
}

/// Whether the current role may do something to a queue that is there and is the engine's.
///
/// # Errors
/// Those of the catalogue's cache.
pub fn allows(queue: &QueueName, needs: &Needs) -> Result<bool> {
    match lacks(queue, needs) {
        Ok(lacks) => Ok(lacks.is_none()),
        Err(Error::Postgres(caught)) => Err(Error::Postgres(caught)),
        Err(_) => Ok(false),
    }
}

/// Of all queues those that [`allows`] says yes to.
///
/// # Errors
/// Those of the catalogue's cache.
pub fn allowed(session: &Session, needs: &Needs) -> Result<Vec<QueueName>> {
    let mut queues = Vec::new();
    for name in policy::all_names(session)? {
        // A registry row of another making may have a name that no table can carry.
        let Ok(queue) = QueueName::parse(Some(&name)) else { continue };
        if allows(&queue, needs)? {
            queues.push(queue);
        }
    }
    Ok(queues)
}

/// The first table that the role lacks a right on.
fn lacks(queue: &QueueName, needs: &Needs) -> Result<Option<String>> {
    let group = check(queue.as_str())?;
    let name = |place: usize| queue.relation(TABLES[place].0, "");
    let id = |place: usize| match group.tables[place] {
        Some(table) => Ok(table.id),
        None => Err(Error::NoSuchRelation {
            relation: format!("absurd.{}", name(place)),
            queue: queue.as_str().to_owned(),
        }),
    };
    for (place, rights) in needs.whole {
        if !catalog::has_rights_on(id(*place)?, rights)? {
            return Ok(Some(name(*place)));
        }
    }
    for (place, rights) in needs.some {
        for right in *rights {
            if !catalog::has_right_on_some(id(*place)?, *right)? {
                return Ok(Some(name(*place)));
            }
        }
    }
    Ok(None)
}
