//! What moves a run: stimuli go in, changes and commands come out.

use uuid::Uuid;

use super::json::Json;
use super::records::{
    BreakerEvent, ItemsRec, RunRec, RunStatus, ScopeId, ScopeRec, StepKey, StepRec, TimerKind,
    TimerRec, ValueRec,
};
use crate::time::Timestamp;

/// Something that happened to a run. One that comes too late (the step is final, the run has ended,
/// the event or task is no longer the one waited for) changes nothing.
#[derive(Clone, Debug, PartialEq)]
pub enum Stimulus {
    /// The run begins.
    Start,
    /// A step's queue task completed.
    TaskCompleted {
        step: StepKey,
        result: Json,
        attempts: u32,
    },
    /// An attempt failed. `last`: no attempt follows. `error` is the worker's reason as stored.
    AttemptFailed {
        step: StepKey,
        error: Json,
        attempts: u32,
        last: bool,
    },
    /// A step's queue task was cancelled by somebody else.
    TaskCancelled {
        step: StepKey,
    },
    /// The task that a command spawned or, by its idempotency key, found.
    TaskSpawned {
        step: StepKey,
        task: Uuid,
    },
    /// The event that a step waits for was emitted.
    EventArrived {
        step: StepKey,
        event: String,
        payload: Json,
    },
    TimerFired {
        step: Option<StepKey>,
        kind: TimerKind,
    },
    /// A child run ended, or could not be started.
    ChildFinished {
        step: StepKey,
        branch: String,
    },
    /// Items for a running dynamic foreach.
    ItemsAdded {
        step: StepKey,
        items: Vec<serde_json::Value>,
    },
    /// Somebody ends a step: completes it with a result, or fails it with an error.
    StepEnded {
        step: StepKey,
        outcome: Result<Json, Json>,
    },
    /// The run is to be cancelled; the reason becomes its error's message.
    Cancel {
        reason: String,
    },
    /// A transition that had reached its bound goes on with these.
    Continue {
        work: Vec<Work>,
    },
}

/// What is still to be looked at in a transition, or in the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// A pending step whose predecessors have changed.
    Decide(StepKey),
    /// A running container or barrier one of whose inner instances has ended.
    Inside(StepKey),
    /// A scope instance whose last node has become final.
    ScopeDone(ScopeId),
    /// A scope instance that has been opened, from this of its first nodes on.
    Begin(ScopeId, u32),
    /// A loop whose items do not all have instances yet.
    Grow(StepKey),
    /// A container that has ended, whose inner instances from this ordinal on may be open.
    Close(StepKey, u32),
    /// A step that is to end as it ended before the run was retried.
    Replay(StepKey),
    /// A scope instance that has been closed, in which steps may still be running.
    CloseScope(ScopeId),
}

impl Work {
    /// Whether it ends what is left of something that has ended.
    pub fn is_closing(&self) -> bool {
        matches!(self, Self::Close(..) | Self::CloseScope(_))
    }
}

/// What a transition comes to: records as they are now, and what is to be done, in order. The
/// driver writes the records first, in batches, then carries the commands out; what a command
/// brings about (a task that was final already, a child that ended at once) it hands in as the next
/// stimulus of the same transaction.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Changes {
    /// Set when the run's own record changed.
    pub run: Option<RunRec>,
    /// New and changed instances, by id; `new_scopes` says from which id on they are new.
    pub scopes: Vec<ScopeRec>,
    pub new_scopes_from: Option<u32>,
    /// New and changed steps, by key.
    pub steps: Vec<StepRec>,
    /// Entries to put, in order: a later one of the same context and key replaces an earlier.
    pub values: Vec<ValueRec>,
    /// What breakers are told, by node id, in order.
    pub breakers: Vec<(String, BreakerEvent)>,
    /// Items that are to get instances later, those of which some have got theirs, by their first,
    /// and loops that have ended, whose items are not needed any longer.
    pub items: Vec<ItemsRec>,
    pub items_taken: Vec<(StepKey, u32)>,
    pub items_dropped: Vec<StepKey>,
    pub commands: Vec<Command>,
    /// Not empty when the bound of a transition was reached.
    pub rest: Vec<Work>,
}

/// What the driver is to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    SpawnTask(Box<SpawnTask>),
    /// Cancel a step's task unless it has ended.
    CancelTask {
        step: StepKey,
        task: Uuid,
    },
    EmitEvent {
        name: String,
        payload: Json,
    },
    /// Register that a step waits. The driver looks for the event once more under the lock that
    /// keeps emitters out.
    WaitEvent {
        step: StepKey,
        name: String,
    },
    ForgetWait {
        step: StepKey,
    },
    /// Set the step's, or the run's, one timer, in place of the one it has.
    SetTimer(TimerRec),
    ClearTimer {
        step: Option<StepKey>,
    },
    StartChild {
        step: StepKey,
        branch: String,
        workflow: String,
        version: Option<String>,
        inputs: Json,
    },
    /// Cancel the child runs of a step that have not ended.
    CancelChildren {
        step: StepKey,
    },
    /// The run has ended as its record says: store status, result and error, drop its timers and
    /// waits, tell the parent, let a pending run of the name start.
    FinishRun {
        status: RunStatus,
    },
}

/// Everything that the queue needs for a step's task.
#[derive(Clone, Debug, PartialEq)]
pub struct SpawnTask {
    pub step: StepKey,
    pub path: String,
    pub function: String,
    /// `{"args": [...], "kwargs": {...}}`, resolved.
    pub params: Json,
    /// The node's metadata with the five headers of a step over it.
    pub headers: Json,
    pub max_attempts: u32,
    /// As spawn_task takes it; none for a single attempt.
    pub retry_strategy: Option<Json>,
    /// The document's key, resolved. Without one the driver needs none: the step's record, written
    /// in the same transaction under the run's lock, keeps a second task from being spawned.
    pub idempotency_key: Option<String>,
    /// Seconds that an attempt may take from its claim.
    pub attempt_timeout: Option<f64>,
    /// Whether a late worker's outcome is ignored in silence (`kill_on_timeout: false`).
    pub leave_late_worker: bool,
    /// Whether every failed attempt must be reported, not only the last.
    pub breaker: bool,
    pub at: Timestamp,
}
