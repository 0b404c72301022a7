"""Timers, schedules, and the bound on active runs."""

from datetime import datetime, timedelta, timezone

import psycopg
import pytest
from documents import chain, document, step, task, unique
from player import NOON, Worker, register, run_row, start, states, status


def value(conn, query, *values):
    return conn.execute(query, values).fetchone()[0]


def runs(conn, name):
    """Inputs of a workflow's runs in the order of creation."""
    found = conn.execute(
        "select inputs ->> 'data_interval_start', inputs ->> 'data_interval_end'"
        "  from absurd.workflow_run where workflow_name = %s order by workflow_run_id",
        (name,),
    ).fetchall()
    return found


def at(hour, minute=0, day=1):
    return datetime(2030, 1, day, hour, minute, tzinfo=timezone.utc)


def stamps(*moments):
    return [tuple(moment.isoformat() for moment in pair) for pair in moments]


@pytest.fixture
def worker(conn, queue):
    """A worker; when the test ends its schedules stand still, so that the next has its own alone."""
    yield Worker(conn, queue)
    conn.execute(
        "select absurd.pause_workflow(workflow_name) from absurd.list_workflows() where is_latest"
    )


def scheduled(conn, queue, **fields):
    doc = chain(1, schedule="0 * * * *", **fields)
    return register(conn, doc, queue)[0]


def due(conn, limit=100):
    return value(conn, "select absurd.run_schedules(%s)", limit)


# Timers ------------------------------------------------------------------------------------------


def test_a_claim_fires_what_is_due_on_its_queue(conn, queue, worker):
    doc = document(step("wait", "w", wait_for="PT10S"), task("a", "w"))
    run = start(conn, register(conn, doc, queue)[0])
    worker.set_clock(NOON + timedelta(seconds=9))
    assert worker.claim() == []
    worker.set_clock(NOON + timedelta(seconds=10))
    assert worker.paths() == ["a"]
    (result,) = conn.execute(
        "select result from absurd.workflow_run_steps(%s) where path = 'w'", (run,)
    ).fetchone()
    assert result.startswith("2030-01-01T12:00:10")


def test_a_claim_on_another_queue_fires_nothing(conn, queue, worker):
    conn.execute("select absurd.create_queue('elsewhere')")
    run = start(conn, register(conn, document(step("wait", "w", wait_for=1)), queue)[0])
    worker.set_clock(NOON + timedelta(seconds=5))
    assert Worker(conn, "elsewhere", worker.now).claim() == []
    assert states(conn, run) == {"w": "running"}
    assert value(conn, "select absurd.advance_timers('elsewhere')") == 0
    assert value(conn, "select absurd.advance_timers()") == 1
    assert status(conn, run) == "completed"


def test_advance_timers_stops_at_its_limit(conn, queue, worker):
    doc = document(*(step("wait", f"w{i}", wait_for=1) for i in range(5)))
    run = start(conn, register(conn, doc, queue)[0])
    worker.set_clock(NOON + timedelta(seconds=1))
    fired = [value(conn, "select absurd.advance_timers(%s, 2)", queue) for _ in range(4)]
    assert fired == [2, 2, 1, 0]
    assert status(conn, run) == "completed"


def test_deadlines(conn, queue, worker):
    for action, end in (("fail", "failed"), ("cancel", "cancelled")):
        doc = chain(2, deadline_seconds=60, deadline_action=action)
        run = start(conn, register(conn, doc, queue)[0])
        worker.claim()
        worker.advance(59)
        assert status(conn, run) == "running"
        worker.advance(1)
        row = run_row(conn, run)
        assert row["status"] == end
        if action == "fail":
            assert row["error"]["name"] == "DeadlineExceeded"
        assert states(conn, run) == {"s0": "cancelled", "s1": "skipped"}
        with pytest.raises(psycopg.Error) as late:
            worker.complete("s0")
        assert late.value.sqlstate == "AB001"


