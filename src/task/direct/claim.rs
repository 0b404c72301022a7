//! Claims.

use std::cell::Cell;
use std::time::Instant;

use super::{Tables, is_open};
use crate::error::{Error, Result};
use crate::params;
use crate::pg::direct::{Change, Key, Table};
use crate::pg::{Jsonb, Param, Session, Timestamp, Uuid};
use crate::queue::QueueName;
use crate::queue::rows::{READY, runs, tasks};
use crate::queue::week::Week;
use crate::task::budget::Budget;
use crate::task::followed;
use crate::task::hand_out::{Claimed, Handed, Offer, Place, Tasks, Told, attempt_end};
use crate::task::lost::Passed;
use crate::task::options::Cancellation;
use crate::task::state::State;

/// A ready run with its task, as it was read.
struct Ready {
    claimed: Claimed,
    first_started_at: Option<Timestamp>,
    ends_at: Option<Timestamp>,
}

/// What stands next in the line.
enum Next {
    Ready(Box<Ready>),
    /// It is not handed out, now or by this claim at all.
    Passed,
    /// What is to be done with it takes more than this.
    Special,
}

/// What came of handing out runs of a whole queue.
pub struct Line {
    pub handed: Handed,
    /// What stood in the way.
    pub passed: Passed,
    /// From where on statements are to go on.
    pub rest: Option<Place>,
}

/// Hands out ready runs of one priority, oldest first, as [`Offer::hand_out`] does; none when statements
/// must be used for the whole.
///
/// # Errors
/// Postgres's own.
pub fn hand_out(
    session: &Session,
    queue: &QueueName,
    offer: &Offer,
    place: Place,
    budget: &Budget,
    claimed: &mut Vec<Claimed>,
) -> Result<Option<Line>> {
    if place.from.is_some() {
        return Ok(None);
    }
    let Some(tables) = Tables::open(session, queue)? else { return Ok(None) };
    let mut walk = Walk::new(session, &tables, offer, place, session.now());
    walk.budget = Some(budget);
    let Some(told) = walk.hand_out(claimed)? else { return Ok(None) };
    let rest = (told != Told::All).then_some(walk.at);
    Ok(Some(Line { handed: walk.handed, passed: walk.passed, rest }))
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
    let Some(tables) = Tables::open_week(session, week)? else { return Ok(None) };
    let mut walk = Walk::new(session, &tables, offer, place, until);
    Ok(walk.hand_out(claimed)?.map(|told| (walk.handed, told)))
}

/// A claim on its way along the line.
struct Walk<'a> {
    session: &'a Session,
    tables: &'a Tables,
    offer: &'a Offer<'a>,
    place: Place,
    until: Timestamp,
    /// That of a claim on a whole queue. A week alone decides nothing but what is ready.
    budget: Option<&'a Budget>,
    handed: Handed,
    passed: Passed,
    /// The next run to look at.
    at: Place,
}

impl<'a> Walk<'a> {
    fn new(
        session: &'a Session,
        tables: &'a Tables,
        offer: &'a Offer<'a>,
        place: Place,
        until: Timestamp,
    ) -> Self {
        let (handed, passed) = (Handed::NOTHING, Passed::default());
        Self { session, tables, offer, place, until, budget: None, handed, passed, at: place }
    }

    /// None when statements must be used.
    fn hand_out(&mut self, claimed: &mut Vec<Claimed>) -> Result<Option<Told>> {
        let began = self.session.blocks_searched();
        let told = self.session.with_snapshot(|| self.along(claimed))?;
        self.handed.blocks = self.session.blocks_searched() - began;
        Ok(told)
    }

