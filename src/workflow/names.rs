//! What a template or an expression can ask for by name.

use std::collections::HashMap;

use serde_json::Value;

use super::bounds::Budget;
use super::failure::Failure;
use super::path::{Path, Step};

/// What a name stands for.
#[derive(Clone, Debug, PartialEq)]
pub enum Found {
    Value(Value),
    /// Some step or result key has the name, but no value yet.
    Declared,
    Unknown,
}

/// Where names are looked up: a run's context at one place of the document.
pub trait Names {
    /// What the first name of a path stands for, in the order of precedence of HIGHWAY 7.3.
    fn find(&mut self, name: &str) -> Result<Found, Failure>;

    /// The virtual segment (`output`, `result`, `payload`, `status`, `error`, `completion_event`)
    /// of a name that is a result key or a step, asked for when the value has no such key.
    fn segment(&mut self, name: &str, segment: &str) -> Result<Option<Value>, Failure>;
}

/// What a whole path leads to.
#[derive(Debug, PartialEq)]
pub enum Looked {
    Value(Value),
    /// The first name is known; it has no value yet, or one of the steps leads nowhere.
    Missing,
    Unknown,
}

/// Looks up paths for one resolution: it asks for each name once, and counts what it hands out.
pub struct Lookup<'a> {
    names: &'a mut dyn Names,
    found: HashMap<String, Found>,
    pub budget: Budget,
}

impl<'a> Lookup<'a> {
    pub fn new(names: &'a mut dyn Names) -> Self {
        Self { names, found: HashMap::new(), budget: Budget::default() }
    }

    /// Follows a path. The value is a copy, which the caller charges to the budget.
    pub fn look(&mut self, path: &Path) -> Result<Looked, Failure> {
        if !self.found.contains_key(path.name()) {
            let found = self.names.find(path.name())?;
            self.found.insert(path.name().to_owned(), found);
        }
        let start = match self.found.get(path.name()) {
            Some(Found::Value(value)) => Some(value),
            Some(Found::Declared) => None,
            Some(Found::Unknown) | None => return Ok(Looked::Unknown),
        };
        let steps = path.steps();
        let Some((first, rest)) = steps.split_first() else {
            return Ok(start.cloned().map_or(Looked::Missing, Looked::Value));
        };
        if let Some(value) = start
            && let Some(next) = follow(value, first)
        {
            return Ok(walk(next, rest));
        }
        let segment = match first {
            Step::Key(segment) => self.names.segment(path.name(), segment)?,
            Step::Index(_) => None,
        };
        Ok(segment.map_or(Looked::Missing, |value| walk(Reached::Made(value), rest)))
    }
}

enum Reached<'a> {
    Part(&'a Value),
    /// A value that is nowhere stored: a length or a virtual segment.
    Made(Value),
}

/// One step of a path: own key, array index and, where there is no such key, `length`.
fn follow<'a>(value: &'a Value, step: &Step) -> Option<Reached<'a>> {
    let part = match (value, step) {
        (Value::Object(members), Step::Key(key)) => members.get(key),
        (Value::Object(members), Step::Index(index)) => members.get(&index.to_string()),
        (Value::Array(elements), Step::Index(index)) => elements.get(*index),
        (Value::Array(elements), Step::Key(key)) if is_index(key) => {
            key.parse::<usize>().ok().and_then(|index| elements.get(index))
        }
        _ => None,
    };
    if part.is_some() {
        return part.map(Reached::Part);
    }
    let length = match (value, step) {
        (Value::Array(elements), Step::Key(key)) if key == "length" => elements.len(),
        (Value::Object(members), Step::Key(key)) if key == "length" => members.len(),
        (Value::String(text), Step::Key(key)) if key == "length" => text.chars().count(),
        _ => return None,
    };
    Some(Reached::Made(Value::from(length)))
}

fn is_index(key: &str) -> bool {
    !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_digit())
}

fn walk(start: Reached<'_>, steps: &[Step]) -> Looked {
    let mut at = match &start {
        Reached::Part(value) => *value,
        Reached::Made(value) => value,
    };
    for (done, step) in steps.iter().enumerate() {
        match follow(at, step) {
            Some(Reached::Part(next)) => at = next,
            Some(Reached::Made(value)) => return walk_made(value, &steps[done + 1..]),
            None => return Looked::Missing,
        }
    }
    Looked::Value(at.clone())
}

/// A length has no steps of its own.
fn walk_made(value: Value, rest: &[Step]) -> Looked {
    if rest.is_empty() { Looked::Value(value) } else { Looked::Missing }
}
