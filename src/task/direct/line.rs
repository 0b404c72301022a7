//! Looking along the indexes of a queue from where on something may have changed, see
//! [`crate::task::front`]. Other than claims, this also comes upon runs that a transaction under
//! way has made ready or taken.

use crate::error::Result;
use crate::pg::direct::{Found, Key, Parts, Table, Which};
use crate::pg::{Session, Timestamp, Uuid};
use crate::queue::QueueName;
use crate::queue::partition::DEFAULT;
use crate::queue::rows::{self, ATTEMPTS, LEASES, READY, RULES, runs, tasks};
use crate::queue::week;
use crate::task::sweep::Since;

/// A run with its place in the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    pub priority: i16,
    /// When it became ready, or will.
    pub at: Timestamp,
    pub run: Uuid,
}

/// The line of a queue's waiting runs.
pub struct Line {
    /// With the tags of their weeks.
    runs: Parts,
    tasks: Parts,
}

/// The runs of one of the queue's tables.
pub struct Part<'a>(&'a Table);

/// What is known of the overdue of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Past {
    /// Whether there is anything whose instant has come, be it that a transaction under way is at
    /// it.
    pub any: bool,
    /// Whether there is something to be carried out.
    pub overdue: bool,
}

impl Line {
    /// None when statements must be used.
    ///
    /// # Errors
    /// Postgres's own.
    pub fn open(session: &Session, queue: &QueueName) -> Result<Option<Self>> {
        let runs = rows::parts(session, queue, "r", &runs::LAYOUT)?;
        let tasks = rows::parts(session, queue, "t", &tasks::LAYOUT)?;
        let (Some(runs), Some(tasks)) = (runs, tasks) else { return Ok(None) };
        for (_, part) in &runs {
            if !part.has(READY)? || !part.has(LEASES)? || !part.has(ATTEMPTS)? {
                return Ok(None);
            }
        }
        for (_, part) in &tasks {
            if !part.has(RULES)? {
                return Ok(None);
            }
        }
        Ok(Some(Self { runs, tasks }))
    }

    /// Each of the tables that hold runs: one, or one a week.
    pub fn parts(&self) -> impl Iterator<Item = Part<'_>> {
        self.runs.iter().map(|(_, runs)| Part(runs))
    }

    /// Whether a run still stands, or may come to stand again, where it did.
    ///
    /// # Errors
    /// Postgres's own.
    pub fn has(&self, Standing { priority, at, run }: Standing) -> Result<bool> {
        let keys = [Key::is(1, priority), Key::is(2, at), Key::is(3, run)];
        let week = week::tag_of(run);
        // A week's tag comes back after ten years, and that of another decade is in the default
        // partition.
        let is_of = |tag: &str| tag.is_empty() || tag == DEFAULT || week.as_deref() == Some(tag);
        for (_, runs) in self.runs.iter().filter(|(tag, _)| is_of(tag)) {
            if any(runs, READY, &keys)?.any {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The highest priority between two that has runs waiting; none for no bound.
    ///
    /// # Errors
    /// Postgres's own.
    pub fn highest(&self, below: Option<i16>, above: Option<i16>) -> Result<Option<i16>> {
        let bounds =
            [below.map(|below| Key::below(1, below)), above.map(|above| Key::above(1, above))];
        let keys: Vec<Key> = bounds.into_iter().flatten().collect();
        let mut highest = None;
        for (_, runs) in &self.runs {
            runs.walk(READY, &keys, |_| {
                highest = highest.max(Some(runs.need(runs::PRIORITY)?));
                Ok(false)
            })?;
        }
        Ok(highest)
    }

    /// Which rules, leases and attempts between these instants and now are overdue.
    ///
    /// # Errors
    /// Postgres's own.
    pub fn overdue(&self, since: Since, now: Timestamp) -> Result<[Past; 3]> {
        let of_rules = [Key::from_in_utc(1, since.rules), Key::upto_in_utc(1, now)];
        let of_leases = [Key::from(1, since.leases), Key::upto(1, now)];
        let of_attempts = [Key::from(1, since.attempts), Key::upto(1, now)];
        Ok([
            any_of(&self.tasks, RULES, &of_rules)?,
            any_of(&self.runs, LEASES, &of_leases)?,
            any_of(&self.runs, ATTEMPTS, &of_attempts)?,
        ])
    }
}

impl Part<'_> {
    /// Walks along the runs of a priority that became ready between two instants, until `visit`
    /// says false.
    ///
    /// # Errors
    /// Those of `visit` and Postgres's own.
    pub fn walk(
        &self,
        priority: i16,
        since: Timestamp,
        until: Timestamp,
        mut visit: impl FnMut(Standing, Found) -> Result<bool>,
    ) -> Result<()> {
        let Self(runs) = self;
        let keys = [Key::is(1, priority), Key::from(2, since), Key::upto(2, until)];
        let visit = |found| {
            let (at, run) = (runs.need(runs::AVAILABLE_AT)?, runs.need(runs::RUN_ID)?);
            visit(Standing { priority, at, run }, found)
        };
        runs.walk(READY, &keys, visit).map(drop)
    }
}

fn any_of(tables: &Parts, index: Which, keys: &[Key]) -> Result<Past> {
    let mut past = Past::default();
    for (_, table) in tables {
        let here = any(table, index, keys)?;
        past = Past { any: past.any || here.any, overdue: past.overdue || here.overdue };
    }
    Ok(past)
}

fn any(table: &Table, index: Which, keys: &[Key]) -> Result<Past> {
    let mut past = Past::default();
    table.walk(index, keys, |found| {
        past = Past { any: true, overdue: found == Found::Settled };
        Ok(!past.overdue)
    })?;
    Ok(past)
}
