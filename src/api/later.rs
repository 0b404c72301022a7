//! Functions of the contract whose feature comes in a later version. They exist, so that clients
//! find them, and say so.

use pgrx::prelude::*;

use crate::error::Error;
use crate::pg::session;

const UNPARTITIONED: &str = "Queues are unpartitioned in this version and need no partitions.";
const BY_HAND: &str = "Call absurd.cleanup_all_queues() from a scheduler of yours.";

fn not_yet<T>(feature: &'static str, hint: &'static str) -> T {
    session::pure(|| Err(Error::NotYet { feature, hint }))
}

/// Creates the coming weeks' partitions.
#[pg_extern]
fn ensure_partitions(p_queue_name: default!(Option<&str>, "NULL")) {
    let _ = p_queue_name;
    not_yet("partitions are", UNPARTITIONED)
}

/// Lists week partitions that may be detached.
#[pg_extern]
fn list_detach_candidates(
    p_queue_name: default!(Option<&str>, "NULL"),
) -> TableIterator<
    'static,
    (name!(queue_name, String), name!(parent_table, String), name!(partition_table, String)),
> {
    let _ = p_queue_name;
    not_yet("partitions are", UNPARTITIONED)
}

/// Drops a partition that has been detached.
#[pg_extern]
fn drop_detached_partition(
    p_partition_table: Option<&str>,
    p_unschedule_job_name: default!(Option<&str>, "NULL"),
) -> bool {
    let _ = (p_partition_table, p_unschedule_job_name);
    not_yet("partitions are", UNPARTITIONED)
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
    let _ = p_queue_name;
    not_yet("partitions are", UNPARTITIONED)
}

/// Installs the pg_cron jobs.
#[pg_extern]
fn enable_cron(
    p_queue_name: default!(Option<&str>, "NULL"),
    p_partition_schedule: default!(Option<&str>, "'5 * * * *'"),
    p_cleanup_schedule: default!(Option<&str>, "'17 * * * *'"),
    p_detach_schedule: default!(Option<&str>, "'29 * * * *'"),
) -> TableIterator<'static, (name!(job_name, String), name!(job_id, i64))> {
    let _ = (p_queue_name, p_partition_schedule, p_cleanup_schedule, p_detach_schedule);
    not_yet("pg_cron jobs are", BY_HAND)
}

/// Removes the pg_cron jobs.
#[pg_extern]
fn disable_cron(
    p_queue_name: default!(Option<&str>, "NULL"),
) -> TableIterator<'static, (name!(job_name, String), name!(job_id, i64))> {
    let _ = p_queue_name;
    not_yet("pg_cron jobs are", BY_HAND)
}
