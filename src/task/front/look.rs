//! Looks at the front of a line.
//!
//! A look that reads tables directly goes through what the last two looks have not seen settled,
//! and comes upon runs that a transaction under way has made ready or taken as well as upon others.
//! Those that have stayed behind the front for a whole look are strays: each is remembered by its
//! place in the index, which costs one search to try, and the next look begins where the front was.
//! So a look costs what was claimed within two or three seconds, whatever lies behind.
//!
//! Where tables cannot be read directly, every look goes through everything that is committed.

use std::cmp::Reverse;
use std::rc::Rc;
use std::time::Instant;

use super::floor::Floor;
use super::span::Span;
use super::{Front, HOLDS, MARGIN, Sweeps, Whole, in_line, is_within};
use crate::error::Result;
use crate::params;
use crate::pg::direct::Found;
use crate::pg::{Session, Statement, Timestamp, Uuid, uuid};
use crate::queue::{QueueName, behind, provision};
use crate::task::direct::line::{Line, Past, Standing};
use crate::task::sweep::{self, Since};

/// How many times as long as a look at everything took the next one waits. Other backends than the
/// one that looks for all wait longer.
const WHOLE_TIMES: f64 = 20.0;
const WHOLE_ALONE: f64 = 10.0;
/// Seconds between looks that move the spans on: less than between those that are written down,
/// more than a call takes from reading the clock to its insert.
const ADVANCES: f64 = 0.7;
/// Seconds beyond those for which a look holds, up to which it knows the first run of each week.
const HORIZON: f64 = 1.0;
/// Priorities of which no run is waiting that are kept in mind beside others.
const PRIORITIES: usize = 32;
/// Strays that are remembered by themselves. Were all of them held, trying them would take some
/// milliseconds.
const STRAYS: usize = 1000;

/// The first run of the next lower priority that has any waiting.
static NEXT: Statement = Statement::new(
    "select priority, available_at, run_id from {r}
      where state in ('pending', 'sleeping') and priority < $1
      order by priority desc, available_at, run_id
      limit 1",
);

impl Front {
    /// Looks, for others too if this call was chosen to. Returns whether it did: of several calls
    /// that want to look at all weeks of a queue, one may.
    ///
    /// # Errors
    /// 42P01 for an unknown queue.
    pub(super) fn look(
        &mut self,
        session: &Session,
        queue: &QueueName,
        chosen: bool,
    ) -> Result<bool> {
        if chosen {
            // Whoever was chosen before has written down what it found and taken the notes that led
            // to it.
            self.adopt(session, queue)?;
        }
        // Before the line is opened: a run that was noted may lie in a week that is new.
        let behind = match chosen {
            true => behind::take(session, queue)?,
            false => behind::noted(session, queue)?,
        };
        let has_looked = match self.of_weeks {
            true => self.look_at_weeks(session, queue, chosen, &behind)?,
            false => self.look_through(session, queue, chosen, &behind).map(|()| true)?,
        };
        if !has_looked {
            behind::note(session, queue, &behind[..if chosen { behind.len() } else { 0 }])?;
            return Ok(false);
        }
        let now = session.now();
        self.looks += 1;
        (self.as_of, self.tried_at) = (Some(now), None);
        self.floors.sort_unstable_by_key(|floor| Reverse(floor.priority));
        if chosen {
            self.publish(session, queue, now)?;
            self.written_at = Some(now);
        }
        Ok(true)
    }

    pub(super) fn look_through(
        &mut self,
        session: &Session,
        queue: &QueueName,
        chosen: bool,
        behind: &[Timestamp],
    ) -> Result<()> {
        let (began, clock) = (session.blocks_looked_at(), Instant::now());
        let searched = session.blocks_searched();
        let now = session.now();
        let latest = now.plus_seconds(-MARGIN);
        let is_first = !self.floors.iter().any(|floor| floor.span.is_near());
        let line = Line::open(session, queue)?;
        let is_of_weeks = provision::is_partitioned(queue)?;
        let is_whole = line.is_none() || is_first || self.is_whole_due(now, chosen);
        match &line {
            Some(line) => {
                let horizon = is_of_weeks.then(|| now.plus_seconds(self.late() + HORIZON));
                self.look_along(line, Reach { now, latest, horizon }, is_whole, behind)?;
            }
            None => self.look_at_all(session, queue, latest, is_of_weeks)?,
        }
        let seconds = clock.elapsed().as_secs_f64();
        if is_whole {
            // What the catalogue takes says nothing of the queue.
            let blocks = match line {
                Some(_) => session.blocks_searched() - searched,
                None => session.blocks_looked_at() - began,
            };
            self.whole = Whole { at: Some(now), blocks, seconds };
        }
        if !is_whole || line.is_none() {
            self.near_seconds = seconds;
        } else if is_first {
            self.near_seconds = 0.0;
        }
        Ok(())
    }

