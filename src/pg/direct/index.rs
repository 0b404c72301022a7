//! Indexes and the keys that they are searched by.

use pgrx::pg_sys;

use super::table::Table;
use crate::error::Result;
use crate::pg::ereport::guarded;
use crate::pg::value::SqlType;
use crate::pg::{Timestamp, catalog, ffi, major};

/// An index of a table.
#[derive(Clone, Copy)]
pub enum Which {
    /// The one that the layout describes.
    PrimaryKey,
    /// By what `pg_get_indexdef` says after `USING`. Names decide nothing: an index of the same
    /// name may be another, of which a row may be missing, and those of partitions have names of
    /// Postgres's making.
    Like(&'static str),
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

    /// As [`Key::upto_in_utc`], or after it.
    pub fn from_in_utc(column: i16, at: Timestamp) -> Self {
        let strategy = pg_sys::BTGreaterEqualStrategyNumber as u16;
        Self { column, strategy, procedure: pg_sys::F_TIMESTAMP_GE, value: at.datum() }
    }

    comparison! {
        /// The column is the value.
        is(BTEqualStrategyNumber) {
            UUIDOID => F_UUID_EQ, INT2OID => F_INT2EQ, INT4OID => F_INT4EQ, TEXTOID => F_TEXTEQ,
            TIMESTAMPTZOID => F_TIMESTAMPTZ_EQ
        }
        /// The column is the value or below it.
        upto(BTLessEqualStrategyNumber) { TIMESTAMPTZOID => F_TIMESTAMPTZ_LE }
        /// The column is below the value.
        below(BTLessStrategyNumber) {
            INT2OID => F_INT2LT, TIMESTAMPTZOID => F_TIMESTAMPTZ_LT
        }
        /// The column is above the value.
        above(BTGreaterStrategyNumber) { INT2OID => F_INT2GT }
        /// The column is the value or above it.
        from(BTGreaterEqualStrategyNumber) { TIMESTAMPTZOID => F_TIMESTAMPTZ_GE }
    }
}

impl Table {
    /// An index of the table; none when there is no such index or it cannot be relied upon.
    pub(super) fn index(&self, which: Which) -> Result<Option<pg_sys::Relation>> {
        let definition = match which {
            Which::PrimaryKey => self.layout.key,
            Which::Like(definition) => definition,
        };
        let is_it = |(known, _): &&(*const u8, _)| std::ptr::eq(*known, definition.as_ptr());
        if let Some((_, open)) = self.indexes.borrow().iter().find(is_it) {
            return Ok(Some(*open));
        }
        if let Some(id) = self.known.index(definition) {
            return self.open_index(id, definition);
        }
        let candidates = match which {
            Which::PrimaryKey => self.primary_key()?.into_iter().collect(),
            Which::Like(_) => self.index_ids()?,
        };
        for id in candidates {
            if catalog::index_is(id, definition)?
                && let Some(index) = self.open_index(id, definition)?
            {
                self.known.note_index(definition, id);
                return Ok(Some(index));
            }
        }
        Ok(None)
    }

    /// Whether the table has an index that can be relied upon.
    ///
    /// # Errors
    /// Postgres's own.
    pub fn has(&self, which: Which) -> Result<bool> {
        self.index(which).map(|index| index.is_some())
    }

    /// The table's indexes, oldest first.
    fn index_ids(&self) -> Result<Vec<pg_sys::Oid>> {
        // SAFETY: an open table, and a list of ids in the call's memory; the closure's frame is
        // plain.
        unsafe {
            let list = guarded(|| ffi::RelationGetIndexList(self.relation))?;
            let Some(list) = list.as_ref() else { return Ok(Vec::new()) };
            let cells = std::slice::from_raw_parts(list.elements, list.length as usize);
            Ok(cells.iter().map(|cell| cell.oid_value).collect())
        }
    }

    fn primary_key(&self) -> Result<Option<pg_sys::Oid>> {
        // SAFETY: an open table; the closure's frame is plain.
        let id = unsafe { guarded(|| major::primary_key(self.relation))? };
        Ok((id != pg_sys::InvalidOid).then_some(id))
    }

    /// Opens an index; none when it is not of this table or not to be used.
    fn open_index(
        &self,
        id: pg_sys::Oid,
        definition: &'static str,
    ) -> Result<Option<pg_sys::Relation>> {
        let (table, lock) = (self.relation, self.lock);
        // SAFETY: closed with the table; the closure's frame is plain.
        let index = unsafe {
            guarded(|| {
                let index = ffi::try_relation_open(id, lock);
                if index.is_null() {
                    return index;
                }
                let row = (*index).rd_index;
                let is_usable = !row.is_null()
                    && (*row).indrelid == (*table).rd_id
                    && (*row).indisvalid
                    && (*row).indisready
                    && !(*row).indcheckxmin;
                if is_usable {
                    return index;
                }
                ffi::relation_close(index, pg_sys::NoLock as i32);
                std::ptr::null_mut()
            })?
        };
        if index.is_null() {
            return Ok(None);
        }
        self.indexes.borrow_mut().push((definition.as_ptr(), index));
        Ok(Some(index))
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
