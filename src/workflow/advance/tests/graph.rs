//! Trigger rules, joins, routers, handlers.

use serde_json::{Value, json};

use super::player::{Player, document, node, task, with};

/// Two predecessors that end as told ("completed", "failed", "skipped", "pending"), and `t` after
/// them.
fn two_then(ends: [&str; 2], last: Value) -> Player {
    let mut nodes = vec![last];
    for (id, end) in ["a", "b"].into_iter().zip(ends) {
        nodes.push(task(id, &[]));
        if end == "skipped" {
            let router = format!("{id}_if");
            nodes.push(node(
                &router,
                "condition",
                &[],
                json!({"condition": "1 > 2", "if_true": id}),
            ));
        }
    }
    let mut player = Player::of(Value::Array(nodes));
    for (id, end) in ["a", "b"].into_iter().zip(ends) {
        match end {
            "completed" => drop(player.complete(id, json!(id))),
            "failed" => drop(player.fail(id, "Error", id)),
            _ => {}
        }
    }
    player
}

#[test]
fn trigger_rules_count_completed_failed_and_skipped() {
    let (c, f, s, p) = ("completed", "failed", "skipped", "pending");
    let (run, wait, skip, up) = ("running", "pending", "skipped", "upstream_failed");
    let rows = [
        // all_success, none_failed, all_done, one_success, one_done
        ([c, c], [run, run, run, run, run]),
        ([c, s], [run, run, run, run, run]),
        ([c, f], [up, up, run, run, run]),
        ([c, p], [wait, wait, wait, run, run]),
        ([f, f], [up, up, run, up, run]),
        ([f, s], [up, up, run, up, run]),
        ([f, p], [up, up, wait, wait, run]),
        ([s, s], [skip, run, run, skip, skip]),
        ([s, p], [wait, wait, wait, wait, wait]),
    ];
    let rules = ["all_success", "none_failed", "all_done", "one_success", "one_done"];
    for (ends, states) in rows {
        for (rule, state) in rules.iter().zip(states) {
            let last = with(task("t", &["a", "b"]), json!({"trigger_rule": rule}));
            assert_eq!(two_then(ends, last).state("t"), state, "{rule} {ends:?}");
        }
    }
}

#[test]
fn joins_decide_by_their_mode() {
    let (c, f, s, p) = ("completed", "failed", "skipped", "pending");
    let (done, fail, wait, skip) = ("completed", "failed", "pending", "skipped");
    let rows = [
        // all_of, any_of, all_success, one_success
        ([c, c], [done, done, done, done]),
        ([c, f], [done, done, fail, done]),
        ([f, c], [done, fail, fail, done]),
        ([c, p], [wait, done, wait, done]),
        ([f, p], [wait, fail, fail, wait]),
        ([p, f], [wait, fail, fail, wait]),
        ([f, f], [done, fail, fail, fail]),
        ([s, f], [done, fail, fail, fail]),
        ([s, c], [done, done, done, done]),
        ([s, p], [wait, wait, wait, wait]),
        ([s, s], [skip, skip, skip, skip]),
    ];
    for (ends, states) in rows {
        for (mode, state) in ["all_of", "any_of", "all_success", "one_success"].iter().zip(states) {
            let fields = json!({"join_tasks": ["a", "b"], "join_mode": mode});
            let player = two_then(ends, node("t", "join", &["b"], fields));
            assert_eq!(player.state("t"), state, "{mode} {ends:?}");
        }
    }
}

#[test]
fn a_join_tells_of_its_inputs_as_they_were() {
    let fields = json!({"join_tasks": ["a", "b"], "join_mode": "one_success"});
    let mut player = two_then(["pending", "completed"], node("t", "join", &[], fields));
    assert_eq!(
        player.step_result("t"),
        json!({"a": {"status": "running", "result": null, "error": null},
               "b": {"status": "completed", "result": "b", "error": null}})
    );
    assert_eq!(player.status(), "running");
    // The run waits for the input that the join left alone, and its failure is absorbed.
    player.fail("a", "Error", "late");
    assert_eq!(player.status(), "completed");
    let fields = json!({"join_tasks": ["a", "b"], "join_mode": "all_success"});
    let player = two_then(["failed", "pending"], node("t", "join", &[], fields));
    assert_eq!(player.step_error("t")["name"], "JoinFailed");
}

