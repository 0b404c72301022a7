//! Making and removing the tables of a queue.

use super::{QueueName, grants, hold, name, partition, policy, script};
use crate::error::{Error, Result, literal};
use crate::params;
use crate::pg::plan::{Global, Own, Statement};
use crate::pg::{Oid, Session, catalog, ereport, lock, rights, shape};

/// How a queue keeps its rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StorageMode {
    Unpartitioned,
    Partitioned,
}

impl StorageMode {
    /// Reads a mode.
    ///
    /// # Errors
    /// 22004 for NULL, 22023 for a mode that does not exist.
    pub fn parse(text: Option<&str>) -> Result<Self> {
        match text.ok_or_else(|| Error::null("storage_mode"))? {
            "unpartitioned" => Ok(Self::Unpartitioned),
            "partitioned" => Ok(Self::Partitioned),
            other => Err(Error::invalid(
                format!("storage mode \"{other}\""),
                "must be unpartitioned or partitioned",
            )),
        }
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unpartitioned => "unpartitioned",
            Self::Partitioned => "partitioned",
        }
    }
}

/// Whether the queue's tables are partitioned, as its task table says now: one look into the
/// catalogue's cache. False when there is no such table.
pub fn is_partitioned(queue: &QueueName) -> Result<bool> {
    Ok(catalog::kind(&queue.relation("t", ""))? == Some(catalog::PARTITIONED))
}

static MODE: Statement =
    Statement::new("select storage_mode from absurd.queues where queue_name = $1");

fn stored_mode(session: &Session, queue: &QueueName) -> Result<Option<String>> {
    let rows = session.run(&MODE, &Own, params![queue.as_str()])?;
    rows.first().map(|row| row.need(0)).transpose()
}

/// Creates a queue, or takes up the tables that an earlier one left. The tables are the owner's,
/// whoever calls; who does gets the rights to work on them. On a queue that exists it only reads
/// its row, for anybody: clients call it before every spawn.
///
/// # Errors
/// 42710 when the queue exists with another mode, 42501 without INSERT on `absurd.queues`, 42P07
/// when its names are taken.
pub fn create(session: &Session, queue: &QueueName, mode: StorageMode) -> Result<()> {
    if exists(session, queue, mode)? {
        return Ok(());
    }
    catalog::require("queues", catalog::INSERT)?;
    // Two sessions may create the same queue, or two whose names collide: one after the other.
    lock::provisioning()?;
    if exists(session, queue, mode)? {
        return Ok(());
    }
    static REGISTER: Statement = Statement::new(
        "insert into absurd.queues (queue_name, created_at, storage_mode) values ($1, $2, $3)",
    );
    let row = params![queue.as_str(), session.now(), mode.as_str()];
    policy::as_registrar(|| session.run(&REGISTER, &Global, row))?;
    let creator = rights::current_role();
    let _owner = rights::restricted()?;
    create_tables(session, queue, mode)?;
    grants::to_creator(session, queue, creator)?;
    grants::by_default(session, queue)?;
    match mode {
        StorageMode::Partitioned => partition::ensure(session, queue),
        StorageMode::Unpartitioned => Ok(()),
    }
}

fn exists(session: &Session, queue: &QueueName, mode: StorageMode) -> Result<bool> {
    match stored_mode(session, queue)? {
        None => Ok(false),
        Some(stored) if stored == mode.as_str() => Ok(true),
        Some(stored) => Err(Error::QueueExists {
            queue: queue.as_str().to_owned(),
            rule: format!("already exists with storage mode \"{stored}\""),
        }),
    }
}

/// Makes what is missing of a registered queue's tables and indexes.
///
/// # Errors
/// 42501 without INSERT on `absurd.queues`, 42P01 for an unknown queue.
pub fn ensure_tables(session: &Session, queue: &QueueName) -> Result<()> {
    catalog::require("queues", catalog::INSERT)?;
    lock::provisioning()?;
    let mode = match stored_mode(session, queue)? {
        None => return Err(Error::NoSuchQueue { queue: queue.as_str().to_owned() }),
        Some(mode) => StorageMode::parse(Some(&mode))?,
    };
    let _owner = rights::restricted()?;
    create_tables(session, queue, mode)?;
    match mode {
        StorageMode::Partitioned => partition::ensure(session, queue),
        StorageMode::Unpartitioned => Ok(()),
    }
}

