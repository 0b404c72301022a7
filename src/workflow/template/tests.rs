use std::collections::HashMap;

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::json::MAX_BUILT;
use crate::workflow::bounds::{MAX_BYTES, MAX_DEPTH};
use crate::workflow::failure::Failure;
use crate::workflow::items::{Items, SwitchOn};
use crate::workflow::names::{Found, Names};
use crate::workflow::path::Path;
use crate::workflow::template::{Template, Tree};

/// A context for tests: values, declared names and virtual segments, and what was asked for.
#[derive(Default)]
pub struct Context {
    pub values: HashMap<String, Value>,
    pub asked: Vec<String>,
}

impl Names for Context {
    fn find(&mut self, name: &str) -> Result<Found, Failure> {
        self.asked.push(name.to_owned());
        Ok(match (self.values.get(name), name) {
            (Some(value), _) => Found::Value(value.clone()),
            (None, "declared") => Found::Declared,
            (None, _) => Found::Unknown,
        })
    }

    fn segment(&mut self, name: &str, segment: &str) -> Result<Option<Value>, Failure> {
        self.asked.push(format!("{name}:{segment}"));
        Ok(match (name, segment) {
            ("r", "result") => self.values.get("r").cloned(),
            ("r" | "declared", "status") => Some(json!("skipped")),
            _ => None,
        })
    }
}

pub fn context(values: Value) -> Context {
    let values = values.as_object().unwrap().clone().into_iter().collect();
    Context { values, asked: Vec::new() }
}

fn example() -> Context {
    context(json!({
        "n": 5, "f": 1.50, "s": "text", "t": true, "z": null, "empty": "", "a-b": "hyphen",
        "list": [10, {"k": "v"}, [1, 2]], "0x": 1, "json": "[1, 2]", "digits": "3",
        "r": {"ok": false, "0": "zero", "length": 99, "two words": 2, "deep": {"x": [1]}},
        "region": "eu", "tier": "gold", "order": {"status": "paid"}, "text": "é😀",
    }))
}

fn resolve(text: &str) -> Result<Value, Failure> {
    Template::parse(text).resolve(&mut example())
}

#[test]
fn a_lone_template_keeps_its_type() {
    let cases = [
        ("{{n}}", json!(5)),
        ("{{ f }}", serde_json::from_str("1.5").unwrap()),
        ("{{\tt\n}}", json!(true)),
        ("{{z}}", json!(null)),
        ("{{list}}", json!([10, {"k": "v"}, [1, 2]])),
        ("{{list.0}}", json!(10)),
        ("{{list[1].k}}", json!("v")),
        ("{{list.1['k']}}", json!("v")),
        ("{{list[2][1]}}", json!(2)),
        ("{{a-b}}", json!("hyphen")),
        ("{{r['two words']}}", json!(2)),
        ("{{r.0}}", json!("zero")),
        ("{{r[0]}}", json!("zero")),
        ("{{list.length}}", json!(3)),
        ("{{r.length}}", json!(99)),
        ("{{r.deep.length}}", json!(1)),
        ("{{text.length}}", json!(2)),
        ("{{n.length}}", json!(null)),
        ("{{list.length.x}}", json!(null)),
        ("{{list[9]}}", json!(null)),
        ("{{list.x}}", json!(null)),
        ("{{r.none.deeper}}", json!(null)),
        ("{{z.x}}", json!(null)),
        ("{{declared}}", json!(null)),
        ("{{declared.x}}", json!(null)),
        ("{{declared.status}}", json!("skipped")),
        ("{{r.result.deep.x[0]}}", json!(1)),
        ("{{r['status']}}", json!("skipped")),
        ("{{r.deep.status}}", json!(null)),
        ("{{range(3)}}", json!([0, 1, 2])),
        ("{{ range( 1 , n ) }}", json!([1, 2, 3, 4])),
        ("{{range(n, 0, -2)}}", json!([5, 3, 1])),
        ("{{range(digits)}}", json!([0, 1, 2])),
        ("{{range(0)}}", json!([])),
        ("{{range(-1)}}", json!([])),
    ];
    for (text, expected) in cases {
        let template = Template::parse(text);
        assert!(template.is_lone() && !template.is_literal(), "{text}");
        assert_eq!(resolve(text), Ok(expected), "{text}");
    }
}

