//! foreach and while (HIGHWAY 6.6, 6.7).

use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::workflow::expression::truthy;
use crate::workflow::failure::Failure;
use crate::workflow::json::Json;
use crate::workflow::operator::{Foreach, Formula, Operator};
use crate::workflow::program::{Program, ScopeIx};
use crate::workflow::records::{ItemsRec, ScopePhase, ScopeRec, StepKey, StepRec, limits};
use crate::workflow::step_state::StepState;
use crate::workflow::stimulus::Work;

use super::Transition;
use super::error::{Acting, Halt, array, message, of_step};
use super::names::Inside;

/// Whether items may be added to a step now: it is a dynamic foreach that runs.
pub fn takes_items(program: &Program, step: &StepRec) -> bool {
    let dynamic = match &program.node(step.key.node).operator {
        Operator::Foreach(foreach) => foreach.dynamic,
        _ => false,
    };
    dynamic && step.state == StepState::Running
}

impl Transition<'_> {
    pub fn start_foreach(&mut self, key: StepKey, foreach: &Foreach) -> Acting<()> {
        let items = match self.kept_items(key)? {
            Some(items) => items.value()?.as_array().cloned().unwrap_or_default(),
            None => self.eval(key, Inside::Step, |names| foreach.items.evaluate(names))?,
        };
        if items.is_empty() || self.program.scope(foreach.body).is_empty() {
            return Ok(self.complete(key, Json::from_value(json!([])))?);
        }
        self.set_timeout(key, None)?;
        Ok(self.add_items(key, foreach, items)?)
    }

    /// Takes items into a loop: a few get their instances at once, of many the first do, and the
    /// others are kept for later.
    fn add_items(&mut self, key: StepKey, foreach: &Foreach, mut items: Vec<Value>) -> Result<()> {
        let step = self.view.step(key)?;
        let kept = self.items_end(&step)?;
        let known = kept.unwrap_or(step.iterations);
        if known as usize + items.len() > limits::ITEMS {
            let rule = format!("has more than {} items", limits::ITEMS);
            return Err(Error::invalid(self.path(key)?, rule));
        }
        let at_once = match kept {
            Some(_) => 0,
            None if items.len() <= self.bounds.works => items.len(),
            None => self.bounds.piece,
        };
        let rest = items.split_off(at_once);
        let mut first = known + u32::try_from(at_once).unwrap_or(u32::MAX);
        let mut rest = rest.into_iter();
        loop {
            let items: Vec<Value> = rest.by_ref().take(self.bounds.piece).collect();
            if items.is_empty() {
                break;
            }
            let count = u32::try_from(items.len()).unwrap_or(u32::MAX);
            let items = Json::from_value(Value::Array(items));
            self.items.push(ItemsRec { container: key, first, count, items });
            first += count;
        }
        if at_once == 0 {
            return Ok(());
        }
        self.begin_items(key, foreach, items)?;
        if foreach.parallel && first > known + u32::try_from(at_once).unwrap_or(u32::MAX) {
            self.later.push(Work::Grow(key));
        }
        Ok(())
    }

    /// Makes an instance for each item; those of a sequential loop wait for one another.
    fn begin_items(&mut self, key: StepKey, foreach: &Foreach, items: Vec<Value>) -> Result<()> {
        let step = self.view.step_mut(key)?;
        let known = step.iterations;
        let count = u32::try_from(items.len()).unwrap_or(u32::MAX);
        let idle = step.open == 0;
        step.iterations += count;
        step.open += count;
        for (ordinal, item) in (known..).zip(items) {
            let begins = foreach.parallel || (idle && ordinal == known);
            let phase = if begins { ScopePhase::Open } else { ScopePhase::Waiting };
            let item = Some(Json::from_value(item));
            self.new_scope(foreach.body, Some(key), ordinal, phase, item)?;
        }
        Ok(())
    }

    /// Gives the next items of a loop that runs side by side their instances.
    pub fn grow(&mut self, key: StepKey) -> Result<()> {
        if !self.is_running(key)? {
            return Ok(());
        }
        let Operator::Foreach(foreach) = &self.program.node(key.node).operator else {
            return Ok(());
        };
        if self.begin_next(key, foreach)? {
            self.later.push(Work::Grow(key));
        } else {
            // The last of those before may have ended meanwhile.
            self.work.push_back(Work::Inside(key));
        }
        Ok(())
    }

    /// Begins the items that come next; false when there are none.
    fn begin_next(&mut self, key: StepKey, foreach: &Foreach) -> Result<bool> {
        let first = self.view.step(key)?.iterations;
        let of = |items: &ItemsRec| items.container == key && items.first == first;
        let items = match self.items.iter().position(of) {
            Some(place) => Some(self.items.remove(place).items),
            None => {
                let items = self.view.host.items(key, first)?;
                if items.is_some() {
                    self.items_taken.push((key, first));
                }
                items
            }
        };
        match items {
            Some(items) => {
                let items = items.value()?.as_array().cloned().unwrap_or_default();
                self.begin_items(key, foreach, items).map(|()| true)
            }
            None => Ok(false),
        }
    }

    /// The ordinal after the last of the items that have no instances yet; none without such.
    pub fn items_end(&mut self, step: &StepRec) -> Result<Option<u32>> {
        let own = self.items.iter().rev().find(|items| items.container == step.key);
        if let Some(items) = own {
            return Ok(Some(items.first + items.count));
        }
        // The first piece is begun at once.
        if (step.iterations as usize) < self.bounds.piece {
            return Ok(None);
        }
        let end = match self.items_ends.get(&step.key) {
            Some(end) => *end,
            None => {
                let end = self.view.host.items_end(step.key)?;
                self.items_ends.insert(step.key, end);
                end
            }
        };
        // What this transition has taken is still stored.
        Ok(end.filter(|end| *end > step.iterations))
    }

    /// Forgets the items of a loop that has ended before all had instances.
    pub fn drop_items(&mut self, key: StepKey) -> Result<()> {
        if let Operator::Foreach(_) = &self.program.node(key.node).operator {
            self.items.retain(|items| items.container != key);
            if self.view.step(key)?.iterations as usize >= self.bounds.piece {
                self.items_dropped.push(key);
            }
        }
        Ok(())
    }

    /// Adds items to a foreach that still takes some (HIGHWAY 6.6); any other step ignores them.
    pub fn items_added(&mut self, key: StepKey, items: Vec<Value>) -> Result<()> {
        if !self.program.has(key.node) {
            return Ok(());
        }
        let step = self.view.step(key)?;
        match &self.program.node(key.node).operator {
            Operator::Foreach(foreach)
                if takes_items(self.program, &step) && self.is_alive(key.scope)? =>
            {
                self.add_items(key, foreach, items)
            }
            _ => Ok(()),
        }
    }

    /// An iteration has ended: its result keys go outwards, unless the loop's iterations run side
    /// by side.
    pub fn leave_iteration(&mut self, container: StepKey, iteration: &ScopeRec) -> Result<()> {
        if let Operator::Foreach(Foreach { parallel: true, .. }) =
            &self.program.node(container.node).operator
        {
            return Ok(());
        }
        let around = self.view.scope(container.scope)?;
        for (name, source) in self.view.values(iteration.id)? {
            self.put(&around, &name, source);
        }
        Ok(())
    }

    /// Goes on with a foreach one of whose iterations has ended.
    pub fn continue_foreach(&mut self, key: StepKey, foreach: &Foreach) -> Acting<()> {
        let step = self.view.step(key)?;
        let failed = step.first_failed.is_some();
        if step.open > 0 && (foreach.parallel || !failed) {
            if !foreach.parallel {
                self.next_item(key, step.iterations.saturating_sub(step.open))?;
            }
            return Ok(());
        }
        if !failed || foreach.parallel {
            if foreach.parallel && self.items_end(&step)?.is_some() {
                // The next piece is under way.
                return Ok(());
            }
            if !foreach.parallel && self.begin_next(key, foreach)? {
                return Ok(());
            }
        }
        if foreach.parallel {
            let around = self.view.scope(key.scope)?;
            for (name, source) in self.view.last_values(key)? {
                self.put(&around, &name, source);
            }
        }
        let iterations = self.view.all_inner(key)?;
        let results = iterations.iter().map(|scope| scope.result.clone());
        let results = array(results.map(|result| result.unwrap_or_else(Json::null)));
        if failed {
            self.keep_partial(key, results.clone())?;
        }
        self.check_iterations(&step)?;
        Ok(self.complete(key, results)?)
    }

    fn next_item(&mut self, key: StepKey, ordinal: u32) -> Result<()> {
        let Some(next) = self.view.inner(key, ordinal)? else { return Ok(()) };
        if next.phase == ScopePhase::Waiting {
            self.view.scope_mut(next.id)?.phase = ScopePhase::Open;
            self.work.push_back(Work::Begin(next.id, 0));
        }
        Ok(())
    }

    /// Fails a loop one of whose iterations failed.
    fn check_iterations(&mut self, step: &StepRec) -> Acting<()> {
        let Some(index) = step.first_failed else { return Ok(()) };
        let inner = self.view.inner(step.key, index)?;
        let cause = inner.and_then(|scope| scope.error.clone()).unwrap_or_else(Json::null);
        let cause = cause.value()?;
        let id = &self.program.node(step.key.node).id;
        let text = format!("iteration {index} of '{id}' failed: {}", message(cause));
        let more: Vec<(&str, Value)> = vec![("index", index.into()), ("cause", cause.clone())];
        Err(Halt::Failed(of_step(id, &Failure::iteration(text), more)))
    }

    /// Starts the first iteration if the condition holds, else completes.
    pub fn start_while(&mut self, key: StepKey, condition: &Formula, body: ScopeIx) -> Acting<()> {
        self.set_timeout(key, None)?;
        self.next_iteration(key, condition, body)
    }

    /// Goes on with a while whose iteration has ended.
    pub fn continue_while(
        &mut self,
        key: StepKey,
        condition: &Formula,
        body: ScopeIx,
    ) -> Acting<()> {
        let step = self.view.step(key)?;
        if step.open > 0 {
            return Ok(());
        }
        if let Some(index) = step.first_failed {
            self.keep_partial(key, Json::from_value(json!({"iterations": index})))?;
        }
        self.check_iterations(&step)?;
        self.next_iteration(key, condition, body)
    }

    fn next_iteration(&mut self, key: StepKey, condition: &Formula, body: ScopeIx) -> Acting<()> {
        let begun = self.view.step(key)?.iterations;
        let value = self.eval(key, Inside::Condition(begun), |names| condition.eval(names))?;
        if !truthy(&value) {
            return Ok(self.complete(key, Json::from_value(json!({"iterations": begun})))?);
        }
        if begun >= limits::ITERATIONS || self.program.scope(body).is_empty() {
            let id = &self.program.node(key.node).id;
            let rule = match begun {
                0 => "has no body and its condition holds".to_owned(),
                _ => format!("has not ended after {begun} iterations"),
            };
            let failure = Failure::loop_limit(format!("loop '{id}' {rule}"));
            return Err(Halt::Failed(of_step(id, &failure, Vec::new())));
        }
        let step = self.view.step_mut(key)?;
        step.iterations += 1;
        step.open = 1;
        Ok(self.new_scope(body, Some(key), begun, ScopePhase::Open, None)?)
    }
}
