"""Finishing a step and starting what follows is one transaction, whatever ends it."""

import threading

import psycopg
import pytest
from documents import branches, chain, document, step, task, unique
from player import NOON, Worker, register, run_row, start, states, status
from psycopg.types.json import Jsonb


def value(conn, query, *values):
    return conn.execute(query, values).fetchone()[0]


def refused(sqlstate, call):
    with pytest.raises(psycopg.Error) as caught:
        call()
    assert caught.value.sqlstate == sqlstate, caught.value


def test_a_rollback_undoes_the_start(connect, conn, queue):
    name = register(conn, chain(2), queue)[0]
    other = connect(autocommit=False)
    run = start(other, name)
    other.rollback()
    assert run_row(conn, run) is None
    assert Worker(conn, queue).claim() == []


@pytest.mark.parametrize("verb", ["complete", "fail"])
def test_a_rollback_undoes_the_end_of_a_step_and_what_follows(connect, conn, queue, verb):
    run = start(conn, register(conn, chain(2), queue)[0])
    worker = Worker(conn, queue)
    worker.claim()
    before = states(conn, run)
    session = connect(autocommit=False)
    other = Worker(session, queue)
    other.claimed = worker.claimed
    getattr(other, verb)("s0")
    assert states(session, run)["s0"] == ("completed" if verb == "complete" else "failed")
    session.rollback()
    assert states(conn, run) == before and worker.claim() == []
    worker.complete("s0", 1)
    assert worker.paths() == ["s1"]


def test_a_savepoint_undoes_it_too(connect, conn, queue):
    run = start(conn, register(conn, chain(2), queue)[0])
    session = connect(autocommit=False)
    worker = Worker(session, queue)
    worker.claim()
    session.execute("savepoint s")
    worker.complete("s0", "first")
    session.execute("rollback to s")
    worker.complete("s0", "second")
    session.commit()
    (result,) = conn.execute(
        "select result from absurd.workflow_run_steps(%s) where path = 's0'", (run,)
    ).fetchone()
    assert result == "second" and status(conn, run) == "running"


def test_two_branches_that_end_at_once_start_their_join_once(connect, conn, queue):
    fork = step("parallel", "fork", **branches(a=[task("a1")], b=[task("b1")]))
    run = start(conn, register(conn, document(fork, task("after", "fork")), queue)[0])
    worker = Worker(conn, queue)
    assert worker.paths() == ["fork.a/a1", "fork.b/b1"]
    first, second = connect(autocommit=False), connect(autocommit=False)
    sessions = [Worker(session, queue) for session in (first, second)]
    for session in sessions:
        session.claimed = worker.claimed
    sessions[0].complete("fork.a/a1")
    waiting = threading.Thread(target=lambda: sessions[1].complete("fork.b/b1"))
    waiting.start()
    until_blocked(conn, second)
    first.commit()
    waiting.join(timeout=30)
    assert not waiting.is_alive()
    second.commit()
    assert worker.paths() == ["after"]
    assert states(conn, run)["fork"] == "completed"


def until_blocked(conn, session):
    """Waits until a session waits for a lock."""
    pid = session.info.backend_pid
    query = (
        "select wait_event_type = 'Lock' from pg_stat_activity where pid = %s and state = 'active'"
    )
    for _ in range(10_000):
        found = conn.execute(query, (pid,)).fetchone()
        if found and found[0]:
            return
    raise AssertionError("the session never waited for a lock")


