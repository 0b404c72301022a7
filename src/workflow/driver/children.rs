//! Child runs of a step: created and started in the transition that orders them.

use uuid::Uuid;

use super::carry::NewChild;
use super::rows::int;
use super::start::{self, NewExecution, Origin};
use super::view::View;
use super::{Drive, reopen};
use crate::error::Result;
use crate::params;
use crate::pg::Jsonb;
use crate::pg::plan::{Own, Statement};
use crate::queue::{QueueName, access, policy};
use crate::task::stuck;
use crate::workflow::records::{RunStatus, StepKey};
use crate::workflow::registry;
use crate::workflow::retrace::{self, Place};
use crate::workflow::state::Host;
use crate::workflow::stimulus::Stimulus;

/// Creates a child run and lets it start. It works in the queue that its workflow is registered
/// with, else in its parent's.
///
/// # Errors
/// P0002 for a workflow that was removed a moment ago.
pub fn create(drive: &mut Drive, view: &mut View, child: NewChild) -> Result<()> {
    let session = drive.session;
    if view.run.retries > 0 && take_up(drive, view, &child)? {
        return Ok(());
    }
    let found = registry::find(session, &child.workflow, child.version.as_deref())?;
    let Some(definition) = found else {
        // The interpreter found it a moment ago.
        return Err(registry::unknown(&child.workflow, child.version.as_deref()));
    };
    let path = path(view, child.step)?;
    let queue = definition.queue.clone().unwrap_or_else(|| view.run.queue.clone());
    let origin = Origin {
        root: view.run.root,
        parent: view.run.id,
        step: child.step,
        path: &path,
        branch: &child.branch,
        depth: view.run.depth + 1,
    };
    let new = NewExecution {
        definition: &definition,
        inputs: Jsonb::from_text(child.inputs.text())?,
        queue: &queue,
        created_by: None,
        tags: None,
        idempotency_key: None,
        bounded: false,
        origin: Some(origin),
    };
    if let Some(id) = start::insert(session, &new)? {
        drive.push(id, Stimulus::Start);
    }
    Ok(())
}

static TO_TAKE_UP: Statement = Statement::new(
    "select e.workflow_run_id, e.status
       from absurd.workflow_execution e
      where e.parent_run_id = $1 and e.parent_scope = $2 and e.parent_branch = $3
        and e.parent_place = $4
      order by e.workflow_run_id desc
      limit 1",
);
static TAKE_UP: Statement = Statement::new(
    "update absurd.workflow_execution set parent_scope = $2, parent_node = $3
      where workflow_run_id = $1",
);

/// Takes up the child that the step had before its run was retried: one that completed has done so,
/// another is retried itself. False when there is none.
fn take_up(drive: &mut Drive, view: &mut View, child: &NewChild) -> Result<bool> {
    let (session, step) = (drive.session, child.step);
    let place = place(view, step)?;
    let values = params![view.run.id, reopen::TO_TAKE_UP, child.branch.as_str(), place];
    let Some(row) = session.run(&TO_TAKE_UP, &Own, values)?.first() else { return Ok(false) };
    let run: Uuid = row.need(0)?;
    session.run(&TAKE_UP, &Own, params![run, int(step.scope.0), int(step.node.0)])?;
    if row.need::<String>(1)? == RunStatus::Completed.as_str() {
        let branch = child.branch.clone();
        drive.push(view.run.id, Stimulus::ChildFinished { step, branch });
    } else {
        reopen::child(drive, run)?;
    }
    Ok(true)
}

/// Where a step stands in its run.
pub(super) fn place(view: &mut View, step: StepKey) -> Result<Place> {
    let chain = view.scope(step.scope)?.chain.clone();
    let ids = chain.into_iter().chain([step.scope]);
    let scopes = ids.map(|id| view.scope(id)).collect::<Result<Vec<_>>>()?;
    Ok(retrace::place(scopes.iter().map(|scope| &**scope), step.node))
}

fn path(view: &mut View, step: StepKey) -> Result<String> {
    let prefix = view.scope(step.scope)?.path.clone();
    Ok(prefix + &view.program.node(step.node).id)
}

/// Why no run of a workflow can be started as a child of a run; none when it can.
///
/// # Errors
/// Postgres's own.
pub fn refusal(view: &View, workflow: &str, version: Option<&str>) -> Result<Option<String>> {
    let session = view.session;
    let Some(definition) = registry::find(session, workflow, version)? else {
        let version = version.map(|version| format!(" version {version}")).unwrap_or_default();
        return Ok(Some(format!("workflow '{workflow}'{version} is not registered")));
    };
    let queue = definition.queue.unwrap_or_else(|| view.run.queue.clone());
    let name = QueueName::parse(Some(&queue))?;
    Ok(if !policy::exists(session, &queue)? {
        Some(format!("workflow '{workflow}' is registered with queue '{queue}', which is gone"))
    } else if !access::allows(&name, &access::SPAWN)? {
        let role = stuck::caller(session)?;
        Some(format!("role '{role}' may not spawn tasks in queue '{queue}' of '{workflow}'"))
    } else {
        None
    })
}

static OPEN: Statement = Statement::new(
    "select workflow_run_id
       from absurd.workflow_execution
      where parent_run_id = $1 and parent_scope = $2 and parent_node = $3
        and status in ('pending', 'running')
      order by parent_branch",
);

/// Cancels the children of a step that have not ended.
pub fn cancel(drive: &mut Drive, view: &View, step: StepKey) -> Result<()> {
    let values = params![view.run.id, int(step.scope.0), int(step.node.0)];
    for row in drive.session.run(&OPEN, &Own, values)? {
        let child: Uuid = row.need(0)?;
        let reason = "the step that started it has ended".to_owned();
        drive.push(child, Stimulus::Cancel { reason });
    }
    Ok(())
}
