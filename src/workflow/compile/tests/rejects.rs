//! What HIGHWAY says must be refused, field by field, with the task and the rule in the error.

use super::*;

/// Fields of the document, and what is said about them.
fn of_document() -> Vec<(Value, &'static str)> {
    vec![
        (json!({"name": null}), "the workflow: name null must be a string"),
        (json!({"name": ""}), "name \"\" must be lower-case letters"),
        (json!({"name": "A"}), "name \"A\" must be lower-case"),
        (json!({"name": "1a"}), "must be lower-case letters, digits and single underscores"),
        (json!({"name": "a__b"}), "single underscores"),
        (json!({"name": "a\n"}), "must be lower-case"),
        (json!({"name": "a-b"}), "must be lower-case"),
        (json!({"name": "ä"}), "must be lower-case"),
        (json!({"name": "a".repeat(256)}), "must have at most 255 bytes"),
        (json!({"version": 1.0}), "version 1.0 must be a string"),
        (json!({"version": null}), "version null must be a string"),
        (json!({"version": ""}), "version \"\" must be letters"),
        (json!({"version": "1__0"}), "single underscores"),
        (json!({"version": "1 0"}), "must be letters, digits"),
        (json!({"version": "1\n"}), "must be letters, digits"),
        (json!({"version": "1".repeat(256)}), "must have at most 255 bytes"),
        (json!({"description": 1}), "description 1 must be a string"),
        (json!({"tasks": []}), "tasks [] must be an object"),
        (json!({"tasks": {"x": 1}}), "task 'x': 1 must be an object"),
        (json!({"variables": []}), "variables [] must be an object"),
        (json!({"start_task": "nope"}), "start_task \"nope\" must be the id of a task"),
        (json!({"start_task": 1}), "start_task 1 must be a string or null"),
        (json!({"schedule": "nope"}), "schedule \"nope\" must have five fields"),
        (json!({"schedule": "61 * * * *"}), "schedule \"61 * * * *\""),
        (json!({"start_date": "soon"}), "start_date \"soon\" must be an ISO 8601"),
        (json!({"catchup": "no"}), "catchup \"no\" must be true or false"),
        (json!({"is_paused": 0}), "is_paused 0 must be true or false"),
        (json!({"tags": "x"}), "tags \"x\" must be an array"),
        (json!({"tags": [1]}), "tags [1] must be an array of strings"),
        (json!({"max_active_runs": 0}), "max_active_runs 0 must be at least 1"),
        (json!({"max_active_runs": -1}), "must be at least 1"),
        (json!({"max_active_runs": 1.5}), "max_active_runs 1.5 must be an integer"),
        (json!({"max_active_runs": "3"}), "max_active_runs \"3\" must be an integer"),
        (json!({"deadline_seconds": 0}), "deadline_seconds 0 must be greater than 0"),
        (json!({"deadline_seconds": -1}), "must be greater than 0"),
        (
            json!({"deadline_action": "stop"}),
            "deadline_action \"stop\" must be one of fail, cancel",
        ),
        (json!({"default_retry_policy": {"max_retries": -1}}), "retry_policy.max_retries -1 must"),
        (json!({"description": "a\u{0}b"}), "must not hold the character U+0000"),
        (json!({"variables": {"\u{0}": 1}}), "must not hold the character U+0000"),
    ]
}

#[test]
fn documents() {
    for (fields, rule) in of_document() {
        let mut document = json!({"name": "w"});
        document.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        let error = compile(&document).expect_err(&document.to_string());
        assert!(error.to_string().contains(rule), "{document}: {error}");
        assert_eq!(error.sqlstate(), "22023");
    }
    assert!(compile(&json!({})).unwrap_err().to_string().contains("name is required"));
    assert!(
        compile(&json!([])).unwrap_err().to_string().contains("the workflow: [] must be an object")
    );
}

