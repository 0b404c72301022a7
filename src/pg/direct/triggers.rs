//! Triggers that would have to fire where a row is written without a statement.

use std::ffi::{CStr, c_char, c_int};

use pgrx::pg_sys;

use super::table::{Access, Layout};
use crate::error::Result;
use crate::pg::catalog;
use crate::pg::ereport::guarded;

unsafe extern "C-unwind" {
    fn RI_FKey_trigger_type(function: pg_sys::Oid) -> c_int;
    fn get_func_name(function: pg_sys::Oid) -> *mut c_char;
    fn get_func_namespace(function: pg_sys::Oid) -> pg_sys::Oid;
    fn get_namespace_oid(name: *const c_char, missing_ok: bool) -> pg_sys::Oid;
}

/// The events in a trigger's type.
const EVENTS: u32 = pg_sys::TRIGGER_TYPE_INSERT
    | pg_sys::TRIGGER_TYPE_DELETE
    | pg_sys::TRIGGER_TYPE_UPDATE
    | pg_sys::TRIGGER_TYPE_TRUNCATE;

/// Whether triggers fire in this session as they are meant to.
pub(super) fn fire() -> bool {
    // SAFETY: reads a global of this backend.
    unsafe { pg_sys::SessionReplicationRole == pg_sys::SESSION_REPLICATION_ROLE_ORIGIN as c_int }
}

/// Whether no trigger of a table has to fire. A read fires none. Rows are removed from queues alone, and
/// no key is ever changed.
///
/// # Errors
/// Postgres's own.
pub(super) unsafe fn are_plain(
    triggers: *const pg_sys::TriggerDesc,
    layout: &'static Layout,
    access: Access,
) -> Result<bool> {
    if triggers.is_null() || !access.changes() {
        return Ok(true);
    }
    // SAFETY: as many triggers as are counted.
    let triggers = unsafe {
        std::slice::from_raw_parts((*triggers).triggers, (*triggers).numtriggers as usize)
    };
    for trigger in triggers {
        // SAFETY: a trigger of an open table.
        if !unsafe { is_plain(trigger, layout, access)? } {
            return Ok(false);
        }
    }
    Ok(true)
}

unsafe fn is_plain(
    trigger: &pg_sys::Trigger,
    layout: &'static Layout,
    access: Access,
) -> Result<bool> {
    if access == Access::Remove {
        return Ok(false);
    }
    let function = trigger.tgfoid;
    if trigger.tgisinternal {
        // SAFETY: the closure's frame is plain.
        let kind = unsafe { guarded(|| RI_FKey_trigger_type(function) as u32)? };
        return match kind {
            pg_sys::RI_TRIGGER_PK => Ok(true),
            pg_sys::RI_TRIGGER_FK => refers(trigger.tgconstrrelid, layout),
            _ => Ok(false),
        };
    }
    if access.is_own() && trigger.tgtype as u32 & EVENTS == pg_sys::TRIGGER_TYPE_DELETE {
        return Ok(true);
    }
    if trigger.tgenabled as u8 != pg_sys::TRIGGER_FIRES_ON_ORIGIN {
        return Ok(false);
    }
    // SAFETY: a C string in the call's memory, or null; the closure's frame is plain.
    let name = unsafe {
        guarded(|| {
            let schema = get_namespace_oid(c"absurd".as_ptr(), true);
            match get_func_namespace(function) == schema {
                true => get_func_name(function),
                false => std::ptr::null_mut(),
            }
        })?
    };
    // SAFETY: as above.
    let is_done = |one: &&str| unsafe { CStr::from_ptr(name) }.to_bytes() == one.as_bytes();
    Ok(!name.is_null() && layout.does.iter().any(|one| is_done(&one)))
}

/// Whether the direct path sees to it that a row of a table is there.
fn refers(table: pg_sys::Oid, layout: &'static Layout) -> Result<bool> {
    for name in layout.refers {
        if catalog::id(name)? == Some(table) {
            return Ok(true);
        }
    }
    Ok(false)
}
