"""fail_run: what it leaves of tasks, runs and waits, also beside others who are at the rows, and whether
tables are read directly or not."""

import json
import threading
import uuid

import psycopg
import pytest

NOW = "2026-03-04 05:06:07+00"
TASK = """select state, attempts, first_started_at, cancelled_at, cancel_done, completed_payload,
        (select r.attempt from absurd.r_q r where r.run_id = t.last_attempt_run), (select count(*) from absurd.w_q)
    from absurd.t_q t"""
RUNS = """select attempt, state, available_at, created_at, claimed_by, claim_expires_at, wake_event, failed_at,
        failure_reason, tenant_id, priority, started_at, attempt_ends_at
    from absurd.r_q order by attempt"""
# Options of a task, what is done to it by hand once it runs, what fail_run is given besides the run, and
# the state of the task then: of those that are refused, with the error.
# The highest number of an attempt.
HIGHEST = 2147483647

CASES = {
    "again at once": ("{}", "", "'{\"name\": \"no\"}'", "pending"),
    "no reason": ("{}", "", "null", "pending"),
    "after a while": ('{"retry_strategy": {"kind": "exponential", "base_seconds": 30}}', "", "'1'", "sleeping"),
    "at an instant": ("{}", "", "'1', '2026-03-04 07:00:00+00'", "sleeping"),
    "at one that has passed": ("{}", "", "'1', '2026-03-04 01:00:00+00'", "pending"),
    "no attempt is left": ('{"max_attempts": 1}', "", "'1'", "failed"),
    "no attempt and a rule": ('{"max_attempts": 1, "cancellation": {"max_duration": 60}}', "", "'1'", "failed"),
    "too late for another": ('{"cancellation": {"max_duration": 60}}', "", "'1', '2026-03-04 07:00:00+00'", "cancelled"),
    "a rule and time enough": ('{"cancellation": {"max_duration": 60}}', "", "'1'", "pending"),
    "tenant and priority": ('{"tenant_id": "me", "priority": 3}', "", "'1'", "pending"),
    "of another make": ("{}", "update absurd.t_q set retry_strategy = '[]' where task_id = %(task)s", "'1'", "failed"),
    "no last run": ('{"max_attempts": 1}', "update absurd.t_q set last_attempt_run = null where task_id = %(task)s", "'1'", "failed"),
    "asleep": ("{}", "select absurd.schedule_run('q', %(run)s, '2026-03-04 06:00:00+00')", "'1'", "pending"),
    "waiting": ("{}", "select absurd.await_event('q', %(task)s, %(run)s, 'step', 'event', 60)", "'1'", "pending"),
    "woken": ("{}", "update absurd.r_q set wake_event = 'event' where run_id = %(run)s", "'1'", "pending"),
    "ended": ("{}", "select absurd.complete_run('q', %(run)s)", "'1'", "completed 55000"),
    "cancelled": ("{}", "select absurd.cancel_task('q', %(task)s)", "'1'", "cancelled AB001"),
    "failed": ('{"max_attempts": 1}', "select absurd.fail_run('q', %(run)s, '0')", "'1'", "failed AB002"),
    "no such run": ("{}", "delete from absurd.r_q where run_id = %(run)s", "'1'", "running P0002"),
    "attempts as high as they go": ("{}", f"update absurd.r_q set attempt = {HIGHEST} where run_id = %(run)s", "'1'", "failed"),
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


def until_it_waits(conn, other, thread):
    """Returns once another session, which works in a thread, waits for a lock."""
    waits = "select exists (select from pg_stat_activity where pid = %s and wait_event_type = 'Lock')"
    while not conn.execute(waits, (other.info.backend_pid,)).fetchone()[0]:
        assert thread.is_alive()


def settle(conn, setting, options, by_hand, arguments):
    """Fails the run of a task in a queue of its own; returns the error, with names in the place of ids, and what is
    left of the task and its runs."""
    conn.execute(f"set absurd.direct to {setting}")
    conn.execute(f"set absurd.fake_now to '{NOW}'")
    conn.execute("select absurd.create_queue('q')")
    ids, error = claimed(conn, options=options), None
    if by_hand:
        conn.execute(by_hand, ids)
    try:
        conn.execute(f"select absurd.fail_run('q', %(run)s, {arguments})", ids)
    except psycopg.Error as raised:
        error = (raised.sqlstate, raised.diag.message_primary)
        for what, value in ids.items():
            error = (error[0], error[1].replace(str(value), what))
    left = conn.execute(TASK).fetchall(), conn.execute(RUNS).fetchall()
    conn.execute("select absurd.drop_queue('q')")
    return error, *left


@pytest.mark.parametrize("name", CASES)
def test_what_it_leaves(connect, name):
    *case, expected = CASES[name]
    error, tasks, runs = settle(connect(), "on", *case)
    assert (error, tasks, runs) == settle(connect(), "off", *case)
    [(state, attempts, _, cancelled_at, cancel_done, _, last, waits)] = tasks
    assert " ".join([state, *(error or ())[:1]]) == expected
    is_over, has_rule = state in ("failed", "cancelled"), "cancellation" in case[0]
    if error is None:
        assert cancel_done == (True if has_rule and is_over else None)
        assert (cancelled_at is not None) == (state == "cancelled")
        assert attempts == (1 if is_over else 2) == len(runs)
        assert last == (HIGHEST if str(HIGHEST) in (case[1] or "") else attempts)
        assert waits == 0


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
        until_it_waits(conn, other, thread)
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
    until_it_waits(conn, other, thread)
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


def test_what_a_savepoint_undoes_is_undone(conn, queue):
    ids = claimed(conn)
    with conn.transaction():
        with conn.transaction(force_rollback=True):
            conn.execute("select absurd.fail_run('q', %(run)s, '1')", ids)
        conn.execute("select absurd.complete_run('q', %(run)s)", ids)
    assert conn.execute("select state, attempts from absurd.t_q").fetchall() == [("completed", 1)]
    assert conn.execute("select state, failed_at, failure_reason from absurd.r_q").fetchall() == [("completed", None, None)]


def test_a_check_of_a_users_is_about_what_stands(connect, conn, queue):
    """A change that is waited for decides, not the version before it."""
    ids = claimed(conn)
    conn.execute("alter table absurd.t_q add column cap int, add check (attempts <= cap)")
    conn.execute("update absurd.t_q set cap = 1")
    holder, other = connect(autocommit=False), connect()
    holder.execute("update absurd.t_q set cap = 5")
    thread = threading.Thread(target=other.execute, args=("select absurd.fail_run('q', %(run)s, '1')", ids))
    thread.start()
    until_it_waits(conn, other, thread)
    holder.commit()
    thread.join(30)
    assert conn.execute("select state, attempts from absurd.t_q").fetchall() == [("pending", 2)]


def test_a_wait_that_comes_while_the_run_is_had_goes(connect, conn, queue):
    """Who inserts a wait holds its run meanwhile; the failure waits for that, and takes it away."""
    ids = claimed(conn)
    holder, other = connect(autocommit=False), connect()
    holder.execute("select from absurd.r_q for update")
    thread = threading.Thread(target=other.execute, args=("select absurd.fail_run('q', %(run)s, '1')", ids))
    thread.start()
    until_it_waits(conn, other, thread)
    holder.execute("insert into absurd.w_q (task_id, run_id, step_name, event_name) values (%(task)s, %(run)s, 's', 'e')", ids)
    holder.commit()
    thread.join(30)
    assert conn.execute("select count(*) from absurd.w_q").fetchone() == (0,)
    assert conn.execute("select state, attempts from absurd.t_q").fetchall() == [("pending", 2)]


def test_an_unknown_run_is_refused(conn, queue):
    with pytest.raises(psycopg.Error) as error:
        conn.execute("select absurd.fail_run('q', %s, '1')", (uuid.UUID(int=1),))
    assert error.value.sqlstate == "P0002"
