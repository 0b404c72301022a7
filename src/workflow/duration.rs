//! Durations (HIGHWAY 1.2), in seconds. A year is 365 days, a month in the date part 30 days.

use serde_json::Value;

use super::bounds::shown;
use super::number::Number;

pub const DAY: f64 = 86_400.0;

/// The longest duration either way: 999,999,999 days, what the exporter can hold.
pub const MAX_SECONDS: f64 = 999_999_999.0 * DAY;

/// A duration of a policy: a JSON number of seconds, ISO 8601, `[D day[s],] HH:MM[:SS[.f]]`.
///
/// # Errors
/// The value and the rule that it breaks.
pub fn parse(value: &Value) -> Result<f64, String> {
    let seconds = match value {
        Value::Number(number) => Number::parse(number.as_str()).map(Number::to_f64),
        Value::String(text) => parse_iso(text).or_else(|| parse_clock(text)),
        _ => None,
    };
    let seconds = seconds.ok_or_else(|| {
        let rule = "must be a number of seconds or an ISO 8601 duration such as \"PT1M30S\"";
        format!("duration {} {rule}", shown(value))
    })?;
    bounded(seconds).ok_or_else(|| {
        format!("duration {} must not be longer than {MAX_SECONDS} seconds", shown(value))
    })
}

/// The same seconds, unless they are beyond `MAX_SECONDS`.
pub(super) fn bounded(seconds: f64) -> Option<f64> {
    (seconds.abs() <= MAX_SECONDS).then_some(seconds)
}

