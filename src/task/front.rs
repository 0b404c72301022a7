//! The front of a queue's line, where looking at it costs more than a claim should.
//!
//! The index on ready runs keeps the entries of runs that were claimed until Postgres may remove them,
//! and while a transaction holds an old snapshot, it may not. They stand at the front, and a claim that
//! begins there steps over all of them. And a queue of many weeks has as many indexes to look at. A
//! backend that notices so begins where its last claim ended instead, in the week where that was, and
//! leaves what lies behind to one claim a second, of whichever backend: that one looks at everything,
//! carries out what is overdue, and writes down from which instant on runs may be ready.
//! A run that becomes ready behind a claim's beginning, because its transaction committed late or because
//! a claim of it was rolled back, is found within that second; at once, if the claim would come back
//! short and looking can be afforded.
//!
//! Nothing of this is in the way of an ordinary queue: its claims count the blocks that they look at
//! anyway, and that is all.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::HashMap;
use std::time::Instant;

use super::direct::front as direct;
use super::hand_out::{Claimed, Offer};
use super::margin::Margin;
use super::sweep;
use crate::error::Result;
use crate::params;
use crate::pg::plan::Own;
use crate::pg::{Session, Statement, Timestamp, Uuid, lock, uuid};
use crate::queue::week::{self, Week};
use crate::queue::{QueueName, provision};

/// Blocks that a claim looks at when nothing is in its way, and that each run adds. Twenty more are some
/// thousand entries to step over, which take as long as the claim itself.
const BLOCKS: i64 = 64;
const BLOCKS_EACH: i64 = 24;
/// Blocks of a look at everything that make the queue an ordinary one again, and that each priority adds.
const CALM: i64 = 40;
const CALM_EACH: i64 = 8;
/// Blocks that a claim which came back short may look at, some milliseconds: as much as a queue of a
/// year's weeks takes.
const AFFORDABLE: i64 = 1000;
/// Seconds for which what was found at the front holds; four times as long as it took to find, when that
/// is more: looking takes no more than a fifth of one processor.
const HOLDS: f64 = 0.8;
const HOLDS_TIMES: f64 = 4.0;
/// Seconds more, and twice as many as it took, after which a claim no longer relies on others to look:
/// whoever does may be in a transaction that takes its time.
const LATE: f64 = 0.2;
const LATE_TIMES: f64 = 2.0;
/// Queues that a backend remembers, and priorities of each.
const QUEUES: usize = 256;
const PRIORITIES: usize = 32;

static PUBLISH: Statement = Statement::new(
    "insert into absurd.queue_front as f
            (queue_name, looked_at, blocks, seconds, is_overdue, priorities, floors, weeks, untils)
     values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
     on conflict (queue_name) do update
        set looked_at = excluded.looked_at, blocks = excluded.blocks,
            seconds = excluded.seconds, is_overdue = excluded.is_overdue, priorities = excluded.priorities,
            floors = excluded.floors, weeks = excluded.weeks, untils = excluded.untils",
);
/// The first run of the next lower priority that has any waiting.
static NEXT: Statement = Statement::new(
    "select priority, available_at, run_id from {r}
      where state in ('pending', 'sleeping') and priority < $1
      order by priority desc, available_at, run_id
      limit 1",
);
/// When the first run of a priority that does not lie between two ids becomes ready.
static BEYOND: Statement = Statement::new(
    "select least((select available_at from {r}
                    where state in ('pending', 'sleeping') and priority = $1 and run_id < $2
                    order by available_at, run_id limit 1),
                  (select available_at from {r}
                    where state in ('pending', 'sleeping') and priority = $1 and run_id >= $3
                    order by available_at, run_id limit 1))",
);

thread_local! {
    static FRONTS: RefCell<HashMap<Box<str>, Front>> = RefCell::default();
}

/// Where a backend's claims of one queue begin.
#[derive(Clone, Default)]
pub struct Front {
    /// One a priority, highest first.
    floors: Vec<Floor>,
    /// When what they rest on was found, and how many blocks and seconds that took.
    as_of: Option<Timestamp>,
    blocks: i64,
    seconds: f64,
    /// How often this backend has looked by itself.
    looks: u32,
    margin: Margin,
}

/// Where the runs of a priority begin.
#[derive(Clone)]
struct Floor {
    priority: i16,
    since: Timestamp,
    /// The week whose runs come first, as long as they became ready by `until`.
    week: Option<String>,
    until: Timestamp,
}

/// What is to be done before runs are handed out.
pub struct Duties {
    pub overdue: bool,
    /// Whether workflow runs have something to go on with.
    pub goes_on: bool,
    /// Whether this call has looked at everything just now.
    pub looked: bool,
}

