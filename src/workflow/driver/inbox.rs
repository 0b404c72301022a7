//! Stimuli that could not be applied at once, because their tree was not held: rows of
//! `workflow_stimulus`, taken up in the order of arrival by whoever holds the tree next.
//!
//! A row is seen by the holder or is still there when both have committed. Every claim on its queue
//! and advance_timers look for such rows, so none is lost.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use uuid::Uuid;

use super::rows::{self, int};
use super::view::View;
use super::{Drive, admit, direct, events, followed};
use crate::error::{Error, Result};
use crate::params;
use crate::pg::lock::{self as locks, EventSide};
use crate::pg::plan::{Own, Statement};
use crate::pg::row::Rows;
use crate::pg::{Jsonb, Row, Session, Timestamp};
use crate::queue::QueueName;
use crate::task::followed::Attempt;
use crate::workflow::bounds::cut;
use crate::workflow::json::Json;
use crate::workflow::program::NodeIx;
use crate::workflow::records::{ScopeId, StepKey};
use crate::workflow::state::Host;
use crate::workflow::stimulus::{Stimulus, Work};

/// Stimuli that one statement takes up for a verb, and for a claim, which others wait behind.
const TAKEN: i32 = 256;
const TAKEN_BY_CLAIM: i32 = 16;

/// The order of arrival is real time, whatever `absurd.fake_now` says.
static PUT: Statement = Statement::new(
    "insert into absurd.workflow_stimulus
         (stimulus_id, arrived_at, happened_at, workflow_run_id, root_run_id, queue_name, kind,
          scope, node, payload)
     values (gen_random_uuid(), clock_timestamp(), $8, $1, $2, $3, $4, $5, $6, $7::jsonb)",
);
/// Tells the steps that wait for an event.
static PUT_EVENT: Statement = Statement::new(
    "insert into absurd.workflow_stimulus
         (stimulus_id, arrived_at, happened_at, workflow_run_id, root_run_id, queue_name, kind,
          scope, node, payload)
     select gen_random_uuid(), clock_timestamp(), $4, w.workflow_run_id, w.root_run_id,
            w.queue_name, 'event', w.scope, w.node, $3
       from absurd.workflow_wait w
      where w.queue_name = $1 and w.event_name = $2
     returning root_run_id",
);
static WAITERS: Statement = Statement::new(
    "select count(*) from absurd.workflow_wait where queue_name = $1 and event_name = $2",
);
/// Tells the running steps that follow tasks of a queue, but for those of one tree.
static PUT_TASKS: Statement = Statement::new(
    "insert into absurd.workflow_stimulus
         (stimulus_id, arrived_at, happened_at, workflow_run_id, root_run_id, queue_name, kind,
          scope, node, payload)
     select gen_random_uuid(), clock_timestamp(), $6, s.workflow_run_id, e.root_run_id,
            e.queue_name, $2, s.scope, s.node, $3::jsonb
       from unnest($1) task (id)
       join absurd.workflow_step s on s.task_id = task.id and s.state = 'running'
       join absurd.workflow_execution e on e.workflow_run_id = s.workflow_run_id
      where ($4 is null or e.root_run_id <> $4) and e.queue_name = $5
     returning root_run_id",
);
static TAKE: Statement = Statement::new(
    "with taken as (
        delete from absurd.workflow_stimulus
         where stimulus_id in (
               select stimulus_id from absurd.workflow_stimulus
                where root_run_id = $1 and happened_at < $3
                order by arrived_at, stimulus_id
                limit $2)
        returning *
     )
     select workflow_run_id, kind, scope, node, payload
       from taken
      order by arrived_at, stimulus_id",
);

fn put(drive: &Drive, view: &View, kind: &str, step: Option<StepKey>, payload: &str) -> Result<()> {
    let run = &view.run;
    let (scope, node) = (step.map(|key| int(key.scope.0)), step.map(|key| int(key.node.0)));
    let now = drive.session.now();
    let values = params![run.id, run.root, run.queue.as_str(), kind, scope, node, payload, now];
    drive.session.run(&PUT, &Own, values)?;
    Ok(())
}

/// Asks the next holder to look whether the events of these waits have been emitted.
pub fn put_looks(drive: &Drive, view: &View, waits: &[(StepKey, String)]) -> Result<()> {
    waits.iter().try_for_each(|(step, _)| put(drive, view, "look", Some(*step), "null"))
}

