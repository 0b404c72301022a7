//! Records as rows: the columns that every reading statement selects, and how they are read.

use uuid::Uuid;

use crate::error::{Error, Result};
use crate::pg::value::Column;
use crate::pg::{Jsonb, Row};
use crate::workflow::json::Json;
use crate::workflow::program::{NodeIx, Program, ScopeIx};
use crate::workflow::records::{
    Parent, RunRec, RunStatus, ScopeId, ScopePhase, ScopeRec, StepKey, StepRec, Tally, TimerKind,
    Trigger,
};
use crate::workflow::step_state::StepState;

/// The columns of `workflow_scope c` that [`scope`] reads, and how many they are.
macro_rules! scope_columns {
    () => {
        "c.scope, c.definition_scope, c.parent_scope, c.parent_node, c.ordinal, c.chain, c.context,
         c.path, c.phase, c.open, c.failed_sinks, c.item, c.result, c.error"
    };
}

/// The columns of `workflow_step s` that [`step`] reads.
macro_rules! step_columns {
    () => {
        "s.scope, s.node, s.state, s.dependencies, s.routers, s.inputs, s.referrers,
         s.trigger_node, s.trigger_succeeded, s.selected, s.open, s.iterations, s.first_failed,
         s.task_id, s.attempts, s.event_name, s.result, s.error, s.started_at, s.finished_at,
         s.started, s.finished"
    };
}

/// The columns of `workflow_execution e` that [`run`] reads.
macro_rules! run_columns {
    () => {
        "e.workflow_run_id, e.root_run_id, e.parent_run_id, e.parent_scope, e.parent_node,
         e.parent_branch, e.depth, e.status, e.queue_name, e.started_at, e.next_scope,
         e.workflow_name, e.workflow_version, e.workflow_hash, e.retries"
    };
}

pub(in crate::workflow) use {run_columns, scope_columns, step_columns};

pub const SCOPE_COLUMNS: usize = 14;
pub const STEP_COLUMNS: usize = 22;

/// A run with what its program is found by.
pub struct StoredRun {
    pub run: RunRec,
    pub name: String,
    pub version: String,
    pub hash: String,
}

/// What records are read from, by the places of their columns.
pub trait Fields {
    /// # Errors
    /// None but a damaged row's.
    fn get<T: Column>(&self, place: usize) -> Result<Option<T>>;

    /// # Errors
    /// XX001 for a null.
    fn need<T: Column>(&self, place: usize) -> Result<T> {
        self.get(place)?.ok_or_else(|| corrupt(format!("a stored record lacks its field {place}")))
    }
}

impl Fields for Row {
    fn get<T: Column>(&self, place: usize) -> Result<Option<T>> {
        Self::get(self, place)
    }
}

fn corrupt(what: impl Into<String>) -> Error {
    Error::Corrupt { what: what.into() }
}

/// A count or an index, which is never negative.
pub fn number(row: &impl Fields, column: usize) -> Result<u32> {
    natural(row.need::<i32>(column)?)
}

fn natural(value: i32) -> Result<u32> {
    u32::try_from(value).map_err(|_| corrupt("a stored count of a workflow run is negative"))
}

pub fn optional_number(row: &impl Fields, column: usize) -> Result<Option<u32>> {
    row.get::<i32>(column)?.map(natural).transpose()
}

/// A `jsonb` that is unpacked when it is asked for, if it is. The row lives as long as the call.
pub fn json(row: &impl Fields, column: usize) -> Result<Option<Json>> {
    Ok(row.get::<Jsonb>(column)?.map(of_jsonb))
}

/// As [`json`], for a value at hand.
pub fn of_jsonb(value: Jsonb) -> Json {
    Json::deferred(move || value.to_text())
}

pub fn node(program: &Program, index: u32) -> Result<NodeIx> {
    let node = NodeIx(index);
    if program.has(node) {
        return Ok(node);
    }
    Err(corrupt(format!("a stored step names node {index}, which its workflow does not have")))
}

pub fn key(program: &Program, row: &impl Fields, scope: usize, at: usize) -> Result<StepKey> {
    Ok(StepKey { scope: ScopeId(number(row, scope)?), node: node(program, number(row, at)?)? })
}

/// Reads the columns of [`scope_columns`] from `at` on.
pub fn scope(program: &Program, row: &impl Fields, at: usize) -> Result<ScopeRec> {
    let definition = number(row, at + 1)?;
    if definition as usize >= program.scopes.len() {
        return Err(corrupt(format!(
            "a stored scope is of scope {definition}, which its workflow does not have"
        )));
    }
    let parent = match optional_number(row, at + 2)? {
        Some(_) => Some(key(program, row, at + 2, at + 3)?),
        None => None,
    };
    let chain = row.need::<Vec<i32>>(at + 5)?;
    Ok(ScopeRec {
        id: ScopeId(number(row, at)?),
        scope: ScopeIx(definition),
        parent,
        ordinal: number(row, at + 4)?,
        chain: chain.into_iter().map(|id| natural(id).map(ScopeId)).collect::<Result<_>>()?,
        context: ScopeId(number(row, at + 6)?),
        path: row.need(at + 7)?,
        phase: phase(&row.need::<String>(at + 8)?)?,
        open: number(row, at + 9)?,
        failed_sinks: number(row, at + 10)?,
        item: json(row, at + 11)?,
        result: json(row, at + 12)?,
        error: json(row, at + 13)?,
    })
}

