//! Handing out ready runs.
//!
//! Nearly always the head of the line can be taken as it is, by short statements: one finds and
//! locks it, one takes the runs and one sets their tasks running. Runs that a timeout woke are
//! left to another, which also removes what they waited for.
//!
//! What cannot be handed out is passed over: a run whose task has ended is closed, one whose task
//! is gone is removed, one whose task waits for the sweep of its cancellation rule is left to
//! that. All of it counts towards the claim's budget. When that is spent and the claim has cleared
//! anything away, it ends with what it has: the next will come upon fewer such rows.

use std::collections::{HashMap, HashSet};

use super::budget::Budget;
use super::followed;
use super::options::Cancellation;
use super::pages::Pages;
use super::stuck;
use crate::error::Result;
use crate::params;
use crate::pg::plan::Scope;
use crate::pg::{Jsonb, Row, Session, Statement, Timestamp, Uuid};
use crate::queue::QueueName;
use crate::queue::week::Week;

/// A run handed to a worker, with what it needs of its task.
pub struct Claimed {
    pub run_id: Uuid,
    pub task_id: Uuid,
    pub attempt: i32,
    pub task_name: String,
    pub params: Option<Jsonb>,
    pub retry_strategy: Option<Jsonb>,
    pub max_attempts: Option<i32>,
    pub headers: Option<Jsonb>,
    pub wake_event: Option<String>,
    pub event_payload: Option<Jsonb>,
}

static HEAD_OF_WEEK: Statement = Statement::new(include_str!("../../sql/task/head_of_week.sql"));
static TASKS_OF_WEEK: Statement = Statement::new(include_str!("../../sql/task/tasks_of_week.sql"));
static TAKE_RUNS: Statement = Statement::new(include_str!("../../sql/task/take_runs.sql"));
static TAKE_TASKS: Statement = Statement::new(include_str!("../../sql/task/take_tasks.sql"));
static TAKE_RUN: Statement = Statement::new(include_str!("../../sql/task/take_run.sql"));
static TAKE_TASK: Statement = Statement::new(include_str!("../../sql/task/take_task.sql"));

/// Who claims, until when and how many.
pub struct Offer<'a> {
    pub worker: &'a str,
    pub until: Option<Timestamp>,
    pub quantity: i32,
}

/// A run at the head of the line, locked with its task.
pub(super) struct Ready {
    pub(super) claimed: Claimed,
    attempt_ends_at: Option<Timestamp>,
}

/// Where in the line to take runs from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub priority: i16,
    /// The instant from which on runs became ready.
    pub since: Timestamp,
    /// Of those that became ready at that instant, the run from which on; none for all.
    pub from: Option<Uuid>,
    /// A run that became ready at that instant, where none but it is wanted.
    pub only: Option<Uuid>,
}

impl Place {
    /// Where runs of a priority begin.
    pub fn front(priority: i16) -> Self {
        Self::since(priority, Timestamp::NEG_INFINITY)
    }

    /// Runs of a priority from those on that became ready at an instant.
    pub fn since(priority: i16, since: Timestamp) -> Self {
        Self { priority, since, from: None, only: None }
    }

    /// What follows a run in the line.
    #[must_use]
    pub fn after(self, at: Timestamp, run: Uuid) -> Self {
        match u128::from_be_bytes(*run.as_bytes()).checked_add(1) {
            Some(next) => {
                let next = Uuid::from_bytes(next.to_be_bytes());
                Self { since: at, from: Some(next), ..self }
            }
            // No id is greater.
            None => Self { since: at.plus_seconds(1e-6), from: None, ..self },
        }
    }

    /// The last instant of which runs are wanted. A statement then hands out all of that instant.
    pub(super) fn until(self, now: Timestamp) -> Timestamp {
        match self.only {
            Some(_) => self.since,
            None => now,
        }
    }
}

/// What came of handing out runs of one priority.
pub struct Handed {
    /// Blocks looked at to find them.
    pub blocks: i64,
    /// When the last of them became ready.
    pub last: Option<Timestamp>,
    /// Whether it ended for the budget's sake, with more in the line.
    pub is_cut: bool,
}

impl Handed {
    pub const NOTHING: Self = Self { blocks: 0, last: None, is_cut: false };
}

/// Of which tasks a claim hands out runs. A second open run of a task, which clients can make, is
/// left to another claim.
pub struct Tasks(HashSet<[u8; 16]>);

