//! What nodes do, with everything parsed.

use std::collections::BTreeMap;

use super::super::bounds::MAX_TEMPLATE;
use super::super::document::{Call, Free, Kind, broken, place, too_large};
use super::super::expression::Expression;
use super::super::operator::{
    self, Barrier, Foreach, Formula, Items, Join, MultiChoice, Operator, Parallel, Reflexive,
    SwitchOn, Terminate,
};
use super::super::program::{NodeIx, ScopeIx, ScopeKind};
use super::super::resolve::Links;
use super::super::scopes::Tree;
use super::super::template::{Template, Tree as Parts};
use super::super::wait::WaitFor;
use super::barriers::Found;
use crate::error::{Error, Result};

pub struct Compiler<'c, 'a> {
    pub tree: &'c Tree<'a>,
    pub links: &'c [Links],
    pub barriers: &'c BTreeMap<NodeIx, Found>,
}

impl Compiler<'_, '_> {
    /// # Errors
    /// 22023 for a value that nests too deep and for a `wait_for` that means nothing.
    pub fn operator(&self, ix: NodeIx) -> Result<Operator> {
        let node = self.tree.node(ix);
        let wrong = |rule: String| broken(&place(&self.tree.path(ix)), rule);
        let target =
            |id: &Option<String>| id.as_ref().and_then(|id| self.tree.scope(node.scope).find(id));
        Ok(match &node.step.kind {
            Kind::Task(_) | Kind::Activity(_) if self.barriers.contains_key(&ix) => {
                let Found { fork, timeout } = self.barriers[&ix];
                Operator::Barrier(Barrier { fork, timeout })
            }
            Kind::Task(call) => Operator::Task(self.call(ix, call)?),
            Kind::Activity(call) => Operator::Activity(self.call(ix, call)?),
            Kind::Condition { condition, if_true, if_false } => Operator::Condition {
                condition: formula(condition),
                if_true: target(if_true),
                if_false: target(if_false),
            },
            Kind::Switch { switch_on, cases, default } => {
                let case = |(text, id): (&String, &String)| {
                    Some((text.clone(), self.tree.scope(node.scope).find(id)?))
                };
                Operator::Switch {
                    on: SwitchOn::parse(switch_on),
                    cases: cases.iter().filter_map(case).collect(),
                    default: target(default),
                }
            }
            Kind::Wait { wait_for } => Operator::Wait(WaitFor::parse(wait_for).map_err(wrong)?),
            Kind::Parallel { timeout, .. } => Operator::Parallel(Parallel {
                branches: node.inner.clone(),
                timeout: timeout.map(seconds),
                barriers: Vec::new(),
            }),
            Kind::MultiChoice { branches, minimum_branches, timeout, .. } => {
                let branch = |scope: &ScopeIx| match &self.tree.scope(*scope).kind {
                    ScopeKind::Branch { name, .. } => {
                        branches.get(name).map(|branch| (formula(&branch.condition), *scope))
                    }
                    _ => None,
                };
                Operator::MultiChoice(MultiChoice {
                    branches: node.inner.iter().filter_map(branch).collect(),
                    minimum: u32::try_from(*minimum_branches).unwrap_or(u32::MAX),
                    timeout: timeout.map(seconds),
                })
            }
            Kind::Foreach { items, parallel, dynamic, .. } => Operator::Foreach(Foreach {
                items: Items::parse(items),
                body: self.body(ix)?,
                parallel: *parallel,
                dynamic: *dynamic,
            }),
            Kind::While { condition, .. } => {
                Operator::While { condition: formula(condition), body: self.body(ix)? }
            }
            Kind::EmitEvent { event_name, payload } => Operator::EmitEvent {
                name: Template::parse(event_name),
                payload: self.parts(ix, "payload", payload)?,
            },
            Kind::WaitForEvent { event_name, timeout_seconds } => Operator::WaitForEvent {
                name: Template::parse(event_name),
                timeout: timeout_seconds.map(seconds),
            },
            Kind::Join { join_mode, .. } => Operator::Join(Join { mode: join_mode.value }),
            Kind::Reflexive {
                generator,
                generator_kwargs,
                verifier,
                verifier_kwargs,
                max_turns,
                correction_prompt_template,
            } => Operator::Reflexive(Reflexive {
                generator: Template::parse(generator),
                verifier: Template::parse(verifier),
                generator_kwargs: self.parts(ix, "generator_kwargs", generator_kwargs)?,
                verifier_kwargs: self.parts(ix, "verifier_kwargs", verifier_kwargs)?,
                max_turns: u32::try_from(*max_turns).unwrap_or(1),
                correction_prompt_template: correction_prompt_template.clone(),
            }),
            Kind::Terminate { status, result, reason } => Operator::Terminate(Terminate {
                status: status.value,
                result: self.parts(ix, "result", result)?,
                reason: Template::parse(reason),
            }),
            Kind::ChildWorkflow { children, timeout_seconds } => Operator::ChildWorkflow {
                children: children
                    .iter()
                    .map(|(name, child)| {
                        let inputs = self.parts(ix, "inputs", &child.inputs)?;
                        let workflow_name = child.workflow_name.clone();
                        let version = child.version.clone();
                        Ok((name.clone(), operator::Child { workflow_name, version, inputs }))
                    })
                    .collect::<Result<_>>()?,
                timeout: timeout_seconds.map(seconds),
            },
        })
    }

    fn call(&self, ix: NodeIx, call: &Call) -> Result<operator::Call> {
        Ok(operator::Call {
            function: call.function.clone(),
            args: self.parts(ix, "args", &call.args)?,
            kwargs: self.parts(ix, "kwargs", &call.kwargs)?,
        })
    }

    fn parts(&self, ix: NodeIx, field: &str, written: &Free) -> Result<Parts> {
        let place = place(&self.tree.path(ix));
        let value = written.value(&place)?;
        if Parts::template_bytes(&value) > MAX_TEMPLATE {
            return Err(too_large(MAX_TEMPLATE, "bytes of texts with templates in one field"));
        }
        Parts::parse(&value).map_err(|rule| broken(&place, format!("{field} {rule}")))
    }

    fn body(&self, ix: NodeIx) -> Result<ScopeIx> {
        self.tree.node(ix).inner.first().copied().ok_or_else(|| Error::Corrupt {
            what: format!("the loop '{}' has no scope", self.tree.path(ix)),
        })
    }
}

/// Whole seconds of a limit. A negative one has passed when it begins.
fn seconds(seconds: i64) -> f64 {
    seconds.max(0) as f64
}

fn formula(text: &str) -> Formula {
    Formula(Expression::parse(text))
}
