//! Where the ready runs of one priority begin.

use super::span::Span;
use crate::error::Result;
use crate::params;
use crate::pg::{Session, Statement, Timestamp, uuid};
use crate::queue::QueueName;
use crate::queue::week::{self, Week};
use crate::task::direct::line::Standing;
use crate::task::hand_out::{Claimed, Place};

/// When the first run of a priority that does not lie between two ids becomes ready.
static BEYOND: Statement = Statement::new(
    "select least((select available_at from {r}
                    where state in ('pending', 'sleeping') and priority = $1 and run_id < $2
                    order by available_at, run_id limit 1),
                  (select available_at from {r}
                    where state in ('pending', 'sleeping') and priority = $1 and run_id >= $3
                    order by available_at, run_id limit 1))",
);

#[derive(Clone)]
pub struct Floor {
    pub priority: i16,
    /// Where claims begin.
    pub since: Timestamp,
    /// What the next look goes through.
    pub span: Span,
    /// The week whose runs come first, as long as they became ready by `until`.
    pub week: Option<String>,
    pub until: Timestamp,
}

impl Floor {
    /// Of a queue that has no weeks.
    pub fn new(priority: i16, since: Timestamp, span: Span) -> Self {
        Self { priority, since, span, week: None, until: Timestamp::INFINITY }
    }

    /// In the week of the first of some runs, each the first of a week, if that one is ready; else
    /// in this week. They are all that become ready by `horizon`.
    #[must_use]
    pub fn among_weeks(self, firsts: &[Standing], now: Timestamp, horizon: Timestamp) -> Self {
        let week_of = |run: &Standing| uuid::timestamp(run.run).map(Timestamp::week_start);
        let ready = firsts.iter().filter(|run| run.at <= now);
        let first = ready.min_by_key(|run| (run.at, *run.run.as_bytes()));
        let week = match first {
            Some(first) => week_of(first),
            None => Some(now.week_start()),
        };
        let others = firsts.iter().filter(|run| week_of(run) != week).map(|run| run.at);
        let until = others.min().unwrap_or(horizon);
        Self { week: week.and_then(Timestamp::week_tag), until, ..self }
    }

    pub fn place(&self) -> Place {
        Place::since(self.priority, self.since)
    }

    /// Notes the week of an instant, and until when no other week has a run that is ready.
    pub fn stay_in_week_of(
        &mut self,
        session: &Session,
        queue: &QueueName,
        at: Option<Timestamp>,
    ) -> Result<()> {
        let Some(at) = at else { return Ok(()) };
        let start = at.week_start();
        let end = start.plus_seconds(7.0 * 86_400.0);
        let values = params![self.priority, uuid::floor(start)?, uuid::floor(end)?];
        let beyond = session.run(&BEYOND, queue, values)?.only()?.get(0)?;
        self.until = beyond.unwrap_or(Timestamp::INFINITY);
        self.week = at.week_tag();
        Ok(())
    }

    /// When older weeks have nothing more and what was handed out is of this one, stays in this
    /// one.
    pub fn move_on(
        &mut self,
        session: &Session,
        queue: &QueueName,
        claimed: &[Claimed],
    ) -> Result<()> {
        let (Some(week), Some(last)) = (&self.week, claimed.last()) else { return Ok(()) };
        let current = session.now().week_tag();
        if current.as_ref() == Some(week) || week::tag_of(last.run_id) != current {
            return Ok(());
        }
        self.stay_in_week_of(session, queue, Some(session.now()))
    }

    pub fn week<'a>(&self, queue: &'a QueueName) -> Result<Option<Week<'a>>> {
        match &self.week {
            Some(tag) if self.since < self.until => week::Week::find(queue, tag),
            _ => Ok(None),
        }
    }
}
