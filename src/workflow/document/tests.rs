//! The canonical form and the hash.

use serde_json::{Map, Value, json};

use super::*;
use crate::workflow::bounds::MAX_DEPTH;
use crate::workflow::yaml;

fn minimal() -> Value {
    json!({"name": "w", "tasks": {"x": {"task_id": "x", "operator_type": "task", "function": "f"}}})
}

fn hash(document: &Value) -> String {
    canonical(document).unwrap_or_else(|error| panic!("{document}: {error}")).1
}

/// The document with a task of these fields.
fn with(fields: Value) -> Value {
    let mut document = minimal();
    document["tasks"]["x"].as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    document
}

#[test]
fn defaults_are_filled_in() {
    let (document, _) = canonical(&minimal()).unwrap();
    // The fields of an export (HIGHWAY 1.1 and 2).
    assert_eq!(
        document,
        json!({
            "name": "w", "version": "2.0.0", "description": "", "variables": {}, "start_task": null,
            "schedule": null, "start_date": null, "catchup": false, "is_paused": false, "tags": [],
            "max_active_runs": 1, "default_retry_policy": null, "deadline_seconds": null,
            "deadline_action": "fail",
            "tasks": {"x": {
                "task_id": "x", "operator_type": "task", "dependencies": [],
                "trigger_rule": "all_success", "retry_policy": null, "timeout_policy": null,
                "circuit_breaker_policy": null, "idempotency_key": null, "metadata": {},
                "description": "", "result_key": null, "on_success_task_id": null,
                "on_failure_task_id": null, "is_internal_loop_task": false,
                "is_internal_parallel_task": false, "preconditions": [], "postconditions": [],
                "function": "f", "args": [], "kwargs": {},
            }},
        })
    );
    assert_eq!(canonical(&document).unwrap().0, document);
}

#[test]
fn defaults_of_every_operator() {
    let cases = [
        (json!({"operator_type": "activity"}), json!({"args": [], "kwargs": {}})),
        (
            json!({"operator_type": "condition", "condition": "1"}),
            json!({"if_true": null, "if_false": null}),
        ),
        (
            json!({"operator_type": "switch", "switch_on": "1"}),
            json!({"cases": {}, "default": null}),
        ),
        (
            json!({"operator_type": "parallel"}),
            json!({"branches": {}, "branch_workflows": {}, "timeout": null}),
        ),
        (
            json!({"operator_type": "multi_choice", "branches": {"a": {"condition": "1"}}}),
            json!({
                "branches": {"a": {"condition": "1", "tasks": []}},
                "branch_workflows": {}, "minimum_branches": 1, "timeout": null,
            }),
        ),
        (
            json!({"operator_type": "foreach", "items": "x"}),
            json!({"loop_body": [], "parallel": false, "dynamic": false}),
        ),
        (json!({"operator_type": "while", "condition": "1"}), json!({"loop_body": []})),
        (json!({"operator_type": "emit_event", "event_name": "e"}), json!({"payload": {}})),
        (
            json!({"operator_type": "wait_for_event", "event_name": "e"}),
            json!({"timeout_seconds": null}),
        ),
        (json!({"operator_type": "join", "join_tasks": []}), json!({"join_mode": "all_of"})),
        (
            json!({"operator_type": "reflexive", "generator": "g", "verifier": "v"}),
            json!({
                "generator_kwargs": {}, "verifier_kwargs": {}, "max_turns": 3,
                "correction_prompt_template": null,
            }),
        ),
        (
            json!({"operator_type": "terminate"}),
            json!({"status": "completed", "result": {}, "reason": ""}),
        ),
        (
            json!({"operator_type": "child_workflow"}),
            json!({"children": {}, "timeout_seconds": null}),
        ),
        (
            json!({"operator_type": "child_workflow", "children": {"a": {"workflow_name": "w"}}}),
            json!({"children": {"a": {"workflow_name": "w", "inputs": {}}}}),
        ),
        (
            json!({"retry_policy": {}, "timeout_policy": {"timeout": 90}, "circuit_breaker_policy": {}}),
            json!({
                "retry_policy": {"max_retries": 3, "delay": "PT5S", "backoff_factor": 2.0},
                "timeout_policy": {"timeout": "PT1M30S", "kill_on_timeout": true},
                "circuit_breaker_policy": {
                    "failure_threshold": 5, "success_threshold": 2, "isolation_duration": "PT30S",
                    "catch_exceptions": null, "ignore_exceptions": null,
                },
            }),
        ),
        (
            json!({"preconditions": [{"variable": "a", "check": "exists", "more": 1}]}),
            json!({"preconditions": [{"variable": "a", "check": "exists", "value": null, "message": ""}]}),
        ),
    ];
    for (fields, filled) in cases {
        let (document, _) = canonical(&with(fields)).unwrap();
        for (field, value) in filled.as_object().unwrap() {
            assert_eq!(document["tasks"]["x"][field], *value, "{field}");
        }
    }
}

