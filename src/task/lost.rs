//! Runs at which nothing is to be done any longer: those whose task is gone, and those whose task
//! has ended without them. Clients that write rows by hand make them.

use super::budget::Budget;
use super::stuck::{self, Kind, Known};
use crate::error::Result;
use crate::params;
use crate::pg::{Session, Statement, Uuid};
use crate::queue::QueueName;

static REMOVE: Statement = Statement::new(include_str!("../../sql/task/remove_lost.sql"));
static CLOSE: Statement = Statement::new(include_str!("../../sql/task/close_ended.sql"));
/// Tasks whose rule has come due and that stand as dealt with, though they are open.
static REARM: Statement = Statement::new(
    "with held as materialized (
        select task_id from {t}
         where task_id = any ($1) and cancel_done is not null
           and state in ('pending', 'running', 'sleeping')
           for no key update skip locked
     )
     update {t} t set cancel_done = null from held where t.task_id = held.task_id",
);

/// Rows that stand in the line and cannot be handed out.
#[derive(Default)]
pub struct Passed {
    /// Runs whose task is gone.
    pub lost: Vec<Uuid>,
    /// Runs whose task has ended.
    pub ended: Vec<Uuid>,
    /// Tasks that are due for their cancellation and that no sweep would come upon.
    pub unlisted: Vec<Uuid>,
}

/// Removes runs whose task is gone, with their waits. Returns whether all are.
///
/// # Errors
/// Postgres's own.
pub fn remove(session: &Session, queue: &QueueName, runs: Vec<Uuid>) -> Result<bool> {
    let count = runs.len();
    let tasks = queue.relation("t", "");
    Ok(session.run(&REMOVE, queue, params![runs, tasks.as_str()])?.len() == count)
}

impl Passed {
    pub fn extend(&mut self, more: Self) {
        self.lost.extend(more.lost);
        self.ended.extend(more.ended);
        self.unlisted.extend(more.unlisted);
    }

    /// Clears away what a claim has come upon. What fails is set aside; a caller without the right
    /// to it leaves it.
    ///
    /// # Errors
    /// Those that end the statement.
    pub fn clear(self, session: &Session, queue: &QueueName, budget: &Budget) -> Result<()> {
        let Self { lost, ended, unlisted } = self;
        if !lost.is_empty() || !ended.is_empty() {
            let stuck = Known::of(session, queue.as_str(), Kind::Run)?;
            let remove = |runs: Vec<Uuid>| remove(session, queue, runs);
            clear(session, queue, &stuck, lost, budget, remove)?;
            let close = |runs: Vec<Uuid>| {
                let count = runs.len();
                Ok(session.run(&CLOSE, queue, params![runs])?.len() == count)
            };
            clear(session, queue, &stuck, ended, budget, close)?;
        }
        if !unlisted.is_empty() {
            budget.work_off(unlisted.len());
            session.run(&REARM, queue, params![unlisted])?;
        }
        Ok(())
    }
}

/// Tries again what has failed before, as far as it is still to be done.
///
/// # Errors
/// Those that end the statement.
pub fn try_again(session: &Session, queue: &QueueName, budget: &Budget) -> Result<()> {
    let stuck = Known::of(session, queue.as_str(), Kind::Run)?;
    let runs: Vec<Uuid> = stuck.again().take(budget.left() as usize).collect();
    let work = |runs: Vec<Uuid>| {
        remove(session, queue, runs.clone())?;
        session.run(&CLOSE, queue, params![runs]).map(|_| true)
    };
    clear(session, queue, &stuck, runs, budget, work)
}

fn clear(
    session: &Session,
    queue: &QueueName,
    stuck: &Known,
    mut runs: Vec<Uuid>,
    budget: &Budget,
    work: impl Fn(Vec<Uuid>) -> Result<bool>,
) -> Result<()> {
    runs.retain(|run| !stuck.is_aside(*run));
    if runs.is_empty() {
        return Ok(());
    }
    let done = match session.attempt(|| work(runs.clone()))? {
        Ok(_) => runs,
        Err(error) if stuck::ends_call(&error) => return Err(error),
        Err(_) => {
            let mut done = Vec::new();
            for run in runs {
                match session.attempt(|| work(vec![run]))? {
                    Ok(_) => done.push(run),
                    Err(error) if stuck::ends_call(&error) => return Err(error),
                    Err(error) if stuck::is_denied(&error) => {}
                    Err(error) if stuck::is_passing(&error) => {}
                    Err(error) => {
                        stuck::set_aside_aloud(session, queue.as_str(), Kind::Run, run, error)?;
                    }
                }
            }
            done
        }
    };
    budget.work_off(done.len());
    let again = done.into_iter().filter(|run| stuck.is_again(*run)).collect();
    stuck::remove(session, queue.as_str(), Kind::Run, again)
}
