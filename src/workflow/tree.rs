//! Values with templates in them: arguments, payloads, inputs, results (HIGHWAY 7.1).

use serde_json::{Map, Value};

use super::bounds::MAX_DEPTH;
use super::failure::Failure;
use super::names::{Lookup, Names};
use super::template::Template;

/// A JSON value whose string values may be templates; keys never are.
#[derive(Clone, Debug, PartialEq)]
pub enum Tree {
    /// A value that holds no template.
    Literal(Value),
    Template(Template),
    Array(Vec<Tree>),
    Object(Vec<(String, Tree)>),
}

impl Tree {
    /// Takes every string value apart.
    ///
    /// # Errors
    /// The rule, when the value has more than `MAX_DEPTH` levels.
    pub fn parse(value: &Value) -> Result<Self, String> {
        Self::at(value, 0)
    }

    /// Bytes of the texts with templates in a value.
    pub fn template_bytes(value: &Value) -> usize {
        match value {
            Value::String(text) if text.contains("{{") => text.len(),
            Value::Array(elements) => elements.iter().map(Self::template_bytes).sum(),
            Value::Object(members) => members.values().map(Self::template_bytes).sum(),
            _ => 0,
        }
    }

    fn at(value: &Value, depth: usize) -> Result<Self, String> {
        if depth > MAX_DEPTH {
            return Err(format!("has more than {MAX_DEPTH} levels of nesting"));
        }
        Ok(match value {
            Value::String(text) => match Template::parse(text) {
                template if template.is_literal() => Self::Literal(value.clone()),
                template => Self::Template(template),
            },
            Value::Array(elements) => {
                let parts = elements.iter().map(|element| Self::at(element, depth + 1));
                let parts = parts.collect::<Result<Vec<_>, _>>()?;
                match parts.iter().all(Self::is_literal) {
                    true => Self::Literal(value.clone()),
                    false => Self::Array(parts),
                }
            }
            Value::Object(members) => {
                let part = |(key, member): (&String, &Value)| {
                    Ok::<_, String>((key.clone(), Self::at(member, depth + 1)?))
                };
                let parts = members.iter().map(part).collect::<Result<Vec<_>, _>>()?;
                match parts.iter().all(|(_, part)| part.is_literal()) {
                    true => Self::Literal(value.clone()),
                    false => Self::Object(parts),
                }
            }
            other => Self::Literal(other.clone()),
        })
    }

    pub fn is_literal(&self) -> bool {
        matches!(self, Self::Literal(_))
    }

    /// The value with every template replaced.
    ///
    /// # Errors
    /// `TemplateError` for an unknown name, and for a value beyond `MAX_BYTES` or `MAX_DEPTH`.
    pub fn resolve(&self, names: &mut dyn Names) -> Result<Value, Failure> {
        self.resolve_in(&mut Lookup::new(names), 0)
    }

    /// As `resolve`, within a resolution that has more parts.
    pub(super) fn resolve_in(&self, lookup: &mut Lookup, depth: usize) -> Result<Value, Failure> {
        let too_large = |rule| Failure::template(format!("resolving the templates {rule}"));
        match self {
            Self::Literal(value) => {
                lookup.budget.charge(value, depth).map_err(too_large)?;
                Ok(value.clone())
            }
            Self::Template(template) => template.resolve_in(lookup, depth),
            Self::Array(parts) => {
                lookup.budget.take(parts.len() + 2).map_err(too_large)?;
                let resolved = parts.iter().map(|part| part.resolve_in(lookup, depth + 1));
                resolved.collect::<Result<_, _>>().map(Value::Array)
            }
            Self::Object(parts) => {
                lookup.budget.take(parts.len() + 2).map_err(too_large)?;
                let mut members = Map::new();
                for (key, part) in parts {
                    lookup.budget.take(key.len() + 3).map_err(too_large)?;
                    members.insert(key.clone(), part.resolve_in(lookup, depth + 1)?);
                }
                Ok(Value::Object(members))
            }
        }
    }
}
