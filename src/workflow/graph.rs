//! The effective graph of a scope: rules R1 to R6 of HIGHWAY 5.
//!
//! Nodes are numbered from 0 within the scope. A predecessor that lies inside a branch is known by
//! its own number, and by that of the container that stands for it in everything computed here.

use std::collections::BTreeSet;

use super::bounds::Check;
use crate::error::Error;

mod cycles;
mod regions;

/// Steps of work that one document may cost. Regions and ancestors of nested routers grow with
/// the square of their number; what people write stays far below.
pub const MAX_WORK: usize = 50_000_000;

/// Effective edges of a document.
pub const MAX_EDGES: usize = 500_000;

/// A predecessor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pred {
    /// The node of the scope that it is, or that it lies in.
    pub local: u32,
    /// Its number in the document.
    pub node: u32,
}

/// A scope's nodes with their links; the declared ones first, the effective ones in the end.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    /// The number in the document of node 0; the others follow.
    pub first: u32,
    pub dependencies: Vec<BTreeSet<Pred>>,
    /// Inputs of joins.
    pub inputs: Vec<BTreeSet<Pred>>,
    /// Targets of routers.
    pub targets: Vec<BTreeSet<u32>>,
    /// Nodes that name a node as their handler.
    pub referrers: Vec<BTreeSet<u32>>,
    /// Routers of targets. Computed.
    pub routers: Vec<BTreeSet<u32>>,
}

/// Why a scope has no effective graph.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// Nodes that wait for each other, each for the one before it, the first for the last.
    Cycle(Vec<u32>),
    /// `MAX_WORK` or `MAX_EDGES` is exceeded.
    TooLarge,
    /// The call is to end.
    Stopped,
}

/// What is left of a document's `MAX_WORK` and `MAX_EDGES`.
pub struct Left<'c> {
    work: usize,
    edges: usize,
    check: Check<'c>,
    /// What is left when `check` is asked next.
    asks_at: usize,
    /// What `check` said, after [`Fault::Stopped`].
    pub stopped: Option<Error>,
}

/// Steps of work between two questions whether to go on: a millisecond or less.
const ASKS_EACH: usize = 50_000;

impl<'c> Left<'c> {
    pub fn new(check: Check<'c>) -> Self {
        Self { work: MAX_WORK, edges: MAX_EDGES, check, asks_at: MAX_WORK, stopped: None }
    }

    fn work(&mut self, steps: usize) -> Result<(), Fault> {
        self.work = self.work.checked_sub(steps).ok_or(Fault::TooLarge)?;
        if self.work <= self.asks_at {
            self.asks_at = self.work.saturating_sub(ASKS_EACH);
            if let Err(error) = (self.check)() {
                self.stopped = Some(error);
                return Err(Fault::Stopped);
            }
        }
        Ok(())
    }

    fn edges(&mut self, edges: usize) -> Result<(), Fault> {
        self.edges = self.edges.checked_sub(edges).ok_or(Fault::TooLarge)?;
        Ok(())
    }
}

impl Graph {
    pub fn new(first: u32, nodes: usize) -> Self {
        Self {
            first,
            dependencies: vec![BTreeSet::new(); nodes],
            inputs: vec![BTreeSet::new(); nodes],
            targets: vec![BTreeSet::new(); nodes],
            referrers: vec![BTreeSet::new(); nodes],
            routers: vec![BTreeSet::new(); nodes],
        }
    }

    /// A node of the scope as a predecessor.
    pub fn own(&self, local: u32) -> Pred {
        Pred { local, node: self.first + local }
    }

    /// Whether a predecessor is a node of the scope, not inside one.
    pub fn is_own(&self, pred: &Pred) -> bool {
        pred.node == self.first + pred.local
    }

    fn len(&self) -> u32 {
        self.dependencies.len() as u32
    }

    /// Turns declared links into effective ones.
    ///
    /// # Errors
    /// A cycle, or a graph that is too large.
    pub fn normalise(&mut self, left: &mut Left) -> Result<(), Fault> {
        for node in 0..self.len() as usize {
            if !self.referrers[node].is_empty() {
                self.dependencies[node].clear();
            }
            let inputs = &self.inputs[node];
            self.dependencies[node].retain(|pred| !inputs.contains(pred));
            for target in self.targets[node].clone() {
                self.routers[target as usize].insert(node as u32);
            }
        }
        let edges = |list: &[BTreeSet<Pred>]| list.iter().map(BTreeSet::len).sum::<usize>();
        left.edges(edges(&self.dependencies) + edges(&self.inputs))?;
        if self.targets.iter().any(|targets| !targets.is_empty()) {
            self.route(left)?;
        }
        self.check(left)
    }