def test_a_breaker_opens_probes_and_closes(conn, queue, worker):
    policy = {"failure_threshold": 2, "success_threshold": 1, "isolation_duration": "PT1M"}
    doc = document(task("a", circuit_breaker_policy=policy))
    name = register(conn, doc, queue)[0]

    def one(end):
        run = start(conn, name)
        if worker.claim():
            end()
        return run_row(conn, run)

    fail, complete = (lambda: worker.fail("a")), (lambda: worker.complete("a"))
    one(fail)
    one(complete)
    one(fail)
    assert one(fail)["error"]["name"] == "Error"
    assert one(complete)["error"]["name"] == "CircuitOpen"
    worker.set_clock(worker.now + timedelta(seconds=60))
    probe = start(conn, name)
    assert worker.paths() == ["a"]
    assert run_row(conn, start(conn, name))["error"]["name"] == "CircuitOpen"
    worker.complete("a", run=probe)
    assert one(complete)["status"] == "completed"
    assert one(complete)["status"] == "completed"


# Schedules ---------------------------------------------------------------------------------------


def test_a_trigger_creates_a_run_with_its_interval(conn, queue, worker):
    name = scheduled(conn, queue)
    assert due(conn) == 0
    worker.set_clock(at(13))
    assert due(conn) == 1
    assert due(conn) == 0
    assert runs(conn, name) == stamps((at(12), at(13)))
    worker.work()
    # Of several that were missed only the newest.
    worker.set_clock(at(17, 30))
    assert due(conn) == 1
    assert runs(conn, name)[1:] == stamps((at(16), at(17)))
    assert value(
        conn, "select next_trigger from absurd.list_workflows() where workflow_name = %s", name
    ) == at(18)


def test_at_the_bound_a_trigger_is_dropped(conn, queue, worker):
    name = scheduled(conn, queue)
    worker.set_clock(at(13))
    assert due(conn) == 1
    worker.set_clock(at(14))
    assert due(conn) == 0
    worker.work()
    assert due(conn) == 0
    worker.set_clock(at(15))
    assert due(conn) == 1
    assert runs(conn, name) == stamps((at(12), at(13)), (at(14), at(15)))


def test_catching_up_makes_every_run_in_order(conn, queue, worker):
    name = scheduled(
        conn, queue, catchup=True, start_date="2030-01-01T09:00:00", max_active_runs=2
    )
    assert due(conn, 1) == 1
    assert due(conn) == 1
    assert due(conn) == 0
    worker.work()
    assert due(conn) == 2
    worker.work()
    assert due(conn) == 0
    assert runs(conn, name) == stamps(
        *((at(hour - 1), at(hour)) for hour in (9, 10, 11, 12))
    )


def test_no_run_before_the_start_date(conn, queue, worker):
    name = scheduled(conn, queue, start_date="2030-01-01T15:00:00Z")
    worker.set_clock(at(14, 59))
    assert due(conn) == 0
    worker.set_clock(at(15))
    assert due(conn) == 1
    assert runs(conn, name) == stamps((at(14), at(15)))


@pytest.mark.parametrize("catchup, made", [(False, 0), (True, 2)])
def test_a_paused_schedule_stands_still(conn, queue, worker, catchup, made):
    name = scheduled(conn, queue, is_paused=True, catchup=catchup, max_active_runs=9)
    worker.set_clock(at(14))
    assert due(conn) == 0
    start(conn, name)
    conn.execute("select absurd.resume_workflow(%s)", (name,))
    assert due(conn) == made
    worker.set_clock(at(15))
    assert due(conn) == 1
    conn.execute("select absurd.pause_workflow(%s)", (name,))
    worker.set_clock(at(16))
    assert due(conn) == 0


def test_a_newer_version_takes_the_schedule_over(conn, queue, worker):
    name = unique()
    register(conn, chain(1, name=name, version="1", schedule="0 * * * *"), queue)
    worker.set_clock(at(12, 30))
    register(conn, chain(1, name=name, version="2", schedule="45 * * * *"), queue)
    worker.set_clock(at(12, 45))
    assert due(conn) == 1
    (version,) = conn.execute(
        "select workflow_version from absurd.workflow_run where workflow_name = %s", (name,)
    ).fetchone()
    assert version == "2"


