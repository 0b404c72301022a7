//! Queue names: the only road from user text to an identifier.

use std::fmt::Write as _;

use crate::error::{Error, Result};

/// The longest name in bytes: identifiers hold 63, and the names derived from a queue's add a
/// two-byte prefix and a suffix of at most four.
pub const MAX_BYTES: usize = 57;

/// A queue's name, checked. Any text of 1 to 57 bytes will do, quotes, spaces and emoji included,
/// white space alone too; it is quoted wherever it becomes part of an identifier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueName(String);

impl QueueName {
    /// Checks the name as it came from SQL.
    ///
    /// # Errors
    /// 22004 for NULL, 22023 for no character, 42622 for one of more than 57 bytes.
    pub fn parse(name: Option<&str>) -> Result<Self> {
        let name = name.ok_or_else(|| Error::null("Queue name"))?;
        if name.is_empty() {
            return Err(Error::blank("Queue name"));
        }
        if name.len() > MAX_BYTES {
            return Err(Error::TooLong {
                what: "Queue name",
                name: name.to_owned(),
                max: MAX_BYTES,
            });
        }
        Ok(Self(name.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The unqualified, unquoted name of a relation of the queue: `relation("r", "ti")` is
    /// `r_<queue>_ti`.
    pub fn relation(&self, prefix: &str, suffix: &str) -> String {
        relation(&self.0, prefix, suffix)
    }
}

/// As [`QueueName::relation`], for a queue that is dropped whatever its name.
pub fn relation(queue: &str, prefix: &str, suffix: &str) -> String {
    let separator = if suffix.is_empty() { "" } else { "_" };
    format!("{prefix}_{queue}{separator}{suffix}")
}

/// Quotes an identifier as SQL wants it.
pub fn quote(identifier: &str) -> String {
    format!("\"{}\"", identifier.replace('"', "\"\""))
}

/// When the cancellation rule of a task comes due, in UTC, null for never. Index and queries must
/// have the same expression.
const DEADLINE: &str = include_str!("../../sql/task/deadline.sql");

/// Puts a queue's relation names into a statement: `{t}` becomes `absurd."t_<queue>"`, and
/// `{r_ti}` the unqualified `"r_<queue>_ti"`. `{deadline}` becomes the expression for when a
/// task's cancellation rule comes due.
pub fn expand(sql: &str, queue: &str) -> String {
    expand_in(sql, queue, "")
}

/// As [`expand`], with the partitions of that suffix in the place of the tables.
pub fn expand_in(sql: &str, queue: &str, partition: &str) -> String {
    let mut text = String::with_capacity(sql.len() * 2);
    let mut rest = sql;
    while let Some(open) = rest.find('{') {
        let (before, from) = rest.split_at(open);
        text.push_str(before);
        let Some((token, after)) = from[1..].split_once('}').filter(|(token, _)| is_token(token))
        else {
            text.push('{');
            rest = &from[1..];
            continue;
        };
        match token.split_once('_') {
            None if token == "deadline" => text.push_str(DEADLINE),
            None => {
                let _ = write!(text, "absurd.{}", quote(&relation(queue, token, partition)));
            }
            Some((prefix, suffix)) => text.push_str(&quote(&relation(queue, prefix, suffix))),
        }
        rest = after;
    }
    text.push_str(rest);
    text
}

fn is_token(token: &str) -> bool {
    if token == "deadline" {
        return true;
    }
    token.starts_with(|c: char| "trcewi".contains(c))
        && token.bytes().skip(1).all(|b| b.is_ascii_lowercase() || b == b'_')
        && !token[1..].starts_with(|c: char| c != '_')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_without_text_are_refused() {
        assert_eq!(QueueName::parse(None).unwrap_err().sqlstate(), "22004");
        let error = QueueName::parse(Some("")).unwrap_err();
        assert_eq!(error.sqlstate(), "22023");
        assert_eq!(error.to_string(), "Queue name must be provided");
        for white in [" ", "   ", "\t\n"] {
            assert_eq!(QueueName::parse(Some(white)).unwrap().as_str(), white);
        }
    }

    #[test]
    fn length_counts_bytes() {
        assert!(QueueName::parse(Some(&"x".repeat(57))).is_ok());
        let error = QueueName::parse(Some(&"x".repeat(58))).unwrap_err();
        assert_eq!(error.sqlstate(), "42622");
        assert!(error.to_string().contains("too long"));
        // Fourteen emoji of four bytes are 56 bytes, fifteen are 60.
        assert!(QueueName::parse(Some(&"🦀".repeat(14))).is_ok());
        assert!(QueueName::parse(Some(&"🦀".repeat(15))).is_err());
    }

    #[test]
    fn expands_tables_and_index_names() {
        let sql = "insert into {t} select '{}'::jsonb, '{t}x' from {r} -- {r_cei} {nope}";
        assert_eq!(
            expand(sql, "my q"),
            "insert into absurd.\"t_my q\" select '{}'::jsonb, 'absurd.\"t_my q\"x' \
             from absurd.\"r_my q\" -- \"r_my q_cei\" {nope}"
        );
    }

    #[test]
    fn quotes_cannot_break_out() {
        assert_eq!(expand("{t}", "a\"; drop table x; --"), "absurd.\"t_a\"\"; drop table x; --\"");
    }

    proptest! {
        #[test]
        fn any_name_stays_one_identifier(name in "\\PC{1,14}") {
            let queue = QueueName::parse(Some(&name)).unwrap();
            let text = expand("{t}", queue.as_str());
            let inner = text.strip_prefix("absurd.\"").unwrap().strip_suffix('"').unwrap();
            // Undoing the doubling gives the name back, and no quote stands alone.
            prop_assert_eq!(inner.replace("\"\"", "\u{0}").matches('"').count(), 0);
            prop_assert_eq!(inner.replace("\"\"", "\""), format!("t_{name}"));
        }
    }
}
