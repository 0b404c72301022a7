//! Joins that the engine runs itself (HIGHWAY 6.5): tasks that wait for the branches of a parallel.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::Value;

use super::super::document::{Call, Kind, broken, place};
use super::super::number::Number;
use super::super::program::{NodeIx, ScopeIx};
use super::super::resolve::Links;
use super::super::scopes::Tree;
use super::super::template::Template;
use crate::error::Result;

/// The function of such a task. It never reaches a worker when it belongs to a parallel.
const FUNCTION: &str = "tools.workflow.wait_for_parallel_branches";

/// Seconds that a join waits when it does not say.
const TIMEOUT: f64 = 300.0;

/// A join and what it waits for.
pub struct Found {
    /// Its parallel or multi_choice.
    pub fork: NodeIx,
    /// Seconds.
    pub timeout: f64,
}

/// The joins of every scope. Each gets the dependency on its fork, in case it does not have it.
///
/// # Errors
/// 22023 for a `timeout_seconds` that is no number.
pub fn find(tree: &Tree, links: &mut [Links]) -> Result<BTreeMap<NodeIx, Found>> {
    let mut found = BTreeMap::new();
    let mut names: HashMap<ScopeIx, Forks> = HashMap::new();
    for ix in (0..tree.nodes.len() as u32).map(NodeIx) {
        let (Kind::Task(call) | Kind::Activity(call)) = &tree.node(ix).step.kind else { continue };
        if call.function != FUNCTION {
            continue;
        }
        let scope = tree.node(ix).scope;
        let forks = names.entry(scope).or_insert_with(|| forks(tree, scope));
        let listed = &links[ix.0 as usize].dependencies;
        let Some(fork) = fork(tree, forks, listed, call) else { continue };
        links[ix.0 as usize].dependencies.insert(fork);
        found.insert(ix, Found { fork, timeout: timeout(tree, ix, call)? });
    }
    Ok(found)
}

/// Parallels and multi_choices of a scope by id and by result key.
type Forks<'a> = HashMap<&'a str, BTreeSet<NodeIx>>;

fn forks<'a>(tree: &Tree<'a>, scope: ScopeIx) -> Forks<'a> {
    let scope = tree.scope(scope);
    let mut forks = Forks::new();
    for ix in (scope.first..scope.first + scope.ids.len() as u32).map(NodeIx) {
        let step = tree.node(ix).step;
        if step.kind.branches().is_some() {
            forks.entry(&step.task_id).or_default().insert(ix);
            if let Some(key) = &step.result_key {
                forks.entry(key).or_default().insert(ix);
            }
        }
    }
    forks
}

/// What a join waits for: what its first argument names, of several the one that it depends on;
/// failing that, the only one that it depends on.
fn fork(tree: &Tree, forks: &Forks, listed: &BTreeSet<NodeIx>, call: &Call) -> Option<NodeIx> {
    let args = call.args.value("args").unwrap_or_default();
    let template = Template::parse(args.get(0).and_then(Value::as_str).unwrap_or_default());
    let none = BTreeSet::new();
    let named = template.lone_path().and_then(|path| forks.get(path.name())).unwrap_or(&none);
    let is_fork = |node: &&NodeIx| {
        let step = &tree.node(**node).step;
        forks.get(&*step.task_id).is_some_and(|forks| forks.contains(*node))
    };
    only(named.intersection(listed))
        .or_else(|| only(named.iter()))
        .or_else(|| only(listed.iter().filter(is_fork)))
}

fn only<'n>(mut nodes: impl Iterator<Item = &'n NodeIx>) -> Option<NodeIx> {
    let first = nodes.next()?;
    nodes.next().is_none().then_some(*first)
}

fn timeout(tree: &Tree, ix: NodeIx, call: &Call) -> Result<f64> {
    let kwargs = call.kwargs.members(&place(&tree.path(ix)))?;
    let seconds = match kwargs.get("timeout_seconds") {
        None | Some(Value::Null) => return Ok(TIMEOUT),
        Some(value) => Number::of(value).map(Number::to_f64),
    };
    seconds.map(|seconds| seconds.max(0.0)).ok_or_else(|| {
        let rule = "kwargs.timeout_seconds must be a number of seconds: the engine runs this join";
        broken(&place(&tree.path(ix)), rule)
    })
}
