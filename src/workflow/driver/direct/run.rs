//! The row of a run in `workflow_run`, which clients read: written without a statement when the run is
//! created, starts and ends, with its history.
//!
//! What the table's triggers do for a statement is done here: the guard's rules for what the engine
//! writes, and the row of `workflow_transition`.

use uuid::Uuid;

use super::{execution, executions, jsonb};
use crate::error::Result;
use crate::params;
use crate::pg::direct::{Access, Change, Key, Table};
use crate::pg::{Jsonb, Param, Session, Timestamp, trigger};
use crate::workflow::driver::rows::int;
use crate::workflow::driver::start::NewExecution;
use crate::workflow::json::Json;
use crate::workflow::status::{Facts, Outcome, Status};

mod row {
    crate::layout! {
        "btree (workflow_run_id)" does ["workflow_run_guard", "workflow_run_record"];
        RUN "workflow_run_id" UUID, NAME "workflow_name" TEXT, VERSION "workflow_version" TEXT,
        HASH "workflow_hash" TEXT, STATUS "status" TEXT, QUEUE "absurd_queue" TEXT,
        INPUTS "inputs" JSONB, CREATED_BY "created_by" TEXT, TAGS "tags" JSONB, RESULT "result" JSONB,
        ERROR "error" JSONB, STARTED_AT "started_at" TIMESTAMPTZ,
        COMPLETED_AT "completed_at" TIMESTAMPTZ, TASK_COUNT "task_count" INT4,
        CREATED_AT "created_at" TIMESTAMPTZ, UPDATED_AT "updated_at" TIMESTAMPTZ,
        ROOT "root_run_id" UUID, PARENT "parent_run_id" UUID, STEP "parent_step" TEXT,
    }
}

mod transition {
    // A run whose status is being written is there.
    crate::layout! {
        "btree (workflow_run_id, to_status)" refers ["workflow_transition_workflow_run_id_fkey"];
        RUN "workflow_run_id" UUID, TO "to_status" TEXT, FROM "from_status" TEXT,
        AT "changed_at" TIMESTAMPTZ, BY "changed_by" TEXT,
    }
}

/// Creates a pending run under an id; false when statements must do it. Its workflow is registered, so
/// its name, version and hash are as the guard wants them.
///
/// # Errors
/// Those of the tables' constraints.
pub fn insert(session: &Session, id: Uuid, new: &NewExecution) -> Result<bool> {
    // Two may bring the same key.
    if new.idempotency_key.is_some() {
        return Ok(false);
    }
    let Some(executions) = executions(session)? else { return Ok(false) };
    let runs = session.table("workflow_run", &row::LAYOUT, Access::Write)?;
    let Some(runs) = runs else { return Ok(false) };
    let (definition, origin) = (new.definition, new.origin.as_ref());
    let [id, root, parent, scope, node, branch, depth, queue, pending]: &[Param; 9] = params![
        id,
        origin.map_or(id, |origin| origin.root),
        origin.map(|origin| origin.parent),
        origin.map(|origin| int(origin.step.scope.0)),
        origin.map(|origin| int(origin.step.node.0)),
        origin.map(|origin| origin.branch),
        origin.map_or(0, |origin| int(origin.depth)),
        new.queue,
        Status::Pending.as_str(),
    ];
    let [name, version, hash, first, none, bounded]: &[Param; 6] = params![
        definition.name.as_str(),
        definition.version.as_str(),
        definition.hash.as_str(),
        1_i64,
        0,
        new.bounded,
    ];
    executions.insert(&[
        (execution::RUN, *id),
        (execution::ROOT, *root),
        (execution::PARENT, *parent),
        (execution::PARENT_SCOPE, *scope),
        (execution::PARENT_NODE, *node),
        (execution::PARENT_BRANCH, *branch),
        (execution::DEPTH, *depth),
        (execution::NAME, *name),
        (execution::VERSION, *version),
        (execution::HASH, *hash),
        (execution::QUEUE, *queue),
        (execution::STATUS, *pending),
        (execution::TRANSITIONS, *first),
        (execution::NEXT_SCOPE, *none),
        (execution::BOUNDED, *bounded),
    ])?;
    let tags = new.tags.map(Jsonb::from_text).transpose()?;
    let [inputs, created_by, tags, step, now]: &[Param; 5] =
        params![new.inputs, new.created_by, tags, origin.map(|origin| origin.path), session.now(),];
    runs.insert(&[
        (row::RUN, *id),
        (row::NAME, *name),
        (row::VERSION, *version),
        (row::HASH, *hash),
        (row::STATUS, *pending),
        (row::QUEUE, *queue),
        (row::INPUTS, *inputs),
        (row::CREATED_BY, *created_by),
        (row::TAGS, *tags),
        (row::CREATED_AT, *now),
        (row::ROOT, *root),
        (row::PARENT, *parent),
        (row::STEP, *step),
    ])?;
    Ok(true)
}