/// Asks the next holder to emit an event.
pub fn put_emit(drive: &Drive, view: &View, name: &str, payload: &Json) -> Result<()> {
    let name = Value::from(name).to_string();
    put(drive, view, "emit", None, &format!(r#"{{"name":{name},"payload":{}}}"#, payload.text()))
}

/// Leaves what a transition had no room for to the next holder.
pub fn put_rest(drive: &mut Drive, run: Uuid, work: &[Work]) -> Result<()> {
    let work: Vec<Value> = work
        .iter()
        .map(|work| match work {
            Work::Decide(key) => json!(["decide", key.scope.0, key.node.0]),
            Work::Inside(key) => json!(["inside", key.scope.0, key.node.0]),
            Work::ScopeDone(scope) => json!(["done", scope.0]),
            Work::Begin(scope, from) => json!(["begin", scope.0, from]),
            Work::Grow(key) => json!(["grow", key.scope.0, key.node.0]),
            Work::Replay(key) => json!(["replay", key.scope.0, key.node.0]),
            Work::Close(key, from) => json!(["close", key.scope.0, key.node.0, from]),
            Work::CloseScope(scope) => json!(["rest", scope.0]),
        })
        .collect();
    let payload = Value::from(work).to_string();
    let view = drive.view(run)?;
    let (id, root, queue) = (view.run.id, view.run.root, view.run.queue.clone());
    let none: Option<i32> = None;
    let now = drive.session.now();
    let values = params![id, root, queue.as_str(), "continue", none, none, payload.as_str(), now];
    drive.session.run(&PUT, &Own, values)?;
    Ok(())
}

/// Tells the oldest run that waits for a slot to look whether there is one.
pub fn put_admit(session: &Session, run: Uuid, queue: &str) -> Result<()> {
    let none: Option<i32> = None;
    let values = params![run, run, queue, "admit", none, none, "null", session.now()];
    session.run(&PUT, &Own, values)?;
    Ok(())
}

/// Tells the steps that wait for an event; returns the roots of their trees.
pub fn put_event(
    session: &Session,
    queue: &QueueName,
    name: &str,
    payload: Jsonb,
) -> Result<BTreeSet<Uuid>> {
    if session.keeps_snapshot() {
        let count = |rows: Rows| rows.first().map_or(Ok(0), |row| row.need::<i64>(0));
        let seen = session.run(&WAITERS, &Own, params![queue.as_str(), name])?;
        let all = session.run_latest(&WAITERS, &Own, params![queue.as_str(), name])?;
        if count(seen)? != count(all)? {
            return Err(Error::Serialization {
                what: format!("a step began or ceased to wait for event \"{}\"", cut(name)),
            });
        }
    }
    let values = params![queue.as_str(), name, payload, session.now()];
    roots(session.run(&PUT_EVENT, &Own, values)?)
}

/// Tells the steps that follow tasks which ended at an instant, but for those of the tree `except`.
pub fn put_ended(
    session: &Session,
    queue: &QueueName,
    tasks: Vec<crate::pg::Uuid>,
    except: Option<Uuid>,
    at: Timestamp,
) -> Result<BTreeSet<Uuid>> {
    if tasks.is_empty() {
        return Ok(BTreeSet::new());
    }
    let values = params![tasks, "task", "null", except, queue.as_str(), at];
    roots(session.run(&PUT_TASKS, &Own, values)?)
}

/// Tells the steps that follow a task that an attempt at it failed and another follows.
pub fn put_attempt(
    session: &Session,
    queue: &QueueName,
    attempt: &Attempt,
    except: Option<Uuid>,
) -> Result<BTreeSet<Uuid>> {
    let payload =
        format!(r#"{{"error":{},"attempts":{}}}"#, attempt.reason_text(), attempt.attempt);
    let at = attempt.ended_at.unwrap_or(session.now());
    let values =
        params![vec![attempt.task], "attempt", payload.as_str(), except, queue.as_str(), at];
    roots(session.run(&PUT_TASKS, &Own, values)?)
}

fn roots(rows: Rows) -> Result<BTreeSet<Uuid>> {
    rows.into_iter().map(|row| row.need(0)).collect()
}

static ANY: Statement =
    Statement::new("select from absurd.workflow_stimulus where root_run_id = $1 limit 1");

/// Whether anything has been left for the call's tree.
pub fn has_any(drive: &Drive) -> Result<bool> {
    match direct::has_stimuli(drive.session, drive.root)? {
        Some(has_any) => Ok(has_any),
        None => Ok(!drive.session.run(&ANY, &Own, params![drive.root])?.is_empty()),
    }
}

/// Takes up what has been left for the call's tree and happened before an instant; says whether
/// there was anything.
pub fn take(drive: &mut Drive, before: Option<Timestamp>) -> Result<bool> {
    let limit = if drive.budget.is_some() { TAKEN_BY_CLAIM } else { TAKEN };
    let before = before.unwrap_or(Timestamp::INFINITY);
    let taken = drive.session.run(&TAKE, &Own, params![drive.root, limit, before])?;
    if taken.is_empty() {
        return Ok(false);
    }
    drive.count(taken.len());
    for row in taken {
        let run: Uuid = row.need(0)?;
        let kind: String = row.need(1)?;
        let step = match (rows::optional_number(&row, 2)?, rows::optional_number(&row, 3)?) {
            (Some(scope), Some(node)) => {
                Some(StepKey { scope: ScopeId(scope), node: NodeIx(node) })
            }
            _ => None,
        };
        read(drive, run, &kind, step, &row)?;
        // One after the other: what a row means may depend on what the one before has done.
        drive.work_off_own()?;
    }
    Ok(true)
}

fn read(drive: &mut Drive, run: Uuid, kind: &str, step: Option<StepKey>, row: &Row) -> Result<()> {
    let payload = || rows::json(row, 4).map(|value| value.unwrap_or_else(Json::null));
    let view = drive.view(run)?;
    if view.run.status.is_final() && kind != "continue" {
        return Ok(());
    }
    if let Some(step) = step {
        rows::node(&view.program, step.node.0)?;
        let Some(record) = view.step(step)?.filter(|record| !record.state.is_final()) else {
            return Ok(());
        };
        let stimulus = match kind {
            "task" => match record.task {
                Some(task) => followed::outcome(view, step, task)?,
                None => None,
            },
            "attempt" => Some(attempt(step, &payload()?)?),
            "event" => {
                let payload = payload()?;
                record.event.clone().map(|event| Stimulus::EventArrived { step, event, payload })
            }
            "look" => look(view, step, record.event.as_deref())?,
            _ => None,
        };
        drive.work.extend(stimulus.map(|stimulus| (run, stimulus)));
        return Ok(());
    }
    match kind {
        "continue" => {
            let work = work(view, &payload()?)?;
            drive.push(run, Stimulus::Continue { work });
        }
        "admit" => admit::look(drive, run)?,
        "emit" => {
            let queue = view.queue.clone();
            let payload = payload()?;
            let emit: Emit = left(payload.text())?;
            drive.holds_events = true;
            events::emit_now(drive, &queue, &[(&emit.name, emit.payload.get())])?;
        }
        _ => {}
    }
    Ok(())
}

fn attempt(step: StepKey, payload: &Json) -> Result<Stimulus> {
    let Failed { error, attempts } = left(payload.text())?;
    let error = Json::from_text(error.get().to_owned());
    Ok(Stimulus::AttemptFailed { step, error, attempts, last: false })
}

/// What [`put_emit`] leaves. The payload may have any number of levels.
#[derive(Deserialize)]
struct Emit<'a> {
    name: String,
    #[serde(borrow)]
    payload: &'a RawValue,
}

/// What [`put_attempt`] leaves, likewise.
#[derive(Deserialize)]
struct Failed<'a> {
    #[serde(borrow)]
    error: &'a RawValue,
    attempts: u32,
}

fn left<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T> {
    serde_json::from_str(text).map_err(|error| Error::Corrupt {
        what: format!("what was left to a workflow run cannot be read: {error}"),
    })
}

/// The event that a step waits for, when it has been emitted by now.
fn look(view: &View, step: StepKey, event: Option<&str>) -> Result<Option<Stimulus>> {
    let Some(event) = event else { return Ok(None) };
    locks::event(view.queue.as_str(), event, EventSide::Await)?;
    let found = events::arrived(view.session, &view.queue, &[(step, event.to_owned())])?;
    let arrived = |(step, event, payload)| Stimulus::EventArrived { step, event, payload };
    Ok(found.into_iter().next().map(arrived))
}

fn work(view: &View, payload: &Json) -> Result<Vec<Work>> {
    let corrupt = || Error::Corrupt {
        what: format!("workflow run \"{}\" goes on with work that cannot be read", view.run.id),
    };
    let number = |entry: &Value, at: usize| {
        let number = entry.get(at).and_then(Value::as_u64).ok_or_else(corrupt)?;
        u32::try_from(number).map_err(|_| corrupt())
    };
    let read = |entry: &Value| {
        let scope = ScopeId(number(entry, 1)?);
        let key = || {
            Ok::<_, Error>(StepKey { scope, node: rows::node(&view.program, number(entry, 2)?)? })
        };
        match entry.get(0).and_then(Value::as_str) {
            Some("decide") => Ok(Work::Decide(key()?)),
            Some("inside") => Ok(Work::Inside(key()?)),
            Some("done") => Ok(Work::ScopeDone(scope)),
            Some("begin") => Ok(Work::Begin(scope, number(entry, 2).unwrap_or_default())),
            Some("grow") => Ok(Work::Grow(key()?)),
            Some("replay") => Ok(Work::Replay(key()?)),
            Some("close") => Ok(Work::Close(key()?, number(entry, 3)?)),
            Some("rest") => Ok(Work::CloseScope(scope)),
            _ => Err(corrupt()),
        }
    };
    payload.value()?.as_array().ok_or_else(corrupt)?.iter().map(read).collect()
}
