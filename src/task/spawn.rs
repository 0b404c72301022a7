//! spawn_task: a task with its first run.

use super::options::{SpawnOptions, Start};
use crate::error::{Error, Result};
use crate::params;
use crate::pg::plan::Global;
use crate::pg::{Jsonb, Param, Session, Statement, Timestamp, Uuid, clock};
use crate::queue::{QueueName, provision, ready};

/// A task and the run that speaks for it.
pub struct Spawned {
    pub task_id: Uuid,
    /// None for a task that somebody inserted without a run.
    pub run_id: Option<Uuid>,
    pub attempt: i32,
    /// Whether this call made the task.
    pub created: bool,
}

/// What to spawn.
pub struct Order<'a> {
    pub name: &'a str,
    pub params: Jsonb,
    /// The options as they came: the task keeps parts of them as they are.
    pub raw_options: Jsonb,
    pub options: &'a SpawnOptions,
    /// The workflow run that the task belongs to, resolved and locked.
    pub workflow_run: Option<Uuid>,
    /// Ids of the task and its run, when they have been given out already.
    pub ids: Option<(Uuid, Uuid)>,
}

static SPAWN: Statement = Statement::new(include_str!("../../sql/task/spawn.sql"));
/// The first run of a task.
pub(super) static SPAWN_RUN: Statement =
    Statement::new(include_str!("../../sql/task/spawn_run.sql"));
static SPAWN_ONCE: Statement = Statement::new(include_str!("../../sql/task/spawn_once.sql"));
/// The task that has a key. It is held against removal, and one that is being removed is not there
/// any more.
static BY_KEY: Statement = Statement::new(
    "select t.task_id,
            coalesce(t.last_attempt_run,
                     (select r.run_id from {r} r where r.task_id = t.task_id
                       order by r.attempt desc limit 1)),
            t.attempts
       from {t} t
      where t.idempotency_key = $1
        for key share skip locked",
);
static SPAWN_ONCE_PARTITIONED: Statement =
    Statement::new(include_str!("../../sql/task/spawn_once_partitioned.sql"));
static BY_KEY_PARTITIONED: Statement = Statement::new(
    "select t.task_id,
            coalesce(t.last_attempt_run,
                     (select r.run_id from {r} r where r.task_id = t.task_id
                       order by r.attempt desc limit 1)),
            t.attempts
       from {i} i join {t} t on t.task_id = i.task_id
      where i.idempotency_key = $1
        for key share of t skip locked",
);

/// The task that a key stands for, when there is none: it was deleted without its key, or its
/// table was emptied.
static STALE: Statement = Statement::new(
    "select i.task_id from {i} i
      where i.idempotency_key = $1
        and not exists (select from {t} t where t.task_id = i.task_id)",
);
static SPAWN_ONCE_AGAIN: Statement =
    Statement::new(include_str!("../../sql/task/spawn_once_again.sql"));
/// Whether there may be rows of these tables that the current role does not see.
static HIDES: Statement = Statement::new(
    "select coalesce(bool_or(pg_catalog.row_security_active(c.oid)), false)
       from pg_catalog.pg_class c
      where c.relnamespace = 'absurd'::pg_catalog.regnamespace
        and c.relname = any (array(select n::pg_catalog.name from unnest($1) n))",
);

/// Checks a task's name.
///
/// # Errors
/// 22004 for NULL, 22023 for a blank one.
pub fn check_name(name: Option<&str>) -> Result<&str> {
    let name = name.ok_or_else(|| Error::null("task_name"))?;
    if name.trim().is_empty() {
        return Err(Error::blank("task_name"));
    }
    Ok(name)
}

