//! What PyYAML 6.0.4 reads is written here next to each text; none where it refuses it, or reads
//! what JSON does not have.

use proptest::prelude::*;
use serde_json::Value;

use crate::error::Error;
use crate::workflow::bounds::{MAX_DEPTH, MAX_DOCUMENT};

/// What is read, or the message of the error without the argument's name.
fn to_json(text: &str) -> Result<Value, String> {
    let json = super::to_json(text, &|| Ok(())).map_err(|error| {
        let message = error.to_string();
        message.strip_prefix("p_definition ").unwrap_or(&message).to_owned()
    })?;
    Ok(serde_json::from_str(&json).unwrap_or_else(|error| panic!("{json}: {error}")))
}

#[rustfmt::skip]
const SCALARS: &[(&str, Option<&str>)] = &[
    ("yes", Some("true")),
    ("No", Some("false")),
    ("ON", Some("true")),
    ("off", Some("false")),
    ("True", Some("true")),
    ("FALSE", Some("false")),
    ("yEs", Some(r#""yEs""#)),
    ("tRUE", Some(r#""tRUE""#)),
    ("y", Some(r#""y""#)),
    ("n", Some(r#""n""#)),
    ("Y", Some(r#""Y""#)),
    ("~", Some("null")),
    ("null", Some("null")),
    ("Null", Some("null")),
    ("NULL", Some("null")),
    ("nULL", Some(r#""nULL""#)),
    ("none", Some(r#""none""#)),
    ("1e3", Some(r#""1e3""#)),
    ("12e4", Some(r#""12e4""#)),
    ("1E3", Some(r#""1E3""#)),
    ("1.5e3", Some(r#""1.5e3""#)),
    ("1.5e+3", Some("1500.0")),
    ("1.5E-3", Some("0.0015")),
    ("-1.5e+3", Some("-1500.0")),
    (".5", Some("0.5")),
    ("+.5", Some(r#""+.5""#)),
    ("-.5", Some(r#""-.5""#)),
    (".5e+3", Some("500.0")),
    ("1.", Some("1.0")),
    ("1._5", Some("1.5")),
    ("1_000", Some("1000")),
    ("1__0", Some("10")),
    ("1_", Some("1")),
    ("_1", Some(r#""_1""#)),
    ("-1", Some("-1")),
    ("+1", Some("1")),
    ("+", Some(r#""+""#)),
    ("-0", Some("0")),
    ("0", Some("0")),
    ("00", Some("0")),
    ("017", Some("15")),
    ("0o17", Some(r#""0o17""#)),
    ("08", Some(r#""08""#)),
    ("018", Some(r#""018""#)),
    ("-017", Some("-15")),
    ("0_", Some("0")),
    ("0b101", Some("5")),
    ("-0b1_0", Some("-2")),
    ("0b2", Some(r#""0b2""#)),
    ("0b", Some(r#""0b""#)),
    ("0x1F", Some("31")),
    ("0xfg", Some(r#""0xfg""#)),
    ("-0x_f", Some("-15")),
    ("0x", Some(r#""0x""#)),
    ("0X1F", Some(r#""0X1F""#)),
    ("123456789012345678901234567890", Some("123456789012345678901234567890")),
    ("1:30", Some("90")),
    ("1:30:00", Some("5400")),
    ("-1:30", Some("-90")),
    ("01:30", Some(r#""01:30""#)),
    ("1:60", Some(r#""1:60""#)),
    ("1:3", Some("63")),
    ("1:30.5", Some("90.5")),
    ("190:20:30", Some("685230")),
    ("190:20:30.15", Some("685230.15")),
    ("1:", None),
    (":30", Some(r#"":30""#)),
    ("1.2.3", Some(r#""1.2.3""#)),
    ("1,000", Some(r#""1,000""#)),
    ("2025-01-01", Some(r#""2025-01-01""#)),
    ("2025-1-1", Some(r#""2025-1-1""#)),
    ("2025-01-01T02:03:04", Some(r#""2025-01-01T02:03:04""#)),
    ("2025-01-01t1:02:03", Some(r#""2025-01-01T01:02:03""#)),
    ("2025-01-01 02:03:04.5", Some(r#""2025-01-01T02:03:04.500000""#)),
    ("2025-01-01T02:03:04Z", Some(r#""2025-01-01T02:03:04Z""#)),
    ("2025-01-01 02:03:04 Z", Some(r#""2025-01-01T02:03:04Z""#)),
    ("2025-01-01T02:03:04+02:00", Some(r#""2025-01-01T02:03:04+02:00""#)),
    ("2025-01-01T02:03:04 -5", Some(r#""2025-01-01T02:03:04-05:00""#)),
    ("2025-01-01T02:03:04.1234567+05:30", Some(r#""2025-01-01T02:03:04.123456+05:30""#)),
    ("2025-01-01T02:03", Some(r#""2025-01-01T02:03""#)),
    ("2025-01-01T02:03:04+24:00", None),
    ("2025-02-30", None),
    ("2025-13-01", None),
    ("0000-01-01", None),
    ("2025-01-01T24:00:00", None),
    (".inf", None),
    ("-.INF", None),
    (".nan", None),
    (".Nan", Some(r#"".Nan""#)),
    ("1.0e+999", None),
    ("=", None),
    ("<<", None),
    ("<", Some(r#""<""#)),
    ("PT30S", Some(r#""PT30S""#)),
    ("0 2 * * *", Some(r#""0 2 * * *""#)),
    ("{{x}}", None),
    ("a#b", Some(r#""a#b""#)),
    ("2.0.0", Some(r#""2.0.0""#)),
    ("1.0", Some("1.0")),
    ("PT1M", Some(r#""PT1M""#)),
    ("...x", Some(r#""...x""#)),
];

#[rustfmt::skip]
const DOCUMENTS: &[(&str, Option<&str>)] = &[
    ("", Some("null")),
    ("# only a comment\n", Some("null")),
    ("x", Some(r#""x""#)),
    ("- a\n- b: 1\n  c:\n    - d\n", Some(r#"["a",{"b":1,"c":["d"]}]"#)),
    ("a: 1\na: 2\n", Some(r#"{"a":2}"#)),
    ("a: &x {k: [1, 2]}\nb: *x\nc: [*x, *x]\n", Some(r#"{"a":{"k":[1,2]},"b":{"k":[1,2]},"c":[{"k":[1,2]},{"k":[1,2]}]}"#)),
    ("base: &b {k: 1, l: 2}\nc:\n  <<: *b\n  k: 9\n", Some(r#"{"base":{"k":1,"l":2},"c":{"k":9,"l":2}}"#)),
    ("a: &a {k: 1}\nb: &b {k: 2, m: 3}\nc: {<<: [*a, *b], n: 4}\n", Some(r#"{"a":{"k":1},"b":{"k":2,"m":3},"c":{"k":1,"m":3,"n":4}}"#)),
    ("<<: {a: 1}\n<<: {a: 2}\n", Some(r#"{"a":1}"#)),
    ("<<: 5\n", None),
    ("<<: [5]\n", None),
    ("\"<<\": 1\n", Some(r#"{"<<":1}"#)),
    ("a: |\n  x\n   y\n", Some(r#"{"a":"x\n y\n"}"#)),
    ("a: >-\n  x\n  y\n\n  z\n", Some(r#"{"a":"x y\nz"}"#)),
    ("a: 'it''s'\nb: \"q\\u00e9\\x41\\n\"\n", Some(r#"{"a":"it's","b":"qéA\n"}"#)),
    ("a: x\n  y\n", Some(r#"{"a":"x y"}"#)),
    ("{a: 1, \"b\": [c, d], e: }", Some(r#"{"a":1,"b":["c","d"],"e":null}"#)),
    ("a: [b: 1, c]\n", Some(r#"{"a":[{"b":1},"c"]}"#)),
    ("? k\n: v\n", Some(r#"{"k":"v"}"#)),
    ("1: a\n1.5: b\n~: c\n", Some(r#"{"1":"a","1.5":"b","null":"c"}"#)),
    ("yes: a\n", Some(r#"{"true":"a"}"#)),
    ("2025-01-01: a\n", Some(r#"{"2025-01-01":"a"}"#)),
    ("=: a\n", Some(r#"{"=":"a"}"#)),
    ("[a]: b\n", None),
    ("{a: b}: c\n", None),
    ("a: !!str 12\n", Some(r#"{"a":"12"}"#)),
    ("a: !!int \"0x1f\"\n", Some(r#"{"a":31}"#)),
    ("a: !!int x\n", None),
    ("a: !!float 3\n", Some(r#"{"a":3.0}"#)),
    ("a: !!float 1e3\n", Some(r#"{"a":1000.0}"#)),
    ("a: !!bool \"on\"\n", Some(r#"{"a":true}"#)),
    ("a: !!bool maybe\n", None),
    ("a: !!null x\n", Some(r#"{"a":null}"#)),
    ("a: !!timestamp \"2025-01-01\"\n", Some(r#"{"a":"2025-01-01"}"#)),
    ("a: !!timestamp x\n", None),
    ("a: ! 12\n", Some(r#"{"a":12}"#)),
    ("a: ! \"12\"\n", Some(r#"{"a":12}"#)),
    ("a: !<tag:yaml.org,2002:str> 1\n", Some(r#"{"a":"1"}"#)),
    ("!!map {a: !!seq [1]}\n", Some(r#"{"a":[1]}"#)),
    ("a: !!binary aGk=\n", None),
    ("!!set {a}\n", None),
    ("a: !!omap [b: 1]\n", None),
    ("a: !local 1\n", None),
    ("a: !!python/object:os.system x\n", None),
    ("a: !!seq {b: 1}\n", None),
    ("a: *b\n", None),
    ("a: &a [*a]\n", None),
    ("a: 1\n---\nb: 2\n", None),
    ("--- a\n...\n", Some(r#""a""#)),
    ("%YAML 1.1\n---\na: yes\n", Some(r#"{"a":true}"#)),
    ("a: b: c\n", None),
    ("a: [1\n", None),
    ("a: \"x\n", None),
    ("a: @x\n", None),
    ("a: %x\n", None),
    ("a:\n- 1\n - 2\n", Some(r#"{"a":["1 - 2"]}"#)),
    ("a: \u{7}\n", None),
    ("a: \"\\u0007\"\n", Some(r#"{"a":"\u0007"}"#)),
    ("﻿a: 1\n", Some(r#"{"a":1}"#)),
    ("key: {{x}}\n", None),
    ("key: \"{{x}}\"\n", Some(r#"{"key":"{{x}}"}"#)),
    ("key: '{{x}}'\n", Some(r#"{"key":"{{x}}"}"#)),
    ("args: [\"{{x}}\", {{y}}]\n", None),
];

fn check(text: &str, expected: Option<&str>) {
    match (to_json(text), expected) {
        (Ok(read), Some(expected)) => {
            let expected: Value = serde_json::from_str(expected).unwrap();
            assert_eq!(read, expected, "{text}");
        }
        (Err(error), None) => assert!(error.starts_with("line "), "{text:?}: {error}"),
        (read, expected) => panic!("{text:?} reads {read:?}, not {expected:?}"),
    }
}

#[test]
fn scalars_read_as_in_pyyaml() {
    for (text, expected) in SCALARS {
        check(&format!("x: {text}\n"), expected.map(|json| format!("{{\"x\":{json}}}")).as_deref());
    }
}

#[test]
fn documents_read_as_in_pyyaml() {
    for (text, expected) in DOCUMENTS {
        check(text, *expected);
    }
}

#[test]
fn json_is_read_as_json() {
    for text in
        [r#"{"a": 1e3, "b": "\ud83d\ude00", "c": [1E400, 1e16, "1e3"]}"#, " [1, {\"a\": 2}] "]
    {
        assert_eq!(to_json(text), Ok(serde_json::from_str(text).unwrap()), "{text}");
    }
    // What only resembles JSON is YAML.
    assert_eq!(to_json("{a: 1e3}").unwrap().to_string(), r#"{"a":"1e3"}"#);
}

#[test]
fn messages_name_the_line_and_the_rule() {
    let cases = [
        ("a: 1\nb: .inf\n", "line 2: \".inf\" is no finite number"),
        ("a:\n  - x\n  - 2025-02-30\n", "line 3: \"2025-02-30\" looks like a date but is none"),
        ("a: 1\n---\nb: 1\n", "line 2: a second document begins"),
        ("a: !!binary aGk=\n", "the tag \"!!binary\" does not make a JSON value"),
        ("a: &a [*a]\n", "line 1: an alias refers to a value that contains it"),
        ("a: \u{2028}\n", "line 1 holds the character '\\u{2028}', it must be escaped"),
        ("\n\na: \u{0}\n", "line 3 holds the character '\\0'"),
    ];
    for (text, rule) in cases {
        let error = to_json(text).unwrap_err();
        assert!(error.contains(rule), "{text:?}: {error}");
    }
}

#[test]
fn expansion_is_bounded() {
    let laughs = |levels: usize| {
        let mut text = "a0: &a0 [lol]\n".to_owned();
        for level in 1..=levels {
            let before = vec![format!("*a{}", level - 1); 10].join(", ");
            text += &format!("a{level}: &a{level} [{before}]\n");
        }
        text
    };
    assert!(to_json(&laughs(3)).is_ok());
    let error = to_json(&laughs(9)).unwrap_err();
    assert!(error.contains("at most 100000 values"), "{error}");
    let big = format!("a: &a {}\nb: [{}]\n", "x".repeat(1 << 20), vec!["*a"; 20].join(", "));
    assert!(to_json(&big).unwrap_err().contains("at most 4194304 bytes"));
    let anchors: String = (0..90).map(|level| format!("&a{level} [")).collect();
    let nested = format!("{anchors}{}{}", "x,".repeat(90_000), "]".repeat(90));
    assert!(to_json(&nested).unwrap_err().contains("bytes with anchors"));
    // Each level holds the one before: deep by aliases alone.
    let mut chain = "a0: &a0 [x]\n".to_owned();
    for level in 1..200 {
        chain += &format!("a{level}: &a{level} [*a{}]\n", level - 1);
    }
    assert!(to_json(&chain).unwrap_err().contains("levels of nesting"));
}

#[test]
fn nesting_and_size_are_bounded() {
    let deep = |depth: usize| format!("{}x{}", "[".repeat(depth), "]".repeat(depth));
    assert!(to_json(&deep(MAX_DEPTH)).is_ok());
    assert!(to_json(&deep(MAX_DEPTH + 1)).unwrap_err().contains("levels of nesting"));
    // The scanner has a limit of its own, whichever of the two is met first.
    assert!(to_json(&deep(100_000)).is_err());
    let json = format!("{}1{}", "[".repeat(110), "]".repeat(110));
    assert!(to_json(&json).unwrap_err().contains("levels of nesting"));
    for text in ["- ".repeat(50_000), "? ".repeat(50_000), "{a: ".repeat(50_000)] {
        assert!(to_json(&text).is_err());
    }
    assert!(to_json(&" ".repeat(MAX_DOCUMENT + 1)).unwrap_err().contains("at most"));
    let list = |values: usize| format!("a: [{}x]", "x,".repeat(values - 3));
    assert!(to_json(&list(100_000)).is_ok());
    assert!(to_json(&list(100_001)).unwrap_err().contains("at most 100000 values"));
    // As a key it would be, all tokens of it are kept until its end is seen.
    let pairs = format!("{{{}a: b}}", "a: b, ".repeat(60_000));
    assert!(to_json(&pairs).unwrap_err().contains("at most 250000 tokens"));
    assert!(to_json(&format!("x: {}", pairs.replace("a: b, ", "a: b,\n "))).is_ok());
}

#[test]
fn reading_ends_when_the_call_is_to_end() {
    let asked = std::cell::Cell::new(0);
    let check = || {
        asked.set(asked.get() + 1);
        match asked.get() {
            1..20 => Ok(()),
            _ => Err(Error::Corrupt { what: "cancelled".to_owned() }),
        }
    };
    for text in ["a: b\n".repeat(40_000), format!("a: \"{}\"", "x".repeat(400_000))] {
        asked.set(0);
        let error = super::to_json(&text, &check).unwrap_err();
        assert_eq!((error.to_string().as_str(), asked.get()), ("cancelled", 20));
    }
}

proptest! {
    #[test]
    fn reading_is_total(text in "([-?:,\\[\\]{}&*!|>'\"%@`#<=~ \n0-9a-c._+]|<<: |: |- |\n  |---\n|&a |\\*a|!!str ){0,40}") {
        let _ = to_json(&text);
    }

    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,60}") {
        let _ = to_json(&text);
    }
}