/// `[+-]PnYnMnWnDTnHnMnS`: at least one part, each at most once and in this order; a part's number
/// may have a sign, a fraction and an exponent.
pub(super) fn parse_iso(text: &str) -> Option<f64> {
    let (sign, text) = match text.strip_prefix('-') {
        Some(text) => (-1.0, text),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    let text = text.strip_prefix('P')?;
    let (date, time) = match text.split_once('T') {
        Some((date, time)) => (date, Some(time)),
        None => (text, None),
    };
    if date.is_empty() && time.is_none_or(str::is_empty) {
        return None;
    }
    let days = parts(date, &[('Y', 365.0), ('M', 30.0), ('W', 7.0), ('D', 1.0)])?;
    let seconds = parts(time.unwrap_or_default(), &[('H', 3600.0), ('M', 60.0), ('S', 1.0)])?;
    Some(sign * (days * DAY + seconds))
}

fn parts(mut text: &str, mut units: &[(char, f64)]) -> Option<f64> {
    let mut sum = 0.0;
    while !text.is_empty() {
        let end = text.find(|c: char| c.is_ascii_uppercase() && c != 'E')?;
        let unit = text[end..].chars().next()?;
        let at = units.iter().position(|(name, _)| *name == unit)?;
        let blank = text.starts_with(char::is_whitespace);
        if blank || !text[..end].ends_with(|c: char| c.is_ascii_digit()) {
            return None;
        }
        sum += Number::parse(&text[..end])?.to_f64() * units[at].1;
        units = &units[at + 1..];
        text = &text[end + 1..];
    }
    Some(sum)
}

/// `HH:MM`, `HH:MM:SS`, with a fraction, and before it `D day[s],`. Hours may exceed a day.
fn parse_clock(text: &str) -> Option<f64> {
    let (sign, text) = match text.strip_prefix('-') {
        Some(text) => (-1.0, text),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    let Some(name) = text.find('d') else { return clock(text).map(|seconds| sign * seconds) };
    let days = digits(text[..name].trim_end())?;
    let rest = &text[name..];
    let rest = ["days", "day", "d"].into_iter().find_map(|name| rest.strip_prefix(name))?;
    let rest = rest.strip_prefix(',').unwrap_or(rest).trim_start();
    let seconds = if rest.is_empty() { 0.0 } else { clock(rest)? };
    Some(sign * (days * DAY + seconds))
}

fn clock(text: &str) -> Option<f64> {
    let mut fields = text.split(':');
    let hours = digits(fields.next()?)?;
    let minutes = fields.next().filter(|text| text.len() == 2).and_then(digits)?;
    let seconds = match fields.next() {
        None => 0.0,
        Some(text) => {
            let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
            digits(fraction)?;
            digits(whole).filter(|_| whole.len() == 2)?;
            text.parse().ok()?
        }
    };
    let rest = fields.next();
    (rest.is_none() && minutes < 60.0 && seconds < 60.0)
        .then_some(hours * 3600.0 + minutes * 60.0 + seconds)
}

fn digits(text: &str) -> Option<f64> {
    if text.is_empty() || text.len() > 12 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

/// A duration as the exporter writes it, to the microsecond: `P1DT12H5M1.25S`, `P1Y35D`, `-PT5S`.
/// Equal durations have equal texts.
pub fn canonical(seconds: f64) -> String {
    // The cast saturates; MAX_SECONDS is within it.
    let micros = (seconds * 1e6).round() as i128;
    let sign = if micros < 0 { "-" } else { "" };
    let micros = micros.unsigned_abs();
    let (whole, fraction) = (micros / 1_000_000, micros % 1_000_000);
    let (days, of_day) = (whole / 86_400, whole % 86_400);
    let mut text = format!("{sign}P");
    for (count, unit) in [(days / 365, 'Y'), (days % 365, 'D')] {
        if count > 0 {
            text += &format!("{count}{unit}");
        }
    }
    if micros.is_multiple_of(86_400_000_000) {
        return if days == 0 { "PT0S".to_owned() } else { text };
    }
    text.push('T');
    for (count, unit) in [(of_day / 3600, 'H'), (of_day / 60 % 60, 'M')] {
        if count > 0 {
            text += &format!("{count}{unit}");
        }
    }
    if fraction > 0 {
        let fraction = format!("{fraction:06}");
        text += &format!("{}.{}S", of_day % 60, fraction.trim_end_matches('0'));
    } else if of_day % 60 > 0 {
        text += &format!("{}S", of_day % 60);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn writes_as_the_exporter_does() {
        let cases = [
            (0.0, "PT0S"),
            (0.5, "PT0.5S"),
            (90.0, "PT1M30S"),
            (86_400.0, "P1D"),
            (36.0 * 3600.0 + 301.25, "P1DT12H5M1.25S"),
            (7.0 * DAY, "P7D"),
            (365.0 * DAY, "P1Y"),
            (400.0 * DAY, "P1Y35D"),
            (1e-6, "PT0.000001S"),
            (-5.0, "-PT5S"),
            (-DAY - 0.25, "-P1DT0.25S"),
            (1e-7, "PT0S"),
            (3600.0, "PT1H"),
        ];
        for (seconds, text) in cases {
            assert_eq!(canonical(seconds), text);
            if seconds != 1e-7 {
                assert_eq!(parse(&json!(text)), Ok(seconds), "{text}");
            }
        }
    }

    #[test]
    fn reads_every_form() {
        let cases = [
            (json!(5), 5.0),
            (json!(1.5), 1.5),
            (json!("PT3600.0S"), 3600.0),
            (json!("PT1e-06S"), 1e-6),
            (json!("PT1E-06S"), 1e-6),
            (json!("PT-5.0S"), -5.0),
            (json!("+PT5S"), 5.0),
            (json!("P1W"), 604_800.0),
            (json!("P1M"), 30.0 * DAY),
            (json!("PT1M"), 60.0),
            (json!("PT1.5H"), 5400.0),
            (json!("P1Y2M3DT4H"), 36_993_600.0),
            (json!("P1DT"), DAY),
            (json!("00:01:30"), 90.0),
            (json!("01:30"), 5400.0),
            (json!("25:00:00"), 90_000.0),
            (json!("00:00:00.5"), 0.5),
            (json!("-00:00:05"), -5.0),
            (json!("1 day, 02:00:00"), 93_600.0),
            (json!("2 days, 1:00:00"), 176_400.0),
            (json!("1 days 02:00:00"), 93_600.0),
            (json!("1 day"), DAY),
        ];
        for (value, seconds) in cases {
            assert_eq!(parse(&value), Ok(seconds), "{value}");
        }
    }

    #[test]
    fn refuses_what_is_no_duration() {
        let bad = [
            json!(null),
            json!(true),
            json!([5]),
            json!(""),
            json!("P"),
            json!("PT"),
            json!("p1d"),
            json!("PT5"),
            json!("5S"),
            json!("PT5S "),
            json!("PT 5S"),
            json!("PT1S1H"),
            json!("PT1H1H"),
            json!("P1D1Y"),
            json!("P1H"),
            json!("PT1D"),
            json!("PTS"),
            json!("PT1e99S"),
            json!("P1DT2H3X"),
            json!("1:2:3"),
            json!("00:60:00"),
            json!("00:00:61"),
            json!("1:00:00:00"),
            json!("day"),
            json!("30"),
            json!("soon"),
            json!(1e15),
        ];
        for value in bad {
            let error = parse(&value).expect_err(&value.to_string());
            assert!(error.starts_with(&format!("duration {value} must")), "{error}");
        }
        assert!(parse(&serde_json::from_str("1e999").unwrap()).is_err());
    }

    proptest! {
        #[test]
        fn canonical_round_trips(micros in -100_000_000_000_000i64..100_000_000_000_000) {
            let seconds = micros as f64 / 1e6;
            let text = canonical(seconds);
            let read = parse(&Value::String(text.clone())).unwrap();
            prop_assert!((read - seconds).abs() < 5e-7);
            prop_assert_eq!(canonical(read), text);
        }

        #[test]
        fn parsing_is_total(text in "[-+PTYMWDHS0-9.eE: days,]{0,20}|\\PC{0,20}") {
            if let Ok(seconds) = parse(&Value::String(text)) {
                prop_assert!(seconds.is_finite());
                let text = canonical(seconds);
                prop_assert!(parse(&Value::String(text)).is_ok());
            }
        }
    }
}