/// Fields of a task, and what is said about them.
fn of_tasks() -> Vec<(Value, &'static str)> {
    let guard = |check: &str, value: Value| json!({"preconditions": [{"variable": "{{a}}", "check": check, "value": value}]});
    vec![
        (json!({"operator_type": "try_catch"}), "Unknown operator type: try_catch"),
        (json!({"operator_type": "nope"}), "Unknown operator type: nope"),
        (json!({"operator_type": "Task"}), "Unknown operator type: Task"),
        (json!({"operator_type": null}), "Unknown operator type: None"),
        (json!({"operator_type": 3}), "Unknown operator type: 3"),
        (json!({"task_id": "y"}), "task_id \"y\" must be the key that the task stands under"),
        (json!({"task_id": 1}), "task_id 1 must be a string"),
        (json!({"function": null}), "function null must be a string"),
        (json!({"dependencies": "a"}), "dependencies \"a\" must be an array"),
        (json!({"dependencies": [1]}), "must be an array of strings"),
        (json!({"dependencies": ["x"]}), "depends on itself"),
        (json!({"trigger_rule": "always"}), "trigger_rule \"always\" must be one of all_success,"),
        (json!({"trigger_rule": null}), "trigger_rule null must be one of"),
        (json!({"retry_policy": "PT5S"}), "retry_policy \"PT5S\" must be an object"),
        (json!({"retry_policy": 60}), "retry_policy 60 must be an object"),
        (json!({"retry_policy": {"max_retries": -1}}), "max_retries -1 must be"),
        (json!({"retry_policy": {"delay": "-PT5S"}}), "delay \"-PT5S\" must not be negative"),
        (json!({"retry_policy": {"delay": "P2D"}}), "must not be longer than one day"),
        (json!({"retry_policy": {"backoff_factor": -1}}), "backoff_factor -1 must be"),
        (json!({"timeout_policy": {}}), "timeout_policy.timeout is required"),
        (json!({"timeout_policy": {"timeout": -1}}), "timeout -1 must not be negative"),
        (
            json!({"circuit_breaker_policy": {"failure_threshold": 0}}),
            "failure_threshold 0 must be",
        ),
        (json!({"idempotency_key": 1}), "idempotency_key 1 must be a string or null"),
        (json!({"metadata": []}), "metadata [] must be an object"),
        (json!({"result_key": 1}), "result_key 1 must be a string or null"),
        (json!({"result_key": "k".repeat(1001)}), "must have at most 1000 bytes"),
        (json!({"on_success_task_id": 1}), "on_success_task_id 1 must be a string or null"),
        (json!({"is_internal_loop_task": "x"}), "must be true or false"),
        (json!({"preconditions": {}}), "preconditions {} must be an array"),
        (json!({"preconditions": [1]}), "preconditions: guard 1 must be an object"),
        (guard("nope", Value::Null), "guard's check \"nope\" is unknown"),
        (guard("in_range", json!([1])), "must be an array of exactly two elements"),
        (guard("in_set", json!("a")), "must be an array for in_set"),
        (guard("matches_regex", json!("(a")), "pattern \"(a\" cannot be used"),
        (guard("matches_regex", json!("(?=a)")), "cannot be used"),
        (guard("type_check", json!("nope")), "must be the name of a JSON type"),
        (json!({"postconditions": [{"check": "exists"}]}), "postconditions: a guard's variable is"),
        (json!({"args": {}}), "args {} must be an array"),
        (json!({"kwargs": []}), "kwargs [] must be an object"),
    ]
}

/// Fields that make a task another operator, and what is said about them.
fn of_operators() -> Vec<(Value, &'static str)> {
    let kind = |kind: &str, mut fields: Value| {
        fields["operator_type"] = json!(kind);
        fields
    };
    let choice = |branches: Value| kind("multi_choice", json!({"branches": branches}));
    vec![
        (kind("condition", json!({})), "condition is required"),
        (kind("condition", json!({"condition": true})), "condition true must be a string"),
        (
            kind("condition", json!({"condition": "1", "if_true": 1})),
            "if_true 1 must be a string or null",
        ),
        (kind("condition", json!({"condition": "1", "if_true": "x"})), "leads to itself"),
        (kind("switch", json!({})), "switch_on is required"),
        (kind("switch", json!({"switch_on": "a", "cases": {"a": null}})), "cases"),
        (kind("switch", json!({"switch_on": "a", "cases": []})), "cases [] must be an object"),
        (kind("switch", json!({"switch_on": "a", "default": "x"})), "leads to itself"),
        (kind("wait", json!({})), "wait_for is required"),
        (kind("wait", json!({"wait_for": null})), "wait_for null must be a string"),
        (kind("wait", json!({"wait_for": "in a while"})), "wait_for \"in a while\" must be"),
        (kind("wait", json!({"wait_for": "time:25:00:00"})), "must be time:HH:MM:SS"),
        (kind("parallel", json!({"branches": {"a": "x"}})), "must map names to arrays of ids"),
        (kind("parallel", json!({"branches": {"a": [1]}})), "must map names to arrays of ids"),
        (
            kind("parallel", json!({"branches": {"a".repeat(1001): []}})),
            "must have at most 1000 bytes",
        ),
        (
            kind("parallel", json!({"branch_workflows": {"a": []}})),
            "task 'x.a': [] must be an object",
        ),
        (
            kind(
                "parallel",
                json!({"branch_workflows": {"a": {"tasks": {"y": {"task_id": "y"}}}}}),
            ),
            "task 'x.a/y': Unknown operator type: None",
        ),
        (kind("parallel", json!({"timeout": 1.5})), "timeout 1.5 must be an integer"),
        (kind("parallel", json!({"timeout": "60"})), "timeout \"60\" must be an integer"),
        (kind("multi_choice", json!({})), "branches is required"),
        (choice(json!({"a": {}})), "task 'x', branch 'a': condition is required"),
        (choice(json!({"a": {"condition": "1", "tasks": "y"}})), "tasks \"y\" must be an array"),
        (
            kind("multi_choice", json!({"branches": {}, "branch_workflows": {"a": {}}})),
            "branch 'a' has a document but no condition",
        ),
        (
            kind("multi_choice", json!({"branches": {}, "minimum_branches": -1})),
            "must not be negative",
        ),
        (kind("foreach", json!({})), "items is required"),
        (kind("foreach", json!({"items": [1, 2]})), "items [1,2] must be a string"),
        (kind("foreach", json!({"items": "x", "parallel": 1})), "parallel 1 must be true or false"),
        (kind("foreach", json!({"items": "x", "loop_body": {}})), "loop_body {} must be an array"),
        (
            kind("foreach", json!({"items": "x", "loop_body": [{"task_id": "s"}]})),
            "task 'x[]/s': Unknown operator type: None",
        ),
        (kind("while", json!({})), "condition is required"),
        (
            kind("while", json!({"condition": "1", "loop_body": [task("s").1, task("s").1]})),
            "loop_body holds the task 's' twice",
        ),
        (kind("emit_event", json!({})), "event_name is required"),
        (
            kind("emit_event", json!({"event_name": "e", "payload": "x"})),
            "payload \"x\" must be an object",
        ),
        (kind("wait_for_event", json!({})), "event_name is required"),
        (
            kind("wait_for_event", json!({"event_name": "e", "timeout_seconds": 0.5})),
            "must be an integer",
        ),
        (kind("join", json!({})), "join_tasks is required"),
        (kind("join", json!({"join_tasks": ["x"]})), "joins itself"),
        (
            kind("join", json!({"join_tasks": [], "join_mode": "some"})),
            "join_mode \"some\" must be one of",
        ),
        (kind("reflexive", json!({"verifier": "v"})), "generator is required"),
        (kind("reflexive", json!({"generator": "g"})), "verifier is required"),
        (
            kind("reflexive", json!({"generator": "g", "verifier": "v", "max_turns": 11})),
            "max_turns 11 must be an integer from 1 to 10",
        ),
        (
            kind("reflexive", json!({"generator": "g", "verifier": "v", "max_turns": 0})),
            "must be an integer from 1 to 10",
        ),
        (
            kind("terminate", json!({"status": "stopped"})),
            "status \"stopped\" must be one of completed,",
        ),
        (kind("terminate", json!({"result": []})), "result [] must be an object"),
        (
            kind("child_workflow", json!({"children": {"a": {}}})),
            "child 'a': workflow_name is required",
        ),
        (
            kind("child_workflow", json!({"children": {"a": "b"}})),
            "child 'a': \"b\" must be an object",
        ),
        (
            kind("child_workflow", json!({"children": {"a": {"workflow_name": "b", "inputs": 1}}})),
            "inputs must be an object",
        ),
    ]
}

