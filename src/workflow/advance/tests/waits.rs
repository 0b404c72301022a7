//! Timers, events, children, guards, terminate, cancel, deadline.

use serde_json::{Value, json};

use crate::workflow::records::RunStatus;
use crate::workflow::stimulus::Stimulus;

use super::player::{Player, branches, document, node, task, with};

fn wait(id: &str, dependencies: &[&str], text: &str) -> Value {
    node(id, "wait", dependencies, json!({"wait_for": text}))
}

#[test]
fn waits_end_in_their_own_ways() {
    // The clock stands at 2025-11-01 12:00.
    for (text, seconds) in [
        ("PT1.5S", 1.5),
        ("7", 7.0),
        ("duration:2m", 120.0),
        ("2025-11-01T12:00:10Z", 10.0),
        ("datetime:2025-11-01T13:00:00+01:00", 0.0),
        ("2024-01-01", 0.0),
        ("time:12:00:30", 30.0),
        ("time:11:59:30", 86_370.0),
        ("-PT5S", 0.0),
        ("{{n}}", 4.0),
    ] {
        let mut player = Player::started(&document(json!([wait("w", &[], text)])), json!({"n": 4}));
        if seconds > 0.0 {
            assert_eq!(player.status(), "running", "{text}");
            player.wait(seconds - 0.001);
            assert_eq!(player.status(), "running", "{text}");
            player.wait(0.001);
        }
        assert_eq!(player.status(), "completed", "{text}");
        assert!(player.step_result("w").as_str().unwrap().starts_with("2025-11-0"), "{text}");
    }
    let mut player = Player::of(json!([wait("w", &[], "go_on")]));
    player.wait(1e6).emit("go_on", json!(1));
    assert_eq!(player.status(), "completed");
    let limited = with(wait("w", &[], "PT1H"), json!({"timeout_policy": {"timeout": "PT1M"}}));
    let mut player = Player::of(json!([limited]));
    player.wait(60.0);
    assert_eq!(
        (player.status(), player.error()["name"].clone()),
        ("failed", json!("TimeoutError"))
    );
    let player = Player::started(&document(json!([wait("w", &[], "{{n}}")])), json!({"n": "?!"}));
    assert_eq!(player.error()["name"], "TemplateError");
}

fn hear(id: &str, dependencies: &[&str], name: &str, timeout: Value) -> Value {
    node(
        id,
        "wait_for_event",
        dependencies,
        json!({"event_name": name, "timeout_seconds": timeout}),
    )
}

fn tell(id: &str, dependencies: &[&str], name: &str, payload: Value) -> Value {
    node(id, "emit_event", dependencies, json!({"event_name": name, "payload": payload}))
}

#[test]
fn events_release_waiters_in_either_order() {
    let after = with(task("t", &["hear"]), json!({"args": ["{{hear.payload}}", "{{hear.n}}"]}));
    for nodes in [
        json!([
            tell("tell", &[], "e", json!({"n": "{{x}}"})),
            hear("hear", &["tell"], "e", json!(0)),
            after
        ]),
        json!([
            hear("hear", &[], "e", json!(9)),
            tell("tell", &["hear0"], "e", json!({"n": "{{x}}"})),
            wait("hear0", &[], "PT1S"),
            after
        ]),
        json!([
            hear("hear", &[], "e", json!(null)),
            tell("tell", &[], "e", json!({"n": "{{x}}"})),
            after
        ]),
        json!([
            tell("a_tell", &[], "e", json!({"n": "{{x}}"})),
            hear("hear", &[], "e", json!(null)),
            after
        ]),
    ] {
        let mut player = Player::started(&document(nodes), json!({"x": 5}));
        player.wait(2.0);
        assert_eq!(player.spawned()["t"]["args"], json!([{"n": 5}, 5]));
        player.wait(60.0).complete("t", json!(1));
        assert_eq!(player.status(), "completed");
        assert!(player.memory.stored.timers.is_empty());
    }
}

#[test]
fn the_first_emission_stands() {
    let mut player = Player::of(json!([
        tell("a", &[], "e", json!({"n": 1})),
        tell("b", &["a"], "e", json!({"n": 2})),
        hear("hear", &["b"], "e", json!(null)),
    ]));
    assert_eq!(player.step_result("hear"), json!({"n": 1}));
    player = Player::of(json!([hear("hear", &[], "{{x | default('')}}", json!(null))]));
    assert_eq!(player.error()["name"], "TemplateError");
}

#[test]
fn an_event_that_does_not_come_fails_the_step() {
    let nodes = json!([
        with(hear("hear", &[], "e", json!(30)), json!({"on_failure_task_id": "h"})),
        task("h", &[])
    ]);
    let mut player = Player::of(nodes);
    player.wait(30.0);
    assert_eq!(player.spawned_paths(), ["h"]);
    assert_eq!(player.step_error("hear")["name"], "TimeoutError");
    player.emit("e", json!(1)).complete("h", json!(1));
    assert_eq!(player.status(), "failed");
    let player = Player::of(json!([hear("hear", &[], "e", json!(0))]));
    assert_eq!(player.error()["name"], "TimeoutError");
}

