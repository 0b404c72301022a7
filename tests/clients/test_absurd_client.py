"""Every public method of AbsurdClient, unmodified from PyPI: what it returns and what it leaves."""

import functools
import inspect
import uuid
from datetime import datetime, timedelta, timezone

import absurd_client
import psycopg
import pytest
from absurd_client import (
    AbsurdClient,
    AbsurdSleepError,
    get_absurd_client,
    spawn_cancellable_task,
    spawn_retry_task,
)

from support import SEARCH_PATH, in_order, row, run, states, table, task, until, value

TASK_COLUMNS = (
    "task_id task_name params headers retry_strategy max_attempts cancellation enqueue_at"
    " first_started_at state attempts last_attempt_run completed_payload cancelled_at tenant_id"
).split()
RUN_COLUMNS = (
    "run_id task_id attempt state claimed_by claim_expires_at available_at wake_event event_payload"
    " started_at completed_at failed_at result failure_reason created_at last_heartbeat tenant_id"
).split()


def now():
    return datetime.now(timezone.utc)


@pytest.fixture
def client(queue):
    return AbsurdClient(queue_name=queue, worker_id="tester")


@pytest.fixture
def claimed(client, conn):
    """A task and its run, running."""
    task_id, run_id, _ = client.spawn_task(conn, "work", {"n": 1}, max_attempts=2)
    ((handed_out, *_),) = client.claim_task(conn)
    assert handed_out == run_id
    return task_id, run_id


def refused(sqlstate, words, call, *args, **kwargs):
    with pytest.raises(psycopg.Error) as refusal:
        call(*args, **kwargs)
    assert refusal.value.sqlstate == sqlstate, refusal.value
    assert words in refusal.value.diag.message_primary


PUBLIC = {
    name: method
    for name, method in inspect.getmembers(AbsurdClient, inspect.isfunction)
    if not name.startswith("_")
}


@pytest.fixture(scope="module", autouse=True)
def returned():
    """The methods that have returned something other than an error so far."""
    names = set()

    def record(name, method):
        @functools.wraps(method)
        def call(*args, **kwargs):
            answer = method(*args, **kwargs)
            names.add(name)
            return answer

        return call

    with pytest.MonkeyPatch.context() as patch:
        for name, method in PUBLIC.items():
            patch.setattr(AbsurdClient, name, record(name, method))
        yield names


# Queues and tasks ---------------------------------------------------------------------------------


def test_create_queue_twice(conn):
    client = AbsurdClient(queue_name="made_by_client")
    client.create_queue(conn)
    client.create_queue(conn)
    assert value(
        conn, "select count(*) from absurd.queues where queue_name = 'made_by_client'"
    ) == 1
    assert table(conn, "t", "made_by_client") == []


def test_spawn_task_creates_its_queue(conn):
    client = AbsurdClient(queue_name="made_by_spawn")
    task_id, run_id, _ = client.spawn_task(conn, "work", {})
    assert states(conn, "made_by_spawn", run_id) == ("pending", "pending")


def test_spawn_task_stores_all_that_it_is_given(client, conn, queue):
    task_id, run_id, third = client.spawn_task(
        conn,
        "work",
        {"text": "ünï 'q\"", "list": [1, 2.5, None]},
        headers={"trace": "abc"},
        retry_strategy={"kind": "fixed", "base_seconds": 7},
        max_attempts=4,
        cancellation={"max_delay": 60, "max_duration": 120},
    )
    assert third == run_id
    stored = task(conn, queue, task_id)
    assert stored["task_name"] == "work"
    assert stored["params"] == {"text": "ünï 'q\"", "list": [1, 2.5, None]}
    assert stored["headers"] == {"trace": "abc"}
    assert stored["retry_strategy"] == {"kind": "fixed", "base_seconds": 7}
    assert stored["max_attempts"] == 4
    assert stored["cancellation"] == {"max_delay": 60, "max_duration": 120}
    assert (stored["state"], stored["attempts"]) == ("pending", 1)
    assert stored["last_attempt_run"] == run_id
    first = run(conn, queue, run_id)
    assert (first["task_id"], first["attempt"], first["state"]) == (task_id, 1, "pending")


def test_spawn_task_attempts_default_to_one(client, conn, queue):
    task_id, _, _ = client.spawn_task(conn, "work", {})
    assert task(conn, queue, task_id)["max_attempts"] == 1


def test_spawn_task_with_an_idempotency_key(client, conn, queue):
    first = client.spawn_task(conn, "work", {}, options={"idempotency_key": "k"})
    again = client.spawn_task(conn, "work", {}, options={"idempotency_key": "k"})
    assert again == first
    assert len(table(conn, "t", queue)) == 1


def test_spawn_task_with_a_run_id_as_workflow_run_id(client, conn, queue):
    """The third value that spawn_task returns may be a run's id: it links to no workflow run."""
    _, _, third = client.spawn_task(conn, "parent", {})
    task_id, _, _ = client.spawn_task(conn, "child", {}, workflow_run_id=third)
    assert task(conn, queue, task_id)["workflow_run_id"] is None


@pytest.mark.parametrize(
    "kwargs, words",
    [
        ({"max_attempts": 0}, "max_attempts"),
        ({"cancellation": {"max_delay": 1.5}}, "max_delay"),
        ({"cancellation": {"max_duration": -1}}, "max_duration"),
    ],
)
def test_spawn_task_refuses_options(client, conn, queue, kwargs, words):
    refused("22023", words, client.spawn_task, conn, "work", {}, **kwargs)
    assert table(conn, "t", queue) == []


