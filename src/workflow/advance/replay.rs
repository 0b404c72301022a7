//! Steps that end without being executed: as they did before their run was retried, or as somebody
//! says.
//!
//! Those that are kept end in the order in which they ended before, each when nothing else is left
//! to do that follows from those before it: so joins, loops and choices are decided as they were.
//! Of loops that are begun in pieces that holds for each piece.

use crate::error::Result;
use crate::workflow::json::Json;
use crate::workflow::records::{KeptRec, StepKey};
use crate::workflow::retrace::{self, Place};
use crate::workflow::step_state::StepState;

use super::Transition;
use super::finish::End;

impl Transition<'_> {
    /// How a step ended before the run was retried, or the items of a loop.
    fn kept(&mut self, key: StepKey) -> Result<Option<KeptRec>> {
        if self.run.retries == 0 {
            return Ok(None);
        }
        let place = self.place(key)?;
        self.view.host.kept(place)
    }

    fn place(&mut self, key: StepKey) -> Result<Place> {
        let chain = self.view.scope(key.scope)?.chain.clone();
        let ids = chain.into_iter().chain([key.scope]);
        let scopes = ids.map(|id| self.view.scope(id)).collect::<Result<Vec<_>>>()?;
        Ok(retrace::place(scopes.iter().map(|scope| &**scope), key.node))
    }

    /// The items that a loop had before the run was retried.
    pub fn kept_items(&mut self, key: StepKey) -> Result<Option<Json>> {
        let kept = self.kept(key)?.filter(|kept| !kept.state.is_final());
        Ok(kept.and_then(|kept| kept.result))
    }

    /// Has a step that has started end as it did before, when its turn comes; false when it is to
    /// act until then.
    pub fn awaits_replay(&mut self, key: StepKey) -> Result<bool> {
        let Some(kept) = self.kept(key)?.filter(|kept| kept.state.is_final()) else {
            return Ok(false);
        };
        let is_entered = kept.is_entered;
        self.replays.insert((kept.ended, key), kept);
        Ok(!is_entered)
    }

    /// As [`Self::awaits_replay`], for one that the transition before has left.
    pub fn replay_later(&mut self, key: StepKey) -> Result<()> {
        if self.is_running(key)? {
            self.awaits_replay(key)?;
        }
        Ok(())
    }

    /// Ends the next step that is kept; false when there is none.
    pub fn replay_next(&mut self) -> Result<bool> {
        let Some(((_, key), kept)) = self.replays.pop_first() else { return Ok(false) };
        if !self.is_running(key)? {
            return Ok(true);
        }
        let step = self.view.step(key)?;
        self.stop(&step)?;
        let KeptRec { state, selected, task, attempts, result, error, started_at, .. } = kept;
        let step = self.view.step_mut(key)?;
        (step.selected, step.task, step.attempts) = (selected, task, attempts);
        step.started_at = started_at.or(step.started_at);
        self.end(key, End { state, result, error })?;
        let step = self.view.step_mut(key)?;
        step.finished_at = kept.finished_at.or(step.finished_at);
        Ok(true)
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
        let (state, result, error) = match outcome {
            Ok(result) => (StepState::Completed, Some(result), None),
            Err(error) => (StepState::Failed, None, Some(error)),
        };
        self.end(key, End { state, result, error })
    }

    /// Ends a step as said; what waits for something inside it hears that it will not come.
    fn end(&mut self, key: StepKey, end: End) -> Result<()> {
        let completes = end.state == StepState::Completed;
        self.finish(key, end)?;
        if completes && !self.program.node(key.node).reached.is_empty() {
            self.tell_reached(key, StepState::Skipped)?;
        }
        Ok(())
    }
}