#[test]
fn activities_tell_of_their_end_when_the_document_asks() {
    let mut player = Player::of(json!([
        node("big", "activity", &[], json!({"function": "f", "result_key": "r"})),
        hear("hear", &["big"], "{{r.completion_event}}", json!(null)),
    ]));
    player.complete("big", json!({"n": 1}));
    let name = format!("activity:{}:big:completed", player.memory.stored.run.id);
    assert_eq!(player.seen().emitted[0].0, name);
    assert_eq!((player.status(), player.step_result("hear")), ("completed", json!({"n": 1})));
}

fn kids(children: Value, extra: Value) -> Value {
    with(node("kids", "child_workflow", &[], json!({"children": children})), extra)
}

#[test]
fn children_are_started_and_awaited() {
    let two =
        json!({"a": {"workflow_name": "w", "inputs": {"u": "{{x}}"}}, "b": {"workflow_name": "w"}});
    let nodes = json!([
        kids(two, json!({"result_key": "k", "timeout_seconds": 50})),
        with(task("t", &["kids"]), json!({"args": ["{{k.a.result.y}}"]}))
    ]);
    let start = || {
        let mut player = Player::new(&document(nodes.clone()), json!({"x": 7}));
        player.memory.registered.insert("w".to_owned());
        player.memory.stimulate(Stimulus::Start);
        player
    };
    let mut player = start();
    let children = player.seen().children;
    assert_eq!(children.len(), 2);
    assert_eq!(children[0].4.value().unwrap(), &json!({"u": 7}));
    player.child("kids", "b", "completed", json!(null));
    assert_eq!(player.state("kids"), "running");
    player.child("kids", "a", "completed", json!({"y": 3}));
    assert_eq!(player.spawned()["t"]["args"], json!([3]));
    let mut player = start();
    player.child("kids", "a", "cancelled", json!(null)).child("kids", "b", "completed", json!(1));
    let error = player.error();
    assert_eq!(error["name"], "ChildWorkflowFailed");
    assert_eq!(error["children"]["a"], json!({"status": "cancelled", "result": null}));
    assert_eq!(error["children"]["b"], json!({"status": "completed", "result": 1}));
    let mut player = start();
    player.child("kids", "a", "completed", json!(null)).wait(50.0);
    assert_eq!(
        (player.status(), player.error()["name"].clone()),
        ("failed", json!("TimeoutError"))
    );
    assert!(player.memory.stored.children.values().all(|child| child.status.is_final()));
}

#[test]
fn unknown_and_too_deep_children_fail_the_step() {
    let one = json!({"a": {"workflow_name": "w", "version": "9"}});
    let nodes = document(json!([kids(one, json!({}))]));
    let mut player = Player::started(&nodes, json!({}));
    assert_eq!(player.error()["name"], "ChildWorkflowFailed");
    assert!(player.seen().children.is_empty());
    let mut player = Player::new(&nodes, json!({}));
    player.memory.registered.insert("w 9".to_owned());
    player.memory.stored.run.depth = crate::workflow::records::limits::DEPTH;
    player.memory.stimulate(Stimulus::Start);
    assert_eq!(player.error()["name"], "ChildWorkflowFailed");
    let player = Player::of(json!([kids(json!({}), json!({}))]));
    assert_eq!((player.status(), player.step_result("kids")), ("completed", json!({})));
}

#[test]
fn guards_hold_before_and_after() {
    let before = json!({"preconditions": [{"variable": "{{x}}", "check": "in_range", "value": [1, 5], "message": "range"}]});
    let run = |x: Value| {
        Player::started(&document(json!([with(task("t", &[]), before.clone())])), json!({"x": x}))
    };
    assert_eq!(run(json!(5)).status(), "running");
    let player = run(json!(6));
    assert_eq!(
        (player.error()["name"].clone(), player.error()["message"].clone()),
        (json!("PreconditionFailed"), json!("range"))
    );
    for name in ["result", "t", "t__result", "k"] {
        let after = json!({"result_key": "k", "on_failure_task_id": "h", "retry_policy": {"max_retries": 3},
            "postconditions": [{"variable": format!("{{{{{name}.n}}}}"), "check": "equals", "value": 1}]});
        let nodes = json!([
            with(task("t", &[]), after),
            with(task("h", &[]), json!({"args": ["{{k}}", "{{error.name}}"]}))
        ]);
        let mut player = Player::of(nodes.clone());
        player.complete("t", json!({"n": 1}));
        assert_eq!((player.status(), player.result()), ("completed", json!({"k": {"n": 1}})));
        let mut player = Player::of(nodes);
        player.spawned();
        player.complete("t", json!({"n": 2}));
        assert_eq!(player.spawned()["h"]["args"], json!([null, "PostconditionFailed"]));
        player.complete("h", json!(1));
        assert_eq!((player.status(), player.result()), ("failed", json!(null)));
    }
}

