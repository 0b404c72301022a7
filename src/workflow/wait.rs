//! What a `wait` step waits for (HIGHWAY 6.4).

use serde_json::Value;

use super::bounds::{cut, shown};
use super::datetime::{self, DAY_SECONDS};
use super::duration::{bounded, parse_iso};
use super::failure::Failure;
use super::names::Names;
use super::number::Number;
use super::template::Template;
use crate::time::Timestamp;

/// The text of a step's `wait_for`.
#[derive(Clone, Debug, PartialEq)]
pub struct WaitFor {
    text: String,
    /// None when the text is decided already.
    template: Option<Template>,
}

/// When a step that waits goes on.
#[derive(Clone, Debug, PartialEq)]
pub enum Wake {
    Now,
    At(Timestamp),
    /// When an event of this name is emitted, however long that takes.
    Event(String),
}

/// A text's meaning, before the clock is known.
enum Meaning {
    Seconds(f64),
    Instant(Timestamp),
    /// Seconds after midnight, UTC.
    TimeOfDay(i64),
    Event(String),
}

impl WaitFor {
    /// Takes a text that says for what, or that will once its templates are filled in.
    ///
    /// # Errors
    /// The rule, when the text has no template and is none of the forms.
    pub fn parse(text: &str) -> Result<Self, String> {
        let template = Some(Template::parse(text)).filter(|template| !template.is_literal());
        if template.is_none() {
            meaning(text)?;
        }
        Ok(Self { text: text.to_owned(), template })
    }

    /// The first names of the paths in it.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.template.iter().flat_map(Template::names)
    }

    /// The value to interpret: the text with its templates filled in.
    ///
    /// # Errors
    /// `TemplateError` for an unknown name.
    pub fn resolve(&self, names: &mut dyn Names) -> Result<Value, Failure> {
        match &self.template {
            Some(template) => template.resolve(names),
            None => Ok(Value::String(self.text.clone())),
        }
    }

    /// When to go on, for a value that was resolved at `now`. A negative wait and an instant in the
    /// past are over at once.
    ///
    /// # Errors
    /// `TemplateError` for a value that is none of the forms.
    pub fn interpret(value: &Value, now: Timestamp) -> Result<Wake, Failure> {
        let meaning = match value {
            Value::String(text) => meaning(text),
            Value::Number(number) => meaning(number.as_str()),
            _ => Err(format!("wait_for {} {RULE}", shown(value))),
        };
        Ok(meaning.map_err(Failure::template)?.wake(now))
    }
}

impl Meaning {
    fn wake(self, now: Timestamp) -> Wake {
        let at = match self {
            Self::Event(name) => return Wake::Event(name),
            Self::Seconds(seconds) => now.plus_seconds(seconds),
            Self::Instant(at) => at,
            Self::TimeOfDay(second) => {
                let of_day = now.unix_micros().rem_euclid(DAY_SECONDS * 1_000_000);
                let ahead = (second * 1_000_000 - of_day) as f64 / 1e6;
                let ahead = if ahead > 0.0 { ahead } else { ahead + DAY_SECONDS as f64 };
                now.plus_seconds(ahead)
            }
        };
        if at > now { Wake::At(at) } else { Wake::Now }
    }
}

const RULE: &str = "must be seconds, a duration, a datetime, \"time:HH:MM:SS\" or an event's name";

/// The forms in the order of the format: what comes first wins.
fn meaning(text: &str) -> Result<Meaning, String> {
    let wrong = |rule: &str| format!("wait_for \"{}\" {rule}", cut(text));
    let seconds = |seconds| match bounded(seconds) {
        Some(seconds) => Ok(Meaning::Seconds(seconds)),
        None => Err(wrong("is too long")),
    };
    let text = text.trim();
    if let Some(number) = Number::parse(text) {
        return seconds(number.to_f64());
    }
    if let Some(duration) = parse_iso(text) {
        return seconds(duration);
    }
    if let Some(short) = text.strip_prefix("duration:") {
        let duration = short_duration(short.trim());
        return seconds(duration.ok_or_else(|| wrong("must be duration:<number>[s|m|h]"))?);
    }
    if let Some(instant) = text.strip_prefix("datetime:") {
        let instant = datetime::parse(instant.trim());
        return instant.map(Meaning::Instant).ok_or_else(|| wrong("must be datetime:<ISO 8601>"));
    }
    if let Some(instant) = datetime::parse(text) {
        return Ok(Meaning::Instant(instant));
    }
    if let Some(time) = text.strip_prefix("time:") {
        let time = time_of_day(time.trim());
        return time.map(Meaning::TimeOfDay).ok_or_else(|| wrong("must be time:HH:MM:SS"));
    }
    if is_event_name(text) { Ok(Meaning::Event(text.to_owned())) } else { Err(wrong(RULE)) }
}

fn short_duration(text: &str) -> Option<f64> {
    let (number, unit) = match text.strip_suffix(['s', 'm', 'h']) {
        Some(number) if text.ends_with('m') => (number, 60.0),
        Some(number) if text.ends_with('h') => (number, 3600.0),
        Some(number) => (number, 1.0),
        None => (text, 1.0),
    };
    Number::parse(number).map(|number| number.to_f64() * unit)
}

fn time_of_day(text: &str) -> Option<i64> {
    let mut of_day = 0;
    let mut fields = text.split(':');
    for limit in [24, 60, 60] {
        let digits = |field: &&str| field.len() == 2 && field.bytes().all(|b| b.is_ascii_digit());
        let field: i64 = fields.next().filter(digits)?.parse().ok()?;
        of_day = of_day * 60 + Some(field).filter(|field| *field < limit)?;
    }
    fields.next().is_none().then_some(of_day)
}

/// A name, with dots and hyphens allowed inside, that does not begin as a duration does: a slip in
/// `PT5` must not wait forever for an event of that name.
fn is_event_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    let starts = bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    let duration = text.strip_prefix("PT").or(text.strip_prefix('P'));
    let duration = duration.is_some_and(|rest| {
        rest.is_empty() || rest.starts_with(|c: char| !c.is_alphabetic() && c != '_')
    });
    starts && !duration && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
}
