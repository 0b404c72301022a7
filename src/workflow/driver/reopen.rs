//! Runs that have failed or were cancelled, tried again in place.
//!
//! What a run consisted of is removed, and it starts anew under its id; steps that are kept end at
//! once, as they ended before, when their turn comes. So nothing that has ended is undone step by
//! step, and what an interrupted retry leaves behind is a run like any other.

use std::collections::HashMap;
use std::rc::Rc;

use uuid::Uuid;

use super::rows::{self, int};
use super::{Drive, admit, load, lock, start};
use crate::error::{Error, Result};
use crate::params;
use crate::pg::plan::{Global, Own, Statement};
use crate::pg::{Param, Session};
use crate::queue::{QueueName, access, provision};
use crate::task::cancel;
use crate::workflow::bounds::cut;
use crate::workflow::program::{Program, ScopeIx};
use crate::workflow::records::{RunRec, RunStatus, ScopeId, StepKey};
use crate::workflow::retrace::{Ended, Instance, Retrace};
use crate::workflow::row_guard;
use crate::workflow::step_state::StepState;
use crate::workflow::stimulus::Stimulus;

/// In place of a step's scope in the rows of its children, when the step's run was retried: of
/// those that the step takes up again when it starts, and of those that it is done with.
pub const TO_TAKE_UP: i32 = i32::MAX;
const CAST_OFF: i32 = i32::MAX - 1;

static BOUNDED: Statement = Statement::new(
    "select workflow_name, bounded, root_run_id
       from absurd.workflow_execution where workflow_run_id = $1",
);
static SCOPES: Statement = Statement::new(
    "select scope, definition_scope, parent_scope, parent_node, ordinal, chain, path
       from absurd.workflow_scope where workflow_run_id = $1",
);
static STEPS: Statement = Statement::new(
    "select scope, node, state from absurd.workflow_step where workflow_run_id = $1",
);
static KEEP: Statement = Statement::new(
    "insert into absurd.workflow_kept as k
         (workflow_run_id, path, state, selected, task_id, attempts, result, error, started_at,
          finished_at, is_given)
     select $1, u.path, s.state, s.selected, s.task_id, s.attempts, s.result, s.error, s.started_at,
            s.finished_at, false
       from unnest($2, $3, $4) u (scope, node, path)
       join absurd.workflow_step s
         on s.workflow_run_id = $1 and s.scope = u.scope and s.node = u.node
     on conflict (workflow_run_id, path) do update
        set state = excluded.state, selected = excluded.selected, task_id = excluded.task_id,
            attempts = excluded.attempts, result = excluded.result, error = excluded.error,
            started_at = excluded.started_at, finished_at = excluded.finished_at
      where not k.is_given",
);
/// The items of loops: those that have instances, then those that have none yet.
static KEEP_ITEMS: Statement = Statement::new(
    "insert into absurd.workflow_kept
         (workflow_run_id, path, state, attempts, result, is_given)
     select $1, u.path, 'running', 0, i.items, false
       from unnest($2, $3, $4) u (scope, node, path),
            lateral (
                select jsonb_agg(a.item order by a.ordinal) as items
                  from (select c.ordinal, c.item
                          from absurd.workflow_scope c
                         where c.workflow_run_id = $1 and c.parent_scope = u.scope
                           and c.parent_node = u.node
                        union
                        select l.first + e.place - 1, e.item
                          from absurd.workflow_items l,
                               jsonb_array_elements(l.items::jsonb) with ordinality e (item, place)
                         where l.workflow_run_id = $1 and l.scope = u.scope and l.node = u.node) a) i
      where i.items is not null
     on conflict (workflow_run_id, path) do update
        set state = excluded.state, result = excluded.result
      where not workflow_kept.is_given",
);
/// With all that is inside.
static KEEP_NOT: Statement = Statement::new(
    "delete from absurd.workflow_kept k
      using unnest($2) u (path)
      where k.workflow_run_id = $1 and not k.is_given
        and (k.path = u.path or starts_with(k.path, u.path || '.')
             or starts_with(k.path, u.path || '['))",
);
/// The tasks of steps that are executed again.
static TASKS: Statement = Statement::new(
    "select s.task_id
       from absurd.workflow_step s
      where s.workflow_run_id = $1 and s.task_id is not null
        and not exists (
            select from absurd.workflow_kept k
             where k.workflow_run_id = $1 and k.task_id = s.task_id)",
);
static OPEN: Statement = Statement::new(
    "select task_id from {t}
      where workflow_run_id = $1 and state in ('pending', 'running', 'sleeping')
        and workflow_step",
);
/// A task that did not complete gives up its key, so that the step gets a new one.
static FREE_KEYS: Statement = Statement::new(
    "update {t} set idempotency_key = null
      where task_id = any ($1) and state in ('failed', 'cancelled') and idempotency_key is not null",
);
static FREE_LISTED_KEYS: Statement = Statement::new(
    "delete from {i} i
      using {t} t
      where t.task_id = any ($1) and t.state in ('failed', 'cancelled') and i.task_id = t.task_id",
);
static CHILDREN: Statement = Statement::new(
    "update absurd.workflow_execution
        set parent_scope = case
                when (parent_scope, parent_node) in (
                     select u.scope, u.node from unnest($2, $3) u (scope, node))
                then $4 else $5 end
      where parent_run_id = $1 and parent_scope <> $4",
);
static EXECUTION: Statement = Statement::new(
    "update absurd.workflow_execution
        set status = 'pending', started_at = null, result = null, next_scope = 0,
            retries = coalesce(retries, 0) + 1
      where workflow_run_id = $1",
);
static STATUS: Statement = Statement::new(
    "update absurd.workflow_run
        set status = 'pending', started_at = null, completed_at = null, result = null, error = null
      where workflow_run_id = $1
     returning workflow_run_id",
);

