//! What names stand for at a step (HIGHWAY 7.3).

use std::rc::Rc;

use serde_json::{Map, Value, json};

use crate::error::{Error, Result};
use crate::workflow::failure::Failure;
use crate::workflow::json::Json;
use crate::workflow::names::{Found, Names};
use crate::workflow::operator::Operator;
use crate::workflow::program::{Node, Program, ScopeKind};
use crate::workflow::records::{ScopeId, ScopeRec, StepKey};
use crate::workflow::step_state::StepState;

use super::error::{Acting, Halt, of_step};
use super::locate::Place;
use super::{Transition, error};

/// From where within a step names are looked up.
#[derive(Clone, Copy)]
pub enum Inside<'r> {
    Step,
    /// The condition of a while, before this iteration.
    Condition(u32),
    /// A postcondition, with the result that the step would have.
    After(&'r Json),
}

struct Context<'t, 'a, 'r> {
    transition: &'t mut Transition<'a>,
    key: StepKey,
    scope: Rc<ScopeRec>,
    inside: Inside<'r>,
    /// The host's error, which is not the step's failure.
    broken: Option<Error>,
}

impl<'a> Transition<'a> {
    /// Evaluates something of a step's; a failure is the step's.
    pub fn eval<T>(
        &mut self,
        key: StepKey,
        inside: Inside,
        evaluate: impl FnOnce(&mut dyn Names) -> std::result::Result<T, Failure>,
    ) -> Acting<T> {
        let scope = self.view.scope(key.scope)?;
        let mut context = Context { transition: self, key, scope, inside, broken: None };
        let outcome = evaluate(&mut context);
        if let Some(error) = context.broken {
            return Err(Halt::Broken(error));
        }
        let task_id = &self.program.node(key.node).id;
        outcome.map_err(|failure| Halt::Failed(of_step(task_id, &failure, Vec::new())))
    }

    /// The contexts that result keys are looked up in, innermost first.
    pub fn contexts(&self, scope: &ScopeRec) -> Vec<ScopeId> {
        let instances = scope.chain.iter().copied().chain([scope.id]).rev();
        let scopes =
            std::iter::successors(Some(scope.scope), |scope| self.program.scope(*scope).parent);
        let is_branch = |kind: &ScopeKind| matches!(kind, ScopeKind::Branch { .. });
        let pairs = instances.zip(scopes);
        pairs
            .filter(|(_, ix)| !is_branch(&self.program.scope(*ix).kind))
            .map(|(id, _)| id)
            .collect()
    }
}

impl Names for Context<'_, '_, '_> {
    fn find(&mut self, name: &str) -> std::result::Result<Found, Failure> {
        let found = self.look(name);
        self.answer(found)
    }

    fn segment(
        &mut self,
        name: &str,
        segment: &str,
    ) -> std::result::Result<Option<Value>, Failure> {
        let found = self.virtual_segment(name, segment);
        self.answer(found)
    }
}

impl<'a> Context<'_, 'a, '_> {
    fn answer<T>(&mut self, found: Result<T>) -> std::result::Result<T, Failure> {
        found.map_err(|error| {
            let failure = Failure::template(error.to_string());
            if !error.is_limit() {
                self.broken.get_or_insert(error);
            }
            failure
        })
    }

