//! The records of a run as a transition sees them: what the host has stored, under what the
//! transition has changed.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::rc::Rc;

use crate::error::Result;
use crate::workflow::json::Json;
use crate::workflow::records::{ScopeId, ScopeRec, StepKey, StepRec, ValueRec};
use crate::workflow::state::Host;
use crate::workflow::step_state::StepState;

/// A record that was read, or made, by the transition.
struct Held<T> {
    record: Rc<T>,
    dirty: bool,
}

pub struct View<'h> {
    pub host: &'h mut dyn Host,
    scopes: HashMap<ScopeId, Held<ScopeRec>>,
    steps: HashMap<StepKey, Held<StepRec>>,
    /// Inner instances that the transition made or read, by container and ordinal.
    inner: HashMap<StepKey, BTreeMap<u32, ScopeId>>,
    /// Instances from this one on were made by the transition.
    new_from: u32,
    values: HashMap<ScopeId, BTreeMap<String, StepKey>>,
    puts: Vec<ValueRec>,
    /// Events that the transition emits, each with its first payload.
    pub emitted: HashMap<String, Json>,
}

/// What the transition has changed, in order.
pub struct Dirty {
    pub scopes: Vec<ScopeRec>,
    pub steps: Vec<StepRec>,
    pub values: Vec<ValueRec>,
}

impl<'h> View<'h> {
    /// `next_scope`: the number that the run's next instance gets.
    pub fn new(host: &'h mut dyn Host, next_scope: u32) -> Self {
        Self {
            host,
            scopes: HashMap::new(),
            steps: HashMap::new(),
            inner: HashMap::new(),
            new_from: next_scope,
            values: HashMap::new(),
            puts: Vec::new(),
            emitted: HashMap::new(),
        }
    }

    pub fn into_dirty(self) -> Dirty {
        let mut scopes: Vec<ScopeRec> = self.scopes.into_values().filter_map(taken).collect();
        scopes.sort_by_key(|scope| scope.id);
        let mut steps: Vec<StepRec> = self.steps.into_values().filter_map(taken).collect();
        steps.sort_by_key(|step| step.key);
        Dirty { scopes, steps, values: self.puts }
    }

    pub fn scope(&mut self, id: ScopeId) -> Result<Rc<ScopeRec>> {
        if let Some(held) = self.scopes.get(&id) {
            return Ok(held.record.clone());
        }
        let record = self.host.scope(id)?;
        Ok(self.keep_scope(record))
    }

    /// A scope instance, to be changed.
    pub fn scope_mut(&mut self, id: ScopeId) -> Result<&mut ScopeRec> {
        let record = self.scope(id)?;
        let held = self.scopes.entry(id).or_insert(Held { record, dirty: true });
        held.dirty = true;
        Ok(Rc::make_mut(&mut held.record))
    }

    pub fn add_scope(&mut self, scope: ScopeRec) {
        self.index(&scope);
        self.scopes.insert(scope.id, Held { record: Rc::new(scope), dirty: true });
    }

    /// Keeps what the host answered, unless the transition knows the record better.
    fn keep_scope(&mut self, record: Rc<ScopeRec>) -> Rc<ScopeRec> {
        if let Some(held) = self.scopes.get(&record.id) {
            return held.record.clone();
        }
        self.index(&record);
        self.scopes.insert(record.id, Held { record: record.clone(), dirty: false });
        record
    }

    fn index(&mut self, scope: &ScopeRec) {
        if let Some(container) = scope.parent {
            self.inner.entry(container).or_default().insert(scope.ordinal, scope.id);
        }
    }

    pub fn inner(&mut self, container: StepKey, ordinal: u32) -> Result<Option<Rc<ScopeRec>>> {
        if let Some(id) = self.inner.get(&container).and_then(|inner| inner.get(&ordinal)) {
            return self.scope(*id).map(Some);
        }
        if self.is_new(container.scope) {
            return Ok(None);
        }
        let found = self.host.inner(container, ordinal)?;
        Ok(found.map(|record| self.keep_scope(record)))
    }

