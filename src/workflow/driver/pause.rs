//! Trees that an operator holds up: nothing of them moves until they are resumed. What happens
//! meanwhile is left for them, as if somebody else held the tree.

use uuid::Uuid;

use super::{Drive, lock, start};
use crate::error::{Error, Result};
use crate::params;
use crate::pg::Session;
use crate::pg::plan::{Own, Statement};
use crate::queue::access;
use crate::workflow::run::not_found;

static PAUSE: Statement = Statement::new(
    "update absurd.workflow_execution set paused_at = coalesce(paused_at, $2)
      where workflow_run_id = $1 and status in ('pending', 'running')
     returning paused_at",
);
static RESUME: Statement = Statement::new(
    "update absurd.workflow_execution set paused_at = null
      where workflow_run_id = $1 and paused_at is not null
     returning status",
);

/// Takes the root of a tree of which a run is the root.
fn take(session: &Session, run: Uuid, what: &str) -> Result<i64> {
    start::check_rights(session, run, &access::OPERATE)?;
    let id = crate::pg::Uuid::from_bytes(run.into_bytes());
    let root = lock::root_of(session, run)?.ok_or_else(|| not_found(id))?;
    if root != run {
        return Err(wrong(
            run,
            format!("cannot be {what}: it is a child in the tree of \"{root}\""),
        ));
    }
    let transition = lock::take(session, root)?;
    start::check_row(session, run)?;
    Ok(transition)
}

fn wrong(run: Uuid, rule: String) -> Error {
    Error::WrongState { what: format!("Workflow run \"{run}\""), rule, hint: None }
}

/// Holds a tree up. Again changes nothing.
///
/// # Errors
/// 42501 for a caller who may not; P0002 for an unknown run; 55000 for a child, or a run that has
/// ended.
pub fn pause(session: &Session, run: Uuid) -> Result<()> {
    take(session, run, "paused")?;
    match session.run(&PAUSE, &Own, params![run, session.now()])?.is_empty() {
        true => Err(wrong(run, "cannot be paused: it has ended".to_owned())),
        false => Ok(()),
    }
}

/// Lets a tree go on, with what has happened and come due meanwhile, in the order of time.
///
/// # Errors
/// As [`pause`]; 55000 for a run that is not paused.
pub fn resume(session: &Session, run: Uuid) -> Result<()> {
    let transition = take(session, run, "resumed")?;
    if session.run(&RESUME, &Own, params![run])?.is_empty() {
        return Err(wrong(run, "cannot be resumed: it is not paused".to_owned()));
    }
    let mut drive = Drive::new(session, run, transition);
    drive.settle(session.now())?;
    drive.finish().map(drop)
}
