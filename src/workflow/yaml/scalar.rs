//! What a YAML 1.1 scalar is, as PyYAML decides it.

use serde_json::{Number, Value};

use crate::workflow::datetime::{self, DateTime, Time};

/// What an explicit tag asks for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    Text,
    Null,
    Bool,
    Integer,
    Float,
    Timestamp,
}

impl Kind {
    pub fn of(name: &str) -> Option<Self> {
        Some(match name {
            "str" => Self::Text,
            "null" => Self::Null,
            "bool" => Self::Bool,
            "int" => Self::Integer,
            "float" => Self::Float,
            "timestamp" => Self::Timestamp,
            _ => return None,
        })
    }
}

/// The most digits that Python reads an integer from.
const MAX_DIGITS: usize = 4300;

/// The value of a scalar without quotes and tag.
///
/// # Errors
/// The rule, for what looks like a number, a date or an indicator but has no JSON value.
pub fn plain(text: &str) -> Result<Value, String> {
    if matches!(text, "" | "~" | "null" | "Null" | "NULL") {
        return Ok(Value::Null);
    }
    if let Some(truth) = boolean(text).filter(|_| is_one_case(text)) {
        return Ok(Value::Bool(truth));
    }
    match text {
        "<<" => return Err("stands where no mapping can be merged, quote it".to_owned()),
        "=" => return Err("has no JSON value, quote it".to_owned()),
        _ => {}
    }
    let typed = integer(text).or_else(|| float(text)).or_else(|| timestamp(text));
    typed.unwrap_or_else(|| Ok(Value::String(text.to_owned())))
}

/// The value of a scalar with an explicit tag.
///
/// # Errors
/// The rule, when the text is none of what the tag says.
pub fn tagged(kind: Kind, text: &str) -> Result<Value, String> {
    match kind {
        Kind::Text => Ok(Value::String(text.to_owned())),
        Kind::Null => Ok(Value::Null),
        Kind::Bool => {
            boolean(text).map(Value::Bool).ok_or_else(|| "is no boolean of YAML".to_owned())
        }
        Kind::Integer => integer(text).unwrap_or_else(|| Err("is no integer of YAML".to_owned())),
        Kind::Timestamp => timestamp(text).unwrap_or_else(|| Err("is no date of YAML".to_owned())),
        Kind::Float => float(text).unwrap_or_else(|| {
            let number = text.replace('_', "").parse();
            finite(number.map_err(|_| "is no number of YAML".to_owned())?)
        }),
    }
}

fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "yes" | "true" | "on" => Some(true),
        "no" | "false" | "off" => Some(false),
        _ => None,
    }
}

/// `yes`, `Yes` and `YES`, but not `yEs`.
fn is_one_case(text: &str) -> bool {
    let rest = text.get(1..).unwrap_or_default();
    let lower = |text: &str| text.bytes().all(|byte| byte.is_ascii_lowercase());
    let upper = |text: &str| text.bytes().all(|byte| byte.is_ascii_uppercase());
    lower(rest) || upper(text)
}

fn unsigned(text: &str) -> (bool, &str) {
    match text.strip_prefix('-') {
        Some(text) => (true, text),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    }
}

/// Whether a text that is not empty consists of such bytes and underscores.
fn made_of(text: &str, inside: fn(&u8) -> bool) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte == b'_' || inside(&byte))
}

fn is_digits(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit()) && made_of(text, u8::is_ascii_digit)
}

type Typed = Option<Result<Value, String>>;

/// `0b101`, `017`, `0x1f`, `1_000` and, in base 60, `1:30`; each with a sign.
fn integer(text: &str) -> Typed {
    let (negative, body) = unsigned(text);
    let based = |digits: &str, radix| {
        let parsed = i128::from_str_radix(&digits.replace('_', ""), radix);
        let parsed = parsed.map_err(|_| "is no integer within 128 bits".to_owned());
        Some(parsed.map(|value| number_of(if negative { -value } else { value })))
    };
    if let Some(digits) = body.strip_prefix("0b").filter(|text| made_of(text, is_binary)) {
        return based(digits, 2);
    }
    if let Some(digits) =
        body.strip_prefix("0x").filter(|text| made_of(text, u8::is_ascii_hexdigit))
    {
        return based(digits, 16);
    }
    if let Some(digits) = body.strip_prefix('0') {
        return match digits {
            "" => Some(Ok(Value::from(0))),
            _ if made_of(digits, is_octal) => based(body, 8),
            _ => None,
        };
    }
    if is_digits(body) {
        return Some(decimal(negative, &body.replace('_', "")));
    }
    let (first, rest) = body.split_once(':').filter(|(first, _)| is_digits(first))?;
    let mut value: Option<i128> = first.replace('_', "").parse().ok();
    for part in rest.split(':') {
        let digit = sexagesimal(part)?;
        value = value.and_then(|value| value.checked_mul(60)?.checked_add(digit));
    }
    let value = value.map(|value| number_of(if negative { -value } else { value }));
    Some(value.ok_or_else(|| "is no integer within 128 bits".to_owned()))
}

fn is_binary(byte: &u8) -> bool {
    matches!(byte, b'0' | b'1')
}

fn is_octal(byte: &u8) -> bool {
    (b'0'..=b'7').contains(byte)
}

/// A digit of base 60: one or two decimal digits below 60.
fn sexagesimal(text: &str) -> Option<i128> {
    let digits = (1..=2).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|digit| digits && *digit < 60)
}

