//! What must hold in the tables, whatever storms they have been through.

use std::collections::HashSet;

use uuid::Uuid;

use crate::error::Result;
use crate::params;
use crate::pg::plan::{Own, Scope, Statement};
use crate::pg::{Row, Session};
use crate::queue::access::{self, VERIFY};
use crate::queue::{QueueName, policy};

/// Something that does not hold.
pub struct Violation {
    pub queue: String,
    pub kind: String,
    pub id: crate::pg::Uuid,
    pub detail: String,
}

const TABLES: &str = include_str!("../../sql/maintenance/verify.sql");
/// Of the workflow runs that work in a queue.
static WORKFLOWS: Statement = Statement::new(
    "select 'status pair', e.workflow_run_id,
            format('the workflow run is %s, its execution %s', coalesce(w.status, 'gone'), e.status)
       from absurd.workflow_execution e
       left join absurd.workflow_run w on w.workflow_run_id = e.workflow_run_id
      where e.queue_name = $1 and w.status is distinct from e.status
     union all
     select 'open child', c.workflow_run_id,
            format('the run is %s, its parent %s is %s', c.status, c.parent_run_id,
                   coalesce(p.status, 'gone'))
       from absurd.workflow_execution c
       left join absurd.workflow_execution p on p.workflow_run_id = c.parent_run_id
      where c.queue_name = $1 and c.parent_run_id is not null
        and c.status in ('pending', 'running')
        and coalesce(p.status, 'gone') not in ('pending', 'running')
     union all
     select 'orphan timer', t.workflow_run_id,
            format('the timer of %s is of a run that is %s', t.due_at, coalesce(e.status, 'gone'))
       from absurd.workflow_timer t
       left join absurd.workflow_execution e on e.workflow_run_id = t.workflow_run_id
      where t.queue_name = $1 and coalesce(e.status, 'gone') not in ('pending', 'running')
     union all
     select 'orphan wait', w.workflow_run_id,
            format('the wait for event %L is of a run that is %s', left(w.event_name, 100),
                   coalesce(e.status, 'gone'))
       from absurd.workflow_wait w
       left join absurd.workflow_execution e on e.workflow_run_id = w.workflow_run_id
      where w.queue_name = $1 and coalesce(e.status, 'gone') not in ('pending', 'running')",
);
/// Steps that follow a task, of trees for which nothing has been left.
static FOLLOWING: Statement = Statement::new(
    "select s.workflow_run_id, s.task_id
       from absurd.workflow_step s
       join absurd.workflow_execution e on e.workflow_run_id = s.workflow_run_id
      where e.queue_name = $1 and s.state = 'running' and s.task_id is not null
        and e.status = 'running'
        and not exists (select from absurd.workflow_stimulus l where l.root_run_id = e.root_run_id)",
);
/// Waits for events, of such trees.
static WAITING: Statement = Statement::new(
    "select w.workflow_run_id, w.event_name
       from absurd.workflow_wait w
       join absurd.workflow_execution e on e.workflow_run_id = w.workflow_run_id
      where w.queue_name = $1 and e.status = 'running'
        and not exists (select from absurd.workflow_stimulus l where l.root_run_id = e.root_run_id)",
);
static AT_WORK: Statement = Statement::new(
    "select task_id from {t}
      where task_id = any ($1) and state in ('pending', 'running', 'sleeping')",
);
static EMITTED: Statement =
    Statement::new("select event_name from {e} where event_name = any ($1)");

/// Looks at a queue, or at all whose tables the caller may read.
///
/// # Errors
/// 42P01 for an unknown queue; 42501 for one whose tables the caller may not read.
pub fn run(session: &Session, queue: Option<&QueueName>) -> Result<Vec<Violation>> {
    let queues = match queue {
        Some(queue) => {
            policy::require(session, queue)?;
            access::require(queue, &VERIFY)?;
            vec![queue.clone()]
        }
        None => access::allowed(session, &VERIFY)?,
    };
    let mut all = Vec::new();
    for queue in queues {
        let mut found = Vec::new();
        let tables = session.run_once(&queue.expand(TABLES), &[])?;
        let workflows = session.run(&WORKFLOWS, &Own, params![queue.as_str()])?;
        for row in tables.into_iter().chain(workflows) {
            found.push((row.need(0)?, row.need(1)?, row.need(2)?));
        }
        found.extend(lost_steps(session, &queue)?);
        found.extend(lost_waits(session, &queue)?);
        found.sort();
        all.extend(found.into_iter().map(|(kind, id, detail): (String, Uuid, String)| {
            let id = crate::pg::Uuid::from_bytes(id.into_bytes());
            Violation { queue: queue.as_str().to_owned(), kind, id, detail }
        }));
    }
    Ok(all)
}

type Found = (String, Uuid, String);

/// Steps whose task has ended without their being told. Others may be at work meanwhile, so what
/// was seen first and still stands after the tasks were looked at counts.
fn lost_steps(session: &Session, queue: &QueueName) -> Result<Vec<Found>> {
    let steps = |session: &Session| -> Result<Vec<(Uuid, Uuid)>> {
        let rows = session.run(&FOLLOWING, &Own, params![queue.as_str()])?;
        rows.into_iter().map(|row: Row| Ok((row.need(0)?, row.need(1)?))).collect()
    };
    let before = steps(session)?;
    let ids: Vec<Option<Uuid>> = before.iter().map(|(_, task)| Some(*task)).collect();
    let at_work = session
        .run(&AT_WORK, queue, params![ids])?
        .into_iter()
        .map(|row| row.need(0))
        .collect::<Result<HashSet<Uuid>>>()?;
    let still: HashSet<(Uuid, Uuid)> = steps(session)?.into_iter().collect();
    let is_lost = |step: &(Uuid, Uuid)| !at_work.contains(&step.1) && still.contains(step);
    let lost = before.into_iter().filter(is_lost).map(|(run, task)| {
        let detail = format!("a step of the run follows task {task}, which is not at work");
        ("lost step".to_owned(), run, detail)
    });
    Ok(lost.collect())
}

/// Waits for events that have been emitted without the run's being told, likewise.
fn lost_waits(session: &Session, queue: &QueueName) -> Result<Vec<Found>> {
    let waits = |session: &Session| -> Result<Vec<(Uuid, String)>> {
        let rows = session.run(&WAITING, &Own, params![queue.as_str()])?;
        rows.into_iter().map(|row: Row| Ok((row.need(0)?, row.need(1)?))).collect()
    };
    let before = waits(session)?;
    let names: Vec<String> = before.iter().map(|(_, name)| name.clone()).collect();
    let emitted = session
        .run(&EMITTED, queue, params![names])?
        .into_iter()
        .map(|row| row.need(0))
        .collect::<Result<HashSet<String>>>()?;
    let still: HashSet<(Uuid, String)> = waits(session)?.into_iter().collect();
    let is_lost = |wait: &(Uuid, String)| emitted.contains(&wait.1) && still.contains(wait);
    let lost = before.into_iter().filter(is_lost).map(|(run, name)| {
        let name: String = name.chars().take(100).collect();
        let detail = format!("the run waits for event '{name}', which has been emitted");
        ("lost wait".to_owned(), run, detail)
    });
    Ok(lost.collect())
}
