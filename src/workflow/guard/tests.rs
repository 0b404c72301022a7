use proptest::prelude::*;
use serde_json::{Value, json};

use crate::workflow::bounds::{MAX_MATCHED, MAX_PATTERN};
use crate::workflow::guard::Guard;
use crate::workflow::template::tests::{Context, context};

fn example() -> Context {
    context(json!({
        "n": 5, "f": 2.5, "one": 1.0, "s": "text", "num": "7", "t": true, "nul": null, "list": [1, "a"],
        "obj": {"a": null, "b": {"c": 1}}, "lo": 1, "pat": "^te", "bad": "(", "int": "int",
        "long": "x".repeat(MAX_MATCHED + 1),
    }))
}

fn guard(variable: &str, check: &str, value: Value) -> Guard {
    let guard = json!({"variable": variable, "check": check, "value": value, "message": ""});
    Guard::parse(&guard).unwrap_or_else(|error| panic!("{guard}: {error}"))
}

fn holds(variable: &str, check: &str, value: Value) -> bool {
    match guard(variable, check, value).check(&mut example()) {
        Ok(()) => true,
        Err(failure) => {
            assert_eq!(failure.name, "PreconditionFailed", "{failure}");
            false
        }
    }
}

#[test]
fn checks() {
    let cases = [
        ("{{n}}", "exists", json!(null), true),
        ("n", "exists", json!(null), true),
        (" {{ obj.a }} ", "exists", json!(null), true),
        ("obj.b.c", "exists", json!(null), true),
        ("obj.b.d", "exists", json!(null), false),
        ("obj.x.y", "exists", json!(null), false),
        ("declared", "exists", json!(null), false),
        ("nobody", "exists", json!(null), false),
        ("{{nobody.x}}", "exists", json!(null), false),
        ("{{nobody}}/{{n}}", "exists", json!(null), false),
        ("{{nobody | default(1)}}", "exists", json!(null), true),
        ("n", "not_null", json!(null), true),
        ("obj.a", "not_null", json!(null), false),
        ("declared", "not_null", json!(null), false),
        ("nobody", "not_null", json!(null), false),
        ("n", "equals", json!("5"), true),
        ("n", "equals", json!("{{n}}"), true),
        ("list", "equals", json!(["{{one}}", "a"]), true),
        ("declared", "equals", json!(null), true),
        ("t", "equals", json!(1), false),
        ("s", "not_equals", json!("text"), false),
        ("s", "not_equals", json!("other"), true),
        ("n", "in_range", json!([1, 5]), true),
        ("n", "in_range", json!([5, 5.0]), true),
        ("num", "in_range", json!(["{{lo}}", "7"]), true),
        ("n", "in_range", json!([6, 9]), false),
        ("n", "in_range", json!([9, 1]), false),
        ("s", "in_range", json!([1, 5]), false),
        ("t", "in_range", json!([0, 5]), false),
        ("nul", "in_range", json!([0, 5]), false),
        ("n", "in_range", json!(["{{s}}", 9]), false),
        ("s", "matches_regex", json!("ex"), true),
        ("s", "matches_regex", json!("^ex"), false),
        ("s", "matches_regex", json!("^\\w{4}$"), true),
        ("s", "matches_regex", json!("(?i)TEXT"), true),
        ("s", "matches_regex", json!("{{pat}}"), true),
        ("n", "matches_regex", json!("5"), false),
        ("nul", "matches_regex", json!(""), false),
        ("long", "matches_regex", json!("x"), false),
        ("n", "type_check", json!("int"), true),
        ("n", "type_check", json!("integer"), true),
        ("n", "type_check", json!("number"), true),
        ("n", "type_check", json!("{{int}}"), true),
        ("f", "type_check", json!("int"), false),
        ("one", "type_check", json!("int"), false),
        ("one", "type_check", json!("float"), true),
        ("num", "type_check", json!("int"), false),
        ("s", "type_check", json!("str"), true),
        ("s", "type_check", json!("string"), true),
        ("t", "type_check", json!("bool"), true),
        ("t", "type_check", json!("int"), false),
        ("t", "type_check", json!("boolean"), true),
        ("list", "type_check", json!("list"), true),
        ("list", "type_check", json!("array"), true),
        ("obj", "type_check", json!("dict"), true),
        ("obj", "type_check", json!("list"), false),
        ("obj", "type_check", json!("object"), true),
        ("nul", "type_check", json!("null"), true),
        ("nul", "type_check", json!("none"), true),
        ("n", "in_set", json!([1, "5"]), true),
        ("s", "in_set", json!(["{{s}}"]), true),
        ("s", "in_set", json!([]), false),
    ];
    for (variable, check, value, expected) in cases {
        let shown = format!("{variable} {check} {value}");
        assert_eq!(holds(variable, check, value), expected, "{shown}");
    }
}

