//! The verbs on tasks that steps of executed runs follow: the tree's root is locked first, then the
//! task moves as any other, then its steps.

use uuid::Uuid;

use super::view::View;
use super::{Drive, Shared, direct, due, inbox, load, lock, rows, turn};
use crate::error::{Error, Result};
use crate::json::MAX_LEVELS;
use crate::params;
use crate::pg::plan::{Own, Statement};
use crate::pg::{Jsonb, Session, Timestamp, ereport};
use crate::queue::QueueName;
use crate::task::followed::{self as task, Attempt};
use crate::task::{cancel, lease, lost_lease};
use crate::workflow::json::Json;
use crate::workflow::records::StepKey;
use crate::workflow::stimulus::Stimulus;

/// A task that steps follow, with its own tree, if it has one, held.
struct Held<'s> {
    task: crate::pg::Uuid,
    attempts: i32,
    /// Whether the run that the call is about was a worker's when the call began.
    was_running: bool,
    attempt_ends_at: Option<Timestamp>,
    drive: Option<Drive<'s>>,
}

/// Takes the tree of a run's task; none when no step follows it.
fn take<'s>(
    session: &'s Session,
    queue: &QueueName,
    run: crate::pg::Uuid,
    shared: Option<&Shared>,
) -> Result<Option<Held<'s>>> {
    let found = task::task_of(session, queue, run)?;
    let Some(task) = found.filter(|task| task.is_followed) else { return Ok(None) };
    let drive = drive(session, queue, task.workflow_run)?.map(|drive| drive.sharing(shared));
    let task::Task { id, attempts, is_running, attempt_ends_at, .. } = task;
    Ok(Some(Held { task: id, attempts, was_running: is_running, attempt_ends_at, drive }))
}

/// The tree of a workflow run that works in the queue, taken. A row of a queue's table may name any
/// workflow run: only those of this queue are held for who has rights on it.
fn drive<'s>(
    session: &'s Session,
    queue: &QueueName,
    run: Option<Uuid>,
) -> Result<Option<Drive<'s>>> {
    let Some(run) = run else { return Ok(None) };
    let taken = match direct::take_root(session, queue, run)? {
        Some(taken) => taken,
        None => lock::take_of(session, queue, run)?,
    };
    Ok(taken.map(|(root, transition)| Drive::new(session, root, transition)))
}

fn too_late(run: crate::pg::Uuid) -> Result<()> {
    let what = "came too late: a deadline, or the time of a step or an attempt, had passed";
    ereport::warn_of(&format!("what was told of run \"{run}\" {what}"))
}

impl Held<'_> {
    /// What a worker tells comes after all that was due before, whoever looks (HIGHWAY 14.5).
    /// Returns the held tree to go on with; none when the worker has come too late, which a WARNING
    /// tells it: an error would undo what has come to pass.
    fn in_time(
        mut self,
        session: &Session,
        queue: &QueueName,
        run: crate::pg::Uuid,
    ) -> Result<Option<Self>> {
        if !self.was_running {
            // In a batch an element before this one may have brought the tree here.
            return match self.drive.take_if(|drive| drive.shared.borrow().has_settled) {
                Some(drive) => {
                    drive.finish()?;
                    too_late(run).map(|()| None)
                }
                None => Ok(Some(self)),
            };
        }
        let over = self.attempt_ends_at.filter(|at| *at <= session.now());
        let due = self.drive.as_mut().map(due::next).transpose()?.flatten();
        let until = over.unwrap_or(session.now());
        let mut fired = 0;
        if due.is_some_and(|due| due <= until) {
            fired = self.drive.as_mut().map_or(Ok(0), |drive| drive.settle(until))?;
            if let Some(drive) = self.drive.as_ref().filter(|drive| drive.is_part && fired > 0) {
                drive.shared.borrow_mut().has_settled = true;
            }
        }
        let attempt = match over {
            Some(_) => task::overrun(session, queue, run)?,
            None => None,
        };
        if let Some(attempt) = attempt {
            let attempt = Attempt { ended_at: over, ..attempt };
            self.tell(
                session,
                queue,
                |step| failed(step, &attempt),
                |root| put(session, queue, &attempt, root),
            )?;
        } else if fired > 0 && !task::is_running(session, queue, run)? {
            if let Some(drive) = self.drive {
                drive.finish()?;
            }
        } else {
            if let Some(drive) = self.drive.take_if(|drive| drive.is_cut) {
                // More was due than a call fires: what the worker tells is left to take its place
                // in the order of time.
                drive.finish()?;
            }
            return Ok(Some(self));
        }
        too_late(run).map(|()| None)
    }

    /// Tells the steps of the held tree what `stimulus` makes of it, and those of other trees by
    /// `others`, which is given the held root; then everything goes on.
    fn tell(
        self,
        session: &Session,
        queue: &QueueName,
        stimulus: impl Fn(StepKey) -> Stimulus,
        others: impl FnOnce(Option<Uuid>) -> Result<std::collections::BTreeSet<Uuid>>,
    ) -> Result<()> {
        let Some(mut drive) = self.drive else {
            return turn::try_roots(session, others(None)?);
        };
        let task = Uuid::from_bytes(*self.task.as_bytes());
        let followers = load::followers(drive.session, queue, task, drive.root)?;
        for (view, steps) in followers.found {
            for step in steps {
                drive.push(view.run.id, stimulus(step));
            }
            drive.keep(view);
        }
        if followers.others {
            drive.tell(others(Some(drive.root))?);
        }
        drive.finish().map(drop)
    }
}

