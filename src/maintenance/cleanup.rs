//! Retention: ended tasks and old events go.

use crate::error::{Error, Result};
use crate::params;
use crate::pg::plan::{Own, Statement};
use crate::pg::row::Rows;
use crate::pg::{Session, Timestamp, catalog, ereport};
use crate::queue::{QueueName, access, provision};

static TASKS: Statement = Statement::new(concat!(
    include_str!("../../sql/maintenance/cleanup_tasks.sql"),
    include_str!("../../sql/maintenance/cleanup_count.sql")
));
static TASKS_PARTITIONED: Statement = Statement::new(concat!(
    include_str!("../../sql/maintenance/cleanup_tasks.sql"),
    include_str!("../../sql/maintenance/cleanup_keys.sql"),
    include_str!("../../sql/maintenance/cleanup_count.sql")
));
static PASSED: Statement = Statement::new(include_str!("../../sql/maintenance/cleanup_passed.sql"));
static EVENTS: Statement = Statement::new(include_str!("../../sql/maintenance/cleanup_events.sql"));

/// How old and how many.
#[derive(Clone, Copy)]
pub struct Batch {
    /// What ended before this instant is removed.
    pub(super) cutoff: Timestamp,
    pub(super) limit: i32,
}

impl Batch {
    /// Reads the arguments of cleanup_tasks and cleanup_events.
    ///
    /// # Errors
    /// 22004 for NULL, 22023 for a negative age or a limit below 1.
    pub fn parse(session: &Session, ttl_seconds: Option<i32>, limit: Option<i32>) -> Result<Self> {
        let ttl = ttl_seconds.ok_or_else(|| Error::null("p_ttl_seconds"))?;
        let limit = limit.ok_or_else(|| Error::null("p_limit"))?;
        if ttl < 0 {
            return Err(Error::invalid(format!("ttl_seconds {ttl}"), "must be >= 0"));
        }
        if limit < 1 {
            return Err(Error::invalid(format!("limit {limit}"), "must be >= 1"));
        }
        Ok(Self { cutoff: session.now().plus_seconds(-f64::from(ttl)), limit })
    }
}

/// Removes tasks that ended before the cutoff, oldest first, with everything of theirs; returns how
/// many.
pub fn tasks(session: &Session, queue: &QueueName, batch: Batch) -> Result<i32> {
    let began = session.blocks_looked_at();
    let (removed, last) = by_statement(session, queue, batch)?;
    // What was passed over need not be the next time.
    let blocks = session.blocks_looked_at() - began;
    let is_costly = blocks > BLOCKS + BLOCKS_EACH * i64::from(removed);
    if is_costly && catalog::has_rights(&queue.relation("r", ""), &[catalog::UPDATE])? {
        let upto = last.filter(|_| removed == batch.limit).unwrap_or(batch.cutoff);
        session.run(&PASSED, queue, params![upto])?;
    }
    Ok(removed)
}

/// Blocks beyond which a cleanup looks at what it has passed over, and that each task adds.
const BLOCKS: i64 = 1000;
const BLOCKS_EACH: i64 = 30;

/// How many were removed, and when the last candidate had ended.
fn by_statement(
    session: &Session,
    queue: &QueueName,
    batch: Batch,
) -> Result<(i32, Option<Timestamp>)> {
    let tasks = match provision::is_partitioned(queue)? {
        false => &TASKS,
        true => &TASKS_PARTITIONED,
    };
    let rows = session.run(tasks, queue, params![batch.cutoff, batch.limit])?;
    let Some(row) = rows.first() else { return Ok((0, None)) };
    if row.need(2)? {
        return Err(Session::kept(queue, "{t}, {r}, {c} or {w}"));
    }
    Ok((row.need(0)?, row.get(1)?))
}

/// Removes events emitted before the cutoff, oldest first; returns how many.
pub fn events(session: &Session, queue: &QueueName, batch: Batch) -> Result<i32> {
    count(session.run(&EVENTS, queue, params![batch.cutoff, batch.limit])?)
}

fn count(rows: Rows) -> Result<i32> {
    rows.first().map_or(Ok(0), |row| row.need(0))
}

/// What the policy removed from one queue.
pub struct Cleaned {
    pub queue: String,
    pub tasks: i32,
    pub events: i32,
}

/// Removes from one queue, or from all that the role may clean up, what their policies no longer
/// keep: one batch each.
///
/// # Errors
/// 42P01 for an unknown queue.
pub fn by_policy(session: &Session, only: Option<&QueueName>) -> Result<Vec<Cleaned>> {
    static POLICIES: Statement = Statement::new(
        // A time to live longer than the calendar keeps everything.
        "select queue_name,
                case when cleanup_ttl < '4000 years' then $2 - cleanup_ttl else '-infinity' end,
                cleanup_limit
           from absurd.queues
          where $1 is null or queue_name = $1
          order by queue_name",
    );
    let name = only.map(QueueName::as_str);
    let rows = session.run(&POLICIES, &Own, params![name, session.now()])?;
    if let (Some(queue), true) = (name, rows.is_empty()) {
        return Err(Error::NoSuchQueue { queue: queue.to_owned() });
    }
    let mut cleaned = Vec::new();
    for row in rows {
        let name: String = row.need(0)?;
        // A registry row of another making may have a name that no table can carry.
        let Ok(queue) = QueueName::parse(Some(&name)) else { continue };
        // Of all queues, those that are the role's to clean up.
        let needs = [&access::CLEAN_TASKS, &access::CLEAN_EVENTS];
        if only.is_none()
            && !needs.iter().try_fold(true, |all, needs| {
                access::allows(&queue, needs).map(|allowed| all && allowed)
            })?
        {
            continue;
        }
        let batch = Batch { cutoff: row.need(1)?, limit: row.need(2)? };
        let both = || Ok((tasks(session, &queue, batch)?, events(session, &queue, batch)?));
        let (tasks, events) = match session.attempt(both)? {
            Ok(removed) => removed,
            // Dropped since the list was read: the others are still to be cleaned.
            Err(Error::NoSuchRelation { .. }) if only.is_none() => continue,
            Err(Error::Postgres(caught)) if only.is_none() && !caught.is("57014") => {
                ereport::warn(Error::Postgres(caught))?;
                continue;
            }
            Err(error) => return Err(error),
        };
        cleaned.push(Cleaned { queue: name, tasks, events });
    }
    Ok(cleaned)
}
