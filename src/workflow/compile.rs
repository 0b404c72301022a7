//! From a document to a program: scopes, names, effective graphs, and everything parsed that can
//! be.

mod barriers;
mod operators;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Map;

use super::bounds::{Check, cut};
use super::datetime;
use super::document::{Document, Step, broken, place, too_large};
use super::engine_options::{EngineOptions, Kind};
use super::graph::{Fault, Graph, Left, MAX_EDGES, Pred};
use super::operator::Operator;
use super::policy::RetryPolicy;
use super::program::{
    BreakerPolicy, Deadline, Edge, Node, NodeIx, Predecessors, Program, Reach, Retry, Role,
    Schedule, Scope, ScopeIx, ScopeKind, Timeout,
};
use super::resolve::{self, Links, standing};
use super::schedule::Cron;
use super::scopes::Tree;
use super::template::Template;
use crate::error::Result;

/// Names that can be seen from scopes, and edges that lead out of containers, each counted once for
/// every scope or container: branches inside each other multiply them.
const MAX_SEEN: usize = 500_000;

/// Compiles a stored document from its text in canonical form.
///
/// # Errors
/// As [`build`], and as [`Document::read_canonical`].
pub fn stored(text: &str, check: Check) -> Result<Program> {
    build(&Document::read_canonical(text, check)?, text, check)
}

/// Compiles a document; `canonical` is its text in canonical form.
///
/// # Errors
/// 22023 with the task and the rule for everything that HIGHWAY says must be refused, and for
/// documents beyond the limits of `scopes` and `graph`; 54000 for one whose program would be too
/// large; what `check`, asked for each task, says.
pub fn build(document: &Document, canonical: &str, check: Check) -> Result<Program> {
    let tree = Tree::build(document, check)?;
    let mut links = resolve::links(&tree, check)?;
    let barriers = barriers::find(&tree, &mut links)?;
    let effective = effective(&tree, &mut links, check)?;

    let compiler = operators::Compiler { tree: &tree, links: &links, barriers: &barriers };
    let mut nodes = Vec::with_capacity(tree.nodes.len());
    for (ix, predecessors) in (0..).map(NodeIx).zip(effective) {
        check()?;
        nodes.push(node(&compiler, ix, predecessors)?);
    }
    for (barrier, found) in &barriers {
        if let Operator::Parallel(parallel) = &mut nodes[found.fork.0 as usize].operator {
            parallel.barriers.push(*barrier);
        }
    }
    let scopes = scopes(&tree, &nodes, check)?;
    let mut program = Program {
        name: document.name.clone(),
        version: document.version.clone(),
        nodes,
        scopes,
        declared: declared(document),
        deadline: document.deadline_seconds.map(|seconds| Deadline {
            seconds: seconds as f64,
            action: document.deadline_action.value,
        }),
        schedule: schedule(document)?,
        max_active_runs: u32::try_from(document.max_active_runs).unwrap_or(u32::MAX),
        completion_events: canonical.contains("completion_event"),
    };
    connect(&mut program)?;
    Ok(program)
}

/// The effective predecessors of every node. Handlers that name nodes after themselves lose them.
fn effective(tree: &Tree, links: &mut [Links], check: Check) -> Result<Vec<Predecessors>> {
    let mut left = Left::new(check);
    let mut effective = Vec::with_capacity(tree.nodes.len());
    for (ix, scope) in (0..).map(ScopeIx).zip(&tree.scopes) {
        let mut graph = Graph::new(scope.first, scope.ids.len());
        let own = scope.first as usize..scope.first as usize + scope.ids.len();
        for (local, links) in links[own.clone()].iter().enumerate() {
            let pred = |node: &NodeIx| {
                let stands = standing(tree, ix, *node)?;
                Some(Pred { local: stands.0 - scope.first, node: node.0 })
            };
            graph.dependencies[local] = links.dependencies.iter().filter_map(pred).collect();
            graph.inputs[local] = links.inputs.iter().filter_map(pred).collect();
            let targets = links.targets.iter().map(|target| target.0 - scope.first);
            graph.targets[local] = targets.collect();
            for handler in links.on_success.iter().chain(&links.on_failure) {
                graph.referrers[(handler.0 - scope.first) as usize].insert(local as u32);
            }
        }
        check()?;
        if let Err(fault) = graph.normalise(&mut left) {
            return Err(left.stopped.take().unwrap_or_else(|| refused(tree, ix, fault)));
        }
        let node = |local: &u32| NodeIx(scope.first + local);
        for local in 0..scope.ids.len() {
            let of = |preds: &BTreeSet<Pred>| {
                // In the order of the document's numbers, not of their standing.
                let mut nodes: Vec<_> = preds.iter().map(|pred| NodeIx(pred.node)).collect();
                nodes.sort_unstable();
                nodes
            };
            effective.push(Predecessors {
                dependencies: of(&graph.dependencies[local]),
                routers: graph.routers[local].iter().map(node).collect(),
                inputs: of(&graph.inputs[local]),
                referrers: graph.referrers[local].iter().map(node).collect(),
            });
        }
        for (local, links) in (0u32..).zip(&mut links[own]) {
            for handler in [&mut links.on_success, &mut links.on_failure] {
                let refers = |handler: &mut NodeIx| {
                    graph.referrers[(handler.0 - scope.first) as usize].contains(&local)
                };
                *handler = handler.take_if(refers);
            }
        }
    }
    Ok(effective)
}

