//! Weekly partitions over time: the coming ones are made, the old and empty ones go.

use super::cron;
use crate::error::{Error, Result};
use crate::params;
use crate::pg::plan::{Global, Own, Statement};
use crate::pg::{Session, Uuid, catalog, ereport, rights, shape, uuid};
use crate::queue::{QueueName, name, partition, policy};

/// Makes the partitions that one queue, or every queue, needs by its policy, as the extension's
/// owner. Of every queue: one whose partitions cannot be made is reported as a warning, and the
/// others get theirs.
///
/// # Errors
/// 42501 without UPDATE on `absurd.queues`. For one queue: 42P01 when it is unknown, 42P07 and
/// 55P03 as in [`partition::ensure`].
pub fn ensure(session: &Session, only: Option<&QueueName>) -> Result<()> {
    catalog::require("queues", catalog::UPDATE)?;
    only.map_or(Ok(()), |queue| policy::require(session, queue))?;
    let _owner = rights::restricted()?;
    for queue in partitioned(session, only)? {
        let made = session.attempt(|| partition::ensure(session, &queue))?;
        match made {
            Ok(()) => {}
            Err(error) if only.is_some() => return Err(error),
            Err(Error::Postgres(caught)) if caught.is("57014") => {
                return Err(Error::Postgres(caught));
            }
            Err(error) => ereport::warn(error)?,
        }
    }
    Ok(())
}

/// The partitioned queues, or the one that is named if it is.
fn partitioned(session: &Session, only: Option<&QueueName>) -> Result<Vec<QueueName>> {
    static NAMES: Statement = Statement::new(
        "select queue_name from absurd.queues
          where storage_mode = 'partitioned' and ($1 is null or queue_name = $1)
          order by queue_name",
    );
    let rows = session.run(&NAMES, &Own, params![only.map(QueueName::as_str)])?;
    let names = rows.into_iter().map(|row| row.need(0)).collect::<Result<Vec<String>>>()?;
    // A registry row of another making may have a name that no table can carry.
    Ok(names.iter().filter_map(|name| QueueName::parse(Some(name)).ok()).collect())
}

/// An attached week that is old and empty.
pub struct Candidate {
    pub queue: String,
    pub parent: String,
    pub partition: String,
}

/// The weeks that the policies allow to be detached: of queues whose detach_mode is empty, those
/// that ended more than detach_min_age ago and hold no row. By queue and table, the oldest first.
///
/// # Errors
/// 42P01 for an unknown queue.
pub fn candidates(session: &Session, only: Option<&QueueName>) -> Result<Vec<Candidate>> {
    static PARTS: Statement = Statement::new(
        "select q.queue_name, parent.relname::pg_catalog.text, part.relname::pg_catalog.text,
                pg_catalog.pg_get_expr(part.relpartbound, part.oid),
                case when q.detach_min_age < '4000 years' then $2 - q.detach_min_age
                     else '-infinity' end, parent.relowner, part.relowner
           from absurd.queues q
           join pg_catalog.pg_class parent
             on parent.relnamespace = 'absurd'::pg_catalog.regnamespace
            and parent.relname
                in ('t_' || q.queue_name, 'r_' || q.queue_name,
                    'c_' || q.queue_name, 'w_' || q.queue_name)
           join pg_catalog.pg_inherits i on i.inhparent = parent.oid and not i.inhdetachpending
           join pg_catalog.pg_class part
             on part.oid = i.inhrelid and part.relnamespace = parent.relnamespace
            and part.relkind = 'r'
          where q.storage_mode = 'partitioned' and q.detach_mode = 'empty'
            and ($1 is null or q.queue_name = $1)",
    );
    catalog::require("queues", catalog::SELECT)?;
    if let Some(queue) = only
        && policy::get(session, queue.as_str())?.is_none()
    {
        return Err(Error::NoSuchQueue { queue: queue.as_str().to_owned() });
    }
    let name = only.map(QueueName::as_str);
    let mut found = Vec::new();
    for row in session.run(&PARTS, &Global, params![name, session.now()])? {
        let (bound, before): (String, _) = (row.need(3)?, row.need(4)?);
        let Some(end) = upper(&bound).and_then(uuid::timestamp) else { continue };
        if end > before {
            continue;
        }
        let candidate =
            Candidate { queue: row.need(0)?, parent: row.need(1)?, partition: row.need(2)? };
        let is_ours = shape::is_trusted(row.need(5)?)? && shape::is_trusted(row.need(6)?)?;
        if is_ours && is_empty(session, &candidate.partition)? {
            found.push((end, candidate));
        }
    }
    found.sort_by(|(a_end, a), (b_end, b)| {
        (&a.queue, &a.parent, a_end).cmp(&(&b.queue, &b.parent, b_end))
    });
    Ok(found.into_iter().map(|(_, candidate)| candidate).collect())
}

