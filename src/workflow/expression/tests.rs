use proptest::prelude::*;
use serde_json::{Value, json};

use super::value::order;
use super::*;
use crate::workflow::bounds::{MAX_DEPTH, MAX_EXPRESSION};
use crate::workflow::template::tests::{Context, context};

fn example() -> Context {
    context(json!({
        "x": 5, "y": 2.5, "s": "ok", "num": "10", "t": true, "f": false, "nul": null, "i": 4,
        "list": [1, "a", null], "obj": {"a": 1, "5": 2}, "v": {"score": 0.9}, "no": "FALSE",
        "text": "it's {{x}} or 1 == 1", "a-b": 7, "len": "four", "big": 9007199254740993i64,
    }))
}

fn eval(text: &str) -> Result<Value, Failure> {
    Expression::parse(text).unwrap().eval(&mut example())
}

fn check(cases: &[(&str, Value)]) {
    for (text, expected) in cases {
        assert_eq!(eval(text).as_ref(), Ok(expected), "{text}");
    }
}

#[test]
fn published_forms() {
    check(&[
        ("{{v.score}} > 0.8", json!(true)),
        ("{{s}} == 'ok'", json!(true)),
        ("{{f}} == false", json!(true)),
        ("{{t}}", json!(true)),
        ("'{{s}}' == 'ok'", json!(true)),
        ("i < 5", json!(true)),
        ("s == 'ok'", json!(true)),
        ("{{i}} <= {{x}}", json!(true)),
        ("true", json!(true)),
    ]);
}

