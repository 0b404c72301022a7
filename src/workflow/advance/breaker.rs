//! Circuit breakers (HIGHWAY 9.3): closed, open for a while, then half-open with one attempt at a
//! time. Each function is given the breaker and says what becomes of it.

use crate::time::Timestamp;
use crate::workflow::program::BreakerPolicy;
use crate::workflow::records::{BreakerRec, Prober};

/// Whether a step may spawn its task; in a half-open breaker it becomes the one that probes.
pub fn admit(breaker: &mut BreakerRec, who: Prober, now: Timestamp) -> bool {
    match breaker.open_until {
        None => true,
        Some(until) if now < until || breaker.probing => false,
        Some(_) => {
            breaker.probing = true;
            breaker.prober = Some(who);
            true
        }
    }
}

/// An attempt succeeded.
pub fn succeeded(breaker: &mut BreakerRec, policy: &BreakerPolicy, who: Prober, now: Timestamp) {
    if breaker.open_until.is_none() {
        breaker.failures = 0;
    } else if answers(breaker, who, now) {
        release(breaker, who);
        breaker.successes += 1;
        if breaker.successes >= policy.success_threshold {
            *breaker = BreakerRec::default();
        }
    }
}

/// An attempt failed with an error of this name.
pub fn failed(
    breaker: &mut BreakerRec,
    policy: &BreakerPolicy,
    error: &str,
    who: Prober,
    now: Timestamp,
) {
    let counted = counts(policy, error);
    let reopens = answers(breaker, who, now);
    release(breaker, who);
    if !counted {
        return;
    }
    if breaker.open_until.is_none() {
        breaker.failures += 1;
        if breaker.failures < policy.failure_threshold {
            return;
        }
    } else if !reopens {
        return;
    }
    let open_until = Some(now.plus_seconds(policy.isolation));
    *breaker = BreakerRec { open_until, ..BreakerRec::default() };
}

/// Lets another attempt probe if this step's was the one.
pub fn release(breaker: &mut BreakerRec, who: Prober) {
    if breaker.prober == Some(who) {
        breaker.probing = false;
        breaker.prober = None;
    }
}

/// Whether an attempt's outcome says something about a half-open breaker: the probe's does, and
/// while nobody probes that of an attempt from before.
fn answers(breaker: &BreakerRec, who: Prober, now: Timestamp) -> bool {
    let half_open = breaker.open_until.is_some_and(|until| until <= now);
    half_open && (!breaker.probing || breaker.prober == Some(who))
}

fn counts(policy: &BreakerPolicy, error: &str) -> bool {
    let names = |list: &Option<Vec<String>>| {
        list.as_ref().map(|names| names.iter().any(|name| name == error))
    };
    names(&policy.catch).unwrap_or(true) && !names(&policy.ignore).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::workflow::compile::compile;

    fn policy(policy: Value) -> BreakerPolicy {
        let step = json!({
            "task_id": "a", "operator_type": "task", "function": "f",
            "circuit_breaker_policy": policy,
        });
        let program = compile(&json!({"name": "w", "tasks": {"a": step}})).unwrap();
        program.nodes[0].breaker.clone().unwrap()
    }

    #[test]
    fn breakers_count_what_they_name() {
        assert!(counts(&policy(json!({})), "A"));
        let both = policy(json!({"catch_exceptions": ["A", "B"], "ignore_exceptions": ["B"]}));
        assert_eq!(["A", "B", "C"].map(|name| counts(&both, name)), [true, false, false]);
        assert!(!counts(&policy(json!({"catch_exceptions": []})), "A"));
    }
}
