//! How deep and how large the things may be that documents make the engine build.
//!
//! A document is data from a stranger: nesting is walked by recursion and texts are copied, so
//! both have limits. They are far beyond what people write, and well within a backend's stack and
//! memory.

use serde_json::Value;

use crate::error::{Result as Outcome, short};
use crate::json::MAX_BUILT;

/// Levels of nesting of a document, a pattern or an expression. Values that flow through a run have
/// the levels of `crate::json`.
pub const MAX_DEPTH: usize = 100;

/// Bytes of JSON that one resolution (all arguments of one step, one expression) may produce.
pub const MAX_BYTES: usize = 16 << 20;

/// Bytes of an expression's text.
pub const MAX_EXPRESSION: usize = 64 << 10;

/// Elements of a list to loop over, written out or made by `range`.
pub const MAX_ITEMS: usize = 1_000_000;

/// Bytes of a YAML or JSON document's text, and of what aliases make of it.
pub const MAX_DOCUMENT: usize = 4 << 20;

/// Values in a document, those that aliases repeat included, keys not.
pub const MAX_NODES: usize = 100_000;

/// Bytes of texts with templates in one field of a document: taken apart, a text may take 30 times
/// its bytes.
pub const MAX_TEMPLATE: usize = 512 << 10;

/// What long work asks between its steps: an error means that the call is to end.
pub type Check<'c> = &'c dyn Fn() -> Outcome<()>;

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
    /// The rule that is broken: `MAX_BYTES`, `MAX_BUILT` levels, or what the database cannot store.
    pub fn charge(&mut self, value: &Value, depth: usize) -> Result<(), String> {
        if depth > MAX_BUILT {
            return Err(format!("produces more than {MAX_BUILT} levels of nesting"));
        }
        storable(value)?;
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

/// Checks that the database can store a value, its parts aside: templates and expressions make
/// values that were never stored.
///
/// # Errors
/// The rule, for the character U+0000 and for a number that `numeric` cannot hold.
pub fn storable(value: &Value) -> Result<(), String> {
    let zero = |text: &String| text.contains('\0');
    match value {
        Value::String(text) if zero(text) => {}
        Value::Object(members) if members.keys().any(zero) => {}
        Value::Number(number) if !fits_numeric(number.as_str()) => {
            return Err("produces a number with too many digits".to_owned());
        }
        _ => return Ok(()),
    }
    Err("produces the character U+0000".to_owned())
}

/// Whether `numeric` holds a number: 131,072 digits before the point and 16,383 behind.
fn fits_numeric(text: &str) -> bool {
    let (mantissa, power) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let (whole, fraction) = (whole.trim_start_matches('-').len(), fraction.len());
    let length = |digits: usize| i64::try_from(digits).unwrap_or(i64::MAX);
    power.parse::<i64>().is_ok_and(|power| {
        length(whole).saturating_add(power) <= 131_072
            && length(fraction).saturating_sub(power) <= 16_383
    })
}

/// A value's text for a message: JSON, cut after 100 characters.
pub fn shown(value: &Value) -> String {
    cut(&value.to_string())
}

/// What a run's value is, for an error of the run: its content may be a secret, and the error goes
/// to whoever is alerted.
pub fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
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
        for _ in 0..MAX_BUILT {
            value = json!([value]);
        }
        assert_eq!(Budget::default().charge(&value, 0), Ok(()));
        let error = Budget::default().charge(&json!([value]), 0).unwrap_err();
        assert_eq!(error, "produces more than 1500 levels of nesting");
    }

    #[test]
    fn what_cannot_be_stored_is_not_made() {
        let number = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        for fine in [json!("\u{1}"), json!({"a": 1}), number("-1.5e300"), number("1e131000")] {
            assert_eq!(Budget::default().charge(&fine, 0), Ok(()), "{fine}");
        }
        let numbers = ["1e131072", "1e-16384", "1e99999999999999999999"].map(number);
        for bad in [json!(["a\0"]), json!({"\0": 1})].into_iter().chain(numbers) {
            assert!(Budget::default().charge(&bad, 0).is_err(), "{bad}");
        }
    }

    #[test]
    fn messages_are_short() {
        assert_eq!(shown(&json!({"a": null})), r#"{"a":null}"#);
        assert_eq!(cut(&"é".repeat(200)), format!("{}...", "é".repeat(100)));
    }
}
