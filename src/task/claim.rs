//! claim_task: sweeps what is overdue, then hands out ready runs.

use super::budget::Budget;
use super::front::{self, Front};
use super::hand_out::{Claimed, Offer, Place};
use super::sweep::{self, Overdue, Since, Swept};
use super::{direct, lost, pages};
use crate::error::Result;
use crate::overdue;
use crate::params;
use crate::pg::plan::Own;
use crate::pg::{Session, Statement};
use crate::queue::QueueName;

/// Whether anything is overdue, and the highest and the lowest priority of waiting runs.
static LOOK: Statement = Statement::new(concat!(
    "select ",
    overdue!(),
    ", (select priority from {r} where state in ('pending', 'sleeping')
         order by priority desc limit 1),
       (select priority from {r} where state in ('pending', 'sleeping')
         order by priority limit 1)"
));
/// Whether workflow runs have something to go on with, and whether something that is stuck is to be
/// tried again.
static GOES_ON: Statement = Statement::new(
    "select exists (select from absurd.workflow_timer where queue_name = $2 and due_at <= $1)
            or exists (select from absurd.workflow_stimulus where queue_name = $2),
            exists (select from absurd.stuck_work where queue = $2 and next_try <= $1)",
);
/// The next lower priority that has any run waiting: each costs one look at the index.
static NEXT: Statement = Statement::new(
    "select priority from {r} where state in ('pending', 'sleeping') and priority < $1
      order by priority desc limit 1",
);

/// Claims up to `quantity` runs for `worker`, leased for `timeout` seconds (0 or less: no lease).
/// Between the sweeps and the handing out, `workflows` is called when there is something for
/// workflow runs to go on with: what it makes ready is handed out too.
///
/// # Errors
/// 42P01 for an unknown queue.
pub fn run(
    session: &Session,
    queue: &QueueName,
    worker: Option<&str>,
    timeout: i32,
    quantity: i32,
    workflows: impl FnMut(Swept, &Budget) -> Result<()>,
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
    mut workflows: impl FnMut(Swept, &Budget) -> Result<()>,
) -> Result<Vec<Claimed>> {
    let budget = Budget::of_claim();
    let mut seen = look(session, queue)?;
    let mut blocks = seen.blocks;
    let GoesOn { trees, stuck } = seen.goes_on;
    if seen.overdue.any() || trees || stuck {
        let swept = sweep(session, queue, offer, seen.overdue, stuck, Since::EVER, &budget)?;
        let goes_on = trees || stuck || !swept.is_empty();
        if goes_on {
            workflows(swept, &budget)?;
        }
        if goes_on || seen.overdue.makes_ready() {
            // The runs that follow are ready too.
            seen = look(session, queue)?;
        }
    }
    let mut claimed = Vec::new();
    let mut next = seen.highest;
    while let Some(priority) = next {
        let place = Place::front(priority);
        let handed = offer.hand_out(session, queue, place, &budget, &mut claimed)?;
        blocks += handed.blocks;
        if offer.is_met(&claimed) || handed.is_cut || seen.lowest == Some(priority) {
            break;
        }
        next = match direct::look::below(session, queue, priority)? {
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
    mut workflows: impl FnMut(Swept, &Budget) -> Result<()>,
) -> Result<Vec<Claimed>> {
    let Some(mut looked) = front.refresh(session, queue)? else {
        return ordinary(session, queue, offer, workflows);
    };
    let budget = Budget::of_claim();
    let mut goes_on = goes_on(session, queue)?;
    let mut claimed = Vec::new();
    loop {
        let mut swept = Swept::default();
        let GoesOn { trees, stuck } = goes_on;
        let since = front.overdue();
        if since.is_some() || stuck {
            let from = since.filter(|_| !stuck).unwrap_or(Since::EVER);
            let overdue = sweep::look(session, queue, from)?;
            if !overdue.any() {
                front.is_swept();
            }
            swept = sweep(session, queue, offer, overdue, stuck, from, &budget)?;
        }
        if trees || stuck || !swept.is_empty() {
            workflows(swept, &budget)?;
        }
        let before = claimed.len();
        let give = (offer, &budget);
        let ended = front.hand_out(session, queue, give, false, &mut claimed)?;
        if ended.is_cut || offer.is_met(&claimed) {
            break;
        }
        // The week of the next run is found by a look, as long as the one before has led to any.
        let looks = !looked || (ended.before_another_week && claimed.len() > before);
        match if looks { front.look_again(session, queue)? } else { Some(false) } {
            Some(true) => {}
            // Nothing is known of other weeks, or they cannot be had by themselves.
            Some(false) if ended.before_another_week || (!looked && front.is_of_weeks()) => {
                front.hand_out(session, queue, give, true, &mut claimed)?;
                break;
            }
            _ => break,
        }
        (looked, goes_on) = (true, GoesOn::default());
    }
    front.keep(queue);
    Ok(claimed)
}

/// Sweeps what is overdue, and what has failed before and is to be tried again.
fn sweep(
    session: &Session,
    queue: &QueueName,
    offer: &Offer,
    overdue: Overdue,
    stuck: bool,
    since: Since,
    budget: &Budget,
) -> Result<Swept> {
    let overdue = if stuck { Overdue::new(true, true, true) } else { overdue };
    let swept = sweep::carry_out(session, queue, offer.quantity, overdue, since, budget)?;
    if stuck {
        lost::try_again(session, queue, budget)?;
        pages::try_again(session, queue, offer, budget)?;
    }
    Ok(swept)
}

struct Seen {
    overdue: Overdue,
    /// The highest priority of waiting runs.
    highest: Option<i16>,
    /// The lowest, where it is known.
    lowest: Option<i16>,
    goes_on: GoesOn,
    /// Blocks that were looked at.
    blocks: i64,
}

/// What there is to do beside sweeping a queue.
#[derive(Clone, Copy, Default)]
pub struct GoesOn {
    /// Whether workflow runs have something to go on with.
    pub trees: bool,
    /// Whether something that is stuck is to be tried again.
    pub stuck: bool,
}

fn goes_on(session: &Session, queue: &QueueName) -> Result<GoesOn> {
    match direct::look::goes_on(session, queue)? {
        Some(goes_on) => Ok(goes_on),
        None => {
            let values = params![session.now(), queue.as_str()];
            let row = session.run(&GOES_ON, &Own, values)?.only()?;
            Ok(GoesOn { trees: row.need(0)?, stuck: row.need(1)? })
        }
    }
}

/// One probe of the indexes, which mostly says that nothing is overdue.
fn look(session: &Session, queue: &QueueName) -> Result<Seen> {
    if let Some(seen) = direct::look::look(session, queue)?
        && let Some(goes_on) = direct::look::goes_on(session, queue)?
    {
        let direct::look::Seen { overdue, highest, blocks } = seen;
        return Ok(Seen { overdue, highest, lowest: None, goes_on, blocks });
    }
    let (now, began) = (session.now(), session.blocks_looked_at());
    let row = session.run(&LOOK, queue, params![now])?.only()?;
    let blocks = session.blocks_looked_at() - began;
    let goes_on = goes_on(session, queue)?;
    let (highest, lowest) = (row.get(3)?, row.get(4)?);
    Ok(Seen { overdue: Overdue::read(row)?, highest, lowest, goes_on, blocks })
}
