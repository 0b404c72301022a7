//! Queues, retention, partitions, and what needs no queue.

use chrono::{DateTime, Utc};
use serde_json::json;
use uuid::Uuid;

use super::{Check, VOID, at, call, doc, id, int, noon, only, rows, text};
use crate::call::{Arg, Call, Outcome};

/// What functions that need pg_cron answer without it.
const NO_CRON: Outcome = Outcome::Refused("55000");
/// The oid of the role that made the cluster.
const SUPERUSER: u32 = 10;
/// A partitioned queue, and one of its weeks taken off.
const PARTITIONED: &str = "select absurd.create_queue('p', 'partitioned')";
const DETACHED: &str = "select absurd.create_queue('p', 'partitioned');
    alter table absurd.t_p detach partition absurd.t_p_001";

pub fn queues() -> Vec<Call> {
    vec![
        call(
            "validate_queue_name",
            1,
            vec![text("my queue")],
            rows(|r| Ok(only::<&str>(r, 0)? == Some("my queue"))),
        ),
        call("create_queue", 1, vec![text("new")], VOID),
        call("create_queue", 2, vec![text("new"), text("unpartitioned")], VOID),
        call("create_queue", 2, vec![text("new"), text("partitioned")], VOID),
        call("drop_queue", 1, vec![text("q")], VOID),
        call("list_queues", 0, vec![], rows(|r| Ok(only::<&str>(r, 0)? == Some("q")))),
        call("ensure_queue_tables", 1, vec![text("q")], VOID),
        call(
            "get_queue_policy",
            1,
            vec![text("q")],
            rows(|r| {
                Ok(only::<&str>(r, 1)? == Some("unpartitioned") && only::<i32>(r, 6)? == Some(1000))
            }),
        ),
        call("set_queue_policy", 2, vec![text("q"), doc(json!({"cleanup_limit": 7}))], VOID),
    ]
}

pub fn retention() -> Vec<Call> {
    const LATER: &str = "set local absurd.fake_now = '2030-06-01 12:00:00+00'";
    let one: Check = |r| Ok(only::<i32>(r, 0)? == Some(1));
    vec![
        Call {
            before: LATER,
            ..call("cleanup_tasks", 2, vec![text("q"), int(60), int(10)], rows(one))
        },
        Call {
            before: LATER,
            ..call("cleanup_events", 2, vec![text("q"), int(60), int(10)], rows(one))
        },
        Call {
            before: LATER,
            ..call(
                "cleanup_all_queues",
                0,
                vec![text("q")],
                rows(|r| {
                    Ok(only::<&str>(r, 0)? == Some("q")
                        && only::<i32>(r, 1)? == Some(1)
                        && only::<i32>(r, 2)? == Some(1))
                }),
            )
        },
        Call {
            before: ORPHAN,
            ..call(
                "verify",
                0,
                vec![text("q")],
                rows(|r| {
                    Ok(r.len() == 1
                        && r[0].try_get::<_, &str>(0)? == "q"
                        && r[0].try_get::<_, &str>(1)? == "orphan wait"
                        && r[0].try_get::<_, Uuid>(2)? == Uuid::max()
                        && r[0].try_get::<_, &str>(3)?.contains("'e'"))
                }),
            )
        },
    ]
}

/// A wait of no run.
const ORPHAN: &str = "insert into absurd.w_q (task_id, run_id, step_name, event_name)
    values ('ffffffff-ffff-ffff-ffff-ffffffffffff', 'ffffffff-ffff-ffff-ffff-ffffffffffff', 's', 'e')";

pub fn partitions() -> Vec<Call> {
    vec![
        Call { before: PARTITIONED, ..call("ensure_partitions", 0, vec![text("p")], VOID) },
        Call {
            before: PARTITIONED,
            ..call("list_detach_candidates", 0, vec![text("p")], rows(|r| Ok(r.is_empty())))
        },
        Call {
            before: DETACHED,
            ..call(
                "drop_detached_partition",
                1,
                vec![text("t_p_001"), text("absurd_drop_run_x")],
                rows(|r| Ok(only::<bool>(r, 0)? == Some(true))),
            )
        },
        Call {
            before: PARTITIONED,
            ..call(
                "detach_partition",
                2,
                vec![text("t_p"), text("t_p_001")],
                rows(|r| Ok(only::<bool>(r, 0)? == Some(true))),
            )
        },
        call("schedule_detach_jobs", 0, vec![text("q")], NO_CRON),
        call(
            "enable_cron",
            0,
            vec![text("q"), text("5 * * * *"), text("17 * * * *"), text("29 * * * *")],
            NO_CRON,
        ),
        call("disable_cron", 0, vec![text("q")], NO_CRON),
    ]
}

pub fn rights() -> Vec<Call> {
    let grant = |name| call(name, 2, vec![Arg::Role(SUPERUSER), text("viewer"), text("q")], VOID);
    vec![
        grant("grant_access"),
        grant("revoke_access"),
        call("adopt_queue", 1, vec![text("q")], VOID),
        call("fast_path", 0, vec![], rows(|r| Ok(!r.is_empty()))),
    ]
}

pub fn pure() -> Vec<Call> {
    vec![
        call(
            "current_time",
            0,
            vec![],
            rows(|r| Ok(only::<DateTime<Utc>>(r, 0)? == Some(noon(0)))),
        ),
        call("version", 0, vec![], rows(|r| Ok(only::<&str>(r, 0)?.is_some()))),
        call("get_schema_version", 0, vec![], rows(|r| Ok(only::<&str>(r, 0)? == Some("0.5.1")))),
        call(
            "portable_uuidv7",
            0,
            vec![],
            rows(|r| Ok(only::<Uuid>(r, 0)?.is_some_and(|id| id.get_version_num() == 7))),
        ),
        call(
            "uuidv7_timestamp",
            1,
            vec![id(Uuid::nil())],
            rows(|r| Ok(only::<Option<DateTime<Utc>>>(r, 0)? == Some(None))),
        ),
        call(
            "uuidv7_floor",
            1,
            vec![at(0)],
            rows(|r| Ok(only::<Uuid>(r, 0)?.is_some_and(|id| id.get_version_num() == 7))),
        ),
        call(
            "week_bucket_utc",
            1,
            vec![at(0)],
            rows(|r| Ok(only::<DateTime<Utc>>(r, 0)? == Some(noon(-36 * 60)))),
        ),
        call(
            "partition_week_tag",
            1,
            vec![at(0)],
            rows(|r| Ok(only::<&str>(r, 0)? == Some("001"))),
        ),
        call(
            "retry_delay_seconds",
            2,
            vec![doc(json!({"kind": "fixed", "base_seconds": 5})), int(3)],
            rows(|r| Ok(only::<f64>(r, 0)? == Some(5.0))),
        ),
        call(
            "workflow_step_name",
            3,
            vec![text("flow"), text("1.0"), text("step")],
            rows(|r| Ok(only::<&str>(r, 0)? == Some("flow__1.0__step"))),
        ),
        call(
            "parse_workflow_step_name",
            1,
            vec![text("flow__1.0__step")],
            rows(|r| {
                Ok(only::<&str>(r, 0)? == Some("flow")
                    && only::<&str>(r, 1)? == Some("1.0")
                    && only::<&str>(r, 2)? == Some("step"))
            }),
        ),
    ]
}
