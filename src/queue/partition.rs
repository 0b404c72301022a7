//! The weekly partitions of a queue, and the default ones that take what no week holds.
//!
//! A partition is made as a table of its own and then attached: that blocks nobody but the default
//! partition's users, where creating it in place would block everybody. Rows that lie in the
//! default partition already move along.

use super::{QueueName, hold, name, policy, script};
use crate::error::{Error, Result};
use crate::params;
use crate::pg::plan::{Global, Statement};
use crate::pg::{Session, Timestamp, lock, shape, uuid};

/// The suffix of default partitions.
pub const DEFAULT: &str = "d";

/// Whether a name's end is that of a partition: a week's tag, or the default's.
pub fn is_suffix(text: &str) -> bool {
    text == DEFAULT || is_tag(text)
}

fn is_tag(text: &str) -> bool {
    text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// A partition that is attached.
struct Attached {
    name: String,
    bound: String,
}

static ATTACHED: Statement = Statement::new(
    "select part.relname::pg_catalog.text,
            pg_catalog.pg_get_expr(part.relpartbound, part.oid)
       from pg_catalog.pg_inherits i
       join pg_catalog.pg_class parent on parent.oid = i.inhparent
       join pg_catalog.pg_class part on part.oid = i.inhrelid
      where parent.relnamespace = 'absurd'::pg_catalog.regnamespace
        and part.relnamespace = parent.relnamespace and part.relkind = 'r'
        and parent.relname = any ($1)",
);

fn attached(session: &Session, queue: &QueueName) -> Result<Vec<Attached>> {
    let parents: Vec<String> =
        script::WEEKLY.iter().map(|(prefix, _)| queue.relation(prefix, "")).collect();
    session
        .run(&ATTACHED, &Global, params![parents])?
        .into_iter()
        .map(|row| Ok(Attached { name: row.need(0)?, bound: row.need(1)? }))
        .collect()
}

/// The prefixes of the tables that have a default partition.
fn defaults(present: &[Attached], queue: &QueueName) -> Vec<&'static str> {
    let has_default =
        |prefix: &&str| present.iter().any(|part| part.name == queue.relation(prefix, DEFAULT));
    script::WEEKLY.iter().map(|(prefix, _)| *prefix).filter(has_default).collect()
}

/// A week for which a table lacks its partition.
struct Missing {
    prefix: &'static str,
    column: &'static str,
    partition: String,
    from: String,
    to: String,
}

/// Makes the default partitions, when the queue's policy has them, and the weeks from now -
/// lookback to now + lookahead.
///
/// # Errors
/// 42P01 for an unknown queue; 42P07 when a week's name belongs to another week or another table;
/// 55P03 when a default partition stays in use.
pub fn ensure(session: &Session, queue: &QueueName) -> Result<()> {
    lock::provisioning()?;
    static RANGE: Statement = Statement::new(
        "select default_partition = 'enabled', $2 - partition_lookback, $2 + partition_lookahead
           from absurd.queues where queue_name = $1",
    );
    let rows = session.run(&RANGE, &Global, params![queue.as_str(), session.now()])?;
    let Some(row) = rows.first() else {
        return Err(Error::NoSuchQueue { queue: queue.as_str().to_owned() });
    };
    if row.need(0)? {
        ensure_default(session, queue)?;
    }
    let missing = missing(session, queue, row.need(1)?, row.need(2)?)?;
    if missing.is_empty() {
        return Ok(());
    }
    let defaults = defaults(&attached(session, queue)?, queue);
    hold(session, queue, &defaults)?;
    for week in &missing {
        let make_room = defaults.contains(&week.prefix);
        create(session, queue, week, make_room)?;
    }
    Ok(())
}

/// What is missing of the weeks between two instants.
fn missing(
    session: &Session,
    queue: &QueueName,
    from: Timestamp,
    to: Timestamp,
) -> Result<Vec<Missing>> {
    let present = attached(session, queue)?;
    let mut weeks = Vec::new();
    let mut start = from.week_start();
    while start <= to && start.is_finite() {
        let end = start.plus_seconds(7.0 * 86_400.0);
        let (low, high) = (uuid::floor(start)?.to_string(), uuid::floor(end)?.to_string());
        let tag = start.week_tag().unwrap_or_default();
        let bound = format!("FOR VALUES FROM ('{low}') TO ('{high}')");
        for (prefix, column) in script::WEEKLY {
            let partition = queue.relation(prefix, &tag);
            match present.iter().find(|part| part.name == partition) {
                Some(part) if part.bound == bound => {}
                // A tag comes back after ten years.
                Some(part) => {
                    let by = format!("a partition {} already", part.bound.to_lowercase());
                    return Err(taken(queue, partition, by));
                }
                None if exists(session, &partition)? => {
                    // Detached, and waiting to be dropped: no row of that week will come any more.
                    if end > session.now() {
                        return Err(taken(queue, partition, "another table".to_owned()));
                    }
                }
                None if weeks.iter().any(|week: &Missing| week.partition == partition) => {
                    let by = "another week of the same range, which is longer than ten years";
                    return Err(taken(queue, partition, by.to_owned()));
                }
                None => weeks.push(Missing {
                    prefix,
                    column,
                    partition,
                    from: low.clone(),
                    to: high.clone(),
                }),
            }
        }
        start = end;
    }
    Ok(weeks)
}

