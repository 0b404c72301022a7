//! What nearly every step of a workflow reads and writes, without statements, see
//! [`crate::pg::direct`]. Each function says when statements must be used.

pub mod run;
mod steps;

pub use steps::{put_steps, some_steps};

use std::rc::Rc;

use uuid::Uuid;

use super::rows::{self, Fields, StoredRun, int, phase_text};
use super::view::View;
use crate::error::Result;
use crate::params;
use crate::pg::direct::{Access, Key, Layout, Table, Which};
use crate::pg::{Jsonb, Param, Session, Timestamp};
use crate::queue::QueueName;
use crate::workflow::json::Json;
use crate::workflow::records::{RunRec, ScopeRec, StepKey};
use crate::workflow::registry;
use steps::step;

/// The columns that [`rows::scope`] reads, in its order.
mod scope {
    crate::layout! {
        "btree (workflow_run_id, scope)";
        SCOPE "scope" INT4, _DEFINITION "definition_scope" INT4, _PARENT "parent_scope" INT4,
        _PARENT_NODE "parent_node" INT4, _ORDINAL "ordinal" INT4, _CHAIN "chain" INT4S,
        _CONTEXT "context" INT4, _PATH "path" TEXT, PHASE "phase" TEXT, OPEN "open" INT4,
        FAILED_SINKS "failed_sinks" INT4, _ITEM "item" JSONB, RESULT "result" JSONB, ERROR "error" JSONB,
        RUN "workflow_run_id" UUID,
    }
}

/// The columns that [`rows::run`] reads, in its order, and what else a run is created with.
mod execution {
    crate::layout! {
        "btree (workflow_run_id)";
        RUN "workflow_run_id" UUID, ROOT "root_run_id" UUID, PARENT "parent_run_id" UUID,
        PARENT_SCOPE "parent_scope" INT4, PARENT_NODE "parent_node" INT4,
        PARENT_BRANCH "parent_branch" TEXT, DEPTH "depth" INT4, STATUS "status" TEXT,
        QUEUE "queue_name" TEXT, STARTED_AT "started_at" TIMESTAMPTZ, NEXT_SCOPE "next_scope" INT4,
        NAME "workflow_name" TEXT, VERSION "workflow_version" TEXT, HASH "workflow_hash" TEXT,
        _RETRIES "retries" INT4,
        RESULT "result" JSONB, TRANSITIONS "transitions" INT8, BOUNDED "bounded" BOOL,
        PAUSED "paused_at" TIMESTAMPTZ,
    }
}

static ANY: Layout = Layout::with_key("");

static BY_TASK: Which = Which::Like("btree (task_id) WHERE (task_id IS NOT NULL)");
static BY_ROOT: Which = Which::Like("btree (root_run_id, arrived_at, stimulus_id)");

impl Fields for Table {
    fn get<T: crate::pg::value::Column>(&self, place: usize) -> Result<Option<T>> {
        Self::get(self, place)
    }
}

/// The tables that are written without statements.
pub fn tables() -> [(&'static str, &'static Layout); 3] {
    [
        ("workflow_execution", &execution::LAYOUT),
        ("workflow_scope", &scope::LAYOUT),
        ("workflow_step", &step::LAYOUT),
    ]
}

fn scopes(session: &Session) -> Result<Option<Rc<Table>>> {
    session.table("workflow_scope", &scope::LAYOUT, Access::WriteOwn)
}

fn executions(session: &Session) -> Result<Option<Rc<Table>>> {
    session.table("workflow_execution", &execution::LAYOUT, Access::WriteOwn)
}

