//! The line of one priority by statements, a few runs at a time.
//!
//! A queue's own triggers, constraints and policies may refuse to have a run handed out, and a row
//! may hold what no run can. Such a run is set aside, and the claim goes on with the rest.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::slice;

use super::budget::Budget;
use super::hand_out::{Claimed, Handed, Offer, Place, Ready, Tasks, is_due, plain};
use super::lost::Passed;
use super::stuck::{self, Kind, Known};
use crate::error::{Error, Result};
use crate::params;
use crate::pg::{Row, Rows, Session, Statement, Uuid};
use crate::queue::{QueueName, access};

const LINE: &str = include_str!("../../sql/task/head.sql");
static HEAD: Statement = Statement::with(LINE, "<aside>", "");
static HEAD_BUT: Statement =
    Statement::with(LINE, "<aside>", "and r.run_id not in (select unnest($7::uuid[]))");
static CLAIM: Statement = Statement::new(include_str!("../../sql/task/claim.sql"));

/// Runs of the line that one statement looks at beyond those that are wanted, at most.
const PAGE: i32 = 256;

/// Where a run of the line stands, if it does.
static STANDS: Statement = Statement::new(
    "select priority, available_at from {r}
      where run_id = $1 and state in ('pending', 'sleeping') and available_at <= $2",
);

/// The line of one priority, a few runs at a time.
pub struct Pages<'a> {
    session: &'a Session,
    queue: &'a QueueName,
    offer: &'a Offer<'a>,
    budget: &'a Budget,
    /// What stood in the way.
    pub passed: Passed,
    pub handed: Handed,
    /// What could not be handed out before; read when something cannot be again.
    stuck: Option<Known>,
}

/// Where a run of a page comes from, in the page's order.
enum Found {
    Ready(Box<Ready>),
    /// A timeout has woken it.
    Woken(Uuid),
}

/// Tries again to hand out runs that could not be: what succeeds is undone, so that the run is
/// handed out in its turn.
///
/// # Errors
/// Those that end the statement.
pub fn try_again(
    session: &Session,
    queue: &QueueName,
    offer: &Offer,
    budget: &Budget,
) -> Result<()> {
    let stuck = Known::of(session, queue.as_str(), Kind::Claim)?;
    let mut free = Vec::new();
    for run in stuck.again() {
        let row = session.run(&STANDS, queue, params![run, session.now()])?.first();
        let outcome = match row {
            // It is handed out, or gone.
            None => Ok(()),
            Some(row) => {
                let place = Place {
                    only: Some(run),
                    from: Some(run),
                    ..Place::since(row.need(0)?, row.need(1)?)
                };
                let pages = Pages::new(session, queue, offer, budget);
                session.rehearse(|| pages.try_head(place))?
            }
        };
        match outcome {
            Ok(()) => free.push(run),
            Err(error) if stuck::ends_all(queue, &error)? => return Err(error),
            Err(error) if stuck::is_passing(&error) => {}
            Err(error) => {
                stuck::set_aside(session, queue.as_str(), Kind::Claim, run, &error)?;
            }
        }
        budget.work_off(1);
        if budget.is_spent() {
            break;
        }
    }
    stuck::remove(session, queue.as_str(), Kind::Claim, free)
}

impl<'a> Pages<'a> {
    pub fn new(
        session: &'a Session,
        queue: &'a QueueName,
        offer: &'a Offer,
        budget: &'a Budget,
    ) -> Self {
        let (passed, handed) = (Passed::default(), Handed::NOTHING);
        Self { session, queue, offer, budget, passed, handed, stuck: None }
    }

    /// Hands out ready runs from a place on, oldest first.
    ///
    /// # Errors
    /// 42P01 for an unknown queue.
    pub fn hand_out(&mut self, mut place: Place, claimed: &mut Vec<Claimed>) -> Result<()> {
        let mut extra = 0;
        while !self.offer.is_met(claimed) {
            let limit = (self.offer.quantity - claimed.len() as i32).saturating_add(extra);
            let began = self.session.blocks_looked_at();
            let rows = self.head(place, limit)?;
            self.handed.blocks += self.session.blocks_looked_at() - began;
            let count = rows.len();
            let (mut found, mut taken) = (Vec::with_capacity(count), Tasks::of(claimed));
            for row in rows {
                let (run, at) = (row.need(0)?, row.need(5)?);
                place = place.after(at, run);
                if let Err(error) = self.read(row, &mut found, &mut taken) {
                    self.refuse(run, error)?;
                }
            }
            found.truncate((self.offer.quantity - claimed.len() as i32).max(0) as usize);
            self.give(found, claimed)?;
            if (count as i32) < limit {
                break;
            }
            if !self.offer.is_met(claimed) && self.budget.may_end() {
                self.handed.is_cut = true;
                break;
            }
            extra = (extra.max(8) * 2).min(PAGE);
        }
        Ok(())
    }

    /// So many runs of the line from a place on, but for those that are set aside.
    fn head(&self, place: Place, limit: i32) -> Result<Rows> {
        let now = self.session.now();
        let (until, from) = (place.until(now), place.from.unwrap_or_else(lowest));
        let Place { priority, since, .. } = place;
        match &self.stuck {
            Some(stuck) if !stuck.is_clear() => {
                let values = params![now, limit, priority, since, until, from, stuck.aside()];
                self.session.run(&HEAD_BUT, self.queue, values)
            }
            _ => {
                let values = params![now, limit, priority, since, until, from];
                self.session.run(&HEAD, self.queue, values)
            }
        }
    }

    /// Hands out the run of a place, as it is.
    fn try_head(mut self, place: Place) -> Result<()> {
        let mut found = Vec::new();
        for row in self.head(place, 1)? {
            self.read(row, &mut found, &mut Tasks::of(&[]))?;
        }
        self.take(&found).map(drop)
    }

