//! Retry strategies and the delays that they give.

use serde::Deserialize;
use serde_json::Value;

use crate::error::{Error, Result, short};
use crate::json;

/// The longest delay and the largest base, in seconds.
pub const DAY: f64 = 86_400.0;

/// How long to wait before the next attempt.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Backoff {
    None,
    /// Always this many seconds.
    Fixed {
        base: f64,
    },
    /// `base` seconds x `factor` ^ (attempt - 1), at most `max` seconds.
    Exponential {
        base: f64,
        factor: f64,
        max: f64,
    },
}

#[derive(Deserialize)]
struct Fields {
    #[serde(default, deserialize_with = "json::member")]
    kind: Option<Value>,
    #[serde(default, deserialize_with = "json::member")]
    base_seconds: Option<Value>,
    #[serde(default, deserialize_with = "json::member")]
    factor: Option<Value>,
    #[serde(default, deserialize_with = "json::member")]
    max_seconds: Option<Value>,
}

impl Backoff {
    /// The members of a strategy.
    pub const MEMBERS: &[&str] = &["kind", "base_seconds", "factor", "max_seconds"];

    /// Reads a `retry_strategy`: an object with kind (none, fixed, exponential), base_seconds,
    /// factor, max_seconds; absent and null members take their defaults.
    ///
    /// # Errors
    /// AB003 when it is not an object, the kind is unknown, or a number is outside of its range.
    pub fn parse(json: &str) -> Result<Self> {
        if !json.trim_start().starts_with('{') {
            return Err(invalid(format!(
                "retry_strategy must be a JSON object, not {}",
                short(json)
            )));
        }
        let fields: Fields = serde_json::from_str(json)
            .map_err(|error| invalid(format!("retry_strategy cannot be read: {error}")))?;
        let base = seconds("base_seconds", fields.base_seconds.as_ref())?;
        let max = seconds("max_seconds", fields.max_seconds.as_ref())?;
        let factor = factor(fields.factor.as_ref())?;
        let kind = match &fields.kind {
            None | Some(Value::Null) => "none",
            Some(Value::String(kind)) => kind.as_str(),
            Some(other) => {
                return Err(invalid(format!(
                    "retry_strategy.kind must be text, not {}",
                    short(&other.to_string())
                )));
            }
        };
        match kind {
            "none" => Ok(Self::None),
            "fixed" => Ok(Self::Fixed { base: base.unwrap_or(60.0) }),
            "exponential" => Ok(Self::Exponential {
                base: base.unwrap_or(30.0),
                factor: factor.unwrap_or(2.0),
                max: max.unwrap_or(DAY),
            }),
            _ => Err(invalid(format!(
                "Unsupported retry_strategy.kind \"{}\": must be none, fixed or exponential",
                short(kind)
            ))),
        }
    }

    /// Seconds to wait after attempt number `attempt` failed. Attempts count from 1; lower numbers
    /// are taken as 1. Never negative, never above a day, whatever overflows on the way.
    pub fn delay(self, attempt: i32) -> f64 {
        match self {
            Self::None => 0.0,
            Self::Fixed { base } => base,
            Self::Exponential { base, factor, max } => {
                let growth = factor.powi(attempt.max(1) - 1);
                // 0 x infinity is not a number; a base of nothing stays nothing.
                let delay = if base == 0.0 { 0.0 } else { base * growth };
                delay.min(max).min(DAY)
            }
        }
    }
}

fn seconds(name: &str, value: Option<&Value>) -> Result<Option<f64>> {
    number(name, value, |number| (0.0..=DAY).contains(&number), "between 0 and 86400")
}

fn factor(value: Option<&Value>) -> Result<Option<f64>> {
    number("factor", value, |number| number.is_finite() && number >= 0.0, "finite and not negative")
}

