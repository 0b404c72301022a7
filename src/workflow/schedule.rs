//! Cron schedules of five fields, in UTC (HIGHWAY 10.2).

use super::bounds::cut;
use super::datetime::{DAY_SECONDS, days_in_month};
use crate::time::{Timestamp, civil};

/// Minute, hour, day of month, month and day of week that a schedule comes due at. A bit stands
/// for each value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cron {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
}

struct Field {
    name: &'static str,
    min: u32,
    max: u32,
    names: &'static [&'static str],
}

const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

const MINUTE: Field = Field { name: "minute", min: 0, max: 59, names: &[] };
const HOUR: Field = Field { name: "hour", min: 0, max: 23, names: &[] };
const DAY: Field = Field { name: "day of month", min: 1, max: 31, names: &[] };
const MONTH: Field = Field { name: "month", min: 1, max: 12, names: &MONTHS };
const WEEKDAY: Field = Field { name: "day of week", min: 0, max: 7, names: &WEEKDAYS };

/// Days within which every schedule comes due: February 29th is at most eight years away.
const SEARCH_DAYS: i64 = 8 * 366 + 1;

const ALL_DAYS: u64 = 0xffff_fffe;
const ALL_WEEKDAYS: u64 = 0x7f;

impl Cron {
    /// Reads `minute hour day-of-month month day-of-week`: `*`, numbers, names of months and days
    /// (three letters, any case), lists, ranges, and `/step` after `*`, a range or a number (from
    /// there to the end). 0 and 7 are Sunday. A range of days of the week may end on Sunday.
    ///
    /// # Errors
    /// The field and the rule that it breaks; also for a date that no year has.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = |error: String| format!("schedule \"{}\" {error}", cut(text));
        let fields: Vec<&str> = text.split_ascii_whitespace().collect();
        let [minute, hour, day, month, weekday] = *fields else {
            return Err(wrong("must have five fields".to_owned()));
        };
        let mut weekdays = WEEKDAY.parse(weekday).map_err(wrong)?;
        weekdays = (weekdays | weekdays >> 7) & ALL_WEEKDAYS;
        let cron = Self {
            minutes: MINUTE.parse(minute).map_err(wrong)?,
            hours: HOUR.parse(hour).map_err(wrong)?,
            days: DAY.parse(day).map_err(wrong)?,
            months: MONTH.parse(month).map_err(wrong)?,
            weekdays,
        };
        let has_date = |month: u32| {
            let length = days_in_month(2000, i64::from(month));
            cron.months >> month & 1 == 1 && cron.days & ((2 << length) - 1) != 0
        };
        if weekdays == ALL_WEEKDAYS && !(1..=12).any(has_date) {
            return Err(wrong("never comes due: its months have no such day".to_owned()));
        }
        Ok(cron)
    }

    /// The first instant after `at` that the schedule comes due at; none beyond the range of a
    /// timestamp and for an infinite `at`.
    pub fn next_after(&self, at: Timestamp) -> Option<Timestamp> {
        let (day, minute) = minute_of(at)?;
        if let Some(minute) = self.on(day).and_then(|()| self.next_minute(minute + 1)) {
            return instant(day, minute);
        }
        let day = (day + 1..=day + SEARCH_DAYS).find(|day| self.on(*day).is_some())?;
        instant(day, self.next_minute(0)?)
    }

    /// The last instant before `at` that the schedule came due at; none beyond the range of a
    /// timestamp and for an infinite `at`.
    pub fn previous_before(&self, at: Timestamp) -> Option<Timestamp> {
        let (day, minute) = minute_of(at)?;
        // The minute itself lies before an instant within it.
        let whole = instant(day, minute)? == at;
        let end = if whole { minute } else { minute + 1 };
        if let Some(minute) = self.on(day).and_then(|()| self.last_minute(end)) {
            return instant(day, minute);
        }
        let day = (day - SEARCH_DAYS..day).rev().find(|day| self.on(*day).is_some())?;
        instant(day, self.last_minute(24 * 60)?)
    }

    /// Whether it comes due on a day, given as days since 1970-01-01. When both the day of month
    /// and the day of week are restricted, either suffices.
    fn on(&self, day: i64) -> Option<()> {
        let (_, month, of_month) = civil(day);
        // 1970-01-01 was a Thursday.
        let weekday = self.weekdays >> (day + 4).rem_euclid(7) & 1 == 1;
        let of_month = self.days >> of_month & 1 == 1;
        let both = self.days != ALL_DAYS && self.weekdays != ALL_WEEKDAYS;
        let due = if both { of_month || weekday } else { of_month && weekday };
        (due && self.months >> month & 1 == 1).then_some(())
    }

    fn next_minute(&self, from: i64) -> Option<i64> {
        (from..24 * 60).find(|minute| self.at(*minute))
    }

    fn last_minute(&self, end: i64) -> Option<i64> {
        (0..end).rev().find(|minute| self.at(*minute))
    }

    fn at(&self, minute: i64) -> bool {
        self.hours >> (minute / 60) & 1 == 1 && self.minutes >> (minute % 60) & 1 == 1
    }
}

