//! `jsonb` that passes through.
//!
//! Params, results, states and payloads may be megabytes and are none of our business: they travel
//! as the datum that came in. What the engine does interpret (options, policies) is printed once
//! and read with serde.

use pgrx::pg_sys::Datum;
use pgrx::{FromDatum, IntoDatum, pg_sys};

use super::ereport::{self, guarded};
use super::ffi::{
    DirectFunctionCall1Coll, JsonbIteratorInit, JsonbIteratorNext, ProcessInterrupts, numeric_out,
    pg_detoast_datum, toast_raw_datum_size,
};
use super::jsonb_build;
use crate::error::{Error, Result};
use crate::json::MAX_LEVELS;

/// How large a value is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Measure {
    /// Values, keys not counted.
    pub values: usize,
    /// Levels of nesting: `[[1]]` has two.
    pub levels: usize,
    /// Bytes of its text without blanks and escapes.
    pub bytes: usize,
}

/// A `jsonb` value, not looked into, possibly still toasted.
#[derive(Clone, Copy, Debug)]
pub struct Jsonb(Datum);

/// Bytes of the text of a stored rule that is read.
const SHORT: usize = 64 << 10;

impl Jsonb {
    pub(super) fn datum(self) -> Datum {
        self.0
    }

    pub(super) fn from_raw(datum: Datum) -> Self {
        Self(datum)
    }

    /// JSON null, as a value of its own and not SQL NULL.
    pub fn null() -> Result<Self> {
        Self::from_text("null")
    }

    /// Reads JSON text.
    ///
    /// # Errors
    /// 22P02 when the text is not JSON.
    pub fn from_text(text: &str) -> Result<Self> {
        let text = std::ffi::CString::new(text).unwrap_or_default();
        // SAFETY: jsonb_in takes a C string.
        let datum = unsafe { ereport::input(pg_sys::F_JSONB_IN, &text)? };
        Ok(Self(datum))
    }

    /// As [`Jsonb::from_text`], of a long text of an object or an array, with little memory.
    ///
    /// # Errors
    /// 22023 when the text is not JSON, 22003 for a number that `numeric` does not hold; what
    /// `check`, asked for each value, says.
    pub fn from_long_text(text: &str, check: &dyn Fn() -> Result<()>) -> Result<Self> {
        jsonb_build::build(text, check)
    }

    /// The value as JSON text.
    pub fn to_text(self) -> String {
        // SAFETY: jsonb_out of a jsonb datum; the result is a C string in server encoding.
        unsafe {
            pgrx::direct_function_call::<&std::ffi::CStr>(pg_sys::jsonb_out, &[Some(self.0)])
                .map(|text| match text.to_str() {
                    Ok(text) => text.to_owned(),
                    Err(_) => text.to_string_lossy().into_owned(),
                })
                .unwrap_or_default()
        }
    }

    /// The text of a stored value that clients may have written, where it has at most 64 KiB.
    ///
    /// # Errors
    /// As [`Jsonb::measure`].
    pub fn short_text(self) -> Result<Option<String>> {
        let max = Measure { values: usize::MAX, levels: MAX_LEVELS, bytes: SHORT };
        let found = self.measure(max)?;
        let is_short = found.bytes <= SHORT && found.levels <= MAX_LEVELS;
        Ok(is_short.then(|| self.to_text()))
    }

    /// Values, levels and bytes of the value's text, as far as needed to know that one of them is
    /// beyond `max`. Makes nothing of the value but a copy that is not compressed.
    ///
    /// # Errors
    /// 57014 when the statement is cancelled.
    pub fn measure(self, max: Measure) -> Result<Measure> {
        // SAFETY: a jsonb datum; what is read lies in it or in the call's memory, and the closure's
        // frame is plain.
        unsafe {
            // Text takes at least an eighth of the bytes of a jsonb: `[0,0,0]` takes a quarter.
            let raw = guarded(|| toast_raw_datum_size(self.0))?;
            if raw / 8 > max.bytes {
                return Ok(Measure { bytes: raw / 8, ..Measure::default() });
            }
            guarded(|| {
                let unpacked = pg_detoast_datum(self.0.cast_mut_ptr());
                let root = &raw mut (*unpacked.cast::<pg_sys::Jsonb>()).root;
                let measured = measure(root, max);
                if unpacked != self.0.cast_mut_ptr() {
                    pg_sys::pfree(unpacked.cast());
                }
                measured
            })
        }
    }

