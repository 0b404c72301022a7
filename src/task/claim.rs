//! claim_task: sweeps what is overdue, then hands out ready runs.

use super::direct;
use super::front::{self, Front};
use super::hand_out::{Claimed, Offer, Place};
use super::sweep::{self, Overdue, Since, Swept};
use crate::error::Result;
use crate::overdue;
use crate::params;
use crate::pg::plan::Own;
use crate::pg::rights;
use crate::pg::{Session, Statement};
use crate::queue::QueueName;

/// Whether anything is overdue, and the highest and the lowest priority of waiting runs.
macro_rules! look {
    ($more:literal) => {
        concat!(
            "select ",
            overdue!(),
            ", (select priority from {r} where state in ('pending', 'sleeping')
                 order by priority desc limit 1),
               (select priority from {r} where state in ('pending', 'sleeping')
                 order by priority limit 1)",
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
    workflows: impl FnMut(Swept) -> Result<()>,
) -> Result<Vec<Claimed>> {
    let worker = worker.filter(|worker| !worker.trim().is_empty()).unwrap_or("worker");
    let quantity = quantity.max(1);
    let until = (timeout > 0).then(|| session.now().plus_seconds(f64::from(timeout)));
    let offer = Offer { worker, until, quantity };
    match Front::recall(session, queue)? {
        Some(front) => in_front(session, queue, &offer, front, workflows),
        None => ordinary(session, queue, &offer, workflows),
    }
}

fn ordinary(
    session: &Session,
    queue: &QueueName,
    offer: &Offer,
    mut workflows: impl FnMut(Swept) -> Result<()>,
) -> Result<Vec<Claimed>> {
    let mut seen = look(session, queue)?;
    let mut blocks = seen.blocks;
    if seen.overdue.any() || seen.goes_on {
        let swept = sweep::carry_out(session, queue, offer.quantity, seen.overdue, Since::EVER)?;
        let goes_on = seen.goes_on || !swept.is_empty();
        if goes_on {
            workflows(swept)?;
        }
        if goes_on || seen.overdue.makes_ready() {
            // The runs that follow are ready too.
            seen = look(session, queue)?;
        }
    }
    let mut claimed = Vec::new();
    let mut next = seen.highest;
    while let Some(priority) = next {
        blocks += offer.hand_out(session, queue, Place::front(priority), &mut claimed)?.blocks;
        if offer.is_met(&claimed) || seen.lowest == Some(priority) {
            break;
        }
        next = match direct::claim::below(session, queue, priority)? {
            Some(next) => next,
            None => {
                let next = session.run(&NEXT, queue, params![priority])?.first();
                next.map(|row| row.need(0)).transpose()?
            }
        };
    }
    front::note(session, queue, blocks, offer.quantity);
    Ok(claimed)
}

/// A claim of a queue whose front is costly to look at.
fn in_front(
    session: &Session,
    queue: &QueueName,
    offer: &Offer,
    mut front: Front,
    mut workflows: impl FnMut(Swept) -> Result<()>,
) -> Result<Vec<Claimed>> {
    let Some(mut looked) = front.refresh(session, queue)? else {
        return ordinary(session, queue, offer, workflows);
    };
    let mut goes_on = goes_on(session, queue)?;
    let mut claimed = Vec::new();
    loop {
        let mut swept = Swept::default();
        if let Some(since) = front.overdue() {
            let overdue = sweep::look(session, queue, since)?;
            if !overdue.any() {
                front.is_swept();
            }
            swept = sweep::carry_out(session, queue, offer.quantity, overdue, since)?;
        }
        if goes_on || !swept.is_empty() {
            workflows(swept)?;
        }
        let before = claimed.len();
        let of_another_week = front.hand_out(session, queue, offer, false, &mut claimed)?;
        if offer.is_met(&claimed) {
            break;
        }
        // The week of the next run is found by a look, as long as the one before has led to any.
        let looks = !looked || (of_another_week && claimed.len() > before);
        match if looks { front.look_again(session, queue)? } else { Some(false) } {
            Some(true) => {}
            // Nothing is known of other weeks, or they cannot be had by themselves.
            Some(false) if of_another_week || (!looked && front.is_of_weeks()) => {
                front.hand_out(session, queue, offer, true, &mut claimed)?;
                break;
            }
            _ => break,
        }
        (looked, goes_on) = (true, false);
    }
    front.keep(queue);
    Ok(claimed)
}

struct Seen {
    overdue: Overdue,
    /// The highest priority of waiting runs.
    highest: Option<i16>,
    /// The lowest, where it is known.
    lowest: Option<i16>,
    /// Whether workflow runs have something to go on with.
    goes_on: bool,
    /// Blocks that were looked at.
    blocks: i64,
}

/// Whether workflow runs of a queue have something to go on with.
fn goes_on(session: &Session, queue: &QueueName) -> Result<bool> {
    match direct::claim::goes_on(session, queue)? {
        Some(goes_on) => Ok(goes_on),
        None => {
            let values = params![session.now(), queue.as_str()];
            session.run(&GOES_ON, &Own, values)?.only()?.need(0)
        }
    }
}

/// One probe of the indexes, which mostly says that nothing is overdue.
fn look(session: &Session, queue: &QueueName) -> Result<Seen> {
    if let Some(seen) = direct::claim::look(session, queue)?
        && let Some(goes_on) = direct::claim::goes_on(session, queue)?
    {
        let direct::claim::Seen { overdue, highest, blocks } = seen;
        return Ok(Seen { overdue, highest, lowest: None, goes_on, blocks });
    }
    let (now, began) = (session.now(), session.blocks_looked_at());
    let all = rights::are_owners()?;
    let rows = match all {
        true => session.run(&LOOK_ALL, queue, params![now, queue.as_str()])?,
        false => session.run(&LOOK, queue, params![now])?,
    };
    let row = rows.only()?;
    let goes_on = match all {
        true => row.need(5)?,
        false => goes_on(session, queue)?,
    };
    let (highest, lowest) = (row.get(3)?, row.get(4)?);
    let blocks = session.blocks_looked_at() - began;
    Ok(Seen { overdue: Overdue::read(row)?, highest, lowest, goes_on, blocks })
}
