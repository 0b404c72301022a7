//! Checkpoints, of tasks and of runs.

use pgrx::prelude::*;

use super::required;
use crate::checkpoint::{self, Checkpoint};
use crate::pg::{Jsonb, Timestamp, Uuid, call};
use crate::queue::{QueueName, access};

type CheckpointRow = (String, Option<Jsonb>, String, Option<Uuid>, Timestamp);

fn row(checkpoint: Checkpoint) -> CheckpointRow {
    (
        checkpoint.name,
        checkpoint.state,
        checkpoint.status,
        checkpoint.owner_run,
        checkpoint.updated_at,
    )
}

/// Writes a checkpoint of a task.
#[pg_extern]
fn set_task_checkpoint_state(
    p_queue_name: Option<&str>,
    p_task_id: Option<Uuid>,
    p_step_name: Option<&str>,
    p_state: Option<Jsonb>,
    p_owner_run: Option<Uuid>,
    p_extend_claim_by: default!(Option<i32>, "NULL"),
) {
    call(|session| {
        let queue = QueueName::parse(p_queue_name)?;
        access::require(&queue, &access::CHECKPOINT)?;
        let task = required(p_task_id, "p_task_id")?;
        let step = checkpoint::check_step(p_step_name)?;
        let owner = required(p_owner_run, "p_owner_run")?;
        checkpoint::put(session, &queue, task, step, p_state, owner, p_extend_claim_by)
    })
}

/// One checkpoint of a task.
#[pg_extern]
fn get_task_checkpoint_state(
    p_queue_name: Option<&str>,
    p_task_id: Option<Uuid>,
    p_step_name: Option<&str>,
    p_include_pending: default!(Option<bool>, false),
) -> TableIterator<
    'static,
    (
        name!(checkpoint_name, String),
        name!(state, Option<Jsonb>),
        name!(status, String),
        name!(owner_run_id, Option<Uuid>),
        name!(updated_at, Timestamp),
    ),
> {
    let found = call(|session| {
        let queue = QueueName::parse(p_queue_name)?;
        let task = required(p_task_id, "p_task_id")?;
        let step = checkpoint::check_step(p_step_name)?;
        checkpoint::get(session, &queue, task, step, p_include_pending.unwrap_or(false))
    });
    TableIterator::new(found.map(row))
}

/// The checkpoints that a run of a task sees.
#[pg_extern]
fn get_task_checkpoint_states(
    p_queue_name: Option<&str>,
    p_task_id: Option<Uuid>,
    p_run_id: Option<Uuid>,
) -> TableIterator<
    'static,
    (
        name!(checkpoint_name, String),
        name!(state, Option<Jsonb>),
        name!(status, String),
        name!(owner_run_id, Option<Uuid>),
        name!(updated_at, Timestamp),
    ),
> {
    let found = call(|session| {
        let queue = QueueName::parse(p_queue_name)?;
        let task = required(p_task_id, "p_task_id")?;
        checkpoint::visible(session, &queue, task, required(p_run_id, "p_run_id")?)
    });
    TableIterator::new(found.into_iter().map(row))
}

/// The checkpoints that a run owns.
#[pg_extern]
fn get_checkpoints_for_run(
    p_queue_name: Option<&str>,
    p_run_id: Option<Uuid>,
) -> TableIterator<
    'static,
    (
        name!(checkpoint_name, String),
        name!(state, Option<Jsonb>),
        name!(status, String),
        name!(owner_run_id, Option<Uuid>),
        name!(updated_at, Timestamp),
    ),
> {
    let found = call(|session| {
        let queue = QueueName::parse(p_queue_name)?;
        checkpoint::of_run(session, &queue, required(p_run_id, "p_run_id")?)
    });
    TableIterator::new(found.into_iter().map(row))
}

/// The state of one checkpoint that a run owns, NULL when there is none.
#[pg_extern]
fn get_run_checkpoint(
    p_queue_name: Option<&str>,
    p_run_id: Option<Uuid>,
    p_step_name: Option<&str>,
) -> Option<Jsonb> {
    call(|session| {
        let queue = QueueName::parse(p_queue_name)?;
        let run = required(p_run_id, "p_run_id")?;
        let step = checkpoint::check_step(p_step_name)?;
        checkpoint::state_of_run(session, &queue, run, step)
    })
}

/// Writes a checkpoint as a run, of its task.
#[pg_extern]
fn save_checkpoint_for_run(
    p_queue_name: Option<&str>,
    p_run_id: Option<Uuid>,
    p_step_name: Option<&str>,
    p_data: Option<Jsonb>,
    p_task_id: default!(Option<Uuid>, "NULL"),
) {
    call(|session| {
        let queue = QueueName::parse(p_queue_name)?;
        access::require(&queue, &access::CHECKPOINT)?;
        let run = required(p_run_id, "p_run_id")?;
        let step = checkpoint::check_step(p_step_name)?;
        // Without the task's id the run's own stands for its task.
        let task = p_task_id.unwrap_or(run);
        checkpoint::put(session, &queue, task, step, p_data, run, None)
    })
}
