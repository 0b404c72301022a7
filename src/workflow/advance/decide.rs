//! Whether a pending step starts (HIGHWAY 4.3, 5, 6.10, 9.6): a function of its counters alone.

use crate::workflow::operator::{JoinMode, Operator};
use crate::workflow::program::{Node, TriggerRule};
use crate::workflow::records::{StepRec, Tally};

/// What becomes of a pending step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    Wait,
    Start,
    Skip,
    UpstreamFail,
}

/// How a join ends by its inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinEnd {
    Wait,
    Skip,
    Complete,
    Fail,
    /// As the input that ended first, of those that were not skipped.
    Earliest,
}

/// Decides a step by how many of its predecessors have ended in which way. A join, once it may
/// start, waits for its inputs, also where it is a handler.
pub fn decide(node: &Node, step: &StepRec) -> Decision {
    match (released(node, step), &node.operator) {
        (Decision::Start, Operator::Join(join)) => {
            match by_inputs(join.mode, node.predecessors.inputs.len(), step.inputs) {
                JoinEnd::Wait => Decision::Wait,
                JoinEnd::Skip => Decision::Skip,
                JoinEnd::Complete | JoinEnd::Fail | JoinEnd::Earliest => Decision::Start,
            }
        }
        (decision, _) => decision,
    }
}

/// As [`decide`], whatever a join's inputs say.
pub fn released(node: &Node, step: &StepRec) -> Decision {
    if node.is_handler() { by_trigger(node, step) } else { by_gates(node, step) }
}

/// A handler starts when one that names it ended as it should, whatever else precedes it.
fn by_trigger(node: &Node, step: &StepRec) -> Decision {
    match (step.trigger, step.referrers as usize >= node.predecessors.referrers.len()) {
        (Some(_), _) => Decision::Start,
        (None, true) => Decision::Skip,
        (None, false) => Decision::Wait,
    }
}

/// Every other step waits for the routers that may select it, and for its dependencies.
fn by_gates(node: &Node, step: &StepRec) -> Decision {
    let predecessors = &node.predecessors;
    let selected = !predecessors.routers.is_empty();
    if selected {
        if (step.routers.total() as usize) < predecessors.routers.len() {
            return Decision::Wait;
        }
        match (step.routers.completed, step.routers.failed) {
            (0, 0) => return Decision::Skip,
            (0, _) => return Decision::UpstreamFail,
            _ => {}
        }
    }
    by_rule(node.trigger, predecessors.dependencies.len(), step.dependencies, selected)
}

/// Applies a trigger rule to `count` dependencies, of which `tally` have ended. A step that a
/// router `selected` takes skipped dependencies for satisfied.
fn by_rule(rule: TriggerRule, count: usize, tally: Tally, selected: bool) -> Decision {
    use TriggerRule::{AllDone, AllSuccess, NoneFailed, OneDone, OneSuccess};
    if count == 0 {
        return Decision::Start;
    }
    let waiting = (tally.total() as usize) < count;
    let (success, failure) = (tally.completed > 0, tally.failed > 0);
    match rule {
        AllSuccess | NoneFailed if failure => Decision::UpstreamFail,
        OneSuccess if success => Decision::Start,
        OneDone if success || failure => Decision::Start,
        _ if waiting => Decision::Wait,
        AllDone | NoneFailed => Decision::Start,
        OneSuccess if failure => Decision::UpstreamFail,
        AllSuccess if success => Decision::Start,
        AllSuccess | OneSuccess | OneDone if selected => Decision::Start,
        AllSuccess | OneSuccess | OneDone => Decision::Skip,
    }
}

/// Applies a join's mode to `count` inputs, of which `tally` have ended.
pub fn by_inputs(mode: JoinMode, count: usize, tally: Tally) -> JoinEnd {
    if count == 0 {
        return JoinEnd::Complete;
    }
    if tally.skipped as usize >= count {
        return JoinEnd::Skip;
    }
    let waiting = (tally.total() as usize) < count;
    let (success, failure) = (tally.completed > 0, tally.failed > 0);
    match mode {
        JoinMode::AllSuccess if failure => JoinEnd::Fail,
        JoinMode::OneSuccess if success => JoinEnd::Complete,
        JoinMode::AnyOf => match (success, failure) {
            (true, false) => JoinEnd::Complete,
            (false, true) => JoinEnd::Fail,
            (true, true) => JoinEnd::Earliest,
            (false, false) => JoinEnd::Wait,
        },
        _ if waiting => JoinEnd::Wait,
        JoinMode::OneSuccess => JoinEnd::Fail,
        JoinMode::AllOf | JoinMode::AllSuccess => JoinEnd::Complete,
    }
}
