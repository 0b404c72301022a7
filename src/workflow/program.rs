//! A document compiled for execution: immutable, shared by every run of it.
//!
//! Compilation is a function of the canonical document alone, and scopes and nodes are numbered in
//! sorted order (the root's nodes by id, then the inner scopes of each in that order, depth first,
//! branches by name), so an index stored with a run means the same node in every backend.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use serde_json::{Map, Value};

use super::engine_options::EngineOptions;
use super::guard::Guard;
use super::operator::{Metadata, Operator};
use super::schedule::Cron;
use super::template::Template;
use crate::time::Timestamp;

/// A node's number in its program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeIx(pub u32);

/// A scope's number in its program. The root is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ScopeIx(pub u32);

impl ScopeIx {
    pub const ROOT: Self = Self(0);
}

#[derive(Clone, Debug)]
pub struct Program {
    pub name: String,
    pub version: String,
    pub nodes: Vec<Node>,
    pub scopes: Vec<Scope>,
    /// Every result key and node id of the whole document, with the aliases `<id>__result` and
    /// `<id>_results`: a name among them without a value is null, not unknown.
    pub declared: BTreeSet<String>,
    pub deadline: Option<Deadline>,
    pub schedule: Option<Schedule>,
    pub max_active_runs: u32,
    /// Whether activities emit an event when they complete: the document says `completion_event`.
    pub completion_events: bool,
}

/// A set of nodes executed together.
#[derive(Clone, Debug)]
pub struct Scope {
    pub kind: ScopeKind,
    /// The scope that the container is in; none for the root.
    pub parent: Option<ScopeIx>,
    /// The scope's own nodes, which are consecutive and sorted by id.
    pub nodes: Range<u32>,
    /// Nodes without effective predecessors: they start with the scope. In index order.
    pub sources: Vec<NodeIx>,
    /// Nodes that precede no other of the scope, handlers included. In index order.
    pub sinks: Vec<NodeIx>,
    /// Variables of a branch's document, or of the document itself for the root: they shadow those
    /// of enclosing scopes.
    pub variables: Map<String, Value>,
    /// The nodes that a name stands for when said inside this scope, own nodes and those inside
    /// branches (not loops) below, nearest first. Names of enclosing scopes are found there.
    pub visible: BTreeMap<String, Vec<NodeIx>>,
    /// Likewise the nodes that write a result key.
    pub result_keys: BTreeMap<String, Vec<NodeIx>>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum ScopeKind {
    Root,
    /// A branch of a parallel or multi_choice. Its result keys go to the context around it.
    Branch {
        container: NodeIx,
        name: String,
    },
    /// The body of a loop: a context of its own, an instance per iteration.
    Body {
        container: NodeIx,
    },
}

#[derive(Clone, Debug)]
pub struct Node {
    pub id: String,
    pub scope: ScopeIx,
    pub operator: Operator,
    pub trigger: TriggerRule,
    pub predecessors: Predecessors,
    /// Whom this node's end concerns, in index order. A dependency that reaches into a branch is an
    /// edge to a node of an enclosing scope.
    pub successors: Vec<Edge>,
    /// Of containers: edges from nodes inside their branches (recursively) to nodes outside. What
    /// must be told when the container ends without those nodes having been executed.
    pub reached: Vec<Reach>,
    /// Inner scopes: branches by name, or the loop's body.
    pub inner: Vec<ScopeIx>,
    /// Handlers, which are nodes of the same scope; self-references are gone.
    pub on_success: Option<NodeIx>,
    pub on_failure: Option<NodeIx>,
    pub result_key: Option<String>,
    pub preconditions: Vec<Guard>,
    pub postconditions: Vec<Guard>,
    /// Effective: the operator's, else the document's; only for operators worked by queue tasks.
    pub retry: Option<Retry>,
    pub timeout: Option<Timeout>,
    pub breaker: Option<BreakerPolicy>,
    pub idempotency_key: Option<Template>,
    pub metadata: Metadata,
    pub options: EngineOptions,
}

/// A node's effective predecessors by what they decide. Each list is sorted and without duplicates;
/// a node may be in several of them.
#[derive(Clone, Debug, Default)]
pub struct Predecessors {
    /// Subject to the trigger rule: of the same scope, or inside a branch below it.
    pub dependencies: Vec<NodeIx>,
    /// Routers that target the node.
    pub routers: Vec<NodeIx>,
    /// Inputs of a join.
    pub inputs: Vec<NodeIx>,
    /// Nodes that name this one as their handler; not empty: the node is a handler.
    pub referrers: Vec<NodeIx>,
}

/// A link to a successor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edge {
    pub to: NodeIx,
    pub role: Role,
}

