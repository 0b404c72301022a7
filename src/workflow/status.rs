//! The life of a workflow run: which statuses follow which, and what a row must look like in each.
//!
//! Pure: the trigger hands in what an INSERT or UPDATE wants to store and gets back what is stored,
//! or the rule that is broken.

use std::fmt;

use super::bounds::cut;
use crate::error::{Error, Result};
use crate::time::Timestamp;

/// A workflow run's status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Pending,
    Running,
    Completed,
    Failed,
    Cancelled,
}

use Status::{Cancelled, Completed, Failed, Pending, Running};

impl Status {
    pub const ALL: [Self; 5] = [Pending, Running, Completed, Failed, Cancelled];

    pub const fn as_str(self) -> &'static str {
        match self {
            Pending => "pending",
            Running => "running",
            Completed => "completed",
            Failed => "failed",
            Cancelled => "cancelled",
        }
    }

    /// Reads a status.
    ///
    /// # Errors
    /// 22004 for NULL, 22023 naming the statuses that exist.
    pub fn parse(text: Option<&str>) -> Result<Self> {
        let text = text.ok_or_else(|| Error::null("status"))?;
        Self::ALL.into_iter().find(|status| status.as_str() == text).ok_or_else(|| {
            Error::invalid(
                format!("workflow run status \"{}\"", cut(text)),
                format!("is not one of {}", list(&Self::ALL)),
            )
        })
    }

    /// Whether the run has ended.
    pub const fn is_final(self) -> bool {
        matches!(self, Completed | Failed | Cancelled)
    }

    /// The statuses that may follow this one. Repeating a status is not a change.
    pub const fn next(self) -> &'static [Self] {
        match self {
            Pending => &[Running, Cancelled, Failed],
            Running => &[Completed, Failed, Cancelled],
            Completed | Failed | Cancelled => &[],
        }
    }

    /// Checks a change of status.
    ///
    /// # Errors
    /// 55000 naming both statuses and those allowed from here.
    pub fn check_change(self, to: Self, run: &str) -> Result<()> {
        if self == to || self.next().contains(&to) {
            return Ok(());
        }
        let allowed = match self.next() {
            [] => format!("{self} is final"),
            next => format!("allowed from {self}: {}", list(next)),
        };
        Err(Error::WrongState {
            what: format!("Workflow run \"{run}\""),
            rule: format!("cannot go from {self} to {to}; {allowed}"),
            hint: self
                .is_final()
                .then(|| "Create a new workflow run instead of reviving an ended one.".into()),
        })
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

fn list(statuses: &[Status]) -> String {
    statuses.iter().map(|status| status.as_str()).collect::<Vec<_>>().join(", ")
}

/// What the rules look at in a row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Facts {
    pub status: Status,
    pub started_at: Option<Timestamp>,
    pub completed_at: Option<Timestamp>,
    pub task_count: Option<i32>,
    pub has_result: bool,
    pub has_error: bool,
}

/// How a final run's result and error compare with what an update wants to store.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outcome {
    pub same_result: bool,
    pub same_error: bool,
}

