//! The line of one priority by statements, a few runs at a time.
//!
//! A queue's own triggers, constraints and policies may refuse to have a run handed out, and a row
//! may hold what no run can. Such a run is set aside, and the claim goes on with the rest.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::slice;

use super::budget::Budget;
use super::hand_out::{Claimed, Handed, Offer, Place, Ready, Tasks, is_due, of_woken, plain};
use super::lost::Passed;
use super::stuck::{self, Kind, Known};
use crate::error::{Error, Result};
use crate::params;
use crate::pg::{Row, Rows, Session, Statement, Timestamp, Uuid};
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

/// Some runs of the line.
struct Page {
    /// Those that can be handed out.
    found: Vec<Found>,
    passed: Passed,
    /// Those that cannot be read.
    refused: Vec<(Uuid, Error)>,
    /// How many were looked at, and what follows them.
    count: usize,
    next: Place,
    /// When the last of those that can be handed out became ready.
    last: Option<Timestamp>,
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
        if !stuck::hold(session, queue.as_str(), Kind::Claim, run)? {
            continue;
        }
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
            let page = self.hand_out_page(place, limit, claimed)?;
            self.handed.blocks += self.session.blocks_looked_at() - began;
            self.handed.last = page.last.or(self.handed.last);
            place = page.next;
            if (page.count as i32) < limit {
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

    /// Hands out a page of the line: all of it at once, or where that fails one by one.
    fn hand_out_page(
        &mut self,
        place: Place,
        limit: i32,
        claimed: &mut Vec<Claimed>,
    ) -> Result<Page> {
        // A subtransaction adds a tenth to a claim: where nothing is known to refuse runs, there is
        // none until something has.
        let may_refuse = access::may_refuse(self.queue)? || has_refused(self.queue);
        let taken = match may_refuse {
            false => Ok(self
                .take_page(place, limit, claimed)
                .inspect_err(|_| note_refusal(self.queue))?),
            true => self.session.attempt(|| self.take_page(place, limit, claimed))?,
        };
        let mut page = match taken {
            Ok((mut page, woken)) => {
                claimed.extend(in_order(&mut page.found, woken));
                page
            }
            Err(error) if stuck::ends_all(self.queue, &error)? => return Err(error),
            Err(_) => {
                let mut page = self.look(place, limit, claimed)?;
                self.give_one_by_one(std::mem::take(&mut page.found), claimed)?;
                page
            }
        };
        for (run, error) in std::mem::take(&mut page.refused) {
            self.refuse(run, error)?;
        }
        self.passed.extend(std::mem::take(&mut page.passed));
        Ok(page)
    }

    /// Looks at a page and takes what it has; also says which of that a timeout has woken.
    fn take_page(
        &self,
        place: Place,
        limit: i32,
        claimed: &[Claimed],
    ) -> Result<(Page, Vec<Claimed>)> {
        let mut page = self.look(place, limit, claimed)?;
        page.found.truncate((self.offer.quantity - claimed.len() as i32).max(0) as usize);
        let woken = self.take(&page.found)?;
        Ok((page, woken))
    }

    /// Locks so many runs of the line from a place on, and reads them.
    fn look(&self, place: Place, limit: i32, claimed: &[Claimed]) -> Result<Page> {
        let rows = self.head(place, limit)?;
        let (count, found) = (rows.len(), Vec::with_capacity(rows.len()));
        let (passed, refused) = (Passed::default(), Vec::new());
        let mut page = Page { found, passed, refused, count, last: None, next: place };
        let mut taken = Tasks::of(claimed);
        for row in rows {
            let (run, at) = (row.need(0)?, row.need(5)?);
            page.next = page.next.after(at, run);
            if let Err(error) = self.read(row, &mut page, &mut taken) {
                page.refused.push((run, error));
            }
        }
        Ok(page)
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
    fn try_head(&self, place: Place) -> Result<()> {
        match self.take_page(place, 1, &[])?.0.refused.pop() {
            Some((_, error)) => Err(error),
            None => Ok(()),
        }
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
        if !stuck::hold(session, queue, Kind::Claim, run)? {
            return Ok(());
        }
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
    fn read(&self, row: Row, page: &mut Page, taken: &mut Tasks) -> Result<()> {
        let (run, task): (Uuid, Uuid) = (row.need(0)?, row.need(1)?);
        let is_passed_over = match row.get::<bool>(12)? {
            _ if row.need(20)? => {
                page.passed.lost.push(run);
                true
            }
            // Somebody else is at the task.
            None => true,
            Some(false) => {
                page.passed.ended.push(run);
                true
            }
            Some(true) if is_due(row, 7, self.session.now())? => {
                if row.get::<bool>(19)?.is_some() {
                    page.passed.unlisted.push(task);
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
        page.found.push(match plain(self.session, row, row, 7)? {
            Some(ready) => Found::Ready(Box::new(ready)),
            None => Found::Woken(run),
        });
        page.last = row.get(5)?;
        Ok(())
    }

    fn give_one_by_one(&mut self, found: Vec<Found>, claimed: &mut Vec<Claimed>) -> Result<()> {
        for one in found {
            if self.offer.is_met(claimed) {
                break;
            }
            let run = one.run();
            if self.stuck()?.is_aside(run) {
                self.budget.pass();
                continue;
            }
            match self.session.attempt(|| self.take(slice::from_ref(&one)))? {
                Ok(woken) => claimed.extend(in_order(&mut vec![one], woken)),
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
        rows.into_iter().map(|row| of_woken(self.session, self.queue, row)).collect()
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
fn in_order(found: &mut Vec<Found>, woken: Vec<Claimed>) -> Vec<Claimed> {
    let mut woken: HashMap<[u8; 16], Claimed> =
        woken.into_iter().map(|run| (*run.run_id.as_bytes(), run)).collect();
    let one = |found| match found {
        Found::Ready(ready) => Some(ready.claimed),
        Found::Woken(run) => woken.remove(run.as_bytes()),
    };
    found.drain(..).filter_map(one).collect()
}

/// The lowest id that a run can have.
fn lowest() -> Uuid {
    Uuid::from_bytes([0; 16])
}
