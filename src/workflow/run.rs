//! Workflow runs: created, moved from status to status, found again.
//!
//! The rules are enforced on the table, by the guard that every INSERT and UPDATE goes through;
//! the functions here write the table like any client.

use super::status::Status;
use super::{driver, name, row_guard, tasks};
use crate::error::{Error, Result};
use crate::params;
use crate::pg::plan::{Global, Statement};
use crate::pg::value::WorkflowRunRow;
use crate::pg::{Jsonb, Session, Timestamp, Uuid};
use crate::queue::access;

/// What create_workflow_run is given.
pub struct NewRun<'a> {
    pub name: Option<&'a str>,
    pub version: Option<&'a str>,
    pub inputs: Option<Jsonb>,
    pub absurd_run_id: Option<Uuid>,
    pub created_by: Option<&'a str>,
    pub tags: Option<Jsonb>,
    pub hash: Option<&'a str>,
    pub queue: Option<&'a str>,
}

/// What update_workflow_run_status is given beside the status; what is absent stays as it is.
pub struct Report {
    pub result: Option<Jsonb>,
    pub error: Option<Jsonb>,
    pub started_at: Option<Timestamp>,
    pub completed_at: Option<Timestamp>,
    pub task_count: Option<i32>,
}

/// The error for an unknown workflow run.
pub fn not_found(id: Uuid) -> Error {
    Error::NotFound { what: "Workflow run", id: id.to_string(), queue: None }
}

/// Creates a pending workflow run.
///
/// # Errors
/// 22004 or 22023 naming the value and the rule.
pub fn create(session: &Session, new: &NewRun) -> Result<Uuid> {
    static INSERT: Statement = Statement::new(
        "insert into absurd.workflow_run (workflow_run_id, workflow_name, workflow_version,
             workflow_hash, status, absurd_run_id, absurd_queue, inputs, created_by, tags)
         values ($1, $2, $3, $4, 'pending', $5, $6, $7, $8, $9)",
    );
    let name = name::check_name(new.name)?;
    let version = name::check_version(new.version)?;
    let id = session.new_id()?;
    let values = params![
        id,
        name,
        version,
        new.hash,
        new.absurd_run_id,
        new.queue,
        new.inputs,
        new.created_by,
        new.tags,
    ];
    session.run(&INSERT, &Global, values)?;
    Ok(id)
}

/// Moves a workflow run to a status and stores what is reported with it.
///
/// # Errors
/// P0002 for an unknown run, 55000 for a move that is not allowed, 22023 for a value that does not
/// fit the status.
pub fn update_status(
    session: &Session,
    id: Uuid,
    status: Option<&str>,
    report: &Report,
) -> Result<()> {
    static UPDATE: Statement = Statement::new(
        "update absurd.workflow_run
            set status = $2, result = coalesce($3, result), error = coalesce($4, error),
                started_at = coalesce($5, started_at),
                completed_at = coalesce($6, completed_at), task_count = coalesce($7, task_count)
          where workflow_run_id = $1
         returning workflow_run_id",
    );
    let status = Status::parse(status)?;
    let values = params![
        id,
        status.as_str(),
        report.result,
        report.error,
        report.started_at,
        report.completed_at,
        report.task_count,
    ];
    if session.run(&UPDATE, &Global, values)?.is_empty() {
        return Err(not_found(id));
    }
    Ok(())
}

/// A workflow run's row.
///
/// # Errors
/// P0002 for an unknown run.
pub fn get(session: &Session, id: Uuid) -> Result<WorkflowRunRow> {
    static GET: Statement =
        Statement::new("select w from absurd.workflow_run w where workflow_run_id = $1");
    match session.run(&GET, &Global, params![id])?.first() {
        Some(row) => Ok(session.keep(row.need(0)?)),
        None => Err(not_found(id)),
    }
}

/// Which workflow runs to list; what is absent does not filter.
pub struct Filter<'a> {
    pub name: Option<&'a str>,
    pub version: Option<&'a str>,
    pub statuses: Option<Vec<Option<String>>>,
    /// Runs whose tags contain these.
    pub tags: Option<Jsonb>,
    pub created_by: Option<&'a str>,
    pub created_after: Option<Timestamp>,
    pub created_before: Option<Timestamp>,
    pub limit: i32,
    /// The last run of the page before.
    pub after: Option<Uuid>,
}

