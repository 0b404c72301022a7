//! Members of options that no function reads. They are accepted, as they always were, and named in
//! a warning: `max_attempt` would otherwise mean a task that is never given up, without a word.

use std::fmt;

use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};

use crate::error::short;

/// So many members of one object are named; a thousand of them are no slip of the pen.
const MOST: usize = 20;

/// A member that is not read, and the one that was probably meant.
#[derive(Debug, PartialEq)]
pub struct Unknown {
    /// Where it stands: `cancellation.maxDelay`.
    path: String,
    meant: String,
}

/// Adds the members of an object that are not among the known ones. `inside` is the object's own
/// place with a dot, or nothing. What is no object has none.
pub fn find(json: &str, inside: &str, known: &'static [&'static str], found: &mut Vec<Unknown>) {
    let Ok(names) = serde_json::Deserializer::from_str(json).deserialize_map(Others(known)) else {
        return;
    };
    found.extend(names.into_iter().take(MOST).map(|name| Unknown {
        path: format!("{inside}{}", short(&name)),
        meant: format!("{inside}{}", nearest(&name, known)),
    }));
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, meant } = self;
        write!(f, "unknown option \"{path}\" has no effect: was \"{meant}\" meant?")
    }
}

/// The names of an object's members but for these. Their values are passed over.
struct Others(&'static [&'static str]);

impl<'de> Visitor<'de> for Others {
    type Value = Vec<String>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut members: M) -> Result<Self::Value, M::Error> {
        let mut names = Vec::new();
        while let Some(name) = members.next_key::<String>()? {
            members.next_value::<IgnoredAny>()?;
            if !self.0.contains(&name.as_str()) {
                names.push(name);
            }
        }
        Ok(names)
    }
}

/// The known name that differs least, whatever the case and the underscores. One that begins with
/// the other is nearest: `delay` means `delay_seconds`.
fn nearest(name: &str, known: &'static [&'static str]) -> &'static str {
    let letters = |name: &str| -> Vec<char> {
        name.chars().take(64).filter(|c| *c != '_').flat_map(char::to_lowercase).collect()
    };
    let name = letters(name);
    let distance = |known: &&&str| {
        let known = letters(known);
        let is_begun = known.starts_with(&name) || name.starts_with(&known);
        if is_begun && !name.is_empty() { 1 } else { edits(&name, &known) }
    };
    known.iter().min_by_key(distance).copied().unwrap_or_default()
}

/// Levenshtein's distance.
fn edits(a: &[char], b: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut corner = i;
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = corner + usize::from(x != y);
            corner = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(corner + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: &[&str] = &["max_attempts", "idempotency_key", "delay_seconds", "priority"];

    #[test]
    fn the_nearest_name_is_the_one_that_was_meant() {
        for (name, meant) in [
            ("max_attempt", "max_attempts"),
            ("MaxAttempts", "max_attempts"),
            ("attempts_max", "max_attempts"),
            ("idempotencyKey", "idempotency_key"),
            ("delay", "delay_seconds"),
            ("prio", "priority"),
            ("prioritty", "priority"),
        ] {
            assert_eq!(nearest(name, KNOWN), meant, "{name}");
        }
        assert!(KNOWN.contains(&nearest("", KNOWN)));
    }

    #[test]
    fn unknown_members_are_found_with_their_place() {
        let mut found = Vec::new();
        find(r#"{"priority":{"prio":1},"prio":[{}],"pri\u006f":2}"#, "a.", KNOWN, &mut found);
        let prio = || Unknown { path: "a.prio".into(), meant: "a.priority".into() };
        assert_eq!(found, [prio(), prio()]);
        for other in ["[]", "7", "{\"prio\"", "null"] {
            found.clear();
            find(other, "", KNOWN, &mut found);
            assert_eq!(found, [], "{other}");
        }
    }

    #[test]
    fn edits_are_counted() {
        let edits = |a: &str, b: &str| {
            super::edits(&a.chars().collect::<Vec<_>>(), &b.chars().collect::<Vec<_>>())
        };
        assert_eq!((edits("", "abc"), edits("abc", ""), edits("abc", "abc")), (3, 3, 0));
        assert_eq!((edits("kitten", "sitting"), edits("flaw", "lawn")), (3, 2));
    }
}
