//! emit_event and emit_events: an event happens, once, and its waiters wake.

use crate::error::{Error, Result};
use crate::params;
use crate::pg::lock::{self, EventSide};
use crate::pg::row::Rows;
use crate::pg::trigger::{Fired, Version};
use crate::pg::{Jsonb, Session, Statement, Uuid};
use crate::queue::{QueueName, ready};

static EMIT: Statement = Statement::new(include_str!("../../sql/event/emit.sql"));
static WAITERS: Statement = Statement::new(
    "select count(*) from {w}
      where event_name = $1 and (timeout_at is null or timeout_at > $2)",
);
static WAKE: Statement = Statement::new(include_str!("../../sql/event/wake.sql"));
static WAKE_ONE: Statement = Statement::new(include_str!("../../sql/event/wake_one.sql"));
/// What should have been changed of waits, $1 runs and $2 steps, that woke at $3, and was not.
static KEPT: Statement = Statement::new(
    "select from rows from (unnest($1), unnest($2)) as given (run_id, step_name)
       join {r} r on r.run_id = given.run_id
       left join {w} w on w.run_id = given.run_id and w.step_name = given.step_name
       left join {t} t on t.task_id = r.task_id
      where r.state = 'sleeping' and w.run_id is not null
         or r.state = 'pending' and r.available_at = $3
            and (w.run_id is not null or t.state = 'sleeping')
      limit 1",
);
/// Waits whose time has passed are over, unless somebody is at them; a claim tells their runs.
static LATE: Statement = Statement::new(
    "delete from {w} w
      using (select w.run_id, w.step_name
               from rows from (unnest($1), unnest($2)) as given (run_id, step_name)
               join {w} w on w.run_id = given.run_id and w.step_name = given.step_name
              where w.timeout_at <= $3
                for update of w skip locked) late
      where w.run_id = late.run_id and w.step_name = late.step_name",
);

/// A wait for one of the events.
struct Wait {
    run: Uuid,
    step: String,
    /// The event's place among those of the call.
    event: usize,
}

/// Emits events; none of them twice in one call. The first emission of a name stands, later ones
/// change nothing. Returns the places of those that are new.
///
/// The locks of all names come first, and the runs that wait for any of them are taken in one
/// order: taking a second name's lock while holding the runs of a first one is how two would wait
/// for each other in a circle.
///
/// # Errors
/// 42P01 for an unknown queue; 40001 when the transaction keeps a snapshot that does not show every
/// waiter; 27000 when a trigger or policy keeps a waiter asleep.
pub fn run(session: &Session, queue: &QueueName, events: &[(&str, Jsonb)]) -> Result<Vec<usize>> {
    let sides: Vec<_> = events.iter().map(|(name, _)| (*name, EventSide::Emit)).collect();
    lock::events(queue.as_str(), &sides, true)?;
    let now = session.now();
    let (mut waits, mut late): (Vec<Wait>, Vec<Wait>) = (Vec::new(), Vec::new());
    let mut new = Vec::new();
    for (event, (name, payload)) in events.iter().enumerate() {
        if session.keeps_snapshot() {
            check_snapshot(session, queue, name)?;
        }
        let rows = session.run(&EMIT, queue, params![*name, *payload, now])?;
        if !rows.is_empty() {
            new.push(event);
        }
        for row in rows {
            if let Some(run) = row.get(0)? {
                let of_its_kind = if row.need(2)? { &mut late } else { &mut waits };
                of_its_kind.push(Wait { run, step: row.need(1)?, event });
            }
        }
    }
    wake(session, queue, events, waits)?;
    if !late.is_empty() {
        let (runs, steps): (Vec<_>, Vec<_>) =
            late.into_iter().map(|wait| (wait.run, wait.step)).unzip();
        session.run(&LATE, queue, params![runs, steps, now])?;
    }
    Ok(new)
}

fn wake(
    session: &Session,
    queue: &QueueName,
    events: &[(&str, Jsonb)],
    mut waits: Vec<Wait>,
) -> Result<()> {
    let now = session.now();
    waits.sort_unstable_by_key(|wait| *wait.run.as_bytes());
    let ids = || {
        let steps: Vec<_> = waits.iter().map(|wait| wait.step.clone()).collect();
        (waits.iter().map(|wait| wait.run).collect::<Vec<_>>(), steps)
    };
    let woken = match &waits[..] {
        [] => return Ok(()),
        [Wait { run, step, event }] => {
            let values = params![*run, step.as_str(), events[*event].1, now];
            session.run(&WAKE_ONE, queue, values)?
        }
        _ => {
            let (runs, steps) = ids();
            let values = params![
                runs,
                steps,
                waits.iter().map(|wait| wait.event as i32 + 1).collect::<Vec<_>>(),
                events.iter().map(|(_, payload)| Some(*payload)).collect::<Vec<_>>(),
                now,
            ];
            session.run(&WAKE, queue, values)?
        }
    };
    // Fewer may have waited by then, or a trigger or policy has kept rows as they were.
    let woken = woken.only()?;
    if woken.need::<i64>(0)? < waits.len() as i64 {
        let (runs, steps) = ids();
        if woken.need(1)? || !session.run(&KEPT, queue, params![runs, steps, now])?.is_empty() {
            return Err(Session::kept(queue, "{r}, {t} or {w}"));
        }
    }
    ready::announce(session, queue, now)
}

/// Takes the emitter's side of an event whose row is being inserted, into the table of the queue
/// that is the trigger's argument. Clients that write the table themselves meet await_event this
/// way.
pub fn guard(fired: &Fired) -> Result<()> {
    let name: Option<String> = fired.get(Version::New, "event_name")?;
    match (fired.argument()?, name) {
        (Some(queue), Some(name)) => lock::event(&queue, &name, EventSide::Emit),
        // A row without a name is refused by its column.
        _ => Ok(()),
    }
}

fn check_snapshot(session: &Session, queue: &QueueName, name: &str) -> Result<()> {
    let values = params![name, session.now()];
    let seen = session.run(&WAITERS, queue, values)?;
    let all = session.run_latest(&WAITERS, queue, values)?;
    let count = |rows: Rows| rows.first().map_or(Ok(0), |row| row.need::<i64>(0));
    if count(seen)? == count(all)? {
        return Ok(());
    }
    Err(Error::Serialization {
        what: format!("a run began or ceased to wait for event \"{name}\""),
    })
}
