//! claim_task: sweeps what is overdue, then hands out ready runs.

use super::fail;
use super::followed::Attempt;
use crate::error::{Error, Result};
use crate::params;
use crate::pg::row::Rows;
use crate::pg::{Jsonb, Row, Session, Statement, Timestamp, Uuid};
use crate::queue::QueueName;

/// Cancellations that a claim carries out at least, however few runs it asks for.
const SWEEP: i32 = 16;

/// A run handed to a worker, with what it needs of its task.
pub struct Claimed {
    pub run_id: Uuid,
    pub task_id: Uuid,
    pub attempt: i32,
    pub task_name: String,
    pub params: Option<Jsonb>,
    pub retry_strategy: Option<Jsonb>,
    pub max_attempts: Option<i32>,
    pub headers: Option<Jsonb>,
    pub wake_event: Option<String>,
    pub event_payload: Option<Jsonb>,
}

/// Whether anything is overdue, and the highest and the lowest priority of waiting runs.
static LOOK: Statement = Statement::new(
    "select exists (select from {t}
                     where cancellation is not null and cancel_done is null
                       and {deadline} <= timezone('UTC', $1)),
            exists (select from {r}
                     where state = 'running' and claim_expires_at is not null
                       and claim_expires_at <= $1),
            (select priority from {r} where state in ('pending', 'sleeping')
              order by priority desc limit 1),
            (select priority from {r} where state in ('pending', 'sleeping')
              order by priority limit 1),
            exists (select from {r}
                     where state = 'running' and attempt_ends_at is not null
                       and attempt_ends_at <= $1),
            exists (select from absurd.workflow_timer
                     where queue_name = $2 and due_at <= $1)
            or exists (select from absurd.workflow_stimulus where queue_name = $2)",
);
/// The next lower priority that has any run waiting: each costs one look at the index.
static NEXT: Statement = Statement::new(
    "select priority from {r} where state in ('pending', 'sleeping') and priority < $1
      order by priority desc limit 1",
);
static SWEEP_DUE: Statement = Statement::new(include_str!("../../sql/task/sweep_due.sql"));
static EXPIRED: Statement = Statement::new(
    "select r.run_id, t.state in ('pending', 'running', 'sleeping'),
            exists (select from {w} w where w.run_id = r.run_id)
       from {r} r join {t} t on t.task_id = r.task_id
      where r.state = 'running' and r.claim_expires_at is not null and r.claim_expires_at <= $1
      order by r.claim_expires_at
      limit $2
        for no key update of r, t skip locked",
);
/// Takes the waits of a run, and tells whether these are all: a client may be removing one.
static TAKE_WAITS: Statement = Statement::new(
    "with held as materialized (
         select run_id from {w} where run_id = $1 for update skip locked
     )
     select (select count(*) from held) = (select count(*) from {w} where run_id = $1)",
);
static OVERRUN: Statement = Statement::new(
    "select r.run_id, t.state in ('pending', 'running', 'sleeping'),
            exists (select from {w} w where w.run_id = r.run_id)
       from {r} r join {t} t on t.task_id = r.task_id
      where r.state = 'running' and r.attempt_ends_at is not null and r.attempt_ends_at <= $1
      order by r.attempt_ends_at
      limit $2
        for no key update of r, t skip locked",
);
static CLOSE: Statement =
    Statement::new("update {r} set state = 'cancelled', wake_event = null where run_id = $1");
static CLAIM: Statement = Statement::new(include_str!("../../sql/task/claim.sql"));

/// What a claim's sweeps have done to tasks that steps of workflow runs follow.
#[derive(Default)]
pub struct Swept {
    pub attempts: Vec<Attempt>,
    /// Tasks that were cancelled.
    pub cancelled: Vec<Uuid>,
}

