//! Starting runs, and what callers do to them: cancel, and add items.

use std::rc::Rc;

use uuid::Uuid;

use super::rows::{self, int};
use super::{Drive, admit, direct, lock};
use crate::error::{Error, Result};
use crate::params;
use crate::pg::plan::{Global, Own, Statement};
use crate::pg::{Jsonb, Session, catalog};
use crate::queue::access::{self, Needs};
use crate::queue::{QueueName, policy};
use crate::workflow::advance::takes_items;
use crate::workflow::bounds::cut;
use crate::workflow::operator::Operator;
use crate::workflow::options::StartOptions;
use crate::workflow::records::{ScopeId, StepKey};
use crate::workflow::registry::{self, Definition};
use crate::workflow::run::not_found;
use crate::workflow::state::Host;
use crate::workflow::step_state::StepState;
use crate::workflow::stimulus::Stimulus;

/// A run to create.
pub struct NewExecution<'a> {
    pub definition: &'a Definition,
    pub inputs: Jsonb,
    pub queue: &'a str,
    pub created_by: Option<&'a str>,
    /// JSON text of an object.
    pub tags: Option<&'a str>,
    pub idempotency_key: Option<&'a str>,
    /// Whether it waits its turn under `max_active_runs`.
    pub bounded: bool,
    /// Whose child it is; none for a root.
    pub origin: Option<Origin<'a>>,
}

/// The step that starts a child run.
pub struct Origin<'a> {
    pub root: Uuid,
    pub parent: Uuid,
    pub step: StepKey,
    pub path: &'a str,
    pub branch: &'a str,
    pub depth: u32,
}

/// A root's own insertion is its lock, and counts as its first transition.
static EXECUTION: Statement = Statement::new(
    "insert into absurd.workflow_execution
         (workflow_run_id, root_run_id, parent_run_id, parent_scope, parent_node, parent_branch,
          depth, workflow_name, workflow_version, workflow_hash, queue_name, status, transitions,
          next_scope, idempotency_key, bounded)
     values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 'pending', 1, 0, $12, $13)
     on conflict (workflow_name, idempotency_key) where idempotency_key is not null do nothing
     returning workflow_run_id",
);
/// What clients see of the run, which the caller must have the right to write.
static RUN: Statement = Statement::new(
    "insert into absurd.workflow_run
         (workflow_run_id, workflow_name, workflow_version, workflow_hash, status, absurd_queue,
          inputs, created_by, tags, root_run_id, parent_run_id, parent_step)
     values ($1, $2, $3, $4, 'pending', $5, $6, $7, $8::jsonb, $9, $10, $11)",
);

/// Creates a pending run; none when the workflow has one with the same idempotency key.
pub fn insert(session: &Session, new: &NewExecution) -> Result<Option<Uuid>> {
    let id = Uuid::from_bytes(*session.new_id()?.as_bytes());
    let (definition, origin) = (new.definition, new.origin.as_ref());
    let root = origin.map_or(id, |origin| origin.root);
    let parent = origin.map(|origin| origin.parent);
    let (name, version, hash) =
        (definition.name.as_str(), definition.version.as_str(), definition.hash.as_str());
    let values = params![
        id,
        root,
        parent,
        origin.map(|origin| int(origin.step.scope.0)),
        origin.map(|origin| int(origin.step.node.0)),
        origin.map(|origin| origin.branch),
        origin.map_or(0, |origin| int(origin.depth)),
        name,
        version,
        hash,
        new.queue,
        new.idempotency_key,
        new.bounded,
    ];
    if !direct::run::insert(session, id, new)? && session.run(&EXECUTION, &Own, values)?.is_empty()
    {
        return Ok(None);
    }
    let step = origin.map(|origin| origin.path);
    let values = params![
        id,
        name,
        version,
        hash,
        new.queue,
        new.inputs,
        new.created_by,
        new.tags,
        root,
        parent,
        step,
    ];
    session.run(&RUN, &Global, values)?;
    Ok(Some(id))
}

static BY_KEY: Statement = Statement::new(
    "select workflow_run_id
       from absurd.workflow_execution
      where workflow_name = $1 and idempotency_key = $2",
);

