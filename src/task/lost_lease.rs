//! Leases that workers of a workflow step's task have let end: each is no attempt at the step, up
//! to as many as the step's options say (HIGHWAY 14.3).

use crate::error::Result;
use crate::params;
use crate::pg::{Session, Statement, Uuid};
use crate::queue::QueueName;

/// The name of the reason with which a run fails whose lease has ended.
pub const NAME: &str = "$ClaimTimeout";
/// How many count as no attempt, where the task's headers do not say.
const DEFAULT: i64 = 5;
const MOST: i64 = 1000;

/// The headers are the document's, with the option resolved; a client may have written others.
static LOST: Statement = Statement::new(
    "select (select count(*) from {r} r
              where r.task_id = $1 and r.state = 'failed' and r.failure_reason ->> 'name' = $2
                and r.claim_expires_at <= r.failed_at),
            case when jsonb_typeof(t.headers -> 'absurd' -> 'max_lost_leases') = 'number'
                 then least(greatest((t.headers -> 'absurd' ->> 'max_lost_leases')::numeric, -1),
                            1001)::integer end
       from {t} t
      where t.task_id = $1",
);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LostLeases {
    found: i64,
    allowed: i64,
}

impl LostLeases {
    /// Those of a task before its run of this attempt.
    ///
    /// # Errors
    /// Postgres's own.
    pub fn of(session: &Session, queue: &QueueName, task: Uuid, attempt: i32) -> Result<Self> {
        let Some(row) = session.run(&LOST, queue, params![task, NAME])?.first() else {
            return Ok(Self::default());
        };
        let allowed =
            row.get::<i32>(1)?.map(i64::from).filter(|number| (0..=MOST).contains(number));
        let found: i64 = row.need(0)?;
        Ok(Self {
            found: found.min(i64::from(attempt) - 1).max(0),
            allowed: allowed.unwrap_or(DEFAULT),
        })
    }

    /// Whether one more counts as no attempt.
    pub fn may_be_more(self) -> bool {
        self.found < self.allowed
    }

    /// How many have counted as none.
    pub fn count(self) -> i32 {
        self.found.min(self.allowed) as i32
    }
}

/// How many attempts at a step a task has made that is at this attempt.
///
/// # Errors
/// Postgres's own.
pub fn attempts(session: &Session, queue: &QueueName, task: Uuid, attempt: i32) -> Result<i32> {
    if attempt <= 1 {
        return Ok(attempt);
    }
    Ok(attempt - LostLeases::of(session, queue, task, attempt)?.count())
}
