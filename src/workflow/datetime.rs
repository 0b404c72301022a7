//! Dates and datetimes in ISO 8601 (HIGHWAY 1.3).

use crate::time::{Timestamp, days_before};

pub const DAY_SECONDS: i64 = 86_400;

/// A date with, perhaps, a time of day and a zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DateTime {
    pub year: i64,
    pub month: i64,
    pub day: i64,
    pub time: Option<Time>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Time {
    pub hour: i64,
    pub minute: i64,
    pub second: i64,
    pub micros: i64,
    /// Seconds east of UTC; none in a naive time, which is meant as UTC.
    pub offset: Option<i64>,
}

impl DateTime {
    /// Whether every field is within its range: years 1 to 9999, days that the month has.
    pub fn is_valid(&self) -> bool {
        let time = self.time.is_none_or(|time| {
            (0..24).contains(&time.hour)
                && (0..60).contains(&time.minute)
                && (0..60).contains(&time.second)
                && (0..1_000_000).contains(&time.micros)
                && time.offset.is_none_or(|offset| offset.abs() < DAY_SECONDS)
        });
        time && (1..=9999).contains(&self.year)
            && (1..=12).contains(&self.month)
            && (1..=days_in_month(self.year, self.month)).contains(&self.day)
    }

    /// The instant; a naive value is UTC.
    pub fn timestamp(&self) -> Timestamp {
        let time =
            self.time.unwrap_or(Time { hour: 0, minute: 0, second: 0, micros: 0, offset: None });
        let of_day = time.hour * 3600 + time.minute * 60 + time.second;
        let seconds = days_before(self.year, self.month, self.day) * DAY_SECONDS + of_day
            - time.offset.unwrap_or(0);
        Timestamp::from_unix_micros(seconds * 1_000_000 + time.micros)
    }

    /// As the exporter writes it: `2025-01-01`, `2025-01-01T02:03:04.500000Z`,
    /// `2025-01-01T00:00:00+02:00`.
    pub fn iso(&self) -> String {
        let mut text = format!("{:04}-{:02}-{:02}", self.year, self.month, self.day);
        let Some(time) = self.time else { return text };
        text += &format!("T{:02}:{:02}:{:02}", time.hour, time.minute, time.second);
        if time.micros > 0 {
            text += &format!(".{:06}", time.micros);
        }
        match time.offset {
            None => {}
            Some(0) => text.push('Z'),
            Some(offset) => {
                let (sign, offset) = (if offset < 0 { '-' } else { '+' }, offset.abs());
                text += &format!("{sign}{:02}:{:02}", offset / 3600, offset / 60 % 60);
            }
        }
        text
    }
}

/// Reads `YYYY-MM-DD`, and with it `HH:MM[:SS[.f]]` after a `T` or a blank, then perhaps `Z` or an
/// offset `+HH[[:]MM]`. Digits beyond the microsecond are dropped. A naive value is UTC.
pub fn parse(text: &str) -> Option<Timestamp> {
    let (date, time) = match text.split_at_checked(10)? {
        (date, "") => (date, None),
        (date, rest) => (date, Some(rest.strip_prefix(['T', 't', ' '])?)),
    };
    let [year, month, day] = fields(date, '-', &[4, 2, 2])?;
    let time = match time {
        None => None,
        Some(time) => Some(parse_time(time)?),
    };
    let datetime = DateTime { year, month, day, time };
    datetime.is_valid().then(|| datetime.timestamp())
}

/// The year, the month and the day of a text whose fields have these lengths.
fn fields<const N: usize>(text: &str, separator: char, lengths: &[usize; N]) -> Option<[i64; N]> {
    let mut values = [0; N];
    let mut parts = text.split(separator);
    for (value, length) in values.iter_mut().zip(lengths) {
        *value = number(parts.next().filter(|part| part.len() == *length)?)?;
    }
    parts.next().is_none().then_some(values)
}

fn number(text: &str) -> Option<i64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}