/// Starts a run of a registered workflow, the version registered last unless one is named.
///
/// # Errors
/// 42501 for who may not create workflow runs, or spawn tasks in the queue; P0002 for an unknown
/// workflow, 22004 without a queue, 42P01 for an unknown queue.
pub fn run(
    session: &Session,
    name: &str,
    version: Option<&str>,
    inputs: Jsonb,
    queue: Option<&str>,
    options: &StartOptions,
) -> Result<Uuid> {
    catalog::require("workflow_run", catalog::INSERT)?;
    let definition = registry::require(session, name, version)?;
    let queue = queue_of(&definition, queue)?;
    policy::require(session, &queue)?;
    access::require(&queue, &access::SPAWN)?;
    if options.respect_max_active_runs {
        admit::hold(session, name)?;
    }
    let new = NewExecution {
        definition: &definition,
        inputs,
        queue: queue.as_str(),
        created_by: options.created_by.as_deref(),
        tags: options.tags.as_deref(),
        idempotency_key: options.idempotency_key.as_deref(),
        bounded: options.respect_max_active_runs,
        origin: None,
    };
    match insert(session, &new)? {
        Some(id) => {
            begin(session, &definition, id, &new)?;
            Ok(id)
        }
        None => same_key(session, name, options.idempotency_key.as_deref().unwrap_or_default()),
    }
}

/// Starts a run that was just created, or leaves it in line.
pub fn begin(
    session: &Session,
    definition: &Definition,
    id: Uuid,
    new: &NewExecution,
) -> Result<()> {
    if new.bounded {
        let program =
            registry::program(session, &definition.name, &definition.version, &definition.hash)?;
        if !admit::may_start(session, &definition.name, id, program.max_active_runs)? {
            if admit::waiting(session, &definition.name, id)?.is_none() {
                admit::arm(session, id, new.queue)?;
            }
            return Ok(());
        }
    }
    let mut drive = Drive::new(session, id, 1);
    drive.push(id, Stimulus::Start);
    drive.finish().map(drop)
}

fn queue_of(definition: &Definition, queue: Option<&str>) -> Result<QueueName> {
    match queue.or(definition.queue.as_deref()) {
        Some(queue) => QueueName::parse(Some(queue)),
        None => Err(Error::null("p_queue_name, as the workflow is registered without a queue,")),
    }
}

fn same_key(session: &Session, name: &str, key: &str) -> Result<Uuid> {
    match session.run(&BY_KEY, &Own, params![name, key])?.first() {
        Some(row) => {
            let id: Uuid = row.need(0)?;
            // A key is no way to learn of others' runs.
            if session.run(&VISIBLE, &Global, params![id])?.is_empty() {
                return Err(Error::Denied {
                    relation: format!(
                        "workflow_run: the run of workflow \"{name}\" with this idempotency key \
                         is hidden"
                    ),
                });
            }
            Ok(id)
        }
        None => Err(Error::Serialization {
            what: format!(
                "a run of workflow \"{}\" with idempotency key \"{}\" was created",
                cut(name),
                cut(key)
            ),
        }),
    }
}

static VISIBLE: Statement =
    Statement::new("select absurd_queue from absurd.workflow_run where workflow_run_id = $1");

/// Checks, before anything is locked, that the role may change a run that it sees, and do to its
/// queue what that takes.
///
/// # Errors
/// 42501 when it may not; P0002 for a run that it does not see.
pub fn check_rights(session: &Session, run: Uuid, needs: &Needs) -> Result<()> {
    catalog::require("workflow_run", catalog::UPDATE)?;
    let Some(row) = session.run(&VISIBLE, &Global, params![run])?.first() else {
        return Err(not_found(crate::pg::Uuid::from_bytes(run.into_bytes())));
    };
    let queue: Option<String> = row.get(0)?;
    match queue.map(|queue| QueueName::parse(Some(&queue))).transpose()? {
        Some(queue) if lock::root_of(session, run)?.is_some() && !access::is_gone(&queue)? => {
            access::require(&queue, needs)
        }
        _ => Ok(()),
    }
}

