//! What has become overdue in a queue, and carrying it out: leases, attempts, cancellation rules.

use super::fail;
use super::followed::Attempt;
use crate::error::Result;
use crate::params;
use crate::pg::row::Rows;
use crate::pg::{Row, Session, Statement, Timestamp, Uuid};
use crate::queue::QueueName;

/// Cancellations that a claim carries out at least, however few runs it asks for.
const LEAST: i32 = 16;

/// Columns that say whether there are cancellation rules, leases and attempts that are overdue at `$1`,
/// with more conditions of each.
#[macro_export]
macro_rules! overdue {
    () => {
        overdue!("", "", "")
    };
    ($rules:literal, $leases:literal, $attempts:literal) => {
        concat!(
            "exists (select from {t}
                      where cancellation is not null and cancel_done is null
                        and {deadline} <= timezone('UTC', $1)",
            $rules,
            "), exists (select from {r}
                         where state = 'running' and claim_expires_at is not null
                           and claim_expires_at <= $1",
            $leases,
            "), exists (select from {r}
                         where state = 'running' and attempt_ends_at is not null
                           and attempt_ends_at <= $1",
            $attempts,
            ")"
        )
    };
}

static OVERDUE: Statement = Statement::new(concat!(
    "select ",
    overdue!(
        " and {deadline} >= timezone('UTC', $2)",
        " and claim_expires_at >= $3",
        " and attempt_ends_at >= $4"
    )
));
static SWEEP_DUE: Statement = Statement::new(include_str!("../../sql/task/sweep_due.sql"));
/// Running runs whose time is over, by the column that says when.
const PAST: &str = "select r.run_id, t.state in ('pending', 'running', 'sleeping'),
            exists (select from {w} w where w.run_id = r.run_id)
       from {r} r join {t} t on t.task_id = r.task_id
      where r.state = 'running' and r.<end> is not null and r.<end> between $3 and $1
      order by r.<end>
      limit $2
        for no key update of r, t skip locked";
static EXPIRED: Statement = Statement::with(PAST, "<end>", "claim_expires_at");
static OVERRUN: Statement = Statement::with(PAST, "<end>", "attempt_ends_at");
/// Takes the waits of a run, and tells whether these are all: a client may be removing one.
static TAKE_WAITS: Statement = Statement::new(
    "with held as materialized (
         select run_id from {w} where run_id = $1 for update skip locked
     )
     select (select count(*) from held) = (select count(*) from {w} where run_id = $1)",
);
static CLOSE: Statement = Statement::new(
    "update {r} set state = 'cancelled', claimed_by = null, claim_expires_at = null
      where run_id = $1",
);

/// What is overdue.
#[derive(Clone, Copy)]
pub struct Overdue {
    rules: bool,
    leases: bool,
    attempts: bool,
}

impl Overdue {
    /// Whether there are cancellation rules, leases and attempts that are overdue.
    pub fn new(rules: bool, leases: bool, attempts: bool) -> Self {
        Self { rules, leases, attempts }
    }

    /// From a row that begins with the columns of `overdue!`.
    ///
    /// # Errors
    /// None but a damaged statement's.
    pub fn read(row: Row) -> Result<Self> {
        Ok(Self { rules: row.need(0)?, leases: row.need(1)?, attempts: row.need(2)? })
    }

    pub fn any(self) -> bool {
        self.rules || self.makes_ready()
    }

    /// Whether sweeping may leave runs that are ready.
    pub fn makes_ready(self) -> bool {
        self.leases || self.attempts
    }
}

/// The instants from which on each may be overdue: what lies before is known not to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Since {
    pub rules: Timestamp,
    pub leases: Timestamp,
    pub attempts: Timestamp,
}

impl Since {
    /// Nothing is known.
    pub const EVER: Self = Self {
        rules: Timestamp::NEG_INFINITY,
        leases: Timestamp::NEG_INFINITY,
        attempts: Timestamp::NEG_INFINITY,
    };
}

/// What sweeps have done to tasks that steps of workflow runs follow.
#[derive(Default)]
pub struct Swept {
    pub attempts: Vec<Attempt>,
    /// Tasks that were cancelled.
    pub cancelled: Vec<Uuid>,
}

impl Swept {
    pub fn is_empty(&self) -> bool {
        self.attempts.is_empty() && self.cancelled.is_empty()
    }
}

/// Whether anything is overdue.
///
/// # Errors
/// 42P01 for an unknown queue.
pub fn look(session: &Session, queue: &QueueName, since: Since) -> Result<Overdue> {
    let values = params![session.now(), since.rules, since.leases, since.attempts];
    let row = session.run(&OVERDUE, queue, values)?.first();
    row.map_or(Ok(Overdue { rules: false, leases: false, attempts: false }), Overdue::read)
}

/// Cancels tasks whose rule has come due and fails runs whose lease or whose attempt's time has ended,
/// about `quantity` of each.
///
/// # Errors
/// 42P01 for an unknown queue.
pub fn carry_out(
    session: &Session,
    queue: &QueueName,
    quantity: i32,
    overdue: Overdue,
    since: Since,
) -> Result<Swept> {
    let now = session.now();
    let mut swept = Swept::default();
    if overdue.rules {
        for row in session.run(&SWEEP_DUE, queue, params![now, quantity.max(LEAST), since.rules])? {
            swept.cancelled.extend(row.get::<Uuid>(0)?);
        }
    }
    if overdue.attempts {
        let runs = session.run(&OVERRUN, queue, params![now, quantity, since.attempts])?;
        fail_all(session, queue, runs, fail::overrun, &mut swept)?;
    }
    if overdue.leases {
        let runs = session.run(&EXPIRED, queue, params![now, quantity, since.leases])?;
        fail_all(session, queue, runs, fail::expire, &mut swept)?;
    }
    Ok(swept)
}

/// Fails at most `limit` runs whose attempt has taken longer than its task allows, as a claim does.
///
/// # Errors
/// 42P01 for an unknown queue.
pub fn overrun(session: &Session, queue: &QueueName, limit: i32) -> Result<Swept> {
    let mut swept = Swept::default();
    let values = params![session.now(), limit, Timestamp::NEG_INFINITY];
    let overdue = session.run(&OVERRUN, queue, values)?;
    fail_all(session, queue, overdue, fail::overrun, &mut swept)?;
    Ok(swept)
}

fn takes_waits(session: &Session, queue: &QueueName, run: Uuid) -> Result<bool> {
    session.run(&TAKE_WAITS, queue, params![run])?.first().map_or(Ok(false), |row| row.need(0))
}

/// Fails overdue runs; one whose task has ended without it is closed.
fn fail_all(
    session: &Session,
    queue: &QueueName,
    overdue: Rows,
    fail: impl Fn(&Session, &QueueName, Uuid) -> Result<Option<Attempt>>,
    swept: &mut Swept,
) -> Result<()> {
    for row in overdue {
        let run: Uuid = row.need(0)?;
        if row.need(2)? && !takes_waits(session, queue, run)? {
            // Left to the next sweep: a claim waits for nobody.
            continue;
        }
        if row.need(1)? {
            let attempt = fail(session, queue, run)?;
            swept.attempts.extend(attempt.filter(|attempt| attempt.followed));
        } else {
            session.run(&CLOSE, queue, params![run])?;
        }
    }
    Ok(())
}
