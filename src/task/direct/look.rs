//! Looks at a queue's indexes before a claim.

use super::open;
use crate::error::Result;
use crate::pg::Session;
use crate::pg::direct::{Access, Key, Layout, Table, Which};
use crate::queue::QueueName;
use crate::queue::rows::{ATTEMPTS, LEASES, READY, RULES, runs};
use crate::queue::week::Week;
use crate::task::claim::GoesOn;
use crate::task::sweep::Overdue;

/// What a look at a queue's indexes has shown.
pub struct Seen {
    pub overdue: Overdue,
    /// The highest priority of waiting runs.
    pub highest: Option<i16>,
    /// Blocks that were looked at.
    pub blocks: i64,
}

/// Looks at what is overdue and which priority has runs waiting; none when statements must be
/// used.
///
/// # Errors
/// Postgres's own.
pub fn look(session: &Session, queue: &QueueName) -> Result<Option<Seen>> {
    let Some((runs, tasks)) = open(session, queue)? else { return Ok(None) };
    let (now, began) = (session.now(), session.blocks_searched());
    session.with_snapshot(|| {
        let overdue = [
            tasks.first(RULES, &[Key::upto_in_utc(1, now)])?,
            runs.first(LEASES, &[Key::upto(1, now)])?,
            runs.first(ATTEMPTS, &[Key::upto(1, now)])?,
        ];
        let [Some(rules), Some(leases), Some(attempts)] = overdue else { return Ok(None) };
        let overdue = Overdue::new(rules, leases, attempts);
        let highest = first_priority(&runs, &[])?;
        let blocks = session.blocks_searched() - began;
        Ok(highest.map(|highest| Seen { overdue, highest, blocks }))
    })
}

/// The next lower priority that has runs waiting; none when statements must be used.
///
/// # Errors
/// Postgres's own.
pub fn below(session: &Session, queue: &QueueName, priority: i16) -> Result<Option<Option<i16>>> {
    let Some((runs, _)) = open(session, queue)? else { return Ok(None) };
    session.with_snapshot(|| first_priority(&runs, &[Key::below(1, priority)]))
}

/// As [`below`], of one week, and of all priorities when there is none to be below.
///
/// # Errors
/// Postgres's own.
pub fn highest_of(
    session: &Session,
    week: &Week,
    below: Option<i16>,
) -> Result<Option<Option<i16>>> {
    let Some(runs) = week.runs(session)? else { return Ok(None) };
    let keys: Vec<Key> = below.map(|below| Key::below(1, below)).into_iter().collect();
    session.with_snapshot(|| first_priority(&runs, &keys))
}

fn first_priority(runs: &Table, keys: &[Key]) -> Result<Option<Option<i16>>> {
    match runs.first(READY, keys)? {
        None => Ok(None),
        Some(false) => Ok(Some(None)),
        Some(true) => runs.get(runs::PRIORITY).map(Some),
    }
}

static ANY: Layout = Layout::with_key("");

/// What there is to do beside sweeping; none when statements must be used.
///
/// # Errors
/// Postgres's own.
pub fn goes_on(session: &Session, queue: &QueueName) -> Result<Option<GoesOn>> {
    let open = |name| session.table(name, &ANY, Access::ReadOwn);
    let timers = open("workflow_timer")?;
    let stimuli = open("workflow_stimulus")?;
    let stuck = open("stuck_work")?;
    let (Some(timers), Some(stimuli), Some(stuck)) = (timers, stimuli, stuck) else {
        return Ok(None);
    };
    session.with_snapshot(|| {
        let due = Which::Like("btree (queue_name, due_at)");
        let left = Which::Like("btree (queue_name, arrived_at)");
        let of_queue = || Key::is(1, queue.as_str());
        let keys = [of_queue(), Key::upto(2, session.now())];
        let due = timers.first(due, &keys)?;
        let left = stimuli.first(left, &[of_queue()])?;
        let again = Which::Like("btree (queue, next_try)");
        let again = stuck.first(again, &[of_queue(), Key::upto(2, session.now())])?;
        let (Some(due), Some(left), Some(stuck)) = (due, left, again) else { return Ok(None) };
        Ok(Some(GoesOn { trees: due || left, stuck }))
    })
}
