//! claim_task: sweeps what is overdue, then hands out ready runs.

use super::fail;
use super::followed::Attempt;
use super::hand_out::{Claimed, Offer};
use crate::error::Result;
use crate::params;
use crate::pg::plan::Own;
use crate::pg::rights;
use crate::pg::row::Rows;
use crate::pg::{Session, Statement, Uuid};
use crate::queue::QueueName;

/// Cancellations that a claim carries out at least, however few runs it asks for.
const SWEEP: i32 = 16;

/// Whether anything is overdue, and the highest and the lowest priority of waiting runs.
macro_rules! look {
    ($more:literal) => {
        concat!(
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
                       and attempt_ends_at <= $1)",
            $more
        )
    };
}

static LOOK: Statement = Statement::new(look!(""));
/// With whether workflow runs have something to go on with.
static LOOK_ALL: Statement = Statement::new(look!(
    ", exists (select from absurd.workflow_timer
                where queue_name = $2 and due_at <= $1)
       or exists (select from absurd.workflow_stimulus where queue_name = $2)"
));
/// The same by itself, for callers who may not read those tables.
static GOES_ON: Statement = Statement::new(
    "select exists (select from absurd.workflow_timer where queue_name = $2 and due_at <= $1)
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
static CLOSE: Statement = Statement::new(
    "update {r} set state = 'cancelled', claimed_by = null, claim_expires_at = null
      where run_id = $1",
);

/// What a claim's sweeps have done to tasks that steps of workflow runs follow.
#[derive(Default)]
pub struct Swept {
    pub attempts: Vec<Attempt>,
    /// Tasks that were cancelled.
    pub cancelled: Vec<Uuid>,
}

/// Claims up to `quantity` runs for `worker`, leased for `timeout` seconds (0 or less: no lease). Between
/// the sweeps and the handing out, `workflows` is called when there is something for workflow runs to go on
/// with: what it makes ready is handed out too.
///
/// # Errors
/// 42P01 for an unknown queue.
pub fn run(
    session: &Session,
    queue: &QueueName,
    worker: Option<&str>,
    timeout: i32,
    quantity: i32,
    workflows: impl FnOnce(Swept) -> Result<()>,
) -> Result<Vec<Claimed>> {
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
    let all = rights::are_owners()?;
    let look = || match all {
        true => session.run(&LOOK_ALL, queue, params![now, queue.as_str()]),
        false => session.run(&LOOK, queue, params![now]),
    };
    let Some(mut seen) = look()?.first() else { return Ok((None, None)) };
    let due = match all {
        true => seen.need(5)?,
        false => {
            let due = session.run(&GOES_ON, &Own, params![now, queue.as_str()])?.first();
            due.map_or(Ok(false), |row| row.need(0))?
        }
    };
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
    let goes_on = due || !swept.attempts.is_empty() || !swept.cancelled.is_empty();
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
