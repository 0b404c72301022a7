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
    "insert into absurd.queue_front as f
            (queue_name, looked_at, whole_at, near_seconds, blocks, seconds, is_calm, is_overdue,
             sweep_froms, sweep_nexts, priorities, floors, froms, nexts, weeks, untils,
             stray_priorities, stray_instants, stray_runs)
     values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)
     on conflict (queue_name) do update
        set looked_at = excluded.looked_at, whole_at = excluded.whole_at,
            near_seconds = excluded.near_seconds, blocks = excluded.blocks, seconds = excluded.seconds,
            is_calm = excluded.is_calm, is_overdue = excluded.is_overdue,
            sweep_froms = excluded.sweep_froms, sweep_nexts = excluded.sweep_nexts,
            priorities = excluded.priorities, floors = excluded.floors, froms = excluded.froms,
            nexts = excluded.nexts, weeks = excluded.weeks, untils = excluded.untils,
            stray_priorities = excluded.stray_priorities, stray_instants = excluded.stray_instants,
            stray_runs = excluded.stray_runs",
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
    let spans = stored.froms.into_iter().zip(stored.nexts).map(|(from, next)| Span { from, next });
    let weeks = stored.weeks.into_iter().zip(stored.untils);
    let floors = stored.priorities.into_iter().zip(stored.floors).zip(spans).zip(weeks).map(
        |(((priority, since), span), (week, until))| Floor { priority, since, span, week, until },
    );
    let strays = stored
        .stray_priorities
        .into_iter()
        .zip(stored.stray_instants)
        .zip(stored.stray_runs)
        .map(|((priority, at), run)| Standing { priority, at, run });
    let mut sweeps = stored.sweep_froms.into_iter().zip(stored.sweep_nexts);
    let mut sweep = || sweeps.next().map(|(from, next)| Span { from, next }).unwrap_or_default();
    Front {
        floors: floors.collect(),
        strays: strays.collect::<Rc<[Standing]>>(),
        sweeps: Sweeps { rules: sweep(), leases: sweep(), attempts: sweep() },
        is_overdue: stored.is_overdue,
        as_of: Some(stored.looked_at),
        written_at: Some(stored.looked_at),
        advanced_at: Some(stored.looked_at),
        near_seconds: stored.near_seconds,
        whole: Whole { at: Some(stored.whole_at), blocks: stored.blocks, seconds: stored.seconds },
        ..kept
    }
}
