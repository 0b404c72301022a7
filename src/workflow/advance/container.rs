//! Scope instances and those who wait for them: parallel, its barriers, multi_choice (HIGHWAY 6.5,
//! 6.13).

use serde_json::{Value, json};

use crate::error::Result;
use crate::workflow::expression::truthy;
use crate::workflow::failure::Failure;
use crate::workflow::json::Json;
use crate::workflow::operator::{Barrier, MultiChoice, Operator, Parallel};
use crate::workflow::program::{NodeIx, ScopeIx, ScopeKind};
use crate::workflow::records::{ScopeId, ScopePhase, ScopeRec, StepKey};
use crate::workflow::step_state::StepState;
use crate::workflow::stimulus::Work;

use super::Transition;
use super::error::{Acting, Halt, message, object, of_step};
use super::names::Inside;

impl<'a> Transition<'a> {
    /// Makes an instance of a scope; an open one begins.
    pub fn new_scope(
        &mut self,
        scope: ScopeIx,
        parent: Option<StepKey>,
        ordinal: u32,
        phase: ScopePhase,
        item: Option<Json>,
    ) -> Result<()> {
        let id = ScopeId(self.run.next_scope);
        self.run_mut().next_scope += 1;
        let definition = self.program.scope(scope);
        let mut chain = Vec::new();
        let (mut context, mut path) = (id, String::new());
        if let Some(container) = parent {
            let around = self.view.scope(container.scope)?;
            chain.reserve_exact(around.chain.len() + 1);
            chain.extend_from_slice(&around.chain);
            chain.push(around.id);
            let container = &self.program.node(container.node).id;
            path = match &definition.kind {
                ScopeKind::Branch { name, .. } => {
                    context = around.context;
                    format!("{}{container}.{name}/", around.path)
                }
                _ => format!("{}{container}[{ordinal}]/", around.path),
            };
        }
        self.view.add_scope(ScopeRec {
            id,
            scope,
            parent,
            ordinal,
            chain,
            context,
            path,
            phase,
            open: if matches!(phase, ScopePhase::Closed(_)) { 0 } else { definition.len() },
            failed_sinks: 0,
            item,
            result: None,
            error: None,
        });
        if phase == ScopePhase::Open {
            self.work.push_back(Work::Begin(id, 0));
        }
        Ok(())
    }

    /// Starts the nodes of a new instance that wait for nobody, from one of them on.
    pub fn begin(&mut self, id: ScopeId, from: u32) -> Result<()> {
        if !self.is_alive(id)? {
            return Ok(());
        }
        let scope = self.view.scope(id)?;
        if scope.open == 0 && from == 0 {
            self.work.push_back(Work::ScopeDone(id));
        }
        let sources = &self.program.scope(scope.scope).sources;
        let piece = self.bounds.piece;
        for node in sources.iter().skip(from as usize).take(piece) {
            self.work.push_back(Work::Decide(StepKey { scope: id, node: *node }));
        }
        let next = from as usize + piece;
        if next < sources.len() {
            let next = u32::try_from(next).unwrap_or(u32::MAX);
            self.work.push_back(Work::Begin(id, next));
        }
        Ok(())
    }

    /// Starts every branch. With a join task the parallel completes at once, and the join waits.
    pub fn start_parallel(&mut self, key: StepKey, parallel: &Parallel) -> Acting<()> {
        let forks = !parallel.barriers.is_empty();
        let started = parallel.branches.iter().map(|branch| {
            (self.branch_name(*branch), Json::from_value(json!({"status": "running"})))
        });
        let started = object(started);
        if forks {
            self.holds_after(key, &started)?;
        }
        if parallel.branches.is_empty() {
            return Ok(self.complete(key, started)?);
        }
        self.set_timeout(key, parallel.timeout)?;
        let count = u32::try_from(parallel.branches.len()).unwrap_or(u32::MAX);
        self.view.step_mut(key)?.open = count;
        for (ordinal, branch) in (0..).zip(&parallel.branches) {
            self.new_scope(*branch, Some(key), ordinal, ScopePhase::Open, None)?;
        }
        if forks {
            // Held open by the branches too, also when no barrier waits for them.
            self.view.scope_mut(key.scope)?.open += 1;
            self.complete(key, started)?;
        }
        Ok(())
    }

