"""absurd-sdk for Python, sync and async: everything a task can do, in worker processes that take
several tasks at once, on unpartitioned and partitioned queues."""

import asyncio
import inspect
import uuid
from datetime import datetime, timedelta, timezone

import psycopg
import pytest
from absurd_sdk import Absurd, AsyncAbsurd, TimeoutError

from ledger import TABLES
from processes import Shift, sdk_worker
from support import in_order, rows, run, states, table, task, until, value

KINDS = ["sync", "async"]
MODES = ["unpartitioned", "partitioned"]


class Blocking:
    """AsyncAbsurd called as if it were Absurd: each coroutine runs to its end."""

    def __init__(self, app: AsyncAbsurd, runner: asyncio.Runner) -> None:
        self._app = app
        self._runner = runner

    def __getattr__(self, name):
        method = getattr(self._app, name)
        if not inspect.iscoroutinefunction(method):
            return method
        return lambda *args, **kwargs: self._runner.run(method(*args, **kwargs))


@pytest.fixture(scope="module", autouse=True)
def books(database):
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute(TABLES)


@pytest.fixture(scope="module", params=KINDS)
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def client(database, kind):
    """Makes clients of a kind: `client(queue)`."""
    with asyncio.Runner() as runner:
        made = []

        def make(queue):
            if kind == "sync":
                made.append(Absurd(database, queue_name=queue))
            else:
                made.append(Blocking(AsyncAbsurd(database, queue_name=queue), runner))
            return made[-1]

        yield make
        for app in made:
            app.close()


@pytest.fixture(scope="module", params=MODES)
def mode(request):
    return request.param


@pytest.fixture(scope="module")
def app(database, client, kind, mode):
    """The SDK on a queue that two worker processes work for, and a third for its children."""
    queue = f"{kind}_{mode}"
    app = client(queue)
    app.create_queue(storage_mode=mode)
    app.create_queue(f"{queue}_children", storage_mode=mode)
    with Shift() as shift:
        shift.add(
            sdk_worker(kind, database, queue, "first"),
            sdk_worker(kind, database, queue, "second"),
            sdk_worker(kind, database, f"{queue}_children", "nurse"),
        )
        yield app


@pytest.fixture
def queue(app):
    return app._queue_name


def spawn(app, name, params=None, **kwargs):
    return app.spawn(name, params or {}, queue=app._queue_name, **kwargs)


ENDED = ("completed", "failed", "cancelled")


def finish(app, spawned):
    """The task's result, when it has ended. The client's own waiting asks less and less often."""
    task_id = spawned["task_id"]
    until(lambda: app.fetch_task_result(task_id).state in ENDED, "the task has ended")
    return app.await_task_result(task_id, timeout=1)


def done(conn, spawned):
    """What the task's code really did, and how often."""
    query = "select what, count(*) from public.work where task_id = %s group by 1"
    return {found["what"]: found["count"] for found in rows(conn, query, spawned["task_id"])}


def open_gate(conn, name):
    conn.execute("insert into public.gate values (%s)", (name,))


def new_name(what):
    return f"{what} {uuid.uuid4().hex[:8]}"


def test_steps_run_once_each(app, conn, queue):
    spawned = spawn(app, "steps", {"base": 10}, headers={"trace": "t-1"})
    result = finish(app, spawned)
    assert result.state == "completed"
    assert result.result == {
        "all": [{"sum": 11}, {"sum": 12}, ["by", "hand", None], "ünï"],
        "headers": {"trace": "t-1"},
    }
    steps = table(conn, "c", queue, "task_id = %s", spawned["task_id"], order="updated_at")
    assert [found["checkpoint_name"] for found in steps] == [
        "add", "add#2", "by hand", "decorated"
    ]  # fmt: skip
    assert {found["owner_run_id"] for found in steps} == {spawned["run_id"]}
    stored = task(conn, queue, spawned["task_id"])
    assert (stored["state"], stored["attempts"], stored["max_attempts"]) == ("completed", 1, 5)
    assert stored["completed_payload"] == result.result


def test_a_task_s_result_is_awaited(app):
    """The client's own waiting, begun before the task has ended, and given up."""
    spawned = spawn(app, "sleeper", {"seconds": 0.3})
    result = app.await_task_result(spawned["task_id"], timeout=30)
    assert (result.state, result.result) == ("completed", "awake")
    spawned = spawn(app, "sleeper", {"seconds": 3600})
    with pytest.raises(TimeoutError, match="Timed out waiting for task"):
        app.await_task_result(spawned["task_id"], timeout=0.1)
    app.cancel_task(spawned["task_id"])
    assert app.await_task_result(spawned["task_id"], timeout=30).state == "cancelled"


