//! Having several tables for oneself, without deadlock.

use crate::error::{Error, Result};
use crate::params;
use crate::pg::Session;
use crate::pg::plan::{Global, Statement};
use crate::pg::subtransaction::failed_with;

/// Locks tables for this transaction alone, all of them or none.
///
/// A verb that is under way holds some of them and may want others, in an order of the planner's,
/// so waiting for one while holding another could become a deadlock. Each wait is cut off before
/// Postgres looks for one, everything is let go, and the next try begins anew: at most `tries`
/// times, or until the caller's own lock_timeout or statement_timeout has passed.
///
/// # Errors
/// 55P03 when the tables stay in use.
pub fn exclusively(
    session: &Session,
    tables: &[String],
    tries: Option<u32>,
    what: impl FnOnce() -> String,
) -> Result<()> {
    /// Milliseconds of one try: well below Postgres's deadlock_timeout.
    const PATIENCE: i64 = 200;
    if tables.is_empty() {
        return Ok(());
    }
    static LIMIT: Statement = Statement::new(
        "select setting::pg_catalog.int8 from pg_catalog.pg_settings where name = 'lock_timeout'",
    );
    static SET: Statement =
        Statement::new("select pg_catalog.set_config('lock_timeout', $1, true)");
    let limit: i64 = match session.run(&LIMIT, &Global, &[])?.first() {
        Some(row) => row.need(0)?,
        None => 0,
    };
    let of_caller = (limit > 0).then(|| limit.div_euclid(PATIENCE).max(1) as u32);
    let patience = if limit > 0 { limit.min(PATIENCE) } else { PATIENCE };
    let take = format!("lock table only {} in access exclusive mode", tables.join(", only "));
    let mut left = tries.into_iter().chain(of_caller).min();
    while left != Some(0) {
        let outcome = session.attempt(|| {
            session.run(&SET, &Global, params![patience.to_string().as_str()])?;
            session.run_once(&take, &[])?;
            session.run(&SET, &Global, params![limit.to_string().as_str()])?;
            Ok(())
        })?;
        if !failed_with(&outcome, "55P03") {
            return outcome;
        }
        left = left.map(|left| left - 1);
    }
    Err(Error::Busy { what: what() })
}
