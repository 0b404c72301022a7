//! Reading the fields of a document's objects, with errors that say where a field stands.

use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::workflow::bounds::{cut, shown};
use crate::workflow::number::Number;

/// An object of the document, and the words for it in messages: `task 'fork.a/x'`.
pub struct Fields<'a> {
    pub place: &'a str,
    fields: &'a Map<String, Value>,
}

/// A value of a closed list, and its name in the document.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Choice<T> {
    pub name: &'static str,
    pub value: T,
}

impl<T> Serialize for Choice<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name)
    }
}

impl<'a> Fields<'a> {
    /// # Errors
    /// 22023 when the value is no object.
    pub fn of(place: &'a str, value: &'a Value) -> Result<Self> {
        match value {
            Value::Object(fields) => Ok(Self { place, fields }),
            other => Err(broken(place, format!("{} must be an object", shown(other)))),
        }
    }

    pub fn get(&self, field: &str) -> Option<&'a Value> {
        self.fields.get(field)
    }

    /// The error of a field whose value breaks a rule.
    pub fn wrong(&self, field: &str, rule: &str) -> Error {
        match self.fields.get(field) {
            Some(value) => broken(self.place, format!("{field} {} {rule}", shown(value))),
            None => broken(self.place, format!("{field} {rule}")),
        }
    }

    /// The error of anything else about the object.
    pub fn broken(&self, rule: impl std::fmt::Display) -> Error {
        broken(self.place, rule)
    }

    fn text(&self, field: &str) -> Result<Option<String>> {
        match self.get(field) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(self.wrong(field, "must be a string")),
        }
    }

    /// A string that must be there.
    pub fn required(&self, field: &str) -> Result<String> {
        self.text(field)?.ok_or_else(|| self.wrong(field, "is required"))
    }

    /// A string that has a default.
    pub fn text_or(&self, field: &str, default: &str) -> Result<String> {
        Ok(self.text(field)?.unwrap_or_else(|| default.to_owned()))
    }

    /// A string or null, which is the default.
    pub fn nullable(&self, field: &str) -> Result<Option<String>> {
        match self.get(field) {
            Some(Value::Null) => Ok(None),
            Some(Value::String(_)) | None => self.text(field),
            Some(_) => Err(self.wrong(field, "must be a string or null")),
        }
    }

    pub fn flag(&self, field: &str) -> Result<bool> {
        match self.get(field) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(_) => Err(self.wrong(field, "must be true or false")),
        }
    }

    /// An integer, also written as `3.0`.
    pub fn integer(&self, field: &str, default: i64) -> Result<i64> {
        let Some(value) = self.get(field) else { return Ok(default) };
        let number = if value.is_number() { Number::of(value) } else { None };
        number.and_then(Number::to_i64).ok_or_else(|| self.wrong(field, "must be an integer"))
    }

    /// Whole seconds or null, which is the default.
    pub fn seconds(&self, field: &str) -> Result<Option<i64>> {
        match self.get(field) {
            None | Some(Value::Null) => Ok(None),
            Some(_) => self.integer(field, 0).map(Some),
        }
    }

    pub fn array(&self, field: &str) -> Result<&'a [Value]> {
        match self.get(field) {
            None => Ok(&[]),
            Some(Value::Array(elements)) => Ok(elements),
            Some(_) => Err(self.wrong(field, "must be an array")),
        }
    }

    pub fn object(&self, field: &str) -> Result<Map<String, Value>> {
        match self.get(field) {
            None => Ok(Map::new()),
            Some(Value::Object(members)) => Ok(members.clone()),
            Some(_) => Err(self.wrong(field, "must be an object")),
        }
    }

    pub fn members(&self, field: &str) -> Result<impl Iterator<Item = (&'a String, &'a Value)>> {
        match self.get(field) {
            None => Ok(None.into_iter().flatten()),
            Some(Value::Object(members)) => Ok(Some(members).into_iter().flatten()),
            Some(_) => Err(self.wrong(field, "must be an object")),
        }
    }

    pub fn strings(&self, field: &str) -> Result<Vec<String>> {
        self.array(field)?
            .iter()
            .map(|element| element.as_str().map(str::to_owned))
            .collect::<Option<_>>()
            .ok_or_else(|| self.wrong(field, "must be an array of strings"))
    }

    /// One of the listed values; the first is the default.
    pub fn choice<T: Copy>(&self, field: &str, choices: &[(&'static str, T)]) -> Result<Choice<T>> {
        let found = match self.get(field) {
            None => choices.first(),
            Some(value) => choices.iter().find(|(name, _)| value.as_str() == Some(name)),
        };
        if let Some((name, value)) = found {
            return Ok(Choice { name, value: *value });
        }
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        Err(self.wrong(field, &format!("must be one of {}", names.join(", "))))
    }
}

/// The error of something in the document that breaks a rule: "`place`: `rule`" (22023).
pub fn broken(place: &str, rule: impl std::fmt::Display) -> Error {
    Error::invalid(format!("{place}:"), rule.to_string())
}

/// The words for a task in messages.
pub fn place(path: &str) -> String {
    format!("task '{}'", cut(path))
}