#[test]
fn unknown_fields_are_dropped_at_every_level() {
    let mut more = with(json!({"more": 1, "retry_policy": {"max_retries": 3, "jitter": true}}));
    more["more"] = json!([1]);
    assert_eq!(hash(&more), hash(&with(json!({"retry_policy": {}}))));
    let nested = |more: bool| {
        let mut inner = minimal();
        if more {
            inner["more"] = json!(1);
            inner["tasks"]["x"]["more"] = json!(1);
        }
        with(json!({
            "operator_type": "parallel",
            "branches": {"a": ["x"]},
            "branch_workflows": {"a": inner},
            "function": if more { json!("left over") } else { Value::Null },
        }))
    };
    assert_eq!(hash(&nested(true)), hash(&nested(false)));
}

#[test]
fn one_content_has_one_hash() {
    let number = |text: &str| -> Value { serde_json::from_str(text).unwrap() };
    let alike = [
        // Numbers of fields and in free JSON.
        vec![
            with(json!({"operator_type": "parallel", "timeout": 3})),
            with(json!({"operator_type": "parallel", "timeout": 3.0})),
            with(json!({"operator_type": "parallel", "timeout": number("3e0")})),
            with(json!({"operator_type": "parallel", "timeout": number("0.3e1")})),
        ],
        vec![
            with(json!({"args": [3, {"a": 100}]})),
            with(json!({"args": [3.0, {"a": number("1e2")}]})),
            with(json!({"args": [number("3e0"), {"a": number("100.00")}]})),
        ],
        // Durations.
        vec![
            with(json!({"timeout_policy": {"timeout": "P1D"}})),
            with(json!({"timeout_policy": {"timeout": "PT24H"}})),
            with(json!({"timeout_policy": {"timeout": 86400}})),
            with(json!({"timeout_policy": {"timeout": "1 day, 0:00:00", "kill_on_timeout": true}})),
        ],
        vec![
            with(json!({"operator_type": "wait", "wait_for": "PT1M30S"})),
            with(json!({"operator_type": "wait", "wait_for": "PT90.0S"})),
            with(json!({"operator_type": "wait", "wait_for": 90})),
            with(json!({"operator_type": "wait", "wait_for": "90"})),
        ],
        vec![
            with(json!({"circuit_breaker_policy": {"isolation_duration": "PT1M"}})),
            with(json!({"circuit_breaker_policy": {"isolation_duration_seconds": 60.0}})),
        ],
        // Nulls that YAML leaves out.
        vec![
            with(json!({"operator_type": "condition", "condition": "1"})),
            with(json!({"operator_type": "condition", "condition": "1", "if_true": null})),
        ],
    ];
    let mut all = Vec::new();
    for documents in alike {
        let first = hash(&documents[0]);
        for document in &documents {
            assert_eq!(hash(document), first, "{document}");
        }
        all.push(first);
    }
    all.push(hash(&minimal()));
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 7);
}