impl Tasks {
    pub fn of(claimed: &[Claimed]) -> Self {
        Self(claimed.iter().map(|run| *run.task_id.as_bytes()).collect())
    }

    pub fn has(&self, task: Uuid) -> bool {
        self.0.contains(task.as_bytes())
    }

    /// False when it was there.
    pub fn add(&mut self, task: Uuid) -> bool {
        self.0.insert(*task.as_bytes())
    }
}

impl Offer<'_> {
    /// Whether as many have been handed out as were asked for.
    pub fn is_met(&self, claimed: &[Claimed]) -> bool {
        claimed.len() as i32 >= self.quantity
    }

    /// Hands out ready runs of one priority, oldest first, from a place in the line on.
    ///
    /// # Errors
    /// 42P01 for an unknown queue.
    pub fn hand_out(
        &self,
        session: &Session,
        queue: &QueueName,
        place: Place,
        budget: &Budget,
        claimed: &mut Vec<Claimed>,
    ) -> Result<Handed> {
        let mut pages = Pages::new(session, queue, self, budget);
        pages.hand_out(place, claimed)?;
        pages.passed.clear(session, queue, budget)?;
        Ok(pages.handed)
    }

    /// As [`Self::hand_out`], of one week of a partitioned queue and of what became ready by
    /// `until`. Says beside whether that is all: what the week's tables alone cannot decide is left
    /// to the whole.
    ///
    /// # Errors
    /// Postgres's own.
    pub fn hand_out_of(
        &self,
        session: &Session,
        week: &Week,
        place: Place,
        until: Timestamp,
        claimed: &mut Vec<Claimed>,
    ) -> Result<(Handed, bool)> {
        let until = until.min(session.now());
        let mut handed = Handed::NOTHING;
        let began = session.blocks_looked_at();
        // What these tables refuse is told apart by who looks at the whole.
        let mut given = Vec::new();
        let alike = || self.hand_out_alike(session, week, place, until, (&*claimed, &mut given));
        let last = match session.attempt(alike)? {
            Ok(last) => last,
            Err(error) if stuck::ends_call(&error) => return Err(error),
            Err(_) => None,
        };
        if last.is_some() {
            claimed.append(&mut given);
        }
        (handed.blocks, handed.last) = (session.blocks_looked_at() - began, last.flatten());
        Ok((handed, last.is_some()))
    }

    /// The same by statements: when the last of them became ready; none when the week cannot
    /// decide.
    fn hand_out_alike(
        &self,
        session: &Session,
        week: &Week,
        Place { priority, since, .. }: Place,
        until: Timestamp,
        (claimed, given): (&[Claimed], &mut Vec<Claimed>),
    ) -> Result<Option<Option<Timestamp>>> {
        let wanted = self.quantity - claimed.len() as i32;
        let values = params![session.now(), wanted, priority, since, until];
        let runs: Vec<Row> = session.run(&HEAD_OF_WEEK, week, values)?.into_iter().collect();
        let mut last = None;
        let mut ids = Vec::with_capacity(runs.len());
        for run in &runs {
            let id: Uuid = run.need(1)?;
            if !week.holds(id) {
                return Ok(None);
            }
            ids.push(id);
        }
        if runs.is_empty() {
            return Ok(Some(None));
        }
        let tasks = session.run(&TASKS_OF_WEEK, week, params![ids.clone()])?;
        if tasks.len() != runs.len() {
            return Ok(None);
        }
        let tasks = tasks
            .into_iter()
            .map(|row| Ok((*row.need::<Uuid>(0)?.as_bytes(), row)))
            .collect::<Result<HashMap<[u8; 16], Row>>>()?;
        let mut ready = Vec::with_capacity(runs.len());
        let mut taken = Tasks::of(claimed);
        for (run, id) in runs.into_iter().zip(ids) {
            let Some(task) = tasks.get(id.as_bytes()) else { return Ok(None) };
            if !taken.add(id) {
                return Ok(None);
            }
            let Ok(Some(one)) = plain(session, run, *task, 1) else { return Ok(None) };
            ready.push(one);
            last = run.get(5)?;
        }
        self.take(session, week, &ready.iter().collect::<Vec<_>>())?;
        given.extend(ready.into_iter().map(|run| run.claimed));
        Ok(Some(last))
    }

    /// Takes runs that are locked with their tasks.
    pub(super) fn take(
        &self,
        session: &Session,
        scope: &impl Scope,
        ready: &[&Ready],
    ) -> Result<()> {
        let (now, worker, until) = (session.now(), self.worker, self.until);
        // A run that stays as it was would be handed out again and again.
        let (runs_table, tasks_table) = ((ready.len(), "{r}"), (ready.len(), "{t}"));
        match ready {
            [] => Ok(()),
            [run] => {
                let Claimed { run_id, task_id, .. } = run.claimed;
                let values = params![run_id, run.attempt_ends_at, now, worker, until];
                session.change(&TAKE_RUN, scope, values, runs_table)?;
                session.change(&TAKE_TASK, scope, params![task_id, run_id, now], tasks_table)
            }
            many => {
                let runs: Vec<_> = many.iter().map(|run| run.claimed.run_id).collect();
                let tasks: Vec<_> = many.iter().map(|run| run.claimed.task_id).collect();
                let ends: Vec<_> = many.iter().map(|run| run.attempt_ends_at).collect();
                let values = params![runs.clone(), ends, now, worker, until];
                session.change(&TAKE_RUNS, scope, values, runs_table)?;
                session.change(&TAKE_TASKS, scope, params![tasks, runs, now], tasks_table)
            }
        }
    }
}

