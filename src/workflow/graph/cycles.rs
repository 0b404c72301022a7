//! R6: nothing may wait for itself; and who comes after whom.

use std::collections::VecDeque;

use super::{Fault, Graph, Left};

/// Who comes after whom in a scope, before after-nodes got their additional predecessors.
pub struct Order {
    after: Vec<Vec<u32>>,
    /// Places such that a node comes after its predecessors; none when there is a cycle.
    place: Option<Vec<u32>>,
    marks: Vec<u32>,
    round: u32,
}

impl Order {
    /// # Errors
    /// `TooLarge`.
    pub fn of(graph: &Graph, left: &mut Left) -> Result<Self, Fault> {
        let after = graph.after();
        left.work(after.iter().map(Vec::len).sum::<usize>() + after.len())?;
        let follows = |node: u32| {
            let listed = &graph.dependencies[node as usize];
            listed.iter().any(|pred| !graph.targets[pred.local as usize].is_empty())
        };
        // Nodes that follow a router come late, so that its regions lie before them.
        let (mut early, mut late) = (VecDeque::new(), VecDeque::new());
        let mut open: Vec<usize> = (0..graph.len()).map(|node| graph.before(node).len()).collect();
        early.extend((0..graph.len()).filter(|node| open[*node as usize] == 0));
        let mut place = vec![0; after.len()];
        let mut placed = 0;
        while let Some(node) = early.pop_front().or_else(|| late.pop_front()) {
            place[node as usize] = placed;
            placed += 1;
            for next in &after[node as usize] {
                open[*next as usize] -= 1;
                if open[*next as usize] == 0 {
                    if follows(*next) { late.push_back(*next) } else { early.push_back(*next) }
                }
            }
        }
        let marks = vec![0; after.len()];
        let place = Some(place).filter(|_| placed == graph.len());
        Ok(Self { after, place, marks, round: 0 })
    }

    /// Marks those of the nodes asked for that come after a node; others may be marked as well.
    ///
    /// # Errors
    /// `TooLarge`.
    pub fn mark_descendants(
        &mut self,
        node: u32,
        asked: &[u32],
        left: &mut Left,
    ) -> Result<(), Fault> {
        self.round += 1;
        left.work(1 + asked.len())?;
        let place = |node: u32| self.place.as_ref().map_or(0, |place| place[node as usize]);
        let last = asked.iter().map(|node| place(*node)).max();
        let mut stack = vec![node];
        while let Some(at) = stack.pop() {
            if self.place.is_some() && last.is_none_or(|last| place(at) >= last) {
                continue;
            }
            left.work(self.after[at as usize].len())?;
            for next in &self.after[at as usize] {
                if self.marks[*next as usize] != self.round {
                    self.marks[*next as usize] = self.round;
                    stack.push(*next);
                }
            }
        }
        Ok(())
    }

    /// Whether the last `mark_descendants` marked a node.
    pub fn is_marked(&self, node: u32) -> bool {
        self.marks[node as usize] == self.round
    }
}

impl Graph {
    /// Refuses cycles. A handler waits for those that name it, but for none that itself comes after
    /// the handler: that one's end cannot be what the handler is for.
    pub(super) fn check(&mut self, left: &mut Left) -> Result<(), Fault> {
        let before: Vec<Vec<u32>> = (0..self.len()).map(|node| self.before(node)).collect();
        left.work(before.iter().map(Vec::len).sum::<usize>() + before.len())?;
        if let Some(cycle) = cycle(&before) {
            return Err(Fault::Cycle(cycle));
        }
        if self.referrers.iter().all(|referrers| referrers.is_empty()) {
            return Ok(());
        }
        let mut with_handlers = before;
        for (list, referrers) in with_handlers.iter_mut().zip(&self.referrers) {
            list.extend(referrers);
        }
        let Some(cycle) = cycle(&with_handlers) else { return Ok(()) };
        let components = components(&with_handlers);
        for handler in 0..self.referrers.len() {
            let referrers = &mut self.referrers[handler];
            if referrers.is_empty() {
                continue;
            }
            referrers.retain(|node| components[*node as usize] != components[handler]);
            if referrers.is_empty() {
                return Err(Fault::Cycle(cycle));
            }
        }
        Ok(())
    }
}

/// Nodes of which each waits for the one before it and the first, the smallest, for the last; none
/// if there are no such nodes.
fn cycle(before: &[Vec<u32>]) -> Option<Vec<u32>> {
    let mut after = vec![Vec::new(); before.len()];
    for (node, list) in (0u32..).zip(before) {
        list.iter().for_each(|before| after[*before as usize].push(node));
    }
    let mut open: Vec<usize> = before.iter().map(Vec::len).collect();
    let mut free: Vec<usize> = (0..open.len()).filter(|node| open[*node] == 0).collect();
    while let Some(node) = free.pop() {
        for next in &after[node] {
            open[*next as usize] -= 1;
            if open[*next as usize] == 0 {
                free.push(*next as usize);
            }
        }
    }
    // Whoever is still waiting waits for another such node, so walking back must come around.
    let mut at = open.iter().position(|count| *count > 0)?;
    let mut seen = vec![None; before.len()];
    let mut path = Vec::new();
    while seen[at].is_none() {
        seen[at] = Some(path.len());
        path.push(at as u32);
        at = *before[at].iter().find(|node| open[**node as usize] > 0)? as usize;
    }
    let mut cycle = path.split_off(seen[at]?);
    cycle.reverse();
    let first = cycle.iter().enumerate().min_by_key(|(_, node)| **node).map_or(0, |(at, _)| at);
    cycle.rotate_left(first);
    Some(cycle)
}

/// The strongly connected component of each node (Tarjan's algorithm, without recursion).
fn components(before: &[Vec<u32>]) -> Vec<u32> {
    const NEW: u32 = u32::MAX;
    let (mut index, mut low) = (vec![NEW; before.len()], vec![0; before.len()]);
    let mut component = vec![NEW; before.len()];
    let (mut next, mut found) = (0, 0);
    let mut open: Vec<usize> = Vec::new();
    for root in 0..before.len() {
        let mut calls = vec![(root, 0)];
        while let Some((node, edge)) = calls.pop() {
            if edge == 0 {
                if index[node] != NEW {
                    continue;
                }
                (index[node], low[node]) = (next, next);
                next += 1;
                open.push(node);
            } else {
                let done = before[node][edge - 1] as usize;
                if component[done] == NEW {
                    low[node] = low[node].min(low[done]);
                }
            }
            match before[node].get(edge) {
                Some(to) => {
                    let to = *to as usize;
                    calls.push((node, edge + 1));
                    if index[to] == NEW {
                        calls.push((to, 0));
                    } else if component[to] == NEW {
                        low[node] = low[node].min(index[to]);
                    }
                }
                None if low[node] == index[node] => {
                    while let Some(member) = open.pop() {
                        component[member] = found;
                        if member == node {
                            break;
                        }
                    }
                    found += 1;
                }
                None => {}
            }
        }
    }
    component
}
