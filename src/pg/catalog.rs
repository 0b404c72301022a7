//! Questions that the catalogue's cache answers, without a statement.

use std::ffi::{CString, c_char};

use pgrx::pg_sys;

use super::ereport::guarded;
use crate::error::{Error, Result};

unsafe extern "C-unwind" {
    fn get_namespace_oid(name: *const c_char, missing_ok: bool) -> pg_sys::Oid;
    fn get_relname_relid(name: *const c_char, namespace: pg_sys::Oid) -> pg_sys::Oid;
    fn get_rel_relkind(relation: pg_sys::Oid) -> c_char;
}

/// The kind of a partitioned table, as in `pg_class.relkind`.
pub const PARTITIONED: u8 = b'p';

/// The id of a relation in schema `absurd`; none when there is no such relation.
///
/// # Errors
/// Those of a cache that must be read anew.
pub fn id(relation: &str) -> Result<Option<pg_sys::Oid>> {
    let relation = CString::new(relation)
        .map_err(|_| Error::invalid("relation name", "must not contain a zero byte"))?;
    let relation = relation.as_ptr();
    // SAFETY: the names outlive the call; the closure's frame is plain.
    let id = unsafe {
        guarded(|| get_relname_relid(relation, get_namespace_oid(c"absurd".as_ptr(), true)))?
    };
    Ok((id != pg_sys::InvalidOid).then_some(id))
}

/// The kind of a relation in schema `absurd`; none when there is no such relation.
///
/// # Errors
/// As [`id`].
pub fn kind(relation: &str) -> Result<Option<u8>> {
    let Some(id) = id(relation)? else { return Ok(None) };
    // SAFETY: the closure's frame is plain.
    unsafe { guarded(|| Some(get_rel_relkind(id) as u8)) }
}
