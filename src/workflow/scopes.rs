//! Which tasks are executed together: the ownership of HIGHWAY 3.5, for the layouts of all versions
//! of the builder.
//!
//! The result is numbered as a `Program` is: a scope's nodes by id, then the inner scopes of each,
//! depth first, branches by name.

use std::collections::{BTreeMap, BTreeSet};

use super::bounds::{Check, cut};
use super::document::{Content, Document, MAX_OPERATORS, Step, broken, place};
use super::program::{NodeIx, ScopeIx, ScopeKind};
use crate::error::Result;

/// Scopes that may lie one inside another.
const MAX_NESTING: usize = 64;

/// A document's scopes and the tasks in them.
#[derive(Debug, Default)]
pub struct Tree<'a> {
    pub scopes: Vec<TreeScope<'a>>,
    pub nodes: Vec<TreeNode<'a>>,
}

#[derive(Debug)]
pub struct TreeScope<'a> {
    pub kind: ScopeKind,
    pub parent: Option<ScopeIx>,
    /// The number of its first node; the others follow.
    pub first: u32,
    /// Its tasks by id, numbered from `first`.
    pub ids: Vec<&'a str>,
    /// The document of the root or of a branch.
    pub document: Option<&'a Document>,
    /// What stands before its tasks' ids in messages.
    pub path: String,
}

#[derive(Debug)]
pub struct TreeNode<'a> {
    pub step: &'a Step,
    pub scope: ScopeIx,
    pub inner: Vec<ScopeIx>,
}

type TaskMap<'a> = BTreeMap<&'a str, &'a Step>;

/// A map of tasks, and the maps that its container lies in.
struct Layer<'m, 'a> {
    map: &'m TaskMap<'a>,
    outer: Option<&'m Layer<'m, 'a>>,
    /// The task whose inside the map is.
    container: Option<&'a Step>,
    depth: usize,
}

impl<'a> Tree<'a> {
    /// # Errors
    /// 22023 for a branch that lists an unknown task, for a container inside itself, and for more
    /// than `MAX_OPERATORS` tasks or `MAX_NESTING` levels of scopes; what `check`, asked for each
    /// task, says.
    pub fn build(document: &'a Document, check: Check) -> Result<Self> {
        let mut tree = Self::default();
        let map = tasks(document);
        let layer = Layer { map: &map, outer: None, container: None, depth: 0 };
        tree.add(&layer, ScopeKind::Root, None, Some(document), String::new(), check)?;
        Ok(tree)
    }

    pub fn scope(&self, ix: ScopeIx) -> &TreeScope<'a> {
        &self.scopes[ix.0 as usize]
    }

    pub fn node(&self, ix: NodeIx) -> &TreeNode<'a> {
        &self.nodes[ix.0 as usize]
    }

    /// The path of a task for messages: `fork.a/x`, `each[]/x`.
    pub fn path(&self, ix: NodeIx) -> String {
        let node = self.node(ix);
        format!("{}{}", self.scope(node.scope).path, node.step.task_id)
    }

    fn add(
        &mut self,
        layer: &Layer<'_, 'a>,
        kind: ScopeKind,
        parent: Option<ScopeIx>,
        document: Option<&'a Document>,
        path: String,
        check: Check,
    ) -> Result<ScopeIx> {
        if layer.depth > MAX_NESTING {
            let rule = format!("lies inside more than {MAX_NESTING} containers");
            return Err(broken(&place(path.trim_end_matches('/')), rule));
        }
        let members = members(layer, &path, check)?;
        if self.nodes.len() + members.len() > MAX_OPERATORS {
            let rule = format!("must have at most {MAX_OPERATORS} tasks");
            return Err(broken("the workflow", rule));
        }
        let scope = ScopeIx(self.scopes.len() as u32);
        let first = self.nodes.len() as u32;
        let ids = members.keys().copied().collect();
        self.scopes.push(TreeScope { kind, parent, first, ids, document, path: path.clone() });
        let node = |step: &&'a Step| TreeNode { step, scope, inner: Vec::new() };
        self.nodes.extend(members.values().map(node));
        for (ix, (id, step)) in (first..).zip(&members) {
            let container = NodeIx(ix);
            let path = format!("{path}{id}");
            check()?;
            let inner = self.inside(layer, step, (container, scope), &path, check)?;
            self.nodes[ix as usize].inner = inner;
        }
        Ok(scope)
    }

    /// The scopes inside a task.
    fn inside(
        &mut self,
        layer: &Layer<'_, 'a>,
        step: &'a Step,
        (container, scope): (NodeIx, ScopeIx),
        path: &str,
        check: Check,
    ) -> Result<Vec<ScopeIx>> {
        let mut inner = Vec::new();
        let depth = layer.depth + 1;
        if let Some(body) = step.kind.loop_body() {
            let map = body.iter().map(|step| (&*step.task_id, step)).collect();
            let layer = Layer { map: &map, outer: Some(layer), container: Some(step), depth };
            let kind = ScopeKind::Body { container };
            inner.push(self.add(&layer, kind, Some(scope), None, format!("{path}[]/"), check)?);
        }
        for (name, content) in step.kind.branches().unwrap_or_default() {
            let path = format!("{path}.{name}/");
            let map = layer.content(step, name, content, &path)?;
            let layer = Layer { map: &map, outer: Some(layer), container: Some(step), depth };
            let kind = ScopeKind::Branch { container, name: name.to_owned() };
            inner.push(self.add(&layer, kind, Some(scope), content.document, path, check)?);
        }
        Ok(inner)
    }
}

