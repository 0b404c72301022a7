//! What a node does: the fifteen operators of the format, with everything parsed that can be parsed
//! at registration.
//!
//! Durations are seconds. Inner scopes are indices into the program. Targets that lead nowhere are
//! none; names have become indices.

use std::collections::BTreeMap;

use serde_json::Value;

use super::expression::Expression;
use super::failure::Failure;
use super::names::Names;
use super::program::{NodeIx, ScopeIx};
use super::template::{Template, Tree};
use super::wait::WaitFor;

pub use super::items::{Items, SwitchOn};

/// An operator and its own fields.
#[derive(Clone, Debug)]
pub enum Operator {
    Task(Call),
    Activity(Call),
    /// A `tools.workflow.wait_for_parallel_branches` task that belongs to a parallel: never
    /// spawned.
    Barrier(Barrier),
    Condition {
        condition: Formula,
        if_true: Option<NodeIx>,
        if_false: Option<NodeIx>,
    },
    Switch {
        on: SwitchOn,
        cases: BTreeMap<String, NodeIx>,
        default: Option<NodeIx>,
    },
    Wait(WaitFor),
    Parallel(Parallel),
    MultiChoice(MultiChoice),
    Foreach(Foreach),
    While {
        condition: Formula,
        body: ScopeIx,
    },
    EmitEvent {
        name: Template,
        payload: Tree,
    },
    WaitForEvent {
        name: Template,
        timeout: Option<f64>,
    },
    Join(Join),
    Reflexive(Reflexive),
    Terminate(Terminate),
    ChildWorkflow {
        children: BTreeMap<String, Child>,
        timeout: Option<f64>,
    },
}

/// The text of a condition. One that is no expression fails the step that evaluates it, not the
/// document (HIGHWAY 8: errors there fail the node).
#[derive(Clone, Debug)]
pub struct Formula(pub Result<Expression, String>);

impl Formula {
    /// # Errors
    /// As [`Expression::eval`]; `ExpressionError` with what is wrong with the text.
    pub fn eval(&self, names: &mut dyn Names) -> Result<Value, Failure> {
        match &self.0 {
            Ok(expression) => expression.eval(names),
            Err(rule) => Err(Failure::expression(rule.clone())),
        }
    }
}

impl Operator {
    /// The format's name of the operator; a barrier is the task that it was written as.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Task(_) | Self::Barrier(_) => "task",
            Self::Activity(_) => "activity",
            Self::Condition { .. } => "condition",
            Self::Switch { .. } => "switch",
            Self::Wait(_) => "wait",
            Self::Parallel(_) => "parallel",
            Self::MultiChoice(_) => "multi_choice",
            Self::Foreach(_) => "foreach",
            Self::While { .. } => "while",
            Self::EmitEvent { .. } => "emit_event",
            Self::WaitForEvent { .. } => "wait_for_event",
            Self::Join(_) => "join",
            Self::Reflexive(_) => "reflexive",
            Self::Terminate(_) => "terminate",
            Self::ChildWorkflow { .. } => "child_workflow",
        }
    }

    /// Whether the operator is worked by a queue task.
    pub const fn is_queue_task(&self) -> bool {
        matches!(self, Self::Task(_) | Self::Activity(_) | Self::Reflexive(_))
    }
}

/// A function of a worker with its arguments.
#[derive(Clone, Debug)]
pub struct Call {
    pub function: String,
    /// The array of positional arguments.
    pub args: Tree,
    /// The object of named arguments.
    pub kwargs: Tree,
}

/// The join that the engine runs itself for a forked parallel.
#[derive(Clone, Debug)]
pub struct Barrier {
    pub fork: NodeIx,
    /// Seconds from the moment at which the barrier's dependencies allow it.
    pub timeout: f64,
}

/// `parallel`. Branch scopes in the order of their names.
#[derive(Clone, Debug)]
pub struct Parallel {
    pub branches: Vec<ScopeIx>,
    /// Seconds from the fork.
    pub timeout: Option<f64>,
    /// Barriers of this fork in its scope, in index order; not empty: the parallel only forks.
    pub barriers: Vec<NodeIx>,
}

/// `multi_choice`. Branches in the order of their names.
#[derive(Clone, Debug)]
pub struct MultiChoice {
    pub branches: Vec<(Formula, ScopeIx)>,
    pub minimum: u32,
    /// Seconds from the start.
    pub timeout: Option<f64>,
}

#[derive(Clone, Debug)]
pub struct Foreach {
    pub items: Items,
    pub body: ScopeIx,
    pub parallel: bool,
    pub dynamic: bool,
}

#[derive(Clone, Debug)]
pub struct Join {
    pub mode: JoinMode,
}

/// When a join completes; its inputs are the node's predecessors of that class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinMode {
    AllOf,
    AnyOf,
    AllSuccess,
    OneSuccess,
}

#[derive(Clone, Debug)]
pub struct Reflexive {
    pub generator: Template,
    pub verifier: Template,
    pub generator_kwargs: Tree,
    pub verifier_kwargs: Tree,
    pub max_turns: u32,
    /// Has placeholders of its own: passed as it is.
    pub correction_prompt_template: Option<String>,
}

#[derive(Clone, Debug)]
pub struct Terminate {
    pub status: TerminateStatus,
    pub result: Tree,
    pub reason: Template,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TerminateStatus {
    Completed,
    Failed,
    Cancelled,
}

#[derive(Clone, Debug)]
pub struct Child {
    pub workflow_name: String,
    pub version: Option<String>,
    pub inputs: Tree,
}

/// `metadata`, passed to the headers of the node's task.
pub type Metadata = serde_json::Map<String, Value>;
