//! The end of a step, and of a scope instance: records it and tells those whom it concerns.

use std::rc::Rc;

use crate::error::{Error, Result};
use crate::json::{MAX_BUILT, MAX_LEVELS};
use crate::workflow::failure::Failure;
use crate::workflow::json::Json;
use crate::workflow::operator::Operator;
use crate::workflow::program::{Edge, Node, Role, ScopeKind};
use crate::workflow::records::{ScopeId, ScopePhase, ScopeRec, StepKey, Trigger};
use crate::workflow::step_state::{Outcome, StepState};
use crate::workflow::stimulus::{Command, Work};

use super::Transition;
use super::error::{Halt, of_step};
use super::names::Inside;

/// How a step ends.
pub struct End {
    pub state: StepState,
    pub result: Option<Json>,
    pub error: Option<Json>,
}

impl End {
    /// Without result or error.
    pub fn bare(state: StepState) -> Self {
        Self { state, result: None, error: None }
    }
}

impl<'a> Transition<'a> {
    /// Completes a step with what `what` names and somebody else has made; fails it when that nests
    /// too deep.
    pub fn complete_with(&mut self, key: StepKey, what: &'static str, result: Json) -> Result<()> {
        match result.check(what, MAX_LEVELS) {
            Ok(()) => self.complete(key, result),
            Err(error) => self.fail_by_limit(key, &error),
        }
    }

    /// Completes a step whose postconditions hold; fails it otherwise.
    pub fn complete(&mut self, key: StepKey, result: Json) -> Result<()> {
        if let Err(error) = result.check("the result", MAX_BUILT) {
            return self.fail_by_limit(key, &error);
        }
        match self.holds_after(key, &result) {
            Ok(()) => {
                let end = End { state: StepState::Completed, result: Some(result), error: None };
                self.finish(key, end)
            }
            Err(Halt::Failed(error)) => self.fail(key, error),
            Err(Halt::Broken(error)) if error.is_limit() => self.fail_by_limit(key, &error),
            Err(Halt::Broken(error)) => Err(error),
        }
    }

    /// Fails a step that came to data beyond a limit: it fails alone.
    pub fn fail_by_limit(&mut self, key: StepKey, limit: &Error) -> Result<()> {
        let failure = Failure::data_limit(limit.to_string());
        self.fail(key, of_step(&self.program.node(key.node).id, &failure, Vec::new()))
    }

    /// Checks the postconditions against the result that the step would have.
    pub fn holds_after(&mut self, key: StepKey, result: &Json) -> super::error::Acting<()> {
        let program = self.program;
        for guard in &program.node(key.node).postconditions {
            self.eval(key, Inside::After(result), |names| guard.check_after(names))?;
        }
        Ok(())
    }

    /// Ends a step with its error, and what [`Self::keep_partial`] has kept of it.
    pub fn fail(&mut self, key: StepKey, error: Json) -> Result<()> {
        let result = self.view.step(key)?.result.clone();
        self.finish(key, End { state: StepState::Failed, result, error: Some(error) })
    }

    /// Keeps what the members of a running container have come to, one of which failed, unless it
    /// is beyond a limit.
    pub fn keep_partial(&mut self, key: StepKey, result: Json) -> Result<()> {
        if result.check("the result", MAX_BUILT).is_ok() {
            self.view.step_mut(key)?.result = Some(result);
        }
        Ok(())
    }

    /// Ends a step by itself, in a scope instance that is open.
    pub fn finish(&mut self, key: StepKey, end: End) -> Result<()> {
        let program = self.program;
        let node = program.node(key.node);
        let state = end.state;
        let outcome = state.outcome();
        let is_partial = end.result.is_some();
        self.settle(key, end, true)?;
        let failed = outcome == Some(Outcome::Failed);
        let definition = self.view.scope(key.scope)?.scope;
        let is_sink = program.scope(definition).sinks.binary_search(&key.node).is_ok();
        let scope = self.view.scope_mut(key.scope)?;
        scope.open = scope.open.saturating_sub(1);
        scope.failed_sinks += u32::from(is_sink && failed);
        if scope.open == 0 {
            self.work.push_back(Work::ScopeDone(key.scope));
        }
        let scope = self.view.scope(key.scope)?;
        if state == StepState::Completed {
            self.publish(key, node, &scope)?;
        } else if let Some(name) = node.result_key.as_ref().filter(|_| is_partial) {
            self.put(&scope, name, key);
        }
        self.tell(key, node, state, &scope)?;
        if state != StepState::Completed && !node.reached.is_empty() {
            let how = if state == StepState::Skipped { state } else { StepState::UpstreamFailed };
            self.tell_reached(key, how)?;
        }
        Ok(())
    }

