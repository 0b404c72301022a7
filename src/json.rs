//! Reading JSON text: its levels are counted before anything is built of it.
//!
//! serde_json reads by recursion and gives up at 128 levels, where `jsonb` takes thousands. So the
//! levels are counted by a scan, and what has few enough is read however deep it is. Reading,
//! copying, comparing, printing and dropping a value of 1,500 levels takes less than 1 MiB of stack
//! (a test does it in a thread of that size); a backend has 7 MiB or more.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::error::{Error, Result};

/// Levels of nesting of JSON that is handed in. `[[1]]` has two.
pub const MAX_LEVELS: usize = 1000;

/// Levels of what the engine makes of values that were handed in: they stand inside the arguments,
/// results and errors of steps inside each other.
pub const MAX_BUILT: usize = 1500;

/// Why a text was not read.
#[derive(Debug)]
pub enum Unread {
    /// It has more levels than this.
    Deep(usize),
    /// It is not JSON, or not of the form that was asked for.
    Wrong(serde_json::Error),
}

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deep(max) => f.write_str(&too_deep(*max)),
            Self::Wrong(error) => write!(f, "cannot be read: {error}"),
        }
    }
}

/// The rule that JSON with too many levels breaks.
pub fn too_deep(max: usize) -> String {
    format!("must have at most {max} levels of nesting")
}

/// The levels of nesting of a JSON text.
pub fn levels(text: &str) -> usize {
    let (mut level, mut deepest) = (0usize, 0usize);
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'[' | b'{' => {
                level += 1;
                deepest = deepest.max(level);
            }
            b']' | b'}' => level = level.saturating_sub(1),
            b'"' => skip_string(&mut bytes),
            _ => {}
        }
    }
    deepest
}

/// Goes behind the quote that ends a string.
fn skip_string(bytes: &mut std::str::Bytes) {
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => return,
            b'\\' => drop(bytes.next()),
            _ => {}
        }
    }
}

/// Checks the levels of JSON text that `what` names in messages.
///
/// # Errors
/// 22023 for more than `max`.
pub fn check(what: &'static str, text: &str, max: usize) -> Result<()> {
    match levels(text) <= max {
        true => Ok(()),
        false => Err(Error::TooDeep { what: what.into(), max }),
    }
}

/// Reads JSON text of at most `max` levels.
///
/// # Errors
/// What is wrong with the text.
pub fn read<'a, T: Deserialize<'a>>(text: &'a str, max: usize) -> std::result::Result<T, Unread> {
    if levels(text) > max {
        return Err(Unread::Deep(max));
    }
    let mut reader = serde_json::Deserializer::from_str(text);
    reader.disable_recursion_limit();
    let value = T::deserialize(&mut reader).map_err(Unread::Wrong)?;
    reader.end().map_err(Unread::Wrong)?;
    Ok(value)
}

/// Reads a member that the engine interprets, of an object whose others may have any number of
/// levels: for `#[serde(default, deserialize_with = "...")]`. Null is none.
///
/// # Errors
/// The rule, for more than `MAX_LEVELS`.
pub fn member<'de, D: Deserializer<'de>>(from: D) -> std::result::Result<Option<Value>, D::Error> {
    let text = <&RawValue>::deserialize(from)?.get();
    let value: Value = read(text, MAX_LEVELS).map_err(D::Error::custom)?;
    Ok(Some(value).filter(|value| !value.is_null()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn nested(levels: usize) -> String {
        format!("{}{}", "[".repeat(levels), "]".repeat(levels))
    }

    #[test]
    fn levels_are_counted_outside_of_strings() {
        for (text, expected) in [
            ("1", 0),
            ("[]", 1),
            (r#"{"a": [1, {}], "b": {}}"#, 3),
            (r#"["[[[", "\"[[", "\\", ["x"]]"#, 2),
            ("]]]][", 1),
            (r#"["open"#, 1),
        ] {
            assert_eq!(levels(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_too_deep_is_not_read() {
        assert_eq!(read::<Value>("[1]", 1).unwrap(), json!([1]));
        assert!(matches!(read::<Value>("[[1]]", 1), Err(Unread::Deep(1))));
        assert!(matches!(read::<Value>("[1] 2", 1), Err(Unread::Wrong(_))));
        let error = check("p_state", &nested(MAX_LEVELS + 1), MAX_LEVELS).unwrap_err();
        assert_eq!(error.sqlstate(), "22023");
        assert_eq!(error.to_string(), "p_state must have at most 1000 levels of nesting");
        assert!(check("p_state", &nested(MAX_LEVELS), MAX_LEVELS).is_ok());
    }

    #[test]
    fn only_members_that_are_interpreted_are_measured() {
        #[derive(Deserialize)]
        struct Fields {
            #[serde(default, deserialize_with = "member")]
            a: Option<Value>,
        }
        let of = |text: String| serde_json::from_str::<Fields>(&text).map(|fields| fields.a);
        assert_eq!(of(format!(r#"{{"a": 1, "b": {}}}"#, nested(5000))).unwrap(), Some(json!(1)));
        assert_eq!(of(r#"{"a": null}"#.to_owned()).unwrap(), None);
        assert_eq!(of("{}".to_owned()).unwrap(), None);
        assert!(of(format!(r#"{{"a": {}}}"#, nested(MAX_LEVELS))).is_ok());
        let error = of(format!(r#"{{"a": {}}}"#, nested(5000))).unwrap_err().to_string();
        assert!(error.contains("at most 1000 levels"), "{error}");
    }

    #[test]
    fn the_deepest_values_fit_into_a_small_stack() {
        let objects = format!("{}1{}", r#"{"a":"#.repeat(MAX_BUILT), "}".repeat(MAX_BUILT));
        let work = move || {
            for text in [nested(MAX_BUILT), objects] {
                let value: Value = read(&text, MAX_BUILT).unwrap();
                let copy = value.clone();
                assert_eq!(value, copy);
                assert_eq!(copy.to_string(), text);
                drop(value);
            }
        };
        let thread = std::thread::Builder::new()
            .stack_size(if cfg!(debug_assertions) { 8 << 20 } else { 1 << 20 })
            .spawn(work)
            .unwrap();
        thread.join().unwrap();
    }
}