    /// Sets a run aside that cannot be handed out, unless it is.
    fn refuse(&mut self, run: Uuid, error: Error) -> Result<()> {
        if stuck::ends_all(self.queue, &error)? {
            return Err(error);
        }
        self.budget.pass();
        let (session, queue) = (self.session, self.queue.as_str());
        let stuck = self.stuck()?;
        if stuck.is_aside(run) || stuck::is_passing(&error) {
            return Ok(());
        }
        stuck.add(run);
        self.budget.work_off(1);
        stuck::set_aside_aloud(session, queue, Kind::Claim, run, error)
    }

    fn stuck(&mut self) -> Result<&mut Known> {
        if self.stuck.is_none() {
            self.stuck = Some(Known::of(self.session, self.queue.as_str(), Kind::Claim)?);
        }
        Ok(self.stuck.get_or_insert_default())
    }

    /// Looks at a row of head.sql.
    fn read(&mut self, row: Row, found: &mut Vec<Found>, taken: &mut Tasks) -> Result<()> {
        let (run, task): (Uuid, Uuid) = (row.need(0)?, row.need(1)?);
        let is_passed_over = match row.get::<bool>(12)? {
            _ if row.need(20)? => {
                self.passed.lost.push(run);
                true
            }
            // Somebody else is at the task.
            None => true,
            Some(false) => {
                self.passed.ended.push(run);
                true
            }
            Some(true) if is_due(row, 7, self.session.now())? => {
                if row.get::<bool>(19)?.is_some() {
                    self.passed.unlisted.push(task);
                }
                true
            }
            Some(true) => false,
        };
        if is_passed_over || taken.has(task) {
            self.budget.pass();
            return Ok(());
        }
        taken.add(task);
        found.push(match plain(self.session, row, row, 7)? {
            Some(ready) => Found::Ready(Box::new(ready)),
            None => Found::Woken(run),
        });
        self.handed.last = row.get(5)?;
        Ok(())
    }

    /// Hands out what a page has, in its order: all at once, or where that fails one by one.
    fn give(&mut self, found: Vec<Found>, claimed: &mut Vec<Claimed>) -> Result<()> {
        if found.is_empty() {
            return Ok(());
        }
        // A subtransaction adds a tenth to a claim: where nothing is known to refuse runs, there is
        // none until something has.
        if !access::may_refuse(self.queue)? && !has_refused(self.queue) {
            let taken = self.take(&found).inspect_err(|_| note_refusal(self.queue));
            claimed.extend(in_order(found, taken?));
            return Ok(());
        }
        match self.session.attempt(|| self.take(&found))? {
            Ok(woken) => {
                claimed.extend(in_order(found, woken));
                return Ok(());
            }
            Err(error) => match &found[..] {
                [only] => return self.refuse(only.run(), error),
                _ if stuck::ends_all(self.queue, &error)? => return Err(error),
                _ => {}
            },
        }
        for one in found {
            let run = one.run();
            if self.stuck()?.is_aside(run) {
                self.budget.pass();
                continue;
            }
            match self.session.attempt(|| self.take(slice::from_ref(&one)))? {
                Ok(woken) => claimed.extend(in_order(vec![one], woken)),
                Err(error) => self.refuse(run, error)?,
            }
        }
        Ok(())
    }

    /// Takes runs that are locked with their tasks. Returns those that a timeout has woken.
    fn take(&self, found: &[Found]) -> Result<Vec<Claimed>> {
        let (mut ready, mut woken) = (Vec::with_capacity(found.len()), Vec::new());
        for run in found {
            match run {
                Found::Ready(run) => ready.push(&**run),
                Found::Woken(run) => woken.push(*run),
            }
        }
        self.offer.take(self.session, self.queue, &ready)?;
        if woken.is_empty() {
            return Ok(Vec::new());
        }
        let Offer { worker, until, .. } = self.offer;
        let values = params![self.session.now(), woken, *worker, *until];
        let rows = self.session.run(&CLAIM, self.queue, values)?;
        rows.into_iter().map(|row| read(self.session, row)).collect()
    }
}

/// Queues that a backend remembers as having refused a run, for a reason that their tables' shape
/// does not tell: an index of the owner's, damage.
const REFUSING: usize = 256;

thread_local! {
    static REFUSED: RefCell<HashSet<Box<str>>> = RefCell::default();
}

fn has_refused(queue: &QueueName) -> bool {
    REFUSED.with_borrow(|refused| !refused.is_empty() && refused.contains(queue.as_str()))
}

fn note_refusal(queue: &QueueName) {
    REFUSED.with_borrow_mut(|refused| {
        if refused.len() < REFUSING {
            refused.insert(queue.as_str().into());
        }
    });
}

impl Found {
    fn run(&self) -> Uuid {
        match self {
            Self::Ready(ready) => ready.claimed.run_id,
            Self::Woken(run) => *run,
        }
    }
}

/// What was taken of a page, in the page's order.
fn in_order(found: Vec<Found>, woken: Vec<Claimed>) -> Vec<Claimed> {
    let mut woken: HashMap<[u8; 16], Claimed> =
        woken.into_iter().map(|run| (*run.run_id.as_bytes(), run)).collect();
    let one = |found| match found {
        Found::Ready(ready) => Some(ready.claimed),
        Found::Woken(run) => woken.remove(run.as_bytes()),
    };
    found.into_iter().filter_map(one).collect()
}

/// The lowest id that a run can have.
fn lowest() -> Uuid {
    Uuid::from_bytes([0; 16])
}

/// A row of claim.sql.
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
