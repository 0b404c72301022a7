//! Many at once, for those who write SQL themselves.

use pgrx::prelude::*;

use super::{required, warn_of};
use crate::error::{Error, Result};
use crate::event::check_name;
use crate::pg::value::JsonbArray;
use crate::pg::{Jsonb, Timestamp, Uuid, call};
use crate::queue::{QueueName, access};
use crate::task::batch;
use crate::workflow::{link, work};

/// Spawns many tasks.
#[pg_extern]
fn spawn_tasks(
    p_queue_name: Option<&str>,
    p_tasks: Option<Jsonb>,
) -> TableIterator<
    'static,
    (name!(task_id, Uuid), name!(run_id, Option<Uuid>), name!(attempt, i32), name!(created, bool)),
> {
    let spawned = call(|session| {
        let queue = QueueName::parse(p_queue_name)?;
        access::require(&queue, &access::SPAWN)?;
        let json = required(p_tasks, batch::TASKS)?;
        let items = batch::parse(&json.to_text())?;
        items.iter().try_for_each(|item| warn_of(&item.options.unknown))?;
        let links = items
            .iter()
            .enumerate()
            .map(|(index, item)| {
                link::resolve_text(session, &queue, &item.options, item.params.as_deref())
                    .map_err(|error| error.at(batch::TASKS, index))
            })
            .collect::<Result<Vec<_>>>()?;
        batch::spawn(session, &queue, json, &items, &links)
    });
    TableIterator::new(spawned.into_iter().map(super::task::spawned_row))
}

/// Completes many running runs and their tasks.
#[pg_extern]
fn complete_runs(
    p_queue_name: Option<&str>,
    p_run_ids: Option<Vec<Option<Uuid>>>,
    p_states: default!(Option<JsonbArray>, "NULL"),
) {
    call(|session| {
        let queue = QueueName::parse(p_queue_name)?;
        access::require(&queue, &access::WORK)?;
        let runs = elements(p_run_ids, batch::RUNS)?;
        let states = beside(p_states, "p_states", runs.len(), batch::RUNS)?;
        work::complete_many(session, &queue, &runs, states)
    })
}

/// Fails many runs; their tasks are retried while they have attempts.
#[pg_extern]
fn fail_runs(
    p_queue_name: Option<&str>,
    p_run_ids: Option<Vec<Option<Uuid>>>,
    p_reasons: default!(Option<JsonbArray>, "NULL"),
    p_retry_at: default!(Option<Timestamp>, "NULL"),
) {
    call(|session| {
        let queue = QueueName::parse(p_queue_name)?;
        access::require(&queue, &access::WORK)?;
        let runs = elements(p_run_ids, batch::RUNS)?;
        let reasons = beside(p_reasons, "p_reasons", runs.len(), batch::RUNS)?;
        work::fail_many(session, &queue, &runs, &reasons, p_retry_at)
    })
}

/// Emits many events and wakes the runs that wait for them.
#[pg_extern]
fn emit_events(
    p_queue_name: Option<&str>,
    p_event_names: Option<Vec<Option<String>>>,
    p_payloads: default!(Option<JsonbArray>, "NULL"),
) {
    const NAMES: &str = "p_event_names";
    call(|session| {
        let queue = QueueName::parse(p_queue_name)?;
        access::require(&queue, &access::EMIT)?;
        let names = elements(p_event_names, NAMES)?;
        let payloads = beside(p_payloads, "p_payloads", names.len(), NAMES)?;
        for (index, name) in names.iter().enumerate() {
            check_name(Some(name)).map_err(|error| error.at(NAMES, index))?;
        }
        // In one order, so that two that emit the same names do not wait for each other in a
        // circle; the first of a name stands.
        let mut events: Vec<(&str, Jsonb)> = Vec::with_capacity(names.len());
        for index in in_order(&names) {
            if events.last().is_none_or(|(last, _)| *last != names[index]) {
                events.push((&names[index], payloads[index].map_or_else(Jsonb::null, Ok)?));
            }
        }
        work::emit(session, &queue, &events)
    })
}

/// The places of the elements in ascending order, equal ones as they came.
fn in_order<T: Ord>(elements: &[T]) -> Vec<usize> {
    let mut places: Vec<usize> = (0..elements.len()).collect();
    places.sort_by(|a, b| elements[*a].cmp(&elements[*b]));
    places
}

/// The elements of an array, none of which may be NULL.
fn elements<T>(array: Option<Vec<Option<T>>>, argument: &'static str) -> Result<Vec<T>> {
    required(array, argument)?
        .into_iter()
        .enumerate()
        .map(|(index, element)| element.ok_or_else(|| Error::null("element").at(argument, index)))
        .collect()
}

/// The values that go with the elements of another array; NULL for each when there is no array.
fn beside(
    array: Option<JsonbArray>,
    argument: &'static str,
    wanted: usize,
    of: &str,
) -> Result<Vec<Option<Jsonb>>> {
    match array.map(JsonbArray::elements) {
        None => Ok(vec![None; wanted]),
        Some(array) if array.len() == wanted => Ok(array),
        Some(array) => Err(Error::invalid(
            argument,
            format!("must have as many elements as {of} ({wanted}), not {}", array.len()),
        )),
    }
}