#[test]
fn tasks_of_every_kind() {
    for (fields, rule) in of_tasks().into_iter().chain(of_operators()) {
        let error = refusal(Map::from_iter([with(task("x"), fields)]));
        assert!(error.contains(rule), "{rule}: {error}");
        assert!(error.starts_with("task 'x"), "{error}");
    }
    for field in ["task_id", "operator_type", "function"] {
        let (id, mut fields) = task("x");
        fields.as_object_mut().unwrap().remove(field);
        let error = refusal(Map::from_iter([(id, fields)]));
        let rule =
            if field == "operator_type" { "Unknown operator type: None" } else { "is required" };
        assert!(error.contains(rule) && error.starts_with("task 'x': "), "{error}");
    }
}

#[test]
fn ignored_fields_of_a_branchs_document_refuse_nothing() {
    let mut inner = branch("y");
    for (field, value) in [
        ("name", json!("Not A Name")),
        ("version", json!(1.0)),
        ("schedule", json!("nope")),
        ("start_task", json!("nope")),
        ("max_active_runs", json!(0)),
        ("deadline_seconds", json!(-1)),
        ("deadline_action", json!("nope")),
        ("tags", json!(1)),
    ] {
        inner[field] = value;
    }
    let root = Map::from_iter([parallel("x", json!({}), json!({"a": inner}))]);
    assert_eq!(compiled(root).nodes.len(), 2);
}

#[test]
fn too_many_operators_are_refused() {
    let mut root = Map::new();
    for at in 0..1001 {
        let body: Map<String, Value> = (0..100).map(|at| task(&format!("s{at}"))).collect();
        root.extend([foreach(&format!("l{at}"), &body)]);
    }
    assert!(refusal(root).contains("must have at most 100000 operators"));
}

#[test]
fn deep_and_tangled_documents_are_refused() {
    let mut value = json!(1);
    for _ in 0..200 {
        value = json!([value]);
    }
    let root = Map::from_iter([with(task("x"), json!({"args": [value]}))]);
    assert!(refusal(root).contains("must have at most 100 levels of nesting"));
    // 1,000 nodes after a switch of 2,000 cases: every case is awaited by each of them.
    let cases: Vec<String> = (0..2000).map(|at| format!("c{at}")).collect();
    let mut lines = format!("s: !{}", cases.join(","));
    cases.iter().for_each(|id| lines += &format!("; {id}: s"));
    (0..1500).for_each(|at| lines += &format!("; n{at}: s"));
    assert!(refusal(tasks(&lines)).contains("has too many dependencies: at most 500000"));
}
