//! The turns that trees get in calls which are about more than one of them.

use std::cell::RefCell;
use std::collections::BTreeSet;

use uuid::Uuid;

use super::breakers::Key;
use super::{Drive, lock};
use crate::error::Result;
use crate::params;
use crate::pg::Session;
use crate::pg::plan::{Own, Statement};
use crate::queue::QueueName;
use crate::task::budget::Budget;
use crate::task::stuck::{self, Kind};

/// Roots that one call lets go on beside its own.
const ROOTS: usize = 16;

/// Lets trees go on for which stimuli were left, as far as nobody else holds them. None is waited
/// for: a tree whose turn takes longer than a moment is left as it was, one that fails is set
/// aside.
pub fn try_roots(session: &Session, roots: BTreeSet<Uuid>) -> Result<()> {
    try_each(session, roots, &Breaker::default())
}

/// As [`try_roots`] in a call that has locked breakers.
pub(super) fn try_each(session: &Session, roots: BTreeSet<Uuid>, breaker: &Breaker) -> Result<()> {
    for root in roots.into_iter().take(ROOTS) {
        let turn = Turn { session, root, queue: None, budget: None, breaker };
        turn.try_take(|_| Ok(()))?;
    }
    Ok(())
}

/// The last breaker, in the order in which they are locked, that a call has locked: its turns wait
/// for later ones only.
pub type Breaker = RefCell<Option<Key>>;

/// A tree's turn in a call that is about more than that tree.
pub struct Turn<'a> {
    pub session: &'a Session,
    pub root: Uuid,
    /// The queue whose work the call looks through; none for that of the root.
    pub queue: Option<&'a QueueName>,
    pub budget: Option<&'a Budget>,
    pub breaker: &'a Breaker,
}

/// What came of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turned {
    Done,
    /// Somebody else holds the tree, or it is paused.
    Held,
    /// It was tried, and left as it was.
    Failed,
}

static QUEUE: Statement =
    Statement::new("select queue_name from absurd.workflow_execution where workflow_run_id = $1");

impl<'a> Turn<'a> {
    /// In a call that looks through a queue's work, without a budget.
    pub fn of_call(
        session: &'a Session,
        root: Uuid,
        queue: &'a QueueName,
        breaker: &'a Breaker,
    ) -> Self {
        Self { session, root, queue: Some(queue), budget: None, breaker }
    }

    /// Takes the root if it is free, lets `first` add stimuli to those that were left, and works
    /// them off.
    ///
    /// # Errors
    /// A cancel of the statement. What else fails is set aside.
    pub fn try_take(&self, first: impl FnOnce(&mut Drive) -> Result<()>) -> Result<Turned> {
        let outcome =
            self.session.attempt_briefly(|| match lock::try_take(self.session, self.root)? {
                Some(transition) => self.go_on(transition, first).map(|()| Turned::Done),
                None => Ok(Turned::Held),
            })?;
        self.survived(outcome)
    }

    /// As [`Self::try_take`], for a root that is waited for.
    ///
    /// # Errors
    /// As [`Self::try_take`].
    pub fn wait(&self, first: impl FnOnce(&mut Drive) -> Result<()>) -> Result<Turned> {
        let outcome =
            self.session.attempt(|| match lock::wait_going(self.session, self.root)? {
                Some(transition) => self.go_on(transition, first).map(|()| Turned::Done),
                None => Ok(Turned::Held),
            })?;
        self.survived(outcome)
    }

    fn go_on(&self, transition: i64, first: impl FnOnce(&mut Drive) -> Result<()>) -> Result<()> {
        let mut drive = Drive::new(self.session, self.root, transition).within(self.budget);
        first(&mut drive)?;
        drive.end_turn(&mut self.breaker.borrow_mut())
    }

    /// What a tree's failure means for a call that is about more than that tree: a tree that others
    /// are at work on is left to them, one that fails is set aside, and its stimuli stay. Where the
    /// caller lacks a right, another may have it.
    fn survived(&self, outcome: Result<Turned>) -> Result<Turned> {
        let error = match outcome {
            Ok(done) => return Ok(done),
            Err(error) => error,
        };
        if stuck::ends_call(&error) {
            return Err(error);
        }
        if stuck::is_passing(&error) {
            return Ok(Turned::Failed);
        }
        let session = self.session;
        let queue: Option<String> = match self.queue {
            Some(queue) => Some(queue.as_str().to_owned()),
            None => {
                let found = session.run(&QUEUE, &Own, params![self.root])?.first();
                found.map(|row| row.need(0)).transpose()?
            }
        };
        // A tree that is gone needs nothing.
        let Some(queue) = queue else { return Ok(Turned::Failed) };
        let root = crate::pg::Uuid::from_bytes(self.root.into_bytes());
        let times = stuck::set_aside(session, &queue, Kind::Workflow, root, &error)?;
        if times == 1 && !stuck::is_denied(&error) {
            crate::pg::ereport::warn(error)?;
        }
        Ok(Turned::Failed)
    }
}
