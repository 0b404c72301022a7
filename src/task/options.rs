//! What a caller may ask of spawn_task and retry_task.

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::backoff::Backoff;
use crate::error::{Error, Result, check_size, short};
use crate::json;
use crate::time::Timestamp;
use crate::unknown::{self, Unknown};

/// The options of spawn_task, checked. Members that are absent or null take their defaults;
/// members that the engine does not know are left alone, and listed.
#[derive(Debug, Default, PartialEq)]
pub struct SpawnOptions {
    /// Attempts that the task gets; none means that nothing limits them.
    pub max_attempts: Option<i32>,
    pub idempotency_key: Option<String>,
    pub tenant_id: Option<String>,
    pub start: Start,
    /// The text of `workflow_run_id`, still to be resolved.
    pub workflow_run_id: Option<String>,
    /// The same of the headers, where it may be anything.
    pub header_workflow_run_id: Option<String>,
    /// From -8 to 8: among runs that are ready, the higher are claimed first.
    pub priority: i16,
    /// Members that mean nothing.
    pub unknown: Vec<Unknown>,
}

/// When the first run may start.
#[derive(Debug, Default, PartialEq)]
pub enum Start {
    #[default]
    Now,
    /// So many seconds from now.
    After(f64),
    /// At this instant, as written.
    At(String),
}

/// `{"max_delay": seconds, "max_duration": seconds}`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cancellation {
    /// Seconds from enqueueing within which the task must start.
    pub max_delay: Option<i64>,
    /// Seconds from the first start within which it must end.
    pub max_duration: Option<i64>,
}

/// The options of retry_task.
#[derive(Debug, Default, PartialEq)]
pub struct RetryOptions {
    pub max_attempts: Option<i32>,
    /// A new task from the same inputs instead of another run of this one.
    pub spawn_new: bool,
    /// Members that mean nothing.
    pub unknown: Vec<Unknown>,
}

#[derive(Deserialize)]
struct SpawnFields<'a> {
    #[serde(borrow)]
    headers: Option<&'a RawValue>,
    #[serde(borrow)]
    retry_strategy: Option<&'a RawValue>,
    #[serde(borrow)]
    cancellation: Option<&'a RawValue>,
    #[serde(default, deserialize_with = "json::member")]
    max_attempts: Option<Value>,
    #[serde(default, deserialize_with = "json::member")]
    idempotency_key: Option<Value>,
    #[serde(default, deserialize_with = "json::member")]
    tenant_id: Option<Value>,
    #[serde(default, deserialize_with = "json::member")]
    workflow_run_id: Option<Value>,
    #[serde(default, deserialize_with = "json::member")]
    available_at: Option<Value>,
    #[serde(default, deserialize_with = "json::member")]
    delay_seconds: Option<Value>,
    #[serde(default, deserialize_with = "json::member")]
    priority: Option<Value>,
}

const SPAWN: &[&str] = &[
    "headers",
    "retry_strategy",
    "max_attempts",
    "cancellation",
    "idempotency_key",
    "available_at",
    "delay_seconds",
    "priority",
    "tenant_id",
    "workflow_run_id",
];
const RETRY: &[&str] = &["max_attempts", "spawn_new"];
const CANCELLATION: &[&str] = &["max_delay", "max_duration"];

impl SpawnOptions {
    /// Reads and checks the options; JSON null is none of them.
    ///
    /// # Errors
    /// 22023 naming the option that breaks its rule; AB003 for the retry strategy.
    pub fn parse(json: &str) -> Result<Self> {
        if json == "{}" || json == "null" {
            return Ok(Self::default());
        }
        let fields: SpawnFields = read_object(json)?;
        let mut unknown = Vec::new();
        unknown::find(json, "", SPAWN, &mut unknown);
        let header_workflow_run_id = fields.headers.map(link_in_headers).transpose()?.flatten();
        if let Some(strategy) = fields.retry_strategy {
            Backoff::parse(strategy.get())?;
            unknown::find(strategy.get(), "retry_strategy.", Backoff::MEMBERS, &mut unknown);
        }
        if let Some(rules) = fields.cancellation {
            Cancellation::parse(rules.get())?;
            unknown::find(rules.get(), "cancellation.", CANCELLATION, &mut unknown);
        }
        let start = match (text("available_at", fields.available_at)?, fields.delay_seconds) {
            (Some(at), None) => Start::At(at),
            (None, Some(delay)) => match delay.as_f64() {
                Some(seconds) if seconds >= 0.0 => Start::After(seconds),
                _ => {
                    return Err(option("delay_seconds", delay, "must be a number of seconds >= 0"));
                }
            },
            (Some(at), Some(_)) => {
                return Err(option("available_at", at, "cannot be combined with delay_seconds"));
            }
            (None, None) => Start::Now,
        };
        let idempotency_key = text("idempotency_key", fields.idempotency_key)?;
        if idempotency_key.as_deref().is_some_and(|key| key.trim().is_empty()) {
            return Err(option("idempotency_key", "\"\"", "must not be blank"));
        }
        if let Some(key) = &idempotency_key {
            check_size("option \"idempotency_key\"", key)?;
        }
        Ok(Self {
            max_attempts: max_attempts(fields.max_attempts)?,
            idempotency_key,
            tenant_id: text("tenant_id", fields.tenant_id)?,
            start,
            workflow_run_id: text("workflow_run_id", fields.workflow_run_id)?,
            header_workflow_run_id,
            priority: priority(fields.priority)?,
            unknown,
        })
    }
}

