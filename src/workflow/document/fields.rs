//! Reading the fields of a document's objects, with errors that say where a field stands.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use serde::de::{MapAccess, Visitor};
use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::workflow::bounds::{cut, shown};
use crate::workflow::number::Number;

/// An object of the document, and the words for it in messages: `task 'fork.a/x'`. What its fields
/// hold stays text until it is asked for, so that the whole of a document is never unpacked at
/// once.
pub struct Fields<'a> {
    pub place: &'a str,
    /// In the order of the text: there are a few dozen at most that mean something.
    fields: Members<'a>,
    /// The fields that were asked for, which are those that mean something.
    asked: RefCell<Vec<&'static str>>,
}

/// A value of a closed list, and its name in the document.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Choice<T> {
    pub name: &'static str,
    pub value: T,
}

impl<T> Serialize for Choice<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name)
    }
}

/// The members of an object, unread.
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

/// Reads [`Members`]; a name without escapes is the text's own.
struct MembersVisitor;

#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(
        self,
        mut map: A,
    ) -> std::result::Result<Members<'de>, A::Error> {
        let mut members = Vec::with_capacity(24);
        while let Some((Name(name), value)) = map.next_entry()? {
            members.push((name, value));
        }
        Ok(Members(members))
    }
}

impl<'a> Fields<'a> {
    /// # Errors
    /// 22023 when the value is no object.
    pub fn of(place: &'a str, value: &'a RawValue) -> Result<Self> {
        Self::of_text(place, value.get())
    }

    /// As [`Fields::of`], of a text that nobody has looked at.
    ///
    /// # Errors
    /// 22023 when it is no JSON, or no object.
    pub fn of_text(place: &'a str, text: &'a str) -> Result<Self> {
        if !text.trim_ascii_start().starts_with('{') {
            let value: &RawValue = parse(place, text)?;
            return Err(broken(place, format!("{} must be an object", written(value))));
        }
        let asked = RefCell::new(Vec::with_capacity(32));
        Ok(Self { place, fields: parse(place, text)?, asked })
    }

