//! Ending what is open from outside: a container that failed or took too long, a run that ends
//! before its last node.

use std::collections::HashSet;
use std::rc::Rc;

use serde_json::json;

use crate::error::Result;
use crate::workflow::failure::Failure;
use crate::workflow::json::Json;
use crate::workflow::operator::Operator;
use crate::workflow::program::{DeadlineAction, NodeIx, Role, ScopeIx, ScopeKind};
use crate::workflow::records::{
    Prober, RunStatus, ScopeId, ScopePhase, ScopeRec, StepKey, StepRec,
};
use crate::workflow::step_state::{Outcome, StepState};
use crate::workflow::stimulus::Command;

use super::Transition;
use super::breaker;
use super::finish::End;
use super::locate::Place;

/// Up to so many open inner instances are asked for one by one.
const FEW: u32 = 8;

/// An edge out of a branch that is still to be told.
type Told = (StepKey, Role, Outcome);

impl Transition<'_> {
    /// Closes everything inside a container: what runs is cancelled, what is pending counts as
    /// upstream_failed.
    pub fn close_inner(&mut self, container: StepKey) -> Result<()> {
        let told = self.untold(container, None, StepState::UpstreamFailed)?;
        let step = self.view.step(container)?;
        let mut scopes: Vec<Rc<ScopeRec>> = Vec::new();
        let mut steps: Vec<Rc<StepRec>> = Vec::new();
        for within in self.open_inner(&step)? {
            scopes.extend(self.view.open_scopes(within)?);
            steps.extend(self.view.running_steps(within)?);
        }
        let mut inside: HashSet<ScopeId> = HashSet::new();
        scopes.retain(|scope| {
            let is_inside = scope.parent == Some(container)
                || scope.parent.is_some_and(|parent| inside.contains(&parent.scope));
            is_inside && inside.insert(scope.id)
        });
        steps.retain(|step| inside.contains(&step.key.scope));
        self.close(&scopes, &steps, StepState::UpstreamFailed, true)?;
        self.view.step_mut(container)?.open = 0;
        for (target, role, outcome) in told {
            self.tell_one(target, role, outcome)?;
        }
        Ok(())
    }

    /// Instances that together hold all that is open inside a container, outer before inner.
    fn open_inner(&mut self, step: &StepRec) -> Result<Vec<ScopeId>> {
        let key = step.key;
        let ordinals = match &self.program.node(key.node).operator {
            Operator::Foreach(foreach) if !foreach.parallel => {
                let current = step.iterations.saturating_sub(step.open);
                current..step.iterations.min(current + 1)
            }
            Operator::While { .. } => step.iterations.saturating_sub(1)..step.iterations,
            Operator::Foreach(_) if step.iterations > FEW => return Ok(vec![key.scope]),
            Operator::Foreach(_) => 0..step.iterations,
            _ => 0..u32::try_from(self.program.node(key.node).inner.len()).unwrap_or(u32::MAX),
        };
        let mut found = Vec::new();
        for ordinal in ordinals {
            if let Some(inner) = self.view.inner(key, ordinal)?
                && inner.phase == ScopePhase::Open
            {
                found.push(inner.id);
            }
        }
        Ok(found)
    }

    /// Marks instances as closed and cancels what runs in them.
    fn close(
        &mut self,
        scopes: &[Rc<ScopeRec>],
        steps: &[Rc<StepRec>],
        how: StepState,
        run_goes_on: bool,
    ) -> Result<()> {
        for (done, step) in steps.iter().enumerate() {
            if done % 256 == 255 {
                self.view.host.breathe()?;
            }
            self.cancel_step(step, run_goes_on)?;
        }
        for scope in scopes {
            self.view.scope_mut(scope.id)?.phase = ScopePhase::Closed(how);
        }
        Ok(())
    }

    fn cancel_step(&mut self, step: &StepRec, run_goes_on: bool) -> Result<()> {
        let key = step.key;
        self.settle(key, End::bare(StepState::Cancelled), run_goes_on)?;
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
        let who = Prober { run: self.run.id, step: key };
        self.with_breaker(key, |breaker, _, _| breaker::release(breaker, who))
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
        let scopes = self.view.open_scopes(ScopeId::ROOT)?;
        let steps = self.view.running_steps(ScopeId::ROOT)?;
        self.close(&scopes, &steps, StepState::Skipped, false)
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
