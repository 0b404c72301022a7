//! `range(n)`, `range(a, b)` and `range(a, b, step)`: the integers from `a` (0) up to, and without,
//! `b` (HIGHWAY 6.6). A negative step counts down.

use serde_json::Value;

use super::bounds::MAX_ITEMS;
use super::failure::Failure;
use super::names::{Looked, Lookup};
use super::number::Number;
use super::path::Path;
use super::template::{Hole, blanks, unknown, wrong};

#[derive(Clone, Debug, PartialEq)]
pub struct Range {
    arguments: Vec<Argument>,
}

#[derive(Clone, Debug, PartialEq)]
enum Argument {
    Integer(i64),
    Path(Path),
    /// `{{ ... }}` among the arguments of a range that stands outside of braces.
    Hole(Box<Hole>),
}

/// The range that a text begins with, and what follows it; `holes` tells whether its arguments may
/// be templates.
pub(super) fn prefix(text: &str, holes: bool) -> Option<(Range, &str)> {
    let mut rest = blanks(text.strip_prefix("range")?).strip_prefix('(')?;
    let mut arguments = Vec::new();
    loop {
        let (argument, after) = argument(blanks(rest), holes)?;
        arguments.push(argument);
        rest = blanks(after);
        if let Some(end) = rest.strip_prefix(')') {
            return Some((Range { arguments }, end));
        }
        rest = rest.strip_prefix(',')?;
        if arguments.len() == 3 {
            return None;
        }
    }
}

fn argument(text: &str, holes: bool) -> Option<(Argument, &str)> {
    if holes && text.starts_with("{{") {
        // A range inside a range's arguments is no number, and stays refused.
        return match Hole::prefix(text)? {
            (Hole::Range(_), _) => None,
            (hole, rest) => Some((Argument::Hole(Box::new(hole)), rest)),
        };
    }
    if let Some((path, rest)) = Path::prefix(text) {
        return Some((Argument::Path(path), rest));
    }
    let sign = usize::from(text.starts_with(['+', '-']));
    let digits = text[sign..].find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len() - sign);
    let (number, rest) = text.split_at(sign + digits);
    Some((Argument::Integer(number.parse().ok()?), rest))
}

impl Range {
    pub(super) fn paths(&self) -> Vec<&Path> {
        let paths = |argument| match argument {
            &Argument::Integer(_) => Vec::new(),
            Argument::Path(path) => vec![path],
            Argument::Hole(hole) => hole.paths(),
        };
        self.arguments.iter().flat_map(paths).collect()
    }

    /// Its integers.
    ///
    /// # Errors
    /// `TemplateError` for an argument that is no integer, a step of 0, more than `MAX_ITEMS`.
    pub(super) fn values(&self, lookup: &mut Lookup) -> Result<Vec<Value>, Failure> {
        let mut numbers = Vec::with_capacity(3);
        for argument in &self.arguments {
            numbers.push(i128::from(argument.integer(lookup)?));
        }
        let (start, end, step) = match *numbers {
            [end] => (0, end, 1),
            [start, end] => (start, end, 1),
            [start, end, step] => (start, end, step),
            _ => return Err(Failure::template("range takes one to three integers")),
        };
        let count = match step {
            0 => return Err(Failure::template("range has step 0, it must not be 0")),
            step if step > 0 => (end - start + step - 1) / step,
            step => (start - end - step - 1) / -step,
        };
        if count > MAX_ITEMS as i128 {
            let rule = format!("range must have at most {MAX_ITEMS} integers");
            return Err(Failure::template(rule));
        }
        let integer = |at: i128| i64::try_from(start + at * step).ok().map(Value::from);
        Ok((0..count.max(0)).filter_map(integer).collect())
    }
}

impl Argument {
    fn integer(&self, lookup: &mut Lookup) -> Result<i64, Failure> {
        let value = match self {
            Self::Integer(integer) => return Ok(*integer),
            Self::Hole(hole) => hole.value(lookup, 0)?,
            Self::Path(path) => match lookup.look(path)? {
                Looked::Value(value) => value,
                Looked::Missing => Value::Null,
                Looked::Unknown => return Err(unknown(path)),
            },
        };
        Number::of(&value)
            .and_then(Number::to_i64)
            .ok_or_else(|| wrong("range's argument", &value, "must be an integer"))
    }
}
