//! The start of a run and of its steps.

use serde_json::{Map, Value, json};

use crate::error::Result;
use crate::json::MAX_LEVELS;
use crate::workflow::engine_options::lost_leases;
use crate::workflow::failure::Failure;
use crate::workflow::json::Json;
use crate::workflow::operator::Operator;
use crate::workflow::program::{BreakerPolicy, Node, ScopeIx};
use crate::workflow::records::{
    BreakerEvent, BreakerEventKind, Prober, RunStatus, ScopePhase, StepKey, TimerKind, TimerRec,
};
use crate::workflow::step_state::StepState;
use crate::workflow::stimulus::{Command, SpawnTask};
use crate::workflow::template::Tree;

use super::decide::{Decision, decide, released};
use super::error::{Acting, Halt, name, of_attempt, of_step};
use super::finish::End;
use super::names::Inside;
use super::{Transition, breaker};

/// The longest delay between two attempts, in seconds.
const MAX_DELAY: u32 = 86_400;

/// A queue task's function and parameters, resolved.
pub struct Work<'f> {
    pub function: &'f str,
    pub params: Value,
}

impl Transition<'_> {
    pub fn begin_run(&mut self) -> Result<()> {
        let now = self.now();
        let run = self.run_mut();
        run.status = RunStatus::Running;
        run.started_at = Some(now);
        if let Some(deadline) = self.program.deadline {
            let due_at = now.plus_seconds(deadline.seconds);
            let kind = TimerKind::Deadline;
            self.command(Command::SetTimer(TimerRec { step: None, due_at, kind }));
        }
        self.new_scope(ScopeIx::ROOT, None, 0, ScopePhase::Open, None)
    }

    /// Looks at a pending step.
    pub fn decide(&mut self, key: StepKey) -> Result<()> {
        let program = self.program;
        let step = self.view.step(key)?;
        if step.state != StepState::Pending || !self.is_alive(key.scope)? {
            return Ok(());
        }
        match decide(program.node(key.node), &step) {
            Decision::Wait => self.wait_for_inputs(key),
            Decision::Start => self.start(key),
            Decision::Skip => self.finish(key, End::bare(StepState::Skipped)),
            Decision::UpstreamFail => self.finish(key, End::bare(StepState::UpstreamFailed)),
        }
    }

    /// The time of a join runs from when only its inputs are missing.
    fn wait_for_inputs(&mut self, key: StepKey) -> Result<()> {
        let node = self.program.node(key.node);
        let step = self.view.step(key)?;
        let is_timed = matches!(node.operator, Operator::Join(_)) && node.timeout.is_some();
        if !is_timed || step.started.is_some() || released(node, &step) != Decision::Start {
            return Ok(());
        }
        self.mark_started(key)?;
        self.set_timeout(key, None)
    }

    fn mark_started(&mut self, key: StepKey) -> Result<()> {
        let (now, moment) = (self.now(), self.moment());
        let step = self.view.step_mut(key)?;
        step.started_at.get_or_insert(now);
        step.started.get_or_insert(moment);
        Ok(())
    }

    fn start(&mut self, key: StepKey) -> Result<()> {
        self.mark_started(key)?;
        self.view.step_mut(key)?.state = StepState::Running;
        if self.awaits_replay(key)? {
            return Ok(());
        }
        let outcome = self.act(key);
        self.conclude(key, outcome)
    }

    /// A step whose action failed has failed.
    pub fn conclude(&mut self, key: StepKey, outcome: Acting<()>) -> Result<()> {
        match outcome {
            Ok(()) => Ok(()),
            Err(Halt::Failed(error)) => self.fail(key, error),
            Err(Halt::Broken(error)) if error.is_limit() => self.fail_by_limit(key, &error),
            Err(Halt::Broken(error)) => Err(error),
        }
    }

    /// Spawns the step's queue task, if its circuit breaker lets it.
    pub fn spawn(&mut self, key: StepKey, work: Work) -> Acting<()> {
        let program = self.program;
        let node = program.node(key.node);
        let idempotency_key = match &node.idempotency_key {
            None => None,
            Some(template) => {
                let text = self.eval(key, Inside::Step, |names| template.text(names))?;
                self.check_key(key, "the idempotency key", &text)?;
                Some(text).filter(|text| !text.trim().is_empty())
            }
        };
        self.admit(key, node)?;
        let path = self.path(key)?;
        let mut headers = self.headers(node, &path);
        if let Some(tree) = &node.options.max_lost_leases {
            headers["absurd"]["max_lost_leases"] = self.lost_leases(key, tree)?;
        }
        let retry = node.retry.as_ref().filter(|retry| retry.attempts > 1);
        let strategy = retry.map(|retry| {
            json!({
                "kind": "exponential",
                "base_seconds": retry.delay,
                "factor": retry.factor,
                "max_seconds": MAX_DELAY,
            })
        });
        let spawn = SpawnTask {
            step: key,
            headers: Json::from_value(headers),
            path,
            function: work.function.to_owned(),
            params: Json::from_value(work.params),
            max_attempts: retry.map_or(1, |retry| retry.attempts),
            retry_strategy: strategy.map(Json::from_value),
            idempotency_key,
            attempt_timeout: node.timeout.as_ref().map(|timeout| timeout.seconds),
            leave_late_worker: node.timeout.as_ref().is_some_and(|timeout| !timeout.kill),
            breaker: node.breaker.is_some(),
            at: self.now(),
        };
        self.command_for(key, Command::SpawnTask(Box::new(spawn)));
        Ok(())
    }

    fn lost_leases(&mut self, key: StepKey, tree: &Tree) -> Acting<Value> {
        let value = self.resolve(key, tree)?;
        if lost_leases(&value).is_some() {
            return Ok(value);
        }
        let rule = "metadata.absurd.max_lost_leases must come to an integer from 0 to 1000";
        let failure = Failure::template(rule.to_owned());
        Err(Halt::Failed(of_step(&self.program.node(key.node).id, &failure, Vec::new())))
    }

    /// The node's metadata, under what identifies the step.
    fn headers(&self, node: &Node, path: &str) -> Value {
        let program = self.program;
        let mut headers: Map<String, Value> = node.metadata.clone();
        let step_name = format!("{}__{}__{}", program.name, program.version, node.id);
        for (key, value) in [
            ("workflow_run_id", self.run.id.to_string()),
            ("workflow_step", path.to_owned()),
            ("workflow_name", program.name.clone()),
            ("workflow_version", program.version.clone()),
            ("workflow_step_name", step_name),
        ] {
            headers.insert(key.to_owned(), value.into());
        }
        Value::Object(headers)
    }

    fn admit(&mut self, key: StepKey, node: &Node) -> Acting<()> {
        if self.tell_breaker(key, |_| BreakerEventKind::Asked)? {
            return Ok(());
        }
        let rule = format!("the circuit breaker of '{}' is open", node.id);
        Err(Halt::Failed(of_step(&node.id, &Failure::circuit_open(rule), Vec::new())))
    }

    /// Tells the breaker of a step's node, when it has one. Returns whether a step that asks may
    /// spawn its task.
    pub fn tell_breaker(
        &mut self,
        key: StepKey,
        kind: impl FnOnce(&BreakerPolicy) -> BreakerEventKind,
    ) -> Result<bool> {
        let program = self.program;
        let node = program.node(key.node);
        let Some(policy) = node.breaker.as_ref().filter(|_| node.operator.is_queue_task()) else {
            return Ok(true);
        };
        let before = match self.breakers.get(&node.id) {
            Some(known) => *known,
            None => self.view.host.breaker(&node.id)?,
        };
        let who = Prober { run: self.run.id, step: key };
        let event = BreakerEvent { who, at: self.now(), kind: kind(policy) };
        let mut breaker = before;
        let may_spawn = breaker::apply(&mut breaker, &event);
        if breaker != before {
            self.breakers.insert(node.id.clone(), breaker);
            self.breaker_events.push((node.id.clone(), event));
        }
        Ok(may_spawn)
    }

    /// The step's queue task completed, at this attempt counted from 1.
    pub fn task_completed(&mut self, key: StepKey, result: Json, attempts: u32) -> Result<()> {
        if !self.is_followed(key)? {
            return Ok(());
        }
        self.view.step_mut(key)?.attempts = attempts;
        self.tell_breaker(key, |policy| BreakerEventKind::Succeeded {
            success_threshold: policy.success_threshold,
        })?;
        self.complete_with(key, "the task's result", result)
    }

    pub fn attempt_failed(
        &mut self,
        key: StepKey,
        reason: &Json,
        attempts: u32,
        last: bool,
    ) -> Result<()> {
        if !self.is_followed(key)? {
            return Ok(());
        }
        self.view.step_mut(key)?.attempts = attempts;
        let reason = &readable(reason);
        let error_name = name(reason.value()?);
        self.tell_breaker(key, |policy| BreakerEventKind::Failed {
            counts: breaker::counts(policy, error_name),
            failure_threshold: policy.failure_threshold,
            isolation: policy.isolation,
        })?;
        if !last {
            return Ok(());
        }
        let error = of_attempt(&self.program.node(key.node).id, reason, attempts)?;
        self.fail(key, error)
    }

    /// The step's queue task was cancelled, which fails the step.
    pub fn task_cancelled(&mut self, key: StepKey) -> Result<()> {
        if !self.is_followed(key)? {
            return Ok(());
        }
        self.release_breaker(key)?;
        let attempts = self.view.step(key)?.attempts;
        let reason = Json::from_value(json!({"message": "the task was cancelled"}));
        let error = of_attempt(&self.program.node(key.node).id, &reason, attempts)?;
        self.fail(key, error)
    }

    /// Whether the step is running and worked by a queue task.
    fn is_followed(&mut self, key: StepKey) -> Result<bool> {
        Ok(self.is_running(key)? && self.program.node(key.node).operator.is_queue_task())
    }

    /// The operator's own action, once its preconditions hold.
    fn act(&mut self, key: StepKey) -> Acting<()> {
        let program = self.program;
        let node = program.node(key.node);
        for guard in &node.preconditions {
            self.eval(key, Inside::Step, |names| guard.check(names))?;
        }
        match &node.operator {
            Operator::Task(call) | Operator::Activity(call) => self.start_call(key, call),
            Operator::Reflexive(reflexive) => self.start_reflexive(key, reflexive),
            Operator::Condition { condition, if_true, if_false } => {
                self.start_condition(key, condition, (*if_true, *if_false))
            }
            Operator::Switch { on, cases, default } => self.start_switch(key, on, cases, *default),
            Operator::Join(join) => self.start_join(key, join.mode),
            Operator::EmitEvent { name, payload } => self.start_emit(key, name, payload),
            Operator::Terminate(terminate) => self.start_terminate(key, terminate),
            Operator::Wait(wait) => self.start_wait(key, wait),
            Operator::WaitForEvent { name, timeout } => self.start_wait_for(key, name, *timeout),
            Operator::ChildWorkflow { children, timeout } => {
                self.start_children(key, children, *timeout)
            }
            Operator::Parallel(parallel) => self.start_parallel(key, parallel),
            Operator::Barrier(barrier) => self.start_barrier(key, barrier),
            Operator::MultiChoice(choice) => self.start_multi_choice(key, choice),
            Operator::Foreach(foreach) => self.start_foreach(key, foreach),
            Operator::While { condition, body } => self.start_while(key, condition, *body),
        }
    }
}

/// A worker's error, or one that says why that one cannot be looked into.
fn readable(reason: &Json) -> Json {
    match reason.check("the task's error", MAX_LEVELS) {
        Ok(()) => reason.clone(),
        Err(limit) => {
            let failure = Failure::data_limit(limit.to_string());
            Json::from_value(json!({"name": failure.name, "message": failure.message}))
        }
    }
}
