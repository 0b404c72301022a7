//! Which version of a workflow is current, and removing versions.

use uuid::Uuid;

use super::bounds::cut;
use super::driver::schedules;
use super::registry::{self, Definition};
use crate::error::{Error, Result};
use crate::params;
use crate::pg::plan::{Global, Own, Statement};
use crate::pg::{Session, lock};

/// Runs that an error names at most.
const NAMED: usize = 5;

static MAKE_CURRENT: Statement = Statement::new(
    "update absurd.workflow_definition
        set registration = (select max(registration) + 1 from absurd.workflow_definition)
      where workflow_name = $1 and workflow_version = $2",
);
static DELETE: Statement = Statement::new(
    "delete from absurd.workflow_definition
      where workflow_name = $1 and ($2 is null or workflow_version = $2)
     returning workflow_version",
);
static OPEN: Statement = Statement::new(
    "select workflow_run_id
       from absurd.workflow_execution
      where workflow_name = $1 and workflow_version = $2 and status in ('pending', 'running')
      order by workflow_run_id
      limit $3",
);

/// Makes a registered version the one that runs start with, and that is in charge of the schedule.
///
/// # Errors
/// P0002 for a workflow or a version that is not registered.
pub fn set_current(session: &Session, name: &str, version: &str) -> Result<()> {
    lock::registering()?;
    let wanted = registry::require(session, name, Some(version))?;
    let current = registry::require(session, name, None)?;
    if current.version == wanted.version {
        return Ok(());
    }
    session.run(&MAKE_CURRENT, &Global, params![name, version])?;
    let Definition { queue, hash, .. } = wanted;
    let program = registry::program(session, name, version, &hash)?;
    schedules::put_in_charge(session, &program, queue.as_deref())
}

/// Removes a version of a workflow, or all of them. Returns how many.
///
/// # Errors
/// P0002 for an unknown one; 55000 naming the open runs of one that is in use.
pub fn delete(session: &Session, name: &str, version: Option<&str>) -> Result<i32> {
    lock::registering()?;
    registry::require(session, name, version)?;
    Ok(session.run(&DELETE, &Global, params![name, version])?.len() as i32)
}

/// A version has been deleted, by whomever.
///
/// # Errors
/// 55000 naming the open runs that need it.
pub fn deleted(session: &Session, name: &str, version: &str) -> Result<()> {
    let values = params![name, version, NAMED as i32 + 1];
    let open = session.run(&OPEN, &Own, values)?;
    let open = open.into_iter().map(|row| row.need(0)).collect::<Result<Vec<Uuid>>>()?;
    if !open.is_empty() {
        let what = format!("Workflow \"{}\" version \"{}\"", cut(name), cut(version));
        return Err(in_use(what, &open));
    }
    schedules::version_deleted(session, name, version)
}

/// The error for something that open runs need.
pub fn in_use(what: String, runs: &[Uuid]) -> Error {
    let mut names: Vec<String> = runs.iter().take(NAMED).map(Uuid::to_string).collect();
    if runs.len() > NAMED {
        names.push("others".to_owned());
    }
    Error::WrongState {
        what,
        rule: format!("is in use by open workflow runs: {}", names.join(", ")),
        hint: Some("Wait for them, or end them with cancel_workflow_run.".into()),
    }
}
