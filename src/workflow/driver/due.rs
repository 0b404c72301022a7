//! Timers that have come due, and stimuli that were left, taken up by claims and by advance_timers.

use std::collections::{HashSet, VecDeque};

use uuid::Uuid;

use super::turn::{Breaker, Turn, Turned};
use super::{Drive, admit, direct, followed, rows};
use crate::error::{Error, Result};
use crate::params;
use crate::pg::plan::{Own, Statement};
use crate::pg::{Row, Session, Timestamp};
use crate::queue::{QueueName, access};
use crate::task::budget::Budget;
use crate::task::stuck::{self, Kind};
use crate::task::sweep;
use crate::workflow::program::NodeIx;
use crate::workflow::records::{ScopeId, StepKey, TimerKind};
use crate::workflow::stimulus::Stimulus;

/// Timers, and stimuli, that a claim looks at in one statement, and timers that it fires before it
/// looks at the clock.
const PAGE: i32 = 128;
const FIRED: usize = 16;

/// Of trees that are not paused, nor set aside for everybody or for the caller's role.
macro_rules! not_stuck {
    ($root:literal) => {
        concat!(
            " and not exists (
                  select from absurd.stuck_work s
                   where s.queue = $1 and s.kind = 'workflow' and s.id = ",
            $root,
            " and s.role_name in ('', $4) and s.next_try > $2) and ",
            $root,
            " <> all ($5)
              and not exists (
                  select from absurd.workflow_execution p
                   where p.workflow_run_id = ",
            $root,
            " and p.paused_at is not null)"
        )
    };
}

static DUE: Statement = Statement::new(concat!(
    "select t.root_run_id
       from absurd.workflow_timer t
      where t.queue_name = $1 and t.due_at <= $2",
    not_stuck!("t.root_run_id"),
    " order by t.due_at limit $3"
));
static LEFT: Statement = Statement::new(concat!(
    "select l.root_run_id
       from absurd.workflow_stimulus l
      where l.queue_name = $1",
    not_stuck!("l.root_run_id"),
    " order by l.arrived_at limit $3"
));
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
/// Trees that failed, are to be tried again and have nothing to go on with any longer.
static IDLE: Statement = Statement::new(
    "delete from absurd.stuck_work s
      where s.queue = $1 and s.kind = 'workflow' and s.next_try <= $2
        and not exists (select from absurd.workflow_stimulus l where l.root_run_id = s.id)
        and not exists (
            select from absurd.workflow_execution e
              join absurd.workflow_timer t on t.workflow_run_id = e.workflow_run_id
             where e.root_run_id = s.id and t.due_at <= $2)",
);
static AGAIN: Statement = Statement::new(
    "select id from absurd.stuck_work where queue = $1 and kind = 'workflow' and next_try <= $2",
);

static OF_TREE: Statement = Statement::new(
    "select workflow_run_id, scope, node, due_at
       from absurd.workflow_timer
      where root_run_id = $1 and due_at <= $2
      order by due_at, scope, node
      limit $3",
);

/// The key of a timer.
type Timer = (Uuid, i32, i32);

/// What a call does about the due timers of its tree.
pub struct Timers {
    /// The instant up to which all are to fire, not only those that were due before what was left
    /// for the tree.
    pub until: Option<Timestamp>,
    /// How many have fired, and at most may.
    pub fired: i32,
    pub limit: i32,
    /// Those that are due and have not fired, in the order of time; none until they were looked
    /// for.
    left: Option<VecDeque<(Timestamp, Timer)>>,
}

impl Default for Timers {
    fn default() -> Self {
        Self { until: None, fired: 0, limit: i32::MAX, left: None }
    }
}

/// When the first timer of the call's tree was due that has not fired; none when none is.
///
/// # Errors
/// Postgres's own.
pub fn next(drive: &mut Drive) -> Result<Option<Timestamp>> {
    if let Some(left) = &drive.timers.left {
        return Ok(left.front().map(|(at, _)| *at));
    }
    let mut left = VecDeque::new();
    if direct::has_due(drive.session, drive.root)? != Some(false) {
        let values = params![drive.root, drive.session.now(), PAGE];
        for row in drive.session.run(&OF_TREE, &Own, values)? {
            left.push_back((row.need(3)?, (row.need(0)?, row.need(1)?, row.need(2)?)));
        }
    }
    let first = left.front().map(|(at, _)| *at);
    drive.timers.left = Some(left);
    Ok(first)
}

/// Fires the next due timers of the call's tree, those of one instant: what comes of them may end
/// others. False when the call may fire no more.
///
/// # Errors
/// As [`Drive::finish`].
pub fn fire(drive: &mut Drive) -> Result<bool> {
    let room = drive.timers.limit.saturating_sub(drive.timers.fired);
    if room <= 0 {
        return Ok(false);
    }
    let most = FIRED.min(usize::try_from(room).unwrap_or_default());
    let Some(left) = &mut drive.timers.left else { return Ok(false) };
    let instant = left.front().map(|(at, _)| *at);
    let count = left.iter().take(most).take_while(|(at, _)| Some(*at) == instant).count();
    let timers: Vec<Timer> = left.drain(..count).map(|(_, timer)| timer).collect();
    if left.is_empty() {
        // There may be more than one look finds, and what has fired may have set others.
        drive.timers.left = None;
    }
    drive.count(timers.len());
    drive.timers.fired += fire_at_once(drive, &timers)?;
    Ok(true)
}

/// Trees that have something to go on with. Those whose timers are due and those for which stimuli
/// were left take turns, each kind in the order of time.
struct Due {
    roots: Vec<Uuid>,
    /// Whether there may be more.
    is_full: bool,
}

fn due(
    session: &Session,
    queue: &QueueName,
    limit: i32,
    caller: &str,
    over: &[Uuid],
) -> Result<Due> {
    let over: Vec<Option<Uuid>> = over.iter().copied().map(Some).collect();
    let ask = |statement| {
        let values = params![queue.as_str(), session.now(), limit, caller, over.clone()];
        session.run(statement, &Own, values)
    };
    let (timers, left) = (ask(&DUE)?, ask(&LEFT)?);
    let is_full = timers.len().max(left.len()) >= usize::try_from(limit).unwrap_or_default();
    let (mut roots, mut seen) = (Vec::new(), HashSet::new());
    let (mut timers, mut left) = (timers.into_iter(), left.into_iter());
    loop {
        let turn = [timers.next(), left.next()];
        if turn.iter().all(Option::is_none) {
            return Ok(Due { roots, is_full });
        }
        for row in turn.into_iter().flatten() {
            let root: Uuid = row.need(0)?;
            if seen.insert(root) {
                roots.push(root);
            }
        }
    }
}

fn fire_at_once(drive: &mut Drive, timers: &[Timer]) -> Result<i32> {
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

/// Lets the trees of a queue go on that a claim finds due, without waiting for any: one at least,
/// and as many more as the budget allows. Those that somebody else holds are passed over.
///
/// # Errors
/// Postgres's own.
pub fn on_claim(session: &Session, queue: &QueueName, budget: &Budget) -> Result<()> {
    let caller = stuck::caller(session)?;
    let again = Again::of(session, queue)?;
    let (mut over, mut is_first) = (Vec::new(), true);
    let breaker = Breaker::default();
    loop {
        let Due { roots, is_full } = due(session, queue, PAGE, &caller, &over)?;
        for root in roots {
            if !is_first && budget.is_spent() {
                return Ok(());
            }
            let of_call = Turn::of_call(session, root, queue, &breaker);
            let turn = Turn { budget: Some(budget), ..of_call };
            let turned = turn.try_take(|drive| drive.settle(session.now()).map(drop))?;
            if turned == Turned::Done {
                again.succeeded(session, queue, root)?;
            }
            is_first &= turned == Turned::Held;
            budget.take(1);
            over.push(root);
        }
        if !is_full {
            return Ok(());
        }
    }
}

/// Trees that have failed before and are to be tried again.
struct Again(Vec<Uuid>);

impl Again {
    /// Forgets those that have nothing to go on with any longer.
    fn of(session: &Session, queue: &QueueName) -> Result<Self> {
        let again = session.run(&AGAIN, &Own, params![queue.as_str(), session.now()])?;
        if again.is_empty() {
            return Ok(Self(Vec::new()));
        }
        session.run(&IDLE, &Own, params![queue.as_str(), session.now()])?;
        again.into_iter().map(|row| row.need(0)).collect::<Result<_>>().map(Self)
    }

    fn succeeded(&self, session: &Session, queue: &QueueName, root: Uuid) -> Result<()> {
        if !self.0.contains(&root) {
            return Ok(());
        }
        let root = crate::pg::Uuid::from_bytes(root.into_bytes());
        stuck::remove(session, queue.as_str(), Kind::Workflow, vec![root])
    }
}

/// Fires at most `limit` due timers of one queue, or of all, attempts that have taken too long
/// among them, and takes up the stimuli that were left. The first tree is waited for; others that
/// somebody holds are left to the next call. Returns the timers fired.
///
/// # Errors
/// Postgres's own.
pub fn advance(session: &Session, queue: Option<&QueueName>, limit: i32) -> Result<i32> {
    let queues = match queue {
        Some(queue) => vec![queue.clone()],
        None => access::allowed(session, &access::WORK)?,
    };
    // What attempts that have taken too long come to is left to the trees, which take it up in the
    // order of time. Their runs are locked from here on, and who holds runs waits for no tree.
    let mut overrun = 0;
    for one in &queues {
        let wanted = limit - overrun;
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
    let fired = fire_due(session, &queues, (limit - overrun).max(1), overrun == 0)?;
    Ok(overrun + fired)
}

/// Fires due timers of some queues and takes up the stimuli that were left. `waits` for the first
/// tree.
fn fire_due(session: &Session, queues: &[QueueName], limit: i32, mut waits: bool) -> Result<i32> {
    let mut fired = 0;
    let caller = stuck::caller(session)?;
    let breaker = Breaker::default();
    for queue in queues {
        let again = Again::of(session, queue)?;
        // A timer may set another that is due at once.
        while fired < limit {
            let mut progress = false;
            for root in due(session, queue, limit - fired, &caller, &[])?.roots {
                let mut count = 0;
                let first = |drive: &mut Drive| {
                    drive.timers.limit = limit - fired;
                    count = drive.settle(session.now())?;
                    Ok(())
                };
                let turn = Turn::of_call(session, root, queue, &breaker);
                let done = match std::mem::take(&mut waits) {
                    true => turn.wait(first)?,
                    false => turn.try_take(first)?,
                };
                if done == Turned::Done {
                    again.succeeded(session, queue, root)?;
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
