//! Loops with many items: begun and ended in pieces.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::super::memory::TaskState;
use super::player::{Player, document, node, task, with};
use crate::workflow::json::Json;
use crate::workflow::records::{ScopePhase, limits};
use crate::workflow::stimulus::Stimulus;

fn each(items: &str, extra: Value) -> Value {
    let fields = json!({"items": items, "loop_body": [task("b", &["each"])]});
    with(node("each", "foreach", &[], fields), extra)
}

/// A run of which nothing goes on by itself after a transition has reached its bound.
fn held(nodes: Value, inputs: Value) -> Player {
    let mut player = Player::new(&document(nodes), inputs);
    player.memory.holds_rest = true;
    player.memory.stimulate(Stimulus::Start);
    player
}

fn count(player: &Player, state: &TaskState) -> usize {
    player.memory.tasks.iter().filter(|task| task.state == *state).count()
}

/// Lets the run go on until nothing is left; returns how many transitions that took.
fn go_on(player: &mut Player) -> usize {
    let mut pieces = 0;
    while player.memory.go_on() {
        pieces += 1;
    }
    pieces
}

fn open_scopes(player: &Player) -> usize {
    let scopes = player.memory.stored.scopes.values();
    scopes.filter(|scope| scope.phase == ScopePhase::Open).count()
}

#[test]
fn each_piece_of_a_large_loop_does_a_bounded_part() {
    let mut player = held(json!([each("range(20000)", json!({"parallel": true}))]), json!({}));
    assert_eq!(count(&player, &TaskState::Ready), limits::PIECE);
    // What came first may be worked on meanwhile.
    player.complete("each[0]/b", json!("first"));
    let pieces = go_on(&mut player);
    assert_eq!(count(&player, &TaskState::Ready), 19_999);
    assert!((78..=80).contains(&pieces), "{pieces}");
    let most = player.memory.most_written;
    assert!(most <= 4 * limits::PIECE, "{most} records in one transition");
    // Nothing is read again for each piece.
    let read = player.memory.read.get();
    assert!(read < 10 * 20_000, "{read} records read");
    assert!(player.memory.stored.items.is_empty());
}

#[test]
fn every_piece_knows_how_long_the_loop_is() {
    let body = with(task("b", &["each"]), json!({"args": ["{{loop.length}}", "{{loop.last}}"]}));
    let fields = json!({"items": "range(1300)", "loop_body": [body], "parallel": true});
    let mut player = held(json!([node("each", "foreach", &[], fields)]), json!({}));
    go_on(&mut player);
    for (at, task) in player.memory.tasks.iter().enumerate() {
        let params = task.spawn.params.value().unwrap();
        assert_eq!(params["args"], json!([1300, at == 1299]));
    }
    assert_eq!(player.memory.tasks.len(), 1300);
}

#[test]
fn a_loop_of_a_thousand_items_begins_at_once() {
    let player = held(json!([each("range(1000)", json!({"parallel": true}))]), json!({}));
    assert_eq!(player.memory.transition, 1);
    assert!(player.memory.stored.items.is_empty());
    assert_eq!(player.memory.stored.scopes.len(), 1001);
}

#[test]
fn a_large_loop_ends_when_all_of_its_pieces_have() {
    for parallel in [true, false] {
        let nodes =
            json!([each("range(1500)", json!({"parallel": parallel})), task("end", &["each"])]);
        let mut player = Player::of(nodes);
        let mut done = 0;
        while let Some(at) =
            player.memory.tasks.iter().position(|task| task.state == TaskState::Ready)
        {
            let path = player.memory.tasks[at].spawn.path.clone();
            if path == "end" {
                break;
            }
            player.memory.complete_task(at, Json::from_value(json!(path)));
            done += 1;
        }
        assert_eq!(done, 1500);
        let expected: Vec<String> = (0..1500).map(|at| format!("each[{at}]/b")).collect();
        assert_eq!(player.step_result("each"), json!(expected), "parallel: {parallel}");
        assert!(player.memory.stored.items.is_empty());
    }
}

#[test]
fn iterations_that_end_in_the_piece_that_begins_them_do_not_end_the_loop() {
    for parallel in [true, false] {
        let body = json!([node("c", "wait", &["each"], json!({"wait_for": "PT0S"}))]);
        let fields = json!({"items": "range(2000)", "loop_body": body, "parallel": parallel});
        let mut player = held(json!([node("each", "foreach", &[], fields)]), json!({}));
        assert_eq!(player.status(), "running");
        go_on(&mut player);
        assert_eq!(player.status(), "completed");
        let result = player.step_result("each");
        assert_eq!(result.as_array().map(Vec::len), Some(2000), "parallel: {parallel}");
    }
}