/// Claims up to `quantity` runs for `worker`, leased for `timeout` seconds (0: no lease). Between the
/// sweeps and the handing out, `workflows` is called when there is something for workflow runs to go on
/// with: what it makes ready is handed out too.
///
/// # Errors
/// 42P01 for an unknown queue, 22023 for a negative timeout.
pub fn run(
    session: &Session,
    queue: &QueueName,
    worker: Option<&str>,
    timeout: i32,
    quantity: i32,
    workflows: impl FnOnce(Swept) -> Result<()>,
) -> Result<Vec<Claimed>> {
    if timeout < 0 {
        return Err(Error::invalid(
            format!("claim_timeout {timeout}"),
            "must be >= 0 seconds (0: no lease)",
        ));
    }
    let worker = worker.filter(|worker| !worker.trim().is_empty()).unwrap_or("worker");
    let quantity = quantity.max(1);
    let now = session.now();
    let until = (timeout > 0).then(|| now.plus_seconds(f64::from(timeout)));
    let offer = Offer { worker, until, quantity };
    let mut claimed = Vec::new();
    let (mut highest, lowest) = sweep(session, queue, quantity, workflows)?;
    while let Some(priority) = highest {
        offer.hand_out(session, queue, priority, &mut claimed)?;
        if claimed.len() as i32 >= quantity || lowest == Some(priority) {
            break;
        }
        let next = session.run(&NEXT, queue, params![priority])?.first();
        highest = next.map(|row| row.need(0)).transpose()?;
    }
    Ok(claimed)
}

/// Who claims, until when and how many.
struct Offer<'a> {
    worker: &'a str,
    until: Option<Timestamp>,
    quantity: i32,
}

impl Offer<'_> {
    /// Hands out ready runs of one priority. The head of the line is taken as it comes. Only when
    /// something there cannot be handed out is the rest picked by a second look that passes such
    /// rows over.
    fn hand_out(
        &self,
        session: &Session,
        queue: &QueueName,
        priority: i16,
        claimed: &mut Vec<Claimed>,
    ) -> Result<()> {
        for pass_over in [false, true] {
            let wanted = self.quantity - claimed.len() as i32;
            let values =
                params![session.now(), wanted, self.worker, self.until, pass_over, priority];
            let mut all_usable = true;
            for row in session.run(&CLAIM, queue, values)? {
                if row.need(10)? {
                    claimed.push(read(session, row)?);
                } else {
                    all_usable = false;
                }
            }
            if all_usable {
                break;
            }
        }
        Ok(())
    }
}

/// Cancels tasks whose rule has come due and fails runs whose lease or whose attempt's time has ended,
/// few at a time. One probe of the indexes says that there is nothing of either, as there mostly is not.
/// Returns the highest and the lowest priority of waiting runs.
fn sweep(
    session: &Session,
    queue: &QueueName,
    quantity: i32,
    workflows: impl FnOnce(Swept) -> Result<()>,
) -> Result<(Option<i16>, Option<i16>)> {
    let now = session.now();
    let look = || session.run(&LOOK, queue, params![now, queue.as_str()]);
    let Some(mut seen) = look()?.first() else { return Ok((None, None)) };
    let (rules, leases, attempts) = (seen.need(0)?, seen.need(1)?, seen.need(4)?);
    let mut swept = Swept::default();
    if rules {
        for row in session.run(&SWEEP_DUE, queue, params![now, quantity.max(SWEEP)])? {
            swept.cancelled.extend(row.get::<Uuid>(0)?);
        }
    }
    if attempts {
        let overdue = session.run(&OVERRUN, queue, params![now, quantity])?;
        fail_all(session, queue, overdue, fail::overrun, &mut swept)?;
    }
    if leases {
        let overdue = session.run(&EXPIRED, queue, params![now, quantity])?;
        fail_all(session, queue, overdue, fail::expire, &mut swept)?;
    }
    let goes_on =
        seen.need(5)? || !swept.attempts.is_empty() || !swept.cancelled.is_empty();
    if goes_on {
        workflows(swept)?;
    }
    if goes_on || leases || attempts {
        // The runs that follow are ready too.
        if let Some(row) = look()?.first() {
            seen = row;
        }
    }
    Ok((seen.get(2)?, seen.get(3)?))
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

fn read(session: &Session, row: Row) -> Result<Claimed> {
    Ok(Claimed {
        run_id: row.need(0)?,
        task_id: row.need(1)?,
        attempt: row.need(2)?,
        task_name: row.need(3)?,
        params: session.keep(row.get(4)?),
        retry_strategy: session.keep(row.get(5)?),
        max_attempts: row.get(6)?,
        headers: session.keep(row.get(7)?),
        wake_event: row.get(8)?,
        event_payload: session.keep(row.get(9)?),
    })
}
