//! The front of a queue's line, where looking at it costs more than a claim should.
//!
//! The index on ready runs keeps the entries of runs that were claimed until Postgres may remove
//! them, and while a transaction holds an old snapshot, it may not. They stand at the front, and a
//! claim that begins there steps over all of them. And a queue of many weeks has as many indexes to
//! look at. A backend that notices so begins where its last claim ended instead, in the week where
//! that was, and leaves what lies behind to one claim a second, of whichever backend: that one
//! looks, carries out what is overdue, and writes down from which instant on runs may be ready.
//!
//! A run becomes ready behind a claim's beginning when a transaction that made it ready commits
//! late, or one that took it is rolled back. Looks see both coming, see [`look`], so they need not
//! go through what has long been settled. The rest of what may stand there, an instant of long ago
//! that somebody wrote by hand, is left to looks at everything, which are rarer the longer they
//! take.
//!
//! Nothing of this is in the way of an ordinary queue: its claims count the blocks that they look
//! at anyway, and that is all.

mod floor;
mod look;
mod span;
mod stored;
mod strays;
mod weeks;

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::time::Duration;

use floor::Floor;
use span::Span;

use super::budget::Budget;
use super::direct::line::Standing;
use super::hand_out::{Claimed, Offer};
use super::sweep::Since;
use crate::error::Result;
use crate::pg::{Session, Timestamp, Uuid, aborts, lock};
use crate::queue::QueueName;

/// Blocks that a claim looks at when nothing is in its way, and that each run adds. Twenty more are
/// some thousand entries to step over, which take as long as the claim itself.
const BLOCKS: i64 = 64;
const BLOCKS_EACH: i64 = 24;
/// Blocks of a look at everything that make the queue an ordinary one again, and that each priority
/// adds.
const CALM: i64 = 40;
const CALM_EACH: i64 = 8;
/// Blocks that a claim which came back short may look at where every look is one at everything,
/// some milliseconds: as much as a queue of a year's weeks takes.
const AFFORDABLE: i64 = 1000;
/// Seconds for which what a look has found holds; four times as long as it took, when that is more:
/// looking takes no more than a fifth of one processor.
const HOLDS: f64 = 0.75;
const HOLDS_TIMES: f64 = 4.0;
/// Seconds more, and twice as many as it took, after which a claim no longer relies on others to
/// look: whoever does may be in a transaction that takes its time.
const LATE: f64 = 0.15;
const LATE_TIMES: f64 = 2.0;
/// Seconds after which a backend asks again whether another has looked.
const ASKS: f64 = 0.01;
/// Seconds after which it tries again to hand out the strays, and how many times as long as trying
/// took.
const TRIES: f64 = 0.1;
const TRIES_TIMES: f64 = 20.0;
/// For how long at most, if each takes a statement on all weeks.
const MOST: Duration = Duration::from_millis(5);
/// How many seconds before now a claim begins at least, whatever was found at the front: spawns
/// commit in another order than that of their instants, most of them sooner than this. What commits
/// later is found by whoever looks at everything.
const MARGIN: f64 = 0.05;
/// Queues that a backend remembers.
const QUEUES: usize = 256;

thread_local! {
    static FRONTS: RefCell<HashMap<Box<str>, Front>> = RefCell::default();
}

/// Where a backend's claims of one queue begin.
#[derive(Clone, Default)]
pub struct Front {
    /// One a priority, highest first.
    floors: Vec<Floor>,
    /// Whether the queue is one of weeks: no claim looks at all of them then if it can be helped.
    of_weeks: bool,
    /// Runs that stand behind them, in the line's order, and when they were last offered.
    strays: Rc<[Standing]>,
    /// Those that are not offered again before the next look.
    passed: Rc<HashSet<Uuid>>,
    /// Whether that took so long that others were not offered at all.
    is_cut: bool,
    tried_at: Option<Timestamp>,
    tried_seconds: f64,
    /// Whether anything was overdue, and where that begins.
    is_overdue: bool,
    sweeps: Sweeps,
    /// When all this was found, and when the last look that is written down was made.
    as_of: Option<Timestamp>,
    written_at: Option<Timestamp>,
    /// How many seconds a look takes that is not at everything.
    near_seconds: f64,
    whole: Whole,
    /// When the spans of the next look were last moved on.
    advanced_at: Option<Timestamp>,
    /// When this backend last asked for others' looks, and how often it has looked by itself.
    asked_at: Option<Timestamp>,
    looks: u32,
    /// How much had been rolled back when this was kept.
    aborts: u64,
}

