//! Guards: conditions on names that must hold before or after a step (HIGHWAY 9.4).

#[cfg(test)]
mod tests;

use regex::{Regex, RegexBuilder};
use serde_json::Value;

use super::bounds::{MAX_DEPTH, MAX_MATCHED, MAX_PATTERN, MAX_REGEX, cut, shown};
use super::expression::{equal, to_text};
use super::failure::Failure;
use super::names::{Looked, Lookup, Names};
use super::number::Decimal;
use super::path::Path;
use super::template::{Template, Tree};

/// One element of a step's `preconditions` or `postconditions`.
#[derive(Clone, Debug)]
pub struct Guard {
    variable: Template,
    /// The variable as the document has it.
    text: String,
    check: Check,
    message: String,
}

#[derive(Clone, Debug)]
enum Check {
    Exists,
    NotNull,
    Equals(Tree),
    NotEquals(Tree),
    InRange(Tree),
    /// Compiled for each check: a compiled pattern takes far more memory than its text, and a
    /// document may hold many.
    Matches(Tree),
    Type(Tree),
    InSet(Tree),
}

impl Guard {
    /// Reads a guard.
    ///
    /// # Errors
    /// The field, its value and the rule that it breaks; a pattern must compile, within
    /// `MAX_REGEX`.
    pub fn parse(value: &Value) -> Result<Self, String> {
        let fields =
            value.as_object().ok_or_else(|| format!("guard {} must be an object", shown(value)))?;
        let text = |field: &str| match fields.get(field) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.as_str())),
            Some(other) => Err(format!("guard's {field} {} must be a string", shown(other))),
        };
        let variable = text("variable")?.ok_or("a guard's variable is required")?;
        let check = text("check")?.ok_or("a guard's check is required")?;
        let template = match Path::parse(variable.trim()) {
            Some(path) => Template::of_path(path),
            None => Template::parse(variable.trim()),
        };
        if template.is_literal() {
            let rule = "must be a template or a path";
            return Err(format!("guard's variable \"{}\" {rule}", cut(variable)));
        }
        let value = fields.get("value").unwrap_or(&Value::Null);
        let value_of = Tree::parse(value).map_err(|rule| format!("guard's value {rule}"))?;
        Ok(Self {
            variable: template,
            text: variable.to_owned(),
            check: Check::parse(check, value, value_of)?,
            message: text("message")?.unwrap_or_default().to_owned(),
        })
    }

    /// Checks a precondition.
    ///
    /// # Errors
    /// `PreconditionFailed` with the guard's message or a generated one when the guard does not
    /// hold; `TemplateError` for a name that is unknown, except to `exists` and `not_null`.
    pub fn check(&self, names: &mut dyn Names) -> Result<(), Failure> {
        self.broken(names)?.map_or(Ok(()), |message| Err(Failure::precondition(message)))
    }

    /// Checks a postcondition.
    ///
    /// # Errors
    /// As `check`, with `PostconditionFailed`.
    pub fn check_after(&self, names: &mut dyn Names) -> Result<(), Failure> {
        self.broken(names)?.map_or(Ok(()), |message| Err(Failure::postcondition(message)))
    }

    /// The message of a guard that does not hold.
    fn broken(&self, names: &mut dyn Names) -> Result<Option<String>, Failure> {
        let lookup = &mut Lookup::new(names);
        let rule = match self.value(lookup)? {
            None => match &self.check {
                Check::Exists => Some("must exist".to_owned()),
                check => check.broken_by(&Value::Null, lookup)?,
            },
            Some(value) => self.check.broken_by(&value, lookup)?,
        };
        Ok(rule.map(|rule| match &*self.message {
            "" => format!("{} {rule}", cut(&self.text)),
            message => message.to_owned(),
        }))
    }

    /// The variable's value; none when it does not exist, or is unknown to a check that asks for
    /// no more than that.
    fn value(&self, lookup: &mut Lookup) -> Result<Option<Value>, Failure> {
        if matches!(self.check, Check::Exists | Check::NotNull) {
            if let Some(path) = self.variable.lone_path() {
                return Ok(match lookup.look(path)? {
                    Looked::Value(value) => Some(value),
                    Looked::Missing | Looked::Unknown => None,
                });
            }
            let embedded = !self.variable.is_lone();
            for path in self.variable.paths().filter(|_| embedded) {
                if lookup.look(path)? == Looked::Unknown {
                    return Ok(None);
                }
            }
        }
        self.variable.resolve_in(lookup, 0).map(Some)
    }
}

impl Check {
    fn parse(check: &str, value: &Value, tree: Tree) -> Result<Self, String> {
        let wrong = |rule: &str| Err(format!("guard's value {} {rule}", shown(value)));
        let literal = tree.is_literal();
        Ok(match check {
            "exists" => Self::Exists,
            "not_null" => Self::NotNull,
            "equals" => Self::Equals(tree),
            "not_equals" => Self::NotEquals(tree),
            "in_range" => match value.as_array().map(Vec::as_slice) {
                Some(bounds @ [_, _]) => {
                    let wrong_bound = |bound: &Value| {
                        Decimal::of(bound).is_none()
                            && Tree::parse(bound).is_ok_and(|t| t.is_literal())
                    };
                    if bounds.iter().any(wrong_bound) {
                        return wrong("must be an array of two numbers for in_range");
                    }
                    Self::InRange(tree)
                }
                _ => return wrong("must be an array of exactly two elements for in_range"),
            },
            "matches_regex" => match value.as_str() {
                Some(pattern) => {
                    if literal {
                        compile(pattern)?;
                    }
                    Self::Matches(tree)
                }
                None => return wrong("must be a pattern for matches_regex"),
            },
            "type_check" => match value.as_str() {
                Some(name) if literal && is_type(name, &Value::Null).is_none() => {
                    return wrong("must be the name of a JSON type for type_check");
                }
                Some(_) => Self::Type(tree),
                None => return wrong("must be the name of a JSON type for type_check"),
            },
            "in_set" if value.is_array() => Self::InSet(tree),
            "in_set" => return wrong("must be an array for in_set"),
            _ => {
                let checks = "exists, not_null, equals, not_equals, in_range, matches_regex, \
                              type_check and in_set";
                let unknown = format!("guard's check \"{}\" is unknown", cut(check));
                return Err(format!("{unknown}; checks are {checks}"));
            }
        })
    }

