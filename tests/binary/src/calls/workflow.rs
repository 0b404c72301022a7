//! Workflow runs.

use chrono::{DateTime, Utc};
use serde_json::json;
use uuid::Uuid;

use super::{VOID, at, call, doc, id, int, noon, only, rows, text};
use crate::call::{Arg, Call};
use crate::database::{flow, run, task};

pub fn runs() -> Vec<Call> {
    vec![
        call(
            "create_workflow_run",
            2,
            vec![
                text("flow"),
                text("2"),
                doc(json!({"in": 1})),
                id(run(1)),
                text("tester"),
                doc(json!({"a": 1})),
                text("hash"),
                text("q"),
            ],
            rows(|r| Ok(only::<Uuid>(r, 0)?.is_some())),
        ),
        call(
            "update_workflow_run_status",
            2,
            vec![
                id(flow(1)),
                text("completed"),
                doc(json!({"out": 1})),
                Arg::Json(None),
                at(0),
                at(5),
                int(3),
            ],
            VOID,
        ),
        call(
            "get_workflow_run",
            1,
            vec![id(flow(1))],
            rows(|r| {
                Ok(only::<Uuid>(r, 0)? == Some(flow(1))
                    && only::<&str>(r, 4)? == Some("running")
                    && only::<DateTime<Utc>>(r, 12)? == Some(noon(0)))
            }),
        ),
        call(
            "list_workflow_runs",
            0,
            vec![
                text("flow"),
                text("1"),
                Arg::Texts(vec!["running", "failed"]),
                doc(json!({"a": 1})),
                text("tester"),
                at(-60),
                at(60),
                int(10),
                Arg::Uuid(None),
            ],
            rows(|r| Ok(only::<Uuid>(r, 0)? == Some(flow(1)))),
        ),
        call(
            "workflow_run_tasks",
            1,
            vec![id(flow(1))],
            rows(|r| {
                Ok(only::<&str>(r, 0)? == Some("q")
                    && only::<Uuid>(r, 1)? == Some(task(1))
                    && only::<Option<DateTime<Utc>>>(r, 7)? == Some(None))
            }),
        ),
        call(
            "workflow_run_progress",
            1,
            vec![id(flow(1))],
            rows(|r| {
                Ok(only::<i64>(r, 0)? == Some(1)
                    && only::<i64>(r, 2)? == Some(1)
                    && only::<f64>(r, 7)? == Some(0.0)
                    && only::<i64>(r, 8)? == Some(0))
            }),
        ),
        Call {
            before: "select absurd.update_workflow_run_status(
                '00000000-0000-7000-8000-00000000f002', 'running')",
            ..call(
                "workflow_run_history",
                1,
                vec![id(flow(2))],
                rows(|r| {
                    Ok(only::<&str>(r, 1)? == Some("pending")
                        && only::<&str>(r, 2)? == Some("running"))
                }),
            )
        },
        call(
            "cancel_workflow_run",
            1,
            vec![id(flow(1)), text("enough")],
            rows(|r| Ok(only::<i32>(r, 0)? == Some(1))),
        ),
    ]
}
