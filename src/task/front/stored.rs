//! What looks tell other backends.

use std::rc::Rc;

use super::floor::Floor;
use super::span::Span;
use super::{Front, Sweeps, Whole, in_line};
use crate::error::Result;
use crate::params;
use crate::pg::plan::Own;
use crate::pg::{Session, Statement, Timestamp};
use crate::queue::QueueName;
use crate::task::direct::front::{self, Stored};
use crate::task::direct::line::Standing;

static PUBLISH: Statement = Statement::new(
    "insert into absurd.queue_watermark
            (queue_name, scanned_at, fully_scanned_at, scan_seconds, full_scan_blocks,
             full_scan_seconds, is_bypassed, is_overdue, sweeps_confirmed, sweep_candidates,
             priorities, low_watermarks, confirmed, candidates, weeks, weeks_until,
             late_priorities, late_due_times, late_runs)
     values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)
     on conflict (queue_name) do update
        set scanned_at = excluded.scanned_at, fully_scanned_at = excluded.fully_scanned_at,
            scan_seconds = excluded.scan_seconds, full_scan_blocks = excluded.full_scan_blocks,
            full_scan_seconds = excluded.full_scan_seconds, is_bypassed = excluded.is_bypassed,
            is_overdue = excluded.is_overdue, sweeps_confirmed = excluded.sweeps_confirmed,
            sweep_candidates = excluded.sweep_candidates, priorities = excluded.priorities,
            low_watermarks = excluded.low_watermarks, confirmed = excluded.confirmed,
            candidates = excluded.candidates, weeks = excluded.weeks,
            weeks_until = excluded.weeks_until, late_priorities = excluded.late_priorities,
            late_due_times = excluded.late_due_times, late_runs = excluded.late_runs",
);

impl Front {
    /// Takes over what was written down, when this does not know it. Returns whether it did.
    pub(super) fn adopt(&mut self, session: &Session, queue: &QueueName) -> Result<bool> {
        let (now, known) = (session.now(), self.written_at);
        let is_news = |looked_at| looked_at <= now && Some(looked_at) != known;
        let Some(stored) = front::read(session, queue, is_news)? else { return Ok(false) };
        let told = read(stored, self.anew());
        if self.as_of < told.as_of {
            *self = told;
            return Ok(true);
        }
        // This has looked since, but not come upon what a look at everything or a note has led the
        // other to, and that is gone.
        self.strays = in_line(self.strays.iter().chain(told.strays.iter()).copied().collect());
        if self.whole.at < told.whole.at {
            self.whole = told.whole;
        }
        (self.written_at, self.tried_at) = (told.written_at, None);
        Ok(false)
    }

    pub(super) fn publish(
        &self,
        session: &Session,
        queue: &QueueName,
        at: Timestamp,
    ) -> Result<()> {
        // A queue that has become an ordinary one is looked at from the beginning when it is one no
        // longer.
        let is_calm = self.is_calm();
        let span = |span: Span| if is_calm { Span::ALL } else { span };
        let Sweeps { rules, leases, attempts } = self.sweeps;
        let sweeps = [rules, leases, attempts].map(span);
        let strays: &[Standing] = if is_calm { &[] } else { &self.strays };
        let floors = &self.floors;
        let values = params![
            queue.as_str(),
            at,
            self.whole.at.unwrap_or(at),
            self.near_seconds,
            self.whole.blocks,
            self.whole.seconds,
            is_calm,
            self.is_overdue,
            sweeps.iter().map(|span| Some(span.from)).collect::<Vec<_>>(),
            sweeps.iter().map(|span| Some(span.next)).collect::<Vec<_>>(),
            floors.iter().map(|floor| Some(floor.priority)).collect::<Vec<_>>(),
            floors.iter().map(|floor| Some(floor.since)).collect::<Vec<_>>(),
            floors.iter().map(|floor| Some(span(floor.span).from)).collect::<Vec<_>>(),
            floors.iter().map(|floor| Some(span(floor.span).next)).collect::<Vec<_>>(),
            floors.iter().map(|floor| floor.week.clone()).collect::<Vec<_>>(),
            floors.iter().map(|floor| Some(floor.until)).collect::<Vec<_>>(),
            strays.iter().map(|stray| Some(stray.priority)).collect::<Vec<_>>(),
            strays.iter().map(|stray| Some(stray.at)).collect::<Vec<_>>(),
            strays.iter().map(|stray| stray.run).collect::<Vec<_>>(),
        ];
        session.run(&PUBLISH, &Own, values).map(drop)
    }
}

fn read(stored: Stored, kept: Front) -> Front {
    let spans =
        stored.confirmed.into_iter().zip(stored.candidates).map(|(from, next)| Span { from, next });
    let weeks = stored.weeks.into_iter().zip(stored.weeks_until);
    let floors =
        stored.priorities.into_iter().zip(stored.low_watermarks).zip(spans).zip(weeks).map(
            |(((priority, since), span), (week, until))| Floor {
                priority,
                since,
                span,
                week,
                until,
            },
        );
    let strays = stored
        .late_priorities
        .into_iter()
        .zip(stored.late_due_times)
        .zip(stored.late_runs)
        .map(|((priority, at), run)| Standing { priority, at, run });
    let mut sweeps = stored.sweeps_confirmed.into_iter().zip(stored.sweep_candidates);
    let mut sweep = || sweeps.next().map(|(from, next)| Span { from, next }).unwrap_or_default();
    Front {
        floors: floors.collect(),
        strays: strays.collect::<Rc<[Standing]>>(),
        sweeps: Sweeps { rules: sweep(), leases: sweep(), attempts: sweep() },
        is_overdue: stored.is_overdue,
        as_of: Some(stored.scanned_at),
        written_at: Some(stored.scanned_at),
        advanced_at: Some(stored.scanned_at),
        near_seconds: stored.scan_seconds,
        whole: Whole {
            at: Some(stored.fully_scanned_at),
            blocks: stored.full_scan_blocks,
            seconds: stored.full_scan_seconds,
        },
        ..kept
    }
}