    fn along(&mut self, claimed: &mut Vec<Claimed>) -> Result<Option<Told>> {
        let Self { session, tables, offer, place, .. } = *self;
        let Place { priority, since, only, .. } = place;
        let keys = match only {
            None => [Key::is(1, priority), Key::from(2, since), Key::upto(2, self.until)],
            Some(run) => [Key::is(1, priority), Key::is(2, since), Key::is(3, run)],
        };
        let Some(scan) = tables.runs.scan(READY, &keys)? else {
            return Ok(None);
        };
        // Only claims that do not begin at the front want to know.
        let is_timed = since.is_finite() && only.is_none();
        let (mut told, clock) = (Told::All, is_timed.then(Instant::now));
        let mut is_there = tables.are_all || only.is_none();
        let mut taken = Tasks::of(claimed);
        while (claimed.len() as i32) < offer.quantity && scan.next()? {
            is_there = true;
            let search = || clock.map(|clock| clock.elapsed());
            self.handed.search = self.handed.search.or_else(search);
            session.check_for_interrupts()?;
            let (at, run) =
                (tables.runs.need(runs::AVAILABLE_AT)?, tables.runs.need(runs::RUN_ID)?);
            match self.next(&taken)? {
                Next::Ready(ready) => {
                    if take(session, tables, offer, &ready)? {
                        if tables.tasks.get(tasks::WORKFLOW_STEP)? == Some(true) {
                            followed::expect(ready.claimed.run_id);
                        }
                        taken.add(ready.claimed.task_id);
                        claimed.push(ready.claimed);
                        self.handed.last = Some(at);
                    }
                }
                Next::Passed => {
                    let Some(budget) = self.budget else { continue };
                    budget.pass();
                    if budget.may_end() {
                        self.handed.is_cut = true;
                        break;
                    }
                }
                Next::Special => {
                    self.at = Place { since: at, from: Some(run), ..place };
                    told = Told::Unclear;
                    break;
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
        Ok(Some(told))
    }

    /// The run that was read last. Of a week alone only what is ready is known for certain.
    fn next(&mut self, taken: &Tasks) -> Result<Next> {
        let Self { session, tables, .. } = *self;
        let Tables { runs, tasks, .. } = tables;
        let (run_id, task_id): (Uuid, Uuid) = (runs.need(runs::RUN_ID)?, runs.need(runs::TASK_ID)?);
        let timed_out = tables.is_timed_out(run_id, session.now())?;
        let is_found = tasks.find(&[Key::is(1, task_id)])?;
        let (Some(is_timed_out), Some(is_found)) = (timed_out, is_found) else {
            return Ok(Next::Special);
        };
        let is_passed = match is_found {
            false => {
                self.passed.lost.push(run_id);
                true
            }
            true if !is_open(tasks)? => {
                self.passed.ended.push(run_id);
                true
            }
            true if is_due(tasks, session.now())? => {
                if tasks.get::<bool>(tasks::CANCEL_DONE)?.is_some() {
                    self.passed.unlisted.push(task_id);
                }
                true
            }
            true => false,
        };
        match self.budget {
            // The task of a later attempt may be of an earlier week.
            None if is_passed => return Ok(Next::Special),
            Some(_) if is_passed => return Ok(Next::Passed),
            _ if taken.has(task_id) => return Ok(Next::Passed),
            _ if is_timed_out => return Ok(Next::Special),
            _ => {}
        }
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
        let first_started_at = tasks.get(tasks::FIRST_STARTED_AT)?;
        let ends_at = attempt_end(session.now(), tasks.get(tasks::ATTEMPT_TIMEOUT)?);
        Ok(Next::Ready(Box::new(Ready { claimed, first_started_at, ends_at })))
    }
}

/// Whether the cancellation rule of the task that was read last has come due.
fn is_due(tasks: &Table, now: Timestamp) -> Result<bool> {
    let Some(rules) = tasks.get::<Jsonb>(tasks::CANCELLATION)? else { return Ok(false) };
    let rules = Cancellation::stored(&rules.to_text());
    let is_retry = tasks.need::<i32>(tasks::ATTEMPTS)? > 1;
    let (enqueued, started) = (tasks.need(tasks::ENQUEUE_AT)?, tasks.get(tasks::FIRST_STARTED_AT)?);
    Ok(rules.due(enqueued, started, is_retry) <= now)
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
