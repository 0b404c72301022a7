//! Numbers of any size in JSON and in text: exact comparison, and arithmetic that is exact for
//! integers and never leaves the finite numbers.

use std::cmp::Ordering;

use serde_json::Value;

/// A number to calculate with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    Integer(i128),
    Float(f64),
}

impl Number {
    /// The number that a JSON number or a numeric string is. None for everything else, and for
    /// what is larger than every finite double.
    pub fn of(value: &Value) -> Option<Self> {
        match value {
            Value::Number(number) => Self::parse(number.as_str()),
            Value::String(text) => Self::parse(text),
            _ => None,
        }
    }

    /// Reads a numeric text: sign, digits, fraction and exponent, blanks around it allowed.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        Decimal::parse(text)?;
        let float = || text.parse().ok().filter(|float: &f64| float.is_finite());
        match text.parse() {
            Ok(integer) => Some(Self::Integer(integer)),
            Err(_) => float().map(Self::Float),
        }
    }

    /// The number as a JSON value; none when it is not finite.
    pub fn to_value(self) -> Option<Value> {
        match self {
            Self::Integer(integer) => serde_json::Number::from_i128(integer).map(Value::Number),
            // Minus zero would compare unlike zero in text.
            Self::Float(float) => serde_json::Number::from_f64(float + 0.0).map(Value::Number),
        }
    }

    pub fn to_f64(self) -> f64 {
        match self {
            Self::Integer(integer) => integer as f64,
            Self::Float(float) => float,
        }
    }

    /// The integer that the number is, also as `3.0`.
    pub fn to_i64(self) -> Option<i64> {
        match self {
            Self::Integer(integer) => i64::try_from(integer).ok(),
            Self::Float(float) if float.fract() == 0.0 && float.abs() < 9e18 => Some(float as i64),
            Self::Float(_) => None,
        }
    }

    fn is_zero(self) -> bool {
        self.to_f64() == 0.0
    }

    /// Exact for integers as long as the exact result fits, else in doubles.
    fn by(
        self,
        other: Self,
        exact: impl FnOnce(i128, i128) -> Option<i128>,
        float: impl FnOnce(f64, f64) -> f64,
    ) -> Self {
        if let (Self::Integer(a), Self::Integer(b)) = (self, other)
            && let Some(result) = exact(a, b)
        {
            return Self::Integer(result);
        }
        Self::Float(float(self.to_f64(), other.to_f64()))
    }

    /// The operator's result, possibly not finite.
    ///
    /// # Errors
    /// The rule, for a division by zero.
    pub fn apply(self, operator: char, other: Self) -> Result<Self, String> {
        if matches!(operator, '/' | '%') && other.is_zero() {
            return Err("divides by zero".to_owned());
        }
        Ok(match operator {
            '+' => self.by(other, i128::checked_add, |a, b| a + b),
            '-' => self.by(other, i128::checked_sub, |a, b| a - b),
            '*' => self.by(other, i128::checked_mul, |a, b| a * b),
            '/' => self.by(other, divide, |a, b| a / b),
            _ => self.by(other, remainder, float_remainder),
        })
    }
}

/// The quotient of integers that is one itself.
fn divide(a: i128, b: i128) -> Option<i128> {
    if a.checked_rem(b)? == 0 { a.checked_div(b) } else { None }
}

/// The remainder with the sign of the divisor, as in Python.
fn remainder(a: i128, b: i128) -> Option<i128> {
    let rest = a.checked_rem(b)?;
    if rest != 0 && (rest < 0) != (b < 0) { rest.checked_add(b) } else { Some(rest) }
}

fn float_remainder(a: f64, b: f64) -> f64 {
    let rest = a % b;
    if rest != 0.0 && (rest < 0.0) != (b < 0.0) { rest + b } else { rest }
}

/// A number's decimal digits, for exact comparison of numbers of any size.
#[derive(Debug, PartialEq, Eq)]
pub struct Decimal {
    negative: bool,
    /// The value is 0.`digits` times ten to the power of `exponent`; no zeros at either end.
    digits: Vec<u8>,
    exponent: i64,
}

impl Decimal {
    /// Reads `[+-] digits [. digits] [e [+-] digits]`, with digits on one side of the point.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
        let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, Some(exponent)),
            None => (unsigned, None),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if whole.len() + fraction.len() == 0 || !all_digits(whole) || !all_digits(fraction) {
            return None;
        }
        let power = exponent.map_or(Some(0), power_of)?;
        let digits: Vec<u8> = whole.bytes().chain(fraction.bytes()).collect();
        let leading = digits.iter().take_while(|digit| **digit == b'0').count();
        let trailing = digits.iter().rev().take_while(|digit| **digit == b'0').count();
        if leading == digits.len() {
            return Some(Self { negative: false, digits: Vec::new(), exponent: 0 });
        }
        let point = i64::try_from(whole.len()).ok()? - i64::try_from(leading).ok()?;
        Some(Self {
            negative: text.starts_with('-'),
            digits: digits[leading..digits.len() - trailing].to_vec(),
            exponent: power.saturating_add(point),
        })
    }

    /// The decimal that a JSON number or a numeric string is.
    pub fn of(value: &Value) -> Option<Self> {
        match value {
            Value::Number(number) => Self::parse(number.as_str()),
            Value::String(text) => Self::parse(text),
            _ => None,
        }
    }

    pub fn is_zero(&self) -> bool {
        self.digits.is_empty()
    }

    fn sign(&self) -> i8 {
        match (self.is_zero(), self.negative) {
            (true, _) => 0,
            (_, true) => -1,
            (_, false) => 1,
        }
    }
}

