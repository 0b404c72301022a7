//! Carrying out what a transition orders.

use std::collections::{BTreeMap, HashMap, HashSet};

use uuid::Uuid;

use super::rows::{int, timer_text};
use super::view::View;
use super::{Drive, admit, children, events, kept, store};
use crate::error::Result;
use crate::params;
use crate::pg::Session;
use crate::pg::plan::{Own, Statement};
use crate::queue::access;
use crate::task::cancel;
use crate::task::steps::{self, StepTask};
use crate::workflow::json::Json;
use crate::workflow::records::{RunStatus, StepKey, TimerRec};
use crate::workflow::step_state::StepState;
use crate::workflow::stimulus::{Changes, Command, SpawnTask, Stimulus};

/// A child run to start.
pub struct NewChild {
    pub step: StepKey,
    pub branch: String,
    pub workflow: String,
    pub version: Option<String>,
    pub inputs: Json,
}

/// The commands of a transition by what they need.
#[derive(Default)]
struct Orders {
    spawns: Vec<SpawnTask>,
    cancels: Vec<Uuid>,
    emits: Vec<(String, Json)>,
    /// What each step waits for in the end, or that it waits no longer.
    waits: BTreeMap<StepKey, Option<String>>,
    /// The timer that each step has in the end, by the two columns of its key.
    timers: BTreeMap<(i32, i32), Option<TimerRec>>,
    children: Vec<NewChild>,
    abandoned: Vec<StepKey>,
    end: Option<RunStatus>,
}

impl Orders {
    fn sort(commands: Vec<Command>) -> Self {
        let mut orders = Self::default();
        for command in commands {
            match command {
                Command::SpawnTask(task) => orders.spawns.push(*task),
                Command::CancelTask { task, .. } => orders.cancels.push(task),
                Command::EmitEvent { name, payload } => orders.emits.push((name, payload)),
                Command::WaitEvent { step, name } => {
                    orders.waits.insert(step, Some(name));
                }
                Command::ForgetWait { step } => {
                    orders.waits.insert(step, None);
                }
                Command::SetTimer(timer) => {
                    orders.timers.insert(place(timer.step), Some(timer));
                }
                Command::ClearTimer { step } => {
                    orders.timers.insert(place(step), None);
                }
                Command::StartChild { step, branch, workflow, version, inputs } => {
                    orders.children.push(NewChild { step, branch, workflow, version, inputs });
                }
                Command::CancelChildren { step } => orders.abandoned.push(step),
                Command::FinishRun { status } => orders.end = Some(status),
            }
        }
        orders
    }
}

/// A step's key as the timers' table has it; the run itself has none.
fn place(step: Option<StepKey>) -> (i32, i32) {
    step.map_or((-1, -1), |key| (int(key.scope.0), int(key.node.0)))
}

/// Stores what a transition changed and does what it orders. What follows from that for the tree
/// goes to the end of the call's work.
pub fn out(drive: &mut Drive, view: &mut View, mut changes: Changes) -> Result<()> {
    let mut orders = Orders::sort(std::mem::take(&mut changes.commands));
    let rest = std::mem::take(&mut changes.rest);
    let told = std::mem::take(&mut changes.breakers);
    drive.shared.borrow_mut().breakers.note(&view.program.name, told);
    // In the order of the locks: events, then runs, then tasks.
    let locked = events::lock(drive, view, &orders.emits, &orders.waits)?;
    spawn(drive, view, std::mem::take(&mut orders.spawns), &mut changes)?;
    store::records(view, &changes)?;
    view.change(changes);

    events::wait(drive, view, &orders.waits, locked)?;
    events::emit(drive, view, orders.emits, locked)?;
    cancel_tasks(drive, view, orders.cancels)?;
    for child in orders.children {
        children::create(drive, view, child)?;
    }
    for step in orders.abandoned {
        children::cancel(drive, view, step)?;
    }
    timers(view, &orders.timers)?;
    if !rest.is_empty() {
        drive.rest.push((view.run.id, rest));
    }
    match orders.end {
        Some(_) => end(drive, view),
        None => Ok(()),
    }
}

/// Spawns tasks and notes each with its step. A step that ended again in the same transition needs
/// none.
fn spawn(
    drive: &mut Drive,
    view: &View,
    mut spawns: Vec<SpawnTask>,
    changes: &mut Changes,
) -> Result<()> {
    if spawns.is_empty() {
        return Ok(());
    }
    let places: HashMap<StepKey, usize> =
        changes.steps.iter().enumerate().map(|(place, step)| (step.key, place)).collect();
    spawns.retain(|spawn| {
        places
            .get(&spawn.step)
            .is_some_and(|place| changes.steps[*place].state == StepState::Running)
    });
    let (keyed, plain): (Vec<_>, Vec<_>) =
        spawns.into_iter().partition(|spawn| spawn.idempotency_key.is_some());
    let tasks: Vec<StepTask> = plain.iter().map(|spawn| order(view, spawn)).collect();
    let ids = steps::spawn(view.session, &view.queue, &tasks)?;
    for (spawn, id) in plain.iter().zip(ids) {
        if let Some(place) = places.get(&spawn.step) {
            changes.steps[*place].task = Some(id);
        }
    }
    for spawn in &keyed {
        let Some(place) = places.get(&spawn.step) else { continue };
        let key = spawn.idempotency_key.as_deref().unwrap_or_default();
        let found = steps::spawn_once(view.session, &view.queue, &order(view, spawn), key)?;
        changes.steps[*place].task = Some(found.task);
        drive.push(view.run.id, Stimulus::TaskSpawned { step: spawn.step, task: found.task });
        if found.ended {
            let outcome = super::followed::outcome(view, spawn.step, found.task)?;
            drive.work.extend(outcome.map(|stimulus| (view.run.id, stimulus)));
        }
    }
    Ok(())
}

