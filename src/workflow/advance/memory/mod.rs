//! A host in memory that also carries commands out: queue tasks with attempts and retries, events,
//! timers, child runs, breakers, and a clock that only moves when told.

mod commands;
mod host;

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::rc::Rc;

use uuid::Uuid;

use crate::time::Timestamp;
use crate::workflow::json::Json;
use crate::workflow::program::Program;
use crate::workflow::records::{
    BreakerRec, ChildRec, KeptRec, RunRec, RunStatus, ScopeId, ScopeRec, StepKey, StepRec, TimerRec,
};
use crate::workflow::stimulus::{Changes, SpawnTask, Stimulus};

use super::{advance_within, apply_breaker};

/// A step's queue task.
#[derive(Clone, Debug)]
pub struct Task {
    pub id: Uuid,
    pub spawn: SpawnTask,
    pub state: TaskState,
    /// The attempt under way, or the next.
    pub attempt: u32,
    pub due: Timestamp,
}

#[derive(Clone, Debug, PartialEq)]
pub enum TaskState {
    Ready,
    Sleeping,
    Completed(Json),
    Failed(Json),
    Cancelled,
}

/// What one action brought about.
#[derive(Debug, Default)]
pub struct Seen {
    pub spawned: Vec<SpawnTask>,
    pub retries: Vec<(String, u32, f64)>,
    pub redelivered: Vec<(String, u32)>,
    pub emitted: Vec<(String, Json)>,
    pub children: Vec<(StepKey, String, String, Option<String>, Json)>,
    pub cancelled: Vec<StepKey>,
}

/// What a run is at rest.
#[derive(Clone, Debug)]
pub struct Stored {
    pub run: RunRec,
    pub inputs: Json,
    pub scopes: BTreeMap<ScopeId, Rc<ScopeRec>>,
    pub steps: BTreeMap<StepKey, Rc<StepRec>>,
    pub values: BTreeMap<(ScopeId, String), StepKey>,
    pub timers: BTreeMap<Option<StepKey>, TimerRec>,
    pub waits: BTreeMap<StepKey, String>,
    pub children: BTreeMap<(StepKey, String), ChildRec>,
    /// Items that have no instances yet, by their loop and the ordinal of the first.
    pub items: BTreeMap<(StepKey, u32), (u32, Json)>,
    /// How steps ended before the run was retried, by their places.
    pub kept: BTreeMap<Vec<i32>, KeptRec>,
}

pub struct Memory {
    pub program: Rc<Program>,
    pub stored: Stored,
    pub inner: HashMap<(StepKey, u32), ScopeId>,
    pub tasks: Vec<Task>,
    /// The task of a step, which another step may share by an idempotency key.
    pub of_step: BTreeMap<StepKey, usize>,
    pub keys: BTreeMap<String, usize>,
    pub events: BTreeMap<String, Json>,
    pub breakers: BTreeMap<String, BreakerRec>,
    pub registered: BTreeSet<String>,
    pub now: Timestamp,
    pub transition: i64,
    pub queue: VecDeque<Stimulus>,
    pub seen: Seen,
    pub bound: usize,
    /// Answers given, and steps in them.
    pub asked: Cell<usize>,
    pub read: Cell<usize>,
    /// Written: scopes, steps, values.
    pub written: usize,
    /// The most that one transition has written.
    pub most_written: usize,
    /// Whether what a transition leaves waits until it is asked for, and what does.
    pub holds_rest: bool,
    pub rest: VecDeque<Stimulus>,
    /// How often each step has started.
    pub starts: BTreeMap<StepKey, u32>,
    pub finishes: u32,
    /// Whether each transition is tried once, thrown away, and done again.
    pub rehearses: bool,
}

