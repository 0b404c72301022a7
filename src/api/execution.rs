//! Workflow documents: registered, started, moved on, cancelled.

use pgrx::prelude::*;

use super::{optional_queue, required, warn_of};
use crate::error::{Error, Result as Outcome};
use crate::json::{self, MAX_LEVELS};
use crate::pg::json::Measure;
use crate::pg::trigger::{Fired, Version, When};
use crate::pg::{Jsonb, Timestamp, Uuid, call, catalog};
use crate::queue::{access, policy};
use crate::workflow::bounds::{MAX_DEPTH, MAX_DOCUMENT, MAX_NODES};
use crate::workflow::document::check_size;
use crate::workflow::driver::{due, schedules, start};
use crate::workflow::options::StartOptions;
use crate::workflow::registry::{self, Registered, Stored};
use crate::workflow::{forget, versions, yaml};

type RegisteredRow = (String, String, String, bool);

fn registered(done: Registered) -> RegisteredRow {
    (done.name, done.version, done.hash, done.created)
}

/// Registers a workflow document.
#[pg_extern]
fn register_workflow(
    p_definition: Option<Jsonb>,
    p_queue_name: default!(Option<&str>, "NULL"),
) -> TableIterator<
    'static,
    (
        name!(workflow_name, String),
        name!(workflow_version, String),
        name!(workflow_hash, String),
        name!(created, bool),
    ),
> {
    let done = call(|session| {
        catalog::require("workflow_definition", catalog::INSERT)?;
        registry::register(session, text_of(p_definition, "p_definition")?, p_queue_name)
    });
    TableIterator::once(registered(done))
}

/// The text of a document, which is measured before it is made.
fn text_of(definition: Option<Jsonb>, name: &'static str) -> Outcome<String> {
    let definition = required(definition, name)?;
    let max = Measure { bytes: MAX_DOCUMENT, values: MAX_NODES, levels: MAX_DEPTH };
    let found = definition.measure(max)?;
    check_size(found.bytes, found.values)?;
    if found.levels > MAX_DEPTH {
        return Err(Error::TooDeep { what: name.into(), max: MAX_DEPTH });
    }
    Ok(definition.to_text())
}

/// The text that a document is hashed by.
#[pg_extern(immutable, parallel_safe)]
fn canonical_document(definition: Option<Jsonb>) -> String {
    call(|session| registry::canonical(session, &text_of(definition, "definition")?))
}

/// Registers a workflow document written in YAML.
#[pg_extern]
fn register_workflow_yaml(
    p_definition: Option<&str>,
    p_queue_name: default!(Option<&str>, "NULL"),
) -> TableIterator<
    'static,
    (
        name!(workflow_name, String),
        name!(workflow_version, String),
        name!(workflow_hash, String),
        name!(created, bool),
    ),
> {
    let done = call(|session| {
        catalog::require("workflow_definition", catalog::INSERT)?;
        let text = required(p_definition, "p_definition")?;
        let document = yaml::to_json(text, &|| session.check_for_interrupts())?;
        registry::register(session, document, p_queue_name)
    });
    TableIterator::once(registered(done))
}

/// A registered document with what is known of it.
#[pg_extern]
fn get_workflow(
    name: Option<&str>,
    version: default!(Option<&str>, "NULL"),
) -> TableIterator<
    'static,
    (
        name!(workflow_name, String),
        name!(workflow_version, String),
        name!(workflow_hash, String),
        name!(queue_name, Option<String>),
        name!(document, Jsonb),
        name!(is_latest, bool),
        name!(schedule, Option<String>),
        name!(is_paused, Option<bool>),
        name!(next_trigger, Option<Timestamp>),
        name!(registered_at, Timestamp),
        name!(registered_by, String),
    ),
> {
    let found = call(|session| registry::get(session, required(name, "name")?, version));
    TableIterator::once((
        found.name,
        found.version,
        found.hash,
        found.queue,
        found.document,
        found.latest,
        found.schedule,
        found.paused,
        found.next_trigger,
        found.registered_at,
        found.registered_by,
    ))
}

/// All registered documents, by name and the newest first.
#[pg_extern]
fn list_workflows() -> TableIterator<
    'static,
    (
        name!(workflow_name, String),
        name!(workflow_version, String),
        name!(workflow_hash, String),
        name!(queue_name, Option<String>),
        name!(is_latest, bool),
        name!(schedule, Option<String>),
        name!(is_paused, Option<bool>),
        name!(next_trigger, Option<Timestamp>),
        name!(registered_at, Timestamp),
        name!(registered_by, String),
    ),
> {
    let found = call(|session| registry::list(session, None));
    TableIterator::new(found.into_iter().map(|stored: Stored| {
        (
            stored.name,
            stored.version,
            stored.hash,
            stored.queue,
            stored.latest,
            stored.schedule,
            stored.paused,
            stored.next_trigger,
            stored.registered_at,
            stored.registered_by,
        )
    }))
}

