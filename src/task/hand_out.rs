//! Handing out ready runs.
//!
//! Nearly always the head of the line can be taken as it is, by short statements: one finds and locks it, one
//! takes the runs and one sets their tasks running. What needs more, a task that has ended or whose rule came
//! due unseen, a run that a timeout woke, is left to one long statement that knows all of it and costs
//! several times as much, most of that before it has read a row: its many parts are made ready each time.

use std::collections::HashMap;

use super::followed;
use super::options::Cancellation;
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

static HEAD: Statement = Statement::new(include_str!("../../sql/task/head.sql"));
static HEAD_OF_WEEK: Statement = Statement::new(include_str!("../../sql/task/head_of_week.sql"));
static TASKS_OF_WEEK: Statement = Statement::new(include_str!("../../sql/task/tasks_of_week.sql"));
static TAKE_RUNS: Statement = Statement::new(include_str!("../../sql/task/take_runs.sql"));
static TAKE_TASKS: Statement = Statement::new(include_str!("../../sql/task/take_tasks.sql"));
static TAKE_RUN: Statement = Statement::new(include_str!("../../sql/task/take_run.sql"));
static TAKE_TASK: Statement = Statement::new(include_str!("../../sql/task/take_task.sql"));
static CLAIM: Statement = Statement::new(include_str!("../../sql/task/claim.sql"));

/// Who claims, until when and how many.
pub struct Offer<'a> {
    pub worker: &'a str,
    pub until: Option<Timestamp>,
    pub quantity: i32,
}

/// A run at the head of the line, locked with its task.
struct Ready {
    claimed: Claimed,
    attempt_ends_at: Option<Timestamp>,
}

/// Where in the line to take runs from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub priority: i16,
    /// The instant from which on runs became ready.
    pub since: Timestamp,
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
        Self { priority, since, only: None }
    }

    /// The last instant of which runs are wanted. A statement then hands out all of that instant.
    fn until(self, now: Timestamp) -> Timestamp {
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
        claimed: &mut Vec<Claimed>,
    ) -> Result<Handed> {
        let wanted = self.quantity - claimed.len() as i32;
        let began = session.blocks_looked_at();
        let (now, priority, since) = (session.now(), place.priority, place.since);
        let values = params![now, wanted, priority, since, place.until(now)];
        let head = session.run(&HEAD, queue, values)?;
        let mut handed = Handed { blocks: session.blocks_looked_at() - began, last: None };
        let mut ready = Vec::with_capacity(head.len());
        for row in head {
            match plain(session, row, row, 7)? {
                Some(run) => ready.push(run),
                None => {
                    handed.last = self.pick(session, queue, place, claimed)?;
                    return Ok(handed);
                }
            }
            handed.last = row.get(5)?;
        }
        self.take(session, queue, ready, claimed)?;
        Ok(handed)
    }

    /// As [`Self::hand_out`], of one week of a partitioned queue and of what became ready by `until`. Says
    /// beside whether that is all: what the week's tables alone cannot decide is left to the whole.
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
        let mut handed = Handed { blocks: 0, last: None };
        let began = session.blocks_looked_at();
        let last = self.hand_out_alike(session, week, place, until, claimed)?;
        (handed.blocks, handed.last) = (session.blocks_looked_at() - began, last.flatten());
        Ok((handed, last.is_some()))
    }

    /// The same by statements: when the last of them became ready; none when the week cannot decide.
    fn hand_out_alike(
        &self,
        session: &Session,
        week: &Week,
        Place { priority, since, .. }: Place,
        until: Timestamp,
        claimed: &mut Vec<Claimed>,
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
        for (run, id) in runs.into_iter().zip(ids) {
            let Some(task) = tasks.get(id.as_bytes()) else { return Ok(None) };
            let Some(one) = plain(session, run, *task, 1)? else { return Ok(None) };
            ready.push(one);
            last = run.get(5)?;
        }
        self.take(session, week, ready, claimed)?;
        Ok(Some(last))
    }

    fn take(
        &self,
        session: &Session,
        scope: &impl Scope,
        ready: Vec<Ready>,
        claimed: &mut Vec<Claimed>,
    ) -> Result<()> {
        let (now, worker, until) = (session.now(), self.worker, self.until);
        match &ready[..] {
            [] => {}
            [run] => {
                let Claimed { run_id, task_id, .. } = run.claimed;
                let values = params![run_id, run.attempt_ends_at, now, worker, until];
                session.run(&TAKE_RUN, scope, values)?;
                session.run(&TAKE_TASK, scope, params![task_id, run_id, now])?;
            }
            many => {
                let runs: Vec<_> = many.iter().map(|run| run.claimed.run_id).collect();
                let tasks: Vec<_> = many.iter().map(|run| run.claimed.task_id).collect();
                let ends: Vec<_> = many.iter().map(|run| run.attempt_ends_at).collect();
                session.run(&TAKE_RUNS, scope, params![runs.clone(), ends, now, worker, until])?;
                session.run(&TAKE_TASKS, scope, params![tasks, runs, now])?;
            }
        }
        claimed.extend(ready.into_iter().map(|run| run.claimed));
        Ok(())
    }

    /// The same, whatever stands at the head of the line: first as it comes, then, when something
    /// there cannot be handed out, passing over such rows.
    fn pick(
        &self,
        session: &Session,
        queue: &QueueName,
        place: Place,
        claimed: &mut Vec<Claimed>,
    ) -> Result<Option<Timestamp>> {
        let mut last = None;
        for pass_over in [false, true] {
            let wanted = self.quantity - claimed.len() as i32;
            let (now, worker, until) = (session.now(), self.worker, self.until);
            let Place { priority, since, .. } = place;
            let to = place.until(now);
            let values = params![now, wanted, worker, until, pass_over, priority, since, to];
            let mut all_usable = true;
            for row in session.run(&CLAIM, queue, values)? {
                if row.need(10)? {
                    claimed.push(read(session, row)?);
                    last = row.get(11)?;
                } else {
                    all_usable = false;
                }
            }
            if all_usable {
                break;
            }
        }
        Ok(last)
    }
}

/// A run of head.sql that can be handed out as it is; none when it needs more. What is said of its task
/// begins at a column of a row of its own or of the same one.
fn plain(session: &Session, run: Row, task: Row, from: usize) -> Result<Option<Ready>> {
    let now = session.now();
    let (waits, open): (bool, bool) = (run.need(6)?, task.need(from + 5)?);
    if !open || waits {
        return Ok(None);
    }
    if let Some(rules) = task.get::<Jsonb>(from + 6)? {
        let rules = Cancellation::stored(&rules.to_text());
        let (enqueued, attempts): (Timestamp, i32) = (task.need(from + 7)?, task.need(from + 9)?);
        if rules.due(enqueued, task.get(from + 8)?, attempts > 1) <= now {
            return Ok(None);
        }
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
        attempt_ends_at: timeout.map(|seconds| now.plus_seconds(seconds)),
    }))
}

/// A row of claim.sql.
fn read(session: &Session, row: Row) -> Result<Claimed> {
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