    fn is_whole_due(&self, now: Timestamp, chosen: bool) -> bool {
        let pause = HOLDS.max(WHOLE_TIMES * self.whole.seconds);
        let pause = if chosen { pause } else { WHOLE_ALONE * pause };
        !is_within(self.whole.at, pause, now)
    }

    fn look_along(
        &mut self,
        line: &Line,
        reach: Reach,
        is_whole: bool,
        behind: &[Timestamp],
    ) -> Result<()> {
        let now = reach.now;
        let advances = !is_within(self.advanced_at, ADVANCES, now);
        let strays = if is_whole { Vec::new() } else { self.still_standing(line)? };
        let mut walk =
            Walk { line, reach, is_whole, advances, floors: Vec::new(), strays, empty: 0 };
        let mut known: Vec<(i16, Span)> =
            self.floors.iter().map(|floor| (floor.priority, floor.span)).collect();
        if known.iter().all(|(priority, _)| *priority != 0) {
            known.push((0, Span::ALL));
            known.sort_unstable_by_key(|(priority, _)| Reverse(*priority));
        }
        let mut last = None;
        for next in known.into_iter().map(Some).chain([None]) {
            let bound = next.map(|(priority, _)| priority);
            while let Some(priority) = line.highest(last, bound)? {
                walk.along(priority, Span::ALL)?;
                last = Some(priority);
            }
            if let Some((priority, span)) = next {
                walk.along(priority, span)?;
                last = Some(priority);
            }
        }
        if !is_whole {
            walk.back(behind)?;
        }
        (self.floors, self.strays) = (walk.floors, in_line(walk.strays));
        if !self.is_cut {
            self.passed = Rc::default();
        }
        self.look_for_overdue(line, now, is_whole, advances)?;
        if advances {
            self.advanced_at = Some(now);
        }
        Ok(())
    }

    /// The strays that are known and that a walk would not come upon.
    fn still_standing(&self, line: &Line) -> Result<Vec<Standing>> {
        let mut standing = Vec::with_capacity(self.strays.len());
        for stray in self.strays.iter() {
            let floor = self.floors.iter().find(|floor| floor.priority == stray.priority);
            let is_passed_by = floor.is_some_and(|floor| stray.at < floor.span.from);
            if is_passed_by && line.has(*stray)? {
                standing.push(*stray);
            }
        }
        Ok(standing)
    }

    fn look_for_overdue(
        &mut self,
        line: &Line,
        now: Timestamp,
        is_whole: bool,
        advances: bool,
    ) -> Result<()> {
        let Sweeps { rules, leases, attempts } = self.sweeps;
        let near = line.overdue(self.sweeps.since(), now)?;
        let whole = if is_whole { line.overdue(Since::EVER, now)? } else { near };
        let after = |span: Span, near: Past, whole: Past| match near.any {
            // An instant of long ago that somebody wrote by hand.
            _ if whole.overdue && !near.overdue => Span::ALL,
            false if advances => span.advanced(now),
            _ => span,
        };
        self.is_overdue = whole.iter().any(|past| past.overdue);
        self.sweeps = Sweeps {
            rules: after(rules, near[0], whole[0]),
            leases: after(leases, near[1], whole[1]),
            attempts: after(attempts, near[2], whole[2]),
        };
        Ok(())
    }

