//! What majors of Postgres do in different ways.

use std::ffi::c_int;
use std::ptr::null_mut;

use pgrx::pg_sys;

use super::ffi;

/// The columns of a row's type.
///
/// # Safety
/// The descriptor is whole, and outlives what is returned.
pub unsafe fn columns<'a>(descriptor: pg_sys::TupleDesc) -> &'a [pg_sys::FormData_pg_attribute] {
    // SAFETY: as above.
    unsafe {
        let count = (*descriptor).natts as usize;
        #[cfg(not(feature = "pg18"))]
        return (*descriptor).attrs.as_slice(count);
        // From 18 on they stand behind a shorter form of themselves.
        #[cfg(feature = "pg18")]
        {
            let short = (*descriptor).compact_attrs.as_ptr();
            std::slice::from_raw_parts(short.add(count).cast(), count)
        }
    }
}

/// What a statement would change of a table: its entry in the range table, and which columns.
#[derive(Clone, Copy)]
pub struct Changed {
    #[cfg(feature = "pg15")]
    entry: *mut pg_sys::RangeTblEntry,
    #[cfg(not(feature = "pg15"))]
    entry: *mut pg_sys::RTEPermissionInfo,
}

impl Changed {
    /// Which columns are changed, as the executor asks for them.
    ///
    /// # Safety
    /// The executor's state for which it was made is still there.
    pub unsafe fn columns<'a>(self) -> &'a mut *mut pg_sys::Bitmapset {
        // SAFETY: as above.
        unsafe { &mut (*self.entry).updatedCols }
    }
}

/// Makes a table the only one of an executor's state.
///
/// # Safety
/// Runs under `guarded`, in the state's memory.
pub unsafe fn begin(state: *mut pg_sys::EState, relation: pg_sys::Relation) -> Changed {
    // SAFETY: as above; Postgres makes nodes of zeros, too.
    unsafe {
        let range: *mut pg_sys::RangeTblEntry =
            ffi::palloc0(size_of::<pg_sys::RangeTblEntry>()).cast();
        (*range).type_ = pg_sys::NodeTag::T_RangeTblEntry;
        (*range).rtekind = pg_sys::RTEKind::RTE_RELATION;
        (*range).relid = (*relation).rd_id;
        (*range).relkind = (*(*relation).rd_rel).relkind;
        (*range).rellockmode = pg_sys::RowExclusiveLock as c_int;
        let ranges = list(range.cast());
        #[cfg(feature = "pg15")]
        {
            ffi::ExecInitRangeTable(state, ranges);
            Changed { entry: range }
        }
        #[cfg(not(feature = "pg15"))]
        {
            let entry: *mut pg_sys::RTEPermissionInfo =
                ffi::palloc0(size_of::<pg_sys::RTEPermissionInfo>()).cast();
            (*entry).type_ = pg_sys::NodeTag::T_RTEPermissionInfo;
            (*entry).relid = (*relation).rd_id;
            (*range).perminfoindex = 1;
            #[cfg(any(feature = "pg16", feature = "pg17"))]
            ffi::ExecInitRangeTable(state, ranges, list(entry.cast()));
            #[cfg(feature = "pg18")]
            ffi::ExecInitRangeTable(state, ranges, list(entry.cast()), ffi::bms_make_singleton(1));
            Changed { entry }
        }
    }
}

/// # Safety
/// Runs under `guarded`.
unsafe fn list(of: *mut std::ffi::c_void) -> *mut pg_sys::List {
    // SAFETY: as above.
    unsafe { ffi::list_make1_impl(pg_sys::NodeTag::T_List, pg_sys::ListCell { ptr_value: of }) }
}

/// Prepares the executor for rows that have changed meanwhile.
///
/// # Safety
/// Runs under `guarded`; `recheck` is zeros.
pub unsafe fn begin_recheck(recheck: *mut pg_sys::EPQState, state: *mut pg_sys::EState) {
    // SAFETY: as above.
    unsafe {
        #[cfg(feature = "pg15")]
        ffi::EvalPlanQualInit(recheck, state, null_mut(), null_mut(), -1);
        #[cfg(not(feature = "pg15"))]
        ffi::EvalPlanQualInit(recheck, state, null_mut(), null_mut(), -1, null_mut());
    }
}

/// Begins a scan of an index with so many keys.
///
/// # Safety
/// Runs under `guarded`, with both open and locked.
pub unsafe fn begin_scan(
    table: pg_sys::Relation,
    index: pg_sys::Relation,
    snapshot: pg_sys::Snapshot,
    keys: c_int,
) -> pg_sys::IndexScanDesc {
    // SAFETY: as above.
    unsafe {
        #[cfg(not(feature = "pg18"))]
        return ffi::index_beginscan(table, index, snapshot, keys, 0);
        #[cfg(feature = "pg18")]
        return ffi::index_beginscan(table, index, snapshot, null_mut(), keys, 0);
    }
}

/// The index of a table's primary key, none when it has none.
///
/// # Safety
/// Runs under `guarded`, with the table open.
pub unsafe fn primary_key(table: pg_sys::Relation) -> pg_sys::Oid {
    // SAFETY: as above.
    unsafe {
        #[cfg(not(feature = "pg18"))]
        return ffi::RelationGetPrimaryKeyIndex(table);
        #[cfg(feature = "pg18")]
        return ffi::RelationGetPrimaryKeyIndex(table, false);
    }
}

/// Whether this backend holds a lock in this mode.
///
/// # Safety
/// None: it looks into this backend's own table of locks.
pub unsafe fn holds(tag: &pg_sys::LOCKTAG, mode: c_int) -> bool {
    // SAFETY: as above.
    unsafe {
        #[cfg(any(feature = "pg15", feature = "pg16"))]
        return ffi::LockHeldByMe(tag, mode);
        #[cfg(not(any(feature = "pg15", feature = "pg16")))]
        return ffi::LockHeldByMe(tag, mode, false);
    }
}
