//! Truth, equality, order and containment of JSON values, as expressions and guards see them.

use std::cmp::Ordering;

use serde_json::Value;

use crate::workflow::bounds::kind;
use crate::workflow::failure::Failure;
use crate::workflow::number::Decimal;

/// Whether a value counts as true: everything except null, false, 0, the empty text, `false` in
/// any case, the empty array and the empty object.
pub fn truthy(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(truth) => *truth,
        Value::Number(_) => Decimal::of(value).is_none_or(|number| !number.is_zero()),
        Value::String(text) => !text.is_empty() && !text.eq_ignore_ascii_case("false"),
        Value::Array(elements) => !elements.is_empty(),
        Value::Object(members) => !members.is_empty(),
    }
}

/// A value as text: strings as they are, everything else as compact JSON (HIGHWAY 6.11).
pub fn to_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Whether two values are equal. Numbers count numerically, also written as text; a boolean equals
/// its name in any case; arrays and objects compare by parts. Null equals only null.
pub fn equal(left: &Value, right: &Value) -> bool {
    let mut open = vec![(left, right)];
    while let Some(pair) = open.pop() {
        match pair {
            (Value::Array(left), Value::Array(right)) => {
                if left.len() != right.len() {
                    return false;
                }
                open.extend(left.iter().zip(right));
            }
            (Value::Object(left), Value::Object(right)) => {
                if left.len() != right.len() {
                    return false;
                }
                for (key, member) in left {
                    match right.get(key) {
                        Some(other) => open.push((member, other)),
                        None => return false,
                    }
                }
            }
            (left, right) if !equal_scalars(left, right) => return false,
            _ => {}
        }
    }
    true
}

fn equal_scalars(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Null, Value::Null) => true,
        (Value::Bool(left), Value::Bool(right)) => left == right,
        (Value::String(left), Value::String(right)) => left == right,
        (Value::Bool(truth), Value::String(text)) | (Value::String(text), Value::Bool(truth)) => {
            text.eq_ignore_ascii_case(if *truth { "true" } else { "false" })
        }
        (Value::Number(_), Value::Number(_) | Value::String(_))
        | (Value::String(_), Value::Number(_)) => {
            matches!((Decimal::of(left), Decimal::of(right)), (Some(a), Some(b)) if a == b)
        }
        _ => false,
    }
}

/// The order of two texts (by code point), or of two numbers or numeric texts; none when one of
/// them is null.
///
/// # Errors
/// `ExpressionError` for everything else, which has no order.
pub fn order(left: &Value, right: &Value) -> Result<Option<Ordering>, Failure> {
    if left.is_null() || right.is_null() {
        return Ok(None);
    }
    if let (Value::String(left), Value::String(right)) = (left, right) {
        return Ok(Some(left.cmp(right)));
    }
    let number = |value: &Value| {
        Decimal::of(value).ok_or_else(|| {
            let pair = format!("{} with {}", kind(left), kind(right));
            Failure::expression(format!("cannot order {pair}: {} is no number", kind(value)))
        })
    };
    Ok(Some(number(left)?.cmp(&number(right)?)))
}

/// Whether the right value holds the left one: as an element, as a key, as a part of a text. What
/// is looked for as a key or a part is a text, a number or a boolean; null holds nothing.
///
/// # Errors
/// `ExpressionError` when the right value is a number or a boolean.
pub fn contains(right: &Value, left: &Value) -> Result<bool, Failure> {
    let part = match left {
        Value::String(_) | Value::Number(_) | Value::Bool(_) => Some(to_text(left)),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    };
    match right {
        Value::Null => Ok(false),
        Value::Array(elements) => Ok(elements.iter().any(|element| equal(element, left))),
        Value::Object(members) => Ok(part.is_some_and(|key| members.contains_key(&key))),
        Value::String(text) => Ok(part.is_some_and(|part| text.contains(&part))),
        Value::Bool(_) | Value::Number(_) => {
            let rule = "\"in\" takes an array, an object or a text";
            Err(Failure::expression(format!("cannot look into {}: {rule}", kind(right))))
        }
    }
}
