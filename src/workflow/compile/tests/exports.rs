//! Documents as highway-dsl 2.2.0 exports them, in tests/highway/exports.

use super::*;
use crate::workflow::document::canonical;
use crate::workflow::yaml;

macro_rules! fixture {
    ($name:literal) => {
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/highway/exports/", $name))
    };
}

fn json_of(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn yaml_and_json_exports_hash_alike() {
    let exports = [
        (fixture!("every_operator.json"), fixture!("every_operator.yaml")),
        (fixture!("nested.json"), fixture!("nested.yaml")),
        (fixture!("handlers.json"), fixture!("handlers.yaml")),
        (fixture!("switch_before.json"), fixture!("switch_before.yaml")),
        (fixture!("fork_join.json"), fixture!("fork_join.yaml")),
    ];
    for (json, yaml) in exports {
        let (document, hash) = canonical(&json_of(json)).unwrap();
        let (from_yaml, of_yaml) =
            canonical(&json_of(&yaml::to_json(yaml, &|| Ok(())).unwrap())).unwrap();
        assert_eq!(hash, of_yaml, "{document}\n{from_yaml}");
        let (program, of_canonical) = (compile(&json_of(json)), compile(&document));
        assert_eq!(format!("{:?}", of_canonical.unwrap()), format!("{:?}", program.unwrap()));
    }
}

#[test]
fn an_export_in_json_is_canonical_but_for_numbers() {
    for text in
        [fixture!("every_operator.json"), fixture!("nested.json"), fixture!("handlers.json")]
    {
        assert_eq!(canonical(&json_of(text)).unwrap().0, json_of(text));
    }
}

#[test]
fn every_operator() {
    let program = compile(&json_of(fixture!("every_operator.json"))).unwrap();
    let mut names: Vec<&str> = program.nodes.iter().map(|node| node.operator.name()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), 15);
    assert!(program.completion_events && program.deadline.is_some() && program.schedule.is_some());
    let load = at(&program, "load");
    assert_eq!(load.timeout.as_ref().map(|timeout| timeout.seconds), Some(400.0 * 86_400.0));
    assert_eq!((load.preconditions.len(), load.postconditions.len()), (1, 1));
    assert_eq!(paths(&program, &at(&program, "gate").predecessors.inputs), "case_a case_b");
    assert_eq!(paths(&program, &at(&program, "route").predecessors.dependencies), "busy fast");
}

#[test]
fn nested_scopes() {
    let program = compile(&json_of(fixture!("nested.json"))).unwrap();
    assert_eq!(
        effective(&program),
        [
            "after: loop retry skip",
            "early: fork.right/r1",
            "fork.left/each: fork.left/list",
            "fork.left/each[]/close: fork.left/each[]/drop fork.left/each[]/note fork.left/each[]/ok",
            "fork.left/each[]/drop: <fork.left/each[]/ok",
            "fork.left/each[]/keep: <fork.left/each[]/ok",
            "fork.left/each[]/note: fork.left/each[]/keep",
            "fork.left/each[]/ok: fork.left/each[]/look",
            "fork.left/sum: fork.left/each",
            "fork: init",
            "late: fork fork.left/each",
            "loop: <retry",
            "loop[]/log: loop[]/inc",
            "retry: late",
            "skip: <retry",
            "tail: loop skip",
        ]
    );
    let reached = &at(&program, "fork").reached;
    let from: Vec<NodeIx> = reached.iter().map(|reach| reach.from).collect();
    assert_eq!(paths(&program, &from), "fork.left/each fork.right/r1");
}

#[test]
fn handlers() {
    let program = compile(&json_of(fixture!("handlers.json"))).unwrap();
    assert_eq!(
        effective(&program),
        [
            "alert: late",
            "fork.a/ha: @fork.a/a1",
            "fork: alert",
            "late: tail",
            "next: risky",
            "oops: @fork @risky",
            "tail: yay",
            "yay: @risky",
        ]
    );
}

#[test]
fn a_switch_after_its_cases() {
    let program = compile(&json_of(fixture!("switch_before.json"))).unwrap();
    assert_eq!(
        effective(&program),
        [
            "after: route ta tb tc",
            "merge: ta tb tc",
            "route: fetch",
            "ta: fetch <route",
            "tb: <route",
            "tc: <route",
        ]
    );
}

#[test]
fn one_workflow_in_three_layouts() {
    let texts =
        [fixture!("fork_join.json"), fixture!("older_layout.json"), fixture!("mixed_layout.json")];
    let expected = ["agg: dp_join", "dp.y/y1: dp.y/w", "dp_join: dp", "peek: dp.x/x1", "side: dp"];
    for text in texts {
        let program = compile(&json_of(text)).unwrap();
        assert_eq!(effective(&program), expected);
        assert_eq!(program.nodes.len(), 8);
        let crate::workflow::operator::Operator::Barrier(barrier) =
            &at(&program, "dp_join").operator
        else {
            panic!()
        };
        assert_eq!((path(&program, barrier.fork).as_str(), barrier.timeout), ("dp", 120.0));
    }
}