fn number(
    name: &str,
    value: Option<&Value>,
    allowed: impl Fn(f64) -> bool,
    rule: &str,
) -> Result<Option<f64>> {
    let value = match value {
        None | Some(Value::Null) => return Ok(None),
        Some(value) => value,
    };
    match value.as_f64().filter(|number| allowed(*number)) {
        Some(number) => Ok(Some(number)),
        None => Err(invalid(format!(
            "retry_strategy.{name} must be a number {rule}, not {}",
            short(&value.to_string())
        ))),
    }
}

fn invalid(rule: String) -> Error {
    Error::RetryStrategy { rule }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn delay(json: &str, attempt: i32) -> f64 {
        Backoff::parse(json).unwrap().delay(attempt)
    }

    #[test]
    fn defaults_of_every_kind() {
        assert_eq!(delay("{}", 5), 0.0);
        assert_eq!(delay(r#"{"kind":"none","base_seconds":7}"#, 5), 0.0);
        assert_eq!(delay(r#"{"kind":null}"#, 5), 0.0);
        assert_eq!(delay(r#"{"kind":"fixed"}"#, 5), 60.0);
        assert_eq!(delay(r#"{"kind":"exponential"}"#, 1), 30.0);
        assert_eq!(delay(r#"{"kind":"exponential"}"#, 3), 120.0);
    }

    #[test]
    fn caps() {
        assert_eq!(delay(r#"{"kind":"exponential","max_seconds":45}"#, 2), 45.0);
        assert_eq!(delay(r#"{"kind":"exponential"}"#, 30), DAY);
        assert_eq!(delay(r#"{"kind":"fixed","base_seconds":86400}"#, 1), DAY);
        // max_seconds bounds growth; a fixed delay does not grow.
        assert_eq!(delay(r#"{"kind":"fixed","max_seconds":3}"#, 1), 60.0);
    }

    #[test]
    fn overflow_saturates() {
        assert_eq!(delay(r#"{"kind":"exponential","factor":1e300}"#, i32::MAX), DAY);
        assert_eq!(delay(r#"{"kind":"exponential","base_seconds":0,"factor":9}"#, i32::MAX), 0.0);
        assert_eq!(delay(r#"{"kind":"exponential","factor":0}"#, 2), 0.0);
        assert_eq!(delay(r#"{"kind":"exponential","factor":0}"#, 1), 30.0);
    }

    #[test]
    fn attempts_below_one_count_as_the_first() {
        assert_eq!(delay(r#"{"kind":"exponential"}"#, 0), 30.0);
        assert_eq!(delay(r#"{"kind":"exponential"}"#, i32::MIN), 30.0);
    }

    #[test]
    fn what_cannot_be_followed_is_ab003() {
        for bad in [
            "[]",
            "3",
            "\"fixed\"",
            r#"{"kind":"bogus"}"#,
            r#"{"kind":3}"#,
            r#"{"kind":"fixed","base_seconds":-1}"#,
            r#"{"kind":"fixed","base_seconds":86401}"#,
            r#"{"kind":"fixed","base_seconds":"60"}"#,
            r#"{"kind":"exponential","max_seconds":1e99}"#,
            r#"{"kind":"exponential","factor":-0.5}"#,
            r#"{"kind":"exponential","factor":true}"#,
            r#"{"kind":"none","base_seconds":-1}"#,
        ] {
            let error = Backoff::parse(bad).unwrap_err();
            assert_eq!(error.sqlstate(), "AB003", "{bad}");
        }
    }

    proptest! {
        #[test]
        fn delays_stay_between_zero_and_a_day(
            base in 0.0..=DAY, factor in 0.0..1e9f64, max in 0.0..=DAY, attempt in any::<i32>(),
        ) {
            let delay = Backoff::Exponential { base, factor, max }.delay(attempt);
            prop_assert!((0.0..=DAY).contains(&delay));
            prop_assert!(delay <= max);
        }

        #[test]
        fn growth_never_shrinks(base in 0.0..=DAY, factor in 1.0..10f64, attempt in 1..200i32) {
            let backoff = Backoff::Exponential { base, factor, max: DAY };
            prop_assert!(backoff.delay(attempt) <= backoff.delay(attempt + 1));
        }
    }
}