    /// R2 to R5.
    fn route(&mut self, left: &mut Left) -> Result<(), Fault> {
        let regions = regions::find(self, left)?;
        let raw = self.dependencies.clone();
        for router in 0..self.len() {
            let inside = |pred: &Pred| regions.holds(router, pred.local);
            if raw[router as usize].iter().any(inside) {
                self.dependencies[router as usize] = self.nearest(router, &raw, &inside, left)?;
            }
        }
        self.release_targets(left)?;
        self.follow(&regions, &raw, left)
    }

    /// R4: the predecessors outside of its regions that a router has through those inside.
    fn nearest(
        &self,
        router: u32,
        raw: &[BTreeSet<Pred>],
        inside: &dyn Fn(&Pred) -> bool,
        left: &mut Left,
    ) -> Result<BTreeSet<Pred>, Fault> {
        let mut nearest = BTreeSet::new();
        let mut seen = BTreeSet::new();
        let mut stack: Vec<Pred> = raw[router as usize].iter().copied().collect();
        while let Some(pred) = stack.pop() {
            if pred.local == router || !seen.insert(pred) {
                continue;
            }
            if inside(&pred) {
                let at = pred.local as usize;
                left.work(raw[at].len() + self.inputs[at].len())?;
                stack.extend(raw[at].iter().chain(&self.inputs[at]));
            } else {
                nearest.insert(pred);
            }
        }
        Ok(nearest)
    }

    /// R3: a target depends neither on its routers nor on what else they lead to.
    fn release_targets(&mut self, left: &mut Left) -> Result<(), Fault> {
        for node in 0..self.len() as usize {
            if self.dependencies[node].is_empty() {
                continue;
            }
            for router in &self.routers[node] {
                let siblings = &self.targets[*router as usize];
                left.work(self.dependencies[node].len())?;
                let first = self.first;
                self.dependencies[node].retain(|pred| {
                    let own = pred.node == first + pred.local;
                    !own || pred.local != *router && !siblings.contains(&pred.local)
                });
            }
        }
        Ok(())
    }

    /// R5: nodes that list a router without being its targets.
    fn follow(
        &mut self,
        regions: &regions::Regions,
        raw: &[BTreeSet<Pred>],
        left: &mut Left,
    ) -> Result<(), Fault> {
        let mut order = cycles::Order::of(self, left)?;
        for node in 0..self.len() {
            let at = node as usize;
            let listed: Vec<Pred> = self.dependencies[at]
                .iter()
                .filter(|pred| self.is_own(pred) && !self.targets[pred.local as usize].is_empty())
                .filter(|pred| !self.targets[pred.local as usize].contains(&node))
                .copied()
                .collect();
            for router in listed {
                left.work(raw[at].len() + self.inputs[at].len() + self.routers[at].len())?;
                let declared = raw[at].iter().chain(&self.inputs[at]).map(|pred| pred.local);
                let mut others = declared.chain(self.routers[at].iter().copied());
                if others.any(|other| other != router.local && regions.holds(router.local, other)) {
                    self.dependencies[at].remove(&router);
                    continue;
                }
                let sinks = regions.sinks(router.local);
                order.mark_descendants(node, sinks, left)?;
                for sink in sinks {
                    if *sink != node && !order.is_marked(*sink) {
                        left.edges(1)?;
                        let sink = self.own(*sink);
                        self.dependencies[at].insert(sink);
                    }
                }
            }
        }
        Ok(())
    }

    /// The nodes that must end before a node can, by their standing in the scope, in order.
    fn before(&self, node: u32) -> Vec<u32> {
        let at = node as usize;
        let declared = self.dependencies[at].iter().chain(&self.inputs[at]);
        let mut before: Vec<u32> = declared.map(|pred| pred.local).collect();
        before.extend(&self.routers[at]);
        before.sort_unstable();
        before.dedup();
        before
    }

    /// The reverse of `before` for all nodes.
    fn after(&self) -> Vec<Vec<u32>> {
        let mut after = vec![Vec::new(); self.len() as usize];
        for node in 0..self.len() {
            for before in self.before(node) {
                after[before as usize].push(node);
            }
        }
        after
    }
}