    fn program(&self) -> &'a Program {
        self.transition.program
    }

    fn node(&self) -> &'a Node {
        self.program().node(self.key.node)
    }

    fn look(&mut self, name: &str) -> Result<Found> {
        if let Some(value) = self.local(name)? {
            return Ok(Found::Value(value));
        }
        let contexts = self.transition.contexts(&self.scope);
        if let Some(source) = self.transition.view.value(&contexts, name)? {
            let result = self.transition.view.step(source)?.result.clone();
            return Ok(Found::Value(result.unwrap_or_else(Json::null).value()?.clone()));
        }
        let scope = self.scope.clone();
        if let Some(step) = self.transition.ended_by_id(&scope, name)? {
            // Of a container that failed, what its members came to.
            let result = step.result.clone();
            return Ok(Found::Value(result.unwrap_or_else(Json::null).value()?.clone()));
        }
        let inputs = self.transition.view.host.inputs()?;
        if let Some(value) = inputs.value()?.get(name) {
            return Ok(Found::Value(value.clone()));
        }
        if let Some(value) = self.variable(name) {
            return Ok(Found::Value(value));
        }
        if let Some(value) = self.special(name)? {
            return Ok(Found::Value(value));
        }
        let declared = self.program().declared.contains(name) || is_interval(name);
        Ok(if declared { Found::Declared } else { Found::Unknown })
    }

    /// Names that mean something only at this step or in this iteration.
    fn local(&mut self, name: &str) -> Result<Option<Value>> {
        if let Some(result) = self.tentative(name) {
            return Ok(Some(result.value()?.clone()));
        }
        if let ("loop", Inside::Condition(index)) = (name, self.inside) {
            return Ok(Some(json!({"index": index, "iteration": u64::from(index) + 1})));
        }
        if self.node().is_handler()
            && let Some(value) = self.of_trigger(name)?
        {
            return Ok(Some(value));
        }
        if !matches!(name, "item" | "loop") {
            return Ok(None);
        }
        let instances: Vec<ScopeId> = self.scope.chain.clone();
        let own = self.scope.clone();
        if let Some(value) = self.of_iteration(&own, name)? {
            return Ok(Some(value));
        }
        for id in instances.into_iter().rev() {
            let scope = self.transition.view.scope(id)?;
            if let Some(value) = self.of_iteration(&scope, name)? {
                return Ok(Some(value));
            }
        }
        Ok(None)
    }

    /// The result that is not yet published, under the names that it has in postconditions.
    fn tentative(&self, name: &str) -> Option<Json> {
        let Inside::After(result) = self.inside else { return None };
        let node = self.node();
        let list = matches!(node.operator, Operator::Foreach(_));
        let matches = name == "result"
            || name == node.id
            || node.result_key.as_deref() == Some(name)
            || name.strip_suffix("__result") == Some(&node.id)
            || (list && name.strip_suffix("_results") == Some(&node.id));
        matches.then(|| result.clone())
    }

    /// `item` and `loop` of one iteration.
    fn of_iteration(&mut self, scope: &ScopeRec, name: &str) -> Result<Option<Value>> {
        let Some(container) = scope.parent else { return Ok(None) };
        let operator = &self.program().node(container.node).operator;
        let index = u64::from(scope.ordinal);
        Ok(match (name, operator) {
            ("item", Operator::Foreach(_)) => {
                let item = scope.item.clone().unwrap_or_else(Json::null);
                Some(item.value()?.clone())
            }
            ("loop", Operator::While { .. }) => {
                Some(json!({"index": index, "iteration": index + 1}))
            }
            ("loop", Operator::Foreach(_)) => {
                let step = self.transition.view.step(container)?;
                let end = self.transition.items_end(&step)?;
                let length = u64::from(end.unwrap_or(step.iterations));
                Some(json!({
                    "index": index,
                    "iteration": index + 1,
                    "length": length,
                    "first": index == 0,
                    "last": index + 1 == length,
                }))
            }
            _ => None,
        })
    }

    /// What a handler knows of the step that triggered it.
    fn of_trigger(&mut self, name: &str) -> Result<Option<Value>> {
        let Some(trigger) = self.transition.view.step(self.key)?.trigger else { return Ok(None) };
        let id = &self.program().node(trigger.referrer).id;
        Ok(match (name, trigger.succeeded) {
            ("succeeded_task_id", true) | ("failed_task_id", false) => Some(id.as_str().into()),
            ("error" | "error_message", false) => {
                let key = StepKey { scope: self.key.scope, node: trigger.referrer };
                let error = self.transition.view.step(key)?.error.clone();
                let error = error.unwrap_or_else(Json::null);
                let error = error.value()?;
                Some(if name == "error" { error.clone() } else { error::message(error).into() })
            }
            _ => None,
        })
    }

    /// The workflow's variable, or one of a branch around the step.
    fn variable(&self, name: &str) -> Option<Value> {
        self.transition
            .scopes_around(&self.scope)
            .find_map(|scope| scope.variables.get(name))
            .cloned()
    }

    fn variables(&self) -> Map<String, Value> {
        let mut all = Map::new();
        for scope in self.transition.scopes_around(&self.scope) {
            for (key, value) in &scope.variables {
                all.entry(key).or_insert_with(|| value.clone());
            }
        }
        all
    }

    fn special(&mut self, name: &str) -> Result<Option<Value>> {
        if name == "inputs" {
            return Ok(Some(self.transition.view.host.inputs()?.value()?.clone()));
        }
        let interval = match name {
            "ds" => {
                self.transition.view.host.inputs()?.value()?.get("data_interval_start").cloned()
            }
            _ => None,
        };
        let run = &self.transition.run;
        let started = run.started_at.unwrap_or_else(|| self.transition.now()).iso8601();
        Ok(Some(match name {
            "variables" => Value::Object(self.variables()),
            "results" => self.results()?,
            "workflow" => {
                let mut workflow = self.variables();
                workflow.insert("name".to_owned(), self.program().name.as_str().into());
                workflow.insert("version".to_owned(), self.program().version.as_str().into());
                Value::Object(workflow)
            }
            "run" => json!({
                "id": run.id.to_string(),
                "workflow": self.program().name,
                "version": self.program().version,
                "status": run.status.as_str(),
                "started_at": started,
            }),
            "run_id" | "workflow_run_id" => run.id.to_string().into(),
            "ds" => match interval {
                Some(start) if !start.is_null() => start,
                _ => started.into(),
            },
            _ => return Ok(None),
        }))
    }

    /// All result keys that are visible here, with their values.
    fn results(&mut self) -> Result<Value> {
        let mut sources = std::collections::BTreeMap::new();
        for context in self.transition.contexts(&self.scope).into_iter().rev() {
            sources.extend(self.transition.view.values(context)?);
        }
        let keys: Vec<StepKey> = sources.values().copied().collect();
        let mut results = Map::new();
        for (key, step) in sources.into_keys().zip(self.transition.view.steps(&keys)?) {
            let result = step.result.clone().unwrap_or_else(Json::null);
            results.insert(key, result.value()?.clone());
        }
        Ok(Value::Object(results))
    }

    fn virtual_segment(&mut self, name: &str, segment: &str) -> Result<Option<Value>> {
        if let Some(result) = self.tentative(name) {
            let node = self.node();
            return Ok(match segment {
                "output" | "result" => Some(result.value()?.clone()),
                "status" => Some(StepState::Completed.as_str().into()),
                "payload" if is_event(node) => Some(result.value()?.clone()),
                "completion_event" => self.completion_event(self.key)?,
                _ => None,
            });
        }
        let scope = self.scope.clone();
        let Some((node, place)) = self.transition.named(&scope, name)? else { return Ok(None) };
        let (step, state) = match place {
            Place::Step(key) => {
                (Some(self.transition.view.step(key)?), self.transition.view.state(key)?)
            }
            Place::NotStarted(container) => (None, self.unstarted(container)?),
            Place::Elsewhere => (None, StepState::Pending),
        };
        let completed = step.clone().filter(|_| state == StepState::Completed);
        let result = match (&completed, step.as_ref().and_then(|step| step.result.clone())) {
            (_, Some(result)) => Some(result.value()?.clone()),
            (Some(_), None) => Some(Value::Null),
            (None, None) => None,
        };
        Ok(match segment {
            "output" | "result" => result,
            "payload" if is_event(self.program().node(node)) => result,
            "status" => Some(state.as_str().into()),
            "error" => match step.and_then(|step| step.error.clone()) {
                Some(error) => Some(error.value()?.clone()),
                None => None,
            },
            "completion_event" => match (completed, place) {
                (Some(_), Place::Step(key)) => self.completion_event(key)?,
                _ => None,
            },
            _ => None,
        })
    }

    fn completion_event(&mut self, key: StepKey) -> Result<Option<Value>> {
        let activity = matches!(self.program().node(key.node).operator, Operator::Activity(_));
        if !activity || !self.program().completion_events {
            return Ok(None);
        }
        self.transition.completion_event(key).map(|name| Some(name.into()))
    }

    /// The state of what is inside a container that never started.
    fn unstarted(&mut self, container: StepKey) -> Result<StepState> {
        Ok(match self.transition.view.state(container)? {
            StepState::Pending | StepState::Running => StepState::Pending,
            StepState::Skipped => StepState::Skipped,
            _ => StepState::UpstreamFailed,
        })
    }
}

fn is_event(node: &Node) -> bool {
    matches!(node.operator, Operator::WaitForEvent { .. })
}

/// Names that the scheduler's inputs may give.
fn is_interval(name: &str) -> bool {
    matches!(name, "data_interval_start" | "data_interval_end")
}
