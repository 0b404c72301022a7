//! The lock of a tree: its root's row in `workflow_execution`. Taking it counts a transition, in
//! the same update.

use uuid::Uuid;

use crate::error::{Error, Result};
use crate::params;
use crate::pg::Session;
use crate::pg::plan::{Own, Statement};
use crate::queue::QueueName;

static TAKE: Statement = Statement::new(
    "update absurd.workflow_execution
        set transitions = transitions + 1
      where workflow_run_id = $1
     returning transitions",
);
static FREE: Statement = Statement::new(
    "select from absurd.workflow_execution
      where workflow_run_id = $1 and paused_at is null
        for no key update skip locked",
);
static COUNT: Statement = Statement::new(
    "update absurd.workflow_execution
        set transitions = transitions + $2
      where workflow_run_id = $1",
);
static ROOT: Statement =
    Statement::new("select root_run_id from absurd.workflow_execution where workflow_run_id = $1");

/// Waits for the root and takes it until the transaction ends; returns the transition's number.
///
/// # Errors
/// P0002 when the run is gone; 40001 under a snapshot that is older than the root's last
/// transition.
pub fn take(session: &Session, root: Uuid) -> Result<i64> {
    let found = session.run(&TAKE, &Own, params![root])?.first();
    found.map_or_else(|| Err(gone(root)), |row| row.need(0))
}

static TAKE_OF: Statement = Statement::new(
    "update absurd.workflow_execution root
        set transitions = root.transitions + 1
       from absurd.workflow_execution e
      where e.workflow_run_id = $1 and e.queue_name = $2 and root.workflow_run_id = e.root_run_id
        and root.paused_at is null
     returning root.workflow_run_id, root.transitions",
);

/// As [`take`], the root of a run's tree, with its number; none for a run that the database does
/// not execute in the queue, or whose tree is paused.
pub fn take_of(session: &Session, queue: &QueueName, run: Uuid) -> Result<Option<(Uuid, i64)>> {
    let found = session.run(&TAKE_OF, &Own, params![run, queue.as_str()])?.first();
    found.map(|row| Ok((row.need(0)?, row.need(1)?))).transpose()
}

/// As [`take`], unless somebody else has it, or it is paused; none then.
pub fn try_take(session: &Session, root: Uuid) -> Result<Option<i64>> {
    if session.run(&FREE, &Own, params![root])?.is_empty() {
        return Ok(None);
    }
    take(session, root).map(Some)
}

static TAKE_GOING: Statement = Statement::new(
    "update absurd.workflow_execution
        set transitions = transitions + 1
      where workflow_run_id = $1 and paused_at is null
     returning transitions",
);

/// As [`take`], unless the tree is paused, or gone; none then.
pub fn wait_going(session: &Session, root: Uuid) -> Result<Option<i64>> {
    let found = session.run(&TAKE_GOING, &Own, params![root])?.first();
    found.map(|row| row.need(0)).transpose()
}

/// As [`take`], for a call that moves the tree.
///
/// # Errors
/// As [`take`]; 55000 for one that is paused.
pub fn take_going(session: &Session, root: Uuid) -> Result<i64> {
    if let Some(transition) = wait_going(session, root)? {
        return Ok(transition);
    }
    // One that is gone is told so.
    take(session, root)?;
    Err(Error::WrongState {
        what: format!("Workflow run \"{root}\""),
        rule: "is paused".to_owned(),
        hint: Some(format!("Let it go on: select absurd.resume_workflow_run('{root}').").into()),
    })
}

/// Counts transitions beyond the one that taking the lock counted.
pub fn count(session: &Session, root: Uuid, transitions: i64) -> Result<()> {
    session.run(&COUNT, &Own, params![root, transitions])?;
    Ok(())
}

/// The root of a run's tree; none for a run that the database does not execute.
pub fn root_of(session: &Session, run: Uuid) -> Result<Option<Uuid>> {
    session.run(&ROOT, &Own, params![run])?.first().map(|row| row.need(0)).transpose()
}

fn gone(root: Uuid) -> Error {
    Error::NotFound { what: "Workflow run", id: root.to_string(), queue: None }
}
