//! Removing ended tasks of a plain queue without statements, see [`crate::pg::direct`]; what
//! sql/maintenance/cleanup_tasks.sql does for the others, in the same order.

use std::rc::Rc;

use super::cleanup::Batch;
use crate::error::Result;
use crate::pg::direct::{Access, Change, Key, Layout, Scan, Table, Tid, Which};
use crate::pg::{Session, Timestamp, Uuid};
use crate::queue::QueueName;
use crate::queue::rows::{self, CANCELLED, ENDED, RUNS_OF_TASK, WAITS_OF_TASK};

/// So many tasks beyond the wanted ones are looked at, for those that are passed over.
const MORE: i32 = 64;

mod run {
    crate::layout! {
        "btree (run_id)";
        TASK_ID "task_id" UUID,
        ATTEMPT "attempt" INT4,
        COMPLETED_AT "completed_at" TIMESTAMPTZ,
        FAILED_AT "failed_at" TIMESTAMPTZ,
    }
}

mod task {
    crate::layout! {
        "btree (task_id)";
        TASK_ID "task_id" UUID,
        STATE "state" TEXT,
        CANCELLED_AT "cancelled_at" TIMESTAMPTZ,
    }
}

static CHECKPOINTS: Layout = Layout::with_key("btree (task_id, checkpoint_name)");
static WAITS: Layout = Layout::with_key("");

struct Tables {
    runs: Rc<Table>,
    tasks: Rc<Table>,
    /// The same table again: a search through it goes on while its rows are looked up.
    cancelled: Rc<Table>,
    checkpoints: Rc<Table>,
    waits: Rc<Table>,
}

/// A task that has ended, as an index showed it.
#[derive(Clone, Copy)]
struct Ended {
    task: Uuid,
    at: Timestamp,
    /// The attempt that ended; none of a cancelled task.
    attempt: Option<i32>,
}

/// Removes a batch of tasks: how many, and when the last one looked at had ended. None when a statement
/// must do it.
///
/// # Errors
/// Postgres's own.
pub fn tasks(
    session: &Session,
    queue: &QueueName,
    batch: Batch,
) -> Result<Option<(i32, Option<Timestamp>)>> {
    let open = |prefix, layout, access| rows::open(session, queue, prefix, layout, access);
    let tables = (
        open("r", &run::LAYOUT, Access::Remove)?,
        open("t", &task::LAYOUT, Access::Remove)?,
        open("t", &task::LAYOUT, Access::Read)?,
        open("c", &CHECKPOINTS, Access::Remove)?,
        open("w", &WAITS, Access::Remove)?,
    );
    let (Some(runs), Some(tasks), Some(cancelled), Some(checkpoints), Some(waits)) = tables else {
        return Ok(None);
    };
    let tables = Tables { runs, tasks, cancelled, checkpoints, waits };
    session.with_snapshot(|| {
        let all_there = tables.runs.has(ENDED)?
            && tables.cancelled.has(CANCELLED)?
            && tables.checkpoints.has(Which::PrimaryKey)?
            && tables.runs.has(RUNS_OF_TASK)?
            && tables.waits.has(WAITS_OF_TASK)?;
        if !all_there {
            return Ok(None);
        }
        let until = || [Key::below(1, batch.cutoff)];
        let (ended, cancelled) =
            (tables.runs.scan(ENDED, &until())?, tables.cancelled.scan(CANCELLED, &until())?);
        let (Some(ended), Some(cancelled)) = (ended, cancelled) else { return Ok(None) };
        let mut line =
            Line { tables: &tables, ended, cancelled, next: [None, None], is_begun: false };
        let (mut removed, mut seen, mut last) = (0, 0, None);
        while removed < batch.limit && seen < batch.limit.saturating_add(MORE) {
            session.check_for_interrupts()?;
            let Some(next) = line.next()? else { break };
            last = Some(next.at);
            match remove(&tables, next)? {
                None => {}
                Some(done) => {
                    seen += 1;
                    removed += i32::from(done);
                }
            }
        }
        line.end()?;
        Ok(Some((removed, last)))
    })
}

/// Ends of attempts and cancellations, in their common order.
struct Line<'t> {
    tables: &'t Tables,
    ended: Scan<'t>,
    cancelled: Scan<'t>,
    next: [Option<Ended>; 2],
    is_begun: bool,
}

