//! JSON that mostly passes through.
//!
//! Results of tasks may be megabytes and are seldom looked into. A [`Json`] holds the text as the
//! database gave it, or the value as the interpreter made it, and turns one into the other at most
//! once, when asked. Cloning shares.

use std::cell::OnceCell;
use std::fmt;
use std::rc::Rc;

use serde_json::Value;

use crate::error::{Error, Result};
use crate::json::{self, MAX_BUILT, Unread};

#[derive(Default)]
struct Both {
    text: OnceCell<String>,
    value: OnceCell<Value>,
    /// Gives the text when it is first asked for.
    source: Option<Box<dyn Fn() -> String>>,
}

impl fmt::Debug for Both {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.value.get(), self.text.get()) {
            (Some(value), _) => write!(f, "{value}"),
            (None, Some(text)) => f.write_str(text),
            (None, None) => f.write_str("(not read)"),
        }
    }
}

/// A JSON value as text, as a value, or both.
#[derive(Clone, Debug)]
pub struct Json(Rc<Both>);

impl Json {
    /// From JSON text that is known to be valid: a `jsonb`'s.
    pub fn from_text(text: String) -> Self {
        Self(Rc::new(Both { text: OnceCell::from(text), ..Both::default() }))
    }

    /// From JSON text that `source` gives if it is ever asked for.
    pub fn deferred(source: impl Fn() -> String + 'static) -> Self {
        Self(Rc::new(Both { source: Some(Box::new(source)), ..Both::default() }))
    }

    pub fn from_value(value: Value) -> Self {
        Self(Rc::new(Both { value: OnceCell::from(value), ..Both::default() }))
    }

    pub fn null() -> Self {
        Self::from_value(Value::Null)
    }

    /// The value as JSON text.
    pub fn text(&self) -> &str {
        self.0.text.get_or_init(|| match (self.0.value.get(), &self.0.source) {
            (Some(value), _) => value.to_string(),
            (None, Some(source)) => source(),
            (None, None) => "null".to_owned(),
        })
    }

    /// Checks the levels of nesting of what `what` names in messages.
    ///
    /// # Errors
    /// 22023 for more than `max`.
    pub fn check(&self, what: &'static str, max: usize) -> Result<()> {
        json::check(what, self.text(), max)
    }

    /// The value, parsed now if it has not been.
    ///
    /// # Errors
    /// 22023 for more than `MAX_BUILT` levels; XX001 when the text that the database gave is not
    /// JSON.
    pub fn value(&self) -> Result<&Value> {
        if let Some(value) = self.0.value.get() {
            return Ok(value);
        }
        let parsed = json::read(self.text(), MAX_BUILT).map_err(|unread| match unread {
            Unread::Deep(max) => Error::TooDeep { what: "a JSON value".into(), max },
            Unread::Wrong(error) => {
                Error::Corrupt { what: format!("a stored JSON value cannot be read: {error}") }
            }
        })?;
        Ok(self.0.value.get_or_init(|| parsed))
    }
}

impl PartialEq for Json {
    fn eq(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
            || matches!((self.value(), other.value()), (Ok(a), Ok(b)) if a == b)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_value_turn_into_each_other() {
        let parsed = Json::from_text(r#"{"a": 1.50}"#.to_owned());
        assert_eq!(parsed.value().unwrap()["a"].to_string(), "1.50");
        assert_eq!(Json::from_value(serde_json::json!([1])).text(), "[1]");
        assert_eq!(Json::null(), Json::from_text("null".to_owned()));
        let deep = Json::from_text("[".repeat(MAX_BUILT + 1) + &"]".repeat(MAX_BUILT + 1));
        assert!(deep.value().is_err_and(|error| error.is_limit()));
        assert!(deep.check("it", MAX_BUILT + 1).is_ok());
        let deferred = Json::deferred(|| "[2]".to_owned());
        assert_eq!(deferred, Json::from_value(serde_json::json!([2])));
    }
}
