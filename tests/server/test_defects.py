"""The sixteen defects of the plpgsql engine that must not come back, a test each.

Several sessions meet here without sleeps: what must not wait runs under a statement timeout, what must
wait is seen waiting in pg_stat_activity first.
"""

import threading
import time
import uuid
from datetime import datetime, timedelta, timezone

import psycopg
import pytest
from psycopg import sql

NOW = datetime(2026, 1, 1, tzinfo=timezone.utc)


@pytest.fixture
def queue(conn, connect, request):
    name = request.node.name.removeprefix("test_")[:40]
    conn.execute("select absurd.create_queue(%s)", (name,))
    yield name
    for other in connect.all:
        if other is not conn:
            other.close()
    conn.execute("reset absurd.fake_now")
    conn.execute("select absurd.drop_queue(%s)", (name,))


@pytest.fixture
def prompt(connect):
    """A session whose statements must not wait."""
    connection = connect()
    connection.execute("set statement_timeout = '5s'; set lock_timeout = '2s'")
    return connection


def at(conn, seconds):
    conn.execute(
        "select set_config('absurd.fake_now', %s, false)", ((NOW + timedelta(seconds=seconds)).isoformat(),)
    )


def spawn(conn, queue, name="t", options="{}"):
    return conn.execute(
        "select task_id, run_id from absurd.spawn_task(%s, %s, '{}', %s)", (queue, name, options)
    ).fetchone()


def claim(conn, queue, quantity=1, lease=60):
    return conn.execute(
        "select task_id, run_id from absurd.claim_task(%s, 'w', %s, %s)", (queue, lease, quantity)
    ).fetchall()


def one(conn, query, *arguments):
    (row,) = conn.execute(query, arguments).fetchall()
    return row[0]


def table(prefix, queue):
    return sql.SQL("absurd.{}").format(sql.Identifier(f"{prefix}_{queue}"))


def refused(sqlstate, call, *arguments):
    with pytest.raises(psycopg.Error) as raised:
        call(*arguments)
    assert raised.value.sqlstate == sqlstate, raised.value
    return raised.value


def blocks(conn, query, *arguments):
    (plan,) = conn.execute("explain (analyze, buffers, format json) " + query, arguments).fetchone()
    return plan[0]["Plan"]["Shared Hit Blocks"] + plan[0]["Plan"]["Shared Read Blocks"]


def when_waiting(conn, other):
    """Returns once the other session waits for a lock."""
    deadline = time.monotonic() + 20
    while one(conn, "select wait_event_type is not distinct from 'Lock' from pg_stat_activity where pid = %s",
              other.info.backend_pid) is not True:
        assert time.monotonic() < deadline, "the other session does not wait"
        time.sleep(0.005)


def in_background(call):
    """Runs a call in a thread; the returned function joins it and gives its result or raises."""
    outcome = {}

    def run():
        try:
            outcome["value"] = call()
        except BaseException as error:  # handed to the joining thread
            outcome["error"] = error

    thread = threading.Thread(target=run)
    thread.start()

    def join():
        thread.join(30)
        assert not thread.is_alive()
        if "error" in outcome:
            raise outcome["error"]
        return outcome["value"]

    return join


def test_d01_create_queue_on_an_existing_queue_locks_nothing(conn, connect, prompt, queue):
    creator = connect(autocommit=False)
    creator.execute("select absurd.create_queue(%s)", (queue,))
    held = creator.execute(
        "select l.relation::regclass::text, l.mode from pg_locks l"
        " where l.pid = pg_backend_pid() and l.mode not in ('AccessShareLock', 'ExclusiveLock')"
    ).fetchall()
    assert held == []
    task, _ = spawn(prompt, queue)
    [(claimed, run)] = claim(prompt, queue)
    prompt.execute("select absurd.emit_event(%s, 'e')", (queue,))
    assert claimed == task
    # And the other way round: with work under way that is not committed.
    worker = connect(autocommit=False)
    worker.execute("select absurd.complete_run(%s, %s)", (queue, run))
    worker.execute("select absurd.emit_event(%s, 'f')", (queue,))
    prompt.execute("select absurd.create_queue(%s)", (queue,))
    worker.commit()
    creator.commit()


