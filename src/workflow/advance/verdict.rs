//! What a scope instance comes to (HIGHWAY 4.6), and the run with it (10.4, 10.5).

use std::collections::HashSet;

use crate::error::Result;
use crate::workflow::failure::Failure;
use crate::workflow::json::Json;
use crate::workflow::operator::Operator;
use crate::workflow::program::NodeIx;
use crate::workflow::records::{Moment, RunStatus, ScopeId, ScopeRec, StepKey};
use crate::workflow::step_state::StepState;
use crate::workflow::stimulus::{Command, Work};

use super::Transition;
use super::error::{object, of_step};
use super::locate::Place;

impl Transition<'_> {
    /// The only completed sink's result, or an object of them by id; handlers are left out.
    pub fn scope_result(&mut self, scope: &ScopeRec) -> Result<Json> {
        let program = self.program;
        let sinks = program.scope(scope.scope).sinks.iter();
        let counted = sinks.filter(|node| !program.node(**node).is_handler());
        let keys: Vec<_> = counted.map(|node| StepKey { scope: scope.id, node: *node }).collect();
        let steps = self.view.steps(&keys)?;
        let completed = steps.iter().filter(|step| step.state == StepState::Completed);
        let mut results: Vec<(&str, Json)> = completed
            .map(|step| {
                let result = step.result.clone().unwrap_or_else(Json::null);
                (program.node(step.key.node).id.as_str(), result)
            })
            .collect();
        Ok(match results.len() {
            0 => Json::null(),
            1 => results.remove(0).1,
            _ => object(results),
        })
    }

    /// The error of the node that failed first among those that explain the failed sinks.
    pub fn scope_error(&mut self, scope: &ScopeRec) -> Result<Json> {
        let sinks = self.program.scope(scope.scope).sinks.iter();
        let mut level: Vec<_> =
            sinks.map(|node| StepKey { scope: scope.id, node: *node }).collect();
        let mut seen: HashSet<StepKey> = level.iter().copied().collect();
        let mut first: Option<(Moment, Json)> = None;
        while !level.is_empty() {
            self.view.host.breathe()?;
            let mut next = Vec::new();
            for step in self.view.steps(&level)? {
                let key = step.key;
                match self.view.state(key)? {
                    StepState::Failed => {
                        let error = step.error.clone().unwrap_or_else(Json::null);
                        let moment = step.finished.unwrap_or(Moment(i64::MAX));
                        if first.as_ref().is_none_or(|(known, _)| moment < *known) {
                            first = Some((moment, error));
                        }
                    }
                    StepState::UpstreamFailed if step.state == StepState::UpstreamFailed => {
                        self.suspects(key, &mut next)?;
                    }
                    StepState::UpstreamFailed | StepState::Cancelled => {
                        self.suspect_closer(key.scope, &mut next)?;
                    }
                    _ => {}
                }
            }
            next.retain(|key| seen.insert(*key));
            level = next;
        }
        Ok(match first {
            Some((_, error)) => error,
            None => {
                let rule = "a branch that it depends on was cancelled";
                let sinks = &self.program.scope(scope.scope).sinks;
                let id = sinks.first().map_or("", |node| &self.program.node(*node).id);
                of_step(id, &Failure::timeout(rule), Vec::new())
            }
        })
    }

    /// The predecessors of an upstream_failed step.
    fn suspects(&mut self, key: StepKey, found: &mut Vec<StepKey>) -> Result<()> {
        let scope = self.view.scope(key.scope)?;
        let predecessors = &self.program.node(key.node).predecessors;
        let lists = [&predecessors.dependencies, &predecessors.routers, &predecessors.inputs];
        let all: Vec<NodeIx> = lists.into_iter().flatten().copied().collect();
        for node in all {
            match self.locate(&scope, node)? {
                Place::Step(key) | Place::NotStarted(key) => found.push(key),
                Place::Elsewhere => {}
            }
        }
        Ok(())
    }

    /// Whoever closed a scope instance: its container or, when that only forked, a barrier.
    fn suspect_closer(&mut self, scope: ScopeId, found: &mut Vec<StepKey>) -> Result<()> {
        let Some(container) = self.view.scope(scope)?.parent else { return Ok(()) };
        if self.view.state(container)? != StepState::Completed {
            found.push(container);
            return Ok(());
        }
        if let Operator::Parallel(parallel) = &self.program.node(container.node).operator {
            let barriers = parallel.barriers.iter();
            found.extend(barriers.map(|node| StepKey { scope: container.scope, node: *node }));
        }
        Ok(())
    }

    /// Ends the run whose last node has become final.
    pub fn end_run(&mut self, error: Option<Json>) -> Result<()> {
        if error.is_some() {
            return self.finish_run(RunStatus::Failed, None, error);
        }
        let values = self.view.values(ScopeId::ROOT)?;
        let keys: Vec<StepKey> = values.values().copied().collect();
        let steps = self.view.steps(&keys)?;
        let results = steps.iter().map(|step| step.result.clone().unwrap_or_else(Json::null));
        let result = object(values.keys().map(String::as_str).zip(results));
        self.finish_run(RunStatus::Completed, Some(result), None)
    }

    pub fn finish_run(
        &mut self,
        status: RunStatus,
        result: Option<Json>,
        error: Option<Json>,
    ) -> Result<()> {
        let run = self.run_mut();
        run.status = status;
        run.result = result;
        run.error = error;
        self.work.retain(Work::is_closing);
        self.command(Command::FinishRun { status });
        Ok(())
    }
}
