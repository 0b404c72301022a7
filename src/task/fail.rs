//! fail_run: an attempt is over without success; another follows, or the task ends.

use super::backoff::Backoff;
use super::followed::{Attempt, Outcome};
use super::lost_lease::{self, LostLeases};
use super::options::Cancellation;
use super::state::State;
use crate::error::Result;
use crate::params;
use crate::pg::{Jsonb, Session, Statement, Timestamp, Uuid};
use crate::queue::{QueueName, ready};

macro_rules! load {
    ($which:literal) => {
        concat!(
            "select r.task_id, r.attempt, r.state, t.state, t.retry_strategy, t.max_attempts,
                    t.cancellation, t.first_started_at, r.claimed_by, r.claim_expires_at,
                    t.workflow_step is true, r.attempt_ends_at
               from {r} r join {t} t on t.task_id = r.task_id
              where r.run_id = $1",
            $which,
            " for no key update of r, t"
        )
    };
}

/// Tasks that no step follows.
static LOAD: Statement = Statement::new(load!(" and t.workflow_step is not true"));
static LOAD_ANY: Statement = Statement::new(load!(""));
static FAIL: Statement = Statement::new(include_str!("../../sql/task/fail_run.sql"));
static NEXT: Statement = Statement::new(include_str!("../../sql/task/next_run.sql"));
static TASK: Statement = Statement::new(include_str!("../../sql/task/fail_task.sql"));
static RAISE: Statement =
    Statement::new("update {t} set max_attempts = max_attempts + 1 where task_id = $1");
static FORGET_WAITS: Statement = Statement::new("delete from {w} where run_id = $1");

/// What decides on the task when one of its runs fails.
#[derive(Clone, Copy)]
pub(super) struct Case<'a> {
    pub attempt: i32,
    /// Attempts before it that were lost with their leases, and are none for the backoff.
    pub lost: i32,
    pub retry_strategy: Option<&'a str>,
    pub max_attempts: Option<i32>,
    pub cancellation: Option<&'a str>,
    pub first_started_at: Option<Timestamp>,
}

/// What becomes of a task whose run has failed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Verdict {
    /// Another attempt, available at this instant.
    Retry(Timestamp),
    /// The next attempt could not end in time.
    Cancel,
    /// No attempts are left.
    Fail,
}

impl Case<'_> {
    /// The task gets another attempt while it has any, at `retry_at` or after its backoff, unless
    /// max_duration has passed by then. A stored strategy that cannot be followed ends the task:
    /// guessing a delay could repeat work for ever. So does an attempt after which none can be
    /// counted.
    pub fn verdict(self, now: Timestamp, retry_at: Option<Timestamp>) -> Verdict {
        if self.attempt >= self.max_attempts.unwrap_or(i32::MAX) {
            return Verdict::Fail;
        }
        let backoff = match self.retry_strategy.map(Backoff::parse) {
            None => Backoff::None,
            Some(Ok(backoff)) => backoff,
            Some(Err(_)) => return Verdict::Fail,
        };
        // An instant that has passed means now: it must not jump the line.
        let at = retry_at
            .unwrap_or_else(|| now.plus_seconds(backoff.delay(self.attempt - self.lost)))
            .max(now);
        let rules = self.cancellation.map(Cancellation::stored).unwrap_or_default();
        if let (Some(started), Some(limit)) = (self.first_started_at, rules.max_duration)
            && at >= started.plus_seconds(limit as f64)
        {
            return Verdict::Cancel;
        }
        Verdict::Retry(at)
    }
}

impl Verdict {
    /// When the next run becomes available.
    pub fn retry_at(self) -> Option<Timestamp> {
        match self {
            Self::Retry(at) => Some(at),
            Self::Cancel | Self::Fail => None,
        }
    }

    /// The state of the task, and of its next run when there is one.
    pub fn state(self, now: Timestamp) -> State {
        match self {
            Self::Retry(at) if at > now => State::Sleeping,
            Self::Retry(_) => State::Pending,
            Self::Cancel => State::Cancelled,
            Self::Fail => State::Failed,
        }
    }
}