/// Where handing out came to an end.
#[derive(Clone, Copy, Default)]
pub struct Ended {
    /// The budget has cut it short.
    pub is_cut: bool,
    /// The runs that come next are of another week.
    pub before_another_week: bool,
}

/// What looks go through for what may be overdue.
#[derive(Clone, Copy, Default)]
struct Sweeps {
    rules: Span,
    leases: Span,
    attempts: Span,
}

impl Sweeps {
    /// Where the next look begins.
    fn since(self) -> Since {
        let Self { rules, leases, attempts } = self;
        Since { rules: rules.from, leases: leases.from, attempts: attempts.from }
    }
}

/// The last look at everything: when, and how many blocks and seconds it took.
#[derive(Clone, Copy, Default)]
struct Whole {
    at: Option<Timestamp>,
    blocks: i64,
    seconds: f64,
}

/// Notes how many blocks an ordinary claim of so many runs looked at.
pub fn note(session: &Session, queue: &QueueName, blocks: i64, quantity: i32) {
    if blocks > BLOCKS + BLOCKS_EACH * i64::from(quantity) && is_used(session) {
        Front::default().remember(queue);
    }
}

fn forget(queue: &QueueName) {
    FRONTS.with_borrow_mut(|fronts| fronts.remove(queue.as_str()));
}

/// A clock that is set by hand says nothing about what others did meanwhile, and a transaction that
/// keeps one snapshot does not see what they found.
fn is_used(session: &Session) -> bool {
    !session.keeps_snapshot() && !session.is_time_set()
}

impl Front {
    /// Where claims of the queue begin, if this backend knows it to be costly.
    ///
    /// # Errors
    /// Those of the catalogue's cache.
    pub fn recall(session: &Session, queue: &QueueName) -> Result<Option<Self>> {
        if !is_used(session) {
            return Ok(None);
        }
        let found = FRONTS.with_borrow(|fronts| {
            if fronts.is_empty() { None } else { fronts.get(queue.as_str()).cloned() }
        });
        let of_weeks = Self::of_weeks(queue)?;
        let Some(front) = found.filter(|front| front.of_weeks == of_weeks.is_some()) else {
            return Ok(of_weeks);
        };
        // What was rolled back may have taken runs, and a clock that was set back makes all of it
        // void.
        let is_void = front.aborts != aborts::count() || front.as_of > Some(session.now());
        Ok(Some(if is_void { front.anew() } else { front }))
    }

    /// Keeps it for the next claim, unless the queue has become an ordinary one.
    pub fn keep(self, queue: &QueueName) {
        match self.is_calm() {
            true => forget(queue),
            false => self.remember(queue),
        }
    }

    /// The same with nothing found yet.
    fn anew(&self) -> Self {
        let Self { looks, of_weeks, .. } = *self;
        Self { looks, of_weeks, ..Self::default() }
    }

    fn is_calm(&self) -> bool {
        !self.of_weeks && self.whole.blocks <= CALM + CALM_EACH * self.floors.len() as i64
    }

    fn remember(mut self, queue: &QueueName) {
        self.aborts = aborts::count();
        FRONTS.with_borrow_mut(|fronts| {
            if fronts.len() >= QUEUES {
                fronts.clear();
            }
            fronts.insert(queue.as_str().into(), self);
        });
    }

    /// Takes note of what was found lately, by this call if it is time. Returns whether it has
    /// looked, none when the queue has become an ordinary one.
    ///
    /// # Errors
    /// 42P01 for an unknown queue.
    pub fn refresh(&mut self, session: &Session, queue: &QueueName) -> Result<Option<bool>> {
        let now = session.now();
        let mut was_told = false;
        if !is_within(self.asked_at, ASKS, now) || !is_within(self.as_of, self.holds(), now) {
            was_told = self.adopt(session, queue)?;
            self.asked_at = Some(now);
        }
        if is_within(self.as_of, self.holds(), now) {
            if was_told && self.is_calm() {
                forget(queue);
                return Ok(None);
            }
            return Ok(Some(false));
        }
        let chosen = lock::front(queue.as_str())?;
        if !chosen && is_within(self.as_of, self.late(), now) {
            return Ok(Some(false));
        }
        let has_looked = self.look(session, queue, chosen)?;
        if !has_looked {
            self.guess(session, queue)?;
        }
        Ok(Some(has_looked))
    }

