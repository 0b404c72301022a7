//! The interpreter: what a stimulus makes of a run (HIGHWAY 4 to 10).
//!
//! A transition applies its stimulus, then works through a list of steps to look at, until nothing
//! is left to do. What has ended tells those whom it concerns, so its cost follows what happens,
//! not the size of the document or of the run.

mod act;
mod breaker;
mod children;
mod close;
mod container;
mod decide;
mod error;
mod finish;
mod locate;
mod loops;
mod names;
mod start;
mod timers;
mod verdict;
mod view;

#[cfg(test)]
mod memory;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, VecDeque};

use crate::error::Result;
use crate::time::Timestamp;
use crate::workflow::json::Json;
use crate::workflow::program::Program;
use crate::workflow::records::{BreakerRec, Moment, RunRec, RunStatus, StepKey, limits};
use crate::workflow::state::Host;
use crate::workflow::step_state::StepState;
use crate::workflow::stimulus::{Changes, Command, Stimulus, Work};
use view::View;

pub use loops::takes_items;

/// Applies a stimulus to a run and everything that follows from it.
///
/// # Errors
/// What the host could not answer; 22023 for more items than a loop may have.
pub fn advance(
    program: &Program,
    host: &mut dyn Host,
    run: &RunRec,
    stimulus: Stimulus,
) -> Result<Changes> {
    advance_within(program, host, run, stimulus, limits::STEPS_PER_TRANSITION)
}

/// As `advance`, with a bound of its own on the work of one transition.
fn advance_within(
    program: &Program,
    host: &mut dyn Host,
    run: &RunRec,
    stimulus: Stimulus,
    bound: usize,
) -> Result<Changes> {
    let mut transition = Transition::new(program, host, run);
    transition.apply(stimulus)?;
    transition.work_off(bound)?;
    Ok(transition.into_changes())
}

/// A transition under way.
struct Transition<'a> {
    program: &'a Program,
    view: View<'a>,
    run: RunRec,
    run_changed: bool,
    first_new_scope: u32,
    work: VecDeque<Work>,
    /// Places given within the transition.
    moments: i64,
    /// Retracted commands are none.
    commands: Vec<Option<Command>>,
    /// Where the commands are that a step's end may retract.
    retractable: HashMap<StepKey, Vec<usize>>,
    breakers: BTreeMap<String, BreakerRec>,
    /// The step whose timer the stimulus is.
    fired: Option<StepKey>,
}

impl<'a> Transition<'a> {
    fn new(program: &'a Program, host: &'a mut dyn Host, run: &RunRec) -> Self {
        Self {
            program,
            view: View::new(host, run.next_scope),
            run: run.clone(),
            run_changed: false,
            first_new_scope: run.next_scope,
            work: VecDeque::new(),
            moments: 0,
            commands: Vec::new(),
            retractable: HashMap::new(),
            breakers: BTreeMap::new(),
            fired: None,
        }
    }

    fn apply(&mut self, stimulus: Stimulus) -> Result<()> {
        match (self.run.status, stimulus) {
            (RunStatus::Pending, Stimulus::Start) => self.begin_run(),
            (RunStatus::Pending | RunStatus::Running, Stimulus::Cancel { reason }) => {
                self.cancel_run(&reason)
            }
            (RunStatus::Running, stimulus) => self.apply_running(stimulus),
            _ => Ok(()),
        }
    }

    fn apply_running(&mut self, stimulus: Stimulus) -> Result<()> {
        match stimulus {
            Stimulus::Start | Stimulus::Cancel { .. } => Ok(()),
            Stimulus::TaskSpawned { step, task } => {
                if self.is_running(step)? {
                    self.view.step_mut(step)?.task = Some(task);
                }
                Ok(())
            }
            Stimulus::TaskCompleted { step, result, attempts } => {
                self.task_completed(step, result, attempts)
            }
            Stimulus::AttemptFailed { step, error, attempts, last } => {
                self.attempt_failed(step, &error, attempts, last)
            }
            Stimulus::TaskCancelled { step } => self.task_cancelled(step),
            Stimulus::EventArrived { step, event, payload } => {
                self.event_arrived(step, &event, payload)
            }
            Stimulus::TimerFired { step, kind } => self.timer_fired(step, kind),
            Stimulus::ChildFinished { step, .. } => self.child_finished(step),
            Stimulus::ItemsAdded { step, items } => self.items_added(step, items),
            Stimulus::Continue { work } => {
                self.work.extend(work);
                Ok(())
            }
        }
    }

    /// Whether something that happened to a step still concerns it.
    fn is_running(&mut self, step: StepKey) -> Result<bool> {
        let known = self.program.has(step.node);
        Ok(known && self.view.step(step)?.state == StepState::Running)
    }

    /// Works until nothing is left, or `bound` is reached.
    fn work_off(&mut self, bound: usize) -> Result<()> {
        for done in 0..bound {
            if self.run.status != RunStatus::Running {
                self.work.clear();
            }
            let Some(work) = self.work.pop_front() else { return Ok(()) };
            if done % 256 == 255 {
                self.view.host.breathe()?;
            }
            match work {
                Work::Decide(step) => self.decide(step)?,
                Work::Inside(step) => self.inside(step)?,
                Work::ScopeDone(scope) => self.scope_done(scope)?,
                Work::Begin(scope) => self.begin(scope)?,
            }
        }
        if self.run.status != RunStatus::Running {
            self.work.clear();
        }
        Ok(())
    }

    fn into_changes(self) -> Changes {
        let dirty = self.view.into_dirty();
        let made = self.run.next_scope > self.first_new_scope;
        Changes {
            run: self.run_changed.then_some(self.run),
            scopes: dirty.scopes,
            new_scopes_from: made.then_some(self.first_new_scope),
            steps: dirty.steps,
            values: dirty.values,
            breakers: self.breakers.into_iter().collect(),
            commands: self.commands.into_iter().flatten().collect(),
            rest: self.work.into(),
        }
    }

    fn now(&self) -> Timestamp {
        self.view.host.now()
    }

    /// The next place in the order of all that happens in the run's tree.
    fn moment(&mut self) -> Moment {
        self.moments += 1;
        Moment((self.view.host.transition() << 24) | self.moments)
    }

    fn command(&mut self, command: Command) {
        self.commands.push(Some(command));
    }

    /// A command that is not given when the step ends within the same transition.
    fn command_for(&mut self, step: StepKey, command: Command) {
        self.retractable.entry(step).or_default().push(self.commands.len());
        self.commands.push(Some(command));
    }

    /// Takes back the step's commands of a sort; whether there were any.
    fn retract(&mut self, step: StepKey, of_sort: fn(&Command) -> bool) -> bool {
        let mut any = false;
        for at in self.retractable.get(&step).into_iter().flatten() {
            if let Some(command) = self.commands.get_mut(*at)
                && command.as_ref().is_some_and(of_sort)
            {
                *command = None;
                any = true;
            }
        }
        any
    }

    /// Emits an event: the first emission of a name stands.
    fn emit(&mut self, name: String, payload: Json) {
        self.view.emitted.entry(name.clone()).or_insert_with(|| payload.clone());
        self.command(Command::EmitEvent { name, payload });
    }

    /// The run's record, to be changed.
    fn run_mut(&mut self) -> &mut RunRec {
        self.run_changed = true;
        &mut self.run
    }
}
