//! Failures of steps as JSON (HIGHWAY 10.6), and what may interrupt a step's action.

use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::workflow::failure::Failure;
use crate::workflow::json::Json;

/// Why a step's action did not come to its end.
pub enum Halt {
    /// The step failed.
    Failed(Json),
    /// The host could not answer: the transition is void.
    Broken(Error),
}

impl From<Error> for Halt {
    fn from(error: Error) -> Self {
        Self::Broken(error)
    }
}

pub type Acting<T> = std::result::Result<T, Halt>;

/// `{"name", "message", "task_id"}` and what else there is to say.
pub fn of_step(task_id: &str, failure: &Failure, more: Vec<(&str, Value)>) -> Json {
    let mut members = Map::new();
    members.insert("name".to_owned(), failure.name.into());
    members.insert("message".to_owned(), failure.message.as_str().into());
    members.insert("task_id".to_owned(), task_id.into());
    members.extend(more.into_iter().map(|(key, value)| (key.to_owned(), value)));
    Json::from_value(Value::Object(members))
}

/// The error of a queue task's step: name and message are the worker's where it gave some.
pub fn of_attempt(task_id: &str, reason: &Json, attempts: u32) -> Result<Json> {
    let reason = reason.value()?;
    let message = match (reason.get("message"), reason) {
        (Some(Value::String(message)), _) | (_, Value::String(message)) => message.clone(),
        (Some(other), _) if !other.is_null() => other.to_string(),
        (_, Value::Null) => String::new(),
        (_, other) => other.to_string(),
    };
    let mut members = Map::new();
    members.insert("name".to_owned(), name(reason).into());
    members.insert("message".to_owned(), message.into());
    members.insert("task_id".to_owned(), task_id.into());
    members.insert("attempts".to_owned(), attempts.into());
    Ok(Json::from_value(Value::Object(members)))
}

/// The name that a worker's error goes by.
pub fn name(reason: &Value) -> &str {
    reason.get("name").and_then(Value::as_str).filter(|name| !name.is_empty()).unwrap_or("Error")
}

/// The message of an error, to be part of another's.
pub fn message(error: &Value) -> &str {
    error.get("message").and_then(Value::as_str).unwrap_or_default()
}

/// A JSON object of values that are not looked into.
pub fn object<'k>(members: impl IntoIterator<Item = (&'k str, Json)>) -> Json {
    let mut text = String::from("{");
    for (key, value) in members {
        if text.len() > 1 {
            text.push(',');
        }
        text += &Value::from(key).to_string();
        text.push(':');
        text += value.text();
    }
    text.push('}');
    Json::from_text(text)
}

/// A JSON array, likewise.
pub fn array(elements: impl IntoIterator<Item = Json>) -> Json {
    let mut text = String::from("[");
    for element in elements {
        if text.len() > 1 {
            text.push(',');
        }
        text += element.text();
    }
    text.push(']');
    Json::from_text(text)
}