fn number_of(value: i128) -> Value {
    Number::from_i128(value).map_or(Value::Null, Value::Number)
}

/// An integer of any size, by its digits.
fn decimal(negative: bool, digits: &str) -> Result<Value, String> {
    if digits.len() > MAX_DIGITS {
        return Err(format!("must have at most {MAX_DIGITS} digits"));
    }
    let text = format!("{}{digits}", if negative { "-" } else { "" });
    serde_json::from_str(&text).map_err(|_| "is no integer".to_owned())
}

/// `1.5`, `1.`, `.5`, `1.5e+3` (an exponent has a sign), in base 60 `1:30.5`, and the values that
/// JSON does not have.
fn float(text: &str) -> Typed {
    let (negative, body) = unsigned(text);
    let sign = if negative { -1.0 } else { 1.0 };
    if matches!(body, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN") {
        return Some(finite(f64::INFINITY));
    }
    let (mantissa, exponent) = match body.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (body, None),
    };
    if let Some(exponent) = exponent {
        let digits = exponent.strip_prefix(['+', '-'])?;
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
    }
    let (whole, fraction) = mantissa.split_once('.')?;
    if !fraction.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_') {
        return None;
    }
    if let Some((first, rest)) = whole.split_once(':') {
        return base_60(first, rest, fraction)
            .filter(|_| exponent.is_none())
            .map(|value| finite(sign * value));
    }
    let unsigned_fraction = whole.is_empty() && text == body && is_digits(fraction);
    if !is_digits(whole) && !unsigned_fraction {
        return None;
    }
    let number = body.replace('_', "").parse::<f64>();
    Some(number.map_err(|_| "is no number".to_owned()).and_then(|value| finite(sign * value)))
}

fn base_60(first: &str, rest: &str, fraction: &str) -> Option<f64> {
    if !is_digits(first) {
        return None;
    }
    let mut value: f64 = first.replace('_', "").parse().ok()?;
    for part in rest.split(':') {
        value = value * 60.0 + sexagesimal(part)? as f64;
    }
    let fraction: f64 = format!("0.{}", fraction.replace('_', "")).parse().ok()?;
    Some(value + fraction)
}

fn finite(value: f64) -> Result<Value, String> {
    let number = Number::from_f64(value).map(Value::Number);
    number.ok_or_else(|| "is no finite number, JSON has no other".to_owned())
}

/// A date, or a date and a time of day with, perhaps, a zone; as the exporter writes it.
fn timestamp(text: &str) -> Typed {
    let datetime = date(text).or_else(|| date_and_time(text))?;
    Some(match datetime.is_valid() {
        true => Ok(Value::String(datetime.iso())),
        false => Err("looks like a date but is none, quote it".to_owned()),
    })
}

fn date(text: &str) -> Option<DateTime> {
    let shape = text.len() == 10 && text.as_bytes()[4] == b'-' && text.as_bytes()[7] == b'-';
    let mut scan = Scan(text);
    let datetime = scan.date().filter(|_| shape)?;
    scan.0.is_empty().then_some(datetime)
}

fn date_and_time(text: &str) -> Option<DateTime> {
    let mut scan = Scan(text);
    let datetime = scan.date()?;
    if !scan.skip(&['T', 't']) && !scan.blanks() {
        return None;
    }
    let hour = scan.number(1, 2)?;
    let minute = scan.skip(&[':']).then(|| scan.number(2, 2))??;
    let second = scan.skip(&[':']).then(|| scan.number(2, 2))??;
    let mut micros = 0;
    if scan.skip(&['.']) {
        let end = scan.0.find(|c: char| !c.is_ascii_digit()).unwrap_or(scan.0.len());
        micros = datetime::micros(&scan.0[..end]).unwrap_or(0);
        scan.0 = &scan.0[end..];
    }
    let offset = match scan.0 {
        "" => None,
        _ => {
            scan.blanks();
            Some(scan.zone()?)
        }
    };
    let time = Some(Time { hour, minute, second, micros, offset });
    scan.0.is_empty().then_some(DateTime { time, ..datetime })
}

struct Scan<'a>(&'a str);

impl Scan<'_> {
    fn number(&mut self, min: usize, max: usize) -> Option<i64> {
        let digits = self.0.bytes().take(max).take_while(u8::is_ascii_digit).count();
        let (number, rest) = self.0.split_at(digits);
        self.0 = rest;
        if digits < min { None } else { number.parse().ok() }
    }

    fn skip(&mut self, characters: &[char]) -> bool {
        let rest = self.0.strip_prefix(characters);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    fn blanks(&mut self) -> bool {
        let rest = self.0.trim_start_matches([' ', '\t']);
        let some = rest.len() < self.0.len();
        self.0 = rest;
        some
    }

    fn date(&mut self) -> Option<DateTime> {
        let year = self.number(4, 4)?;
        let month = self.skip(&['-']).then(|| self.number(1, 2))??;
        let day = self.skip(&['-']).then(|| self.number(1, 2))??;
        Some(DateTime { year, month, day, time: None })
    }

    /// Seconds east of UTC.
    fn zone(&mut self) -> Option<i64> {
        if self.skip(&['Z']) {
            return Some(0);
        }
        let sign = if self.skip(&['-']) { -1 } else { self.skip(&['+']).then_some(1)? };
        let hours = self.number(1, 2)?;
        let minutes = if self.skip(&[':']) { self.number(2, 2)? } else { 0 };
        Some(sign * (hours * 3600 + minutes * 60))
    }
}