    fn holds(&self) -> f64 {
        HOLDS.max(HOLDS_TIMES * self.near_seconds)
    }

    /// For how long what a look has found is relied upon at most.
    fn late(&self) -> f64 {
        self.holds() + LATE.max(LATE_TIMES * self.near_seconds)
    }

    /// Looks because a claim came back short, if that can be afforded. Returns whether it did; none
    /// when another call is looking.
    ///
    /// # Errors
    /// 42P01 for an unknown queue.
    pub fn look_again(&mut self, session: &Session, queue: &QueueName) -> Result<Option<bool>> {
        let can_be_afforded = match self.floors.iter().any(|floor| floor.span.is_near()) {
            true => !is_within(self.as_of, HOLDS_TIMES * self.near_seconds, session.now()),
            // Of the first looks most goes into the catalogue and into plans.
            false => self.whole.blocks <= AFFORDABLE || self.looks <= 3,
        };
        if can_be_afforded {
            // A backend whose claims all come back short must not leave it to others to write it
            // down.
            let is_old = !is_within(self.written_at, self.holds(), session.now());
            let chosen = is_old && lock::front(queue.as_str())?;
            return Ok(self.look(session, queue, chosen)?.then_some(true));
        }
        Ok(Some(false))
    }

    /// From where on something may be overdue; none when nothing is.
    pub fn overdue(&self) -> Option<Since> {
        self.is_overdue.then(|| self.sweeps.since())
    }

    /// Notes that nothing is overdue any longer.
    pub fn is_swept(&mut self) {
        self.is_overdue = false;
    }

    /// Hands out ready runs. Those of another week than the queue's next runs were found in are
    /// looked for only if `all` says so.
    ///
    /// # Errors
    /// 42P01 for an unknown queue.
    pub fn hand_out(
        &mut self,
        session: &Session,
        queue: &QueueName,
        (offer, budget): (&Offer, &Budget),
        all: bool,
        claimed: &mut Vec<Claimed>,
    ) -> Result<Ended> {
        let mut ended = Ended::default();
        let latest = session.now().plus_seconds(-MARGIN);
        let tries = self.tries_strays(session.now());
        for place in 0..self.floors.len() {
            if tries {
                let priority = self.floors[place].priority;
                self.offer_strays(session, queue, (offer, budget), Some(priority), claimed)?;
            }
            if offer.is_met(claimed) {
                break;
            }
            let floor = &mut self.floors[place];
            let (mut last, mut is_told) = (None, false);
            if let Some(week) = floor.week(queue)? {
                let until = floor.until;
                let (handed, is_all) =
                    offer.hand_out_of(session, &week, floor.place(), until, claimed)?;
                is_told = !all && is_all;
                last = handed.last;
            }
            if !offer.is_met(claimed) && is_told {
                // Others may have come: the front stays where it is, for who looks at more than
                // this week.
                ended.before_another_week |= floor.until <= session.now();
                if ended.before_another_week {
                    break;
                }
                continue;
            } else if !offer.is_met(claimed) {
                let handed = offer.hand_out(session, queue, floor.place(), budget, claimed)?;
                last = handed.last.or(last);
                if handed.is_cut {
                    // What lies between is still to be looked at.
                    ended.is_cut = true;
                    return Ok(ended);
                }
                floor.move_on(session, queue, claimed)?;
            }
            let upto = last.filter(|_| offer.is_met(claimed)).unwrap_or(latest);
            floor.since = upto.min(latest).max(floor.since);
        }
        if !tries && !offer.is_met(claimed) {
            self.is_cut = false;
            self.offer_strays(session, queue, (offer, budget), None, claimed)?;
        }
        Ok(ended)
    }
}

/// Runs in the line's order, each once.
fn in_line(mut runs: Vec<Standing>) -> Rc<[Standing]> {
    runs.sort_unstable_by_key(|run| (Reverse(run.priority), run.at, *run.run.as_bytes()));
    runs.dedup();
    runs.into()
}

/// Whether an instant lies at most so many seconds before now, and not after it.
fn is_within(at: Option<Timestamp>, seconds: f64, now: Timestamp) -> bool {
    at.is_some_and(|at| at <= now && now < at.plus_seconds(seconds))
}
