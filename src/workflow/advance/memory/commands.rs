//! Carrying commands out: tasks, events, timers, children.

use std::rc::Rc;

use uuid::Uuid;

use crate::workflow::json::Json;
use crate::workflow::records::{ChildRec, RunStatus, StepKey};
use crate::workflow::stimulus::{Command, SpawnTask, Stimulus};

use super::{Memory, Task, TaskState};

impl Memory {
    pub fn carry_out(&mut self, command: Command) {
        match command {
            Command::SpawnTask(spawn) => self.spawn(*spawn),
            Command::CancelTask { step, task } => {
                let at = self.of_step[&step];
                assert_eq!(self.tasks[at].id, task);
                self.seen.cancelled.push(step);
                if matches!(self.tasks[at].state, TaskState::Ready | TaskState::Sleeping) {
                    self.tasks[at].state = TaskState::Cancelled;
                }
            }
            Command::EmitEvent { name, payload } => {
                self.seen.emitted.push((name.clone(), payload.clone()));
                self.emit(&name, payload);
            }
            Command::WaitEvent { step, name } => {
                assert_eq!(self.stored.waits.insert(step, name.clone()), None);
                if let Some(payload) = self.events.get(&name).cloned() {
                    self.queue.push_back(Stimulus::EventArrived { step, event: name, payload });
                }
            }
            Command::ForgetWait { step } => {
                assert!(self.stored.waits.remove(&step).is_some(), "{step:?} has no wait");
            }
            Command::SetTimer(timer) => {
                assert_eq!(self.stored.timers.insert(timer.step, timer), None);
            }
            Command::ClearTimer { step } => {
                assert!(self.stored.timers.remove(&step).is_some(), "{step:?} has no timer");
            }
            Command::StartChild { step, branch, workflow, version, inputs } => {
                let run = Uuid::from_u128(1000 + self.stored.children.len() as u128);
                let status = RunStatus::Running;
                let child =
                    ChildRec { branch: branch.clone(), run, status, result: None, error: None };
                let before = self.stored.children.insert((step, branch.clone()), child);
                assert_eq!(before, None);
                self.seen.children.push((step, branch, workflow, version, inputs));
            }
            Command::CancelChildren { step } => {
                for ((of, _), child) in &mut self.stored.children {
                    if *of == step && !child.status.is_final() {
                        child.status = RunStatus::Cancelled;
                        let branch = child.branch.clone();
                        self.queue.push_back(Stimulus::ChildFinished { step, branch });
                    }
                }
            }
            Command::FinishRun { status } => {
                assert_eq!(self.stored.run.status, status);
                self.finishes += 1;
                self.stored.timers.clear();
                self.stored.waits.clear();
            }
        }
    }

    fn spawn(&mut self, spawn: SpawnTask) {
        let step = spawn.step;
        let adopted = spawn.idempotency_key.as_ref().and_then(|key| self.keys.get(key)).copied();
        let at = adopted.unwrap_or(self.tasks.len());
        assert_eq!(self.of_step.insert(step, at), None, "two tasks for {}", spawn.path);
        if adopted.is_none() {
            let id = Uuid::from_u128(0xf000 + at as u128);
            if let Some(key) = &spawn.idempotency_key {
                self.keys.insert(key.clone(), at);
            }
            self.seen.spawned.push(spawn.clone());
            let due = self.now;
            self.tasks.push(Task { id, spawn, state: TaskState::Ready, attempt: 1, due });
            let record = self.stored.steps.get_mut(&step).unwrap();
            Rc::make_mut(record).task = Some(id);
            return;
        }
        let task = self.tasks[at].clone();
        self.queue.push_back(Stimulus::TaskSpawned { step, task: task.id });
        let attempts = task.attempt;
        match task.state {
            TaskState::Completed(result) => {
                self.queue.push_back(Stimulus::TaskCompleted { step, result, attempts });
            }
            TaskState::Failed(error) => {
                let last = true;
                self.queue.push_back(Stimulus::AttemptFailed { step, error, attempts, last });
            }
            TaskState::Cancelled => self.queue.push_back(Stimulus::TaskCancelled { step }),
            TaskState::Ready | TaskState::Sleeping => {}
        }
    }

    /// Emits an event: the first emission of a name stands.
    pub fn emit(&mut self, name: &str, payload: Json) {
        if self.events.contains_key(name) {
            return;
        }
        self.events.insert(name.to_owned(), payload.clone());
        let waiting: Vec<StepKey> = self
            .stored
            .waits
            .iter()
            .filter(|(_, event)| *event == name)
            .map(|(step, _)| *step)
            .collect();
        for step in waiting {
            let (event, payload) = (name.to_owned(), payload.clone());
            self.queue.push_back(Stimulus::EventArrived { step, event, payload });
        }
    }
}
