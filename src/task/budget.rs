//! How much of what came due a claim works off beside handing out.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// Rows that one claim works off or passes over at most, of all kinds together.
const ROWS: u32 = 1000;
/// Rows that a claim passes over in any case, however long its work has taken: some dozen
/// microseconds.
const PASSED: u32 = 64;
/// For how long a claim does such work at most.
const MOST: Duration = Duration::from_millis(10);

/// What is left to a call of its rows and its time. Every kind of work may begin one unit whatever
/// is left, so that each call makes progress with each kind.
pub struct Budget {
    rows: Cell<u32>,
    until: Option<Instant>,
    has_progressed: Cell<bool>,
    passed: Cell<u32>,
}

impl Budget {
    /// That of a claim.
    pub fn of_claim() -> Self {
        let until = Instant::now().checked_add(MOST);
        Self { until, ..Self::of_rows(ROWS) }
    }

    /// Of so many rows, however long they take.
    pub fn of_rows(rows: u32) -> Self {
        Self {
            rows: Cell::new(rows),
            until: None,
            has_progressed: Cell::new(false),
            passed: Cell::new(0),
        }
    }

    /// Rows that are left.
    pub fn left(&self) -> u32 {
        self.rows.get()
    }

    /// Counts rows that were worked off or passed over.
    pub fn take(&self, rows: usize) {
        let rows = u32::try_from(rows).unwrap_or(u32::MAX);
        self.rows.set(self.rows.get().saturating_sub(rows));
    }

    /// Counts rows that were worked off, so that the next call will not meet them.
    pub fn work_off(&self, rows: usize) {
        self.take(rows);
        self.has_progressed.set(self.has_progressed.get() || rows > 0);
    }

    /// Counts a row of the line that cannot be handed out.
    pub fn pass(&self) {
        self.take(1);
        self.passed.set(self.passed.get().saturating_add(1));
    }

    /// Whether no further unit is to begin.
    pub fn is_spent(&self) -> bool {
        self.rows.get() == 0 || self.until.is_some_and(|until| Instant::now() >= until)
    }

    /// How many rows can be worked off in the time that is left, where so many took so long.
    pub fn rows_in_time(&self, rows: u32, took: Duration) -> u32 {
        let Some(until) = self.until else { return u32::MAX };
        let left = until.saturating_duration_since(Instant::now());
        let each = took.as_secs_f64() / f64::from(rows.max(1));
        (left.as_secs_f64() / each.max(1e-9)) as u32
    }

    /// Whether a claim that meets nothing but rows which wait for a sweep may end: the next will
    /// find fewer.
    pub fn may_end(&self) -> bool {
        self.has_progressed.get() && self.passed.get() >= PASSED && self.is_spent()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_counted_whatever_their_kind() {
        let budget = Budget::of_rows(10);
        budget.take(4);
        assert_eq!(budget.left(), 6);
        assert!(!budget.is_spent());
        budget.work_off(7);
        assert_eq!(budget.left(), 0);
        assert!(budget.is_spent());
    }

    #[test]
    fn a_claim_that_has_worked_nothing_off_goes_on() {
        let budget = Budget::of_rows(1);
        (0..PASSED).for_each(|_| budget.pass());
        budget.work_off(0);
        assert!(budget.is_spent() && !budget.may_end());
        budget.work_off(1);
        assert!(budget.may_end());
    }

    #[test]
    fn a_claim_passes_a_few_rows_whatever_it_has_done() {
        let budget = Budget::of_rows(1);
        budget.work_off(1);
        (1..PASSED).for_each(|_| budget.pass());
        assert!(!budget.may_end());
        budget.pass();
        assert!(budget.may_end());
    }
}
