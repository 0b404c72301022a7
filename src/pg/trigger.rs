//! Rows as a trigger sees them.

use pgrx::heap_tuple::PgHeapTuple;
use pgrx::{AllocatedByRust, IntoDatum, PgTrigger, pg_sys};

use super::value::Column;
use crate::error::{Error, Result};

/// Which version of a row.
#[derive(Clone, Copy)]
pub enum Version {
    Old,
    New,
}

/// The row that a trigger was fired for.
pub struct Fired<'a> {
    trigger: &'a PgTrigger<'a>,
}

impl<'a> Fired<'a> {
    pub fn new(trigger: &'a PgTrigger<'a>) -> Self {
        Self { trigger }
    }

    /// The first argument that the trigger was created with.
    pub fn argument(&self) -> Result<Option<String>> {
        let arguments = self.trigger.extra_args().map_err(|error| Error::Corrupt {
            what: format!("a trigger's arguments cannot be read: {error}"),
        })?;
        Ok(arguments.into_iter().next())
    }

    /// Whether the row is being inserted, not updated.
    pub fn is_insert(&self) -> bool {
        self.trigger.event().fired_by_insert()
    }

    /// A column of the row, before the update or as it is to be stored.
    pub fn get<T: Column>(&self, version: Version, column: &str) -> Result<Option<T>> {
        let data = self.trigger.trigger_data();
        match version {
            Version::New if !self.is_insert() => self.read(data.tg_newtuple, column),
            _ => self.read(data.tg_trigtuple, column),
        }
    }

    /// The row as it is to be stored, for changing it.
    pub fn into_new(self) -> Result<PgHeapTuple<'a, AllocatedByRust>> {
        match self.trigger.new() {
            Some(row) => Ok(row.into_owned()),
            None => Err(Error::Corrupt { what: "trigger fired without a row".to_owned() }),
        }
    }

    fn read<T: Column>(
        &self,
        tuple: *mut pg_sys::HeapTupleData,
        column: &str,
    ) -> Result<Option<T>> {
        // SAFETY: the tuple is one of the two that the executor gave the trigger, described by the
        // relation's descriptor; the column's type is the table's.
        unsafe {
            let relation = self.trigger.trigger_data().tg_relation;
            let desc = (*relation).rd_att;
            let name = std::ffi::CString::new(column).unwrap_or_default();
            let number = pg_sys::SPI_fnumber(desc, name.as_ptr());
            if number <= 0 || tuple.is_null() {
                return Err(Error::Corrupt {
                    what: format!("table has no column \"{column}\" that its trigger needs"),
                });
            }
            let mut null = false;
            let datum = pg_sys::SPI_getbinval(tuple, desc, number, &mut null);
            Ok(if null { None } else { T::read(datum) })
        }
    }
}

/// Sets a column of a row.
pub fn set<T: IntoDatum>(
    row: &mut PgHeapTuple<'_, AllocatedByRust>,
    column: &str,
    value: T,
) -> Result<()> {
    row.set_by_name(column, value).map_err(|error| Error::Corrupt { what: error.to_string() })
}

/// The role that the session acts as, not the owner of a SECURITY DEFINER function on the way.
pub fn acting_role() -> String {
    // SAFETY: the name of a role that exists while its session does, or null.
    unsafe {
        let name = pg_sys::GetUserNameFromId(pg_sys::GetOuterUserId(), true);
        if name.is_null() {
            String::new()
        } else {
            std::ffi::CStr::from_ptr(name).to_string_lossy().into_owned()
        }
    }
}
