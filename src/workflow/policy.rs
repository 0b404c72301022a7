//! Policies of retries, timeouts and circuit breakers (HIGHWAY 9.1 to 9.3).

use serde_json::{Map, Value, json};

use super::bounds::shown;
use super::duration::{self, DAY, canonical};
use super::number::Number;

/// The greatest count of retries: the attempts, one more, are a 32-bit integer.
const MAX_RETRIES: i64 = i32::MAX as i64 - 1;

/// How often and when a failed task is tried again.
#[derive(Clone, Debug, PartialEq)]
pub struct RetryPolicy {
    pub max_retries: i32,
    /// Seconds before the first retry, at most one day.
    pub delay: f64,
    pub backoff_factor: f64,
}

/// How long a step may take.
#[derive(Clone, Debug, PartialEq)]
pub struct TimeoutPolicy {
    /// Seconds.
    pub timeout: f64,
    pub kill_on_timeout: bool,
}

/// When a step that keeps failing is no longer tried.
#[derive(Clone, Debug, PartialEq)]
pub struct BreakerPolicy {
    pub failure_threshold: i32,
    pub success_threshold: i32,
    /// Seconds.
    pub isolation_duration: f64,
    pub catch_exceptions: Option<Vec<String>>,
    pub ignore_exceptions: Option<Vec<String>>,
}

impl RetryPolicy {
    /// Reads a policy; absent fields have their defaults, unknown ones are ignored.
    ///
    /// # Errors
    /// The field, its value and the rule that it breaks.
    pub fn parse(value: &Value) -> Result<Self, String> {
        let fields = Fields::of("retry_policy", value)?;
        let delay = fields.seconds("delay")?.unwrap_or(5.0);
        if delay > DAY {
            return Err(fields.wrong("delay", "must not be longer than one day"));
        }
        Ok(Self {
            max_retries: fields.integer("max_retries", 0, MAX_RETRIES)?.unwrap_or(3),
            delay,
            backoff_factor: match fields.get("backoff_factor") {
                None => 2.0,
                Some(Value::Number(number)) => Number::parse(number.as_str())
                    .map(Number::to_f64)
                    .filter(|factor| *factor >= 0.0)
                    .ok_or_else(|| fields.wrong("backoff_factor", FACTOR))?,
                Some(_) => return Err(fields.wrong("backoff_factor", FACTOR)),
            },
        })
    }

    /// The policy in its one normal form.
    pub fn canonical(&self) -> Value {
        json!({
            "max_retries": self.max_retries,
            "delay": canonical(self.delay),
            "backoff_factor": self.backoff_factor,
        })
    }
}

const FACTOR: &str = "must be a number that is not negative";

impl TimeoutPolicy {
    /// Reads a policy; absent fields have their defaults, unknown ones are ignored.
    ///
    /// # Errors
    /// The field, its value and the rule that it breaks.
    pub fn parse(value: &Value) -> Result<Self, String> {
        let fields = Fields::of("timeout_policy", value)?;
        Ok(Self {
            timeout: fields.seconds("timeout")?.ok_or("timeout_policy.timeout is required")?,
            kill_on_timeout: match fields.get("kill_on_timeout") {
                None => true,
                Some(Value::Bool(kill)) => *kill,
                Some(_) => return Err(fields.wrong("kill_on_timeout", "must be true or false")),
            },
        })
    }

    /// The policy in its one normal form.
    pub fn canonical(&self) -> Value {
        json!({"timeout": canonical(self.timeout), "kill_on_timeout": self.kill_on_timeout})
    }
}

impl BreakerPolicy {
    /// Reads a policy; absent fields have their defaults, unknown ones are ignored.
    /// `isolation_duration_seconds` stands in for an absent `isolation_duration`.
    ///
    /// # Errors
    /// The field, its value and the rule that it breaks.
    pub fn parse(value: &Value) -> Result<Self, String> {
        let fields = Fields::of("circuit_breaker_policy", value)?;
        let max = i64::from(i32::MAX);
        let isolation = match fields.seconds("isolation_duration")? {
            Some(seconds) => Some(seconds),
            None => match fields.get("isolation_duration_seconds") {
                None | Some(Value::Number(_)) => fields.seconds("isolation_duration_seconds")?,
                Some(_) => {
                    return Err(fields.wrong("isolation_duration_seconds", "must be a number"));
                }
            },
        };
        Ok(Self {
            failure_threshold: fields.integer("failure_threshold", 1, max)?.unwrap_or(5),
            success_threshold: fields.integer("success_threshold", 1, max)?.unwrap_or(2),
            isolation_duration: isolation.unwrap_or(30.0),
            catch_exceptions: fields.error_names("catch_exceptions")?,
            ignore_exceptions: fields.error_names("ignore_exceptions")?,
        })
    }