    /// All inner instances of a container, by ordinal.
    pub fn all_inner(&mut self, container: StepKey) -> Result<Vec<Rc<ScopeRec>>> {
        let stored = match self.is_new(container.scope) {
            true => Vec::new(),
            false => self.host.all_inner(container)?,
        };
        for record in stored {
            self.keep_scope(record);
        }
        let known = self.inner.get(&container).into_iter().flat_map(BTreeMap::values);
        let known: Vec<ScopeId> = known.copied().collect();
        known.into_iter().map(|id| self.scope(id)).collect()
    }

    /// Whether the transition itself made the instance, so that the host knows nothing in it.
    fn is_new(&self, scope: ScopeId) -> bool {
        scope.0 >= self.new_from
    }

    /// A step, which may be untouched.
    pub fn step(&mut self, key: StepKey) -> Result<Rc<StepRec>> {
        if let Some(held) = self.steps.get(&key) {
            return Ok(held.record.clone());
        }
        let stored = match self.is_new(key.scope) {
            true => None,
            false => self.host.step(key)?,
        };
        let record = stored.unwrap_or_else(|| Rc::new(StepRec::untouched(key)));
        self.steps.insert(key, Held { record: record.clone(), dirty: false });
        Ok(record)
    }

    /// A step, to be changed.
    pub fn step_mut(&mut self, key: StepKey) -> Result<&mut StepRec> {
        let record = self.step(key)?;
        let held = self.steps.entry(key).or_insert(Held { record, dirty: true });
        held.dirty = true;
        Ok(Rc::make_mut(&mut held.record))
    }

    /// The steps of these keys, in their order, untouched ones included.
    pub fn steps(&mut self, keys: &[StepKey]) -> Result<Vec<Rc<StepRec>>> {
        let unread: Vec<StepKey> = self.unread(keys);
        if !unread.is_empty() {
            for record in self.host.steps(&unread)? {
                self.steps.insert(record.key, Held { record, dirty: false });
            }
            for key in unread {
                let untouched = || Held { record: Rc::new(StepRec::untouched(key)), dirty: false };
                self.steps.entry(key).or_insert_with(untouched);
            }
        }
        keys.iter().map(|key| self.step(*key)).collect()
    }

    /// Tells the host that these steps are going to be read.
    pub fn expect(&mut self, keys: &[StepKey]) -> Result<()> {
        let unread = self.unread(keys);
        if unread.len() > 1 { self.host.expect(&unread) } else { Ok(()) }
    }

    fn unread(&self, keys: &[StepKey]) -> Vec<StepKey> {
        let unread = |key: &&StepKey| !self.is_new(key.scope) && !self.steps.contains_key(key);
        keys.iter().filter(unread).copied().collect()
    }

    /// The state of a step as readers see it.
    pub fn state(&mut self, key: StepKey) -> Result<StepState> {
        let phase = self.scope(key.scope)?.phase;
        Ok(self.step(key)?.state_in(phase))
    }

    /// Puts a result key into a context, in place of what it had.
    pub fn put(&mut self, context: ScopeId, key: &str, source: StepKey) {
        self.values.entry(context).or_default().insert(key.to_owned(), source);
        self.puts.push(ValueRec { context, key: key.to_owned(), source });
    }

    /// The step behind a result key, in the first of the contexts that has it.
    pub fn value(&mut self, contexts: &[ScopeId], key: &str) -> Result<Option<StepKey>> {
        let own = contexts.iter().enumerate().find_map(|(at, context)| {
            let source = self.values.get(context)?.get(key)?;
            Some((at, *source))
        });
        let before = own.map_or(contexts.len(), |(at, _)| at);
        let stored = contexts[..before].iter().filter(|context| !self.is_new(**context));
        let stored: Vec<ScopeId> = stored.copied().collect();
        let found = match stored.is_empty() {
            true => None,
            false => self.host.value(&stored, key)?,
        };
        Ok(found.or(own.map(|(_, source)| source)))
    }

