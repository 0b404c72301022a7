//! What is shown of an executed run: its steps, those included that nothing has touched, and its
//! context.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use serde_json::{Map, Value};
use uuid::Uuid;

use super::driver::rows::{self, scope_columns, step_columns};
use super::driver::{load, lock, view::View};
use super::json::Json;
use super::program::{NodeIx, Program, ScopeIx, ScopeKind};
use super::records::{ScopeId, ScopePhase, ScopeRec, StepKey, StepRec};
use super::run::not_found;
use super::state::{Host, state_of};
use super::step_state::StepState;
use super::waiting::{self, Waiting};
use crate::error::Result;
use crate::params;
use crate::pg::plan::{Global, Own, Statement};

use crate::pg::{Session, Timestamp};

/// A row of workflow_run_steps.
pub struct ShownStep {
    pub path: String,
    pub node: NodeIx,
    pub state: StepState,
    pub task: Option<Uuid>,
    pub attempts: u32,
    pub started_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
    pub result: Option<Json>,
    pub error: Option<Json>,
    /// What the step waits for, while it is open and waits for something that is known.
    pub waiting_for: Option<Value>,
    pub last_error: Option<Json>,
    key: Option<StepKey>,
    /// Where the step stands in the order of execution; those that never came to it stand last.
    order: Option<i64>,
}

/// A run with all its steps in the order of execution.
pub struct Shown {
    pub program: Rc<Program>,
    pub queue: String,
    pub steps: Vec<ShownStep>,
}

static SCOPES: Statement = Statement::new(concat!(
    "select ",
    scope_columns!(),
    " from absurd.workflow_scope c where c.workflow_run_id = $1 order by c.scope"
));
static STEPS: Statement = Statement::new(concat!(
    "select ",
    step_columns!(),
    " from absurd.workflow_step s where s.workflow_run_id = $1 order by s.scope, s.node"
));

/// What is stored of a run's course is read with the engine's rights; the run itself must be one
/// that the caller sees.
fn check_visible(session: &Session, run: Uuid) -> Result<()> {
    static SEEN: Statement =
        Statement::new("select 1 from absurd.workflow_run where workflow_run_id = $1");
    if session.run(&SEEN, &Global, params![run])?.is_empty() {
        return Err(not_found(crate::pg::Uuid::from_bytes(run.into_bytes())));
    }
    Ok(())
}

/// The steps of an executed run.
///
/// # Errors
/// 42501 for a caller who may not read workflow runs.
/// P0002 for a run that the database does not execute.
pub fn shown(session: &Session, run: Uuid) -> Result<Shown> {
    read(session, run, false)
}

/// As [`shown`], with what each waits for and its last error.
///
/// # Errors
/// As [`shown`].
pub fn shown_waiting(session: &Session, run: Uuid) -> Result<Shown> {
    read(session, run, true)
}

fn read(session: &Session, run: Uuid, with_waiting: bool) -> Result<Shown> {
    check_visible(session, run)?;
    let view = load::view(session, run)?;
    let program = Rc::clone(&view.program);
    let scopes = session
        .run(&SCOPES, &Own, params![run])?
        .into_iter()
        .map(|row| rows::scope(&program, &row, 0))
        .collect::<Result<Vec<_>>>()?;
    let steps = session
        .run(&STEPS, &Own, params![run])?
        .into_iter()
        .map(|row| rows::step(&program, &row, 0).map(|step| (step.key, step)))
        .collect::<Result<HashMap<_, _>>>()?;
    let mut all = all(&program, &scopes, &steps);
    if with_waiting {
        let mut waiting = waiting::of_run(session, &view, &steps)?;
        for step in &mut all {
            let found = step.key.and_then(|key| waiting.remove(&key));
            let Waiting { on, last_error } = found.unwrap_or_default();
            step.waiting_for = (!on.is_empty()).then_some(Value::Object(on));
            step.last_error = last_error.or_else(|| step.error.clone());
        }
    }
    if scopes.is_empty() {
        // Not begun: every step is as the run is, to be started or never to be.
        let state = match view.run.status.is_final() {
            true => StepState::Skipped,
            false => StepState::Pending,
        };
        untouched(&program, ScopeIx::ROOT, "", state, &mut all);
    }
    all.sort_by(|a, b| {
        (a.order.unwrap_or(i64::MAX), &a.path).cmp(&(b.order.unwrap_or(i64::MAX), &b.path))
    });
    Ok(Shown { program, queue: view.run.queue, steps: all })
}

