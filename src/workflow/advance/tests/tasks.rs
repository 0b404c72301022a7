//! Queue tasks: retries, timeouts of attempts, breakers, idempotency keys, what a task is told; and
//! what names mean.

use serde_json::{Value, json};

use crate::workflow::json::Json;
use crate::workflow::stimulus::Stimulus;

use super::super::memory::Memory;
use super::player::{Player, branches, document, node, program, task, with};

#[test]
fn a_task_gets_all_that_the_queue_needs() {
    let policy = json!({
        "retry_policy": {"max_retries": 2, "delay": "PT10S", "backoff_factor": 3.0},
        "timeout_policy": {"timeout": "PT1M", "kill_on_timeout": false},
        "metadata": {"team": "x", "workflow_name": "not this"},
        "idempotency_key": "pay_{{o}}",
        "args": ["{{o}}"],
    });
    let inner = branches(&[("b", json!([with(task("t", &[]), policy)]))]);
    let nodes = json!([node("fork", "parallel", &[], inner)]);
    let mut player = Player::started(&document(nodes), json!({"o": 4}));
    let spawn = player.seen().spawned.remove(0);
    assert_eq!((spawn.function.as_str(), spawn.path.as_str()), ("f.t", "fork.b/t"));
    assert_eq!((spawn.max_attempts, spawn.attempt_timeout), (3, Some(60.0)));
    assert!(spawn.leave_late_worker && !spawn.breaker);
    assert_eq!(spawn.idempotency_key.as_deref(), Some("pay_4"));
    assert_eq!(spawn.params.value().unwrap(), &json!({"args": [4], "kwargs": {}}));
    let run = player.memory.stored.run.id.to_string();
    assert_eq!(
        spawn.headers.value().unwrap(),
        &json!({"team": "x", "workflow_run_id": run, "workflow_step": "fork.b/t", "workflow_name": "doc",
                "workflow_version": "2.0.0", "workflow_step_name": "doc__2.0.0__t"})
    );
    let plain = Player::of(json!([task("t", &[])])).seen().spawned.remove(0);
    assert_eq!((plain.max_attempts, plain.retry_strategy, plain.idempotency_key), (1, None, None));
}

#[test]
fn a_reflexive_step_is_one_task() {
    let fields = json!({"generator": "{{g}}", "verifier": "v", "generator_kwargs": {"p": "{{p}}"}, "max_turns": 4, "correction_prompt_template": "{{p}}"});
    let nodes = document(json!([node("r", "reflexive", &[], fields)]));
    let mut player = Player::started(&nodes, json!({"g": "gen", "p": 1}));
    let spawn = player.seen().spawned.remove(0);
    assert_eq!(spawn.function, "tools.agent.reflexive_loop");
    assert_eq!(
        spawn.params.value().unwrap(),
        &json!({"args": [], "kwargs": {"generator": "gen", "verifier": "v", "generator_kwargs": {"p": 1},
                "verifier_kwargs": {}, "max_turns": 4, "correction_prompt_template": "{{p}}"}})
    );
}

#[test]
fn attempts_that_time_out_are_retried_and_the_last_fails_the_step() {
    let policy = json!({"retry_policy": {"max_retries": 1, "delay": "PT5S"}, "timeout_policy": {"timeout": "PT1M"}});
    let mut player = Player::of(json!([with(task("t", &[]), policy)]));
    player.fail("t", "TimeoutError", "60s").wait(5.0).fail("t", "TimeoutError", "60s");
    assert_eq!(
        player.error(),
        json!({"name": "TimeoutError", "message": "60s", "task_id": "t", "attempts": 2})
    );
    // A worker's reason need not have the form of an error.
    for (reason, name, message) in [
        (json!("oops"), "Error", "oops"),
        (json!({"code": 5}), "Error", "{\"code\":5}"),
        (json!({"name": "X", "message": {"a": 1}}), "X", "{\"a\":1}"),
        (json!(null), "Error", ""),
    ] {
        let mut player = Player::of(json!([task("t", &[])]));
        player.memory.fail_task(0, &Json::from_value(reason));
        assert_eq!(
            player.error(),
            json!({"name": name, "message": message, "task_id": "t", "attempts": 1})
        );
    }
    let mut player = Player::of(json!([task("t", &[])]));
    let step = player.key("t");
    player.memory.stimulate(Stimulus::TaskCancelled { step });
    assert_eq!((player.status(), player.error()["name"].clone()), ("failed", json!("Error")));
}

