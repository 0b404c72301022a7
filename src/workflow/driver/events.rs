//! Events of executed runs: emitted, and waited for.
//!
//! An emitter and a waiter of one event exclude each other by the event's lock, so either the
//! emitter sees the registered wait, or the waiter sees the event.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use uuid::Uuid;

use super::rows::{self, int};
use super::view::View;
use super::{Drive, inbox, turn};
use crate::error::{Error, Result};
use crate::event::emit;
use crate::params;
use crate::pg::lock::{self, EventSide};
use crate::pg::plan::{Own, Statement};
use crate::pg::{Jsonb, Session};
use crate::queue::QueueName;
use crate::workflow::bounds::cut;
use crate::workflow::json::Json;
use crate::workflow::records::StepKey;
use crate::workflow::stimulus::Stimulus;

/// Locks all events of a transition in one order. Only the first transition of a call waits: a
/// later one could wait in a circle, so it takes what is free, or nothing. Returns whether the
/// events are locked.
pub fn lock(
    drive: &mut Drive,
    view: &View,
    emits: &[(String, Json)],
    waits: &BTreeMap<StepKey, Option<String>>,
) -> Result<bool> {
    let emits = emits.iter().map(|(name, _)| (name.as_str(), EventSide::Emit));
    let waits = waits.values().flatten().map(|name| (name.as_str(), EventSide::Await));
    let sides: Vec<(&str, EventSide)> = emits.chain(waits).collect();
    if sides.is_empty() {
        return Ok(true);
    }
    let wait = !drive.holds_events;
    drive.holds_events = true;
    lock::events(view.queue.as_str(), &sides, wait)
}

static WAIT: Statement = Statement::new(
    "insert into absurd.workflow_wait
         (workflow_run_id, scope, node, root_run_id, queue_name, event_name)
     select $1, u.scope, u.node, $2, $3, u.event_name
       from unnest($4, $5, $6) u (scope, node, event_name)
     on conflict (workflow_run_id, scope, node) do update set event_name = excluded.event_name",
);
static FORGET: Statement = Statement::new(
    "delete from absurd.workflow_wait w
      using unnest($2, $3) u (scope, node)
      where w.workflow_run_id = $1 and w.scope = u.scope and w.node = u.node",
);
static EMITTED: Statement =
    Statement::new("select event_name, payload from {e} where event_name = any ($1)");

/// Registers and removes waits. An event that was emitted since the interpreter looked arrives at
/// once; where the lock could not be had, the wait is looked at again by who next holds the tree.
pub fn wait(
    drive: &mut Drive,
    view: &View,
    waits: &BTreeMap<StepKey, Option<String>>,
    locked: bool,
) -> Result<()> {
    let run = &view.run;
    let place = |key: &StepKey| (int(key.scope.0), int(key.node.0));
    let gone = waits.iter().filter(|(_, name)| name.is_none()).map(|(key, _)| place(key));
    let (scopes, nodes): (Vec<i32>, Vec<i32>) = gone.unzip();
    if !scopes.is_empty() {
        view.session.run(&FORGET, &Own, params![run.id, scopes, nodes])?;
    }
    let wanted: Vec<(StepKey, String)> =
        waits.iter().filter_map(|(key, name)| Some((*key, name.clone()?))).collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let (scopes, nodes): (Vec<i32>, Vec<i32>) = wanted.iter().map(|(key, _)| place(key)).unzip();
    let names: Vec<Option<String>> = wanted.iter().map(|(_, name)| Some(name.clone())).collect();
    let values = params![run.id, run.root, run.queue.as_str(), scopes, nodes, names];
    view.session.run(&WAIT, &Own, values)?;
    if !locked {
        return inbox::put_looks(drive, view, &wanted);
    }
    for (step, event, payload) in arrived(view.session, &view.queue, &wanted)? {
        drive.push(run.id, Stimulus::EventArrived { step, event, payload });
    }
    Ok(())
}

/// Those of the waits whose event has been emitted, under the events' locks.
///
/// # Errors
/// 40001 when that happened after the snapshot that the transaction keeps.
pub fn arrived(
    session: &Session,
    queue: &QueueName,
    wanted: &[(StepKey, String)],
) -> Result<Vec<(StepKey, String, Json)>> {
    let mut names: Vec<String> = wanted.iter().map(|(_, name)| name.clone()).collect();
    names.sort_unstable();
    names.dedup();
    let mut emitted: BTreeMap<String, Json> = BTreeMap::new();
    for row in session.run(&EMITTED, queue, params![names.clone()])? {
        let payload = row.get::<Jsonb>(1)?;
        let payload = payload.map_or_else(Json::null, rows::of_jsonb);
        emitted.insert(row.need(0)?, payload);
    }
    if session.keeps_snapshot() {
        for row in session.run_latest(&EMITTED, queue, params![names])? {
            let name: String = row.need(0)?;
            if !emitted.contains_key(&name) {
                let what = format!("event \"{}\" was emitted", cut(&name));
                return Err(Error::Serialization { what });
            }
        }
    }
    let found =
        |(step, name): &(StepKey, String)| Some((*step, name.clone(), emitted.get(name)?.clone()));
    Ok(wanted.iter().filter_map(found).collect())
}

/// Emits events, the first of a name; those whose lock could not be had are emitted by who next
/// holds the tree.
pub fn emit(
    drive: &mut Drive,
    view: &View,
    emits: Vec<(String, Json)>,
    locked: bool,
) -> Result<()> {
    let mut seen = HashSet::new();
    let emits: Vec<_> = emits.into_iter().filter(|(name, _)| seen.insert(name.clone())).collect();
    if !locked {
        return emits
            .iter()
            .try_for_each(|(name, payload)| inbox::put_emit(drive, view, name, payload));
    }
    let emits: Vec<(&str, &str)> =
        emits.iter().map(|(name, payload)| (name.as_str(), payload.text())).collect();
    emit_now(drive, &view.queue, &emits)
}

/// Emits events, none of them twice, and tells the waiting steps of every tree.
pub fn emit_now(drive: &mut Drive, queue: &QueueName, emits: &[(&str, &str)]) -> Result<()> {
    if emits.is_empty() {
        return Ok(());
    }
    let events = emits
        .iter()
        .map(|(name, payload)| Ok((*name, Jsonb::from_text(payload)?)))
        .collect::<Result<Vec<_>>>()?;
    for place in emit::run(drive.session, queue, &events)? {
        let (name, payload) = events[place];
        let roots = inbox::put_event(drive.session, queue, name, payload)?;
        drive.tell(roots);
    }
    Ok(())
}

/// After emit_event: tells the steps that wait for events that were emitted just now, and lets
/// those go on whose trees are free.
pub fn emitted<'e>(
    session: &Session,
    queue: &QueueName,
    events: impl Iterator<Item = (&'e str, Jsonb)>,
) -> Result<()> {
    let mut roots = BTreeSet::new();
    for (name, payload) in events {
        roots.extend(inbox::put_event(session, queue, name, payload)?);
    }
    turn::try_roots(session, roots)
}

impl Drive<'_> {
    /// Notes that stimuli were left for these roots; its own are taken up anyway.
    pub fn tell(&mut self, roots: impl IntoIterator<Item = Uuid>) {
        let own = self.root;
        self.others.extend(roots.into_iter().filter(|root| *root != own));
    }
}
