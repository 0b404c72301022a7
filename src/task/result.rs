//! get_task_result: what a task has come to.

use crate::error::Result;
use crate::params;
use crate::pg::{Jsonb, Session, Statement, Uuid};
use crate::queue::QueueName;

/// A task's state with its result once completed, or its last failure once failed.
pub struct TaskResult {
    pub task_id: Uuid,
    pub state: String,
    pub result: Option<Jsonb>,
    pub failure_reason: Option<Jsonb>,
}

static GET: Statement = Statement::new(
    "select t.task_id, t.state,
            case when t.state = 'completed' then t.completed_payload end,
            case when t.state = 'failed' then
                (select r.failure_reason from {r} r where r.task_id = t.task_id
                  order by r.attempt desc limit 1)
            end
       from {t} t
      where t.task_id = $1",
);

/// The task's result; none when there is no such task.
pub fn get(session: &Session, queue: &QueueName, task: Uuid) -> Result<Option<TaskResult>> {
    let rows = session.run(&GET, queue, params![task])?;
    let Some(row) = rows.first() else { return Ok(None) };
    Ok(Some(TaskResult {
        task_id: row.need(0)?,
        state: row.need(1)?,
        result: session.keep(row.get(2)?),
        failure_reason: session.keep(row.get(3)?),
    }))
}
