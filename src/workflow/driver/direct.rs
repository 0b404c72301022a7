//! What nearly every step of a workflow reads and writes, without statements, see [`crate::pg::direct`].
//! Each function says when statements must be used.

use std::rc::Rc;

use uuid::Uuid;

use super::rows::{self, Fields, int, phase_text, status_text};
use super::view::View;
use crate::error::Result;
use crate::params;
use crate::pg::direct::{Access, Change, Key, Layout, Table, Which};
use crate::pg::{Jsonb, Param, Session};
use crate::workflow::json::Json;
use crate::workflow::program::Program;
use crate::workflow::records::{Moment, RunRec, ScopeRec, StepKey, StepRec, Tally};
use crate::workflow::registry;

/// More steps than this are read and written by one statement.
pub const FEW: usize = 8;

/// The columns that [`rows::step`] reads, in its order, and the run.
mod step {
    crate::layout! {
        "btree (workflow_run_id, scope, node)";
        SCOPE "scope" INT4, NODE "node" INT4, STATE "state" TEXT, DEPENDENCIES "dependencies" INT4S,
        ROUTERS "routers" INT4S, INPUTS "inputs" INT4S, REFERRERS "referrers" INT4,
        TRIGGER_NODE "trigger_node" INT4, TRIGGER_SUCCEEDED "trigger_succeeded" BOOL,
        SELECTED "selected" INT4, OPEN "open" INT4, ITERATIONS "iterations" INT4,
        FIRST_FAILED "first_failed" INT4, TASK_ID "task_id" UUID, ATTEMPTS "attempts" INT4,
        EVENT_NAME "event_name" TEXT, RESULT "result" JSONB, ERROR "error" JSONB,
        STARTED_AT "started_at" TIMESTAMPTZ, FINISHED_AT "finished_at" TIMESTAMPTZ,
        STARTED "started" INT8, FINISHED "finished" INT8, RUN "workflow_run_id" UUID,
    }
}

/// The columns that [`rows::scope`] reads, in its order.
mod scope {
    crate::layout! {
        "btree (workflow_run_id, scope)";
        _SCOPE "scope" INT4, _DEFINITION "definition_scope" INT4, _PARENT "parent_scope" INT4,
        _PARENT_NODE "parent_node" INT4, _ORDINAL "ordinal" INT4, _CHAIN "chain" INT4S,
        _CONTEXT "context" INT4, _PATH "path" TEXT, PHASE "phase" TEXT, OPEN "open" INT4,
        FAILED_SINKS "failed_sinks" INT4, _ITEM "item" JSONB, RESULT "result" JSONB, ERROR "error" JSONB,
        _RUN "workflow_run_id" UUID,
    }
}

/// The columns that [`rows::run`] reads, but for those of `workflow_run`, and the count of transitions.
mod execution {
    crate::layout! {
        "btree (workflow_run_id)";
        _RUN "workflow_run_id" UUID, ROOT "root_run_id" UUID, _PARENT "parent_run_id" UUID,
        _PARENT_SCOPE "parent_scope" INT4, _PARENT_NODE "parent_node" INT4,
        _PARENT_BRANCH "parent_branch" TEXT, _DEPTH "depth" INT4, STATUS "status" TEXT,
        _QUEUE "queue_name" TEXT, STARTED_AT "started_at" TIMESTAMPTZ, NEXT_SCOPE "next_scope" INT4,
        RESULT "result" JSONB, _NAME "workflow_name" TEXT, _VERSION "workflow_version" TEXT,
        _HASH "workflow_hash" TEXT, TRANSITIONS "transitions" INT8,
    }
}

mod run {
    crate::layout! {
        "btree (workflow_run_id)";
        INPUTS "inputs" JSONB, RESULT "result" JSONB, ERROR "error" JSONB,
    }
}

static ANY: Layout = Layout { columns: &[], key: "" };

const BY_TASK: Which =
    Which::Named(c"workflow_step_task", "btree (task_id) WHERE (task_id IS NOT NULL)");
const BY_ROOT: Which =
    Which::Named(c"workflow_stimulus_root", "btree (root_run_id, arrived_at, stimulus_id)");

impl Fields for Table {
    fn get<T: crate::pg::value::Column>(&self, place: usize) -> Result<Option<T>> {
        Self::get(self, place)
    }
}

