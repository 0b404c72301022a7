//! Circuit breakers (HIGHWAY 9.3): closed, open for a while, then half-open with one attempt at a
//! time. An event says what becomes of one.

use crate::time::Timestamp;
use crate::workflow::program::BreakerPolicy;
use crate::workflow::records::{BreakerEvent, BreakerEventKind, BreakerRec, Prober};

/// Applies an event. Returns whether a step that asks may spawn its task.
pub fn apply(breaker: &mut BreakerRec, event: &BreakerEvent) -> bool {
    let BreakerEvent { who, at, kind } = *event;
    match kind {
        BreakerEventKind::Asked => return admit(breaker, who, at),
        BreakerEventKind::Succeeded { success_threshold } => {
            succeeded(breaker, success_threshold, who, at);
        }
        BreakerEventKind::Failed { counts, failure_threshold, isolation } => {
            let reopens = answers(breaker, who, at);
            release(breaker, who);
            if counts {
                failed(breaker, failure_threshold, isolation, reopens, at);
            }
        }
        BreakerEventKind::Released => release(breaker, who),
    }
    true
}

/// In a half-open breaker the step that may spawn becomes the one that probes.
fn admit(breaker: &mut BreakerRec, who: Prober, now: Timestamp) -> bool {
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

fn succeeded(breaker: &mut BreakerRec, threshold: u32, who: Prober, now: Timestamp) {
    if breaker.open_until.is_none() {
        breaker.failures = 0;
    } else if answers(breaker, who, now) {
        release(breaker, who);
        breaker.successes += 1;
        if breaker.successes >= threshold {
            *breaker = BreakerRec::default();
        }
    }
}

/// `reopens`: the attempt says something about a half-open breaker.
fn failed(breaker: &mut BreakerRec, threshold: u32, isolation: f64, reopens: bool, now: Timestamp) {
    if breaker.open_until.is_none() {
        breaker.failures += 1;
        if breaker.failures < threshold {
            return;
        }
    } else if !reopens {
        return;
    }
    let open_until = Some(now.plus_seconds(isolation));
    *breaker = BreakerRec { open_until, ..BreakerRec::default() };
}

/// Lets another attempt probe if this step's was the one.
fn release(breaker: &mut BreakerRec, who: Prober) {
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

/// Whether a policy counts an error of this name.
pub fn counts(policy: &BreakerPolicy, error: &str) -> bool {
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
