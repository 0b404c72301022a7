//! How far before now a claim begins at least, whatever was found at the front of its queue: spawns commit
//! in another order than that of their instants.

use std::time::Duration;

use crate::time::Timestamp;

/// Seconds; most commits take less.
const MOST: f64 = 0.05;
const LEAST: f64 = 0.002;
/// What a claim may spend on its way to the first run: about as long as the rest of it takes.
const SEARCH: Duration = Duration::from_micros(20);

/// Seconds, as many as suit the pace of the queue: where claims are so many that stepping over what they
/// took takes long, fewer. What commits later than that is found by whoever looks at everything.
#[derive(Clone, Copy)]
pub struct Margin(f64);

impl Default for Margin {
    fn default() -> Self {
        Self(MOST)
    }
}

impl Margin {
    /// The instant where a claim begins at the latest.
    pub fn before(self, now: Timestamp) -> Timestamp {
        now.plus_seconds(-self.0)
    }

    /// Follows what the way to the first run took. Up and down by little, since one that was interrupted
    /// says little.
    pub fn adapt(&mut self, search: Duration) {
        let factor = if search > SEARCH { 0.9 } else { 1.05 };
        self.0 = (self.0 * factor).clamp(LEAST, MOST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(margin: Margin) -> f64 {
        let now = Timestamp::from_unix_micros(1_000_000_000);
        (now.unix_micros() - margin.before(now).unix_micros()) as f64 / 1e6
    }

    #[test]
    fn what_costs_little_keeps_the_whole_margin() {
        let mut margin = Margin::default();
        for _ in 0..100 {
            margin.adapt(Duration::from_micros(3));
        }
        assert_eq!(seconds(margin), MOST);
    }

    #[test]
    fn what_costs_much_shortens_it_to_a_bound() {
        let mut margin = Margin::default();
        margin.adapt(Duration::from_millis(5));
        assert!(seconds(margin) > 0.04, "one interruption changes little");
        for _ in 0..100 {
            margin.adapt(Duration::from_micros(50));
        }
        assert_eq!(seconds(margin), LEAST);
        for _ in 0..100 {
            margin.adapt(Duration::from_micros(3));
        }
        assert_eq!(seconds(margin), MOST);
    }

    #[test]
    fn it_settles_where_the_search_takes_what_it_may() {
        // Ten thousand entries a second, a tenth of a microsecond each.
        let mut margin = Margin::default();
        for _ in 0..1000 {
            margin.adapt(Duration::from_secs_f64(seconds(margin) * 10_000.0 * 1e-7));
        }
        assert!((0.016..0.024).contains(&seconds(margin)), "{}", seconds(margin));
    }
}
