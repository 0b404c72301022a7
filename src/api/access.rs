//! What roles may do, and which tables are used how.

use pgrx::prelude::*;

use super::{optional_queue, required};
use crate::pg::call;
use crate::pg::value::Role;
use crate::queue::QueueName;
use crate::queue::adopt;
use crate::queue::grants::{self, Access};
use crate::workflow::inspect;

/// Gives a role an access on one queue, or on all and those made later.
#[pg_extern]
fn grant_access(
    p_role: Option<Role>,
    p_access: Option<&str>,
    p_queue_name: default!(Option<&str>, "NULL"),
) {
    call(|session| {
        let Role(role) = required(p_role, "p_role")?;
        let queue = optional_queue(p_queue_name)?;
        grants::grant(session, role, Access::parse(p_access)?, queue.as_ref())
    })
}

/// Takes an access away from a role.
#[pg_extern]
fn revoke_access(
    p_role: Option<Role>,
    p_access: Option<&str>,
    p_queue_name: default!(Option<&str>, "NULL"),
) {
    call(|session| {
        let Role(role) = required(p_role, "p_role")?;
        let queue = optional_queue(p_queue_name)?;
        grants::revoke(session, role, Access::parse(p_access)?, queue.as_ref())
    })
}

/// Makes the extension's owner the owner of tables that have a queue's names.
#[pg_extern]
fn adopt_queue(p_queue_name: Option<&str>) {
    call(|session| adopt::run(session, &QueueName::parse(p_queue_name)?))
}

/// Which tables are used without statements, and why others are not.
#[pg_extern]
fn fast_path() -> TableIterator<
    'static,
    (
        name!(table_name, String),
        name!(is_used, bool),
        name!(reason, Option<String>),
        name!(used, i64),
        name!(fell_back, i64),
    ),
> {
    let rows = call(inspect::fast_path);
    TableIterator::new(rows.into_iter().map(|one| {
        let reason = one.why.map(|why| why.as_str().to_owned());
        (one.table, one.why.is_none(), reason, one.usage.used, one.usage.fell_back)
    }))
}
