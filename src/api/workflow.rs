//! Workflow runs.

use pgrx::prelude::*;

use super::required;
use crate::pg::trigger::{self, Fired, When};
use crate::pg::value::WorkflowRunRow;
use crate::pg::{Jsonb, Timestamp, Uuid, call, session};
use crate::task::state::State;
use crate::workflow::run::{self, Filter, NewRun, Report};
use crate::workflow::steps::{self, Progress};
use crate::workflow::{name, row_guard, tasks};

/// Creates a pending workflow run.
#[pg_extern]
#[allow(clippy::too_many_arguments)] // the contract's signature
fn create_workflow_run(
    workflow_name: Option<&str>,
    workflow_version: Option<&str>,
    inputs: default!(Option<Jsonb>, "NULL"),
    absurd_run_id: default!(Option<Uuid>, "NULL"),
    created_by: default!(Option<&str>, "NULL"),
    tags: default!(Option<Jsonb>, "NULL"),
    workflow_hash: default!(Option<&str>, "NULL"),
    queue_name: default!(Option<&str>, "NULL"),
) -> Uuid {
    call(|session| {
        let new = NewRun {
            name: workflow_name,
            version: workflow_version,
            inputs,
            absurd_run_id,
            created_by,
            tags,
            hash: workflow_hash,
            queue: queue_name,
        };
        run::create(session, &new)
    })
}

/// Moves a workflow run to a status.
#[pg_extern]
fn update_workflow_run_status(
    workflow_run_id: Option<Uuid>,
    status: Option<&str>,
    result: default!(Option<Jsonb>, "NULL"),
    error: default!(Option<Jsonb>, "NULL"),
    started_at: default!(Option<Timestamp>, "NULL"),
    completed_at: default!(Option<Timestamp>, "NULL"),
    task_count: default!(Option<i32>, "NULL"),
) {
    call(|session| {
        let id = required(workflow_run_id, "workflow_run_id")?;
        let report = Report { result, error, started_at, completed_at, task_count };
        run::update_status(session, id, status, &report)
    })
}

/// One workflow run.
#[pg_extern(requires = ["workflow_run"])]
fn get_workflow_run(workflow_run_id: Option<Uuid>) -> WorkflowRunRow {
    call(|session| run::get(session, required(workflow_run_id, "workflow_run_id")?))
}

/// Workflow runs, newest first.
#[pg_extern(requires = ["workflow_run"])]
#[allow(clippy::too_many_arguments)] // the contract's signature
fn list_workflow_runs(
    workflow_name: default!(Option<&str>, "NULL"),
    workflow_version: default!(Option<&str>, "NULL"),
    status: default!(Option<Vec<Option<String>>>, "NULL"),
    tags: default!(Option<Jsonb>, "NULL"),
    created_by: default!(Option<&str>, "NULL"),
    created_after: default!(Option<Timestamp>, "NULL"),
    created_before: default!(Option<Timestamp>, "NULL"),
    page_limit: default!(Option<i32>, 100),
    after: default!(Option<Uuid>, "NULL"),
) -> SetOfIterator<'static, WorkflowRunRow> {
    let rows = call(|session| {
        let filter = Filter {
            name: workflow_name,
            version: workflow_version,
            statuses: status,
            tags,
            created_by,
            created_after,
            created_before,
            limit: page_limit.unwrap_or(100),
            after,
        };
        run::list(session, filter)
    });
    SetOfIterator::new(rows)
}

/// The tasks that belong to a workflow run.
#[pg_extern]
fn workflow_run_tasks(
    workflow_run_id: Option<Uuid>,
) -> TableIterator<
    'static,
    (
        name!(queue_name, String),
        name!(task_id, Uuid),
        name!(task_name, String),
        name!(state, String),
        name!(attempts, i32),
        name!(enqueue_at, Timestamp),
        name!(first_started_at, Option<Timestamp>),
        name!(finished_at, Option<Timestamp>),
        name!(result, Option<Jsonb>),
        name!(failure_reason, Option<Jsonb>),
    ),
> {
    let tasks = call(|session| tasks::list(session, required(workflow_run_id, "workflow_run_id")?));
    TableIterator::new(tasks.into_iter().map(|task| {
        (
            task.queue,
            task.task_id,
            task.name,
            task.state,
            task.attempts,
            task.enqueue_at,
            task.first_started_at,
            task.finished_at,
            task.result,
            task.failure_reason,
        )
    }))
}

