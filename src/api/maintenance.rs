//! Retention and partitions.

use pgrx::prelude::*;

use super::{optional_queue, required};
use crate::error::Error;
use crate::maintenance::cleanup::{self, Batch};
use crate::maintenance::{partitions, verify};
use crate::pg::{Uuid, call};
use crate::queue::{QueueName, access};

/// Removes tasks that ended long ago.
#[pg_extern]
fn cleanup_tasks(
    p_queue_name: Option<&str>,
    p_ttl_seconds: Option<i32>,
    p_limit: default!(Option<i32>, 1000),
) -> i32 {
    call(|session| {
        let queue = QueueName::parse(p_queue_name)?;
        access::require(&queue, &access::CLEAN_TASKS)?;
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
        access::require(&queue, &access::CLEAN_EVENTS)?;
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
        let queue = optional_queue(p_queue_name)?;
        cleanup::by_policy(session, queue.as_ref())
    });
    TableIterator::new(cleaned.into_iter().map(|batch| (batch.queue, batch.tasks, batch.events)))
}

/// Looks for what does not fit together in one queue, or in all.
#[pg_extern]
fn verify(
    p_queue_name: default!(Option<&str>, "NULL"),
) -> TableIterator<
    'static,
    (name!(queue_name, String), name!(kind, String), name!(id, Uuid), name!(detail, String)),
> {
    let found = call(|session| verify::run(session, optional_queue(p_queue_name)?.as_ref()));
    TableIterator::new(found.into_iter().map(|one| (one.queue, one.kind, one.id, one.detail)))
}

/// Makes the partitions that one queue, or every queue, needs by its policy.
#[pg_extern]
fn ensure_partitions(p_queue_name: default!(Option<&str>, "NULL")) {
    call(|session| partitions::ensure(session, optional_queue(p_queue_name)?.as_ref()))
}

/// Lists week partitions that may be detached.
#[pg_extern]
fn list_detach_candidates(
    p_queue_name: default!(Option<&str>, "NULL"),
) -> TableIterator<
    'static,
    (name!(queue_name, String), name!(parent_table, String), name!(partition_table, String)),
> {
    let found =
        call(|session| partitions::candidates(session, optional_queue(p_queue_name)?.as_ref()));
    TableIterator::new(found.into_iter().map(|found| (found.queue, found.parent, found.partition)))
}

/// Drops a week's partition that has been detached.
#[pg_extern]
fn drop_detached_partition(
    p_partition_table: Option<&str>,
    p_unschedule_job_name: default!(Option<&str>, "NULL"),
) -> bool {
    call(|session| {
        let table = required(p_partition_table, "partition table")?;
        if table.trim().is_empty() {
            return Err(Error::blank("partition table"));
        }
        partitions::drop_detached(session, table, p_unschedule_job_name)
    })
}

/// Detaches an empty week's partition.
#[pg_extern]
fn detach_partition(p_parent_table: Option<&str>, p_partition_table: Option<&str>) -> bool {
    call(|session| {
        let parent = required(p_parent_table, "parent table")?;
        partitions::detach(session, parent, required(p_partition_table, "partition table")?)
    })
}