#[test]
fn one_task_serves_all_steps_with_its_key() {
    let key = json!({"idempotency_key": "pay"});
    let mut player = Player::of(json!([
        with(task("a", &[]), key.clone()),
        with(task("b", &[]), key.clone()),
        with(task("c", &["a"]), key.clone())
    ]));
    assert_eq!(player.spawned_paths(), ["a"]);
    assert_eq!(player.memory.stored.steps[&player.key("b")].task, Some(player.memory.tasks[0].id));
    player.complete("a", json!(9));
    // The last finds its outcome there already.
    assert_eq!(
        (player.status(), player.step_result("b"), player.step_result("c")),
        ("completed", json!(9), json!(9))
    );
    let mut player = Player::of(json!([
        with(task("a", &[]), key.clone()),
        with(with(task("c", &["a"]), key), json!({"trigger_rule": "all_done"}))
    ]));
    player.fail("a", "Boom", "x");
    assert_eq!(
        (player.state("c").as_str(), player.error()["name"].clone()),
        ("failed", json!("Boom"))
    );
}

/// A run of `t` under a breaker, beside what earlier runs left.
fn guarded(before: Option<Memory>, extra: Value) -> Player {
    let policy = json!({"circuit_breaker_policy": {"failure_threshold": 2, "success_threshold": 2, "isolation_duration": "PT30S", "ignore_exceptions": ["Minor"]}});
    let nodes = document(json!([with(with(task("t", &[]), policy), extra)]));
    let mut player = Player { memory: Memory::new(program(&nodes), Json::from_value(json!({}))) };
    if let Some(before) = before {
        player.memory.breakers = before.breakers;
        player.memory.now = before.now;
        // Another run's identity.
        player.memory.stored.run.id = uuid::Uuid::from_u128(before.stored.run.id.as_u128() + 1);
    }
    player.memory.stimulate(Stimulus::Start);
    player
}

#[test]
fn a_breaker_opens_probes_and_closes() {
    let one = |before: Option<Memory>, error: &str| {
        let mut player = guarded(before, json!({}));
        assert_eq!(player.spawned_paths(), ["t"], "{error}");
        match error {
            "" => player.complete("t", json!(1)),
            name => player.fail("t", name, "x"),
        };
        Some(player.memory)
    };
    let open = |before: Option<Memory>| {
        let player = guarded(before, json!({}));
        assert_eq!(player.error()["name"], "CircuitOpen");
        Some(player.memory)
    };
    let later = |mut before: Option<Memory>, seconds: f64| {
        let memory = before.as_mut().unwrap();
        memory.now = memory.now.plus_seconds(seconds);
        before
    };
    // A success and an ignored error keep two failures from being consecutive, or from counting.
    let memory = one(one(one(one(None, "Boom"), ""), "Boom"), "Minor");
    let memory = open(one(memory, "Boom"));
    let memory = open(later(memory, 29.0));
    // Half-open: a counted failure opens it again.
    let memory = open(one(later(memory, 1.0), "Boom"));
    // One probe at a time; a cancelled one makes room for another.
    let mut probe = guarded(later(memory, 30.0), json!({}));
    assert_eq!(probe.spawned_paths(), ["t"]);
    let id = probe.memory.stored.run.id;
    let mut beside = guarded(Some(probe.memory), json!({}));
    assert_eq!(beside.error()["name"], "CircuitOpen");
    let mut breakers = std::mem::take(&mut beside.memory.breakers);
    assert_eq!(breakers["t"].prober.map(|prober| prober.run), Some(id));
    // The probing run ends.
    let mut probe = guarded(None, json!({}));
    probe.memory.stored.run.id = id;
    std::mem::swap(&mut probe.memory.breakers, &mut breakers);
    probe.memory.now = beside.memory.now;
    probe.memory.stimulate(Stimulus::Cancel { reason: "x".to_owned() });
    assert!(!probe.memory.breakers["t"].probing);
    // Two successes in a row close it.
    let memory = one(Some(probe.memory), "");
    assert!(memory.as_ref().unwrap().breakers["t"].open_until.is_some());
    let memory = one(memory, "").unwrap();
    assert_eq!(memory.breakers["t"], Default::default());
}

#[test]
fn every_failed_attempt_counts_for_the_breaker() {
    let mut player = guarded(None, json!({"retry_policy": {"max_retries": 3, "delay": 1}}));
    player.fail("t", "Boom", "x").wait(1.0).fail("t", "Boom", "x");
    assert!(player.memory.breakers["t"].open_until.is_some());
    // The step's own retries go on; their outcome says nothing while the breaker is open.
    player.wait(2.0).complete("t", json!(1));
    assert_eq!(player.status(), "completed");
    assert!(player.memory.breakers["t"].open_until.is_some());
}

