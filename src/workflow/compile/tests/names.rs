//! What names stand for (HIGHWAY 3.6).

use super::*;

fn fork(line: &str, a: &str, b: &str) -> (String, Value) {
    let ids = |lines: &str| tasks(lines).keys().cloned().collect::<Vec<_>>();
    let branches = json!({"a": ids(a), "b": ids(b)});
    parallel(line, branches, json!({"a": branch(a), "b": branch(b)}))
}

#[test]
fn the_container_is_implied() {
    let body = tasks("s: each; t: s each");
    let program = compiled(Map::from_iter([foreach("each", &body)]));
    assert_eq!(effective(&program), ["each[]/t: each[]/s"]);
}

#[test]
fn an_own_node_comes_before_one_in_a_branch() {
    let mut root = tasks("x; n: x fork");
    root["x"]["function"] = json!("other");
    root.extend([fork("fork", "x", "y")]);
    assert_eq!(effective(&compiled(root)), ["n: fork x"]);
}

#[test]
fn a_node_in_a_branch_is_reached_into() {
    let mut root = tasks("n: b1; j: &a2,b1");
    root.extend([fork("fork", "a1; a2: a1", "b1")]);
    let program = compiled(root);
    assert_eq!(
        effective(&program),
        ["fork.a/a2: fork.a/a1", "j: &fork.a/a2 &fork.b/b1", "n: fork.b/b1"]
    );
    let reached = &at(&program, "fork").reached;
    let edges: Vec<String> = reached
        .iter()
        .map(|reach| {
            let (from, to) = (path(&program, reach.from), path(&program, reach.edge.to));
            format!("{from} {to} {:?}", reach.edge.role)
        })
        .collect();
    assert_eq!(edges, ["fork.a/a2 j Input", "fork.b/b1 j Input", "fork.b/b1 n Dependency"]);
    assert!(reaches_in(&program, 0) && !reaches_in(&program, 1));
    // Reaching in leaves a branch's node one of its sinks, and the parallel one of the root's.
    assert_eq!(paths(&program, &program.scopes[1].sinks), "fork.a/a2");
    assert_eq!(paths(&program, &program.scopes[0].sinks), "fork j n");
}

#[test]
fn reaching_through_two_branches_concerns_both_containers() {
    let inner = json!({"name": "b", "tasks": Map::from_iter([fork("in", "x", "y")])});
    let mut root = tasks("n: x");
    root.extend([parallel("out", json!({"o": ["in"]}), json!({"o": inner}))]);
    let program = compiled(root);
    assert_eq!(effective(&program), ["n: out.o/in.a/x"]);
    assert_eq!((at(&program, "out").reached.len(), at(&program, "out.o/in").reached.len()), (1, 1));
}

#[test]
fn a_loop_on_the_way_stands_for_what_is_in_it() {
    let inner = json!({"name": "b", "tasks": Map::from_iter([foreach("each", &tasks("x: each"))])});
    let mut root = tasks("n: x");
    root.extend([parallel("fork", json!({"a": ["each"]}), json!({"a": inner}))]);
    assert_eq!(effective(&compiled(root)), ["n: fork.a/each"]);
    let mut root = tasks("n: x");
    root.extend([foreach("each", &tasks("x: each"))]);
    assert_eq!(effective(&compiled(root)), ["n: each"]);
}

#[test]
fn two_candidates_are_ambiguous() {
    let mut root = tasks("n: x");
    root.extend([fork("fork", "x", "y; x: y")]);
    assert_eq!(
        refusal(root),
        "task 'n' depends on 'x', which is ambiguous: 'fork.a/x' or 'fork.b/x'"
    );
    let mut root = tasks("n: x");
    root.extend([foreach("l", &tasks("x")), foreach("m", &tasks("x"))]);
    assert!(refusal(root).contains("ambiguous: 'l' or 'm'"));
}

