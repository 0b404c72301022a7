//! Executes workflow documents: hands what happened to the interpreter, stores what changes, and
//! carries out what it orders, all in the transaction of whoever caused it.
//!
//! The runs of a tree, a root run and the children below it, are moved by one session at a time:
//! the one that holds the root's row in `workflow_execution`. That row is locked first, before
//! events, runs and tasks. Who cannot take it in that order leaves a row in `workflow_stimulus`
//! instead, which the holder, the next claim or advance_timers takes up.

pub mod admit;
mod breakers;
pub mod carry;
pub mod children;
pub mod direct;
pub mod due;
pub mod events;
pub mod followed;
pub mod inbox;
mod kept;
pub mod load;
pub mod lock;
pub mod pause;
pub mod reopen;
pub mod rows;
pub mod schedules;
pub mod settle_step;
pub mod start;
mod store;
pub mod turn;
pub mod view;

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::rc::Rc;

use uuid::Uuid;

use crate::error::Result;
use crate::pg::{Session, Timestamp};
use crate::task::budget::Budget;
use crate::workflow::advance::advance;
use crate::workflow::stimulus::{Stimulus, Work};
use view::View;

/// One call's hold on the runs of a tree.
pub struct Drive<'s> {
    session: &'s Session,
    root: Uuid,
    /// The number of the last transition.
    transition: i64,
    /// Transitions beyond the one that taking the lock counted.
    uncounted: i64,
    counted: bool,
    work: VecDeque<(Uuid, Stimulus)>,
    views: HashMap<Uuid, View<'s>>,
    /// What transitions left over when they reached their bound.
    rest: Vec<(Uuid, Vec<Work>)>,
    /// Other roots for which this call left stimuli.
    others: BTreeSet<Uuid>,
    /// Whether a transition of this call holds event locks: later ones must not wait for more.
    holds_events: bool,
    /// Queue tasks that the call cancelled.
    cancelled: usize,
    /// That of a claim, which lets other trees go on too.
    budget: Option<&'s Budget>,
    /// Stimuli that were taken up.
    taken: usize,
    /// Whether more were left than the call takes up.
    is_cut: bool,
    timers: due::Timers,
    shared: Shared,
    /// Whether what is shared is left to the call, which is at work on more trees.
    is_part: bool,
}

/// What a call does when it has taken all its trees.
#[derive(Default)]
pub struct Later {
    breakers: breakers::Told,
    /// Roots for which the call left stimuli.
    roots: BTreeSet<Uuid>,
    /// Whether timers have fired that were due: what they ended had not been ended before the call.
    has_settled: bool,
}

pub type Shared = Rc<RefCell<Later>>;

/// Does what was put off.
///
/// # Errors
/// Postgres's own.
pub fn finish_later(session: &Session, shared: &Shared) -> Result<()> {
    let mut later = shared.take();
    later.breakers.flush(session)?;
    turn::try_each(session, later.roots, &RefCell::new(later.breakers.last))
}

/// Stimuli that one call takes up which is about its tree alone; a few more than these may be.
const STIMULI: usize = 1000;

impl<'s> Drive<'s> {
    /// For the root that the caller has locked, which is at this transition.
    pub fn new(session: &'s Session, root: Uuid, transition: i64) -> Self {
        Self {
            session,
            root,
            transition,
            uncounted: 0,
            counted: false,
            work: VecDeque::new(),
            views: HashMap::new(),
            rest: Vec::new(),
            others: BTreeSet::new(),
            holds_events: false,
            cancelled: 0,
            budget: None,
            taken: 0,
            is_cut: false,
            timers: due::Timers::default(),
            shared: Shared::default(),
            is_part: false,
        }
    }

    /// For a claim, as far as its budget goes.
    #[must_use]
    pub fn within(self, budget: Option<&'s Budget>) -> Self {
        Self { budget, ..self }
    }

    /// For a call that is at work on several trees, and ends with [`finish_later`].
    #[must_use]
    pub fn sharing(self, shared: Option<&Shared>) -> Self {
        match shared {
            Some(shared) => Self { shared: Rc::clone(shared), is_part: true, ..self },
            None => self,
        }
    }

    /// Whether the call is to leave what else there is to the next.
    fn is_spent(&self) -> bool {
        match self.budget {
            Some(budget) => budget.is_spent(),
            None => self.taken >= STIMULI,
        }
    }

    /// Counts stimuli that were taken up.
    fn count(&mut self, stimuli: usize) {
        self.taken += stimuli;
        if let Some(budget) = self.budget {
            budget.work_off(stimuli);
        }
    }

    /// Adds a stimulus for a run of the tree, after those that are there.
    pub fn push(&mut self, run: Uuid, stimulus: Stimulus) {
        self.work.push_back((run, stimulus));
    }

