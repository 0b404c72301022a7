//! The clock, versions, ids and weeks.

use pgrx::prelude::*;

use crate::pg::{Timestamp, Uuid, clock, session, uuid};

/// The engine's time.
#[pg_extern(stable, parallel_safe)]
fn current_time() -> Timestamp {
    session::pure(clock::now)
}

/// The extension's version.
#[pg_extern(immutable, parallel_safe)]
fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

/// A new UUID of version 7.
#[pg_extern(volatile, parallel_safe)]
fn portable_uuidv7() -> Uuid {
    session::pure(|| uuid::v7(clock::now()?))
}

/// The instant of a UUID of version 7, NULL for other versions.
#[pg_extern(immutable, parallel_safe)]
fn uuidv7_timestamp(p_id: Option<Uuid>) -> Option<Timestamp> {
    p_id.and_then(uuid::timestamp)
}

/// The lowest UUID of version 7 of an instant.
#[pg_extern(immutable, parallel_safe)]
fn uuidv7_floor(p_ts: Option<Timestamp>) -> Option<Uuid> {
    session::pure(|| p_ts.map(uuid::floor).transpose())
}

/// The start of an instant's ISO week in UTC.
#[pg_extern(immutable, parallel_safe)]
fn week_bucket_utc(p_ts: Option<Timestamp>) -> Option<Timestamp> {
    p_ts.map(Timestamp::week_start)
}

/// The tag of an instant's ISO week.
#[pg_extern(immutable, parallel_safe)]
fn partition_week_tag(p_ts: Option<Timestamp>) -> Option<String> {
    p_ts.and_then(Timestamp::week_tag)
}
