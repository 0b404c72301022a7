//! What the steps of a run wait for, and what went wrong last.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use serde_json::{Map, Value};
use uuid::Uuid;

use super::driver::view::View;
use super::driver::{load, rows};
use super::json::Json;
use super::program::NodeIx;
use super::records::{ScopeId, StepKey, StepRec};
use super::step_state::StepState;
use crate::error::Result;
use crate::params;
use crate::pg::plan::{Global, Own, Statement};
use crate::pg::{Jsonb, Row, Session, Timestamp};
use crate::queue::access;

/// What holds a step up.
#[derive(Default)]
pub struct Waiting {
    /// An object; see docs/workflows.md, workflow_run_steps.
    pub on: Map<String, Value>,
    /// The error of the last attempt that failed.
    pub last_error: Option<Json>,
}

static TIMERS: Statement = Statement::new(
    "select scope, node, kind, due_at from absurd.workflow_timer
      where workflow_run_id = $1 and scope >= 0",
);
static WAITS: Statement = Statement::new(
    "select scope, node, event_name from absurd.workflow_wait where workflow_run_id = $1",
);
static CHILDREN: Statement = Statement::new(
    "select parent_scope, parent_node, array_agg(workflow_run_id order by workflow_run_id)
       from absurd.workflow_execution
      where parent_run_id = $1 and status in ('pending', 'running')
      group by parent_scope, parent_node",
);
static PAUSED: Statement = Statement::new(
    "select paused_at from absurd.workflow_execution
      where workflow_run_id = $1 and paused_at is not null",
);
/// The open run of each task, and the reason of the last that failed.
static TASKS: Statement = Statement::new(
    "select t.task_id, r.state, r.available_at, r.claimed_by, r.claim_expires_at,
            (select w.event_name from {w} w where w.run_id = r.run_id order by 1 limit 1),
            (select f.failure_reason from {r} f
              where f.task_id = t.task_id and f.state = 'failed'
              order by f.attempt desc limit 1)
       from {t} t
       left join lateral (
            select o.* from {r} o
             where o.task_id = t.task_id and o.state in ('pending', 'running', 'sleeping')
             order by o.attempt desc limit 1) r on true
      where t.task_id = any ($1)",
);

/// What each of the steps waits for. What their tasks tell is left out for a caller who may not
/// read the queue's tables.
///
/// # Errors
/// Postgres's own.
pub fn of_run(
    session: &Session,
    view: &View,
    steps: &HashMap<StepKey, StepRec>,
) -> Result<HashMap<StepKey, Waiting>> {
    let mut all: HashMap<StepKey, Waiting> = HashMap::new();
    let run = view.run.id;
    let is_open = |key: &StepKey| steps.get(key).is_some_and(|step| !is_over(step));
    for row in session.run(&TIMERS, &Own, params![run])? {
        let (key, due): (_, Timestamp) = (key(&row, 0)?, row.need(3)?);
        if is_open(&key) {
            let name = if row.need::<String>(2)? == "wake" { "until" } else { "timeout_at" };
            let on = &mut all.entry(key).or_default().on;
            on.insert(name.to_owned(), due.iso8601().into());
        }
    }
    for row in session.run(&WAITS, &Own, params![run])? {
        let event: String = row.need(2)?;
        all.entry(key(&row, 0)?).or_default().on.insert("event".to_owned(), event.into());
    }
    for row in session.run(&CHILDREN, &Own, params![run])? {
        let children: Vec<crate::pg::Uuid> = row.need(2)?;
        let children: Vec<String> = children.iter().map(ToString::to_string).collect();
        all.entry(key(&row, 0)?).or_default().on.insert("children".to_owned(), children.into());
    }
    if let Some(row) = session.run(&PAUSED, &Own, params![view.run.root])?.first() {
        let since = row.need::<Timestamp>(0)?.iso8601();
        for key in steps.keys().copied().filter(is_open) {
            let on = &mut all.entry(key).or_default().on;
            on.insert("paused_since".to_owned(), since.clone().into());
        }
    }
    if access::allows(&view.queue, &access::READ)? {
        tasks(session, view, steps, &mut all)?;
    }
    Ok(all)
}

/// Whether nothing can hold the step up any longer.
fn is_over(step: &StepRec) -> bool {
    match step.state {
        StepState::Pending | StepState::Running => false,
        // A fork, until its branches have ended.
        StepState::Completed => step.open == 0,
        _ => true,
    }
}