fn create_tables(session: &Session, queue: &QueueName, mode: StorageMode) -> Result<()> {
    let present = check_names(session, queue, mode)?;
    let missing = |prefix: &str| !present.contains(&queue.relation(prefix, ""));
    let any_missing = script::prefixes(mode).iter().any(|prefix| missing(prefix));
    for (_, statement) in script::tables(queue, mode).filter(|(prefix, _)| missing(prefix)) {
        // A table that is there is adopted as it is.
        session.run_once(&statement, &[])?;
    }
    let columns = columns(session, queue)?;
    for (prefix, column, statement) in script::columns(queue, mode) {
        if !columns.contains(&(queue.relation(prefix, ""), column.to_owned())) {
            session.run_once(&statement, &[])?;
        }
    }
    if any_missing {
        for statement in script::comments(queue, mode) {
            session.run_once(&statement, &[])?;
        }
    }
    // Only what is missing: "if not exists" would say so of each index that is there.
    for (prefix, suffix, statement) in script::index_statements(queue, mode) {
        if !present.contains(&queue.relation(prefix, suffix)) {
            session.run_once(&statement, &[])?;
        }
    }
    guard_events(session, queue)
}

/// Clients of old write events themselves; a trigger has them take the lock that emit_event takes.
/// It goes with the extension, the table stays.
fn guard_events(session: &Session, queue: &QueueName) -> Result<()> {
    static THERE: Statement = Statement::new(
        "select from pg_catalog.pg_trigger g
           join pg_catalog.pg_class c on c.oid = g.tgrelid
          where c.relnamespace = 'absurd'::pg_catalog.regnamespace
            and c.relname = $1 and g.tgname = 'event_emission'",
    );
    let table = queue.relation("e", "");
    if !session.run(&THERE, &Global, params![table.as_str()])?.is_empty() {
        return Ok(());
    }
    let (table, argument) = (name::quote(&table), literal(queue.as_str()));
    session.run_once(
        &format!(
            "create trigger event_emission before insert on absurd.{table}
                for each row execute function absurd.event_emission({argument})"
        ),
        &[],
    )?;
    let depends = "depends on extension absurd";
    session.run_once(&format!("alter trigger event_emission on absurd.{table} {depends}"), &[])?;
    Ok(())
}

/// The columns that the queue's tables have.
fn columns(session: &Session, queue: &QueueName) -> Result<Vec<(String, String)>> {
    static FIND: Statement = Statement::new(
        "select c.relname::pg_catalog.text, a.attname::pg_catalog.text
           from pg_catalog.pg_class c
           join pg_catalog.pg_attribute a on a.attrelid = c.oid
          where c.relnamespace = 'absurd'::pg_catalog.regnamespace
            and c.relname = any ($1)
            and a.attnum > 0 and not a.attisdropped",
    );
    let tables: Vec<String> = script::prefixes(StorageMode::Partitioned)
        .iter()
        .map(|prefix| queue.relation(prefix, ""))
        .collect();
    let rows = session.run(&FIND, &Global, params![tables])?;
    rows.into_iter().map(|row| Ok((row.need(0)?, row.need(1)?))).collect()
}

