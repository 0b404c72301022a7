//! What the names in a document's tasks stand for (HIGHWAY 3.6).

use std::collections::{BTreeSet, HashMap};

use super::bounds::{Check, cut};
use super::document::{Kind, broken, place};
use super::program::{NodeIx, ScopeIx, ScopeKind};
use super::scopes::{Tree, TreeScope};
use crate::error::Result;

/// A node's links to others, by what the document declares.
#[derive(Clone, Debug, Default)]
pub struct Links {
    /// Nodes of the same scope, or inside a branch below it.
    pub dependencies: BTreeSet<NodeIx>,
    /// A join's inputs, likewise.
    pub inputs: BTreeSet<NodeIx>,
    /// A router's targets, in the same scope.
    pub targets: BTreeSet<NodeIx>,
    /// Handlers, in the same scope; never the node itself.
    pub on_success: Option<NodeIx>,
    pub on_failure: Option<NodeIx>,
}

/// The links of every node.
///
/// # Errors
/// 22023 for a name that stands for nothing or for two things, and for a target or handler outside
/// of the task's scope; what `check`, asked for each task, says.
pub fn links(tree: &Tree, check: Check) -> Result<Vec<Links>> {
    let mut resolver = Resolver::new(tree);
    let mut links = vec![Links::default(); tree.nodes.len()];
    for ix in (0..tree.nodes.len() as u32).map(NodeIx) {
        check()?;
        let node = tree.node(ix);
        for name in &node.step.dependencies {
            if let Some((of, target)) = resolver.find(ix, name)? {
                links[of.0 as usize].dependencies.insert(target);
            }
        }
        if let Kind::Join { join_tasks, .. } = &node.step.kind {
            for name in join_tasks {
                match resolver.find(ix, name)? {
                    Some((of, target)) if of == ix => {
                        links[of.0 as usize].inputs.insert(target);
                    }
                    Some((of, target)) => {
                        links[of.0 as usize].dependencies.insert(target);
                    }
                    None => {}
                }
            }
        }
        let own = &mut links[ix.0 as usize];
        for name in node.step.kind.targets() {
            own.targets.insert(local(tree, ix, name, "leads to")?);
        }
        let handler = |id: &Option<String>| match id {
            Some(id) if *id != node.step.task_id => {
                local(tree, ix, id, "has the handler").map(Some)
            }
            _ => Ok(None),
        };
        own.on_success = handler(&node.step.on_success_task_id)?;
        own.on_failure = handler(&node.step.on_failure_task_id)?;
    }
    Ok(links)
}

/// The node of a scope that a node at or below it lies in.
pub fn standing(tree: &Tree, scope: ScopeIx, node: NodeIx) -> Option<NodeIx> {
    let mut at = node;
    loop {
        let of = tree.node(at).scope;
        if of == scope {
            return Some(at);
        }
        at = container(tree.scope(of))?;
    }
}

/// The node whose inside a scope is.
pub fn container(scope: &TreeScope) -> Option<NodeIx> {
    match scope.kind {
        ScopeKind::Root => None,
        ScopeKind::Branch { container, .. } | ScopeKind::Body { container } => Some(container),
    }
}

impl TreeScope<'_> {
    /// The scope's own node of an id.
    pub fn find(&self, id: &str) -> Option<NodeIx> {
        let at = self.ids.binary_search(&id).ok()?;
        Some(NodeIx(self.first + at as u32))
    }
}

fn local(tree: &Tree, ix: NodeIx, id: &str, what: &str) -> Result<NodeIx> {
    tree.scope(tree.node(ix).scope).find(id).ok_or_else(|| {
        let rule = format!("{what} '{}', which is no task of the same scope", cut(id));
        broken(&place(&tree.path(ix)), rule)
    })
}

/// What a name stands for below a scope.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Below {
    Nothing,
    One(NodeIx),
    Several(NodeIx, NodeIx),
}

impl Below {
    fn add(&mut self, node: NodeIx) {
        *self = match *self {
            Self::Nothing => Self::One(node),
            Self::One(one) if one != node => Self::Several(one, node),
            same => same,
        };
    }
}

/// Inside branches of the scope, and inside loops that are the scope's own nodes.
type Inside = (Below, Below);

