//! Triggers that would have to fire where a row is written without a statement.

use std::ffi::{CStr, c_char, c_int};

use pgrx::pg_sys;

use super::ffi;
use super::table::{Access, Layout};
use crate::error::Result;
use crate::pg::ereport::guarded;

unsafe extern "C-unwind" {
    fn RI_FKey_trigger_type(function: pg_sys::Oid) -> c_int;
    fn get_func_name(function: pg_sys::Oid) -> *mut c_char;
    fn get_func_namespace(function: pg_sys::Oid) -> pg_sys::Oid;
    fn get_constraint_name(constraint: pg_sys::Oid) -> *mut c_char;
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

/// What decides about a trigger. It is copied: the catalogue is asked about it, and meanwhile the table's
/// descriptor may be made anew.
#[derive(Clone, Copy)]
struct Trigger {
    function: pg_sys::Oid,
    constraint: pg_sys::Oid,
    index: pg_sys::Oid,
    kind: i16,
    enabled: u8,
    is_internal: bool,
}

/// Whether no trigger of a table has to fire. A read fires none. Rows are removed from queues alone, and
/// no primary key is ever changed.
///
/// # Errors
/// Postgres's own.
pub(super) unsafe fn are_plain(
    relation: pg_sys::Relation,
    layout: &'static Layout,
    access: Access,
) -> Result<bool> {
    // SAFETY: an open table; it has as many triggers as are counted.
    let triggers: Vec<Trigger> = unsafe {
        let triggers = (*relation).trigdesc;
        if triggers.is_null() || !access.changes() {
            return Ok(true);
        }
        let count = (*triggers).numtriggers as usize;
        let all = std::slice::from_raw_parts((*triggers).triggers, count);
        all.iter()
            .map(|trigger| Trigger {
                function: trigger.tgfoid,
                constraint: trigger.tgconstraint,
                index: trigger.tgconstrindid,
                kind: trigger.tgtype,
                enabled: trigger.tgenabled as u8,
                is_internal: trigger.tgisinternal,
            })
            .collect()
    };
    if access == Access::Remove {
        return Ok(triggers.is_empty());
    }
    // SAFETY: an open table; the closure's frame is plain.
    let primary = unsafe { guarded(|| ffi::RelationGetPrimaryKeyIndex(relation))? };
    for trigger in triggers {
        let is_plain = match trigger.is_internal {
            true => keeps(trigger, primary, layout)?,
            false => does(trigger, layout, access)?,
        };
        if !is_plain {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether what an internal trigger checks holds anyway: a reference to the primary key, or one that the
/// direct path sees to.
fn keeps(trigger: Trigger, primary: pg_sys::Oid, layout: &'static Layout) -> Result<bool> {
    // SAFETY: the closure's frame is plain.
    let kind = unsafe { guarded(|| RI_FKey_trigger_type(trigger.function) as u32)? };
    match kind {
        pg_sys::RI_TRIGGER_PK => Ok(trigger.index == primary),
        pg_sys::RI_TRIGGER_FK => {
            // SAFETY: as above.
            let name = unsafe { guarded(|| get_constraint_name(trigger.constraint))? };
            Ok(is_among(name, layout.refers))
        }
        _ => Ok(false),
    }
}

/// Whether a trigger is for removals, or the direct path does its work.
fn does(trigger: Trigger, layout: &'static Layout, access: Access) -> Result<bool> {
    if access.is_own() && trigger.kind as u32 & EVENTS == pg_sys::TRIGGER_TYPE_DELETE {
        return Ok(true);
    }
    if trigger.enabled != pg_sys::TRIGGER_FIRES_ON_ORIGIN {
        return Ok(false);
    }
    let function = trigger.function;
    // SAFETY: the closure's frame is plain.
    let name = unsafe {
        guarded(|| {
            let schema = get_namespace_oid(c"absurd".as_ptr(), true);
            match get_func_namespace(function) == schema {
                true => get_func_name(function),
                false => std::ptr::null_mut(),
            }
        })?
    };
    Ok(is_among(name, layout.does))
}

/// Whether a name of the catalogue's, null for none, is one of some.
fn is_among(name: *const c_char, names: &[&str]) -> bool {
    if name.is_null() {
        return false;
    }
    // SAFETY: a C string in the call's memory.
    let name = unsafe { CStr::from_ptr(name) }.to_bytes();
    names.iter().any(|one| one.as_bytes() == name)
}
