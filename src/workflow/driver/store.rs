//! Writing what a transition has changed, in batches.

use std::collections::HashMap;

use uuid::Uuid;

use super::direct;
use super::rows::{int, phase_text};
use super::view::{View, hidden};
use crate::error::Result;
use crate::params;
use crate::pg::Timestamp;
use crate::pg::plan::{Global, Own, Statement};
use crate::workflow::json::Json;
use crate::workflow::records::{
    Moment, RunRec, RunStatus, ScopeId, ScopeRec, StepRec, Tally, ValueRec,
};
use crate::workflow::row_guard;
use crate::workflow::stimulus::Changes;

static NEW_SCOPES: Statement = Statement::new(
    "insert into absurd.workflow_scope
         (workflow_run_id, scope, definition_scope, parent_scope, parent_node, ordinal, chain,
          context, path, phase, open, failed_sinks, item, result, error)
     select $1, scope, definition_scope, parent_scope, parent_node, ordinal, chain::integer[],
            context, path, phase, open, failed_sinks, item::jsonb, result::jsonb, error::jsonb
       from unnest($2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
            u (scope, definition_scope, parent_scope, parent_node, ordinal, chain, context, path,
               phase, open, failed_sinks, item, result, error)",
);
static CHANGED_SCOPES: Statement = Statement::new(
    "update absurd.workflow_scope c
        set phase = u.phase, open = u.open, failed_sinks = u.failed_sinks,
            result = u.result::jsonb, error = u.error::jsonb
       from unnest($2, $3, $4, $5, $6, $7) u (scope, phase, open, failed_sinks, result, error)
      where c.workflow_run_id = $1 and c.scope = u.scope",
);
static CHANGED_SCOPE: Statement = Statement::new(
    "update absurd.workflow_scope
        set phase = $3, open = $4, failed_sinks = $5, result = $6::jsonb, error = $7::jsonb
      where workflow_run_id = $1 and scope = $2",
);
static STEPS: Statement = Statement::new(
    "insert into absurd.workflow_step as s
         (workflow_run_id, scope, node, state, dependencies, routers, inputs, referrers,
          trigger_node, trigger_succeeded, selected, open, iterations, first_failed, task_id,
          attempts, event_name, result, error, started_at, finished_at, started, finished)
     select $1, scope, node, state, dependencies::integer[], routers::integer[], inputs::integer[],
            referrers, trigger_node, trigger_succeeded, selected, open, iterations, first_failed,
            task_id, attempts, event_name, result::jsonb, error::jsonb, started_at, finished_at,
            started, finished
       from unnest($2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18,
                   $19, $20, $21, $22, $23)
            u (scope, node, state, dependencies, routers, inputs, referrers, trigger_node,
               trigger_succeeded, selected, open, iterations, first_failed, task_id, attempts,
               event_name, result, error, started_at, finished_at, started, finished)
     on conflict (workflow_run_id, scope, node) do update
        set state = excluded.state, dependencies = excluded.dependencies,
            routers = excluded.routers, inputs = excluded.inputs, referrers = excluded.referrers,
            trigger_node = excluded.trigger_node, trigger_succeeded = excluded.trigger_succeeded,
            selected = excluded.selected, open = excluded.open, iterations = excluded.iterations,
            first_failed = excluded.first_failed, task_id = excluded.task_id,
            attempts = excluded.attempts, event_name = excluded.event_name,
            result = excluded.result, error = excluded.error, started_at = excluded.started_at,
            finished_at = excluded.finished_at, started = excluded.started,
            finished = excluded.finished",
);
static VALUES: Statement = Statement::new(
    "insert into absurd.workflow_value (workflow_run_id, context, key, source_scope, source_node)
     select $1, * from unnest($2, $3, $4, $5)
     on conflict (workflow_run_id, context, key) do update
        set source_scope = excluded.source_scope, source_node = excluded.source_node",
);
static RUN: Statement = Statement::new(
    "update absurd.workflow_execution
        set status = $2, next_scope = $3, started_at = $4, result = $5::jsonb
      where workflow_run_id = $1",
);
static STATUS: Statement = Statement::new(
    "update absurd.workflow_run
        set status = $2, started_at = coalesce($3, started_at),
            completed_at = coalesce($4, completed_at), result = $5::jsonb, error = $6::jsonb
      where workflow_run_id = $1
     returning workflow_run_id",
);

/// Stores the records of a transition.
pub fn records(view: &View, changes: &Changes) -> Result<()> {
    let new_from = changes.new_scopes_from.map_or(ScopeId(u32::MAX), ScopeId);
    let (new, changed): (Vec<_>, Vec<_>) =
        changes.scopes.iter().partition(|scope| scope.id >= new_from);
    new_scopes(view, &new)?;
    changed_scopes(view, &changed)?;
    steps(view, &changes.steps)?;
    values(view, &changes.values)?;
    items(view, changes)?;
    match &changes.run {
        Some(run) => self::run(view, run),
        None => Ok(()),
    }
}

/// A column of parameters.
fn column<T, R>(records: &[R], value: impl Fn(&R) -> T) -> Vec<T> {
    records.iter().map(value).collect()
}

fn text(json: Option<&Json>) -> Option<String> {
    json.map(|json| json.text().to_owned())
}

fn array(ids: &[ScopeId]) -> String {
    let ids: Vec<String> = ids.iter().map(|id| id.0.to_string()).collect();
    format!("{{{}}}", ids.join(","))
}

fn new_scopes(view: &View, scopes: &[&ScopeRec]) -> Result<()> {
    match scopes {
        [] => return Ok(()),
        [scope] if direct::new_scope(view, scope)? => return Ok(()),
        _ => {}
    }
    let values = params![
        view.run.id,
        column(scopes, |c| int(c.id.0)),
        column(scopes, |c| int(c.scope.0)),
        column(scopes, |c| c.parent.map(|key| int(key.scope.0))),
        column(scopes, |c| c.parent.map(|key| int(key.node.0))),
        column(scopes, |c| int(c.ordinal)),
        column(scopes, |c| Some(array(&c.chain))),
        column(scopes, |c| int(c.context.0)),
        column(scopes, |c| Some(c.path.clone())),
        column(scopes, |c| Some(phase_text(c.phase).to_owned())),
        column(scopes, |c| int(c.open)),
        column(scopes, |c| int(c.failed_sinks)),
        column(scopes, |c| text(c.item.as_ref())),
        column(scopes, |c| text(c.result.as_ref())),
        column(scopes, |c| text(c.error.as_ref())),
    ];
    view.session.run(&NEW_SCOPES, &Own, values)?;
    Ok(())
}

fn changed_scopes(view: &View, scopes: &[&ScopeRec]) -> Result<()> {
    match scopes {
        [] => {}
        [c] if direct::put_scope(view, c)? => {}
        [c] => {
            let values = params![
                view.run.id,
                int(c.id.0),
                phase_text(c.phase),
                int(c.open),
                int(c.failed_sinks),
                c.result.as_ref().map(Json::text),
                c.error.as_ref().map(Json::text),
            ];
            view.session.run(&CHANGED_SCOPE, &Own, values)?;
        }
        _ => {
            let values = params![
                view.run.id,
                column(scopes, |c| int(c.id.0)),
                column(scopes, |c| Some(phase_text(c.phase).to_owned())),
                column(scopes, |c| int(c.open)),
                column(scopes, |c| int(c.failed_sinks)),
                column(scopes, |c| text(c.result.as_ref())),
                column(scopes, |c| text(c.error.as_ref())),
            ];
            view.session.run(&CHANGED_SCOPES, &Own, values)?;
        }
    }
    Ok(())
}

fn steps(view: &View, steps: &[StepRec]) -> Result<()> {
    if steps.is_empty() || direct::put_steps(view, steps)? {
        return Ok(());
    }
    let moment = |moment: Option<Moment>| moment.map(|moment| moment.0);
    let values = params![
        view.run.id,
        column(steps, |s| int(s.key.scope.0)),
        column(steps, |s| int(s.key.node.0)),
        column(steps, |s| Some(s.state.as_str().to_owned())),
        column(steps, |s| tally(s.dependencies)),
        column(steps, |s| tally(s.routers)),
        column(steps, |s| tally(s.inputs)),
        column(steps, |s| int(s.referrers)),
        column(steps, |s| s.trigger.map(|trigger| int(trigger.referrer.0))),
        column(steps, |s| s.trigger.map(|trigger| trigger.succeeded)),
        column(steps, |s| s.selected.map(|node| int(node.0))),
        column(steps, |s| int(s.open)),
        column(steps, |s| int(s.iterations)),
        column(steps, |s| s.first_failed.map(int)),
        column(steps, |s| s.task),
        column(steps, |s| int(s.attempts)),
        column(steps, |s| s.event.clone()),
        column(steps, |s| text(s.result.as_ref())),
        column(steps, |s| text(s.error.as_ref())),
        column(steps, |s| s.started_at),
        column(steps, |s| s.finished_at),
        column(steps, |s| moment(s.started)),
        column(steps, |s| moment(s.finished)),
    ];
    view.session.run(&STEPS, &Own, values)?;
    Ok(())
}

/// Three counts as an array; zeros are none.
fn tally(tally: Tally) -> Option<String> {
    (tally.total() > 0)
        .then(|| format!("{{{},{},{}}}", tally.completed, tally.failed, tally.skipped))
}

fn values(view: &View, values: &[ValueRec]) -> Result<()> {
    if values.is_empty() {
        return Ok(());
    }
    // The last of a key stands; one statement may write a row only once.
    let last: HashMap<(ScopeId, &str), &ValueRec> =
        values.iter().map(|value| ((value.context, value.key.as_str()), value)).collect();
    let mut last: Vec<&ValueRec> = last.into_values().collect();
    last.sort_by(|a, b| (a.context, &a.key).cmp(&(b.context, &b.key)));
    let values = params![
        view.run.id,
        column(&last, |v| int(v.context.0)),
        column(&last, |v| Some(v.key.clone())),
        column(&last, |v| int(v.source.scope.0)),
        column(&last, |v| int(v.source.node.0)),
    ];
    view.session.run(&VALUES, &Own, values)?;
    Ok(())
}

static NEW_ITEMS: Statement = Statement::new(
    "insert into absurd.workflow_items (workflow_run_id, scope, node, first, count, items)
     select $1, scope, node, first, count, items
       from unnest($2, $3, $4, $5, $6) u (scope, node, first, count, items)",
);
static TAKEN_ITEMS: Statement = Statement::new(
    "delete from absurd.workflow_items i
      using unnest($2, $3, $4) u (scope, node, first)
      where i.workflow_run_id = $1 and i.scope = u.scope and i.node = u.node and i.first = u.first",
);
static DROPPED_ITEMS: Statement = Statement::new(
    "delete from absurd.workflow_items i
      using unnest($2, $3) u (scope, node)
      where i.workflow_run_id = $1 and i.scope = u.scope and i.node = u.node",
);

/// Keeps the items of loops that have no instances yet, and forgets those that need not be kept.
fn items(view: &View, changes: &Changes) -> Result<()> {
    let (new, taken, dropped) = (&changes.items, &changes.items_taken, &changes.items_dropped);
    if !taken.is_empty() {
        let values = params![
            view.run.id,
            column(taken, |(key, _)| int(key.scope.0)),
            column(taken, |(key, _)| int(key.node.0)),
            column(taken, |(_, first)| int(*first)),
        ];
        view.session.run(&TAKEN_ITEMS, &Own, values)?;
    }
    if !new.is_empty() {
        let values = params![
            view.run.id,
            column(new, |i| int(i.container.scope.0)),
            column(new, |i| int(i.container.node.0)),
            column(new, |i| int(i.first)),
            column(new, |i| int(i.count)),
            column(new, |i| Some(i.items.text().to_owned())),
        ];
        view.session.run(&NEW_ITEMS, &Own, values)?;
    }
    if !dropped.is_empty() {
        let values = params![
            view.run.id,
            column(dropped, |key| int(key.scope.0)),
            column(dropped, |key| int(key.node.0)),
        ];
        view.session.run(&DROPPED_ITEMS, &Own, values)?;
    }
    Ok(())
}

/// Stores the run's own record, and its status where clients look for it.
fn run(view: &View, run: &RunRec) -> Result<()> {
    let (before, now) = (&view.run, view.session.now());
    let completed = run.status == RunStatus::Completed;
    let changed = (before.status, before.next_scope, before.started_at)
        != (run.status, run.next_scope, run.started_at);
    if changed {
        // A run that was ended with a result but another status keeps it here.
        let kept = run.result.as_ref().filter(|_| !completed);
        if !direct::put_run(view, run, kept)? {
            let (status, next_scope) = (run.status.as_str(), int(run.next_scope));
            let values = params![run.id, status, next_scope, run.started_at, kept.map(Json::text)];
            view.session.run(&RUN, &Own, values)?;
        }
    }
    if before.status == run.status {
        return Ok(());
    }
    // The history shows that a run which ends in the transition that starts it has been running.
    if before.status == RunStatus::Pending
        && let Some(started_at) = run.started_at
    {
        let started_at = Some(started_at);
        let new = NewStatus { started_at, ..NewStatus::of(RunStatus::Running) };
        status(view, run.id, &new)?;
    }
    if matches!(run.status, RunStatus::Pending | RunStatus::Running) {
        return Ok(());
    }
    let at: Timestamp = run.started_at.map_or(now, |started| now.max(started));
    let new = NewStatus {
        result: run.result.as_ref(),
        error: run.error.as_ref().filter(|_| !completed),
        completed_at: Some(at),
        ..NewStatus::of(run.status)
    };
    status(view, run.id, &new)
}

/// A change of a run's status and what comes with it.
struct NewStatus<'a> {
    status: RunStatus,
    started_at: Option<Timestamp>,
    completed_at: Option<Timestamp>,
    result: Option<&'a Json>,
    error: Option<&'a Json>,
}

impl NewStatus<'_> {
    /// With nothing beside.
    fn of(status: RunStatus) -> Self {
        Self { status, started_at: None, completed_at: None, result: None, error: None }
    }
}

/// Stores a run's status where clients look for it.
fn status(view: &View, id: Uuid, new: &NewStatus) -> Result<()> {
    let values = params![
        id,
        new.status.as_str(),
        new.started_at,
        new.completed_at,
        new.result.map(Json::text),
        new.error.map(Json::text),
    ];
    let written = row_guard::as_engine(id, || view.session.run(&STATUS, &Global, values))?;
    if written.is_empty() {
        return Err(hidden(id));
    }
    Ok(())
}
