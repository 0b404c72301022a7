//! The line of one priority by statements, a few runs at a time.

use std::collections::HashMap;

use super::budget::Budget;
use super::hand_out::{Claimed, Handed, Offer, Place, Ready, Tasks, is_due, plain};
use super::lost::Passed;
use crate::error::Result;
use crate::params;
use crate::pg::{Row, Session, Statement, Uuid};
use crate::queue::QueueName;

static HEAD: Statement = Statement::new(include_str!("../../sql/task/head.sql"));
static CLAIM: Statement = Statement::new(include_str!("../../sql/task/claim.sql"));

/// Runs of the line that one statement looks at beyond those that are wanted, at most.
const PAGE: i32 = 256;

/// The line of one priority, a few runs at a time.
pub struct Pages<'a> {
    pub session: &'a Session,
    pub queue: &'a QueueName,
    pub offer: &'a Offer<'a>,
    pub budget: &'a Budget,
    /// What stood in the way.
    pub passed: Passed,
    pub handed: Handed,
}

/// Where a run of a page comes from, in the page's order.
enum Found {
    Ready(Box<Ready>),
    /// A timeout has woken it.
    Woken(Uuid),
}

impl Pages<'_> {
    /// Hands out ready runs from a place on, oldest first.
    ///
    /// # Errors
    /// 42P01 for an unknown queue.
    pub fn hand_out(&mut self, mut place: Place, claimed: &mut Vec<Claimed>) -> Result<()> {
        let mut extra = 0;
        while !self.offer.is_met(claimed) {
            let limit = (self.offer.quantity - claimed.len() as i32).saturating_add(extra);
            let began = self.session.blocks_looked_at();
            let now = self.session.now();
            let (until, from) = (place.until(now), place.from.unwrap_or_else(lowest));
            let values = params![now, limit, place.priority, place.since, until, from];
            let rows = self.session.run(&HEAD, self.queue, values)?;
            self.handed.blocks += self.session.blocks_looked_at() - began;
            let count = rows.len();
            let (mut found, mut taken) = (Vec::with_capacity(count), Tasks::of(claimed));
            for row in rows {
                let (run, at) = (row.need(0)?, row.need(5)?);
                place = place.after(at, run);
                self.read(row, &mut found, &mut taken)?;
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

    /// Hands out what a page has, in its order.
    fn give(&self, found: Vec<Found>, claimed: &mut Vec<Claimed>) -> Result<()> {
        let (session, Offer { worker, until, .. }) = (self.session, self.offer);
        let mut order = Vec::with_capacity(found.len());
        let (mut ready, mut woken) = (Vec::with_capacity(found.len()), Vec::new());
        for run in found {
            match run {
                Found::Ready(run) => {
                    order.push(run.claimed.run_id);
                    ready.push(*run);
                }
                Found::Woken(run) => {
                    order.push(run);
                    woken.push(run);
                }
            }
        }
        if woken.is_empty() {
            return self.offer.take(session, self.queue, ready, claimed);
        }
        let mut given = Vec::with_capacity(order.len());
        self.offer.take(session, self.queue, ready, &mut given)?;
        let values = params![session.now(), woken, *worker, *until];
        for row in session.run(&CLAIM, self.queue, values)? {
            given.push(read(session, row)?);
        }
        let places: HashMap<[u8; 16], usize> =
            order.iter().enumerate().map(|(place, run)| (*run.as_bytes(), place)).collect();
        given.sort_by_key(|run| places.get(run.run_id.as_bytes()));
        claimed.extend(given);
        Ok(())
    }
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
