//! Steps that an operator ends: skip_step and fail_step.

use uuid::Uuid;

use super::reopen::no_step;
use super::{Drive, children, kept, lock, start};
use crate::error::{Error, Result};
use crate::json::MAX_LEVELS;
use crate::pg::{Session, ereport};
use crate::queue::access;
use crate::workflow::advance::of_step;
use crate::workflow::bounds::cut;
use crate::workflow::failure::Failure;
use crate::workflow::json::Json;
use crate::workflow::records::{RunStatus, ScopePhase};
use crate::workflow::run::not_found;
use crate::workflow::state::state_of;
use crate::workflow::step_state::StepState;
use crate::workflow::stimulus::Stimulus;

/// What a step is to come to.
pub enum Outcome {
    /// It counts as completed, with this result.
    Completed(Json),
    /// It fails, with this message.
    Failed(String),
}

/// Ends a step of a run, named by its path, instead of whoever works on it. A step of a run that
/// has failed or was cancelled ends so when the run is retried, and can only be completed.
///
/// # Errors
/// 42501 for a caller who may not; 22023 for a result of too many levels; P0002 for an unknown run
/// or step; 55000 for a step that has ended, or a run that has completed.
pub fn settle(session: &Session, run: Uuid, path: &str, outcome: Outcome) -> Result<()> {
    start::check_rights(session, run, &access::OPERATE)?;
    if let Outcome::Completed(result) = &outcome {
        result.check("p_result", MAX_LEVELS)?;
    }
    let id = crate::pg::Uuid::from_bytes(run.into_bytes());
    let root = lock::root_of(session, run)?.ok_or_else(|| not_found(id))?;
    let transition = lock::take_going(session, root)?;
    let mut drive = Drive::new(session, root, transition);
    let was_running = drive.view(run)?.run.status == RunStatus::Running;
    // What was left for the tree and what is due comes first: the step may have ended.
    drive.settle(session.now())?;
    start::check_row(session, run)?;
    let view = drive.view(run)?;
    let step = start::find(view, path)?.ok_or_else(|| no_step(path))?;
    let program = std::rc::Rc::clone(&view.program);
    let status = view.run.status;
    let (state, has_begun) = {
        use crate::workflow::state::Host;
        let scope = view.scope(step.scope)?;
        let state = state_of(view.step(step)?.as_deref(), scope.phase);
        let mut has_begun = true;
        for id in scope.chain.iter().chain([&step.scope]) {
            has_begun &= view.scope(*id)?.phase != ScopePhase::Waiting;
        }
        (state, has_begun)
    };
    let place = children::place(view, step)?;
    let wrong = |rule: String| Error::WrongState {
        what: format!("Step \"{}\" of workflow run \"{run}\"", cut(path)),
        rule,
        hint: None,
    };
    match (status, state, outcome) {
        (RunStatus::Running, StepState::Pending, _) if !has_begun => {
            Err(wrong("cannot be ended yet: its iteration has not begun".to_owned()))
        }
        (RunStatus::Running, StepState::Pending | StepState::Running, outcome) => {
            let outcome = match outcome {
                Outcome::Completed(result) => Ok(result),
                Outcome::Failed(message) => {
                    let id = &program.node(step.node).id;
                    Err(of_step(id, &Failure::operator(message), Vec::new()))
                }
            };
            drive.push(run, Stimulus::StepEnded { step, outcome });
            drive.finish().map(drop)
        }
        (RunStatus::Failed | RunStatus::Cancelled, StepState::Completed, _)
        | (RunStatus::Running, ..) => Err(wrong(format!("has ended: it is {state}"))),
        (RunStatus::Failed | RunStatus::Cancelled, _, Outcome::Completed(result)) => {
            if was_running {
                let what = "has ended by now: the step completes when it is retried";
                ereport::warn_of(&format!("workflow run \"{run}\" {what}"))?;
            }
            kept::give(session, run, place, &result)?;
            drive.finish().map(drop)
        }
        (status, ..) => Err(wrong(format!("cannot be ended so: the run is {status}"))),
    }
}
