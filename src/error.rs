//! Every way in which a call can fail, and what the caller is told about it.
//!
//! One enum for the whole extension: a variant says *what* is wrong; `sqlstate`, `message`,
//! `detail` and `hint` say it to a client. Nothing here touches Postgres, so the wording and the
//! codes are covered by plain unit tests.

mod text;

use std::borrow::Cow;
use std::fmt;

use crate::pg::ereport::Caught;

pub use text::{MAX_KEY, check_size, fit, short};

pub type Result<T> = std::result::Result<T, Error>;

/// A failure of one call. Raising it aborts the surrounding (sub)transaction, so nothing that the
/// call did before remains.
#[derive(Debug)]
pub enum Error {
    /// An argument that must have a value is NULL (22004) or blank (22023).
    Missing { argument: Cow<'static, str>, null: bool },
    /// A value outside of what the argument allows (22023).
    Invalid { value: String, rule: Cow<'static, str>, hint: Option<Cow<'static, str>> },
    /// JSON with more levels of nesting than the engine follows (22023).
    TooDeep { what: Cow<'static, str>, max: usize },
    /// Something is larger than the engine takes (54000).
    Limit { what: String, rule: String },
    /// A name with more bytes than an identifier can carry (42622).
    TooLong { what: &'static str, name: String, max: usize },
    /// A retry strategy that the engine cannot follow (AB003).
    RetryStrategy { rule: String },
    /// The queue's table does not exist (42P01).
    NoSuchRelation { relation: String, queue: String },
    /// The queue is not registered (42P01).
    NoSuchQueue { queue: String },
    /// No row has this id (P0002).
    NotFound { what: &'static str, id: String, queue: Option<String> },
    /// The run belongs to another task (22023).
    NotOfTask { run: String, task: String, queue: String },
    /// The task has been cancelled (AB001).
    Cancelled { task: String, queue: String },
    /// The run has already failed (AB002).
    RunFailed { run: String, queue: String },
    /// The object is not in the state that the verb needs (55000).
    WrongState { what: String, rule: String, hint: Option<Cow<'static, str>> },
    /// The relation name is taken by something that is not this queue's (42P07).
    NameTaken { queue: String, relation: String, by: String },
    /// A table with a name that the queue needs belongs to somebody else (42P07).
    Strangers { queue: String, relation: String, owner: String },
    /// The queue exists with other properties (42710).
    QueueExists { queue: String, rule: String },
    /// Something else has the name that this would get (42710).
    Exists { what: String, rule: String, hint: &'static str },
    /// A row that this call resolved to vanished under it (40001).
    Vanished { what: &'static str, key: String, queue: String },
    /// Row security keeps the task that has the key from the caller (42501).
    Hidden { key: String, queue: String },
    /// The transaction's snapshot is older than something that the call must not miss (40001).
    Serialization { what: String },
    /// The name of a week's partition is taken (42P07).
    WeekTaken { queue: String, relation: String, by: String },
    /// Others keep something in use that this call needs for itself (55P03).
    Busy { what: String },
    /// What is wrong with one element of a batch, counted from 0.
    Element { argument: &'static str, index: usize, error: Box<Error> },
    /// Only the extension's owner may do this (42501).
    NotOwner,
    /// Only a superuser may do this (42501).
    NotSuperuser { what: &'static str },
    /// Tables that were to be taken over have parts that the engine does not know (55000).
    StrangeParts { queue: String, parts: Vec<String> },
    /// The caller's role lacks a right on a relation of the extension's (42501).
    Denied { relation: String },
    /// A trigger function of the engine on a table, or at an event, that it was not made for
    /// (0A000).
    ForeignTrigger { name: String },
    /// A column of a table has another type than the engine reads it as (55000).
    ColumnType { table: String, column: String },
    /// A relation that the engine was to use is not one of its own (55000).
    NotOurs { relation: String, rule: String },
    /// A row that the call has locked was not changed (27000).
    Kept { table: String },
    /// Stored data that the extension itself must have written otherwise (XX001).
    Corrupt { what: String },
    /// An error that Postgres raised, kept whole.
    Postgres(Caught),
}

/// An error as a client reads it.
pub struct Told {
    pub sqlstate: String,
    pub message: String,
    pub detail: Option<String>,
    pub hint: Option<String>,
}

impl Error {
    /// The argument's value breaks a rule; the message reads "`what` `value` `rule`".
    pub fn invalid(value: impl Into<String>, rule: impl Into<Cow<'static, str>>) -> Self {
        Self::Invalid { value: value.into(), rule: rule.into(), hint: None }
    }

    pub fn null(argument: impl Into<Cow<'static, str>>) -> Self {
        Self::Missing { argument: argument.into(), null: true }
    }

    pub fn blank(argument: impl Into<Cow<'static, str>>) -> Self {
        Self::Missing { argument: argument.into(), null: false }
    }

    /// Adds what the caller can do about an invalid value or a wrong state.
    pub fn with_hint(mut self, text: impl Into<Cow<'static, str>>) -> Self {
        match &mut self {
            Self::Invalid { hint, .. } | Self::WrongState { hint, .. } => *hint = Some(text.into()),
            _ => {}
        }
        self
    }

    /// Whether data is beyond a limit: a step that came to it fails, and nothing else does.
    pub fn is_limit(&self) -> bool {
        matches!(self, Self::TooDeep { .. } | Self::Limit { .. })
    }

    /// Says which element of a batch the error is about. What Postgres raised stays as it is.
    pub fn at(self, argument: &'static str, index: usize) -> Self {
        match self {
            Self::Postgres(_) => self,
            error => Self::Element { argument, index, error: Box::new(error) },
        }
    }

    /// The five characters of the error's SQLSTATE.
    pub fn sqlstate(&self) -> &'static str {
        match self {
            Self::Missing { null: true, .. } => "22004",
            Self::Missing { null: false, .. } | Self::Invalid { .. } | Self::NotOfTask { .. } => {
                "22023"
            }
            Self::TooDeep { .. } => "22023",
            Self::Limit { .. } => "54000",
            Self::TooLong { .. } => "42622",
            Self::RetryStrategy { .. } => "AB003",
            Self::NoSuchRelation { .. } | Self::NoSuchQueue { .. } => "42P01",
            Self::NotFound { .. } => "P0002",
            Self::Cancelled { .. } => "AB001",
            Self::RunFailed { .. } => "AB002",
            Self::WrongState { .. }
            | Self::StrangeParts { .. }
            | Self::ColumnType { .. }
            | Self::NotOurs { .. } => "55000",
            Self::NameTaken { .. } => "42P07",
            Self::QueueExists { .. } | Self::Exists { .. } => "42710",
            Self::Vanished { .. } | Self::Serialization { .. } => "40001",
            Self::WeekTaken { .. } | Self::Strangers { .. } => "42P07",
            Self::Busy { .. } => "55P03",
            Self::Element { error, .. } => error.sqlstate(),
            Self::Denied { .. }
            | Self::Hidden { .. }
            | Self::NotOwner
            | Self::NotSuperuser { .. } => "42501",
            Self::ForeignTrigger { .. } => "0A000",
            Self::Kept { .. } => "27000",
            Self::Corrupt { .. } => "XX001",
            // Raised again as it came; never asked for its code.
            Self::Postgres(_) => "XX000",
        }
    }

    /// All that a client would be told, for an error that the call survives.
    pub fn told(&self) -> Told {
        if let Self::Postgres(caught) = self {
            let (detail, hint) = caught.detail_and_hint();
            return Told { sqlstate: caught.sqlstate(), message: caught.message(), detail, hint };
        }
        Told {
            sqlstate: self.sqlstate().to_owned(),
            message: self.to_string(),
            detail: self.detail(),
            hint: self.hint().map(Cow::into_owned),
        }
    }

    /// What more there is to know, beyond the message.
    pub fn detail(&self) -> Option<String> {
        match self {
            Self::NameTaken { relation, by, .. } => {
                Some(format!("The queue needs the name \"{relation}\", which {by} has."))
            }
            Self::StrangeParts { parts, .. } => Some(format!("{}.", parts.join("; "))),
            Self::Strangers { owner, .. } => Some(format!(
                "It belongs to role \"{owner}\", which is neither the extension's owner nor a superuser."
            )),
            Self::WeekTaken { relation, by, .. } => {
                Some(format!("The name \"{relation}\" belongs to {by}."))
            }
            Self::Element { error, .. } => error.detail(),
            Self::TooLong { name, max, .. } => Some(format!(
                "The name has {} bytes of UTF-8; relation names derived from it leave room for {max}.",
                name.len()
            )),
            Self::Hidden { .. } => {
                Some("Another task has the key; row security keeps it from this role.".to_owned())
            }
            Self::Cancelled { .. } => {
                Some("Nothing that its runs still report is stored.".to_owned())
            }
            _ => None,
        }
    }

    /// What the caller can do about it.
    pub fn hint(&self) -> Option<Cow<'static, str>> {
        match self {
            Self::Invalid { hint, .. } | Self::WrongState { hint, .. } => hint.clone(),
            Self::NoSuchQueue { queue } => Some(
                format!("Create the queue first: select absurd.create_queue({}).", literal(queue))
                    .into(),
            ),
            Self::NoSuchRelation { queue, .. } => Some(
                format!(
                    "Create the queue first: select absurd.create_queue({0}). If it is listed \
                     but its tables are gone: select absurd.ensure_queue_tables({0}).",
                    literal(queue)
                )
                .into(),
            ),
            Self::NameTaken { .. } => Some("Choose another queue name.".into()),
            Self::StrangeParts { .. } => {
                Some("Look at each, and drop it before the tables are taken over.".into())
            }
            Self::NotOurs { .. } => Some(
                "A superuser can hand a queue's tables to the extension's owner: \
                 absurd.adopt_queue()."
                    .into(),
            ),
            Self::Strangers { queue, .. } => Some(
                format!(
                    "Choose another queue name. A superuser can take the tables over: select \
                     absurd.adopt_queue({}).",
                    literal(queue)
                )
                .into(),
            ),
            Self::Exists { hint, .. } => Some((*hint).into()),
            Self::Cancelled { .. } => Some("Stop working on the task.".into()),
            Self::RunFailed { .. } => {
                Some("Stop working on this run; the task goes on, if at all, in another.".into())
            }
            Self::Vanished { .. } | Self::Serialization { .. } => {
                Some("Retry the transaction.".into())
            }
            Self::WeekTaken { .. } => Some(
                "The tag of a week comes back after ten years: detach and drop the table that has \
                 the name."
                    .into(),
            ),
            Self::Busy { .. } => Some("Try again when the queue is less busy.".into()),
            Self::Element { error, .. } => error.hint(),
            _ => None,
        }
    }
}

/// Text as a SQL literal, whatever `standard_conforming_strings` says.
pub fn literal(text: &str) -> String {
    let escape = if text.contains('\\') { "E" } else { "" };
    format!("{escape}'{}'", text.replace('\'', "''").replace('\\', r"\\"))
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { argument, .. } => write!(f, "{argument} must be provided"),
            Self::Invalid { value, rule, .. } => write!(f, "{} {rule}", short(value)),
            Self::TooDeep { what, max } => write!(f, "{what} {}", crate::json::too_deep(*max)),
            Self::Limit { what, rule } => write!(f, "{what} {rule}"),
            Self::TooLong { what, name, max } => {
                write!(f, "{what} \"{}\" is too long (max {max} bytes)", short(name))
            }
            Self::RetryStrategy { rule } => f.write_str(rule),
            Self::NoSuchRelation { relation, .. } => {
                write!(f, "relation \"{relation}\" does not exist")
            }
            Self::NoSuchQueue { queue } => {
                write!(f, "Queue \"{}\" does not exist", short(queue))
            }
            Self::NotFound { what, id, queue: Some(queue) } => {
                write!(f, "{what} \"{}\" not found in queue \"{queue}\"", short(id))
            }
            Self::NotFound { what, id, queue: None } => {
                write!(f, "{what} \"{}\" not found", short(id))
            }
            Self::NotOfTask { run, task, queue } => {
                write!(f, "Run \"{run}\" does not belong to task \"{task}\" in queue \"{queue}\"")
            }
            Self::Cancelled { task, queue } => {
                write!(f, "Task \"{task}\" has been cancelled in queue \"{queue}\"")
            }
            Self::RunFailed { run, queue } => {
                write!(f, "Run \"{run}\" has already failed in queue \"{queue}\"")
            }
            Self::WrongState { what, rule, .. } | Self::Exists { what, rule, .. } => {
                write!(f, "{what} {rule}")
            }
            Self::NameTaken { queue, .. } => {
                write!(f, "Queue name \"{queue}\" collides with relations that exist")
            }
            Self::Strangers { queue, relation, .. } => {
                write!(f, "Queue \"{queue}\" cannot take up the relation \"absurd.{relation}\"")
            }
            Self::QueueExists { queue, rule } => write!(f, "Queue \"{queue}\" {rule}"),
            Self::Vanished { what, key, queue } => {
                write!(f, "{what} \"{}\" was removed concurrently in queue \"{queue}\"", short(key))
            }
            Self::Serialization { what } => {
                write!(f, "could not serialize access: {what} after this transaction's snapshot")
            }
            Self::WeekTaken { queue, relation, .. } => {
                write!(f, "Queue \"{queue}\" cannot have the partition \"{relation}\"")
            }
            Self::Busy { what } => write!(f, "{what} stayed in use by others"),
            Self::Element { argument, index, error } => {
                write!(f, "{argument}[{index}]: {error}")
            }
            Self::ColumnType { table, column } => {
                write!(f, "column \"{column}\" of {table} has another type than the engine's")
            }
            Self::NotOurs { relation, rule } => write!(f, "relation \"{relation}\" {rule}"),
            Self::Kept { table } => {
                write!(f, "a trigger or a policy on table {table} has kept a row as it was")
            }
            Self::NotOwner => f.write_str("must be owner of extension absurd"),
            Self::NotSuperuser { what } => write!(f, "must be superuser to {what}"),
            Self::StrangeParts { queue, .. } => {
                write!(
                    f,
                    "the tables of queue \"{queue}\" have parts that the engine does not know"
                )
            }
            Self::ForeignTrigger { name } => write!(
                f,
                "trigger \"{name}\" has a function of the engine, which serves its own tables alone"
            ),
            Self::Hidden { key, queue } => write!(
                f,
                "permission denied for the task with idempotency key \"{}\" in queue \"{queue}\"",
                short(key)
            ),
            Self::Denied { relation } => write!(f, "permission denied for table {relation}"),
            Self::Corrupt { what } => f.write_str(what),
            Self::Postgres(_) => f.write_str("error raised by Postgres"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engine_states_have_the_codes_that_clients_match() {
        let queue = || "q".to_owned();
        let cancelled = Error::Cancelled { task: "t".into(), queue: queue() };
        let failed = Error::RunFailed { run: "r".into(), queue: queue() };
        let strategy = Error::RetryStrategy { rule: "x".into() };
        assert_eq!(cancelled.sqlstate(), "AB001");
        assert_eq!(failed.sqlstate(), "AB002");
        assert_eq!(strategy.sqlstate(), "AB003");
    }

    #[test]
    fn null_and_blank_arguments_differ_in_code_only() {
        assert_eq!(Error::null("Queue name").sqlstate(), "22004");
        assert_eq!(Error::blank("Queue name").sqlstate(), "22023");
        assert_eq!(Error::null("Queue name").to_string(), "Queue name must be provided");
        assert_eq!(Error::blank("Queue name").to_string(), "Queue name must be provided");
    }

    #[test]
    fn hint_for_a_missing_queue_is_valid_sql_for_any_name() {
        let error = Error::NoSuchQueue { queue: "it's".into() };
        assert_eq!(
            error.hint().unwrap(),
            "Create the queue first: select absurd.create_queue('it''s')."
        );
    }
}
