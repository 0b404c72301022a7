//! UUIDs of version 7 (RFC 9562), made from the engine's clock.

use pgrx::{Uuid, pg_sys};

use super::Timestamp;
use crate::error::{Error, Result};

/// A new UUID for an instant.
///
/// The twelve bits after the version hold the fraction of the millisecond (RFC 9562, 6.2, method
/// 3), so ids of one backend sort as they were made even within a millisecond.
///
/// # Errors
/// XX001 when the operating system gives no random bytes.
pub fn v7(at: Timestamp) -> Result<Uuid> {
    let mut random = [0u8; 10];
    // SAFETY: fills exactly the buffer.
    if !unsafe { pg_sys::pg_strong_random(random.as_mut_ptr().cast(), random.len()) } {
        return Err(Error::Corrupt { what: "could not get random bytes".to_owned() });
    }
    let micros = at.unix_micros().max(0) as u64;
    let fraction = ((micros % 1000) * 4096 / 1000) as u16;
    random[..2].copy_from_slice(&fraction.to_be_bytes());
    let id = uuid::Builder::from_unix_timestamp_millis(micros / 1000, &random).into_uuid();
    Ok(Uuid::from_bytes(id.into_bytes()))
}

/// The lowest UUID of version 7 of an instant's millisecond.
///
/// # Errors
/// 22023 for an instant that 48 bits of milliseconds since 1970 cannot hold.
pub fn floor(at: Timestamp) -> Result<Uuid> {
    let millis = at.unix_micros().div_euclid(1000);
    if !at.is_finite() || !(0..1 << 48).contains(&millis) {
        return Err(Error::invalid(
            format!("timestamp {}", at.iso8601()),
            "cannot be held by a UUID of version 7 (1970 to 10889)",
        ));
    }
    let id = uuid::Builder::from_unix_timestamp_millis(millis as u64, &[0; 10]).into_uuid();
    Ok(Uuid::from_bytes(id.into_bytes()))
}

/// The instant of a UUID of version 7, to the millisecond; none for other versions.
pub fn timestamp(id: Uuid) -> Option<Timestamp> {
    let id = uuid::Uuid::from_bytes(*id.as_bytes());
    if id.get_version_num() != 7 {
        return None;
    }
    let millis = id.as_u128() >> 80;
    Some(Timestamp::from_unix_micros(millis as i64 * 1000))
}

/// Reads a UUID in any of the spellings that Postgres takes in practice.
pub fn parse(text: &str) -> Option<Uuid> {
    let id = uuid::Uuid::try_parse(text.trim()).ok()?;
    Some(Uuid::from_bytes(id.into_bytes()))
}
