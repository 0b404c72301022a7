//! Weekly partitions over time: the coming ones are made, the old and empty ones go.

use super::cron;
use crate::error::{Error, Result};
use crate::params;
use crate::pg::plan::{Global, Statement};
use crate::pg::{Session, Uuid, ereport, uuid};
use crate::queue::{QueueName, name, partition, policy};

/// Makes the partitions that one queue, or every queue, needs by its policy. Of every queue: one
/// whose partitions cannot be made is reported as a warning, and the others get theirs.
///
/// # Errors
/// For one queue: 42P01 when it is unknown, 42P07 and 55P03 as in [`partition::ensure`].
pub fn ensure(session: &Session, only: Option<&QueueName>) -> Result<()> {
    if let Some(queue) = only {
        return match policy::get(session, queue.as_str())? {
            None => Err(Error::NoSuchQueue { queue: queue.as_str().to_owned() }),
            Some(policy) if policy.storage_mode == "partitioned" => {
                partition::ensure(session, queue)
            }
            Some(_) => Ok(()),
        };
    }
    for queue in partitioned(session, None)? {
        if let Err(error) = session.attempt(|| partition::ensure(session, &queue))? {
            ereport::warn(error)?;
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
    let rows = session.run(&NAMES, &Global, params![only.map(QueueName::as_str)])?;
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
                     else '-infinity' end
           from absurd.queues q
           join pg_catalog.pg_class parent
             on parent.relnamespace = 'absurd'::pg_catalog.regnamespace
            and parent.relname
                in ('t_' || q.queue_name, 'r_' || q.queue_name,
                    'c_' || q.queue_name, 'w_' || q.queue_name)
           join pg_catalog.pg_inherits i on i.inhparent = parent.oid and not i.inhdetachpending
           join pg_catalog.pg_class part on part.oid = i.inhrelid
          where q.storage_mode = 'partitioned' and q.detach_mode = 'empty'
            and ($1 is null or q.queue_name = $1)",
    );
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
        let table = name::quote(&candidate.partition);
        let probe = format!("select from only absurd.{table} limit 1");
        if session.run_once(&probe, &[])?.is_empty() {
            found.push((end, candidate));
        }
    }
    found.sort_by(|(a_end, a), (b_end, b)| {
        (&a.queue, &a.parent, a_end).cmp(&(&b.queue, &b.parent, b_end))
    });
    Ok(found.into_iter().map(|(_, candidate)| candidate).collect())
}

/// The upper end of a range partition's bound, as Postgres writes it.
fn upper(bound: &str) -> Option<Uuid> {
    let (_, to) = bound.split_once(" TO ('")?;
    uuid::parse(to.strip_suffix("')")?)
}

/// Drops a week's table once it is detached, and then removes the jobs that brought it here: `job`
/// and its detaching twin. Returns whether a table was dropped; one that is still attached, or not
/// there, is left alone.
///
/// # Errors
/// 22004 or 22023 for a name that is no week's; 2BP01 when something depends on the table.
pub fn drop_detached(session: &Session, table: &str, job: Option<&str>) -> Result<bool> {
    static FIND: Statement = Statement::new(
        "select relispartition from pg_catalog.pg_class
          where relnamespace = 'absurd'::pg_catalog.regnamespace and relkind in ('r', 'p')
            and relname = $1",
    );
    let attached = match session.run(&FIND, &Global, params![table])?.first() {
        Some(row) => Some(row.need::<bool>(0)?),
        None => None,
    };
    match attached {
        Some(true) => return Ok(false),
        Some(false) => {
            if !partition::is_week(session, table)? {
                return Err(Error::invalid(
                    format!("partition table \"{table}\""),
                    "must be a week's partition of a queue, such as t_emails_601",
                ));
            }
            let sql = format!("drop table absurd.{} restrict", name::quote(table));
            session.run_once(&sql, &[])?;
        }
        None => {}
    }
    if let Some(job) = job {
        cron::forget_pipeline(session, job)?;
    }
    Ok(attached.is_some())
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
