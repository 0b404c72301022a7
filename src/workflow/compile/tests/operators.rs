//! What operators compile to.

use super::*;
use crate::workflow::document::canonical;
use crate::workflow::operator::{JoinMode, Operator, TerminateStatus};
use crate::workflow::program::{DeadlineAction, TriggerRule};

fn one(fields: Value) -> Node {
    compiled(Map::from_iter([with(task("x"), fields)])).nodes.remove(0)
}

#[test]
fn every_operator_is_known_by_its_name() {
    let cases = [
        json!({"operator_type": "task", "function": "f"}),
        json!({"operator_type": "activity", "function": "f"}),
        json!({"operator_type": "condition", "condition": "true"}),
        json!({"operator_type": "switch", "switch_on": "{{x}}"}),
        json!({"operator_type": "wait", "wait_for": "PT1H"}),
        json!({"operator_type": "parallel"}),
        json!({"operator_type": "multi_choice", "branches": {}}),
        json!({"operator_type": "foreach", "items": "{{x}}"}),
        json!({"operator_type": "while", "condition": "true"}),
        json!({"operator_type": "emit_event", "event_name": "e"}),
        json!({"operator_type": "wait_for_event", "event_name": "e"}),
        json!({"operator_type": "join", "join_tasks": []}),
        json!({"operator_type": "reflexive", "generator": "g", "verifier": "v"}),
        json!({"operator_type": "terminate"}),
        json!({"operator_type": "child_workflow"}),
    ];
    for fields in cases {
        let name = fields["operator_type"].clone();
        assert_eq!(one(fields).operator.name(), name);
    }
}

#[test]
fn defaults_of_common_fields() {
    let node = one(json!({}));
    assert_eq!(node.trigger, TriggerRule::AllSuccess);
    assert!(node.retry.is_none() && node.timeout.is_none() && node.breaker.is_none());
    assert!(node.idempotency_key.is_none() && node.result_key.is_none());
    assert!(node.preconditions.is_empty() && node.metadata.is_empty());
}

#[test]
fn policies() {
    let node = one(json!({
        "trigger_rule": "all_done",
        "retry_policy": {"max_retries": 2, "delay": "PT1M30S", "backoff_factor": 1.5},
        "timeout_policy": {"timeout": "P3D", "kill_on_timeout": false},
        "circuit_breaker_policy": {"isolation_duration": "PT1M", "ignore_exceptions": ["E"]},
        "preconditions": [{"variable": "{{a}}", "check": "exists"}],
    }));
    assert_eq!(node.trigger, TriggerRule::AllDone);
    let retry = node.retry.unwrap();
    assert_eq!((retry.attempts, retry.delay, retry.factor), (3, 90.0, 1.5));
    let timeout = node.timeout.unwrap();
    assert_eq!((timeout.seconds, timeout.kill), (259_200.0, false));
    let breaker = node.breaker.unwrap();
    assert_eq!(
        (breaker.failure_threshold, breaker.success_threshold, breaker.isolation),
        (5, 2, 60.0)
    );
    assert_eq!((breaker.catch, breaker.ignore), (None, Some(vec!["E".to_owned()])));
    assert_eq!(node.preconditions.len(), 1);
}

#[test]
fn the_nearest_default_retry_policy_counts_for_queue_tasks() {
    let mut inner = branch("x; y");
    inner["tasks"]["y"]["retry_policy"] = json!({"max_retries": 7});
    let mut other = branch("z");
    other["tasks"].as_object_mut().unwrap().extend([foreach("each", &tasks("s"))]);
    inner["default_retry_policy"] = json!({"max_retries": 1});
    let mut root = tasks("a; w");
    root["w"] = json!({"task_id": "w", "operator_type": "wait", "wait_for": 1, "retry_policy": {}});
    root.extend([parallel("p", json!({}), json!({"i": inner, "o": other}))]);
    let mut document = document(root.into());
    document["default_retry_policy"] = json!({"max_retries": 4});
    let program = compile(&document).unwrap();
    let attempts = |id: &str| at(&program, id).retry.as_ref().map(|retry| retry.attempts);
    assert_eq!(attempts("a"), Some(5));
    assert_eq!((attempts("p.i/x"), attempts("p.i/y")), (Some(2), Some(8)));
    assert_eq!((attempts("p.o/z"), attempts("p.o/each[]/s")), (Some(5), Some(5)));
    assert_eq!((attempts("w"), attempts("p"), attempts("p.o/each")), (None, None, None));
}