fn steps(session: &Session) -> Result<Option<Rc<Table>>> {
    session.table("workflow_step", &step::LAYOUT, Access::WriteOwn)
}

fn scopes(session: &Session) -> Result<Option<Rc<Table>>> {
    session.table("workflow_scope", &scope::LAYOUT, Access::WriteOwn)
}

fn executions(session: &Session) -> Result<Option<Rc<Table>>> {
    session.table("workflow_execution", &execution::LAYOUT, Access::WriteOwn)
}

/// A row of `workflow_execution` and its row of `workflow_run`, as [`rows::run`] reads them.
struct Run<'t> {
    execution: &'t Table,
    run: &'t Table,
}

impl Fields for Run<'_> {
    fn get<T: crate::pg::value::Column>(&self, place: usize) -> Result<Option<T>> {
        match place {
            0..9 => self.execution.get(place),
            9 => self.run.get(run::INPUTS),
            10 | 11 => self.execution.get(place - 1),
            12 => match self.execution.get(execution::RESULT)? {
                Some(result) => Ok(Some(result)),
                None => self.run.get(run::RESULT),
            },
            13 => self.run.get(run::ERROR),
            _ => self.execution.get(place - 2),
        }
    }
}

/// Counts a transition of the tree of a workflow run, which takes the tree. Returns the root and the
/// number; none in it for a run that the database does not execute, and none at all when a statement
/// must be used.
///
/// # Errors
/// Those of the wait for the tree.
pub fn take_root(session: &Session, run: Option<Uuid>) -> Result<Option<Option<(Uuid, i64)>>> {
    let Some(executions) = executions(session)? else { return Ok(None) };
    session.with_snapshot(|| {
        let Some(run) = run else { return Ok(Some(None)) };
        match executions.find(&[Key::is(1, run)])? {
            None => return Ok(None),
            Some(false) => return Ok(Some(None)),
            Some(true) => {}
        }
        let root: Uuid = executions.need(execution::ROOT)?;
        if root != run && executions.find(&[Key::is(1, root)])? != Some(true) {
            return Ok(None);
        }
        loop {
            let number = executions.need::<i64>(execution::TRANSITIONS)? + 1;
            let [next] = params![number];
            if executions.update(&[(execution::TRANSITIONS, *next)], true)? == Change::Done {
                return Ok(Some(Some((root, number))));
            }
            if !executions.follow()? {
                return Ok(Some(None));
            }
        }
    })
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
pub fn followers(session: &Session, task: Uuid, root: Uuid) -> Result<Option<Followers<'_>>> {
    let (Some(steps), Some(scopes), Some(executions)) =
        (steps(session)?, scopes(session)?, executions(session)?)
    else {
        return Ok(None);
    };
    let Some(runs) = session.table("workflow_run", &run::LAYOUT, Access::ReadOwn)? else {
        return Ok(None);
    };
    session.with_snapshot(|| {
        let Some(scan) = steps.scan(BY_TASK, &[Key::is(1, task)])? else {
            return Ok(None);
        };
        let mut followers = Followers { found: Vec::new(), others: false };
        while scan.next()? {
            if steps.need::<String>(step::STATE)? != "running" {
                continue;
            }
            let run: Uuid = steps.need(step::RUN)?;
            if executions.find(&[Key::is(1, run)])? != Some(true) {
                continue;
            }
            if executions.need::<Uuid>(execution::ROOT)? != root {
                followers.others = true;
                continue;
            }
            let of_scope = [Key::is(1, run), Key::is(2, steps.need::<i32>(step::SCOPE)?)];
            let is_whole = runs.find(&[Key::is(1, run)])? == Some(true)
                && scopes.find(&of_scope)? == Some(true);
            if !is_whole {
                continue;
            }
            let found = &mut followers.found;
            let place = match found.iter().position(|(view, _)| view.run.id == run) {
                Some(place) => place,
                None => {
                    let stored = rows::run(&Run { execution: &executions, run: &runs }, 0)?;
                    let (name, version) = (&stored.name, &stored.version);
                    let program = registry::program(session, name, version, &stored.hash)?;
                    found.push((View::new(session, program, stored.run)?, Vec::new()));
                    found.len() - 1
                }
            };
            let (view, keys) = &mut found[place];
            let scope = rows::scope(&view.program, &*scopes, 0)?;
            let step = rows::step(&view.program, &*steps, 0)?;
            keys.push(step.key);
            view.keep(Some(scope), Some(step));
        }
        scan.end()?;
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

/// The records of a few steps of a run; those that have none are left out.
///
/// # Errors
/// XX001 for records that do not fit their document.
pub fn some_steps(
    session: &Session,
    program: &Program,
    run: &RunRec,
    keys: &[StepKey],
) -> Result<Option<Vec<StepRec>>> {
    if keys.len() > FEW {
        return Ok(None);
    }
    let Some(steps) = steps(session)? else { return Ok(None) };
    session.with_snapshot(|| {
        let mut found = Vec::new();
        for key in keys {
            match steps.find(&of_step(run.id, *key))? {
                None => return Ok(None),
                Some(false) => {}
                Some(true) => found.push(rows::step(program, &*steps, 0)?),
            }
        }
        Ok(Some(found))
    })
}

fn of_step(run: Uuid, key: StepKey) -> [Key; 3] {
    [Key::is(1, run), Key::is(2, int(key.scope.0)), Key::is(3, int(key.node.0))]
}

/// Stores a few steps of a run; false when a statement must do it.
///
/// # Errors
/// Postgres's own.
pub fn put_steps(view: &View, records: &[StepRec]) -> Result<bool> {
    let session = view.session;
    if records.len() > FEW {
        return Ok(false);
    }
    let Some(steps) = steps(session)? else { return Ok(false) };
    for record in records {
        let values = step_values(view.run.id, record)?;
        let is_new = session.with_snapshot(|| {
            match steps.find(&of_step(view.run.id, record.key))? {
                None => Ok(None),
                Some(false) => Ok(Some(true)),
                // The tree is held: nobody else changes its steps.
                Some(true) => steps
                    .update(&values, true)
                    .map(|change| (change == Change::Done).then_some(false)),
            }
        })?;
        match is_new {
            // What has been stored already is stored again.
            None => return Ok(false),
            Some(true) => steps.insert(&values)?,
            Some(false) => {}
        }
    }
    Ok(true)
}

fn step_values(run: Uuid, s: &StepRec) -> Result<[(usize, Param); 23]> {
    let moment = |moment: Option<Moment>| moment.map(|moment| moment.0);
    let values: &[Param; 23] = params![
        int(s.key.scope.0),
        int(s.key.node.0),
        s.state.as_str(),
        tally(s.dependencies),
        tally(s.routers),
        tally(s.inputs),
        int(s.referrers),
        s.trigger.map(|trigger| int(trigger.referrer.0)),
        s.trigger.map(|trigger| trigger.succeeded),
        s.selected.map(|node| int(node.0)),
        int(s.open),
        int(s.iterations),
        s.first_failed.map(int),
        s.task,
        int(s.attempts),
        s.event.as_deref(),
        jsonb(s.result.as_ref())?,
        jsonb(s.error.as_ref())?,
        s.started_at,
        s.finished_at,
        moment(s.started),
        moment(s.finished),
        run,
    ];
    Ok(std::array::from_fn(|place| (place, values[place])))
}

fn jsonb(json: Option<&Json>) -> Result<Option<Jsonb>> {
    json.map(|json| Jsonb::from_text(json.text())).transpose()
}

/// Three counts as an array; zeros are none.
fn tally(tally: Tally) -> Option<Vec<i32>> {
    (tally.total() > 0).then(|| [tally.completed, tally.failed, tally.skipped].map(int).to_vec())
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
        params![status_text(run.status), int(run.next_scope), run.started_at, jsonb(kept)?];
    let values = [
        (execution::STATUS, *status),
        (execution::NEXT_SCOPE, *next_scope),
        (execution::STARTED_AT, *started_at),
        (execution::RESULT, *result),
    ];
    view.session.with_snapshot(|| {
        let is_there = executions.find(&[Key::is(1, run.id)])? == Some(true);
        Ok(is_there && executions.update(&values, true)? == Change::Done)
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
        let is_there = scopes.find(&key)? == Some(true);
        Ok(is_there && scopes.update(&values, true)? == Change::Done)
    })
}