def test_sleep_for_seconds(app, conn, queue):
    spawned = spawn(app, "sleeper", {"seconds": 0.4})
    assert finish(app, spawned).result == "awake"
    assert done(conn, spawned) == {"start": 2, "before": 1, "after": 1}
    at = {
        found["what"]: found["at"]
        for found in rows(
            conn, "select what, at from public.work where task_id = %s", spawned["task_id"]
        )
    }
    assert at["after"] - at["before"] >= timedelta(seconds=0.35)
    # One run: a sleep is no failure.
    (only,) = table(conn, "r", queue, "task_id = %s", spawned["task_id"])
    assert (only["run_id"], only["attempt"]) == (spawned["run_id"], 1)


def test_sleep_until_a_moment(app, conn, queue):
    moment = datetime.now(timezone.utc) + timedelta(seconds=0.6)
    spawned = spawn(app, "sleeper", {"until": moment.isoformat()})
    until(
        lambda: run(conn, queue, spawned["run_id"])["state"] == "sleeping", "the task sleeps"
    )
    due = run(conn, queue, spawned["run_id"])["available_at"]
    assert abs(due - moment) < timedelta(seconds=0.25)
    assert finish(app, spawned).result == "awake"
    assert in_order(moment, run(conn, queue, spawned["run_id"])["completed_at"])


def test_sleep_until_a_moment_that_has_passed(app, conn, queue):
    spawned = spawn(app, "sleeper", {"until": "2020-01-01T00:00:00+00:00"})
    assert finish(app, spawned).result == "awake"
    assert done(conn, spawned) == {"start": 1, "before": 1, "after": 1}


def test_event_without_timeout(app, conn, queue):
    event = new_name("paid")
    spawned = spawn(app, "listener", {"event": event})
    (wait,) = until(
        lambda: table(conn, "w", queue, "task_id = %s", spawned["task_id"]), "a registered wait"
    )
    assert (wait["event_name"], wait["timeout_at"]) == (event, None)
    assert app.fetch_task_result(spawned["task_id"]).state == "sleeping"
    app.emit_event(event, {"amount": 12})
    app.emit_event(event, {"amount": 13})  # the first wins
    assert finish(app, spawned).result == {"heard": {"amount": 12}}
    assert done(conn, spawned) == {"start": 2}
    assert table(conn, "w", queue, "task_id = %s", spawned["task_id"]) == []


def test_event_that_has_happened(app, conn):
    event = new_name("paid")
    app.emit_event(event)
    spawned = spawn(app, "listener", {"event": event, "timeout": 30})
    assert finish(app, spawned).result == {"heard": None}
    assert done(conn, spawned) == {"start": 1}


def test_event_within_its_timeout(app, conn, queue):
    event = new_name("paid")
    spawned = spawn(app, "listener", {"event": event, "timeout": 60})
    (wait,) = until(
        lambda: table(conn, "w", queue, "task_id = %s", spawned["task_id"]), "a registered wait"
    )
    assert wait["timeout_at"] - wait["created_at"] == timedelta(seconds=60)
    speaker = spawn(app, "speaker", {"event": event, "payload": [1, 2]})
    assert finish(app, speaker).result == "said"
    assert finish(app, spawned).result == {"heard": [1, 2]}


def test_event_that_times_out_and_another_one(app, conn, queue):
    event, other = new_name("never"), new_name("later")
    spawned = spawn(app, "listener", {"event": event, "timeout": 1, "then": other})
    until(
        lambda: [
            found["event_name"]
            for found in table(conn, "w", queue, "task_id = %s", spawned["task_id"])
        ]
        == [other],
        "the task waits for the second event",
    )
    app.emit_event(other, "at last")
    assert finish(app, spawned).result == {"gave up": event, "then": "at last"}
    assert table(conn, "w", queue, "task_id = %s", spawned["task_id"]) == []


def test_heartbeat_extends_the_lease(app, conn, queue):
    gate = new_name("gate")
    spawned = spawn(app, "beating", {"seconds": 900, "gate": gate})
    until(lambda: "beat" in done(conn, spawned), "the heartbeat")
    stored = run(conn, queue, spawned["run_id"])
    assert stored["claim_expires_at"] - stored["last_heartbeat"] == timedelta(seconds=900)
    open_gate(conn, gate)
    assert finish(app, spawned).result == "alive"
    later = run(conn, queue, spawned["run_id"])["last_heartbeat"]
    assert later > stored["last_heartbeat"]