fn key(row: &Row, at: usize) -> Result<StepKey> {
    let (scope, node) = (rows::number(row, at)?, rows::number(row, at + 1)?);
    Ok(StepKey { scope: ScopeId(scope), node: NodeIx(node) })
}

fn tasks(
    session: &Session,
    view: &View,
    steps: &HashMap<StepKey, StepRec>,
    all: &mut HashMap<StepKey, Waiting>,
) -> Result<()> {
    let by_task: HashMap<Uuid, &StepRec> =
        steps.values().filter_map(|step| Some((step.task?, step))).collect();
    if by_task.is_empty() {
        return Ok(());
    }
    let ids: Vec<Option<Uuid>> = by_task.keys().copied().map(Some).collect();
    for row in session.run(&TASKS, &view.queue, params![ids])? {
        let Some(step) = by_task.get(&row.need::<Uuid>(0)?) else { continue };
        let waiting = all.entry(step.key).or_default();
        waiting.last_error = row.get::<Jsonb>(6)?.map(rows::of_jsonb);
        if step.state != StepState::Running {
            continue;
        }
        let instant = |column| -> Result<Value> {
            Ok(row.get::<Timestamp>(column)?.map(Timestamp::iso8601).into())
        };
        let (on, now) = (&mut waiting.on, session.now());
        match row.get::<String>(1)?.as_deref() {
            Some("running") => {
                on.insert("worker".to_owned(), row.get::<String>(3)?.into());
                on.insert("lease_until".to_owned(), instant(4)?);
            }
            Some("sleeping") if row.get::<String>(5)?.is_some() => {
                on.insert("event".to_owned(), row.get::<String>(5)?.into());
            }
            Some(_) if row.get::<Timestamp>(2)?.is_some_and(|at| at > now) => {
                on.insert("backoff_until".to_owned(), instant(2)?);
            }
            Some(_) => {
                on.insert("queued_since".to_owned(), instant(2)?);
            }
            None => {}
        }
    }
    Ok(())
}

/// A step that waits for an event.
pub struct EventWait {
    pub run: Uuid,
    pub workflow: String,
    pub path: String,
    pub queue: String,
    pub event: String,
    pub timeout_at: Option<Timestamp>,
}

/// The steps that wait for events, of one name, of one queue or of all; those alone whose runs the
/// caller sees.
///
/// # Errors
/// 42501 for a caller who may not read workflow runs.
pub fn for_events(
    session: &Session,
    event: Option<&str>,
    queue: Option<&str>,
) -> Result<Vec<EventWait>> {
    static LIST: Statement = Statement::new(
        "select w.workflow_run_id, w.scope, w.node, w.queue_name, w.event_name, t.due_at
           from absurd.workflow_wait w
           left join absurd.workflow_timer t
             on t.workflow_run_id = w.workflow_run_id and t.scope = w.scope and t.node = w.node
          where ($1 is null or w.event_name = $1) and ($2 is null or w.queue_name = $2)
          order by w.queue_name, w.event_name, w.workflow_run_id, w.scope, w.node",
    );
    static SEEN: Statement = Statement::new(
        "select workflow_run_id, workflow_name from absurd.workflow_run
          where workflow_run_id = any ($1)",
    );
    let rows: Vec<Row> = session.run(&LIST, &Own, params![event, queue])?.into_iter().collect();
    let ids =
        rows.iter().map(|row| row.need(0).map(Some)).collect::<Result<Vec<Option<Uuid>>>>()?;
    let seen = session
        .run(&SEEN, &Global, params![ids])?
        .into_iter()
        .map(|row| Ok((row.need(0)?, row.need(1)?)))
        .collect::<Result<HashMap<Uuid, String>>>()?;
    let mut views: HashMap<Uuid, View> = HashMap::new();
    let mut waits = Vec::new();
    for row in rows {
        let run: Uuid = row.need(0)?;
        let Some(workflow) = seen.get(&run) else { continue };
        let view = match views.entry(run) {
            Entry::Occupied(held) => held.into_mut(),
            Entry::Vacant(free) => free.insert(load::view(session, run)?),
        };
        waits.push(EventWait {
            run,
            workflow: workflow.clone(),
            path: super::steps::path(view, key(&row, 1)?)?,
            queue: row.need(3)?,
            event: row.need(4)?,
            timeout_at: row.get(5)?,
        });
    }
    Ok(waits)
}