    /// Records how a step ended, without telling anybody, and gives up what it waited for.
    pub fn settle(&mut self, key: StepKey, end: End, give_up: bool) -> Result<()> {
        let (now, moment) = (self.now(), self.moment());
        let step = self.view.step_mut(key)?;
        let was_running = step.state == StepState::Running;
        let was_timed = was_running || step.started.is_some();
        let waited = step.event.take().is_some();
        let completes = end.state == StepState::Completed;
        let forked = completes && step.open > 0;
        step.state = end.state;
        step.result = end.result;
        step.error = end.error;
        step.finished_at = Some(now);
        step.finished = Some(moment);
        // Of one that did not complete they are needed when the run is retried.
        if was_running && completes {
            self.drop_items(key)?;
        }
        if !was_timed || !give_up {
            return Ok(());
        }
        if waited && !self.retract(key, |command| matches!(command, Command::WaitEvent { .. })) {
            self.command(Command::ForgetWait { step: key });
        }
        // The timer of a fork goes on until its branches have ended.
        if !forked { self.clear_timer(key, waited) } else { Ok(()) }
    }

    /// Gives up the timer that a step may have; `waited`: the step waits for an event.
    pub fn clear_timer(&mut self, key: StepKey, waited: bool) -> Result<()> {
        let started = self.view.step(key)?.started;
        let transition = self.view.host.transition();
        let before = started.is_some_and(|moment| moment.0 >> 24 != transition);
        let retracted = self.retract(key, |command| matches!(command, Command::SetTimer(_)));
        let node = self.program.node(key.node);
        if !retracted && before && has_timer(node, waited) && self.fired != Some(key) {
            self.command(Command::ClearTimer { step: Some(key) });
        }
        Ok(())
    }

    /// Puts a completed step's result where names find it.
    fn publish(&mut self, key: StepKey, node: &Node, scope: &ScopeRec) -> Result<()> {
        if let Some(name) = &node.result_key {
            self.put(scope, name, key);
        }
        if self.program.completion_events && matches!(node.operator, Operator::Activity(_)) {
            let name = self.completion_event(key)?;
            let result = self.view.step(key)?.result.clone();
            self.emit(name, result.unwrap_or_else(Json::null));
        }
        Ok(())
    }

    /// The event that tells of an activity's end.
    pub fn completion_event(&mut self, key: StepKey) -> Result<String> {
        let path = self.path(key)?;
        Ok(format!("activity:{}:{path}:completed", self.run.id))
    }

    /// Where a step stands in its run: `fork.a/x`, `each[0]/x`.
    pub fn path(&mut self, key: StepKey) -> Result<String> {
        Ok(format!("{}{}", self.view.scope(key.scope)?.path, self.program.node(key.node).id))
    }

    /// Puts a result key into an instance and, from a branch, into those around it up to the one
    /// whose context it is.
    pub fn put(&mut self, scope: &ScopeRec, name: &str, source: StepKey) {
        self.view.put(scope.id, name, source);
        if scope.context != scope.id {
            for id in scope.chain.iter().rev() {
                self.view.put(*id, name, source);
                if *id == scope.context {
                    break;
                }
            }
        }
    }

