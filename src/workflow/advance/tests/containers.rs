//! parallel, barriers, multi_choice, loops, and what is inside them.

use serde_json::{Value, json};

use super::player::{Player, branches, choices, document, node, task, with};

const BARRIER: &str = "tools.workflow.wait_for_parallel_branches";

fn fork(extra: Value) -> Value {
    let two =
        [("a", json!([task("a1", &[]), task("a2", &["a1"])])), ("b", json!([task("b1", &[])]))];
    with(node("fork", "parallel", &[], branches(&two)), extra)
}

fn barrier(extra: Value) -> Value {
    let fields =
        json!({"function": BARRIER, "args": ["{{fork}}"], "kwargs": {"timeout_seconds": 60}});
    with(node("bar", "task", &["fork"], fields), extra)
}

#[test]
fn a_parallel_that_takes_too_long_cancels_what_is_open() {
    let mut player = Player::of(json!([
        fork(json!({"timeout": 30, "timeout_policy": {"timeout": "PT10S"}})),
        task("after", &["fork"]),
        with(task("early", &["b1"]), json!({"trigger_rule": "all_done"})),
        with(task("deep", &["a2"]), json!({"trigger_rule": "all_done"})),
    ]));
    player.complete("fork.a/a1", json!(1)).wait(9.9);
    assert_eq!(player.state("fork"), "running");
    player.spawned();
    player.wait(0.1);
    assert_eq!(player.state("fork"), "failed");
    assert_eq!(player.state("fork.a/a2"), "cancelled");
    assert_eq!(player.state("fork.b/b1"), "cancelled");
    assert_eq!(player.state("after"), "upstream_failed");
    assert_eq!(
        player
            .memory
            .tasks
            .iter()
            .filter(|t| t.state == super::super::memory::TaskState::Cancelled)
            .count(),
        2
    );
    let mut spawned = player.spawned_paths();
    spawned.sort();
    assert_eq!(spawned, ["deep", "early"]);
    player.work_all();
    assert_eq!(
        (player.status(), player.error()["name"].clone()),
        ("failed", json!("TimeoutError"))
    );
    assert_eq!(player.error()["task_id"], "fork");
}

#[test]
fn the_inside_of_a_container_that_never_starts_ends_with_it() {
    let never = |first: Value, how: &str| {
        let nodes = json!([
            first,
            with(fork(json!({})), json!({"dependencies": ["first"]})),
            with(task("early", &["b1"]), json!({"trigger_rule": "all_done"}))
        ]);
        let mut player = Player::of(nodes);
        if how == "upstream_failed" {
            player.fail("first", "Error", "x");
        }
        assert_eq!(player.state("fork"), how);
        assert_eq!(player.state("fork.a/a1"), how);
        assert_eq!(player.state("early"), "running");
        player.complete("early", json!(1));
        player.status()
    };
    assert_eq!(never(task("first", &[]), "upstream_failed"), "failed");
    let nodes = json!([
        node("c", "condition", &[], json!({"condition": "false", "if_true": "fork"})),
        with(fork(json!({})), json!({"dependencies": ["c"]})),
        task("strict", &["b1"]),
        with(task("early", &["b1"]), json!({"trigger_rule": "none_failed"})),
    ]);
    let player = Player::of(nodes);
    assert_eq!(player.state("fork.b/b1"), "skipped");
    assert_eq!(
        (player.state("strict"), player.state("early")),
        ("skipped".into(), "running".into())
    );
    let guard = json!({"preconditions": [{"variable": "nope", "check": "exists"}]});
    let mut player = Player::of(json!([fork(guard), task("strict", &["b1"])]));
    assert_eq!(player.error()["name"], "PreconditionFailed");
    assert_eq!(player.state("strict"), "upstream_failed");
    assert_eq!(player.spawned_paths(), Vec::<String>::new());
}

#[test]
fn a_fork_goes_on_and_its_barrier_waits() {
    let mut player = Player::of(json!([
        fork(json!({})),
        barrier(json!({})),
        task("side", &["fork"]),
        task("end", &["bar"])
    ]));
    assert_eq!(player.spawned_paths(), ["fork.a/a1", "fork.b/b1", "side"]);
    assert_eq!(
        player.step_result("fork"),
        json!({"a": {"status": "running"}, "b": {"status": "running"}})
    );
    player.complete("fork.a/a1", json!(1)).fail("fork.b/b1", "Error", "x");
    assert_eq!(player.state("bar"), "running");
    player.complete("fork.a/a2", json!(1)).complete("side", json!(1));
    let error = player.error();
    assert_eq!(
        (&error["name"], &error["task_id"], &error["branch"]),
        (&json!("BranchFailed"), &json!("bar"), &json!("b"))
    );
    assert_eq!(player.state("end"), "upstream_failed");
}

