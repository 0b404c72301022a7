//! Walks through an index that pass over nothing but what is gone for good.
//!
//! A snapshot hides rows that others have inserted and not committed, and shows rows that they have
//! taken and may give back. Who remembers what an index holds must know of both: they are what may
//! change without an index entry being made. So these walks read as the check of a unique index
//! does, with a dirty snapshot, which leaves out only what a committed transaction has removed or
//! an aborted one had inserted.

use std::ptr::addr_of_mut;

use pgrx::pg_sys;

use super::index::{Key, Which};
use super::scan::{FORWARD, count_searched};
use super::table::Table;
use crate::error::Result;
use crate::pg::ereport::guarded;
use crate::pg::ffi;
use crate::pg::session::blocks;

/// A row that a walk came upon, as far as its transactions are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// It is committed, and nobody is at it.
    Settled,
    /// A transaction that has inserted, removed or locked it is still under way.
    UnderWay,
}

impl Table {
    /// Reads the rows that an index has for the keys, in its order, until `visit` says false. False
    /// when the index cannot be relied upon. Rows read so are not to be changed: they may not be
    /// visible.
    ///
    /// # Errors
    /// Those of `visit` and Postgres's own.
    pub fn walk(
        &self,
        which: Which,
        keys: &[Key],
        mut visit: impl FnMut(Found) -> Result<bool>,
    ) -> Result<bool> {
        let Some(index) = self.index(which)? else { return Ok(false) };
        let mut dirty = pg_sys::SnapshotData {
            snapshot_type: pg_sys::SnapshotType::SNAPSHOT_DIRTY,
            ..Default::default()
        };
        let snapshot = addr_of_mut!(dirty);
        // SAFETY: table and index are open, and `dirty` outlives the scan: when something fails,
        // the scan is not used again. The closures' frames are plain.
        unsafe {
            let scan = guarded(|| self.begin_scan(index, keys, snapshot))?;
            loop {
                let before = blocks();
                let found = guarded(|| {
                    ffi::index_getnext_slot(scan, FORWARD, self.row)
                        .then(|| self.standing(&*snapshot))
                });
                count_searched(blocks() - before);
                self.is_fresh.set(false);
                match found? {
                    Some(found) if visit(found)? => {}
                    _ => break,
                }
            }
            guarded(|| ffi::index_endscan(scan))?;
        }
        Ok(true)
    }

    /// What the search that read the row last has found of its transactions.
    unsafe fn standing(&self, dirty: &pg_sys::SnapshotData) -> Found {
        // SAFETY: runs under `guarded`; the table is a heap, so its slot holds a heap tuple.
        unsafe {
            if dirty.xmin != pg_sys::InvalidTransactionId
                || dirty.xmax != pg_sys::InvalidTransactionId
            {
                return Found::UnderWay;
            }
            let tuple = (*self.row.cast::<pg_sys::HeapTupleTableSlot>()).tuple;
            let buffer = (*self.row.cast::<pg_sys::BufferHeapTupleTableSlot>()).buffer;
            // Both belong together: others change them under the page's lock.
            ffi::LockBuffer(buffer, pg_sys::BUFFER_LOCK_SHARE as i32);
            let header = &*(*tuple).t_data;
            let (mask, xmax) = (header.t_infomask, header.t_choice.t_heap.t_xmax);
            ffi::LockBuffer(buffer, pg_sys::BUFFER_LOCK_UNLOCK as i32);
            let has = |bit: u32| u32::from(mask) & bit != 0;
            let is_held = !has(pg_sys::HEAP_XMAX_INVALID)
                && match has(pg_sys::HEAP_XMAX_IS_MULTI) {
                    true => ffi::MultiXactIdIsRunning(xmax, has(pg_sys::HEAP_XMAX_LOCK_ONLY)),
                    false => ffi::TransactionIdIsInProgress(xmax),
                };
            if is_held { Found::UnderWay } else { Found::Settled }
        }
    }
}
