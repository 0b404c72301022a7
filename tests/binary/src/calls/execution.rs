//! Workflow documents, and the runs that the database executes.

use chrono::{DateTime, Utc};
use serde_json::{Value as Json, json};
use tokio_postgres::Row;
use uuid::Uuid;

use super::{Check, VOID, call, doc, id, int, noon, only, rows, text};
use crate::call::{Arg, Call};

/// A document that none of the rows knows.
const OTHER: &str = "{name: other, version: '7', tasks: {}}";

/// A workflow whose schedule has come due.
const SCHEDULED: &str = r#"
    select absurd.register_workflow('{"name": "hourly", "schedule": "0 * * * *"}', 'q');
    set local absurd.fake_now = '2030-01-01 13:00:00+00'"#;

/// A run that waits for an event, for a minute.
const WAITING: &str = r#"
    select absurd.register_workflow('{"name": "waits", "tasks": {"w": {"task_id": "w",
        "operator_type": "wait_for_event", "event_name": "hello", "timeout_seconds": 60}}}', 'q');
    select absurd.start_workflow('waits')"#;

/// A workflow that nothing needs.
const SPARE: &str = r#"select absurd.register_workflow('{"name": "spare", "version": "1"}', 'q')"#;

/// The run's first wait is over.
const NEXT_DAY: &str = "set local absurd.fake_now = '2030-01-02 12:00:00+00'";

/// The run has been paused.
const PAUSED: &str = "select absurd.pause_workflow_run(workflow_run_id)
    from absurd.workflow_run where workflow_name = 'executed'";

/// The run has been cancelled.
const CANCELLED: &str = "select absurd.cancel_workflow_run(workflow_run_id)
    from absurd.workflow_run where workflow_name = 'executed'";

