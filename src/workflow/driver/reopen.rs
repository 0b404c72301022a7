//! Runs that have failed or were cancelled, tried again in place.
//!
//! What a run consisted of is removed, and it starts anew under its id; steps that are kept end at
//! once, as they ended before, when their turn comes. So nothing that has ended is undone step by
//! step, and what an interrupted retry leaves behind is a run like any other.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use uuid::Uuid;

use super::rows::{self, int};
use super::{Drive, admit, load, lock, start};
use crate::error::{Error, Result};
use crate::params;
use crate::pg::plan::{Global, Own, Statement};
use crate::pg::{Param, Session};
use crate::queue::{QueueName, access, policy, provision};
use crate::task::cancel;
use crate::workflow::bounds::cut;
use crate::workflow::forget;
use crate::workflow::program::{NodeIx, Program, ScopeIx};
use crate::workflow::records::{
    BreakerEvent, BreakerEventKind, Moment, Prober, RunRec, RunStatus, ScopeId, StepKey,
};
use crate::workflow::retrace::{Ended, Instance, Place, Retrace, Step};
use crate::workflow::row_guard;
use crate::workflow::step_state::StepState;
use crate::workflow::stimulus::Stimulus;

/// In place of a step's scope in the rows of its children, when the step's run was retried: of
/// those that the step takes up again when it starts, and of those that it is done with.
pub const TO_TAKE_UP: i32 = i32::MAX;
const CAST_OFF: i32 = i32::MAX - 1;

static BOUNDED: Statement =
    Statement::new("select bounded from absurd.workflow_execution where workflow_run_id = $1");