def test_d02_a_claim_costs_the_same_at_any_backlog(conn, queue):
    def fill(first, last):
        conn.execute(sql.SQL(
            """with tasks as (
                   insert into {t} (task_id, task_name, params, state, attempts, last_attempt_run, cancellation)
                   select gen_random_uuid(), 'n', '{{}}', case when mod(n, 2) = 0 then 'pending' else 'completed' end, 1,
                          gen_random_uuid(), case when mod(n, 4) = 0 then '{{"max_delay": 999999}}'::jsonb end
                     from generate_series(%s::int, %s::int) n
                   returning task_id, last_attempt_run, state
               )
               insert into {r} (run_id, task_id, attempt, state, available_at, completed_at)
               select last_attempt_run, task_id, 1, state, now(), case when state = 'completed' then now() end
                 from tasks"""
        ).format(t=table("t", queue), r=table("r", queue)), (first, last))
        conn.execute(sql.SQL("vacuum analyze {}, {}").format(table("t", queue), table("r", queue)))

    def cost():
        counts = sorted(
            blocks(conn, "select * from absurd.claim_task(%s, 'w', 600, 1)", queue) for _ in range(9))
        return counts[4]

    fill(1, 2000)
    cost()
    small = cost()
    fill(2001, 400_000)
    large = cost()
    # A taller index costs a block more for each look-up, a longer queue none.
    assert large <= small * 1.3 + 6, (small, large)


@pytest.mark.parametrize("rule", ['{"max_delay": 1.5}', '{"max_delay": "60"}', '{"max_duration": -1}', "[]", "7"])
def test_d03_a_bad_rule_is_refused_or_harmless(conn, queue, rule):
    error = refused("22023", spawn, conn, queue, "t", f'{{"cancellation": {rule}}}')
    assert "cancellation" in str(error)
    # One that somebody stored all the same does not stop the queue.
    task, _ = spawn(conn, queue)
    conn.execute(sql.SQL("update {} set cancellation = %s").format(table("t", queue)), (rule,))
    [(claimed, run)] = claim(conn, queue)
    assert claimed == task
    conn.execute("select absurd.complete_run(%s, %s)", (queue, run))
    bad = '{"retry_strategy": {"kind": "fixed", "base_seconds": -1}}'
    refused("AB003", spawn, conn, queue, "t", bad)


def test_d04_a_claim_waits_for_nobody(conn, connect, prompt, queue):
    at(conn, 0)
    late, _ = spawn(conn, queue, "late", '{"cancellation": {"max_delay": 5}}')
    locked, _ = spawn(conn, queue, "locked")
    free, _ = spawn(conn, queue, "free")
    other, lock = connect(autocommit=False), connect(autocommit=False)
    at(other, 10)
    other.execute("select count(*) from absurd.claim_task(%s, 'w', 60, 1)", (queue,))
    other.execute("savepoint held")
    lock.execute(sql.SQL("select from {} where task_id = %s for update").format(table("t", queue)), (free,))
    spawn(conn, queue, "next")
    # `late` is being cancelled, `locked` is claimed, `free` has its task locked: the next one it is.
    at(prompt, 10)
    [(claimed, _)] = claim(prompt, queue, 5)
    assert one(conn, sql.SQL("select task_name from {} where task_id = %s").format(table("t", queue)).as_string(conn),
               claimed) == "next"
    other.commit()
    lock.commit()
    assert one(conn, "select state from absurd.get_task_result(%s, %s)", queue, late) == "cancelled"
    assert one(conn, "select state from absurd.get_task_result(%s, %s)", queue, locked) == "running"
    assert [task for task, _ in claim(prompt, queue, 5)] == [free]