fn taken(queue: &QueueName, relation: String, by: String) -> Error {
    Error::WeekTaken { queue: queue.as_str().to_owned(), relation, by }
}

fn exists(session: &Session, table: &str) -> Result<bool> {
    static EXISTS: Statement = Statement::new(
        "select from pg_catalog.pg_class
          where relnamespace = 'absurd'::pg_catalog.regnamespace and relname = $1",
    );
    Ok(!session.run(&EXISTS, &Global, params![table])?.is_empty())
}

fn quoted(relation: &str) -> String {
    format!("absurd.{}", name::quote(relation))
}

/// Makes a partition as a table of its own, with everything that its parent has.
fn create_alone(session: &Session, queue: &QueueName, prefix: &str, table: &str) -> Result<()> {
    let room = if matches!(prefix, "t" | "r") { script::ROOM } else { "" };
    let parent = quoted(&queue.relation(prefix, ""));
    let sql = format!("create table {} (like {parent} including all){room}", quoted(table));
    session.run_once(&sql, &[])?;
    Ok(())
}

fn create(session: &Session, queue: &QueueName, week: &Missing, make_room: bool) -> Result<()> {
    let Missing { prefix, column, partition, from, to } = week;
    create_alone(session, queue, prefix, partition)?;
    if make_room {
        let default = queue.relation(prefix, DEFAULT);
        let columns = column_list(session, &default)?;
        // Users' triggers run as their caller, and this is the owner's doing: rows only change
        // their place.
        let triggers = triggers(session, &default)?;
        for (name, _) in &triggers {
            let sql = format!("alter table {} disable trigger {name}", quoted(&default));
            session.run_once(&sql, &[])?;
        }
        let moved = format!(
            "with moved as (
                 delete from only {} where {column} >= '{from}' and {column} < '{to}'
                 returning {columns}
             )
             insert into {} ({columns}) select {columns} from moved",
            quoted(&queue.relation(prefix, DEFAULT)),
            quoted(partition),
        );
        session.run_once(&moved, &[])?;
        for (name, again) in &triggers {
            let sql = format!("alter table {} enable {again} {name}", quoted(&default));
            session.run_once(&sql, &[])?;
        }
    }
    let attach = format!(
        "alter table {} attach partition {} for values from ('{from}') to ('{to}')",
        quoted(&queue.relation(prefix, "")),
        quoted(partition),
    );
    session.run_once(&attach, &[])?;
    Ok(())
}

/// The triggers of a table that fire, quoted, with what enables them again.
fn triggers(session: &Session, table: &str) -> Result<Vec<(String, String)>> {
    static TRIGGERS: Statement = Statement::new(
        "select pg_catalog.quote_ident(g.tgname),
                case g.tgenabled when 'A' then 'always trigger' when 'R' then 'replica trigger'
                                 else 'trigger' end
           from pg_catalog.pg_trigger g
           join pg_catalog.pg_class c on c.oid = g.tgrelid
          where c.relnamespace = 'absurd'::pg_catalog.regnamespace and c.relname = $1
            and not g.tgisinternal and g.tgenabled <> 'D'
          order by 1",
    );
    let rows = session.run(&TRIGGERS, &Global, params![table])?;
    rows.into_iter().map(|row| Ok((row.need(0)?, row.need(1)?))).collect()
}

fn column_list(session: &Session, table: &str) -> Result<String> {
    static COLUMNS: Statement = Statement::new(
        "select pg_catalog.string_agg(pg_catalog.quote_ident(a.attname), ', ' order by a.attnum)
           from pg_catalog.pg_attribute a
           join pg_catalog.pg_class c on c.oid = a.attrelid
          where c.relnamespace = 'absurd'::pg_catalog.regnamespace
            and c.relname = $1 and a.attnum > 0 and not a.attisdropped",
    );
    match session.run(&COLUMNS, &Global, params![table])?.first() {
        Some(row) => row.need(0),
        None => Ok(String::new()),
    }
}

