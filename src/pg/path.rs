//! Search paths that no caller chose.
//!
//! A name without a schema in a statement of ours would mean what the caller's `search_path` makes
//! of it: an operator of `public` that fits better than the one meant, a type of `pg_temp`. So the
//! engine's statements are parsed with `pg_catalog` alone, while what runs below them, a user's
//! trigger, sees the caller's path.
//!
//! Postgres parses a kept statement anew whenever it finds it out of date, deep inside of an
//! execution. Two of its hooks surround exactly that: the one that sets up the parser of a
//! statement that was prepared with it, and the one that is called when a statement has been
//! analysed.

use std::cell::RefCell;
use std::ffi::{c_int, c_void};

use pgrx::pg_sys;

use super::ffi::setup_parse_fixed_parameters;

/// The types of a statement's parameters, for its parser.
pub(super) struct Types(Box<[pg_sys::Oid]>);

impl Types {
    pub fn new(types: impl Iterator<Item = pg_sys::Oid>) -> Box<Self> {
        Box::new(Self(types.collect()))
    }

    /// What [`begin`] is given. The types must outlive the statement.
    pub fn as_argument(&self) -> *mut c_void {
        std::ptr::from_ref(self).cast_mut().cast()
    }
}

thread_local! {
    /// The parsers that are at work with our path, the innermost last.
    static PARSERS: RefCell<Vec<*mut pg_sys::ParseState>> = const { RefCell::new(Vec::new()) };
}

static mut PREVIOUS: pg_sys::post_parse_analyze_hook_type = None;

/// Installs the hook; called once when the library is loaded.
pub fn install() {
    // SAFETY: a hook is a plain global that a library sets while it is being loaded.
    unsafe {
        PREVIOUS = pg_sys::post_parse_analyze_hook;
        pg_sys::post_parse_analyze_hook = Some(end);
    }
}

/// Sets up the parser of a statement of ours.
///
/// # Safety
/// Called by Postgres with the argument that the statement was prepared with, made by [`Types`].
pub(super) unsafe extern "C-unwind" fn begin(
    parser: *mut pg_sys::ParseState,
    argument: *mut c_void,
) {
    // SAFETY: as above; the types live as long as the statement.
    unsafe {
        let Types(types) = &*argument.cast::<Types>();
        push();
        PARSERS.with_borrow_mut(|parsers| parsers.push(parser));
        setup_parse_fixed_parameters(parser, types.as_ptr(), types.len() as c_int);
    }
}

/// # Safety
/// Called by Postgres with a statement that has been analysed.
unsafe extern "C-unwind" fn end(
    parser: *mut pg_sys::ParseState,
    query: *mut pg_sys::Query,
    jumble: *mut pg_sys::JumbleState,
) {
    let is_ours = PARSERS.with_borrow_mut(|parsers| {
        let is_ours = parsers.last() == Some(&parser);
        if is_ours {
            parsers.pop();
        }
        is_ours
    });
    // SAFETY: hands on what Postgres gave; the path is the one that `begin` pushed.
    unsafe {
        if is_ours {
            pop();
        }
        if let Some(previous) = PREVIOUS {
            previous(parser, query, jumble);
        }
    }
}

/// How many parsers are at work.
pub(super) fn parsers() -> usize {
    PARSERS.with_borrow(Vec::len)
}

/// Puts the path back for parsers that were left by an error, or by a hook that does not call the
/// next.
pub(super) fn settle(parsers: usize) {
    while self::parsers() > parsers {
        PARSERS.with_borrow_mut(Vec::pop);
        // SAFETY: pushed by `begin` in this (sub)transaction.
        unsafe { pop() }
    }
}

/// Up to 16 the search path can be overridden without a setting.
#[cfg(any(feature = "pg15", feature = "pg16"))]
mod postgres {
    use pgrx::pg_sys;

    use crate::pg::ffi::{PopOverrideSearchPath, PushOverrideSearchPath};

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
use setting as postgres;

/// The path as a function's SET clause changes it: what is called meanwhile may set its own.
pub(super) mod setting {
    use std::cell::RefCell;
    use std::ffi::c_int;

    use crate::pg::ffi::{AtEOXact_GUC, NewGUCNestLevel};
    use crate::pg::guc;

    thread_local! {
        static LEVELS: RefCell<Vec<c_int>> = const { RefCell::new(Vec::new()) };
    }

    /// Makes `pg_catalog` the search path, until [`pop`] in the same (sub)transaction.
    ///
    /// # Safety
    /// Runs under `guarded`, or where an error may pass.
    pub unsafe fn push() {
        // SAFETY: as a function's SET clause does it.
        unsafe {
            let level = NewGUCNestLevel();
            // Where it is not named, the schema of temporary objects comes first.
            guc::set_locally(c"search_path", c"pg_catalog, pg_temp");
            LEVELS.with_borrow_mut(|levels| levels.push(level));
        }
    }

    /// # Safety
    /// After [`push`].
    pub unsafe fn pop() {
        if let Some(level) = LEVELS.with_borrow_mut(Vec::pop) {
            // SAFETY: the level of the matching `push`.
            unsafe { AtEOXact_GUC(true, level) }
        }
    }
}

/// Makes `pg_catalog` the search path, until [`pop`] in the same (sub)transaction.
///
/// # Safety
/// Runs under `guarded`, or where an error may pass.
pub(super) unsafe fn push() {
    // SAFETY: the caller's promise.
    unsafe { postgres::push() }
}

/// # Safety
/// After [`push`].
pub(super) unsafe fn pop() {
    // SAFETY: the caller's promise.
    unsafe { postgres::pop() }
}
