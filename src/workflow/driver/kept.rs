//! How steps ended before their run was retried.

use uuid::Uuid;

use super::rows;
use crate::error::Result;
use crate::params;
use crate::pg::Session;
use crate::pg::plan::{Own, Statement};
use crate::workflow::json::Json;
use crate::workflow::program::Program;
use crate::workflow::records::KeptRec;
use crate::workflow::step_state::StepState;

static KEPT: Statement = Statement::new(
    "select state, selected, task_id, attempts, result, error, started_at, finished_at
       from absurd.workflow_kept
      where workflow_run_id = $1 and path = $2",
);
static GIVE: Statement = Statement::new(
    "insert into absurd.workflow_kept
         (workflow_run_id, path, state, attempts, result, finished_at, is_given)
     values ($1, $2, 'completed', 0, $3::jsonb, $4, true)
     on conflict (workflow_run_id, path) do update
        set state = excluded.state, selected = null, task_id = null, attempts = 0,
            result = excluded.result, error = null, started_at = null,
            finished_at = excluded.finished_at, is_given = true",
);
static FORGET: Statement =
    Statement::new("delete from absurd.workflow_kept where workflow_run_id = $1");

/// What is kept of the step with a path.
///
/// # Errors
/// XX001 for a record that does not fit its document.
pub fn of(session: &Session, program: &Program, run: Uuid, path: &str) -> Result<Option<KeptRec>> {
    let Some(row) = session.run(&KEPT, &Own, params![run, path])?.first() else { return Ok(None) };
    let selected = rows::optional_number(&row, 1)?.map(|node| rows::node(program, node));
    Ok(Some(KeptRec {
        state: StepState::parse(&row.need::<String>(0)?)?,
        selected: selected.transpose()?,
        task: row.get(2)?,
        attempts: rows::number(&row, 3)?,
        result: rows::json(&row, 4)?,
        error: rows::json(&row, 5)?,
        started_at: row.get(6)?,
        finished_at: row.get(7)?,
    }))
}

/// Has a step of an ended run complete with this result when the run is retried.
///
/// # Errors
/// Postgres's own.
pub fn give(session: &Session, run: Uuid, path: &str, result: &Json) -> Result<()> {
    session.run(&GIVE, &Own, params![run, path, result.text(), session.now()]).map(drop)
}

/// Forgets what is kept of a run, which has completed.
///
/// # Errors
/// Postgres's own.
pub fn forget(session: &Session, run: Uuid) -> Result<()> {
    session.run(&FORGET, &Own, params![run]).map(drop)
}