    /// Starts the branches whose conditions hold.
    pub fn start_multi_choice(&mut self, key: StepKey, choice: &MultiChoice) -> Acting<()> {
        let mut matches = Vec::with_capacity(choice.branches.len());
        for (condition, _) in &choice.branches {
            let value = self.eval(key, Inside::Step, |names| condition.eval(names))?;
            matches.push(truthy(&value));
        }
        let count = matches.iter().filter(|holds| **holds).count();
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        if count < choice.minimum {
            let id = &self.program.node(key.node).id;
            let rule = format!("{count} of at least {} branches of '{id}' match", choice.minimum);
            let failure = Failure::insufficient_branches(rule);
            return Err(Halt::Failed(of_step(id, &failure, Vec::new())));
        }
        self.view.step_mut(key)?.open = count;
        if count > 0 {
            self.set_timeout(key, choice.timeout)?;
        }
        for (ordinal, ((_, branch), holds)) in (0..).zip(choice.branches.iter().zip(matches)) {
            let phase = match holds {
                true => ScopePhase::Open,
                false => ScopePhase::Closed(StepState::Skipped),
            };
            if !holds {
                self.tell_skipped(key, *branch)?;
            }
            self.new_scope(*branch, Some(key), ordinal, phase, None)?;
        }
        if count == 0 { self.branches_done(key, key.node) } else { Ok(()) }
    }