/// Whether a partition of the engine's holds no row, whoever asks: nobody has rights on partitions.
fn is_empty(session: &Session, partition: &str) -> Result<bool> {
    let _owner = rights::owner()?;
    let probe = format!("select from only absurd.{} limit 1", name::quote(partition));
    Ok(session.run_once(&probe, &[])?.is_empty())
}

/// The upper end of a range partition's bound, as Postgres writes it.
fn upper(bound: &str) -> Option<Uuid> {
    let (_, to) = bound.split_once(" TO ('")?;
    uuid::parse(to.strip_suffix("')")?)
}

/// A table of schema `absurd`: the table that it is attached to, and whether it is the engine's.
fn find(session: &Session, table: &str) -> Result<Option<(Option<String>, bool)>> {
    static FIND: Statement = Statement::new(
        "select whole.relname::pg_catalog.text, c.relowner
           from pg_catalog.pg_class c
           left join pg_catalog.pg_inherits i on i.inhrelid = c.oid and c.relispartition
           left join pg_catalog.pg_class whole on whole.oid = i.inhparent
          where c.relnamespace = 'absurd'::pg_catalog.regnamespace and c.relkind in ('r', 'p')
            and c.relname = $1",
    );
    let row = session.run(&FIND, &Global, params![table])?.first();
    row.map(|row| Ok((row.get(0)?, shape::is_trusted(row.need(1)?)?))).transpose()
}

fn check_week(session: &Session, table: &str) -> Result<()> {
    match partition::is_week(session, table)? {
        true => Ok(()),
        false => Err(Error::invalid(
            format!("partition table \"{table}\""),
            "must be a week's partition of a queue, such as t_emails_601",
        )),
    }
}

fn check_ours(table: &str, is_ours: bool) -> Result<()> {
    match is_ours {
        true => Ok(()),
        false => Err(Error::NotOurs {
            relation: format!("absurd.{table}"),
            rule: "is not the engine's".to_owned(),
        }),
    }
}

/// Detaches an empty week from its table, as the extension's owner, for roles whose jobs may not do
/// that themselves. It waits for those who use the table. Returns whether the week was detached:
/// not when it is not attached to this table, or holds a row.
///
/// # Errors
/// 42501 without DELETE on `absurd.queues`; 22023 for a name that is no week's; 55000 for a table
/// that is not the engine's.
pub fn detach(session: &Session, parent: &str, table: &str) -> Result<bool> {
    catalog::require("queues", catalog::DELETE)?;
    check_week(session, table)?;
    let Some((attached, is_ours)) = find(session, table)? else { return Ok(false) };
    if attached.as_deref() != Some(parent) {
        return Ok(false);
    }
    check_ours(table, is_ours && find(session, parent)?.is_some_and(|(_, is_ours)| is_ours))?;
    let _owner = rights::restricted()?;
    let (whole, part) = (name::quote(parent), name::quote(table));
    session.run_once(&format!("lock table absurd.{whole} in access exclusive mode"), &[])?;
    if !is_empty(session, table)? {
        return Ok(false);
    }
    session
        .run_once(&format!("alter table absurd.{whole} detach partition absurd.{part}"), &[])
        .map(|_| true)
}

/// Drops a week's table once it is detached, and then removes the jobs that brought it here: `job`
/// and its detaching twin. Returns whether a table was dropped; one that is still attached, or not
/// there, is left alone.
///
/// # Errors
/// 42501 without DELETE on `absurd.queues`; 22004 or 22023 for a name that is no week's; 55000 for
/// a table that is not the engine's; 2BP01 when something depends on the table.
pub fn drop_detached(session: &Session, table: &str, job: Option<&str>) -> Result<bool> {
    catalog::require("queues", catalog::DELETE)?;
    let found = find(session, table)?;
    match &found {
        Some((Some(_), _)) => return Ok(false),
        Some((None, is_ours)) => {
            check_week(session, table)?;
            check_ours(table, *is_ours)?;
            let _owner = rights::restricted()?;
            let sql = format!("drop table absurd.{} restrict", name::quote(table));
            session.run_once(&sql, &[])?;
        }
        None => {}
    }
    if let Some(job) = job {
        cron::forget_pipeline(session, job)?;
    }
    Ok(found.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upper_ends_are_read_from_bounds() {
        let bound = "FOR VALUES FROM ('01a205b3-d000-7000-8000-000000000000') \
                     TO ('01a229c0-5400-7000-8000-000000000000')";
        let end = upper(bound).map(|id| id.to_string());
        assert_eq!(end.as_deref(), Some("01a229c0-5400-7000-8000-000000000000"));
        assert!(upper("DEFAULT").is_none());
    }
}
