//! Indexes and the keys that they are searched by.

use std::ffi::{CStr, CString};

use pgrx::pg_sys;

use super::ffi;
use super::table::Table;
use crate::error::Result;
use crate::pg::ereport::guarded;
use crate::pg::value::SqlType;
use crate::pg::{Timestamp, catalog};

/// An index of a table.
#[derive(Clone, Copy)]
pub enum Which<'a> {
    /// The one that the layout describes.
    PrimaryKey,
    /// By its name, with what `pg_get_indexdef` says after `USING`: an index of the same name may be
    /// another, and a row that it does not have would not be found.
    Named(&'a CStr, &'static str),
}

/// A condition on a column of an index, by its number from 1.
pub struct Key {
    column: i16,
    strategy: u16,
    procedure: u32,
    value: pg_sys::Datum,
}

macro_rules! comparison {
    ($($(#[$doc:meta])* $name:ident($strategy:ident) { $($oid:ident => $procedure:ident),* })*) => {
        $($(#[$doc])*
        pub fn $name<T: SqlType>(column: i16, value: T) -> Self {
            let procedure = match T::OID {
                $(pg_sys::$oid => pg_sys::$procedure,)*
                _ => 0,
            };
            Self { column, strategy: pg_sys::$strategy as u16, procedure, value: value.datum() }
        })*
    };
}

impl Key {
    /// A column without time zone, in UTC, is the instant or before it.
    pub fn upto_in_utc(column: i16, at: Timestamp) -> Self {
        let strategy = pg_sys::BTLessEqualStrategyNumber as u16;
        Self { column, strategy, procedure: pg_sys::F_TIMESTAMP_LE, value: at.datum() }
    }

    comparison! {
        /// The column is the value.
        is(BTEqualStrategyNumber) {
            UUIDOID => F_UUID_EQ, INT2OID => F_INT2EQ, INT4OID => F_INT4EQ, TEXTOID => F_TEXTEQ
        }
        /// The column is the value or below it.
        upto(BTLessEqualStrategyNumber) { TIMESTAMPTZOID => F_TIMESTAMPTZ_LE }
        /// The column is below the value.
        below(BTLessStrategyNumber) {
            INT2OID => F_INT2LT, TIMESTAMPTZOID => F_TIMESTAMPTZ_LT
        }
        /// The column is the value or above it.
        from(BTGreaterEqualStrategyNumber) { TIMESTAMPTZOID => F_TIMESTAMPTZ_GE }
    }
}

impl Table {
    /// An index of the table; none when there is no such index or it cannot be relied upon.
    pub(super) fn index(&self, which: Which) -> Result<Option<pg_sys::Relation>> {
        let found = match (which, self.state.is_null()) {
            (which, false) => self.index_of_target(which),
            (Which::PrimaryKey, true) => self.primary_key()?,
            (Which::Named(name, _), true) => self.index_by_name(name)?,
        };
        let Some(index) = found else { return Ok(None) };
        // SAFETY: an open index's row of pg_index.
        let (id, is_usable) = unsafe {
            let row = &*(*index).rd_index;
            ((*index).rd_id, row.indisvalid && row.indisready && !row.indcheckxmin)
        };
        let is_it = match which {
            Which::PrimaryKey => catalog::index_is(id, self.key)?,
            Which::Named(_, definition) => catalog::index_is(id, definition)?,
        };
        Ok((is_usable && is_it).then_some(index))
    }

    /// Whether the table has an index that can be relied upon.
    ///
    /// # Errors
    /// Postgres's own.
    pub fn has(&self, which: Which) -> Result<bool> {
        self.index(which).map(|index| index.is_some())
    }

    /// Among the indexes that are open for writing.
    fn index_of_target(&self, which: Which) -> Option<pg_sys::Relation> {
        // SAFETY: as many open indexes as are counted.
        unsafe {
            (0..(*self.target).ri_NumIndices as usize)
                .map(|i| *(*self.target).ri_IndexRelationDescs.add(i))
                .find(|index| match which {
                    Which::PrimaryKey => (*(**index).rd_index).indisprimary,
                    Which::Named(name, _) => {
                        CStr::from_ptr((*(**index).rd_rel).relname.data.as_ptr()) == name
                    }
                })
        }
    }

    fn primary_key(&self) -> Result<Option<pg_sys::Relation>> {
        unsafe extern "C-unwind" {
            fn RelationGetPrimaryKeyIndex(relation: pg_sys::Relation) -> pg_sys::Oid;
        }
        // SAFETY: an open table; the closure's frame is plain.
        let id = unsafe { guarded(|| RelationGetPrimaryKeyIndex(self.relation))? };
        self.open_index(c"", id)
    }

    fn index_by_name(&self, name: &CStr) -> Result<Option<pg_sys::Relation>> {
        let Some(id) = catalog::id(&name.to_string_lossy())? else { return Ok(None) };
        self.open_index(name, id)
    }

    fn open_index(&self, name: &CStr, id: pg_sys::Oid) -> Result<Option<pg_sys::Relation>> {
        let known =
            self.indexes.borrow().iter().find(|(held, _)| held.as_c_str() == name).map(|(_, i)| *i);
        if known.is_some() || id == pg_sys::InvalidOid {
            return Ok(known);
        }
        // SAFETY: closed with the table; the closures' frames are plain.
        unsafe {
            let index = guarded(|| ffi::try_relation_open(id, pg_sys::AccessShareLock as i32))?;
            if index.is_null() {
                return Ok(None);
            }
            let row = (*index).rd_index;
            if row.is_null() || (*row).indrelid != (*self.relation).rd_id {
                guarded(|| ffi::relation_close(index, pg_sys::NoLock as i32))?;
                return Ok(None);
            }
            self.indexes.borrow_mut().push((CString::from(name), index));
            Ok(Some(index))
        }
    }
}

/// Postgres's form of the keys.
pub(super) unsafe fn scan_keys(
    index: pg_sys::Relation,
    keys: &[Key],
    into: &mut [pg_sys::ScanKeyData],
) {
    for (key, into) in keys.iter().zip(into) {
        // SAFETY: runs under `guarded`; an index has a collation for each of its columns.
        unsafe {
            let collation = *(*index).rd_indcollation.add(key.column as usize - 1);
            ffi::ScanKeyEntryInitialize(
                into,
                0,
                key.column,
                key.strategy,
                pg_sys::InvalidOid,
                collation,
                pg_sys::Oid::from(key.procedure),
                key.value,
            );
        }
    }
}
