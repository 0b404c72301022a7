//! Events: one per name and queue, and the runs that wait for them.

pub mod emit;
pub mod wait;

use crate::error::{Error, Result, check_size};

/// Checks an event's name.
///
/// # Errors
/// 22004 for NULL, 22023 for a blank one or one that no index can hold.
pub fn check_name(name: Option<&str>) -> Result<&str> {
    let name = name.ok_or_else(|| Error::null("event_name"))?;
    if name.trim().is_empty() {
        return Err(Error::blank("event_name"));
    }
    check_size("event_name", name)?;
    Ok(name)
}