def test_spawn_task_refuses_a_retry_strategy(client, conn, queue):
    strategy = {"kind": "sometimes"}
    refused("AB003", "sometimes", client.spawn_task, conn, "work", {}, retry_strategy=strategy)
    assert table(conn, "t", queue) == []


def test_claim_task_returns_ten_columns(client, conn, queue):
    task_id, run_id, _ = client.spawn_task(
        conn,
        "work",
        {"n": 1},
        headers={"h": 2},
        retry_strategy={"kind": "none"},
        max_attempts=3,
    )
    before = value(conn, "select clock_timestamp()")
    (claim,) = client.claim_task(conn, worker_id="w-1", claim_timeout=90)
    assert claim == (
        run_id, task_id, 1, "work", {"n": 1}, {"kind": "none"}, 3, {"h": 2}, None, None
    )  # fmt: skip
    stored = run(conn, queue, run_id)
    assert (stored["state"], stored["claimed_by"]) == ("running", "w-1")
    assert stored["claim_expires_at"] - stored["started_at"] == timedelta(seconds=90)
    assert in_order(before, stored["started_at"])
    assert client.claim_task(conn) == []


def test_claim_task_many_oldest_first(client, conn, queue):
    spawned = [client.spawn_task(conn, f"work {n}", {})[1] for n in range(5)]
    ready = [found["run_id"] for found in table(conn, "r", queue, order="available_at, run_id")]
    assert set(ready) == set(spawned)
    first = client.claim_task(conn, qty=3)
    rest = client.claim_task(conn, qty=10)
    assert [claim[0] for claim in first] == ready[:3]
    assert [claim[0] for claim in rest] == ready[3:]
    assert {found["claimed_by"] for found in table(conn, "r", queue)} == {"tester"}


def test_claim_task_without_a_lease(client, conn, queue):
    _, run_id, _ = client.spawn_task(conn, "work", {})
    client.claim_task(conn, claim_timeout=0)
    stored = run(conn, queue, run_id)
    assert (stored["state"], stored["claim_expires_at"]) == ("running", None)


def test_claim_task_of_an_unknown_queue(conn):
    client = AbsurdClient(queue_name="never_made")
    with pytest.raises(psycopg.errors.UndefinedTable) as refusal:
        client.claim_task(conn)
    assert "never_made" in refusal.value.diag.message_primary


def test_claim_task_hands_out_a_lost_run_again(client, conn, queue):
    task_id, run_id, _ = client.spawn_task(conn, "work", {}, max_attempts=2)
    client.claim_task(conn, worker_id="lost", claim_timeout=1)
    (again,) = until(lambda: client.claim_task(conn, worker_id="heir"), "the second attempt")
    assert (again[1], again[2]) == (task_id, 2)
    assert again[0] != run_id
    lost = run(conn, queue, run_id)
    assert (lost["state"], lost["failure_reason"]["name"]) == ("failed", "$ClaimTimeout")
    refused("AB002", "already failed", client.complete_task, conn, run_id)
    assert states(conn, queue, again[0]) == ("running", "running")


def test_complete_task(client, conn, queue, claimed):
    task_id, run_id = claimed
    client.complete_task(conn, run_id, {"answer": 42})
    stored = run(conn, queue, run_id)
    assert (stored["state"], stored["result"]) == ("completed", {"answer": 42})
    assert in_order(stored["started_at"], stored["completed_at"])
    finished = task(conn, queue, task_id)
    assert (finished["state"], finished["completed_payload"]) == ("completed", {"answer": 42})
    refused("55000", "is not currently running", client.complete_task, conn, run_id)


def test_complete_task_refusals(client, conn, queue):
    refused("P0002", "not found", client.complete_task, conn, uuid.uuid4())
    _, run_id, _ = client.spawn_task(conn, "work", {})
    refused("55000", "is not currently running", client.complete_task, conn, run_id)
    assert states(conn, queue, run_id) == ("pending", "pending")


def test_fail_task_with_text_is_retried(client, conn, queue, claimed):
    task_id, run_id = claimed
    client.fail_task(conn, run_id, "went wrong")
    stored = run(conn, queue, run_id)
    assert stored["state"] == "failed"
    assert stored["failure_reason"]["name"] == "TaskExecutionError"
    assert stored["failure_reason"]["message"] == "went wrong"
    (second,) = client.claim_task(conn)
    assert (second[1], second[2]) == (task_id, 2)
    client.fail_task(conn, second[0], {"code": 7})
    assert task(conn, queue, task_id)["state"] == "failed"
    assert run(conn, queue, second[0])["failure_reason"] == {"code": 7}
    assert client.claim_task(conn) == []
    refused("AB002", "already failed", client.fail_task, conn, run_id, "again")


def test_fail_task_with_a_time_to_retry_at(client, conn, queue, claimed):
    task_id, run_id = claimed
    later = now() + timedelta(hours=1)
    client.fail_task(conn, run_id, "later", retry_at=later)
    _, second = table(conn, "r", queue, "task_id = %s", task_id, order="attempt")
    assert (second["attempt"], second["available_at"]) == (2, later)
    assert task(conn, queue, task_id)["state"] == "sleeping"
    assert client.claim_task(conn) == []


# Cancelling ---------------------------------------------------------------------------------------


def test_cancel_task_by_run_id(client, conn, queue):
    _, run_id, _ = client.spawn_task(conn, "work", {})
    assert client.cancel_task(conn, run_id) is True
    assert states(conn, queue, run_id) == ("cancelled", "cancelled")
    assert client.cancel_task(conn, run_id) is False
    assert client.claim_task(conn) == []