/// Counts a transition of the tree of a workflow run, which takes the tree. Returns the root and
/// the number; none in it for a run that the database does not execute in the queue, and none at
/// all when a statement must be used.
///
/// # Errors
/// Those of the wait for the tree.
pub fn take_root(
    session: &Session,
    queue: &QueueName,
    run: Uuid,
) -> Result<Option<Option<(Uuid, i64)>>> {
    let Some(executions) = executions(session)? else { return Ok(None) };
    session.with_snapshot(|| {
        match executions.find(&[Key::is(1, run)])? {
            None => return Ok(None),
            Some(false) => return Ok(Some(None)),
            Some(true) => {}
        }
        if executions.need::<String>(execution::QUEUE)? != queue.as_str() {
            return Ok(Some(None));
        }
        let root: Uuid = executions.need(execution::ROOT)?;
        if root != run && executions.find(&[Key::is(1, root)])? != Some(true) {
            return Ok(None);
        }
        // One that is paused is left what happens, as one that somebody else holds.
        if !executions.lock()? || executions.get::<Timestamp>(execution::PAUSED)?.is_some() {
            return Ok(Some(None));
        }
        let number = executions.need::<i64>(execution::TRANSITIONS)? + 1;
        let [next] = params![number];
        executions.update(&[(execution::TRANSITIONS, *next)])?;
        executions.read_on();
        Ok(Some(Some((root, number))))
    })
}

/// A run, as [`super::load::view`] reads it; none when a statement must do it, or there is no such
/// run.
///
/// # Errors
/// XX001 for records that do not fit their document.
pub fn view(session: &Session, run: Uuid) -> Result<Option<View<'_>>> {
    let Some(executions) = executions(session)? else { return Ok(None) };
    session.with_snapshot(|| match executions.find(&[Key::is(1, run)])? {
        Some(true) => of_row(session, &executions).map(Some),
        _ => Ok(None),
    })
}

/// The run whose row was read last.
fn of_row<'s>(session: &'s Session, executions: &Table) -> Result<View<'s>> {
    let StoredRun { run, name, version, hash } = rows::run(executions, 0)?;
    View::new(session, registry::program(session, &name, &version, &hash)?, run)
}

/// What followers of a task there are.
pub struct Followers<'s> {
    /// Those of the tree, by their runs.
    pub found: Vec<(View<'s>, Vec<StepKey>)>,
    /// Whether steps of other trees follow it too.
    pub others: bool,
}

/// The running steps that follow a task, as [`super::load::followers`] reads them.
///
/// # Errors
/// XX001 for records that do not fit their document.
pub fn followers<'s>(
    session: &'s Session,
    queue: &QueueName,
    task: Uuid,
    root: Uuid,
) -> Result<Option<Followers<'s>>> {
    let (Some(steps), Some(scopes), Some(executions)) =
        (steps::open(session)?, scopes(session)?, executions(session)?)
    else {
        return Ok(None);
    };
    session.with_snapshot(|| {
        let Some(scan) = steps.scan(BY_TASK, &[Key::is(1, task)])? else {
            return Ok(None);
        };
        let mut followers = Followers { found: Vec::new(), others: false };
        let mut last = None;
        while scan.next()? {
            if steps.need::<String>(step::STATE)? != "running" {
                continue;
            }
            let run: Uuid = steps.need(step::RUN)?;
            // Mostly the root's, which has been read when it was taken.
            let is_at_run =
                executions.is_fresh() && executions.need::<Uuid>(execution::RUN)? == run;
            if !is_at_run && executions.find(&[Key::is(1, run)])? != Some(true) {
                continue;
            }
            if executions.need::<String>(execution::QUEUE)? != queue.as_str() {
                continue;
            }
            if executions.need::<Uuid>(execution::ROOT)? != root {
                followers.others = true;
                continue;
            }
            let of_scope = [Key::is(1, run), Key::is(2, steps.need::<i32>(step::SCOPE)?)];
            if scopes.find(&of_scope)? != Some(true) {
                continue;
            }
            let found = &mut followers.found;
            let place = match found.iter().position(|(view, _)| view.run.id == run) {
                Some(place) => place,
                None => {
                    found.push((of_row(session, &executions)?, Vec::new()));
                    found.len() - 1
                }
            };
            let (view, keys) = &mut found[place];
            let scope = rows::scope(&view.program, &*scopes, 0)?;
            let step = rows::step(&view.program, &*steps, 0)?;
            keys.push(step.key);
            view.keep(Some(scope), Some(step));
            last = Some(steps.tid());
        }
        scan.end()?;
        // It is mostly the one that is changed next.
        if let Some(last) = last {
            steps.read_again(last)?;
        }
        Ok(Some(followers))
    })
}