static SCOPES: Statement = Statement::new(
    "select scope, definition_scope, parent_scope, parent_node, ordinal, chain, phase
       from absurd.workflow_scope where workflow_run_id = $1",
);
static STEPS: Statement = Statement::new(
    "select scope, node, state, task_id, started, finished
       from absurd.workflow_step where workflow_run_id = $1",
);
static WAITING: Statement = Statement::new(
    "select place, state from absurd.workflow_kept where workflow_run_id = $1 and state <> 'running'",
);
/// What an operator gave has been taken up by steps that have completed since.
static TAKEN: Statement = Statement::new(
    "update absurd.workflow_kept k set is_given = false
       from unnest($2) u (place)
      where k.workflow_run_id = $1 and k.place = u.place::integer[] and k.is_given",
);
static FORGET: Statement = Statement::new(
    "delete from absurd.workflow_kept k
      using unnest($2) u (place)
      where k.workflow_run_id = $1 and k.place = u.place::integer[] and not k.is_given",
);
static FORGET_INSIDE: Statement = Statement::new(
    "delete from absurd.workflow_kept k
      using unnest($2) u (place)
      where k.workflow_run_id = $1 and not k.is_given
        and k.place[1:cardinality(u.place::integer[])] = u.place::integer[]",
);
static KEEP: Statement = Statement::new(
    "insert into absurd.workflow_kept as k
         (workflow_run_id, place, state, selected, task_id, attempts, result, error, started_at,
          finished_at, ended, is_given, is_entered)
     select $1, u.place::integer[], s.state, s.selected, s.task_id, s.attempts, s.result, s.error,
            s.started_at, s.finished_at, coalesce(s.finished, 0), false, u.is_entered = 1
       from unnest($2, $3, $4, $5) u (scope, node, place, is_entered)
       join absurd.workflow_step s
         on s.workflow_run_id = $1 and s.scope = u.scope and s.node = u.node
     on conflict (workflow_run_id, place) do update
        set state = excluded.state, selected = excluded.selected, task_id = excluded.task_id,
            attempts = excluded.attempts, result = excluded.result, error = excluded.error,
            started_at = excluded.started_at, finished_at = excluded.finished_at,
            ended = excluded.ended, is_entered = excluded.is_entered
      where not k.is_given",
);
/// The items of loops: those that have instances, then those that have none yet.
static KEEP_ITEMS: Statement = Statement::new(
    "insert into absurd.workflow_kept as k
         (workflow_run_id, place, state, attempts, result, ended, is_given, is_entered)
     select $1, u.place::integer[], 'running', 0, i.items, 0, false, false
       from unnest($2, $3, $4) u (scope, node, place),
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
     on conflict (workflow_run_id, place) do update
        set state = excluded.state, result = excluded.result
      where not k.is_given",
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
/// Children wait to be taken up by the step at their place, or are cast off with it.
static DETACH: Statement = Statement::new(
    "update absurd.workflow_execution e
        set parent_scope = $5, parent_place = u.place::integer[]
       from unnest($2, $3, $4) u (scope, node, place)
      where e.parent_run_id = $1 and e.parent_scope = u.scope and e.parent_node = u.node",
);
static CAST_OFF_AT: Statement = Statement::new(
    "update absurd.workflow_execution e
        set parent_scope = $3
       from unnest($2) u (place)
      where e.parent_run_id = $1 and e.parent_scope = $4 and e.parent_place = u.place::integer[]",
);
static CAST_OFF_INSIDE: Statement = Statement::new(
    "update absurd.workflow_execution e
        set parent_scope = $3
       from unnest($2) u (place)
      where e.parent_run_id = $1 and e.parent_scope = $4
        and e.parent_place[1:cardinality(u.place::integer[])] = u.place::integer[]",
);
static PROBES: Statement = Statement::new(
    "select workflow_name, step_name, probing_scope, probing_node
       from absurd.workflow_breaker
      where probing_run = $1",
);
static EXECUTION: Statement = Statement::new(
    "update absurd.workflow_execution
        set status = 'pending', started_at = null, result = null, next_scope = 0,
            retries = coalesce(retries, 0) + 1, paused_at = null
      where workflow_run_id = $1",
);
static STATUS: Statement = Statement::new(
    "update absurd.workflow_run
        set status = 'pending', started_at = null, completed_at = null, result = null, error = null
      where workflow_run_id = $1
     returning workflow_run_id",
);

static STIMULI: Statement =
    Statement::new("delete from absurd.workflow_stimulus where workflow_run_id = $1");

/// Starts a run again that has failed or was cancelled. Steps that completed are not executed
/// again, but for those that come after one that is; a step named by its path is, whatever it came
/// to.
///
/// # Errors
/// 42501 for a caller who may not start such runs; P0002 for an unknown run or step; 55000 for a
/// run that is a child, that has not ended or has completed, or that the database does not execute.
pub fn retry(session: &Session, run: Uuid, from: Option<&str>) -> Result<()> {
    start::check_rights(session, run, &access::OPERATE)?;
    let Some(root) = lock::root_of(session, run)? else {
        return Err(wrong(run, "is not executed by the database"));
    };
    if root != run {
        let rule = format!("is a child in the tree of \"{root}\"");
        return Err(wrong(run, rule).with_hint("Retry that one: what its children did is kept."));
    }
    let transition = lock::take(session, root)?;
    let mut drive = Drive::new(session, root, transition);
    drive.work_off()?;
    if drive.view(run)?.run.status.is_final() {
        drive.close_all()?;
    }
    let view = drive.view(run)?;
    let (record, program) = (view.run.clone(), Rc::clone(&view.program));
    policy::require(session, &view.queue)?;
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
    reset(&mut drive, &record, &program, from)?;
    let bounded = session.run(&BOUNDED, &Own, params![run])?.only()?.need(0)?;
    if bounded {
        admit::hold(session, &program.name)?;
    }
    if bounded && !admit::may_start(session, &program.name, run, program.max_active_runs)? {
        if admit::waiting(session, &program.name, run)?.is_none() {
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
    let view = load::view(drive.session, run)?;
    reset(drive, &view.run, &view.program, None)?;
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
fn reset(drive: &mut Drive, run: &RunRec, program: &Program, from: Option<StepKey>) -> Result<()> {
    let session = drive.session;
    let ended = read(session, run.id, program)?;
    let Retrace { kept, entered, loops, after, forgotten, forgotten_inside } = ended.retrace(from);
    let own = |statement, params: &[Param]| session.run(statement, &Own, params).map(drop);
    let [id]: &[Param; 1] = params![run.id];
    let is_done = |step: &Step| step.state == StepState::Completed && !step.was_waiting;
    let done = ended.steps.iter().filter(|(_, step)| is_done(step));
    let done: Vec<Place> = done.map(|(key, _)| ended.place(*key)).collect();
    for (statement, places) in
        [(&TAKEN, &done), (&FORGET, &forgotten), (&FORGET_INSIDE, &forgotten_inside)]
    {
        own(statement, params![run.id, texts(places)])?;
    }
    let [scopes, nodes, places] = columns(&ended, &kept);
    let [is_entered]: &[Param; 1] =
        params![kept.iter().map(|key| i32::from(entered.contains(key))).collect::<Vec<_>>()];
    own(&KEEP, &[*id, scopes, nodes, places, *is_entered])?;
    let [scopes, nodes, places] = columns(&ended, &loops);
    own(&KEEP_ITEMS, &[*id, scopes, nodes, places])?;
    // Children that an earlier retry has detached, and then those of now.
    let at: Vec<Place> = after.iter().map(|key| ended.place(*key)).collect();
    for (statement, places) in [(&CAST_OFF_AT, &at), (&CAST_OFF_INSIDE, &forgotten_inside)] {
        own(statement, params![run.id, texts(places), CAST_OFF, TO_TAKE_UP])?;
    }
    let all: Vec<StepKey> = ended.steps.keys().copied().collect();
    for (keys, scope) in [(&after, CAST_OFF), (&all, TO_TAKE_UP)] {
        let [scopes, nodes, places] = columns(&ended, keys);
        let [to]: &[Param; 1] = params![scope];
        own(&DETACH, &[*id, scopes, nodes, places, *to])?;
    }
    release(drive, run.id)?;
    let queue = QueueName::parse(Some(&run.queue))?;
    if !access::is_gone(&queue)? {
        let kept: HashSet<StepKey> = kept.into_iter().collect();
        let again = ended.steps.iter().filter(|(key, _)| !kept.contains(key));
        tasks(session, run.id, &queue, again.filter_map(|(_, step)| step.task).collect())?;
    }
    own(&STIMULI, &[*id])?;
    forget::records(session, run.id)?;
    own(&EXECUTION, &[*id])?;
    drive.forget(run.id);
    let opened = row_guard::reopening(run.id, || session.run(&STATUS, &Global, &[*id]))?;
    match opened.is_empty() {
        true => Err(super::view::hidden(run.id)),
        false => Ok(()),
    }
}

fn texts(places: &[Place]) -> Vec<Option<String>> {
    let text = |place: &Place| {
        let numbers: Vec<String> = place.iter().map(ToString::to_string).collect();
        Some(format!("{{{}}}", numbers.join(",")))
    };
    places.iter().map(text).collect()
}

/// Steps as three columns: scope, node, place.
fn columns(ended: &Ended, keys: &[StepKey]) -> [Param; 3] {
    let (scopes, nodes): (Vec<i32>, Vec<i32>) =
        keys.iter().map(|key| (int(key.scope.0), int(key.node.0))).unzip();
    let places: Vec<Place> = keys.iter().map(|key| ended.place(*key)).collect();
    let [scopes, nodes, places]: &[Param; 3] = params![scopes, nodes, texts(&places)];
    [*scopes, *nodes, *places]
}

/// Lets others probe the breakers that the run was probing when it ended.
fn release(drive: &mut Drive, run: Uuid) -> Result<()> {
    for row in drive.session.run(&PROBES, &Own, params![run])? {
        let (workflow, node): (String, String) = (row.need(0)?, row.need(1)?);
        let step = StepKey {
            scope: ScopeId(rows::number(&row, 2)?),
            node: NodeIx(rows::number(&row, 3)?),
        };
        let who = Prober { run, step };
        let kind = BreakerEventKind::Released;
        let event = BreakerEvent { who, at: drive.session.now(), kind };
        drive.shared.borrow_mut().breakers.note(&workflow, vec![(node, event)]);
    }
    Ok(())
}

/// Ends what is left of the tasks of steps, and frees the keys of those that are executed again.
fn tasks(session: &Session, run: Uuid, queue: &QueueName, again: Vec<Uuid>) -> Result<()> {
    let open = session.run(&OPEN, queue, params![run])?;
    let open = open.into_iter().map(|row| row.need(0)).collect::<Result<Vec<_>>>()?;
    cancel::many(session, queue, open)?;
    let again: Vec<Option<Uuid>> = again.into_iter().map(Some).collect();
    if provision::is_partitioned(queue)? {
        session.run(&FREE_LISTED_KEYS, queue, params![again.clone()])?;
    }
    session.run(&FREE_KEYS, queue, params![again]).map(drop)
}

/// What is stored of a run.
fn read<'p>(session: &Session, run: Uuid, program: &'p Program) -> Result<Ended<'p>> {
    let (mut scopes, mut steps) = (HashMap::new(), HashMap::new());
    for row in session.run(&SCOPES, &Own, params![run])? {
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
            phase: rows::phase(&row.need::<String>(6)?)?,
        };
        scopes.insert(ScopeId(rows::number(&row, 0)?), instance);
    }
    let mut waiting: HashMap<Place, StepState> = HashMap::new();
    for row in session.run(&WAITING, &Own, params![run])? {
        waiting.insert(row.need(0)?, StepState::parse(&row.need::<String>(1)?)?);
    }
    for row in session.run(&STEPS, &Own, params![run])? {
        let state = StepState::parse(&row.need::<String>(2)?)?;
        let moment = |column| -> Result<_> { Ok(row.get::<i64>(column)?.map(Moment)) };
        let step = Step {
            state,
            task: row.get(3)?,
            started: moment(4)?,
            finished: moment(5)?,
            was_waiting: false,
            was_kept: false,
        };
        steps.insert(rows::key(program, &row, 0, 1)?, step);
    }
    let mut ended = Ended { program, scopes, steps };
    let keys: Vec<StepKey> = ended.steps.keys().copied().filter(|_| !waiting.is_empty()).collect();
    for key in keys {
        let Some(state) = waiting.get(&ended.place(key)).copied() else { continue };
        let Some(step) = ended.steps.get_mut(&key) else { continue };
        step.was_kept = true;
        // One that was cancelled before has been so again.
        if state != StepState::Cancelled
            && matches!(step.state, StepState::Cancelled | StepState::Running)
        {
            (step.state, step.was_waiting) = (state, true);
        }
    }
    Ok(ended)
}
