//! The case files of HIGHWAY 12.2, step by step.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::workflow::json::Json;
use crate::workflow::stimulus::Stimulus;

use super::player::Player;

#[test]
fn shipped_cases_pass_step_by_step() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/highway");
    let files = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> =
        files.filter(|path| path.extension().is_some_and(|e| e == "json")).collect();
    files.sort();
    let mut played = 0;
    for file in &files {
        let case = read(file);
        let Some(scenarios) = case.get("scenarios").and_then(Value::as_array) else { continue };
        let document = match &case["document"] {
            Value::Object(_) => case["document"].clone(),
            other => {
                // The trace of a document that is a file of its own.
                let name = case["name"].as_str().unwrap().strip_suffix("_trace");
                let name = name.unwrap_or_else(|| panic!("{file:?} has document {other}"));
                read(&folder.join(format!("{name}.json")))
            }
        };
        for scenario in scenarios {
            play(&format!("{} {}", case["name"], scenario["name"]), &document, scenario);
            played += 1;
        }
    }
    assert!(played >= 16, "only {played} scenarios in {folder:?}");
}

fn read(file: &Path) -> Value {
    let text = std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{file:?}: {error}"));
    serde_json::from_str(&text).unwrap()
}

fn play(name: &str, document: &Value, scenario: &Value) {
    let inputs = scenario.get("inputs").cloned().unwrap_or_default();
    let mut player = Player::new(document, inputs);
    for (at, step) in scenario["steps"].as_array().unwrap().iter().enumerate() {
        let name = format!("{name}, step {at} {}", step["action"]);
        act(&mut player, &step["action"]);
        check(&name, &mut player, step);
    }
    let last = &scenario["final"];
    assert_eq!(player.status(), last["status"], "{name}: status");
    if last["status"] == "completed" || last.get("result").is_some() {
        same(&format!("{name}: result"), &player.result(), &last["result"]);
    }
    same_error(name, &player.error(), last.get("error").unwrap_or(&Value::Null));
    let states: BTreeMap<String, String> =
        serde_json::from_value(last["node_states"].clone()).unwrap();
    assert_eq!(player.states(), states, "{name}: states");
}

fn act(player: &mut Player, action: &Value) {
    let text = |name: &str| action.get(name).and_then(Value::as_str);
    let json = |name: &str| action.get(name).cloned().unwrap_or_default();
    if let Some(inputs) = action.get("start") {
        player.memory.stored.inputs = Json::from_value(inputs.clone());
        player.memory.stimulate(Stimulus::Start);
    } else if let Some(path) = text("complete") {
        player.complete(path, json("result"));
    } else if let Some(path) = text("fail") {
        let task = player.task(path);
        player.memory.fail_task(task, &Json::from_value(json("error")));
    } else if let Some(seconds) = action.get("advance_seconds") {
        player.wait(seconds.as_f64().unwrap());
    } else if let Some(event) = text("emit") {
        player.emit(event, json("payload"));
    } else if let Some(path) = text("child_finished") {
        let (branch, status) = (text("branch").unwrap(), text("status").unwrap());
        player.child(path, branch, status, json("result"));
    } else {
        panic!("unknown action {action}");
    }
}

/// Compares what an action brought about with what it should have.
fn check(name: &str, player: &mut Player, step: &Value) {
    let seen = player.seen();
    let list = |field: &str| step.get(field).and_then(Value::as_array).cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let wanted: BTreeMap<String, (String, String, Value)> = list("spawned")
        .iter()
        .map(|s| {
            (text(&s["path"]), (text(&s["task_id"]), text(&s["function"]), s["params"].clone()))
        })
        .collect();
    let spawned: BTreeMap<String, (String, String, Value)> = seen
        .spawned
        .iter()
        .map(|s| {
            let id = player.memory.program.node(s.step.node).id.clone();
            (s.path.clone(), (id, s.function.clone(), s.params.value().unwrap().clone()))
        })
        .collect();
    assert_eq!(seen.spawned.len(), spawned.len(), "{name}: spawned twice");
    assert_eq!(spawned.keys().collect::<Vec<_>>(), wanted.keys().collect::<Vec<_>>(), "{name}");
    for (path, (id, function, params)) in &spawned {
        let (wanted_id, wanted_function, wanted_params) = &wanted[path];
        assert_eq!((id, function), (wanted_id, wanted_function), "{name}: {path}");
        same(&format!("{name}: {path}"), params, wanted_params);
    }
    let mut retries = seen.retries.clone();
    retries.sort_by(|a, b| a.0.cmp(&b.0));
    let mut wanted: Vec<(String, u32, f64)> = list("retry_scheduled")
        .iter()
        .map(|r| {
            let attempt = r["next_attempt"].as_u64().unwrap() as u32;
            (text(&r["path"]), attempt, r["after_seconds"].as_f64().unwrap())
        })
        .collect();
    wanted.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(retries, wanted, "{name}: retries");
    let mut redelivered = seen.redelivered.clone();
    redelivered.sort();
    let mut wanted: Vec<(String, u32)> = list("redelivered")
        .iter()
        .map(|r| (text(&r["path"]), r["attempt"].as_u64().unwrap() as u32))
        .collect();
    wanted.sort();
    assert_eq!(redelivered, wanted, "{name}: redelivered");
    if step.get("events_emitted").is_some() {
        let wanted: Vec<String> = list("events_emitted")
            .iter()
            .map(|e| match e {
                Value::String(name) => name.clone(),
                other => text(
                    other.get("name").or(other.get("event")).or(other.get("event_name")).unwrap(),
                ),
            })
            .collect();
        let emitted: Vec<String> = seen.emitted.iter().map(|(name, _)| name.clone()).collect();
        assert_eq!(emitted, wanted, "{name}: events");
    }
    if step.get("children_started").is_some() {
        let wanted = list("children_started");
        assert_eq!(seen.children.len(), wanted.len(), "{name}: children {wanted:?}");
    }
    assert_eq!(player.status(), step["run_status"], "{name}: run status");
}

/// Equality of JSON with numbers by value.
fn same(name: &str, left: &Value, right: &Value) {
    assert!(crate::workflow::expression::equal(left, right), "{name}: {left} instead of {right}");
}

/// Names and places are normative, messages of the engine's own errors are not.
fn same_error(name: &str, left: &Value, right: &Value) {
    let without = |error: &Value| {
        let mut error = error.clone();
        let mut at = Some(&mut error);
        while let Some(object) = at.and_then(Value::as_object_mut) {
            if object.get("name").is_some_and(|name| name != "Error") {
                object.remove("message");
            }
            at = object.get_mut("cause");
        }
        error
    };
    same(&format!("{name}: error"), &without(left), &without(right));
}
