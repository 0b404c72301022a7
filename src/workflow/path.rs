//! Paths: `name`, `name.segment`, `name[0]`, `name['key']` (HIGHWAY 7.2).

use std::fmt;

/// One step of a path after its first name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// `.segment` or `['key']`. A segment of digits indexes an array.
    Key(String),
    /// `[n]`, counted from 0.
    Index(usize),
}

/// A name and the steps into its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    name: String,
    steps: Vec<Step>,
    text: String,
}

impl Path {
    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// The path that the whole text is; none when it is not exactly one.
    pub fn parse(text: &str) -> Option<Self> {
        let (path, rest) = Self::prefix(text)?;
        rest.is_empty().then_some(path)
    }

    /// The longest path that a text begins with, and what follows it.
    pub fn prefix(text: &str) -> Option<(Self, &str)> {
        let name_end = name_length(text)?;
        let mut steps = Vec::new();
        let mut rest = &text[name_end..];
        while let Some((step, after)) = step(rest) {
            steps.push(step);
            rest = after;
        }
        let (name, whole) = (&text[..name_end], &text[..text.len() - rest.len()]);
        Some((Self { name: name.to_owned(), steps, text: whole.to_owned() }, rest))
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Bytes of the name that a text begins with.
fn name_length(text: &str) -> Option<usize> {
    let first = text.bytes().next()?;
    if !first.is_ascii_alphabetic() && first != b'_' {
        return None;
    }
    let inside = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    Some(text.bytes().position(|byte| !inside(byte)).unwrap_or(text.len()))
}

fn step(text: &str) -> Option<(Step, &str)> {
    if let Some(segment) = text.strip_prefix('.') {
        let inside = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
        let end = segment.find(|c| !inside(c)).unwrap_or(segment.len());
        return (end > 0).then(|| (Step::Key(segment[..end].to_owned()), &segment[end..]));
    }
    let inner = text.strip_prefix('[')?;
    for quote in ['\'', '"'] {
        if let Some(key) = inner.strip_prefix(quote) {
            let (key, rest) = key.split_once(quote)?;
            return Some((Step::Key(key.to_owned()), rest.strip_prefix(']')?));
        }
    }
    let end = inner.find(|c: char| !c.is_ascii_digit())?;
    let index = inner[..end].parse().ok()?;
    Some((Step::Index(index), inner[end..].strip_prefix(']')?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Step {
        Step::Key(text.to_owned())
    }

    #[test]
    fn reads_paths() {
        let cases = [
            ("a", "a", vec![]),
            ("_a-b_1", "_a-b_1", vec![]),
            ("a.b.0", "a", vec![key("b"), key("0")]),
            ("a.b-c.größe", "a", vec![key("b-c"), key("größe")]),
            ("a[0][12]", "a", vec![Step::Index(0), Step::Index(12)]),
            ("a['x y'].z", "a", vec![key("x y"), key("z")]),
            ("a[\"it's\"]", "a", vec![key("it's")]),
            ("a['']", "a", vec![key("")]),
        ];
        for (text, name, steps) in cases {
            let path = Path::parse(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!((path.name(), path.steps()), (name, &*steps), "{text}");
            assert_eq!(path.to_string(), text);
        }
    }

    #[test]
    fn refuses_what_is_no_path() {
        let bad = [
            "",
            "1",
            "1a",
            "-a",
            "ä",
            "a.",
            "a..b",
            "a b",
            " a",
            "a ",
            "a[",
            "a[]",
            "a[-1]",
            "a[x]",
            "a['x]",
            "a['x'",
            "a[99999999999999999999]",
            "a.b c",
            "a[ 0 ]",
        ];
        for text in bad {
            assert_eq!(Path::parse(text), None, "{text:?}");
        }
        let (path, rest) = Path::prefix("a.b[0].>= 1").unwrap();
        assert_eq!((path.to_string().as_str(), rest), ("a.b[0]", ".>= 1"));
    }
}