macro_rules! delete {
    ($table:literal) => {
        Statement::new(concat!("delete from absurd.", $table, " where workflow_run_id = $1"))
    };
}

static TABLES: [Statement; 7] = [
    delete!("workflow_scope"),
    delete!("workflow_step"),
    delete!("workflow_value"),
    delete!("workflow_timer"),
    delete!("workflow_wait"),
    delete!("workflow_items"),
    delete!("workflow_stimulus"),
];

/// Starts a run again that has failed or was cancelled. Steps that completed are not executed
/// again, but for those that come after one that is; a step named by its path is, whatever it came
/// to.
///
/// # Errors
/// 42501 for a caller who may not start such runs; P0002 for an unknown run or step; 55000 for a
/// run that is a child, that has not ended or has completed, or that the database does not execute.
pub fn retry(session: &Session, run: Uuid, from: Option<&str>) -> Result<()> {
    start::check_rights(session, run, &access::SPAWN)?;
    start::check_rights(session, run, &access::CANCEL)?;
    let Some(row) = session.run(&BOUNDED, &Own, params![run])?.first() else {
        return Err(wrong(run, "is not executed by the database"));
    };
    let (workflow, bounded, root): (String, bool, Uuid) =
        (row.need(0)?, row.need(1)?, row.need(2)?);
    if root != run {
        let rule = format!("is a child in the tree of \"{root}\"");
        return Err(wrong(run, rule).with_hint("Retry that one: what its children did is kept."));
    }
    if bounded {
        admit::hold(session, &workflow)?;
    }
    let transition = lock::take(session, root)?;
    let mut drive = Drive::new(session, root, transition);
    drive.close_all()?;
    let view = drive.view(run)?;
    let (record, program) = (view.run.clone(), Rc::clone(&view.program));
    let from = match (record.status, from) {
        (RunStatus::Failed | RunStatus::Cancelled, None) => None,
        (RunStatus::Failed | RunStatus::Cancelled, Some(path)) => {
            Some(start::find(view, path)?.ok_or_else(|| no_step(path))?)
        }
        (status, _) => {
            let hint = "Only a run that has failed or was cancelled can be retried.";
            return Err(wrong(run, format!("is {status}")).with_hint(hint));
        }
    };
    reset(session, &record, &program, from)?;
    drive.forget(run);
    if bounded && !admit::may_start(session, &workflow, run, program.max_active_runs)? {
        if admit::waiting(session, &workflow, run)?.is_none() {
            admit::arm(session, run, &record.queue)?;
        }
    } else {
        drive.push(run, Stimulus::Start);
    }
    drive.finish().map(drop)
}

/// Starts a child again that did not complete, with what it had, as its step takes it up.
///
/// # Errors
/// Postgres's own.
pub fn child(drive: &mut Drive, run: Uuid) -> Result<()> {
    drive.forget(run);
    let view = load::view(drive.session, run)?;
    reset(drive.session, &view.run, &view.program, None)?;
    drive.push(run, Stimulus::Start);
    Ok(())
}

pub fn no_step(path: &str) -> Error {
    Error::NotFound { what: "Step", id: cut(path), queue: None }
}

fn wrong(run: Uuid, rule: impl Into<String>) -> Error {
    Error::WrongState {
        what: format!("Workflow run \"{run}\""),
        rule: format!("cannot be retried: it {}", rule.into()),
        hint: None,
    }
}

