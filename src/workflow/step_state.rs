//! The states of a step.

use std::fmt;

use crate::error::{Error, Result};

/// Where an instance of a node stands. The last five are final.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StepState {
    Pending,
    Running,
    Completed,
    Failed,
    Skipped,
    UpstreamFailed,
    Cancelled,
}

use StepState::{Cancelled, Completed, Failed, Pending, Running, Skipped, UpstreamFailed};

impl StepState {
    pub const ALL: [Self; 7] =
        [Pending, Running, Completed, Failed, Skipped, UpstreamFailed, Cancelled];

    pub const fn as_str(self) -> &'static str {
        match self {
            Pending => "pending",
            Running => "running",
            Completed => "completed",
            Failed => "failed",
            Skipped => "skipped",
            UpstreamFailed => "upstream_failed",
            Cancelled => "cancelled",
        }
    }

    /// Reads a stored state.
    ///
    /// # Errors
    /// XX001 for a text that is none.
    pub fn parse(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text).ok_or_else(|| Error::Corrupt {
            what: format!("\"{text}\" is not the state of a step"),
        })
    }

    pub const fn is_final(self) -> bool {
        !matches!(self, Pending | Running)
    }

    /// How trigger rules and joins count a final predecessor; none while it is not final.
    pub const fn outcome(self) -> Option<Outcome> {
        match self {
            Pending | Running => None,
            Completed => Some(Outcome::Completed),
            Failed | UpstreamFailed | Cancelled => Some(Outcome::Failed),
            Skipped => Some(Outcome::Skipped),
        }
    }
}

/// The three ways in which a predecessor counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Completed,
    Failed,
    Skipped,
}

impl fmt::Display for StepState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
