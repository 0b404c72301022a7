//! How long texts may be: those that become keys, and those that a message shows.

use std::borrow::Cow;

use super::{Error, Result};

/// Bytes of a text that becomes the key of an index: a key, an event's name, a step's. An entry of
/// a B-tree holds 2,704 bytes.
pub const MAX_KEY: usize = 2000;

/// Characters of a value that a message shows.
const SHOWN: usize = 100;

/// Bytes of a message, a detail or a hint.
const MAX_TEXT: usize = 2000;

/// Checks that a text can be the key of an index.
///
/// # Errors
/// 22023 naming the argument, its size and the limit.
pub fn check_size(argument: &str, text: &str) -> Result<()> {
    if text.len() <= MAX_KEY {
        return Ok(());
    }
    let rule = format!("has {} bytes; at most {MAX_KEY} are allowed", text.len());
    Err(Error::invalid(argument, rule))
}

/// A value for a message, cut after 100 characters.
pub fn short(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}...", &text[..end]).into(),
        None => text.into(),
    }
}

/// A whole message, detail or hint, cut after 2,000 bytes.
pub fn fit(text: &str) -> Cow<'_, str> {
    if text.len() <= MAX_TEXT {
        return text.into();
    }
    let end = (0..=MAX_TEXT - 3).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    format!("{}...", &text[..end]).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_and_texts_are_cut_at_a_character() {
        assert_eq!(short("né"), "né");
        assert_eq!(short(&"é".repeat(101)), format!("{}...", "é".repeat(100)));
        let error = Error::invalid(format!("option \"x\" {}", "🦀".repeat(5000)), "must be less");
        assert!(error.to_string().ends_with("🦀... must be less"));
        let text = "🦀".repeat(501);
        assert_eq!(fit(&text), format!("{}...", "🦀".repeat(499)));
        assert_eq!(fit(&text[..2000]), &text[..2000]);
    }

    #[test]
    fn the_size_of_a_key_is_limited() {
        assert!(check_size("event_name", &"x".repeat(MAX_KEY)).is_ok());
        let error = check_size("event_name", &"é".repeat(1001)).unwrap_err();
        assert_eq!(error.sqlstate(), "22023");
        assert_eq!(error.to_string(), "event_name has 2002 bytes; at most 2000 are allowed");
    }
}