#[test]
fn routers_know_their_targets_by_number() {
    let program = compiled(tasks("c: ?t,_; t: c; s: !t,u; u"));
    let named = |ix: &Option<NodeIx>| ix.map(|ix| path(&program, ix));
    let Operator::Condition { if_true, if_false, .. } = &at(&program, "c").operator else {
        panic!()
    };
    assert_eq!((named(if_true).as_deref(), named(if_false)), (Some("t"), None));
    let Operator::Switch { cases, default, .. } = &at(&program, "s").operator else { panic!() };
    let cases: Vec<_> = cases.iter().map(|(text, ix)| (&**text, path(&program, *ix))).collect();
    assert_eq!(cases, [("0", "t".to_owned()), ("1", "u".to_owned())]);
    assert!(default.is_none());
}

#[test]
fn limits_and_modes() {
    let Operator::Join(join) =
        one(json!({"operator_type": "join", "join_tasks": [], "join_mode": "one_success"}))
            .operator
    else {
        panic!()
    };
    assert_eq!(join.mode, JoinMode::OneSuccess);
    let Operator::Terminate(end) = one(json!({"operator_type": "terminate"})).operator else {
        panic!()
    };
    assert_eq!(end.status, TerminateStatus::Completed);
    for (written, seconds) in [
        (json!(60), Some(60.0)),
        (json!(null), None),
        (json!(0), Some(0.0)),
        (json!(-5), Some(0.0)),
    ] {
        let fields = json!({"operator_type": "wait_for_event", "event_name": "e", "timeout_seconds": written});
        let Operator::WaitForEvent { timeout, .. } = one(fields).operator else { panic!() };
        assert_eq!(timeout, seconds);
    }
}

#[test]
fn a_condition_that_is_no_expression_fails_the_step() {
    let Operator::Condition { condition, .. } =
        one(json!({"operator_type": "condition", "condition": "x is >"})).operator
    else {
        panic!()
    };
    assert!(condition.0.is_err());
}

fn join_task(line: &str, args: Value, kwargs: Value) -> (String, Value) {
    let function = "tools.workflow.wait_for_parallel_branches";
    with(task(line), json!({"function": function, "args": args, "kwargs": kwargs}))
}

/// The forks of joins, and their timeouts.
fn barriers(program: &Program) -> Vec<String> {
    let barrier = |ix: NodeIx| match &program.node(ix).operator {
        Operator::Barrier(barrier) => Some(format!(
            "{} {} {}",
            path(program, ix),
            path(program, barrier.fork),
            barrier.timeout
        )),
        _ => None,
    };
    (0..program.nodes.len() as u32).filter_map(|ix| barrier(NodeIx(ix))).collect()
}

