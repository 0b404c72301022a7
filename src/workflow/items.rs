//! The lists that `foreach` loops over (HIGHWAY 6.6) and the value that `switch` compares (6.11).

use serde_json::{Value, json};

use super::bounds::{Budget, MAX_ITEMS, kind};
use super::expression::{Expression, to_text};
use super::failure::Failure;
use super::names::{Found, Lookup, Names};
use super::path::Path;
use super::range::{self, Range};
use super::template::Template;
use crate::json::{self, MAX_LEVELS, Unread};

/// The text of a loop's `items`.
#[derive(Clone, Debug, PartialEq)]
pub struct Items {
    form: Form,
}

#[derive(Clone, Debug, PartialEq)]
enum Form {
    Range(Range),
    /// A bare path, which also may be a word of JSON.
    Path(Path, String),
    Lone(Template),
    /// Text that is JSON once its templates are filled in.
    Text(Template),
}

impl Items {
    /// Never fails: a text that is no list fails the step when it is evaluated.
    pub fn parse(text: &str) -> Self {
        let text = text.trim();
        let template = Template::parse(text);
        let form = match (range::prefix(text, true), Path::parse(text)) {
            (Some((range, "")), _) => Form::Range(range),
            (_, Some(path)) => Form::Path(path, text.to_owned()),
            _ if template.is_lone() => Form::Lone(template),
            _ => Form::Text(template),
        };
        Self { form }
    }

    /// The elements: an array's, an object's as `{"key", "value"}` in the order of keys, those of
    /// a text that is one of these in JSON; none for null.
    ///
    /// # Errors
    /// `ExpressionError` for everything else and for more than `MAX_ITEMS`, `TemplateError` for
    /// an unknown name.
    pub fn evaluate(&self, names: &mut dyn Names) -> Result<Vec<Value>, Failure> {
        match &self.form {
            Form::Range(range) => range.values(&mut Lookup::new(names)),
            Form::Lone(template) => list(template.resolve(names)?),
            Form::Text(template) => {
                let text = template.text(names)?;
                list(parsed(&text)?.ok_or_else(|| no_list(&Value::String(text)))?)
            }
            Form::Path(path, text) => {
                match (names.find(path.name())?, serde_json::from_str(text)) {
                    (Found::Unknown, Ok(value)) => list(value),
                    _ => list(Template::of_path(path.clone()).resolve(names)?),
                }
            }
        }
    }
}

/// A value as the elements to loop over.
///
/// # Errors
/// As `Items::evaluate`.
pub fn list(value: Value) -> Result<Vec<Value>, Failure> {
    match value {
        Value::String(text) => match parsed(&text)? {
            Some(parsed @ (Value::Array(_) | Value::Object(_))) => elements(parsed),
            _ => Err(no_list(&Value::String(text))),
        },
        other => elements(other),
    }
}

/// The value that a text is in JSON, if it is one.
///
/// # Errors
/// `ExpressionError` for a value beyond a limit.
fn parsed(text: &str) -> Result<Option<Value>, Failure> {
    let too_large = |rule| Failure::expression(format!("items {rule}"));
    match json::read(text, MAX_LEVELS) {
        Ok(value) => Budget::default().charge(&value, 0).map_err(too_large).map(|()| Some(value)),
        Err(Unread::Deep(max)) => Err(too_large(json::too_deep(max))),
        Err(Unread::Wrong(_)) => Ok(None),
    }
}

fn elements(value: Value) -> Result<Vec<Value>, Failure> {
    let elements: Vec<Value> = match value {
        Value::Null => Vec::new(),
        Value::Array(elements) => elements,
        Value::Object(members) => {
            let mut members: Vec<_> = members.into_iter().collect();
            members.sort_by(|(one, _), (other, _)| one.cmp(other));
            members.into_iter().map(|(key, value)| json!({"key": key, "value": value})).collect()
        }
        other => return Err(no_list(&other)),
    };
    match elements.len() {
        count if count > MAX_ITEMS => {
            let rule = format!("at most {MAX_ITEMS} are allowed");
            Err(Failure::expression(format!("items has {count} elements, {rule}")))
        }
        _ => Ok(elements),
    }
}

fn no_list(value: &Value) -> Failure {
    let rule = "must be an array, an object or a text that is one in JSON";
    Failure::expression(format!("items {rule}, and not {}", kind(value)))
}

/// The text of a switch's `switch_on`.
#[derive(Clone, Debug, PartialEq)]
pub struct SwitchOn {
    text: String,
    template: Template,
    path: Option<Path>,
    expression: Option<Expression>,
}

impl SwitchOn {
    /// Never fails: a text that is nothing else is interpolated.
    pub fn parse(text: &str) -> Self {
        let text = text.trim();
        let template = Template::parse(text);
        let path = Path::parse(text);
        let alone = path.is_some() || template.is_lone();
        let expression = if alone { None } else { Expression::parse(text).ok() };
        Self { text: text.to_owned(), template, path, expression }
    }

    /// The text that is compared with the cases.
    ///
    /// # Errors
    /// `TemplateError` for an unknown name in a template.
    pub fn evaluate(&self, names: &mut dyn Names) -> Result<String, Failure> {
        if let Some(path) = &self.path {
            return match names.find(path.name())? {
                Found::Unknown => Ok(self.text.clone()),
                _ => Ok(to_text(&Template::of_path(path.clone()).resolve(names)?)),
            };
        }
        if self.template.is_lone() {
            return Ok(to_text(&self.template.resolve(names)?));
        }
        match self.expression.as_ref().map(|expression| expression.eval(names)) {
            Some(Ok(value)) => Ok(to_text(&value)),
            Some(Err(_)) | None => self.template.text(names),
        }
    }
}