/// Fails a run that is running or sleeping, of a task that no step follows.
///
/// # Errors
/// AB001, AB002 or 55000 when the run is neither.
pub fn run(
    session: &Session,
    queue: &QueueName,
    run: Uuid,
    reason: Option<Jsonb>,
    retry_at: Option<Timestamp>,
) -> Result<Outcome> {
    let failed = settle(session, queue, &LOAD, run, (Over::Told, retry_at), |_| Ok(reason))?;
    Ok(if failed.is_some() { Outcome::Done } else { Outcome::Refused })
}

/// As [`run`], whoever follows the task; none when the run is neither running nor sleeping.
pub fn any(
    session: &Session,
    queue: &QueueName,
    run: Uuid,
    reason: Option<Jsonb>,
    retry_at: Option<Timestamp>,
) -> Result<Option<Attempt>> {
    settle(session, queue, &LOAD_ANY, run, (Over::Told, retry_at), |_| Ok(reason))
}

/// Fails a run whose lease has ended, with the reason that names the worker.
pub fn expire(session: &Session, queue: &QueueName, run: Uuid) -> Result<Option<Attempt>> {
    settle(session, queue, &LOAD_ANY, run, (Over::Lease, None), |lost| {
        let reason = serde_json::json!({
            "name": lost_lease::NAME,
            "message": "the worker neither finished the run nor extended its lease in time",
            "workerId": lost.worker,
            "claimExpiredAt": lost.lease_end.map(Timestamp::iso8601),
            "attempt": lost.attempt,
        });
        Jsonb::from_text(&reason.to_string()).map(Some)
    })
}

/// Fails a run whose attempt has taken longer than its task allows.
pub fn overrun(session: &Session, queue: &QueueName, run: Uuid) -> Result<Option<Attempt>> {
    settle(session, queue, &LOAD_ANY, run, (Over::Time, None), |lost| {
        let reason = serde_json::json!({
            "name": "TimeoutError",
            "message": "the attempt took longer than its timeout",
            "workerId": lost.worker,
            "attemptEndedAt": lost.attempt_end.map(Timestamp::iso8601),
            "attempt": lost.attempt,
        });
        Jsonb::from_text(&reason.to_string()).map(Some)
    })
}

/// How an attempt came to be over.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Over {
    /// Its worker said so.
    Told,
    Lease,
    Time,
}

struct Lost {
    worker: Option<String>,
    lease_end: Option<Timestamp>,
    attempt_end: Option<Timestamp>,
    attempt: i32,
}

