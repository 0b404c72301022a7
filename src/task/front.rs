//! The front of a queue's line, where it is littered.
//!
//! The index on ready runs keeps the entries of runs that were claimed until Postgres may remove them,
//! and while a transaction holds an old snapshot, it may not. They stand at the front, and a claim that
//! begins there steps over all of them. A backend that notices so begins where its last claim ended
//! instead, and leaves what lies behind to one claim a second, of whichever backend: that one looks at
//! everything, carries out what is overdue, and writes down from which instant on runs may be ready.
//! A run that becomes ready behind a claim's beginning, because its transaction committed late or because
//! a claim of it was rolled back, is found within that second.
//!
//! Nothing of this is in the way of an ordinary queue: its claims count the blocks that they look at
//! anyway, and that is all.

use std::cell::RefCell;
use std::collections::HashMap;

use super::hand_out::{Claimed, Offer};
use super::sweep;
use crate::error::Result;
use crate::params;
use crate::pg::lock;
use crate::pg::plan::Own;
use crate::pg::{Session, Statement, Timestamp};
use crate::queue::QueueName;

/// Blocks that a claim looks at when nothing is in its way, and that each run and each priority adds.
/// Twenty more are some thousand entries to step over, which take as long as the claim itself.
const BLOCKS: i64 = 64;
const BLOCKS_EACH: i64 = 24;
/// Seconds for which what was found at the front holds.
const HOLDS: f64 = 0.8;
/// Seconds after which a claim no longer relies on others to look: whoever does may be in a transaction
/// that takes its time.
const LATE: f64 = 1.0;
/// Seconds before now that every claim looks at, littered or not: spawns commit in another order than
/// that of their instants.
const MARGIN: f64 = 0.05;
/// Queues that a backend remembers as littered, and priorities of each.
const QUEUES: usize = 256;
const PRIORITIES: usize = 32;

static PUBLISHED: Statement = Statement::new(
    "select exists (select from absurd.workflow_timer where queue_name = $2 and due_at <= $1)
            or exists (select from absurd.workflow_stimulus where queue_name = $2),
            f.looked_at, f.is_littered, f.is_overdue, f.priorities, f.floors
       from (values (true)) as always
       left join absurd.queue_front f on f.queue_name = $2",
);
static PUBLISH: Statement = Statement::new(
    "insert into absurd.queue_front as f
            (queue_name, looked_at, is_littered, is_overdue, priorities, floors)
     values ($1, $2, $3, $4, $5, $6)
     on conflict (queue_name) do update
        set looked_at = excluded.looked_at, is_littered = excluded.is_littered,
            is_overdue = excluded.is_overdue, priorities = excluded.priorities,
            floors = excluded.floors",
);
/// The first run of the next lower priority that has any waiting.
static NEXT: Statement = Statement::new(
    "select priority, available_at from {r}
      where state in ('pending', 'sleeping') and priority < $1
      order by priority desc, available_at, run_id
      limit 1",
);

thread_local! {
    static LITTERED: RefCell<HashMap<Box<str>, Front>> = RefCell::default();
}

/// Where a backend's claims of one queue begin.
#[derive(Clone, Default)]
pub struct Front {
    /// Priorities, highest first, with the instant from which on to look.
    floors: Vec<(i16, Timestamp)>,
    /// When what they rest on was found.
    as_of: Option<Timestamp>,
}

/// What is to be done before runs are handed out.
pub struct Duties {
    pub overdue: bool,
    /// Whether workflow runs have something to go on with.
    pub goes_on: bool,
}

/// What a claim has found at the front of a queue, and when.
struct Published {
    goes_on: bool,
    looked_at: Option<Timestamp>,
    littered: bool,
    overdue: bool,
    floors: Vec<(i16, Timestamp)>,
}

/// Notes how many blocks an ordinary claim of so many runs looked at.
pub fn note(session: &Session, queue: &QueueName, blocks: i64, quantity: i32) {
    if blocks > BLOCKS + BLOCKS_EACH * i64::from(quantity) && is_used(session) {
        Front::default().remember(queue);
    }
}

/// A clock that is set by hand says nothing about what others did meanwhile, and a transaction that
/// keeps one snapshot does not see what they found.
fn is_used(session: &Session) -> bool {
    !session.keeps_snapshot() && !session.is_time_set()
}

impl Front {
    /// Where claims of the queue begin, if this backend knows it to be littered.
    ///
    /// # Errors
    /// None.
    pub fn recall(session: &Session, queue: &QueueName) -> Result<Option<Self>> {
        let found = LITTERED.with_borrow(|fronts| {
            if fronts.is_empty() { None } else { fronts.get(queue.as_str()).cloned() }
        });
        Ok(found.filter(|_| is_used(session)))
    }

    fn remember(self, queue: &QueueName) {
        LITTERED.with_borrow_mut(|fronts| {
            if fronts.len() >= QUEUES {
                fronts.clear();
            }
            fronts.insert(queue.as_str().into(), self);
        });
    }