    /// The last of that name counts, as in a `jsonb`.
    fn find(&self, field: &str) -> Option<&'a RawValue> {
        self.fields.0.iter().rev().find(|(name, _)| name == field).map(|(_, value)| *value)
    }

    pub fn get(&self, field: &'static str) -> Option<&'a RawValue> {
        self.asked.borrow_mut().push(field);
        self.find(field)
    }

    /// Fields that mean nothing and are one letter off one that does, each with that one, by name.
    pub fn misspelt(&self) -> Vec<(&str, &'static str)> {
        let asked = self.asked.borrow();
        let names = self.fields.0.iter().map(|(name, _)| &**name);
        let unknown: BTreeSet<_> = names.filter(|name| !asked.contains(name)).collect();
        let near =
            |field: &'static str, other: &str| is_one_edit(field.as_bytes(), other.as_bytes());
        unknown
            .into_iter()
            .filter_map(|field| {
                let meant = asked.iter().find(|asked| near(asked, field))?;
                Some((field, *meant))
            })
            .collect()
    }

    /// The error of a field whose value breaks a rule.
    pub fn wrong(&self, field: &str, rule: &str) -> Error {
        match self.find(field) {
            Some(value) => broken(self.place, format!("{field} {} {rule}", written(value))),
            None => broken(self.place, format!("{field} {rule}")),
        }
    }

    /// The error of anything else about the object.
    pub fn broken(&self, rule: impl std::fmt::Display) -> Error {
        broken(self.place, rule)
    }

    fn text(&self, field: &'static str) -> Result<Option<String>> {
        match self.get(field) {
            None => Ok(None),
            Some(value) if value.get().starts_with('"') => read(self.place, value).map(Some),
            Some(_) => Err(self.wrong(field, "must be a string")),
        }
    }

    /// A string that must be there.
    pub fn required(&self, field: &'static str) -> Result<String> {
        self.text(field)?.ok_or_else(|| self.wrong(field, "is required"))
    }

    /// A string that has a default.
    pub fn text_or(&self, field: &'static str, default: &str) -> Result<String> {
        Ok(self.text(field)?.unwrap_or_else(|| default.to_owned()))
    }

    /// A string or null, which is the default.
    pub fn nullable(&self, field: &'static str) -> Result<Option<String>> {
        match self.get(field) {
            Some(value) if is_null(value) => Ok(None),
            Some(value) if !value.get().starts_with('"') => {
                Err(self.wrong(field, "must be a string or null"))
            }
            _ => self.text(field),
        }
    }

    pub fn flag(&self, field: &'static str) -> Result<bool> {
        match self.get(field).map(RawValue::get) {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(self.wrong(field, "must be true or false")),
        }
    }

    /// An integer, also written as `3.0`.
    pub fn integer(&self, field: &'static str, default: i64) -> Result<i64> {
        let Some(value) = self.get(field) else { return Ok(default) };
        let is_number = value.get().starts_with(|c: char| c == '-' || c.is_ascii_digit());
        let number = if is_number { Number::parse(value.get()) } else { None };
        number.and_then(Number::to_i64).ok_or_else(|| self.wrong(field, "must be an integer"))
    }

    /// Whole seconds or null, which is the default.
    pub fn seconds(&self, field: &'static str) -> Result<Option<i64>> {
        match self.get(field) {
            None => Ok(None),
            Some(value) if is_null(value) => Ok(None),
            Some(_) => self.integer(field, 0).map(Some),
        }
    }

    pub fn array(&self, field: &'static str) -> Result<Vec<&'a RawValue>> {
        match self.get(field) {
            None => Ok(Vec::new()),
            Some(value) if value.get().starts_with('[') => read(self.place, value),
            Some(_) => Err(self.wrong(field, "must be an array")),
        }
    }

    /// An array that is passed on.
    pub fn free_array(&self, field: &'static str) -> Result<Free> {
        match self.get(field) {
            Some(value) if !value.get().starts_with('[') => {
                Err(self.wrong(field, "must be an array"))
            }
            value => Ok(Free::of(value, "[]")),
        }
    }

    /// An object that is passed on.
    pub fn object(&self, field: &'static str) -> Result<Free> {
        match self.get(field) {
            Some(value) if !value.get().starts_with('{') => {
                Err(self.wrong(field, "must be an object"))
            }
            value => Ok(Free::of(value, "{}")),
        }
    }

    /// The members of an object by their keys, in order.
    pub fn members(&self, field: &'static str) -> Result<BTreeMap<String, &'a RawValue>> {
        match self.get(field) {
            None => Ok(BTreeMap::new()),
            Some(value) if value.get().starts_with('{') => read(self.place, value),
            Some(_) => Err(self.wrong(field, "must be an object")),
        }
    }

    pub fn strings(&self, field: &'static str) -> Result<Vec<String>> {
        let elements = self.array(field)?;
        if elements.iter().any(|element| !element.get().starts_with('"')) {
            return Err(self.wrong(field, "must be an array of strings"));
        }
        elements.into_iter().map(|element| read(self.place, element)).collect()
    }

    /// One of the listed values; the first is the default.
    pub fn choice<T: Copy>(
        &self,
        field: &'static str,
        choices: &[(&'static str, T)],
    ) -> Result<Choice<T>> {
        let found = match self.get(field) {
            None => choices.first(),
            Some(value) => {
                let text: Option<Cow<str>> = serde_json::from_str(value.get()).ok();
                choices.iter().find(|(name, _)| text.as_deref() == Some(name))
            }
        };
        if let Some((name, value)) = found {
            return Ok(Choice { name, value: *value });
        }
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        Err(self.wrong(field, &format!("must be one of {}", names.join(", "))))
    }
}

/// JSON that the engine passes on: it stays the text that it was.
#[derive(Clone, Debug)]
pub struct Free {
    text: Option<Box<RawValue>>,
    /// What it is when nothing was written: `{}` or `[]`.
    empty: &'static str,
}

impl Free {
    pub fn of(value: Option<&RawValue>, empty: &'static str) -> Self {
        Self { text: value.map(ToOwned::to_owned), empty }
    }

    /// The value, unpacked.
    ///
    /// # Errors
    /// 22023 for text that is not JSON, such as half of a surrogate pair.
    pub fn value(&self, place: &str) -> Result<Value> {
        match &self.text {
            Some(text) => read(place, text),
            None if self.empty == "[]" => Ok(Value::Array(Vec::new())),
            None => Ok(Value::Object(Map::new())),
        }
    }

    /// As [`Free::value`], of an object.
    ///
    /// # Errors
    /// As [`Free::value`].
    pub fn members(&self, place: &str) -> Result<Map<String, Value>> {
        match self.value(place)? {
            Value::Object(members) => Ok(members),
            _ => Ok(Map::new()),
        }
    }
}

impl Serialize for Free {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        match &self.text {
            Some(text) => text.serialize(serializer),
            None if self.empty == "[]" => serializer.serialize_seq(Some(0))?.end(),
            None => serializer.serialize_map(Some(0))?.end(),
        }
    }
}

pub fn is_null(value: &RawValue) -> bool {
    value.get() == "null"
}

/// Unpacks a part of the document.
///
/// # Errors
/// 22023 for what is not JSON after all: a scan leaves strings unread.
pub fn read<'a, T: Deserialize<'a>>(place: &str, value: &'a RawValue) -> Result<T> {
    serde_json::from_str(value.get())
        .map_err(|error| broken(place, format!("{} cannot be read: {error}", written(value))))
}

fn parse<'a, T: Deserialize<'a>>(place: &str, text: &'a str) -> Result<T> {
    serde_json::from_str(text).map_err(|error| broken(place, format!("cannot be read: {error}")))
}

/// A part of the document for a message: compact where it is short, cut where it is long.
pub fn written(value: &RawValue) -> String {
    const SHORT: usize = 4096;
    let is_short = value.get().len() <= SHORT;
    let unpacked = is_short.then(|| serde_json::from_str::<Value>(value.get()).ok()).flatten();
    unpacked.map_or_else(|| cut(value.get()), |unpacked| shown(&unpacked))
}

/// The error of something in the document that breaks a rule: "`place`: `rule`" (22023).
pub fn broken(place: &str, rule: impl std::fmt::Display) -> Error {
    Error::invalid(format!("{place}:"), rule.to_string())
}

/// The words for a task in messages.
pub fn place(path: &str) -> String {
    format!("task '{}'", cut(path))
}

/// Whether two words differ by one letter: one more, another, or two that have changed places.
fn is_one_edit(a: &[u8], b: &[u8]) -> bool {
    let (short, long) = if a.len() <= b.len() { (a, b) } else { (b, a) };
    let Some(at) = (0..long.len()).find(|at| short.get(*at) != long.get(*at)) else { return false };
    let rest = |word: &[u8], from: usize| word.get(from..).map(<[u8]>::to_vec);
    if short.len() < long.len() {
        return long.len() - short.len() == 1 && rest(short, at) == rest(long, at + 1);
    }
    let is_swapped = short.get(at) == long.get(at + 1) && short.get(at + 1) == long.get(at);
    rest(short, at + 1) == rest(long, at + 1)
        || (is_swapped && at + 1 < long.len() && rest(short, at + 2) == rest(long, at + 2))
}