impl<'a> Layer<'_, 'a> {
    /// The tasks of a branch: its document's, else those that it lists, taken from this map or from
    /// one around it.
    fn content(
        &self,
        container: &'a Step,
        name: &str,
        content: Content<'a>,
        path: &str,
    ) -> Result<TaskMap<'a>> {
        if let Some(document) = content.document.filter(|document| !document.tasks.is_empty()) {
            return Ok(tasks(document));
        }
        let mut map = TaskMap::new();
        for id in content.listed {
            let of = place(path.trim_end_matches('/'));
            let Some(step) = self.find(id) else {
                let name = cut(name);
                return Err(broken(
                    &of,
                    format!("branch '{name}' lists the unknown task '{}'", cut(id)),
                ));
            };
            if std::ptr::eq(step, container) || self.is_inside(step) {
                let (name, id) = (cut(name), cut(id));
                let rule = format!("branch '{name}' lists '{id}', which it is inside of");
                return Err(broken(&of, rule));
            }
            map.insert(id, step);
        }
        Ok(map)
    }

    fn find(&self, id: &str) -> Option<&'a Step> {
        match self.map.get(id) {
            Some(step) => Some(step),
            None => self.outer?.find(id),
        }
    }

    fn is_inside(&self, step: &Step) -> bool {
        let mut layer = Some(self);
        while let Some(at) = layer {
            if at.container.is_some_and(|container| std::ptr::eq(container, step)) {
                return true;
            }
            layer = at.outer;
        }
        false
    }
}

fn tasks(document: &Document) -> TaskMap<'_> {
    document.tasks.iter().map(|(id, step)| (&**id, &**step)).collect()
}

/// The nodes of a scope: what no loop and no branch of the map owns. In the root map, a task marked
/// as part of a loop that no loop owns is left out.
fn members<'a>(layer: &Layer<'_, 'a>, path: &str, check: Check) -> Result<TaskMap<'a>> {
    let mut members = layer.map.clone();
    let mut owned: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (id, step) in layer.map {
        for inner in step.kind.loop_body().unwrap_or_default() {
            members.remove(&*inner.task_id);
            owned.entry(id).or_default().insert(&inner.task_id);
        }
    }
    let containers: Vec<(&str, &Step)> = members.iter().map(|(id, step)| (*id, *step)).collect();
    for (id, step) in containers {
        for content in step.kind.branches().unwrap_or_default().into_values() {
            for listed in content.listed {
                check()?;
                let inner = content.document.and_then(|document| document.tasks.get(listed));
                let inner = inner.map(|step| &**step);
                let outer = layer.map.get(&**listed);
                // A node of its own that happens to have the id of one in a branch stays.
                if inner.zip(outer).is_none_or(|(inner, outer)| outer.is_copy_of(inner)) {
                    members.remove(&**listed);
                    owned.entry(id).or_default().insert(listed);
                }
            }
        }
    }
    check_all_held(layer, &members, &owned, path)?;
    if layer.container.is_none() {
        members.retain(|_, step| !step.is_internal_loop_task);
    }
    Ok(members)
}

/// Containers that own each other in a circle would vanish with everything inside.
fn check_all_held(
    layer: &Layer,
    members: &TaskMap,
    owned: &BTreeMap<&str, BTreeSet<&str>>,
    path: &str,
) -> Result<()> {
    let mut held: BTreeSet<&str> = members.keys().copied().collect();
    let mut left: Vec<&str> = held.iter().copied().collect();
    while let Some(id) = left.pop() {
        for inner in owned.get(id).into_iter().flatten() {
            if held.insert(inner) {
                left.push(inner);
            }
        }
    }
    match layer.map.keys().find(|id| !held.contains(*id)) {
        Some(id) => Err(broken(&place(&format!("{path}{id}")), "is inside itself")),
        None => Ok(()),
    }
}
