"""Several clients on one queue: the older client writes waits, events and runs directly, beside
workers of the SDKs. A wait registered by one and the event emitted by the other, both ways."""

import asyncio
import random
import threading
import uuid

import psycopg
import pytest
from absurd_client import AbsurdClient, AbsurdSleepError
from absurd_sdk import Absurd, AsyncAbsurd
from psycopg.types.json import Jsonb

from ledger import TABLES
from processes import (
    Shift,
    older_emits,
    older_worker,
    sdk_worker,
    typescript_emits,
    typescript_worker,
)
from support import SEARCH_PATH, rows, states, table, until, value

VERSIONS = ["0.0.7", "0.1.0"]  # of the older client


@pytest.fixture(scope="module", autouse=True)
def books(database):
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute(TABLES)


@pytest.fixture(params=["unpartitioned", "partitioned"])
def queue(conn, request):
    # A name that the older client takes: letters, digits, underscores.
    name = f"mixed_{request.param}_{uuid.uuid4().hex[:8]}"
    conn.execute("select absurd.create_queue(%s, %s)", (name, request.param))
    return name


def worker(kind, dsn, queue, name):
    if kind == "typescript":
        return typescript_worker(dsn, queue, name)
    return sdk_worker(kind, dsn, queue, name)


def emits(kind, dsn, queue, event, payload):
    """Emits an event with an SDK."""
    if kind == "typescript":
        typescript_emits(dsn, queue, event, payload)
    elif kind == "sync":
        sdk = Absurd(dsn, queue_name=queue)
        sdk.emit_event(event, payload)
        sdk.close()
    else:

        async def emit():
            sdk = AsyncAbsurd(dsn, queue_name=queue)
            await sdk.emit_event(event, payload)
            await sdk.close()

        asyncio.run(emit())


def spawn(conn, queue, name, params):
    query = "select task_id, run_id from absurd.spawn_task(%s, %s, %s, '{\"max_attempts\": 1}')"
    (spawned,) = rows(conn, query, queue, name, Jsonb(params))
    return spawned


def ended(conn, queue, spawned):
    """The result of each task, once all have ended and nothing is left open."""
    wanted = {one["task_id"] for one in spawned}

    def results():
        found = rows(
            conn,
            "select t.task_id, g.state, g.result, g.failure_reason"
            " from unnest(%s::uuid[]) t(task_id), absurd.get_task_result(%s, t.task_id) g",
            list(wanted),
            queue,
        )
        open_tasks = [one for one in found if one["state"] in ("pending", "running", "sleeping")]
        return not open_tasks and {one["task_id"]: one for one in found}

    try:
        found = until(results, "every task has ended", seconds=20)
    except AssertionError as problem:
        left = rows(
            conn,
            "select r.state, r.wake_event, r.available_at::text, t.state as task from"
            f' absurd."r_{queue}" r join absurd."t_{queue}" t using (task_id)'
            " where t.state not in ('completed', 'failed', 'cancelled')",
        )
        raise AssertionError(f"{problem}: {left}") from None
    assert set(found) == wanted
    assert table(conn, "w", queue) == []
    open_runs = "state in ('pending', 'running', 'sleeping')"
    assert value(conn, f'select count(*) from absurd."r_{queue}" where {open_runs}') == 0
    return [found[one["task_id"]] for one in spawned]


@pytest.mark.parametrize("kind", ["sync", "async", "typescript"])
def test_a_wait_of_one_client_and_the_event_of_the_other(database, conn, queue, kind):
    # The SDK's tasks wait; the older client emits.
    spawned = [spawn(conn, queue, "listener", {"event": f"to sdk {v}"}) for v in VERSIONS]
    with Shift() as shift:
        shift.add(worker(kind, database, queue, kind))
        until(lambda: len(table(conn, "w", queue)) == 2, "both tasks wait")
        for version in VERSIONS:
            older_emits(version, database, queue, f"to sdk {version}", {"of": version})
        results = ended(conn, queue, spawned)
    assert [one["result"] for one in results] == [{"heard": {"of": v}} for v in VERSIONS]
    for one in spawned:
        assert states(conn, queue, one["run_id"]) == ("completed", "completed")

    # The older client's tasks wait; the SDK emits. Each version takes what it gets.
    params = [{"event": f"to older {n}", "timeout": 3600} for n in range(4)]
    spawned = [spawn(conn, queue, "listener", one) for one in params]
    with Shift() as shift:
        shift.add(*(older_worker(v, database, queue, f"older {v}") for v in VERSIONS))
        until(lambda: len(table(conn, "w", queue)) == 4, "all tasks wait")
        # Its own UPDATE put the runs to sleep, and the tasks' rows show it not.
        assert {states(conn, queue, one["run_id"]) for one in spawned} == {("sleeping", "running")}
        for n in range(4):
            emits(kind, database, queue, f"to older {n}", {"n": n})
        results = ended(conn, queue, spawned)
    assert [one["result"] for one in results] == [{"heard": {"n": n}} for n in range(4)]


def test_a_wait_of_one_client_is_taken_over_by_the_other(database, conn, queue):
    """The SDK registers the wait and is gone; the older client finishes the task; and back."""
    event = "handed over"
    spawned = spawn(conn, queue, "listener", {"event": event})
    with Shift() as shift:
        shift.add(sdk_worker("sync", database, queue, "sdk"))
        until(lambda: len(table(conn, "w", queue)) == 1, "the task waits")
    with Shift() as shift:
        shift.add(older_worker("0.1.0", database, queue, "older"))
        older_emits("0.1.0", database, queue, event, {"n": 1})
        (result,) = ended(conn, queue, [spawned])
    assert result["result"] == {"heard": {"n": 1}}

    event = "handed back"
    spawned = spawn(conn, queue, "listener", {"event": event})
    with Shift() as shift:
        shift.add(older_worker("0.1.0", database, queue, "older"))
        until(lambda: len(table(conn, "w", queue)) == 1, "the task waits")
    with Shift() as shift:
        shift.add(sdk_worker("sync", database, queue, "sdk"))
        older_emits("0.1.0", database, queue, event, {"n": 2})
        (result,) = ended(conn, queue, [spawned])
    assert result["result"] == {"heard": {"n": 2}}