impl Memory {
    pub fn new(program: Rc<Program>, inputs: Json) -> Self {
        let id = Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0001);
        let run = RunRec {
            id,
            root: id,
            parent: None,
            depth: 0,
            status: RunStatus::Pending,
            queue: "default".to_owned(),
            started_at: None,
            next_scope: 0,
            retries: 0,
            result: None,
            error: None,
        };
        Self {
            program,
            stored: Stored {
                run,
                inputs,
                scopes: BTreeMap::new(),
                steps: BTreeMap::new(),
                values: BTreeMap::new(),
                timers: BTreeMap::new(),
                waits: BTreeMap::new(),
                children: BTreeMap::new(),
                items: BTreeMap::new(),
                kept: BTreeMap::new(),
            },
            inner: HashMap::new(),
            tasks: Vec::new(),
            of_step: BTreeMap::new(),
            keys: BTreeMap::new(),
            events: BTreeMap::new(),
            breakers: BTreeMap::new(),
            registered: BTreeSet::new(),
            // 2025-11-01 12:00:00 UTC.
            now: Timestamp::from_unix_micros(1_761_998_400_000_000),
            transition: 0,
            queue: VecDeque::new(),
            seen: Seen::default(),
            bound: crate::workflow::records::limits::STEPS_PER_TRANSITION,
            asked: Cell::new(0),
            read: Cell::new(0),
            written: 0,
            most_written: 0,
            holds_rest: false,
            rest: VecDeque::new(),
            starts: BTreeMap::new(),
            finishes: 0,
            rehearses: false,
        }
    }

    pub fn status(&self) -> RunStatus {
        self.stored.run.status
    }

    /// Applies a stimulus and all that its commands bring about.
    pub fn stimulate(&mut self, stimulus: Stimulus) {
        self.queue.push_back(stimulus);
        while let Some(stimulus) = self.queue.pop_front() {
            self.transition += 1;
            let program = self.program.clone();
            let run = self.stored.run.clone();
            let bound = self.bound;
            if self.rehearses {
                let lost = advance_within(&program, self, &run, stimulus.clone(), bound).unwrap();
                let again = advance_within(&program, self, &run, stimulus.clone(), bound).unwrap();
                assert_eq!(lost, again);
            }
            let changes = advance_within(&program, self, &run, stimulus, bound).unwrap();
            self.store(changes);
        }
    }

    fn store(&mut self, changes: Changes) {
        let written = changes.scopes.len() + changes.steps.len() + changes.values.len();
        self.written += written;
        self.most_written = self.most_written.max(written);
        if let Some(run) = changes.run {
            self.stored.run = run;
        }
        for scope in changes.scopes {
            let first_new = changes.new_scopes_from.unwrap_or(u32::MAX);
            assert_eq!(scope.id.0 < first_new, self.stored.scopes.contains_key(&scope.id));
            if let Some(parent) = scope.parent {
                self.inner.insert((parent, scope.ordinal), scope.id);
            }
            self.stored.scopes.insert(scope.id, Rc::new(scope));
        }
        for mut step in changes.steps {
            let before = self.stored.steps.get(&step.key);
            if let Some(before) = before {
                assert!(!before.state.is_final() || before.state == step.state, "{step:?}");
                // The driver keeps the task that it stored itself.
                step.task = step.task.or(before.task);
            }
            if step.started.is_some() && before.is_none_or(|before| before.started.is_none()) {
                *self.starts.entry(step.key).or_default() += 1;
            }
            self.stored.steps.insert(step.key, Rc::new(step));
        }
        for value in changes.values {
            self.stored.values.insert((value.context, value.key), value.source);
        }
        for (node, event) in &changes.breakers {
            apply_breaker(self.breakers.entry(node.clone()).or_default(), event);
        }
        for (container, first) in changes.items_taken {
            assert!(self.stored.items.remove(&(container, first)).is_some());
        }
        for items in changes.items {
            let place = (items.container, items.first);
            self.stored.items.insert(place, (items.count, items.items));
        }
        self.stored.items.retain(|(of, _), _| !changes.items_dropped.contains(of));
        if !changes.rest.is_empty() {
            let rest = if self.holds_rest { &mut self.rest } else { &mut self.queue };
            rest.push_back(Stimulus::Continue { work: changes.rest });
        }
        for command in changes.commands {
            self.carry_out(command);
        }
    }

    /// Replaces every JSON value by one read from its text, so that nothing is shared with what the
    /// interpreter made.
    pub fn reload(&mut self) {
        let fresh = |json: &mut Option<Json>| {
            *json = json.take().map(|json| Json::from_text(json.text().to_owned()));
        };
        for step in self.stored.steps.values_mut() {
            let step = Rc::make_mut(step);
            fresh(&mut step.result);
            fresh(&mut step.error);
        }
        for scope in self.stored.scopes.values_mut() {
            let scope = Rc::make_mut(scope);
            fresh(&mut scope.item);
            fresh(&mut scope.result);
            fresh(&mut scope.error);
        }
        self.stored.inputs = Json::from_text(self.stored.inputs.text().to_owned());
    }

    /// One piece of what transitions have left; false when there is nothing.
    pub fn go_on(&mut self) -> bool {
        let Some(rest) = self.rest.pop_front() else { return false };
        self.stimulate(rest);
        true
    }

    /// Runs what is queued.
    pub fn settle(&mut self) {
        if let Some(stimulus) = self.queue.pop_front() {
            self.stimulate(stimulus);
        }
    }

    fn followers(&self, at: usize) -> Vec<StepKey> {
        self.of_step.iter().filter(|(_, task)| **task == at).map(|(step, _)| *step).collect()
    }

    pub fn complete_task(&mut self, at: usize, result: Json) {
        assert_eq!(self.tasks[at].state, TaskState::Ready);
        self.tasks[at].state = TaskState::Completed(result.clone());
        let attempts = self.tasks[at].attempt;
        for step in self.followers(at) {
            let result = result.clone();
            self.queue.push_back(Stimulus::TaskCompleted { step, result, attempts });
        }
        self.settle();
    }

    /// One attempt of a task fails.
    pub fn fail_task(&mut self, at: usize, error: &Json) {
        let now = self.now;
        let task = &mut self.tasks[at];
        assert_eq!(task.state, TaskState::Ready);
        let attempts = task.attempt;
        let last = attempts >= task.spawn.max_attempts;
        if last {
            task.state = TaskState::Failed(error.clone());
        } else {
            let delay = delay(&task.spawn, attempts);
            task.attempt += 1;
            task.due = now.plus_seconds(delay);
            task.state = if delay > 0.0 { TaskState::Sleeping } else { TaskState::Ready };
            self.seen.retries.push((task.spawn.path.clone(), task.attempt, delay));
        }
        if last || task.spawn.breaker {
            for step in self.followers(at) {
                let error = error.clone();
                self.queue.push_back(Stimulus::AttemptFailed { step, error, attempts, last });
            }
        }
        self.settle();
    }

    /// Moves the clock on; what comes due on the way happens at its own time.
    pub fn advance_seconds(&mut self, seconds: f64) {
        let end = self.now.plus_seconds(seconds);
        loop {
            let timer = self.stored.timers.values().min_by_key(|timer| (timer.due_at, timer.step));
            let timer = timer.copied().filter(|timer| timer.due_at <= end);
            let sleeping = |task: &&Task| task.state == TaskState::Sleeping && task.due <= end;
            let task = self.tasks.iter().filter(sleeping).map(|task| task.due).min();
            match (timer, task) {
                (None, None) => break,
                (timer, Some(due)) if timer.is_none_or(|timer| due <= timer.due_at) => {
                    self.now = self.now.max(due);
                    for task in &mut self.tasks {
                        if task.state == TaskState::Sleeping && task.due <= due {
                            task.state = TaskState::Ready;
                            let seen = (task.spawn.path.clone(), task.attempt);
                            self.seen.redelivered.push(seen);
                        }
                    }
                }
                (Some(timer), _) => {
                    self.now = self.now.max(timer.due_at);
                    self.stored.timers.remove(&timer.step);
                    let TimerRec { step, kind, .. } = timer;
                    self.stimulate(Stimulus::TimerFired { step, kind });
                }
                (None, Some(_)) => unreachable!(),
            }
        }
        self.now = end;
    }

    pub fn child_finished(&mut self, step: StepKey, branch: &str, status: RunStatus, result: Json) {
        let child = self.stored.children.get_mut(&(step, branch.to_owned())).unwrap();
        assert!(!child.status.is_final());
        child.status = status;
        child.result = Some(result);
        self.stimulate(Stimulus::ChildFinished { step, branch: branch.to_owned() });
    }
}

/// Seconds before the attempt after `attempt`, by the strategy that the queue was given.
fn delay(spawn: &SpawnTask, attempt: u32) -> f64 {
    let Some(strategy) = &spawn.retry_strategy else { return 0.0 };
    let strategy = strategy.value().unwrap();
    assert_eq!(strategy["kind"], "exponential");
    let number = |name: &str| strategy[name].as_f64().unwrap();
    let growth = number("factor").powi(attempt as i32 - 1);
    (number("base_seconds") * growth).min(number("max_seconds"))
}
