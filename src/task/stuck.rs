//! Work that cannot go on: set aside with its error, and tried again later, so that a claim goes
//! on with the rest.

use std::collections::{BTreeSet, HashSet};

use serde_json::json;

use crate::error::{Error, Result};
use crate::params;
use crate::pg::plan::{Global, Own};
use crate::pg::{Jsonb, Session, Statement, Uuid, ereport};
use crate::queue::QueueName;
use crate::queue::access::{self, SWEEP};

/// Seconds until work is tried again that failed for the first time, and at most.
const FIRST: f64 = 1.0;
const LONGEST: f64 = 3600.0;
/// Failures after which the delay is the longest.
const DOUBLINGS: i32 = 12;
/// Characters of a message that are kept.
const KEPT: usize = 2000;

/// What cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A tree of workflow runs, by its root.
    Workflow,
    /// A task whose cancellation rule has come due.
    Cancellation,
    /// A run whose lease has ended.
    Lease,
    /// A run whose attempt has taken too long.
    Attempt,
    /// A run whose task has ended, or is gone.
    Run,
    /// A ready run that cannot be handed out.
    Claim,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Workflow => "workflow",
            Self::Cancellation => "cancellation",
            Self::Lease => "lease",
            Self::Attempt => "attempt",
            Self::Run => "run",
            Self::Claim => "claim",
        }
    }
}

/// What another role could not do is tried by whoever comes when its time has come.
static KNOWN: Statement = Statement::new(
    "select id, bool_or(next_try > $3)
       from absurd.stuck_work
      where queue = $1 and kind = $2 and (role_name in ('', $4) or next_try <= $3)
      group by id",
);
static PUT: Statement = Statement::new(
    "with others as (
         delete from absurd.stuck_work
          where queue = $1 and kind = $2 and id = $3 and role_name <> $7 and next_try <= $4
     )
     insert into absurd.stuck_work as s
         (queue, kind, id, since, attempts, error, next_try, role_name)
     values ($1, $2, $3, $4, 1, $5, $4 + make_interval(secs => $6), $7)
     on conflict (queue, kind, id, role_name) do update
        set attempts = least(s.attempts, 2147483646) + 1, error = excluded.error,
            next_try = $4 + make_interval(secs => least($6 * power(2.0::float8, least(s.attempts, $8)), $9))
     returning attempts",
);
static REMOVE: Statement = Statement::new(
    "delete from absurd.stuck_work where queue = $1 and kind = $2 and id = any ($3)",
);
static CALLER: Statement = Statement::new("select current_user::text");

/// The name of the role that calls.
///
/// # Errors
/// Postgres's own.
pub fn caller(session: &Session) -> Result<String> {
    session.run(&CALLER, &Global, &[])?.only()?.need(0)
}

/// What is known to be stuck of one kind in a queue, for the calling role.
#[derive(Default)]
pub struct Known {
    /// Not to be tried now.
    aside: BTreeSet<[u8; 16]>,
    /// To be tried again. What of this is not met any longer is gone.
    again: BTreeSet<[u8; 16]>,
}

impl Known {
    /// # Errors
    /// Postgres's own.
    pub fn of(session: &Session, queue: &str, kind: Kind) -> Result<Self> {
        let mut known = Self::default();
        let role = caller(session)?;
        let values = params![queue, kind.as_str(), session.now(), role.as_str()];
        for row in session.run(&KNOWN, &Own, values)? {
            let id = *row.need::<Uuid>(0)?.as_bytes();
            let is_aside: bool = row.need(1)?;
            if is_aside { &mut known.aside } else { &mut known.again }.insert(id);
        }
        Ok(known)
    }

    /// Whether something is not to be tried now.
    pub fn is_aside(&self, id: Uuid) -> bool {
        self.aside.contains(id.as_bytes())
    }

    /// Notes what has just failed.
    pub fn add(&mut self, id: Uuid) {
        self.again.remove(id.as_bytes());
        self.aside.insert(*id.as_bytes());
    }

    /// Whether there is nothing that is not to be tried now.
    pub fn is_clear(&self) -> bool {
        self.aside.is_empty()
    }

    /// All that is not to be tried now.
    pub fn aside(&self) -> Vec<Uuid> {
        self.aside.iter().map(|id| Uuid::from_bytes(*id)).collect()
    }

    /// Whether something has failed before and is to be tried again.
    pub fn is_again(&self, id: Uuid) -> bool {
        self.again.contains(id.as_bytes())
    }

    /// What is to be tried again.
    pub fn again(&self) -> impl Iterator<Item = Uuid> {
        self.again.iter().map(|id| Uuid::from_bytes(*id))
    }
}

/// What of that which is to be tried again a sweep has met.
#[derive(Default)]
pub struct Met {
    done: Vec<Uuid>,
    still: HashSet<[u8; 16]>,
}

impl Met {
    /// Notes what has succeeded.
    pub fn done(&mut self, stuck: &Known, id: Uuid) {
        if stuck.is_again(id) {
            self.done.push(id);
        }
    }

    /// Notes what was met and is still to be done.
    pub fn note(&mut self, stuck: &Known, id: Uuid) {
        if stuck.is_again(id) {
            self.still.insert(*id.as_bytes());
        }
    }