/// An edge out of a container's branch, past the container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reach {
    pub from: NodeIx,
    pub edge: Edge,
}

/// Which list of the successor's predecessors an edge belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    Dependency,
    Router,
    Input,
    Referrer,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TriggerRule {
    AllSuccess,
    AllDone,
    OneSuccess,
    OneDone,
    NoneFailed,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Retry {
    /// Attempts in all, at least 1.
    pub attempts: u32,
    /// Seconds before the first retry, at most a day.
    pub delay: f64,
    pub factor: f64,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Timeout {
    /// Seconds: per attempt of a queue task, else from becoming ready.
    pub seconds: f64,
    pub kill: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub struct BreakerPolicy {
    pub failure_threshold: u32,
    pub success_threshold: u32,
    /// Seconds.
    pub isolation: f64,
    pub catch: Option<Vec<String>>,
    pub ignore: Option<Vec<String>>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Deadline {
    /// Seconds from the run's start.
    pub seconds: f64,
    pub action: DeadlineAction,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeadlineAction {
    Fail,
    Cancel,
}

#[derive(Clone, Debug)]
pub struct Schedule {
    pub cron: Cron,
    pub start_date: Option<Timestamp>,
    pub catchup: bool,
    pub paused: bool,
}

impl Program {
    /// # Panics
    /// Never for an index that this program's compilation made.
    pub fn node(&self, ix: NodeIx) -> &Node {
        &self.nodes[ix.0 as usize]
    }

    /// As [`Program::node`], for scopes.
    pub fn scope(&self, ix: ScopeIx) -> &Scope {
        &self.scopes[ix.0 as usize]
    }

    /// Whether an index read from the database is one of this program's.
    pub fn has(&self, ix: NodeIx) -> bool {
        (ix.0 as usize) < self.nodes.len()
    }

    /// A scope's node by its id.
    pub fn find(&self, scope: ScopeIx, id: &str) -> Option<NodeIx> {
        let range = self.scope(scope).nodes.clone();
        let nodes = &self.nodes[range.start as usize..range.end as usize];
        let at = nodes.binary_search_by(|node| node.id.as_str().cmp(id)).ok()?;
        Some(NodeIx(range.start + at as u32))
    }
}

impl Scope {
    pub fn len(&self) -> u32 {
        self.nodes.end - self.nodes.start
    }

    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }
}

impl Node {
    pub fn is_handler(&self) -> bool {
        !self.predecessors.referrers.is_empty()
    }

    /// Whether the node waits for nobody and starts with its scope.
    pub fn is_source(&self) -> bool {
        let Predecessors { dependencies, routers, inputs, referrers } = &self.predecessors;
        [dependencies, routers, inputs, referrers].iter().all(|list| list.is_empty())
    }

    /// Whether the node is a join whose time runs from its scope's start on.
    pub fn is_timed_join(&self) -> bool {
        let Predecessors { dependencies, routers, referrers, .. } = &self.predecessors;
        matches!(self.operator, Operator::Join(_))
            && self.timeout.is_some()
            && [dependencies, routers, referrers].iter().all(|list| list.is_empty())
    }
}
