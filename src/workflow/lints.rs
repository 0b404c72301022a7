//! What of a compiled document looks like a mistake, and fails a step only when it is reached.

use super::bounds::cut;
use super::operator::{Formula, Operator};
use super::program::Program;

/// Lints that one document has at most.
const MOST: usize = 20;

/// Conditions that cannot be parsed.
pub fn of(program: &Program) -> Vec<String> {
    let broken = |formula: &Formula| formula.0.as_ref().err().cloned();
    let mut lints = Vec::new();
    for node in &program.nodes {
        let rules: Vec<String> = match &node.operator {
            Operator::Condition { condition, .. } | Operator::While { condition, .. } => {
                broken(condition).into_iter().collect()
            }
            Operator::MultiChoice(choice) => {
                choice.branches.iter().filter_map(|(condition, _)| broken(condition)).collect()
            }
            _ => continue,
        };
        for rule in rules {
            if lints.len() < MOST {
                let what = "has a condition that cannot be parsed, which will fail it";
                lints.push(format!("task '{}': {what}: {rule}", cut(&node.id)));
            }
        }
    }
    lints
}
