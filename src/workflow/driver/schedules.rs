//! Cron schedules: when the next run of a workflow is due, and the runs that have come due.

use serde_json::json;

use super::admit;
use super::start::{self, NewExecution};
use crate::error::{Error, Result};
use crate::maintenance::cron;
use crate::params;
use crate::pg::plan::{Own, Statement};
use crate::pg::{Jsonb, Session, Timestamp, catalog, ereport};
use crate::queue::{QueueName, access};
use crate::task::stuck;
use crate::workflow::bounds::cut;
use crate::workflow::program::{Program, Schedule};
use crate::workflow::registry::{self, Definition};

static REGISTER: Statement = Statement::new(
    "insert into absurd.workflow_schedule as s
         (workflow_name, workflow_version, queue_name, is_paused, since, next_trigger)
     values ($1, $2, $3, $4, $5, $6)
     on conflict (workflow_name) do update
        set workflow_version = excluded.workflow_version, queue_name = excluded.queue_name,
            is_paused = excluded.is_paused, since = excluded.since,
            next_trigger = excluded.next_trigger",
);
static LOAD: Statement = Statement::new(
    "select workflow_version, queue_name, is_paused, since, last_trigger, next_trigger
       from absurd.workflow_schedule
      where workflow_name = $1
        for update",
);
static DELETE: Statement =
    Statement::new("delete from absurd.workflow_schedule where workflow_name = $1");
static SET: Statement = Statement::new(
    "update absurd.workflow_schedule
        set queue_name = $2, is_paused = $3, since = $4, next_trigger = $5
      where workflow_name = $1",
);
static DUE: Statement = Statement::new(
    "select workflow_name, queue_name
       from absurd.workflow_schedule
      where not is_paused and next_trigger <= $1
      order by next_trigger",
);
static TAKE: Statement = Statement::new(
    "select workflow_version, queue_name, next_trigger
       from absurd.workflow_schedule
      where workflow_name = $1 and queue_name = $2 and not is_paused and next_trigger <= $3
        for update skip locked",
);
static TRIGGERED: Statement = Statement::new(
    "update absurd.workflow_schedule
        set last_trigger = coalesce($2, last_trigger), next_trigger = $3
      where workflow_name = $1",
);

/// Runs that registering a version starts at most of those that the one before has overdue.
const OVERDUE: i32 = 1000;

/// A workflow's row.
struct Row {
    version: String,
    queue: Option<String>,
    paused: bool,
    since: Timestamp,
    last: Option<Timestamp>,
    next: Option<Timestamp>,
}

fn load(session: &Session, workflow: &str) -> Result<Option<Row>> {
    let found = session.run(&LOAD, &Own, params![workflow])?.first();
    let read = |row: crate::pg::Row| {
        Ok(Row {
            version: row.need(0)?,
            queue: row.get(1)?,
            paused: row.need(2)?,
            since: row.need(3)?,
            last: row.get(4)?,
            next: row.get(5)?,
        })
    };
    found.map(read).transpose()
}

/// The first trigger after what has been done: with catchup every one since the start date, or
/// since `since` without one; else only those after `since`. Never one before the start date.
fn next(schedule: &Schedule, since: Timestamp, last: Option<Timestamp>) -> Option<Timestamp> {
    // A trigger at the start date itself counts.
    let before_start = schedule.start_date.map(|at| Timestamp::from_micros(at.micros() - 1));
    let from = match (schedule.catchup, before_start) {
        (true, Some(start)) => start,
        (false, Some(start)) => since.max(start),
        (_, None) => since,
    };
    schedule.cron.next_after(last.map_or(from, |last| last.max(from)))
}

/// Puts a document in charge of its workflow's schedule. What came due before is run with the
/// version that was in charge, what that has triggered is not triggered again, and an operator's
/// pause stays.
pub fn put_in_charge(session: &Session, program: &Program, queue: Option<&str>) -> Result<()> {
    let before = match load(session, &program.name)? {
        Some(before) => run_overdue(session, &program.name, before)?,
        None => None,
    };
    let now = session.now();
    let last = before.as_ref().and_then(|before| before.last);
    let due = program.schedule.as_ref().filter(|_| queue.is_some());
    let mut due = due.and_then(|schedule| next(schedule, now, last));
    let mut paused = program.schedule.as_ref().is_some_and(|schedule| schedule.paused);
    if let Some(before) = before {
        if due.is_some() {
            // What could not be run is not lost.
            let left = before.next.filter(|at| !before.paused && *at <= now);
            due = left.or(due);
        }
        // The operator has said otherwise than the document that was in charge.
        if before.paused != was_paused(session, &program.name, &before)? {
            paused = before.paused;
        }
    }
    let values = params![program.name.as_str(), program.version.as_str(), queue, paused, now, due];
    session.run(&REGISTER, &Own, values)?;
    if due.is_some() && !cron::attend(session)? {
        let role = stuck::caller(session)?;
        ereport::warn_of(&format!(
            "workflow \"{}\" has a schedule, and role \"{role}\" has no job of pg_cron that runs \
             schedules: absurd.run_schedules() must be called every minute",
            cut(&program.name)
        ))?;
    }
    Ok(())
}

