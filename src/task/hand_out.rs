//! Handing out ready runs.
//!
//! Nearly always the head of the line can be taken as it is: one statement finds and locks it, another
//! takes it, both short. What needs more, a task that has ended or whose rule came due unseen, a run that
//! a timeout woke, is left to one long statement that knows all of it and costs several times as much,
//! most of that before it has read a row: its many parts are made ready each time.

use super::options::Cancellation;
use crate::error::Result;
use crate::params;
use crate::pg::{Jsonb, Row, Session, Statement, Timestamp, Uuid};
use crate::queue::QueueName;

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
static TAKE: Statement = Statement::new(include_str!("../../sql/task/take.sql"));
static TAKE_ONE: Statement = Statement::new(include_str!("../../sql/task/take_one.sql"));
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

/// What came of handing out runs of one priority.
pub struct Handed {
    /// Blocks looked at to find them.
    pub blocks: i64,
    /// When the last of them became ready.
    pub last: Option<Timestamp>,
}

impl Offer<'_> {
    /// Hands out ready runs of one priority, oldest first, from those on that became ready at `since`.
    ///
    /// # Errors
    /// 42P01 for an unknown queue.
    pub fn hand_out(
        &self,
        session: &Session,
        queue: &QueueName,
        (priority, since): (i16, Timestamp),
        claimed: &mut Vec<Claimed>,
    ) -> Result<Handed> {
        let wanted = self.quantity - claimed.len() as i32;
        let began = session.blocks_looked_at();
        let head = session.run(&HEAD, queue, params![session.now(), wanted, priority, since])?;
        let mut handed = Handed { blocks: session.blocks_looked_at() - began, last: None };
        let mut ready = Vec::with_capacity(head.len());
        for row in head {
            match plain(session, row)? {
                Some(run) => ready.push(run),
                None => {
                    handed.last = self.pick(session, queue, (priority, since), claimed)?;
                    return Ok(handed);
                }
            }
            handed.last = row.get(17)?;
        }
        self.take(session, queue, &ready)?;
        claimed.extend(ready.into_iter().map(|run| run.claimed));
        Ok(handed)
    }

    fn take(&self, session: &Session, queue: &QueueName, ready: &[Ready]) -> Result<()> {
        let now = session.now();
        match ready {
            [] => Ok(()),
            [run] => {
                let Claimed { run_id, task_id, .. } = run.claimed;
                let (ends_at, worker, until) = (run.attempt_ends_at, self.worker, self.until);
                let values = params![run_id, task_id, ends_at, now, worker, until];
                session.run(&TAKE_ONE, queue, values).map(drop)
            }
            runs => {
                let values = params![
                    runs.iter().map(|run| run.claimed.run_id).collect::<Vec<_>>(),
                    runs.iter().map(|run| run.claimed.task_id).collect::<Vec<_>>(),
                    runs.iter().map(|run| run.attempt_ends_at).collect::<Vec<_>>(),
                    now,
                    self.worker,
                    self.until,
                ];
                session.run(&TAKE, queue, values).map(drop)
            }
        }
    }

    /// The same, whatever stands at the head of the line: first as it comes, then, when something
    /// there cannot be handed out, passing over such rows.
    fn pick(
        &self,
        session: &Session,
        queue: &QueueName,
        (priority, since): (i16, Timestamp),
        claimed: &mut Vec<Claimed>,
    ) -> Result<Option<Timestamp>> {
        let mut last = None;
        for pass_over in [false, true] {
            let wanted = self.quantity - claimed.len() as i32;
            let (now, worker, until) = (session.now(), self.worker, self.until);
            let values = params![now, wanted, worker, until, pass_over, priority, since];
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

/// A row of head.sql that can be handed out as it is; none when it needs more.
fn plain(session: &Session, row: Row) -> Result<Option<Ready>> {
    let now = session.now();
    let (open, waits): (bool, bool) = (row.need(10)?, row.need(16)?);
    if !open || waits {
        return Ok(None);
    }
    if let Some(rules) = row.get::<Jsonb>(11)? {
        let rules = Cancellation::stored(&rules.to_text());
        let (enqueued, attempts): (Timestamp, i32) = (row.need(12)?, row.need(14)?);
        if rules.due(enqueued, row.get(13)?, attempts > 1) <= now {
            return Ok(None);
        }
    }
    let timeout: Option<f64> = row.get(15)?;
    Ok(Some(Ready {
        claimed: read(session, row)?,
        attempt_ends_at: timeout.map(|seconds| now.plus_seconds(seconds)),
    }))
}

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
