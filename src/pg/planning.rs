//! Plans by index, whatever the tables' size.
//!
//! A kept plan may be made when the queue is empty, where reading the whole table is cheapest, and
//! then serve it with a million rows until autovacuum looks. Every statement of the engine is a keyed
//! look-up, so the index is right at any size.
//!
//! Postgres plans a kept statement whenever it finds its plan out of date: after DDL, another role,
//! a changed search_path. A planner hook is the one place that sees all of these. It steers the
//! planner for the engine's own statements, known by a mark in their text, and for no others: what
//! runs below them, a user's trigger for one, is planned as its author expects.

use std::ffi::{c_char, c_int};

use pgrx::pg_sys;

use super::ereport::{guarded, raise};

unsafe extern "C-unwind" {
    fn standard_planner(
        query: *mut pg_sys::Query,
        text: *const c_char,
        options: c_int,
        params: pg_sys::ParamListInfo,
    ) -> *mut pg_sys::PlannedStmt;
}

/// What the text of a statement of the engine starts with.
pub(super) const MARK: &str = "/* absurd */ ";

/// The hook that was there before ours.
static mut PREVIOUS: pg_sys::planner_hook_type = None;

/// Installs the hook; called once when the library is loaded.
pub fn install() {
    // SAFETY: hooks are plain globals that a library sets while it is being loaded.
    unsafe {
        PREVIOUS = pg_sys::planner_hook;
        pg_sys::planner_hook = Some(plan);
    }
}

/// # Safety
/// Called by Postgres with a query to plan. The frame holds nothing that needs dropping when an
/// error passes.
unsafe extern "C-unwind" fn plan(
    query: *mut pg_sys::Query,
    text: *const c_char,
    options: c_int,
    params: pg_sys::ParamListInfo,
) -> *mut pg_sys::PlannedStmt {
    // SAFETY: hands on what Postgres gave.
    unsafe {
        let next = || match PREVIOUS {
            Some(previous) => previous(query, text, options, params),
            None => standard_planner(query, text, options, params),
        };
        if !is_marked(text) {
            return next();
        }
        let before = Switches::read();
        Switches::OFF.write();
        let planned = guarded(next);
        before.write();
        match planned {
            Ok(planned) => planned,
            Err(error) => raise(error),
        }
    }
}

/// # Safety
/// `text` is null or a C string.
unsafe fn is_marked(text: *const c_char) -> bool {
    // SAFETY: the comparison ends with the first byte that differs, the terminating zero at last.
    !text.is_null()
        && MARK.bytes().enumerate().all(|(i, byte)| unsafe { *text.add(i) as u8 == byte })
}

/// The planner's switches that decide between an index and everything else. JIT is among them because
/// the cost of a node that is switched off would invite it.
#[derive(Clone, Copy)]
struct Switches([bool; 7]);

impl Switches {
    const OFF: Self = Self([false; 7]);

    unsafe fn read() -> Self {
        // SAFETY: plain globals of this single-threaded backend.
        unsafe {
            Self([
                pg_sys::enable_seqscan,
                pg_sys::enable_bitmapscan,
                pg_sys::enable_sort,
                pg_sys::enable_hashjoin,
                pg_sys::enable_mergejoin,
                pg_sys::enable_material,
                pg_sys::jit_enabled,
            ])
        }
    }

    unsafe fn write(self) {
        // SAFETY: as above.
        unsafe {
            pg_sys::enable_seqscan = self.0[0];
            pg_sys::enable_bitmapscan = self.0[1];
            pg_sys::enable_sort = self.0[2];
            pg_sys::enable_hashjoin = self.0[3];
            pg_sys::enable_mergejoin = self.0[4];
            pg_sys::enable_material = self.0[5];
            pg_sys::jit_enabled = self.0[6];
        }
    }
}
