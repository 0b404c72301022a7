//! The list: every function, with all its arguments. A new function is a new entry.

mod engine;
mod execution;
mod upkeep;
mod workflow;

use chrono::{DateTime, Utc};
use serde_json::Value as Json;
use tokio_postgres::{Error, Row};
use uuid::Uuid;

use crate::call::{Arg, Call, Outcome};

pub type Check = fn(&[Row]) -> Result<bool, Error>;

pub const VOID: Outcome = Outcome::Void;

pub fn text(text: &'static str) -> Arg {
    Arg::Text(Some(text))
}

pub fn id(id: Uuid) -> Arg {
    Arg::Uuid(Some(id))
}

pub fn int(number: i32) -> Arg {
    Arg::Int(Some(number))
}

pub fn doc(json: Json) -> Arg {
    Arg::Json(Some(json))
}

/// Minutes after noon, where the fixture's clock stands.
pub fn noon(minutes: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_893_499_200 + minutes * 60, 0).unwrap_or_default()
}

pub fn at(minutes: i64) -> Arg {
    Arg::Time(Some(noon(minutes)))
}

pub fn rows(check: Check) -> Outcome {
    Outcome::Rows(check)
}

/// The column of the only row.
pub fn only<'a, T: tokio_postgres::types::FromSql<'a>>(
    rows: &'a [Row],
    column: usize,
) -> Result<Option<T>, Error> {
    match rows {
        [row] => row.try_get(column).map(Some),
        _ => Ok(None),
    }
}

/// Every function of the extension, by subject. `executed` is the run that the database executes.
pub fn all(executed: Uuid) -> Vec<Call> {
    [
        upkeep::queues(),
        engine::tasks(),
        engine::batches(),
        engine::steps(),
        engine::events(),
        upkeep::retention(),
        upkeep::partitions(),
        upkeep::rights(),
        upkeep::pure(),
        workflow::runs(),
        execution::documents(),
        execution::runs(executed),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// A call whose arguments from `required` on have defaults.
pub fn call(function: &'static str, required: usize, args: Vec<Arg>, outcome: Outcome) -> Call {
    Call { before: "", function, args, outcome, required }
}
