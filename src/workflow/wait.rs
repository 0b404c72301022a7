//! What a `wait` step waits for (HIGHWAY 6.4).

use serde_json::Value;

use super::bounds::cut;
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
            meaning(text).map_err(|rule| format!("wait_for \"{}\" {rule}", cut(text)))?;
        }
        Ok(Self { text: text.to_owned(), template })
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
            _ => Err(RULE),
        };
        Ok(meaning.map_err(|rule| Failure::template(format!("wait_for {rule}")))?.wake(now))
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
fn meaning(text: &str) -> Result<Meaning, &'static str> {
    let seconds = |seconds| match bounded(seconds) {
        Some(seconds) => Ok(Meaning::Seconds(seconds)),
        None => Err("must not be longer than 999,999,999 days"),
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
        return seconds(duration.ok_or("must be duration:<number>[s|m|h]")?);
    }
    if let Some(instant) = text.strip_prefix("datetime:") {
        let instant = datetime::parse(instant.trim());
        return instant.map(Meaning::Instant).ok_or("must be datetime:<ISO 8601>");
    }
    if let Some(instant) = datetime::parse(text) {
        return Ok(Meaning::Instant(instant));
    }
    if let Some(time) = text.strip_prefix("time:") {
        let time = time_of_day(time.trim());
        return time.map(Meaning::TimeOfDay).ok_or("must be time:HH:MM:SS");
    }
    if is_event_name(text) { Ok(Meaning::Event(text.to_owned())) } else { Err(RULE) }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workflow::template::tests::context;
    use proptest::prelude::*;
    use serde_json::json;

    fn at(text: &str) -> Timestamp {
        datetime::parse(text).unwrap()
    }

    fn wake(value: Value) -> Result<Wake, Failure> {
        WaitFor::interpret(&value, at("2025-06-01T12:00:00.5"))
    }

    #[test]
    fn every_form_in_its_order() {
        let cases = [
            (json!(90), "2025-06-01T12:01:30.5"),
            (json!("90"), "2025-06-01T12:01:30.5"),
            (json!(" 1.5 "), "2025-06-01T12:00:02"),
            (json!("P1DT12H"), "2025-06-03T00:00:00.5"),
            (json!("PT1e-06S"), "2025-06-01T12:00:00.500001"),
            (json!("duration:3600"), "2025-06-01T13:00:00.5"),
            (json!("duration:5m"), "2025-06-01T12:05:00.5"),
            (json!("duration:2h"), "2025-06-01T14:00:00.5"),
            (json!("duration:1.5s"), "2025-06-01T12:00:02"),
            (json!("2026-01-01T04:30:00Z"), "2026-01-01T04:30"),
            (json!("2026-01-01T04:30:00+02:00"), "2026-01-01T02:30"),
            (json!("2026-01-01"), "2026-01-01"),
            (json!("datetime:2026-01-01T00:00:00"), "2026-01-01"),
            (json!("time:12:00:01"), "2025-06-01T12:00:01"),
            (json!("time:12:00:00"), "2025-06-02T12:00:00"),
            (json!("time:04:00:00"), "2025-06-02T04:00:00"),
            // A number before anything else, also where a date was meant.
            (json!("2026"), "2025-06-01T12:33:46.5"),
        ];
        for (value, expected) in cases {
            assert_eq!(wake(value.clone()), Ok(Wake::At(at(expected))), "{value}");
        }
        for over in [
            json!(0),
            json!(-5),
            json!("-PT5S"),
            json!("PT0S"),
            json!("duration:-1"),
            json!("2025-06-01"),
            json!("2025-06-01T12:00:00.5"),
            json!("datetime:2001-01-01"),
        ] {
            assert_eq!(wake(over.clone()), Ok(Wake::Now), "{over}");
        }
        for event in ["event_name", "order.paid", "a-b_1", "_x", "PENDING", "P_1"] {
            assert_eq!(wake(json!(event)), Ok(Wake::Event(event.to_owned())), "{event}");
        }
    }

    #[test]
    fn refuses_everything_else() {
        let bad = [
            "",
            " ",
            "two words",
            "1 hour",
            "PT",
            "P5",
            "PT5",
            "PT1H1H",
            "PT1D",
            "duration:",
            "duration:5d",
            "duration:x",
            "datetime:soon",
            "datetime:2025-02-30",
            "time:4:00:00",
            "time:24:00:00",
            "time:04:00",
            "time:00:00:00:00",
            "2025-02-30",
            "2025-01-01T25:00:00",
            "01:30:00",
            "1e30",
            "x!",
            "ä",
            ".x",
        ];
        for text in bad {
            let error = WaitFor::parse(text).expect_err(text);
            assert!(error.starts_with("wait_for \""), "{error}");
            assert_eq!(wake(json!(text)).unwrap_err().name, "TemplateError", "{text}");
        }
        for value in [json!(null), json!(true), json!([1]), json!({}), json!(1e30)] {
            assert_eq!(wake(value.clone()).unwrap_err().name, "TemplateError", "{value}");
        }
    }

    #[test]
    fn templates_are_decided_when_they_are_resolved() {
        let mut names = context(json!({"n": 5, "u": "m", "e": "evt", "bad": "no no"}));
        let now = at("2025-01-01");
        let mut wake = |text: &str| {
            let value = WaitFor::parse(text).unwrap().resolve(&mut names)?;
            WaitFor::interpret(&value, now)
        };
        assert_eq!(wake("{{n}}"), Ok(Wake::At(at("2025-01-01T00:00:05"))));
        assert_eq!(wake("duration:{{n}}{{u}}"), Ok(Wake::At(at("2025-01-01T00:05:00"))));
        assert_eq!(wake("{{e}}_{{n}}"), Ok(Wake::Event("evt_5".to_owned())));
        assert_eq!(wake("PT3S"), Ok(Wake::At(at("2025-01-01T00:00:03"))));
        assert_eq!(wake("{{bad}}").unwrap_err().name, "TemplateError");
        assert_eq!(wake("{{nobody}}").unwrap_err().name, "TemplateError");
        assert_eq!(wake("P999999999D"), Ok(Wake::At(Timestamp::INFINITY)));
    }

    proptest! {
        #[test]
        fn interpreting_is_total(text in "[-+PTHMSdurationme:0-9.e ]{0,24}|\\PC{0,24}") {
            let parsed = WaitFor::parse(&text);
            let wake = wake(json!(text));
            prop_assert!(parsed.is_ok() || wake.is_err());
            if let Ok(Wake::At(at)) = wake {
                prop_assert!(at > super::tests::at("2025-06-01T12:00:00.5"));
            }
        }
    }
}
