//! Templates in texts: `{{ path }}`, `{{ path | default(literal) }}`, `{{ range(...) }}`
//! (HIGHWAY 7.2). Text between braces that matches none of them stays as it is.

#[cfg(test)]
pub mod tests;

use serde_json::Value;

use super::bounds::{cut, kind};
use super::failure::Failure;
use super::names::{Looked, Lookup, Names};
use super::path::Path;
use super::range::{self, Range};

pub use super::tree::Tree;

/// A text, taken apart once.
#[derive(Clone, Debug, PartialEq)]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq)]
enum Part {
    Text(String),
    Hole(Hole),
}

/// One `{{ ... }}`.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Hole {
    Path { path: Path, default: Option<Value> },
    Range(Range),
}

impl Template {
    /// Never fails: what matches no form is text.
    pub fn parse(text: &str) -> Self {
        let mut parts = Vec::new();
        let (mut plain, mut at) = (0, 0);
        while let Some(found) = text[at..].find("{{") {
            let start = at + found;
            let Some((hole, rest)) = Hole::prefix(&text[start..]) else {
                at = start + 1;
                continue;
            };
            if plain < start {
                parts.push(Part::Text(text[plain..start].to_owned()));
            }
            parts.push(Part::Hole(hole));
            at = text.len() - rest.len();
            plain = at;
        }
        if plain < text.len() {
            parts.push(Part::Text(text[plain..].to_owned()));
        }
        Self { parts }
    }

    /// The template of a bare path: `a.b` for `{{a.b}}`.
    pub fn of_path(path: Path) -> Self {
        Self { parts: vec![Part::Hole(Hole::Path { path, default: None })] }
    }

    /// Whether the text holds no template at all.
    pub fn is_literal(&self) -> bool {
        self.parts.iter().all(|part| matches!(part, Part::Text(_)))
    }

    /// Whether the text is exactly one template, so that its value keeps its type.
    pub fn is_lone(&self) -> bool {
        matches!(&*self.parts, [Part::Hole(_)])
    }

    /// The path of a lone `{{ path }}` without a default.
    pub fn lone_path(&self) -> Option<&Path> {
        match &*self.parts {
            [Part::Hole(Hole::Path { path, default: None })] => Some(path),
            _ => None,
        }
    }

    /// The paths in it, in order of appearance.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.parts.iter().flat_map(|part| match part {
            Part::Text(_) => Vec::new(),
            Part::Hole(hole) => hole.paths(),
        })
    }

    /// The value: a lone template's own, a text otherwise.
    ///
    /// # Errors
    /// `TemplateError` for an unknown name, a wrong range, or a value that is too large.
    pub fn resolve(&self, names: &mut dyn Names) -> Result<Value, Failure> {
        self.resolve_in(&mut Lookup::new(names), 0)
    }

    /// The value as text, by the rules of an embedded template also where it stands alone.
    ///
    /// # Errors
    /// As `resolve`.
    pub fn text(&self, names: &mut dyn Names) -> Result<String, Failure> {
        self.text_in(&mut Lookup::new(names))
    }

    /// As `resolve`, within a resolution that has more parts; the value stands `depth` levels deep.
    pub(super) fn resolve_in(&self, lookup: &mut Lookup, depth: usize) -> Result<Value, Failure> {
        match &*self.parts {
            [Part::Hole(hole)] => hole.value(lookup, depth),
            _ => self.text_in(lookup).map(Value::String),
        }
    }

    pub(super) fn text_in(&self, lookup: &mut Lookup) -> Result<String, Failure> {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Text(plain) => {
                    lookup.budget.take(plain.len()).map_err(too_large)?;
                    text.push_str(plain);
                }
                Part::Hole(hole) => embed(&mut text, &hole.value(lookup, 0)?),
            }
        }
        Ok(text)
    }
}

fn too_large(rule: String) -> Failure {
    Failure::template(format!("resolving the templates {rule}"))
}

/// Appends a value as an embedded template writes it: strings verbatim, null empty, everything
/// else as compact JSON.
fn embed(text: &mut String, value: &Value) {
    match value {
        Value::Null => {}
        Value::String(string) => text.push_str(string),
        other => text.push_str(&other.to_string()),
    }
}

