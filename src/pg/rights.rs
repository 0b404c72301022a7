//! Whose rights a statement of the engine runs with.
//!
//! Statements on queues and on what clients write run with the rights of the caller. What the engine keeps
//! of executed workflow runs is nobody's to write by hand, so no role is granted anything on it: those
//! statements run with the rights of the tables' owner, and with a search path that no caller chose.

use pgrx::pg_sys;

use super::catalog;
use super::ereport::guarded;
use crate::error::Result;

/// Any of the tables: they have one owner.
const TABLE: &str = "workflow_execution";

/// The owner's rights, until it is dropped.
pub struct Rights {
    role: pg_sys::Oid,
    context: i32,
}

/// Takes the owner's rights; none when the current role has them anyway.
pub fn owner() -> Result<Option<Rights>> {
    let Some(owner) = catalog::owner(TABLE)? else { return Ok(None) };
    let (mut role, mut context) = (pg_sys::InvalidOid, 0);
    // SAFETY: as Postgres runs a SECURITY DEFINER function with a SET clause: the role, which the end of
    // the transaction would put back too, and a path of pg_catalog alone. The closures' frames are plain.
    unsafe {
        if guarded(|| pg_sys::superuser() || pg_sys::GetUserId() == owner)? {
            return Ok(None);
        }
        guarded(|| {
            path::push();
        })?;
        pg_sys::GetUserIdAndSecContext(&mut role, &mut context);
        let local = pg_sys::SECURITY_LOCAL_USERID_CHANGE as i32;
        pg_sys::SetUserIdAndSecContext(owner, context | local);
    }
    Ok(Some(Rights { role, context }))
}

impl Drop for Rights {
    fn drop(&mut self) {
        // SAFETY: undoes what `owner` did, in the same subtransaction.
        unsafe {
            pg_sys::SetUserIdAndSecContext(self.role, self.context);
            path::pop();
        }
    }
}

/// The search path of Postgres up to 16, which can be overridden without a setting.
#[cfg(any(feature = "pg13", feature = "pg14", feature = "pg15", feature = "pg16"))]
mod path {
    use pgrx::pg_sys;

    unsafe extern "C-unwind" {
        fn PushOverrideSearchPath(path: *mut pg_sys::OverrideSearchPath);
        fn PopOverrideSearchPath();
    }

    pub unsafe fn push() {
        let mut path = pg_sys::OverrideSearchPath { addCatalog: true, ..Default::default() };
        // SAFETY: Postgres copies the path.
        unsafe { PushOverrideSearchPath(&raw mut path) }
    }

    pub unsafe fn pop() {
        // SAFETY: what `push` pushed.
        unsafe { PopOverrideSearchPath() }
    }
}

/// Later ones have the setting alone.
#[cfg(any(feature = "pg17", feature = "pg18"))]
mod path {
    use std::cell::RefCell;
    use std::ffi::{c_char, c_int, c_uint};

    use pgrx::pg_sys;

    unsafe extern "C-unwind" {
        fn NewGUCNestLevel() -> c_int;
        fn AtEOXact_GUC(commit: bool, level: c_int);
        fn set_config_option(
            name: *const c_char,
            value: *const c_char,
            context: c_uint,
            source: c_uint,
            action: c_uint,
            change: bool,
            elevel: c_int,
            reload: bool,
        ) -> c_int;
    }

    thread_local! {
        static LEVELS: RefCell<Vec<c_int>> = const { RefCell::new(Vec::new()) };
    }

    pub unsafe fn push() {
        // SAFETY: as a function's SET clause does it.
        unsafe {
            let level = NewGUCNestLevel();
            set_config_option(
                c"search_path".as_ptr(),
                c"pg_catalog".as_ptr(),
                pg_sys::GucContext::PGC_USERSET,
                pg_sys::GucSource::PGC_S_SESSION,
                pg_sys::GucAction::GUC_ACTION_SAVE,
                true,
                0,
                false,
            );
            LEVELS.with_borrow_mut(|levels| levels.push(level));
        }
    }

    pub unsafe fn pop() {
        if let Some(level) = LEVELS.with_borrow_mut(Vec::pop) {
            // SAFETY: the level of the matching `push`.
            unsafe { AtEOXact_GUC(true, level) }
        }
    }
}