#[test]
fn the_run_waits_for_branches_whose_barrier_is_skipped() {
    let skip = json!({"dependencies": ["c", "fork"]});
    let mut player = Player::of(json!([
        node("c", "condition", &[], json!({"condition": "false", "if_true": "bar"})),
        fork(json!({})),
        barrier(skip),
    ]));
    assert_eq!((player.state("bar").as_str(), player.status()), ("skipped", "running"));
    player.complete("fork.a/a1", json!(1)).complete("fork.b/b1", json!(1));
    assert_eq!(player.status(), "running");
    player.complete("fork.a/a2", json!(1));
    assert_eq!(player.status(), "completed");
}

#[test]
fn a_forks_own_timeout_ends_its_branches_and_fails_the_barrier() {
    let nodes = |gate: &str| {
        json!([
            fork(json!({"timeout": 5})),
            task("gate", &[]),
            barrier(json!({"dependencies": ["fork", gate]}))
        ])
    };
    let mut player = Player::of(nodes("fork"));
    player.complete("gate", json!(1)).wait(5.0);
    assert_eq!((player.state("fork"), player.state("bar")), ("completed".into(), "failed".into()));
    assert_eq!(
        (player.status(), player.error()["name"].clone()),
        ("failed", json!("TimeoutError"))
    );
    // A barrier that is decided only later finds the branches closed.
    let mut player = Player::of(nodes("gate"));
    player.wait(5.0);
    assert_eq!((player.state("bar").as_str(), player.status()), ("pending", "running"));
    player.complete("gate", json!(1));
    assert_eq!(
        (player.status(), player.error()["name"].clone()),
        ("failed", json!("TimeoutError"))
    );
}

#[test]
fn a_barriers_timeout_counts_from_its_start() {
    let mut player = Player::of(json!([
        fork(json!({})),
        task("gate", &[]),
        barrier(json!({"dependencies": ["fork", "gate"]}))
    ]));
    player.wait(100.0).complete("gate", json!(1)).wait(59.0);
    assert_eq!(player.state("bar"), "running");
    player.wait(1.0);
    assert_eq!(player.state("fork.a/a1"), "cancelled");
    assert_eq!(player.state("fork.a/a2"), "upstream_failed");
    assert_eq!((player.status(), player.error()["task_id"].clone()), ("failed", json!("bar")));
}

#[test]
fn what_depends_on_a_closed_branch_is_explained_by_who_closed_it() {
    let mut player = Player::of(json!([
        fork(json!({})),
        barrier(json!({})),
        with(node("tolerant", "join", &["bar"], json!({"join_tasks": ["bar"]})), json!({})),
        task("z", &["a2"]),
    ]));
    player.wait(60.0);
    assert_eq!(player.state("z"), "upstream_failed");
    assert_eq!((player.status(), player.error()["task_id"].clone()), ("failed", json!("bar")));
}

#[test]
fn multi_choice_runs_what_matches() {
    let mc = |minimum: u32| {
        let list = [
            ("Hi", "{{x}} > 1", json!([task("h", &[])])),
            ("lo", "{{x}} <= 1", json!([task("l", &[])])),
            ("odd", "{{x}} == 3", json!([task("o", &[])])),
        ];
        let operator = node("mc", "multi_choice", &[], choices(&list));
        json!([
            with(operator, json!({"minimum_branches": minimum, "result_key": "r"})),
            task("end", &["mc"]),
            task("reach", &["l"])
        ])
    };
    let mut player = Player::started(&document(mc(2)), json!({"x": 3}));
    assert_eq!(player.spawned_paths(), ["mc.Hi/h", "mc.odd/o"]);
    assert_eq!(
        (player.state("mc.lo/l"), player.state("reach")),
        ("skipped".into(), "skipped".into())
    );
    player
        .complete("mc.Hi/h", json!("H"))
        .complete("mc.odd/o", json!("O"))
        .complete("end", json!(1));
    assert_eq!(player.status(), "completed");
    assert_eq!(
        player.result()["r"]["lo"],
        json!({"status": "skipped", "result": null, "results": {}})
    );
    assert_eq!(player.result()["r"]["Hi"]["result"], "H");
    let mut player = Player::started(&document(mc(2)), json!({"x": 2}));
    assert_eq!(player.spawned_paths(), Vec::<String>::new());
    assert_eq!(
        (player.status(), player.error()["name"].clone()),
        ("failed", json!("InsufficientBranches"))
    );
    assert_eq!(
        (player.state("mc.Hi/h"), player.state("reach")),
        ("upstream_failed".into(), "upstream_failed".into())
    );
    let player = Player::started(&document(mc(0)), json!({"x": "a"}));
    assert_eq!(player.error()["name"], "ExpressionError");
    let none = [("p", "false", json!([task("p1", &[])]))];
    let operator = node("mc", "multi_choice", &[], choices(&none));
    let player = Player::of(json!([with(operator, json!({"minimum_branches": 0}))]));
    assert_eq!((player.status(), player.state("mc.p/p1")), ("completed", "skipped".into()));
}

