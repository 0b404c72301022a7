//! Tasks and runs.

use pgrx::prelude::*;

use super::{required, warn_of};
use crate::error::Error;
use crate::pg::{Jsonb, Timestamp, Uuid, call, session};
use crate::queue::{QueueName, access};
use crate::task::backoff::Backoff;
use crate::task::options::{RetryOptions, SpawnOptions};
use crate::task::spawn::{self, Order, Spawned};
use crate::task::{lease, result, schedule};
use crate::workflow::{link, work};

pub(super) fn spawned_row(spawned: Spawned) -> (Uuid, Option<Uuid>, i32, bool) {
    (spawned.task_id, spawned.run_id, spawned.attempt, spawned.created)
}

/// Spawns a task with its first run.
#[pg_extern]
fn spawn_task(
    p_queue_name: Option<&str>,
    p_task_name: Option<&str>,
    p_params: Option<Jsonb>,
    p_options: default!(Option<Jsonb>, "'{}'"),
) -> TableIterator<
    'static,
    (name!(task_id, Uuid), name!(run_id, Option<Uuid>), name!(attempt, i32), name!(created, bool)),
> {
    let spawned = call(|session| {
        let queue = QueueName::parse(p_queue_name)?;
        access::require(&queue, &access::SPAWN)?;
        let name = spawn::check_name(p_task_name)?;
        let params = p_params.map_or_else(Jsonb::null, Ok)?;
        let raw_options = p_options.map_or_else(|| Jsonb::from_text("{}"), Ok)?;
        let options = SpawnOptions::parse(&raw_options.to_text())?;
        warn_of(&options.unknown)?;
        let workflow_run = link::resolve(session, &queue, &options, params)?;
        let order = Order { name, params, raw_options, options: &options, workflow_run, ids: None };
        spawn::run(session, &queue, &order)
    });
    TableIterator::once(spawned_row(spawned))
}

/// Hands out ready runs to a worker.
#[pg_extern]
fn claim_task(
    p_queue_name: Option<&str>,
    p_worker_id: Option<&str>,
    p_claim_timeout: default!(Option<i32>, 30),
    p_qty: default!(Option<i32>, 1),
) -> TableIterator<
    'static,
    (
        name!(run_id, Uuid),
        name!(task_id, Uuid),
        name!(attempt, i32),
        name!(task_name, String),
        name!(params, Option<Jsonb>),
        name!(retry_strategy, Option<Jsonb>),
        name!(max_attempts, Option<i32>),
        name!(headers, Option<Jsonb>),
        name!(wake_event, Option<String>),
        name!(event_payload, Option<Jsonb>),
    ),
> {
    let claimed = call(|session| {
        let queue = QueueName::parse(p_queue_name)?;
        access::require(&queue, &access::CLAIM)?;
        let timeout = p_claim_timeout.unwrap_or(30);
        work::claim(session, &queue, p_worker_id, timeout, p_qty.unwrap_or(1))
    });
    TableIterator::new(claimed.into_iter().map(|run| {
        (
            run.run_id,
            run.task_id,
            run.attempt,
            run.task_name,
            run.params,
            run.retry_strategy,
            run.max_attempts,
            run.headers,
            run.wake_event,
            run.event_payload,
        )
    }))
}

/// Completes a running run and its task.
#[pg_extern]
fn complete_run(
    p_queue_name: Option<&str>,
    p_run_id: Option<Uuid>,
    p_state: default!(Option<Jsonb>, "NULL"),
) {
    call(|session| {
        let queue = QueueName::parse(p_queue_name)?;
        access::require(&queue, &access::WORK)?;
        work::complete(session, &queue, required(p_run_id, "p_run_id")?, p_state)
    })
}

/// Fails a run; its task is retried while it has attempts.
#[pg_extern]
fn fail_run(
    p_queue_name: Option<&str>,
    p_run_id: Option<Uuid>,
    p_reason: Option<Jsonb>,
    p_retry_at: default!(Option<Timestamp>, "NULL"),
) {
    call(|session| {
        let queue = QueueName::parse(p_queue_name)?;
        access::require(&queue, &access::WORK)?;
        let run = required(p_run_id, "p_run_id")?;
        work::fail(session, &queue, run, p_reason, p_retry_at)
    })
}

/// Puts a running run to sleep until an instant.
#[pg_extern]
fn schedule_run(p_queue_name: Option<&str>, p_run_id: Option<Uuid>, p_wake_at: Option<Timestamp>) {
    call(|session| {
        let queue = QueueName::parse(p_queue_name)?;
        access::require(&queue, &access::WORK)?;
        let run = required(p_run_id, "p_run_id")?;
        schedule::run(session, &queue, run, required(p_wake_at, "p_wake_at")?)
    })
}

/// Retries a failed task, in place or as a new task.
#[pg_extern]
fn retry_task(
    p_queue_name: Option<&str>,
    p_task_id: Option<Uuid>,
    p_options: default!(Option<Jsonb>, "'{}'"),
) -> TableIterator<
    'static,
    (name!(task_id, Uuid), name!(run_id, Option<Uuid>), name!(attempt, i32), name!(created, bool)),
> {
    let spawned = call(|session| {
        let queue = QueueName::parse(p_queue_name)?;
        access::require(&queue, &access::RETRY)?;
        let task = required(p_task_id, "p_task_id")?;
        let options = match p_options {
            Some(options) => RetryOptions::parse(&options.to_text())?,
            None => RetryOptions::default(),
        };
        warn_of(&options.unknown)?;
        work::retry(session, &queue, task, &options)
    });
    TableIterator::once(spawned_row(spawned))
}

/// Cancels a task; says whether this call did it.
#[pg_extern]
fn cancel_task(p_queue_name: Option<&str>, p_task_id: Option<Uuid>) -> bool {
    call(|session| {
        let queue = QueueName::parse(p_queue_name)?;
        access::require(&queue, &access::CANCEL)?;
        work::cancel(session, &queue, required(p_task_id, "p_task_id")?)
    })
}

/// Sets a running run's lease.
#[pg_extern]
fn extend_claim(p_queue_name: Option<&str>, p_run_id: Option<Uuid>, p_extend_by: Option<i32>) {
    call(|session| {
        let queue = QueueName::parse(p_queue_name)?;
        access::require(&queue, &access::WORK)?;
        lease::extend(session, &queue, required(p_run_id, "p_run_id")?, p_extend_by)
    })
}

/// What a task has come to; no row for an unknown task.
#[pg_extern]
fn get_task_result(
    p_queue_name: Option<&str>,
    p_task_id: Option<Uuid>,
) -> TableIterator<
    'static,
    (
        name!(task_id, Uuid),
        name!(state, String),
        name!(result, Option<Jsonb>),
        name!(failure_reason, Option<Jsonb>),
    ),
> {
    let found = call(|session| {
        let queue = QueueName::parse(p_queue_name)?;
        result::get(session, &queue, required(p_task_id, "p_task_id")?)
    });
    TableIterator::new(
        found.map(|task| (task.task_id, task.state, task.result, task.failure_reason)),
    )
}

/// Seconds to wait after an attempt failed.
#[pg_extern(immutable, parallel_safe)]
fn retry_delay_seconds(p_strategy: Option<Jsonb>, p_attempt: Option<i32>) -> f64 {
    session::pure(|| {
        let backoff = match p_strategy {
            None => Backoff::None,
            Some(strategy) => Backoff::parse(&strategy.to_text())?,
        };
        let attempt = p_attempt.ok_or_else(|| Error::null("p_attempt"))?;
        Ok(backoff.delay(attempt))
    })
}
