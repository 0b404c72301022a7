//! Tasks that steps of executed workflow runs follow: spawned with the mark that says so.

use uuid::Uuid;

use super::options::SpawnOptions;
use super::spawn::{self, Order, SPAWN_RUN};
use super::state::State;
use crate::error::{Error, Result};
use crate::params;
use crate::pg::{Jsonb, Session, Statement};
use crate::queue::{QueueName, ready};

/// The longest limit of an attempt that is kept, in seconds: a century is as good as none, and
/// more would not fit a timestamp.
const LONGEST: f64 = 3.2e9;

/// A step's task to spawn; values are JSON text.
pub struct StepTask<'a> {
    pub name: &'a str,
    pub params: &'a str,
    pub headers: &'a str,
    pub retry_strategy: Option<&'a str>,
    pub max_attempts: i32,
    /// Seconds that an attempt may take from its claim.
    pub attempt_timeout: Option<f64>,
    /// Whether a worker that comes too late is left alone.
    pub leave_late: bool,
    pub workflow_run: Uuid,
}

/// The task that a step follows.
pub struct Found {
    pub task: Uuid,
    /// Whether it had ended already.
    pub ended: bool,
}

static SPAWN: Statement = Statement::new(include_str!("../../sql/task/spawn_steps.sql"));
static SPAWN_ONE: Statement = Statement::new(include_str!("../../sql/task/spawn_step.sql"));

/// Spawns tasks in one statement, available now; returns their ids in the order of `tasks`.
pub fn spawn(session: &Session, queue: &QueueName, tasks: &[StepTask]) -> Result<Vec<Uuid>> {
    if tasks.is_empty() {
        return Ok(Vec::new());
    }
    let ids = ids(session, tasks.len())?;
    if let [task] = tasks {
        let run = session.new_id()?;
        let values = params![
            ids[0],
            run,
            task.name,
            task.params,
            task.headers,
            task.retry_strategy,
            task.max_attempts,
            limit(task),
            task.leave_late,
            task.workflow_run,
            session.now(),
        ];
        session.change(&SPAWN_ONE, queue, values, (1, "{t}"))?;
        let (now, tenant): (_, Option<&str>) = (session.now(), None);
        let values = params![run, ids[0], now, now, tenant, 0_i16];
        session.change(&SPAWN_RUN, queue, values, (1, "{r}"))?;
        ready::announce(session, queue, session.now())?;
        return Ok(ids);
    }
    let text = |value: &dyn Fn(&StepTask) -> Option<String>| -> Vec<Option<String>> {
        tasks.iter().map(value).collect()
    };
    let values = params![
        ids.iter().copied().map(Some).collect::<Vec<_>>(),
        self::ids(session, tasks.len())?.into_iter().map(Some).collect::<Vec<_>>(),
        text(&|task| Some(task.name.to_owned())),
        text(&|task| Some(task.params.to_owned())),
        text(&|task| Some(task.headers.to_owned())),
        text(&|task| task.retry_strategy.map(str::to_owned)),
        tasks.iter().map(|task| task.max_attempts).collect::<Vec<_>>(),
        tasks.iter().map(limit).collect::<Vec<Option<f64>>>(),
        tasks.iter().map(|task| Some(task.leave_late)).collect::<Vec<_>>(),
        tasks.iter().map(|task| Some(task.workflow_run)).collect::<Vec<_>>(),
        session.now(),
    ];
    session.run(&SPAWN, queue, values)?;
    ready::announce(session, queue, session.now())?;
    Ok(ids)
}

/// New ids in ascending order: tasks that are spawned together are claimed in their order.
fn ids(session: &Session, count: usize) -> Result<Vec<Uuid>> {
    let mut ids = (0..count)
        .map(|_| Ok(Uuid::from_bytes(*session.new_id()?.as_bytes())))
        .collect::<Result<Vec<_>>>()?;
    ids.sort_unstable();
    Ok(ids)
}

fn limit(task: &StepTask) -> Option<f64> {
    task.attempt_timeout.filter(|seconds| *seconds < LONGEST)
}

static FOLLOW: Statement =
    Statement::new("update {t} set workflow_step = true where task_id = $1 returning state");
static LIMIT: Statement = Statement::new(
    "update {t}
        set workflow_step = true, attempt_timeout = $2, leave_late = $3
      where task_id = $1",
);

/// Spawns a task under an idempotency key, or takes up the one that has it. Such a task keeps its
/// own headers, limits and workflow run.
///
/// # Errors
/// As spawn_task.
pub fn spawn_once(
    session: &Session,
    queue: &QueueName,
    task: &StepTask,
    key: &str,
) -> Result<Found> {
    let raw = format!(
        r#"{{"headers":{},"retry_strategy":{}}}"#,
        task.headers,
        task.retry_strategy.unwrap_or("null")
    );
    let options = SpawnOptions {
        max_attempts: Some(task.max_attempts),
        idempotency_key: Some(key.to_owned()),
        ..SpawnOptions::default()
    };
    let order = Order {
        name: task.name,
        params: Jsonb::from_text(task.params)?,
        raw_options: Jsonb::from_text(&raw)?,
        options: &options,
        workflow_run: Some(crate::pg::Uuid::from_bytes(task.workflow_run.into_bytes())),
        ids: None,
    };
    let spawned = spawn::run(session, queue, &order)?;
    let id = spawned.task_id;
    let task_id = Uuid::from_bytes(*id.as_bytes());
    if spawned.created {
        session.run(&LIMIT, queue, params![id, limit(task), task.leave_late])?;
        return Ok(Found { task: task_id, ended: false });
    }
    let Some(row) = session.run(&FOLLOW, queue, params![id])?.first() else {
        return Err(Error::Vanished {
            what: "Task with idempotency key",
            key: key.to_owned(),
            queue: queue.as_str().to_owned(),
        });
    };
    let ended = State::parse(&row.need::<String>(0)?).is_some_and(State::is_final);
    Ok(Found { task: task_id, ended })
}
