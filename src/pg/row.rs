//! What a statement returned.

use std::ffi::CStr;

use pgrx::pg_sys;

use super::ffi::SPI_getbinval;
use super::major;
use super::value::Column;
use crate::error::{Error, Result};

// Reading a column of a formed tuple raises nothing of a user's making; pgrx's guard around each
// read would cost more than the read.
/// The rows of one execution. They live until the session's call ends.
#[derive(Clone, Copy)]
pub struct Rows {
    table: *mut pg_sys::SPITupleTable,
    len: usize,
    processed: usize,
}

impl Rows {
    pub(super) fn new(table: *mut pg_sys::SPITupleTable, processed: u64) -> Self {
        let processed = processed as usize;
        let len = if table.is_null() { 0 } else { processed };
        Self { table, len, processed }
    }

    /// How many rows the statement itself has read or changed, whether it returns them or not.
    pub fn processed(&self) -> usize {
        self.processed
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
    ///
    /// # Errors
    /// 55000 when the column has another type than the one that it is read as.
    pub fn get<T: Column>(&self, column: usize) -> Result<Option<T>> {
        let mut null = false;
        // SAFETY: tuple and descriptor are of one result, and the column has the type that is read.
        unsafe {
            let columns = major::columns(self.desc);
            check_type::<T>(columns.get(column), "result of an engine statement")?;
            let datum = SPI_getbinval(self.tuple, self.desc, column as i32 + 1, &mut null);
            Ok(if null { None } else { T::read(datum) })
        }
    }

    /// As [`Row::get`], where the schema says that it is never NULL.
    pub fn need<T: Column>(&self, column: usize) -> Result<T> {
        self.get(column)?.ok_or_else(|| Error::Corrupt {
            what: format!("column {} of an engine statement is unexpectedly null", column + 1),
        })
    }
}

/// Checks that a column can be read as a type of ours: a value is never taken for another type than
/// the catalogue's. Of a composite value it is asked no more than that: it says itself what it
/// consists of.
///
/// # Errors
/// 55000 naming the column.
pub(super) unsafe fn check_type<T: Column>(
    column: Option<&pg_sys::FormData_pg_attribute>,
    of: &str,
) -> Result<()> {
    let is_it = |column: &pg_sys::FormData_pg_attribute| {
        column.atttypid == T::OID || T::OID == pg_sys::RECORDOID
    };
    match column {
        Some(column) if is_it(column) => Ok(()),
        // SAFETY: a column's name is a C string.
        Some(column) => Err(Error::ColumnType {
            table: of.to_owned(),
            column: unsafe { CStr::from_ptr(column.attname.data.as_ptr()) }
                .to_string_lossy()
                .into_owned(),
        }),
        None => Err(Error::Corrupt { what: format!("{of} has too few columns") }),
    }
}
