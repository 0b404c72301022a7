//! Plans by index, whatever the tables' size.
//!
//! A kept plan may be made when the queue is empty, where reading the whole table is cheapest, and
//! then serve it with a million rows until autovacuum looks. Every statement of the engine is a
//! keyed look-up, so the index is right at any size.
//!
//! Postgres plans a kept statement whenever it finds its plan out of date: after DDL, another role,
//! a changed search_path. A planner hook is the one place that sees all of these. It steers the
//! planner for the engine's own statements, known by where their texts lie in memory, and for no
//! others: what runs below them, a user's trigger for one, is planned as its author expects, and so
//! is a copy of such a statement out of a log.

use std::cell::RefCell;
use std::collections::HashSet;
use std::ffi::{c_char, c_int};

use pgrx::pg_sys;

use super::ereport::{guarded, raise};
use super::ffi::standard_planner;

/// What the text of a statement of the engine starts with, for people who read logs and statistics.
pub(super) const MARK: &str = "/* absurd */ ";

thread_local! {
    /// Where the texts of this backend's kept statements lie.
    static TEXTS: RefCell<HashSet<usize>> = RefCell::default();
}

/// From now on the statement with this text, which Postgres keeps there, is planned as one of ours.
pub(super) fn claim(text: *const c_char) {
    TEXTS.with_borrow_mut(|texts| texts.insert(text.addr()));
}

/// Before the text is freed.
pub(super) fn disclaim(text: *const c_char) {
    TEXTS.with_borrow_mut(|texts| texts.remove(&text.addr()));
}

/// The hooks that were there before ours.
static mut PREVIOUS: pg_sys::planner_hook_type = None;
static mut PREVIOUS_INFO: pg_sys::get_relation_info_hook_type = None;

/// Whether a statement of the engine is being planned.
static mut STEERING: bool = false;

/// Installs the hook; called once when the library is loaded.
pub fn install() {
    // SAFETY: hooks are plain globals that a library sets while it is being loaded.
    unsafe {
        PREVIOUS = pg_sys::planner_hook;
        pg_sys::planner_hook = Some(plan);
        PREVIOUS_INFO = pg_sys::get_relation_info_hook;
        pg_sys::get_relation_info_hook = Some(size);
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
        if !TEXTS.with_borrow(|texts| texts.contains(&text.addr())) {
            return next();
        }
        let (before, outer) = (Switches::read(), STEERING);
        Switches::OFF.write();
        STEERING = true;
        let planned = guarded(next);
        STEERING = outer;
        before.write();
        match planned {
            Ok(planned) => planned,
            Err(error) => raise(error),
        }
    }
}

/// Tells the planner that a table of the engine is large. While it is small, reading all that a run
/// or a queue has of it by the first column of a key looks as cheap as finding each row by the
/// whole key, and the kept plan would go on to do so.
///
/// # Safety
/// Called by Postgres with a relation that it has just looked up for a statement.
unsafe extern "C-unwind" fn size(
    root: *mut pg_sys::PlannerInfo,
    relation: pg_sys::Oid,
    parent: bool,
    info: *mut pg_sys::RelOptInfo,
) {
    const PAGES: pg_sys::BlockNumber = 100_000;
    const ROWS: f64 = 10_000_000.0;
    // SAFETY: hands on what Postgres gave; the list of indexes is the relation's.
    unsafe {
        if let Some(previous) = PREVIOUS_INFO {
            previous(root, relation, parent, info);
        }
        if !STEERING || relation.to_u32() < pg_sys::FirstNormalObjectId {
            return;
        }
        let info = &mut *info;
        info.pages = info.pages.max(PAGES);
        info.tuples = info.tuples.max(ROWS);
        if info.indexlist.is_null() {
            return;
        }
        for i in 0..(*info.indexlist).length as usize {
            let cell = (*info.indexlist).elements.add(i);
            let index: *mut pg_sys::IndexOptInfo = (*cell).ptr_value.cast();
            (*index).pages = (*index).pages.max(PAGES / 4);
            (*index).tuples = (*index).tuples.max(ROWS);
        }
    }
}

/// The planner's switches that decide between an index and everything else. JIT is among them
/// because the cost of a node that is switched off would invite it. Sorting is not: to lock a few
/// rows in an order, the planner would then read the whole index that has it.
#[derive(Clone, Copy)]
struct Switches([bool; 6]);

impl Switches {
    const OFF: Self = Self([false; 6]);

    unsafe fn read() -> Self {
        // SAFETY: plain globals of this single-threaded backend.
        unsafe {
            Self([
                pg_sys::enable_seqscan,
                pg_sys::enable_bitmapscan,
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
            pg_sys::enable_hashjoin = self.0[2];
            pg_sys::enable_mergejoin = self.0[3];
            pg_sys::enable_material = self.0[4];
            pg_sys::jit_enabled = self.0[5];
        }
    }
}
