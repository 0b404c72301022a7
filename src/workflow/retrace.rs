//! What of a run that has ended is kept when it is retried, and what is executed again.
//!
//! Executed again is what the run ended for: the steps that failed or were cancelled and on which a
//! failed end of the root scope hangs, those that had not ended, and all that comes after any of
//! these. Everything else ends again as it ended, in the order in which it did, failures among it
//! that the workflow went on from; containers and what they decide follow from that by themselves.

use std::collections::{HashMap, HashSet};

use uuid::Uuid;

use super::operator::{Foreach, Operator};
use super::program::{NodeIx, Program, Role, ScopeIx, ScopeKind};
use super::records::{Moment, ScopeId, ScopePhase, ScopeRec, StepKey};
use super::step_state::StepState;

/// Where a step stands in its run, whatever the numbers of its instances: of each container around
/// it, from the outermost in, node and ordinal, then its own node.
pub type Place = Vec<i32>;

/// The place of a node in an instance, which is the last of these from the root in.
pub fn place<'s>(scopes: impl Iterator<Item = &'s ScopeRec>, node: NodeIx) -> Place {
    let pairs = scopes.filter_map(|scope| Some((scope.parent?.node, scope.ordinal)));
    let steps = pairs.flat_map(|(container, ordinal)| [container.0, ordinal]);
    steps.chain([node.0]).map(|number| number as i32).collect()
}

/// A scope instance, as far as it is looked at here.
pub struct Instance {
    pub definition: ScopeIx,
    pub parent: Option<StepKey>,
    pub ordinal: u32,
    /// Enclosing instances, the root first.
    pub chain: Vec<ScopeId>,
    pub phase: ScopePhase,
}

/// A step that has a record.
#[derive(Clone, Copy)]
pub struct Step {
    pub state: StepState,
    pub task: Option<Uuid>,
    pub started: Option<Moment>,
    pub finished: Option<Moment>,
    /// Whether it was waiting to end as it had before an earlier retry, in this state.
    pub was_waiting: bool,
    /// Whether an earlier retry has kept it.
    pub was_kept: bool,
}

/// The records of a run that has ended.
pub struct Ended<'p> {
    pub program: &'p Program,
    pub scopes: HashMap<ScopeId, Instance>,
    pub steps: HashMap<StepKey, Step>,
}

/// What a retry does with the steps.
#[derive(Debug, Default)]
pub struct Retrace {
    /// End as they ended, without being executed.
    pub kept: Vec<StepKey>,
    /// Those among them inside which steps were, which are entered nevertheless.
    pub entered: HashSet<StepKey>,
    /// Loops that have the items again which they had.
    pub loops: Vec<StepKey>,
    /// Come after something that is executed again.
    pub after: Vec<StepKey>,
    /// Of which nothing is kept, also from an earlier retry.
    pub forgotten: Vec<Place>,
    /// Likewise, with all that is inside.
    pub forgotten_inside: Vec<Place>,
}

struct Search<'e> {
    ended: &'e Ended<'e>,
    inner: HashMap<StepKey, Vec<ScopeId>>,
    blamed: HashSet<StepKey>,
    /// Executed again for their own sake.
    origins: HashSet<StepKey>,
    after: HashSet<StepKey>,
    /// Containers something inside which is executed again.
    touched: HashSet<StepKey>,
    /// Iterations that come after one of which something is executed again.
    iterations: HashSet<ScopeId>,
}

impl Ended<'_> {
    /// Divides the steps; `from` is executed again in any case.
    pub fn retrace(&self, from: Option<StepKey>) -> Retrace {
        let mut inner: HashMap<StepKey, Vec<ScopeId>> = HashMap::new();
        for (id, scope) in &self.scopes {
            if let Some(container) = scope.parent {
                inner.entry(container).or_default().push(*id);
            }
        }
        let mut search = Search {
            ended: self,
            inner,
            blamed: HashSet::new(),
            origins: HashSet::new(),
            after: HashSet::new(),
            touched: HashSet::new(),
            iterations: HashSet::new(),
        };
        search.blame();
        let mut origins: Vec<StepKey> = search.origins.iter().copied().collect();
        if let Some(from) = from {
            search.after.insert(from);
            origins.push(from);
        }
        for origin in origins {
            search.follow(origin);
        }
        search.divide()
    }

    fn state(&self, key: StepKey) -> StepState {
        self.steps.get(&key).map_or(StepState::Pending, |step| step.state)
    }

    /// The instance of a definition that an instance is, or is in.
    fn around(&self, scope: ScopeId, definition: ScopeIx) -> Option<ScopeId> {
        let record = self.scopes.get(&scope)?;
        let is_it = |id: &ScopeId| self.scopes.get(id).is_some_and(|s| s.definition == definition);
        std::iter::once(&scope).chain(record.chain.iter().rev()).copied().find(|id| is_it(id))
    }

    fn place_of_scope(&self, scope: ScopeId) -> Place {
        let Some(record) = self.scopes.get(&scope) else { return Place::new() };
        let around = record.chain.iter().filter_map(|id| self.scopes.get(id));
        let pairs = around.chain([record]).filter_map(|scope| Some((scope.parent?, scope.ordinal)));
        pairs.flat_map(|(container, ordinal)| [container.node.0 as i32, ordinal as i32]).collect()
    }

    pub fn place(&self, key: StepKey) -> Place {
        let mut place = self.place_of_scope(key.scope);
        place.push(key.node.0 as i32);
        place
    }
}

