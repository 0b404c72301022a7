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
use crate::workflow::retrace::Place;
use crate::workflow::step_state::StepState;

static KEPT: Statement = Statement::new(
    "select state, selected, task_id, attempts, result, error, started_at, finished_at, ended,
            is_entered
       from absurd.workflow_kept
      where workflow_run_id = $1 and place = $2",
);
static GIVE: Statement = Statement::new(
    "insert into absurd.workflow_kept
         (workflow_run_id, place, state, attempts, result, finished_at, ended, is_given,
          is_entered)
     values ($1, $2, 'completed', 0, $3::jsonb, $4, 0, true, false)
     on conflict (workflow_run_id, place) do update
        set state = excluded.state, selected = null, task_id = null, attempts = 0,
            result = excluded.result, error = null, started_at = null,
            finished_at = excluded.finished_at, ended = 0, is_given = true,
            is_entered = false",
);
static FORGET: Statement = Statement::new(
    "delete from absurd.workflow_kept k
      using absurd.workflow_execution e
      where e.root_run_id = $1 and k.workflow_run_id = e.workflow_run_id",
);

/// What is kept of the step at a place.
///
/// # Errors
/// XX001 for a record that does not fit its document.
pub fn of(
    session: &Session,
    program: &Program,
    run: Uuid,
    place: Place,
) -> Result<Option<KeptRec>> {
    let Some(row) = session.run(&KEPT, &Own, params![run, place])?.first() else { return Ok(None) };
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
        ended: row.need(8)?,
        is_entered: row.need(9)?,
    }))
}

/// Has a step of an ended run complete with this result when the run is retried.
///
/// # Errors
/// Postgres's own.
pub fn give(session: &Session, run: Uuid, place: Place, result: &Json) -> Result<()> {
    session.run(&GIVE, &Own, params![run, place, result.text(), session.now()]).map(drop)
}

/// Forgets what is kept of the runs of a tree, which has completed.
///
/// # Errors
/// Postgres's own.
pub fn forget(session: &Session, root: Uuid) -> Result<()> {
    session.run(&FORGET, &Own, params![root]).map(drop)
}
