//! What of an index a look goes through.

use crate::time::Timestamp;

/// The part of an index that a look goes through, by instants.
///
/// Behind `from` everything is settled: it is gone for good, or known by itself. Two looks ago
/// `from` was where the first ready run stood, and `next` is where it stood at the last one. What a
/// look finds between them has stayed there for a whole look and is kept in mind by itself, so that
/// the next one may begin at `next`. That what is inserted comes a look late does no harm: its
/// instant is that of the call that inserts it, and lies in the span for two looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub from: Timestamp,
    pub next: Timestamp,
}

impl Span {
    /// All of it: nothing has been looked at.
    pub const ALL: Self = Self { from: Timestamp::NEG_INFINITY, next: Timestamp::NEG_INFINITY };

    /// After a look that has found the first ready run at an instant.
    #[must_use]
    pub fn advanced(self, first: Timestamp) -> Self {
        Self { from: self.next, next: first.max(self.next) }
    }

    /// Whether the beginning has been looked at twice, so that looks need not go through it.
    pub fn is_near(self) -> bool {
        self.from.is_finite()
    }
}

impl Default for Span {
    fn default() -> Self {
        Self::ALL
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix_micros(seconds * 1_000_000)
    }

    #[test]
    fn what_was_first_two_looks_ago_is_where_the_next_begins() {
        let span = Span::ALL.advanced(at(10));
        assert_eq!(span, Span { from: Timestamp::NEG_INFINITY, next: at(10) });
        assert!(!span.is_near());
        let span = span.advanced(at(20));
        assert_eq!(span, Span { from: at(10), next: at(20) });
        assert!(span.is_near());
    }

    #[test]
    fn it_never_goes_back() {
        let span = Span { from: at(10), next: at(20) }.advanced(at(15));
        assert_eq!(span, Span { from: at(20), next: at(20) });
    }
}