#[test]
fn literals_and_operands() {
    check(&[
        ("True", json!(true)),
        ("False", json!(false)),
        ("None", json!(null)),
        ("none", json!(null)),
        ("null", json!(null)),
        ("007", json!(7)),
        ("00", json!(0)),
        ("0.5", json!(0.5)),
        ("'a\\'b\\\\n\\n'", json!("a'b\\nn")),
        (r#""it's""#, json!("it's")),
        (r#"'{{obj["a"]}} {{ obj['a'] }}'"#, json!("1 1")),
        ("'x{{nul}}{{list}}'", json!("x[1,\"a\",null]")),
        ("'{{nobody | default('z')}}'", json!("z")),
        ("[1, 'a', [x]]", json!([1, "a", [5]])),
        ("[]", json!([])),
        ("{{list}}", json!([1, "a", null])),
        ("list[1]", json!("a")),
        ("a-b", json!(7)),
        ("len", json!("four")),
        ("len(len)", json!(4)),
        ("{{range(2)}}", json!([0, 1])),
    ]);
    assert_eq!(eval("range").unwrap_err().name, "TemplateError");
}

#[test]
fn precedence_and_logic() {
    check(&[
        ("1 + 2 * 3", json!(7)),
        ("(1 + 2) * 3", json!(9)),
        ("10 - 4 - 3", json!(3)),
        ("2 * 3 % 4", json!(2)),
        ("-2 * -3", json!(6)),
        ("--2", json!(2)),
        ("+num", json!(10)),
        ("x - 1", json!(4)),
        ("x -1", json!(4)),
        ("not x == 5", json!(false)),
        ("!x == 5", json!(false)),
        ("not not x", json!(true)),
        ("NOT f AND t", json!(true)),
        ("f and 1/0", json!(false)),
        ("t or 1/0", json!(true)),
        ("nul || 'b' && 'c'", json!("c")),
        ("0 or ''", json!("")),
        ("'a' and 'b'", json!("b")),
        ("f OR t AND f", json!(false)),
        ("1 + 1 == 2 and 2 in [1, 2]", json!(true)),
        ("x is 5", json!(true)),
        ("x is not 5", json!(false)),
        ("nul is null", json!(true)),
        ("nul is not null", json!(false)),
        ("not(t)", json!(false)),
        ("1 in[1]", json!(true)),
    ]);
}

#[test]
fn arithmetic() {
    check(&[
        ("7 / 2", json!(3.5)),
        ("6 / 2", json!(3)),
        ("-7 % 3", json!(2)),
        ("num + 1", json!(11)),
        ("' 1.5 ' * 2", serde_json::from_str("3.0").unwrap()),
        ("big + 0", json!(9007199254740993i64)),
        ("9223372036854775807 + 1", json!(9223372036854775808u64)),
        ("-9223372036854775808", json!(i64::MIN)),
    ]);
    for (text, rule) in [
        ("1 / 0", "divides by zero"),
        ("1 % 0.0", "divides by zero"),
        ("s + 1", "a text is no finite number"),
        ("t + 1", "a boolean is no finite number"),
        ("nul + 1", "null is no finite number"),
        ("-list", "is no finite number"),
        ("'a' + 'b'", "is no finite number"),
        ("1e308 * 10", "the result is too large"),
        ("1e999 + 1", "is no finite number"),
        ("'nan' + 1", "is no finite number"),
    ] {
        let failure = eval(text).unwrap_err();
        assert_eq!(failure.name, "ExpressionError");
        assert!(failure.message.contains(rule), "{text}: {failure}");
    }
}

#[test]
fn equality() {
    let equal = [
        ("1", "1.0"),
        ("1", "'1'"),
        ("1.5", "' 1.50 '"),
        ("true", "'TRUE'"),
        ("'False'", "false"),
        ("null", "nul"),
        ("[1, 'a', null]", "list"),
        ("[1]", "['1.0']"),
        ("obj", "{{obj}}"),
        ("100", "1e2"),
        ("0", "-0.0"),
        ("'a'", "\"a\""),
    ];
    for (left, right) in equal {
        check(&[(&*format!("{left} == {right}"), json!(true))]);
        check(&[(&*format!("{right} != {left}"), json!(false))]);
    }
    let unequal = [
        ("1", "true"),
        ("0", "false"),
        ("0", "''"),
        ("null", "false"),
        ("null", "''"),
        ("null", "0"),
        ("'1'", "'1.0'"),
        ("true", "' true '"),
        ("[1]", "[1, 2]"),
        ("list", "obj"),
        ("1", "'one'"),
        ("9007199254740993", "9007199254740992"),
        ("'a'", "'A'"),
        ("'null'", "null"),
    ];
    for (left, right) in unequal {
        check(&[(&*format!("{left} == {right}"), json!(false))]);
        check(&[(&*format!("{right} != {left}"), json!(true))]);
    }
}

#[test]
fn order_and_containment() {
    check(&[
        ("'a' < 'b'", json!(true)),
        ("'10' < '9'", json!(true)),
        ("'10' < 9", json!(false)),
        ("num >= 10", json!(true)),
        ("2 < ' 3 '", json!(true)),
        ("'Z' < 'a'", json!(true)),
        ("nul < 1", json!(false)),
        ("1 >= nul", json!(false)),
        ("nul <= nul", json!(false)),
        ("nul > list", json!(false)),
        ("1e400 < 1e401", json!(true)),
        ("'a' in list", json!(true)),
        ("'1' in list", json!(true)),
        ("null in list", json!(true)),
        ("'b' in list", json!(false)),
        ("'b' not in list", json!(true)),
        ("'a' in obj", json!(true)),
        ("5 in obj", json!(true)),
        ("'k' in s", json!(true)),
        ("null in s", json!(false)),
        ("1 in nul", json!(false)),
        ("1 not in nul", json!(true)),
        ("len(list) + len(obj) + len(s) + len(nul)", json!(7)),
    ]);
    for text in
        ["t < 1", "'x' < 1", "list < list", "obj > 1", "1 in 1", "'t' in t", "len(5)", "len(t)"]
    {
        assert_eq!(eval(text).unwrap_err().name, "ExpressionError", "{text}");
    }
    assert_eq!(
        eval("t < 1").unwrap_err().message,
        "cannot order a boolean with a number: a boolean is no number"
    );
}

#[test]
fn truth() {
    for falsy in ["null", "false", "0", "0.0", "-0", "''", "'false'", "no", "[]", "{{range(0)}}"] {
        assert!(!truthy(&eval(falsy).unwrap()), "{falsy}");
    }
    assert!(!truthy(&json!({})) && !truthy(&serde_json::from_str("0e9").unwrap()));
    for truth in ["true", "1", "-0.1", "'0'", "' '", "'no'", "[0]", "obj", "' false'"] {
        assert!(truthy(&eval(truth).unwrap()), "{truth}");
    }
    assert_eq!(to_text(&json!(null)), "null");
    assert_eq!(to_text(&json!({"a": [1, true]})), r#"{"a":[1,true]}"#);
}

#[test]
fn values_are_never_parsed() {
    check(&[
        ("{{text}} == 'x'", json!(false)),
        ("'{{text}}' == text", json!(true)),
        ("text", json!("it's {{x}} or 1 == 1")),
    ]);
}

#[test]
fn errors_of_syntax() {
    let cases = [
        ("", "expected a value but it ends"),
        ("  ", "expected a value but it ends"),
        ("1 +", "expected a value but it ends"),
        ("1 2", "expected an operator or the end but found 2 at character 3"),
        ("a == b == c", "comparisons cannot be chained"),
        ("1 < 2 < 3", "comparisons cannot be chained"),
        ("a = b", "unexpected '=' at character 3"),
        ("(1", "expected \")\" but it ends"),
        ("[1, ]", "expected a value but found \"]\" at character 5"),
        ("[1", "expected \"]\""),
        ("'abc", "a string has no end at character 1"),
        ("'abc\\", "a string has no end"),
        ("{{ x | upper }} == 1", "the braces hold no template"),
        ("{{}}", "the braces hold no template"),
        ("a not b", "expected \"in\" after \"not\""),
        ("1.", "must not end in a point"),
        ("1e", "exponent has no digits"),
        ("1x", "followed by what belongs to no number"),
        ("f(x)", "expected an operator or the end but found \"(\""),
        ("__import__('os')", "expected an operator"),
        ("a.b.c()", "expected an operator"),
        ("x; y", "unexpected ';'"),
        ("é == 1", "unexpected 'é' at character 1"),
        ("len()", "expected a value"),
        ("1 and", "but it ends"),
        ("x & y", "unexpected '&'"),
    ];
    for (text, rule) in cases {
        let error = Expression::parse(text).expect_err(text);
        assert!(error.contains(rule), "{text}: {error}");
    }
}

#[test]
fn depth_and_size_are_bounded() {
    for (open, close) in [("(", ")"), ("[", "]"), ("not ", ""), ("!", ""), ("-", ""), ("len(", ")")]
    {
        let nested = |depth: usize| format!("{}1{}", open.repeat(depth), close.repeat(depth));
        let at_limit = Expression::parse(&nested(MAX_DEPTH)).unwrap();
        let _ = at_limit.eval(&mut example());
        for depth in [MAX_DEPTH + 1, 10_000] {
            let error = Expression::parse(&nested(depth)).unwrap_err();
            assert!(error.contains("deeper than 100 levels"), "{error}");
        }
    }
    let long = format!("1{}", "+1".repeat(30_000));
    assert_eq!(eval(&long), Ok(json!(30_001)));
    let logic = format!("f{}", " or f".repeat(10_000));
    assert_eq!(eval(&logic), Ok(json!(false)));
    let error = Expression::parse(&"1".repeat(MAX_EXPRESSION + 1)).unwrap_err();
    assert!(error.contains("at most 65536 bytes"), "{error}");
    let mut big = context(json!({"b": "x".repeat(1 << 20)}));
    let copies = format!("len('{}')", "{{b}}".repeat(17));
    let failure = Expression::parse(&copies).unwrap().eval(&mut big).unwrap_err();
    assert!(failure.message.contains("bytes"), "{failure}");
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(Value::from),
        (-3i64..3).prop_map(Value::from),
        (-3i32..3).prop_map(|half| Value::from(f64::from(half) / 2.0)),
        "(true|False|| ?-?[0-2](\\.[05])?|[ab])".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map("[ab]", inner, 0..3)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn equality_is_symmetric(a in value(), b in value()) {
        prop_assert_eq!(equal(&a, &b), equal(&b, &a));
        prop_assert!(equal(&a, &a));
        if let (Ok(one), Ok(other)) = (order(&a, &b), order(&b, &a)) {
            prop_assert_eq!(one.map(std::cmp::Ordering::reverse), other);
        }
    }

    #[test]
    fn parsing_and_evaluating_are_total(
        text in "([-+*/%<>=!()\\[\\],'\" {}a-c0-9.]| and | or | not | in |len\\(|\\{\\{a\\}\\}){0,30}"
    ) {
        if let Ok(expression) = Expression::parse(&text) {
            let mut context = context(json!({"a": [1], "b": "2", "c": 0.5}));
            if let Ok(Value::Number(number)) = expression.eval(&mut context) {
                prop_assert!(serde_json::from_str::<Value>(number.as_str()).is_ok());
            }
        }
    }

    #[test]
    fn any_text_is_parsed_or_refused(text in "\\PC{0,60}") {
        let _ = Expression::parse(&text);
    }

    #[test]
    fn strings_come_back(text in "[^{}]{0,30}") {
        let quoted = text.replace('\\', "\\\\").replace('\'', "\\'");
        prop_assert_eq!(eval(&format!("'{quoted}'")), Ok(Value::String(text)));
    }
}
