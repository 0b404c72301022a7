//! What is shown of workflow documents and of their runs.

use pgrx::prelude::*;

use super::{optional_queue, plain, required};
use crate::pg::{Jsonb, Timestamp, Uuid, call};
use crate::queue::QueueName;
use crate::workflow::diagram::{States, mermaid};
use crate::workflow::json::Json;
use crate::workflow::{registry, steps, waiting};

/// The steps of an executed run, in the order of execution.
#[pg_extern]
fn workflow_run_steps(
    workflow_run_id: Option<Uuid>,
) -> TableIterator<
    'static,
    (
        name!(path, String),
        name!(step_name, String),
        name!(operator, String),
        name!(state, String),
        name!(queue_name, String),
        name!(task_id, Option<Uuid>),
        name!(attempts, i32),
        name!(started_at, Option<Timestamp>),
        name!(finished_at, Option<Timestamp>),
        name!(result, Option<Jsonb>),
        name!(error, Option<Jsonb>),
        name!(waiting_for, Option<Jsonb>),
        name!(last_error, Option<Jsonb>),
    ),
> {
    let rows = call(|session| {
        let run = required(workflow_run_id, "workflow_run_id")?;
        let shown = steps::shown_waiting(session, plain(run))?;
        let json = |value: Option<Json>| {
            value.map(|value| Ok(session.keep(Jsonb::from_text(value.text())?))).transpose()
        };
        shown
            .steps
            .into_iter()
            .map(|step| {
                let node = shown.program.node(step.node);
                Ok((
                    step.path,
                    node.id.clone(),
                    node.operator.name().to_owned(),
                    step.state.as_str().to_owned(),
                    shown.queue.clone(),
                    step.task.map(|task| Uuid::from_bytes(task.into_bytes())),
                    i32::try_from(step.attempts).unwrap_or(i32::MAX),
                    step.started_at,
                    step.finished_at,
                    json(step.result)?,
                    json(step.error)?,
                    json(step.waiting_for.map(Json::from_value))?,
                    json(step.last_error)?,
                ))
            })
            .collect::<crate::error::Result<Vec<_>>>()
    });
    TableIterator::new(rows)
}

/// The steps that wait for an event, or for any.
#[pg_extern]
fn list_event_waits(
    p_event_name: default!(Option<&str>, "NULL"),
    p_queue_name: default!(Option<&str>, "NULL"),
) -> TableIterator<
    'static,
    (
        name!(workflow_run_id, Uuid),
        name!(workflow_name, String),
        name!(path, String),
        name!(queue_name, String),
        name!(event_name, String),
        name!(timeout_at, Option<Timestamp>),
    ),
> {
    let found = call(|session| {
        let queue = optional_queue(p_queue_name)?;
        waiting::for_events(session, p_event_name, queue.as_ref().map(QueueName::as_str))
    });
    TableIterator::new(found.into_iter().map(|wait| {
        let run = Uuid::from_bytes(wait.run.into_bytes());
        (run, wait.workflow, wait.path, wait.queue, wait.event, wait.timeout_at)
    }))
}

/// Inputs, variables and results of an executed run.
#[pg_extern]
fn workflow_run_context(workflow_run_id: Option<Uuid>) -> Jsonb {
    call(|session| {
        let run = required(workflow_run_id, "workflow_run_id")?;
        Ok(session.keep(Jsonb::from_text(&steps::context(session, plain(run))?)?))
    })
}

/// A registered workflow as a Mermaid flowchart.
#[pg_extern]
fn workflow_diagram(name: Option<&str>, version: default!(Option<&str>, "NULL")) -> String {
    call(|session| {
        // As the caller: the diagram shows what the document says.
        let found = registry::get(session, required(name, "name")?, version)?;
        let program = registry::program(session, &found.name, &found.version, &found.hash)?;
        Ok(mermaid(&program, None))
    })
}

/// An executed run as a Mermaid flowchart, its steps in the colours of their states.
#[pg_extern]
fn workflow_run_diagram(workflow_run_id: Option<Uuid>) -> String {
    call(|session| {
        let run = required(workflow_run_id, "workflow_run_id")?;
        let shown = steps::shown(session, plain(run))?;
        let states = States::new(shown.steps.iter().map(|step| (step.node, step.state)));
        Ok(mermaid(&shown.program, Some(&states)))
    })
}
