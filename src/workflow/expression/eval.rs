//! Evaluation of a parsed expression.

use std::cmp::Ordering;

use serde_json::Value;

use super::value::{contains, equal, order, truthy};
use super::{Comparison, Node};
use crate::workflow::bounds::kind;
use crate::workflow::failure::Failure;
use crate::workflow::names::Lookup;
use crate::workflow::number::Number;

/// A node's value, which stands `depth` levels deep in a list.
pub fn eval(node: &Node, lookup: &mut Lookup, depth: usize) -> Result<Value, Failure> {
    match node {
        Node::Literal(value) => Ok(value.clone()),
        Node::Text(template) => template.text_in(lookup).map(Value::String),
        Node::Hole(hole) => hole.value(lookup, depth),
        Node::Or(nodes) => first(nodes, lookup, depth, true),
        Node::And(nodes) => first(nodes, lookup, depth, false),
        Node::Not(node) => Ok(Value::Bool(!truthy(&eval(node, lookup, depth)?))),
        Node::Compare(left, comparison, right) => {
            let left = eval(left, lookup, depth)?;
            let right = eval(right, lookup, depth)?;
            compare(&left, *comparison, &right).map(Value::Bool)
        }
        Node::Arithmetic(first, rest) => {
            let mut result = eval(first, lookup, depth)?;
            for (operator, node) in rest {
                result = calculate(&result, *operator, &eval(node, lookup, depth)?)?;
            }
            Ok(result)
        }
        // 0 - x, so that a sign follows the rules of a sum.
        Node::Sign(sign, node) => calculate(&Value::from(0), *sign, &eval(node, lookup, depth)?),
        Node::List(nodes) => {
            let values = nodes.iter().map(|node| eval(node, lookup, depth + 1));
            values.collect::<Result<_, _>>().map(Value::Array)
        }
        Node::Len(node) => length(&eval(node, lookup, depth)?),
    }
}

/// The first operand whose truth is the wanted one, else the last; what follows is not evaluated.
fn first(nodes: &[Node], lookup: &mut Lookup, depth: usize, truth: bool) -> Result<Value, Failure> {
    let mut value = Value::Null;
    for node in nodes {
        value = eval(node, lookup, depth)?;
        if truthy(&value) == truth {
            break;
        }
    }
    Ok(value)
}

fn compare(left: &Value, comparison: Comparison, right: &Value) -> Result<bool, Failure> {
    let ordered = |wanted: fn(Ordering) -> bool| Ok(order(left, right)?.is_some_and(wanted));
    match comparison {
        Comparison::Equal => Ok(equal(left, right)),
        Comparison::NotEqual => Ok(!equal(left, right)),
        Comparison::Less => ordered(Ordering::is_lt),
        Comparison::LessOrEqual => ordered(Ordering::is_le),
        Comparison::Greater => ordered(Ordering::is_gt),
        Comparison::GreaterOrEqual => ordered(Ordering::is_ge),
        Comparison::In => contains(right, left),
        Comparison::NotIn => contains(right, left).map(|found| !found),
    }
}

fn calculate(left: &Value, operator: char, right: &Value) -> Result<Value, Failure> {
    let fail = |rule: String| {
        let formula = format!("{} {operator} {}", kind(left), kind(right));
        Failure::expression(format!("cannot calculate {formula}: {rule}"))
    };
    let number = |value: &Value| {
        Number::of(value).ok_or_else(|| fail(format!("{} is no finite number", kind(value))))
    };
    let result = number(left)?.apply(operator, number(right)?).map_err(fail)?;
    result.to_value().ok_or_else(|| fail("the result is too large".to_owned()))
}

fn length(value: &Value) -> Result<Value, Failure> {
    let length = match value {
        Value::Null => 0,
        Value::String(text) => text.chars().count(),
        Value::Array(elements) => elements.len(),
        Value::Object(members) => members.len(),
        Value::Bool(_) | Value::Number(_) => {
            let rule = "takes a text, an array, an object or null";
            return Err(Failure::expression(format!("len of {}: len {rule}", kind(value))));
        }
    };
    Ok(Value::from(length))
}
