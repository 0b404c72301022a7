//! Steps of runs, a few at a time.

use std::rc::Rc;

use uuid::Uuid;

use super::jsonb;
use crate::error::Result;
use crate::params;
use crate::pg::direct::{Access, Key, Table};
use crate::pg::{Param, Session};
use crate::workflow::driver::rows::{self, int};
use crate::workflow::driver::view::View;
use crate::workflow::program::Program;
use crate::workflow::records::{Moment, RunRec, StepKey, StepRec, Tally};

/// More steps than this are read and written by one statement.
const FEW: usize = 8;

/// The columns that [`rows::step`] reads, in its order, and the run.
pub(super) mod step {
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

pub(super) fn open(session: &Session) -> Result<Option<Rc<Table>>> {
    session.table("workflow_step", &step::LAYOUT, Access::WriteOwn)
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
    let Some(steps) = open(session)? else { return Ok(None) };
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
    let Some(steps) = open(session)? else { return Ok(false) };
    for record in records {
        let values = step_values(view.run.id, record)?;
        if view.is_unwritten(record.key) {
            steps.insert(&values)?;
            continue;
        }
        let is_new = session.with_snapshot(|| {
            let found = match is_at_step(&steps, view.run.id, record.key)? {
                true => Some(true),
                false => steps.find(&of_step(view.run.id, record.key))?,
            };
            match found {
                None => Ok(None),
                Some(false) => Ok(Some(true)),
                // The tree is held: nobody else changes its steps.
                Some(true) => steps.update(&values).map(|()| Some(false)),
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

/// Whether a step's row is the one that was read last, as it stands: the tree is held.
fn is_at_step(steps: &Table, run: Uuid, key: StepKey) -> Result<bool> {
    Ok(steps.is_fresh()
        && steps.need::<i32>(step::NODE)? == int(key.node.0)
        && steps.need::<i32>(step::SCOPE)? == int(key.scope.0)
        && steps.need::<Uuid>(step::RUN)? == run)
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

/// Three counts as an array; zeros are none.
fn tally(tally: Tally) -> Option<Vec<i32>> {
    (tally.total() > 0).then(|| [tally.completed, tally.failed, tally.skipped].map(int).to_vec())
}
