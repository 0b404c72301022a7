//! UUIDs of version 7 (RFC 9562), made from the engine's clock.

use std::cell::{Cell, RefCell};

use pgrx::{Uuid, pg_sys};

use super::Timestamp;
use crate::error::{Error, Result};

thread_local! {
    /// The last id of this backend and the microsecond that it was made for.
    static LAST: Cell<(u64, u128)> = const { Cell::new((0, 0)) };
}

/// Random bytes in store. To ask for ten with each id was a fiftieth of a step of a workflow.
struct Store {
    bytes: [u8; 512],
    used: usize,
}

thread_local! {
    static STORE: RefCell<Store> = const { RefCell::new(Store { bytes: [0; 512], used: 512 }) };
}

/// Ten random bytes, none of them ever given out twice.
fn random() -> Result<[u8; 10]> {
    STORE.with_borrow_mut(|store| {
        let mut random = [0; 10];
        if store.used + random.len() > store.bytes.len() {
            let (bytes, length) = (store.bytes.as_mut_ptr().cast(), store.bytes.len());
            // SAFETY: fills exactly the buffer.
            if !unsafe { pg_sys::pg_strong_random(bytes, length) } {
                return Err(Error::Corrupt { what: "could not get random bytes".to_owned() });
            }
            store.used = 0;
        }
        let end = store.used + random.len();
        random.copy_from_slice(&store.bytes[store.used..end]);
        store.used = end;
        Ok(random)
    })
}

/// The bits of an id that are random: those after version, fraction and variant.
const RANDOM: u128 = (1 << 62) - 1;

/// A new UUID for an instant.
///
/// The twelve bits after the version hold the fraction of the millisecond (RFC 9562, 6.2, method
/// 3), and an id for the same microsecond as the one before is that one and a random step more
/// (method 2): ids of one backend sort as they were made, those of a batch too.
///
/// # Errors
/// XX001 when the operating system gives no random bytes.
pub fn v7(at: Timestamp) -> Result<Uuid> {
    let mut random = random()?;
    let micros = at.unix_micros().max(0) as u64;
    let (last_micros, last) = LAST.get();
    let step = u128::from(u32::from_be_bytes([random[2], random[3], random[4], random[5]])) + 1;
    let id = if micros == last_micros && (last & RANDOM) + step <= RANDOM {
        last + step
    } else {
        let fraction = ((micros % 1000) * 4096 / 1000) as u16;
        random[..2].copy_from_slice(&fraction.to_be_bytes());
        // Room for those that follow: the variant's two bits come first in this byte.
        random[2] &= 0b1101_1111;
        uuid::Builder::from_unix_timestamp_millis(micros / 1000, &random).into_uuid().as_u128()
    };
    LAST.set((micros, id));
    Ok(Uuid::from_bytes(id.to_be_bytes()))
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