/// What a claim has found at the front of a queue.
struct Published {
    goes_on: bool,
    overdue: bool,
    front: Front,
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
    pub fn recall(session: &Session, queue: &QueueName) -> Option<Self> {
        let found = FRONTS.with_borrow(|fronts| {
            if fronts.is_empty() { None } else { fronts.get(queue.as_str()).cloned() }
        });
        found.filter(|_| is_used(session))
    }

    /// Keeps it for the next claim, unless the queue has become an ordinary one.
    pub fn keep(self, queue: &QueueName) {
        match self.is_calm() {
            true => forget(queue),
            false => self.remember(queue),
        }
    }

    fn is_calm(&self) -> bool {
        self.blocks <= CALM + CALM_EACH * self.floors.len() as i64
    }

    fn remember(self, queue: &QueueName) {
        FRONTS.with_borrow_mut(|fronts| {
            if fronts.len() >= QUEUES {
                fronts.clear();
            }
            fronts.insert(queue.as_str().into(), self);
        });
    }

    /// Takes note of what was found lately, by this call if it is time. None when the queue has become
    /// an ordinary one.
    ///
    /// # Errors
    /// 42P01 for an unknown queue.
    pub fn refresh(&mut self, session: &Session, queue: &QueueName) -> Result<Option<Duties>> {
        let now = session.now();
        let Published { goes_on, overdue, front } = published(session, queue)?;
        let was_told = self.as_of < front.as_of;
        if was_told {
            *self = Self { looks: self.looks, margin: self.margin, ..front };
        }
        let holds = HOLDS.max(HOLDS_TIMES * self.seconds);
        if is_within(self.as_of, holds, now) {
            if was_told && self.is_calm() {
                forget(queue);
                return Ok(None);
            }
            return Ok(Some(Duties { overdue, goes_on, looked: false }));
        }
        let chosen = lock::front(queue.as_str())?;
        let late = holds + LATE.max(LATE_TIMES * self.seconds);
        if chosen || !is_within(self.as_of, late, now) {
            let overdue = self.look(session, queue, chosen)?;
            return Ok(Some(Duties { overdue, goes_on, looked: true }));
        }
        Ok(Some(Duties { overdue, goes_on, looked: false }))
    }

    /// Looks at everything because a claim came back short, if that can be afforded.
    ///
    /// # Errors
    /// 42P01 for an unknown queue.
    pub fn look_again(&mut self, session: &Session, queue: &QueueName) -> Result<Option<Duties>> {
        // Of the first looks most goes into the catalogue and into plans.
        if self.blocks > AFFORDABLE && self.looks > 2 {
            return Ok(None);
        }
        let overdue = self.look(session, queue, false)?;
        Ok(Some(Duties { overdue, goes_on: false, looked: true }))
    }

    /// Looks at everything, for others too if this call was chosen to. Returns whether anything is
    /// overdue.
    fn look(&mut self, session: &Session, queue: &QueueName, chosen: bool) -> Result<bool> {
        let (began, clock) = (session.blocks_looked_at(), Instant::now());
        let now = session.now();
        let latest = self.margin.before(now);
        let is_partitioned = provision::is_partitioned(queue)?;
        let overdue = sweep::look(session, queue)?.any();
        let mut floors: Vec<Floor> = Vec::new();
        let mut below = i32::from(i16::MAX) + 1;
        while let Some(row) = session.run(&NEXT, queue, params![below])?.first() {
            let (priority, first, run): (i16, Timestamp, Uuid) =
                (row.need(0)?, row.need(1)?, row.need(2)?);
            let since = first.min(latest);
            let mut floor = Floor { priority, since, week: None, until: Timestamp::INFINITY };
            if is_partitioned {
                // What is spawned from now on lies in this week.
                let at = if first <= now { uuid::timestamp(run) } else { Some(now) };
                floor.stay_in_week_of(session, queue, at)?;
            }
            floors.push(floor);
            below = i32::from(priority);
        }
        self.blocks = session.blocks_looked_at() - began;
        self.seconds = clock.elapsed().as_secs_f64();
        self.looks += 1;
        // A priority that has none now may have some in a moment.
        let known = self.floors.iter().map(|floor| floor.priority);
        for priority in std::iter::once(0).chain(known).take(PRIORITIES) {
            if floors.iter().all(|floor| floor.priority != priority) {
                let week = now.week_tag().filter(|_| is_partitioned);
                let until = Timestamp::INFINITY;
                floors.push(Floor { priority, since: latest, week, until });
            }
        }
        floors.sort_unstable_by_key(|floor| Reverse(floor.priority));
        self.floors = floors;
        self.as_of = Some(now);
        if chosen {
            self.publish(session, queue, now, overdue)?;
        }
        Ok(overdue)
    }

