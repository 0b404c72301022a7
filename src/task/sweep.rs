//! What has become overdue in a queue, and carrying it out: leases, attempts, cancellation rules.

use std::time::Instant;

use super::budget::Budget;
use super::followed::Attempt;
use super::stuck::{self, Kind, Known, Met};
use super::{fail, lost};
use crate::error::Result;
use crate::params;
use crate::pg::{Row, Session, Statement, Timestamp, Uuid};
use crate::queue::QueueName;

/// Cancellations that the first statement of a sweep carries out, and the most that one does.
const FIRST: u32 = 64;
const MOST: u32 = 256;

/// Columns that say whether there are cancellation rules, leases and attempts that are overdue at
/// `$1`, with more conditions of each.
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
const PAST: &str = include_str!("../../sql/task/past.sql");
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

/// Cancels tasks whose rule has come due and fails runs whose lease or whose attempt's time has
/// ended, of these at most `quantity` of each, as far as the budget goes. What fails is set aside.
///
/// # Errors
/// 42P01 for an unknown queue.
pub fn carry_out(
    session: &Session,
    queue: &QueueName,
    quantity: i32,
    overdue: Overdue,
    since: Since,
    budget: &Budget,
) -> Result<Swept> {
    let mut swept = Swept::default();
    if overdue.rules {
        cancel_due(session, queue, since.rules, budget, &mut swept)?;
    }
    if overdue.attempts {
        let past = Past { queue, list: &OVERRUN, kind: Kind::Attempt, fail: fail::overrun };
        past.sweep(session, quantity, since.attempts, budget, &mut swept)?;
    }
    if overdue.leases {
        let past = Past { queue, list: &EXPIRED, kind: Kind::Lease, fail: fail::expire };
        past.sweep(session, quantity, since.leases, budget, &mut swept)?;
    }
    Ok(swept)
}

/// Fails at most `limit` runs whose attempt has taken longer than its task allows, as a claim
/// does.
///
/// # Errors
/// 42P01 for an unknown queue.
pub fn overrun(session: &Session, queue: &QueueName, limit: i32) -> Result<Swept> {
    let mut swept = Swept::default();
    let budget = Budget::of_rows(u32::try_from(limit).unwrap_or_default());
    let past = Past { queue, list: &OVERRUN, kind: Kind::Attempt, fail: fail::overrun };
    past.sweep(session, limit, Timestamp::NEG_INFINITY, &budget, &mut swept)?;
    Ok(swept)
}

/// Cancels tasks whose rule has come due: a few in the first statement, more in each that follows.
fn cancel_due(
    session: &Session,
    queue: &QueueName,
    since: Timestamp,
    budget: &Budget,
    swept: &mut Swept,
) -> Result<()> {
    let stuck = Known::of(session, queue.as_str(), Kind::Cancellation)?;
    let (mut over, mut met) = (stuck.aside(), Met::default());
    let (mut size, mut singles) = (FIRST, 0);
    loop {
        // None more than may be worked off: what was listed is locked.
        let limit = size.min(budget.left().max(1)) as i32;
        let sweep = |limit: i32, over: &[Uuid]| -> Result<Vec<(Uuid, bool, bool)>> {
            let values = params![session.now(), limit, since, over.to_vec()];
            let read = |row: Row| {
                for (table, column) in [("{r}", 3), ("{t}", 4)] {
                    if !row.need::<bool>(column)? {
                        return Err(Session::kept(queue, table));
                    }
                }
                Ok((row.need(0)?, row.need(1)?, row.need(2)?))
            };
            session.run(&SWEEP_DUE, queue, values)?.into_iter().map(read).collect()
        };
        let clock = Instant::now();
        let rows = match session.attempt(|| sweep(limit, &over))? {
            Ok(rows) => rows,
            Err(error) if stuck::ends_all(queue, &error)? => return Err(error),
            Err(error) if stuck::is_passing(&error) => return Ok(()),
            Err(error) if limit > 1 => {
                // One of these fails: they are taken one by one.
                drop(error);
                (size, singles) = (1, limit);
                continue;
            }
            Err(error) => {
                // The first of the line, which the failed statement cannot name.
                let Some(first) = first_due(session, queue, since, &over)? else { return Ok(()) };
                let kind = Kind::Cancellation;
                stuck::set_aside_aloud(session, queue.as_str(), kind, first, error)?;
                met.note(&stuck, first);
                over.push(first);
                budget.work_off(1);
                if budget.is_spent() {
                    return Ok(());
                }
                continue;
            }
        };
        let listed = rows.len();
        for (task, is_swept, is_followed) in rows {
            match is_swept {
                true => {
                    budget.work_off(1);
                    met.done(&stuck, task);
                }
                false => {
                    budget.take(1);
                    met.note(&stuck, task);
                    over.push(task);
                }
            }
            swept.cancelled.extend(is_followed.then_some(task));
        }
        if listed < limit as usize {
            return met.forget(
                session,
                queue.as_str(),
                Kind::Cancellation,
                &stuck,
                !since.is_finite(),
            );
        }
        if budget.is_spent() {
            return met.forget(session, queue.as_str(), Kind::Cancellation, &stuck, false);
        }
        singles -= 1;
        if singles <= 0 {
            size = budget.rows_in_time(limit as u32, clock.elapsed()).clamp(1, MOST);
        }
    }
}

