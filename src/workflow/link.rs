//! Which workflow run a new task belongs to.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::bounds::cut;
use super::driver;
use super::status::Status;
use crate::error::{Error, Result};
use crate::params;
use crate::pg::plan::{Global, Statement};
use crate::pg::{Jsonb, Session, Uuid, catalog, shape, uuid};
use crate::queue::QueueName;
use crate::task::options::SpawnOptions;

static LOCK: Statement =
    Statement::new("select status from absurd.workflow_run where workflow_run_id = $1 for share");
static TREE: Statement = Statement::new(
    "select root_run_id from absurd.workflow_run
      where workflow_run_id = $1 and root_run_id is not null",
);
static OF_RUN: Statement = Statement::new(
    "select t.workflow_run_id from {r} r join {t} t on t.task_id = r.task_id where r.run_id = $1",
);

/// The member of params that may name a workflow run.
#[derive(Deserialize)]
struct Linking<'a> {
    #[serde(borrow)]
    workflow_run_id: Option<&'a RawValue>,
}

/// The workflow run named by a new task's options, headers or params, the first of them that holds
/// a UUID. It is locked against ending until the transaction ends, so that a task cannot join a run
/// that ends at the same moment.
///
/// An id that is one of the queue's own runs stands for the workflow run of that run's task, or for
/// none: the older client hands run ids out as workflow run ids.
///
/// # Errors
/// 22023 when the option is not a UUID, P0002 when there is no such workflow run, 55000 when it has
/// ended.
pub fn resolve(
    session: &Session,
    queue: &QueueName,
    options: &SpawnOptions,
    task_params: Jsonb,
) -> Result<Option<Uuid>> {
    named(session, queue, options, || task_params.member_text("workflow_run_id"))
}

/// As [`resolve`], of params as JSON text.
pub fn resolve_text(
    session: &Session,
    queue: &QueueName,
    options: &SpawnOptions,
    task_params: Option<&str>,
) -> Result<Option<Uuid>> {
    named(session, queue, options, || {
        // Most params name no workflow run: those are not read.
        let named = |params: &&str| params.starts_with('{') && params.contains("workflow_run_id");
        let params = task_params.filter(named)?;
        // Params are not ours: of however many levels, only this one member is read.
        let params: Linking = serde_json::from_str(params).ok()?;
        serde_json::from_str(params.workflow_run_id?.get()).ok()
    })
}

fn named(
    session: &Session,
    queue: &QueueName,
    options: &SpawnOptions,
    in_params: impl FnOnce() -> Option<String>,
) -> Result<Option<Uuid>> {
    let id = if let Some(text) = &options.workflow_run_id {
        Some(uuid::parse(text).ok_or_else(|| {
            Error::invalid(
                format!("option \"workflow_run_id\" \"{}\"", cut(text)),
                "must be a UUID",
            )
        })?)
    } else if let Some(id) = options.header_workflow_run_id.as_deref().and_then(uuid::parse) {
        Some(id)
    } else {
        in_params().as_deref().and_then(uuid::parse)
    };
    let Some(id) = id else { return Ok(None) };
    if join(session, id)? {
        return Ok(Some(id));
    }
    let Some(row) = session.run(&OF_RUN, queue, params![id])?.first() else {
        return Err(super::run::not_found(id));
    };
    match row.get(0)? {
        Some(of_run) if join(session, of_run)? => Ok(Some(of_run)),
        _ => Ok(None),
    }
}

/// Locks a workflow run for a new task; false when there is none with this id.
///
/// # Errors
/// 55000 when it has ended.
fn join(session: &Session, id: Uuid) -> Result<bool> {
    match lock(session, id)? {
        None => Ok(false),
        Some(status) if status.is_final() => Err(ended(id, status)),
        Some(_) => Ok(true),
    }
}

/// Locks the workflow run of a task that is retried. As a new task it must not have ended. The task
/// itself may be revived when its run failed or completed without it, but not when the run was
/// cancelled with all its tasks.
///
/// # Errors
/// 55000 as said.
pub fn rejoin(session: &Session, id: Uuid, as_new_task: bool) -> Result<()> {
    match lock(session, id)? {
        Some(status) if status == Status::Cancelled || (as_new_task && status.is_final()) => {
            Err(ended(id, status))
        }
        _ => Ok(()),
    }
}

/// A run that the database executes is locked after the root of its tree, as everywhere.
fn lock(session: &Session, id: Uuid) -> Result<Option<Status>> {
    if let Some(row) = session.run(&TREE, &Global, params![id])?.first() {
        if !catalog::has_right_on_some(shape::own("workflow_run")?.0, catalog::UPDATE)? {
            return Err(Error::Denied { relation: "workflow_run".to_owned() });
        }
        driver::lock::take(session, row.need(0)?)?;
    }
    let rows = session.run(&LOCK, &Global, params![id])?;
    let status = rows.first().map(|row| row.need::<String>(0)).transpose()?;
    status.map(|status| Status::parse(Some(&status))).transpose()
}

fn ended(id: Uuid, status: Status) -> Error {
    Error::WrongState {
        what: format!("Workflow run \"{id}\""),
        rule: format!("takes no more tasks: it is {status}"),
        hint: Some("Create a new workflow run for the task.".into()),
    }
}
