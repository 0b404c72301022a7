//! Retention.

use pgrx::prelude::*;

use crate::maintenance::cleanup::{self, Batch};
use crate::pg::call;
use crate::queue::QueueName;

/// Removes tasks that ended long ago.
#[pg_extern]
fn cleanup_tasks(
    p_queue_name: Option<&str>,
    p_ttl_seconds: Option<i32>,
    p_limit: default!(Option<i32>, 1000),
) -> i32 {
    call(|session| {
        let queue = QueueName::parse(p_queue_name)?;
        cleanup::tasks(session, &queue, Batch::parse(session, p_ttl_seconds, p_limit)?)
    })
}

/// Removes events that were emitted long ago.
#[pg_extern]
fn cleanup_events(
    p_queue_name: Option<&str>,
    p_ttl_seconds: Option<i32>,
    p_limit: default!(Option<i32>, 1000),
) -> i32 {
    call(|session| {
        let queue = QueueName::parse(p_queue_name)?;
        cleanup::events(session, &queue, Batch::parse(session, p_ttl_seconds, p_limit)?)
    })
}

/// Removes what the policies of one queue, or of all, no longer keep.
#[pg_extern]
fn cleanup_all_queues(
    p_queue_name: default!(Option<&str>, "NULL"),
) -> TableIterator<
    'static,
    (name!(queue_name, String), name!(tasks_deleted, i32), name!(events_deleted, i32)),
> {
    let cleaned = call(|session| {
        let queue = p_queue_name.map(|name| QueueName::parse(Some(name))).transpose()?;
        cleanup::by_policy(session, queue.as_ref())
    });
    TableIterator::new(cleaned.into_iter().map(|batch| (batch.queue, batch.tasks, batch.events)))
}