/// Checks that every name the queue needs is free or the queue's own, and returns those that are
/// there. Queue `a` owns the index `r_a_ti`, so a queue `a_ti` cannot own a table of that name, nor
/// the other way round.
fn check_names(session: &Session, queue: &QueueName, mode: StorageMode) -> Result<Vec<String>> {
    check_weeks(session, queue, mode)?;
    static FIND: Statement = Statement::new(
        "select c.relname::pg_catalog.text, c.relkind::pg_catalog.text, c.relispartition,
                (select i.indrelid::pg_catalog.regclass::pg_catalog.text
                   from pg_catalog.pg_index i where i.indexrelid = c.oid),
                (select t.relname::pg_catalog.text
                   from pg_catalog.pg_index i
                   join pg_catalog.pg_class t on t.oid = i.indrelid
                  where i.indexrelid = c.oid),
                c.relowner
           from pg_catalog.pg_class c
          where c.relnamespace = 'absurd'::pg_catalog.regnamespace
            and c.relname = any ($1)",
    );
    let tables: Vec<String> =
        script::prefixes(mode).iter().map(|prefix| queue.relation(prefix, "")).collect();
    let indexes: Vec<(String, String)> = script::indexes(mode)
        .map(|(prefix, suffix)| (queue.relation(prefix, suffix), queue.relation(prefix, "")))
        .collect();
    let wanted: Vec<String> =
        tables.iter().cloned().chain(indexes.iter().map(|(index, _)| index.clone())).collect();
    let mut present = Vec::new();
    for row in session.run(&FIND, &Global, params![wanted])? {
        let relation: String = row.need(0)?;
        let kind: String = row.need(1)?;
        let partition: bool = row.need(2)?;
        let of_table: Option<String> = row.get(4)?;
        let weekly =
            script::WEEKLY.iter().any(|(prefix, _)| queue.relation(prefix, "") == relation);
        let kept = if weekly && mode == StorageMode::Partitioned { "p" } else { "r" };
        let own_table = kind == kept && !partition;
        let ours = if tables.contains(&relation) {
            own_table
        } else {
            indexes.iter().any(|(index, table)| {
                *index == relation && of_table.as_deref() == Some(table.as_str())
            })
        };
        if !ours {
            let by = match row.get::<String>(3)? {
                Some(table) => format!("an index of {table}"),
                None if partition => "a partition of another queue's table".to_owned(),
                None => "another relation".to_owned(),
            };
            return Err(Error::NameTaken { queue: queue.as_str().to_owned(), relation, by });
        }
        let owner: Oid = row.need(5)?;
        if !shape::is_trusted(owner)? {
            return Err(Error::Strangers {
                queue: queue.as_str().to_owned(),
                relation,
                owner: rights::name_of(owner)?,
            });
        }
        present.push(relation);
    }
    Ok(present)
}

/// Weekly partitions are made as time goes by, so a partitioned queue `a` keeps the names of its
/// weeks to itself: no queue may be called `a_601` or `a_d`, now or later.
fn check_weeks(session: &Session, queue: &QueueName, mode: StorageMode) -> Result<()> {
    static OTHERS: Statement = Statement::new(
        "select queue_name from absurd.queues
          where queue_name <> $1
            and ((storage_mode = 'partitioned' and left($1, length(queue_name)) = queue_name)
                 or ($2 and left(queue_name, length($1)) = $1))",
    );
    let name = queue.as_str();
    let partitioned = mode == StorageMode::Partitioned;
    for row in session.run(&OTHERS, &Global, params![name, partitioned])? {
        let other: String = row.need(0)?;
        let (long, short) =
            if other.len() > name.len() { (&*other, name) } else { (name, &*other) };
        let is_week = long.strip_prefix(short).and_then(|rest| rest.strip_prefix('_'));
        if is_week.is_some_and(partition::is_suffix) {
            return Err(Error::NameTaken {
                queue: name.to_owned(),
                relation: name::relation(long, "t", ""),
                by: format!("queue \"{other}\""),
            });
        }
    }
    Ok(())
}