fn all(
    program: &Program,
    scopes: &[ScopeRec],
    steps: &HashMap<StepKey, StepRec>,
) -> Vec<ShownStep> {
    let begun: HashMap<(StepKey, u32), ()> =
        scopes.iter().filter_map(|c| Some(((c.parent?, c.ordinal), ()))).collect();
    let mut all = Vec::new();
    for scope in scopes.iter().filter(|scope| scope.phase != ScopePhase::Waiting) {
        for ix in program.scope(scope.scope).nodes.clone().map(NodeIx) {
            let key = StepKey { scope: scope.id, node: ix };
            let step = steps.get(&key);
            let state = state_of(step, scope.phase);
            let path = format!("{}{}", scope.path, program.node(ix).id);
            for (ordinal, inner) in branches(program, ix) {
                if !begun.contains_key(&(key, ordinal)) {
                    let prefix = branch_path(program, &path, inner);
                    untouched(program, inner, &prefix, inside(state), &mut all);
                }
            }
            all.push(ShownStep {
                path,
                node: ix,
                state,
                task: step.and_then(|step| step.task),
                attempts: step.map_or(0, |step| step.attempts),
                started_at: step.and_then(|step| step.started_at),
                finished_at: step.and_then(|step| step.finished_at),
                result: step.and_then(|step| step.result.clone()),
                error: step.and_then(|step| step.error.clone()),
                waiting_for: None,
                last_error: None,
                key: Some(key),
                order: step.and_then(|step| step.started.or(step.finished)).map(|moment| moment.0),
            });
        }
    }
    all
}

/// The branches of a container, which exist as soon as it does; iterations do not.
fn branches(program: &Program, node: NodeIx) -> impl Iterator<Item = (u32, ScopeIx)> {
    let inner = program.node(node).inner.iter().copied();
    let branch = |scope: &ScopeIx| matches!(program.scope(*scope).kind, ScopeKind::Branch { .. });
    (0..).zip(inner.filter(branch))
}

fn branch_path(program: &Program, container: &str, scope: ScopeIx) -> String {
    match &program.scope(scope).kind {
        ScopeKind::Branch { name, .. } => format!("{container}.{name}/"),
        ScopeKind::Root | ScopeKind::Body { .. } => format!("{container}/"),
    }
}

/// The state of what is inside a container that never began.
fn inside(container: StepState) -> StepState {
    match container {
        StepState::Pending | StepState::Running => StepState::Pending,
        StepState::Skipped | StepState::Completed => StepState::Skipped,
        StepState::Failed | StepState::UpstreamFailed | StepState::Cancelled => {
            StepState::UpstreamFailed
        }
    }
}

fn untouched(
    program: &Program,
    scope: ScopeIx,
    prefix: &str,
    state: StepState,
    all: &mut Vec<ShownStep>,
) {
    for ix in program.scope(scope).nodes.clone().map(NodeIx) {
        let path = format!("{prefix}{}", program.node(ix).id);
        for (_, inner) in branches(program, ix) {
            untouched(program, inner, &branch_path(program, &path, inner), inside(state), all);
        }
        all.push(ShownStep {
            path,
            node: ix,
            state,
            task: None,
            attempts: 0,
            started_at: None,
            finished_at: None,
            result: None,
            error: None,
            waiting_for: None,
            last_error: None,
            key: None,
            order: None,
        });
    }
}

