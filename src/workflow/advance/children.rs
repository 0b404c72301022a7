//! Child workflows (HIGHWAY 6.15).

use std::collections::BTreeMap;

use serde_json::Value;

use crate::error::Result;
use crate::workflow::failure::Failure;
use crate::workflow::json::Json;
use crate::workflow::operator::{Child, Operator};
use crate::workflow::records::{ChildRec, RunStatus, StepKey, limits};
use crate::workflow::stimulus::Command;

use super::Transition;
use super::error::{Acting, Halt, object, of_step};

impl Transition<'_> {
    pub fn start_children(
        &mut self,
        key: StepKey,
        children: &BTreeMap<String, Child>,
        timeout: Option<f64>,
    ) -> Acting<()> {
        if children.is_empty() {
            return Ok(self.complete(key, object([]))?);
        }
        if self.run.depth >= limits::DEPTH {
            let rule = format!("child workflows nest more than {} levels deep", limits::DEPTH);
            return Err(self.child_failure(key, rule, Vec::new()));
        }
        let mut inputs = Vec::with_capacity(children.len());
        for child in children.values() {
            let (name, version) = (&child.workflow_name, child.version.as_deref());
            if let Some(rule) = self.view.host.refusal(name, version)? {
                return Err(self.child_failure(key, rule, Vec::new()));
            }
            inputs.push(Json::from_value(self.resolve(key, &child.inputs)?));
        }
        self.view.step_mut(key)?.open = u32::try_from(children.len()).unwrap_or(u32::MAX);
        self.set_timeout(key, timeout)?;
        for ((branch, child), inputs) in children.iter().zip(inputs) {
            let start = Command::StartChild {
                step: key,
                branch: branch.clone(),
                workflow: child.workflow_name.clone(),
                version: child.version.clone(),
                inputs,
            };
            self.command_for(key, start);
        }
        Ok(())
    }

    fn child_failure(&self, key: StepKey, rule: String, more: Vec<(&str, Value)>) -> Halt {
        let id = &self.program.node(key.node).id;
        Halt::Failed(of_step(id, &Failure::child_workflow(rule), more))
    }

    /// A child run of the step has ended. Being told twice of one changes nothing.
    pub fn child_finished(&mut self, key: StepKey) -> Result<()> {
        let program = self.program;
        if !self.is_running(key)? {
            return Ok(());
        }
        let Operator::ChildWorkflow { children, .. } = &program.node(key.node).operator else {
            return Ok(());
        };
        let step = self.view.step_mut(key)?;
        step.open = step.open.saturating_sub(1);
        if step.open > 0 {
            return Ok(());
        }
        let runs = self.view.host.children(key)?;
        let unfinished = runs.iter().filter(|run| !run.status.is_final()).count();
        if unfinished > 0 {
            // The end of one child was told twice.
            self.view.step_mut(key)?.open = u32::try_from(unfinished).unwrap_or(u32::MAX);
            return Ok(());
        }
        let outcome = self.children_done(key, children, &runs);
        self.conclude(key, outcome)
    }

    fn children_done(
        &mut self,
        key: StepKey,
        children: &BTreeMap<String, Child>,
        runs: &[ChildRec],
    ) -> Acting<()> {
        let mut failed = Vec::new();
        let mut members = Vec::with_capacity(children.len());
        for branch in children.keys() {
            let run = runs.iter().find(|run| run.branch == *branch);
            let status = run.map_or(RunStatus::Failed, |run| run.status);
            if status != RunStatus::Completed {
                failed.push(branch.as_str());
            }
            let result = run.and_then(|run| run.result.clone()).unwrap_or_else(Json::null);
            let status = Json::from_value(status.as_str().into());
            members.push((branch.as_str(), object([("status", status), ("result", result)])));
        }
        let result = object(members);
        if failed.is_empty() {
            return Ok(self.complete(key, result)?);
        }
        let rule = format!("child workflow {} did not complete", failed.join(", "));
        let more = vec![("children", result.value()?.clone())];
        Err(self.child_failure(key, rule, more))
    }
}
