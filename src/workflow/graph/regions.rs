//! R2: what can only be reached through a target of a router.

use super::{Fault, Graph, Left};

/// Regions of all routers of a scope.
pub struct Regions {
    /// By router: the nodes of all its regions, in order.
    inside: Vec<Vec<u32>>,
    /// By router: the nodes of a region without a successor in the same region, in order.
    sinks: Vec<Vec<u32>>,
}

impl Regions {
    /// Whether a node lies in a region of a router.
    pub fn holds(&self, router: u32, node: u32) -> bool {
        self.inside[router as usize].binary_search(&node).is_ok()
    }

    pub fn sinks(&self, router: u32) -> &[u32] {
        &self.sinks[router as usize]
    }
}

/// Counts that need no clearing: those of another round count as zero.
struct Counts {
    round: u32,
    of: Vec<(u32, u32)>,
}

impl Counts {
    fn get(&self, node: u32) -> u32 {
        let (round, count) = self.of[node as usize];
        if round == self.round { count } else { 0 }
    }

    fn set(&mut self, node: u32, count: u32) {
        self.of[node as usize] = (self.round, count);
    }
}

/// Computes the regions from the links as declared, handlers released and targets not yet.
///
/// # Errors
/// `TooLarge`.
pub fn find(graph: &Graph, left: &mut Left) -> Result<Regions, Fault> {
    let nodes = graph.targets.len();
    let before: Vec<Vec<u32>> = (0..nodes as u32).map(|node| graph.before(node)).collect();
    let after = graph.after();
    let mut met = Counts { round: 0, of: vec![(0, 0); nodes] };
    let mut regions = Regions { inside: vec![Vec::new(); nodes], sinks: vec![Vec::new(); nodes] };
    for router in 0..nodes as u32 {
        let targets = &graph.targets[router as usize];
        for target in targets {
            met.round += 1;
            let mut region = vec![*target];
            let mut at = 0;
            while let Some(node) = region.get(at).copied() {
                at += 1;
                left.work(1 + after[node as usize].len())?;
                for next in &after[node as usize] {
                    let handler = !graph.referrers[*next as usize].is_empty();
                    if *next == router || handler || targets.contains(next) {
                        continue;
                    }
                    let others = before[*next as usize].len() as u32;
                    let lists = before[*next as usize].binary_search(&router).is_ok();
                    met.set(*next, met.get(*next) + 1);
                    if met.get(*next) == others - u32::from(lists) {
                        region.push(*next);
                    }
                }
            }
            // Every node of the region but the target has met all of its predecessors.
            let mut member = Counts { round: met.round, of: std::mem::take(&mut met.of) };
            for node in &region {
                member.set(*node, u32::MAX);
            }
            let is_sink = |node: &&u32| {
                after[**node as usize].iter().all(|next| member.get(*next) != u32::MAX)
            };
            regions.sinks[router as usize].extend(region.iter().filter(is_sink));
            met.of = member.of;
            left.work(region.len())?;
            regions.inside[router as usize].append(&mut region);
        }
        for list in [&mut regions.inside[router as usize], &mut regions.sinks[router as usize]] {
            list.sort_unstable();
            list.dedup();
        }
    }
    Ok(regions)
}