    fn publish(
        &self,
        session: &Session,
        queue: &QueueName,
        at: Timestamp,
        overdue: bool,
    ) -> Result<()> {
        let values = params![
            queue.as_str(),
            at,
            self.blocks,
            self.seconds,
            overdue,
            self.floors.iter().map(|floor| Some(floor.priority)).collect::<Vec<_>>(),
            self.floors.iter().map(|floor| Some(floor.since)).collect::<Vec<_>>(),
            self.floors.iter().map(|floor| floor.week.clone()).collect::<Vec<_>>(),
            self.floors.iter().map(|floor| Some(floor.until)).collect::<Vec<_>>(),
        ];
        session.run(&PUBLISH, &Own, values).map(drop)
    }

    /// Hands out ready runs, and notes where it ended.
    ///
    /// # Errors
    /// 42P01 for an unknown queue.
    pub fn hand_out(
        &mut self,
        session: &Session,
        queue: &QueueName,
        offer: &Offer,
        claimed: &mut Vec<Claimed>,
    ) -> Result<()> {
        let latest = self.margin.before(session.now());
        let is_full = |claimed: &[Claimed]| claimed.len() as i32 >= offer.quantity;
        let mut search = None;
        for floor in &mut self.floors {
            let place = (floor.priority, floor.since);
            let mut last = None;
            if let Some(week) = floor.week(queue)? {
                last = offer.hand_out_of(session, &week, place, floor.until, claimed)?;
            }
            if !is_full(claimed) {
                let handed = offer.hand_out(session, queue, place, claimed)?;
                (last, search) = (handed.last.or(last), search.or(handed.search));
                floor.move_on(session, queue, claimed)?;
            }
            let ended = last.filter(|_| is_full(claimed)).unwrap_or(latest);
            floor.since = ended.min(latest).max(floor.since);
            if is_full(claimed) {
                break;
            }
        }
        if let Some(search) = search {
            self.margin.adapt(search);
        }
        Ok(())
    }
}

impl Floor {
    /// Notes the week of an instant, and until when no other week has a run that is ready.
    fn stay_in_week_of(
        &mut self,
        session: &Session,
        queue: &QueueName,
        at: Option<Timestamp>,
    ) -> Result<()> {
        let Some(at) = at else { return Ok(()) };
        let start = at.week_start();
        let end = start.plus_seconds(7.0 * 86_400.0);
        let values = params![self.priority, uuid::floor(start)?, uuid::floor(end)?];
        let beyond = session.run(&BEYOND, queue, values)?.only()?.get(0)?;
        self.until = beyond.unwrap_or(Timestamp::INFINITY);
        self.week = at.week_tag();
        Ok(())
    }

    /// When older weeks have nothing more and what was handed out is of this one, stays in this one.
    fn move_on(&mut self, session: &Session, queue: &QueueName, claimed: &[Claimed]) -> Result<()> {
        let (Some(week), Some(last)) = (&self.week, claimed.last()) else { return Ok(()) };
        let current = session.now().week_tag();
        if current.as_ref() == Some(week) || week::tag_of(last.run_id) != current {
            return Ok(());
        }
        self.stay_in_week_of(session, queue, Some(session.now()))
    }

    fn week<'a>(&self, queue: &'a QueueName) -> Result<Option<Week<'a>>> {
        match &self.week {
            Some(tag) if self.since < self.until => week::Week::find(queue, tag),
            _ => Ok(None),
        }
    }
}

fn published(session: &Session, queue: &QueueName) -> Result<Published> {
    let (goes_on, stored) = direct::published(session, queue)?;
    let floors = stored
        .priorities
        .into_iter()
        .zip(stored.floors)
        .zip(stored.weeks)
        .zip(stored.untils)
        .map(|(((priority, since), week), until)| Floor { priority, since, week, until });
    Ok(Published {
        goes_on,
        overdue: stored.is_overdue,
        front: Front {
            margin: Margin::default(),
            floors: floors.collect(),
            as_of: stored.looked_at,
            blocks: stored.blocks,
            seconds: stored.seconds,
            looks: 0,
        },
    })
}

/// Whether an instant lies at most so many seconds before now, and not after it.
fn is_within(at: Option<Timestamp>, seconds: f64, now: Timestamp) -> bool {
    at.is_some_and(|at| at <= now && now < at.plus_seconds(seconds))
}