    /// The rule, when a value breaks it.
    fn broken_by(&self, value: &Value, lookup: &mut Lookup) -> Result<Option<String>, Failure> {
        let (holds, rule) = match self {
            Self::Exists => (true, String::new()),
            Self::NotNull => (!value.is_null(), "must not be null".to_owned()),
            Self::Equals(tree) => {
                let wanted = tree.resolve_in(lookup, 0)?;
                (equal(value, &wanted), format!("must equal {}", said(tree, &wanted)))
            }
            Self::NotEquals(tree) => {
                let wanted = tree.resolve_in(lookup, 0)?;
                (!equal(value, &wanted), format!("must not equal {}", said(tree, &wanted)))
            }
            Self::InRange(tree) => {
                let bounds = tree.resolve_in(lookup, 0)?;
                let at = |index: usize| bounds.get(index).and_then(Decimal::of);
                let number = Decimal::of(value);
                let holds = matches!((at(0), number, at(1)),
                    (Some(min), Some(number), Some(max)) if min <= number && number <= max);
                (holds, format!("must be in the range {}", said(tree, &bounds)))
            }
            Self::Matches(tree) => {
                let pattern = tree.resolve_in(lookup, 0)?;
                let shown = said(tree, &pattern);
                let pattern = to_text(&pattern);
                let matches = match value {
                    Value::String(text) if text.len() > MAX_MATCHED => {
                        let rule = format!("must have at most {MAX_MATCHED} bytes to be matched");
                        return Ok(Some(rule));
                    }
                    Value::String(text) => {
                        compile(&pattern).map_err(|rule| refused(tree, rule))?.is_match(text)
                    }
                    _ => false,
                };
                (matches, format!("must be a text that matches {shown}"))
            }
            Self::Type(tree) => {
                let name = tree.resolve_in(lookup, 0)?;
                let shown = said(tree, &name);
                let name = to_text(&name);
                let holds = is_type(&name, value).ok_or_else(|| {
                    Failure::template(format!("{shown} must be the name of a JSON type"))
                })?;
                (holds, format!("must be of type {shown}"))
            }
            Self::InSet(tree) => {
                let set = tree.resolve_in(lookup, 0)?;
                let mut elements = set.as_array().into_iter().flatten();
                let holds = elements.any(|element| equal(element, value));
                (holds, format!("must be one of {}", said(tree, &set)))
            }
        };
        Ok((!holds).then_some(rule))
    }
}

/// What a guard asks for, as a message may say it: the document's own words, and nothing that a run
/// has put in their place.
fn said(tree: &Tree, value: &Value) -> String {
    if tree.is_literal() { shown(value) } else { "the guard's value".to_owned() }
}

/// A pattern that cannot be used, by what its document or a run made it.
fn refused(tree: &Tree, rule: String) -> Failure {
    Failure::template(if tree.is_literal() {
        rule
    } else {
        "the guard's pattern cannot be used".to_owned()
    })
}

/// Compiles a pattern of a stranger's: its size and its nesting are bounded, its matching is linear
/// by the nature of the engine.
fn compile(pattern: &str) -> Result<Regex, String> {
    if pattern.len() > MAX_PATTERN {
        let rule = format!("must have at most {MAX_PATTERN} bytes, it has {}", pattern.len());
        return Err(format!("pattern \"{}\" {rule}", cut(pattern)));
    }
    let nesting = u32::try_from(MAX_DEPTH).unwrap_or(u32::MAX);
    RegexBuilder::new(pattern)
        .size_limit(MAX_REGEX)
        .dfa_size_limit(MAX_REGEX)
        .nest_limit(nesting)
        .build()
        .map_err(|error| {
            // A long one shows the whole pattern, and the reason in its last line.
            let text = error.to_string();
            let reason =
                if text.len() <= 500 { &text } else { text.lines().last().unwrap_or_default() };
            format!("pattern \"{}\" cannot be used: {reason}", cut(pattern))
        })
}

/// Whether a value is of the named type; none when there is no such type. A number is an integer
/// when it is written without a fraction and an exponent.
fn is_type(name: &str, value: &Value) -> Option<bool> {
    Some(match name {
        "int" | "integer" => match value {
            Value::Number(number) => !number.as_str().contains(['.', 'e', 'E']),
            _ => false,
        },
        "float" | "number" => value.is_number(),
        "str" | "string" => value.is_string(),
        "bool" | "boolean" => value.is_boolean(),
        "list" | "array" => value.is_array(),
        "dict" | "object" => value.is_object(),
        "null" | "none" => value.is_null(),
        _ => return None,
    })
}
