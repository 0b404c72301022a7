//! What goes with a run that is deleted.

use uuid::Uuid;

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
    Statement::new(
        "delete from absurd.workflow_stimulus where root_run_id = $1 or workflow_run_id = $1",
    ),
];

/// Removes everything that a run consisted of.
pub fn run(session: &Session, run: Uuid) -> Result<()> {
    for statement in &TABLES {
        session.run(statement, &Own, params![run])?;
    }
    Ok(())
}
