//! Instants and ISO weeks. Pure arithmetic, no clock.

/// A `timestamptz`: microseconds since 2000-01-01 00:00 UTC, with Postgres's two infinities.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

/// 2000-01-01 in microseconds since 1970-01-01.
const POSTGRES_EPOCH: i64 = 946_684_800_000_000;
const DAY: i64 = 86_400_000_000;
const WEEK: i64 = 7 * DAY;
/// 2000-01-03, the first Monday of the epoch.
const A_MONDAY: i64 = 2 * DAY;

impl Timestamp {
    pub const INFINITY: Self = Self(i64::MAX);
    pub const NEG_INFINITY: Self = Self(i64::MIN);
    /// The last instant that a `timestamptz` can hold, in the year 294276.
    const LAST: i64 = 9_223_371_331_199_999_999;

    /// From microseconds since 2000-01-01 00:00 UTC.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds since 2000-01-01 00:00 UTC.
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// From microseconds since 1970-01-01 00:00 UTC.
    pub const fn from_unix_micros(micros: i64) -> Self {
        Self(micros - POSTGRES_EPOCH)
    }

    /// Microseconds since 1970-01-01 00:00 UTC.
    pub const fn unix_micros(self) -> i64 {
        self.0.saturating_add(POSTGRES_EPOCH)
    }

    pub const fn is_finite(self) -> bool {
        self.0 != i64::MAX && self.0 != i64::MIN
    }

    /// The first instant that a `timestamptz` can hold, in 4714 BC.
    const FIRST: i64 = -211_813_488_000_000_000;

    /// `self` and this many seconds more; what lies beyond the type's range is an infinity, and
    /// what is no number adds nothing.
    pub fn plus_seconds(self, seconds: f64) -> Self {
        if !self.is_finite() {
            return self;
        }
        // The cast from f64 saturates, and makes 0 of what is no number.
        match self.0.saturating_add((seconds * 1e6).round() as i64) {
            micros if micros > Self::LAST => Self::INFINITY,
            micros if micros < Self::FIRST => Self::NEG_INFINITY,
            micros => Self(micros),
        }
    }

    /// ISO 8601 in UTC, for messages and reasons; the infinities read `infinity`, `-infinity`.
    pub fn iso8601(self) -> String {
        match self {
            Self::INFINITY => return "infinity".to_owned(),
            Self::NEG_INFINITY => return "-infinity".to_owned(),
            _ => {}
        }
        let (year, month, day) = civil(self.unix_micros().div_euclid(DAY));
        let of_day = self.unix_micros().rem_euclid(DAY);
        let (seconds, fraction) = (of_day / 1_000_000, of_day % 1_000_000);
        let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        let mut text = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}");
        if fraction > 0 {
            text.push_str(format!(".{fraction:06}").trim_end_matches('0'));
        }
        text + "+00:00"
    }

    /// Monday 00:00 UTC of the ISO week that holds the instant.
    pub fn week_start(self) -> Self {
        if !self.is_finite() {
            return self;
        }
        Self(self.0 - (self.0 - A_MONDAY).rem_euclid(WEEK))
    }

    /// The last digit of the ISO year and the two digits of the ISO week: `601` is the first week
    /// of 2026. None for the infinities. ISO 8601: a week belongs to the year of its Thursday.
    pub fn week_tag(self) -> Option<String> {
        if !self.is_finite() {
            return None;
        }
        let thursday = (self.week_start().unix_micros()).div_euclid(DAY) + 3;
        let (year, ..) = civil(thursday);
        let week = (thursday - days_before(year, 1, 1)) / 7 + 1;
        Some(format!("{}{week:02}", year.rem_euclid(10)))
    }
}

/// Year, month and day of a count of days since 1970-01-01, proleptic Gregorian. The era
/// arithmetic counts years from March, so that the leap day is a year's last.
pub(crate) fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// Days from 1970-01-01 to a date, proleptic Gregorian.
pub(crate) fn days_before(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn day(days_since_1970: i64) -> Timestamp {
        Timestamp::from_unix_micros(days_since_1970 * DAY)
    }

    #[test]
    fn writes_iso_8601_in_utc() {
        assert_eq!(Timestamp::from_micros(0).iso8601(), "2000-01-01T00:00:00+00:00");
        assert_eq!(Timestamp::from_micros(1_500_000).iso8601(), "2000-01-01T00:00:01.5+00:00");
        assert_eq!(day(-1).iso8601(), "1969-12-31T00:00:00+00:00");
        assert_eq!(day(19_782).iso8601(), "2024-02-29T00:00:00+00:00");
        assert_eq!(Timestamp::INFINITY.iso8601(), "infinity");
    }

    #[test]
    fn adding_saturates_at_infinity() {
        let at = Timestamp::from_micros(0);
        assert_eq!(at.plus_seconds(1.5).micros(), 1_500_000);
        assert_eq!(at.plus_seconds(1e300), Timestamp::INFINITY);
        assert_eq!(at.plus_seconds(f64::INFINITY), Timestamp::INFINITY);
        assert_eq!(at.plus_seconds(1e15), Timestamp::INFINITY);
        assert_eq!(at.plus_seconds(-1e300), Timestamp::NEG_INFINITY);
        assert_eq!(at.plus_seconds(-1e12), Timestamp::NEG_INFINITY);
        assert_eq!(at.plus_seconds(f64::NAN), at);
        assert_eq!(Timestamp::INFINITY.plus_seconds(-5.0), Timestamp::INFINITY);
    }

    #[test]
    fn weeks_start_on_monday_and_belong_to_their_thursdays_year() {
        let cases = [
            (18_262, "001"), // 2020-01-01, a Wednesday
            (18_627, "053"), // 2020-12-31: the 53rd week of 2020
            (18_630, "053"), // 2021-01-03, still 2020's
            (18_631, "101"), // 2021-01-04
            (20_454, "601"), // 2026-01-01
            (20_451, "601"), // 2025-12-29, the Monday before
            (20_450, "552"), // 2025-12-28
        ];
        for (days, tag) in cases {
            assert_eq!(day(days).week_tag().as_deref(), Some(tag), "day {days}");
        }
        assert_eq!(day(20_454).week_start(), day(20_451));
        assert_eq!(Timestamp::INFINITY.week_tag(), None);
    }

    proptest! {
        #[test]
        fn a_week_holds_its_instant(micros in -10_000_000 * DAY / 100..10_000_000 * DAY / 100) {
            let at = Timestamp::from_micros(micros);
            let start = at.week_start();
            prop_assert!(start <= at && at.micros() - start.micros() < WEEK);
            prop_assert_eq!(start.week_start(), start);
            prop_assert_eq!(start.week_tag(), at.week_tag());
        }

        #[test]
        fn year_starts_agree_with_the_calendar(year in 1i64..9999) {
            prop_assert_eq!(civil(days_before(year, 1, 1)), (year, 1, 1));
            // Without the arithmetic of eras.
            let before = year - 1;
            let leap_days = before / 4 - before / 100 + before / 400;
            prop_assert_eq!(days_before(year, 1, 1), before * 365 + leap_days - 719_162);
        }

        #[test]
        fn the_calendar_runs_both_ways(days in -1_000_000i64..3_000_000) {
            let (year, month, day) = civil(days);
            prop_assert_eq!(days_before(year, month, day), days);
        }
    }
}