fn each(extra: Value, body: Value) -> Value {
    let fields = json!({"items": "{{rows}}", "loop_body": body, "dynamic": true});
    with(node("each", "foreach", &[], fields), extra)
}

#[test]
fn items_come_in_many_forms() {
    let items = |rows: Value| {
        let body = json!([with(task("s", &["each"]), json!({"args": ["{{item}}"]}))]);
        let document = document(json!([each(json!({"parallel": true}), body)]));
        let mut player = Player::started(&document, json!({"rows": rows}));
        player.spawned().values().map(|params| params["args"][0].clone()).collect::<Vec<_>>()
    };
    assert_eq!(
        items(json!({"b": 1, "a": 2})),
        [json!({"key": "a", "value": 2}), json!({"key": "b", "value": 1})]
    );
    assert_eq!(items(json!("[1, null]")), [json!(1), json!(null)]);
    assert_eq!(items(json!(null)), Vec::<Value>::new());
    let player = Player::started(
        &document(json!([each(json!({}), json!([task("s", &["each"])]))])),
        json!({"rows": 5}),
    );
    assert_eq!(player.error()["name"], "ExpressionError");
}

#[test]
fn dynamic_loops_take_items_while_they_run() {
    use crate::workflow::stimulus::Stimulus;
    for parallel in [false, true] {
        let body = json!([with(
            task("s", &["each"]),
            json!({"args": ["{{item}}", "{{loop.length}}", "{{loop.last}}"], "result_key": "k"})
        )]);
        let nodes = json!([each(json!({"parallel": parallel}), body), task("end", &["each"])]);
        let mut player = Player::started(&document(nodes), json!({"rows": ["p"]}));
        assert_eq!(player.spawned()["each[0]/s"]["args"], json!(["p", 1, true]));
        let step = player.key("each");
        let items = vec![json!("q")];
        player.memory.stimulate(Stimulus::ItemsAdded { step, items: items.clone() });
        let early = player.spawned();
        player.complete("each[0]/s", json!(1));
        let spawned = if parallel { early } else { player.spawned() };
        assert_eq!(spawned["each[1]/s"]["args"], json!(["q", 2, true]));
        player.complete("each[1]/s", json!(2));
        assert_eq!(player.step_result("each"), json!([1, 2]));
        player.memory.stimulate(Stimulus::ItemsAdded { step, items });
        player.complete("end", json!(null));
        assert_eq!((player.status(), player.result()), ("completed", json!({"k": 2})));
    }
}

#[test]
fn iterations_of_a_parallel_loop_all_end_before_it_fails() {
    let body = json!([with(task("s", &["each"]), json!({"result_key": "k"}))]);
    let last = json!({"trigger_rule": "all_done", "args": ["{{k}}"]});
    let nodes = json!([each(json!({"parallel": true}), body), with(task("end", &["each"]), last)]);
    let mut player = Player::started(&document(nodes), json!({"rows": [1, 2, 3]}));
    player.fail("each[2]/s", "Error", "two").fail("each[1]/s", "Error", "one");
    assert_eq!(player.state("each"), "running");
    player.spawned();
    player.complete("each[0]/s", json!("zero"));
    assert_eq!(player.step_error("each")["index"], 1);
    assert_eq!(player.step_error("each")["cause"]["message"], "one");
    assert_eq!(player.spawned()["end"]["args"], json!(["zero"]));
}

