//! How deep and how large the things may be that documents make the engine build.
//!
//! A document is data from a stranger: nesting is walked by recursion and texts are copied, so
//! both have limits. They are far beyond what people write, and well within a backend's stack and
//! memory.

use serde_json::Value;

use crate::error::short;

/// Levels of nesting of a value, a document or an expression.
pub const MAX_DEPTH: usize = 100;

/// Bytes of JSON that one resolution (all arguments of one step, one expression) may produce.
pub const MAX_BYTES: usize = 16 << 20;

/// Bytes of an expression's text.
pub const MAX_EXPRESSION: usize = 64 << 10;

/// Elements of a list to loop over, written out or made by `range`.
pub const MAX_ITEMS: usize = 1_000_000;

/// Bytes of a YAML or JSON document's text.
pub const MAX_DOCUMENT: usize = 16 << 20;

/// Values in a YAML document, those that aliases repeat included.
pub const MAX_NODES: usize = 1_000_000;

/// Bytes of a regular expression's text.
pub const MAX_PATTERN: usize = 4 << 10;

/// Bytes of a text that a regular expression looks at: time grows with the product of both sizes.
pub const MAX_MATCHED: usize = 16 << 10;

/// Bytes that a compiled regular expression may occupy, and those of its lazily built automaton.
pub const MAX_REGEX: usize = 2 << 20;

/// What is left of `MAX_BYTES`.
#[derive(Debug)]
pub struct Budget {
    left: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self { left: MAX_BYTES }
    }
}

impl Budget {
    /// Takes this many bytes.
    ///
    /// # Errors
    /// The rule that is broken, to follow the name of what is too large.
    pub fn take(&mut self, bytes: usize) -> Result<(), String> {
        match self.left.checked_sub(bytes) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => Err(format!("produces more than {MAX_BYTES} bytes")),
        }
    }

    /// Takes what a value measures as JSON, when it stands `depth` levels deep.
    ///
    /// # Errors
    /// The rule that is broken: `MAX_BYTES` or `MAX_DEPTH`.
    pub fn charge(&mut self, value: &Value, depth: usize) -> Result<(), String> {
        if depth > MAX_DEPTH {
            return Err(format!("produces more than {MAX_DEPTH} levels of nesting"));
        }
        match value {
            Value::Null | Value::Bool(_) => self.take(5),
            Value::Number(number) => self.take(number.as_str().len()),
            Value::String(text) => self.take(text.len() + 2),
            Value::Array(elements) => {
                self.take(elements.len() + 2)?;
                elements.iter().try_for_each(|element| self.charge(element, depth + 1))
            }
            Value::Object(members) => {
                self.take(members.len() + 2)?;
                members.iter().try_for_each(|(key, member)| {
                    self.take(key.len() + 3)?;
                    self.charge(member, depth + 1)
                })
            }
        }
    }
}

/// A value's text for a message: JSON, cut after 100 characters.
pub fn shown(value: &Value) -> String {
    cut(&value.to_string())
}

/// A text for a message, cut after 100 characters.
pub fn cut(text: &str) -> String {
    short(text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_budget_ends() {
        let mut budget = Budget { left: 30 };
        assert_eq!(budget.charge(&json!({"a": [1, "xy"]}), 0), Ok(()));
        assert_eq!(budget.left, 30 - 3 - 4 - 4 - 1 - 4);
        assert!(budget.charge(&json!("0123456789abcdef"), 0).is_err_and(|e| e.contains("bytes")));
    }

    #[test]
    fn nesting_ends() {
        let mut value = json!(1);
        for _ in 0..MAX_DEPTH {
            value = json!([value]);
        }
        assert_eq!(Budget::default().charge(&value, 0), Ok(()));
        let error = Budget::default().charge(&json!([value]), 0).unwrap_err();
        assert_eq!(error, "produces more than 100 levels of nesting");
    }

    #[test]
    fn messages_are_short() {
        assert_eq!(shown(&json!({"a": null})), r#"{"a":null}"#);
        assert_eq!(cut(&"é".repeat(200)), format!("{}...", "é".repeat(100)));
    }
}
