//! Ending what is open from outside: a container that failed or took too long, a run that ends
//! before its last node.

use serde_json::json;

use crate::error::Result;
use crate::workflow::failure::Failure;
use crate::workflow::json::Json;
use crate::workflow::operator::Operator;
use crate::workflow::program::{DeadlineAction, NodeIx, Role, ScopeIx, ScopeKind};
use crate::workflow::records::{
    BreakerEventKind, RunStatus, ScopeId, ScopePhase, StepKey, StepRec,
};
use crate::workflow::step_state::{Outcome, StepState};
use crate::workflow::stimulus::{Command, Work};

use super::Transition;
use super::finish::End;
use super::locate::Place;

/// An edge out of a branch that is still to be told.
type Told = (StepKey, Role, Outcome);

impl Transition<'_> {
    /// Closes everything inside a container: what runs is cancelled, what is pending counts as
    /// upstream_failed. Of much, the first is closed at once and the rest by later transitions;
    /// nothing inside goes on meanwhile.
    pub fn close_inner(&mut self, container: StepKey) -> Result<()> {
        let told = self.untold(container, None, StepState::UpstreamFailed)?;
        let (from, _) = self.inner_open(container)?;
        self.close_from(container, from)?;
        self.view.step_mut(container)?.open = 0;
        for (target, role, outcome) in told {
            self.tell_one(target, role, outcome)?;
        }
        Ok(())
    }

    /// The ordinals between which a container has inner instances that are open.
    fn inner_open(&mut self, container: StepKey) -> Result<(u32, u32)> {
        let step = self.view.step(container)?;
        Ok(match &self.program.node(container.node).operator {
            Operator::Foreach(foreach) if !foreach.parallel => {
                let current = step.iterations.saturating_sub(step.open);
                (current, current.saturating_add(1))
            }
            Operator::While { .. } => (step.iterations.saturating_sub(1), step.iterations),
            _ => (0, u32::MAX),
        })
    }

    /// Whether a container's inner instances are those of a loop, of which there may be many.
    fn is_loop(&self, container: StepKey) -> bool {
        matches!(
            self.program.node(container.node).operator,
            Operator::Foreach(_) | Operator::While { .. }
        )
    }

    /// How what is pending counts inside an instance that is closed, or inside a container in it.
    fn closing_as(&mut self, scope: ScopeId) -> Result<StepState> {
        Ok(match self.view.scope(scope)?.phase {
            ScopePhase::Closed(how) => how,
            _ => StepState::UpstreamFailed,
        })
    }

    /// Closes the inner instances of a container from an ordinal on, as far as the transition goes.
    pub fn close_from(&mut self, container: StepKey, from: u32) -> Result<()> {
        if !self.program.has(container.node) {
            return Ok(());
        }
        let how = self.closing_as(container.scope)?;
        let mut from = from;
        loop {
            if self.closed >= self.bounds.works && self.is_loop(container) {
                self.later.push(Work::Close(container, from));
                return Ok(());
            }
            self.view.host.breathe()?;
            let limit = self.bounds.piece;
            let page = self.view.inner_from(container, from, limit)?;
            self.closed += page.len();
            let last = page.last().map(|scope| scope.ordinal);
            let is_full = page.len() >= limit;
            let open: Vec<ScopeId> =
                page.iter().filter(|scope| scope.phase == ScopePhase::Open).map(|s| s.id).collect();
            self.close_scopes(&open, how)?;
            match last.filter(|_| is_full) {
                Some(last) => from = last.saturating_add(1),
                None => return Ok(()),
            }
        }
    }

    /// Closes instances, and cancels what runs directly in them and inside that.
    fn close_scopes(&mut self, scopes: &[ScopeId], how: StepState) -> Result<()> {
        if scopes.is_empty() {
            return Ok(());
        }
        for scope in scopes {
            self.view.scope_mut(*scope)?.phase = ScopePhase::Closed(how);
        }
        // A page of instances with a few nodes each, mostly.
        let limit = self.bounds.works.max(1);
        let (busy, more) = self.view.busy_steps(scopes, limit)?;
        let mut containers = Vec::new();
        for step in &busy {
            self.closed += 1;
            if !self.program.node(step.key.node).inner.is_empty() {
                containers.push((step.key, self.inner_open(step.key)?.0));
            }
            if step.state == StepState::Running {
                // The end of a run gives up all that it waits for at once.
                let goes_on = self.run.status == RunStatus::Running && !self.ends;
                self.cancel_step(step, goes_on)?;
            }
            if step.open > 0 {
                self.view.step_mut(step.key)?.open = 0;
            }
        }
        for (container, from) in containers {
            self.close_from(container, from)?;
        }
        if let Some(more) = more {
            let rest = scopes.iter().filter(|scope| **scope >= more);
            self.later.extend(rest.map(|scope| Work::CloseScope(*scope)));
        }
        Ok(())
    }

    /// Cancels what still runs in an instance that has been closed.
    pub fn close_rest(&mut self, scope: ScopeId) -> Result<()> {
        if self.closed >= self.bounds.works {
            self.later.push(Work::CloseScope(scope));
            return Ok(());
        }
        let how = self.closing_as(scope)?;
        self.close_scopes(&[scope], how)
    }

    fn cancel_step(&mut self, step: &StepRec, run_goes_on: bool) -> Result<()> {
        self.settle(step.key, End::bare(StepState::Cancelled), run_goes_on)?;
        self.call_off(step)
    }

    /// Cancels an input of a join that has been decided without it.
    pub fn cancel_loser(&mut self, key: StepKey) -> Result<()> {
        let step = self.view.step(key)?;
        if !matches!(step.state, StepState::Pending | StepState::Running)
            || !self.is_alive(key.scope)?
        {
            return Ok(());
        }
        self.stop(&step)?;
        self.finish(key, End::bare(StepState::Cancelled))
    }

    /// Ends what others do for a step, and what is inside it.
    pub fn stop(&mut self, step: &StepRec) -> Result<()> {
        if step.state != StepState::Running {
            return Ok(());
        }
        self.call_off(step)?;
        if step.open > 0 && !self.program.node(step.key.node).inner.is_empty() {
            self.close_inner(step.key)?;
        }
        Ok(())
    }

    /// Cancels what others do for a step.
    fn call_off(&mut self, step: &StepRec) -> Result<()> {
        let key = step.key;
        let node = self.program.node(key.node);
        if node.operator.is_queue_task() {
            let spawned = |command: &Command| matches!(command, Command::SpawnTask(_));
            if !self.retract(key, spawned)
                && let Some(task) = step.task
            {
                self.command(Command::CancelTask { step: key, task });
            }
            self.release_breaker(key)?;
        }
        if let Operator::ChildWorkflow { .. } = node.operator {
            self.cancel_children(key);
        }
        Ok(())
    }

    pub fn cancel_children(&mut self, key: StepKey) {
        if !self.retract(key, |command| matches!(command, Command::StartChild { .. })) {
            self.command(Command::CancelChildren { step: key });
        }
    }

    /// Lets another probe the breaker when the step's task will not tell.
    pub fn release_breaker(&mut self, key: StepKey) -> Result<()> {
        self.tell_breaker(key, |_| BreakerEventKind::Released).map(drop)
    }

    /// Tells those outside a container that depend on nodes inside, when the container ends
    /// without them.
    pub fn tell_reached(&mut self, container: StepKey, how: StepState) -> Result<()> {
        for (target, role, outcome) in self.untold(container, None, how)? {
            self.tell_one(target, role, outcome)?;
        }
        Ok(())
    }

    /// As `tell_reached`, for a branch that is not taken.
    pub fn tell_skipped(&mut self, container: StepKey, branch: ScopeIx) -> Result<()> {
        for (target, role, outcome) in self.untold(container, Some(branch), StepState::Skipped)? {
            self.tell_one(target, role, outcome)?;
        }
        Ok(())
    }

    /// The edges out of a container's branches, or out of one of them, that nobody has told yet, if
    /// it is closed `how`.
    fn untold(
        &mut self,
        container: StepKey,
        branch: Option<ScopeIx>,
        how: StepState,
    ) -> Result<Vec<Told>> {
        let program = self.program;
        let scope = self.view.scope(container.scope)?;
        let mut told = Vec::new();
        for reach in &program.node(container.node).reached {
            let way = self.way(container.node, reach.from);
            let outermost = way.last().map(|(_, outermost)| *outermost);
            if branch.is_some() && branch != outermost {
                continue;
            }
            let place = self.descend(container.scope, way, reach.from)?;
            let state = match place {
                Place::Step(key) => match self.view.scope(key.scope)?.phase {
                    ScopePhase::Open => self.view.step(key)?.state,
                    _ => continue,
                },
                Place::NotStarted(at) if at == container => StepState::Pending,
                Place::NotStarted(at) => self.view.state(at)?,
                Place::Elsewhere => continue,
            };
            let outcome = match state {
                StepState::Pending => how.outcome(),
                StepState::Running => Some(Outcome::Failed),
                _ => None,
            };
            let definition = program.node(reach.edge.to).scope;
            let Some(outcome) = outcome else { continue };
            let Some(target) = self.around(&scope, definition) else { continue };
            let target = StepKey { scope: target, node: reach.edge.to };
            told.push((target, reach.edge.role, outcome));
        }
        Ok(told)
    }

    /// The branches from a container down to a node, innermost first.
    fn way(&self, container: NodeIx, node: NodeIx) -> Vec<(NodeIx, ScopeIx)> {
        let mut way = Vec::new();
        let mut at = self.program.node(node).scope;
        while let ScopeKind::Branch { container: around, .. } = &self.program.scope(at).kind {
            way.push((*around, at));
            if *around == container {
                break;
            }
            at = self.program.node(*around).scope;
        }
        way
    }

    /// Closes the whole run: what is pending counts as skipped.
    pub fn close_run(&mut self) -> Result<()> {
        self.ends = true;
        self.close_scopes(&[ScopeId::ROOT], StepState::Skipped)
    }

    /// Cancels the run; the reason becomes the message of its error.
    pub fn cancel_run(&mut self, reason: &str) -> Result<()> {
        if self.run.status == RunStatus::Pending {
            self.new_scope(ScopeIx::ROOT, None, 0, ScopePhase::Closed(StepState::Skipped), None)?;
        } else {
            self.close_run()?;
        }
        let error = json!({"name": "$Cancelled", "message": reason});
        self.finish_run(RunStatus::Cancelled, None, Some(Json::from_value(error)))
    }

    /// The run has not ended within its document's `deadline_seconds`.
    pub fn deadline(&mut self) -> Result<()> {
        let Some(deadline) = self.program.deadline else { return Ok(()) };
        self.close_run()?;
        match deadline.action {
            DeadlineAction::Cancel => self.finish_run(RunStatus::Cancelled, None, None),
            DeadlineAction::Fail => {
                let message = format!("the run has not finished within {}s", deadline.seconds);
                let failure = Failure::deadline(message);
                let error = json!({"name": failure.name, "message": failure.message});
                self.finish_run(RunStatus::Failed, None, Some(Json::from_value(error)))
            }
        }
    }
}