def test_cancel_task_by_task_id(client, conn, queue):
    task_id, run_id, _ = client.spawn_task(conn, "work", {})
    assert client.cancel_task(conn, task_id) is True
    assert task(conn, queue, task_id)["cancelled_at"] is not None
    assert states(conn, queue, run_id) == ("cancelled", "cancelled")


def test_cancel_task_that_runs(client, conn, queue, claimed):
    """The worker learns of it at whatever it calls next."""
    task_id, run_id = claimed
    assert client.cancel_task(conn, run_id) is True
    for call, args in [
        (client.complete_task, (run_id,)),
        (client.fail_task, (run_id, "late")),
        (client.schedule_task, (run_id, now())),
        (client.extend_claim, (run_id, 10)),
        (client.set_checkpoint, (task_id, "step", {}, run_id)),
        (client.save_checkpoint_for_run, (run_id, "step", {})),
        (client.await_event, (task_id, run_id, "step", "event")),
        (client.sleep, (run_id, 5)),
    ]:
        refused("AB001", "cancelled", call, conn, *args)
    assert table(conn, "c", queue) == []
    assert states(conn, queue, run_id) == ("cancelled", "cancelled")


def test_cancel_task_that_has_ended(client, conn, queue, claimed):
    _, run_id = claimed
    client.complete_task(conn, run_id)
    assert client.cancel_task(conn, run_id) is False
    assert states(conn, queue, run_id) == ("completed", "completed")


def test_cancel_task_that_is_unknown(client, conn):
    refused("P0002", "not found", client.cancel_task, conn, uuid.uuid4())


# Leases and checkpoints ---------------------------------------------------------------------------


def test_extend_claim_passes_the_run_as_its_task(client, conn, queue, claimed):
    task_id, run_id = claimed
    before = run(conn, queue, run_id)
    client.extend_claim(conn, run_id, 600)
    after = run(conn, queue, run_id)
    gained = after["claim_expires_at"] - before["claim_expires_at"]
    assert timedelta(seconds=569) <= gained <= timedelta(seconds=631)
    assert in_order(before["last_heartbeat"], after["last_heartbeat"])
    # The checkpoint that the client writes on the way belongs to the task.
    (checkpoint,) = table(conn, "c", queue)
    assert (checkpoint["task_id"], checkpoint["owner_run_id"]) == (task_id, run_id)
    assert checkpoint["checkpoint_name"] == "claim_extension"
    assert checkpoint["state"]["extend_by"] == 600


def test_set_checkpoint_and_get_checkpoint(client, conn, queue, claimed):
    task_id, run_id = claimed
    assert client.get_checkpoint(conn, task_id, "step") is None
    client.set_checkpoint(conn, task_id, "step", {"n": 1}, run_id)
    client.set_checkpoint(conn, task_id, "step", {"n": 2}, run_id)
    found = client.get_checkpoint(conn, task_id, "step")
    assert list(found) == ["checkpoint_name", "state", "status", "owner_run_id", "updated_at"]
    assert found["checkpoint_name"] == "step"
    assert (found["state"], found["status"]) == ({"n": 2}, "committed")
    assert found["owner_run_id"] == run_id
    assert len(table(conn, "c", queue)) == 1


def test_set_checkpoint_extends_but_never_shortens(client, conn, queue, claimed):
    task_id, run_id = claimed
    lease = run(conn, queue, run_id)["claim_expires_at"]
    client.set_checkpoint(conn, task_id, "a", {}, run_id, extend_claim_by=1)
    assert run(conn, queue, run_id)["claim_expires_at"] == lease
    client.set_checkpoint(conn, task_id, "b", {}, run_id, extend_claim_by=300)
    assert run(conn, queue, run_id)["claim_expires_at"] > lease + timedelta(seconds=200)


def test_get_checkpoint_that_is_pending(client, conn, queue, claimed):
    task_id, run_id = claimed
    client.set_checkpoint(conn, task_id, "step", {"n": 1}, run_id)
    conn.execute(f"update absurd.c_{queue} set status = 'pending'")
    assert client.get_checkpoint(conn, task_id, "step") is None
    found = client.get_checkpoint(conn, task_id, "step", include_pending=True)
    assert (found["status"], found["state"]) == ("pending", {"n": 1})


def test_set_checkpoint_of_another_task(client, conn, queue, claimed):
    task_id, _ = claimed
    _, other_run, _ = client.spawn_task(conn, "other", {})
    refused(
        "22023", "does not belong", client.set_checkpoint, conn, task_id, "step", {}, other_run
    )
    refused("P0002", "not found", client.set_checkpoint, conn, task_id, "step", {}, uuid.uuid4())
    assert table(conn, "c", queue) == []


def test_get_all_checkpoints_oldest_first(client, conn, claimed):
    task_id, run_id = claimed
    assert client.get_all_checkpoints(conn, task_id, run_id) == []
    for name in ("z", "a", "m"):
        client.set_checkpoint(conn, task_id, name, {"of": name}, run_id)
    client.fail_task(conn, run_id, "retry")
    ((second, *_),) = client.claim_task(conn)
    client.set_checkpoint(conn, task_id, "b", {"of": "b"}, second)
    seen = client.get_all_checkpoints(conn, task_id, second)
    assert sorted(found["checkpoint_name"] for found in seen) == ["a", "b", "m", "z"]
    assert seen == sorted(seen, key=lambda found: found["updated_at"])
    assert {found["owner_run_id"] for found in seen} == {run_id, second}
    # The first attempt does not see what came after it.
    earlier = client.get_all_checkpoints(conn, task_id, run_id)
    assert sorted(found["checkpoint_name"] for found in earlier) == ["a", "m", "z"]