#[test]
fn messages() {
    let message = |variable, check, value| {
        guard(variable, check, value).check(&mut example()).unwrap_err().message
    };
    assert_eq!(message("nobody.x", "exists", json!(null)), "nobody.x must exist");
    assert_eq!(message("{{obj.a}}", "not_null", json!(null)), "{{obj.a}} must not be null");
    assert_eq!(message("{{n}}", "in_range", json!([6, 9])), "{{n}} must be in the range [6,9]");
    // Neither the value nor what a run has put into the rule.
    let set = json!(["{{n}}"]);
    assert_eq!(message("s", "in_set", set), "s must be one of the guard's value");
    assert_eq!(
        message("s", "matches_regex", json!("^[0-9]+$")),
        "s must be a text that matches \"^[0-9]+$\""
    );
    let own = json!({"variable": "{{a}}", "check": "exists", "value": null, "message": "need a"});
    let guard = Guard::parse(&own).unwrap();
    assert_eq!(guard.check(&mut example()).unwrap_err().message, "need a");
    let after = guard.check_after(&mut example()).unwrap_err();
    assert_eq!((after.name, &*after.message), ("PostconditionFailed", "need a"));
}

#[test]
fn unknown_names_fail_other_checks() {
    for (variable, check, value) in [
        ("nobody", "equals", json!(1)),
        ("n", "equals", json!("{{nobody}}")),
        ("s", "matches_regex", json!("{{bad}}")),
        ("s", "type_check", json!("{{s}}")),
    ] {
        let failure = guard(variable, check, value).check(&mut example()).unwrap_err();
        assert_eq!(failure.name, "TemplateError", "{failure}");
    }
}

#[test]
fn refuses_wrong_guards() {
    let cases = [
        (json!([]), "must be an object"),
        (json!({"check": "exists"}), "variable is required"),
        (json!({"variable": "a"}), "check is required"),
        (json!({"variable": 1, "check": "exists"}), "variable 1 must be a string"),
        (json!({"variable": "a b", "check": "exists"}), "must be a template or a path"),
        (json!({"variable": "", "check": "exists"}), "must be a template or a path"),
        (json!({"variable": "a", "check": "is"}), "check \"is\" is unknown"),
        (json!({"variable": "a", "check": "exists", "message": 1}), "message 1 must be a string"),
        (json!({"variable": "a", "check": "in_range", "value": [1]}), "exactly two elements"),
        (json!({"variable": "a", "check": "in_range", "value": [1, 2, 3]}), "exactly two"),
        (json!({"variable": "a", "check": "in_range", "value": "{{r}}"}), "exactly two"),
        (json!({"variable": "a", "check": "in_range"}), "exactly two"),
        (json!({"variable": "a", "check": "in_range", "value": [1, "x"]}), "two numbers"),
        (
            json!({"variable": "a", "check": "in_set", "value": "abc"}),
            "must be an array for in_set",
        ),
        (json!({"variable": "a", "check": "matches_regex", "value": 1}), "must be a pattern"),
        (json!({"variable": "a", "check": "matches_regex", "value": "("}), "cannot be used"),
        (json!({"variable": "a", "check": "matches_regex", "value": "(?=x)"}), "cannot be used"),
        (json!({"variable": "a", "check": "matches_regex", "value": "(a)\\1"}), "cannot be used"),
        (json!({"variable": "a", "check": "type_check", "value": "text"}), "name of a JSON type"),
        (json!({"variable": "a", "check": "type_check"}), "name of a JSON type"),
    ];
    for (guard, rule) in cases {
        let error = Guard::parse(&guard).expect_err(&guard.to_string());
        assert!(error.contains(rule), "{guard}: {error}");
    }
}

#[test]
fn patterns_are_bounded() {
    let parse = |pattern: String| {
        Guard::parse(&json!({"variable": "s", "check": "matches_regex", "value": pattern}))
    };
    for pattern in
        ["(((a{100}){100}){100}){100}".to_owned(), "\\w{2000}".to_owned(), "\\pL{999}".to_owned()]
    {
        assert!(parse(pattern).unwrap_err().contains("cannot be used"));
    }
    for usual in
        ["^\\w{3,20}$", "^[\\w.+-]+@[\\w-]+\\.[\\w.]+$", "^\\d{4}-\\d{2}-\\d{2}$", "\\p{L}+"]
    {
        assert!(parse(usual.to_owned()).is_ok(), "{usual}");
    }
    assert!(parse("(".repeat(200) + &")".repeat(200)).unwrap_err().contains("cannot be used"));
    assert!(parse("a".repeat(MAX_PATTERN + 1)).unwrap_err().contains("at most 4096 bytes"));
    // What backtracks exponentially elsewhere.
    let evil = parse("^(a+)+(a|a)*(a|b|ab)*c$".to_owned()).unwrap();
    let mut names = context(json!({"s": "a".repeat(MAX_MATCHED)}));
    assert_eq!(evil.check(&mut names).unwrap_err().name, "PreconditionFailed");
}

proptest! {
    #[test]
    fn patterns_are_total(pattern in "[-^$.*+?(){}\\[\\]|\\\\a-z0-9,]{0,24}|\\PC{0,24}") {
        let guard = json!({"variable": "s", "check": "matches_regex", "value": pattern});
        if let Ok(guard) = Guard::parse(&guard) {
            let _ = guard.check(&mut example());
        }
    }
}
