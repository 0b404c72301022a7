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
mod task;
mod time;
mod unknown;
mod workflow;

pg_module_magic!(name, version);

extension_sql_file!("../sql/schema/bootstrap.sql", name = "bootstrap", bootstrap);
extension_sql_file!(
    "../sql/schema/workflow.sql",
    name = "workflow_tables",
    requires = ["bootstrap"]
);
extension_sql_file!(
    "../sql/schema/execution.sql",
    name = "execution_tables",
    requires = ["workflow_tables"]
);
extension_sql_file!("../sql/schema/stuck_work.sql", name = "stuck_work", requires = ["bootstrap"]);
extension_sql_file!(
    "../sql/schema/execution_comments.sql",
    name = "execution_comments",
    requires = [
        "execution_tables",
        register_workflow,
        register_workflow_yaml,
        get_workflow,
        list_workflows,
        start_workflow,
        workflow_run_steps,
        workflow_run_context,
        pause_workflow,
        resume_workflow,
        advance_timers,
        run_schedules,
        add_workflow_items,
        workflow_diagram,
        workflow_run_diagram,
        workflow_execution_forget,
        set_current_version,
        list_event_waits,
        delete_workflow,
        workflow_definition_deleted,
    ]
);
extension_sql_file!("../sql/schema/finalize.sql", name = "finalize", finalize);

/// Called by Postgres when it loads the library.
#[pg_guard]
pub extern "C-unwind" fn _PG_init() {
    pg::guc::define();
    pg::path::install();
    pg::planning::install();
    pg::notify::install();
    pg::aborts::install();
}
