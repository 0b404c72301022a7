//! `jsonb` that passes through.
//!
//! Params, results, states and payloads may be megabytes and are none of our business: they travel
//! as the datum that came in. What the engine does interpret (options, policies) is printed once
//! and read with serde.

use pgrx::pg_sys::Datum;
use pgrx::{FromDatum, IntoDatum, pg_sys};

use super::ereport;
use crate::error::Result;

/// A `jsonb` value, not looked into, possibly still toasted.
#[derive(Clone, Copy, Debug)]
pub struct Jsonb(Datum);

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

    /// The value as JSON text.
    pub fn to_text(self) -> String {
        // SAFETY: jsonb_out of a jsonb datum; the result is a C string in server encoding.
        unsafe {
            pgrx::direct_function_call::<&std::ffi::CStr>(pg_sys::jsonb_out, &[Some(self.0)])
                .map(|text| text.to_string_lossy().into_owned())
                .unwrap_or_default()
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