/// A version is gone: if it was in charge, the current one of those that are left is.
pub fn version_deleted(session: &Session, workflow: &str, version: &str) -> Result<()> {
    let Some(row) = load(session, workflow)?.filter(|row| row.version == version) else {
        return Ok(());
    };
    let Some(left) = registry::find(session, workflow, None)? else {
        return session.run(&DELETE, &Own, params![workflow]).map(drop);
    };
    let program = registry::program(session, workflow, &left.version, &left.hash)?;
    let queue = left.queue.or(row.queue);
    let due = program.schedule.as_ref().filter(|_| queue.is_some());
    let due = due.and_then(|schedule| next(schedule, session.now(), row.last));
    let (version, queue) = (left.version.as_str(), queue.as_deref());
    let values = params![workflow, version, queue, row.paused, session.now(), due];
    session.run(&REGISTER, &Own, values).map(drop)
}

/// Whether the document in charge wants its schedule paused.
fn was_paused(session: &Session, workflow: &str, row: &Row) -> Result<bool> {
    let Some(definition) = registry::find(session, workflow, Some(&row.version))? else {
        return Ok(row.paused);
    };
    let program = registry::program(session, workflow, &row.version, &definition.hash)?;
    Ok(program.schedule.as_ref().is_some_and(|schedule| schedule.paused))
}

/// Runs what a workflow's schedule has overdue, before another version is in charge. Returns its
/// row as that leaves it. Where the role may not start runs, a WARNING says that the new version
/// will run them.
fn run_overdue(session: &Session, workflow: &str, row: Row) -> Result<Option<Row>> {
    let is_overdue = !row.paused && row.next.is_some_and(|at| at <= session.now());
    let Some(queue) = row.queue.as_deref().filter(|_| is_overdue) else { return Ok(Some(row)) };
    let name = QueueName::parse(Some(queue))?;
    let may_start = catalog::require("workflow_run", catalog::INSERT)
        .and_then(|()| access::require(&name, &access::SPAWN));
    let outcome = match may_start {
        Ok(()) => session.attempt(|| {
            let Some((version, due)) = take(session, workflow, queue)? else { return Ok(()) };
            let definition = registry::require(session, workflow, Some(&version))?;
            one(session, &definition, queue, due, OVERDUE).map(drop)
        })?,
        Err(error @ Error::Postgres(_)) => return Err(error),
        Err(error) => Err(error),
    };
    match outcome {
        Ok(()) => {}
        Err(error) if stuck::ends_call(&error) => return Err(error),
        Err(error) => ereport::warn(error)?,
    }
    load(session, workflow)
}

/// The first trigger of a workflow that has passed, with the version in charge; its row is locked.
fn take(session: &Session, workflow: &str, queue: &str) -> Result<Option<(String, Timestamp)>> {
    let found = session.run(&TAKE, &Own, params![workflow, queue, session.now()])?.first();
    found.map(|row| Ok((row.need(0)?, row.need(2)?))).transpose()
}

/// The document in charge has got another queue, perhaps its first.
pub fn moved(session: &Session, program: &Program, queue: Option<&str>) -> Result<()> {
    match load(session, &program.name)? {
        Some(row) if row.version == program.version => {
            let due = program.schedule.as_ref();
            let due = due.and_then(|schedule| next(schedule, row.since, row.last));
            set(session, &program.name, queue, row.paused, row.since, due)
        }
        _ => Ok(()),
    }
}

fn set(
    session: &Session,
    workflow: &str,
    queue: Option<&str>,
    paused: bool,
    since: Timestamp,
    next: Option<Timestamp>,
) -> Result<()> {
    session.run(&SET, &Own, params![workflow, queue, paused, since, next])?;
    Ok(())
}