impl Line<'_> {
    fn next(&mut self) -> Result<Option<Ended>> {
        if !self.is_begun {
            self.is_begun = true;
            self.next = [self.next_end()?, self.next_cancelled()?];
        }
        let [end, cancelled] = self.next;
        let is_end = match (end, cancelled) {
            (Some(end), Some(cancelled)) => end.at <= cancelled.at,
            (end, _) => end.is_some(),
        };
        if is_end {
            self.next[0] = self.next_end()?;
            return Ok(end);
        }
        self.next[1] = if cancelled.is_some() { self.next_cancelled()? } else { None };
        Ok(cancelled)
    }

    fn next_end(&self) -> Result<Option<Ended>> {
        let runs = &self.tables.runs;
        if !self.ended.next()? {
            return Ok(None);
        }
        let at = match runs.get(run::COMPLETED_AT)? {
            Some(at) => at,
            None => runs.need(run::FAILED_AT)?,
        };
        Ok(Some(Ended { task: runs.need(run::TASK_ID)?, at, attempt: runs.get(run::ATTEMPT)? }))
    }

    fn next_cancelled(&self) -> Result<Option<Ended>> {
        let tasks = &self.tables.cancelled;
        while self.cancelled.next()? {
            if tasks.need::<String>(task::STATE)? == "cancelled" {
                let (task, at) = (tasks.need(task::TASK_ID)?, tasks.need(task::CANCELLED_AT)?);
                return Ok(Some(Ended { task, at, attempt: None }));
            }
        }
        Ok(None)
    }

    fn end(self) -> Result<()> {
        self.ended.end()?;
        self.cancelled.end()
    }
}

/// Removes a task with everything of its; false when somebody holds one of the rows, none when the task
/// has not ended with this attempt.
fn remove(tables: &Tables, ended: Ended) -> Result<Option<bool>> {
    let Tables { runs, tasks, checkpoints, waits, .. } = tables;
    let key = || [Key::is(1, ended.task)];
    if tasks.find(&key())? != Some(true) {
        return Ok(None);
    }
    let state = tasks.need::<String>(task::STATE)?;
    let is_its_end = match ended.attempt {
        None => state == "cancelled",
        Some(_) => state == "completed" || state == "failed",
    };
    if !is_its_end {
        return Ok(None);
    }
    let is_later = |runs: &Table| -> Result<bool> {
        let attempt = runs.get::<i32>(run::ATTEMPT)?;
        Ok(ended.attempt.is_some_and(|end| attempt.is_some_and(|attempt| attempt > end)))
    };
    // The end of an earlier attempt is not the task's.
    if ended.attempt.is_some() && any(runs, RUNS_OF_TASK, &key(), is_later)? {
        return Ok(None);
    }
    let mut held = Vec::new();
    for (table, index) in
        [(checkpoints, Which::PrimaryKey), (waits, WAITS_OF_TASK), (runs, RUNS_OF_TASK)]
    {
        if !hold(table, index, &key(), &mut held)? {
            return Ok(Some(false));
        }
    }
    if tasks.remove()? != Change::Done {
        return Ok(Some(false));
    }
    held.into_iter().try_for_each(|(table, row)| table.remove_held(row))?;
    Ok(Some(true))
}

fn any(
    table: &Table,
    index: Which,
    keys: &[Key],
    is_it: impl Fn(&Table) -> Result<bool>,
) -> Result<bool> {
    let Some(scan) = table.scan(index, keys)? else { return Ok(false) };
    let mut found = false;
    while !found && scan.next()? {
        found = is_it(table)?;
    }
    scan.end()?;
    Ok(found)
}

/// Locks the rows that an index has for the keys; false when one cannot be had.
fn hold<'t>(
    table: &'t Rc<Table>,
    index: Which,
    keys: &[Key],
    held: &mut Vec<(&'t Table, Tid)>,
) -> Result<bool> {
    let Some(scan) = table.scan(index, keys)? else { return Ok(false) };
    let mut all = true;
    while all && scan.next()? {
        all = table.lock_to_remove()? == Change::Done;
        held.push((table, table.tid()));
    }
    scan.end()?;
    Ok(all)
}
