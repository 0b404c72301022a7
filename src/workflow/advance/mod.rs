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
mod replay;
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
use crate::workflow::records::{
    BreakerEvent, BreakerRec, ItemsRec, KeptRec, Moment, RunRec, RunStatus, ScopeId, ScopePhase,
    StepKey, limits,
};
use crate::workflow::state::Host;
use crate::workflow::step_state::StepState;
use crate::workflow::stimulus::{Changes, Command, Stimulus, Work};
use view::View;

pub use breaker::apply as apply_breaker;
pub use error::of_step;
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
    let mut transition = Transition::new(program, host, run, Bounds::new(bound));
    transition.apply(stimulus)?;
    transition.work_off()?;
    Ok(transition.into_changes())
}

/// How much one transition does.
#[derive(Clone, Copy)]
struct Bounds {
    works: usize,
    /// Items, or first nodes, that are begun at once.
    piece: usize,
}

impl Bounds {
    fn new(works: usize) -> Self {
        Self { works, piece: works.min(limits::PIECE) }
    }
}

/// A transition under way.
struct Transition<'a> {
    program: &'a Program,
    view: View<'a>,
    run: RunRec,
    run_changed: bool,
    first_new_scope: u32,
    work: VecDeque<Work>,
    /// What the next transition begins with.
    later: Vec<Work>,
    bounds: Bounds,
    /// Instances and steps that the transition has closed, or looked at to that end.
    closed: usize,
    /// Whether the run ends in this transition.
    ends: bool,
    items: Vec<ItemsRec>,
    /// Where the stored items of loops end, as far as that was asked.
    items_ends: HashMap<StepKey, Option<u32>>,
    items_taken: Vec<(StepKey, u32)>,
    items_dropped: Vec<StepKey>,
    /// Places given within the transition.
    moments: i64,
    /// Retracted commands are none.
    commands: Vec<Option<Command>>,
    /// Where the commands are that a step's end may retract.
    retractable: HashMap<StepKey, Vec<usize>>,
    /// Breakers as the transition leaves them, and what it has told them.
    breakers: BTreeMap<String, BreakerRec>,
    breaker_events: Vec<(String, BreakerEvent)>,
    /// The step whose timer the stimulus is.
    fired: Option<StepKey>,
    /// Steps that end as they ended before the run was retried, in the order in which they did.
    replays: BTreeMap<(i64, StepKey), KeptRec>,
}

impl<'a> Transition<'a> {
    fn new(program: &'a Program, host: &'a mut dyn Host, run: &RunRec, bounds: Bounds) -> Self {
        Self {
            program,
            view: View::new(host, run.next_scope),
            run: run.clone(),
            run_changed: false,
            first_new_scope: run.next_scope,
            work: VecDeque::new(),
            later: Vec::new(),
            bounds,
            closed: 0,
            ends: false,
            items: Vec::new(),
            items_ends: HashMap::new(),
            items_taken: Vec::new(),
            items_dropped: Vec::new(),
            moments: 0,
            commands: Vec::new(),
            retractable: HashMap::new(),
            breakers: BTreeMap::new(),
            breaker_events: Vec::new(),
            fired: None,
            replays: BTreeMap::new(),
        }
    }

    fn apply(&mut self, stimulus: Stimulus) -> Result<()> {
        match (self.run.status, stimulus) {
            (RunStatus::Pending, Stimulus::Start) => self.begin_run(),
            (RunStatus::Pending | RunStatus::Running, Stimulus::Cancel { reason }) => {
                self.cancel_run(&reason)
            }
            (RunStatus::Running, stimulus) => self.apply_running(stimulus),
            // What is left of a run that has ended.
            (_, Stimulus::Continue { work }) => {
                self.work.extend(work);
                Ok(())
            }
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
            Stimulus::StepEnded { step, outcome } => self.end_step(step, outcome),
            Stimulus::Continue { work } => {
                self.work.extend(work);
                Ok(())
            }
        }
    }

    /// Whether something that happened to a step still concerns it.
    fn is_running(&mut self, step: StepKey) -> Result<bool> {
        let known = self.program.has(step.node);
        Ok(known
            && self.view.step(step)?.state == StepState::Running
            && self.is_alive(step.scope)?)
    }

    /// Whether an instance is open, and so is all around it: what has ended is closed in pieces,
    /// and nothing inside goes on meanwhile.
    fn is_alive(&mut self, scope: ScopeId) -> Result<bool> {
        let mut at = scope;
        loop {
            let record = self.view.scope(at)?;
            if record.phase != ScopePhase::Open {
                return Ok(false);
            }
            let Some(container) = record.parent else { return Ok(true) };
            let step = self.view.step(container)?;
            match step.state {
                StepState::Running => {}
                // A fork, until its branches have ended.
                StepState::Completed if step.open > 0 => {}
                _ => return Ok(false),
            }
            at = container.scope;
        }
    }

    /// Works until nothing is left, or as much is done as one transition does.
    fn work_off(&mut self) -> Result<()> {
        let mut done = 0;
        while done < self.bounds.works {
            if self.run.status != RunStatus::Running {
                self.work.retain(Work::is_closing);
            }
            let Some(work) = self.work.pop_front() else {
                if self.replay_next()? {
                    done += 1;
                    continue;
                }
                return Ok(());
            };
            // What waits to be replayed is not begun anew, and counts when it is.
            done += usize::from(!matches!(work, Work::Replay(_)));
            if done % 256 == 0 {
                self.view.host.breathe()?;
            }
            match work {
                Work::Decide(step) => self.decide(step)?,
                Work::Inside(step) => self.inside(step)?,
                Work::ScopeDone(scope) => self.scope_done(scope)?,
                Work::Begin(scope, from) => self.begin(scope, from)?,
                Work::Grow(step) => self.grow(step)?,
                Work::Close(container, from) => self.close_from(container, from)?,
                Work::CloseScope(scope) => self.close_rest(scope)?,
                Work::Replay(step) => self.replay_later(step)?,
            }
        }
        Ok(())
    }

    fn into_changes(mut self) -> Changes {
        self.work.extend(self.later);
        self.work.extend(self.replays.into_keys().map(|(_, step)| Work::Replay(step)));
        if self.run.status != RunStatus::Running {
            self.work.retain(Work::is_closing);
        }
        let dirty = self.view.into_dirty();
        let made = self.run.next_scope > self.first_new_scope;
        Changes {
            run: self.run_changed.then_some(self.run),
            scopes: dirty.scopes,
            new_scopes_from: made.then_some(self.first_new_scope),
            steps: dirty.steps,
            values: dirty.values,
            breakers: self.breaker_events,
            items: self.items,
            items_taken: self.items_taken,
            items_dropped: self.items_dropped,
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
