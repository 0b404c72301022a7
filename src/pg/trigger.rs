//! Rows as a trigger sees them.

use std::ffi::CStr;

use pgrx::heap_tuple::PgHeapTuple;
use pgrx::{AllocatedByRust, IntoDatum, PgTrigger, pg_sys};

use super::major;
use super::row::check_type;
use super::value::Column;
use super::{catalog, shape};
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

/// When a trigger fires: the bits of the event that Postgres calls it with.
#[derive(Clone, Copy)]
pub struct When(u32);

impl When {
    pub const BEFORE_INSERT: Self = Self(
        pg_sys::TRIGGER_EVENT_BEFORE | pg_sys::TRIGGER_EVENT_ROW | pg_sys::TRIGGER_EVENT_INSERT,
    );
    pub const BEFORE_UPDATE: Self = Self(
        pg_sys::TRIGGER_EVENT_BEFORE | pg_sys::TRIGGER_EVENT_ROW | pg_sys::TRIGGER_EVENT_UPDATE,
    );
    pub const AFTER_UPDATE: Self = Self(pg_sys::TRIGGER_EVENT_ROW | pg_sys::TRIGGER_EVENT_UPDATE);
    pub const AFTER_DELETE: Self = Self(pg_sys::TRIGGER_EVENT_ROW | pg_sys::TRIGGER_EVENT_DELETE);
    pub const AFTER_UPDATE_STATEMENT: Self = Self(pg_sys::TRIGGER_EVENT_UPDATE);
    pub const AFTER_DELETE_STATEMENT: Self = Self(pg_sys::TRIGGER_EVENT_DELETE);

    fn is(self, event: u32) -> bool {
        let asked = pg_sys::TRIGGER_EVENT_OPMASK
            | pg_sys::TRIGGER_EVENT_ROW
            | pg_sys::TRIGGER_EVENT_TIMINGMASK;
        event & asked == self.0
    }
}

impl<'a> Fired<'a> {
    /// Of a table of the extension's own, at one of the events that the trigger was made for.
    /// Anybody may put a function of ours on a table of his: nothing of such a row is looked at.
    ///
    /// # Errors
    /// 0A000 for another table, event or level.
    pub fn on(trigger: &'a PgTrigger<'a>, table: &'static str, when: &[When]) -> Result<Self> {
        let (own, _) = shape::own(table)?;
        // SAFETY: a trigger's relation is open while it runs.
        let id = unsafe { (*trigger.trigger_data().tg_relation).rd_id };
        Self::checked(trigger, id == own, when)
    }

    /// As [`Fired::on`], of the events of the queue that is the trigger's argument.
    ///
    /// # Errors
    /// As [`Fired::on`].
    pub fn on_events(trigger: &'a PgTrigger<'a>) -> Result<Self> {
        // SAFETY: a trigger's relation is open while it runs.
        let (id, row) = unsafe {
            let relation = trigger.trigger_data().tg_relation;
            ((*relation).rd_id, *(*relation).rd_rel)
        };
        let fired = Self { trigger };
        let is_its = match fired.argument()? {
            Some(queue) => catalog::id(&format!("e_{queue}"))? == Some(id),
            None => false,
        };
        let is_its = is_its
            && row.relkind as u8 == b'r'
            && shape::is_trusted(row.relowner)?
            && shape::type_of(id, "event_name")? == Some(pg_sys::TEXTOID);
        Self::checked(trigger, is_its, &[When::BEFORE_INSERT])
    }

    fn checked(trigger: &'a PgTrigger<'a>, is_its_table: bool, when: &[When]) -> Result<Self> {
        let event = trigger.trigger_data().tg_event;
        if is_its_table && when.iter().any(|when| when.is(event)) {
            return Ok(Self { trigger });
        }
        // SAFETY: a trigger's own record; its name is a C string.
        let name = unsafe {
            CStr::from_ptr((*trigger.trigger_data().tg_trigger).tgname)
                .to_string_lossy()
                .into_owned()
        };
        Err(Error::ForeignTrigger { name })
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
            let columns = major::columns(desc);
            check_type::<T>(columns.get(number as usize - 1), "a table of the extension")?;
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
            CStr::from_ptr(name).to_string_lossy().into_owned()
        }
    }
}
