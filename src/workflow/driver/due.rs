//! Timers that have come due, and stimuli that were left, taken up by claims and by advance_timers.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::{Drive, admit, followed, inbox, rows};
use crate::error::{Error, Result};
use crate::params;
use crate::pg::plan::{Own, Statement};
use crate::pg::{Row, Session};
use crate::queue::{QueueName, access, policy};
use crate::task::sweep;
use crate::workflow::program::NodeIx;
use crate::workflow::records::{ScopeId, StepKey, TimerKind};
use crate::workflow::stimulus::Stimulus;

/// Trees that a claim lets go on at most, and timers that it fires.
const ROOTS: usize = 16;
const TIMERS: i32 = 128;

static DUE: Statement = Statement::new(
    "select root_run_id, workflow_run_id, scope, node
       from absurd.workflow_timer
      where queue_name = $1 and due_at <= $2
      order by due_at
      limit $3",
);
static LEFT: Statement = Statement::new(
    "select root_run_id
       from absurd.workflow_stimulus
      where queue_name = $1
      order by arrived_at
      limit $2",
);
static FIRE: Statement = Statement::new(
    "with fired as (
        delete from absurd.workflow_timer t
         using unnest($1, $2, $3) u (workflow_run_id, scope, node)
         where t.workflow_run_id = u.workflow_run_id and t.scope = u.scope and t.node = u.node
           and t.due_at <= $4
        returning t.*
     )
     select workflow_run_id, scope, node, kind from fired order by due_at, scope, node",
);

/// The keys of due timers, by the root of their tree; a tree with none has stimuli.
type Due = BTreeMap<Uuid, Vec<(Uuid, i32, i32)>>;

fn due(session: &Session, queue: &QueueName, limit: i32) -> Result<Due> {
    let mut due = Due::new();
    for row in session.run(&DUE, &Own, params![queue.as_str(), session.now(), limit])? {
        let timer = (row.need(1)?, row.need(2)?, row.need(3)?);
        due.entry(row.need(0)?).or_default().push(timer);
    }
    for row in session.run(&LEFT, &Own, params![queue.as_str(), limit])? {
        due.entry(row.need(0)?).or_default();
    }
    Ok(due)
}

/// Fires those timers of a held tree that are still set and due; returns how many. What was left for
/// the tree comes first: an event that arrived in time ends a wait whose time has run out since.
fn fire(drive: &mut Drive, timers: &[(Uuid, i32, i32)]) -> Result<i32> {
    if timers.is_empty() {
        return Ok(0);
    }
    drive.work_off()?;
    let values = params![
        timers.iter().map(|(run, ..)| Some(*run)).collect::<Vec<_>>(),
        timers.iter().map(|(_, scope, _)| *scope).collect::<Vec<_>>(),
        timers.iter().map(|(.., node)| *node).collect::<Vec<_>>(),
        drive.session.now(),
    ];
    let fired = drive.session.run(&FIRE, &Own, values)?;
    let count = fired.len();
    for row in fired {
        let run: Uuid = row.need(0)?;
        let step = step(&row)?;
        match rows::timer_kind(&row.need::<String>(3)?)? {
            TimerKind::Admit => admit::look(drive, run)?,
            kind => drive.push(run, Stimulus::TimerFired { step, kind }),
        }
    }
    Ok(count as i32)
}

fn step(row: &Row) -> Result<Option<StepKey>> {
    if row.need::<i32>(1)? < 0 {
        return Ok(None);
    }
    let (scope, node) = (rows::number(row, 1)?, rows::number(row, 2)?);
    Ok(Some(StepKey { scope: ScopeId(scope), node: NodeIx(node) }))
}

/// Lets the trees of a queue go on that a claim finds due, without waiting for any.
///
/// # Errors
/// Postgres's own.
pub fn on_claim(session: &Session, queue: &QueueName) -> Result<()> {
    for (root, timers) in due(session, queue, TIMERS)?.into_iter().take(ROOTS) {
        inbox::try_root(session, root, |drive| fire(drive, &timers).map(drop))?;
    }
    Ok(())
}

/// Fires at most `limit` due timers of one queue, or of all, attempts that have taken too long among
/// them, and takes up the stimuli that were left.
/// The first tree is waited for; others that somebody holds are left to the next call. Returns the
/// timers fired.
///
/// # Errors
/// Postgres's own.
pub fn advance(session: &Session, queue: Option<&QueueName>, limit: i32) -> Result<i32> {
    let queues = match queue {
        Some(queue) => vec![queue.clone()],
        None => {
            let names = policy::all_names(session)?;
            let mut queues = Vec::new();
            for queue in names.iter().filter_map(|name| QueueName::parse(Some(name)).ok()) {
                // Of all queues, those that are the role's to work on.
                if access::allows(&queue, &access::WORK)? {
                    queues.push(queue);
                }
            }
            queues
        }
    };
    let mut fired = fire_due(session, &queues, limit, true)?;
    // Attempts that have taken too long come after the trees: their runs are locked from here on, and
    // who holds runs waits for no tree.
    let mut overrun = 0;
    for one in &queues {
        let wanted = limit - fired - overrun;
        if wanted <= 0 {
            break;
        }
        let swept = match session.attempt(|| sweep::overrun(session, one, wanted))? {
            Ok(swept) => swept,
            // Of all queues, one that is not the caller's, or is being dropped, is left to others.
            Err(Error::NoSuchRelation { .. }) if queue.is_none() => continue,
            Err(Error::Postgres(caught)) if queue.is_none() && caught.is("42501") => continue,
            Err(error) => return Err(error),
        };
        overrun += swept.attempts.len() as i32;
        followed::swept(session, one, &swept.attempts, swept.cancelled)?;
    }
    if overrun > 0 {
        fired += overrun;
        fired += fire_due(session, &queues, limit.max(fired + 1) - fired, false)?;
    }
    Ok(fired)
}

/// Fires due timers of some queues and takes up the stimuli that were left. `waits` for the first tree.
fn fire_due(session: &Session, queues: &[QueueName], limit: i32, mut waits: bool) -> Result<i32> {
    let mut fired = 0;
    for queue in queues {
        // A timer may set another that is due at once.
        while fired < limit {
            let mut progress = false;
            for (root, timers) in due(session, queue, limit - fired)? {
                let mut count = 0;
                let first = |drive: &mut Drive| {
                    count = fire(drive, &timers)?;
                    Ok(())
                };
                let done = match std::mem::take(&mut waits) {
                    true => inbox::wait_root(session, root, first)?,
                    false => inbox::try_root(session, root, first)?,
                };
                if done {
                    fired += count;
                    progress |= count > 0;
                }
            }
            if !progress {
                break;
            }
        }
    }
    Ok(fired)
}