static ROOTS: Statement = Statement::new(
    "select workflow_run_id
       from absurd.workflow_execution
      where workflow_run_id in (
            select root_run_id from absurd.workflow_execution
             where workflow_run_id = any ($1) and queue_name = $2)
      order by workflow_run_id
        for no key update",
);

/// Takes the trees of some workflow runs of a queue, in one order.
///
/// # Errors
/// 40001 as for one of them.
pub fn take_all(session: &Session, queue: &QueueName, runs: Vec<Option<Uuid>>) -> Result<()> {
    session.run(&ROOTS, &Own, params![runs, queue.as_str()]).map(drop)
}

/// Completes a run whose task steps follow, and moves their runs on. False when none do. What is
/// `shared` with calls for other trees is left to the last.
///
/// # Errors
/// As complete_run for any task; 22023 for a payload of more than `MAX_LEVELS` levels.
pub fn complete(
    session: &Session,
    queue: &QueueName,
    run: crate::pg::Uuid,
    payload: Option<Jsonb>,
    shared: Option<&Shared>,
) -> Result<bool> {
    let Some(held) = take(session, queue, run, shared)? else { return Ok(false) };
    let result = payload.map_or_else(Json::null, rows::of_jsonb);
    result.check("p_state, the result of a workflow's step,", MAX_LEVELS)?;
    let Some(held) = held.in_time(session, queue, run)? else { return Ok(true) };
    if !task::complete(session, queue, run, payload)? {
        return late(session, queue, run).map(|()| true);
    }
    let attempts = lost_lease::attempts(session, queue, held.task, held.attempts)?;
    let (ended, attempts) = (vec![held.task], natural(attempts));
    held.tell(
        session,
        queue,
        |step| Stimulus::TaskCompleted { step, result: result.clone(), attempts },
        |root| inbox::put_ended(session, queue, ended, root, session.now()),
    )?;
    Ok(true)
}

/// Fails a run whose task steps follow, and moves their runs on.
///
/// # Errors
/// As fail_run for any task; 22023 for a reason of more than `MAX_LEVELS` levels.
pub fn fail(
    session: &Session,
    queue: &QueueName,
    run: crate::pg::Uuid,
    (reason, retry_at): (Option<Jsonb>, Option<Timestamp>),
    shared: Option<&Shared>,
) -> Result<()> {
    let Some(held) = take(session, queue, run, shared)? else {
        return Err(lease::refusal(session, queue, run)?);
    };
    if let Some(reason) = reason {
        rows::of_jsonb(reason).check("p_reason, the error of a workflow's step,", MAX_LEVELS)?;
    }
    let Some(held) = held.in_time(session, queue, run)? else { return Ok(()) };
    let Some(attempt) = task::fail(session, queue, run, reason, retry_at)? else {
        return late(session, queue, run);
    };
    held.tell(
        session,
        queue,
        |step| failed(step, &attempt),
        |root| put(session, queue, &attempt, root),
    )
}

/// The task and its steps have been told of a late worker's outcome already. Where the document
/// says to leave such workers alone, nothing happens; the others are told why.
fn late(session: &Session, queue: &QueueName, run: crate::pg::Uuid) -> Result<()> {
    match task::is_left_alone(session, queue, run)? {
        true => Ok(()),
        false => Err(lease::refusal(session, queue, run)?),
    }
}

fn natural(number: i32) -> u32 {
    u32::try_from(number).unwrap_or_default()
}

fn failed(step: StepKey, attempt: &Attempt) -> Stimulus {
    if attempt.cancelled {
        return Stimulus::TaskCancelled { step };
    }
    Stimulus::AttemptFailed {
        step,
        error: attempt.reason.map_or_else(Json::null, rows::of_jsonb),
        attempts: natural(attempt.attempt),
        last: attempt.last,
    }
}