    /// Checks the levels of nesting of an argument.
    ///
    /// # Errors
    /// 22023 for more than `MAX_LEVELS`.
    pub fn check_levels(self, what: &'static str) -> Result<()> {
        let all = Measure { values: usize::MAX, levels: MAX_LEVELS, bytes: usize::MAX };
        match self.measure(all)?.levels <= MAX_LEVELS {
            true => Ok(()),
            false => Err(Error::TooDeep { what: what.into(), max: MAX_LEVELS }),
        }
    }

    /// The text of an object's member; none when there is no such member, when it is JSON null, or
    /// when the value is not an object. Does not unpack the rest of the value.
    pub fn member_text(self, name: &str) -> Option<String> {
        // SAFETY: the `->>` operator's function on a jsonb and a text.
        unsafe {
            pgrx::direct_function_call::<String>(
                pg_sys::jsonb_object_field_text,
                &[Some(self.0), name.into_datum()],
            )
        }
    }

    /// Whether both values are the same JSON.
    pub fn equals(self, other: Self) -> bool {
        // SAFETY: the `=` operator's function on two jsonb.
        unsafe {
            pgrx::direct_function_call::<bool>(pg_sys::jsonb_eq, &[Some(self.0), Some(other.0)])
                .unwrap_or(false)
        }
    }

    /// Whether the value is a JSON object.
    pub fn is_object(self) -> bool {
        // SAFETY: jsonb_typeof of a jsonb.
        unsafe {
            pgrx::direct_function_call::<&str>(pg_sys::jsonb_typeof, &[Some(self.0)])
                .is_some_and(|kind| kind == "object")
        }
    }
}

impl FromDatum for Jsonb {
    unsafe fn from_polymorphic_datum(datum: Datum, null: bool, _: pg_sys::Oid) -> Option<Self> {
        (!null).then_some(Self(datum))
    }
}

impl IntoDatum for Jsonb {
    fn into_datum(self) -> Option<Datum> {
        Some(self.0)
    }

    fn type_oid() -> pg_sys::Oid {
        pg_sys::JSONBOID
    }
}

/// What [`Jsonb::measure`] does with a value that is not compressed.
///
/// # Safety
/// As of Postgres's own code that walks a `jsonb`: raises errors, and frees nothing then.
unsafe fn measure(root: *mut pg_sys::JsonbContainer, max: Measure) -> Measure {
    use pg_sys::JsonbIteratorToken::{
        WJB_BEGIN_ARRAY, WJB_BEGIN_OBJECT, WJB_DONE, WJB_END_ARRAY, WJB_END_OBJECT, WJB_KEY,
    };
    let (mut found, mut level) = (Measure::default(), 0);
    // SAFETY: the caller's promise; the iterator fills in the value of each token that has one.
    unsafe {
        let mut iterator = JsonbIteratorInit(root);
        let mut value = std::mem::zeroed::<pg_sys::JsonbValue>();
        while found.values <= max.values && found.levels <= max.levels && found.bytes <= max.bytes {
            if pg_sys::InterruptPending != 0 {
                ProcessInterrupts();
            }
            match JsonbIteratorNext(&mut iterator, &mut value, false) {
                WJB_DONE => break,
                // A scalar alone is kept as an array of one.
                WJB_BEGIN_ARRAY if value.val.array.rawScalar => {}
                WJB_BEGIN_ARRAY | WJB_BEGIN_OBJECT => {
                    level += 1;
                    found.levels = found.levels.max(level);
                    found.values += 1;
                    found.bytes += 3;
                }
                WJB_END_ARRAY | WJB_END_OBJECT => level = level.saturating_sub(1),
                WJB_KEY => found.bytes += 3 + value.val.string.len.unsigned_abs() as usize,
                _ => {
                    found.values += 1;
                    found.bytes += 1 + bytes(&value);
                }
            }
        }
    }
    found
}

/// Bytes of a scalar's text. A number may have far more digits than it takes bytes.
///
/// # Safety
/// As of [`measure`].
unsafe fn bytes(value: &pg_sys::JsonbValue) -> usize {
    use pg_sys::jbvType;
    // SAFETY: the type says which member of the union is filled in.
    unsafe {
        match value.type_ {
            jbvType::jbvString => 2 + value.val.string.len.unsigned_abs() as usize,
            jbvType::jbvNumeric => {
                let number = Datum::from(value.val.numeric);
                let text = DirectFunctionCall1Coll(Some(numeric_out), pg_sys::InvalidOid, number);
                let text = text.cast_mut_ptr::<std::ffi::c_char>();
                let length = std::ffi::CStr::from_ptr(text).count_bytes();
                pg_sys::pfree(text.cast());
                length
            }
            _ => 4,
        }
    }
}