def test_without_a_queue_nothing_is_scheduled_until_there_is_one(conn, queue, worker):
    doc = chain(1, schedule="0 * * * *")
    name = register(conn, doc)[0]
    worker.set_clock(at(13))
    assert due(conn) == 0
    register(conn, doc, queue)
    worker.set_clock(at(14))
    assert due(conn) == 1
    assert len(runs(conn, name)) == 1


def test_two_schedulers_create_a_run_once(connect, conn, queue, worker):
    name = scheduled(conn, queue)
    worker.set_clock(at(13))
    first = connect(autocommit=False)
    Worker(first, queue, at(13))
    assert due(first) == 1
    assert due(conn) == 0
    first.commit()
    assert due(conn) == 0
    assert len(runs(conn, name)) == 1


def test_a_broken_schedule_does_not_stop_the_others(conn, queue, worker):
    conn.execute("select absurd.create_queue('doomed')")
    register(conn, chain(1, schedule="0 * * * *"), "doomed")
    conn.execute("select absurd.drop_queue('doomed')")
    name = scheduled(conn, queue)
    worker.set_clock(at(13))
    assert due(conn) == 1
    assert len(runs(conn, name)) == 1


# max_active_runs -----------------------------------------------------------------------------------


def test_runs_wait_their_turn_when_they_ask_to(conn, queue, worker):
    name = register(conn, chain(1, max_active_runs=2), queue)[0]
    bounded = [start(conn, name, respect_max_active_runs=True) for _ in range(4)]
    assert [status(conn, run) for run in bounded] == ["running", "running", "pending", "pending"]
    assert states(conn, bounded[3]) == {"s0": "pending"}
    # A start that does not ask runs at once.
    assert status(conn, start(conn, name)) == "running"
    worker.claim()
    worker.complete("s0", run=bounded[0])
    assert status(conn, bounded[2]) == "pending"
    conn.execute("select absurd.cancel_workflow_run(%s)", (bounded[1],))
    assert [status(conn, run) for run in bounded] == [
        "completed",
        "cancelled",
        "running",
        "pending",
    ]


def test_a_waiting_run_that_is_cancelled_leaves_the_line(conn, queue, worker):
    name = register(conn, chain(1), queue)[0]
    first, second, third = (start(conn, name, respect_max_active_runs=True) for _ in range(3))
    conn.execute("select absurd.cancel_workflow_run(%s)", (second,))
    assert status(conn, second) == "cancelled" and states(conn, second) == {"s0": "skipped"}
    worker.claim()
    worker.complete("s0", run=first)
    assert status(conn, third) == "running"


def test_a_slot_that_two_did_not_see_is_found_by_looking_again(connect, conn, queue, worker):
    """A run ends while another, which counts it as running, is being created."""
    name = register(conn, chain(1), queue)[0]
    first = start(conn, name, respect_max_active_runs=True)
    worker.claim()
    starting = connect(autocommit=False)
    Worker(starting, queue)
    second = start(starting, name, respect_max_active_runs=True)
    worker.complete("s0", run=first)
    starting.commit()
    assert status(conn, second) == "pending"
    worker.advance(1)
    assert status(conn, second) == "running"


def test_advance_timers_ends_attempts_that_take_too_long(conn, queue, worker):
    limit = {"timeout": "PT10S", "kill_on_timeout": True}
    run = start(conn, register(conn, document(task("a", timeout_policy=limit), task("b", "a")), queue)[0])
    worker.claim()
    late = worker.held("a")["run_id"]
    assert worker.advance(9) == 0
    assert worker.advance(1) == 1
    assert status(conn, run) == "failed"
    assert run_row(conn, run)["error"]["name"] == "TimeoutError"
    with pytest.raises(psycopg.Error) as refused:
        conn.execute("select absurd.complete_run(%s, %s)", (queue, late))
    assert refused.value.sqlstate == "AB002"
