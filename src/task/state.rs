//! The states of tasks and runs, and the moves between them that the engine makes.

use std::fmt;

/// The state of a task or of a run. Both know the same six.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Pending,
    Running,
    Sleeping,
    Completed,
    Failed,
    Cancelled,
}

use State::{Cancelled, Completed, Failed, Pending, Running, Sleeping};

impl State {
    pub const ALL: [Self; 6] = [Pending, Running, Sleeping, Completed, Failed, Cancelled];

    pub const fn as_str(self) -> &'static str {
        match self {
            Pending => "pending",
            Running => "running",
            Sleeping => "sleeping",
            Completed => "completed",
            Failed => "failed",
            Cancelled => "cancelled",
        }
    }

    /// The state with this name in a table.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }

    /// Whether work has ended in this state.
    pub const fn is_final(self) -> bool {
        matches!(self, Completed | Failed | Cancelled)
    }

    /// Whether the engine moves a task from this state to that one.
    ///
    /// A failed task may be revived (retry_task); completed and cancelled ones never move.
    pub const fn task_may_become(self, to: Self) -> bool {
        match self {
            Pending => matches!(to, Running | Cancelled),
            Running => matches!(to, Pending | Sleeping | Completed | Failed | Cancelled),
            Sleeping => matches!(to, Pending | Running | Failed | Cancelled),
            Failed => matches!(to, Pending),
            Completed | Cancelled => false,
        }
    }

    /// Whether the engine moves a run from this state to that one.
    ///
    /// Only a running run completes. A run never comes back from a final state: a retry is a run
    /// of its own.
    pub const fn run_may_become(self, to: Self) -> bool {
        match self {
            Pending => matches!(to, Running | Cancelled),
            Running => matches!(to, Sleeping | Completed | Failed | Cancelled),
            Sleeping => matches!(to, Pending | Running | Failed | Cancelled),
            Completed | Failed | Cancelled => false,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every pair, row by row: from the state on the left to pending, running, sleeping,
    /// completed, failed, cancelled.
    const TASK: [(State, [bool; 6]); 6] = [
        (Pending, [false, true, false, false, false, true]),
        (Running, [true, false, true, true, true, true]),
        (Sleeping, [true, true, false, false, true, true]),
        (Completed, [false; 6]),
        (Failed, [true, false, false, false, false, false]),
        (Cancelled, [false; 6]),
    ];
    const RUN: [(State, [bool; 6]); 6] = [
        (Pending, [false, true, false, false, false, true]),
        (Running, [false, false, true, true, true, true]),
        (Sleeping, [true, true, false, false, true, true]),
        (Completed, [false; 6]),
        (Failed, [false; 6]),
        (Cancelled, [false; 6]),
    ];

    #[test]
    fn every_pair_of_task_states() {
        for (from, row) in TASK {
            for (to, allowed) in State::ALL.into_iter().zip(row) {
                assert_eq!(from.task_may_become(to), allowed, "task {from} -> {to}");
            }
        }
    }

    #[test]
    fn every_pair_of_run_states() {
        for (from, row) in RUN {
            for (to, allowed) in State::ALL.into_iter().zip(row) {
                assert_eq!(from.run_may_become(to), allowed, "run {from} -> {to}");
            }
        }
    }

    #[test]
    fn names_round_trip() {
        for state in State::ALL {
            assert_eq!(State::parse(state.as_str()), Some(state));
        }
        assert_eq!(State::parse("Pending"), None);
    }
}