#[test]
fn a_while_loops_until_its_condition_fails_or_its_limit() {
    let again = |condition: &str, body: Value| {
        json!([
            node(
                "w",
                "while",
                &[],
                json!({"condition": condition, "loop_body": body, "result_key": "n"})
            ),
            task("end", &["w"])
        ])
    };
    let note = json!([node(
        "e",
        "emit_event",
        &["w"],
        json!({"event_name": "e{{loop.index}}", "payload": {"i": "{{loop.iteration}}"}, "result_key": "last"})
    )]);
    let mut player = Player::of(again("loop.index < 3", note.clone()));
    assert_eq!(player.memory.events.keys().collect::<Vec<_>>(), ["e0", "e1", "e2"]);
    player.complete("end", json!(null));
    assert_eq!(player.result()["n"], json!({"iterations": 3}));
    assert_eq!(player.result()["last"]["payload"], json!({"i": 3}));
    let player = Player::of(again("true", note));
    assert_eq!(player.error()["name"], "LoopLimitExceeded");
    assert_eq!(player.memory.events.len(), 10_000);
    let player = Player::of(again("true", json!([])));
    assert_eq!(player.error()["name"], "LoopLimitExceeded");
    let mut player = Player::of(again("true", json!([task("s", &["w"])])));
    player.complete("w[0]/s", json!(1)).fail("w[1]/s", "Error", "x");
    let error = player.error();
    assert_eq!((&error["name"], &error["index"]), (&json!("IterationFailed"), &json!(1)));
}

#[test]
fn loops_nest_and_keep_their_own_names() {
    let inner = json!({"items": "{{item}}", "parallel": true, "loop_body": [
        with(task("s", &["in"]), json!({"args": ["{{item}}", "{{loop.index}}", "{{got}}"], "result_key": "got"}))]});
    let body = json!([
        node("in", "foreach", &["each"], inner),
        with(
            task("sum", &["in"]),
            json!({"args": ["{{in}}", "{{in_results}}", "{{loop.index}}", "{{got}}"]})
        )
    ]);
    let nodes = json!([each(json!({}), body)]);
    let mut player = Player::started(&document(nodes), json!({"rows": [["p", "q"], ["r"]]}));
    let spawned = player.spawned();
    assert_eq!(spawned["each[0]/in[1]/s"]["args"], json!(["q", 1, null]));
    player.complete("each[0]/in[1]/s", json!(1)).complete("each[0]/in[0]/s", json!(0));
    // The last iteration's key stands, however the iterations ended.
    assert_eq!(player.spawned()["each[0]/sum"]["args"], json!([[0, 1], [0, 1], 0, 1]));
    player.complete("each[0]/sum", json!("s0"));
    assert_eq!(player.spawned()["each[1]/in[0]/s"]["args"], json!(["r", 0, 1]));
    player.complete("each[1]/in[0]/s", json!(2)).complete("each[1]/sum", json!("s1"));
    assert_eq!((player.status(), player.step_result("each")), ("completed", json!(["s0", "s1"])));
}

#[test]
fn a_loop_that_takes_too_long_is_cut() {
    for parallel in [true, false] {
        let many: Vec<u32> = (0..20).collect();
        let body = json!([task("s", &["each"]), task("t", &["s"])]);
        let nodes = json!([
            each(json!({"parallel": parallel, "timeout_policy": {"timeout": "PT5S"}}), body),
            task("other", &[])
        ]);
        let mut player = Player::started(&document(nodes), json!({"rows": many}));
        player.complete("each[0]/s", json!(1)).wait(5.0);
        assert_eq!(player.state("each"), "failed");
        assert_eq!(player.state("each[0]/t"), "cancelled");
        assert_eq!(player.states().contains_key("each[5]/s"), parallel);
        assert_eq!((player.state("other").as_str(), player.status()), ("running", "running"));
    }
}

#[test]
fn empty_containers_complete_at_once() {
    let empty = node("p", "parallel", &[], json!({"branches": {}}));
    let hollow = node("q", "parallel", &["p"], branches(&[("x", json!([]))]));
    let body = with(each(json!({"items": "range(3)"}), json!([])), json!({"dependencies": ["q"]}));
    let player = Player::of(json!([empty, hollow, body]));
    assert_eq!(player.status(), "completed");
    assert_eq!(
        player.step_result("q"),
        json!({"x": {"status": "completed", "result": null, "results": {}}})
    );
}
