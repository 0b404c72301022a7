"""absurd-sdk for Python, sync and async: workers that are killed or stall in the middle of a step,
and several tasks at once in one process."""

import uuid

import psycopg
import pytest
from absurd_sdk import Absurd

from ledger import TABLES
from processes import Shift, sdk_worker
from support import rows, run, table, task, until, value

LEASE = 2  # seconds: long enough for a step to be reached, short enough to wait for its end


@pytest.fixture(scope="module", autouse=True)
def books(database):
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute(TABLES)


@pytest.fixture(params=["sync", "async"])
def kind(request):
    return request.param


@pytest.fixture(params=["unpartitioned", "partitioned"])
def queue(conn, request, kind):
    name = f"{kind} {request.param} {uuid.uuid4().hex[:8]}"
    conn.execute("select absurd.create_queue(%s, %s)", (name, request.param))
    return name


@pytest.fixture
def app(database, queue):
    sdk = Absurd(database, queue_name=queue)
    yield sdk
    sdk.close()


@pytest.fixture
def shift():
    with Shift() as shift:
        yield shift


def spawn_all(conn, queue, tasks):
    """Spawns tasks that are all due by the time they become visible together. Returns their ids."""
    with conn.transaction():
        conn.execute(
            "select set_config('absurd.fake_now', (now() - interval '1 minute')::text, true)"
        )
        return [
            value(
                conn,
                "select task_id from absurd.spawn_task(%s, %s, %s::jsonb, '{\"max_attempts\": 5}')",
                queue,
                name,
                psycopg.types.json.Jsonb(params),
            )
            for name, params in tasks
        ]


def finish(app, task_id):
    """The task's result, when it has ended. The client's own waiting asks less and less often."""
    ended = ("completed", "failed", "cancelled")
    until(lambda: app.fetch_task_result(task_id).state in ended, "the task has ended")
    return app.await_task_result(task_id, timeout=1)


def done(conn, task_id):
    """What the task's code really did, and who did it, in order."""
    query = "select what, worker from public.work where task_id = %s order by at"
    return [(found["what"], found["worker"]) for found in rows(conn, query, task_id)]


def open_gate(conn, name):
    conn.execute("insert into public.gate values (%s)", (name,))


def test_several_tasks_are_inside_a_step_at_once(database, conn, queue, kind, app, shift):
    """Each waits for the three others: one process must hold all four at the same time."""
    ids = spawn_all(conn, queue, [("together", {"place": queue, "of": 4})] * 4)
    shift.add(sdk_worker(kind, database, queue, "only", concurrency=4))
    for task_id in ids:
        assert finish(app, task_id).result == "met"
    assert {worker for task_id in ids for _, worker in done(conn, task_id)} == {"only"}


def test_two_processes_share_a_queue(database, conn, queue, kind, app, shift):
    """Eight tasks that wait for each other, and processes that take four at a time."""
    shift.add(*(sdk_worker(kind, database, queue, name) for name in ("first", "second")))
    ids = spawn_all(conn, queue, [("together", {"place": queue, "of": 8})] * 8)
    for task_id in ids:
        assert finish(app, task_id).result == "met"
    workers = [worker for task_id in ids for _, worker in done(conn, task_id)]
    assert sorted(workers) == ["first"] * 4 + ["second"] * 4


def test_killed_in_the_middle_of_a_step(database, conn, queue, kind, app, shift):
    gate = queue
    ids = spawn_all(
        conn,
        queue,
        [
            ("guarded", {"gate": gate}),
            ("guarded", {"gate": gate}),
            ("listener", {"event": "freed"}),
            ("sleeper", {"seconds": LEASE}),
        ],
    )
    victim = sdk_worker(kind, database, queue, "victim", claim_timeout=LEASE, concurrency=4)
    shift.add(victim)
    guarded, (listener, sleeper) = ids[:2], ids[2:]
    inside = [("first", "victim"), ("second", "victim")]
    until(
        lambda: all(done(conn, task_id) == inside for task_id in guarded),
        "both tasks are in the middle of their second step",
    )
    until(lambda: len(table(conn, "w", queue)) == 1, "the third waits for its event")
    until(lambda: ("before", "victim") in done(conn, sleeper), "the fourth falls asleep")
    shift.kill(victim)
    assert [done(conn, task_id) for task_id in guarded] == [inside, inside]

    heir = sdk_worker(kind, database, queue, "heir", concurrency=4)
    open_gate(conn, gate)
    app.emit_event("freed", 1)
    shift.add(heir)
    for task_id in guarded:
        result = finish(app, task_id)
        assert (result.state, result.result) == ("completed", gate)
        # What was done is kept; what was cut off is done again, by the other process.
        assert done(conn, task_id) == inside + [("second", "heir")]
        lost, kept = table(conn, "r", queue, "task_id = %s", task_id, order="attempt")
        assert (lost["state"], lost["failure_reason"]["name"]) == ("failed", "$ClaimTimeout")
        assert lost["failure_reason"]["workerId"] == "victim"
        assert (kept["state"], kept["claimed_by"], kept["attempt"]) == ("completed", "heir", 2)
        owners = {
            found["checkpoint_name"]: found["owner_run_id"]
            for found in table(conn, "c", queue, "task_id = %s", task_id)
        }
        assert owners == {"first": lost["run_id"], "second": kept["run_id"]}
    assert finish(app, listener).result == {"heard": 1}
    assert finish(app, sleeper).result == "awake"
    assert table(conn, "w", queue) == []


def test_a_worker_that_stalls_cannot_finish_what_another_took_over(
    database, conn, queue, kind, app, shift
):
    gate = queue
    (task_id,) = spawn_all(conn, queue, [("guarded", {"gate": gate})])
    stalled = sdk_worker(kind, database, queue, "stalled", claim_timeout=LEASE)
    shift.add(stalled)
    until(lambda: ("second", "stalled") in done(conn, task_id), "it is inside its second step")
    stalled.freeze()
    try:
        heir = sdk_worker(kind, database, queue, "heir")
        shift.add(heir)
        until(lambda: ("second", "heir") in done(conn, task_id), "the lease has ended")
        open_gate(conn, gate)
        result = finish(app, task_id)
        assert (result.state, result.result) == ("completed", gate)
    finally:
        stalled.thaw()
    until(lambda: ("lost", "stalled") in done(conn, task_id), "the first worker has learned it")
    stored = task(conn, queue, task_id)
    assert (stored["state"], stored["attempts"]) == ("completed", 2)
    (lost, kept) = table(conn, "r", queue, "task_id = %s", task_id, order="attempt")
    assert (lost["state"], kept["state"]) == ("failed", "completed")
    assert run(conn, queue, kept["run_id"])["claimed_by"] == "heir"
    (second,) = table(
        conn, "c", queue, "task_id = %s and checkpoint_name = 'second'", task_id
    )
    assert second["owner_run_id"] == kept["run_id"]