fn put(
    session: &Session,
    queue: &QueueName,
    attempt: &Attempt,
    except: Option<Uuid>,
) -> Result<std::collections::BTreeSet<Uuid>> {
    match attempt.last {
        true => {
            let at = attempt.ended_at.unwrap_or(session.now());
            inbox::put_ended(session, queue, vec![attempt.task], except, at)
        }
        false => inbox::put_attempt(session, queue, attempt, except),
    }
}

/// What a claim has failed and cancelled on its way: tells the steps that follow, without waiting.
pub fn swept(
    session: &Session,
    queue: &QueueName,
    attempts: &[Attempt],
    ended: Vec<crate::pg::Uuid>,
) -> Result<()> {
    for attempt in attempts {
        put(session, queue, attempt, None)?;
    }
    inbox::put_ended(session, queue, ended, None, session.now()).map(drop)
}

static WORKFLOW_RUN: Statement =
    Statement::new("select workflow_run_id from {t} where task_id = $1");

/// Takes the tree of a task's workflow run, if the database executes one.
fn drive_of<'s>(
    session: &'s Session,
    queue: &QueueName,
    task: crate::pg::Uuid,
) -> Result<Option<Drive<'s>>> {
    match session.run(&WORKFLOW_RUN, queue, params![task])?.first() {
        Some(row) => drive(session, queue, row.get(0)?),
        None => Ok(None),
    }
}

/// Cancels a task that steps follow; says whether this call did it.
///
/// # Errors
/// Postgres's own.
pub fn cancel(session: &Session, queue: &QueueName, task: crate::pg::Uuid) -> Result<bool> {
    let drive = drive_of(session, queue, task)?;
    if cancel::many(session, queue, vec![task])?.count == 0 {
        return Ok(false);
    }
    let held = Held { task, attempts: 0, was_running: false, attempt_ends_at: None, drive };
    held.tell(
        session,
        queue,
        |step| Stimulus::TaskCancelled { step },
        |root| inbox::put_ended(session, queue, vec![task], root, session.now()),
    )?;
    Ok(true)
}

/// Locks the tree of a task's workflow run, if the database executes one.
pub fn hold(session: &Session, queue: &QueueName, task: crate::pg::Uuid) -> Result<()> {
    drive_of(session, queue, task).map(drop)
}

/// Before a failed task is retried in place.
///
/// # Errors
/// 55000 when a step has taken note of its failure: what came of that is not undone.
pub fn check_retry(session: &Session, queue: &QueueName, task: crate::pg::Uuid) -> Result<()> {
    static NOTED: Statement = Statement::new(
        "select s.workflow_run_id
           from absurd.workflow_step s
           join absurd.workflow_execution e on e.workflow_run_id = s.workflow_run_id
          where s.task_id = $1 and s.state not in ('pending', 'running') and e.queue_name = $2
          limit 1",
    );
    let values = params![task, queue.as_str()];
    let Some(row) = session.run(&NOTED, &Own, values)?.first() else { return Ok(()) };
    let run: Uuid = row.need(0)?;
    Err(Error::WrongState {
        what: format!("Task \"{task}\""),
        rule: format!(
            "cannot be retried in place: workflow run \"{run}\" has gone on from its failure"
        ),
        hint: Some(format!("Retry the run: select absurd.retry_workflow_run('{run}').").into()),
    })
}

static OUTCOME: Statement = Statement::new(
    "select t.state, t.completed_payload, r.failure_reason, t.attempts
       from {t} t
       left join {r} r on r.run_id = t.last_attempt_run
      where t.task_id = $1",
);

/// What a step's task has come to; none while it is at work. A task that is gone was cancelled.
pub fn outcome(view: &View, step: StepKey, task: Uuid) -> Result<Option<Stimulus>> {
    let Some(row) = view.session.run(&OUTCOME, &view.queue, params![task])?.first() else {
        return Ok(Some(Stimulus::TaskCancelled { step }));
    };
    let json = |column| -> Result<Json> {
        let value = row.get::<Jsonb>(column)?;
        Ok(value.map_or_else(Json::null, rows::of_jsonb))
    };
    let id = crate::pg::Uuid::from_bytes(task.into_bytes());
    let attempts = lost_lease::attempts(view.session, &view.queue, id, row.need(3)?)?;
    let attempts = natural(attempts);
    Ok(match row.need::<String>(0)?.as_str() {
        "completed" => Some(Stimulus::TaskCompleted { step, result: json(1)?, attempts }),
        "failed" => Some(Stimulus::AttemptFailed { step, error: json(2)?, attempts, last: true }),
        "cancelled" => Some(Stimulus::TaskCancelled { step }),
        _ => None,
    })
}
