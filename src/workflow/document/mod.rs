//! Workflow documents as highway-dsl exports them: read, checked field by field, written in one
//! canonical form.
//!
//! Reading drops unknown fields at every level and fills in defaults (HIGHWAY 1 and 2), so that the
//! JSON and the YAML of one workflow come to the same document. What concerns more than one field
//! of one task (names, scopes, the graph) is the business of `scopes`, `resolve` and `graph`.

mod fields;
mod interchange;
mod kinds;
mod read;
mod size;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use super::bounds::Check;
use super::guard::Guard;
use super::policy::{BreakerPolicy, RetryPolicy, TimeoutPolicy};
use super::program::{DeadlineAction, TriggerRule};
use crate::error::{Error, Result};

pub use fields::{Choice, Free, broken, place};
pub use interchange::{hash, interchange};
pub use kinds::{Call, Content, Kind};
pub use size::{check_size, too_large};

/// Operators that a document may hold, repeated copies of loop bodies included.
pub const MAX_OPERATORS: usize = 100_000;

/// Bytes of a workflow's name and of its version: both are in one index entry.
pub const MAX_NAME: usize = 255;

/// Bytes of a task's id, of a result key and of a branch's name, for the same reason.
pub const MAX_ID: usize = 1000;

/// A document, or the document of a branch.
#[derive(Debug, Serialize)]
pub struct Document {
    pub name: String,
    pub version: String,
    pub description: String,
    pub tasks: BTreeMap<String, Box<Step>>,
    pub variables: Free,
    pub start_task: Option<String>,
    pub schedule: Option<String>,
    pub start_date: Option<String>,
    pub catchup: bool,
    pub is_paused: bool,
    pub tags: Vec<String>,
    pub max_active_runs: i64,
    #[serde(serialize_with = "retry")]
    pub default_retry_policy: Option<RetryPolicy>,
    pub deadline_seconds: Option<i64>,
    pub deadline_action: Choice<DeadlineAction>,
}

/// An operator with the fields that all have in common.
#[derive(Debug, Serialize)]
pub struct Step {
    pub task_id: String,
    pub dependencies: Vec<String>,
    pub trigger_rule: Choice<TriggerRule>,
    #[serde(serialize_with = "retry")]
    pub retry_policy: Option<RetryPolicy>,
    #[serde(serialize_with = "timeout")]
    pub timeout_policy: Option<TimeoutPolicy>,
    #[serde(serialize_with = "breaker")]
    pub circuit_breaker_policy: Option<BreakerPolicy>,
    pub idempotency_key: Option<String>,
    pub metadata: Free,
    pub description: String,
    pub result_key: Option<String>,
    pub on_success_task_id: Option<String>,
    pub on_failure_task_id: Option<String>,
    pub is_internal_loop_task: bool,
    pub is_internal_parallel_task: bool,
    pub preconditions: Vec<Checked>,
    pub postconditions: Vec<Checked>,
    #[serde(flatten)]
    pub kind: Kind,
}

/// A guard as the document has it, and parsed.
#[derive(Debug)]
pub struct Checked {
    pub guard: Guard,
    written: Box<RawValue>,
}

impl Serialize for Checked {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        self.written.serialize(serializer)
    }
}

fn retry<S: Serializer>(
    policy: &Option<RetryPolicy>,
    serializer: S,
) -> std::result::Result<S::Ok, S::Error> {
    policy.as_ref().map(RetryPolicy::canonical).serialize(serializer)
}

fn timeout<S: Serializer>(
    policy: &Option<TimeoutPolicy>,
    serializer: S,
) -> std::result::Result<S::Ok, S::Error> {
    policy.as_ref().map(TimeoutPolicy::canonical).serialize(serializer)
}

fn breaker<S: Serializer>(
    policy: &Option<BreakerPolicy>,
    serializer: S,
) -> std::result::Result<S::Ok, S::Error> {
    policy.as_ref().map(BreakerPolicy::canonical).serialize(serializer)
}

impl Document {
    /// Reads a document from its JSON text; asks before each operator whether to go on.
    ///
    /// # Errors
    /// 22023 with the task, the field and the rule for everything that HIGHWAY 1, 2, 6 and 9 say a
    /// field must be, and for documents beyond the limits of this module; 54000 for more text or
    /// values than `bounds` allows; what `check` says.
    #[cfg(test)]
    pub fn read(text: &str, check: Check) -> Result<Self> {
        Self::read_new(text, check).map(|(document, _)| document)
    }

    /// As [`Document::read`], for one that is registered; also says what looks like a mistake.
    ///
    /// # Errors
    /// As [`Document::read`].
    pub fn read_new(text: &str, check: Check) -> Result<(Self, Vec<String>)> {
        size::check(text)?;
        Self::unpack(text, check, true)
    }

    /// As [`Document::read`], for a document that may be in its canonical form already, which is
    /// larger.
    ///
    /// # Errors
    /// As [`Document::read`].
    pub fn read_canonical(text: &str, check: Check) -> Result<Self> {
        size::check_canonical(text)?;
        Self::unpack(text, check, false).map(|(document, _)| document)
    }

    fn unpack(text: &str, check: Check, lints: bool) -> Result<(Self, Vec<String>)> {
        let mut reader = read::Reader::new(check, lints);
        let document = reader.document(text)?;
        Ok((document, reader.lints.unwrap_or_default()))
    }

    /// The JSON text of the document in its canonical form: every field with its value or default,
    /// nothing else.
    ///
    /// The form keeps numbers in free JSON (arguments, variables, ...) as they were written,
    /// because a worker may tell `3.0` from `3`; [`interchange`] and the hash do not tell them
    /// apart, because databases and YAML libraries write one number in several ways.
    ///
    /// # Errors
    /// XX001; none is known.
    pub fn to_text(&self) -> Result<String> {
        serde_json::to_string(self).map_err(|error| Error::Corrupt {
            what: format!("the workflow's document cannot be written: {error}"),
        })
    }
}

impl Step {
    /// Whether another task is a copy of this one in an older layout, where only the dependencies
    /// (the container's id is appended) and a mark differ.
    pub fn is_copy_of(&self, other: &Self) -> bool {
        let written = |step: &Self| {
            serde_json::to_value(step).ok().map(|mut value| {
                if let serde_json::Value::Object(fields) = &mut value {
                    fields.remove("dependencies");
                    fields.remove("is_internal_parallel_task");
                }
                value
            })
        };
        written(self) == written(other)
    }
}

/// A raw document's canonical form, and the SHA-256 of its content in hexadecimal.
#[cfg(test)]
pub fn canonical(raw: &serde_json::Value) -> Result<(serde_json::Value, String)> {
    let text = Document::read(&raw.to_string(), &|| Ok(()))?.to_text()?;
    let hash = hash(&interchange(&text, &|| Ok(()))?);
    Ok((serde_json::from_str(&text).unwrap(), hash))
}