impl Search<'_> {
    /// Finds why the root scope did not complete.
    fn blame(&mut self) {
        let (mut open, mut steps) = (vec![ScopeId::ROOT], Vec::new());
        while let Some(scope) = open.pop() {
            let Some(instance) = self.ended.scopes.get(&scope) else { continue };
            let sinks = &self.ended.program.scope(instance.definition).sinks;
            steps.extend(sinks.iter().map(|node| StepKey { scope, node: *node }));
            while let Some(step) = steps.pop() {
                self.blame_step(step, &mut steps, &mut open);
            }
        }
    }

    fn blame_step(&mut self, key: StepKey, steps: &mut Vec<StepKey>, open: &mut Vec<ScopeId>) {
        if !self.blamed.insert(key) {
            return;
        }
        let state = self.ended.state(key);
        let node = self.ended.program.node(key.node);
        let has_started = self.ended.steps.get(&key).is_some_and(|step| step.started.is_some());
        match state {
            StepState::Completed | StepState::Skipped => return,
            StepState::Pending | StepState::UpstreamFailed => {}
            StepState::Failed | StepState::Cancelled | StepState::Running => {
                self.origins.insert(key);
                open.extend(self.inner.get(&key).into_iter().flatten());
                if let Operator::Barrier(barrier) = &node.operator {
                    let fork = StepKey { node: barrier.fork, ..key };
                    open.extend(self.inner.get(&fork).into_iter().flatten());
                }
            }
        }
        // What has not started was kept from it by what is before it; a join fails by its inputs.
        let before = &node.predecessors;
        let others = [&before.dependencies, &before.routers, &before.referrers];
        let others = others.into_iter().flatten().filter(|_| !has_started);
        for node in before.inputs.iter().chain(others) {
            steps.extend(self.nearest(key.scope, *node));
            steps.extend(self.inside(key.scope, *node));
        }
    }

    /// The step of a node inside branches below an instance, or around it.
    fn inside(&self, scope: ScopeId, node: NodeIx) -> Option<StepKey> {
        let mut way = Vec::new();
        let mut definition = self.ended.program.node(node).scope;
        let mut at = loop {
            if let Some(scope) = self.ended.around(scope, definition) {
                break scope;
            }
            let inner = self.ended.program.scope(definition);
            let ScopeKind::Branch { container, .. } = &inner.kind else { return None };
            way.push((*container, definition));
            definition = inner.parent?;
        };
        while let Some((node, definition)) = way.pop() {
            let container = StepKey { scope: at, node };
            let is_it = |id: &&ScopeId| {
                self.ended.scopes.get(id).is_some_and(|scope| scope.definition == definition)
            };
            at = *self.inner.get(&container)?.iter().find(is_it)?;
        }
        Some(StepKey { scope: at, node })
    }

    /// The step of a node as seen from an instance, or that of the container around both in which
    /// it is.
    fn nearest(&self, scope: ScopeId, mut node: NodeIx) -> Option<StepKey> {
        loop {
            let definition = self.ended.program.node(node).scope;
            if let Some(scope) = self.ended.around(scope, definition) {
                return Some(StepKey { scope, node });
            }
            match &self.ended.program.scope(definition).kind {
                ScopeKind::Branch { container, .. } | ScopeKind::Body { container } => {
                    node = *container;
                }
                ScopeKind::Root => return None,
            }
        }
    }

    /// Notes all that comes after a step.
    fn follow(&mut self, origin: StepKey) {
        let (ended, mut left) = (self.ended, vec![origin]);
        while let Some(key) = left.pop() {
            for edge in &ended.program.node(key.node).successors {
                let definition = ended.program.node(edge.to).scope;
                let Some(scope) = ended.around(key.scope, definition) else { continue };
                let next = StepKey { scope, node: edge.to };
                if self.after.insert(next) {
                    left.push(next);
                }
            }
            let Some(scope) = ended.scopes.get(&key.scope) else { continue };
            let Some(container) = scope.parent else { continue };
            let operator = &ended.program.node(container.node).operator;
            if matches!(
                operator,
                Operator::While { .. } | Operator::Foreach(Foreach { parallel: false, .. })
            ) {
                let later = self.inner.get(&container).into_iter().flatten().filter(|other| {
                    ended.scopes.get(other).is_some_and(|other| other.ordinal > scope.ordinal)
                });
                self.iterations.extend(later);
            }
            if !self.touched.insert(container) {
                continue;
            }
            match operator {
                // After a fork comes its beginning, after its branches the barriers.
                Operator::Parallel(fork) if !fork.barriers.is_empty() => {
                    let barriers = fork.barriers.iter();
                    let barriers = barriers.map(|node| StepKey { node: *node, ..container });
                    left.extend(barriers.filter(|barrier| self.after.insert(*barrier)));
                }
                _ => left.push(container),
            }
        }
    }

    /// Whether something around an instance is executed again as a whole.
    fn is_inside(&self, scope: ScopeId) -> bool {
        let Some(record) = self.ended.scopes.get(&scope) else { return true };
        record.chain.iter().chain([&scope]).any(|id| {
            let container = self.ended.scopes.get(id).and_then(|scope| scope.parent);
            self.iterations.contains(id) || container.is_some_and(|key| self.after.contains(&key))
        })
    }

    fn divide(self) -> Retrace {
        let mut retrace = Retrace::default();
        // What a run's end cancels ends after what has ended the run.
        let ended_by_itself = |step: &&Step| step.state != StepState::Cancelled;
        let ends = self.ended.steps.values().filter(ended_by_itself);
        let last = ends.filter_map(|step| step.started.max(step.finished)).max();
        for (key, step) in &self.ended.steps {
            if self.after.contains(key) || self.is_inside(key.scope) {
                retrace.after.push(*key);
            } else if step.was_waiting && !self.origins.contains(key) {
                // What was kept stays.
                continue;
            } else if self.keeps(*key, step, last) {
                retrace.kept.push(*key);
                if self.inner.contains_key(key) {
                    retrace.entered.insert(*key);
                }
                continue;
            } else if let Operator::Foreach(_) = self.ended.program.node(key.node).operator {
                retrace.loops.push(*key);
                continue;
            }
            retrace.forgotten.push(self.ended.place(*key));
        }
        for key in &self.after {
            let has_inner = !self.ended.program.node(key.node).inner.is_empty();
            let places =
                if has_inner { &mut retrace.forgotten_inside } else { &mut retrace.forgotten };
            places.push(self.ended.place(*key));
        }
        let iterations = self.iterations.iter().map(|scope| self.ended.place_of_scope(*scope));
        retrace.forgotten_inside.extend(iterations);
        retrace
    }

    /// Whether a step ends as it ended, without being executed. A container does not whose members
    /// say how it ends.
    fn keeps(&self, key: StepKey, step: &Step, last: Option<Moment>) -> bool {
        if self.origins.contains(&key) || self.touched.contains(&key) {
            return false;
        }
        let node = self.ended.program.node(key.node);
        match (step.state, &node.operator) {
            // One that has ended the run does so again; one that was skipped does not.
            (StepState::Completed, Operator::Terminate(_)) => step.finished < last,
            (StepState::Completed | StepState::Failed, _) => !self.follows_from_members(key),
            // A join that was decided without it has ended it, now or before an earlier retry.
            (StepState::Cancelled, _) if step.was_kept => true,
            (StepState::Cancelled, _) => node.successors.iter().any(|edge| {
                let join = self.nearest(key.scope, edge.to).filter(|_| edge.role == Role::Input);
                let join = join.and_then(|join| self.ended.steps.get(&join));
                let transition = |step: &Step| step.finished.map(|moment| moment.0 >> 24);
                join.is_some_and(|join| {
                    transition(join).is_some() && transition(join) == transition(step)
                })
            }),
            _ => false,
        }
    }

    /// Whether a container has ended by what its members came to, and not before them.
    fn follows_from_members(&self, key: StepKey) -> bool {
        let mut members =
            self.inner.get(&key).into_iter().flatten().filter_map(|id| self.ended.scopes.get(id));
        let cut = ScopePhase::Closed(StepState::UpstreamFailed);
        let is_empty = !self.inner.contains_key(&key);
        !is_empty && members.all(|member| member.phase != cut && member.phase != ScopePhase::Open)
    }
}
