//! The tables that hold the rows of a partitioned one, for reading all of it by their indexes.

use std::rc::Rc;

use pgrx::pg_sys;

use super::table::{Access, Layout, Table};
use crate::error::Result;
use crate::pg::ereport::guarded;
use crate::pg::{Session, catalog, ffi, shape};

/// Tables with their names, or what tells them apart.
pub type Parts = Vec<(String, Rc<Table>)>;

/// How often the partitions are opened, when meanwhile there are others.
const TRIES: usize = 3;

impl Session {
    /// The tables that hold the rows of a table of schema `absurd`, for reading, by their names:
    /// its partitions, or itself where it has none. None when statements must be used.
    ///
    /// # Errors
    /// Postgres's own.
    pub fn parts(&self, name: &str, layout: &'static Layout) -> Result<Option<Parts>> {
        if catalog::kind(name)? != Some(catalog::PARTITIONED) {
            let table = self.table(name, layout, Access::Read)?;
            return Ok(table.map(|table| vec![(name.to_owned(), table)]));
        }
        if self.why_not().is_some() {
            return Ok(None);
        }
        for _ in 0..TRIES {
            let Some(ids) = partitions(name)? else { return Ok(None) };
            let Some(parts) = self.open_parts(&ids, layout)? else { return Ok(None) };
            // Opening them may have waited for somebody who has moved rows to one that is new.
            if partitions(name)?.is_some_and(|now| now == ids) {
                return Ok(Some(parts));
            }
        }
        Ok(None)
    }

    fn open_parts(&self, ids: &[pg_sys::Oid], layout: &'static Layout) -> Result<Option<Parts>> {
        let mut parts = Vec::with_capacity(ids.len());
        for &id in ids {
            // One that lies in another schema is not found by its name, or is another.
            let Some(name) = catalog::name(id)? else { return Ok(None) };
            match self.table(&name, layout, Access::ReadPart)? {
                Some(part) if part.known.id == id => parts.push((name, part)),
                _ => return Ok(None),
            }
        }
        Ok(Some(parts))
    }
}

/// How many partitions a table of schema `absurd` has; none when there is no such table, or it has
/// no partitions to begin with.
///
/// # Errors
/// Postgres's own.
pub fn count(whole: &str) -> Result<Option<usize>> {
    let Some(id) = catalog::id(whole)? else { return Ok(None) };
    let lock = pg_sys::AccessShareLock as i32;
    // SAFETY: the table stays open while its descriptor is read; the closures' frames are plain.
    unsafe {
        let table = guarded(|| ffi::try_table_open(id, lock))?;
        if table.is_null() {
            return Ok(None);
        }
        let is_whole = (*(*table).rd_rel).relkind as u8 == catalog::PARTITIONED;
        let parts = guarded(|| match is_whole {
            true => ffi::RelationGetPartitionDesc(table, true),
            false => std::ptr::null_mut(),
        })?;
        let count = parts.as_ref().map(|parts| parts.nparts as usize);
        guarded(|| ffi::table_close(table, pg_sys::NoLock as i32))?;
        Ok(count)
    }
}

/// The partitions of a table whose rows the current role may read; none when it may not, or when
/// only a statement knows what it is to see of them.
fn partitions(whole: &str) -> Result<Option<Vec<pg_sys::Oid>>> {
    let Some(id) = catalog::id(whole)? else { return Ok(None) };
    if !catalog::has_rights(whole, &[catalog::SELECT])? {
        return Ok(None);
    }
    let lock = pg_sys::AccessShareLock as i32;
    // SAFETY: the table stays open while its descriptors are read; the closures' frames are plain.
    unsafe {
        let table = guarded(|| ffi::try_table_open(id, lock))?;
        if table.is_null() {
            return Ok(None);
        }
        let row = &*(*table).rd_rel;
        let is_trusted = shape::is_trusted(row.relowner)?;
        let parts = guarded(|| {
            let is_plain = row.relkind as u8 == catalog::PARTITIONED
                && is_trusted
                && !row.relhasrules
                && !row.relrowsecurity;
            match is_plain {
                true => ffi::RelationGetPartitionDesc(table, true),
                false => std::ptr::null_mut(),
            }
        })?;
        let ids = parts.as_ref().and_then(|parts| {
            let count = parts.nparts as usize;
            if count == 0 {
                return Some(Vec::new());
            }
            let is_leaf = std::slice::from_raw_parts(parts.is_leaf, count);
            is_leaf
                .iter()
                .all(|is_leaf| *is_leaf)
                .then(|| std::slice::from_raw_parts(parts.oids, count).to_vec())
        });
        guarded(|| ffi::table_close(table, pg_sys::NoLock as i32))?;
        Ok(ids)
    }
}