/// A change of a run's status and what comes with it.
pub struct NewStatus<'a> {
    pub status: Status,
    pub started_at: Option<Timestamp>,
    pub completed_at: Option<Timestamp>,
    pub result: Option<&'a Json>,
    pub error: Option<&'a Json>,
}

impl NewStatus<'_> {
    /// With nothing beside.
    pub fn of(status: Status) -> Self {
        Self { status, started_at: None, completed_at: None, result: None, error: None }
    }
}

/// Moves a run on; false when statements must do it.
///
/// # Errors
/// 55000 for a move that is not allowed.
pub fn put_status(session: &Session, id: Uuid, new: &NewStatus) -> Result<bool> {
    let runs = session.table("workflow_run", &row::LAYOUT, Access::Write)?;
    let history = session.table("workflow_transition", &transition::LAYOUT, Access::WriteOwn)?;
    let (Some(runs), Some(history)) = (runs, history) else { return Ok(false) };
    let (result, error) = (jsonb(new.result)?, jsonb(new.error)?);
    let from = session.with_snapshot(|| {
        if runs.find(&[Key::is(1, id)])? != Some(true) {
            return Ok(None);
        }
        let old = facts(&runs)?;
        if old.status == new.status || old.status.is_final() {
            return Ok(None);
        }
        let wanted = Facts {
            status: new.status,
            started_at: new.started_at.or(old.started_at),
            completed_at: new.completed_at.or(old.completed_at),
            task_count: old.task_count,
            // The engine gives a result to whatever a document ends with one.
            has_result: result.is_some() && new.status == Status::Completed,
            has_error: error.is_some(),
        };
        let same = Outcome { same_result: false, same_error: false };
        let stored = wanted.update(&old, same, session.now(), &id.to_string())?;
        let [status, started_at, completed_at, result, error, now]: &[Param; 6] = params![
            stored.status.as_str(),
            stored.started_at,
            stored.completed_at,
            result,
            error,
            session.now(),
        ];
        let changes = [
            (row::STATUS, *status),
            (row::STARTED_AT, *started_at),
            (row::COMPLETED_AT, *completed_at),
            (row::RESULT, *result),
            (row::ERROR, *error),
            (row::UPDATED_AT, *now),
        ];
        Ok((runs.update(&changes, true)? == Change::Done).then_some(old.status))
    })?;
    let Some(from) = from else { return Ok(false) };
    let by = trigger::acting_role();
    let [id, to, from, now, by]: &[Param; 5] =
        params![id, new.status.as_str(), from.as_str(), session.now(), by.as_str()];
    history.insert(&[
        (transition::RUN, *id),
        (transition::TO, *to),
        (transition::FROM, *from),
        (transition::AT, *now),
        (transition::BY, *by),
    ])?;
    Ok(true)
}

/// Of a run that has not ended, so that it has neither result nor error.
fn facts(runs: &Table) -> Result<Facts> {
    Ok(Facts {
        status: Status::parse(runs.get::<String>(row::STATUS)?.as_deref())?,
        started_at: runs.get(row::STARTED_AT)?,
        completed_at: runs.get(row::COMPLETED_AT)?,
        task_count: runs.get(row::TASK_COUNT)?,
        has_result: false,
        has_error: false,
    })
}
