//! What a statement returned.

use pgrx::pg_sys;

use super::value::Column;
use crate::error::{Error, Result};

// Reading a column of a formed tuple raises nothing of a user's making; pgrx's guard around each
// read would cost more than the read.
unsafe extern "C-unwind" {
    fn SPI_getbinval(
        tuple: pg_sys::HeapTuple,
        desc: pg_sys::TupleDesc,
        number: std::ffi::c_int,
        null: *mut bool,
    ) -> pg_sys::Datum;
}

/// The rows of one execution. They live until the session's call ends.
#[derive(Clone, Copy)]
pub struct Rows {
    table: *mut pg_sys::SPITupleTable,
    len: usize,
}

impl Rows {
    pub(super) fn new(table: *mut pg_sys::SPITupleTable, processed: u64) -> Self {
        let len = if table.is_null() { 0 } else { processed as usize };
        Self { table, len }
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn len(&self) -> usize {
        self.len
    }

    /// The row of a statement that always returns one.
    pub fn only(self) -> Result<Row> {
        self.first().ok_or_else(|| Error::Corrupt {
            what: "a statement of the engine has returned no row".to_owned(),
        })
    }

    pub fn first(self) -> Option<Row> {
        self.into_iter().next()
    }
}

impl IntoIterator for Rows {
    type Item = Row;
    type IntoIter = RowIter;

    fn into_iter(self) -> RowIter {
        RowIter { rows: self, next: 0 }
    }
}

pub struct RowIter {
    rows: Rows,
    next: usize,
}

impl Iterator for RowIter {
    type Item = Row;

    fn next(&mut self) -> Option<Row> {
        if self.next == self.rows.len {
            return None;
        }
        // SAFETY: `next` is below the number of tuples in the table.
        let row = unsafe {
            Row { tuple: *(*self.rows.table).vals.add(self.next), desc: (*self.rows.table).tupdesc }
        };
        self.next += 1;
        Some(row)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.rows.len - self.next;
        (left, Some(left))
    }
}

/// One row. Columns count from 0.
#[derive(Clone, Copy)]
pub struct Row {
    tuple: pg_sys::HeapTuple,
    desc: pg_sys::TupleDesc,
}

impl Row {
    /// The column's value, none when it is NULL.
    pub fn get<T: Column>(&self, column: usize) -> Result<Option<T>> {
        let mut null = false;
        // SAFETY: tuple and descriptor are of one result; an unknown number reads as NULL. The
        // statement beside the caller says which type the column has.
        unsafe {
            let datum = SPI_getbinval(self.tuple, self.desc, column as i32 + 1, &mut null);
            Ok(if null { None } else { T::read(datum) })
        }
    }

    /// The column's value, where the schema says that it is never NULL.
    pub fn need<T: Column>(&self, column: usize) -> Result<T> {
        self.get(column)?.ok_or_else(|| Error::Corrupt {
            what: format!("column {} of an engine statement is unexpectedly null", column + 1),
        })
    }
}