/// Whether a tree has stimuli waiting.
///
/// # Errors
/// Postgres's own.
pub fn has_stimuli(session: &Session, root: Uuid) -> Result<Option<bool>> {
    let stimuli = session.table("workflow_stimulus", &ANY, Access::ReadOwn)?;
    let Some(stimuli) = stimuli else { return Ok(None) };
    session.with_snapshot(|| stimuli.first(BY_ROOT, &[Key::is(1, root)]))
}

/// Whether a timer of a tree is due; none when a statement must tell.
///
/// # Errors
/// Postgres's own.
pub fn has_due(session: &Session, root: Uuid) -> Result<Option<bool>> {
    let timers = session.table("workflow_timer", &ANY, Access::ReadOwn)?;
    let Some(timers) = timers else { return Ok(None) };
    let keys = [Key::is(1, root), Key::upto(2, session.now())];
    session.with_snapshot(|| timers.first(Which::Like("btree (root_run_id, due_at)"), &keys))
}

fn jsonb(json: Option<&Json>) -> Result<Option<Jsonb>> {
    json.map(|json| Jsonb::from_text(json.text())).transpose()
}

/// Stores a new scope; false when a statement must do it.
///
/// # Errors
/// Postgres's own.
pub fn new_scope(view: &View, c: &ScopeRec) -> Result<bool> {
    let Some(scopes) = scopes(view.session)? else { return Ok(false) };
    let values: &[Param; 15] = params![
        int(c.id.0),
        int(c.scope.0),
        c.parent.map(|parent| int(parent.scope.0)),
        c.parent.map(|parent| int(parent.node.0)),
        int(c.ordinal),
        c.chain.iter().map(|id| int(id.0)).collect::<Vec<i32>>(),
        int(c.context.0),
        c.path.as_str(),
        phase_text(c.phase),
        int(c.open),
        int(c.failed_sinks),
        jsonb(c.item.as_ref())?,
        jsonb(c.result.as_ref())?,
        jsonb(c.error.as_ref())?,
        view.run.id,
    ];
    let row: [(usize, Param); 15] = std::array::from_fn(|place| (place, values[place]));
    scopes.insert(&row).map(|()| true)
}

/// Stores the run's own record; false when a statement must do it.
///
/// # Errors
/// Postgres's own.
pub fn put_run(view: &View, run: &RunRec, kept: Option<&Json>) -> Result<bool> {
    let Some(executions) = executions(view.session)? else { return Ok(false) };
    let [status, next_scope, started_at, result]: &[Param; 4] =
        params![run.status.as_str(), int(run.next_scope), run.started_at, jsonb(kept)?];
    let values = [
        (execution::STATUS, *status),
        (execution::NEXT_SCOPE, *next_scope),
        (execution::STARTED_AT, *started_at),
        (execution::RESULT, *result),
    ];
    view.session.with_snapshot(|| {
        let is_there = executions.find(&[Key::is(1, run.id)])? == Some(true);
        // The tree is held: nobody else changes what belongs to it.
        if is_there {
            executions.lock()?;
            executions.update(&values)?;
        }
        Ok(is_there)
    })
}

/// Stores what has changed of a scope; false when a statement must do it.
///
/// # Errors
/// Postgres's own.
pub fn put_scope(view: &View, record: &ScopeRec) -> Result<bool> {
    let Some(scopes) = scopes(view.session)? else { return Ok(false) };
    let [phase, open, failed, result, error]: &[Param; 5] = params![
        phase_text(record.phase),
        int(record.open),
        int(record.failed_sinks),
        jsonb(record.result.as_ref())?,
        jsonb(record.error.as_ref())?,
    ];
    let values = [
        (scope::PHASE, *phase),
        (scope::OPEN, *open),
        (scope::FAILED_SINKS, *failed),
        (scope::RESULT, *result),
        (scope::ERROR, *error),
    ];
    let key = [Key::is(1, view.run.id), Key::is(2, int(record.id.0))];
    view.session.with_snapshot(|| {
        // As with steps, the row that was read last may be it.
        let is_there = (scopes.is_fresh()
            && scopes.need::<i32>(scope::SCOPE)? == int(record.id.0)
            && scopes.need::<Uuid>(scope::RUN)? == view.run.id)
            || scopes.find(&key)? == Some(true);
        if is_there {
            scopes.update(&values)?;
        }
        Ok(is_there)
    })
}