/// How far a workflow run is: its steps when the database executes it, else its tasks.
#[pg_extern]
fn workflow_run_progress(
    workflow_run_id: Option<Uuid>,
) -> TableIterator<
    'static,
    (
        name!(total, i64),
        name!(pending, i64),
        name!(running, i64),
        name!(sleeping, i64),
        name!(completed, i64),
        name!(failed, i64),
        name!(cancelled, i64),
        name!(percent, f64),
        name!(skipped, i64),
    ),
> {
    TableIterator::once(call(|session| {
        let id = required(workflow_run_id, "workflow_run_id")?;
        if let Some(steps) = steps::progress(session, super::plain(id))? {
            let percent = steps.percent();
            let Progress { pending, running, completed, failed, cancelled, skipped } = steps;
            let total = steps.total();
            return Ok((
                total, pending, running, 0, completed, failed, cancelled, percent, skipped,
            ));
        }
        let tasks = tasks::progress(session, id)?;
        let [pending, running, sleeping, completed, failed, cancelled] =
            State::ALL.map(|state| tasks.of(state));
        let (total, percent) = (tasks.total(), tasks.percent());
        Ok((total, pending, running, sleeping, completed, failed, cancelled, percent, 0))
    }))
}

/// Every change of a workflow run's status.
#[pg_extern]
fn workflow_run_history(
    workflow_run_id: Option<Uuid>,
) -> TableIterator<
    'static,
    (
        name!(at, Timestamp),
        name!(from_status, String),
        name!(to_status, String),
        name!(changed_by, String),
    ),
> {
    let history =
        call(|session| run::history(session, required(workflow_run_id, "workflow_run_id")?));
    TableIterator::new(history.into_iter().map(|step| (step.at, step.from, step.to, step.by)))
}

/// Cancels a workflow run with all its open tasks.
#[pg_extern]
fn cancel_workflow_run(
    workflow_run_id: Option<Uuid>,
    reason: default!(Option<&str>, "NULL"),
) -> i32 {
    call(|session| run::cancel(session, required(workflow_run_id, "workflow_run_id")?, reason))
}

/// Joins the parts of a step's full name.
#[pg_extern(immutable, parallel_safe)]
fn workflow_step_name(
    workflow_name: Option<&str>,
    workflow_version: Option<&str>,
    step_name: Option<&str>,
) -> String {
    session::pure(|| name::join(workflow_name, workflow_version, step_name))
}

/// Splits a step's full name.
#[pg_extern(immutable, parallel_safe)]
fn parse_workflow_step_name(
    full_name: Option<&str>,
) -> TableIterator<
    'static,
    (name!(workflow_name, String), name!(workflow_version, String), name!(step_name, String)),
> {
    let (name, version, step) = session::pure(|| {
        name::split(full_name)
            .map(|(name, version, step)| (name.to_owned(), version.to_owned(), step.to_owned()))
    });
    TableIterator::once((name, version, step))
}

/// Guards `absurd.workflow_run`: BEFORE INSERT OR UPDATE, for each row.
#[pg_trigger]
fn workflow_run_guard<'a>(
    trigger: &'a PgTrigger<'a>,
) -> Result<Option<PgHeapTuple<'a, AllocatedByRust>>, core::convert::Infallible> {
    let when = [When::BEFORE_INSERT, When::BEFORE_UPDATE];
    let fired = session::pure(|| Fired::on(trigger, "workflow_run", &when));
    let settled = call(|session| row_guard::check(session, &fired, session.now()));
    // Postgres reads the row after the call, whose memory is gone by then.
    let row = session::pure(|| {
        let mut row = fired.into_new()?;
        trigger::set(&mut row, "started_at", settled.started_at)?;
        trigger::set(&mut row, "completed_at", settled.completed_at)?;
        trigger::set(&mut row, "task_count", settled.task_count)?;
        trigger::set(&mut row, "created_at", settled.created_at)?;
        trigger::set(&mut row, "updated_at", settled.updated_at)?;
        Ok(row)
    });
    Ok(Some(row))
}

/// Records changes of status: AFTER UPDATE of `absurd.workflow_run`, for each row.
#[pg_trigger]
fn workflow_run_record<'a>(
    trigger: &'a PgTrigger<'a>,
) -> Result<Option<PgHeapTuple<'a, AllocatedByPostgres>>, core::convert::Infallible> {
    call(|session| {
        let fired = Fired::on(trigger, "workflow_run", &[When::AFTER_UPDATE])?;
        row_guard::record(session, &fired)
    });
    Ok(None)
}