/// How many of a run's steps are in which state.
#[derive(Debug, Default, PartialEq)]
pub struct Progress {
    pub pending: i64,
    pub running: i64,
    pub completed: i64,
    /// Failed themselves, or not run because of others that had.
    pub failed: i64,
    pub cancelled: i64,
    pub skipped: i64,
}

impl Progress {
    pub fn of(states: impl IntoIterator<Item = StepState>) -> Self {
        let mut progress = Self::default();
        for state in states {
            *match state {
                StepState::Pending => &mut progress.pending,
                StepState::Running => &mut progress.running,
                StepState::Completed => &mut progress.completed,
                StepState::Failed | StepState::UpstreamFailed => &mut progress.failed,
                StepState::Cancelled => &mut progress.cancelled,
                StepState::Skipped => &mut progress.skipped,
            } += 1;
        }
        progress
    }

    pub const fn total(&self) -> i64 {
        let Self { pending, running, completed, failed, cancelled, skipped } = self;
        *pending + *running + *completed + *failed + *cancelled + *skipped
    }

    /// Steps that completed, or were found not to be needed, per hundred, to two decimals; 0 when
    /// there are no steps.
    pub fn percent(&self) -> f64 {
        match self.total() {
            0 => 0.0,
            total => {
                let done = self.completed + self.skipped;
                (done as f64 * 10_000.0 / total as f64).round() / 100.0
            }
        }
    }
}

/// The path of a step.
///
/// # Errors
/// XX001 for records that do not fit their document.
pub fn path(view: &mut View, key: StepKey) -> Result<String> {
    let prefix = view.scope(key.scope)?.path.clone();
    Ok(prefix + &view.program.node(rows::node(&view.program, key.node.0)?).id)
}

/// How far an executed run is; none for a run that the database does not execute.
pub fn progress(session: &Session, run: Uuid) -> Result<Option<Progress>> {
    check_visible(session, run)?;
    if lock::root_of(session, run)?.is_none() {
        return Ok(None);
    }
    let shown = shown(session, run)?;
    Ok(Some(Progress::of(shown.steps.iter().map(|step| step.state))))
}

/// `{"inputs", "variables", "results"}` of an executed run: what it was started with, what its
/// document says, and the result keys of its root context as they are.
///
/// # Errors
/// P0002 for a run that the database does not execute.
pub fn context(session: &Session, run: Uuid) -> Result<String> {
    check_visible(session, run)?;
    let mut view = load::view(session, run)?;
    let variables = view.program.scope(ScopeIx::ROOT).variables.clone();
    let results = results(&mut view)?;
    let mut text = String::from("{\"inputs\":");
    text += view.inputs()?.text();
    text += ",\"variables\":";
    text += &Value::Object(Map::from_iter(variables)).to_string();
    text += ",\"results\":{";
    for (place, (key, value)) in results.iter().enumerate() {
        if place > 0 {
            text.push(',');
        }
        text += &Value::from(key.as_str()).to_string();
        text.push(':');
        text += value.text();
    }
    text += "}}";
    Ok(text)
}

fn results(view: &mut View) -> Result<BTreeMap<String, Json>> {
    let values = view.values(ScopeId::ROOT)?;
    let keys: Vec<StepKey> = values.iter().map(|(_, source)| *source).collect();
    view.expect(&keys)?;
    values
        .into_iter()
        .map(|(key, source)| {
            let step = view.step(source)?;
            let result = step.and_then(|step| step.result.clone());
            Ok((key, result.unwrap_or_else(Json::null)))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_never_ran_counts_as_failed_or_as_done() {
        use StepState::{Completed, Failed, Skipped, UpstreamFailed};
        let progress = Progress::of([Completed, Skipped, Failed, UpstreamFailed]);
        assert_eq!((progress.failed, progress.total()), (2, 4));
        assert_eq!(progress.percent(), 50.0);
        assert_eq!(Progress::of([]).percent(), 0.0);
    }
}