    /// Works off the stimuli and those that they and others bring about, then lets other trees that
    /// were told something go on where that takes no waiting. Returns the number of queue tasks
    /// that were cancelled on the way.
    ///
    /// # Errors
    /// Postgres's own, and XX001 for records that do not fit their document; either undoes the
    /// call.
    pub fn finish(mut self) -> Result<usize> {
        self.end()?;
        self.shared.borrow_mut().roots.extend(self.others);
        if !self.is_part {
            finish_later(self.session, &self.shared)?;
        }
        Ok(self.cancelled)
    }

    /// Works off the stimuli that the call has, then those that were left for the tree, until there
    /// are none or the call has taken up its share. A timer fires before what happened after it
    /// was due (HIGHWAY 14.5), and in a call that settles the tree up to its instant in any case.
    fn work_off(&mut self) -> Result<()> {
        loop {
            self.work_off_own()?;
            if self.taken > 0 && self.is_spent() {
                self.is_cut = true;
                return Ok(());
            }
            let is_left = inbox::has_any(self)?;
            if !is_left && self.timers.until.is_none() {
                return Ok(());
            }
            let due = due::next(self)?;
            if is_left && inbox::take(self, due)? {
                continue;
            }
            let fires = due.is_some_and(|due| is_left || Some(due) <= self.timers.until);
            if !fires {
                return Ok(());
            }
            if !due::fire(self)? {
                self.is_cut = true;
                return Ok(());
            }
        }
    }

    fn work_off_own(&mut self) -> Result<()> {
        while let Some((run, stimulus)) = self.work.pop_front() {
            self.transit(run, stimulus)?;
        }
        Ok(())
    }

    /// Brings the tree to where it was at an instant, whoever looked last: what was left for it
    /// happens and what was due fires, in the order of time. Returns how many timers fired.
    ///
    /// # Errors
    /// As [`Drive::finish`].
    fn settle(&mut self, until: Timestamp) -> Result<i32> {
        self.timers.until = Some(until);
        self.work_off()?;
        self.timers.until = None;
        Ok(self.timers.fired)
    }

    /// As [`Drive::finish`] as far as the tree itself goes. What transitions had no room for is
    /// left to the next call: each does a piece.
    fn end(&mut self) -> Result<()> {
        self.work_off()?;
        for (run, work) in std::mem::take(&mut self.rest) {
            inbox::put_rest(self, run, &work)?;
        }
        if self.uncounted > 0 {
            lock::count(self.session, self.root, self.uncounted)?;
            self.uncounted = 0;
        }
        Ok(())
    }

    /// As [`Drive::finish`] of one tree's turn among others', and leaves what other trees were told
    /// to them. `last` is the last breaker that the call has locked, before and after.
    fn end_turn(mut self, last: &mut Option<breakers::Key>) -> Result<()> {
        self.end()?;
        let told = &mut self.shared.borrow_mut().breakers;
        told.last = last.clone();
        told.flush(self.session)?;
        last.clone_from(&told.last);
        Ok(())
    }

    /// One transition of one run. A run that has ended takes no more stimuli.
    fn transit(&mut self, run: Uuid, stimulus: Stimulus) -> Result<()> {
        self.session.check_for_interrupts()?;
        let mut view = match self.views.remove(&run) {
            Some(view) => view,
            None => load::view(self.session, run)?,
        };
        let goes_on = !view.run.status.is_final() || matches!(stimulus, Stimulus::Continue { .. });
        if goes_on {
            view.transition = self.next_transition();
            view.shared = Rc::clone(&self.shared);
            let (program, record) = (Rc::clone(&view.program), view.run.clone());
            let changes = advance(&program, &mut view, &record, stimulus)?;
            carry::out(self, &mut view, changes)?;
        }
        self.views.insert(run, view);
        Ok(())
    }

    fn next_transition(&mut self) -> i64 {
        if self.counted {
            self.transition += 1;
            self.uncounted += 1;
        }
        self.counted = true;
        self.transition
    }

    /// Works off all that is left for the tree, which is a run that has ended: what is still to be
    /// closed, however large.
    fn close_all(&mut self) -> Result<()> {
        loop {
            self.work_off()?;
            let rest = std::mem::take(&mut self.rest);
            if rest.is_empty() && !self.is_cut {
                return Ok(());
            }
            for (run, work) in rest {
                self.push(run, Stimulus::Continue { work });
            }
            (self.taken, self.is_cut) = (0, false);
        }
    }

    /// Reads a run anew when it is asked for.
    fn forget(&mut self, run: Uuid) {
        self.views.remove(&run);
    }

    /// A run of the tree, loaded if it has not been.
    fn view(&mut self, run: Uuid) -> Result<&mut View<'s>> {
        match self.views.entry(run) {
            std::collections::hash_map::Entry::Occupied(held) => Ok(held.into_mut()),
            std::collections::hash_map::Entry::Vacant(free) => {
                Ok(free.insert(load::view(self.session, run)?))
            }
        }
    }

    /// Keeps a run that was read otherwise.
    pub fn keep(&mut self, view: View<'s>) {
        self.views.entry(view.run.id).or_insert(view);
    }
}
