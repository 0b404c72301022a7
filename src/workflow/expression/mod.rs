//! Expressions of conditions, loops and switches (HIGHWAY 8). A text is parsed before any value is
//! known: values are operands and never become text of the expression.

mod eval;
mod lexer;
mod parser;
#[cfg(test)]
mod tests;
mod value;

use serde_json::Value;

use super::failure::Failure;
use super::names::{Lookup, Names};
use super::template::{Hole, Template};

pub use value::{equal, to_text, truthy};

/// An expression, parsed once.
#[derive(Clone, Debug, PartialEq)]
pub struct Expression {
    root: Node,
}

/// Chains of equal rank are lists, so that the depth of the tree is that of the brackets and signs
/// in the text, which the parser bounds.
#[derive(Clone, Debug, PartialEq)]
enum Node {
    Literal(Value),
    /// A string with templates in it.
    Text(Template),
    /// A template outside quotes, or a bare path.
    Hole(Hole),
    Or(Vec<Node>),
    And(Vec<Node>),
    Not(Box<Node>),
    Compare(Box<Node>, Comparison, Box<Node>),
    Arithmetic(Box<Node>, Vec<(char, Node)>),
    Sign(char, Box<Node>),
    List(Vec<Node>),
    Len(Box<Node>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    In,
    NotIn,
}

impl Expression {
    /// Parses an expression.
    ///
    /// # Errors
    /// What was expected at which character; also a text longer than `MAX_EXPRESSION` bytes or
    /// nested deeper than `MAX_DEPTH`.
    pub fn parse(text: &str) -> Result<Self, String> {
        parser::parse(text).map(|root| Self { root })
    }

    /// Its value.
    ///
    /// # Errors
    /// `ExpressionError` for operands that an operator does not take and for a division by zero,
    /// `TemplateError` for an unknown name or values that are too large.
    pub fn eval(&self, names: &mut dyn Names) -> Result<Value, Failure> {
        eval::eval(&self.root, &mut Lookup::new(names), 0)
    }
}