fn stop(dependencies: &[&str], status: &str) -> Value {
    let fields = json!({"status": status, "result": {"sku": "{{sku}}"}, "reason": "no {{sku}}"});
    node("stop", "terminate", dependencies, fields)
}

#[test]
fn terminate_ends_the_run_from_anywhere() {
    for status in ["completed", "failed", "cancelled"] {
        let body = json!([task("s", &["each"]), stop(&["s"], status)]);
        let each = node(
            "each",
            "foreach",
            &[],
            json!({"items": "[1, 2]", "loop_body": body, "on_failure_task_id": "h"}),
        );
        let inner = branches(&[
            ("x", json!([each, task("h", &[]), task("more", &["each"])])),
            ("y", json!([wait("w", &[], "PT1H")])),
        ]);
        let nodes = json!([
            node("fork", "parallel", &[], inner),
            task("other", &[]),
            task("later", &["fork"])
        ]);
        let mut player = Player::started(&document(nodes), json!({"sku": "A1"}));
        player.complete("fork.x/each[0]/s", json!(1));
        assert_eq!((player.status(), player.result()), (status, json!({"sku": "A1"})));
        if status == "failed" {
            assert_eq!(
                player.error(),
                json!({"name": "Terminated", "message": "no A1", "task_id": "stop"})
            );
        } else {
            assert_eq!(player.error(), json!(null));
        }
        for (path, state) in [
            ("fork", "cancelled"),
            ("fork.x/each", "cancelled"),
            ("fork.x/h", "skipped"),
            ("fork.x/more", "skipped"),
            ("fork.y/w", "cancelled"),
            ("other", "cancelled"),
            ("later", "skipped"),
            ("fork.x/each[0]/stop", "completed"),
        ] {
            assert_eq!(player.state(path), state, "{path}");
        }
        let mut cancelled = player.seen().cancelled;
        assert_eq!(cancelled.len(), 1);
        assert_eq!(player.path(cancelled.remove(0)), "other");
        assert!(!player.states().contains_key("fork.x/each[1]/s"));
    }
}

#[test]
fn terminate_takes_back_what_the_same_transition_had_spawned() {
    let nodes = json!([task("a", &[]), stop(&[], "completed"), wait("z", &[], "PT1H")]);
    let mut player = Player::started(&document(nodes), json!({"sku": 1}));
    assert_eq!(player.status(), "completed");
    assert_eq!(player.spawned_paths(), Vec::<String>::new());
    assert_eq!((player.state("a"), player.state("z")), ("cancelled".into(), "skipped".into()));
}

#[test]
fn a_cancel_ends_everything_without_handlers() {
    let nodes = json!([
        with(task("a", &[]), json!({"on_failure_task_id": "h"})),
        task("h", &[]),
        task("b", &["a"]),
        wait("w", &[], "PT1H")
    ]);
    let mut player = Player::of(nodes.clone());
    player.memory.stimulate(Stimulus::Cancel { reason: "enough".to_owned() });
    assert_eq!(
        (player.status(), player.error()["message"].clone()),
        ("cancelled", json!("enough"))
    );
    assert_eq!(
        (player.state("a"), player.state("h"), player.state("b")),
        ("cancelled".into(), "skipped".into(), "skipped".into())
    );
    // Whatever comes later changes nothing.
    let states = player.states();
    let step = player.key("a");
    let result = crate::workflow::json::Json::null();
    player.memory.stimulate(Stimulus::TaskCompleted { step, result, attempts: 1 });
    player.memory.stimulate(Stimulus::Cancel { reason: "again".to_owned() });
    assert_eq!((player.states(), player.memory.finishes), (states, 1));
    let mut player = Player::new(&document(nodes), json!({}));
    player.memory.stimulate(Stimulus::Cancel { reason: "early".to_owned() });
    assert_eq!(
        (player.memory.status(), player.state("a")),
        (RunStatus::Cancelled, "skipped".into())
    );
}

#[test]
fn a_deadline_fails_or_cancels() {
    for (action, status) in [("fail", "failed"), ("cancel", "cancelled")] {
        let mut document = document(json!([task("a", &[]), task("b", &["a"])]));
        document["deadline_seconds"] = json!(10);
        document["deadline_action"] = json!(action);
        let mut player = Player::started(&document, json!({}));
        player.wait(4.0).complete("a", json!(1)).wait(6.0);
        assert_eq!(player.status(), status);
        let name = if action == "fail" { json!("DeadlineExceeded") } else { json!(null) };
        assert_eq!(player.error()["name"], name);
        assert_eq!(player.state("b"), "cancelled");
        let mut player = Player::started(&document, json!({}));
        player.work_all().wait(11.0);
        assert_eq!(player.status(), "completed");
    }
}