def test_many_workers_at_once(connect, conn, queue):
    """Four sessions work one run; every step runs once and its join as well."""
    names = [f"w{i}" for i in range(40)]
    steps = [task(name) for name in names] + [task("join", *names)]
    run = start(conn, register(conn, document(*steps), queue)[0])
    done = []

    def work(session):
        worker = Worker(session, queue)
        while True:
            runs = worker.claim(quantity=1)
            if not runs and len(done) >= 41:
                return
            for claimed in runs:
                worker.complete(claimed["path"])
                done.append(claimed["path"])

    threads = [threading.Thread(target=work, args=(connect(),), daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
        assert not thread.is_alive()
    assert sorted(done) == sorted([*names, "join"])
    assert status(conn, run) == "completed"


def test_repeatable_read_sees_another_move_as_a_serialization_failure(connect, conn, queue):
    start(conn, register(conn, document(task("a"), task("b")), queue)[0])
    worker = Worker(conn, queue)
    worker.claim()
    session = connect(autocommit=False)
    session.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    session.execute("select 1")
    worker.complete("a")
    other = Worker(session, queue)
    other.claimed = worker.claimed
    refused("40001", lambda: other.complete("b"))
    session.rollback()
    other.set_clock(NOON)
    other.complete("b")
    session.commit()


def test_cancelling_a_run_ends_everything_of_it(conn, queue):
    child = register(conn, document(task("c")), queue)[0]
    doc = document(
        task("a"),
        step("wait", "w", wait_for="PT1H"),
        step("wait_for_event", "e", event_name="never"),
        step("child_workflow", "kid", children={"one": {"workflow_name": child}}),
        task("later", "a"),
    )
    worker = Worker(conn, queue)
    run = start(conn, register(conn, doc, queue)[0])
    assert worker.paths() == ["a", "c"]
    assert value(conn, "select absurd.cancel_workflow_run(%s, 'enough')", run) == 2
    row = run_row(conn, run)
    assert row["status"] == "cancelled" and row["error"]["message"] == "enough"
    assert states(conn, run) == {
        "a": "cancelled",
        "w": "cancelled",
        "e": "cancelled",
        "kid": "cancelled",
        "later": "skipped",
    }
    kid = value(conn, "select workflow_run_id from absurd.workflow_run where parent_run_id = %s", run)
    assert status(conn, kid) == "cancelled"
    refused("AB001", lambda: worker.complete("a"))
    # Again, it changes nothing; a completed run cannot be cancelled.
    assert value(conn, "select absurd.cancel_workflow_run(%s)", run) == 0
    for table in ("workflow_timer", "workflow_wait", "workflow_stimulus"):
        assert value(conn, f"select count(*) from absurd.{table}") == 0
    done = start(conn, register(conn, document(), queue)[0])
    refused("55000", lambda: conn.execute("select absurd.cancel_workflow_run(%s)", (done,)))


def test_a_cancelled_task_fails_its_step(conn, queue):
    run = start(conn, register(conn, chain(2), queue)[0])
    (claimed,) = Worker(conn, queue).claim()
    assert value(conn, "select absurd.cancel_task(%s, %s)", queue, claimed["task_id"]) is True
    assert states(conn, run) == {"s0": "failed", "s1": "upstream_failed"}
    assert status(conn, run) == "failed"


def test_workers_that_are_lost_again_and_again_fail_their_step(conn, queue):
    run = start(conn, register(conn, chain(1), queue)[0])
    worker = Worker(conn, queue)
    for attempt in range(1, 7):
        (claimed,) = worker.claim(timeout=30)
        assert claimed["attempt"] == attempt
        worker.advance(31)
    assert worker.claim() == []
    row = run_row(conn, run)
    assert row["status"] == "failed" and row["error"]["name"] == "$ClaimTimeout"


def test_an_attempt_that_takes_too_long_is_retried(conn, queue):
    timeout = {"timeout": "PT10S", "kill_on_timeout": True}
    retry = {"max_retries": 1, "delay": "PT0S", "backoff_factor": 1.0}
    doc = document(task("a", timeout_policy=timeout, retry_policy=retry))
    run = start(conn, register(conn, doc, queue)[0])
    worker = Worker(conn, queue)
    worker.claim()
    late = worker.held("a")["run_id"]
    worker.advance(10)
    (again,) = worker.claim()
    assert again["attempt"] == 2
    refused("AB002", lambda: conn.execute("select absurd.complete_run(%s, %s)", (queue, late)))
    worker.advance(10)
    assert worker.claim() == []
    error = run_row(conn, run)["error"]
    assert (error["name"], error["attempts"]) == ("TimeoutError", 2)


def test_a_worker_that_is_to_be_left_alone_is_told_nothing(conn, queue):
    timeout = {"timeout": "PT10S", "kill_on_timeout": False}
    run = start(conn, register(conn, document(task("a", timeout_policy=timeout)), queue)[0])
    worker = Worker(conn, queue)
    worker.claim()
    worker.advance(10)
    assert worker.claim() == []
    assert status(conn, run) == "failed"
    worker.complete("a", "too late")
    worker.fail("a")
    assert states(conn, run) == {"a": "failed"}


def test_a_failure_that_was_noted_cannot_be_retried_in_place(conn, queue):
    start(conn, register(conn, chain(2), queue)[0])
    worker = Worker(conn, queue)
    (claimed,) = worker.claim()
    worker.fail("s0")
    retry = "select * from absurd.retry_task(%s, %s, %s)"
    refused("55000", lambda: conn.execute(retry, (queue, claimed["task_id"], Jsonb({}))))


@pytest.mark.parametrize("storage", ["unpartitioned", "partitioned"])
def test_idempotency_keys_adopt_tasks(conn, storage):
    """A step whose key a task of the queue has follows that task, also one that has ended."""
    queue = f"keys {storage}"
    conn.execute("select absurd.create_queue(%s, %s)", (queue, storage))
    doc = document(task("pay", idempotency_key="pay_{{order}}"), task("next", "pay"))
    name = register(conn, doc, queue)[0]
    spawn = "select task_id from absurd.spawn_task(%s, 'pay', '1', %s)"
    ordinary = value(conn, spawn, queue, Jsonb({"idempotency_key": "pay_1"}))
    worker = Worker(conn, queue)
    (claimed,) = worker.claim()
    first, second = start(conn, name, {"order": 1}), start(conn, name, {"order": 1})
    assert worker.claim() == []
    conn.execute(
        "select absurd.complete_run(%s, %s, '\"paid\"')", (queue, claimed["run_id"])
    )
    found = [run["path"] for run in worker.claim()]
    assert found == ["next", "next"]
    for run in (first, second):
        rows = conn.execute(
            "select state, task_id, result from absurd.workflow_run_steps(%s) where path = 'pay'",
            (run,),
        ).fetchall()
        assert rows == [("completed", ordinary, "paid")]
    third = start(conn, name, {"order": 1})
    assert states(conn, third) == {"pay": "completed", "next": "running"}
    # Cancelling a run does not cancel a task that is not its own.
    other = value(conn, spawn, queue, Jsonb({"idempotency_key": "pay_2"}))
    fourth = start(conn, name, {"order": 2})
    conn.execute("select absurd.cancel_workflow_run(%s)", (fourth,))
    assert value(
        conn, "select state from absurd.get_task_result(%s, %s)", queue, other
    ) == "pending"


def test_tasks_that_workers_spawn_into_a_run(conn, queue):
    run = start(conn, register(conn, chain(1), queue)[0])
    worker = Worker(conn, queue)
    worker.claim()
    spawn = "select task_id from absurd.spawn_task(%s, 'extra', '1', %s)"
    options = Jsonb({"workflow_run_id": str(run)})
    extra = value(conn, spawn, queue, options)
    linked = conn.execute("select task_id from absurd.workflow_run_tasks(%s)", (run,)).fetchall()
    assert (extra,) in linked and len(linked) == 2
    assert value(conn, "select absurd.cancel_workflow_run(%s)", run) == 2
    refused("55000", lambda: conn.execute(spawn, (queue, options)))


def test_events_between_runs(conn, queue):
    hear = register(
        conn, document(step("wait_for_event", "hear", event_name="go_{{n}}"), task("a", "hear")), queue
    )[0]
    tell = register(
        conn, document(step("emit_event", "tell", event_name="go_1", payload={"x": 1})), queue
    )[0]
    first, second = start(conn, hear, {"n": 1}), start(conn, hear, {"n": 2})
    worker = Worker(conn, queue)
    assert worker.claim() == []
    start(conn, tell)
    (claimed,) = worker.claim()
    assert claimed["headers"]["workflow_run_id"] == str(first)
    (result,) = conn.execute(
        "select result from absurd.workflow_run_steps(%s) where path = 'hear'", (first,)
    ).fetchone()
    assert result == {"x": 1}
    worker.emit("go_2", None)
    assert worker.paths() == ["a"]
    third = start(conn, hear, {"n": 1})
    assert states(conn, third)["hear"] == "completed"
    assert status(conn, second) == "running"


def test_an_emitter_does_not_wait_for_a_tree_that_is_held(connect, conn, queue):
    doc = document(step("wait_for_event", "hear", event_name="ev_{{run.id}}"), task("b"), task("a", "hear"))
    run = start(conn, register(conn, doc, queue)[0])
    worker = Worker(conn, queue)
    worker.claim()
    holder = connect(autocommit=False)
    other = Worker(holder, queue)
    other.claimed = worker.claimed
    other.complete("b")
    worker.emit(f"ev_{run}", 7)
    assert value(conn, "select count(*) from absurd.workflow_stimulus") == 1
    assert states(conn, run)["hear"] == "running"
    holder.commit()
    # The next claim takes it up.
    assert worker.paths() == ["a"]
    assert value(conn, "select count(*) from absurd.workflow_stimulus") == 0


def test_deleting_a_run_removes_all_of_it(conn, queue):
    doc = document(step("wait", "w", wait_for="PT1H"), task("a", result_key="x"))
    run = start(conn, register(conn, doc, queue)[0])
    conn.execute("delete from absurd.workflow_run where workflow_run_id = %s", (run,))
    for table in ("execution", "scope", "step", "value", "timer", "wait", "stimulus"):
        query = f"select count(*) from absurd.workflow_{table} where workflow_run_id = %s"
        assert value(conn, query, run) == 0, table


def test_batches_move_runs_on(conn, queue):
    name = register(conn, chain(2), queue)[0]
    runs = [start(conn, name) for _ in range(3)]
    conn.execute("select absurd.spawn_task(%s, 'ordinary', '1')", (queue,))
    worker = Worker(conn, queue)
    claimed = [run["run_id"] for run in worker.claim()]
    assert len(claimed) == 4
    conn.execute("select absurd.complete_runs(%s, %s)", (queue, claimed))
    again = [run["run_id"] for run in worker.claim()]
    assert len(again) == 3
    with pytest.raises(psycopg.Error) as caught:
        conn.execute("select absurd.fail_runs(%s, %s)", (queue, [*again, claimed[0]]))
    assert caught.value.sqlstate == "55000" and "p_run_ids[3]" in str(caught.value)
    conn.execute("select absurd.fail_runs(%s, %s)", (queue, again))
    assert [status(conn, run) for run in runs] == ["failed"] * 3


def test_many_events_at_once(conn, queue):
    doc = document(*(step("wait_for_event", f"w{i}", event_name=f"e{i}") for i in range(3)))
    run = start(conn, register(conn, doc, queue)[0])
    conn.execute("select absurd.emit_events(%s, %s)", (queue, ["e2", "e0", "e1", "e0"]))
    assert status(conn, run) == "completed"


def test_children_of_children(conn, queue):
    """A workflow that starts itself: each level ends before its parent, and too many are refused."""
    name = unique()
    doc = document(
        task("before", args=["{{n}}"]),
        step("condition", "deeper", "before", condition="{{before}} > 0", if_true="kid"),
        step(
            "child_workflow",
            "kid",
            "deeper",
            children={"one": {"workflow_name": name, "inputs": {"n": "{{before}}"}}},
        ),
        name=name,
    )
    register(conn, doc, queue)
    worker = Worker(conn, queue)
    run = start(conn, name, {"n": 5})
    worker.work(lambda claimed: claimed["params"]["args"][0] - 1)
    found = conn.execute(
        "select status, count(*) from absurd.workflow_run where root_run_id = %s group by 1", (run,)
    ).fetchall()
    assert found == [("completed", 5)]
    endless = start(conn, name, {"n": 1000})
    worker.work(lambda claimed: claimed["params"]["args"][0] - 1)
    row = run_row(conn, endless)
    assert (row["status"], row["error"]["name"]) == ("failed", "ChildWorkflowFailed")
    assert value(
        conn, "select count(*) from absurd.workflow_run where root_run_id = %s", endless
    ) == 65


def test_a_parent_and_its_child_in_two_queues(conn, queue):
    other = f"{queue} child"
    conn.execute("select absurd.create_queue(%s)", (other,))
    child = register(conn, document(task("c", result_key="r")), other)[0]
    kid = step("child_workflow", "kid", children={"one": {"workflow_name": child}})
    run = start(conn, register(conn, document(kid, task("after", "kid", args=["{{kid.one.result.r}}"])), queue)[0])
    worker = Worker(conn, other)
    assert worker.paths() == ["c"]
    worker.complete("c", 7)
    worker = Worker(conn, queue)
    (claimed,) = worker.claim()
    assert claimed["params"]["args"] == [7]
    worker.complete("after")
    assert status(conn, run) == "completed"