pub fn documents() -> Vec<Call> {
    let other: Check = |r| {
        Ok(only::<&str>(r, 0)? == Some("other")
            && only::<&str>(r, 1)? == Some("7")
            && only::<&str>(r, 2)?.is_some_and(|hash| hash.len() == 64)
            && only::<bool>(r, 3)? == Some(true))
    };
    vec![
        call(
            "register_workflow",
            1,
            vec![doc(json!({"name": "other", "version": "7", "tasks": {}})), text("q")],
            rows(other),
        ),
        call(
            "canonical_document",
            1,
            vec![doc(json!({"name": "other", "version": "7", "tasks": {}}))],
            rows(|r| Ok(only::<&str>(r, 0)?.is_some_and(|text| text.starts_with(r#"{"catchup":false,"#)))),
        ),
        call("register_workflow_yaml", 1, vec![text(OTHER), text("q")], rows(other)),
        call(
            "get_workflow",
            1,
            vec![text("executed"), text("1")],
            rows(|r| {
                Ok(only::<&str>(r, 0)? == Some("executed")
                    && only::<&str>(r, 1)? == Some("1")
                    && only::<&str>(r, 2)?.is_some_and(|hash| hash.len() == 64)
                    && only::<Option<&str>>(r, 3)? == Some(Some("q"))
                    && only::<Json>(r, 4)?.is_some_and(|document| document["name"] == "executed")
                    && only::<bool>(r, 5)? == Some(true)
                    && only::<Option<&str>>(r, 6)? == Some(None)
                    && only::<Option<bool>>(r, 7)? == Some(Some(false))
                    && only::<Option<DateTime<Utc>>>(r, 8)? == Some(None)
                    && only::<DateTime<Utc>>(r, 9)? == Some(noon(0))
                    && only::<&str>(r, 10)?.is_some())
            }),
        ),
        Call {
            before: SCHEDULED,
            ..call(
                "list_workflows",
                0,
                vec![],
                rows(|r| {
                    Ok(r.len() == 2
                        && r[1].try_get::<_, &str>(0)? == "hourly"
                        && r[1].try_get::<_, &str>(1)? == "2.0.0"
                        && r[1].try_get::<_, bool>(4)?
                        && r[1].try_get::<_, &str>(5)? == "0 * * * *"
                        && r[1].try_get::<_, Option<bool>>(6)? == Some(false)
                        && r[1].try_get::<_, DateTime<Utc>>(7)? == noon(60)
                        && r[1].try_get::<_, DateTime<Utc>>(8)? == noon(0))
                }),
            )
        },
        call("set_current_version", 2, vec![text("executed"), text("1")], VOID),
        Call {
            before: SPARE,
            ..call(
                "delete_workflow",
                1,
                vec![text("spare"), text("1")],
                rows(|r| Ok(only::<i32>(r, 0)? == Some(1))),
            )
        },
        call("pause_workflow", 1, vec![text("executed")], VOID),
        call("resume_workflow", 1, vec![text("executed")], VOID),
        Call {
            before: SCHEDULED,
            ..call("run_schedules", 0, vec![int(10)], rows(|r| Ok(only::<i32>(r, 0)? == Some(1))))
        },
        call(
            "workflow_diagram",
            1,
            vec![text("executed"), text("1")],
            rows(|r| Ok(only::<&str>(r, 0)?.is_some_and(|text| text.starts_with("flowchart")))),
        ),
    ]
}

pub fn runs(executed: Uuid) -> Vec<Call> {
    vec![
        call(
            "start_workflow",
            1,
            vec![
                text("executed"),
                text("1"),
                doc(json!({"in": 1})),
                text("q"),
                doc(json!({"created_by": "tester", "tags": {"a": 1}, "idempotency_key": "k"})),
            ],
            rows(|r| Ok(only::<Uuid>(r, 0)?.is_some())),
        ),
        call("start_workflow", 1, start_with_nulls(), rows(|r| Ok(only::<Uuid>(r, 0)?.is_some()))),
        Call {
            before: WAITING,
            ..call(
                "list_event_waits",
                0,
                vec![text("hello"), text("q")],
                rows(|r| {
                    Ok(r.len() == 1
                        && r[0].try_get::<_, Uuid>(0).is_ok()
                        && r[0].try_get::<_, &str>(1)? == "waits"
                        && r[0].try_get::<_, &str>(2)? == "w"
                        && r[0].try_get::<_, &str>(3)? == "q"
                        && r[0].try_get::<_, &str>(4)? == "hello"
                        && r[0].try_get::<_, Option<DateTime<Utc>>>(5)? == Some(noon(1)))
                }),
            )
        },
        call("workflow_run_steps", 1, vec![id(executed)], rows(steps)),
        call(
            "workflow_run_context",
            1,
            vec![id(executed)],
            rows(|r| {
                let empty = json!({"inputs": {}, "variables": {}, "results": {}});
                Ok(only::<Json>(r, 0)? == Some(empty))
            }),
        ),
        call(
            "workflow_run_diagram",
            1,
            vec![id(executed)],
            rows(|r| Ok(only::<&str>(r, 0)?.is_some_and(|text| text.contains("running")))),
        ),
        call(
            "add_workflow_items",
            3,
            vec![id(executed), text("each"), doc(json!([1, {"n": 2}]))],
            VOID,
        ),
        Call {
            before: CANCELLED,
            ..call("retry_workflow_run", 1, vec![id(executed), text("each")], VOID)
        },
        call("pause_workflow_run", 1, vec![id(executed)], VOID),
        Call { before: PAUSED, ..call("resume_workflow_run", 1, vec![id(executed)], VOID) },
        call("skip_step", 2, vec![id(executed), text("each"), doc(json!({"n": 1}))], VOID),
        call("fail_step", 2, vec![id(executed), text("each"), text("why")], VOID),
        Call {
            before: NEXT_DAY,
            ..call(
                "advance_timers",
                0,
                vec![text("q"), int(10)],
                rows(|r| Ok(only::<i32>(r, 0)? == Some(1))),
            )
        },
    ]
}

fn start_with_nulls() -> Vec<Arg> {
    vec![text("executed"), Arg::Text(None), Arg::Json(None), Arg::Text(None), Arg::Json(None)]
}

/// The loop is running and so is the wait in its first iteration.
fn steps(rows: &[Row]) -> Result<bool, tokio_postgres::Error> {
    let [each, day] = rows else { return Ok(false) };
    Ok(each.try_get::<_, &str>(0)? == "each"
        && each.try_get::<_, &str>(2)? == "foreach"
        && day.try_get::<_, &str>(0)? == "each[0]/day"
        && day.try_get::<_, &str>(1)? == "day"
        && day.try_get::<_, &str>(2)? == "wait"
        && day.try_get::<_, &str>(3)? == "running"
        && day.try_get::<_, &str>(4)? == "q"
        && day.try_get::<_, Option<Uuid>>(5)?.is_none()
        && day.try_get::<_, i32>(6)? == 0
        && day.try_get::<_, DateTime<Utc>>(7)? == noon(0)
        && day.try_get::<_, Option<DateTime<Utc>>>(8)?.is_none()
        && day.try_get::<_, Option<Json>>(9)?.is_none()
        && day.try_get::<_, Option<Json>>(10)?.is_none()
        && day.try_get::<_, Option<Json>>(11)?.is_some_and(|on| on.get("until").is_some())
        && day.try_get::<_, Option<Json>>(12)?.is_none())
}
