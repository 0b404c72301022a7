//! Which instance of a node another instance means, by index or by name.

use std::rc::Rc;

use crate::error::Result;
use crate::workflow::operator::Operator;
use crate::workflow::program::{NodeIx, Program, Scope, ScopeIx, ScopeKind};
use crate::workflow::records::{ScopeId, ScopeRec, StepKey, StepRec};
use crate::workflow::step_state::StepState;

use super::Transition;

/// Where the way down from an instance to a node inside its branches leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Step(StepKey),
    /// This container on the way has not started its branches.
    NotStarted(StepKey),
    /// The node is in no branch below, nor in a scope around.
    Elsewhere,
}

impl<'a> Transition<'a> {
    /// Levels above a scope of the program.
    pub fn depth(&self, scope: ScopeIx) -> usize {
        let parents = std::iter::successors(self.program.scope(scope).parent, |scope| {
            self.program.scope(*scope).parent
        });
        parents.count()
    }

    /// The instance of an enclosing scope, or of its own, seen from an instance.
    pub fn around(&self, from: &ScopeRec, scope: ScopeIx) -> Option<ScopeId> {
        if scope == from.scope { Some(from.id) } else { from.chain.get(self.depth(scope)).copied() }
    }

    /// The instance of a node seen from an instance: of the same scope, of one around, or inside
    /// the branches of either.
    pub fn locate(&mut self, from: &ScopeRec, node: NodeIx) -> Result<Place> {
        let mut way = Vec::new();
        let mut at = self.program.node(node).scope;
        let start = loop {
            if self.is_around(from.scope, at)
                && let Some(id) = self.around(from, at)
            {
                break id;
            }
            let scope = self.program.scope(at);
            match (&scope.kind, scope.parent) {
                (ScopeKind::Branch { container, .. }, Some(parent)) => {
                    way.push((*container, at));
                    at = parent;
                }
                _ => return Ok(Place::Elsewhere),
            }
        };
        self.descend(start, way, node)
    }

    /// Follows branches down from an instance; `way` is innermost first.
    pub fn descend(
        &mut self,
        start: ScopeId,
        way: Vec<(NodeIx, ScopeIx)>,
        node: NodeIx,
    ) -> Result<Place> {
        let mut scope = start;
        for (container, branch) in way.into_iter().rev() {
            let key = StepKey { scope, node: container };
            let inner = &self.program.node(container).inner;
            let ordinal = inner.iter().position(|inner| *inner == branch).unwrap_or_default();
            let ordinal = u32::try_from(ordinal).unwrap_or(u32::MAX);
            match self.view.inner(key, ordinal)? {
                Some(instance) => scope = instance.id,
                None => return Ok(Place::NotStarted(key)),
            }
        }
        Ok(Place::Step(StepKey { scope, node }))
    }

    fn is_around(&self, inner: ScopeIx, outer: ScopeIx) -> bool {
        let mut scopes =
            std::iter::successors(Some(inner), |scope| self.program.scope(*scope).parent);
        scopes.any(|scope| scope == outer)
    }

    /// The program's scopes around an instance, its own first.
    pub fn scopes_around(&self, from: &ScopeRec) -> impl Iterator<Item = &'a Scope> + use<'a> {
        let program = self.program;
        std::iter::successors(Some(program.scope(from.scope)), |scope| {
            scope.parent.map(|parent| program.scope(parent))
        })
    }

    /// The step that a name means, whatever its state: the source of a result key, a node id, or
    /// the node that is to set a result key.
    pub fn named(&mut self, from: &ScopeRec, name: &str) -> Result<Option<(NodeIx, Place)>> {
        let contexts = self.contexts(from);
        if let Some(source) = self.view.value(&contexts, name)? {
            return Ok(Some((source.node, Place::Step(source))));
        }
        if let Some(step) = self.ended_by_id(from, name)? {
            return Ok(Some((step.key.node, Place::Step(step.key))));
        }
        let program = self.program;
        let by_id = self.scopes_around(from).find_map(|scope| candidates(program, scope, name));
        let by_key = || self.scopes_around(from).find_map(|scope| scope.result_keys.get(name));
        let nodes = by_id.or_else(|| by_key().map(Vec::as_slice));
        let Some(node) = nodes.and_then(|nodes| nodes.first()).copied() else { return Ok(None) };
        Ok(Some((node, self.locate(from, node)?)))
    }

    /// The completed or failed step that an id, or an alias of one, means: of the nearest scope
    /// that knows the id, its own node before those inside branches, of these the last to end.
    pub fn ended_by_id(&mut self, from: &ScopeRec, name: &str) -> Result<Option<Rc<StepRec>>> {
        let program = self.program;
        for scope in self.scopes_around(from) {
            let mut best: Option<Rc<StepRec>> = None;
            for node in candidates(program, scope, name).into_iter().flatten() {
                let Place::Step(key) = self.locate(from, *node)? else { continue };
                let step = self.view.step(key)?;
                if !matches!(step.state, StepState::Completed | StepState::Failed) {
                    continue;
                }
                if scope.nodes.contains(&node.0) {
                    return Ok(Some(step));
                }
                if best.as_ref().is_none_or(|best| best.finished < step.finished) {
                    best = Some(step);
                }
            }
            if best.is_some() {
                return Ok(best);
            }
        }
        Ok(None)
    }
}

/// The nodes that a name may mean in a scope, by id, `<id>__result` or a loop's `<id>_results`.
fn candidates<'p>(program: &Program, scope: &'p Scope, name: &str) -> Option<&'p [NodeIx]> {
    let by_id = |id: &str| scope.visible.get(id).map(Vec::as_slice);
    let is_foreach = |nodes: &&[NodeIx]| {
        let foreach = |node: &NodeIx| matches!(program.node(*node).operator, Operator::Foreach(_));
        nodes.first().is_some_and(foreach)
    };
    by_id(name)
        .or_else(|| by_id(name.strip_suffix("__result")?))
        .or_else(|| by_id(name.strip_suffix("_results")?).filter(is_foreach))
}