fn order<'a>(view: &View, spawn: &'a SpawnTask) -> StepTask<'a> {
    StepTask {
        name: &spawn.function,
        params: spawn.params.text(),
        headers: spawn.headers.text(),
        retry_strategy: spawn.retry_strategy.as_ref().map(Json::text),
        max_attempts: int(spawn.max_attempts),
        attempt_timeout: spawn.attempt_timeout,
        leave_late: spawn.leave_late_worker,
        workflow_run: view.run.id,
    }
}

/// Tasks that running steps follow: no longer this run's, which has ended them.
static FOLLOWED: Statement = Statement::new(
    "select distinct task_id from absurd.workflow_step
      where task_id = any ($1) and state = 'running'",
);
static OURS: Statement =
    Statement::new("select task_id from {t} where task_id = any ($1) and workflow_run_id = $2");

/// Cancels those of the tasks that are the run's own and that no other running step follows.
fn cancel_tasks(drive: &mut Drive, view: &View, mut tasks: Vec<Uuid>) -> Result<()> {
    // With its queue its tasks are gone.
    if tasks.is_empty() || access::is_gone(&view.queue)? {
        return Ok(());
    }
    let ids = |tasks: &[Uuid]| tasks.iter().copied().map(Some).collect::<Vec<Option<Uuid>>>();
    let followed = view
        .session
        .run(&FOLLOWED, &Own, params![ids(&tasks)])?
        .into_iter()
        .map(|row| row.need(0))
        .collect::<Result<HashSet<Uuid>>>()?;
    tasks.retain(|task| !followed.contains(task));
    let ours = view
        .session
        .run(&OURS, &view.queue, params![ids(&tasks), view.run.id])?
        .into_iter()
        .map(|row| row.need(0))
        .collect::<Result<Vec<crate::pg::Uuid>>>()?;
    drive.cancelled += cancel::many(view.session, &view.queue, ours)?.count;
    Ok(())
}

static SET_TIMERS: Statement = Statement::new(
    "insert into absurd.workflow_timer
         (workflow_run_id, scope, node, root_run_id, queue_name, kind, due_at)
     select $1, u.scope, u.node, $2, $3, u.kind, u.due_at
       from unnest($4, $5, $6, $7) u (scope, node, kind, due_at)
     on conflict (workflow_run_id, scope, node) do update
        set kind = excluded.kind, due_at = excluded.due_at",
);
static CLEAR_TIMERS: Statement = Statement::new(
    "delete from absurd.workflow_timer t
      using unnest($2, $3) u (scope, node)
      where t.workflow_run_id = $1 and t.scope = u.scope and t.node = u.node",
);

fn timers(view: &View, timers: &BTreeMap<(i32, i32), Option<TimerRec>>) -> Result<()> {
    let set: Vec<&TimerRec> = timers.values().filter_map(Option::as_ref).collect();
    if !set.is_empty() {
        let (scopes, nodes): (Vec<i32>, Vec<i32>) = set.iter().map(|t| place(t.step)).unzip();
        let kinds: Vec<Option<String>> =
            set.iter().map(|t| Some(timer_text(t.kind).to_owned())).collect();
        let due: Vec<_> = set.iter().map(|t| Some(t.due_at)).collect();
        let run = &view.run;
        let values = params![run.id, run.root, run.queue.as_str(), scopes, nodes, kinds, due];
        view.session.run(&SET_TIMERS, &Own, values)?;
    }
    let cleared = timers.iter().filter(|(_, timer)| timer.is_none());
    let (scopes, nodes): (Vec<i32>, Vec<i32>) = cleared.map(|(place, _)| *place).unzip();
    if !scopes.is_empty() {
        view.session.run(&CLEAR_TIMERS, &Own, params![view.run.id, scopes, nodes])?;
    }
    Ok(())
}

static DROP_TIMERS: Statement =
    Statement::new("delete from absurd.workflow_timer where workflow_run_id = $1");
static DROP_WAITS: Statement =
    Statement::new("delete from absurd.workflow_wait where workflow_run_id = $1");

/// The run has ended: nothing of it waits any longer, and who waits for it is told.
fn end(drive: &mut Drive, view: &View) -> Result<()> {
    let (session, run): (&Session, _) = (view.session, &view.run);
    session.run(&DROP_TIMERS, &Own, params![run.id])?;
    session.run(&DROP_WAITS, &Own, params![run.id])?;
    if run.retries > 0 && run.status == RunStatus::Completed && run.parent.is_none() {
        kept::forget(session, run.id)?;
    }
    match &run.parent {
        Some(parent) => {
            let branch = parent.branch.clone();
            drive.push(parent.run, Stimulus::ChildFinished { step: parent.step, branch });
            Ok(())
        }
        None => admit::slot_freed(drive, view),
    }
}
