//! Queues.

use pgrx::heap_tuple::PgHeapTuple;
use pgrx::prelude::*;
use pgrx::{AllocatedByRust, PgTrigger};

use super::required;
use crate::maintenance::cron;
use crate::pg::trigger::{Fired, When};
use crate::pg::value::Interval;
use crate::pg::{Jsonb, call, notify, session};
use crate::queue::QueueName;
use crate::queue::policy::{self, Changes};
use crate::queue::provision::{self, StorageMode};

/// The name itself when a queue may have it.
#[pg_extern(immutable, parallel_safe)]
fn validate_queue_name(p_queue_name: Option<&str>) -> String {
    session::pure(|| Ok(QueueName::parse(p_queue_name)?.as_str().to_owned()))
}

/// Creates a queue; one that exists is left as it is.
#[pg_extern]
fn create_queue(p_queue_name: Option<&str>) {
    call(|session| {
        let queue = QueueName::parse(p_queue_name)?;
        provision::create(session, &queue, StorageMode::Unpartitioned)
    })
}

/// As create_queue, with a storage mode.
#[pg_extern(name = "create_queue")]
fn create_queue_with_mode(p_queue_name: Option<&str>, p_storage_mode: Option<&str>) {
    call(|session| {
        let queue = QueueName::parse(p_queue_name)?;
        provision::create(session, &queue, StorageMode::parse(p_storage_mode)?)
    })
}

/// Drops a queue with its tables; an unknown queue is no error.
#[pg_extern]
fn drop_queue(p_queue_name: Option<&str>) {
    call(|session| {
        let queue = required(p_queue_name, "Queue name")?;
        if provision::drop(session, queue)? {
            cron::forget_queue(session, queue)?;
        }
        Ok(())
    })
}

/// Makes what is missing of a queue's tables and indexes.
#[pg_extern]
fn ensure_queue_tables(p_queue_name: Option<&str>) {
    call(|session| provision::ensure_tables(session, &QueueName::parse(p_queue_name)?))
}

/// The names of all queues.
#[pg_extern]
fn list_queues() -> TableIterator<'static, (name!(queue_name, String),)> {
    let names = call(policy::names);
    TableIterator::new(names.into_iter().map(|name| (name,)))
}

type PolicyRow = (String, String, String, Interval, Interval, Interval, i32, String, Interval);

/// A queue's policy; no row for an unknown queue.
#[pg_extern]
fn get_queue_policy(
    p_queue_name: Option<&str>,
) -> TableIterator<
    'static,
    (
        name!(queue_name, String),
        name!(storage_mode, String),
        name!(default_partition, String),
        name!(partition_lookahead, Interval),
        name!(partition_lookback, Interval),
        name!(cleanup_ttl, Interval),
        name!(cleanup_limit, i32),
        name!(detach_mode, String),
        name!(detach_min_age, Interval),
    ),
> {
    let policy = call(|session| policy::get(session, required(p_queue_name, "Queue name")?));
    TableIterator::new(policy.map(|policy| -> PolicyRow {
        (
            policy.queue_name,
            policy.storage_mode,
            policy.default_partition,
            policy.partition_lookahead,
            policy.partition_lookback,
            policy.cleanup_ttl,
            policy.cleanup_limit,
            policy.detach_mode,
            policy.detach_min_age,
        )
    }))
}

/// Changes a queue's policy.
#[pg_extern]
fn set_queue_policy(p_queue_name: Option<&str>, p_policy: Option<Jsonb>) {
    call(|session| {
        let queue = QueueName::parse(p_queue_name)?;
        let changes = Changes::parse(&required(p_policy, "p_policy")?.to_text())?;
        policy::set(session, &queue, &changes)
    })
}

/// Trigger: tells every backend that the registry's notify policies have changed.
#[pg_trigger]
fn queues_changed<'a>(
    trigger: &'a PgTrigger<'a>,
) -> Result<Option<PgHeapTuple<'a, AllocatedByRust>>, std::convert::Infallible> {
    session::pure(|| {
        let when = [When::AFTER_UPDATE_STATEMENT, When::AFTER_DELETE_STATEMENT];
        Fired::on(trigger, "queues", &when)?;
        notify::forget_relation_of(trigger)
    });
    Ok(None)
}