/// Starts a run of a registered workflow.
#[pg_extern]
fn start_workflow(
    p_workflow_name: Option<&str>,
    p_workflow_version: default!(Option<&str>, "NULL"),
    p_inputs: default!(Option<Jsonb>, "'{}'"),
    p_queue_name: default!(Option<&str>, "NULL"),
    p_options: default!(Option<Jsonb>, "'{}'"),
) -> Uuid {
    let id = call(|session| {
        catalog::require("workflow_run", catalog::INSERT)?;
        let name = required(p_workflow_name, "p_workflow_name")?;
        let inputs = p_inputs.map_or_else(|| Jsonb::from_text("{}"), Ok)?;
        if !inputs.is_object() {
            return Err(Error::invalid("p_inputs", "must be a JSON object"));
        }
        inputs.check_levels("p_inputs")?;
        let options = match p_options {
            Some(options) => StartOptions::parse(&options.to_text())?,
            None => StartOptions::default(),
        };
        warn_of(&options.unknown)?;
        start::run(session, name, p_workflow_version, inputs, p_queue_name, &options)
    });
    Uuid::from_bytes(id.into_bytes())
}

/// Makes a registered version current.
#[pg_extern]
fn set_current_version(name: Option<&str>, version: Option<&str>) {
    call(|session| {
        catalog::require("workflow_definition", catalog::UPDATE)?;
        versions::set_current(session, required(name, "name")?, required(version, "version")?)
    })
}

/// Removes a version of a workflow, or all.
#[pg_extern]
fn delete_workflow(name: Option<&str>, version: default!(Option<&str>, "NULL")) -> i32 {
    call(|session| {
        catalog::require("workflow_definition", catalog::DELETE)?;
        versions::delete(session, required(name, "name")?, version)
    })
}

/// Guards what runs need: AFTER DELETE of `absurd.workflow_definition`, for each row.
#[pg_trigger]
fn workflow_definition_deleted<'a>(
    trigger: &'a PgTrigger<'a>,
) -> Result<Option<PgHeapTuple<'a, AllocatedByPostgres>>, core::convert::Infallible> {
    call(|session| {
        let fired = Fired::on(trigger, "workflow_definition", &[When::AFTER_DELETE])?;
        let text = |column| fired.get::<String>(Version::Old, column);
        match text("workflow_name")?.zip(text("workflow_version")?) {
            Some((name, version)) => versions::deleted(session, &name, &version),
            None => Ok(()),
        }
    });
    Ok(None)
}

/// Stops a workflow's schedule.
#[pg_extern]
fn pause_workflow(name: Option<&str>) {
    call(|session| schedules::pause(session, required(name, "name")?, true))
}

/// Lets a workflow's schedule go on.
#[pg_extern]
fn resume_workflow(name: Option<&str>) {
    call(|session| schedules::pause(session, required(name, "name")?, false))
}

/// Fires timers that have come due.
#[pg_extern]
fn advance_timers(
    p_queue_name: default!(Option<&str>, "NULL"),
    p_limit: default!(Option<i32>, 1000),
) -> i32 {
    call(|session| {
        let queue = optional_queue(p_queue_name)?;
        if let Some(queue) = &queue {
            policy::require(session, queue)?;
            access::require(queue, &access::WORK)?;
        }
        due::advance(session, queue.as_ref(), limit(p_limit)?)
    })
}

/// Creates the runs that schedules have made due.
#[pg_extern]
fn run_schedules(p_limit: default!(Option<i32>, 100)) -> i32 {
    call(|session| schedules::run(session, limit(p_limit)?))
}

fn limit(limit: Option<i32>) -> crate::error::Result<i32> {
    match limit.ok_or_else(|| Error::null("p_limit"))? {
        limit if limit < 1 => Err(Error::invalid(format!("limit {limit}"), "must be >= 1")),
        limit => Ok(limit),
    }
}

/// Adds items to a running dynamic foreach.
#[pg_extern]
fn add_workflow_items(workflow_run_id: Option<Uuid>, p_path: Option<&str>, p_items: Option<Jsonb>) {
    call(|session| {
        let run = required(workflow_run_id, "workflow_run_id")?;
        let path = required(p_path, "p_path")?;
        let items = required(p_items, "p_items")?;
        items.check_levels("p_items")?;
        let items = match json::read(&items.to_text(), MAX_LEVELS) {
            Ok(serde_json::Value::Array(items)) => items,
            _ => return Err(Error::invalid("p_items", "must be a JSON array")),
        };
        start::add_items(session, super::plain(run), path, items)
    })
}

/// Removes what a deleted run consisted of: AFTER DELETE of `absurd.workflow_execution`, for each
/// row.
#[pg_trigger]
fn workflow_execution_forget<'a>(
    trigger: &'a PgTrigger<'a>,
) -> Result<Option<PgHeapTuple<'a, AllocatedByPostgres>>, core::convert::Infallible> {
    call(|session| {
        let fired = Fired::on(trigger, "workflow_execution", &[When::AFTER_DELETE])?;
        let id = |column| fired.get::<uuid::Uuid>(Version::Old, column);
        match id("workflow_run_id")?.zip(id("root_run_id")?) {
            Some((run, root)) => forget::run(session, run, root),
            None => Ok(()),
        }
    });
    Ok(None)
}
