//! The limits that a document must keep before anything else looks at it.

use serde_json::Value;

use super::fields::broken;
use crate::error::Result;
use crate::workflow::bounds::{MAX_DEPTH, MAX_DOCUMENT, MAX_NODES};

/// How much deeper and larger the canonical form of a document within the limits may be.
const DEEPER: usize = 4;
const LARGER: usize = 16;

struct Size {
    depth: usize,
    factor: usize,
    bytes: usize,
    values: usize,
}

/// Checks depth, size and texts of a document from outside.
///
/// # Errors
/// 22023 for a document beyond `MAX_DEPTH`, `MAX_DOCUMENT` or `MAX_NODES`, or with a NUL character,
/// which Postgres cannot store.
pub fn check(document: &Value) -> Result<()> {
    let mut size = Size { depth: MAX_DEPTH, factor: 1, bytes: 0, values: 0 };
    size.add(document, 0).map_err(|rule| broken("the workflow", rule))
}

/// As [`check`], for a document whose canonical form this may be.
///
/// # Errors
/// As [`check`], with room for what the canonical form adds.
pub fn check_canonical(document: &Value) -> Result<()> {
    let mut size = Size { depth: MAX_DEPTH + DEEPER, factor: LARGER, bytes: 0, values: 0 };
    size.add(document, 0).map_err(|rule| broken("the workflow", rule))
}

impl Size {
    fn add(&mut self, value: &Value, depth: usize) -> std::result::Result<(), String> {
        if depth > self.depth {
            return Err(format!("must have at most {MAX_DEPTH} levels of nesting"));
        }
        self.values += 1;
        match value {
            Value::Null | Value::Bool(_) => {}
            Value::Number(number) => self.bytes += number.as_str().len(),
            Value::String(text) => self.text(text)?,
            Value::Array(elements) => {
                elements.iter().try_for_each(|element| self.add(element, depth + 1))?;
            }
            Value::Object(members) => members.iter().try_for_each(|(key, member)| {
                self.text(key)?;
                self.add(member, depth + 1)
            })?,
        }
        self.bytes += 2;
        if self.bytes > self.factor * MAX_DOCUMENT {
            return Err(format!("must have at most {MAX_DOCUMENT} bytes"));
        }
        if self.values > self.factor * MAX_NODES {
            return Err(format!("must have at most {MAX_NODES} values"));
        }
        Ok(())
    }

    fn text(&mut self, text: &str) -> std::result::Result<(), String> {
        self.bytes += text.len();
        if text.contains('\0') {
            return Err("must not hold the character U+0000".to_owned());
        }
        Ok(())
    }
}
