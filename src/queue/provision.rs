//! Making and removing the tables of a queue.

use super::{QueueName, name};
use crate::error::{Error, Result};
use crate::params;
use crate::pg::plan::{Global, Statement};
use crate::pg::{Session, lock};

const TABLES: &str = include_str!("../../sql/queue/tables.sql");
const INDEXES: &str = include_str!("../../sql/queue/indexes.sql");
const COMMENTS: &str = include_str!("../../sql/queue/comments.sql");
const COLUMNS: &str = include_str!("../../sql/queue/columns.sql");

/// The prefixes of a queue's tables.
const PREFIXES: [&str; 5] = ["t", "r", "c", "e", "w"];
/// Its named indexes, by table and suffix.
const NAMED: [(&str, &str); 10] = [
    ("t", "due"),
    ("t", "wri"),
    ("t", "cai"),
    ("r", "ti"),
    ("r", "rdy"),
    ("r", "cei"),
    ("r", "end"),
    ("e", "eai"),
    ("w", "eni"),
    ("w", "ti"),
];

/// What columns.sql adds, statement by statement.
const ADDED: [(&str, &str); 6] = [
    ("t", "tenant_id"),
    ("t", "idempotency_key"),
    ("t", "workflow_run_id"),
    ("t", "cancel_done"),
    ("r", "last_heartbeat"),
    ("r", "tenant_id"),
];

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

static MODE: Statement =
    Statement::new("select storage_mode from absurd.queues where queue_name = $1");

fn stored_mode(session: &Session, queue: &QueueName) -> Result<Option<String>> {
    let rows = session.run(&MODE, &Global, params![queue.as_str()])?;
    rows.first().map(|row| row.need(0)).transpose()
}

/// Creates a queue, or takes up the tables that an earlier one left. On a queue that exists it only
/// reads its row: clients call it before every spawn.
///
/// # Errors
/// 42710 when the queue exists with another mode, 42P07 when its names are taken, 0A000 for a
/// partitioned queue.
pub fn create(session: &Session, queue: &QueueName, mode: StorageMode) -> Result<()> {
    if exists(session, queue, mode)? {
        return Ok(());
    }
    if mode == StorageMode::Partitioned {
        return Err(Error::NotYet {
            feature: "storage mode \"partitioned\" is",
            hint: "Create the queue unpartitioned.",
        });
    }
    // Two sessions may create the same queue, or two whose names collide: one after the other.
    lock::provisioning()?;
    if exists(session, queue, mode)? {
        return Ok(());
    }
    create_tables(session, queue)?;
    static REGISTER: Statement = Statement::new(
        "insert into absurd.queues (queue_name, created_at, storage_mode) values ($1, $2, $3)",
    );
    session.run(&REGISTER, &Global, params![queue.as_str(), session.now(), mode.as_str()])?;
    Ok(())
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
/// 42P01 for an unknown queue.
pub fn ensure_tables(session: &Session, queue: &QueueName) -> Result<()> {
    lock::provisioning()?;
    if stored_mode(session, queue)?.is_none() {
        return Err(Error::NoSuchQueue { queue: queue.as_str().to_owned() });
    }
    create_tables(session, queue)
}

fn create_tables(session: &Session, queue: &QueueName) -> Result<()> {
    let present = check_names(session, queue)?;
    for (statement, prefix) in statements(TABLES).zip(PREFIXES) {
        // A table that is there is adopted as it is.
        if !present.contains(&queue.relation(prefix, "")) {
            session.run_once(&name::expand(statement, queue.as_str()), &[])?;
        }
    }
    let columns = columns(session, queue)?;
    for (statement, (prefix, column)) in statements(COLUMNS).zip(ADDED) {
        if !columns.contains(&(queue.relation(prefix, ""), column.to_owned())) {
            session.run_once(&name::expand(statement, queue.as_str()), &[])?;
        }
    }
    if PREFIXES.iter().any(|prefix| !present.contains(&queue.relation(prefix, ""))) {
        for statement in statements(COMMENTS) {
            session.run_once(&name::expand(statement, queue.as_str()), &[])?;
        }
    }
    // Only what is missing: "if not exists" would say so of each index that is there.
    for (statement, (prefix, suffix)) in statements(INDEXES).zip(NAMED) {
        if !present.contains(&queue.relation(prefix, suffix)) {
            session.run_once(&name::expand(statement, queue.as_str()), &[])?;
        }
    }
    Ok(())
}

/// The columns that the queue's tables have.
fn columns(session: &Session, queue: &QueueName) -> Result<Vec<(String, String)>> {
    static FIND: Statement = Statement::new(
        "select c.relname::pg_catalog.text, a.attname::pg_catalog.text
           from pg_catalog.pg_class c
           join pg_catalog.pg_attribute a on a.attrelid = c.oid
          where c.relnamespace = 'absurd'::pg_catalog.regnamespace
            and c.relname::pg_catalog.text = any ($1)
            and a.attnum > 0 and not a.attisdropped",
    );
    let tables: Vec<String> = PREFIXES.iter().map(|prefix| queue.relation(prefix, "")).collect();
    let rows = session.run(&FIND, &Global, params![tables])?;
    rows.into_iter().map(|row| Ok((row.need(0)?, row.need(1)?))).collect()
}

/// The statements of a script of ours: none of them contains a semicolon of its own.
fn statements(script: &str) -> impl Iterator<Item = &str> {
    script.split(';').filter(|statement| !statement.trim().is_empty())
}

/// Checks that every name the queue needs is free or the queue's own, and returns those that are
/// there. Queue `a` owns the index `r_a_ti`, so a queue `a_ti` cannot own a table of that name, nor
/// the other way round.
fn check_names(session: &Session, queue: &QueueName) -> Result<Vec<String>> {
    static FIND: Statement = Statement::new(
        "select c.relname::pg_catalog.text, c.relkind::pg_catalog.text, c.relispartition,
                (select i.indrelid::pg_catalog.regclass::pg_catalog.text
                   from pg_catalog.pg_index i where i.indexrelid = c.oid),
                (select t.relname::pg_catalog.text
                   from pg_catalog.pg_index i
                   join pg_catalog.pg_class t on t.oid = i.indrelid
                  where i.indexrelid = c.oid)
           from pg_catalog.pg_class c
          where c.relnamespace = 'absurd'::pg_catalog.regnamespace
            and c.relname::pg_catalog.text = any ($1)",
    );
    let tables: Vec<String> = PREFIXES.iter().map(|prefix| queue.relation(prefix, "")).collect();
    let indexes: Vec<(String, String)> = NAMED
        .iter()
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
        let own_table = matches!(kind.as_str(), "r" | "p") && !partition;
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
        present.push(relation);
    }
    Ok(present)
}