    /// The policy in its one normal form.
    pub fn canonical(&self) -> Value {
        json!({
            "failure_threshold": self.failure_threshold,
            "success_threshold": self.success_threshold,
            "isolation_duration": canonical(self.isolation_duration),
            "catch_exceptions": self.catch_exceptions,
            "ignore_exceptions": self.ignore_exceptions,
        })
    }
}

/// A policy's object, and its name for messages.
struct Fields<'a> {
    policy: &'static str,
    fields: &'a Map<String, Value>,
}

impl<'a> Fields<'a> {
    fn of(policy: &'static str, value: &'a Value) -> Result<Self, String> {
        match value.as_object() {
            Some(fields) => Ok(Self { policy, fields }),
            None => Err(format!("{policy} {} must be an object", shown(value))),
        }
    }

    fn get(&self, field: &str) -> Option<&'a Value> {
        self.fields.get(field)
    }

    fn wrong(&self, field: &str, rule: &str) -> String {
        let value = self.get(field).unwrap_or(&Value::Null);
        format!("{}.{field} {} {rule}", self.policy, shown(value))
    }

    fn seconds(&self, field: &str) -> Result<Option<f64>, String> {
        let Some(value) = self.get(field) else { return Ok(None) };
        match duration::parse(value) {
            Ok(seconds) if seconds < 0.0 => Err(self.wrong(field, "must not be negative")),
            Ok(seconds) => Ok(Some(seconds)),
            Err(error) => Err(format!("{}.{field}: {error}", self.policy)),
        }
    }

    fn integer(&self, field: &str, min: i64, max: i64) -> Result<Option<i32>, String> {
        let integer = match self.get(field) {
            None => return Ok(None),
            Some(value @ Value::Number(_)) => Number::of(value).and_then(Number::to_i64),
            Some(_) => None,
        };
        integer
            .filter(|integer| (min..=max).contains(integer))
            .and_then(|integer| i32::try_from(integer).ok())
            .map(Some)
            .ok_or_else(|| self.wrong(field, &format!("must be an integer from {min} to {max}")))
    }

    fn error_names(&self, field: &str) -> Result<Option<Vec<String>>, String> {
        let wrong = || self.wrong(field, "must be an array of error names or null");
        match self.get(field) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Array(names)) => {
                let name = |name: &Value| name.as_str().map(str::to_owned).ok_or_else(wrong);
                names.iter().map(name).collect::<Result<_, _>>().map(Some)
            }
            Some(_) => Err(wrong()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults() {
        let retry = RetryPolicy::parse(&json!({})).unwrap();
        assert_eq!((retry.max_retries, retry.delay, retry.backoff_factor), (3, 5.0, 2.0));
        let timeout = TimeoutPolicy::parse(&json!({"timeout": "P3D"})).unwrap();
        assert_eq!(timeout, TimeoutPolicy { timeout: 3.0 * DAY, kill_on_timeout: true });
        let breaker = BreakerPolicy::parse(&json!({"unknown": 1})).unwrap();
        assert_eq!((breaker.failure_threshold, breaker.success_threshold), (5, 2));
        assert_eq!(breaker.isolation_duration, 30.0);
        assert_eq!((breaker.catch_exceptions, breaker.ignore_exceptions), (None, None));
    }

    #[test]
    fn delays_may_last_a_day() {
        assert_eq!(RetryPolicy::parse(&json!({"delay": "P1D"})).unwrap().delay, DAY);
    }

    #[test]
    fn refuses_wrong_retries() {
        let cases = [
            (json!({"max_retries": -1}), "max_retries -1 must be an integer from 0"),
            (json!({"max_retries": 1.5}), "max_retries 1.5 must be an integer"),
            (json!({"max_retries": "3"}), "max_retries \"3\" must be an integer"),
            (json!({"max_retries": null}), "max_retries null must be an integer"),
            (json!({"max_retries": 2147483647}), "to 2147483646"),
            (json!({"delay": "-PT5S"}), "delay \"-PT5S\" must not be negative"),
            (json!({"delay": -0.1}), "must not be negative"),
            (json!({"delay": "PT24H0.1S"}), "must not be longer than one day"),
            (json!({"delay": "P2D"}), "must not be longer than one day"),
            (json!({"delay": "soon"}), "delay: duration \"soon\" must be"),
            (json!({"backoff_factor": -2}), "backoff_factor -2 must be a number"),
            (json!({"backoff_factor": "2"}), "backoff_factor \"2\" must be a number"),
            (json!({"backoff_factor": null}), "backoff_factor null must be a number"),
            (json!([]), "retry_policy [] must be an object"),
        ];
        for (policy, rule) in cases {
            let error = RetryPolicy::parse(&policy).unwrap_err();
            assert!(error.contains(rule), "{policy}: {error}");
        }
        let huge = serde_json::from_str(r#"{"backoff_factor": 1e999}"#).unwrap();
        assert!(RetryPolicy::parse(&huge).is_err());
    }

    #[test]
    fn refuses_wrong_timeouts_and_breakers() {
        for (policy, rule) in [
            (json!({}), "timeout_policy.timeout is required"),
            (json!({"timeout": null}), "timeout: duration null must be"),
            (json!({"timeout": -1}), "timeout -1 must not be negative"),
            (json!({"timeout": 1, "kill_on_timeout": "no"}), "must be true or false"),
        ] {
            let error = TimeoutPolicy::parse(&policy).unwrap_err();
            assert!(error.contains(rule), "{policy}: {error}");
        }
        for (policy, rule) in [
            (json!({"failure_threshold": 0}), "failure_threshold 0 must be an integer from 1"),
            (json!({"success_threshold": 0}), "success_threshold 0 must be an integer from 1"),
            (json!({"isolation_duration": "-PT1S"}), "must not be negative"),
            (json!({"isolation_duration_seconds": -1}), "must not be negative"),
            (json!({"isolation_duration_seconds": "PT1S"}), "must be a number"),
            (json!({"catch_exceptions": "E"}), "must be an array of error names"),
            (json!({"ignore_exceptions": [1]}), "must be an array of error names"),
        ] {
            let error = BreakerPolicy::parse(&policy).unwrap_err();
            assert!(error.contains(rule), "{policy}: {error}");
        }
    }

    #[test]
    fn breakers_are_read() {
        let parse = |policy| BreakerPolicy::parse(&policy).unwrap();
        let both = parse(json!({"catch_exceptions": ["A", "B"], "ignore_exceptions": ["B"]}));
        assert_eq!(both.catch_exceptions, Some(vec!["A".to_owned(), "B".to_owned()]));
        assert_eq!(both.ignore_exceptions, Some(vec!["B".to_owned()]));
        assert_eq!(parse(json!({"catch_exceptions": []})).catch_exceptions, Some(Vec::new()));
        let seconds = parse(json!({"isolation_duration_seconds": 1.5}));
        assert_eq!(seconds.isolation_duration, 1.5);
        let iso = json!({"isolation_duration_seconds": 1.5, "isolation_duration": "PT9S"});
        assert_eq!(parse(iso).isolation_duration, 9.0);
    }

    #[test]
    fn one_normal_form() {
        let one = RetryPolicy::parse(&json!({"delay": "PT3600.0S", "backoff_factor": 2})).unwrap();
        let other = RetryPolicy::parse(&json!({"delay": "PT1H", "max_retries": 3.0})).unwrap();
        assert_eq!(one.canonical(), other.canonical());
        assert_eq!(
            one.canonical(),
            json!({"max_retries": 3, "delay": "PT1H", "backoff_factor": 2.0})
        );
        let breaker = BreakerPolicy::parse(&json!({"isolation_duration_seconds": 60})).unwrap();
        assert_eq!(breaker.canonical()["isolation_duration"], "PT1M");
        assert_eq!(BreakerPolicy::parse(&breaker.canonical()), Ok(breaker));
        let timeout = TimeoutPolicy::parse(&json!({"timeout": 90})).unwrap();
        assert_eq!(timeout.canonical(), json!({"timeout": "PT1M30S", "kill_on_timeout": true}));
    }
}