impl Facts {
    /// Checks a row that is inserted. Nothing is filled in, because a restored dump inserts rows
    /// of every status, and they must come back as they were.
    ///
    /// # Errors
    /// 22023 naming the column that does not fit the status.
    pub fn check_insert(&self) -> Result<()> {
        self.check_payload()?;
        let status = self.status;
        let must = |column: &str, rule: &'static str| {
            Err(Error::invalid(format!("{column} of a {status} workflow run"), rule))
        };
        match (status, self.started_at) {
            (Pending, Some(_)) => return must("started_at", "must be null: it has not started"),
            (Running | Completed, None) => return must("started_at", "must be set"),
            _ => {}
        }
        match (status.is_final(), self.completed_at) {
            (true, None) => return must("completed_at", "must be set"),
            (false, Some(_)) => return must("completed_at", "must be null: it has not ended"),
            _ => {}
        }
        if let (Some(started), Some(completed)) = (self.started_at, self.completed_at) {
            check_order(started, completed)?;
        }
        Ok(())
    }

    /// What an update stores: the wanted row with its timestamps filled in.
    ///
    /// started_at fills itself on running, completed_at on a final status, never before
    /// started_at. A run that has ended keeps the timestamps that it has, so that a client may
    /// repeat its last report.
    ///
    /// # Errors
    /// 55000 for a change of status that is not allowed or that would rewrite an ended run; 22023
    /// for a column that does not fit the status, or for a given completed_at before the
    /// started_at given with it.
    pub fn update(
        mut self,
        old: &Self,
        outcome: Outcome,
        now: Timestamp,
        run: &str,
    ) -> Result<Self> {
        old.status.check_change(self.status, run)?;
        if old.status.is_final() {
            old.check_unchanged(&self, outcome, run)?;
            self.started_at = old.started_at.or(self.started_at);
            self.completed_at = old.completed_at;
            self.task_count = old.task_count.or(self.task_count);
        }
        self.check_payload()?;
        if self.status == Pending && self.started_at.is_some() {
            return Err(Error::invalid(
                "started_at of a pending workflow run",
                "must be null: it has not started",
            )
            .with_hint("Set the status to running."));
        }
        if !self.status.is_final() {
            if self.completed_at.is_some() {
                return Err(Error::invalid(
                    format!("completed_at of a {} workflow run", self.status),
                    "must be null: it has not ended",
                ));
            }
            if self.status == Running {
                self.started_at = self.started_at.or(old.started_at).or(Some(now));
            }
            return Ok(self);
        }
        self.started_at = self.started_at.or(old.started_at);
        self.completed_at = Some(match (self.started_at, self.completed_at) {
            (Some(started), Some(completed)) if self.started_at != old.started_at => {
                check_order(started, completed)?;
                completed
            }
            // started_at came from another statement and, for all we know, another clock.
            (Some(started), Some(completed)) => completed.max(started),
            (Some(started), None) => now.max(started),
            (None, completed) => completed.unwrap_or(now),
        });
        Ok(self)
    }

    /// result belongs to completed, error to failed and cancelled; counts do not go below zero.
    fn check_payload(&self) -> Result<()> {
        let status = self.status;
        if self.has_result && status != Completed {
            return Err(Error::invalid(
                format!("result of a {status} workflow run"),
                "must be null: only a completed run has a result",
            ));
        }
        if self.has_error && !matches!(status, Failed | Cancelled) {
            return Err(Error::invalid(
                format!("error of a {status} workflow run"),
                "must be null: only a failed or cancelled run has an error",
            ));
        }
        match self.task_count {
            Some(count) if count < 0 => {
                Err(Error::invalid(format!("task_count {count}"), "must be >= 0"))
            }
            _ => Ok(()),
        }
    }

    fn check_unchanged(&self, new: &Self, outcome: Outcome, run: &str) -> Result<()> {
        let changed = if self.has_result && !outcome.same_result {
            "result"
        } else if self.has_error && !outcome.same_error {
            "error"
        } else if self.task_count.is_some() && self.task_count != new.task_count {
            "task_count"
        } else {
            return Ok(());
        };
        Err(Error::WrongState {
            what: format!("Workflow run \"{run}\""),
            rule: format!("is already {} with a different {changed}", self.status),
            hint: Some("What an ended run reported does not change any more.".into()),
        })
    }
}