    /// Tells every successor of a step's end.
    fn tell(
        &mut self,
        key: StepKey,
        node: &'a Node,
        state: StepState,
        scope: &Rc<ScopeRec>,
    ) -> Result<()> {
        let Some(outcome) = state.outcome() else { return Ok(()) };
        let target = |edge: &Edge| {
            let definition = self.program.node(edge.to).scope;
            let scope = self.around(scope, definition)?;
            Some((*edge, StepKey { scope, node: edge.to }))
        };
        let targets: Vec<(Edge, StepKey)> = node.successors.iter().filter_map(target).collect();
        let keys: Vec<StepKey> = targets.iter().map(|(_, target)| *target).collect();
        self.view.expect(&keys)?;
        for (edge, target) in targets {
            let outcome = match edge.role {
                Role::Router if state == StepState::Completed => {
                    let selected = self.view.step(key)?.selected;
                    if selected == Some(edge.to) { Outcome::Completed } else { Outcome::Skipped }
                }
                _ => outcome,
            };
            if edge.role == Role::Referrer {
                self.tell_handler(target, key, node, state)?;
            } else {
                self.tell_one(target, edge.role, outcome)?;
            }
        }
        Ok(())
    }

    /// Adds a predecessor's end to a pending step's tally, and has the step looked at.
    pub fn tell_one(&mut self, target: StepKey, role: Role, outcome: Outcome) -> Result<()> {
        if self.view.step(target)?.state != StepState::Pending {
            return Ok(());
        }
        let step = self.view.step_mut(target)?;
        match role {
            Role::Dependency => step.dependencies.add(outcome),
            Role::Router => step.routers.add(outcome),
            Role::Input => step.inputs.add(outcome),
            Role::Referrer => step.referrers += 1,
        }
        self.work.push_back(Work::Decide(target));
        Ok(())
    }

    fn tell_handler(
        &mut self,
        handler: StepKey,
        key: StepKey,
        node: &Node,
        state: StepState,
    ) -> Result<()> {
        let succeeded = state == StepState::Completed && node.on_success == Some(handler.node);
        let failed = state == StepState::Failed && node.on_failure == Some(handler.node);
        if self.view.step(handler)?.state != StepState::Pending {
            return Ok(());
        }
        let step = self.view.step_mut(handler)?;
        step.referrers += 1;
        if step.trigger.is_none() && (succeeded || failed) {
            step.trigger = Some(Trigger { referrer: key.node, succeeded });
        }
        self.work.push_back(Work::Decide(handler));
        Ok(())
    }

    /// Ends a scope instance whose last node has become final.
    pub fn scope_done(&mut self, id: ScopeId) -> Result<()> {
        let scope = self.view.scope(id)?;
        if scope.open > 0 || !self.is_alive(id)? {
            return Ok(());
        }
        let failed = scope.failed_sinks > 0;
        let error = if failed { Some(self.scope_error(&scope)?) } else { None };
        let wanted = match &self.program.scope(scope.scope).kind {
            ScopeKind::Root => false,
            ScopeKind::Branch { .. } => true,
            ScopeKind::Body { container } => {
                matches!(self.program.node(*container).operator, Operator::Foreach(_))
            }
        };
        let result = if wanted && !failed { Some(self.scope_result(&scope)?) } else { None };
        let record = self.view.scope_mut(id)?;
        record.phase = ScopePhase::Finished;
        record.result = result;
        record.error = error.clone();
        match scope.parent {
            None => self.end_run(error),
            Some(container) => self.inner_done(container, &scope, failed),
        }
    }
}

/// Whether a running step of the node has a timer.
fn has_timer(node: &Node, waited: bool) -> bool {
    match &node.operator {
        Operator::Wait(_) => !waited || node.timeout.is_some(),
        Operator::Barrier(_) => true,
        Operator::WaitForEvent { timeout, .. } | Operator::ChildWorkflow { timeout, .. } => {
            timeout.is_some() || node.timeout.is_some()
        }
        Operator::Parallel(parallel) => parallel.timeout.is_some() || node.timeout.is_some(),
        Operator::MultiChoice(choice) => choice.timeout.is_some() || node.timeout.is_some(),
        Operator::Foreach(_) | Operator::While { .. } | Operator::Join(_) => node.timeout.is_some(),
        _ => false,
    }
}
