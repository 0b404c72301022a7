//! The records of a run: what is stored of it between two stimuli.
//!
//! A step that is pending and that no predecessor's end has touched has no record. A record that is
//! still pending inside a scope that was closed has, for every reader, the state that the scope was
//! closed with: closing costs what is running, not what is waiting.

use uuid::Uuid;

use super::json::Json;
use super::program::{NodeIx, ScopeIx};
use super::step_state::{Outcome, StepState};
use crate::time::Timestamp;

/// The status of a run.
pub use super::status::Status as RunStatus;

/// A scope instance's number inside its run. The root's is 0; numbers are never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ScopeId(pub u32);

impl ScopeId {
    pub const ROOT: Self = Self(0);
}

/// A node instance inside its run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StepKey {
    pub scope: ScopeId,
    pub node: NodeIx,
}

/// The order in which steps start and end, over all runs of a tree: the transition's number times
/// 2^24 plus the place within the transition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(pub i64);

/// An executed run. Unlike steps and scopes it is always loaded.
#[derive(Clone, Debug, PartialEq)]
pub struct RunRec {
    pub id: Uuid,
    /// The run at the root of the tree, itself when nobody started it as a child.
    pub root: Uuid,
    /// The step that started this run as a child, and the branch name it has there.
    pub parent: Option<Parent>,
    /// Runs between this one and the root; bounded by [`limits::DEPTH`].
    pub depth: u32,
    pub status: RunStatus,
    pub queue: String,
    pub started_at: Option<Timestamp>,
    /// The number that the next scope instance gets.
    pub next_scope: u32,
    /// How often it was retried: what is kept of steps is asked for then.
    pub retries: u32,
    pub result: Option<Json>,
    pub error: Option<Json>,
}

/// How a step of a run that was retried ended before: it ends so again when its turn comes, without
/// being executed.
#[derive(Clone, Debug, PartialEq)]
pub struct KeptRec {
    pub state: StepState,
    pub selected: Option<NodeIx>,
    pub task: Option<Uuid>,
    pub attempts: u32,
    pub result: Option<Json>,
    pub error: Option<Json>,
    pub started_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
    /// Whether it is a container that others ended, and that is entered before it ends so again.
    pub is_entered: bool,
    /// Its place in the order of ends; the lowest for what an operator gave.
    pub ended: i64,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Parent {
    pub run: Uuid,
    pub step: StepKey,
    pub branch: String,
}

/// Items of a loop that have no instances yet: some that follow each other.
#[derive(Clone, Debug, PartialEq)]
pub struct ItemsRec {
    pub container: StepKey,
    /// The ordinal of the first, and how many they are.
    pub first: u32,
    pub count: u32,
    /// An array.
    pub items: Json,
}

/// An instance of a scope.
#[derive(Clone, Debug, PartialEq)]
pub struct ScopeRec {
    pub id: ScopeId,
    pub scope: ScopeIx,
    /// The container's instance; none for the root.
    pub parent: Option<StepKey>,
    /// Which branch (in name order) or iteration (from 0) this is.
    pub ordinal: u32,
    /// Enclosing instances, the root first, this one not included.
    pub chain: Vec<ScopeId>,
    /// The instance that result keys written here go to: this one, or for branches the nearest
    /// enclosing instance that is no branch.
    pub context: ScopeId,
    /// What stands before a node's id in its path: `fork.branch/`, `each[0]/`.
    pub path: String,
    pub phase: ScopePhase,
    /// Nodes that are not final, and forked parallels whose branches are still at work.
    pub open: u32,
    /// Sinks that failed or were upstream_failed.
    pub failed_sinks: u32,
    /// The foreach's item.
    pub item: Option<Json>,
    /// The scope's result or error, once it has ended.
    pub result: Option<Json>,
    pub error: Option<Json>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScopePhase {
    /// A later iteration of a sequential foreach: known, not begun, and listed nowhere.
    Waiting,
    Open,
    /// Every node became final by itself.
    Finished,
    /// Ended from outside; what was pending counts as this state: skipped or upstream_failed.
    Closed(StepState),
}

/// An instance of a node.
#[derive(Clone, Debug, PartialEq)]
pub struct StepRec {
    pub key: StepKey,
    pub state: StepState,
    /// Final dependencies.
    pub dependencies: Tally,
    /// Final routers: completed counts those that selected this node, skipped those that did not.
    pub routers: Tally,
    /// Final inputs of a join.
    pub inputs: Tally,
    /// Final referrers of a handler, whatever became of them.
    pub referrers: u32,
    /// Whose end triggered a handler; the first stands.
    pub trigger: Option<Trigger>,
    /// What a router selected.
    pub selected: Option<NodeIx>,
    /// Inner instances or child runs that have not ended.
    pub open: u32,
    /// Iterations that are known: items of a foreach, iterations begun of a while.
    pub iterations: u32,
    /// The smallest ordinal of an inner instance that failed.
    pub first_failed: Option<u32>,
    /// The queue task that works the step, in the run's queue.
    pub task: Option<Uuid>,
    /// Attempts that the task has made.
    pub attempts: u32,
    /// The event that the step waits for.
    pub event: Option<String>,
    pub result: Option<Json>,
    pub error: Option<Json>,
    pub started_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
    pub started: Option<Moment>,
    pub finished: Option<Moment>,
}

/// How many predecessors of one class have ended in which way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub completed: u32,
    pub failed: u32,
    pub skipped: u32,
}

impl Tally {
    pub fn add(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Completed => self.completed += 1,
            Outcome::Failed => self.failed += 1,
            Outcome::Skipped => self.skipped += 1,
        }
    }

