//! What of a run that has ended is kept when it is retried, and what is executed again.
//!
//! Executed again is what the run ended for: the steps that failed or were cancelled and on which a
//! failed end of the root scope hangs, those that had not ended, and all that comes after any of
//! these. Everything else is kept as it ended, failures among it that the workflow went on from.

use std::collections::{HashMap, HashSet};

use super::operator::Operator;
use super::program::{NodeIx, Program, Role, ScopeIx};
use super::records::{ScopeId, StepKey};
use super::step_state::StepState;

/// A scope instance, as far as it is looked at here.
pub struct Instance {
    pub definition: ScopeIx,
    pub parent: Option<StepKey>,
    pub ordinal: u32,
    /// Enclosing instances, the root first.
    pub chain: Vec<ScopeId>,
}

/// The records of a run that has ended.
pub struct Ended<'p> {
    pub program: &'p Program,
    pub scopes: HashMap<ScopeId, Instance>,
    /// The states of steps that have a record.
    pub steps: HashMap<StepKey, StepState>,
}

/// What a retry does with the steps that have a record.
#[derive(Debug, Default)]
pub struct Retrace {
    /// End as they ended.
    pub kept: Vec<StepKey>,
    /// Loops that have the items again which they had.
    pub loops: Vec<StepKey>,
    /// Come after something that is executed again, so that nothing is kept of them, nor of what is
    /// inside them.
    pub after: Vec<StepKey>,
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
        search.blame(ScopeId::ROOT);
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
        self.steps.get(&key).copied().unwrap_or(StepState::Pending)
    }

    /// The instance of a definition that an instance is, or is in.
    fn around(&self, scope: ScopeId, definition: ScopeIx) -> Option<ScopeId> {
        let record = self.scopes.get(&scope)?;
        let is_it = |id: &ScopeId| self.scopes.get(id).is_some_and(|s| s.definition == definition);
        std::iter::once(&scope).chain(record.chain.iter().rev()).copied().find(|id| is_it(id))
    }
}

impl Search<'_> {
    /// Finds why an instance did not complete.
    fn blame(&mut self, scope: ScopeId) {
        let mut open = vec![scope];
        let mut steps = Vec::new();
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
        match self.ended.state(key) {
            StepState::Completed | StepState::Skipped => {}
            StepState::Pending | StepState::UpstreamFailed => {
                let before = &self.ended.program.node(key.node).predecessors;
                let lists = [&before.dependencies, &before.routers, &before.inputs];
                let nodes = lists.into_iter().chain([&before.referrers]).flatten();
                steps.extend(nodes.filter_map(|node| self.nearest(key.scope, *node)));
            }
            StepState::Failed | StepState::Cancelled | StepState::Running => {
                self.origins.insert(key);
                open.extend(self.inner.get(&key).into_iter().flatten());
                let node = self.ended.program.node(key.node);
                match &node.operator {
                    Operator::Join(_) => {
                        let inputs = node.predecessors.inputs.iter();
                        steps.extend(inputs.filter_map(|input| self.nearest(key.scope, *input)));
                    }
                    Operator::Barrier(barrier) => {
                        let fork = StepKey { node: barrier.fork, ..key };
                        open.extend(self.inner.get(&fork).into_iter().flatten());
                    }
                    _ => {}
                }
            }
        }
    }

    /// The step of a node as seen from an instance, or that of the container around both in which
    /// it is.
    fn nearest(&self, scope: ScopeId, mut node: NodeIx) -> Option<StepKey> {
        use super::program::ScopeKind;
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
            if let Operator::While { .. } = ended.program.node(container.node).operator {
                let later = self.inner.get(&container).into_iter().flatten().filter(|other| {
                    ended.scopes.get(other).is_some_and(|other| other.ordinal > scope.ordinal)
                });
                self.iterations.extend(later);
            }
            if !self.touched.insert(container) {
                continue;
            }
            match &ended.program.node(container.node).operator {
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
        for (key, state) in &self.ended.steps {
            let is_after = self.after.contains(key) || self.is_inside(key.scope);
            if is_after {
                retrace.after.push(*key);
                continue;
            }
            if self.keeps(*key, *state) {
                retrace.kept.push(*key);
            } else if let Operator::Foreach(_) = self.ended.program.node(key.node).operator {
                retrace.loops.push(*key);
            }
        }
        retrace.kept.sort_unstable();
        retrace.loops.sort_unstable();
        retrace.after.sort_unstable();
        retrace
    }

    fn keeps(&self, key: StepKey, state: StepState) -> bool {
        if self.origins.contains(&key) || self.touched.contains(&key) {
            return false;
        }
        let node = self.ended.program.node(key.node);
        match state {
            // What is made of the steps inside, or of its inputs, is made of them again.
            StepState::Completed => !matches!(
                node.operator,
                Operator::Join(_)
                    | Operator::Parallel(_)
                    | Operator::Barrier(_)
                    | Operator::MultiChoice(_)
                    | Operator::Foreach(_)
                    | Operator::While { .. }
                    | Operator::Terminate(_)
            ),
            // The workflow went on from it.
            StepState::Failed => true,
            // A join that was decided without it has ended it.
            StepState::Cancelled => node.successors.iter().any(|edge| {
                edge.role == Role::Input
                    && self
                        .nearest(key.scope, edge.to)
                        .is_some_and(|join| self.ended.state(join) == StepState::Completed)
            }),
            _ => false,
        }
    }
}