#[derive(Deserialize)]
struct Rules {
    #[serde(default, deserialize_with = "json::member")]
    max_delay: Option<Value>,
    #[serde(default, deserialize_with = "json::member")]
    max_duration: Option<Value>,
}

impl Cancellation {
    /// Reads and checks cancellation rules.
    ///
    /// # Errors
    /// 22023 naming the rule that is not a whole number of seconds >= 0.
    pub fn parse(json: &str) -> Result<Self> {
        if !json.starts_with('{') {
            return Err(option("cancellation", json, "must be a JSON object"));
        }
        let fields: Rules = read_object(json)?;
        Ok(Self {
            max_delay: whole_seconds("cancellation.max_delay", fields.max_delay)?,
            max_duration: whole_seconds("cancellation.max_duration", fields.max_duration)?,
        })
    }

    /// When the rules come due for a task enqueued and first started at these instants, as far as
    /// they are known; infinity for not yet. A task that was started before, and revived, need not
    /// start in time again.
    pub fn due(
        self,
        enqueued_at: Timestamp,
        first_started_at: Option<Timestamp>,
        revived: bool,
    ) -> Timestamp {
        let (from, seconds) = match first_started_at {
            Some(started) => (started, self.max_duration),
            None => (enqueued_at, self.max_delay.filter(|_| !revived)),
        };
        seconds.map_or(Timestamp::INFINITY, |seconds| from.plus_seconds(seconds as f64))
    }

    /// The rules of a stored task. A rule that could not have been given to spawn_task binds
    /// nothing: somebody else wrote it, and it must not stop the queue.
    pub fn stored(json: &str) -> Self {
        let rule = |name: &str, value: Option<Value>| whole_seconds(name, value).ok().flatten();
        match read_object::<Rules>(json) {
            Ok(rules) => Self {
                max_delay: rule("max_delay", rules.max_delay),
                max_duration: rule("max_duration", rules.max_duration),
            },
            Err(_) => Self::default(),
        }
    }
}

impl RetryOptions {
    /// Reads and checks the options.
    ///
    /// # Errors
    /// 22023 naming the option that breaks its rule.
    pub fn parse(json: &str) -> Result<Self> {
        #[derive(Deserialize)]
        struct Fields {
            #[serde(default, deserialize_with = "json::member")]
            max_attempts: Option<Value>,
            #[serde(default, deserialize_with = "json::member")]
            spawn_new: Option<Value>,
        }
        if json == "null" {
            return Ok(Self::default());
        }
        let fields: Fields = read_object(json)?;
        let spawn_new = match fields.spawn_new {
            None => false,
            Some(Value::Bool(value)) => value,
            Some(other) => return Err(option("spawn_new", other, "must be true or false")),
        };
        let mut unknown = Vec::new();
        unknown::find(json, "", RETRY, &mut unknown);
        Ok(Self { max_attempts: max_attempts(fields.max_attempts)?, spawn_new, unknown })
    }
}

fn link_in_headers(headers: &RawValue) -> Result<Option<String>> {
    #[derive(Deserialize)]
    struct Fields {
        #[serde(default, deserialize_with = "json::member")]
        workflow_run_id: Option<Value>,
    }
    if !headers.get().starts_with('{') {
        return Err(option("headers", headers, "must be a JSON object"));
    }
    match read_object::<Fields>(headers.get())?.workflow_run_id {
        Some(Value::String(text)) => Ok(Some(text)),
        _ => Ok(None),
    }
}

fn read_object<'a, T: Deserialize<'a>>(json: &'a str) -> Result<T> {
    if !json.starts_with('{') {
        return Err(Error::invalid(format!("options {json}"), "must be a JSON object"));
    }
    serde_json::from_str(json)
        .map_err(|error| Error::invalid("options", format!("cannot be read: {error}")))
}

fn max_attempts(value: Option<Value>) -> Result<Option<i32>> {
    let Some(value) = value else { return Ok(None) };
    match value.as_i64().and_then(|number| i32::try_from(number).ok()) {
        Some(number) if number >= 1 => Ok(Some(number)),
        _ => Err(option("max_attempts", value, "must be a whole number >= 1")),
    }
}

/// As many levels as a claim may have to look at.
const PRIORITIES: std::ops::RangeInclusive<i16> = -8..=8;

fn priority(value: Option<Value>) -> Result<i16> {
    let Some(value) = value else { return Ok(0) };
    match value.as_i64().and_then(|number| i16::try_from(number).ok()) {
        Some(number) if PRIORITIES.contains(&number) => Ok(number),
        _ => Err(option("priority", value, "must be a whole number from -8 to 8")),
    }
}

/// The longest that a cancellation rule can wait, 31 years: nine digits, as the table's index
/// reads them.
const LONGEST_RULE: i64 = 999_999_999;

fn whole_seconds(name: &str, value: Option<Value>) -> Result<Option<i64>> {
    let value = match value {
        None | Some(Value::Null) => return Ok(None),
        Some(value) => value,
    };
    match value.as_i64().filter(|number| (0..=LONGEST_RULE).contains(number)) {
        Some(number) => Ok(Some(number)),
        None => Err(option(name, value, "must be a whole number of seconds, 0 to 999999999")),
    }
}

fn text(name: &str, value: Option<Value>) -> Result<Option<String>> {
    match value {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(other) => Err(option(name, other, "must be text")),
    }
}

fn option(name: &str, value: impl std::fmt::Display, rule: &'static str) -> Error {
    Error::invalid(format!("option \"{name}\" {}", short(&value.to_string())), rule)
}

#[cfg(test)]
mod tests;
