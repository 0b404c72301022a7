//! Whose rights a statement of the engine runs with.
//!
//! Statements on queues and on what clients write run with the rights of the caller. What the
//! engine keeps of executed workflow runs is nobody's to write by hand, so no role is granted
//! anything on it: those statements run with the rights of the owner, and with a search path that
//! no caller chose. So does the DDL of queues, whose tables are the owner's whoever creates them.

use std::ffi::CStr;

use pgrx::pg_sys;

use super::ereport::guarded;
use super::ffi::{
    GetSystemIdentifier, GetUserId, GetUserIdAndSecContext, GetUserNameFromId,
    SetUserIdAndSecContext, has_privs_of_role, superuser, superuser_arg,
};
use super::path::setting;
use super::shape;
use crate::error::Result;

// pgrx wraps each call into a catch of its own; an error that came through one of those below
// `guarded` would be a panic in a frame that knows none, and end the server.
/// Another's rights, until it is dropped.
pub struct Rights {
    role: pg_sys::Oid,
    context: i32,
    sets_path: bool,
}

/// The role that the call runs as.
pub fn current_role() -> pg_sys::Oid {
    // SAFETY: reads a global of this backend.
    unsafe { GetUserId() }
}

/// A role's name.
///
/// # Errors
/// 42704 when there is no such role.
pub fn name_of(role: pg_sys::Oid) -> Result<String> {
    // SAFETY: a C string in the call's memory; the closure's frame is plain.
    unsafe {
        let name = guarded(|| GetUserNameFromId(role, false))?;
        Ok(CStr::from_ptr(name).to_string_lossy().into_owned())
    }
}

/// Whether the current role has the owner's rights anyway.
///
/// # Errors
/// 55000 when the extension's tables are not there.
pub fn are_owners() -> Result<bool> {
    let owner = shape::owner()?;
    // SAFETY: reads globals and the catalogue's cache; the closure's frame is plain.
    unsafe { guarded(|| superuser() || has_privs_of_role(GetUserId(), owner)) }
}

/// Whether the current role is a superuser.
///
/// # Errors
/// Postgres's own.
pub fn is_superuser() -> Result<bool> {
    // SAFETY: as above.
    unsafe { guarded(|| superuser()) }
}

/// Whether a role is a superuser.
///
/// # Errors
/// Postgres's own.
pub fn is_superuser_role(role: pg_sys::Oid) -> Result<bool> {
    // SAFETY: as above.
    unsafe { guarded(|| superuser_arg(role)) }
}

/// What tells the cluster from others.
pub fn system_identifier() -> u64 {
    // SAFETY: reads shared memory that a backend is attached to.
    unsafe { GetSystemIdentifier() }
}

/// Takes the owner's rights; none when the current role has them anyway.
///
/// # Errors
/// As [`are_owners`].
pub fn owner() -> Result<Option<Rights>> {
    let owner = shape::owner()?;
    // SAFETY: reads globals; the closure's frame is plain.
    if unsafe { guarded(|| superuser() || GetUserId() == owner)? } {
        return Ok(None);
    }
    take(owner, 0).map(Some)
}

/// Becomes the owner, whoever the current role is, in an operation that no settings, temporary
/// tables or deferred triggers of the caller reach into: what is made then is the owner's.
///
/// # Errors
/// As [`are_owners`].
pub fn restricted() -> Result<Rights> {
    take(shape::owner()?, pg_sys::SECURITY_RESTRICTED_OPERATION as i32)
}

/// As Postgres runs a SECURITY DEFINER function: the role, which the end of the transaction would
/// put back too. Where what is called must not meet the caller's path either, with a SET clause for
/// that.
fn take(owner: pg_sys::Oid, more: i32) -> Result<Rights> {
    let (mut role, mut context) = (pg_sys::InvalidOid, 0);
    let sets_path = more != 0;
    // SAFETY: the closure's frame is plain.
    unsafe {
        if sets_path {
            guarded(|| setting::push())?;
        }
        GetUserIdAndSecContext(&mut role, &mut context);
        let local = pg_sys::SECURITY_LOCAL_USERID_CHANGE as i32;
        SetUserIdAndSecContext(owner, context | local | more);
    }
    Ok(Rights { role, context, sets_path })
}

impl Drop for Rights {
    fn drop(&mut self) {
        // SAFETY: undoes what `take` did, in the same subtransaction.
        unsafe {
            SetUserIdAndSecContext(self.role, self.context);
            if self.sets_path {
                setting::pop();
            }
        }
    }
}
