//! What goes with a run that is deleted.

use uuid::Uuid;

use super::versions;
use crate::error::Result;
use crate::params;
use crate::pg::Session;
use crate::pg::plan::{Own, Statement};

macro_rules! delete {
    ($table:literal) => {
        Statement::new(concat!("delete from absurd.", $table, " where workflow_run_id = $1"))
    };
}

static TABLES: [Statement; 6] = [
    delete!("workflow_scope"),
    delete!("workflow_step"),
    delete!("workflow_value"),
    delete!("workflow_timer"),
    delete!("workflow_wait"),
    delete!("workflow_items"),
];
static KEPT: Statement = delete!("workflow_kept");
/// With the root's, all of its tree's: they are found by it.
static STIMULI: Statement = Statement::new(
    "delete from absurd.workflow_stimulus
      where root_run_id = $2 and (workflow_run_id = $1 or $1 = $2)",
);

static OPEN_CHILDREN: Statement = Statement::new(
    "select workflow_run_id
       from absurd.workflow_execution
      where parent_run_id = $1 and status in ('pending', 'running')
      order by workflow_run_id
      limit 6",
);

/// Removes everything that a run of a tree consisted of.
///
/// # Errors
/// 55000 naming children that are open: nobody could move them on, or end them.
pub fn run(session: &Session, run: Uuid, root: Uuid) -> Result<()> {
    let open = session.run(&OPEN_CHILDREN, &Own, params![run])?;
    let open = open.into_iter().map(|row| row.need(0)).collect::<Result<Vec<Uuid>>>()?;
    if !open.is_empty() {
        return Err(versions::in_use(format!("Workflow run \"{run}\""), &open));
    }
    session.run(&STIMULI, &Own, params![run, root])?;
    session.run(&KEPT, &Own, params![run])?;
    records(session, run)
}

/// Removes the records of a run, but for what is kept of it for a retry.
///
/// # Errors
/// Postgres's own.
pub fn records(session: &Session, run: Uuid) -> Result<()> {
    TABLES.iter().try_for_each(|delete| session.run(delete, &Own, params![run]).map(drop))
}
