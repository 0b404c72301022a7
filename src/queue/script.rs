//! The DDL of one queue, made from the templates in sql/queue.

use super::provision::StorageMode;
use super::{QueueName, name};

const TABLES: &str = include_str!("../../sql/queue/tables.sql");
const INDEXES: &str = include_str!("../../sql/queue/indexes.sql");
const COMMENTS: &str = include_str!("../../sql/queue/comments.sql");
const COLUMNS: &str = include_str!("../../sql/queue/columns.sql");

/// The prefixes of a queue's tables. The last one is a partitioned queue's alone.
const PREFIXES: [&str; 6] = ["t", "r", "c", "e", "w", "i"];
/// Its named indexes, by table and suffix.
const NAMED: [(&str, &str); 13] = [
    ("t", "due"),
    ("t", "ik"),
    ("t", "wri"),
    ("t", "cai"),
    ("r", "ti"),
    ("r", "rdy"),
    ("r", "cei"),
    ("r", "aei"),
    ("r", "end"),
    ("e", "eai"),
    ("w", "eni"),
    ("w", "ti"),
    ("i", "ti"),
];
/// What columns.sql adds, statement by statement.
const ADDED: [(&str, &str); 12] = [
    ("t", "tenant_id"),
    ("t", "idempotency_key"),
    ("t", "workflow_run_id"),
    ("t", "cancel_done"),
    ("t", "workflow_step"),
    ("t", "attempt_timeout"),
    ("t", "leave_late"),
    ("r", "last_heartbeat"),
    ("r", "tenant_id"),
    ("r", "priority"),
    ("r", "attempt_ends_at"),
    ("r", "retried"),
];
/// The tables that are cut into weeks, with the column whose instant decides.
pub const WEEKLY: [(&str, &str); 4] =
    [("t", "task_id"), ("r", "run_id"), ("c", "task_id"), ("w", "run_id")];

/// A task's row changes state within its page as long as there is room; a run's moves to no other
/// page, so that the log need not have all of it again and no table has to grow for a claim.
pub const ROOM: &str = " with (fillfactor = 70)";

/// The prefixes of the tables that a queue of this mode has.
pub fn prefixes(mode: StorageMode) -> &'static [&'static str] {
    match mode {
        StorageMode::Partitioned => &PREFIXES,
        StorageMode::Unpartitioned => &PREFIXES[..5],
    }
}

/// Table prefix and suffix of each named index of a queue of this mode.
pub fn indexes(mode: StorageMode) -> impl Iterator<Item = (&'static str, &'static str)> {
    NAMED.into_iter().filter(move |name| has_index(mode, *name))
}

/// A partitioned queue's keys are unique in a table of their own.
fn has_index(mode: StorageMode, (prefix, suffix): (&str, &str)) -> bool {
    prefixes(mode).contains(&prefix) && (mode == StorageMode::Unpartitioned || suffix != "ik")
}

/// Prefix and statement of each table.
pub fn tables(
    queue: &QueueName,
    mode: StorageMode,
) -> impl Iterator<Item = (&'static str, String)> {
    PREFIXES.into_iter().zip(statements(TABLES)).take(prefixes(mode).len()).map(
        move |(prefix, statement)| (prefix, name::expand(&fill(&statement, mode), queue.as_str())),
    )
}

/// Prefix, column and statement of each column that an older table may lack.
pub fn columns(
    queue: &QueueName,
    mode: StorageMode,
) -> impl Iterator<Item = (&'static str, &'static str, String)> {
    ADDED.into_iter().zip(statements(COLUMNS)).map(move |((prefix, column), statement)| {
        (prefix, column, name::expand(&fill(&statement, mode), queue.as_str()))
    })
}

