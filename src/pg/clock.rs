//! The engine's only clock, read once per call and passed down.

use std::ffi::CString;

use pgrx::pg_sys;

pub use crate::time::Timestamp;

use super::{ereport, guc};
use crate::error::{Error, Result};

/// The engine's time: the setting `absurd.fake_now` when it is set and not blank, else the wall
/// clock.
///
/// # Errors
/// 22007 when the setting is not a timestamp.
pub fn now() -> Result<Timestamp> {
    match set() {
        Some(text) => parse(&text),
        None => Ok(wall()),
    }
}

/// The wall clock, whatever the setting says.
pub fn wall() -> Timestamp {
    // SAFETY: reads the clock.
    Timestamp::from_micros(unsafe { pg_sys::GetCurrentTimestamp() })
}

/// Whether [`now`] is what `absurd.fake_now` says.
pub fn is_set() -> bool {
    set().is_some()
}

fn set() -> Option<String> {
    guc::fake_now().filter(|text| !text.trim().is_empty())
}

/// Text as the input function of `timestamptz` reads it.
///
/// # Errors
/// 22007 or 22008 when it cannot be read.
pub fn parse(text: &str) -> Result<Timestamp> {
    let text = CString::new(text)
        .map_err(|_| Error::invalid("timestamp", "must not contain a zero byte"))?;
    // SAFETY: timestamptz_in takes a C string, an OID that it ignores and a type modifier.
    let datum = unsafe { ereport::input(pg_sys::F_TIMESTAMPTZ_IN, &text)? };
    Ok(Timestamp::from_micros(datum.value() as i64))
}