#[test]
fn what_an_inner_task_waits_for_outside_its_container_waits_for() {
    let mut root = tasks("a; b");
    root.extend([foreach("each: a", &tasks("s: each b; t: s a"))]);
    assert_eq!(effective(&compiled(root)), ["each: a b", "each[]/t: each[]/s"]);
    // Further out: from the body to the loop's container.
    let inner =
        json!({"name": "b", "tasks": Map::from_iter([foreach("each", &tasks("s: a fork"))])});
    let mut root = tasks("a");
    root.extend([parallel("fork", json!({"x": ["each"]}), json!({"x": inner}))]);
    assert_eq!(effective(&compiled(root)), ["fork: a"]);
    // A join's input outside becomes the container's dependency as well.
    let mut root = tasks("a");
    root.extend([foreach("each", &tasks("s; j: &s,a"))]);
    assert_eq!(effective(&compiled(root)), ["each: a", "each[]/j: &each[]/s"]);
}

#[test]
fn unknown_names_are_refused() {
    let sibling = Map::from_iter([fork("fork", "x", "y: x")]);
    let inside = Map::from_iter([foreach("each", &tasks("s: nope"))]);
    for (root, rule) in [
        (tasks("x: y"), "task 'x' depends on unknown task 'y'"),
        (tasks("x: &y"), "task 'x' depends on unknown task 'y'"),
        (inside, "task 'each[]/s' depends on unknown task 'nope'"),
        (sibling, "task 'fork.b/y' depends on unknown task 'x'"),
    ] {
        assert_eq!(refusal(root), rule);
    }
}

#[test]
fn a_task_that_an_inner_one_has_replaced_makes_a_self_dependency() {
    // HIGHWAY 3.3: the body's t has replaced the one that each was chained to.
    let mut root = tasks("t: each");
    root.extend([foreach("each: t", &tasks("t: each"))]);
    assert!(refusal(root).contains("task 'each': depends on itself through 't'"));
}

#[test]
fn cycles_through_containers_are_refused() {
    let mut root = tasks("n: a1");
    root.extend([fork("fork: n", "a1", "b1")]);
    assert!(refusal(root).contains("'fork' -> 'n' -> 'fork'"));
    let mut root = tasks("n: each");
    root.extend([foreach("each", &tasks("s: n"))]);
    assert!(refusal(root).contains("'each' -> 'n' -> 'each'"));
}

#[test]
fn targets_and_handlers_are_of_the_same_scope() {
    let looped = |lines: &str| {
        let mut root = tasks("a");
        root.extend([foreach("each", &tasks(lines))]);
        root
    };
    for (root, rule) in [
        (tasks("c: ?t,_"), "task 'c': leads to 't', which is no task of the same scope"),
        (tasks("c: !t,u; t"), "task 'c': leads to 'u', which is no task of the same scope"),
        (looped("c: ?a,_"), "task 'each[]/c': leads to 'a', which is no"),
        (looped("s: -a"), "task 'each[]/s': has the handler 'a', which is no task of the same"),
        (tasks("a: +x"), "task 'a': has the handler 'x', which is no task of the same scope"),
    ] {
        assert!(refusal(root.clone()).contains(rule), "{}", refusal(root));
    }
    assert_eq!(effective(&compiled(looped("s: -h; h"))), ["each[]/h: @each[]/s"]);
}

#[test]
fn names_are_declared_wherever_they_stand() {
    let mut root = tasks("a");
    root["a"]["result_key"] = json!("key");
    root.extend(marked(tasks("orphan")));
    root.extend([fork("fork", "x", "y"), foreach("each", &tasks("s"))]);
    let program = compiled(root);
    for name in ["a", "key", "fork", "x", "each", "s", "orphan", "s__result", "each_results"] {
        assert!(program.declared.contains(name), "{name}");
    }
    assert!(!program.declared.contains("key_results"));
    let root = &program.scopes[0];
    assert!(root.visible.contains_key("x") && !root.visible.contains_key("s"));
    assert_eq!(paths(&program, &root.result_keys["key"]), "a");
    let ScopeKind::Body { container } = &program.scopes[1].kind else { panic!() };
    assert_eq!(path(&program, *container), "each");
    assert_eq!(program.find(crate::workflow::program::ScopeIx(1), "s").map(|ix| ix.0), Some(3));
    assert_eq!(program.find(crate::workflow::program::ScopeIx::ROOT, "s"), None);
    assert!(program.has(NodeIx(5)) && !program.has(NodeIx(6)));
}
