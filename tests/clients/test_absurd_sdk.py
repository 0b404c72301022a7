"""absurd-sdk, unmodified from PyPI, with a worker that is a process of its own."""

import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from absurd_sdk import Absurd

from support import in_order, row, rows, table, task, until, value

WORKER = Path(__file__).with_name("sdk_worker.py")


@pytest.fixture
def app(database, conn, queue):
    """The SDK on a queue that a running worker works for; the worker must stop when told to."""
    conn.execute("create table if not exists public.work (task_id uuid, what text)")
    worker = subprocess.Popen(
        [sys.executable, str(WORKER), database, queue],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    sdk = Absurd(database, queue_name=queue)
    try:
        assert worker.stdout.readline() == "ready\n", worker.communicate(timeout=30)[1]
        yield sdk
        assert worker.poll() is None, worker.stderr.read()
        worker.send_signal(signal.SIGTERM)
        out, problems = worker.communicate(timeout=30)
        assert (worker.returncode, out) == (0, "stopped\n"), problems
    finally:
        worker.kill()
        worker.wait()
        sdk.close()


def spawn(app, name, params=None, **kwargs):
    return app.spawn(name, params or {}, queue=app._queue_name, **kwargs)


def done(conn, task_id):
    """What the task's code really did, and how often."""
    counts = rows(
        conn, "select what, count(*) from public.work where task_id = %s group by 1", task_id
    )
    return {found["what"]: found["count"] for found in counts}


def test_steps_a_sleep_and_an_event(app, conn, queue):
    spawned = spawn(app, "order", {"item": "lamp", "amount": 12})
    (wait,) = until(lambda: table(conn, "w", queue), "the task waits for its event")
    assert (wait["event_name"], wait["task_id"]) == ("shipped:lamp", spawned["task_id"])
    assert app.fetch_task_result(spawned["task_id"]).state == "sleeping"
    app.emit_event("shipped:lamp", {"parcel": "P-1"})

    result = app.await_task_result(spawned["task_id"], timeout=30)
    assert result.state == "completed"
    assert result.result == {
        "reserved": {"item": "lamp", "reserved": True},
        "charged": {"amount": 12},
        "shipment": {"parcel": "P-1"},
    }
    # Three times the code ran from its top: at first, after the sleep, after the event.
    assert done(conn, spawned["task_id"]) == {"start": 3, "reserve": 1, "charge": 1}

    stored = task(conn, queue, spawned["task_id"])
    assert (stored["state"], stored["attempts"]) == ("completed", 1)
    assert stored["completed_payload"] == result.result
    (run,) = table(conn, "r", queue)
    assert (run["run_id"], run["state"]) == (spawned["run_id"], "completed")
    assert (run["claimed_by"], run["wake_event"]) == ("sdk-worker", None)
    checkpoints = {
        found["checkpoint_name"]: found for found in table(conn, "c", queue, order="updated_at")
    }
    assert set(checkpoints) == {"reserve", "cool-down", "charge", "$awaitEvent:shipped:lamp"}
    assert checkpoints["$awaitEvent:shipped:lamp"]["state"] == {"parcel": "P-1"}
    slept = checkpoints["charge"]["updated_at"] - checkpoints["reserve"]["updated_at"]
    assert slept >= timedelta(milliseconds=250)
    assert in_order(stored["enqueue_at"], stored["first_started_at"], run["completed_at"])
    assert table(conn, "w", queue) == []


def test_retried_once(app, conn, queue):
    spawned = spawn(
        app, "flaky", max_attempts=3, retry_strategy={"kind": "fixed", "base_seconds": 0}
    )
    result = app.await_task_result(spawned["task_id"], timeout=30)
    assert (result.state, result.result) == ("completed", {"first": "kept"})
    assert done(conn, spawned["task_id"]) == {"first": 1, "try": 2}
    first, second = table(conn, "r", queue, order="attempt")
    assert (first["attempt"], first["state"]) == (1, "failed")
    assert first["failure_reason"]["name"] == "RuntimeError"
    assert first["failure_reason"]["message"] == "first try goes wrong"
    assert (second["attempt"], second["state"]) == (2, "completed")
    stored = task(conn, queue, spawned["task_id"])
    assert (stored["attempts"], stored["last_attempt_run"]) == (2, second["run_id"])


def test_failed_for_good_and_retried_by_hand(app, conn, queue):
    spawned = spawn(app, "flaky", max_attempts=1)
    result = app.await_task_result(spawned["task_id"], timeout=30)
    assert result.state == "failed"
    assert result.failure["message"] == "first try goes wrong"
    again = app.retry_task(spawned["task_id"])
    assert (again["task_id"], again["attempt"], again["created"]) == (spawned["task_id"], 2, False)
    result = app.await_task_result(spawned["task_id"], timeout=30)
    assert (result.state, result.result) == ("completed", {"first": "kept"})
    assert done(conn, spawned["task_id"]) == {"first": 1, "try": 2}
    with pytest.raises(psycopg.Error) as refusal:
        app.retry_task(spawned["task_id"])
    assert refusal.value.sqlstate == "55000"
    assert "is not currently failed" in refusal.value.diag.message_primary


def test_event_that_times_out(app, conn, queue):
    spawned = spawn(app, "impatient")
    result = app.await_task_result(spawned["task_id"], timeout=30)
    assert (result.state, result.result) == ("completed", {"gave up": "TimeoutError"})
    assert table(conn, "w", queue) == []


def test_cancellation_observed_by_the_worker(app, conn, queue):
    spawned = spawn(app, "long")
    until(lambda: done(conn, spawned["task_id"]) == {"started": 1}, "the task has started")
    app.cancel_task(spawned["task_id"])
    until(lambda: "cancelled" in done(conn, spawned["task_id"]), "the worker has noticed")
    assert done(conn, spawned["task_id"]) == {"started": 1, "cancelled": 1}
    (run,) = table(conn, "r", queue)
    stored = task(conn, queue, spawned["task_id"])
    assert (run["state"], stored["state"], run["failure_reason"]) == ("cancelled",) * 2 + (None,)
    assert stored["cancelled_at"] is not None
    assert app.fetch_task_result(spawned["task_id"]).state == "cancelled"
    # The worker goes on with other tasks.
    result = app.await_task_result(spawn(app, "flaky", max_attempts=2)["task_id"], timeout=30)
    assert result.state == "completed"


def test_spawned_with_one_key_runs_once(app, conn, queue):
    first = spawn(app, "flaky", max_attempts=2, idempotency_key="once")
    again = spawn(app, "flaky", max_attempts=2, idempotency_key="once")
    assert again["task_id"] == first["task_id"]
    assert app.await_task_result(first["task_id"], timeout=30).state == "completed"
    assert done(conn, first["task_id"]) == {"first": 1, "try": 2}
    assert len(table(conn, "t", queue)) == 1


def test_queue_and_its_policy(app):
    app.create_queue("policy", cleanup_ttl="3 days", cleanup_limit=5, detach_mode="none")
    policy = app.get_queue_policy("policy")
    assert policy == {
        "queue_name": "policy",
        "storage_mode": "unpartitioned",
        "partition_lookahead": timedelta(days=28),
        "partition_lookback": timedelta(days=1),
        "cleanup_ttl": timedelta(days=3),
        "cleanup_limit": 5,
        "detach_mode": "none",
        "detach_min_age": timedelta(days=30),
    }
    assert "policy" in app.list_queues()
    app.drop_queue("policy")
    assert "policy" not in app.list_queues()
    assert app.get_queue_policy("policy") is None


def test_task_of_a_workflow_run(app, conn):
    workflow_run_id = value(conn, "select absurd.create_workflow_run('shop', '1')")
    spawned = spawn(
        app, "flaky", max_attempts=2, headers={"workflow_run_id": str(workflow_run_id)}
    )
    assert app.await_task_result(spawned["task_id"], timeout=30).state == "completed"
    found = row(conn, "select * from absurd.workflow_run_tasks(%s)", workflow_run_id)
    assert (found["task_id"], found["state"], found["attempts"]) == (
        spawned["task_id"],
        "completed",
        2,
    )
    assert found["result"] == {"first": "kept"}