#[test]
fn a_gated_any_of_goes_by_the_input_that_ended_first() {
    for (first, state) in [("a", "failed"), ("b", "completed")] {
        let join =
            node("t", "join", &["gate"], json!({"join_tasks": ["a", "b"], "join_mode": "any_of"}));
        let mut player =
            Player::of(json!([task("a", &[]), task("b", &[]), task("gate", &[]), join]));
        for id in [first, if first == "a" { "b" } else { "a" }] {
            match id {
                "a" => player.fail("a", "Error", "x"),
                _ => player.complete("b", json!(1)),
            };
        }
        assert_eq!(player.state("t"), "pending");
        player.complete("gate", json!(null));
        assert_eq!(player.state("t"), state, "{first} first");
    }
}

#[test]
fn joins_without_inputs_complete_and_gates_apply() {
    let empty = node("t", "join", &[], json!({"join_tasks": [], "join_mode": "one_success"}));
    let player = Player::of(json!([empty]));
    assert_eq!((player.status(), player.step_result("t")), ("completed", json!({})));
    let gated = node("t", "join", &["a"], json!({"join_tasks": ["b"], "join_mode": "all_of"}));
    assert_eq!(two_then(["failed", "completed"], gated).state("t"), "upstream_failed");
}

#[test]
fn a_switch_reads_its_value_in_three_ways() {
    let run = |on: &str, inputs: Value| {
        let fields = json!({"switch_on": on, "cases": {"eu-gold": "x", "7": "x", "true": "x"}, "default": "y"});
        let nodes = json!([node("s", "switch", &[], fields), task("x", &["s"]), task("y", &["s"])]);
        let mut player = Player::started(&document(nodes), inputs);
        (player.step_result("s"), player.spawned_paths().remove(0))
    };
    let (x, y) = ("x".to_owned(), "y".to_owned());
    assert_eq!(run("{{n}}", json!({"n": 7})), (json!("7"), x.clone()));
    assert_eq!(run("o.n", json!({"o": {"n": true}})), (json!("true"), x.clone()));
    assert_eq!(run("plain", json!({})), (json!("plain"), y.clone()));
    assert_eq!(run("{{r}}-{{t}}", json!({"r": "eu", "t": "gold"})), (json!("eu-gold"), x.clone()));
    assert_eq!(run("{{n}} + 3", json!({"n": 4})), (json!("7"), x));
    assert_eq!(run("{{n}}", json!({"n": null})), (json!("null"), y.clone()));
    assert_eq!(run("{{n}}", json!({"n": [1, "a"]})), (json!("[1,\"a\"]"), y));
}

#[test]
fn a_switch_without_a_match_skips_every_case() {
    let fields = json!({"switch_on": "{{n}}", "cases": {"a": "x"}});
    let nodes = json!([node("s", "switch", &[], fields), task("x", &["s"]), task("after", &["s"])]);
    let mut player = Player::started(&document(nodes), json!({"n": "z"}));
    assert_eq!(player.spawned_paths(), ["after"]);
    assert_eq!(player.state("x"), "skipped");
}

#[test]
fn a_node_of_two_routers_runs_when_one_selects_it() {
    let run = |first: &str, second: &str| {
        let if_x = |id: &str, condition: &str| {
            node(id, "condition", &[], json!({"condition": condition, "if_true": "x"}))
        };
        let nodes = json!([if_x("c1", first), if_x("c2", second), task("x", &["c1", "c2"])]);
        Player::of(nodes).state("x")
    };
    assert_eq!(run("true", "false"), "running");
    assert_eq!(run("true", "true"), "running");
    assert_eq!(run("false", "false"), "skipped");
    assert_eq!(run("true", "1 + 'x'"), "running");
    assert_eq!(run("false", "1 + 'x'"), "upstream_failed");
}

#[test]
fn a_selected_target_takes_a_skipped_dependency_for_satisfied() {
    let nodes = json!([
        node("no", "condition", &[], json!({"condition": "false", "if_true": "gone"})),
        task("gone", &["no"]),
        node("yes", "condition", &[], json!({"condition": "true", "if_true": "t"})),
        task("t", &["gone", "yes"]),
    ]);
    assert_eq!(Player::of(nodes).state("t"), "running");
}

#[test]
fn cases_defined_before_their_switch_run_only_when_selected() {
    let route = json!({"switch_on": "{{fetch}}", "cases": {"a": "ta", "b": "tb"}});
    let mut player = Player::of(json!([
        task("fetch", &[]),
        task("ta", &["fetch"]),
        task("tb", &["ta"]),
        node("route", "switch", &["tb"], route),
        task("after", &["route"]),
    ]));
    player.complete("fetch", json!("b"));
    assert_eq!(player.spawned_paths(), ["fetch", "tb"]);
    assert_eq!(player.state("after"), "pending");
    player.complete("tb", json!(null));
    assert_eq!(player.spawned_paths(), ["after"]);
    assert_eq!(player.state("ta"), "skipped");
}