    /// Takes note of what was found lately, by this call if it is time. None when the queue is littered
    /// no more, or when that is for others to find out at this moment.
    ///
    /// # Errors
    /// 42P01 for an unknown queue.
    pub fn refresh(&mut self, session: &Session, queue: &QueueName) -> Result<Option<Duties>> {
        let now = session.now();
        let seen = published(session, queue)?;
        if is_within(seen.looked_at, HOLDS, now) && self.as_of <= seen.looked_at {
            if !seen.littered {
                LITTERED.with_borrow_mut(|fronts| fronts.remove(queue.as_str()));
                return Ok(None);
            }
            if self.as_of != seen.looked_at {
                self.floors = seen.floors;
                self.as_of = seen.looked_at;
            }
            return Ok(Some(Duties { overdue: seen.overdue, goes_on: seen.goes_on }));
        }
        let chosen = !is_within(self.as_of, HOLDS, now) && lock::front(queue.as_str())?;
        if chosen || !is_within(self.as_of.max(seen.looked_at), LATE, now) {
            let overdue = self.look(session, queue, chosen)?;
            return Ok(Some(Duties { overdue, goes_on: seen.goes_on }));
        }
        if self.as_of < seen.looked_at {
            self.floors = seen.floors;
            self.as_of = seen.looked_at;
        }
        Ok(Some(Duties { overdue: seen.overdue, goes_on: seen.goes_on }))
    }

    /// Looks at everything, for others too if this call was chosen to. Returns whether anything is
    /// overdue.
    fn look(&mut self, session: &Session, queue: &QueueName, chosen: bool) -> Result<bool> {
        let now = session.now();
        let latest = now.plus_seconds(-MARGIN);
        let overdue = sweep::look(session, queue)?.any();
        let mut floors: Vec<(i16, Timestamp)> = Vec::new();
        let mut below = i32::from(i16::MAX) + 1;
        let began = session.blocks_looked_at();
        while let Some(row) = session.run(&NEXT, queue, params![below])?.first() {
            let (priority, first): (i16, Timestamp) = (row.need(0)?, row.need(1)?);
            floors.push((priority, first.min(latest)));
            below = i32::from(priority);
        }
        let blocks = session.blocks_looked_at() - began;
        let littered = blocks > BLOCKS + BLOCKS_EACH * floors.len() as i64;
        // A priority that has none now may have some in a moment.
        let known = self.floors.iter().map(|(priority, _)| *priority).chain([0]);
        for priority in known.take(PRIORITIES) {
            if floors.iter().all(|(other, _)| *other != priority) {
                floors.push((priority, latest));
            }
        }
        floors.sort_unstable_by_key(|(priority, _)| std::cmp::Reverse(*priority));
        if chosen {
            let (priorities, instants): (Vec<_>, Vec<_>) =
                floors.iter().map(|(priority, floor)| (Some(*priority), Some(*floor))).unzip();
            let values = params![queue.as_str(), now, littered, overdue, priorities, instants];
            session.run(&PUBLISH, &Own, values)?;
        }
        self.floors = floors;
        self.as_of = Some(now);
        Ok(overdue)
    }

    /// Hands out ready runs, and remembers where it ended.
    ///
    /// # Errors
    /// 42P01 for an unknown queue.
    pub fn hand_out(
        mut self,
        session: &Session,
        queue: &QueueName,
        offer: &Offer,
        claimed: &mut Vec<Claimed>,
    ) -> Result<()> {
        let latest = session.now().plus_seconds(-MARGIN);
        for (priority, floor) in &mut self.floors {
            let handed = offer.hand_out(session, queue, (*priority, *floor), claimed)?;
            let is_full = claimed.len() as i32 >= offer.quantity;
            let ended = handed.last.filter(|_| is_full).unwrap_or(latest);
            *floor = ended.min(latest).max(*floor);
            if is_full {
                break;
            }
        }
        self.remember(queue);
        Ok(())
    }
}

fn published(session: &Session, queue: &QueueName) -> Result<Published> {
    let values = params![session.now(), queue.as_str()];
    let row = session.run(&PUBLISHED, &Own, values)?.only()?;
    let priorities: Vec<i16> = row.get(4)?.unwrap_or_default();
    let floors: Vec<Timestamp> = row.get(5)?.unwrap_or_default();
    Ok(Published {
        goes_on: row.need(0)?,
        looked_at: row.get(1)?,
        littered: row.get(2)?.unwrap_or(false),
        overdue: row.get(3)?.unwrap_or(false),
        floors: priorities.into_iter().zip(floors).collect(),
    })
}

/// Whether an instant lies at most so many seconds before now, and not after it.
fn is_within(at: Option<Timestamp>, seconds: f64, now: Timestamp) -> bool {
    at.is_some_and(|at| at <= now && now < at.plus_seconds(seconds))
}