/// None when there is no such run, or it is not in a state to fail.
fn settle(
    session: &Session,
    queue: &QueueName,
    load: &'static Statement,
    run: Uuid,
    (over, retry_at): (Over, Option<Timestamp>),
    reason: impl FnOnce(Lost) -> Result<Option<Jsonb>>,
) -> Result<Option<Attempt>> {
    let Some(row) = session.run(load, queue, params![run])?.first() else { return Ok(None) };
    let task: Uuid = row.need(0)?;
    let attempt: i32 = row.need(1)?;
    let (run_state, task_state): (String, String) = (row.need(2)?, row.need(3)?);
    let open = State::parse(&task_state).is_some_and(|state| !state.is_final());
    let may_fail =
        State::parse(&run_state).is_some_and(|state| state.run_may_become(State::Failed));
    if !open || !may_fail {
        return Ok(None);
    }
    // What is too long to be one is a strategy that cannot be followed, and no rule.
    let strategy = row.get::<Jsonb>(4)?.map(Jsonb::short_text).transpose()?;
    let strategy = strategy.map(|text| text.unwrap_or_else(|| "\"too long\"".to_owned()));
    let rules = row.get::<Jsonb>(6)?.map(Jsonb::short_text).transpose()?.flatten();
    let followed: bool = row.need(10)?;
    let lost_leases = match followed && (over == Over::Lease || attempt > 1) {
        true => LostLeases::of(session, queue, task, attempt)?,
        false => LostLeases::default(),
    };
    let case = Case {
        attempt,
        lost: lost_leases.count(),
        retry_strategy: strategy.as_deref(),
        max_attempts: row.get(5)?,
        cancellation: rules.as_deref(),
        first_started_at: row.get(7)?,
    };
    let lost =
        Lost { worker: row.get(8)?, lease_end: row.get(9)?, attempt_end: row.get(11)?, attempt };
    let reason = reason(lost)?;
    let now = session.now();
    // A worker that vanished has made no attempt: the step's task gets another beside.
    let is_lost = over == Over::Lease && lost_leases.may_be_more() && attempt < i32::MAX;
    let verdict = if is_lost { Verdict::Retry(now) } else { case.verdict(now, retry_at) };
    if is_lost && case.max_attempts.is_some_and(|max| max < i32::MAX) {
        session.change(&RAISE, queue, params![task], (1, "{t}"))?;
    }
    let (state, at) = (verdict.state(now), verdict.retry_at());
    let next = at.map(|_| session.new_id()).transpose()?;
    // Waits that others registered while they were waited for are seen by now.
    let has_waits = session.run(&FAIL, queue, params![run, reason, now, next.is_some()])?;
    let kept = || Session::kept(queue, "{r}");
    if has_waits.first().ok_or_else(kept)?.need(0)? {
        session.run(&FORGET_WAITS, queue, params![run])?;
    }
    let following = next.map(|_| attempt + 1);
    if let (Some(next), Some(following), Some(at)) = (next, following, at) {
        let values = params![run, next, following, state.as_str(), at, now];
        session.change(&NEXT, queue, values, (1, "{r}"))?;
    }
    let last = next.unwrap_or(run);
    let values = params![task, state.as_str(), last, following, now];
    session.change(&TASK, queue, values, (1, "{t}"))?;
    if let Some(at) = at {
        ready::announce(session, queue, at)?;
    }
    Ok(Some(Attempt {
        task,
        attempt: attempt - case.lost,
        reason,
        last: next.is_none(),
        cancelled: verdict == Verdict::Cancel,
        followed: followed && !is_lost,
        ended_at: None,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_micros(1_000_000_000);

    fn case() -> Case<'static> {
        Case {
            attempt: 1,
            lost: 0,
            retry_strategy: None,
            max_attempts: None,
            cancellation: None,
            first_started_at: Some(NOW),
        }
    }

    #[test]
    fn attempts_run_out() {
        assert_eq!(case().verdict(NOW, None), Verdict::Retry(NOW));
        assert_eq!(Case { max_attempts: Some(1), ..case() }.verdict(NOW, None), Verdict::Fail);
        let second = Case { max_attempts: Some(2), ..case() };
        assert_eq!(second.verdict(NOW, None), Verdict::Retry(NOW));
        let last = Case { attempt: i32::MAX, ..case() };
        assert_eq!(last.verdict(NOW, None), Verdict::Fail);
        assert_eq!(Case { attempt: i32::MIN, ..case() }.verdict(NOW, None), Verdict::Retry(NOW));
    }

    #[test]
    fn the_callers_instant_beats_the_backoff() {
        let fixed = Case { retry_strategy: Some(r#"{"kind":"fixed"}"#), ..case() };
        assert_eq!(fixed.verdict(NOW, None), Verdict::Retry(NOW.plus_seconds(60.0)));
        let at = NOW.plus_seconds(5.0);
        assert_eq!(fixed.verdict(NOW, Some(at)), Verdict::Retry(at));
        assert_eq!(fixed.verdict(at, Some(NOW)), Verdict::Retry(at));
    }

    #[test]
    fn max_duration_cancels_what_could_only_start_too_late() {
        let bounded = Case { cancellation: Some(r#"{"max_duration":60}"#), ..case() };
        let at = |seconds| Some(NOW.plus_seconds(seconds));
        assert_eq!(bounded.verdict(NOW, at(60.0)), Verdict::Cancel);
        assert_eq!(bounded.verdict(NOW, at(59.0)), Verdict::Retry(NOW.plus_seconds(59.0)));
        // An instant in the past does not make up for time that has passed.
        let late = NOW.plus_seconds(61.0);
        assert_eq!(bounded.verdict(late, Some(NOW)), Verdict::Cancel);
    }

    #[test]
    fn a_stored_strategy_that_cannot_be_followed_ends_the_task() {
        for bad in [r#"{"kind":"bogus"}"#, "[]", "7"] {
            let broken = Case { retry_strategy: Some(bad), ..case() };
            assert_eq!(broken.verdict(NOW, None), Verdict::Fail, "{bad}");
        }
    }
}