#[test]
fn defaults() {
    let cases = [
        ("{{ nobody | default(1) }}", json!(1)),
        ("{{nobody|default('x y')}}", json!("x y")),
        (r#"{{ nobody.x | default("a\"b") }}"#, json!("a\"b")),
        ("{{ nobody | default(\"a\tb\") }}", json!("a\tb")),
        ("{{ nobody | default('}}') }}", json!("}}")),
        ("{{ nobody | default('') }}", json!("")),
        ("{{ declared | default(-1.5e3) }}", serde_json::from_str("-1.5e3").unwrap()),
        ("{{ z | default(true) }}", json!(true)),
        ("{{ r.none | default(null) }}", json!(null)),
        ("{{ r.ok | default(1) }}", json!(false)),
        ("{{ empty | default('x') }}", json!("")),
        ("{{ n | default ( 'x' ) }}", json!(5)),
    ];
    for (text, expected) in cases {
        assert_eq!(resolve(text), Ok(expected), "{text}");
    }
}

#[test]
fn embedded_templates_make_text() {
    let cases = [
        ("<{{s}}>", "<text>"),
        (" {{n}}", " 5"),
        ("{{n}}{{n}}", "55"),
        ("a{{z}}b{{declared}}c", "abc"),
        ("{{t}}/{{f}}", "true/1.5"),
        ("={{list}}", r#"=[10,{"k":"v"},[1,2]]"#),
        ("{{{n}}}", "{5}"),
        ("{{ {{n}} }}", "{{ 5 }}"),
        ("{{n}} {{ x | upper }}", "5 {{ x | upper }}"),
        ("é{{s}}é", "étexté"),
        ("x{{range(2)}}", "x[0,1]"),
    ];
    for (text, expected) in cases {
        assert_eq!(resolve(text), Ok(json!(expected)), "{text}");
        assert_eq!(Template::parse(text).text(&mut example()).as_deref(), Ok(expected), "{text}");
    }
    let alone = Template::parse("{{z}}").text(&mut example());
    assert_eq!(alone.as_deref(), Ok(""));
}

#[test]
fn what_is_no_template_stays() {
    let texts = [
        "",
        "x",
        "{{}}",
        "{{ }}",
        "{{a b}}",
        "{{ x | upper }}",
        "{{1}}",
        "{{a.}}",
        "{{a..b}}",
        "{{ a[ 0 ] }}",
        "{{a[-1]}}",
        "{{a}",
        "{ {a} }",
        "{{a",
        "a}}",
        "${a}",
        "${{a b}}",
        "{{ x | default() }}",
        "{{ x | default(y) }}",
        "{{ x | default([]) }}",
        "{{x|default(01)}}",
        "{{ x | default('a) }}",
        "{{ range() }}",
        "{{ range(1,2,3,4) }}",
        "{{ range(1.5) }}",
        "{{ range(1) | default(2) }}",
        "{{ range(x y) }}",
        "{{ä}}",
        "{{ a + b }}",
        "{{{{}}}}",
    ];
    for text in texts {
        let template = Template::parse(text);
        assert!(template.is_literal() && !template.is_lone(), "{text}");
        assert_eq!(resolve(text), Ok(json!(text)));
        assert_eq!(template.paths().count(), 0);
    }
}

#[test]
fn unknown_names_fail() {
    for text in ["{{range}}", "{{nobody}}", "x {{nobody.y}}", "{{range(nobody)}}", "{{ENV.HOME}}"] {
        let failure = resolve(text).unwrap_err();
        assert_eq!(failure.name, "TemplateError", "{text}");
    }
    let message = resolve("{{nobody.y}}").unwrap_err().message;
    assert_eq!(message, "nobody.y: the name \"nobody\" is no step, result key, input or variable");
    for (text, rule) in [
        ("{{range(s)}}", "range's argument must be an integer, and not a text"),
        ("{{range(f)}}", "must be an integer"),
        ("{{range(1, 2, 0)}}", "must not be 0"),
        ("{{range(1000001)}}", "at most 1000000"),
        ("{{range(-9223372036854775808, 9223372036854775807)}}", "at most"),
    ] {
        assert!(resolve(text).unwrap_err().message.contains(rule), "{text}");
    }
}

#[test]
fn names_are_listed_and_asked_for_once() {
    let template = Template::parse("{{n}}{{list[0]}}{{n}}{{range(digits, 4)}}{{ z | default(1) }}");
    let names: Vec<_> = template.paths().map(Path::name).collect();
    assert_eq!(names, ["n", "list", "n", "digits", "z"]);
    let mut context = example();
    template.resolve(&mut context).unwrap();
    assert_eq!(context.asked, ["n", "list", "digits", "z"]);
}

#[test]
fn trees() {
    let value = json!({
        "{{n}}": "{{n}}", "list": ["{{list}}", "x{{n}}", 1, null], "plain": {"a": ["{{}}"]},
    });
    let tree = Tree::parse(&value).unwrap();
    assert_eq!(
        tree.resolve(&mut example()),
        Ok(json!({
            "{{n}}": 5, "list": [[10, {"k": "v"}, [1, 2]], "x5", 1, null],
            "plain": {"a": ["{{}}"]},
        }))
    );
    let literal = Tree::parse(&json!({"a": [1, "b"]})).unwrap();
    assert!(literal.is_literal() && !tree.is_literal());
}

fn nested(depth: usize, mut value: Value) -> Value {
    for _ in 0..depth {
        value = json!([value]);
    }
    value
}

#[test]
fn resolutions_are_bounded() {
    let mut big = context(json!({"b": "x".repeat(MAX_BYTES / 4), "d": nested(60, json!(1))}));
    let four = Template::parse("{{b}}{{b}}{{b}}{{b}}").resolve(&mut big).unwrap_err();
    assert!(four.message.contains("more than 16777216 bytes"), "{}", four.message);
    let args = Tree::parse(&json!(["{{b}}", "{{b}}", "{{b}}", "{{b}}"])).unwrap();
    assert_eq!(args.resolve(&mut big).unwrap_err().name, "TemplateError");
    let three = Tree::parse(&json!(["{{b}}", "{{b}}", "{{b}}"])).unwrap();
    assert!(three.resolve(&mut big).is_ok());

    assert!(Tree::parse(&nested(MAX_DEPTH, json!("{{d}}"))).is_ok());
    assert!(Tree::parse(&nested(MAX_DEPTH + 1, json!(1))).is_err());
    let mut deep = context(json!({"d": nested(MAX_BUILT - 40, json!(1))}));
    let fits = Tree::parse(&nested(40, json!("{{d}}"))).unwrap();
    assert!(fits.resolve(&mut deep).is_ok());
    let deeper = Tree::parse(&nested(41, json!("{{d}}"))).unwrap();
    assert!(deeper.resolve(&mut deep).unwrap_err().message.contains("levels of nesting"));
    let many = "{{ n }}{{".repeat(200_000);
    assert!(Template::parse(&many).resolve(&mut example()).is_ok());
}

#[test]
fn items() {
    let cases = [
        ("{{list[2]}}", json!([1, 2])),
        ("  {{ list[2] }}\n", json!([1, 2])),
        ("list[2]", json!([1, 2])),
        ("json", json!([1, 2])),
        ("range(2)", json!([0, 1])),
        ("range(1, {{n}}, 2)", json!([1, 3])),
        ("range(n)", json!([0, 1, 2, 3, 4])),
        ("{{range(2)}}", json!([0, 1])),
        ("[{{n}}, \"{{s}}\"]", json!([5, "text"])),
        ("[1, [2]]", json!([1, [2]])),
        ("order", json!([{"key": "status", "value": "paid"}])),
        (r#"{"b": 1, "a": 2}"#, json!([{"key": "a", "value": 2}, {"key": "b", "value": 1}])),
        ("z", json!([])),
        ("declared", json!([])),
        ("null", json!([])),
        ("\"[1]\"", json!([1])),
    ];
    for (text, expected) in cases {
        let list = Items::parse(text).evaluate(&mut example()).map(Value::Array);
        assert_eq!(list, Ok(expected), "{text}");
    }
    for (text, name) in [
        ("n", "ExpressionError"),
        ("{{s}}", "ExpressionError"),
        ("{{t}}", "ExpressionError"),
        ("a, b", "ExpressionError"),
        ("true", "ExpressionError"),
        ("", "ExpressionError"),
        ("{{n}}{{n}}", "ExpressionError"),
        ("nobody", "TemplateError"),
        ("{{nobody}}", "TemplateError"),
        ("range({{nobody}})", "TemplateError"),
        ("range(10000000)", "TemplateError"),
    ] {
        assert_eq!(Items::parse(text).evaluate(&mut example()).unwrap_err().name, name, "{text}");
    }
}

#[test]
fn switches() {
    let cases = [
        ("{{order.status}}", "paid"),
        (" order.status ", "paid"),
        ("unheard.of", "unheard.of"),
        ("{{n}}", "5"),
        ("{{z}}", "null"),
        ("declared", "null"),
        ("{{t}}", "true"),
        ("{{order}}", r#"{"status":"paid"}"#),
        ("{{n}} > 3", "true"),
        ("n + 1", "6"),
        ("{{region}}-{{tier}}", "eu-gold"),
        ("{{n}}-{{digits}}", "2"),
        ("some text", "some text"),
        ("{{s}}!", "text!"),
        ("", ""),
    ];
    for (text, expected) in cases {
        let value = SwitchOn::parse(text).evaluate(&mut example());
        assert_eq!(value.as_deref(), Ok(expected), "{text}");
    }
    let unknown = SwitchOn::parse("{{region}}-{{nobody}}").evaluate(&mut example());
    assert_eq!(unknown.unwrap_err().name, "TemplateError");
}

proptest! {
    #[test]
    fn templates_are_total(text in "([{}a-c.'\"|()\\[\\]0 ]|default|range){0,40}|\\PC{0,40}") {
        let template = Template::parse(&text);
        let mut context = context(json!({"a": [1], "b": {"a": "x"}, "c": 2}));
        let value = template.resolve(&mut context);
        if template.is_literal() {
            prop_assert_eq!(value, Ok(Value::String(text.clone())));
        }
        let _ = Items::parse(&text).evaluate(&mut context);
        let _ = SwitchOn::parse(&text).evaluate(&mut context);
    }
}