/// Spawns a task, or returns the one that has its idempotency key.
///
/// # Errors
/// 42P01 for an unknown queue, 22023 for an `available_at` that is no timestamp, 40001 when the
/// task that has the key is removed concurrently, 42501 when row security hides it.
pub fn run(session: &Session, queue: &QueueName, order: &Order) -> Result<Spawned> {
    let now = session.now();
    let available_at = start(now, &order.options.start)?;
    let (task_id, run_id) = match order.ids {
        Some(ids) => ids,
        None => (session.new_id()?, session.new_id()?),
    };
    let options = order.options;
    let spawned = Spawned { task_id, run_id: Some(run_id), attempt: 1, created: true };
    let tenant = options.tenant_id.as_deref();
    let Some(key) = options.idempotency_key.as_deref() else {
        let task = params![
            task_id,
            run_id,
            order.name,
            order.params,
            order.raw_options,
            options.max_attempts,
            now,
            tenant,
            order.workflow_run,
        ];
        session.change(&SPAWN, queue, task, (1, "{t}"))?;
        let run = params![run_id, task_id, available_at, now, tenant, options.priority];
        session.change(&SPAWN_RUN, queue, run, (1, "{r}"))?;
        ready::announce(session, queue, available_at)?;
        return Ok(spawned);
    };
    // Keys of a partitioned queue stand in a table of their own.
    let is_partitioned = provision::is_partitioned(queue)?;
    let (spawn_once, by_key) = match is_partitioned {
        false => (&SPAWN_ONCE, &BY_KEY),
        true => (&SPAWN_ONCE_PARTITIONED, &BY_KEY_PARTITIONED),
    };
    // A task that is there is found without waiting for those who are changing it.
    if let Some(found) = find(session, queue, by_key, key)? {
        return Ok(found);
    }
    let once: &[Param] = params![
        task_id,
        run_id,
        order.name,
        order.params,
        order.raw_options,
        options.max_attempts,
        now,
        available_at,
        tenant,
        order.workflow_run,
        options.priority,
        key,
    ];
    if !session.run(spawn_once, queue, once)?.is_empty() {
        ready::announce(session, queue, available_at)?;
        return Ok(spawned);
    }
    if let Some(found) = find(session, queue, by_key, key)? {
        return Ok(found);
    }
    if hides(session, queue)? {
        return Err(Error::Hidden { key: key.to_owned(), queue: queue.as_str().to_owned() });
    }
    if is_partitioned && let Some(row) = session.run(&STALE, queue, params![key])?.first() {
        let again = [once, params![row.need::<Uuid>(0)?]].concat();
        if !session.run(&SPAWN_ONCE_AGAIN, queue, &again)?.is_empty() {
            ready::announce(session, queue, available_at)?;
            return Ok(spawned);
        }
        // Another session was faster.
        if let Some(found) = find(session, queue, by_key, key)? {
            return Ok(found);
        }
    }
    Err(Error::Vanished {
        what: "Task with idempotency key",
        key: key.to_owned(),
        queue: queue.as_str().to_owned(),
    })
}

/// Whether row security may keep tasks or keys from the current role.
fn hides(session: &Session, queue: &QueueName) -> Result<bool> {
    let tables = vec![queue.relation("t", ""), queue.relation("i", "")];
    session.run(&HIDES, &Global, params![tables])?.first().map_or(Ok(false), |row| row.need(0))
}

/// The task that has an idempotency key.
fn find(
    session: &Session,
    queue: &QueueName,
    by_key: &'static Statement,
    key: &str,
) -> Result<Option<Spawned>> {
    let Some(row) = session.run(by_key, queue, params![key])?.first() else { return Ok(None) };
    Ok(Some(Spawned {
        task_id: row.need(0)?,
        run_id: row.get(1)?,
        attempt: row.need(2)?,
        created: false,
    }))
}

/// When a task that is spawned now becomes available.
pub(super) fn start(now: Timestamp, start: &Start) -> Result<Timestamp> {
    match start {
        Start::Now => Ok(now),
        Start::After(seconds) => Ok(now.plus_seconds(*seconds)),
        Start::At(text) => parse_start(text),
    }
}

fn parse_start(text: &str) -> Result<Timestamp> {
    clock::parse(text).map_err(|error| match error {
        Error::Postgres(caught) if caught.is("22007") || caught.is("22008") => Error::invalid(
            format!("option \"available_at\" \"{text}\""),
            "must be a timestamp with time zone",
        ),
        other => other,
    })
}
