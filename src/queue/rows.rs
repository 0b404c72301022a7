//! The tables of a queue as the direct path knows them: columns, and the indexes that it relies
//! upon.

use std::rc::Rc;

use super::{QueueName, partition};
use crate::error::Result;
use crate::pg::Session;
use crate::pg::direct::{Access, Layout, Parts, Table, Which};

pub mod runs {
    crate::layout! {
        "btree (run_id)";
        RUN_ID "run_id" UUID,
        TASK_ID "task_id" UUID,
        ATTEMPT "attempt" INT4,
        STATE "state" TEXT,
        CLAIMED_BY "claimed_by" TEXT,
        CLAIM_EXPIRES_AT "claim_expires_at" TIMESTAMPTZ,
        AVAILABLE_AT "available_at" TIMESTAMPTZ,
        WAKE_EVENT "wake_event" TEXT,
        EVENT_PAYLOAD "event_payload" JSONB,
        STARTED_AT "started_at" TIMESTAMPTZ,
        COMPLETED_AT "completed_at" TIMESTAMPTZ,
        FAILED_AT "failed_at" TIMESTAMPTZ,
        RESULT "result" JSONB,
        FAILURE_REASON "failure_reason" JSONB,
        CREATED_AT "created_at" TIMESTAMPTZ,
        LAST_HEARTBEAT "last_heartbeat" TIMESTAMPTZ,
        TENANT_ID "tenant_id" TEXT,
        PRIORITY "priority" INT2,
        ATTEMPT_ENDS_AT "attempt_ends_at" TIMESTAMPTZ,
        RETRIED "retried" BOOL,
    }
}

pub mod tasks {
    crate::layout! {
        "btree (task_id)";
        TASK_ID "task_id" UUID,
        TASK_NAME "task_name" TEXT,
        PARAMS "params" JSONB,
        HEADERS "headers" JSONB,
        RETRY_STRATEGY "retry_strategy" JSONB,
        MAX_ATTEMPTS "max_attempts" INT4,
        CANCELLATION "cancellation" JSONB,
        ENQUEUE_AT "enqueue_at" TIMESTAMPTZ,
        FIRST_STARTED_AT "first_started_at" TIMESTAMPTZ,
        STATE "state" TEXT,
        ATTEMPTS "attempts" INT4,
        LAST_ATTEMPT_RUN "last_attempt_run" UUID,
        COMPLETED_PAYLOAD "completed_payload" JSONB,
        CANCELLED_AT "cancelled_at" TIMESTAMPTZ,
        TENANT_ID "tenant_id" TEXT,
        IDEMPOTENCY_KEY "idempotency_key" TEXT,
        WORKFLOW_RUN_ID "workflow_run_id" UUID,
        CANCEL_DONE "cancel_done" BOOL,
        WORKFLOW_STEP "workflow_step" BOOL,
        ATTEMPT_TIMEOUT "attempt_timeout" FLOAT8,
        LEAVE_LATE "leave_late" BOOL,
    }
}

pub mod waits {
    crate::layout! {
        "btree (run_id, step_name)";
        TASK_ID "task_id" UUID,
        RUN_ID "run_id" UUID,
        STEP_NAME "step_name" TEXT,
        EVENT_NAME "event_name" TEXT,
        TIMEOUT_AT "timeout_at" TIMESTAMPTZ,
        CREATED_AT "created_at" TIMESTAMPTZ,
    }
}

pub mod checkpoints {
    crate::layout! {
        "btree (task_id, checkpoint_name)";
        TASK_ID "task_id" UUID,
        CHECKPOINT_NAME "checkpoint_name" TEXT,
        STATE "state" JSONB,
        STATUS "status" TEXT,
        OWNER_RUN_ID "owner_run_id" UUID,
        UPDATED_AT "updated_at" TIMESTAMPTZ,
    }
}

pub mod events {
    crate::layout! {
        "btree (event_name)";
        EVENT_NAME "event_name" TEXT,
        PAYLOAD "payload" JSONB,
        EMITTED_AT "emitted_at" TIMESTAMPTZ,
    }
}

pub mod keys {
    crate::layout! {
        "btree (idempotency_key)";
        IDEMPOTENCY_KEY "idempotency_key" TEXT,
        TASK_ID "task_id" UUID,
    }
}

// Indexes of a queue.

pub static READY: Which = Which::Like(
    "btree (priority DESC, available_at, run_id) \
                 WHERE (state = ANY (ARRAY['pending'::text, 'sleeping'::text]))",
);
pub static LEASES: Which = Which::Like(
    "btree (claim_expires_at) \
                 WHERE ((state = 'running'::text) AND (claim_expires_at IS NOT NULL))",
);
pub static ATTEMPTS: Which = Which::Like(
    "btree (attempt_ends_at) \
                 WHERE ((state = 'running'::text) AND (attempt_ends_at IS NOT NULL))",
);
/// What Postgres makes of sql/task/deadline.sql.
pub static RULES: Which = Which::Like(
    "btree ((CASE WHEN (first_started_at IS NOT NULL) THEN CASE WHEN \
        ((jsonb_typeof((cancellation -> 'max_duration'::text)) = 'number'::text) AND \
        ((cancellation ->> 'max_duration'::text) ~ '^[0-9]{1,9}$'::text)) THEN \
        (timezone('UTC'::text, first_started_at) + \
        make_interval(secs => ((cancellation ->> 'max_duration'::text))::double precision)) \
        ELSE NULL::timestamp without time zone END WHEN (attempts <= 1) THEN CASE WHEN \
        ((jsonb_typeof((cancellation -> 'max_delay'::text)) = 'number'::text) AND \
        ((cancellation ->> 'max_delay'::text) ~ '^[0-9]{1,9}$'::text)) THEN \
        (timezone('UTC'::text, enqueue_at) + \
        make_interval(secs => ((cancellation ->> 'max_delay'::text))::double precision)) \
        ELSE NULL::timestamp without time zone END ELSE NULL::timestamp without time zone END)) \
        WHERE ((cancellation IS NOT NULL) AND (cancel_done IS NULL))",
);

/// A queue's table for direct use; none when statements must be used.
///
/// # Errors
/// Postgres's own.
pub fn open(
    session: &Session,
    queue: &QueueName,
    prefix: &str,
    layout: &'static Layout,
    access: Access,
) -> Result<Option<Rc<Table>>> {
    session.table(&queue.relation(prefix, ""), layout, access)
}

/// The tables that hold the rows of a queue's table, for reading, with the tags of their weeks;
/// none when statements must be used, as where a partition is not one of ours.
///
/// # Errors
/// Postgres's own.
pub fn parts(
    session: &Session,
    queue: &QueueName,
    prefix: &str,
    layout: &'static Layout,
) -> Result<Option<Parts>> {
    let whole = queue.relation(prefix, "");
    let Some(parts) = session.parts(&whole, layout)? else { return Ok(None) };
    let tagged = parts.into_iter().map(|(name, table)| {
        let tag = if name == whole { "" } else { name.rsplit('_').next()? };
        let is_ours = tag.is_empty() || partition::is_suffix(tag);
        (is_ours && queue.relation(prefix, tag) == name).then(|| (tag.to_owned(), table))
    });
    Ok(tagged.collect())
}