fn parse_time(text: &str) -> Option<Time> {
    let zone = text.find(['Z', 'z', '+', '-']).unwrap_or(text.len());
    let (clock, zone) = text.split_at(zone);
    let (clock, fraction) = match clock.split_once(['.', ',']) {
        Some((clock, fraction)) => (clock, Some(fraction)),
        None => (clock, None),
    };
    let [hour, minute, second] = match clock.len() {
        5 if fraction.is_none() => {
            fields(clock, ':', &[2, 2]).map(|[hour, minute]| [hour, minute, 0])?
        }
        _ => fields(clock, ':', &[2, 2, 2])?,
    };
    let micros = match fraction {
        None => 0,
        Some(fraction) => micros(fraction)?,
    };
    Some(Time { hour, minute, second, micros, offset: offset(zone)? })
}

/// A fraction of a second in microseconds.
pub fn micros(fraction: &str) -> Option<i64> {
    number(fraction.get(..1)?)?;
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    number(format!("{fraction:0<6}").get(..6)?)
}

fn offset(zone: &str) -> Option<Option<i64>> {
    let sign = match zone.chars().next() {
        None => return Some(None),
        Some('Z' | 'z') => return (zone.len() == 1).then_some(Some(0)),
        Some('-') => -1,
        Some(_) => 1,
    };
    let zone = &zone[1..];
    let [hours, minutes] = match zone.len() {
        2 => [number(zone)?, 0],
        4 => [number(zone.get(..2)?)?, number(zone.get(2..)?)?],
        _ => fields(zone, ':', &[2, 2])?,
    };
    (minutes < 60).then_some(Some(sign * (hours * 3600 + minutes * 60)))
}

pub fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::civil;
    use proptest::prelude::*;

    #[test]
    fn reads_iso_datetimes() {
        let cases = [
            ("2025-01-01", "2025-01-01T00:00:00+00:00"),
            ("2025-01-01T00:00:00", "2025-01-01T00:00:00+00:00"),
            ("2025-01-01T02:03:04.500000Z", "2025-01-01T02:03:04.5+00:00"),
            ("2025-01-01T00:00:00+02:00", "2024-12-31T22:00:00+00:00"),
            ("2025-01-01 00:00:00-0330", "2025-01-01T03:30:00+00:00"),
            ("2025-01-01T00:00-05", "2025-01-01T05:00:00+00:00"),
            ("2025-01-01T04:30", "2025-01-01T04:30:00+00:00"),
            ("2024-02-29T23:59:59.1234567z", "2024-02-29T23:59:59.123456+00:00"),
            ("0001-01-01", "0001-01-01T00:00:00+00:00"),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text).map(Timestamp::iso8601).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_no_datetime() {
        let bad = [
            "",
            "2025",
            "2025-1-1",
            "2025-13-01",
            "2025-02-29",
            "2025-01-32",
            "0000-01-01",
            "2025-01-01T",
            "2025-01-01T1:00",
            "2025-01-01T24:00:00",
            "2025-01-01T00:60:00",
            "2025-01-01T00:00:60",
            "2025-01-01T00:00:00.",
            "2025-01-01T00:00:00+24:00",
            "2025-01-01T00:00:00+01:60",
            "2025-01-01T00:00:00Zx",
            "2025-01-01X00:00:00",
            "2025-01-01T00:00:00 Z",
            "２025-01-0",
            "2025-01-01T00:00.5",
            "+025-01-01",
        ];
        for text in bad {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn months_have_their_days(days in -1_000_000i64..3_000_000) {
            let (year, month, day) = civil(days);
            prop_assert!((1..=12).contains(&month) && (1..=days_in_month(year, month)).contains(&day));
            let last = days_in_month(year, month);
            prop_assert_eq!(days_before(year, month, last) - days, last - day);
        }

        #[test]
        fn what_is_written_reads_the_same(seconds in 0i64..250_000_000_000, micros in 0i64..1_000_000) {
            let at = Timestamp::from_unix_micros(seconds * 1_000_000 + micros);
            prop_assert_eq!(parse(&at.iso8601()), Some(at));
        }

        #[test]
        fn reading_is_total(text in "[-0-9TZ:.+ ]{0,30}|\\PC{0,30}") {
            let _ = parse(&text);
        }
    }
}