def test_checkpoints_of_a_run(client, conn, queue, claimed):
    task_id, run_id = claimed
    client.save_checkpoint_for_run(conn, run_id, "looked_up", {"n": 1})
    client.save_checkpoint_for_run(conn, run_id, "given", [1, "two"], task_id=task_id)
    assert client.get_checkpoints_for_run(conn, run_id) == {
        "looked_up": {"n": 1},
        "given": [1, "two"],
    }
    assert client.get_run_checkpoint(conn, run_id, "given") == [1, "two"]
    assert client.get_run_checkpoint(conn, run_id, "other") is None
    assert client.get_checkpoints_for_run(conn, uuid.uuid4()) == {}
    assert {found["task_id"] for found in table(conn, "c", queue)} == {task_id}


def test_save_checkpoint_for_run_refusals(client, conn, queue, claimed):
    _, run_id = claimed
    other, _, _ = client.spawn_task(conn, "other", {})
    refused(
        "22023", "does not belong", client.save_checkpoint_for_run, conn, run_id, "s", {}, other
    )
    # An unknown run has no task: the client logs that and saves nothing.
    client.save_checkpoint_for_run(conn, uuid.uuid4(), "s", {})
    assert table(conn, "c", queue) == []


def test_sleep_checkpoints_its_wake_time(client, conn, queue, claimed):
    task_id, run_id = claimed
    client.sleep(conn, run_id, 90)
    (checkpoint,) = table(conn, "c", queue)
    assert (checkpoint["task_id"], checkpoint["checkpoint_name"]) == (task_id, "sleep_90")
    assert (checkpoint["state"]["type"], checkpoint["state"]["duration"]) == ("sleep", 90)
    assert states(conn, queue, run_id) == ("running", "running")


def test_schedule_task(client, conn, queue, claimed):
    task_id, run_id = claimed
    later = now() + timedelta(hours=1)
    client.schedule_task(conn, run_id, later)
    assert states(conn, queue, run_id) == ("sleeping", "sleeping")
    assert run(conn, queue, run_id)["available_at"] == later
    assert client.claim_task(conn) == []
    refused("55000", "is not currently running", client.schedule_task, conn, run_id, later)


def test_schedule_task_wakes_the_same_run(client, conn, queue, claimed):
    task_id, run_id = claimed
    client.schedule_task(conn, run_id, now() - timedelta(seconds=1))
    (again,) = client.claim_task(conn)
    assert (again[0], again[1], again[2]) == (run_id, task_id, 1)
    assert states(conn, queue, run_id) == ("running", "running")


# Events -------------------------------------------------------------------------------------------


def test_await_event_suspends_until_the_event(client, conn, queue, claimed):
    task_id, run_id = claimed
    assert client.await_event(conn, task_id, run_id, "step", "done") == (True, None)
    assert states(conn, queue, run_id) == ("sleeping", "sleeping")
    # Read as text: psycopg has no datetime for infinity.
    asleep = value(conn, f"select wake_event || ' ' || available_at from absurd.r_{queue}")
    assert asleep == "done infinity"
    (wait,) = table(conn, "w", queue)
    assert (wait["run_id"], wait["step_name"], wait["timeout_at"]) == (run_id, "step", None)

    client.emit_event(conn, "done", {"ok": True})
    (again,) = client.claim_task(conn)
    assert again[0] == run_id
    assert again[9] == {"ok": True}
    assert client.await_event(conn, task_id, run_id, "step", "done") == (False, {"ok": True})
    assert table(conn, "w", queue) == []
    client.complete_task(conn, run_id)
    assert states(conn, queue, run_id) == ("completed", "completed")


def test_await_event_that_has_happened(client, conn, queue, claimed):
    task_id, run_id = claimed
    client.emit_event(conn, "done", {"first": 1})
    client.emit_event(conn, "done", {"second": 2})
    answer = client.await_event(conn, task_id, run_id, "step", "done")
    assert answer == (False, {"first": 1})
    assert states(conn, queue, run_id) == ("running", "running")
    assert client.get_checkpoint(conn, task_id, "step")["state"] == {"first": 1}


def test_await_event_that_times_out(client, conn, queue, claimed):
    task_id, run_id = claimed
    assert client.await_event(conn, task_id, run_id, "step", "never", timeout=1) == (True, None)
    (again,) = until(lambda: client.claim_task(conn), "the timeout")
    assert (again[0], again[8], again[9]) == (run_id, "never", None)
    assert client.await_event(conn, task_id, run_id, "step", "never", timeout=1) == (False, None)
    # Once only: the next call waits again.
    assert client.await_event(conn, task_id, run_id, "step", "never", timeout=9) == (True, None)


def test_await_event_refusals(client, conn, queue, claimed):
    task_id, run_id = claimed
    refused("22023", "timeout", client.await_event, conn, task_id, run_id, "s", "e", -1)
    refused("22023", "event", client.await_event, conn, task_id, run_id, "s", " ")
    refused("22023", "step", client.await_event, conn, task_id, run_id, " ", "e")
    other, _, _ = client.spawn_task(conn, "other", {})
    refused("22023", "does not belong", client.await_event, conn, other, run_id, "s", "e")
    assert table(conn, "w", queue) == []
    assert states(conn, queue, run_id) == ("running", "running")


