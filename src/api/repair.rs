//! Workflow runs that an operator moves on: retried, or with a step ended by hand.

use pgrx::prelude::*;

use super::{plain, required};
use crate::pg::{Jsonb, Uuid, call};
use crate::workflow::driver::{pause, reopen, rows, settle_step};
use crate::workflow::json::Json;
use settle_step::Outcome;

/// Starts a run again that has failed or was cancelled; what has completed is not repeated.
#[pg_extern]
fn retry_workflow_run(workflow_run_id: Option<Uuid>, p_from_step: default!(Option<&str>, "NULL")) {
    call(|session| {
        let run = required(workflow_run_id, "workflow_run_id")?;
        reopen::retry(session, plain(run), p_from_step)
    })
}

/// Holds a run and its children up.
#[pg_extern]
fn pause_workflow_run(workflow_run_id: Option<Uuid>) {
    call(|session| {
        let run = required(workflow_run_id, "workflow_run_id")?;
        pause::pause(session, plain(run))
    })
}

/// Lets a paused run go on.
#[pg_extern]
fn resume_workflow_run(workflow_run_id: Option<Uuid>) {
    call(|session| {
        let run = required(workflow_run_id, "workflow_run_id")?;
        pause::resume(session, plain(run))
    })
}

/// Has a step count as completed with a result, without being executed.
#[pg_extern]
fn skip_step(
    workflow_run_id: Option<Uuid>,
    p_path: Option<&str>,
    p_result: default!(Option<Jsonb>, "NULL"),
) {
    call(|session| {
        let run = required(workflow_run_id, "workflow_run_id")?;
        let path = required(p_path, "p_path")?;
        let result = p_result.map_or_else(Json::null, rows::of_jsonb);
        settle_step::settle(session, plain(run), path, Outcome::Completed(result))
    })
}

/// Fails a step, whoever works on it.
#[pg_extern]
fn fail_step(
    workflow_run_id: Option<Uuid>,
    p_path: Option<&str>,
    p_reason: default!(Option<&str>, "NULL"),
) {
    call(|session| {
        let run = required(workflow_run_id, "workflow_run_id")?;
        let path = required(p_path, "p_path")?;
        let reason = p_reason.unwrap_or("the step was failed by an operator");
        settle_step::settle(session, plain(run), path, Outcome::Failed(reason.to_owned()))
    })
}