fn refused(tree: &Tree, scope: ScopeIx, fault: Fault) -> crate::error::Error {
    let scope = tree.scope(scope);
    match fault {
        Fault::TooLarge | Fault::Stopped => {
            let rule = format!("at most {MAX_EDGES}, fewer with many routers");
            broken("the workflow", format!("has too many dependencies: {rule}"))
        }
        Fault::Cycle(cycle) => {
            let id = |local: &u32| cut(scope.ids[*local as usize]);
            let first = cycle.first().map(id).unwrap_or_default();
            let shown = cycle.iter().take(10).map(id);
            let mut ids: Vec<String> = shown.map(|id| format!("'{id}'")).collect();
            if cycle.len() > ids.len() {
                ids.push("...".to_owned());
            }
            ids.push(format!("'{first}'"));
            let rule = format!("is part of a cycle of dependencies: {}", ids.join(" -> "));
            broken(&place(&format!("{}{first}", scope.path)), rule)
        }
    }
}

fn node(compiler: &operators::Compiler, ix: NodeIx, predecessors: Predecessors) -> Result<Node> {
    let of = compiler.tree.node(ix);
    let (step, links) = (of.step, &compiler.links[ix.0 as usize]);
    let operator = compiler.operator(ix)?;
    let metadata = step.metadata.members(&place(&step.task_id))?;
    let kind = match &operator {
        Operator::Join(_) => Kind::Join,
        operator if operator.is_queue_task() => Kind::QueueTask,
        _ => Kind::Other,
    };
    let options = EngineOptions::parse(&metadata, kind)
        .map_err(|rule| broken(&place(&step.task_id), rule))?;
    let policy = step.retry_policy.as_ref().or_else(|| default_retry(compiler.tree, of.scope));
    Ok(Node {
        id: step.task_id.clone(),
        scope: of.scope,
        trigger: step.trigger_rule.value,
        predecessors,
        successors: Vec::new(),
        reached: Vec::new(),
        inner: of.inner.clone(),
        on_success: links.on_success,
        on_failure: links.on_failure,
        result_key: step.result_key.clone(),
        preconditions: step.preconditions.iter().map(|checked| checked.guard.clone()).collect(),
        postconditions: step.postconditions.iter().map(|checked| checked.guard.clone()).collect(),
        retry: policy.filter(|_| operator.is_queue_task()).map(|policy| Retry {
            attempts: policy.max_retries.unsigned_abs() + 1,
            delay: policy.delay,
            factor: policy.backoff_factor,
        }),
        timeout: step
            .timeout_policy
            .as_ref()
            .map(|policy| Timeout { seconds: policy.timeout, kill: policy.kill_on_timeout }),
        breaker: step.circuit_breaker_policy.as_ref().map(|policy| BreakerPolicy {
            failure_threshold: policy.failure_threshold.unsigned_abs(),
            success_threshold: policy.success_threshold.unsigned_abs(),
            isolation: policy.isolation_duration,
            catch: policy.catch_exceptions.clone(),
            ignore: policy.ignore_exceptions.clone(),
        }),
        idempotency_key: step.idempotency_key.as_deref().map(Template::parse),
        metadata,
        options,
        operator,
    })
}

/// The default retry policy of the nearest document around a scope that has one.
fn default_retry<'a>(tree: &Tree<'a>, scope: ScopeIx) -> Option<&'a RetryPolicy> {
    let mut at = Some(scope);
    while let Some(ix) = at {
        let scope = tree.scope(ix);
        let policy = scope.document.and_then(|document| document.default_retry_policy.as_ref());
        if policy.is_some() {
            return policy;
        }
        at = scope.parent;
    }
    None
}

fn scopes(tree: &Tree, nodes: &[Node], check: Check) -> Result<Vec<Scope>> {
    let mut scopes: Vec<Scope> = Vec::with_capacity(tree.scopes.len());
    let mut left = MAX_SEEN;
    for (ix, of) in (0..).map(ScopeIx).zip(&tree.scopes) {
        let range = of.first..of.first + of.ids.len() as u32;
        let own = || range.clone().map(NodeIx);
        let at = |node: &NodeIx| &nodes[node.0 as usize];
        let mut preceding: BTreeSet<NodeIx> = BTreeSet::new();
        for node in own() {
            let Predecessors { dependencies, routers, inputs, .. } = &at(&node).predecessors;
            preceding.extend(dependencies.iter().chain(routers).chain(inputs));
        }
        check()?;
        let (visible, result_keys) = visible(tree, ix, &mut left)?;
        let variables = match of.document {
            Some(document) => document.variables.members("the workflow")?,
            None => Map::new(),
        };
        scopes.push(Scope {
            kind: of.kind.clone(),
            parent: of.parent,
            nodes: range.clone(),
            sources: own()
                .filter(|node| at(node).is_source() || at(node).is_timed_join())
                .collect(),
            sinks: own().filter(|node| !preceding.contains(node)).collect(),
            variables,
            visible,
            result_keys,
        });
    }
    Ok(scopes)
}