/// Lists workflow runs, newest first, a page at a time.
///
/// # Errors
/// 22023 for a limit below 1 or an unknown status, P0002 when the run to continue after is gone.
pub fn list(session: &Session, filter: Filter) -> Result<Vec<WorkflowRunRow>> {
    if filter.limit < 1 {
        return Err(Error::invalid(format!("page_limit {}", filter.limit), "must be >= 1"));
    }
    let statuses = filter
        .statuses
        .map(|statuses| {
            statuses
                .iter()
                .map(|status| Ok(Status::parse(status.as_deref())?.as_str().to_owned()))
                .collect::<Result<Vec<_>>>()
        })
        .transpose()?;
    // Planned with the values at hand: a filter that is not given costs nothing, and the indexes
    // that fit those given are used.
    const LIST: &str = "select w from absurd.workflow_run w
          where ($1 is null or workflow_name = $1)
            and ($2 is null or workflow_version = $2)
            and ($3 is null or status = any ($3))
            and ($4 is null or tags @> $4)
            and ($5 is null or created_by = $5)
            and ($6 is null or created_at >= $6)
            and ($7 is null or created_at < $7)
            and ($9 is null or (created_at, workflow_run_id) < ($9, $10))
          order by created_at desc, workflow_run_id desc
          limit $8";
    let after_time = filter.after.map(|id| created_at(session, id)).transpose()?;
    let values = params![
        filter.name,
        filter.version,
        statuses,
        filter.tags,
        filter.created_by,
        filter.created_after,
        filter.created_before,
        filter.limit,
        after_time,
        filter.after,
    ];
    let rows = session.run_once(LIST, values)?;
    rows.into_iter().map(|row| Ok(session.keep(row.need(0)?))).collect()
}

fn created_at(session: &Session, id: Uuid) -> Result<Timestamp> {
    static CREATED: Statement =
        Statement::new("select created_at from absurd.workflow_run where workflow_run_id = $1");
    match session.run(&CREATED, &Global, params![id])?.first() {
        Some(row) => row.need(0),
        None => Err(not_found(id)),
    }
}

/// A change of a workflow run's status.
pub struct Transition {
    pub at: Timestamp,
    pub from: String,
    pub to: String,
    pub by: String,
}

/// Every change of a workflow run's status, oldest first.
///
/// # Errors
/// P0002 for an unknown run.
pub fn history(session: &Session, id: Uuid) -> Result<Vec<Transition>> {
    static HISTORY: Statement = Statement::new(
        "select changed_at, from_status, to_status, changed_by
           from absurd.workflow_transition
          where workflow_run_id = $1
          order by number",
    );
    created_at(session, id)?;
    session
        .run(&HISTORY, &Global, params![id])?
        .into_iter()
        .map(|row| {
            Ok(Transition {
                at: row.need(0)?,
                from: row.need(1)?,
                to: row.need(2)?,
                by: row.need(3)?,
            })
        })
        .collect()
}

/// Cancels a workflow run and every open task that belongs to it; returns how many tasks.
///
/// Its tasks come first, because a worker that completes one and then spawns the next, or reports
/// the run's status, locks in that order. Once the run is cancelled no task can join it; those that
/// joined meanwhile go last.
///
/// # Errors
/// P0002 for an unknown run, 55000 when it has ended otherwise.
pub fn cancel(session: &Session, id: Uuid, reason: Option<&str>) -> Result<i32> {
    static CANCEL: Statement = Statement::new(
        "update absurd.workflow_run
            set status = 'cancelled',
                error = case when status = 'cancelled' then error
                             else jsonb_build_object('name', '$Cancelled', 'message', $2) end
          where workflow_run_id = $1
         returning workflow_run_id",
    );
    let reason = reason.unwrap_or("the workflow run was cancelled");
    let executed = ::uuid::Uuid::from_bytes(*id.as_bytes());
    driver::start::check_rights(session, executed, &access::CANCEL)?;
    // A run that the database executes ends by its own rules, and its tree is locked first.
    let (before, is_whole) = match driver::start::cancel(session, executed, reason)? {
        Some((cancelled, is_whole)) => (cancelled as i32, is_whole),
        None => (tasks::cancel_all(session, id)?, true),
    };
    let found =
        row_guard::as_engine(executed, || session.run(&CANCEL, &Global, params![id, reason]))?;
    if found.is_empty() {
        return Err(not_found(id));
    }
    // Those of steps that are still to be closed go with their steps.
    let after = match is_whole {
        true => tasks::cancel_all(session, id)?,
        false => tasks::cancel_joined(session, id)?,
    };
    Ok(before + after)
}