def test_retries_until_it_works(app, conn, queue):
    strategy = {"kind": "fixed", "base_seconds": 0}
    spawned = spawn(app, "flaky", {"failures": 2}, max_attempts=3, retry_strategy=strategy)
    assert finish(app, spawned).result == {"once": "kept", "tries": 3}
    assert done(conn, spawned) == {"once": 1, "try": 3}
    runs = table(conn, "r", queue, "task_id = %s", spawned["task_id"], order="attempt")
    assert [found["state"] for found in runs] == ["failed", "failed", "completed"]
    assert [found["attempt"] for found in runs] == [1, 2, 3]
    assert runs[0]["failure_reason"]["name"] == "RuntimeError"
    assert runs[1]["failure_reason"]["message"] == "try 2 goes wrong"


def test_retries_wait_as_long_as_their_strategy_says(app, conn, queue):
    strategy = {"kind": "exponential", "base_seconds": 0.4, "factor": 2, "max_seconds": 0.5}
    spawned = spawn(app, "flaky", {"failures": 2}, max_attempts=3, retry_strategy=strategy)
    assert finish(app, spawned).state == "completed"
    first, second, third = table(
        conn, "r", queue, "task_id = %s", spawned["task_id"], order="attempt"
    )
    for earlier, later, delay in ((first, second, 0.4), (second, third, 0.5)):
        waited = later["started_at"] - earlier["failed_at"]
        assert timedelta(seconds=delay) <= waited <= timedelta(seconds=delay + 5)


def test_failed_for_good_then_retried_in_place_and_as_a_new_task(app, conn, queue):
    spawned = spawn(app, "flaky", {"failures": 1}, max_attempts=1, headers={"h": 1})
    result = finish(app, spawned)
    assert (result.state, result.failure["message"]) == ("failed", "try 1 goes wrong")
    fresh = app.retry_task(spawned["task_id"], spawn_new=True, max_attempts=2)
    assert (fresh["created"], fresh["attempt"]) == (True, 1)
    assert fresh["task_id"] != spawned["task_id"]
    again = app.retry_task(spawned["task_id"], max_attempts=4)
    assert (again["created"], again["task_id"]) == (False, spawned["task_id"])
    assert again["attempt"] == 2
    assert finish(app, spawned).result == {"once": "kept", "tries": 2}
    assert task(conn, queue, spawned["task_id"])["max_attempts"] == 4
    assert finish(app, fresh).result == {"once": "kept", "tries": 2}
    assert task(conn, queue, fresh["task_id"])["headers"] == {"h": 1}


def test_cancelled_while_running(app, conn, queue):
    spawned = spawn(app, "long")
    until(lambda: done(conn, spawned) == {"started": 1}, "the task has started")
    app.cancel_task(spawned["task_id"])
    until(lambda: "cancelled" in done(conn, spawned), "the worker has noticed")
    assert finish(app, spawned).state == "cancelled"
    stored = run(conn, queue, spawned["run_id"])
    assert (stored["state"], stored["failure_reason"]) == ("cancelled", None)


def test_cancelled_while_sleeping_and_while_waiting(app, conn, queue):
    sleeper = spawn(app, "sleeper", {"seconds": 3600})
    listener = spawn(app, "listener", {"event": new_name("never")})
    for spawned in (sleeper, listener):
        until(
            lambda: app.fetch_task_result(spawned["task_id"]).state == "sleeping", "it sleeps"
        )
        app.cancel_task(spawned["task_id"])
        assert app.fetch_task_result(spawned["task_id"]).state == "cancelled"
        assert states(conn, queue, spawned["run_id"]) == ("cancelled", "cancelled")
    assert table(conn, "w", queue, "task_id = %s", listener["task_id"]) == []


def test_cancelled_by_its_rule(app, conn, queue):
    """max_duration ends a task whose worker sleeps; the claims of other tasks sweep it."""
    spawned = spawn(app, "sleeper", {"seconds": 3600}, cancellation={"max_duration": 1})
    assert finish(app, spawned).state == "cancelled"
    assert done(conn, spawned) == {"start": 1, "before": 1}