#[test]
fn names_are_looked_up_in_their_order() {
    let mut document = document(json!([
        with(task("a", &[]), json!({"result_key": "k"})),
        node(
            "fork",
            "parallel",
            &["a"],
            branches(&[(
                "x",
                json!([with(
                    task("x1", &[]),
                    json!({"result_key": "kx", "args": ["{{v}}", "{{w}}", "{{k}}", "{{a.output.n}}", "{{variables.v}}"]})
                )])
            ),])
        ),
        with(
            task("b", &["fork"]),
            json!({"args": ["{{v}}", "{{kx}}", "{{x1}}", "{{x1__result}}", "{{a.status}}", "{{late.status}}", "{{late}}",
            "{{results}}", "{{workflow.name}}", "{{run.status}}", "{{inputs.v}}", "{{variables.v}}", "{{nope | default(3)}}", "{{k.status}}", "{{late_key.status}}", "{{data_interval_end}}"]})
        ),
        with(task("late", &["b"]), json!({"result_key": "late_key", "args": ["{{nope}}"]})),
    ]));
    document["variables"] = json!({"v": "var", "w": "outer", "k": "hidden"});
    document["tasks"]["fork"]["branch_workflows"]["x"]["variables"] =
        json!({"w": "branch", "v": "shadow"});
    let mut player = Player::started(&document, json!({"v": "input"}));
    player.spawned();
    player.complete("a", json!({"n": 1, "status": "real"}));
    assert_eq!(
        player.spawned()["fork.x/x1"]["args"],
        json!(["input", "branch", {"n": 1, "status": "real"}, 1, "shadow"])
    );
    player.complete("fork.x/x1", json!("X"));
    assert_eq!(
        player.spawned()["b"]["args"],
        json!(["input", "X", "X", "X", "real", "pending", null, {"k": {"n": 1, "status": "real"}, "kx": "X"}, "doc", "running",
               "input", "var", 3, "real", "pending", null])
    );
    player.complete("b", json!(1));
    assert_eq!(
        (player.error()["name"].clone(), player.error()["task_id"].clone()),
        (json!("TemplateError"), json!("late"))
    );
}

#[test]
fn keys_of_iterations_stay_there_until_the_iteration_ends() {
    let body = json!([
        with(task("s", &["each"]), json!({"result_key": "k", "args": ["{{k}}"]})),
        with(task("t", &["s"]), json!({"args": ["{{k}}"]})),
    ]);
    let nodes = json!([
        with(task("a", &[]), json!({"result_key": "k"})),
        node("each", "foreach", &["a"], json!({"items": "range(2)", "loop_body": body})),
        with(task("watch", &["a"]), json!({})),
        with(task("see", &["watch"]), json!({"args": ["{{k}}"]})),
    ]);
    let mut player = Player::of(nodes);
    player.complete("a", json!("outer"));
    assert_eq!(player.spawned()["each[0]/s"]["args"], json!(["outer"]));
    player.complete("each[0]/s", json!("inner")).complete("watch", json!(1));
    let spawned = player.spawned();
    assert_eq!(
        (&spawned["each[0]/t"]["args"], &spawned["see"]["args"]),
        (&json!(["inner"]), &json!(["outer"]))
    );
    player.complete("each[0]/t", json!(1));
    assert_eq!(player.spawned()["each[1]/s"]["args"], json!(["inner"]));
}

#[test]
fn the_run_error_is_that_of_the_first_failure_which_explains_a_sink() {
    // The failure of `x` is absorbed; of `a` and `b` the latter came first.
    let mut player = Player::of(json!([
        task("x", &[]),
        with(task("y", &["x"]), json!({"trigger_rule": "all_done"})),
        task("a", &[]),
        task("b", &[]),
        task("c", &["a"]),
        task("d", &["c", "b"]),
    ]));
    for id in ["x", "b", "a"] {
        player.fail(id, "Error", id);
    }
    player.complete("y", json!(1));
    assert_eq!((player.status(), player.error()["task_id"].clone()), ("failed", json!("b")));
    let mut player = Player::of(json!([
        task("x", &[]),
        with(task("y", &["x"]), json!({"trigger_rule": "all_done"}))
    ]));
    player.fail("x", "Error", "x").complete("y", json!(1));
    assert_eq!((player.status(), player.error()), ("completed", json!(null)));
}