#[test]
fn joins_of_parallels_are_run_by_the_engine() {
    let fork = |line: &str, key: &str| {
        with(parallel(line, json!({}), json!({"a": branch("x")})), json!({"result_key": key}))
    };
    let args = || json!(["{{data}}"]);
    let cases = [
        // Named by its result key, as parallel_with_join writes it.
        (
            vec![fork("p", "data"), join_task("j: p", args(), json!({"timeout_seconds": 120}))],
            "j p 120",
        ),
        // Named by its id; the edge is added.
        (vec![fork("p", "k"), join_task("j", json!(["{{p}}"]), json!({}))], "j p 300"),
        (
            vec![
                fork("p", "k"),
                join_task("j", json!(["{{p.a}}"]), json!({"timeout_seconds": null})),
            ],
            "j p 300",
        ),
        // Named by nothing, but the only one that it depends on.
        (
            vec![
                fork("p", "k"),
                fork("q", "l"),
                join_task("j: q", json!([]), json!({"timeout_seconds": "5"})),
            ],
            "j q 5",
        ),
        // Two of one result key: the one that it depends on.
        (
            vec![fork("p", "data"), fork("q", "data"), join_task("j: q", args(), json!({}))],
            "j q 300",
        ),
        (vec![fork("p", "data"), fork("q", "data"), join_task("j", args(), json!({}))], ""),
        // Two parallels and no name: an ordinary task.
        (vec![fork("p", "k"), fork("q", "l"), join_task("j: p q", json!([]), json!({}))], ""),
        (vec![join_task("j", args(), json!({"timeout_seconds": "{{x}}"}))], ""),
    ];
    for (tasks, expected) in cases {
        let program = compiled(Map::from_iter(tasks));
        assert_eq!(barriers(&program).join("; "), expected);
        for ix in (0..program.nodes.len() as u32).map(NodeIx) {
            let node = program.node(ix);
            if let Operator::Barrier(barrier) = &node.operator {
                assert!(node.predecessors.dependencies.contains(&barrier.fork));
                let Operator::Parallel(fork) = &program.node(barrier.fork).operator else {
                    panic!()
                };
                assert_eq!(fork.barriers, [ix]);
                assert!(!program.scopes[0].sinks.contains(&barrier.fork));
            }
        }
    }
    let tasks = [fork("p", "k"), join_task("j: p", json!([]), json!({"timeout_seconds": "{{x}}"}))];
    assert!(refusal(Map::from_iter(tasks)).contains("kwargs.timeout_seconds must be a number"));
}

#[test]
fn a_join_of_a_multi_choice_is_run_by_the_engine_too() {
    let choice = json!({
        "operator_type": "multi_choice",
        "branches": {"a": {"condition": "true"}},
        "branch_workflows": {"a": branch("x")},
    });
    let tasks = [with(task("mc"), choice), join_task("j: mc", json!([]), json!({}))];
    assert_eq!(barriers(&compiled(Map::from_iter(tasks))), ["j mc 300"]);
}

#[test]
fn the_documents_own_fields() {
    let mut document = document(tasks("a; b: a").into());
    assert!(!compile(&document).unwrap().completion_events);
    for (key, value) in json!({
        "version": "1.2-rc", "deadline_seconds": 60, "deadline_action": "cancel", "tags": ["x", "x"],
        "schedule": "0 2 * * *", "start_date": "2025-01-01T00:00:00", "catchup": true,
        "is_paused": true, "max_active_runs": 3, "variables": {"v": 1.0}, "start_task": "b",
    })
    .as_object()
    .unwrap()
    {
        document[key] = value.clone();
    }
    document["tasks"]["b"]["args"] = json!(["{{a.completion_event}}"]);
    let program = compile(&document).unwrap();
    let deadline = program.deadline.unwrap();
    assert_eq!((deadline.seconds, deadline.action), (60.0, DeadlineAction::Cancel));
    let schedule = program.schedule.as_ref().unwrap();
    assert!(schedule.catchup && schedule.paused);
    assert_eq!(schedule.start_date.unwrap().iso8601(), "2025-01-01T00:00:00+00:00");
    assert_eq!(program.max_active_runs, 3);
    assert!(program.completion_events);
    assert_eq!(program.scopes[0].variables["v"].to_string(), "1.0");
    assert_eq!((&*program.name, &*program.version), ("w", "1.2-rc"));
}

#[test]
fn a_document_without_tasks_is_one() {
    let program = compiled(json!({}));
    assert!(program.nodes.is_empty() && program.scopes.len() == 1);
    let bare = canonical(&json!({"name": "w"})).unwrap();
    assert_eq!(canonical(&document(json!({}))).unwrap(), bare);
    assert!(compile(&bare.0).unwrap().nodes.is_empty());
}
