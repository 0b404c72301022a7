//! Finding rows by an index.

use std::cell::Cell;
use std::ptr::null_mut;

use pgrx::pg_sys;

use super::index::{Key, Which, scan_keys};
use super::table::Table;
use crate::error::Result;
use crate::pg::ereport::guarded;
use crate::pg::session::blocks;
use crate::pg::{Session, ffi, major};

/// The most conditions that a search has.
const KEYS: usize = 3;

pub(super) const FORWARD: pg_sys::ScanDirection::Type = pg_sys::ScanDirection::ForwardScanDirection;

/// A search through an index. It ends with the call or by [`Scan::end`].
pub struct Scan<'t> {
    table: &'t Table,
    scan: pg_sys::IndexScanDesc,
}

thread_local! {
    static SEARCHED: Cell<i64> = const { Cell::new(0) };
}

pub(super) fn count_searched(blocks: i64) {
    SEARCHED.set(SEARCHED.get() + blocks);
}

impl Session {
    /// Blocks that the backend's direct searches have looked at since it began.
    pub fn blocks_searched(&self) -> i64 {
        SEARCHED.get()
    }
}

impl Table {
    /// Begins a search; none when the index cannot be relied upon.
    ///
    /// # Errors
    /// Postgres's own.
    pub fn scan(&self, which: Which, keys: &[Key]) -> Result<Option<Scan<'_>>> {
        let Some(index) = self.index(which)? else { return Ok(None) };
        // SAFETY: table and index are open and a snapshot is active. The closure's frame is plain.
        let scan = unsafe { guarded(|| self.begin_scan(index, keys, ffi::GetActiveSnapshot()))? };
        Ok(Some(Scan { table: self, scan }))
    }

    pub(super) unsafe fn begin_scan(
        &self,
        index: pg_sys::Relation,
        keys: &[Key],
        snapshot: pg_sys::Snapshot,
    ) -> pg_sys::IndexScanDesc {
        let count = keys.len().min(KEYS);
        let mut space = [pg_sys::ScanKeyData::default(); KEYS];
        // SAFETY: runs under `guarded`; the scan copies the keys.
        unsafe {
            scan_keys(index, keys, &mut space);
            let scan = major::begin_scan(self.relation, index, snapshot, count as i32);
            ffi::index_rescan(scan, space.as_mut_ptr(), count as i32, null_mut(), 0);
            scan
        }
    }

    /// Reads the first row that an index has for the keys; none when the index cannot be relied
    /// upon.
    ///
    /// # Errors
    /// Postgres's own.
    pub fn first(&self, which: Which, keys: &[Key]) -> Result<Option<bool>> {
        let Some(index) = self.index(which)? else { return Ok(None) };
        let before = blocks();
        // SAFETY: as in `scan`.
        let found = unsafe {
            guarded(|| {
                let scan = self.begin_scan(index, keys, ffi::GetActiveSnapshot());
                let found = ffi::index_getnext_slot(scan, FORWARD, self.row);
                ffi::index_endscan(scan);
                found
            })?
        };
        count_searched(blocks() - before);
        self.is_fresh.set(found);
        Ok(Some(found))
    }

    /// Reads the row with a key; none when the index cannot be relied upon.
    ///
    /// # Errors
    /// Postgres's own.
    pub fn find(&self, keys: &[Key]) -> Result<Option<bool>> {
        self.first(Which::PrimaryKey, keys)
    }
}

impl Scan<'_> {
    /// Reads the next row into the table's place for it; false at the end.
    ///
    /// # Errors
    /// Postgres's own.
    pub fn next(&self) -> Result<bool> {
        let before = blocks();
        // SAFETY: the scan is open; the closure's frame is plain.
        let found =
            unsafe { guarded(|| ffi::index_getnext_slot(self.scan, FORWARD, self.table.row)) };
        count_searched(blocks() - before);
        self.table.is_fresh.set(matches!(found, Ok(true)));
        found
    }

    /// Ends the search; the row that was read last stays.
    ///
    /// # Errors
    /// Postgres's own.
    pub fn end(self) -> Result<()> {
        // SAFETY: the scan is open and not used again.
        unsafe { guarded(|| ffi::index_endscan(self.scan)) }
    }
}
