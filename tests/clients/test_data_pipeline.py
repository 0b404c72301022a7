"""examples/data_pipeline.py, run twice as a process; judged by what the database then holds."""

import csv
import json

import psycopg
import pytest
from absurd_client import AbsurdClient

from support import (
    ORDERS,
    SEARCH_PATH,
    expected_revenue,
    in_order,
    row,
    rows,
    run_example,
    table,
    value,
)

QUEUE = "pipeline"


@pytest.fixture(scope="module")
def printed(database):
    """Both runs' output. Between them a task and an event of the last month are planted."""
    first = run_example(database)
    with psycopg.connect(database, autocommit=True, options=SEARCH_PATH) as conn:
        client = AbsurdClient(queue_name=QUEUE)
        client.spawn_task(conn, "relic", {})
        ((run_id, *_),) = client.claim_task(conn)
        client.complete_task(conn, run_id)
        client.emit_event(conn, "relic")
        conn.execute(
            "update absurd.r_pipeline set completed_at = completed_at - interval '8 days'"
            " where run_id = %s",
            (run_id,),
        )
        conn.execute(
            "update absurd.e_pipeline set emitted_at = emitted_at - interval '8 days'"
            " where event_name = 'relic'"
        )
        assert value(conn, "select count(*) from absurd.t_pipeline where task_name = 'relic'") == 1
    return first, run_example(database)


@pytest.fixture
def workflow_runs(conn, printed):
    """The workflow runs in the order of their creation: good, bad, good, bad."""
    return rows(conn, "select * from absurd.workflow_run order by created_at")


def linked(conn, workflow_run):
    return {
        found["task_name"]: found
        for found in rows(
            conn, "select * from absurd.workflow_run_tasks(%s)", workflow_run["workflow_run_id"]
        )
    }


def test_workflow_runs_as_created(workflow_runs):
    assert [run["status"] for run in workflow_runs] == ["completed", "failed"] * 2
    for run, source in zip(workflow_runs, ["orders.csv", "orders-of-tomorrow.csv"] * 2):
        assert (run["workflow_name"], run["workflow_version"]) == ("data_pipeline", "1.0.0")
        assert run["inputs"] == {"source": source, "target": "public.daily_revenue"}
        assert run["tags"] == {"environment": "example", "team": "data-eng"}
        assert run["created_by"] == "etl_system"
        assert run["absurd_queue"] == QUEUE
        assert len(run["workflow_hash"]) == 64
        assert run["started_at"] <= run["completed_at"]
        columns = ("created_at", "started_at", "completed_at", "updated_at")
        assert in_order(*[run[column] for column in columns])


def test_outcome_of_workflow_runs(conn, workflow_runs):
    revenue, accepted, rejected = expected_revenue(conn)
    for run in workflow_runs[0::2]:
        assert run["result"] == {"lines": len(revenue), "accepted": accepted, "rejected": rejected}
        assert (run["error"], run["task_count"]) == (None, 3)
    for run in workflow_runs[1::2]:
        assert run["error"]["type"] == "FileNotFoundError"
        assert run["error"]["message"] == "no file orders-of-tomorrow.csv"
        assert (run["result"], run["task_count"]) == (None, 2)


def test_history(conn, workflow_runs):
    for run in workflow_runs:
        history = rows(
            conn, "select * from absurd.workflow_run_history(%s)", run["workflow_run_id"]
        )
        assert [(change["from_status"], change["to_status"]) for change in history] == [
            ("pending", "running"),
            ("running", run["status"]),
        ]
        assert in_order(run["created_at"], history[0]["at"], history[1]["at"], run["updated_at"])
        assert {change["changed_by"] for change in history} == {conn.info.user}


def test_failed_run_refused_to_run_again(printed, workflow_runs):
    for output, failed in zip(printed, workflow_runs[1::2]):
        (line,) = [line for line in output.splitlines() if "SQLSTATE" in line]
        assert str(failed["workflow_run_id"]) in line
        assert "from failed to running" in line
        assert "(SQLSTATE 55000)" in line


def test_tasks_of_the_good_runs(conn, workflow_runs):
    revenue, accepted, _ = expected_revenue(conn)
    for run in workflow_runs[0::2]:
        tasks = linked(conn, run)
        assert list(tasks) == ["extract", "transform", "load"]
        assert {task["queue_name"] for task in tasks.values()} == {QUEUE}
        assert {task["state"] for task in tasks.values()} == {"completed"}
        assert [task["attempts"] for task in tasks.values()] == [2, 1, 1]
        assert tasks["extract"]["result"] == {"rows": len(source_rows())}
        assert tasks["transform"]["result"]["accepted"] == accepted
        assert tasks["load"]["result"] == {"lines": len(revenue), "approved_by": "finance"}
        for task in tasks.values():
            assert task["failure_reason"] is None
            assert in_order(
                run["started_at"],
                task["enqueue_at"],
                task["first_started_at"],
                task["finished_at"],
                run["completed_at"],
            )


def test_tasks_of_the_bad_runs(conn, workflow_runs):
    for run in workflow_runs[1::2]:
        tasks = linked(conn, run)
        assert {name: task["state"] for name, task in tasks.items()} == {
            "extract": "failed",
            "load": "cancelled",
        }
        assert tasks["extract"]["failure_reason"] == run["error"]
        assert tasks["load"]["first_started_at"] is None
        assert tasks["load"]["finished_at"] is not None


