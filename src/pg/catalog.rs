//! Questions that the catalogue's cache answers, without a statement.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::{CStr, CString, c_int};

use pgrx::pg_sys;

use super::ereport::guarded;
use super::ffi::{
    LockRelationOid, ReleaseSysCache, SearchSysCache1, check_enable_rls, get_namespace_oid,
    get_partition_parent, get_rel_name, get_rel_relkind, get_relname_relid,
    pg_attribute_aclcheck_all, pg_class_aclcheck, pg_get_indexdef_string,
};
use super::rights::current_role;
use super::shape;
use crate::error::{Error, Result};

/// A right on a table.
pub type Right = pg_sys::AclMode;
pub const SELECT: Right = pg_sys::ACL_SELECT as Right;
pub const INSERT: Right = pg_sys::ACL_INSERT as Right;
pub const UPDATE: Right = pg_sys::ACL_UPDATE as Right;
pub const DELETE: Right = pg_sys::ACL_DELETE as Right;

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

/// The name of a relation; none when there is no such relation.
///
/// # Errors
/// As [`id`].
pub fn name(id: pg_sys::Oid) -> Result<Option<String>> {
    // SAFETY: a C string in the call's memory, or null; the closure's frame is plain.
    unsafe {
        let name = guarded(|| get_rel_name(id))?;
        Ok((!name.is_null()).then(|| CStr::from_ptr(name).to_string_lossy().into_owned()))
    }
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

/// Whether `part` may be used in the place of `whole`, both in schema `absurd`: it is attached to
/// it, and neither has triggers, rules or row security that would be passed by. The whole is locked
/// as for reading, before its parts are, as statements do.
///
/// # Errors
/// As [`id`]; 40P01, 55P03 or 57014 when a wait for the lock is given up.
pub fn stands_for(part: &str, whole: &str) -> Result<bool> {
    let Some(whole) = id(whole)? else { return Ok(false) };
    // SAFETY: the closure's frame is plain.
    unsafe { guarded(|| LockRelationOid(whole, pg_sys::AccessShareLock as c_int))? };
    let Some(part) = id(part)? else { return Ok(false) };
    let (Some(row_of_part), Some(row_of_whole)) = (row(part)?, row(whole)?) else {
        return Ok(false);
    };
    let is_plain = |row: &pg_sys::FormData_pg_class| {
        !row.relhastriggers && !row.relhasrules && !row.relrowsecurity
    };
    // What is done to it as the owner must reach nothing of others.
    if row_of_part.relkind as u8 != b'r' || !shape::is_trusted(row_of_part.relowner)? {
        return Ok(false);
    }
    if !row_of_part.relispartition || !is_plain(&row_of_part) || !is_plain(&row_of_whole) {
        return Ok(false);
    }
    // SAFETY: as above.
    Ok(unsafe { guarded(|| get_partition_parent(part, true))? } == whole)
}

/// Whether the current role has rights on a relation in schema `absurd`.
///
/// # Errors
/// As [`id`].
pub fn has_rights(relation: &str, rights: &[Right]) -> Result<bool> {
    let Some(id) = id(relation)? else { return Ok(false) };
    has_rights_on(id, rights)
}

/// As [`has_rights`], of a relation by its id.
///
/// # Errors
/// As [`id`].
pub fn has_rights_on(id: pg_sys::Oid, rights: &[Right]) -> Result<bool> {
    let role = current_role();
    for right in rights {
        let right = *right;
        // SAFETY: looks into the catalogue's cache; the closure's frame is plain.
        if unsafe { guarded(|| pg_class_aclcheck(id, role, right) != 0)? } {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether the current role has a right on a relation, or on one of its columns.
///
/// # Errors
/// As [`id`].
pub fn has_right_on_some(id: pg_sys::Oid, right: Right) -> Result<bool> {
    if has_rights_on(id, &[right])? {
        return Ok(true);
    }
    let role = current_role();
    // SAFETY: as above.
    unsafe {
        let how = pg_sys::AclMaskHow::ACLMASK_ANY;
        guarded(|| pg_attribute_aclcheck_all(id, role, right, how) == 0)
    }
}

/// Whether row security decides what the current role sees of a relation.
///
/// # Errors
/// As [`id`].
pub fn has_row_security(id: pg_sys::Oid) -> Result<bool> {
    const ENABLED: c_int = pg_sys::CheckEnableRlsResult::RLS_ENABLED as c_int;
    // SAFETY: as above.
    unsafe { guarded(|| check_enable_rls(id, pg_sys::InvalidOid, true) == ENABLED) }
}

/// Indexes whose definitions a backend remembers, of a hundred bytes or two; one on rules has a
/// thousand.
const DEFINITIONS: usize = 2048;

thread_local! {
    static INDEXES: RefCell<HashMap<u32, Box<str>>> = RefCell::default();
}

/// Forgets what is known of an index, or of all for none: something of it has changed.
pub fn forget(index: Option<pg_sys::Oid>) {
    // Nothing of Postgres is called while they are borrowed.
    let _ = INDEXES.try_with(|indexes| {
        if let Ok(mut indexes) = indexes.try_borrow_mut() {
            match index {
                Some(index) => drop(indexes.remove(&index.to_u32())),
                None => indexes.clear(),
            }
        }
    });
}

/// Whether an index is the one that `definition` describes: what `pg_get_indexdef` says after
/// `USING`, blanks aside. Each is asked for once, until it changes.
///
/// # Errors
/// As [`id`].
pub fn index_is(index: pg_sys::Oid, definition: &'static str) -> Result<bool> {
    let words = |text: &str| text.split_whitespace().collect::<String>();
    let wanted = words(definition);
    let id = index.to_u32();
    let known = INDEXES.with_borrow(|indexes| indexes.get(&id).map(|said| **said == *wanted));
    if let Some(is_it) = known {
        return Ok(is_it);
    }
    // SAFETY: a C string in the call's memory; the closure's frame is plain.
    let text = unsafe { CStr::from_ptr(guarded(|| pg_get_indexdef_string(index))?) };
    let text = text.to_string_lossy();
    let said: Box<str> = words(text.split_once(" USING ").map_or("", |(_, said)| said)).into();
    let is_it = *said == *wanted;
    INDEXES.with_borrow_mut(|indexes| {
        if indexes.len() >= DEFINITIONS {
            indexes.clear();
        }
        indexes.insert(id, said);
    });
    Ok(is_it)
}

/// What pg_class says of a relation.
pub(super) fn row(id: pg_sys::Oid) -> Result<Option<pg_sys::FormData_pg_class>> {
    // SAFETY: a row of pg_class, copied before it is released; the closure's frame is plain.
    unsafe {
        guarded(|| {
            let tuple =
                SearchSysCache1(pg_sys::SysCacheIdentifier::RELOID as i32, pg_sys::Datum::from(id));
            if tuple.is_null() {
                return None;
            }
            let row = *pg_sys::GETSTRUCT(tuple).cast::<pg_sys::FormData_pg_class>();
            ReleaseSysCache(tuple);
            Some(row)
        })
    }
}

/// Checks that the current role may do something to a table of the extension's own: [`INSERT`],
/// [`UPDATE`], [`DELETE`] or read its rows.
///
/// # Errors
/// 42501 when it may not.
pub fn require(table: &'static str, right: Right) -> Result<()> {
    match has_rights_on(shape::own(table)?.0, &[right])? {
        true => Ok(()),
        false => Err(Error::Denied { relation: table.to_owned() }),
    }
}