    /// Counts an inner instance that ended by itself, and has whoever waits for it looked at.
    pub fn inner_done(&mut self, container: StepKey, inner: &ScopeRec, failed: bool) -> Result<()> {
        if matches!(self.program.scope(inner.scope).kind, ScopeKind::Body { .. }) {
            self.leave_iteration(container, inner)?;
        }
        let step = self.view.step_mut(container)?;
        step.open = step.open.saturating_sub(1);
        if failed {
            let first = step.first_failed.unwrap_or(inner.ordinal);
            step.first_failed = Some(first.min(inner.ordinal));
        }
        let (open, state) = (step.open, step.state);
        match state {
            StepState::Running => self.work.push_back(Work::Inside(container)),
            StepState::Completed if open == 0 => {
                let node = self.program.node(container.node);
                if let Operator::Parallel(parallel) = &node.operator {
                    self.fork_ended(container, parallel)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// The branches of a fork have ended, or were ended.
    pub fn fork_ended(&mut self, fork: StepKey, parallel: &Parallel) -> Result<()> {
        self.clear_timer(fork, false)?;
        for node in &parallel.barriers {
            self.work.push_back(Work::Inside(StepKey { scope: fork.scope, node: *node }));
        }
        let scope = self.view.scope_mut(fork.scope)?;
        scope.open = scope.open.saturating_sub(1);
        if scope.open == 0 {
            self.work.push_back(Work::ScopeDone(fork.scope));
        }
        Ok(())
    }

    /// Looks at a step whose inner instances have changed.
    pub fn inside(&mut self, key: StepKey) -> Result<()> {
        if !self.is_running(key)? {
            return Ok(());
        }
        let program = self.program;
        let outcome = match &program.node(key.node).operator {
            Operator::Parallel(_) | Operator::MultiChoice(_) => {
                if self.view.step(key)?.open > 0 {
                    Ok(())
                } else {
                    self.branches_done(key, key.node)
                }
            }
            Operator::Barrier(barrier) => self.continue_barrier(key, barrier),
            Operator::Foreach(foreach) => self.continue_foreach(key, foreach),
            Operator::While { condition, body } => self.continue_while(key, condition, *body),
            _ => Ok(()),
        };
        self.conclude(key, outcome)
    }

    /// Waits for the branches of a fork, no longer than its timeout.
    pub fn start_barrier(&mut self, key: StepKey, barrier: &Barrier) -> Acting<()> {
        self.set_timeout(key, Some(barrier.timeout))?;
        self.continue_barrier(key, barrier)
    }

    fn continue_barrier(&mut self, key: StepKey, barrier: &Barrier) -> Acting<()> {
        let fork = StepKey { scope: key.scope, node: barrier.fork };
        let step = self.view.step(fork)?;
        let id = &self.program.node(key.node).id;
        match step.state {
            StepState::Completed if step.open > 0 => Ok(()),
            StepState::Completed => self.branches_done(key, barrier.fork),
            StepState::Skipped => {
                let inner = &self.program.node(barrier.fork).inner;
                let skipped = inner.iter().map(|branch| {
                    (self.branch_name(*branch), of_branch("skipped", Json::null(), object([])))
                });
                let result = object(skipped);
                Ok(self.complete(key, result)?)
            }
            _ if step.state.is_final() => {
                let cause = step.error.clone().unwrap_or_else(Json::null);
                let cause = cause.value()?;
                let fork = &self.program.node(barrier.fork).id;
                let text = format!("'{fork}' did not complete: {}", message(cause));
                let more = vec![("branch", Value::Null), ("cause", cause.clone())];
                Err(Halt::Failed(of_step(id, &Failure::branch(text), more)))
            }
            _ => Ok(()),
        }
    }

    /// Ends a step that has waited for the branches of `fork`, its own or another's.
    fn branches_done(&mut self, key: StepKey, fork: NodeIx) -> Acting<()> {
        let container = StepKey { scope: key.scope, node: fork };
        let id = &self.program.node(key.node).id;
        let fork_id = &self.program.node(fork).id;
        let branches = self.view.all_inner(container)?;
        let cut = ScopePhase::Closed(StepState::UpstreamFailed);
        if branches.iter().any(|branch| branch.phase == cut) {
            let failure =
                Failure::timeout(format!("branches of '{fork_id}' were not finished in time"));
            return Err(Halt::Failed(of_step(id, &failure, Vec::new())));
        }
        let mut members = Vec::with_capacity(branches.len());
        for branch in &branches {
            let status = match branch.phase {
                ScopePhase::Closed(_) => "skipped",
                _ if branch.error.is_some() => "failed",
                _ => "completed",
            };
            let result = branch.result.clone().unwrap_or_else(Json::null);
            let results = self.results_of(branch.id)?;
            members.push((self.branch_name(branch.scope), of_branch(status, result, results)));
        }
        if let Some(failed) = branches.iter().find(|branch| branch.error.is_some()) {
            self.keep_partial(key, object(members))?;
            let cause = failed.error.clone().unwrap_or_else(Json::null);
            let cause = cause.value()?;
            let name = self.branch_name(failed.scope);
            let text = format!("branch '{name}' of '{fork_id}' failed: {}", message(cause));
            let more = vec![("branch", name.into()), ("cause", cause.clone())];
            return Err(Halt::Failed(of_step(id, &Failure::branch(text), more)));
        }
        Ok(self.complete(key, object(members))?)
    }

    /// The result keys that were set inside a branch.
    fn results_of(&mut self, branch: ScopeId) -> Result<Json> {
        let values = self.view.values(branch)?;
        let keys: Vec<StepKey> = values.values().copied().collect();
        let steps = self.view.steps(&keys)?;
        let results = steps.iter().map(|step| step.result.clone().unwrap_or_else(Json::null));
        Ok(object(values.keys().map(String::as_str).zip(results)))
    }

    pub fn branch_name(&self, branch: ScopeIx) -> &'a str {
        match &self.program.scope(branch).kind {
            ScopeKind::Branch { name, .. } => name,
            _ => "",
        }
    }
}

fn of_branch(status: &str, result: Json, results: Json) -> Json {
    object([("status", Json::from_value(status.into())), ("result", result), ("results", results)])
}
