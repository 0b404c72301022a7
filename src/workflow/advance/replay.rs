//! Steps that end without being executed: as they did before their run was retried, or as somebody
//! says.

use crate::error::Result;
use crate::workflow::json::Json;
use crate::workflow::operator::Operator;
use crate::workflow::records::{KeptRec, StepKey};
use crate::workflow::step_state::StepState;

use super::Transition;
use super::finish::End;

impl Transition<'_> {
    /// How a step that starts ended before the run was retried; none for one that is executed
    /// again, or made again of the steps inside it or before it.
    pub fn kept(&mut self, key: StepKey) -> Result<Option<KeptRec>> {
        if self.run.retries == 0 {
            return Ok(None);
        }
        let path = self.path(key)?;
        let kept = self.view.host.kept(&path)?;
        let is_loop = matches!(self.program.node(key.node).operator, Operator::Foreach(_));
        // The items of a loop are no outcome.
        Ok(kept.filter(|kept| !is_loop || kept.state.is_final()))
    }

    /// The items that a loop had before the run was retried.
    pub fn kept_items(&mut self, key: StepKey) -> Result<Option<Json>> {
        if self.run.retries == 0 {
            return Ok(None);
        }
        let path = self.path(key)?;
        let kept = self.view.host.kept(&path)?;
        Ok(kept.and_then(|kept| kept.result))
    }

    /// Ends a step that has started as it ended before.
    pub fn replay(&mut self, key: StepKey, kept: KeptRec) -> Result<()> {
        let KeptRec { state, selected, task, attempts, result, error, started_at, finished_at } =
            kept;
        let step = self.view.step_mut(key)?;
        (step.selected, step.task, step.attempts) = (selected, task, attempts);
        step.started_at = started_at.or(step.started_at);
        self.finish(key, End { state, result, error })?;
        let step = self.view.step_mut(key)?;
        step.finished_at = finished_at.or(step.finished_at);
        Ok(())
    }

    /// Ends a step that has not ended, and what others do for it.
    pub fn end_step(
        &mut self,
        key: StepKey,
        outcome: std::result::Result<Json, Json>,
    ) -> Result<()> {
        let step = self.view.step(key)?;
        if !matches!(step.state, StepState::Pending | StepState::Running)
            || !self.is_alive(key.scope)?
        {
            return Ok(());
        }
        self.stop(&step)?;
        let end = match outcome {
            Ok(result) => End { state: StepState::Completed, result: Some(result), error: None },
            Err(error) => End { state: StepState::Failed, result: None, error: Some(error) },
        };
        self.finish(key, end)
    }
}