    /// Forgets what is stuck no longer; after a sweep to the end that is also what it did not come
    /// upon.
    ///
    /// # Errors
    /// Postgres's own.
    pub fn forget(
        self,
        session: &Session,
        queue: &str,
        kind: Kind,
        stuck: &Known,
        is_whole: bool,
    ) -> Result<()> {
        let gone = match is_whole {
            true => stuck.again().filter(|id| !self.still.contains(id.as_bytes())).collect(),
            false => self.done,
        };
        remove(session, queue, kind, gone)
    }
}

static HOLD: Statement = Statement::new(
    "with held as materialized (
         select from absurd.stuck_work
          where queue = $1 and kind = $2 and id = $3
            for update skip locked
     )
     select (select count(*) from held) = (
            select count(*) from absurd.stuck_work where queue = $1 and kind = $2 and id = $3)",
);

/// Takes what is known of some work; false when somebody else is at it: a claim waits for nobody.
///
/// # Errors
/// Postgres's own.
pub fn hold(session: &Session, queue: &str, kind: Kind, id: Uuid) -> Result<bool> {
    session.run(&HOLD, &Own, params![queue, kind.as_str(), id])?.only()?.need(0)
}

/// Sets work aside that has failed: for every role, or where a right was lacking for the calling
/// one. Returns how often it has failed.
///
/// # Errors
/// Postgres's own.
pub fn set_aside(
    session: &Session,
    queue: &str,
    kind: Kind,
    id: Uuid,
    error: &Error,
) -> Result<i32> {
    let role = if is_denied(error) { caller(session)? } else { String::new() };
    let error = Jsonb::from_text(&described(error))?;
    let (now, role) = (session.now(), role.as_str());
    let values = params![queue, kind.as_str(), id, now, error, FIRST, role, DOUBLINGS, LONGEST];
    session.run(&PUT, &Own, values)?.only()?.need(0)
}

/// As [`set_aside`]; the first time it is also said to the caller, in a WARNING.
///
/// # Errors
/// Postgres's own.
pub fn set_aside_aloud(
    session: &Session,
    queue: &str,
    kind: Kind,
    id: Uuid,
    error: Error,
) -> Result<()> {
    match set_aside(session, queue, kind, id, &error)? {
        1 => ereport::warn(error),
        _ => Ok(()),
    }
}

/// Forgets work that has succeeded or is gone.
///
/// # Errors
/// Postgres's own.
pub fn remove(session: &Session, queue: &str, kind: Kind, ids: Vec<Uuid>) -> Result<()> {
    if ids.is_empty() {
        return Ok(());
    }
    session.run(&REMOVE, &Own, params![queue, kind.as_str(), ids]).map(drop)
}

fn described(error: &Error) -> String {
    let told = error.told();
    let mut object = json!({
        "sqlstate": told.sqlstate,
        "message": told.message.chars().take(KEPT).collect::<String>(),
    });
    for (name, text) in [("detail", told.detail), ("hint", told.hint)] {
        if let Some(text) = text {
            object[name] = text.chars().take(KEPT).collect::<String>().into();
        }
    }
    object.to_string()
}

/// Whether an error ends the statement, whatever it was about: a cancel, a shutdown, a transaction
/// that may not write.
pub fn ends_call(error: &Error) -> bool {
    match error {
        Error::Postgres(caught) => ["57014", "57P01", "57P02", "57P03", "25006", "25P02"]
            .iter()
            .any(|code| caught.is(code)),
        _ => false,
    }
}

/// As [`ends_call`], and a right on the queue's tables, or one of these, that the call as a whole
/// lacks. A right that is denied to a role which has those comes of a trigger, a policy or a
/// column and is about one row.
///
/// # Errors
/// Those of the catalogue's cache.
pub fn ends_all(queue: &QueueName, error: &Error) -> Result<bool> {
    let lacks = matches!(error, Error::NoSuchRelation { .. } | Error::NoSuchQueue { .. });
    if lacks || ends_call(error) || matches!(error, Error::Denied { .. }) {
        return Ok(true);
    }
    Ok(is_denied(error) && !access::allows(queue, &SWEEP)?)
}

/// Whether a role lacks a right.
pub fn is_denied(error: &Error) -> bool {
    match error {
        Error::Postgres(caught) => caught.is("42501"),
        Error::Denied { .. } => true,
        _ => false,
    }
}

/// Whether a failure comes of others being at work, and passes.
pub fn is_passing(error: &Error) -> bool {
    match error {
        Error::Postgres(caught) => ["55P03", "40P01", "40001"].iter().any(|code| caught.is(code)),
        Error::Serialization { .. } | Error::Vanished { .. } | Error::Busy { .. } => true,
        _ => false,
    }
}

/// Does some work, each item apart from the others where one fails: first all at once, then one by
/// one. Returns what came of each, in order.
///
/// # Errors
/// Those of [`ends_all`].
pub fn each<I, T>(
    session: &Session,
    queue: &QueueName,
    items: &[I],
    mut work: impl FnMut(&I) -> Result<T>,
) -> Result<Vec<Result<T>>> {
    let all = session.attempt(|| items.iter().map(&mut work).collect::<Result<Vec<T>>>())?;
    match all {
        Ok(all) => return Ok(all.into_iter().map(Ok).collect()),
        Err(error) if ends_all(queue, &error)? => return Err(error),
        Err(error) if items.len() == 1 => return Ok(vec![Err(error)]),
        Err(_) => {}
    }
    let mut outcomes = Vec::with_capacity(items.len());
    for item in items {
        match session.attempt(|| work(item))? {
            Err(error) if ends_all(queue, &error)? => return Err(error),
            outcome => outcomes.push(outcome),
        }
    }
    Ok(outcomes)
}
