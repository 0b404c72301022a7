//! Ownership (HIGHWAY 3.5) in all layouts.

use super::*;

/// Every node's path, in the order of their numbers.
fn all(program: &Program) -> Vec<String> {
    (0..program.nodes.len() as u32).map(|ix| path(program, NodeIx(ix))).collect()
}

#[test]
fn loop_bodies_are_owned_by_their_innermost_loop() {
    // HIGHWAY 3.3: w1 stands in the root map, in the body of each and in that of again.
    let inner = marked(tasks("w1: again"));
    let mut body = marked(tasks("s1: each; s2: again"));
    body.extend(inner.clone());
    body.extend([repeated("again: s1", &inner)]);
    let mut root = tasks("fetch; done: each");
    root.extend(body.clone());
    root.extend([foreach("each: fetch", &body)]);
    let program = compiled(root);
    assert_eq!(
        all(&program),
        ["done", "each", "fetch", "each[]/again", "each[]/s1", "each[]/s2", "each[]/again[]/w1"]
    );
    assert_eq!(
        effective(&program),
        ["done: each", "each: fetch", "each[]/again: each[]/s1", "each[]/s2: each[]/again"]
    );
    assert_eq!(program.scopes.len(), 3);
    assert_eq!(paths(&program, &program.scopes[1].sources), "each[]/s1");
    assert_eq!(program.scopes[2].parent, Some(crate::workflow::program::ScopeIx(1)));
}

#[test]
fn a_condition_around_a_loop_leaves_the_body_alone() {
    let body = marked(tasks("s1: each c; s2: s1 c"));
    let mut root = tasks("c: ?each,_; after: c");
    root.extend(body.clone());
    root.extend([foreach("each: c", &body)]);
    let program = compiled(root);
    assert_eq!(effective(&program), ["after: c each", "each: <c", "each[]/s2: each[]/s1"]);
}

#[test]
fn orphans_of_loops_are_ignored() {
    let mut root = tasks("a; b: a");
    root.extend(marked(tasks("lost: a")));
    assert_eq!(all(&compiled(root)), ["a", "b"]);
}

#[test]
fn branches_have_documents_of_their_own() {
    let branches = json!({"A": ["a1", "a2"], "b": ["a1"], "none": []});
    let workflows = json!({
        "A": branch("a1; a2: a1"),
        "b": branch("a1"),
        "none": branch(""),
    });
    let mut root = tasks("init; after: fork");
    root.extend([parallel("fork: init", branches, workflows)]);
    let program = compiled(root);
    assert_eq!(all(&program), ["after", "fork", "init", "fork.A/a1", "fork.A/a2", "fork.b/a1"]);
    assert_eq!(program.scopes.len(), 4);
    assert_eq!(at(&program, "fork").inner.len(), 3);
    assert!(program.scopes[3].is_empty());
    // Two branches may hold the same id; both are seen from outside.
    assert_eq!(program.scopes[0].visible["a1"].len(), 2);
    assert_eq!(program.scopes[1].visible["a1"].len(), 1);
}

#[test]
fn the_older_layout_keeps_branches_in_the_map() {
    let mut root = tasks("init; a1: fork; a2: a1 fork; b1: fork; after: fork a2");
    root.extend([parallel("fork: init", json!({"a": ["a1", "a2"], "b": ["b1"]}), json!({}))]);
    let program = compiled(root);
    assert_eq!(all(&program), ["after", "fork", "init", "fork.a/a1", "fork.a/a2", "fork.b/b1"]);
    assert_eq!(
        effective(&program),
        ["after: fork fork.a/a2", "fork.a/a2: fork.a/a1", "fork: init"]
    );
    assert!(reaches_in(&program, 0));
}

#[test]
fn older_branches_may_hold_loops_and_branches() {
    let body = marked(tasks("w: each"));
    let mut root = tasks("x: p2 p1; y: p2 p1");
    root.extend(body.clone());
    root.extend([
        foreach("each: p1", &body),
        parallel("p2: each p1", json!({"in": ["x", "y"]}), json!({})),
        parallel("p1", json!({"out": ["each", "w", "p2", "x", "y"]}), json!({})),
    ]);
    let program = compiled(root);
    assert_eq!(
        all(&program),
        ["p1", "p1.out/each", "p1.out/p2", "p1.out/each[]/w", "p1.out/p2.in/x", "p1.out/p2.in/y"]
    );
    assert_eq!(effective(&program), ["p1.out/p2: p1.out/each"]);
}