#[test]
fn different_content_has_different_hashes() {
    let documents = [
        minimal(),
        with(json!({"args": [3]})),
        with(json!({"args": ["3"]})),
        with(json!({"args": [null]})),
        with(json!({"kwargs": {"a": null}})),
        with(json!({"description": "x"})),
        with(json!({"metadata": {"a": 1}})),
        with(json!({"operator_type": "activity"})),
        with(json!({"operator_type": "wait", "wait_for": "PT1S"})),
        with(json!({"operator_type": "wait", "wait_for": "an_event"})),
    ];
    let mut hashes: Vec<String> = documents.iter().map(hash).collect();
    hashes.sort();
    hashes.dedup();
    assert_eq!(hashes.len(), documents.len());
    assert!(hashes.iter().all(|hash| hash.len() == 64));
}

#[test]
fn numbers_in_free_json_stay_as_written() {
    let (document, _) = canonical(&with(json!({"args": [3.0, 1.50]}))).unwrap();
    assert_eq!(document["tasks"]["x"]["args"].to_string(), "[3.0,1.5]");
    let wait = with(json!({"operator_type": "wait", "wait_for": "time:04:00:00"}));
    assert_eq!(canonical(&wait).unwrap().0["tasks"]["x"]["wait_for"], "time:04:00:00");
}

#[test]
fn yaml_and_json_of_one_workflow_hash_alike() {
    // The beginning of an export (HIGHWAY 1.5), with nulls left out and keys sorted.
    let text = "
catchup: false
deadline_action: fail
default_retry_policy:
  backoff_factor: 2.0
  delay: PT30S
  max_retries: 3
description: Extract, transform, fan out and load
is_paused: false
max_active_runs: 1
name: data_pipeline
schedule: 0 2 * * *
start_task: extract
tags:
- etl
tasks:
  check:
    condition: '{{raw_data}}'
    dependencies:
    - extract
    operator_type: condition
    task_id: check
  extract:
    args:
    - 1e3
    - 3.0
    dependencies: []
    description: ''
    function: etl.extract
    kwargs: {}
    operator_type: task
    result_key: raw_data
    task_id: extract
    trigger_rule: all_success
version: 2.0.0
";
    let json = json!({
        "name": "data_pipeline", "version": "2.0.0", "schedule": "0 2 * * *", "tags": ["etl"],
        "description": "Extract, transform, fan out and load", "start_task": "extract",
        "start_date": null,
        "default_retry_policy": {"max_retries": 3, "delay": "PT30S", "backoff_factor": 2.0},
        "tasks": {
            "extract": {
                "task_id": "extract", "operator_type": "task", "function": "etl.extract",
                "args": ["1e3", 3.0], "result_key": "raw_data", "retry_policy": null,
            },
            "check": {
                "task_id": "check", "operator_type": "condition", "condition": "{{raw_data}}",
                "dependencies": ["extract"], "if_true": null, "if_false": null,
            },
        },
    });
    let read = yaml::to_json(text, &|| Ok(())).unwrap();
    assert_eq!(hash(&serde_json::from_str(&read).unwrap()), hash(&json));
}

#[test]
fn the_canonical_form_of_the_largest_documents_is_read_again() {
    let mut value = json!(1);
    for _ in 0..MAX_DEPTH - 4 {
        value = json!([value]);
    }
    let deepest = with(json!({"args": [value]}));
    let (document, _) = canonical(&deepest).unwrap();
    assert!(Document::read_canonical(&document.to_string(), &|| Ok(())).is_ok());
    let error = canonical(&with(json!({"args": [[document["tasks"]["x"]["args"]]]}))).unwrap_err();
    assert!(error.to_string().contains("must have at most 100 levels of nesting"), "{error}");
    // Far more than twice its size once the defaults are filled in.
    let short: Map<String, Value> = (0..20_000)
        .map(|at| {
            let id = format!("t{at}");
            (id.clone(), json!({"task_id": id, "operator_type": "task", "function": "f"}))
        })
        .collect();
    let (document, _) = canonical(&json!({"name": "w", "tasks": short})).unwrap();
    assert!(Document::read_canonical(&document.to_string(), &|| Ok(())).is_ok());
    let huge = with(json!({"description": "x".repeat(17 << 20)}));
    assert!(canonical(&huge).unwrap_err().to_string().contains("at most 4194304 bytes"));
}