def sleep_for(client, conn, task_id, run_id, event, seconds):
    """What an orchestrator does with a task that waits."""
    with conn.transaction():
        with pytest.raises(AbsurdSleepError) as sleep:
            client.wait_for_event(
                conn, run_id, event, timeout_seconds=seconds, task_id=task_id, step_name="wait"
            )
        assert (sleep.value.run_id, sleep.value.event_name) == (run_id, event)
        client.set_run_sleeping(conn, run_id, event)


def test_wait_for_event(client, conn, queue, claimed):
    task_id, run_id = claimed
    sleep_for(client, conn, task_id, run_id, "approved", 3600)
    (wait,) = table(conn, "w", queue)
    stored = run(conn, queue, run_id)
    # set_run_sleeping moves the run alone: the task's own row is not touched.
    assert states(conn, queue, run_id) == ("sleeping", "running")
    assert (stored["wake_event"], stored["available_at"]) == ("approved", wait["timeout_at"])
    assert client.claim_task(conn) == []

    client.emit_event(conn, "approved", {"by": "someone"})
    stored = run(conn, queue, run_id)
    assert (stored["state"], stored["event_payload"]) == ("pending", {"by": "someone"})
    assert table(conn, "w", queue) == []
    (again,) = client.claim_task(conn)
    assert (again[0], again[2]) == (run_id, 1)
    assert (again[8], again[9]) == ("approved", {"by": "someone"})
    answer = client.wait_for_event(
        conn, run_id, "approved", timeout_seconds=3600, task_id=task_id, step_name="wait"
    )
    assert answer == {"by": "someone"}
    client.complete_task(conn, run_id, answer)
    assert states(conn, queue, run_id) == ("completed", "completed")


def test_wait_for_event_that_has_happened(client, conn, claimed):
    _, run_id = claimed
    client.emit_event(conn, "approved", {"by": "someone"})
    assert client.wait_for_event(conn, run_id, "approved", timeout_seconds=1) == {"by": "someone"}


def test_wait_for_event_that_times_out(client, conn, queue, claimed):
    """The claim after the timeout deletes the wait: that is how the client tells a timeout."""
    task_id, run_id = claimed
    sleep_for(client, conn, task_id, run_id, "never", 1)
    (again,) = until(lambda: client.claim_task(conn), "the timeout")
    assert again[0] == run_id
    assert table(conn, "w", queue) == []
    with pytest.raises(TimeoutError):
        client.wait_for_event(
            conn, run_id, "never", timeout_seconds=1, task_id=task_id, step_name="wait"
        )
    client.fail_task(conn, run_id, "nobody answered")
    assert run(conn, queue, run_id)["state"] == "failed"


def test_wait_for_event_woken_by_the_sql_function(client, conn, queue, claimed):
    task_id, run_id = claimed
    sleep_for(client, conn, task_id, run_id, "approved", 3600)
    conn.execute("""select absurd.emit_event(%s, 'approved', '{"by": "sql"}')""", (queue,))
    (again,) = client.claim_task(conn)
    assert (again[0], again[9]) == (run_id, {"by": "sql"})
    answer = client.wait_for_event(
        conn, run_id, "approved", timeout_seconds=3600, task_id=task_id, step_name="wait"
    )
    assert answer == {"by": "sql"}
    client.complete_task(conn, run_id)
    assert states(conn, queue, run_id) == ("completed", "completed")


def test_wait_for_event_needs_its_arguments(client, conn, claimed):
    _, run_id = claimed
    with pytest.raises(ValueError, match="timeout_seconds is required"):
        client.wait_for_event(conn, run_id, "approved")
    with pytest.raises(ValueError, match="task_id and step_name"):
        client.wait_for_event(conn, run_id, "approved", timeout_seconds=1)


def test_set_run_sleeping_without_a_wait(client, conn, queue, claimed):
    _, run_id = claimed
    client.set_run_sleeping(conn, run_id, "someday")
    stored = run(conn, queue, run_id)
    assert (stored["state"], stored["wake_event"]) == ("sleeping", "someday")
    assert stored["available_at"] > now() + timedelta(hours=23)
    assert client.claim_task(conn) == []
    assert client.cancel_task(conn, run_id) is True
    assert states(conn, queue, run_id) == ("cancelled", "cancelled")


def test_run_put_to_sleep_by_hand_outlives_its_lease(client, conn, queue):
    """set_run_sleeping leaves worker and lease on the row: a lease that ends while the run sleeps
    does not fail it."""
    task_id, run_id, _ = client.spawn_task(conn, "work", {}, max_attempts=2)
    client.claim_task(conn, claim_timeout=1)
    sleep_for(client, conn, task_id, run_id, "approved", 3600)
    expired = f"select clock_timestamp() > claim_expires_at from absurd.r_{queue}"
    until(lambda: value(conn, expired), "the end of the lease")
    assert client.claim_task(conn) == []
    assert run(conn, queue, run_id)["state"] == "sleeping"
    client.emit_event(conn, "approved", {"by": "someone"})
    ((again, *_),) = client.claim_task(conn)
    assert again == run_id


def test_run_of_a_final_task_woken_by_hand_is_not_revived(client, conn, queue, claimed):
    task_id, run_id = claimed
    client.cancel_task(conn, run_id)
    client.set_run_sleeping(conn, run_id, "gone")
    conn.execute(
        f"update absurd.r_{queue} set state = 'pending', available_at = now() where run_id = %s",
        (run_id,),
    )
    assert client.claim_task(conn) == []
    assert states(conn, queue, run_id)[1] == "cancelled"
    refused("AB001", "cancelled", client.complete_task, conn, run_id)