/// Checks that the role may change the run's row, as row security has it.
///
/// # Errors
/// 42501 when it may not.
pub fn check_row(session: &Session, run: Uuid) -> Result<()> {
    static ROW: Statement = Statement::new(
        "select from absurd.workflow_run where workflow_run_id = $1 for no key update",
    );
    match session.run(&ROW, &Global, params![run])?.is_empty() {
        true => Err(super::view::hidden(run)),
        false => Ok(()),
    }
}

/// Cancels an executed run, children included; returns how many of its queue tasks that cancelled,
/// and whether these are all: a large run is closed in pieces. None for a run that the database
/// does not execute.
///
/// # Errors
/// 55000 for a run that has ended otherwise.
pub fn cancel(session: &Session, run: Uuid, reason: &str) -> Result<Option<(usize, bool)>> {
    let Some(root) = lock::root_of(session, run)? else { return Ok(None) };
    let transition = lock::take(session, root)?;
    let mut drive = Drive::new(session, root, transition);
    drive.push(run, Stimulus::Cancel { reason: reason.to_owned() });
    drive.work_off()?;
    let is_whole = drive.rest.is_empty();
    Ok(Some((drive.finish()?, is_whole)))
}

static SCOPES: Statement = Statement::new(
    "select c.scope, c.path
       from absurd.workflow_scope c
      where c.workflow_run_id = $1 and starts_with($2, c.path)
      order by length(c.path) desc",
);

/// Adds items to a running dynamic foreach of a run, named by the step's path.
///
/// # Errors
/// 42501 for a caller who may not update workflow runs; P0002 for an unknown run or step; 55000 for
/// a step that takes no items, or none any longer.
pub fn add_items(
    session: &Session,
    run: Uuid,
    path: &str,
    items: Vec<serde_json::Value>,
) -> Result<()> {
    let id = crate::pg::Uuid::from_bytes(run.into_bytes());
    check_rights(session, run, &access::SPAWN)?;
    let root = lock::root_of(session, run)?.ok_or_else(|| not_found(id))?;
    let transition = lock::take_going(session, root)?;
    let mut drive = Drive::new(session, root, transition);
    // What was left for the tree comes first: the step may have ended.
    drive.work_off()?;
    check_row(session, run)?;
    let wrong = |rule: &str| Error::WrongState {
        what: format!("Step \"{}\" of workflow run \"{run}\"", cut(path)),
        rule: rule.to_owned(),
        hint: None,
    };
    let view = drive.view(run)?;
    let Some(step) = find(view, path)? else {
        return Err(Error::NotFound { what: "Step", id: cut(path), queue: None });
    };
    let program = Rc::clone(&view.program);
    let record = view.step(step)?;
    let state = record.as_ref().map_or(StepState::Pending, |record| record.state);
    match &program.node(step.node).operator {
        Operator::Foreach(foreach) if foreach.dynamic => {}
        Operator::Foreach(_) => return Err(wrong("takes no more items: it is not dynamic")),
        other => return Err(wrong(&format!("takes no items: it is a {}", other.name()))),
    }
    if view.run.status.is_final() || !record.is_some_and(|record| takes_items(&program, &record)) {
        return Err(wrong(&format!("takes no items now: it is {state}")));
    }
    drive.push(run, Stimulus::ItemsAdded { step, items });
    drive.finish().map(drop)
}

/// The step with a path: the longest scope path that it starts with and whose scope has the rest as
/// a node.
pub(super) fn find(view: &mut super::view::View, path: &str) -> Result<Option<StepKey>> {
    for row in view.session.run(&SCOPES, &Own, params![view.run.id, path])? {
        let scope = ScopeId(rows::number(&row, 0)?);
        let prefix: String = row.need(1)?;
        let definition = view.scope(scope)?.scope;
        let node = path.strip_prefix(&prefix).and_then(|id| view.program.find(definition, id));
        if let Some(node) = node {
            return Ok(Some(StepKey { scope, node }));
        }
    }
    Ok(None)
}
