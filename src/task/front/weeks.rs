//! Claims of a queue of weeks, without looking at all of them.
//!
//! A statement on the whole locks every table and index of every week, a thousand for a year of
//! them, to the end of its transaction; the server's lock table has room for some ten thousand. So
//! claims name the one week that they take from, and looks, which only read, give up their locks
//! when they have read. One call at a time looks; who finds another at it, and knows nothing, takes
//! from this week.

use super::Front;
use super::floor::Floor;
use super::span::Span;
use crate::error::{Error, Result};
use crate::params;
use crate::pg::direct::count_parts;
use crate::pg::{Session, Statement, Timestamp, lock};
use crate::queue::week::Week;
use crate::queue::{QueueName, partition, provision};
use crate::task::direct;

/// The next lower priority that has any run waiting.
static BELOW: Statement = Statement::new(
    "select priority from {r} where state in ('pending', 'sleeping') and priority < $1
      order by priority desc limit 1",
);

impl Front {
    pub fn is_of_weeks(&self) -> bool {
        self.of_weeks
    }

    /// Where claims of a queue begin of which nothing is known: nowhere special, unless it is one
    /// of weeks.
    pub(super) fn of_weeks(queue: &QueueName) -> Result<Option<Self>> {
        let of_weeks = provision::is_partitioned(queue)?
            && count_parts(&queue.relation("r", ""))?.is_some_and(|count| count > 1);
        Ok(of_weeks.then(|| Self { of_weeks, ..Self::default() }))
    }

    /// Looks through all weeks, unless another call is doing so, and leaves none of them locked.
    /// Returns whether it did.
    pub(super) fn look_at_weeks(
        &mut self,
        session: &Session,
        queue: &QueueName,
        chosen: bool,
        behind: &[Timestamp],
    ) -> Result<bool> {
        let seen = session.peek(|| {
            let may = lock::looking(queue.as_str())?;
            if may {
                self.look_through(session, queue, chosen, behind)?;
            }
            Ok(may)
        })?;
        match seen {
            // The lock table is full: others hold what they hold, this claim does without.
            Err(Error::Postgres(caught)) if caught.is("53200") => Ok(false),
            seen => seen,
        }
    }

    /// Has the claim take from this week, and from the default partition, whatever stands
    /// elsewhere.
    pub(super) fn guess(&mut self, session: &Session, queue: &QueueName) -> Result<()> {
        *self = self.anew();
        let this_week = session.now().week_tag();
        for tag in this_week.into_iter().chain([partition::DEFAULT.to_owned()]) {
            let Some(week) = Week::find(queue, &tag)? else { continue };
            let mut below = None;
            while let Some(priority) = highest(session, &week, below)? {
                let floor = Floor::new(priority, Timestamp::NEG_INFINITY, Span::ALL);
                self.floors.push(Floor { week: Some(tag.clone()), ..floor });
                below = Some(priority);
            }
        }
        self.floors.sort_by_key(|floor| std::cmp::Reverse(floor.priority));
        Ok(())
    }
}

/// The highest priority below another of which a week has runs waiting, as far as the caller may
/// ask.
fn highest(session: &Session, week: &Week, below: Option<i16>) -> Result<Option<i16>> {
    if let Some(found) = direct::look::highest_of(session, week, below)? {
        return Ok(found);
    }
    let below = below.map_or(i32::from(i16::MAX) + 1, i32::from);
    let next = session.run(&BELOW, week, params![below])?.first();
    next.map(|row| row.need(0)).transpose()
}
