//! Tasks, batches, steps and events.

use chrono::{DateTime, Utc};
use serde_json::{Value as Json, json};
use uuid::Uuid;

use super::{Check, VOID, at, call, doc, id, int, only, rows, text};
use crate::call::{Arg, Call};
use crate::database::{run, task};

pub fn tasks() -> Vec<Call> {
    let spawned: Check = |r| {
        Ok(only::<Uuid>(r, 0)?.is_some()
            && only::<Uuid>(r, 1)?.is_some()
            && only::<i32>(r, 2)? == Some(1)
            && only::<bool>(r, 3)? == Some(true))
    };
    vec![
        call(
            "spawn_task",
            3,
            vec![
                text("q"),
                text("new"),
                doc(json!({"x": [1, null, "y"]})),
                doc(json!({"max_attempts": 3, "headers": {"a": 1}, "idempotency_key": "k"})),
            ],
            rows(spawned),
        ),
        call(
            "spawn_task",
            3,
            vec![text("q"), text("new"), Arg::Json(None), Arg::Json(None)],
            rows(spawned),
        ),
        call(
            "claim_task",
            2,
            vec![text("q"), text("worker"), int(60), int(2)],
            rows(|r| {
                Ok(only::<Uuid>(r, 0)? == Some(run(2))
                    && only::<Uuid>(r, 1)? == Some(task(2))
                    && only::<i32>(r, 2)? == Some(1)
                    && only::<&str>(r, 3)? == Some("task 2")
                    && only::<Json>(r, 4)? == Some(json!({"n": 2}))
                    && only::<Option<i32>>(r, 6)? == Some(None)
                    && only::<Option<Json>>(r, 9)? == Some(None))
            }),
        ),
        call("complete_run", 2, vec![text("q"), id(run(1)), doc(json!({"done": true}))], VOID),
        call("fail_run", 3, vec![text("q"), id(run(1)), doc(json!("boom")), at(60)], VOID),
        call("fail_run", 3, vec![text("q"), id(run(1)), Arg::Json(None), Arg::Time(None)], VOID),
        call("schedule_run", 3, vec![text("q"), id(run(1)), at(60)], VOID),
        call(
            "retry_task",
            2,
            vec![text("q"), id(task(4)), doc(json!({"max_attempts": 5}))],
            rows(|r| {
                Ok(only::<Uuid>(r, 0)? == Some(task(4))
                    && only::<i32>(r, 2)? == Some(2)
                    && only::<bool>(r, 3)? == Some(false))
            }),
        ),
        call(
            "cancel_task",
            2,
            vec![text("q"), id(task(1))],
            rows(|r| Ok(only::<bool>(r, 0)? == Some(true))),
        ),
        call(
            "cancel_task",
            2,
            vec![text("q"), id(run(3))],
            rows(|r| Ok(only::<bool>(r, 0)? == Some(true))),
        ),
        call("extend_claim", 3, vec![text("q"), id(run(1)), int(300)], VOID),
        call(
            "get_task_result",
            2,
            vec![text("q"), id(task(4))],
            rows(|r| {
                Ok(only::<Uuid>(r, 0)? == Some(task(4))
                    && only::<&str>(r, 1)? == Some("failed")
                    && only::<Option<Json>>(r, 2)? == Some(None)
                    && only::<Json>(r, 3)? == Some(json!("boom")))
            }),
        ),
        call("get_task_result", 2, vec![text("q"), id(task(9))], rows(|r| Ok(r.is_empty()))),
    ]
}

pub fn batches() -> Vec<Call> {
    vec![
        call(
            "spawn_tasks",
            2,
            vec![
                text("q"),
                doc(json!([
                    {"task_name": "one", "params": {"x": 1}},
                    {"task_name": "two", "params": null, "options": {"idempotency_key": "k"}}
                ])),
            ],
            rows(|r| {
                Ok(r.len() == 2 && r[1].try_get::<_, i32>(2)? == 1 && r[1].try_get::<_, bool>(3)?)
            }),
        ),
        call(
            "complete_runs",
            2,
            vec![
                text("q"),
                Arg::Uuids(vec![run(5), run(1)]),
                Arg::Jsons(vec![json!({"five": 5}), Json::Null]),
            ],
            VOID,
        ),
        call(
            "fail_runs",
            2,
            vec![
                text("q"),
                Arg::Uuids(vec![run(3), run(1)]),
                Arg::Jsons(vec![json!("three"), json!({"one": 1})]),
                at(60),
            ],
            VOID,
        ),
        call(
            "emit_events",
            2,
            vec![
                text("q"),
                Arg::Texts(vec!["awaited", "other"]),
                Arg::Jsons(vec![json!(1), Json::Null]),
            ],
            VOID,
        ),
    ]
}

pub fn steps() -> Vec<Call> {
    let kept: Check = |r| {
        Ok(only::<&str>(r, 0)? == Some("kept")
            && only::<Json>(r, 1)? == Some(json!({"x": 1}))
            && only::<&str>(r, 2)? == Some("committed")
            && only::<Uuid>(r, 3)? == Some(run(1))
            && only::<DateTime<Utc>>(r, 4)?.is_some())
    };
    let step = || vec![text("q"), id(task(1)), text("step"), doc(json!([1, 2])), id(run(1))];
    let with = |extend: Arg| step().into_iter().chain([extend]).collect();
    vec![
        call("set_task_checkpoint_state", 5, with(int(300)), VOID),
        call("set_task_checkpoint_state", 5, with(Arg::Int(None)), VOID),
        call(
            "get_task_checkpoint_state",
            3,
            vec![text("q"), id(task(1)), text("kept"), Arg::Bool(true)],
            rows(kept),
        ),
        call("get_task_checkpoint_states", 3, vec![text("q"), id(task(1)), id(run(1))], rows(kept)),
        call("get_checkpoints_for_run", 2, vec![text("q"), id(run(1))], rows(kept)),
        call(
            "get_run_checkpoint",
            3,
            vec![text("q"), id(run(1)), text("kept")],
            rows(|r| Ok(only::<Json>(r, 0)? == Some(json!({"x": 1})))),
        ),
        call(
            "save_checkpoint_for_run",
            4,
            vec![text("q"), id(run(1)), text("step"), doc(json!(7)), id(task(1))],
            VOID,
        ),
    ]
}

pub fn events() -> Vec<Call> {
    let wait = |event| vec![text("q"), id(task(1)), id(run(1)), text("wait"), text(event)];
    let seconds = |event, timeout| wait(event).into_iter().chain([timeout]).collect();
    vec![
        call(
            "await_event",
            5,
            seconds("later", int(30)),
            rows(|r| {
                Ok(only::<bool>(r, 0)? == Some(true) && only::<Option<Json>>(r, 1)? == Some(None))
            }),
        ),
        call(
            "await_event",
            5,
            seconds("emitted", Arg::Int(None)),
            rows(|r| {
                Ok(only::<bool>(r, 0)? == Some(false) && only::<Json>(r, 1)? == Some(json!(42)))
            }),
        ),
        call("emit_event", 2, vec![text("q"), text("awaited"), doc(json!({"a": 1}))], VOID),
        call("emit_event", 2, vec![text("q"), text("other"), Arg::Json(None)], VOID),
    ]
}