impl Hole {
    /// The template that a text begins with, and what follows it.
    pub(super) fn prefix(text: &str) -> Option<(Self, &str)> {
        let inner = blanks(text.strip_prefix("{{")?);
        let (hole, rest) = match range::prefix(inner, false) {
            Some((range, rest)) => (Self::Range(range), rest),
            None => path_form(inner)?,
        };
        Some((hole, blanks(rest).strip_prefix("}}")?))
    }

    pub(super) fn paths(&self) -> Vec<&Path> {
        match self {
            Self::Path { path, .. } => vec![path],
            Self::Range(range) => range.paths(),
        }
    }

    /// Its value, which stands `depth` levels deep.
    pub(super) fn value(&self, lookup: &mut Lookup, depth: usize) -> Result<Value, Failure> {
        let value = match self {
            Self::Range(range) => range.values(lookup).map(Value::Array)?,
            Self::Path { path, default } => match (lookup.look(path)?, default) {
                (Looked::Value(value), None) => value,
                (Looked::Value(value), Some(_)) if !value.is_null() => value,
                (_, Some(default)) => default.clone(),
                (_, None) => return required(path, lookup).map(|()| Value::Null),
            },
        };
        lookup.budget.charge(&value, depth).map_err(too_large)?;
        Ok(value)
    }
}

/// A path without a value is null as long as somebody could have given it one.
fn required(path: &Path, lookup: &mut Lookup) -> Result<(), Failure> {
    match lookup.look(path)? {
        Looked::Unknown => Err(unknown(path)),
        Looked::Value(_) | Looked::Missing => Ok(()),
    }
}

/// The failure of a path whose first name nothing in the run or its document has.
pub(super) fn unknown(path: &Path) -> Failure {
    let rule = "is no step, result key, input or variable";
    Failure::template(format!(
        "{}: the name \"{}\" {rule}",
        cut(&path.to_string()),
        cut(path.name())
    ))
}

/// `path` or `path | default(literal)`.
fn path_form(text: &str) -> Option<(Hole, &str)> {
    let (path, rest) = Path::prefix(text)?;
    let Some(filter) = blanks(rest).strip_prefix('|') else {
        return Some((Hole::Path { path, default: None }, rest));
    };
    let open = blanks(blanks(filter).strip_prefix("default")?).strip_prefix('(')?;
    let (literal, rest) = literal(blanks(open))?;
    Some((Hole::Path { path, default: Some(literal) }, blanks(rest).strip_prefix(')')?))
}

/// A JSON scalar or a text in single or double quotes; single quotes know no escapes.
fn literal(text: &str) -> Option<(Value, &str)> {
    if let Some(quoted) = text.strip_prefix('\'') {
        let (inner, rest) = quoted.split_once('\'')?;
        return Some((Value::String(inner.to_owned()), rest));
    }
    let end = match text.strip_prefix('"') {
        Some(quoted) => closing_quote(quoted)? + 2,
        None => text.find(|c: char| !c.is_ascii_alphanumeric() && !"+-.".contains(c))?,
    };
    let (literal, rest) = text.split_at(end);
    match serde_json::from_str(literal) {
        Ok(value) => Some((value, rest)),
        // A tab or a line break between the quotes, which JSON would want escaped.
        Err(_) if end > 1 && !literal.contains('\\') && literal.starts_with('"') => {
            Some((Value::String(literal[1..end - 1].to_owned()), rest))
        }
        Err(_) => None,
    }
}

/// Bytes before the double quote that ends a JSON string.
fn closing_quote(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.bytes().position(|byte| {
        let closes = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        closes
    })
}

pub(super) fn blanks(text: &str) -> &str {
    text.trim_start_matches([' ', '\t', '\r', '\n'])
}

/// The failure for a wrong value of a template's.
pub(super) fn wrong(what: &str, value: &Value, rule: &str) -> Failure {
    Failure::template(format!("{what} {rule}, and not {}", kind(value)))
}