    /// All result keys of a context with their steps.
    pub fn values(&mut self, context: ScopeId) -> Result<BTreeMap<String, StepKey>> {
        let mut all: BTreeMap<String, StepKey> = match self.is_new(context) {
            true => BTreeMap::new(),
            false => self.host.values(context)?.into_iter().collect(),
        };
        if let Some(own) = self.values.get(&context) {
            all.extend(own.iter().map(|(key, source)| (key.clone(), *source)));
        }
        Ok(all)
    }

    /// The result keys of a loop's iterations, of each key that of the last iteration which has it.
    pub fn last_values(&mut self, container: StepKey) -> Result<BTreeMap<String, StepKey>> {
        let mut last: BTreeMap<String, (u32, StepKey)> = BTreeMap::new();
        for (ordinal, context) in self.inner.get(&container).into_iter().flatten() {
            for (key, source) in self.values.get(context).into_iter().flatten() {
                last.insert(key.clone(), (*ordinal, *source));
            }
        }
        let stored = match self.is_new(container.scope) {
            true => Vec::new(),
            false => self.host.last_values(container)?,
        };
        for (key, source) in stored {
            let later = match last.get(&key) {
                None => true,
                Some((ordinal, _)) => self.iteration_of(container, source)? > Some(*ordinal),
            };
            if later {
                last.insert(key, (0, source));
            }
        }
        Ok(last.into_iter().map(|(key, (_, source))| (key, source)).collect())
    }

    /// In which iteration of the container a step lies.
    fn iteration_of(&mut self, container: StepKey, step: StepKey) -> Result<Option<u32>> {
        let scope = self.scope(step.scope)?;
        let depth = self.scope(container.scope)?.chain.len() + 1;
        let iteration = match scope.chain.get(depth) {
            Some(id) => self.scope(*id)?,
            None => scope,
        };
        Ok((iteration.parent == Some(container)).then_some(iteration.ordinal))
    }

    /// Inner instances of a container from an ordinal on, by ordinal, at most so many.
    pub fn inner_from(
        &mut self,
        container: StepKey,
        from: u32,
        limit: usize,
    ) -> Result<Vec<Rc<ScopeRec>>> {
        let stored = match self.is_new(container.scope) {
            true => Vec::new(),
            false => self.host.inner_from(container, from, limit)?,
        };
        // Beyond these the host knows more than it has told.
        let upto = match stored.last() {
            Some(last) if stored.len() >= limit => last.ordinal,
            _ => u32::MAX,
        };
        for record in stored {
            self.keep_scope(record);
        }
        let known = self.inner.get(&container).into_iter().flat_map(|all| all.range(from..=upto));
        let known: Vec<ScopeId> = known.map(|(_, id)| *id).take(limit).collect();
        known.into_iter().map(|id| self.scope(id)).collect()
    }

    /// Steps directly in some instances that are running, or have forked into branches that have
    /// not ended; and the instance from which on there may be more than so many.
    pub fn busy_steps(
        &mut self,
        scopes: &[ScopeId],
        limit: usize,
    ) -> Result<(Vec<Rc<StepRec>>, Option<ScopeId>)> {
        let stored: Vec<ScopeId> =
            scopes.iter().copied().filter(|scope| !self.is_new(*scope)).collect();
        let found = match stored.is_empty() {
            true => Vec::new(),
            false => self.host.busy_steps(&stored, limit)?,
        };
        // What the transition itself knows does not say how far the host has come.
        let more = found.last().filter(|_| found.len() >= limit).map(|step| step.key.scope);
        for record in found {
            self.steps.entry(record.key).or_insert(Held { record, dirty: false });
        }
        let of: HashSet<ScopeId> = scopes.iter().copied().collect();
        let busy = |step: &StepRec| {
            step.state == StepState::Running
                || (step.state == StepState::Completed && step.open > 0)
        };
        let records = self.steps.values().map(|held| &held.record);
        let of_these = records.filter(|step| of.contains(&step.key.scope) && busy(step));
        let mut found: Vec<Rc<StepRec>> = of_these.cloned().collect();
        found.sort_by_key(|step| step.key);
        Ok((found, more))
    }
}

fn taken<T: Clone>(held: Held<T>) -> Option<T> {
    held.dirty.then(|| Rc::unwrap_or_clone(held.record))
}