fn check_order(started: Timestamp, completed: Timestamp) -> Result<()> {
    if completed < started {
        return Err(Error::invalid(
            format!("completed_at {}", completed.iso8601()),
            format!("must not be before started_at {}", started.iso8601()),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every pair: from the status on the left to pending, running, completed, failed, cancelled.
    const TABLE: [(Status, [bool; 5]); 5] = [
        (Pending, [true, true, false, true, true]),
        (Running, [false, true, true, true, true]),
        (Completed, [false, false, true, false, false]),
        (Failed, [false, false, false, true, false]),
        (Cancelled, [false, false, false, false, true]),
    ];
    const SAME: Outcome = Outcome { same_result: true, same_error: true };

    fn at(micros: i64) -> Option<Timestamp> {
        Some(Timestamp::from_micros(micros))
    }

    fn facts(status: Status) -> Facts {
        Facts {
            status,
            started_at: None,
            completed_at: None,
            task_count: None,
            has_result: false,
            has_error: false,
        }
    }

    fn update(old: Facts, new: Facts) -> Result<Facts> {
        new.update(&old, SAME, Timestamp::from_micros(50), "r")
    }

    #[test]
    fn every_pair_of_statuses() {
        for (from, row) in TABLE {
            for (to, allowed) in Status::ALL.into_iter().zip(row) {
                let checked = from.check_change(to, "r");
                assert_eq!(checked.is_ok(), allowed, "{from} -> {to}");
                if let Err(error) = checked {
                    let text = error.to_string();
                    assert_eq!(error.sqlstate(), "55000");
                    assert!(text.contains(&format!("from {from} to {to}")), "{text}");
                    for next in from.next() {
                        assert!(text.contains(next.as_str()), "{text}");
                    }
                }
            }
        }
    }

    #[test]
    fn timestamps_fill_themselves() {
        let running = update(facts(Pending), facts(Running)).unwrap();
        assert_eq!(running.started_at, at(50));
        let done = update(running, Facts { status: Completed, ..running }).unwrap();
        assert_eq!(done.completed_at, at(50));
        let failed = update(facts(Pending), facts(Failed)).unwrap();
        assert_eq!((failed.started_at, failed.completed_at), (None, at(50)));
    }

    #[test]
    fn a_filled_completed_at_is_never_before_started_at() {
        let ahead = Facts { started_at: at(90), ..facts(Running) };
        let done = update(ahead, Facts { status: Completed, ..ahead }).unwrap();
        assert_eq!(done.completed_at, at(90));
        let given = Facts { status: Completed, completed_at: at(60), ..ahead };
        assert_eq!(update(ahead, given).unwrap().completed_at, at(90));
    }

    #[test]
    fn given_together_in_the_wrong_order_is_refused() {
        let old = Facts { started_at: at(10), ..facts(Running) };
        let new = Facts { started_at: at(40), completed_at: at(30), ..facts(Completed) };
        assert_eq!(update(old, new).unwrap_err().sqlstate(), "22023");
    }

    #[test]
    fn an_ended_run_may_be_repeated_but_not_rewritten() {
        let done =
            Facts { started_at: at(1), completed_at: at(2), has_result: true, ..facts(Completed) };
        let again = Facts { completed_at: at(70), task_count: Some(3), ..done };
        let stored = update(done, again).unwrap();
        assert_eq!(stored.completed_at, at(2));
        assert_eq!(stored.task_count, Some(3));
        let other = Outcome { same_result: false, same_error: true };
        let error = again.update(&done, other, Timestamp::from_micros(50), "r").unwrap_err();
        assert_eq!(error.sqlstate(), "55000");
        let recount = Facts { task_count: Some(4), ..stored };
        assert_eq!(update(stored, recount).unwrap_err().sqlstate(), "55000");
    }

    #[test]
    fn payloads_belong_to_their_status() {
        for status in Status::ALL {
            let result = Facts { has_result: true, ..facts(status) };
            let error = Facts { has_error: true, ..facts(status) };
            assert_eq!(result.check_payload().is_ok(), status == Completed, "{status}");
            assert_eq!(
                error.check_payload().is_ok(),
                matches!(status, Failed | Cancelled),
                "{status}"
            );
        }
        let negative = Facts { task_count: Some(-1), ..facts(Pending) };
        assert_eq!(negative.check_insert().unwrap_err().sqlstate(), "22023");
    }

    #[test]
    fn an_inserted_row_must_be_consistent() {
        assert!(facts(Pending).check_insert().is_ok());
        assert!(facts(Running).check_insert().is_err());
        assert!(facts(Completed).check_insert().is_err());
        let started = Facts { started_at: at(5), ..facts(Pending) };
        assert!(started.check_insert().is_err());
        assert!(Facts { status: Running, ..started }.check_insert().is_ok());
        let ended = Facts { completed_at: at(6), ..started };
        assert!(Facts { status: Completed, ..ended }.check_insert().is_ok());
        assert!(Facts { status: Running, ..ended }.check_insert().is_err());
        assert!(Facts { status: Failed, started_at: None, ..ended }.check_insert().is_ok());
        assert!(Facts { status: Failed, started_at: at(7), ..ended }.check_insert().is_err());
    }
}