#[test]
fn what_takes_too_long_stops_at_once_and_is_closed_in_pieces() {
    let policy = json!({"parallel": true, "timeout_policy": {"timeout": "PT10S"}});
    let handler = with(task("after", &["each"]), json!({"trigger_rule": "all_done"}));
    let mut player = held(json!([each("range(5000)", policy), handler]), json!({}));
    go_on(&mut player);
    player.memory.most_written = 0;
    player.wait(10.0);
    assert_eq!((player.state("each"), player.state("after")), ("failed".into(), "running".into()));
    let cancelled = count(&player, &TaskState::Cancelled);
    assert!((1..5000).contains(&cancelled), "{cancelled}");
    // A step inside that has not been closed yet does not go on.
    let values = player.memory.stored.values.len();
    player.complete("each[4999]/b", json!(1));
    assert_eq!(player.memory.stored.values.len(), values);
    assert_eq!(player.state("each"), "failed");
    go_on(&mut player);
    assert_eq!(count(&player, &TaskState::Cancelled), 4999);
    assert_eq!(open_scopes(&player), 1);
    let most = player.memory.most_written;
    assert!(most <= 4 * limits::STEPS_PER_TRANSITION, "{most} records in one transition");
    player.complete("after", json!(1));
    assert_eq!(player.status(), "completed");
}

#[test]
fn a_loop_that_is_ended_while_it_begins_begins_no_more() {
    let policy = json!({"parallel": true, "timeout_policy": {"timeout": "PT10S"}});
    let mut player = held(json!([each("range(5000)", policy), task("other", &[])]), json!({}));
    player.memory.go_on();
    let begun = player.memory.tasks.len();
    player.wait(10.0);
    go_on(&mut player);
    assert_eq!(player.memory.tasks.len(), begun);
    assert_eq!(count(&player, &TaskState::Cancelled), begun - 1);
    // A retry of the run begins them.
    let kept: u32 = player.memory.stored.items.values().map(|(count, _)| count).sum();
    assert_eq!(kept as usize, 5000 - (begun - 1));
    assert_eq!(open_scopes(&player), 1);
}

#[test]
fn a_run_that_is_cancelled_ends_at_once_and_closes_in_pieces() {
    let inner = json!({"task_id": "in", "operator_type": "foreach", "dependencies": ["each"],
        "items": "range(60)", "parallel": true, "loop_body": [task("b", &["in"])]});
    let fields = json!({"items": "range(60)", "parallel": true, "loop_body": [inner]});
    let mut player = held(json!([node("each", "foreach", &[], fields)]), json!({}));
    go_on(&mut player);
    assert_eq!(count(&player, &TaskState::Ready), 3600);
    player.memory.stimulate(Stimulus::Cancel { reason: "enough".to_owned() });
    assert_eq!(player.status(), "cancelled");
    assert!(count(&player, &TaskState::Cancelled) < 3600);
    assert_eq!(player.memory.finishes, 1);
    go_on(&mut player);
    assert_eq!(count(&player, &TaskState::Cancelled), 3600);
    assert_eq!(open_scopes(&player), 0);
    assert_eq!(player.memory.finishes, 1);
    let states = player.states();
    assert!(states.values().all(|state| state == "cancelled"), "{states:?}");
}

#[test]
fn a_scope_with_many_first_nodes_begins_and_ends_in_pieces() {
    let nodes: Vec<Value> = (0..3000).map(|at| task(&format!("t{at}"), &[])).collect();
    let mut player = held(Value::Array(nodes), json!({}));
    let begun = count(&player, &TaskState::Ready);
    assert!((1..=limits::STEPS_PER_TRANSITION).contains(&begun), "{begun}");
    go_on(&mut player);
    assert_eq!(count(&player, &TaskState::Ready), 3000);
    player.memory.stimulate(Stimulus::Cancel { reason: "enough".to_owned() });
    assert!(count(&player, &TaskState::Cancelled) <= limits::STEPS_PER_TRANSITION);
    go_on(&mut player);
    assert_eq!(count(&player, &TaskState::Cancelled), 3000);
}

#[test]
fn items_that_are_added_meanwhile_come_after_those_that_wait() {
    let dynamic = json!({"parallel": true, "dynamic": true});
    let mut player = held(json!([each("range(1200)", dynamic)]), json!({}));
    let step = player.key("each");
    let items = (0..10).map(|at| json!(format!("added {at}"))).collect();
    player.memory.stimulate(Stimulus::ItemsAdded { step, items });
    go_on(&mut player);
    let items: BTreeMap<u32, Value> = player
        .memory
        .stored
        .scopes
        .values()
        .filter(|scope| scope.parent == Some(step))
        .map(|scope| (scope.ordinal, scope.item.as_ref().unwrap().value().unwrap().clone()))
        .collect();
    assert_eq!(items.len(), 1210);
    assert_eq!(items[&1199], json!(1199));
    assert_eq!(items[&1200], json!("added 0"));
    assert_eq!(items[&1209], json!("added 9"));
}
