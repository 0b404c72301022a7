"""fail_run without a statement: what it leaves is what the statement leaves, and what is not plain is the
statement's."""

import json
import threading
import uuid

import psycopg
import pytest

NOW = "2026-03-04 05:06:07+00"
TASKS = """select task_name, state, attempts, first_started_at, cancelled_at, cancel_done, completed_payload,
        (select r.attempt from absurd.r_q r where r.run_id = t.last_attempt_run)
    from absurd.t_q t order by task_name"""
RUNS = """select task_name, r.attempt, r.state, r.available_at, r.created_at, r.claimed_by, r.claim_expires_at,
        r.wake_event, r.failed_at, r.failure_reason, r.tenant_id, r.priority, r.started_at, r.attempt_ends_at
    from absurd.r_q r join absurd.t_q t using (task_id) order by task_name, r.attempt"""
# Options of a task, what is done to it by hand once it runs, and what fail_run is given besides the run.
CASES = {
    "again at once": ("{}", "", "'{\"name\": \"no\"}'"),
    "no reason": ("{}", "", "null"),
    "after a while": ('{"retry_strategy": {"kind": "exponential", "base_seconds": 30}}', "", "'1'"),
    "at an instant": ("{}", "", "'1', '2026-03-04 07:00:00+00'"),
    "at one that has passed": ("{}", "", "'1', '2026-03-04 01:00:00+00'"),
    "no attempt is left": ('{"max_attempts": 1}', "", "'1'"),
    "no attempt and a rule": ('{"max_attempts": 1, "cancellation": {"max_duration": 60}}', "", "'1'"),
    "too late for another": ('{"cancellation": {"max_duration": 60}}', "", "'1', '2026-03-04 07:00:00+00'"),
    "a rule and time enough": ('{"cancellation": {"max_duration": 60}}', "", "'1'"),
    "tenant and priority": ('{"tenant_id": "me", "priority": 3}', "", "'1'"),
    "of another make": ("{}", "update absurd.t_q set retry_strategy = '[]' where task_id = %(task)s", "'1'"),
    "no last run": ('{"max_attempts": 1}', "update absurd.t_q set last_attempt_run = null where task_id = %(task)s", "'1'"),
    "asleep": ("{}", "select absurd.schedule_run('q', %(run)s, '2026-03-04 06:00:00+00')", "'1'"),
    "waiting": ("{}", "select absurd.await_event('q', %(task)s, %(run)s, 'step', 'event', 60)", "'1'"),
    "woken": ("{}", "update absurd.r_q set wake_event = 'event' where run_id = %(run)s", "'1'"),
    "ended": ("{}", "select absurd.complete_run('q', %(run)s)", "'1'"),
    "cancelled": ("{}", "select absurd.cancel_task('q', %(task)s)", "'1'"),
    "failed": ('{"max_attempts": 1}', "select absurd.fail_run('q', %(run)s, '0')", "'1'"),
    "no such run": ("{}", "delete from absurd.r_q where run_id = %(run)s", "'1'"),
    "attempts as high as they go": ("{}", "update absurd.r_q set attempt = 2147483647 where run_id = %(run)s", "'1'"),
}


@pytest.fixture
def queue(conn):
    conn.execute("select absurd.create_queue('q')")
    yield "q"
    conn.execute("select absurd.drop_queue('q')")


def claimed(conn, name="x", options="{}"):
    """Ids of a new task and of its run, which is claimed."""
    conn.execute("select absurd.spawn_task('q', %s, '{}', %s)", (name, options))
    run, task = conn.execute("select run_id, task_id from absurd.claim_task('q', 'worker', 60)").fetchone()
    return {"task": task, "run": run}


def planned(conn):
    """What a session has planned that touches the queue's tables."""
    return conn.execute("""select ident from pg_backend_memory_contexts
        where name = 'CachedPlanSource' and ident like '/* absurd */%' and position('r_q' in ident) > 0""").fetchall()


def settle(conn, name, options, by_hand, arguments):
    """Fails a run; returns the error, with names in the place of ids."""
    ids = claimed(conn, name, options)
    if by_hand:
        conn.execute(by_hand, ids)
    try:
        conn.execute(f"select absurd.fail_run('q', %(run)s, {arguments})", ids)
    except psycopg.Error as error:
        message = error.diag.message_primary
        for what, value in ids.items():
            message = message.replace(str(value), what)
        return error.sqlstate, message
    return None


def test_it_leaves_what_the_statement_leaves(connect):
    came = []
    for setting in ("on", "off"):
        conn = connect()
        conn.execute(f"set absurd.direct to {setting}")
        conn.execute(f"set absurd.fake_now to '{NOW}'")
        conn.execute("select absurd.create_queue('q')")
        errors = {name: settle(conn, name, *case) for name, case in CASES.items()}
        came.append((errors, conn.execute(TASKS).fetchall(), conn.execute(RUNS).fetchall()))
        conn.execute("select absurd.drop_queue('q')")
    (errors, tasks, runs), (stated_errors, stated_tasks, stated_runs) = came
    assert errors == stated_errors
    assert {name for name, error in errors.items() if error} == {
        "ended", "cancelled", "failed", "no such run", "attempts as high as they go"}
    assert tasks == stated_tasks
    assert runs == stated_runs
    assert {task[1] for task in tasks} == {"pending", "sleeping", "running", "completed", "failed", "cancelled"}


