"""The locks of events: names meet only themselves, up to a thousand a transaction; beyond that, sides of a queue."""

import psycopg
import pytest

QUEUE = "events"
# The names that a transaction locks one by one, and what else a call holds.
MOST = 1000
OTHERS = 64


@pytest.fixture
def queue(conn, connect):
    conn.execute("select absurd.create_queue(%s)", (QUEUE,))
    yield conn
    for session in connect.all:
        session.rollback()
    conn.execute("select absurd.drop_queue(%s)", (QUEUE,))


def emit(conn, first, last):
    conn.execute("select count(absurd.emit_event(%s, 'name ' || n)) from generate_series(%s::int, %s::int) n", (QUEUE, first, last))


def emit_many(conn, first, last):
    conn.execute("select absurd.emit_events(%s, array(select 'name ' || n from generate_series(%s::int, %s::int) n))", (QUEUE, first, last))


def locks(conn):
    return conn.execute("select count(*) from pg_locks where pid = pg_backend_pid()").fetchone()[0]


def awaits(conn, event):
    """Whether a run can await an event at once; it is left asleep then."""
    conn.execute("select absurd.spawn_task(%s, 'task', '{}')", (QUEUE,))
    task, run = conn.execute("select task_id, run_id from absurd.claim_task(%s, 'worker', 600)", (QUEUE,)).fetchone()
    try:
        with conn.transaction():
            conn.execute("set local lock_timeout = 1")
            conn.execute("select absurd.await_event(%s, %s, %s, 'step', %s)", (QUEUE, task, run, event))
        return True
    except psycopg.errors.LockNotAvailable:
        return False


def emits(conn, event):
    try:
        with conn.transaction():
            conn.execute("set local lock_timeout = 1")
            conn.execute("select absurd.emit_event(%s, %s)", (QUEUE, event))
        return True
    except psycopg.errors.LockNotAvailable:
        return False


@pytest.mark.parametrize("emission", [emit, emit_many])
def test_a_thousand_names_meet_themselves_alone(queue, connect, emission):
    emitter = connect(autocommit=False)
    emission(emitter, 1, MOST)
    assert MOST <= locks(emitter) <= MOST + OTHERS
    assert all(awaits(queue, f"other {n}") for n in range(20))
    assert all(emits(queue, f"other {n}") for n in range(20))
    assert not awaits(queue, "name 1")
    assert not awaits(queue, f"name {MOST}")


@pytest.mark.parametrize("emission", [emit, emit_many])
def test_more_names_keep_the_other_side_out(queue, connect, emission):
    emitter = connect(autocommit=False)
    emission(emitter, 1, 20 * MOST)
    assert locks(emitter) <= MOST + OTHERS
    assert not awaits(queue, "other")
    assert emits(queue, "other")
    another = connect(autocommit=False)
    emission(another, 20 * MOST + 1, 22 * MOST)
    emitter.commit()
    another.commit()
    assert queue.execute(f"select count(*) from absurd.e_{QUEUE}").fetchone() == (22 * MOST + 1,)
    assert awaits(queue, "other")


def test_names_that_are_held_need_no_more(queue, connect):
    emitter = connect(autocommit=False)
    emit(emitter, 1, MOST)
    emit(emitter, 1, MOST)
    assert awaits(queue, "other")
    emit(emitter, MOST + 1, MOST + 1)
    assert not awaits(queue, "another")


def test_locks_of_what_was_rolled_back_do_not_count(queue, connect):
    emitter = connect(autocommit=False)
    emitter.execute("select")
    for _ in range(3):
        with emitter.transaction() as outer:
            with emitter.transaction():
                emit(emitter, 1, MOST // 2)
            with emitter.transaction():
                emit(emitter, MOST // 2 + 1, MOST)
            raise psycopg.Rollback(outer)
    with emitter.transaction():
        emit(emitter, 1, MOST // 2)
    emit(emitter, MOST // 2 + 1, MOST)
    assert awaits(queue, "other")
    assert not awaits(queue, "name 1")
    emit(emitter, MOST + 1, MOST + 1)
    assert not awaits(queue, "another")
    emitter.rollback()
    emit(emitter, 1, MOST)
    assert awaits(queue, "third")


def test_who_awaits_more_keeps_emitters_out(queue, connect):
    queue.execute("select count(*) from generate_series(1, %s::int) n, absurd.spawn_task(%s, 'task', to_jsonb(n))", (MOST + 1, QUEUE))
    runs = queue.execute("select task_id, run_id from absurd.claim_task(%s, 'worker', 600, %s)", (QUEUE, MOST + 1)).fetchall()
    awaiter = connect(autocommit=False)
    for n, (task, run) in enumerate(runs):
        awaiter.execute("select absurd.await_event(%s, %s, %s, 'step', %s)", (QUEUE, task, run, f"name {n}"))
        if n == MOST - 1:
            assert emits(queue, "other")
    assert locks(awaiter) <= MOST + OTHERS
    assert not emits(queue, "another")
    assert awaits(queue, "another")
    awaiter.commit()
    emit(queue, 0, MOST)
    assert queue.execute(f"select count(*) from absurd.r_{QUEUE} where state = 'pending'").fetchone() == (MOST + 1,)