/// The day since 1970-01-01 and the minute of that day that hold an instant.
fn minute_of(at: Timestamp) -> Option<(i64, i64)> {
    let seconds = at.is_finite().then(|| at.unix_micros().div_euclid(1_000_000))?;
    Some((seconds.div_euclid(DAY_SECONDS), seconds.rem_euclid(DAY_SECONDS) / 60))
}

fn instant(day: i64, minute: i64) -> Option<Timestamp> {
    let micros = day.checked_mul(DAY_SECONDS)?.checked_add(minute * 60)?.checked_mul(1_000_000)?;
    let epoch = Timestamp::from_unix_micros(0).micros();
    micros.checked_add(epoch).map(Timestamp::from_micros).filter(|at| at.is_finite())
}

impl Field {
    fn parse(&self, text: &str) -> Result<u64, String> {
        text.split(',').try_fold(0, |bits, part| Ok(bits | self.part(part)?))
    }

    fn wrong(&self, text: &str, rule: &str) -> String {
        format!("is wrong: {} \"{}\" {rule}", self.name, cut(text))
    }

    fn part(&self, text: &str) -> Result<u64, String> {
        let (range, step) = match text.split_once('/') {
            Some((range, step)) => (range, Some(step)),
            None => (text, None),
        };
        let step = match step.map(|step| (step, digits(step))) {
            None => None,
            Some((_, Some(step))) if step > 0 => Some(step),
            Some(_) => return Err(self.wrong(text, "must have a step of 1 or more")),
        };
        // Sunday is the first of a week's days, although 7 names it too.
        let last = if self.max == 7 { 6 } else { self.max };
        let (start, end) = match range.split_once('-') {
            _ if range == "*" => (self.min, last),
            Some((start, end)) => {
                let (start, end) = (self.value(start, text)?, self.value(end, text)?);
                // Friday to Sunday: Sunday is also 7.
                (start, if self.max == 7 && end == 0 && start > 0 { 7 } else { end })
            }
            None => {
                let start = self.value(range, text)?;
                (start, if step.is_some() { last.max(start) } else { start })
            }
        };
        if start > end {
            return Err(self.wrong(text, "must not begin after its end"));
        }
        let values = (start..=end).step_by(step.unwrap_or(1) as usize);
        Ok(values.fold(0, |bits, value| bits | 1 << value))
    }

    fn value(&self, text: &str, part: &str) -> Result<u32, String> {
        let named = self.names.iter().position(|name| name.eq_ignore_ascii_case(text));
        let value = match named {
            Some(position) => u32::try_from(position).ok().map(|position| position + self.min),
            None => digits(text),
        };
        value.filter(|value| (self.min..=self.max).contains(value)).ok_or_else(|| {
            let names = if self.names.is_empty() { "" } else { " or their names" };
            self.wrong(part, &format!("must hold numbers from {} to {}{names}", self.min, self.max))
        })
    }
}