/// Drops a queue with its tables; an unknown queue is no error. Takes any name, also one that
/// create_queue would refuse.
///
/// # Errors
/// 2BP01 naming what depends on the tables, such as a user's view.
pub fn drop(session: &Session, queue: &str) -> Result<()> {
    static FORGET: Statement =
        Statement::new("delete from absurd.queues where queue_name = $1 returning queue_name");
    if session.run(&FORGET, &Global, params![queue])?.is_empty() {
        return Ok(());
    }
    static STANDING: Statement = Statement::new(
        // Cast to name as the parser does it: what an identifier cannot hold is cut off.
        "select c.relname::pg_catalog.text from pg_catalog.pg_class c
          where c.relnamespace = 'absurd'::pg_catalog.regnamespace and c.relkind in ('r', 'p')
            and c.relname = any (array(select n::pg_catalog.name from unnest($1) n))",
    );
    let wanted: Vec<String> =
        PREFIXES.iter().chain(&["i"]).map(|prefix| name::relation(queue, prefix, "")).collect();
    let tables = session
        .run(&STANDING, &Global, params![wanted])?
        .into_iter()
        .map(|row| Ok(format!("absurd.{}", name::quote(&row.need::<String>(0)?))))
        .collect::<Result<Vec<_>>>()?;
    for table in tables {
        // Restricted: what users built on the tables is theirs to remove. One by one, so that the
        // error names the table.
        session.run_once(&format!("drop table {table} restrict"), &[])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn index_names_match_the_script() {
        let made: Vec<_> = statements(INDEXES).collect();
        assert_eq!(made.len(), NAMED.len());
        for (statement, (prefix, suffix)) in made.iter().zip(NAMED) {
            let head = format!("create index if not exists {{{prefix}_{suffix}}} on {{{prefix}}}");
            assert!(statement.contains(&head), "{statement}");
        }
    }

    #[test]
    fn added_columns_match_the_script() {
        assert_eq!(statements(COLUMNS).count(), ADDED.len());
        for (statement, (prefix, column)) in statements(COLUMNS).zip(ADDED) {
            let head = format!("alter table {{{prefix}}} add column {column} ");
            assert!(statement.contains(&head), "{statement}");
        }
    }

    #[test]
    fn every_derived_name_fits_an_identifier() {
        for (prefix, suffix) in NAMED {
            assert!(name::relation(&"x".repeat(name::MAX_BYTES), prefix, suffix).len() <= 63);
        }
    }

    #[test]
    fn scripts_split_into_whole_statements() {
        assert_eq!(statements(TABLES).count(), PREFIXES.len());
        for (statement, prefix) in statements(TABLES).zip(PREFIXES) {
            assert!(statement.contains(&format!("create table {{{prefix}}} (")), "{statement}");
        }
    }
}
