//! Durable queues, tasks and workflow runs inside PostgreSQL.
//!
//! One way through the house: `api` -> `workflow` -> `task`, `event`, `checkpoint`, `maintenance`
//! -> `queue` -> `pg`. `error`, `json`, `time`, `unknown` and the pure files (state, backoff,
//! options, status, name) lie below all and know nothing of Postgres. Neither do the language of
//! workflow documents, their compiler and their interpreter, which `workflow::driver` connects with
//! the tables.

// Data must not be able to end a session's call other than by an error with its code.
#![cfg_attr(
    not(test),
    warn(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::todo,
        clippy::unimplemented
    )
)]

use pgrx::prelude::*;

mod api;
mod checkpoint;
mod error;
mod event;
mod json;
mod maintenance;
mod pg;
mod queue;
mod schema;
mod task;
mod time;
mod unknown;
mod workflow;

pg_module_magic!(name, version);

/// Called by Postgres when it loads the library.
#[pg_guard]
pub extern "C-unwind" fn _PG_init() {
    pg::guc::define();
    pg::path::install();
    pg::planning::install();
    pg::notify::install();
    pg::aborts::install();
}
