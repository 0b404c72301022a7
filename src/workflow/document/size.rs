//! The limits that a document must keep before anything is built of it.

use super::fields::broken;
use crate::error::{Error, Result};
use crate::json;
use crate::workflow::bounds::{MAX_DEPTH, MAX_DOCUMENT, MAX_NODES, MAX_TEMPLATE};

/// How much deeper the canonical form of a document within the limits may be.
const DEEPER: usize = 4;

/// How much longer the text may be than what was measured before: a `jsonb` is printed with blanks.
const LARGER: usize = 4;

/// Checks size, values, levels and texts of a document, which is JSON, by a scan.
///
/// # Errors
/// 54000 for a document beyond `MAX_DOCUMENT` or `MAX_NODES`; 22023 for one beyond `MAX_DEPTH`, or
/// with a NUL character, which Postgres cannot store.
pub fn check(text: &str) -> Result<()> {
    // Blanks and escapes make what was measured longer.
    let Counted { values, longest } = count(text);
    check_size(text.len() / LARGER, values)?;
    if longest > MAX_TEMPLATE {
        return Err(too_large(MAX_TEMPLATE, "bytes of texts with templates in one field"));
    }
    check_contents(text, MAX_DEPTH)
}

/// Checks the levels and the characters of a document.
fn check_contents(text: &str, levels: usize) -> Result<()> {
    if json::levels(text) > levels {
        return Err(broken("the workflow", json::too_deep(MAX_DEPTH)));
    }
    if has_nul(text) {
        return Err(broken("the workflow", "must not hold the character U+0000"));
    }
    Ok(())
}

/// Checks the bytes of a document's text and the number of its values.
///
/// # Errors
/// 54000 for a document beyond `MAX_DOCUMENT` or `MAX_NODES`.
pub fn check_size(bytes: usize, values: usize) -> Result<()> {
    if bytes > MAX_DOCUMENT {
        return Err(too_large(MAX_DOCUMENT, "bytes"));
    }
    if values > MAX_NODES {
        return Err(too_large(MAX_NODES, "values"));
    }
    Ok(())
}

/// The error of a document with more than `max` of what is counted.
pub fn too_large(max: usize, of: &str) -> Error {
    let rule = format!("must have at most {max} {of}");
    Error::Limit { what: "the workflow's document".to_owned(), rule }
}

/// Checks the levels of a document whose canonical form this may be: they are walked by recursion.
///
/// # Errors
/// As [`check`], with room for what the canonical form adds; its size is not checked.
pub fn check_canonical(text: &str) -> Result<()> {
    check_contents(text, MAX_DEPTH + DEEPER)
}

/// What a JSON text consists of.
struct Counted {
    /// Values, keys not counted.
    values: usize,
    /// Bytes of the longest string with templates.
    longest: usize,
}

fn count(text: &str) -> Counted {
    let (mut values, mut keys, mut longest) = (0usize, 0, 0);
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        at += 1;
        match byte {
            b'[' | b'{' => values += 1,
            b':' => keys += 1,
            b'"' => {
                values += 1;
                let end = end_of_string(bytes, at).min(bytes.len());
                if end - at > MAX_TEMPLATE && bytes[at..end].windows(2).any(|two| two == b"{{") {
                    longest = longest.max(end - at);
                }
                at = end;
            }
            b']' | b'}' | b',' | b' ' | b'\t' | b'\r' | b'\n' => {}
            _ => {
                values += 1;
                let ends = |byte: &u8| b",:[]{}\" \t\r\n".contains(byte);
                at = bytes[at..].iter().position(ends).map_or(bytes.len(), |end| at + end);
            }
        }
    }
    Counted { values: values.saturating_sub(keys), longest }
}

/// The place behind a string's closing quote, for the place behind its opening one.
fn end_of_string(bytes: &[u8], mut at: usize) -> usize {
    while let Some(byte) = bytes.get(at) {
        at += 1;
        match byte {
            b'"' => break,
            b'\\' => at += 1,
            _ => {}
        }
    }
    at
}

/// Whether a string holds an escaped NUL: a backslash that is not escaped itself, and `u0000`.
fn has_nul(text: &str) -> bool {
    text.match_indices("\\u0000").any(|(at, _)| {
        let before = text.as_bytes()[..at].iter().rev().take_while(|byte| **byte == b'\\').count();
        before % 2 == 0
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_counted() {
        for (text, expected) in [
            ("1", 1),
            ("[]", 1),
            (r#"{"a": [1, {}], "b": null, "c:[": "d,\"e"}"#, 6),
            ("[true,false,-1.5e3,[[]]]", 6),
        ] {
            assert_eq!(count(text).values, expected, "{text}");
        }
    }

    #[test]
    fn limits() {
        let list = |values: usize| format!("[{}1]", "1,".repeat(values - 2));
        assert!(check(&list(MAX_NODES)).is_ok());
        let error = check(&list(MAX_NODES + 1)).unwrap_err();
        assert_eq!(error.sqlstate(), "54000");
        assert_eq!(error.to_string(), "the workflow's document must have at most 100000 values");
        assert_eq!(check_size(MAX_DOCUMENT + 1, 0).unwrap_err().sqlstate(), "54000");
        let text = |bytes: usize| format!("[\"{{{{a}}}}{}\"]", "x".repeat(bytes));
        assert!(check(&text(MAX_TEMPLATE - 10)).is_ok());
        assert_eq!(check(&text(MAX_TEMPLATE)).unwrap_err().sqlstate(), "54000");
        for (text, fine) in [(r#"["\u0000"]"#, false), (r#"["\\u0000"]"#, true)] {
            assert_eq!(check(text).is_ok(), fine, "{text}");
        }
    }
}