def test_d05_a_retry_has_a_fresh_max_duration(conn, queue):
    at(conn, 0)
    options = '{"max_attempts": 1, "cancellation": {"max_duration": 60}}'
    task, run = spawn(conn, queue, "t", options)
    claim(conn, queue)
    at(conn, 50)
    conn.execute("select absurd.fail_run(%s, %s, '1')", (queue, run))
    at(conn, 100)
    conn.execute("select absurd.retry_task(%s, %s)", (queue, task))
    at(conn, 200)
    [(claimed, second)] = claim(conn, queue, 1, 600)
    at(conn, 259)
    assert claim(conn, queue) == []
    assert one(conn, "select state from absurd.get_task_result(%s, %s)", queue, claimed) == "running"
    at(conn, 260)
    assert claim(conn, queue) == []
    refused("AB001", conn.execute, "select absurd.complete_run(%s, %s)", (queue, second))


def test_d06_cleanup_leaves_a_task_that_is_being_revived(conn, connect, prompt, queue):
    at(conn, 0)
    revived, run = spawn(conn, queue, "revived", '{"max_attempts": 1}')
    claim(conn, queue)
    conn.execute("select absurd.fail_run(%s, %s, '1')", (queue, run))
    gone, run = spawn(conn, queue, "gone", '{"max_attempts": 1}')
    claim(conn, queue)
    conn.execute("select absurd.fail_run(%s, %s, '1')", (queue, run))
    reviver = connect(autocommit=False)
    at(reviver, 100)
    reviver.execute("select absurd.retry_task(%s, %s)", (queue, revived))
    at(prompt, 100)
    assert one(prompt, "select absurd.cleanup_tasks(%s, 1)", queue) == 1
    reviver.commit()
    assert one(prompt, "select absurd.cleanup_tasks(%s, 1)", queue) == 0
    assert one(conn, "select state from absurd.get_task_result(%s, %s)", queue, revived) == "pending"
    assert conn.execute("select * from absurd.get_task_result(%s, %s)", (queue, gone)).fetchall() == []
    # What it costs is counted in test_cleanup_cost.py.


def test_d07_an_event_row_means_an_emitted_event(conn, queue):
    spawn(conn, queue)
    [(task, run)] = claim(conn, queue)
    events = sql.SQL("select count(*) from {}").format(table("e", queue)).as_string(conn)
    await_event = "select should_suspend, payload from absurd.await_event(%s, %s, %s, %s, %s, 60)"
    assert conn.execute(await_event, (queue, task, run, "s", "go")).fetchone() == (True, None)
    assert one(conn, events) == 0
    # A client's own insert counts as an emission.
    conn.execute(sql.SQL("insert into {} (event_name, payload) values ('direct', '7')").format(table("e", queue)))
    spawn(conn, queue)
    [(task, run)] = claim(conn, queue)
    assert conn.execute(await_event, (queue, task, run, "s", "direct")).fetchone() == (False, 7)
    conn.execute("select absurd.emit_event(%s, 'direct', '8')", (queue,))
    assert one(conn, sql.SQL("select payload from {} where event_name = 'direct'").format(
        table("e", queue)).as_string(conn)) == 7


def test_d08_checkpoints_of_strangers_are_refused_and_writers_take_turns(conn, connect, queue):
    spawn(conn, queue), spawn(conn, queue)
    (mine, run), (other, _) = claim(conn, queue, 2)
    put = "select absurd.set_task_checkpoint_state(%s, %s, %s, %s, %s)"
    error = refused("22023", conn.execute, put, (queue, other, "s", "1", run))
    assert "does not belong" in str(error)
    refused("22023", conn.execute, "select * from absurd.await_event(%s, %s, %s, 's', 'e')", (queue, other, run))
    first, second = connect(autocommit=False), connect()
    first.execute(put, (queue, mine, "s", '"first"', run))
    join = in_background(lambda: second.execute(put, (queue, mine, "s", '"second"', run)))
    when_waiting(conn, second)
    first.commit()
    join()
    assert one(conn, "select state from absurd.get_task_checkpoint_state(%s, %s, 's')", queue, mine) == "second"
    conn.execute("select absurd.complete_run(%s, %s)", (queue, run))
    refused("55000", conn.execute, put, (queue, mine, "late", "1", run))
    refused("55000", conn.execute, "select * from absurd.await_event(%s, %s, %s, 's', 'e')", (queue, mine, run))