/// Prefix, suffix and statement of each index.
pub fn index_statements(
    queue: &QueueName,
    mode: StorageMode,
) -> impl Iterator<Item = (&'static str, &'static str, String)> {
    NAMED.into_iter().zip(statements(INDEXES)).filter(move |(name, _)| has_index(mode, *name)).map(
        |((prefix, suffix), statement)| (prefix, suffix, name::expand(&statement, queue.as_str())),
    )
}

/// The statements that say what each table and column is for.
pub fn comments(queue: &QueueName, mode: StorageMode) -> impl Iterator<Item = String> {
    statements(COMMENTS)
        .into_iter()
        .filter(move |statement| mode == StorageMode::Partitioned || !statement.contains("{i}"))
        .map(|statement| name::expand(&statement, queue.as_str()))
}

/// Puts what the mode decides in the place of `<...>`.
fn fill(statement: &str, mode: StorageMode) -> String {
    let partitioned = mode == StorageMode::Partitioned;
    let mut text = statement.to_owned();
    for (prefix, column) in WEEKLY {
        let storage = match (partitioned, prefix) {
            (true, _) => format!(" partition by range ({column})"),
            (false, "t" | "r") => ROOM.to_owned(),
            (false, _) => String::new(),
        };
        text = text.replace(&format!("<storage of {prefix}>"), &storage);
    }
    text
}

/// The statements of a script of ours, without comments: no statement contains a semicolon of its
/// own.
fn statements(script: &'static str) -> Vec<String> {
    let code: Vec<&str> =
        script.lines().filter(|line| !line.trim_start().starts_with("--")).collect();
    let statements = code.join("\n");
    statements
        .split(';')
        .map(str::trim)
        .filter(|text| !text.is_empty())
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn index_names_match_the_script() {
        let made = statements(INDEXES);
        assert_eq!(made.len(), NAMED.len());
        for (statement, (prefix, suffix)) in made.iter().zip(NAMED) {
            assert!(statement.starts_with("create "), "{statement}");
            let tail = format!("index if not exists {{{prefix}_{suffix}}} on {{{prefix}}}");
            let [plain, unique] = ["create ", "create unique "].map(|head| head.to_owned() + &tail);
            assert!(statement.contains(&plain) || statement.contains(&unique), "{statement}");
        }
    }

    #[test]
    fn added_columns_match_the_script() {
        assert_eq!(statements(COLUMNS).len(), ADDED.len());
        for (statement, (prefix, column)) in statements(COLUMNS).into_iter().zip(ADDED) {
            let head = format!("alter table {{{prefix}}} add column {column} ");
            assert!(statement.contains(&head), "{statement}");
        }
    }

    #[test]
    fn every_derived_name_fits_an_identifier() {
        for (prefix, suffix) in NAMED.into_iter().chain([("t", "653")]) {
            assert!(name::relation(&"x".repeat(name::MAX_BYTES), prefix, suffix).len() <= 63);
        }
    }

    #[test]
    fn scripts_split_into_whole_statements() {
        assert_eq!(statements(TABLES).len(), PREFIXES.len());
        for (statement, prefix) in statements(TABLES).into_iter().zip(PREFIXES) {
            assert!(statement.contains(&format!("create table {{{prefix}}} (")), "{statement}");
        }
    }

    #[test]
    fn a_mode_fills_every_place() {
        let queue = QueueName::parse(Some("q")).unwrap();
        for mode in [StorageMode::Unpartitioned, StorageMode::Partitioned] {
            for (_, statement) in tables(&queue, mode) {
                assert!(!statement.contains(['<', '>']), "{statement}");
                let cut = statement.contains("partition by range");
                let weekly = WEEKLY.iter().any(|(prefix, _)| {
                    statement.contains(&format!("create table absurd.\"{prefix}_q\""))
                });
                assert_eq!(cut, weekly && mode == StorageMode::Partitioned, "{statement}");
            }
            for (.., statement) in columns(&queue, mode) {
                assert!(!statement.contains(['<', '>']), "{statement}");
            }
        }
    }
}