/// Reads the columns of [`step_columns`] from `at` on.
pub fn step(program: &Program, row: &impl Fields, at: usize) -> Result<StepRec> {
    let trigger = match (optional_number(row, at + 7)?, row.get(at + 8)?) {
        (Some(referrer), Some(succeeded)) => {
            Some(Trigger { referrer: node(program, referrer)?, succeeded })
        }
        _ => None,
    };
    let selected = optional_number(row, at + 9)?.map(|index| node(program, index)).transpose()?;
    Ok(StepRec {
        key: key(program, row, at, at + 1)?,
        state: StepState::parse(&row.need::<String>(at + 2)?)?,
        dependencies: tally(row, at + 3)?,
        routers: tally(row, at + 4)?,
        inputs: tally(row, at + 5)?,
        referrers: number(row, at + 6)?,
        trigger,
        selected,
        open: number(row, at + 10)?,
        iterations: number(row, at + 11)?,
        first_failed: optional_number(row, at + 12)?,
        task: row.get(at + 13)?,
        attempts: number(row, at + 14)?,
        event: row.get(at + 15)?,
        result: json(row, at + 16)?,
        error: json(row, at + 17)?,
        started_at: row.get(at + 18)?,
        finished_at: row.get(at + 19)?,
        started: row.get(at + 20)?.map(crate::workflow::records::Moment),
        finished: row.get(at + 21)?.map(crate::workflow::records::Moment),
    })
}

fn tally(row: &impl Fields, column: usize) -> Result<Tally> {
    let Some(counts) = row.get::<Vec<i32>>(column)? else { return Ok(Tally::default()) };
    let [completed, failed, skipped] = counts[..] else {
        return Err(corrupt("a stored tally of a step is not of three counts"));
    };
    Ok(Tally {
        completed: natural(completed)?,
        failed: natural(failed)?,
        skipped: natural(skipped)?,
    })
}

/// Reads the columns of [`run_columns`] from `at` on. A run that goes on has no result and no error
/// yet.
pub fn run(row: &impl Fields, at: usize) -> Result<StoredRun> {
    let parent = match row.get::<Uuid>(at + 2)? {
        // The parent's step is checked against the parent's program when it is asked for.
        Some(run) => Some(Parent {
            run,
            step: StepKey {
                scope: ScopeId(number(row, at + 3)?),
                node: NodeIx(number(row, at + 4)?),
            },
            branch: row.need(at + 5)?,
        }),
        None => None,
    };
    let run = RunRec {
        id: row.need(at)?,
        root: row.need(at + 1)?,
        parent,
        depth: number(row, at + 6)?,
        status: status(&row.need::<String>(at + 7)?)?,
        queue: row.need(at + 8)?,
        started_at: row.get(at + 9)?,
        next_scope: number(row, at + 10)?,
        retries: optional_number(row, at + 14)?.unwrap_or_default(),
        result: None,
        error: None,
    };
    Ok(StoredRun {
        run,
        name: row.need(at + 11)?,
        version: row.need(at + 12)?,
        hash: row.need(at + 13)?,
    })
}

pub fn status(text: &str) -> Result<RunStatus> {
    RunStatus::ALL
        .into_iter()
        .find(|status| status.as_str() == text)
        .ok_or_else(|| corrupt(format!("\"{text}\" is not the status of a workflow run")))
}

pub fn phase(text: &str) -> Result<ScopePhase> {
    Ok(match text {
        "waiting" => ScopePhase::Waiting,
        "open" => ScopePhase::Open,
        "finished" => ScopePhase::Finished,
        other => ScopePhase::Closed(StepState::parse(other)?),
    })
}

pub fn phase_text(phase: ScopePhase) -> &'static str {
    match phase {
        ScopePhase::Waiting => "waiting",
        ScopePhase::Open => "open",
        ScopePhase::Finished => "finished",
        ScopePhase::Closed(state) => state.as_str(),
    }
}

pub fn timer_kind(text: &str) -> Result<TimerKind> {
    use TimerKind::{Admit, Deadline, Timeout, Wake};
    [Wake, Timeout, Deadline, Admit]
        .into_iter()
        .find(|kind| timer_text(*kind) == text)
        .ok_or_else(|| corrupt(format!("\"{text}\" is not the kind of a timer")))
}

pub const fn timer_text(kind: TimerKind) -> &'static str {
    match kind {
        TimerKind::Wake => "wake",
        TimerKind::Timeout => "timeout",
        TimerKind::Deadline => "deadline",
        TimerKind::Admit => "admit",
    }
}

/// A number as its column holds it. What does not fit is beyond every limit of ours.
pub fn int(value: u32) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}
