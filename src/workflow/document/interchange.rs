//! A document as the JSON Canonicalization Scheme (RFC 8785) writes it: one text for one content,
//! however keys are ordered and numbers written. Its SHA-256 is the document's hash.

use serde::Deserialize;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::fields::broken;
use crate::error::Result;
use crate::workflow::bounds::{Check, cut};
use crate::workflow::number::Decimal;

/// The text that RFC 8785 gives JSON: no blanks, keys by their UTF-16 code units, numbers as
/// ECMAScript writes doubles, strings with the escapes that must be (sections 3.2.1 to 3.2.4). Of
/// two members with one key the last counts.
///
/// Only the members on the way down are unpacked, so it takes little memory; a part of the text is
/// scanned once for each level that it lies at.
///
/// # Errors
/// 22023 for text that is not JSON, and, with its path, for a number that no double holds (HIGHWAY
/// 14.6); what `check`, asked before each value, says.
pub fn interchange(text: &str, check: Check) -> Result<String> {
    let mut writer =
        Writer { written: String::with_capacity(text.len()), path: String::new(), check };
    writer.value(text.trim())?;
    Ok(writer.written)
}

/// SHA-256 in hexadecimal of a text that [`interchange`] has written.
pub fn hash(interchange: &str) -> String {
    Sha256::digest(interchange).iter().map(|byte| format!("{byte:02x}")).collect()
}

struct Writer<'c> {
    written: String,
    /// Where the value stands that is written: `tasks.load.args[0]`.
    path: String,
    check: Check<'c>,
}

impl Writer<'_> {
    fn value(&mut self, value: &str) -> Result<()> {
        (self.check)()?;
        match value.as_bytes().first() {
            Some(b'[') => {
                let elements = unpack::<Vec<&RawValue>>(value)?.into_iter().enumerate();
                self.list(['[', ']'], elements, |writer, (index, element)| {
                    writer.below(&format!("[{index}]"), element)
                })
            }
            Some(b'{') => {
                let mut members: Vec<_> = unpack::<Members>(value)?.0.into_iter().collect();
                members.sort_by(|(a, _), (b, _)| a.encode_utf16().cmp(b.encode_utf16()));
                self.list(['{', '}'], members.into_iter(), |writer, (key, member)| {
                    writer.text(&key)?;
                    writer.written.push(':');
                    let dot = if writer.path.is_empty() { "" } else { "." };
                    writer.below(&format!("{dot}{}", cut(&key)), member)
                })
            }
            Some(b'"') => self.text(&unpack::<String>(value)?),
            Some(b'-' | b'0'..=b'9') => self.number(value),
            _ => {
                self.written.push_str(value);
                Ok(())
            }
        }
    }

    fn list<T>(
        &mut self,
        [open, close]: [char; 2],
        parts: impl Iterator<Item = T>,
        write: impl Fn(&mut Self, T) -> Result<()>,
    ) -> Result<()> {
        self.written.push(open);
        for (index, part) in parts.enumerate() {
            if index > 0 {
                self.written.push(',');
            }
            write(self, part)?;
        }
        self.written.push(close);
        Ok(())
    }

    fn below(&mut self, step: &str, value: &RawValue) -> Result<()> {
        let length = self.path.len();
        self.path.push_str(step);
        self.value(value.get())?;
        self.path.truncate(length);
        Ok(())
    }

    /// serde_json escapes what RFC 8785 does, and as it does.
    fn text(&mut self, text: &str) -> Result<()> {
        let written = serde_json::to_string(text).map_err(|error| broken(&self.path, error))?;
        self.written.push_str(&written);
        Ok(())
    }

    fn number(&mut self, text: &str) -> Result<()> {
        let double: f64 = text.parse().unwrap_or(f64::NAN);
        let written = ecmascript(double);
        // By its fewest digits, or by all that a double can have: 2^60 ends in 6976 or in 7000.
        let is_held = |digits: &str| Decimal::parse(text) == Decimal::parse(digits);
        if !double.is_finite() || !(is_held(&written) || is_held(&format!("{double:.1074}"))) {
            let rule = "must be a number that a double holds; a longer one can be a string";
            return Err(broken("the workflow", format!("{} {} {rule}", self.path, cut(text))));
        }
        self.written.push_str(&written);
        Ok(())
    }
}