/// Whether a task's cancellation rule has come due; what is said of it begins at a column of the
/// row.
pub(super) fn is_due(task: Row, from: usize, now: Timestamp) -> Result<bool> {
    let Some(rules) = task.get::<Jsonb>(from + 6)? else { return Ok(false) };
    // What is that long is no rule.
    let Some(rules) = rules.short_text()? else { return Ok(false) };
    let rules = Cancellation::stored(&rules);
    let (enqueued, attempts): (Timestamp, i32) = (task.need(from + 7)?, task.need(from + 9)?);
    Ok(rules.due(enqueued, task.get(from + 8)?, attempts > 1) <= now)
}

/// When an attempt that begins now runs out of its time, in seconds: a limit that is no number
/// from 0 to a hundred years, which only a client can have written, is none.
pub fn attempt_end(now: Timestamp, timeout: Option<f64>) -> Option<Timestamp> {
    timeout
        .filter(|seconds| (0.0..=3.2e9).contains(seconds))
        .map(|seconds| now.plus_seconds(seconds))
}

/// A run of head.sql that can be handed out as it is; none when it needs more. What is said of its
/// task begins at a column of a row of its own or of the same one.
pub(super) fn plain(session: &Session, run: Row, task: Row, from: usize) -> Result<Option<Ready>> {
    let now = session.now();
    let (waits, open): (bool, bool) = (run.need(6)?, task.need(from + 5)?);
    if !open || waits {
        return Ok(None);
    }
    if is_due(task, from, now)? {
        return Ok(None);
    }
    let timeout: Option<f64> = task.get(from + 10)?;
    let run_id = run.need(0)?;
    if task.get(from + 11)? == Some(true) {
        followed::expect(run_id);
    }
    Ok(Some(Ready {
        claimed: Claimed {
            run_id,
            task_id: run.need(1)?,
            attempt: run.need(2)?,
            wake_event: run.get(3)?,
            event_payload: session.keep(run.get(4)?),
            task_name: task.need(from)?,
            params: session.keep(task.get(from + 1)?),
            retry_strategy: session.keep(task.get(from + 2)?),
            max_attempts: task.get(from + 3)?,
            headers: session.keep(task.get(from + 4)?),
        },
        attempt_ends_at: attempt_end(now, timeout),
    }))
}

/// A run that claim.sql has handed out.
pub(super) fn of_woken(session: &Session, queue: &QueueName, row: Row) -> Result<Claimed> {
    for (table, column) in [("{r}", 10), ("{t}", 11)] {
        if !row.need::<bool>(column)? {
            return Err(Session::kept(queue, table));
        }
    }
    Ok(Claimed {
        run_id: row.need(0)?,
        task_id: row.need(1)?,
        attempt: row.need(2)?,
        task_name: row.need(3)?,
        params: session.keep(row.get(4)?),
        retry_strategy: session.keep(row.get(5)?),
        max_attempts: row.get(6)?,
        headers: session.keep(row.get(7)?),
        wake_event: row.get(8)?,
        event_payload: session.keep(row.get(9)?),
    })
}
