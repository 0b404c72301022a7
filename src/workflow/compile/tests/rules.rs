//! The rules R1 to R6 of HIGHWAY 5.

use super::*;

/// Documents and their effective graphs; nodes without predecessors are left out.
const CASES: &[(&str, &str, &str)] = &[
    (
        "HIGHWAY 3.2: branches, an after-node and a merge",
        "init; check: init ?hi,lo; hi: check; hi2: hi check; lo: check; after: check; merge: hi2 lo",
        "after: check hi2 lo; check: init; hi: <check; hi2: hi; lo: <check; merge: hi2 lo",
    ),
    ("R1: handlers give up what they depend on", "a: -h; b; h: a b; c: h", "c: h; h: @a"),
    ("R1: one handler of several", "a: -h; b: a +h; h: b", "b: a; h: @a @b"),
    ("R1: a reference to itself is none (13.9)", "a; b: a -b", "b: a"),
    (
        "HIGHWAY 9.6: handlers, and a task chained to one (13.10)",
        "risky: +yay -oops; next: risky; oops; yay; tail: yay",
        "next: risky; oops: @risky; tail: yay; yay: @risky",
    ),
    (
        "R2: a handler is in no region, its followers neither",
        "c: ?t,_; t: c -h; h: t; n: h; after: c",
        "after: c t; h: @t; n: h; t: <c",
    ),
    (
        "R2: what has a way around the target is in no region",
        "a; c: a ?t,_; t: c; x: t a; after: c",
        "after: c t; c: a; t: <c; x: a t",
    ),
    (
        "R2: join inputs and nested routers count as predecessors",
        "c: ?t,_; t: c; n: t c ?u,v; u: n c; v: n c; j: c &u,v; after: c",
        "after: c j; j: &u &v; n: t; t: <c; u: <n; v: <n",
    ),
    (
        "R3: other dependencies of a target stay",
        "a; b; c: a ?t,u; t: c b; u: c t",
        "c: a; t: b <c; u: <c",
    ),
    ("R3: a target of two routers", "a; c: a ?t,_; d: a ?_,t; t: c d", "c: a; d: a; t: <c <d"),
    ("R3: both ways lead to one task", "c: ?t,t; t: c; after: c", "after: c t; t: <c"),
    (
        "HIGHWAY 5: cases defined before their switch (13.5)",
        "fetch; ta: fetch; tb: ta; route: tb !ta,tb; after: route",
        "after: route ta tb; route: fetch; ta: fetch <route; tb: <route",
    ),
    (
        "R4: through the inputs of a join inside the region",
        "fetch; ta: fetch; x: ta; j: x &ta,x; route: j !ta",
        "j: &ta &x; route: fetch; ta: fetch <route; x: ta",
    ),
    (
        "HIGHWAY 6.11: a switch and its tail",
        "fetch; route: fetch !ta,tb,td; ta: route; tb: route; td: route; after: ta tb td",
        "after: ta tb td; route: fetch; ta: <route; tb: <route; td: <route",
    ),
    (
        "R5: an after-node of an empty branch keeps the router alone",
        "c: ?_,_; after: c",
        "after: c",
    ),
    (
        "R5: a node with another predecessor in the region drops the router",
        "c: ?t,_; t: c; u: t c; x; tail: c u x",
        "tail: u x; t: <c; u: t",
    ),
    (
        "R5: sinks that depend on the after-node are left out",
        "c: ?t,u; n: c; t: c n; u: c",
        "n: c u; t: n <c; u: <c",
    ),
    (
        "R5: an after-node that is a router",
        "c: ?t,_; t: c; d: c ?u,_; u: d; after: d",
        "after: d u; d: c t; t: <c; u: <d",
    ),
    (
        "HIGHWAY 6.10: a join's dependency on its input does not gate it (13.4)",
        "s; a: s; b: s; x; gate: b x &a,b; go: gate",
        "a: s; b: s; gate: x &a &b; go: gate",
    ),
    ("a handler does not wait for those after it", "a: -h; h; b: h -h", "b: h; h: @a"),
];

fn lines(text: &str) -> Vec<String> {
    let mut lines: Vec<String> =
        text.split(';').map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect();
    lines.sort();
    lines
}

#[test]
fn effective_graphs() {
    for (name, document, expected) in CASES {
        // The last of two lines of one id counts.
        assert_eq!(effective(&compiled(tasks(document))), lines(expected), "{name}");
    }
}

#[test]
fn handlers_keep_their_referrers_links_only() {
    let program = compiled(tasks("a: -h; h; b: h -h +b"));
    let a = at(&program, "a");
    assert_eq!(a.on_failure.map(|ix| path(&program, ix)).as_deref(), Some("h"));
    let b = at(&program, "b");
    assert_eq!((b.on_failure, b.on_success), (None, None));
    assert!(at(&program, "h").is_handler() && !b.is_handler());
}

#[test]
fn sources_and_sinks() {
    let program = compiled(tasks("init; c: init ?hi,_; hi: c -h; h; after: c; j: &after"));
    let root = &program.scopes[0];
    assert_eq!(paths(&program, &root.sources), "init");
    // Handler links make nobody less of a sink; control edges and inputs do.
    assert_eq!(paths(&program, &root.sinks), "h j");
    assert_eq!((root.len(), root.is_empty(), reaches_in(&program, 0)), (6, false, false));
}

#[test]
fn successors_carry_their_role() {
    let program = compiled(tasks("r: ?t,_; t: r -h; h; j: t &r"));
    let named = |id: &str| {
        let edges = &at(&program, id).successors;
        edges.iter().map(|e| format!("{}:{:?}", path(&program, e.to), e.role)).collect::<Vec<_>>()
    };
    assert_eq!(named("r"), ["j:Input", "t:Router"]);
    assert_eq!(named("t"), ["h:Referrer", "j:Dependency"]);
    assert_eq!(named("j"), [""; 0]);
}

#[test]
fn cycles_are_refused() {
    for (document, id, cycle) in [
        ("a: b; b: a", "a", "'a' -> 'b' -> 'a'"),
        ("x; a: x c; b: a; c: b", "a", "'a' -> 'b' -> 'c' -> 'a'"),
        ("a: &b; b: a", "a", "'a' -> 'b' -> 'a'"),
        ("c: a ?t,_; t: c; x; a: t x", "a", "'a' -> 'c' -> 't' -> 'a'"),
        ("h; y: h -h", "h", "'h' -> 'y' -> 'h'"),
        ("a: g -h; h; b: h -g; g", "a", "'a' -> 'h' -> 'b' -> 'g' -> 'a'"),
    ] {
        let error = refusal(tasks(document));
        assert!(error.contains("is part of a cycle of dependencies"), "{document}: {error}");
        assert!(error.contains(cycle), "{document}: {error}");
        assert!(error.starts_with(&format!("task '{id}': ")), "{document}: {error}");
    }
}

#[test]
fn long_cycles_are_cut() {
    let mut tasks = Map::new();
    for at in 0..50 {
        let line = format!("t{at:02}: t{:02}", (at + 1) % 50);
        tasks.extend(super::tasks(&line));
    }
    let error = refusal(tasks);
    assert!(error.contains("'t") && error.contains("..."), "{error}");
    assert!(error.len() < 300, "{error}");
}