def test_spawned_with_one_key_runs_once(app, conn, queue):
    key = new_name("key")
    first = spawn(app, "steps", {"base": 1}, idempotency_key=key)
    again = spawn(app, "steps", {"base": 2}, idempotency_key=key)
    assert (again["task_id"], again["run_id"]) == (first["task_id"], first["run_id"])
    assert finish(app, first).result["all"][0] == {"sum": 2}
    assert spawn(app, "steps", {"base": 3}, idempotency_key=key)["task_id"] == first["task_id"]
    assert len(table(conn, "t", queue, "idempotency_key = %s", key)) == 1
    assert done(conn, first)["start"] == 1


def test_parent_awaits_its_child(app, conn, queue):
    spawned = spawn(app, "parent", {"base": 4})
    result = finish(app, spawned).result
    assert (result["state"], result["of"]) == ("completed", {"grown": 5})
    child = task(conn, f"{queue}_children", result["child"])
    assert (child["state"], child["idempotency_key"]) == (
        "completed",
        f"child of {spawned['task_id']}",
    )
    names = [
        found["checkpoint_name"]
        for found in table(conn, "c", queue, "task_id = %s", spawned["task_id"])
    ]
    assert sorted(names) == sorted(["spawn", f"$awaitTaskResult:{result['child']}"])


def test_a_task_that_no_worker_knows_is_put_off(app, conn, queue):
    spawned = spawn(app, "not registered anywhere")
    until(
        lambda: run(conn, queue, spawned["run_id"])["state"] == "sleeping", "it is put off"
    )
    stored = run(conn, queue, spawned["run_id"])
    put_off = stored["available_at"] - stored["started_at"]
    assert timedelta(seconds=15) <= put_off <= timedelta(seconds=31)
    app.cancel_task(spawned["task_id"])


def test_many_tasks_over_two_processes(app, conn, queue):
    """More tasks than both workers take at once: each runs once."""
    spawned = [spawn(app, "steps", {"base": n}) for n in range(60)]
    for n, one in enumerate(spawned):
        assert finish(app, one).result["all"][0] == {"sum": n + 1}
    ids = [one["task_id"] for one in spawned]
    starts = rows(
        conn,
        "select task_id, worker from public.work where what = 'start' and task_id = any(%s)",
        ids,
    )
    assert len(starts) == len(ids)
    assert {found["task_id"] for found in starts} == set(ids)
    assert {found["worker"] for found in starts} <= {"first", "second"}


# Queues -------------------------------------------------------------------------------------------


def test_queues_and_their_policies(client, kind, mode):
    name = f'Policy "{kind}" {mode} ☂'
    app = client(name)
    app.create_queue(
        storage_mode=mode,
        partition_lookahead="42 days",
        partition_lookback="2 days",
        cleanup_ttl="7 days",
        cleanup_limit=50,
        detach_mode="empty",
        detach_min_age="9 days",
    )
    assert name in app.list_queues()
    assert app.get_queue_policy() == {
        "queue_name": name,
        "storage_mode": mode,
        "partition_lookahead": timedelta(days=42),
        "partition_lookback": timedelta(days=2),
        "cleanup_ttl": timedelta(days=7),
        "cleanup_limit": 50,
        "detach_mode": "empty",
        "detach_min_age": timedelta(days=9),
    }
    app.set_queue_policy(cleanup_limit=60)
    assert app.get_queue_policy()["cleanup_limit"] == 60
    app.spawn("work", {}, queue=name)
    app.drop_queue()
    assert name not in app.list_queues()
    with pytest.raises(psycopg.errors.UndefinedTable):
        app.spawn("work", {}, queue=name)
    app.drop_queue()  # again: no effect


def test_work_batch(client, kind, mode):
    """Without a worker's loop: claims a batch and works it off."""
    app = client(f"batch_{kind}_{mode}")
    app.create_queue(storage_mode=mode)
    if kind == "sync":

        @app.register_task("double", default_max_attempts=2)
        def double(params, context):
            return params["n"] * 2

    else:

        @app.register_task("double", default_max_attempts=2)
        async def double(params, context):
            return params["n"] * 2

    spawned = [app.spawn("double", {"n": n}) for n in range(3)]
    app.work_batch(worker_id="hand", claim_timeout=30, batch_size=2)
    states = [app.fetch_task_result(one["task_id"]).state for one in spawned]
    assert sorted(states) == ["completed", "completed", "pending"]
    app.work_batch(worker_id="hand", claim_timeout=30, batch_size=2)
    assert [app.fetch_task_result(one["task_id"]).result for one in spawned] == [0, 2, 4]
    assert app.fetch_task_result(str(uuid.uuid4())) is None
    assert app.claim_tasks(batch_size=5, worker_id="hand") == []