def test_emit_event_reaches_sql_waiters_too(client, conn, queue):
    """The client's own emission wakes what await_event put to sleep."""
    client.spawn_task(conn, "a", {})
    client.spawn_task(conn, "b", {})
    claims = client.claim_task(conn, qty=2)
    for run_id, task_id, *_ in claims:
        assert client.await_event(conn, task_id, run_id, "step", "done", 60) == (True, None)
    client.emit_event(conn, "done", {"n": 1})
    woken = client.claim_task(conn, qty=5)
    assert {claim[0] for claim in woken} == {claim[0] for claim in claims}
    for run_id, task_id, *_ in woken:
        answer = client.await_event(conn, task_id, run_id, "step", "done", 60)
        assert answer == (False, {"n": 1})
        client.complete_task(conn, run_id)
        assert states(conn, queue, run_id) == ("completed", "completed")


def test_emit_event_first_wins(client, conn, queue):
    client.emit_event(conn, "e", {"n": 1})
    client.emit_event(conn, "e", {"n": 2})
    client.emit_event(conn, "bare")
    assert [(found["event_name"], found["payload"]) for found in table(conn, "e", queue)] == [
        ("bare", {}),
        ("e", {"n": 1}),
    ]


# Cleaning up --------------------------------------------------------------------------------------


def test_cleanup_tasks(client, conn, queue):
    ended = []
    for n in range(3):
        client.spawn_task(conn, f"work {n}", {})
        ((run_id, task_id, *_),) = client.claim_task(conn)
        client.set_checkpoint(conn, task_id, "step", {}, run_id)
        client.complete_task(conn, run_id)
        conn.execute(
            f"update absurd.r_{queue} set completed_at = now() - make_interval(hours => %s::int)"
            " where run_id = %s",
            (10 - n, run_id),
        )
        ended.append(task_id)
    open_task, _, _ = client.spawn_task(conn, "open", {})
    assert client.cleanup_tasks(conn, 24 * 3600) == 0
    assert client.cleanup_tasks(conn, 3600, limit=1) == 1
    left = {found["task_id"] for found in table(conn, "t", queue)}
    assert left == {ended[1], ended[2], open_task}  # the oldest went first
    assert client.cleanup_tasks(conn, 3600) == 2
    assert [found["task_id"] for found in table(conn, "t", queue)] == [open_task]
    assert [found["task_id"] for found in table(conn, "r", queue)] == [open_task]
    assert table(conn, "c", queue) == []
    refused("22023", "ttl_seconds", client.cleanup_tasks, conn, -1)
    refused("22023", "limit", client.cleanup_tasks, conn, 1, 0)


def test_cleanup_tasks_takes_failed_and_cancelled_ones(client, conn, queue):
    client.spawn_task(conn, "fails", {})
    ((run_id, *_),) = client.claim_task(conn)
    client.fail_task(conn, run_id, "no")
    _, cancelled_run, _ = client.spawn_task(conn, "cancelled", {})
    client.cancel_task(conn, cancelled_run)
    assert client.cleanup_tasks(conn, 3600) == 0
    conn.execute(f"update absurd.r_{queue} set failed_at = failed_at - interval '2 hours'")
    conn.execute(f"update absurd.t_{queue} set cancelled_at = cancelled_at - interval '2 hours'")
    assert client.cleanup_tasks(conn, 3600) == 2
    assert (table(conn, "t", queue), table(conn, "r", queue)) == ([], [])


def test_cleanup_events(client, conn, queue):
    for name in ("old", "older", "new"):
        client.emit_event(conn, name)
    conn.execute(
        f"update absurd.e_{queue} set emitted_at = emitted_at - case event_name"
        " when 'old' then interval '2 hours' when 'older' then interval '3 hours'"
        " else interval '0' end"
    )
    assert client.cleanup_events(conn, 24 * 3600) == 0
    assert client.cleanup_events(conn, 3600, limit=1) == 1
    assert [found["event_name"] for found in table(conn, "e", queue)] == ["new", "old"]
    assert client.cleanup_events(conn, 3600) == 1
    assert [found["event_name"] for found in table(conn, "e", queue)] == ["new"]
    refused("22023", "ttl_seconds", client.cleanup_events, conn, -1)


# What the client reads by position ----------------------------------------------------------------


def test_get_task_status_by_position(client, conn, queue):
    task_id, run_id, _ = client.spawn_task(
        conn,
        "work",
        {"n": 1},
        options={"tenant_id": "acme"},
        headers={"h": 1},
        retry_strategy={"kind": "none"},
        max_attempts=2,
        cancellation={"max_delay": 60},
    )
    client.claim_task(conn)
    client.complete_task(conn, run_id, {"done": True})
    by_name = task(conn, queue, task_id)
    status = client.get_task_status(conn, task_id)
    assert status == {column: by_name[column] for column in TASK_COLUMNS}
    assert list(status) == TASK_COLUMNS
    assert status["tenant_id"] == "acme"
    assert (status["state"], status["completed_payload"]) == ("completed", {"done": True})
    assert client.get_task_status(conn, uuid.uuid4()) is None