def test_d09_await_event_of_a_cancelled_task_or_failed_run(conn, queue):
    spawn(conn, queue), spawn(conn, queue)
    (cancelled, first), (failed, second) = claim(conn, queue, 2)
    for task, run in ((cancelled, first), (failed, second)):
        conn.execute("select absurd.set_task_checkpoint_state(%s, %s, 'wait', '1', %s)", (queue, task, run))
    conn.execute("select absurd.cancel_task(%s, %s)", (queue, cancelled))
    conn.execute("select absurd.fail_run(%s, %s, '1')", (queue, second))
    call = "select * from absurd.await_event(%s, %s, %s, 'wait', 'e')"
    refused("AB001", conn.execute, call, (queue, cancelled, first))
    refused("AB002", conn.execute, call, (queue, failed, second))


def test_d10_a_checkpoint_never_shortens_a_lease(conn, queue):
    at(conn, 0)
    spawn(conn, queue)
    [(task, run)] = claim(conn, queue, 1, 600)
    lease = sql.SQL("select claim_expires_at from {}").format(table("r", queue)).as_string(conn)
    put = "select absurd.set_task_checkpoint_state(%s, %s, 's', '1', %s, %s)"
    conn.execute(put, (queue, task, run, 10))
    assert one(conn, lease) == NOW + timedelta(seconds=600)
    conn.execute(put, (queue, task, run, 900))
    assert one(conn, lease) == NOW + timedelta(seconds=900)
    # extend_claim sets it, as asked.
    conn.execute("select absurd.extend_claim(%s, %s, 5)", (queue, run))
    assert one(conn, lease) == NOW + timedelta(seconds=5)


def test_d11_schedule_run_says_why_not_and_clears_what_is_stale(conn, queue):
    spawn(conn, queue), spawn(conn, queue), spawn(conn, queue)
    (cancelled, first), (_, failed), (task, run) = claim(conn, queue, 3)
    conn.execute("select absurd.cancel_task(%s, %s)", (queue, cancelled))
    conn.execute("select absurd.fail_run(%s, %s, '1', 'infinity')", (queue, failed))
    call = "select absurd.schedule_run(%s, %s, now())"
    refused("AB001", conn.execute, call, (queue, first))
    refused("AB002", conn.execute, call, (queue, failed))
    conn.execute("select * from absurd.await_event(%s, %s, %s, 's', 'e')", (queue, task, run))
    conn.execute("select absurd.emit_event(%s, 'e', '\"payload\"')", (queue,))
    [(_, again)] = claim(conn, queue)
    assert again == run
    waits = table("w", queue)
    conn.execute(sql.SQL("insert into {} (task_id, run_id, step_name, event_name) values (%s, %s, 'x', 'y')").format(waits),
                 (task, run))
    conn.execute(call, (queue, run))
    row = conn.execute(sql.SQL("select state, event_payload, wake_event, claimed_by from {} where run_id = %s").format(
        table("r", queue)), (run,)).fetchone()
    assert row == ("sleeping", None, None, None)
    assert one(conn, sql.SQL("select count(*) from {}").format(waits).as_string(conn)) == 0


def test_d12_rows_in_a_default_partition_move_to_their_week(conn):
    at(conn, 0)
    conn.execute("select absurd.create_queue('d12', 'partitioned')")
    at(conn, 60 * 86400)
    task, run = spawn(conn, "d12")
    assert one(conn, "select tableoid::regclass::text from absurd.t_d12") == "absurd.t_d12_d"
    conn.execute("select absurd.ensure_partitions('d12')")
    tag = one(conn, "select absurd.partition_week_tag(absurd.current_time())")
    assert one(conn, "select tableoid::regclass::text from absurd.t_d12") == f"absurd.t_d12_{tag}"
    assert one(conn, "select tableoid::regclass::text from absurd.r_d12") == f"absurd.r_d12_{tag}"
    conn.execute("select absurd.ensure_partitions('d12')")
    assert claim(conn, "d12") == [(task, run)]
    conn.execute("reset absurd.fake_now; select absurd.drop_queue('d12')")