    /// How many have ended in any way.
    pub const fn total(self) -> u32 {
        self.completed + self.failed + self.skipped
    }
}

/// Why a handler runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trigger {
    pub referrer: NodeIx,
    pub succeeded: bool,
}

impl StepRec {
    /// The record of a step that nothing has touched.
    pub fn untouched(key: StepKey) -> Self {
        Self {
            key,
            state: StepState::Pending,
            dependencies: Tally::default(),
            routers: Tally::default(),
            inputs: Tally::default(),
            referrers: 0,
            trigger: None,
            selected: None,
            open: 0,
            iterations: 0,
            first_failed: None,
            task: None,
            attempts: 0,
            event: None,
            result: None,
            error: None,
            started_at: None,
            finished_at: None,
            started: None,
            finished: None,
        }
    }

    /// The state that readers see, given the phase of the scope instance that the step is in.
    pub fn state_in(&self, phase: ScopePhase) -> StepState {
        match (self.state, phase) {
            (StepState::Pending, ScopePhase::Closed(state)) => state,
            (state, _) => state,
        }
    }
}

/// A result key's entry in a context: not the value itself but the step whose result it is, so
/// that copying a key outwards copies no value. The newest entry of (context, key) stands.
#[derive(Clone, Debug, PartialEq)]
pub struct ValueRec {
    pub context: ScopeId,
    pub key: String,
    pub source: StepKey,
}

/// A child run of a step.
#[derive(Clone, Debug, PartialEq)]
pub struct ChildRec {
    pub branch: String,
    pub run: Uuid,
    pub status: RunStatus,
    pub result: Option<Json>,
    pub error: Option<Json>,
}

/// The one instant that a step, or with no step the run, waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimerRec {
    /// None: the run's deadline.
    pub step: Option<StepKey>,
    pub due_at: Timestamp,
    pub kind: TimerKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimerKind {
    /// A wait is over.
    Wake,
    /// A step took too long: its own timeout or its timeout policy, whichever ends first.
    Timeout,
    Deadline,
    /// Look again whether a pending run may start.
    Admit,
}

/// A circuit breaker, one per workflow name and node id.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct BreakerRec {
    /// Consecutive counted failures while closed; consecutive successes while half-open.
    pub failures: u32,
    pub successes: u32,
    /// Set while open or half-open: isolation ends here.
    pub open_until: Option<Timestamp>,
    /// An attempt is trying whether it works again.
    pub probing: bool,
    /// Whose attempt that is; unknown when somebody else has the breaker locked.
    pub prober: Option<Prober>,
}

/// The step whose attempt probes a breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prober {
    pub run: Uuid,
    pub step: StepKey,
}

/// Something that happens to a breaker. Events of one call are applied when it has taken all else,
/// so that counts are exact and calls take breakers in one order.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BreakerEvent {
    pub who: Prober,
    pub at: Timestamp,
    pub kind: BreakerEventKind,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum BreakerEventKind {
    /// A step is about to spawn its task.
    Asked,
    Succeeded {
        success_threshold: u32,
    },
    /// `counts`: with an error that the policy counts; `isolation` in seconds.
    Failed {
        counts: bool,
        failure_threshold: u32,
        isolation: f64,
    },
    /// The step's task will not tell.
    Released,
}

/// Bounds that keep any document from holding a backend or its memory.
pub mod limits {
    /// Levels of child runs below a root.
    pub const DEPTH: u32 = 64;
    /// Steps that one transition may start or end; what is left goes on in the next. A loop of more
    /// items is begun in pieces.
    pub const STEPS_PER_TRANSITION: usize = 1000;
    /// Items that a piece of such a loop has, and nodes of a scope that are begun at once.
    pub const PIECE: usize = 256;
    /// Iterations of one while.
    pub const ITERATIONS: u32 = 10_000;
    /// Items of one foreach.
    pub const ITEMS: usize = 1_000_000;
}