def test_get_run_status_by_position(client, conn, queue):
    task_id, run_id, _ = client.spawn_task(conn, "work", {}, options={"tenant_id": "acme"})
    client.claim_task(conn)
    client.complete_task(conn, run_id, {"done": True})
    by_name = run(conn, queue, run_id)
    status = client.get_run_status(conn, run_id)
    assert status == {column: by_name[column] for column in RUN_COLUMNS}
    assert list(status) == RUN_COLUMNS
    assert status["tenant_id"] == "acme"
    assert status["last_heartbeat"] is not None
    assert (status["state"], status["result"]) == ("completed", {"done": True})
    assert client.get_run_status(conn, uuid.uuid4()) is None


def test_get_status_takes_a_share_lock(client, conn, queue, claimed, database):
    """FOR SHARE: another session may read so too, but an update waits for the reader."""
    task_id, run_id = claimed
    with psycopg.connect(database, autocommit=True, options=SEARCH_PATH) as other:
        with conn.transaction():
            assert client.get_run_status(conn, run_id)["state"] == "running"
            assert client.get_task_status(conn, task_id)["state"] == "running"
            assert client.get_run_status(other, run_id)["state"] == "running"
            other.execute("set lock_timeout = '100ms'")
            with pytest.raises(psycopg.errors.LockNotAvailable):
                client.complete_task(other, run_id)
        client.complete_task(other, run_id)
    assert states(conn, queue, run_id) == ("completed", "completed")


# Workflow runs ------------------------------------------------------------------------------------


def test_create_workflow_run_with_everything(client, conn, queue):
    _, root_run, _ = client.spawn_task(conn, "root", {})
    workflow_run_id = client.create_workflow_run(
        conn,
        "report",
        "2.0-rc.1",
        inputs={"day": "2025-03-03"},
        absurd_run_id=root_run,
        created_by="tester",
        tags={"team": "a"},
        workflow_hash="abc",
    )
    stored = row(conn, "select * from absurd.get_workflow_run(%s)", workflow_run_id)
    assert stored["workflow_run_id"] == workflow_run_id
    assert (stored["workflow_name"], stored["workflow_version"]) == ("report", "2.0-rc.1")
    assert (stored["status"], stored["absurd_queue"]) == ("pending", queue)
    assert (stored["inputs"], stored["tags"]) == ({"day": "2025-03-03"}, {"team": "a"})
    assert (stored["absurd_run_id"], stored["workflow_hash"]) == (root_run, "abc")
    assert stored["created_by"] == "tester"


def test_create_workflow_run_with_nothing(client, conn):
    workflow_run_id = client.create_workflow_run(conn, "report", "1")
    stored = row(conn, "select * from absurd.get_workflow_run(%s)", workflow_run_id)
    for column in ("inputs", "tags", "absurd_run_id", "created_by", "workflow_hash"):
        assert stored[column] is None, column


def test_create_workflow_run_with_tags_that_are_no_object(client, conn):
    refused("22023", "tags", client.create_workflow_run, conn, "report", "1", tags=["a"])


def test_create_workflow_run_rolls_back_with_its_transaction(client, conn):
    with pytest.raises(KeyError):
        with conn.transaction():
            workflow_run_id = client.create_workflow_run(conn, "report", "1")
            client.update_workflow_run_status(conn, workflow_run_id, "running")
            raise KeyError("changed my mind")
    query = "select count(*) from absurd.{} where workflow_run_id = %s"
    for name in ("workflow_run", "workflow_transition"):
        assert value(conn, query.format(name), workflow_run_id) == 0


def test_update_workflow_run_status_repeated(client, conn):
    workflow_run_id = client.create_workflow_run(conn, "report", "1")
    client.update_workflow_run_status(conn, workflow_run_id, "running", started_at=now())
    client.update_workflow_run_status(conn, workflow_run_id, "completed", result={"n": 1})
    client.update_workflow_run_status(conn, workflow_run_id, "completed", task_count=3)
    client.update_workflow_run_status(conn, workflow_run_id, "completed", result={"n": 1})
    other = {"n": 2}
    refused(
        "55000",
        "result",
        client.update_workflow_run_status,
        conn,
        workflow_run_id,
        "completed",
        result=other,
    )
    stored = row(conn, "select * from absurd.get_workflow_run(%s)", workflow_run_id)
    assert (stored["result"], stored["task_count"]) == ({"n": 1}, 3)
    changes = "select count(*) from absurd.workflow_run_history(%s)"
    assert value(conn, changes, workflow_run_id) == 2


@pytest.mark.parametrize(
    "status, kwargs, sqlstate, words",
    [
        ("completed", {}, "55000", "from pending to completed"),
        ("running", {"result": {"n": 1}}, "22023", "result"),
        ("running", {"error": {"n": 1}}, "22023", "error"),
        ("running", {"task_count": -1}, "22023", "task_count"),
        ("done", {}, "22023", "done"),
    ],
)
def test_update_workflow_run_status_refusals(client, conn, status, kwargs, sqlstate, words):
    workflow_run_id = client.create_workflow_run(conn, "report", "1")
    refused(
        sqlstate, words, client.update_workflow_run_status, conn, workflow_run_id, status, **kwargs
    )
    assert value(
        conn, "select status from absurd.get_workflow_run(%s)", workflow_run_id
    ) == "pending"


def test_update_workflow_run_status_with_times_in_the_wrong_order(client, conn):
    workflow_run_id = client.create_workflow_run(conn, "report", "1")
    client.update_workflow_run_status(conn, workflow_run_id, "running")
    refused(
        "22023",
        "completed_at",
        client.update_workflow_run_status,
        conn,
        workflow_run_id,
        "completed",
        started_at=now(),
        completed_at=now() - timedelta(hours=1),
    )


