//! Jobs of pg_cron.

use pgrx::prelude::*;

use super::{optional_queue, required};
use crate::maintenance::cron::{self, Job, Schedules};
use crate::pg::call;
use crate::queue::QueueName;

fn row(job: Job) -> (String, i64) {
    (job.name, job.id)
}

/// Installs the jobs that make partitions, clean up and plan detaching.
#[pg_extern]
fn enable_cron(
    p_queue_name: default!(Option<&str>, "NULL"),
    p_partition_schedule: default!(Option<&str>, "'5 * * * *'"),
    p_cleanup_schedule: default!(Option<&str>, "'17 * * * *'"),
    p_detach_schedule: default!(Option<&str>, "'29 * * * *'"),
) -> TableIterator<'static, (name!(job_name, String), name!(job_id, i64))> {
    let jobs = call(|session| {
        let schedules = Schedules {
            partitions: required(p_partition_schedule, "p_partition_schedule")?,
            cleanup: required(p_cleanup_schedule, "p_cleanup_schedule")?,
            detach: required(p_detach_schedule, "p_detach_schedule")?,
        };
        cron::enable(session, optional_queue(p_queue_name)?.as_ref(), &schedules)
    });
    TableIterator::new(jobs.into_iter().map(row))
}

/// Removes the jobs of a scope.
#[pg_extern]
fn disable_cron(
    p_queue_name: default!(Option<&str>, "NULL"),
) -> TableIterator<'static, (name!(job_name, String), name!(job_id, i64))> {
    let jobs = call(|session| {
        let queue = optional_queue(p_queue_name)?;
        cron::disable(session, queue.as_ref().map(QueueName::as_str))
    });
    TableIterator::new(jobs.into_iter().map(row))
}

/// Schedules the detaching and dropping of old partitions.
#[pg_extern]
fn schedule_detach_jobs(
    p_queue_name: default!(Option<&str>, "NULL"),
) -> TableIterator<
    'static,
    (
        name!(job_name, String),
        name!(job_id, i64),
        name!(queue_name, String),
        name!(partition_table, String),
        name!(job_kind, String),
    ),
> {
    let jobs =
        call(|session| cron::schedule_detach(session, optional_queue(p_queue_name)?.as_ref()));
    TableIterator::new(
        jobs.into_iter().map(|made| {
            (made.job.name, made.job.id, made.queue, made.partition, made.kind.to_owned())
        }),
    )
}