type Names = BTreeMap<String, Vec<NodeIx>>;

/// The nodes of a scope and of the branches below it, by id and by result key, nearest first.
fn visible(tree: &Tree, scope: ScopeIx, left: &mut usize) -> Result<(Names, Names)> {
    let (mut ids, mut keys) = (Names::new(), Names::new());
    let mut level = vec![scope];
    while !level.is_empty() {
        let mut below = Vec::new();
        for scope in level {
            let of = tree.scope(scope);
            for ix in (of.first..of.first + of.ids.len() as u32).map(NodeIx) {
                let node = tree.node(ix);
                *left = left.checked_sub(1).ok_or_else(|| {
                    too_large(MAX_SEEN, "names, each counted for every scope that sees it")
                })?;
                ids.entry(node.step.task_id.clone()).or_default().push(ix);
                if let Some(key) = &node.step.result_key {
                    keys.entry(key.clone()).or_default().push(ix);
                }
                let branch =
                    |scope: &&ScopeIx| matches!(tree.scope(**scope).kind, ScopeKind::Branch { .. });
                below.extend(node.inner.iter().filter(branch));
            }
        }
        level = below;
    }
    Ok((ids, keys))
}

/// The edges to successors, and those out of branches.
fn connect(program: &mut Program) -> Result<()> {
    let mut successors: Vec<Vec<Edge>> = vec![Vec::new(); program.nodes.len()];
    for (to, node) in (0..).map(NodeIx).zip(&program.nodes) {
        let Predecessors { dependencies, routers, inputs, referrers } = &node.predecessors;
        let lists = [
            (dependencies, Role::Dependency),
            (routers, Role::Router),
            (inputs, Role::Input),
            (referrers, Role::Referrer),
        ];
        for (list, role) in lists {
            for before in list {
                successors[before.0 as usize].push(Edge { to, role });
            }
        }
    }
    let mut left = MAX_SEEN;
    let mut reached: Vec<Vec<Reach>> = vec![Vec::new(); program.nodes.len()];
    for (from, edges) in (0..).map(NodeIx).zip(&successors) {
        for edge in edges {
            let outside = program.node(edge.to).scope;
            let mut at = program.node(from).scope;
            while at != outside {
                let scope = program.scope(at);
                let (ScopeKind::Branch { container, .. } | ScopeKind::Body { container }) =
                    scope.kind
                else {
                    break;
                };
                left = left.checked_sub(1).ok_or_else(|| {
                    too_large(
                        MAX_SEEN,
                        "dependencies out of branches, each counted for every branch",
                    )
                })?;
                reached[container.0 as usize].push(Reach { from, edge: *edge });
                at = program.node(container).scope;
            }
        }
    }
    for ((node, edges), reached) in program.nodes.iter_mut().zip(successors).zip(reached) {
        node.successors = edges;
        node.reached = reached;
    }
    Ok(())
}

/// Every name that a template may use although it has no value yet.
fn declared(document: &Document) -> BTreeSet<String> {
    let mut declared = BTreeSet::new();
    let mut left: Vec<&Step> = document.tasks.values().map(|step| &**step).collect();
    while let Some(step) = left.pop() {
        let id = &step.task_id;
        declared.extend([id.clone(), format!("{id}__result"), format!("{id}_results")]);
        declared.extend(step.result_key.clone());
        left.extend(step.kind.loop_body().unwrap_or_default());
        for content in step.kind.branches().unwrap_or_default().into_values() {
            let inner = content.document.iter().flat_map(|document| document.tasks.values());
            left.extend(inner.map(|step| &**step));
        }
    }
    declared
}

fn schedule(document: &Document) -> Result<Option<Schedule>> {
    let Some(text) = &document.schedule else { return Ok(None) };
    Ok(Some(Schedule {
        cron: Cron::parse(text).map_err(|rule| broken("the workflow", rule))?,
        start_date: document.start_date.as_deref().and_then(datetime::parse),
        catchup: document.catchup,
        paused: document.is_paused,
    }))
}

/// Compiles a document, which need not be in its canonical form.
#[cfg(test)]
pub fn compile(document: &serde_json::Value) -> Result<Program> {
    let check: Check = &|| Ok(());
    let document = Document::read_canonical(&document.to_string(), check)?;
    build(&document, &document.to_text()?, check)
}
