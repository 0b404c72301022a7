//! The bound on a workflow's active runs, `max_active_runs`.
//!
//! It binds runs that ask to respect it. Such a run waits as `pending` while as many runs of its
//! workflow are running as the bound allows, and starts in the order of creation. Who decides holds
//! the workflow's row in `workflow_schedule`. A run that ends tells the oldest that waits; that one
//! also looks by itself now and then, because two that meet may not see each other.

use uuid::Uuid;

use super::rows::timer_text;
use super::view::View;
use super::{Drive, inbox};
use crate::error::Result;
use crate::params;
use crate::pg::Session;
use crate::pg::plan::{Own, Statement};
use crate::workflow::records::{RunStatus, TimerKind};
use crate::workflow::stimulus::Stimulus;

/// Seconds until the oldest waiting run looks again.
const LOOK_AGAIN: f64 = 1.0;

static HOLD: Statement =
    Statement::new("select from absurd.workflow_schedule where workflow_name = $1 for update");
static RUNNING: Statement = Statement::new(
    "select count(*)
       from absurd.workflow_execution
      where workflow_name = $1 and status = 'running' and parent_run_id is null",
);
static UNFINISHED: Statement = Statement::new(
    "select count(*)
       from absurd.workflow_execution
      where workflow_name = $1 and status in ('pending', 'running') and parent_run_id is null",
);
static WAITING: Statement = Statement::new(
    "select workflow_run_id, queue_name
       from absurd.workflow_execution
      where workflow_name = $1 and status = 'pending' and parent_run_id is null and bounded
        and workflow_run_id <> $2 and paused_at is null
      order by workflow_run_id
      limit 1",
);
static ARM: Statement = Statement::new(
    "insert into absurd.workflow_timer
         (workflow_run_id, scope, node, root_run_id, queue_name, kind, due_at)
     values ($1, -1, -1, $1, $2, $3, $4)
     on conflict (workflow_run_id, scope, node) do update
        set kind = excluded.kind, due_at = excluded.due_at",
);

/// Keeps other decisions about a workflow's runs out until the transaction ends.
pub fn hold(session: &Session, workflow: &str) -> Result<()> {
    session.run(&HOLD, &Own, params![workflow])?;
    Ok(())
}

/// How many root runs of a workflow are running.
pub fn running(session: &Session, workflow: &str) -> Result<i64> {
    session.run(&RUNNING, &Own, params![workflow])?.first().map_or(Ok(0), |row| row.need(0))
}

/// How many root runs of a workflow have not ended.
pub fn unfinished(session: &Session, workflow: &str) -> Result<i64> {
    session.run(&UNFINISHED, &Own, params![workflow])?.first().map_or(Ok(0), |row| row.need(0))
}

/// The oldest waiting run of a workflow but for one, with its queue.
pub fn waiting(session: &Session, workflow: &str, but: Uuid) -> Result<Option<(Uuid, String)>> {
    let found = session.run(&WAITING, &Own, params![workflow, but])?.first();
    found.map(|row| Ok((row.need(0)?, row.need(1)?))).transpose()
}

/// Lets a waiting run look again in a moment.
pub fn arm(session: &Session, run: Uuid, queue: &str) -> Result<()> {
    let due = session.now().plus_seconds(LOOK_AGAIN);
    session.run(&ARM, &Own, params![run, queue, timer_text(TimerKind::Admit), due])?;
    Ok(())
}

/// Whether a new run, not counted yet, may start at once. One that may not waits in line.
pub fn may_start(session: &Session, workflow: &str, new: Uuid, bound: u32) -> Result<bool> {
    Ok(waiting(session, workflow, new)?.is_none() && running(session, workflow)? < i64::from(bound))
}

/// A waiting run looks whether it is its turn: it starts, or as the first in line looks again
/// later.
pub fn look(drive: &mut Drive, run: Uuid) -> Result<()> {
    let session = drive.session;
    let view = drive.view(run)?;
    if view.run.status != RunStatus::Pending {
        return Ok(());
    }
    let (name, queue) = (view.program.name.clone(), view.run.queue.clone());
    let bound = i64::from(view.program.max_active_runs);
    hold(session, &name)?;
    let next = waiting(session, &name, run)?;
    if next.as_ref().is_some_and(|(other, _)| *other < run) {
        // The first in line looks for all.
        return Ok(());
    }
    if running(session, &name)? >= bound {
        return arm(session, run, &queue);
    }
    drive.push(run, Stimulus::Start);
    if let Some((next, queue)) = next {
        inbox::put_admit(session, next, &queue)?;
        drive.tell([next]);
    }
    Ok(())
}

/// A root run has ended: the first in line is told.
pub fn slot_freed(drive: &mut Drive, view: &View) -> Result<()> {
    let session = drive.session;
    let name = &view.program.name;
    if view.run.started_at.is_none() {
        // It was in line itself: whoever queued up behind it must be seen.
        hold(session, name)?;
    }
    if let Some((next, queue)) = waiting(session, name, view.run.id)? {
        inbox::put_admit(session, next, &queue)?;
        drive.tell([next]);
    }
    Ok(())
}