/// Takes the default partitions for this transaction alone, and looks whose they are: what follows
/// is done with the rights of the extension's owner.
///
/// # Errors
/// 55000 for one that is not the engine's; 55P03 for one that stays in use.
fn hold(session: &Session, queue: &QueueName, defaults: &[&str]) -> Result<()> {
    let tables: Vec<String> =
        defaults.iter().map(|prefix| quoted(&queue.relation(prefix, DEFAULT))).collect();
    let what = || format!("The default partitions of queue \"{}\"", queue.as_str());
    hold::exclusively(session, &tables, Some(50), what)?;
    for prefix in defaults {
        shape::look(&queue.relation(prefix, DEFAULT), &[])?;
    }
    Ok(())
}

/// Makes the default partitions that are missing.
///
/// # Errors
/// 42P07 when a name is taken by another table.
pub fn ensure_default(session: &Session, queue: &QueueName) -> Result<()> {
    lock::provisioning()?;
    let present = attached(session, queue)?;
    for (prefix, _) in script::WEEKLY {
        let table = queue.relation(prefix, DEFAULT);
        if present.iter().any(|part| part.name == table) {
            continue;
        }
        if exists(session, &table)? {
            return Err(taken(queue, table, "another table".to_owned()));
        }
        create_alone(session, queue, prefix, &table)?;
        let parent = quoted(&queue.relation(prefix, ""));
        let attach = format!("alter table {parent} attach partition {} default", quoted(&table));
        session.run_once(&attach, &[])?;
    }
    Ok(())
}

/// Drops the default partitions, which must be empty.
///
/// # Errors
/// 55000 when one of them holds rows; 55P03 when they stay in use.
pub fn drop_default(session: &Session, queue: &QueueName) -> Result<()> {
    lock::provisioning()?;
    let defaults = defaults(&attached(session, queue)?, queue);
    hold(session, queue, &defaults)?;
    for prefix in defaults {
        let table = queue.relation(prefix, DEFAULT);
        let probe = format!("select from only {} limit 1", quoted(&table));
        if !session.run_once(&probe, &[])?.is_empty() {
            return Err(Error::WrongState {
                what: format!("default_partition of queue \"{}\"", queue.as_str()),
                rule: format!("cannot be disabled: default partition \"{table}\" is not empty"),
                hint: Some(
                    "Wait until its tasks have been cleaned up, or let absurd.ensure_partitions() \
                     move them to their weeks."
                        .into(),
                ),
            });
        }
        session.run_once(&format!("drop table {}", quoted(&table)), &[])?;
    }
    Ok(())
}

/// The weeks' tables of a queue that have been detached and not dropped.
pub fn detached(session: &Session, queue: &str) -> Result<Vec<String>> {
    static DETACHED: Statement = Statement::new(
        "select c.relname::pg_catalog.text, c.relowner
           from pg_catalog.pg_class c
          where c.relnamespace = 'absurd'::pg_catalog.regnamespace and c.relkind = 'r'
            and not c.relispartition
            -- What has events beside is, or was, a queue of its own.
            and not exists (
                select from pg_catalog.pg_class e
                 where e.relnamespace = c.relnamespace
                   and e.relname = 'e_' || pg_catalog.substr(c.relname::pg_catalog.text, 3))
            and pg_catalog.left(c.relname::pg_catalog.text, -3) = any ($1)
            and pg_catalog.right(c.relname::pg_catalog.text, 3) ~ '^[0-9]{3}$'
            and not exists (
                select from absurd.queues q
                 where q.queue_name = pg_catalog.substr(c.relname::pg_catalog.text, 3))",
    );
    let stems: Vec<String> =
        script::WEEKLY.iter().map(|(prefix, _)| format!("{prefix}_{queue}_")).collect();
    let mut tables = Vec::new();
    for row in session.run(&DETACHED, &Global, params![stems])? {
        if shape::is_trusted(row.need(1)?)? {
            tables.push(row.need(0)?);
        }
    }
    Ok(tables)
}

/// Whether a table's name is that of a queue's week, and not of a queue's own table.
pub fn is_week(session: &Session, table: &str) -> Result<bool> {
    let mut parts = table.rsplitn(2, '_');
    let tag = parts.next().unwrap_or_default();
    let Some((prefix, queue)) = parts.next().and_then(|stem| stem.split_once('_')) else {
        return Ok(false);
    };
    let weekly = script::WEEKLY.iter().any(|(known, _)| *known == prefix);
    if !weekly || queue.is_empty() || !is_tag(tag) {
        return Ok(false);
    }
    let name = format!("{queue}_{tag}");
    Ok(!policy::exists(session, &name)? && !exists(session, &format!("e_{name}"))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suffixes_are_weeks_or_the_default() {
        for (text, expected) in
            [("601", true), ("d", true), ("60", false), ("6011", false), ("ti", false), ("", false)]
        {
            assert_eq!(is_suffix(text), expected, "{text}");
        }
    }
}
