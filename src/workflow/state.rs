//! The door through which the interpreter sees what is stored of a run.
//!
//! `advance(program, host, run, stimulus)` is a function of the answers given here. It never asks
//! for all steps of a run; it lays its own changes over the answers, so an implementation answers
//! from what is stored and need not know of a transition under way.

use std::rc::Rc;

use super::json::Json;
use super::records::{
    BreakerRec, ChildRec, KeptRec, ScopeId, ScopePhase, ScopeRec, StepKey, StepRec,
};
use super::retrace::Place;
use super::step_state::StepState;
use crate::error::Result;
use crate::time::Timestamp;

/// Answers of the database, or of a test.
///
/// Every method's error is a failure to answer (Postgres's own, or XX001 for a record that should
/// exist); it aborts the transition and with it the transaction.
pub trait Host {
    /// The transition's time.
    fn now(&self) -> Timestamp;

    /// The transition's number, greater than those of all before it in the run's tree.
    fn transition(&self) -> i64;

    /// What the run was started with, an object.
    fn inputs(&mut self) -> Result<Json>;

    /// A scope instance that exists.
    fn scope(&mut self, id: ScopeId) -> Result<Rc<ScopeRec>>;

    /// The container's inner instance of an ordinal.
    fn inner(&mut self, container: StepKey, ordinal: u32) -> Result<Option<Rc<ScopeRec>>>;

    /// Inner instances of a container from an ordinal on, by ordinal, at most so many.
    fn inner_from(
        &mut self,
        container: StepKey,
        from: u32,
        limit: usize,
    ) -> Result<Vec<Rc<ScopeRec>>>;

    /// The items of a loop that get their instances next, from this ordinal on; an array.
    fn items(&mut self, container: StepKey, first: u32) -> Result<Option<Json>>;

    /// The ordinal that follows the last of the items which have no instances yet; none without
    /// such.
    fn items_end(&mut self, container: StepKey) -> Result<Option<u32>>;

    /// All inner instances of a container by ordinal, with their results: for its own result, once.
    fn all_inner(&mut self, container: StepKey) -> Result<Vec<Rc<ScopeRec>>>;

    /// A step; none when nothing has touched it.
    fn step(&mut self, key: StepKey) -> Result<Option<Rc<StepRec>>>;

    /// Those of the steps that have a record, in any order: a sink's, a join's, a failure's look
    /// at many.
    fn steps(&mut self, keys: &[StepKey]) -> Result<Vec<Rc<StepRec>>>;

    /// Tells that these steps will be asked for one by one, so that they can be read at once.
    fn expect(&mut self, keys: &[StepKey]) -> Result<()>;

    /// The step behind a result key, in the first of the contexts that has it.
    fn value(&mut self, contexts: &[ScopeId], key: &str) -> Result<Option<StepKey>>;

    /// All result keys of a context with their steps, by key.
    fn values(&mut self, context: ScopeId) -> Result<Vec<(String, StepKey)>>;

    /// The result keys of a loop's iterations: of each key that of the greatest ordinal.
    fn last_values(&mut self, container: StepKey) -> Result<Vec<(String, StepKey)>>;

    /// Steps directly in some instances that are running, or have forked into branches that have
    /// not ended; by key, at most so many.
    fn busy_steps(&mut self, scopes: &[ScopeId], limit: usize) -> Result<Vec<Rc<StepRec>>>;

    /// How the step at a place ended before the run was retried, or the items of a loop; none when
    /// it is to be executed.
    fn kept(&mut self, place: Place) -> Result<Option<KeptRec>>;

    /// The child runs of a step, by branch name.
    fn children(&mut self, step: StepKey) -> Result<Vec<ChildRec>>;

    /// Whether the event has been emitted in the run's queue, and its payload. Read without the
    /// event's lock: `WaitEvent` looks again under it.
    fn emitted(&mut self, event: &str) -> Result<Option<Json>>;

    /// The breaker of a node id of this workflow; the default while none is stored. A breaker that
    /// is not closed is locked, and reported as probing when somebody else has it.
    fn breaker(&mut self, node: &str) -> Result<BreakerRec>;

    /// Why no run of a workflow (any version for none) can be started as a child; none when it can.
    fn refusal(&mut self, workflow: &str, version: Option<&str>) -> Result<Option<String>>;

    /// Called between steps of long work: answers to a cancel of the statement.
    ///
    /// # Errors
    /// 57014 when the statement was cancelled.
    fn breathe(&mut self) -> Result<()>;
}

/// The effective state of a step that may have no record.
pub fn state_of(step: Option<&StepRec>, phase: ScopePhase) -> StepState {
    match (step, phase) {
        (Some(step), _) => step.state_in(phase),
        (None, ScopePhase::Closed(state)) => state,
        (None, _) => StepState::Pending,
    }
}