def test_d13_a_week_tag_that_comes_back_is_noticed(conn):
    at(conn, 0)
    conn.execute("select absurd.create_queue('d13', 'partitioned')")
    weeks = "select count(*) from pg_inherits where inhparent = 'absurd.t_d13'::regclass"
    before = one(conn, weeks)
    # 521 weeks later the same tags name other weeks.
    at(conn, 521 * 7 * 86400)
    error = refused("42P07", conn.execute, "select absurd.ensure_partitions('d13')")
    assert "t_d13_" in str(error) and "ten years" in error.diag.message_hint
    assert one(conn, weeks) == before
    conn.execute("reset absurd.fake_now; select absurd.drop_queue('d13')")


def test_d14_fake_now_needs_the_right_to_set_it(conn, database):
    role = f"d14_{uuid.uuid4().hex[:8]}"
    conn.execute(f"create role {role} login; grant usage on schema absurd to {role}")
    try:
        with psycopg.connect(database, user=role, autocommit=True) as plain:
            plain.execute("select absurd.current_time()")
            refused("42501", plain.execute, "set absurd.fake_now = '2000-01-01'")
        # Not by setting it before the library is loaded either.
        with psycopg.connect(database, user=role, autocommit=True) as early:
            early.execute("set absurd.fake_now = '2000-01-01'")
            assert one(early, "select absurd.current_time() > now() - interval '1 day'") is True
        conn.execute(f"grant set on parameter absurd.fake_now to {role}")
        with psycopg.connect(database, user=role, autocommit=True) as allowed:
            allowed.execute("set absurd.fake_now = '2000-01-01'")
            assert one(allowed, "select absurd.current_time()") == datetime(2000, 1, 1, tzinfo=timezone.utc)
    finally:
        conn.execute(f"drop owned by {role}; drop role {role}")


def test_d15_an_emission_to_many_against_cancellations(conn, connect, queue):
    waiters = 200
    for _ in range(waiters):
        spawn(conn, queue)
    claimed = claim(conn, queue, waiters)
    for task, run in claimed:
        conn.execute("select * from absurd.await_event(%s, %s, %s, 's', 'go')", (queue, task, run))
    tasks = [task for task, _ in claimed]
    barrier = threading.Barrier(3)

    def cancel(order):
        with connect() as session:
            barrier.wait(20)
            return sum(
                session.execute("select absurd.cancel_task(%s, %s)", (queue, task)).fetchone()[0] for task in order)

    def emit():
        with connect() as session:
            barrier.wait(20)
            session.execute("select absurd.emit_event(%s, 'go', '1')", (queue,))

    joins = [in_background(lambda: cancel(tasks[::-1])), in_background(lambda: cancel(tasks)), in_background(emit)]
    assert joins[0]() + joins[1]() == waiters
    joins[2]()
    assert one(conn, sql.SQL("select count(*) from {}").format(table("w", queue)).as_string(conn)) == 0
    states = conn.execute(sql.SQL("select distinct state from {}").format(table("r", queue))).fetchall()
    assert states == [("cancelled",)]


def test_d16_drop_queue_names_what_depends_on_it(conn):
    conn.execute("select absurd.create_queue('d16')")
    conn.execute("create view public.backlog as select * from absurd.r_d16")
    error = refused("2BP01", conn.execute, "select absurd.drop_queue('d16')")
    assert "public.backlog" in error.diag.message_detail or "view backlog" in error.diag.message_detail
    assert one(conn, "select count(*) from absurd.list_queues() where queue_name = 'd16'") == 1
    assert one(conn, "select count(*) from public.backlog") == 0
    conn.execute("drop view public.backlog; select absurd.drop_queue('d16')")
