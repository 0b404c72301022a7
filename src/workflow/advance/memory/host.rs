//! What is stored, as the interpreter asks for it; every answer is counted.

use std::collections::BTreeMap;
use std::rc::Rc;

use crate::error::{Error, Result};
use crate::time::Timestamp;
use crate::workflow::json::Json;
use crate::workflow::records::{
    BreakerRec, ChildRec, KeptRec, ScopeId, ScopeRec, StepKey, StepRec,
};
use crate::workflow::retrace::Place;
use crate::workflow::state::Host;
use crate::workflow::step_state::StepState;

use super::Memory;

impl Memory {
    fn note(&self, read: usize) {
        self.asked.set(self.asked.get() + 1);
        self.read.set(self.read.get() + read);
    }
}

impl Host for Memory {
    fn now(&self) -> Timestamp {
        self.now
    }

    fn transition(&self) -> i64 {
        self.transition
    }

    fn inputs(&mut self) -> Result<Json> {
        Ok(self.stored.inputs.clone())
    }

    fn scope(&mut self, id: ScopeId) -> Result<Rc<ScopeRec>> {
        self.note(1);
        let missing = || Error::Corrupt { what: format!("no scope {}", id.0) };
        self.stored.scopes.get(&id).cloned().ok_or_else(missing)
    }

    fn inner(&mut self, container: StepKey, ordinal: u32) -> Result<Option<Rc<ScopeRec>>> {
        self.note(1);
        Ok(self.inner.get(&(container, ordinal)).map(|id| self.stored.scopes[id].clone()))
    }

    fn all_inner(&mut self, container: StepKey) -> Result<Vec<Rc<ScopeRec>>> {
        let all = (0..).map_while(|ordinal| self.inner.get(&(container, ordinal)));
        let all: Vec<_> = all.map(|id| self.stored.scopes[id].clone()).collect();
        self.note(all.len());
        Ok(all)
    }

    fn step(&mut self, key: StepKey) -> Result<Option<Rc<StepRec>>> {
        self.note(1);
        Ok(self.stored.steps.get(&key).cloned())
    }

    fn steps(&mut self, keys: &[StepKey]) -> Result<Vec<Rc<StepRec>>> {
        self.note(keys.len());
        Ok(keys.iter().filter_map(|key| self.stored.steps.get(key).cloned()).collect())
    }

    fn expect(&mut self, keys: &[StepKey]) -> Result<()> {
        assert!(keys.len() > 1);
        self.note(0);
        Ok(())
    }

    fn value(&mut self, contexts: &[ScopeId], key: &str) -> Result<Option<StepKey>> {
        self.note(contexts.len());
        let mut found = contexts
            .iter()
            .filter_map(|context| self.stored.values.get(&(*context, key.to_owned())).copied());
        Ok(found.next())
    }

    fn values(&mut self, context: ScopeId) -> Result<Vec<(String, StepKey)>> {
        let range = self.stored.values.range((context, String::new())..);
        let all = range.take_while(|((of, _), _)| *of == context);
        let all: Vec<_> = all.map(|((_, key), source)| (key.clone(), *source)).collect();
        self.note(all.len());
        Ok(all)
    }

    fn last_values(&mut self, container: StepKey) -> Result<Vec<(String, StepKey)>> {
        let mut last = BTreeMap::new();
        for iteration in self.all_inner(container)? {
            last.extend(self.values(iteration.id)?);
        }
        Ok(last.into_iter().collect())
    }

    fn inner_from(
        &mut self,
        container: StepKey,
        from: u32,
        limit: usize,
    ) -> Result<Vec<Rc<ScopeRec>>> {
        let all = (from..).map_while(|ordinal| self.inner.get(&(container, ordinal)));
        let all: Vec<_> = all.take(limit).map(|id| self.stored.scopes[id].clone()).collect();
        self.note(all.len());
        Ok(all)
    }

    fn items(&mut self, container: StepKey, first: u32) -> Result<Option<Json>> {
        self.note(1);
        Ok(self.stored.items.get(&(container, first)).map(|(_, items)| items.clone()))
    }

    fn items_end(&mut self, container: StepKey) -> Result<Option<u32>> {
        self.note(1);
        let mut of = self.stored.items.range((container, 0)..=(container, u32::MAX));
        Ok(of.next_back().map(|((_, first), (count, _))| first + count))
    }

    fn busy_steps(&mut self, scopes: &[ScopeId], limit: usize) -> Result<Vec<Rc<StepRec>>> {
        let busy = |step: &&Rc<StepRec>| {
            let forked = step.state == StepState::Completed && step.open > 0;
            scopes.contains(&step.key.scope) && (step.state == StepState::Running || forked)
        };
        let found: Vec<_> = self.stored.steps.values().filter(busy).take(limit).cloned().collect();
        self.note(found.len());
        Ok(found)
    }

    fn children(&mut self, step: StepKey) -> Result<Vec<ChildRec>> {
        let of = self.stored.children.iter().filter(|((of, _), _)| *of == step);
        Ok(of.map(|(_, child)| child.clone()).collect())
    }

    fn kept(&mut self, place: Place) -> Result<Option<KeptRec>> {
        Ok(self.stored.kept.get(&place).cloned())
    }

    fn emitted(&mut self, event: &str) -> Result<Option<Json>> {
        self.note(1);
        Ok(self.events.get(event).cloned())
    }

    fn breaker(&mut self, node: &str) -> Result<BreakerRec> {
        self.note(1);
        Ok(self.breakers.get(node).copied().unwrap_or_default())
    }

    fn refusal(&mut self, workflow: &str, version: Option<&str>) -> Result<Option<String>> {
        let name = version.map_or(workflow.to_owned(), |version| format!("{workflow} {version}"));
        let is_known = self.registered.contains(&name);
        Ok((!is_known).then(|| format!("workflow '{workflow}' is not registered")))
    }

    fn breathe(&mut self) -> Result<()> {
        Ok(())
    }
}
