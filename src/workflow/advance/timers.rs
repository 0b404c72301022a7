//! Waits, events and timeouts (HIGHWAY 6.4, 6.9, 9.2).

use crate::error::Result;
use crate::time::Timestamp;
use crate::workflow::failure::Failure;
use crate::workflow::json::Json;
use crate::workflow::operator::Operator;
use crate::workflow::program::Node;
use crate::workflow::records::{ScopePhase, StepKey, TimerKind, TimerRec};
use crate::workflow::step_state::StepState;
use crate::workflow::stimulus::Command;
use crate::workflow::template::Template;
use crate::workflow::wait::{WaitFor, Wake};

use super::Transition;
use super::error::{Acting, Halt, of_step};
use super::names::Inside;

impl Transition<'_> {
    pub fn start_wait(&mut self, key: StepKey, wait: &WaitFor) -> Acting<()> {
        let value = self.eval(key, Inside::Step, |names| wait.resolve(names))?;
        let now = self.now();
        match self.eval(key, Inside::Step, |_| WaitFor::interpret(&value, now))? {
            Wake::Now => Ok(self.complete(key, instant(now))?),
            Wake::Event(name) => {
                self.check_key(key, "the name of the event", &name)?;
                self.await_event(key, name, None)
            }
            Wake::At(wake) => {
                let limit = self.limit(key, None).map(|seconds| now.plus_seconds(seconds));
                let (due_at, kind) = match limit {
                    Some(limit) if limit < wake => (limit, TimerKind::Timeout),
                    _ => (wake, TimerKind::Wake),
                };
                self.set_timer(key, due_at, kind);
                Ok(())
            }
        }
    }

    pub fn start_wait_for(
        &mut self,
        key: StepKey,
        name: &Template,
        timeout: Option<f64>,
    ) -> Acting<()> {
        let name = self.event_name(key, name)?;
        self.await_event(key, name, timeout)
    }

    /// Completes a step with an event that was emitted, or has the step wait for it.
    fn await_event(&mut self, key: StepKey, name: String, timeout: Option<f64>) -> Acting<()> {
        let stored = self.view.host.emitted(&name)?;
        if let Some(payload) = stored.or_else(|| self.view.emitted.get(&name).cloned()) {
            return Ok(self.event_received(key, payload)?);
        }
        let limit = self.limit(key, timeout);
        if limit.is_some_and(|seconds| seconds <= 0.0) {
            return Err(Halt::Failed(self.overdue(key)));
        }
        self.view.step_mut(key)?.event = Some(name.clone());
        self.command_for(key, Command::WaitEvent { step: key, name });
        self.set_timeout(key, timeout)?;
        Ok(())
    }

    /// A wait tells when it ended, everybody else wants the payload.
    fn event_received(&mut self, key: StepKey, payload: Json) -> Result<()> {
        match self.program.node(key.node).operator {
            Operator::Wait(_) => self.complete(key, instant(self.now())),
            _ => self.complete_with(key, "the event's payload", payload),
        }
    }

    /// An event was emitted; a step that no longer waits for it lets it pass.
    pub fn event_arrived(&mut self, key: StepKey, event: &str, payload: Json) -> Result<()> {
        if self.is_running(key)? && self.view.step(key)?.event.as_deref() == Some(event) {
            self.event_received(key, payload)
        } else {
            Ok(())
        }
    }

    /// Seconds that a step may take: its own limit or its policy's, whichever is less.
    fn limit(&self, key: StepKey, own: Option<f64>) -> Option<f64> {
        let policy = self.program.node(key.node).timeout.as_ref().map(|timeout| timeout.seconds);
        match (own, policy) {
            (Some(own), Some(policy)) => Some(own.min(policy)),
            (own, policy) => own.or(policy),
        }
    }

    /// Limits how long a step may take from now on.
    pub fn set_timeout(&mut self, key: StepKey, own: Option<f64>) -> Result<()> {
        if let Some(seconds) = self.limit(key, own) {
            let due_at = self.now().plus_seconds(seconds);
            self.set_timer(key, due_at, TimerKind::Timeout);
        }
        Ok(())
    }

    fn set_timer(&mut self, key: StepKey, due_at: Timestamp, kind: TimerKind) {
        let timer = TimerRec { step: Some(key), due_at, kind };
        self.command_for(key, Command::SetTimer(timer));
    }

    /// A step's timer is due, or the run's own for none.
    pub fn timer_fired(&mut self, step: Option<StepKey>, kind: TimerKind) -> Result<()> {
        let Some(key) = step else {
            return if kind == TimerKind::Deadline { self.deadline() } else { Ok(()) };
        };
        if !self.program.has(key.node) {
            return Ok(());
        }
        self.fired = Some(key);
        match (kind, &self.program.node(key.node).operator) {
            (TimerKind::Wake, Operator::Wait(_)) if self.is_running(key)? => {
                self.complete(key, instant(self.now()))
            }
            (TimerKind::Timeout, _) => self.timed_out(key),
            _ => Ok(()),
        }
    }

    /// A step has taken too long: whatever is inside it ends too.
    fn timed_out(&mut self, key: StepKey) -> Result<()> {
        let program = self.program;
        let node = program.node(key.node);
        let step = self.view.step(key)?;
        if self.view.scope(key.scope)?.phase != ScopePhase::Open {
            return Ok(());
        }
        match (step.state, &node.operator) {
            (StepState::Completed, Operator::Parallel(_)) if step.open > 0 => self.close_fork(key),
            (StepState::Pending, Operator::Join(_)) if self.is_alive(key.scope)? => {
                let error = self.overdue(key);
                self.fail_join(key, error)
            }
            (StepState::Running, operator) => {
                match operator {
                    Operator::Parallel(_)
                    | Operator::MultiChoice(_)
                    | Operator::Foreach(_)
                    | Operator::While { .. } => self.close_inner(key)?,
                    Operator::Barrier(barrier) => {
                        let fork = StepKey { scope: key.scope, node: barrier.fork };
                        self.close_fork(fork)?;
                    }
                    Operator::ChildWorkflow { .. } => self.cancel_children(key),
                    _ => {}
                }
                let error = self.overdue(key);
                self.fail(key, error)
            }
            _ => Ok(()),
        }
    }

    /// Ends the branches of a parallel that has completed by forking.
    fn close_fork(&mut self, fork: StepKey) -> Result<()> {
        let program = self.program;
        let step = self.view.step(fork)?;
        match &program.node(fork.node).operator {
            Operator::Parallel(parallel) if step.open > 0 && step.state == StepState::Completed => {
                self.close_inner(fork)?;
                self.fork_ended(fork, parallel)
            }
            _ => Ok(()),
        }
    }

    /// The error of a step that has taken too long.
    fn overdue(&self, key: StepKey) -> Json {
        let node = self.program.node(key.node);
        let seconds = self.limit(key, own_limit(node)).unwrap_or_default();
        let text = match &node.operator {
            Operator::Barrier(barrier) => {
                let fork = &self.program.node(barrier.fork).id;
                format!("branches of '{fork}' not finished within {seconds}s")
            }
            Operator::WaitForEvent { .. } => {
                format!("the event of '{}' was not emitted within {seconds}s", node.id)
            }
            _ => format!("'{}' has not ended within {seconds}s", node.id),
        };
        of_step(&node.id, &Failure::timeout(text), Vec::new())
    }
}

/// The limit that the operator itself sets, in seconds.
fn own_limit(node: &Node) -> Option<f64> {
    match &node.operator {
        Operator::Barrier(barrier) => Some(barrier.timeout),
        Operator::Parallel(parallel) => parallel.timeout,
        Operator::MultiChoice(choice) => choice.timeout,
        Operator::WaitForEvent { timeout, .. } | Operator::ChildWorkflow { timeout, .. } => {
            *timeout
        }
        _ => None,
    }
}

fn instant(at: Timestamp) -> Json {
    Json::from_value(at.iso8601().into())
}