#[test]
fn the_documents_of_handlers_run_as_described() {
    let risky = json!({"on_success_task_id": "yay", "on_failure_task_id": "oops"});
    let nodes = json!([
        with(task("risky", &[]), risky),
        task("next", &["risky"]),
        with(
            task("oops", &["next"]),
            json!({"args": ["{{failed_task_id}}", "{{error_message}}", "{{error.name}}"]})
        ),
        with(task("yay", &["oops"]), json!({"args": ["{{succeeded_task_id}}"]})),
        task("tail", &["yay"]),
    ]);
    let mut player = Player::of(nodes.clone());
    player.spawned();
    player.complete("risky", json!(1));
    let spawned = player.spawned();
    assert_eq!(spawned.keys().collect::<Vec<_>>(), ["next", "yay"]);
    assert_eq!(spawned["yay"]["args"], json!(["risky"]));
    assert_eq!(player.state("oops"), "skipped");
    player.complete("next", json!(1)).complete("yay", json!(1)).complete("tail", json!(1));
    assert_eq!(player.status(), "completed");
    let mut player = Player::of(nodes);
    player.spawned();
    player.fail("risky", "Boom", "why");
    let spawned = player.spawned();
    assert_eq!(spawned.keys().collect::<Vec<_>>(), ["oops"]);
    assert_eq!(spawned["oops"]["args"], json!(["risky", "why", "Boom"]));
    assert_eq!(player.state("tail"), "skipped");
    // The handler's success does not make the run one.
    player.complete("oops", json!(1));
    assert_eq!((player.status(), player.error()["message"].clone()), ("failed", json!("why")));
}

#[test]
fn a_handler_runs_once_for_the_first_that_triggers_it() {
    let on = json!({"on_failure_task_id": "h"});
    let mut player = Player::of(json!([
        with(task("a", &[]), on.clone()),
        with(task("b", &[]), on),
        with(task("h", &[]), json!({"args": ["{{failed_task_id}}"]})),
    ]));
    player.spawned();
    player.fail("b", "Error", "b");
    assert_eq!(player.spawned()["h"]["args"], json!(["b"]));
    player.complete("h", json!(null)).fail("a", "Error", "a");
    assert_eq!(player.spawned_paths(), Vec::<String>::new());
    assert_eq!((player.status(), player.error()["message"].clone()), ("failed", json!("b")));
}

#[test]
fn a_failed_handler_fails_the_run_and_self_references_mean_nothing() {
    let mut player = Player::of(json!([
        with(task("a", &[]), json!({"on_success_task_id": "h"})),
        task("h", &[]),
    ]));
    player.complete("a", json!(1)).fail("h", "Error", "h");
    assert_eq!((player.status(), player.error()["task_id"].clone()), ("failed", json!("h")));
    let alert = json!({"on_failure_task_id": "alert"});
    let mut player =
        Player::of(json!([task("risky", &[]), with(task("alert", &["risky"]), alert)]));
    assert_eq!(player.spawned_paths(), ["risky"]);
    player.complete("risky", json!(1));
    assert_eq!(player.spawned_paths(), ["alert"]);
}

#[test]
fn handlers_are_not_triggered_by_skipped_and_upstream_failed_nodes() {
    let on = json!({"on_failure_task_id": "h", "on_success_task_id": "h"});
    let mut player =
        Player::of(json!([task("a", &[]), with(task("b", &["a"]), on), task("h", &[])]));
    player.fail("a", "Error", "x");
    assert_eq!((player.state("h").as_str(), player.status()), ("skipped", "failed"));
}

#[test]
fn a_join_that_is_a_handler_waits_for_its_inputs() {
    let join = |mode| {
        let fields = json!({"join_mode": mode, "join_tasks": ["a", "b"]});
        json!([
            with(task("r", &[]), json!({"on_success_task_id": "j"})),
            task("a", &[]),
            task("b", &[]),
            node("j", "join", &[], fields),
        ])
    };
    for (mode, state) in [("all_success", "failed"), ("all_of", "completed")] {
        for order in [["r", "a", "b"], ["a", "r", "b"], ["b", "a", "r"]] {
            let mut player = Player::of(join(mode));
            for id in order {
                assert_eq!(player.state("j"), "pending", "{mode} {order:?} before {id}");
                match id {
                    "b" => player.fail("b", "Error", "x"),
                    id => player.complete(id, json!(1)),
                };
            }
            assert_eq!(player.state("j"), state, "{mode} {order:?}");
        }
    }
    // Untriggered it is skipped, whatever its inputs come to.
    let mut player = Player::of(join("all_of"));
    player.fail("r", "Error", "x");
    assert_eq!(player.state("j"), "skipped");
}