static FIRST_DUE: Statement = Statement::new(
    "select task_id
       from {t}
      where cancellation is not null and cancel_done is null
        and {deadline} between timezone('UTC', $2) and timezone('UTC', $1)
        and task_id <> all ($3)
      order by {deadline}
      limit 1
        for no key update skip locked",
);

fn first_due(
    session: &Session,
    queue: &QueueName,
    since: Timestamp,
    over: &[Uuid],
) -> Result<Option<Uuid>> {
    let values = params![session.now(), since, over.to_vec()];
    session.run(&FIRST_DUE, queue, values)?.first().map(|row| row.need(0)).transpose()
}

fn takes_waits(session: &Session, queue: &QueueName, run: Uuid) -> Result<bool> {
    session.run(&TAKE_WAITS, queue, params![run])?.first().map_or(Ok(false), |row| row.need(0))
}

/// Runs whose time is over in one way.
struct Past<'a> {
    queue: &'a QueueName,
    list: &'static Statement,
    kind: Kind,
    fail: fn(&Session, &QueueName, Uuid) -> Result<Option<Attempt>>,
}

/// A run of past.sql.
struct Ended {
    run: Uuid,
    /// Whether its task is open; none when somebody else is at that.
    is_open: Option<bool>,
    waits: bool,
    /// Whether its task is gone.
    is_lost: bool,
    at: Timestamp,
}

impl Past<'_> {
    /// Fails at most `quantity` runs, as far as the budget goes; passes over those that somebody is
    /// at.
    fn sweep(
        &self,
        session: &Session,
        quantity: i32,
        since: Timestamp,
        budget: &Budget,
        swept: &mut Swept,
    ) -> Result<()> {
        let stuck = Known::of(session, self.queue.as_str(), self.kind)?;
        let (mut over, mut met) = (stuck.aside(), Met::default());
        let mut left = quantity;
        loop {
            let limit = left.min(budget.left().clamp(1, MOST) as i32);
            let values = params![session.now(), limit, since, over.clone()];
            let mut listed = Vec::new();
            for row in session.run(self.list, self.queue, values)? {
                let (run, is_open, waits) = (row.need(0)?, row.get(1)?, row.need(2)?);
                listed.push(Ended { run, is_open, waits, is_lost: row.need(3)?, at: row.need(4)? });
            }
            let outcomes =
                stuck::each(session, self.queue, &listed, |ended| self.end(session, ended))?;
            for (ended, outcome) in listed.iter().zip(outcomes) {
                match outcome {
                    Ok(Some(attempt)) => {
                        left -= i32::from(!ended.is_lost);
                        budget.work_off(1);
                        met.done(&stuck, ended.run);
                        let attempt = attempt.filter(|attempt| attempt.followed);
                        let ended_at = Some(ended.at);
                        swept.attempts.extend(attempt.map(|one| Attempt { ended_at, ..one }));
                        continue;
                    }
                    Ok(None) => {}
                    Err(error) if stuck::is_passing(&error) => {}
                    Err(error) => {
                        let queue = self.queue.as_str();
                        stuck::set_aside_aloud(session, queue, self.kind, ended.run, error)?;
                        budget.work_off(1);
                    }
                }
                budget.take(1);
                met.note(&stuck, ended.run);
                over.push(ended.run);
            }
            let is_whole = listed.len() < limit as usize;
            if is_whole || left <= 0 || budget.is_spent() {
                let is_whole = is_whole && !since.is_finite();
                return met.forget(session, self.queue.as_str(), self.kind, &stuck, is_whole);
            }
        }
    }

    /// Fails one; one whose task has ended without it is closed, one whose task is gone is removed.
    /// None when it is left to the next sweep: a claim waits for nobody.
    fn end(&self, session: &Session, ended: &Ended) -> Result<Option<Option<Attempt>>> {
        let run = ended.run;
        if ended.is_lost {
            let removed = lost::remove(session, self.queue, vec![run])?;
            return Ok(removed.then_some(None));
        }
        let Some(is_open) = ended.is_open else { return Ok(None) };
        if ended.waits && !takes_waits(session, self.queue, run)? {
            return Ok(None);
        }
        if is_open {
            return (self.fail)(session, self.queue, run).map(Some);
        }
        session.run(&CLOSE, self.queue, params![run])?;
        Ok(Some(None))
    }
}