def test_history_follows_the_statuses_when_the_clock_is_set_back(client, conn):
    workflow_run_id = client.create_workflow_run(conn, "report", "1")
    for moment, status in [("12:00:01", "running"), ("12:00:00", "completed")]:
        conn.execute(f"set absurd.fake_now = '2025-01-01 {moment}+00'")
        client.update_workflow_run_status(conn, workflow_run_id, status)
    changes = conn.execute(
        "select from_status, to_status from absurd.workflow_run_history(%s)", (workflow_run_id,)
    ).fetchall()
    assert changes == [("pending", "running"), ("running", "completed")]


def test_update_workflow_run_status_of_an_unknown_run(client, conn):
    """The client's own UPDATE finds no row and says so in its log; the function is strict."""
    unknown = uuid.uuid4()
    client.update_workflow_run_status(conn, unknown, "running")
    with pytest.raises(psycopg.Error) as refusal:
        conn.execute("select absurd.update_workflow_run_status(%s, 'running')", (unknown,))
    assert refusal.value.sqlstate == "P0002"


# The module's functions ---------------------------------------------------------------------------


def test_spawn_retry_task(client, conn, queue):
    task_id, run_id, _ = spawn_retry_task(
        client, conn, "work", {}, max_attempts=4, base_seconds=40, factor=3.0, max_seconds=100
    )
    stored = task(conn, queue, task_id)
    assert stored["max_attempts"] == 4
    assert stored["retry_strategy"] == {
        "kind": "exponential",
        "base_seconds": 40,
        "factor": 3.0,
        "max_seconds": 100,
    }
    for attempt, delay in [(1, 40), (2, 100), (3, 100)]:
        (claim,) = client.claim_task(conn)
        assert (claim[1], claim[2]) == (task_id, attempt)
        client.fail_task(conn, claim[0], "again")
        failed = run(conn, queue, claim[0])
        (following,) = table(
            conn, "r", queue, "task_id = %s and attempt = %s", task_id, attempt + 1
        )
        assert following["available_at"] - failed["failed_at"] == timedelta(seconds=delay)
        assert client.claim_task(conn) == []
        conn.execute(
            f"update absurd.r_{queue} set available_at = now()"
            " where state in ('pending', 'sleeping')"
        )
    (claim,) = client.claim_task(conn)
    client.fail_task(conn, claim[0], "for good")
    assert task(conn, queue, task_id)["state"] == "failed"


def test_spawn_retry_task_defaults(client, conn, queue):
    task_id, _, _ = spawn_retry_task(client, conn, "work", {})
    stored = task(conn, queue, task_id)
    assert stored["max_attempts"] == 3
    assert stored["retry_strategy"] == {"kind": "exponential", "base_seconds": 30, "factor": 2.0}


def test_spawn_cancellable_task(client, conn, queue):
    task_id, run_id, _ = spawn_cancellable_task(
        client, conn, "work", {}, max_delay_seconds=30, max_duration_seconds=60
    )
    assert task(conn, queue, task_id)["cancellation"] == {"max_delay": 30, "max_duration": 60}
    conn.execute(f"update absurd.t_{queue} set enqueue_at = enqueue_at - interval '31 seconds'")
    assert client.claim_task(conn) == []
    assert states(conn, queue, run_id) == ("cancelled", "cancelled")
    assert task(conn, queue, task_id)["first_started_at"] is None


def test_spawn_cancellable_task_that_takes_too_long(client, conn, queue):
    task_id, run_id, _ = spawn_cancellable_task(client, conn, "work", {}, max_duration_seconds=60)
    assert task(conn, queue, task_id)["cancellation"] == {"max_duration": 60}
    ((claimed, *_),) = client.claim_task(conn)
    conn.execute(
        f"update absurd.t_{queue} set first_started_at = first_started_at - interval '61 seconds'"
    )
    assert client.claim_task(conn) == []
    assert states(conn, queue, run_id) == ("cancelled", "cancelled")
    refused("AB001", "cancelled", client.complete_task, conn, claimed)


def test_spawn_cancellable_task_without_rules(client, conn, queue):
    task_id, _, _ = spawn_cancellable_task(client, conn, "work", {})
    assert task(conn, queue, task_id)["cancellation"] is None


def test_get_absurd_client_is_one(conn, monkeypatch):
    monkeypatch.setattr(absurd_client, "_absurd_client_singleton", None)
    client = get_absurd_client(queue_name="singleton", worker_id="only")
    assert get_absurd_client(queue_name="other") is client
    _, run_id, _ = client.spawn_task(conn, "work", {})
    client.claim_task(conn)
    assert run(conn, "singleton", run_id)["claimed_by"] == "only"


@pytest.mark.parametrize("name", ["", "a b", 'a"; drop schema absurd', "1a"])
def test_queue_names_that_the_client_refuses(name, monkeypatch):
    monkeypatch.delenv("ABSURD_DEFAULT_QUEUE", raising=False)
    if name == "":
        assert AbsurdClient(queue_name=name).queue_name == "absurd_default"
        return
    with pytest.raises(ValueError):
        AbsurdClient(queue_name=name)


def test_every_public_method_has_been_called(returned, request):
    """Last in this file: what a new version of the client adds must get a test."""
    in_file = [item for item in request.session.items if item.module is request.module]
    assert len(PUBLIC) == 25
    if len(in_file) > 60:  # not when a few tests of this file were picked out
        assert set(PUBLIC) - returned == set()