def test_progress(conn, workflow_runs):
    for run, counts in zip(
        workflow_runs, [(3, 3, 0, 0, 100), (2, 0, 1, 1, 0)] * 2, strict=True
    ):
        found = row(
            conn, "select * from absurd.workflow_run_progress(%s)", run["workflow_run_id"]
        )
        names = ("total", "completed", "failed", "cancelled", "percent")
        assert tuple(found[name] for name in names) == counts
        assert (found["pending"], found["running"], found["sleeping"]) == (0, 0, 0)


def test_link_is_stored_on_every_task(conn, workflow_runs):
    for run in workflow_runs:
        for found in linked(conn, run).values():
            (task,) = table(conn, "t", QUEUE, "task_id = %s", found["task_id"])
            assert task["workflow_run_id"] == run["workflow_run_id"]
            assert task["headers"] == {"workflow_run_id": str(run["workflow_run_id"])}
            assert task["params"]["workflow_run_id"] == str(run["workflow_run_id"])


def test_no_other_tasks_and_none_open(conn, workflow_runs):
    tasks = table(conn, "t", QUEUE)
    assert len(tasks) == 10
    assert {task["workflow_run_id"] for task in tasks} == {
        run["workflow_run_id"] for run in workflow_runs
    }


def source_rows():
    with ORDERS.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_lost_attempt_and_the_one_that_resumed(conn, workflow_runs):
    for workflow_run in workflow_runs[0::2]:
        task_id = linked(conn, workflow_run)["extract"]["task_id"]
        lost, heir = table(conn, "r", QUEUE, "task_id = %s", task_id, order="attempt")
        assert (lost["attempt"], lost["state"], lost["claimed_by"]) == (1, "failed", "etl-lost")
        assert lost["failure_reason"]["name"] == "$ClaimTimeout"
        assert lost["failure_reason"]["workerId"] == "etl-lost"
        assert lost["failure_reason"]["attempt"] == 1
        assert (heir["attempt"], heir["state"], heir["claimed_by"]) == (2, "completed", "etl-1")
        # One checkpoint, written by the lost attempt and not again by its heir.
        (checkpoint,) = table(conn, "c", QUEUE, "task_id = %s", task_id)
        assert checkpoint["checkpoint_name"] == "rows"
        assert checkpoint["owner_run_id"] == lost["run_id"]
        assert in_order(checkpoint["updated_at"], lost["failed_at"], heir["started_at"])
        assert checkpoint["state"] == {"value": source_rows()}


def test_transform_slept_and_kept_its_run(conn, workflow_runs):
    for workflow_run in workflow_runs[0::2]:
        task_id = linked(conn, workflow_run)["transform"]["task_id"]
        (run,) = table(conn, "r", QUEUE, "task_id = %s", task_id)
        assert (run["attempt"], run["state"]) == (1, "completed")
        assert (run["started_at"] - run["created_at"]).total_seconds() >= 0.4
        # extend_claim gave the last claim 120 seconds instead of 30.
        assert (run["claim_expires_at"] - run["started_at"]).total_seconds() >= 119
        checkpoints = {
            found["checkpoint_name"]: found["state"]
            for found in table(conn, "c", QUEUE, "task_id = %s", task_id)
        }
        assert set(checkpoints) == {"claim_extension", "clean", "aggregate", "progress"}
        assert checkpoints["progress"] == {"done": 2, "of": 2}
        assert checkpoints["claim_extension"]["extend_by"] == 120


def test_load_waited_for_its_approval(conn, workflow_runs):
    for workflow_run in workflow_runs[0::2]:
        task_id = linked(conn, workflow_run)["load"]["task_id"]
        (run,) = table(conn, "r", QUEUE, "task_id = %s", task_id)
        assert (run["attempt"], run["state"]) == (1, "completed")
        (event,) = table(
            conn, "e", QUEUE, "event_name = %s", f"approval:{workflow_run['workflow_run_id']}"
        )
        assert event["payload"] == {"approved_by": "finance"}
        assert in_order(event["emitted_at"], run["started_at"])
    assert table(conn, "w", QUEUE) == []


def test_loaded_table(conn, workflow_runs):
    revenue, _, _ = expected_revenue(conn)
    loaded = conn.execute(
        "select day, country, currency, orders, revenue from public.daily_revenue order by 1, 2, 3"
    ).fetchall()
    assert loaded == revenue


def test_rejected_orders_are_kept_with_their_reason(conn, workflow_runs):
    for workflow_run in workflow_runs[0::2]:
        rejected = linked(conn, workflow_run)["transform"]["result"]["rejected"]
        reasons = {found["order_id"]: found["reason"] for found in rejected}
        assert reasons == {
            "1006": "no customer",
            "1010": "negative amount",
            "1011": "duplicate order",
            "1014": "malformed amount",
            "1021": "malformed amount",
        }, json.dumps(rejected)


def test_cleanup_took_what_was_old_and_nothing_else(conn, printed, workflow_runs):
    assert "0 tasks and 0 events removed" in printed[0]
    assert "1 tasks and 1 events removed" in printed[1]
    assert table(conn, "t", QUEUE, "task_name = 'relic'") == []
    assert {event["event_name"] for event in table(conn, "e", QUEUE)} == {
        f"approval:{run['workflow_run_id']}" for run in workflow_runs[0::2]
    }
    # Nothing of the old task is left behind in the other tables.
    for prefix in "rc":
        without_task = "task_id not in (select task_id from absurd.t_pipeline)"
        assert table(conn, prefix, QUEUE, without_task) == []
