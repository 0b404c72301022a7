//! Runs that stand behind the front: each is tried by itself.

use std::rc::Rc;
use std::time::Instant;

use super::{Front, MOST, TRIES, TRIES_TIMES, is_within};
use crate::error::Result;
use crate::pg::{Session, Timestamp};
use crate::queue::QueueName;
use crate::queue::week::Week;
use crate::task::budget::Budget;
use crate::task::direct::line::Standing;
use crate::task::hand_out::{Claimed, Offer, Place};

impl Front {
    /// Whether it is time to offer the strays again: those that were held may have become free.
    pub(super) fn tries_strays(&mut self, now: Timestamp) -> bool {
        let pause = TRIES.max(TRIES_TIMES * self.tried_seconds);
        let tries = !self.strays.is_empty() && !is_within(self.tried_at, pause, now);
        if tries {
            (self.tried_at, self.tried_seconds, self.is_cut) = (Some(now), 0.0, false);
        }
        tries
    }

    /// Hands out those strays that can be, of a priority or of all.
    pub(super) fn offer_strays(
        &mut self,
        session: &Session,
        queue: &QueueName,
        (offer, budget): (&Offer, &Budget),
        priority: Option<i16>,
        claimed: &mut Vec<Claimed>,
    ) -> Result<()> {
        let clock = Instant::now();
        let strays = Rc::clone(&self.strays);
        for stray in strays.iter() {
            let is_of = priority.is_none_or(|wanted| wanted == stray.priority);
            if !is_of || self.passed.contains(&stray.run) {
                continue;
            }
            if offer.is_met(claimed) {
                // The next claim goes on with them.
                self.tried_at = None;
                break;
            }
            let before = claimed.len();
            let is_tried_again =
                self.offer_stray(session, queue, (offer, budget), *stray, claimed)?;
            if !is_tried_again || claimed.len() > before {
                Rc::make_mut(&mut self.passed).insert(stray.run);
            }
            if !is_tried_again && clock.elapsed() > MOST {
                self.is_cut = true;
                break;
            }
        }
        self.tried_seconds += clock.elapsed().as_secs_f64();
        Ok(())
    }

    /// Hands out a stray if that can be. Returns whether it may be tried again before the next
    /// look.
    fn offer_stray(
        &self,
        session: &Session,
        queue: &QueueName,
        (offer, budget): (&Offer, &Budget),
        Standing { priority, at, run }: Standing,
        claimed: &mut Vec<Claimed>,
    ) -> Result<bool> {
        let place = Place { priority, since: at, from: None, only: Some(run) };
        if self.floors.iter().all(|floor| floor.week.is_none()) {
            offer.hand_out(session, queue, place, budget, claimed)?;
            return Ok(true);
        }
        if let Some(weeks) = Week::of(queue, run)? {
            let mut is_all = true;
            for week in weeks {
                is_all &= offer.hand_out_of(session, &week, place, at, claimed)?.1;
            }
            if is_all {
                return Ok(true);
            }
        }
        // A statement on all weeks takes its time: once a look is enough.
        offer.hand_out(session, queue, place, budget, claimed)?;
        Ok(false)
    }
}