@pytest.mark.parametrize("options", ["{}", '{"retry_strategy": {"kind": "fixed"}}', '{"max_attempts": 1}',
                                     '{"max_attempts": 1, "cancellation": {"max_duration": 60}}'])
def test_it_needs_no_statement(connect, queue, options):
    conn = connect()
    ids = claimed(conn, options=options)
    conn.execute("select absurd.fail_run('q', %(run)s, '1')", ids)
    assert planned(conn) == []
    conn.execute("set absurd.direct to off")
    with pytest.raises(psycopg.Error):
        conn.execute("select absurd.fail_run('q', %(run)s, '1')", ids)
    assert planned(conn)


def test_a_task_claimed_and_failed_in_one_transaction(conn, queue):
    with conn.transaction():
        for attempt in (1, 2, 3):
            run = conn.execute("select run_id, attempt from absurd.claim_task('q', 'worker', 60)").fetchone() or (
                claimed(conn)["run"], attempt)
            assert run[1] == attempt
            conn.execute("select absurd.fail_run('q', %s, '1')", (run[0],))
    assert conn.execute("select state, attempts from absurd.t_q").fetchall() == [("pending", 4)]
    assert conn.execute("select array_agg(state order by attempt) from absurd.r_q").fetchone()[0] == [
        "failed", "failed", "failed", "pending"]


@pytest.mark.parametrize("end", ["commit", "rollback"])
@pytest.mark.parametrize("held, sql", [
    ("the task", "select from absurd.t_q for no key update"),
    ("the run", "select from absurd.r_q for no key update"),
    ("the task's key", "select from absurd.t_q for key share"),
    ("the run's key", "select from absurd.r_q for key share"),
    ("the task, with other rules", "update absurd.t_q set max_attempts = 1"),
    ("the run, with a longer lease", "update absurd.r_q set claim_expires_at = claim_expires_at + interval '1 hour'"),
])
def test_it_waits_for_who_is_at_the_rows(connect, conn, queue, held, sql, end):
    ids = claimed(conn)
    holder, other = connect(autocommit=False), connect()
    holder.execute(sql)
    thread = threading.Thread(target=other.execute, args=("select absurd.fail_run('q', %(run)s, '1')", ids))
    thread.start()
    if "key" not in held:
        waits = "select exists (select from pg_stat_activity where pid = %s and wait_event_type = 'Lock')"
        while not conn.execute(waits, (other.info.backend_pid,)).fetchone()[0]:
            assert thread.is_alive()
    else:
        # Who keeps nothing but the key is not waited for.
        thread.join(30)
        assert not thread.is_alive()
    getattr(holder, end)()
    thread.join(30)
    assert not thread.is_alive()
    ended = held.endswith("rules") and end == "commit"
    assert conn.execute("select state, attempts from absurd.t_q").fetchall() == [("failed", 1) if ended else ("pending", 2)]
    runs = conn.execute("select state from absurd.r_q order by attempt").fetchall()
    assert runs == [("failed",)] if ended else runs == [("failed",), ("pending",)]


def test_a_cancellation_that_comes_first_is_told(connect, conn, queue):
    ids, came = claimed(conn), []
    holder, other = connect(autocommit=False), connect()
    holder.execute("select absurd.cancel_task('q', %(task)s)", ids)

    def fail():
        try:
            other.execute("select absurd.fail_run('q', %(run)s, '1')", ids)
        except psycopg.Error as error:
            came.append(error.sqlstate)

    thread = threading.Thread(target=fail)
    thread.start()
    waits = "select exists (select from pg_stat_activity where pid = %s and wait_event_type = 'Lock')"
    while not conn.execute(waits, (other.info.backend_pid,)).fetchone()[0]:
        assert thread.is_alive()
    holder.commit()
    thread.join(30)
    assert came == ["AB001"]


@pytest.mark.parametrize("setting", ["on", "off"])
def test_a_step_of_a_workflow_fails_the_same_way(connect, setting):
    conn = connect()
    conn.execute(f"set absurd.direct to {setting}")
    name = f"failing_{setting}"
    document = {"name": name, "version": "1", "tasks": {"a": {
        "task_id": "a", "operator_type": "task", "function": "f", "retry_policy": {"max_retries": 1, "delay": 0}}}}
    conn.execute("select absurd.create_queue('q')")
    conn.execute("select absurd.register_workflow(%s, 'q')", (json.dumps(document),))
    run = conn.execute("select absurd.start_workflow(%s, p_queue_name => 'q')", (name,)).fetchone()[0]
    seen = []
    while claim := conn.execute("select run_id from absurd.claim_task('q', 'worker', 60)").fetchone():
        conn.execute("select absurd.fail_run('q', %s, '{\"name\": \"no\"}')", claim)
        seen.append(conn.execute("select state, attempts from absurd.t_q").fetchone())
    status = conn.execute("select status from absurd.workflow_run where workflow_run_id = %s", (run,)).fetchone()
    assert (seen, status) == ([("pending", 2), ("failed", 2)], ("failed",))
    assert conn.execute("select state, attempts from absurd.workflow_step where workflow_run_id = %s",
                        (run,)).fetchall() == [("failed", 2)]
    conn.execute("select absurd.drop_queue('q')")


def test_an_unknown_run_is_refused(conn, queue):
    with pytest.raises(psycopg.Error) as error:
        conn.execute("select absurd.fail_run('q', %s, '1')", (uuid.UUID(int=1),))
    assert error.value.sqlstate == "02000"
