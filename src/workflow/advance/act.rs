//! Operators that act at once: calls, routers, joins, emit_event, terminate.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::error::MAX_KEY;
use crate::workflow::expression::truthy;
use crate::workflow::failure::Failure;
use crate::workflow::json::Json;
use crate::workflow::operator::{
    Call, Formula, JoinMode, Reflexive, SwitchOn, Terminate, TerminateStatus,
};
use crate::workflow::program::NodeIx;
use crate::workflow::records::{RunStatus, StepKey, StepRec};
use crate::workflow::state::state_of;
use crate::workflow::step_state::{Outcome, StepState};
use crate::workflow::template::{Template, Tree};

use super::Transition;
use super::decide::{JoinEnd, by_inputs};
use super::error::{Acting, Halt, object, of_step};
use super::finish::End;
use super::locate::Place;
use super::names::Inside;
use super::start::Work;

/// What a reflexive step's task is called.
const REFLEXIVE: &str = "tools.agent.reflexive_loop";

impl Transition<'_> {
    pub fn start_call(&mut self, key: StepKey, call: &Call) -> Acting<()> {
        let args = self.resolve(key, &call.args)?;
        let kwargs = self.resolve(key, &call.kwargs)?;
        let params = json!({"args": args, "kwargs": kwargs});
        self.spawn(key, Work { function: &call.function, params })
    }

    pub fn start_reflexive(&mut self, key: StepKey, reflexive: &Reflexive) -> Acting<()> {
        let generator = self.text(key, &reflexive.generator)?;
        let verifier = self.text(key, &reflexive.verifier)?;
        let generator_kwargs = self.resolve(key, &reflexive.generator_kwargs)?;
        let verifier_kwargs = self.resolve(key, &reflexive.verifier_kwargs)?;
        let kwargs = json!({
            "generator": generator,
            "verifier": verifier,
            "generator_kwargs": generator_kwargs,
            "verifier_kwargs": verifier_kwargs,
            "max_turns": reflexive.max_turns,
            "correction_prompt_template": reflexive.correction_prompt_template,
        });
        self.spawn(key, Work { function: REFLEXIVE, params: json!({"args": [], "kwargs": kwargs}) })
    }

    pub fn resolve(&mut self, key: StepKey, tree: &Tree) -> Acting<Value> {
        self.eval(key, Inside::Step, |names| tree.resolve(names))
    }

    pub fn text(&mut self, key: StepKey, template: &Template) -> Acting<String> {
        self.eval(key, Inside::Step, |names| template.text(names))
    }

    pub fn start_condition(
        &mut self,
        key: StepKey,
        condition: &Formula,
        (if_true, if_false): (Option<NodeIx>, Option<NodeIx>),
    ) -> Acting<()> {
        let value = self.eval(key, Inside::Step, |names| condition.eval(names))?;
        let holds = truthy(&value);
        self.view.step_mut(key)?.selected = if holds { if_true } else { if_false };
        Ok(self.complete(key, Json::from_value(holds.into()))?)
    }

    pub fn start_switch(
        &mut self,
        key: StepKey,
        on: &SwitchOn,
        cases: &BTreeMap<String, NodeIx>,
        default: Option<NodeIx>,
    ) -> Acting<()> {
        let text = self.eval(key, Inside::Step, |names| on.evaluate(names))?;
        self.view.step_mut(key)?.selected = cases.get(&text).copied().or(default);
        Ok(self.complete(key, Json::from_value(text.into()))?)
    }

    pub fn start_join(&mut self, key: StepKey, mode: JoinMode) -> Acting<()> {
        let program = self.program;
        let inputs = &program.node(key.node).predecessors.inputs;
        let tally = self.view.step(key)?.inputs;
        let scope = self.view.scope(key.scope)?;
        let mut places = Vec::with_capacity(inputs.len());
        for input in inputs {
            places.push(self.locate(&scope, *input)?);
        }
        let keys: Vec<StepKey> = places.iter().filter_map(place_of).collect();
        self.view.expect(&keys)?;
        let completes = match by_inputs(mode, inputs.len(), tally) {
            JoinEnd::Fail => false,
            JoinEnd::Earliest => self.earliest_completed(&keys)?,
            _ => true,
        };
        let losers = self.losers(key, &places)?;
        let mut members = Vec::with_capacity(inputs.len());
        let mut failed = Vec::new();
        for (input, place) in inputs.iter().zip(&places) {
            let (step, state) = match place {
                Place::Step(key) => (Some(self.view.step(*key)?), self.view.state(*key)?),
                Place::NotStarted(container) => {
                    let phase = self.view.scope(container.scope)?.phase;
                    let container = self.view.step(*container)?;
                    (None, closed_with(state_of(Some(&container), phase)))
                }
                Place::Elsewhere => (None, StepState::Pending),
            };
            let id = program.node(*input).id.as_str();
            if state.outcome() == Some(Outcome::Failed) {
                failed.push(id);
            }
            members.push((id, of_input(step.as_deref(), state)));
        }
        if completes {
            self.complete(key, object(members))?;
            return Ok(losers.into_iter().try_for_each(|loser| self.cancel_loser(loser))?);
        }
        for loser in losers {
            self.cancel_loser(loser)?;
        }
        let id = &program.node(key.node).id;
        let text = format!("join '{id}' failed: {} did not complete", failed.join(", "));
        let results = object(members).value()?.clone();
        let more = vec![("inputs", results)];
        Err(Halt::Failed(of_step(id, &Failure::join(text), more)))
    }

    /// The inputs of a join that it ends when it is decided without them.
    fn losers(&mut self, key: StepKey, places: &[Place]) -> Acting<Vec<StepKey>> {
        let program = self.program;
        let cancels = match &program.node(key.node).options.cancel_losers {
            Some(tree) => truthy(&self.resolve(key, tree)?),
            None => false,
        };
        let mut losers = Vec::new();
        for step in places.iter().filter(|_| cancels).filter_map(place_of) {
            if self.view.state(step)?.outcome().is_none() {
                losers.push(step);
            }
        }
        Ok(losers)
    }

    /// Fails a join that has waited too long for its inputs.
    pub fn fail_join(&mut self, key: StepKey, error: Json) -> crate::error::Result<()> {
        let scope = self.view.scope(key.scope)?;
        let mut places = Vec::new();
        for input in &self.program.node(key.node).predecessors.inputs {
            places.push(self.locate(&scope, *input)?);
        }
        let losers = match self.losers(key, &places) {
            Ok(losers) => losers,
            // It fails in any case.
            Err(Halt::Failed(_)) => Vec::new(),
            Err(Halt::Broken(error)) => return Err(error),
        };
        self.fail(key, error)?;
        losers.into_iter().try_for_each(|loser| self.cancel_loser(loser))
    }

    /// Whether the input that ended first, skipped ones aside, completed.
    fn earliest_completed(&mut self, inputs: &[StepKey]) -> Acting<bool> {
        let mut earliest = None;
        for step in self.view.steps(inputs)? {
            let counts = !matches!(step.state.outcome(), None | Some(Outcome::Skipped));
            if let Some(moment) = step.finished.filter(|_| counts)
                && earliest.is_none_or(|(known, _)| moment < known)
            {
                earliest = Some((moment, step.state == StepState::Completed));
            }
        }
        Ok(earliest.is_some_and(|(_, completed)| completed))
    }

    pub fn start_emit(&mut self, key: StepKey, name: &Template, payload: &Tree) -> Acting<()> {
        let name = self.event_name(key, name)?;
        let payload = self.resolve(key, payload)?;
        let result = json!({"event_name": name, "payload": payload});
        let result = Json::from_value(result);
        self.holds_after(key, &result)?;
        self.emit(name, Json::from_value(payload));
        Ok(self.complete(key, result)?)
    }

    /// The name of an event, which must say something.
    pub fn event_name(&mut self, key: StepKey, name: &Template) -> Acting<String> {
        let name = self.text(key, name)?;
        if name.trim().is_empty() {
            let id = &self.program.node(key.node).id;
            let failure = Failure::template("the name of the event is blank");
            return Err(Halt::Failed(of_step(id, &failure, Vec::new())));
        }
        self.check_key(key, "the name of the event", &name)?;
        Ok(name)
    }

    /// Checks that a text can be the key of an index.
    pub fn check_key(&mut self, key: StepKey, what: &str, text: &str) -> Acting<()> {
        if text.len() <= MAX_KEY {
            return Ok(());
        }
        let id = &self.program.node(key.node).id;
        let rule = format!("{what} is {} bytes long, more than {MAX_KEY}", text.len());
        Err(Halt::Failed(of_step(id, &Failure::template(rule), Vec::new())))
    }

    pub fn start_terminate(&mut self, key: StepKey, terminate: &Terminate) -> Acting<()> {
        let result = Json::from_value(self.resolve(key, &terminate.result)?);
        let reason = self.text(key, &terminate.reason)?;
        let (status, name) = match terminate.status {
            TerminateStatus::Completed => (RunStatus::Completed, "completed"),
            TerminateStatus::Failed => (RunStatus::Failed, "failed"),
            TerminateStatus::Cancelled => (RunStatus::Cancelled, "cancelled"),
        };
        let own = object([
            ("status", Json::from_value(name.into())),
            ("reason", Json::from_value(reason.as_str().into())),
            ("result", result.clone()),
        ]);
        self.holds_after(key, &own)?;
        let end = End { state: StepState::Completed, result: Some(own), error: None };
        self.settle(key, end, true)?;
        self.close_run()?;
        let id = &self.program.node(key.node).id;
        let error = (status == RunStatus::Failed)
            .then(|| of_step(id, &Failure::terminated(reason), Vec::new()));
        Ok(self.finish_run(status, Some(result), error)?)
    }
}

fn place_of(place: &Place) -> Option<StepKey> {
    match place {
        Place::Step(key) => Some(*key),
        _ => None,
    }
}

/// The state of a node inside a container that ended without starting its branches.
fn closed_with(container: StepState) -> StepState {
    match container.outcome() {
        None => StepState::Pending,
        Some(Outcome::Skipped) => StepState::Skipped,
        Some(_) => StepState::UpstreamFailed,
    }
}

/// A join's account of one input, as it is now.
fn of_input(step: Option<&StepRec>, state: StepState) -> Json {
    let part = |part: Option<Json>| part.unwrap_or_else(Json::null);
    object([
        ("status", Json::from_value(state.as_str().into())),
        ("result", part(step.and_then(|step| step.result.clone()))),
        ("error", part(step.and_then(|step| step.error.clone()))),
    ])
}