struct Resolver<'t, 'a> {
    tree: &'t Tree<'a>,
    /// The scopes and numbers of all nodes with an id, in order.
    named: HashMap<&'a str, Vec<(ScopeIx, NodeIx)>>,
    /// The end of the range of scopes that lie in a scope.
    ends: Vec<u32>,
    inside: HashMap<(ScopeIx, &'a str), Inside>,
}

impl<'t, 'a> Resolver<'t, 'a> {
    fn new(tree: &'t Tree<'a>) -> Self {
        let mut named: HashMap<&str, Vec<(ScopeIx, NodeIx)>> = HashMap::new();
        for (ix, node) in (0..).map(NodeIx).zip(&tree.nodes) {
            named.entry(&node.step.task_id).or_default().push((node.scope, ix));
        }
        named.values_mut().for_each(|places| places.sort_unstable());
        let mut ends: Vec<u32> = (1..=tree.scopes.len() as u32).collect();
        // Inner scopes have greater numbers than the scopes that they are in.
        for ix in (0..tree.scopes.len()).rev() {
            if let Some(parent) = tree.scopes[ix].parent {
                let parent = parent.0 as usize;
                ends[parent] = ends[parent].max(ends[ix]);
            }
        }
        Self { tree, named, ends, inside: HashMap::new() }
    }

    /// Whose predecessor a name makes which node: the naming node's own, or that of a container
    /// around it. None when the name says nothing that is not implied.
    fn find(&mut self, of: NodeIx, name: &'a str) -> Result<Option<(NodeIx, NodeIx)>> {
        let tree = self.tree;
        let ix = tree.node(of).scope;
        let scope = tree.scope(ix);
        if container(scope).is_some_and(|outer| tree.node(outer).step.task_id == name) {
            return Ok(None);
        }
        if let Some(node) = scope.find(name) {
            return Ok(Some((of, node)));
        }
        let (branches, loops) = self.inside(ix, name);
        if branches != Below::Nothing {
            return self.one(of, name, branches).map(|node| Some((of, node)));
        }
        let mut at = scope;
        while let Some((outer, parent)) = container(at).zip(at.parent) {
            at = tree.scope(parent);
            if let Some(node) = at.find(name) {
                return Ok((node != outer).then_some((outer, node)));
            }
        }
        // A body's task named from outside of its loop: the loop stands for it.
        let node = self.one(of, name, loops)?;
        if node == of {
            return Err(broken(
                &place(&tree.path(of)),
                format!("depends on itself through '{}'", cut(name)),
            ));
        }
        Ok(Some((of, node)))
    }

    fn one(&self, of: NodeIx, name: &str, below: Below) -> Result<NodeIx> {
        let wrong = |rule: String| {
            let path = self.tree.path(of);
            crate::error::Error::invalid(place(&path), rule)
        };
        match below {
            Below::One(node) => Ok(node),
            Below::Nothing => Err(wrong(format!("depends on unknown task '{}'", cut(name)))),
            Below::Several(one, other) => {
                let (one, other) = (cut(&self.tree.path(one)), cut(&self.tree.path(other)));
                let both = format!("which is ambiguous: '{one}' or '{other}'");
                Err(wrong(format!("depends on '{}', {both}", cut(name))))
            }
        }
    }

    fn inside(&mut self, scope: ScopeIx, name: &'a str) -> Inside {
        if let Some(found) = self.inside.get(&(scope, name)) {
            return *found;
        }
        let mut found = (Below::Nothing, Below::Nothing);
        let places = self.named.get(name).map(Vec::as_slice).unwrap_or_default();
        let end = self.ends[scope.0 as usize];
        let from = places.partition_point(|(of, _)| of.0 <= scope.0);
        for (_, node) in places[from..].iter().take_while(|(of, _)| of.0 < end) {
            let stand = self.stand(scope, *node);
            if self.tree.node(stand).scope == scope {
                found.1.add(stand);
            } else {
                found.0.add(stand);
            }
            if matches!(found.0, Below::Several(..)) {
                break;
            }
        }
        self.inside.insert((scope, name), found);
        found
    }

    /// The node itself, or the outermost loop that lies between it and a scope around it.
    fn stand(&self, scope: ScopeIx, node: NodeIx) -> NodeIx {
        let (mut at, mut stand) = (node, node);
        loop {
            let of = self.tree.node(at).scope;
            let inner = self.tree.scope(of);
            match container(inner) {
                Some(outer) if of != scope => {
                    if matches!(inner.kind, ScopeKind::Body { .. }) {
                        stand = outer;
                    }
                    at = outer;
                }
                _ => return stand,
            }
        }
    }
}
