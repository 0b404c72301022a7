//! The hash of a document: of its content, however keys are ordered and numbers written.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::fields::broken;
use crate::error::Result;
use crate::workflow::bounds::Check;

/// SHA-256 in hexadecimal of JSON with sorted keys, no blanks, and numbers as digits without zeros
/// at their ends and a power of ten. Of two members with one key the last counts.
///
/// Only the members on the way down are unpacked, so it takes little memory; a part of the text is
/// scanned once for each level that it lies at.
///
/// # Errors
/// 22023 for text that is not JSON; what `check`, asked before each value, says.
pub fn of(text: &str, check: Check) -> Result<String> {
    let mut hasher = Sha256::new();
    add(&mut hasher, text.trim(), check)?;
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

fn add(hasher: &mut Sha256, value: &str, check: Check) -> Result<()> {
    check()?;
    match value.as_bytes().first() {
        Some(b'[') => {
            hasher.update("[");
            for (index, element) in unpack::<Vec<&RawValue>>(value)?.into_iter().enumerate() {
                hasher.update(if index == 0 { "" } else { "," });
                add(hasher, element.get(), check)?;
            }
            hasher.update("]");
        }
        Some(b'{') => {
            let members: BTreeMap<String, &RawValue> = unpack(value)?;
            hasher.update("{");
            for (index, (key, member)) in members.into_iter().enumerate() {
                hasher.update(if index == 0 { "" } else { "," });
                text(hasher, &key);
                hasher.update(":");
                add(hasher, member.get(), check)?;
            }
            hasher.update("}");
        }
        Some(b'"') => text(hasher, &unpack::<String>(value)?),
        Some(b'-' | b'0'..=b'9') => hasher.update(normal(value)),
        _ => hasher.update(value),
    }
    Ok(())
}

fn unpack<'a, T: Deserialize<'a>>(value: &'a str) -> Result<T> {
    serde_json::from_str(value)
        .map_err(|error| broken("the workflow", format!("cannot be read: {error}")))
}

/// A string by its length, which needs no escapes to be unambiguous.
fn text(hasher: &mut Sha256, text: &str) {
    hasher.update(format!("\"{}:", text.len()));
    hasher.update(text);
}

/// One text for a number, however it is written: `3`, `3.0`, `30e-1` are `3e0`. A power of ten
/// beyond 64 bits leaves the text as it is.
fn normal(text: &str) -> String {
    let (mantissa, power) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (sign, mantissa) = match mantissa.strip_prefix('-') {
        Some(mantissa) => ("-", mantissa),
        None => ("", mantissa),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    let digits = digits.trim_start_matches('0');
    let significant = digits.trim_end_matches('0');
    if significant.is_empty() {
        return "0e0".to_owned();
    }
    let zeros = digits.len() - significant.len();
    let shift = |length: usize| i64::try_from(length).ok();
    let power = power
        .parse::<i64>()
        .ok()
        .and_then(|power| power.checked_sub(shift(fraction.len())?)?.checked_add(shift(zeros)?));
    match power {
        Some(power) => format!("{sign}{significant}e{power}"),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn parsed(text: &str) -> Value {
        serde_json::from_str(text).unwrap()
    }

    fn of(value: &Value) -> String {
        super::of(&value.to_string(), &|| Ok(())).unwrap()
    }

    #[test]
    fn numbers_have_one_text() {
        let cases = [
            ("3", "3e0"),
            ("3.0", "3e0"),
            ("3e0", "3e0"),
            ("30E-1", "3e0"),
            ("0.03e+2", "3e0"),
            ("-1200", "-12e2"),
            ("0", "0e0"),
            ("-0.00", "0e0"),
            ("1e16", "1e16"),
            ("10000000000000000", "1e16"),
            ("0.5", "5e-1"),
            ("1e99999999999999999999", "1e99999999999999999999"),
        ];
        for (text, expected) in cases {
            assert_eq!(normal(text), expected, "{text}");
        }
    }

    #[test]
    fn content_alone_counts() {
        assert_eq!(
            of(&parsed(r#"{"a":[1.50,"x"],"b":null}"#)),
            of(&json!({"b": null, "a": [1.5, "x"]}))
        );
        let different =
            [json!(["a", "b"]), json!(["ab"]), json!("a"), json!(["a\",\"b"]), json!({"a": "b"})];
        for (index, one) in different.iter().enumerate() {
            for other in &different[index + 1..] {
                assert_ne!(of(one), of(other), "{one} {other}");
            }
        }
        assert_eq!(
            of(&json!({})),
            "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
        );
    }

    proptest! {
        #[test]
        fn equal_numbers_hash_alike(digits in -1_000_000i64..1_000_000, power in -20i64..20) {
            let plain = parsed(&format!("{digits}e{power}"));
            let shifted = parsed(&format!("{digits}00e{}", power - 2));
            prop_assert_eq!(of(&plain), of(&shifted));
            prop_assert_eq!(of(&plain) == of(&parsed(&format!("{digits}e{}", power + 1))), digits == 0);
        }
    }
}