#[test]
fn an_older_branch_inside_a_loop_is_found_outside_of_the_body() {
    let body = marked(Map::from_iter([parallel("p: each", json!({"a": ["x"]}), json!({}))]));
    let mut root = body.clone();
    root.extend(marked(tasks("x: p")));
    root.extend([foreach("each", &body)]);
    assert_eq!(all(&compiled(root)), ["each", "each[]/p", "each[]/p.a/x"]);
}

#[test]
fn mixtures_of_layouts() {
    // Branch a has a document and copies in the map, branch b the map alone.
    let mut root = tasks("a1: fork; a2: a1 fork; b1: fork; end: fork");
    let branches = json!({"a": ["a1", "a2"], "b": ["b1"]});
    root.extend([parallel("fork", branches, json!({"a": branch("a1; a2: a1"), "b": branch("")}))]);
    let program = compiled(root);
    assert_eq!(all(&program), ["end", "fork", "fork.a/a1", "fork.a/a2", "fork.b/b1"]);
}

#[test]
fn a_task_of_its_own_keeps_the_id_that_a_branch_uses_too() {
    let mut root = tasks("x: fork; y: x");
    root["x"]["function"] = json!("another");
    root.extend([parallel("fork", json!({"a": ["x"]}), json!({"a": branch("x")}))]);
    let program = compiled(root);
    assert_eq!(all(&program), ["fork", "x", "y", "fork.a/x"]);
    assert_eq!(effective(&program), ["x: fork", "y: x"]);
}

#[test]
fn branches_of_multi_choice_are_owned_alike() {
    let choice = json!({
        "operator_type": "multi_choice",
        "branches": {"Hi": {"condition": "{{x}}", "tasks": ["h"]}, "lo": {"condition": "1", "tasks": ["l"]}},
        "branch_workflows": {"Hi": branch("h")},
    });
    let mut root = tasks("l: mc");
    root.extend([with(task("mc"), choice)]);
    assert_eq!(all(&compiled(root)), ["mc", "mc.Hi/h", "mc.lo/l"]);
}

#[test]
fn a_branch_without_a_list_is_one() {
    let root = Map::from_iter([parallel("p", json!({}), json!({"a": branch("x")}))]);
    assert_eq!(all(&compiled(root)), ["p", "p.a/x"]);
}

#[test]
fn what_cannot_be_owned_is_refused() {
    let cases = [
        (
            vec![parallel("p", json!({"a": ["nope"]}), json!({}))],
            "task 'p.a': branch 'a' lists the unknown task 'nope'",
        ),
        (vec![parallel("p", json!({"a": ["p"]}), json!({}))], "task 'p': is inside itself"),
        (
            vec![
                parallel("p", json!({"a": ["q"]}), json!({})),
                parallel("q", json!({"a": ["p"]}), json!({})),
            ],
            "task 'p': is inside itself",
        ),
        (
            vec![
                parallel("o", json!({"a": ["p"]}), json!({})),
                parallel("p", json!({"a": ["q"]}), json!({})),
                parallel("q", json!({"a": ["p"]}), json!({})),
            ],
            "branch 'a' lists 'p', which it is inside of",
        ),
        (vec![foreach("l", &tasks("l"))], "task 'l': is inside itself"),
    ];
    for (tasks, rule) in cases {
        let error = refusal(Map::from_iter(tasks));
        assert!(error.contains(rule), "{error}");
    }
}

#[test]
fn nesting_and_fan_out_are_bounded() {
    let chain: Map<String, Value> = (0..80)
        .map(|at| {
            let inner = format!("p{:02}", at + 1);
            let branches = if at < 79 { json!({"a": [inner]}) } else { json!({}) };
            parallel(&format!("p{at:02}"), branches, json!({}))
        })
        .collect();
    assert!(refusal(chain).contains("lies inside more than 64 containers"));
    // Each level lists the next one twice: 2^40 scopes, if it were not for the limit.
    let wide: Map<String, Value> = (0..40)
        .map(|at| {
            let inner = format!("p{:02}", at + 1);
            let branches =
                if at < 39 { json!({"a": [inner.clone()], "b": [inner]}) } else { json!({}) };
            parallel(&format!("p{at:02}"), branches, json!({}))
        })
        .collect();
    assert!(refusal(wide).contains("must have at most 100000 tasks"));
}