/// Removes what an ended run consisted of, but for what its steps are to end with again.
fn reset(session: &Session, run: &RunRec, program: &Program, from: Option<StepKey>) -> Result<()> {
    let (ended, paths) = read(session, run.id, program)?;
    let retrace = ended.retrace(from);
    let path = |key: &StepKey| {
        let scope = paths.get(&key.scope).map(String::as_str).unwrap_or_default();
        Some(format!("{scope}{}", program.node(key.node).id))
    };
    let places = |keys: &[StepKey]| -> [Param; 2] {
        let (scopes, nodes): (Vec<i32>, Vec<i32>) =
            keys.iter().map(|key| (int(key.scope.0), int(key.node.0))).unzip();
        let [scopes, nodes]: &[Param; 2] = params![scopes, nodes];
        [*scopes, *nodes]
    };
    let Retrace { kept, loops, after } = retrace;
    let own = |statement, params: &[Param]| session.run(statement, &Own, params).map(drop);
    let [id]: &[Param; 1] = params![run.id];
    for (statement, keys) in [(&KEEP, &kept), (&KEEP_ITEMS, &loops)] {
        let [scopes, nodes] = places(keys);
        let [paths]: &[Param; 1] = params![keys.iter().map(path).collect::<Vec<_>>()];
        own(statement, &[*id, scopes, nodes, *paths])?;
    }
    own(&KEEP_NOT, params![run.id, after.iter().map(path).collect::<Vec<_>>()])?;
    let [scopes, nodes] = places(&after);
    let [off, up]: &[Param; 2] = params![CAST_OFF, TO_TAKE_UP];
    own(&CHILDREN, &[*id, scopes, nodes, *off, *up])?;
    let queue = QueueName::parse(Some(&run.queue))?;
    if !access::is_gone(&queue)? {
        tasks(session, run.id, &queue)?;
    }
    for statement in &TABLES {
        own(statement, &[*id])?;
    }
    own(&EXECUTION, &[*id])?;
    let opened = row_guard::reopening(run.id, || session.run(&STATUS, &Global, &[*id]))?;
    match opened.is_empty() {
        true => Err(super::view::hidden(run.id)),
        false => Ok(()),
    }
}

/// Ends what is left of the tasks of steps that are executed again.
fn tasks(session: &Session, run: Uuid, queue: &QueueName) -> Result<()> {
    let open = session.run(&OPEN, queue, params![run])?;
    let open = open.into_iter().map(|row| row.need(0)).collect::<Result<Vec<_>>>()?;
    cancel::many(session, queue, open)?;
    let tasks = session.run(&TASKS, &Own, params![run])?;
    let tasks = tasks.into_iter().map(|row| row.need(0)).collect::<Result<Vec<Uuid>>>()?;
    let tasks: Vec<Option<Uuid>> = tasks.into_iter().map(Some).collect();
    if provision::is_partitioned(queue)? {
        session.run(&FREE_LISTED_KEYS, queue, params![tasks.clone()])?;
    }
    session.run(&FREE_KEYS, queue, params![tasks]).map(drop)
}

/// What is stored of a run, and the paths of its scope instances.
fn read<'p>(
    session: &Session,
    run: Uuid,
    program: &'p Program,
) -> Result<(Ended<'p>, HashMap<ScopeId, String>)> {
    let (mut scopes, mut paths, mut steps) = (HashMap::new(), HashMap::new(), HashMap::new());
    for row in session.run(&SCOPES, &Own, params![run])? {
        let id = ScopeId(rows::number(&row, 0)?);
        let parent = match rows::optional_number(&row, 2)? {
            Some(scope) => {
                let node = rows::node(program, rows::number(&row, 3)?)?;
                Some(StepKey { scope: ScopeId(scope), node })
            }
            None => None,
        };
        let chain: Vec<i32> = row.need(5)?;
        let instance = Instance {
            definition: ScopeIx(rows::number(&row, 1)?),
            parent,
            ordinal: rows::number(&row, 4)?,
            chain: chain.into_iter().filter_map(|id| u32::try_from(id).ok().map(ScopeId)).collect(),
        };
        scopes.insert(id, instance);
        paths.insert(id, row.need(6)?);
    }
    for row in session.run(&STEPS, &Own, params![run])? {
        let state = StepState::parse(&row.need::<String>(2)?)?;
        steps.insert(rows::key(program, &row, 0, 1)?, state);
    }
    Ok((Ended { program, scopes, steps }, paths))
}
