//! What a caller may ask of start_workflow.

use serde::Deserialize;
use serde_json::Value;

use super::bounds::cut;
use crate::error::{Error, Result, check_size};
use crate::json;
use crate::unknown::{self, Unknown};

/// The options of start_workflow, checked. Members that are absent or null take their defaults;
/// members that the engine does not know are left alone, and listed.
#[derive(Debug, Default, PartialEq)]
pub struct StartOptions {
    pub created_by: Option<String>,
    /// JSON text of an object.
    pub tags: Option<String>,
    pub idempotency_key: Option<String>,
    /// Whether the run waits its turn under the workflow's `max_active_runs`.
    pub respect_max_active_runs: bool,
    /// Members that mean nothing.
    pub unknown: Vec<Unknown>,
}

const MEMBERS: &[&str] = &["created_by", "tags", "idempotency_key", "respect_max_active_runs"];

#[derive(Deserialize)]
struct Fields {
    #[serde(default, deserialize_with = "json::member")]
    created_by: Option<Value>,
    #[serde(default, deserialize_with = "json::member")]
    tags: Option<Value>,
    #[serde(default, deserialize_with = "json::member")]
    idempotency_key: Option<Value>,
    #[serde(default, deserialize_with = "json::member")]
    respect_max_active_runs: Option<Value>,
}

impl StartOptions {
    /// Reads and checks the options; JSON null is none of them.
    ///
    /// # Errors
    /// 22023 naming the option that breaks its rule.
    pub fn parse(json: &str) -> Result<Self> {
        if json == "{}" || json == "null" {
            return Ok(Self::default());
        }
        if !json.starts_with('{') {
            return Err(Error::invalid(format!("options {}", cut(json)), "must be a JSON object"));
        }
        let fields: Fields = serde_json::from_str(json)
            .map_err(|error| Error::invalid("options", format!("cannot be read: {error}")))?;
        let mut unknown = Vec::new();
        unknown::find(json, "", MEMBERS, &mut unknown);
        let idempotency_key = text("idempotency_key", fields.idempotency_key)?;
        if idempotency_key.as_deref().is_some_and(|key| key.trim().is_empty()) {
            return Err(option("idempotency_key", "\"\"", "must not be blank"));
        }
        if let Some(key) = &idempotency_key {
            check_size("option \"idempotency_key\"", key)?;
        }
        let tags = match fields.tags {
            None => None,
            Some(Value::Object(tags)) => Some(Value::Object(tags).to_string()),
            Some(other) => return Err(option("tags", other, "must be a JSON object")),
        };
        let respect_max_active_runs = match fields.respect_max_active_runs {
            None => false,
            Some(Value::Bool(value)) => value,
            Some(other) => {
                return Err(option("respect_max_active_runs", other, "must be true or false"));
            }
        };
        Ok(Self {
            created_by: text("created_by", fields.created_by)?,
            tags,
            idempotency_key,
            respect_max_active_runs,
            unknown,
        })
    }
}

fn text(name: &str, value: Option<Value>) -> Result<Option<String>> {
    match value {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(other) => Err(option(name, other, "must be a string")),
    }
}

fn option(name: &str, value: impl std::fmt::Display, rule: &'static str) -> Error {
    Error::invalid(format!("option \"{name}\" {}", cut(&value.to_string())), rule)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_and_null_options_are_defaults() {
        for json in ["{}", "null", r#"{"tags": null, "created_by": null}"#] {
            assert_eq!(StartOptions::parse(json).unwrap(), StartOptions::default(), "{json}");
        }
    }

    #[test]
    fn options_are_read() {
        let json = r#"{"created_by": "me", "tags": {"a": 1}, "idempotency_key": "k",
                       "respect_max_active_runs": true}"#;
        let options = StartOptions::parse(json).unwrap();
        assert_eq!(options.created_by.as_deref(), Some("me"));
        assert_eq!(options.tags.as_deref(), Some(r#"{"a":1}"#));
        assert_eq!(options.idempotency_key.as_deref(), Some("k"));
        assert!(options.respect_max_active_runs);
    }

    #[test]
    fn members_that_mean_nothing_are_listed() {
        let options = StartOptions::parse(r#"{"created_by": "me", "createdBy": "me"}"#).unwrap();
        assert_eq!(options.unknown.len(), 1);
    }

    #[test]
    fn errors_name_the_option() {
        for json in [
            "[]",
            r#"{"created_by": 1}"#,
            r#"{"tags": ["a"]}"#,
            r#"{"idempotency_key": " "}"#,
            &format!(r#"{{"idempotency_key": "{}"}}"#, "k".repeat(2001)),
            r#"{"respect_max_active_runs": 1}"#,
        ] {
            assert_eq!(StartOptions::parse(json).unwrap_err().sqlstate(), "22023", "{json}");
        }
    }
}