@pytest.mark.parametrize("event_first", [True, False], ids=["event first", "wait first"])
def test_a_swarm_of_all_clients(database, conn, queue, event_first):
    """Chains of tasks, each waiting for the event that the one before emits, worked off by every
    client at once. Whoever wakes a task need not be of the kind that put it to sleep."""
    chains, length = 6, 8
    relays = [
        {"hear": f"{chain}.{hop}", "say": f"{chain}.{hop + 1}", "patience": 2}
        for chain in range(chains)
        for hop in range(length)
    ]
    random.Random(chains * length).shuffle(relays)
    client = AbsurdClient(queue_name=queue)

    def start():
        for chain in range(chains):
            if chain % 2:
                client.emit_event(conn, f"{chain}.0", {"hops": 0})
            else:
                emits("sync", database, queue, f"{chain}.0", {"hops": 0})

    with Shift() as shift:
        shift.add(
            *(older_worker(v, database, queue, f"older {v}") for v in VERSIONS),
            *(worker(k, database, queue, k) for k in ("sync", "async", "typescript")),
        )
        if event_first:
            start()
        spawned = [spawn(conn, queue, "relay", one) for one in relays]
        if not event_first:
            start()
        results = ended(conn, queue, spawned)
    for params, one in zip(relays, results):
        hops = int(params["hear"].split(".")[1])
        assert (one["state"], one["result"]) == ("completed", {"heard": {"hops": hops}}), one
    # One attempt each: no client's wait or wake-up made another's call fail.
    assert {found["attempt"] for found in table(conn, "r", queue)} == {1}
    assert len(table(conn, "e", queue)) == chains * (length + 1)
    assert len({found["claimed_by"] for found in table(conn, "r", queue)}) >= 3


# Races --------------------------------------------------------------------------------------------


@pytest.fixture
def other(database):
    """The session of an older client whose transaction is under way."""
    with psycopg.connect(database, options=SEARCH_PATH) as conn:
        yield conn


def in_flight(conn, queue):
    """Whether await_event has registered its wait, or waits for the other transaction."""
    held_up = (
        "select count(*) from pg_locks join pg_stat_activity a using (pid)"
        " where not granted and a.datname = current_database()"
    )
    return bool(table(conn, "w", queue)) or value(conn, held_up) > 0


def test_a_wait_that_crosses_an_event_of_the_older_client(database, conn, queue, other):
    """The event's row is written but not committed when the SDK's task begins to wait, for ever:
    the older client did not see that wait, so await_event must not miss the event."""
    AbsurdClient(queue_name=queue).emit_event(other, "crossing", {"n": 1})
    spawned = spawn(conn, queue, "listener", {"event": "crossing"})
    with Shift() as shift:
        shift.add(sdk_worker("sync", database, queue, "sdk"))
        until(lambda: in_flight(conn, queue), "the task begins to wait")
        other.commit()
        (result,) = ended(conn, queue, [spawned])
    assert result["result"] == {"heard": {"n": 1}}


def test_an_event_that_crosses_a_wait_of_the_older_client(database, conn, queue, other):
    """The older client's wait is written but not committed when the SDK emits: it always has a
    timeout, after which the client looks for the event once more."""
    client = AbsurdClient(queue_name=queue)
    spawned = spawn(conn, queue, "listener", {"event": "crossing", "timeout": 2})
    ((run_id, task_id, *_),) = client.claim_task(conn)
    with pytest.raises(AbsurdSleepError):
        client.wait_for_event(
            other, run_id, "crossing", timeout_seconds=2, task_id=task_id, step_name="wait 0"
        )
    client.set_run_sleeping(other, run_id, "crossing")
    emitting = threading.Thread(target=emits, args=("sync", database, queue, "crossing", {"n": 1}))
    emitting.start()
    until(lambda: table(conn, "e", queue), "the event is emitted")
    other.commit()
    emitting.join(timeout=30)
    assert not emitting.is_alive()
    with Shift() as shift:
        shift.add(older_worker("0.1.0", database, queue, "older"))
        (result,) = ended(conn, queue, [spawned])
    assert result["result"] == {"heard": {"n": 1}}


def test_cancelled_while_the_older_client_wakes_it(database, conn, queue, other):
    """Its UPDATE of the run is under way when the task is cancelled: the task ends cancelled, and
    the run is not handed out."""
    client = AbsurdClient(queue_name=queue)
    spawned = spawn(conn, queue, "listener", {"event": "late"})
    ((run_id, task_id, *_),) = client.claim_task(conn)
    assert client.await_event(conn, task_id, run_id, "step", "late") == (True, None)
    client.emit_event(other, "late", {"n": 1})
    answers = []

    def cancel():
        with psycopg.connect(database, autocommit=True) as session:
            answers.append(client.cancel_task(session, task_id))

    cancelling = threading.Thread(target=cancel)
    cancelling.start()
    held_up = (
        "select count(*) from pg_stat_activity where wait_event_type = 'Lock'"
        " and datname = current_database()"
    )
    until(lambda: value(conn, held_up) > 0, "the cancellation waits for the run's row")
    other.commit()
    cancelling.join(timeout=30)
    assert answers == [True]
    assert client.claim_task(conn) == []
    (result,) = ended(conn, queue, [spawned])
    assert result["state"] == "cancelled"
