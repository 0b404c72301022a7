//! Whether a table is one that can be used without statements, and where its columns stand.

use std::ffi::CStr;

use pgrx::pg_sys;

use super::table::{Access, Layout};
use super::usage::Why;
use crate::error::Result;
use crate::pg::{major, shape};

/// Where the layout's columns stand in the table, or why it cannot be used directly.
pub unsafe fn places(
    relation: pg_sys::Relation,
    layout: &'static Layout,
    access: Access,
) -> Result<std::result::Result<Vec<usize>, Why>> {
    // SAFETY: an open relation's descriptors.
    unsafe {
        let table = &*relation;
        let row = &*table.rd_rel;
        let is_of_kind = row.relkind as u8 == b'r'
            && row.relam == pg_sys::HEAP_TABLE_AM_OID
            && row.relispartition == (access == Access::ReadPart);
        let why = if !is_of_kind {
            Some(Why::Kind)
        } else if !shape::is_trusted(row.relowner)? {
            Some(Why::NotOurs)
        } else if row.relhassubclass {
            Some(Why::Children)
        } else if row.relhasrules {
            Some(Why::Rules)
        } else {
            let fires = access.writes() && has_statement_triggers(table.trigdesc);
            if row.relrowsecurity { Some(Why::RowSecurity) } else { fires.then_some(Why::Triggers) }
        };
        if let Some(why) = why {
            return Ok(Err(why));
        }
        let columns = major::columns(table.rd_att);
        let mut places = Vec::with_capacity(layout.columns.len());
        let mut next = 0;
        for (name, kind) in layout.columns {
            // The columns mostly come in the layout's order.
            let order = (next..columns.len()).chain(0..next);
            let is_it = |place: &usize| {
                let column = &columns[*place];
                !column.attisdropped
                    && CStr::from_ptr(column.attname.data.as_ptr()).to_bytes() == name.as_bytes()
            };
            match order.into_iter().find(is_it) {
                Some(place)
                    if columns[place].atttypid == *kind
                        && !(access.writes() && columns[place].atttypmod != -1) =>
                {
                    places.push(place);
                    next = place + 1;
                }
                _ => return Ok(Err(Why::Columns)),
            }
        }
        // What is inserted gives every column of the layout, and others stay empty.
        let is_given = |(place, column): (usize, &pg_sys::FormData_pg_attribute)| {
            column.attisdropped
                || places.contains(&place)
                || !(column.atthasdef || column.attidentity != 0)
        };
        if access.writes() && !columns.iter().enumerate().all(is_given) {
            return Ok(Err(Why::Columns));
        }
        Ok(Ok(places))
    }
}

/// Whether triggers fire once a statement, or want to see all of its rows.
unsafe fn has_statement_triggers(triggers: *const pg_sys::TriggerDesc) -> bool {
    // SAFETY: null, or those of an open relation.
    unsafe {
        triggers.as_ref().is_some_and(|of| {
            of.trig_insert_before_statement
                || of.trig_insert_after_statement
                || of.trig_update_before_statement
                || of.trig_update_after_statement
                || of.trig_insert_new_table
                || of.trig_update_old_table
                || of.trig_update_new_table
        })
    }
}
