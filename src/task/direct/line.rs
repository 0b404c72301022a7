//! Looking along the indexes of a queue from where on something may have changed, see
//! [`crate::task::front`]. Other than claims, this also comes upon runs that a transaction under way has
//! made ready or taken.

use std::cell::Cell;
use std::ffi::CString;
use std::rc::Rc;

use crate::error::Result;
use crate::pg::direct::{Access, Found, Key, Table};
use crate::pg::{Session, Timestamp, Uuid};
use crate::queue::QueueName;
use crate::queue::rows::{self, ATTEMPTS, Index, LEASES, READY, RULES, runs, tasks};
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
    runs: Rc<Table>,
    tasks: Rc<Table>,
    names: [CString; 4],
}

/// What is known of the overdue of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Past {
    /// Whether there is anything whose instant has come, be it that a transaction under way is at it.
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
        let runs = rows::open(session, queue, "r", &runs::LAYOUT, Access::Read)?;
        let tasks = rows::open(session, queue, "t", &tasks::LAYOUT, Access::Read)?;
        let (Some(runs), Some(tasks)) = (runs, tasks) else { return Ok(None) };
        let names = [&READY, &LEASES, &ATTEMPTS, &RULES].map(|index| index.name(queue));
        let line = Self { runs, tasks, names };
        let [ready, leases, attempts, rules] = &line.names;
        let is_whole = line.runs.has(READY.named(ready))?
            && line.runs.has(LEASES.named(leases))?
            && line.runs.has(ATTEMPTS.named(attempts))?
            && line.tasks.has(RULES.named(rules))?;
        Ok(is_whole.then_some(line))
    }

    /// Walks along the runs of a priority that became ready between two instants, until `visit` says
    /// false.
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
        let keys = [Key::is(1, priority), Key::from(2, since), Key::upto(2, until)];
        let visit = |found| {
            let (at, run) = (self.runs.need(runs::AVAILABLE_AT)?, self.runs.need(runs::RUN_ID)?);
            visit(Standing { priority, at, run }, found)
        };
        self.runs.walk(READY.named(&self.names[0]), &keys, visit).map(drop)
    }

    /// Whether a run still stands, or may come to stand again, where it did.
    ///
    /// # Errors
    /// Postgres's own.
    pub fn has(&self, Standing { priority, at, run }: Standing) -> Result<bool> {
        let keys = [Key::is(1, priority), Key::is(2, at), Key::is(3, run)];
        self.any(&self.runs, &READY, &self.names[0], &keys).map(|past| past.any)
    }

    /// The highest priority between two that has runs waiting; none for no bound.
    ///
    /// # Errors
    /// Postgres's own.
    pub fn highest(&self, below: Option<i16>, above: Option<i16>) -> Result<Option<i16>> {
        let bounds =
            [below.map(|below| Key::below(1, below)), above.map(|above| Key::above(1, above))];
        let keys: Vec<Key> = bounds.into_iter().flatten().collect();
        let highest = Cell::new(None);
        self.runs.walk(READY.named(&self.names[0]), &keys, |_| {
            highest.set(Some(self.runs.need(runs::PRIORITY)?));
            Ok(false)
        })?;
        Ok(highest.get())
    }

    /// Which rules, leases and attempts between these instants and now are overdue.
    ///
    /// # Errors
    /// Postgres's own.
    pub fn overdue(&self, since: Since, now: Timestamp) -> Result<[Past; 3]> {
        let [_, leases, attempts, rules] = &self.names;
        let of_rules = [Key::from_in_utc(1, since.rules), Key::upto_in_utc(1, now)];
        let of_leases = [Key::from(1, since.leases), Key::upto(1, now)];
        let of_attempts = [Key::from(1, since.attempts), Key::upto(1, now)];
        Ok([
            self.any(&self.tasks, &RULES, rules, &of_rules)?,
            self.any(&self.runs, &LEASES, leases, &of_leases)?,
            self.any(&self.runs, &ATTEMPTS, attempts, &of_attempts)?,
        ])
    }

    fn any(&self, table: &Table, index: &Index, name: &CString, keys: &[Key]) -> Result<Past> {
        let mut past = Past::default();
        table.walk(index.named(name), keys, |found| {
            past = Past { any: true, overdue: found == Found::Settled };
            Ok(!past.overdue)
        })?;
        Ok(past)
    }
}
