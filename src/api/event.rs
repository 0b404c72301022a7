//! Events.

use pgrx::prelude::*;
use pgrx::{AllocatedByPostgres, PgTrigger};

use super::required;
use crate::checkpoint;
use crate::event::wait::Wait;
use crate::event::{check_name, emit, wait};
use crate::pg::trigger::Fired;
use crate::pg::{Jsonb, Uuid, call, session};
use crate::queue::{QueueName, access};
use crate::workflow::work;

/// Awaits an event as a step of a running run.
#[pg_extern]
fn await_event(
    p_queue_name: Option<&str>,
    p_task_id: Option<Uuid>,
    p_run_id: Option<Uuid>,
    p_step_name: Option<&str>,
    p_event_name: Option<&str>,
    p_timeout: default!(Option<i32>, "NULL"),
) -> TableIterator<'static, (name!(should_suspend, bool), name!(payload, Option<Jsonb>))> {
    let answer = call(|session| {
        let queue = QueueName::parse(p_queue_name)?;
        access::require(&queue, &access::AWAIT)?;
        let wait = Wait {
            task: required(p_task_id, "p_task_id")?,
            run: required(p_run_id, "p_run_id")?,
            step: checkpoint::check_step(p_step_name)?,
            event: check_name(p_event_name)?,
            timeout: p_timeout,
        };
        wait::run(session, &queue, &wait)
    });
    TableIterator::once((answer.suspend, answer.payload))
}

/// Trigger: an event that is stored, by whomever, keeps those who are about to await it apart.
#[pg_trigger]
fn event_emission<'a>(
    trigger: &'a PgTrigger<'a>,
) -> Result<Option<PgHeapTuple<'a, AllocatedByPostgres>>, std::convert::Infallible> {
    session::pure(|| emit::guard(&Fired::on_events(trigger)?));
    Ok(trigger.new())
}

/// Emits an event and wakes the runs that wait for it.
#[pg_extern]
fn emit_event(
    p_queue_name: Option<&str>,
    p_event_name: Option<&str>,
    p_payload: default!(Option<Jsonb>, "NULL"),
) {
    call(|session| {
        let queue = QueueName::parse(p_queue_name)?;
        access::require(&queue, &access::EMIT)?;
        let name = check_name(p_event_name)?;
        work::emit(session, &queue, &[(name, p_payload.map_or_else(Jsonb::null, Ok)?)])
    })
}
