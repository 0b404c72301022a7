//! A large `jsonb` made of JSON text.
//!
//! `jsonb_in` copies every string and grows every array by doubling it, some 8 KB for a step of a
//! workflow's document, and cannot be cancelled meanwhile. Here Postgres's own function writes the
//! value from a tree whose strings lie in the text and whose arrays have the size that they need.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ffi::{CString, c_char, c_int};

use pgrx::pg_sys::jbvType::{jbvArray, jbvBool, jbvNull, jbvNumeric, jbvObject, jbvString};
use pgrx::pg_sys::{self, Datum, JsonbPair, JsonbValue};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::Jsonb;
use super::ereport::{self, guarded};
use super::ffi::JsonbValueToJsonb;
use crate::error::{Error, Result};

/// Makes a `jsonb` of the text of an object or an array. Of two members with one key the last
/// counts.
///
/// # Errors
/// 22023 for text that is not JSON, 22003 for a number that `numeric` does not hold; what `check`,
/// asked for each value, says.
pub fn build(text: &str, check: &dyn Fn() -> Result<()>) -> Result<Jsonb> {
    let mut builder = Builder { check, pairs: Vec::new(), elements: Vec::new(), texts: Vec::new() };
    let mut root = builder.value(text.trim())?;
    let root = &raw mut root;
    // SAFETY: the tree's parts live in `text` and in `builder`; the closure's frame is plain.
    let made = unsafe { guarded(|| JsonbValueToJsonb(root))? };
    drop(builder);
    Ok(Jsonb::from_raw(Datum::from(made)))
}

/// What the values of a tree point to.
struct Builder<'c> {
    check: &'c dyn Fn() -> Result<()>,
    pairs: Vec<Box<[JsonbPair]>>,
    elements: Vec<Box<[JsonbValue]>>,
    /// Strings that are not in the text as they are, for their escapes.
    texts: Vec<Box<str>>,
}

#[derive(Deserialize, PartialEq, Eq, PartialOrd, Ord)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

fn unpack<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T> {
    serde_json::from_str(text)
        .map_err(|error| Error::invalid("JSON", format!("cannot be read: {error}")))
}

/// A number as Postgres counts: no value has as many parts or bytes.
fn int(length: usize) -> c_int {
    c_int::try_from(length).unwrap_or(c_int::MAX)
}

impl Builder<'_> {
    fn value(&mut self, text: &str) -> Result<JsonbValue> {
        (self.check)()?;
        match text.as_bytes().first() {
            Some(b'{') => self.object(text),
            Some(b'[') => self.array(text),
            Some(b'"') => Ok(self.string(unpack::<Text>(text)?)),
            Some(b't' | b'f') => {
                let mut value = new(jbvBool);
                value.val.boolean = text == "true";
                Ok(value)
            }
            Some(b'-' | b'0'..=b'9') => {
                let number = CString::new(text).unwrap_or_default();
                let mut value = new(jbvNumeric);
                // SAFETY: numeric_in takes a C string and gives a numeric in the call's memory.
                let datum = unsafe { ereport::input(pg_sys::F_NUMERIC_IN, &number)? };
                value.val.numeric = datum.cast_mut_ptr();
                Ok(value)
            }
            _ => Ok(new(jbvNull)),
        }
    }

    fn object(&mut self, text: &str) -> Result<JsonbValue> {
        let members: BTreeMap<Text, &RawValue> = unpack(text)?;
        let mut pairs = Vec::with_capacity(members.len());
        // Postgres's order of keys: short ones first, and by bytes among those of one length.
        let mut members: Vec<_> = members.into_iter().collect();
        members.sort_by_key(|(key, _)| key.0.len());
        for (key, member) in members {
            let key = self.string(key);
            pairs.push(JsonbPair { key, value: self.value(member.get())?, order: 0 });
        }
        let mut pairs = pairs.into_boxed_slice();
        let mut value = new(jbvObject);
        value.val.object.nPairs = int(pairs.len());
        value.val.object.pairs = pairs.as_mut_ptr();
        self.pairs.push(pairs);
        Ok(value)
    }

    fn array(&mut self, text: &str) -> Result<JsonbValue> {
        let parts: Vec<&RawValue> = unpack(text)?;
        let mut elements = Vec::with_capacity(parts.len());
        for part in parts {
            elements.push(self.value(part.get())?);
        }
        let mut elements = elements.into_boxed_slice();
        let mut value = new(jbvArray);
        value.val.array.nElems = int(elements.len());
        value.val.array.elems = elements.as_mut_ptr();
        value.val.array.rawScalar = false;
        self.elements.push(elements);
        Ok(value)
    }

    fn string(&mut self, Text(text): Text) -> JsonbValue {
        let (start, length) = match text {
            Cow::Borrowed(text) => (text.as_ptr(), text.len()),
            Cow::Owned(text) => {
                let text = text.into_boxed_str();
                let place = (text.as_ptr(), text.len());
                self.texts.push(text);
                place
            }
        };
        let mut value = new(jbvString);
        value.val.string.len = int(length);
        value.val.string.val = start.cast::<c_char>().cast_mut();
        value
    }
}

fn new(kind: pg_sys::jbvType::Type) -> JsonbValue {
    // SAFETY: plain data, for which zeros are a value: numbers, null pointers and false.
    JsonbValue { type_: kind, val: unsafe { std::mem::zeroed() } }
}