fn digits(text: &str) -> Option<u32> {
    let digits = (1..=4).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workflow::datetime;
    use proptest::prelude::*;

    fn at(text: &str) -> Timestamp {
        datetime::parse(text).unwrap_or_else(|| panic!("{text}"))
    }

    #[test]
    fn comes_due() {
        let cases = [
            ("0 2 * * *", "2025-01-01T02:00", "2025-01-02T02:00"),
            ("0 2 * * *", "2025-01-01T01:59:59.999999", "2025-01-01T02:00"),
            ("* * * * *", "2024-12-31T23:59:30", "2025-01-01T00:00"),
            ("*/15 8-10 * * *", "2025-01-01T08:46", "2025-01-01T09:00"),
            ("*/15 8-10 * * *", "2025-01-01T10:45", "2025-01-02T08:00"),
            ("5/20 * * * *", "2025-01-01T00:25", "2025-01-01T00:45"),
            ("10-30/10 * * * *", "2025-01-01T00:30", "2025-01-01T01:10"),
            ("0,30 0 1 jan,JUL *", "2025-01-01T00:30", "2025-07-01T00:00"),
            ("0 0 29 2 *", "2096-03-01", "2104-02-29"),
            ("0 0 31 * *", "2025-01-31", "2025-03-31"),
            ("0 0 * * 0", "2025-01-01", "2025-01-05"),
            ("0 0 * * 7", "2025-01-01", "2025-01-05"),
            ("0 0 * * mon-FRI", "2025-01-03", "2025-01-06"),
            ("0 0 * * fri-sun", "2025-01-04", "2025-01-05"),
            ("0 0 * * 5-7", "2025-01-05", "2025-01-10"),
            ("0 0 * * 0-1", "2025-01-05", "2025-01-06"),
            // The 13th or a Friday.
            ("0 0 13 * 5", "2025-01-11", "2025-01-13"),
            ("0 0 13 * 5", "2025-01-13", "2025-01-17"),
            // Every day of the month is no restriction, whichever way it is written.
            ("0 0 1-31 * 5", "2025-01-11", "2025-01-17"),
            ("0 0 */2 * 1", "2025-01-06", "2025-01-07"),
            ("0 0 30 2 1", "2025-01-28", "2025-02-03"),
            ("  1\t2 *  * * ", "1969-12-31T02:01", "1970-01-01T02:01"),
        ];
        for (schedule, after, expected) in cases {
            let cron = Cron::parse(schedule).unwrap();
            let next = cron.next_after(at(after));
            assert_eq!(next, Some(at(expected)), "{schedule} after {after}");
            let later = Timestamp::from_micros(at(expected).micros() + 1);
            assert_eq!(cron.previous_before(later), next, "{schedule} before {expected}");
        }
        let yearly = Cron::parse("0 0 29 2 *").unwrap();
        assert_eq!(yearly.previous_before(at("2104-02-29")), Some(at("2096-02-29")));
    }

    #[test]
    fn refuses_what_is_no_schedule() {
        let cases = [
            ("", "must have five fields"),
            ("nope", "must have five fields"),
            ("@daily", "must have five fields"),
            ("0 0 * * * *", "must have five fields"),
            ("60 * * * *", "minute \"60\" must hold numbers from 0 to 59"),
            ("* 24 * * *", "hour \"24\" must hold"),
            ("* * 0 * *", "day of month \"0\" must hold numbers from 1 to 31"),
            ("* * 32 * *", "day of month \"32\""),
            ("* * * 13 *", "month \"13\" must hold numbers from 1 to 12 or their names"),
            ("* * * * 8", "day of week \"8\""),
            ("* * * * monday", "day of week \"monday\""),
            ("* * * mon *", "month \"mon\""),
            ("*/0 * * * *", "must have a step of 1 or more"),
            ("*/x * * * *", "must have a step of 1 or more"),
            ("*/ * * * *", "must have a step of 1 or more"),
            ("1/2/3 * * * *", "must have a step"),
            ("5-1 * * * *", "must not begin after its end"),
            ("* * * * sat-mon", "must not begin after its end"),
            ("1,,2 * * * *", "must hold"),
            ("1- * * * *", "must hold"),
            ("-1 * * * *", "must hold"),
            ("+1 * * * *", "must hold"),
            ("? * * * *", "must hold"),
            ("* * L * *", "must hold"),
            ("** * * * *", "must hold"),
            ("0 0 30 2 *", "never comes due"),
            ("0 0 31 4,6,9,11 *", "never comes due"),
            ("0 0 31 feb */1", "never comes due"),
        ];
        for (schedule, rule) in cases {
            let error = Cron::parse(schedule).expect_err(schedule);
            assert!(error.contains(rule), "{schedule}: {error}");
        }
    }

    #[test]
    fn ends_with_the_range_of_time() {
        let cron = Cron::parse("0 0 29 2 *").unwrap();
        for never in [Timestamp::INFINITY, Timestamp::NEG_INFINITY] {
            assert_eq!((cron.next_after(never), cron.previous_before(never)), (None, None));
        }
        assert_eq!(cron.next_after(Timestamp::from_micros(i64::MAX - 1)), None);
        assert_eq!(cron.previous_before(Timestamp::from_micros(i64::MIN + 1)), None);
    }

    fn field(min: u32, max: u32) -> impl Strategy<Value = String> {
        let value = move || min..=max;
        let part = prop_oneof![
            3 => Just("*".to_owned()),
            2 => value().prop_map(|value| value.to_string()),
            1 => (value(), value()).prop_map(|(a, b)| format!("{}-{}", a.min(b), a.max(b))),
            1 => (1u32..20).prop_map(|step| format!("*/{step}")),
            1 => (value(), 1u32..9).prop_map(|(start, step)| format!("{start}/{step}")),
        ];
        prop::collection::vec(part, 1..3).prop_map(|parts| parts.join(","))
    }

    fn schedule() -> impl Strategy<Value = String> {
        (field(0, 59), field(0, 23), field(1, 31), field(1, 12), field(0, 7))
            .prop_map(|(a, b, c, d, e)| format!("{a} {b} {c} {d} {e}"))
    }

    /// Whether a field's text names a value, read afresh and without bits.
    fn names(text: &str, value: i64, max: i64) -> bool {
        text.split(',').any(|part| {
            let (range, step) = part.split_once('/').unwrap_or((part, "1"));
            let step: i64 = step.parse().unwrap();
            let open = part.contains('/');
            let (start, end) = match range.split_once('-') {
                Some((start, end)) => (start.parse().unwrap(), end.parse().unwrap()),
                None if range == "*" => (if max == 31 || max == 12 { 1 } else { 0 }, max),
                None => {
                    let start: i64 = range.parse().unwrap();
                    (start, if open { max.max(start) } else { start })
                }
            };
            (start..=end).contains(&value) && (value - start) % step == 0
        })
    }

    /// Whether a schedule is due in the minute that begins at an instant.
    fn due(schedule: &str, at: Timestamp) -> bool {
        let fields: Vec<&str> = schedule.split(' ').collect();
        let minutes = at.unix_micros() / 60_000_000;
        let day = minutes.div_euclid(1440);
        let (_, month, of_month) = civil(day);
        let weekday = (day + 4).rem_euclid(7);
        let on_weekday =
            |weekday| names(fields[4], weekday, 6) || (weekday == 0 && names(fields[4], 7, 6));
        let date = names(fields[2], of_month, 31);
        let all = (1..=31).all(|day| names(fields[2], day, 31)) || (0..7).all(on_weekday);
        names(fields[0], minutes.rem_euclid(60), 59)
            && names(fields[1], minutes.div_euclid(60).rem_euclid(24), 23)
            && names(fields[3], month, 12)
            && if all { date && on_weekday(weekday) } else { date || on_weekday(weekday) }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn agrees_with_a_scan_of_minutes(schedule in schedule(), start in 0i64..2_000_000_000) {
            let Ok(cron) = Cron::parse(&schedule) else { return Ok(()) };
            let from = Timestamp::from_unix_micros(start * 1_000_000);
            let next = cron.next_after(from).unwrap();
            prop_assert!(next > from && due(&schedule, next));
            prop_assert_eq!(cron.previous_before(Timestamp::from_micros(next.micros() + 1)), Some(next));
            // The minutes between, at most a week of them.
            for minute in (start / 60 + 1..next.unix_micros() / 60_000_000).take(10_080) {
                let at = Timestamp::from_unix_micros(minute * 60_000_000);
                prop_assert!(!due(&schedule, at), "{} is due at {}", schedule, at.iso8601());
            }
            if let Some(previous) = cron.previous_before(from) {
                prop_assert!(previous < from && due(&schedule, previous));
                prop_assert!(cron.next_after(previous).unwrap() >= from);
            }
        }

        #[test]
        fn never_goes_back(schedule in schedule(), a in any::<i64>(), b in any::<i64>()) {
            let Ok(cron) = Cron::parse(&schedule) else { return Ok(()) };
            let (early, late) = (Timestamp::from_micros(a.min(b)), Timestamp::from_micros(a.max(b)));
            if let (Some(one), Some(other)) = (cron.next_after(early), cron.next_after(late)) {
                prop_assert!(one <= other);
            }
        }

        #[test]
        fn parsing_is_total(text in "[-0-9*/, a-z]{0,30}|\\PC{0,30}") {
            let _ = Cron::parse(&text);
        }
    }
}