/// Stops a workflow's schedule, or lets it go on. What came due while it stood still is made up for
/// only with catchup.
///
/// # Errors
/// P0002 for an unknown workflow.
pub fn pause(session: &Session, workflow: &str, paused: bool) -> Result<()> {
    catalog::require("workflow_schedule", catalog::UPDATE)?;
    let Some(row) = load(session, workflow)? else {
        return Err(registry::unknown(workflow, None));
    };
    if row.paused == paused {
        return Ok(());
    }
    let definition = registry::require(session, workflow, Some(&row.version))?;
    let program = registry::program(session, workflow, &row.version, &definition.hash)?;
    let schedule = program.schedule.as_ref();
    let catches_up = schedule.is_some_and(|schedule| schedule.catchup);
    let since = if paused || catches_up { row.since } else { session.now() };
    let due = schedule.filter(|_| row.queue.is_some());
    let due = due.and_then(|schedule| next(schedule, since, row.last));
    set(session, workflow, row.queue.as_deref(), paused, since, due)
}

/// Creates the runs that have come due in queues where the role may spawn tasks, at most `limit`;
/// returns how many.
///
/// # Errors
/// 42501 for who may not create workflow runs; Postgres's own. A schedule that fails is
/// reported as a warning and does not stop the others.
pub fn run(session: &Session, limit: i32) -> Result<i32> {
    catalog::require("workflow_run", catalog::INSERT)?;
    let mut created = 0;
    for row in session.run(&DUE, &Own, params![session.now()])? {
        if created >= limit {
            break;
        }
        let workflow: String = row.need(0)?;
        let Some(queue) = row.get::<String>(1)? else { continue };
        // Those in other queues are left to who may spawn tasks there, and nobody waits for this
        // role.
        let name = QueueName::parse(Some(&queue))?;
        match access::require(&name, &access::SPAWN) {
            Ok(()) => {}
            Err(Error::Denied { .. }) => continue,
            // Only who undoes it may go on after an error of Postgres's.
            Err(error @ Error::Postgres(_)) => return Err(error),
            Err(error) => {
                ereport::warn(error)?;
                continue;
            }
        }
        let Some((version, due)) = take(session, &workflow, &queue)? else { continue };
        let outcome = session.attempt(|| {
            let definition = registry::require(session, &workflow, Some(&version))?;
            one(session, &definition, &queue, due, limit - created)
        })?;
        match outcome {
            Ok(runs) => created += runs,
            Err(Error::Postgres(caught)) if caught.is("57014") => {
                return Err(Error::Postgres(caught));
            }
            Err(error) => ereport::warn(error)?,
        }
    }
    Ok(created)
}

/// Creates the due runs of one workflow, whose row is locked: `due` is the first trigger that has
/// passed.
fn one(
    session: &Session,
    definition: &Definition,
    queue: &str,
    due: Timestamp,
    limit: i32,
) -> Result<i32> {
    let name = definition.name.as_str();
    let program = registry::program(session, name, &definition.version, &definition.hash)?;
    let Some(schedule) = &program.schedule else {
        return triggered(session, name, None, None).map(|()| 0);
    };
    let now = session.now();
    let bound = i64::from(program.max_active_runs);
    if !schedule.catchup {
        // Of several missed triggers only the newest; at the bound none.
        let after_now = Timestamp::from_micros(now.micros().saturating_add(1));
        let newest = schedule.cron.previous_before(after_now).map_or(due, |at| at.max(due));
        let free = admit::unfinished(session, name)? < bound;
        if free {
            create(session, definition, &program, queue, newest)?;
        }
        triggered(session, name, Some(newest), schedule.cron.next_after(now))?;
        return Ok(i32::from(free));
    }
    let mut created = 0;
    let (mut last, mut next) = (None, Some(due));
    while let Some(at) = next.filter(|at| *at <= now)
        && created < limit
        && admit::unfinished(session, name)? < bound
    {
        session.check_for_interrupts()?;
        create(session, definition, &program, queue, at)?;
        created += 1;
        last = Some(at);
        next = schedule.cron.next_after(at);
    }
    triggered(session, name, last, next)?;
    Ok(created)
}

fn triggered(
    session: &Session,
    workflow: &str,
    last: Option<Timestamp>,
    next: Option<Timestamp>,
) -> Result<()> {
    session.run(&TRIGGERED, &Own, params![workflow, last, next])?;
    Ok(())
}

fn create(
    session: &Session,
    definition: &Definition,
    program: &Program,
    queue: &str,
    at: Timestamp,
) -> Result<()> {
    let before = program.schedule.as_ref().and_then(|s| s.cron.previous_before(at)).unwrap_or(at);
    let inputs = json!({
        "data_interval_start": before.iso8601(),
        "data_interval_end": at.iso8601(),
    });
    let new = NewExecution {
        definition,
        inputs: Jsonb::from_text(&inputs.to_string())?,
        queue,
        created_by: Some("schedule"),
        tags: None,
        idempotency_key: None,
        bounded: false,
        origin: None,
    };
    match start::insert(session, &new)? {
        Some(id) => start::begin(session, definition, id, &new),
        None => Ok(()),
    }
}