/// Drops a queue with its tables and says whether there was one: an unknown queue is no error.
/// Takes any name, also one that create_queue would refuse. Views in schema `absurd` itself go with
/// the tables.
///
/// # Errors
/// 42501 without DELETE on `absurd.queues`; 2BP01 naming what depends on the tables, such as a
/// user's view; 55000 for tables that are not the engine's.
pub fn drop(session: &Session, queue: &str) -> Result<bool> {
    static THERE: Statement = Statement::new("select from absurd.queues where queue_name = $1");
    if session.run(&THERE, &Own, params![queue])?.is_empty() {
        return Ok(false);
    }
    catalog::require("queues", catalog::DELETE)?;
    lock::provisioning()?;
    static FORGET: Statement =
        Statement::new("delete from absurd.queues where queue_name = $1 returning queue_name");
    if policy::as_registrar(|| session.run(&FORGET, &Global, params![queue]))?.is_empty() {
        return Ok(false);
    }
    let _owner = rights::restricted()?;
    grants::forget_queue(session, queue)?;
    let mut tables = standing(session, queue)?;
    // Partitions go with their tables; those that were detached stand alone.
    tables.extend(partition::detached(session, queue)?);
    let quoted: Vec<String> =
        tables.iter().map(|table| format!("absurd.{}", name::quote(table))).collect();
    hold::exclusively(session, &quoted, None, || format!("The tables of queue \"{queue}\""))?;
    drop_views(session, queue, &tables)?;
    for table in quoted {
        // Restricted: what users built on the tables is theirs to remove. One by one, so that the
        // error names the table.
        session.run_once(&format!("drop table {table} restrict"), &[])?;
    }
    // Last: claims write these while they hold the tables.
    static LEAVE: Statement = Statement::new(
        "with late as (delete from absurd.queue_late where queue_name = $1),
              stuck as (delete from absurd.stuck_work where queue = $1)
         delete from absurd.queue_watermark where queue_name = $1",
    );
    session.run(&LEAVE, &Own, params![queue])?;
    Ok(true)
}

/// The queue's own tables that are there.
fn standing(session: &Session, queue: &str) -> Result<Vec<String>> {
    static STANDING: Statement = Statement::new(
        // Cast to name as the parser does it: what an identifier cannot hold is cut off.
        "select c.relname::pg_catalog.text, c.relowner from pg_catalog.pg_class c
          where c.relnamespace = 'absurd'::pg_catalog.regnamespace and c.relkind in ('r', 'p')
            and c.relname = any (array(select n::pg_catalog.name from unnest($1) n))",
    );
    let wanted: Vec<String> = script::prefixes(StorageMode::Partitioned)
        .iter()
        .map(|prefix| name::relation(queue, prefix, ""))
        .collect();
    let mut tables = Vec::new();
    for row in session.run(&STANDING, &Global, params![wanted])? {
        let table: String = row.need(0)?;
        if !shape::is_trusted(row.need(1)?)? {
            return Err(Error::NotOurs {
                relation: format!("absurd.{table}"),
                rule: "is not the engine's: who owns it must drop it first".to_owned(),
            });
        }
        tables.push(table);
    }
    Ok(tables)
}

/// Drops the views of schema `absurd` that read one of these tables, as some clients keep them over
/// all queues and make them anew.
fn drop_views(session: &Session, queue: &str, tables: &[String]) -> Result<()> {
    static VIEWS: Statement = Statement::new(
        "select distinct v.relname::pg_catalog.text
           from pg_catalog.pg_class t
           join pg_catalog.pg_depend d
             on d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass and d.refobjid = t.oid
            and d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass
           join pg_catalog.pg_rewrite w on w.oid = d.objid
           join pg_catalog.pg_class v
             on v.oid = w.ev_class and v.relkind = 'v' and v.relnamespace = t.relnamespace
          where t.relnamespace = 'absurd'::pg_catalog.regnamespace and t.relname = any ($1)
          order by 1",
    );
    for row in session.run(&VIEWS, &Global, params![tables.to_vec()])? {
        let view: String = row.need(0)?;
        let sql = format!("drop view absurd.{} restrict", name::quote(&view));
        session.run_once(&sql, &[])?;
        ereport::notice(&format!(
            "drop of queue \"{queue}\" also drops view \"absurd.{view}\", which reads its tables"
        ))?;
    }
    Ok(())
}
