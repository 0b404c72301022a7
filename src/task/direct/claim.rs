//! Claims.

use std::cell::Cell;
use std::time::Instant;

use super::{Tables, is_open};
use crate::error::{Error, Result};
use crate::params;
use crate::pg::direct::{Access, Change, Key, Layout, Table, Which};
use crate::pg::{Jsonb, Param, Session, Timestamp, Uuid};
use crate::queue::QueueName;
use crate::queue::rows::{ATTEMPTS, LEASES, READY, RULES, runs, tasks};
use crate::queue::week::Week;
use crate::task::followed;
use crate::task::hand_out::{Claimed, Handed, Offer, Place, Told};
use crate::task::options::Cancellation;
use crate::task::state::State;
use crate::task::sweep::Overdue;

/// What a look at a queue's indexes has shown.
pub struct Seen {
    pub overdue: Overdue,
    /// The highest priority of waiting runs.
    pub highest: Option<i16>,
    /// Blocks that were looked at.
    pub blocks: i64,
}

/// Looks at what is overdue and which priority has runs waiting; none when statements must be used.
///
/// # Errors
/// Postgres's own.
pub fn look(session: &Session, queue: &QueueName) -> Result<Option<Seen>> {
    let Some(Tables { runs, tasks, .. }) = Tables::open(session, queue)? else { return Ok(None) };
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
    let Some(Tables { runs, .. }) = Tables::open(session, queue)? else { return Ok(None) };
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
    let Some(Tables { runs, .. }) = Tables::open_week(session, week)? else { return Ok(None) };
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

/// Whether workflow runs of a queue have something to go on with; none when statements must be used.
///
/// # Errors
/// Postgres's own.
pub fn goes_on(session: &Session, queue: &QueueName) -> Result<Option<bool>> {
    let open = |name| session.table(name, &ANY, Access::ReadOwn);
    let timers = open("workflow_timer")?;
    let stimuli = open("workflow_stimulus")?;
    let (Some(timers), Some(stimuli)) = (timers, stimuli) else { return Ok(None) };
    session.with_snapshot(|| {
        let due = Which::Like("btree (queue_name, due_at)");
        let left = Which::Like("btree (queue_name, arrived_at)");
        let of_queue = || Key::is(1, queue.as_str());
        let keys = [of_queue(), Key::upto(2, session.now())];
        let due = timers.first(due, &keys)?;
        let left = stimuli.first(left, &[of_queue()])?;
        Ok(due.zip(left).map(|(due, left)| due || left))
    })
}

/// A ready run with its task, as it was read.
struct Ready {
    claimed: Claimed,
    first_started_at: Option<Timestamp>,
    ends_at: Option<Timestamp>,
}

/// What stands next in the line.
enum Next {
    Ready(Box<Ready>),
    /// It cannot be handed out: its task is gone.
    Gone,
    /// What is to be done with it takes more than this.
    Special,
}

/// Hands out ready runs of one priority, oldest first, as [`Offer::hand_out`] does. Says beside whether
/// that was all; none when statements must be used for the whole.
///
/// # Errors
/// Postgres's own.
pub fn hand_out(
    session: &Session,
    queue: &QueueName,
    offer: &Offer,
    place: Place,
    claimed: &mut Vec<Claimed>,
) -> Result<Option<(Handed, bool)>> {
    match Tables::open(session, queue)? {
        Some(tables) => {
            let done = hand_out_from(session, &tables, offer, place, session.now(), claimed)?;
            Ok(done.map(|(handed, told)| (handed, told == Told::All)))
        }
        None => Ok(None),
    }
}

/// The same of one week, and of what became ready by `until`.
///
/// # Errors
/// Postgres's own.
pub fn hand_out_of(
    session: &Session,
    week: &Week,
    offer: &Offer,
    place: Place,
    until: Timestamp,
    claimed: &mut Vec<Claimed>,
) -> Result<Option<(Handed, Told)>> {
    match Tables::open_week(session, week)? {
        Some(tables) => hand_out_from(session, &tables, offer, place, until, claimed),
        None => Ok(None),
    }
}

fn hand_out_from(
    session: &Session,
    tables: &Tables,
    offer: &Offer,
    Place { priority, since, only }: Place,
    until: Timestamp,
    claimed: &mut Vec<Claimed>,
) -> Result<Option<(Handed, Told)>> {
    let began = session.blocks_searched();
    session.with_snapshot(|| {
        let keys = match only {
            None => [Key::is(1, priority), Key::from(2, since), Key::upto(2, until)],
            Some(run) => [Key::is(1, priority), Key::is(2, since), Key::is(3, run)],
        };
        let Some(scan) = tables.runs.scan(READY, &keys)? else {
            return Ok(None);
        };
        let mut handed = Handed { blocks: 0, last: None, search: None };
        // Only claims that do not begin at the front want to know.
        let is_timed = since.is_finite() && only.is_none();
        let (mut told, clock) = (Told::All, is_timed.then(Instant::now));
        let mut is_there = tables.are_all || only.is_none();
        while (claimed.len() as i32) < offer.quantity && scan.next()? {
            is_there = true;
            handed.search = handed.search.or_else(|| clock.map(|clock| clock.elapsed()));
            session.check_for_interrupts()?;
            let available_at = tables.runs.get(runs::AVAILABLE_AT)?;
            match next(session, tables)? {
                Next::Gone => {}
                Next::Special => {
                    told = Told::Unclear;
                    break;
                }
                Next::Ready(ready) => {
                    if take(session, tables, offer, &ready)? {
                        if tables.tasks.get(tasks::WORKFLOW_STEP)? == Some(true) {
                            followed::expect(ready.claimed.run_id);
                        }
                        claimed.push(ready.claimed);
                        handed.last = available_at;
                    }
                }
            }
        }
        scan.end()?;
        if !is_there {
            // Who has made it ready may not have committed.
            tables.runs.walk(READY, &keys, |_| {
                is_there = true;
                Ok(false)
            })?;
            told = if is_there { Told::All } else { Told::NotThere };
        }
        handed.blocks = session.blocks_searched() - began;
        Ok(Some((handed, told)))
    })
}

fn next(session: &Session, tables: &Tables) -> Result<Next> {
    let Tables { runs, tasks, .. } = tables;
    let (run_id, task_id): (Uuid, Uuid) = (runs.need(runs::RUN_ID)?, runs.need(runs::TASK_ID)?);
    let timed_out = tables.is_timed_out(run_id, session.now())?;
    match (timed_out, tasks.find(&[Key::is(1, task_id)])?) {
        (Some(false), Some(true)) => {}
        // The task of a later attempt may be of an earlier week.
        (Some(_), Some(false)) if tables.are_all => return Ok(Next::Gone),
        _ => return Ok(Next::Special),
    }
    if !is_open(tasks)? {
        return Ok(Next::Special);
    }
    let first_started_at = tasks.get(tasks::FIRST_STARTED_AT)?;
    if let Some(rules) = tasks.get::<Jsonb>(tasks::CANCELLATION)? {
        let rules = Cancellation::stored(&rules.to_text());
        let enqueued: Timestamp = tasks.need(tasks::ENQUEUE_AT)?;
        let is_retry = tasks.need::<i32>(tasks::ATTEMPTS)? > 1;
        if rules.due(enqueued, first_started_at, is_retry) <= session.now() {
            return Ok(Next::Special);
        }
    }
    let timeout: Option<f64> = tasks.get(tasks::ATTEMPT_TIMEOUT)?;
    let claimed = Claimed {
        run_id,
        task_id,
        attempt: runs.need(runs::ATTEMPT)?,
        wake_event: runs.get(runs::WAKE_EVENT)?,
        event_payload: session.keep(runs.get(runs::EVENT_PAYLOAD)?),
        task_name: tasks.need(tasks::TASK_NAME)?,
        params: session.keep(tasks.get(tasks::PARAMS)?),
        retry_strategy: session.keep(tasks.get(tasks::RETRY_STRATEGY)?),
        max_attempts: tasks.get(tasks::MAX_ATTEMPTS)?,
        headers: session.keep(tasks.get(tasks::HEADERS)?),
    };
    let ends_at = timeout.map(|seconds| session.now().plus_seconds(seconds));
    Ok(Next::Ready(Box::new(Ready { claimed, first_started_at, ends_at })))
}

/// Takes the run and the task that were read last; false when somebody else is at one of them, who is not
/// waited for.
fn take(session: &Session, tables: &Tables, offer: &Offer, ready: &Ready) -> Result<bool> {
    let Tables { runs, tasks, .. } = tables;
    let [running, worker, until, now, ends_at]: &[Param; 5] =
        params![State::Running.as_str(), offer.worker, offer.until, session.now(), ready.ends_at];
    let run = lease([*running, *worker, *until, *now, *now, *now, *ends_at]);
    let [first, last]: &[Param; 2] =
        params![ready.first_started_at.unwrap_or(session.now()), ready.claimed.run_id];
    let task = [
        (tasks::STATE, *running),
        (tasks::FIRST_STARTED_AT, *first),
        (tasks::LAST_ATTEMPT_RUN, *last),
    ];
    // What has been changed cannot be left as it was without a trace. Where tasks have been found to be held,
    // a run is locked first for a while; elsewhere the lock would be for nothing.
    let careful = CAREFUL.get();
    CAREFUL.set(careful.saturating_sub(1));
    if careful > 0 {
        if runs.lock()? != Change::Done || !update_if_free(tasks, &task)? {
            return Ok(false);
        }
        return runs.update_locked(&run).map(|()| true);
    }
    if !update_if_free(runs, &run)? {
        return Ok(false);
    }
    if update_if_free(tasks, &task)? {
        return Ok(true);
    }
    CAREFUL.set(CAREFULLY);
    give_back(session, runs, ready.claimed.run_id)?;
    Ok(false)
}

/// So many runs are locked before they are taken, once a task was found to be held.
const CAREFULLY: u32 = 10_000;

thread_local! {
    static CAREFUL: Cell<u32> = const { Cell::new(0) };
}

/// What a claim changes of a run, with values for it.
fn lease(values: [Param; 7]) -> [(usize, Param); 7] {
    let columns = [
        runs::STATE,
        runs::CLAIMED_BY,
        runs::CLAIM_EXPIRES_AT,
        runs::AVAILABLE_AT,
        runs::STARTED_AT,
        runs::LAST_HEARTBEAT,
        runs::ATTEMPT_ENDS_AT,
    ];
    std::array::from_fn(|place| (columns[place], values[place]))
}

/// Changes the row that was read last, unless somebody else is at it.
fn update_if_free(table: &Table, values: &[(usize, Param)]) -> Result<bool> {
    if table.update(values, false)? == Change::Done {
        return Ok(true);
    }
    // Who only keeps its key, or holds it in this very transaction, lets it be locked.
    if table.lock()? != Change::Done {
        return Ok(false);
    }
    table.update_locked(values).map(|()| true)
}

/// Makes a run that was taken as it was when it was read.
fn give_back(session: &Session, runs: &Table, run: Uuid) -> Result<()> {
    let (state, worker): (String, Option<String>) =
        (runs.need(runs::STATE)?, runs.get(runs::CLAIMED_BY)?);
    let before: &[Param; 7] = params![
        state.as_str(),
        worker.as_deref(),
        runs.get::<Timestamp>(runs::CLAIM_EXPIRES_AT)?,
        runs.get::<Timestamp>(runs::AVAILABLE_AT)?,
        runs.get::<Timestamp>(runs::STARTED_AT)?,
        runs.get::<Timestamp>(runs::LAST_HEARTBEAT)?,
        runs.get::<Timestamp>(runs::ATTEMPT_ENDS_AT)?,
    ];
    let before = lease(*before);
    session.with_snapshot(|| match runs.find(&[Key::is(1, run)])? {
        Some(true) => runs.update_locked(&before),
        _ => Err(Error::Corrupt { what: format!("run \"{run}\" was taken and is gone") }),
    })
}