/// The members of an object by their keys, unread.
#[derive(Deserialize)]
struct Members<'a>(#[serde(borrow)] std::collections::HashMap<String, &'a RawValue>);

fn unpack<'a, T: Deserialize<'a>>(value: &'a str) -> Result<T> {
    serde_json::from_str(value)
        .map_err(|error| broken("the workflow", format!("cannot be read: {error}")))
}

/// A finite double as ECMAScript's Number::toString writes it: the fewest digits that tell it from
/// others, without an exponent from 1e-6 to below 1e21.
fn ecmascript(double: f64) -> String {
    // Minus zero is written as zero.
    let double = double + 0.0;
    if double == 0.0 || (1e-6..1e21).contains(&double.abs()) {
        return double.to_string();
    }
    let mut written = format!("{double:e}");
    if let Some(at) = written.find('e')
        && !written[at..].starts_with("e-")
    {
        written.insert(at + 1, '+');
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(text: &str) -> String {
        interchange(text, &|| Ok(())).unwrap()
    }

    #[test]
    fn numbers_are_written_as_ecmascript_writes_them() {
        let cases = [
            ("3", "3"),
            ("3.0", "3"),
            ("30E-1", "3"),
            ("0.03e+2", "3"),
            ("-1200", "-1200"),
            ("-0.00", "0"),
            ("0.1", "0.1"),
            ("1e16", "10000000000000000"),
            ("1e20", "100000000000000000000"),
            ("1e21", "1e+21"),
            ("-12.5e21", "-1.25e+22"),
            ("0.000001", "0.000001"),
            ("0.0000001", "1e-7"),
            ("1.5e-300", "1.5e-300"),
            ("5e-324", "5e-324"),
            ("1.7976931348623157e308", "1.7976931348623157e+308"),
            ("9007199254740992", "9007199254740992"),
            ("1152921504606846976", "1152921504606847000"),
            ("0.1000000000000000055511151231257827021181583404541015625", "0.1"),
        ];
        for (text, expected) in cases {
            assert_eq!(of(text), expected, "{text}");
        }
    }

    #[test]
    fn numbers_that_no_double_holds_are_refused_with_their_path() {
        let long = [
            "9007199254740993",
            "12345678901234567890",
            "0.1000000000000000055511151231257827",
            "1e309",
            "-1e309",
            "1e-400",
            "1e99999999999999999999",
        ];
        for number in long {
            let text = format!(r#"{{"tasks": {{"a": {{"args": [0, {{"b": {number}}}]}}}}}}"#);
            let error = interchange(&text, &|| Ok(())).unwrap_err();
            assert_eq!(error.sqlstate(), "22023");
            let place = format!("the workflow: tasks.a.args[1].b {number} must be a number that");
            assert!(error.to_string().starts_with(&place), "{error}");
        }
    }

    #[test]
    fn keys_are_in_the_order_of_their_utf_16_code_units() {
        // U+1F600 is D83D DE00, and so before U+FB33.
        let written = of(r#"{"\ufb33":1, "😀":2, "a":3, "":4, "B":5}"#);
        assert_eq!(written, "{\"\":4,\"B\":5,\"a\":3,\"😀\":2,\"\u{fb33}\":1}");
        assert_eq!(of(r#"{"a": 1, "a": 2}"#), r#"{"a":2}"#);
    }

    #[test]
    fn strings_have_the_escapes_that_must_be() {
        let escaped = r#""\u0041\/\u00e9\ud83d\ude00 \"\\\b\t\n\f\r\u0001\u001F\u007f\u2028""#;
        assert_eq!(of(escaped), "\"A/é😀 \\\"\\\\\\b\\t\\n\\f\\r\\u0001\\u001f\u{7f}\u{2028}\"");
    }

    #[test]
    fn blanks_mean_nothing() {
        let blank = " { \"a\" : [ 1 , true , null , { } , [ ] ] } ";
        assert_eq!(of(blank), r#"{"a":[1,true,null,{},[]]}"#);
        let sha = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
        assert_eq!(hash(&of("{}")), sha);
    }

    proptest! {
        #[test]
        fn every_double_is_read_back(double in any::<f64>().prop_filter("finite", |d| d.is_finite())) {
            let written = of(&format!("{double:e}"));
            prop_assert_eq!(written.parse::<f64>().unwrap(), double);
            prop_assert!(written.len() <= 25, "{}", written);
            prop_assert_eq!(of(&written), written);
        }
    }
}