    /// The same by statements, of all that is committed.
    fn look_at_all(
        &mut self,
        session: &Session,
        queue: &QueueName,
        latest: Timestamp,
        is_of_weeks: bool,
    ) -> Result<()> {
        let now = session.now();
        self.is_overdue = sweep::look(session, queue, Since::EVER)?.any();
        let mut floors: Vec<Floor> = Vec::new();
        let mut below = i32::from(i16::MAX) + 1;
        while let Some(row) = session.run(&NEXT, queue, params![below])?.first() {
            let (priority, first, run): (i16, Timestamp, Uuid) =
                (row.need(0)?, row.need(1)?, row.need(2)?);
            let mut floor = Floor::new(priority, first.min(latest), Span::ALL);
            if is_of_weeks {
                // What is spawned from now on lies in this week.
                let at = if first <= now { uuid::timestamp(run) } else { Some(now) };
                floor.stay_in_week_of(session, queue, at)?;
            }
            floors.push(floor);
            below = i32::from(priority);
        }
        // A priority that has none now may have some in a moment.
        let known = self.floors.iter().map(|floor| floor.priority);
        for priority in std::iter::once(0).chain(known).take(PRIORITIES) {
            if floors.iter().all(|floor| floor.priority != priority) {
                let week = now.week_tag().filter(|_| is_of_weeks);
                floors.push(Floor { week, ..Floor::new(priority, latest, Span::ALL) });
            }
        }
        (self.floors, self.strays, self.sweeps) = (floors, Vec::new().into(), Sweeps::default());
        Ok(())
    }
}

/// The instants that a look goes by.
#[derive(Clone, Copy)]
struct Reach {
    now: Timestamp,
    /// Where claims begin at the latest.
    latest: Timestamp,
    /// Up to when the first run of each week is looked for, in a queue that has them.
    horizon: Option<Timestamp>,
}

/// A look under way.
struct Walk<'a> {
    line: &'a Line,
    reach: Reach,
    is_whole: bool,
    advances: bool,
    floors: Vec<Floor>,
    strays: Vec<Standing>,
    /// Priorities, other than 0, of which no run is waiting.
    empty: usize,
}

impl Walk<'_> {
    /// Walks along the runs of a priority to the first that can be handed out, in each of the
    /// tables.
    fn along(&mut self, priority: i16, span: Span) -> Result<()> {
        let Reach { now, latest, horizon } = self.reach;
        let from = if self.is_whole { Timestamp::NEG_INFINITY } else { span.from };
        let (mut firsts, mut is_empty, mut is_full) = (Vec::new(), true, false);
        let strays = &mut self.strays;
        for part in self.line.parts() {
            let mut is_next_over = false;
            part.walk(priority, from, horizon.unwrap_or(latest), |run, found| {
                is_empty = false;
                // The run that was first at the last look, and still is, may be held by itself or
                // by its task.
                let is_first = run.at == span.next && !std::mem::replace(&mut is_next_over, true);
                let is_behind = run.at < span.next || is_first;
                if is_behind && strays.len() < STRAYS {
                    strays.push(run);
                    return Ok(true);
                }
                is_full |= is_behind;
                let is_ready = found == Found::Settled;
                if is_ready {
                    firsts.push(run);
                }
                Ok(!is_ready)
            })?;
        }
        let first = firsts.iter().map(|run| run.at).min().map_or(latest, |first| first.min(latest));
        let moves_on = self.advances && !is_full;
        let span = if moves_on { span.advanced(first) } else { span };
        self.empty += usize::from(is_empty && priority != 0);
        if !is_empty || priority == 0 || self.empty <= PRIORITIES {
            let floor = Floor::new(priority, first, span);
            self.floors.push(match horizon {
                Some(horizon) => floor.among_weeks(&firsts, now, horizon),
                None => floor,
            });
        }
        Ok(())
    }

    /// Looks at instants that were noted, where the walks have not come.
    fn back(&mut self, behind: &[Timestamp]) -> Result<()> {
        let strays = &mut self.strays;
        for floor in &mut self.floors {
            let from = floor.span.from;
            for at in behind.iter().copied().filter(|at| *at < from) {
                let mut is_full = false;
                for part in self.line.parts() {
                    part.walk(floor.priority, at, at, |run, _| {
                        is_full = strays.len() >= STRAYS;
                        if !is_full {
                            strays.push(run);
                        }
                        Ok(!is_full)
                    })?;
                }
                if is_full {
                    floor.span.from = floor.span.from.min(at);
                    floor.since = floor.since.min(at);
                }
            }
        }
        Ok(())
    }
}