/// An exponent's value; what no i64 holds is as good as its limit.
fn power_of(text: &str) -> Option<i64> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let limit = if text.starts_with('-') { i64::MIN } else { i64::MAX };
    Some(text.parse().unwrap_or(limit))
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        let magnitude =
            || self.exponent.cmp(&other.exponent).then_with(|| self.digits.cmp(&other.digits));
        match self.sign().cmp(&other.sign()) {
            Ordering::Equal if self.negative => magnitude().reverse(),
            Ordering::Equal => magnitude(),
            unequal => unequal,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decimal(text: &str) -> Decimal {
        Decimal::parse(text).unwrap_or_else(|| panic!("{text}"))
    }

    #[test]
    fn reads_numeric_texts() {
        let good =
            ["0", "-0", "+1", "1.", ".5", "1.50", "1e3", "1E-3", " 7 ", "1e999999999999999999"];
        for text in good {
            assert!(Decimal::parse(text).is_some(), "{text}");
        }
        let bad =
            ["", " ", ".", "-", "1 2", "0x1", "1_0", "nan", "inf", "1e", "1e+", "--1", "1.2.3"];
        for text in bad {
            assert!(Decimal::parse(text).is_none(), "{text}");
            assert_eq!(Number::parse(text), None, "{text}");
        }
        assert_eq!(Number::parse("12"), Some(Number::Integer(12)));
        assert_eq!(Number::parse("1.5"), Some(Number::Float(1.5)));
        assert_eq!(Number::parse("1e999"), None);
    }

    #[test]
    fn compares_exactly() {
        let equal = [("1", "1.0"), ("100", "1e2"), ("0.10", "1E-1"), ("-0", "0.0"), ("007", "7")];
        for (a, b) in equal {
            assert_eq!(decimal(a), decimal(b), "{a} {b}");
        }
        let ascending = [
            "-1e400",
            "-20",
            "-3",
            "-0.5",
            "0",
            "1e-400",
            "0.1",
            "0.11",
            "9",
            "10",
            "9007199254740992",
            "9007199254740993",
            "1e400",
            "1e401",
        ];
        for pair in ascending.windows(2) {
            assert!(decimal(pair[0]) < decimal(pair[1]), "{pair:?}");
        }
    }

    #[test]
    fn integers_stay_exact() {
        let cases = [
            ("9223372036854775807", '+', "1", "9223372036854775808"),
            ("9007199254740993", '*', "3", "27021597764222979"),
            ("7", '/', "2", "3.5"),
            ("6", '/', "2", "3"),
            ("-7", '%', "3", "2"),
            ("7", '%', "-3", "-2"),
            ("7.5", '%', "-2", "-0.5"),
            ("1.5", '+', "0.5", "2.0"),
            ("0", '*', "-1.5", "0.0"),
        ];
        for (a, operator, b, expected) in cases {
            let (left, right) = (Number::parse(a).unwrap(), Number::parse(b).unwrap());
            let result = left.apply(operator, right).unwrap().to_value().unwrap();
            assert_eq!(result.to_string(), expected, "{a} {operator} {b}");
        }
        assert!(Number::Integer(1).apply('%', Number::Float(0.0)).is_err());
        let huge = Number::Integer(i128::MAX).apply('*', Number::Integer(2)).unwrap();
        assert_eq!(huge, Number::Float(i128::MAX as f64 * 2.0));
        assert_eq!(Number::Float(1e308).apply('*', Number::Integer(10)).unwrap().to_value(), None);
    }

    proptest! {
        #[test]
        fn decimals_order_as_doubles_do(a in any::<i32>(), b in any::<i32>(), e in -3i32..3) {
            let (x, y) = (format!("{a}e{e}"), format!("{b}e{e}"));
            prop_assert_eq!(decimal(&x).cmp(&decimal(&y)), a.cmp(&b));
            prop_assert_eq!(decimal(&x), decimal(&(a as f64 * 10f64.powi(0)).to_string())
                .shifted(i64::from(e)));
        }
    }

    impl Decimal {
        fn shifted(mut self, by: i64) -> Self {
            if !self.is_zero() {
                self.exponent += by;
            }
            self
        }
    }
}
