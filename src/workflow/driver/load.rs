//! Reading a run and what belongs to it before a transition.

use uuid::Uuid;

use super::direct::{self, Followers};
use super::rows::{self, SCOPE_COLUMNS, STEP_COLUMNS, run_columns, scope_columns, step_columns};
use super::view::View;
use crate::error::{Error, Result};
use crate::params;
use crate::pg::plan::{Own, Statement};
use crate::pg::{Row, Session};
use crate::queue::QueueName;
use crate::workflow::records::StepKey;
use crate::workflow::registry;

static RUN: Statement = Statement::new(concat!(
    "select ",
    run_columns!(),
    " from absurd.workflow_execution e where e.workflow_run_id = $1"
));
/// The running steps that follow a task of a queue, with their scopes and runs.
///
/// The steps are found first: the planner, which knows nothing of sizes, must not begin with the
/// tree.
static FOLLOWERS: Statement = Statement::new(concat!(
    "with s as materialized (
        select * from absurd.workflow_step where task_id = $1 and state = 'running'
     )
     select ",
    scope_columns!(),
    ", ",
    step_columns!(),
    ", ",
    run_columns!(),
    " from s
       join absurd.workflow_scope c
         on c.workflow_run_id = s.workflow_run_id and c.scope = s.scope
       join absurd.workflow_execution e on e.workflow_run_id = s.workflow_run_id
      where e.root_run_id = $2 and e.queue_name = $3"
));

/// A run with its program.
///
/// # Errors
/// P0002 for a run that the database does not execute.
pub fn view(session: &Session, run: Uuid) -> Result<View<'_>> {
    if let Some(view) = direct::view(session, run)? {
        return Ok(view);
    }
    match session.run(&RUN, &Own, params![run])?.first() {
        Some(row) => of_row(session, &row, 0),
        None => {
            Err(Error::NotFound { what: "Executed workflow run", id: run.to_string(), queue: None })
        }
    }
}

fn of_row<'s>(session: &'s Session, row: &Row, at: usize) -> Result<View<'s>> {
    let stored = rows::run(row, at)?;
    let program = registry::program(session, &stored.name, &stored.version, &stored.hash)?;
    View::new(session, program, stored.run)
}

/// The steps of one tree that follow a task, each with its run: mostly one, which then needs no
/// more reading. A run comes once, with all its steps.
pub fn followers<'s>(
    session: &'s Session,
    queue: &QueueName,
    task: Uuid,
    root: Uuid,
) -> Result<Followers<'s>> {
    if let Some(followers) = direct::followers(session, queue, task, root)? {
        return Ok(followers);
    }
    let mut found: Vec<(View, Vec<StepKey>)> = Vec::new();
    for row in session.run(&FOLLOWERS, &Own, params![task, root, queue.as_str()])? {
        let run_at = SCOPE_COLUMNS + STEP_COLUMNS;
        let id: Uuid = row.need(run_at)?;
        let place = match found.iter().position(|(view, _)| view.run.id == id) {
            Some(place) => place,
            None => {
                found.push((of_row(session, &row, run_at)?, Vec::new()));
                found.len() - 1
            }
        };
        let (view, keys) = &mut found[place];
        let scope = rows::scope(&view.program, &row, 0)?;
        let step = rows::step(&view.program, &row, SCOPE_COLUMNS)?;
        keys.push(step.key);
        view.keep(Some(scope), Some(step));
    }
    // Whether others follow it has not been looked at.
    Ok(Followers { found, others: true })
}
