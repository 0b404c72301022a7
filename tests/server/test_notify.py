"""The queue policy `notify`: one notification a transaction when work becomes ready."""

import pytest


def drain(listener):
    """The payloads that have arrived. A round trip delivers what was sent before it."""
    listener.execute("select 1")
    return [n.payload for n in listener.notifies(timeout=0)]


@pytest.fixture
def listener(connect):
    connection = connect()
    connection.execute("listen absurd")
    return connection


@pytest.fixture
def queue(conn, request):
    name = request.node.name
    conn.execute("select absurd.create_queue(%s)", (name,))
    conn.execute("select absurd.set_queue_policy(%s, '{\"notify\": true}')", (name,))
    yield name
    conn.execute("select absurd.drop_queue(%s)", (name,))


def claim(conn, queue, timeout=60):
    return conn.execute(
        "select run_id, task_id from absurd.claim_task(%s, 'w', %s)", (queue, timeout)
    ).fetchone()


def test_off_by_default(conn, listener):
    conn.execute("select absurd.create_queue('quiet')")
    conn.execute("select absurd.spawn_task('quiet', 't', '{}')")
    assert drain(listener) == []


def test_every_way_in_which_work_becomes_ready(conn, listener, queue):
    def one(query, *arguments):
        conn.execute(query, (queue, *arguments))
        assert drain(listener) == [queue], query

    def none(query, *arguments):
        conn.execute(query, (queue, *arguments))
        assert drain(listener) == [], query

    one("select absurd.spawn_task(%s, 't', '{}')")
    none("select absurd.spawn_task(%s, 't', '{}', '{\"delay_seconds\": 3600}')")
    one("select absurd.spawn_task(%s, 't', '{}', '{\"idempotency_key\": \"k\"}')")
    none("select absurd.spawn_task(%s, 't', '{}', '{\"idempotency_key\": \"k\"}')")
    one("select count(*) from absurd.spawn_tasks(%s, '[{\"task_name\": \"a\"}, {\"task_name\": \"b\"}]')")
    none("select count(*) from absurd.spawn_tasks(%s, '[{\"task_name\": \"a\", \"options\": {\"delay_seconds\": 9}}]')")
    run, _ = claim(conn, queue)
    one("select absurd.fail_run(%s, %s, '1')", run)
    run, _ = claim(conn, queue)
    none("select absurd.fail_run(%s, %s, '1', now() + interval '1 hour')", run)
    run, _ = claim(conn, queue)
    none("select absurd.schedule_run(%s, %s, now() + interval '1 hour')", run)
    run, _ = claim(conn, queue)
    one("select absurd.schedule_run(%s, %s, now())", run)
    run, task = claim(conn, queue)
    none("select * from absurd.await_event(%s, %s, %s, 's', 'e')", task, run)
    one("select absurd.emit_event(%s, 'e')")
    none("select absurd.emit_event(%s, 'nobody waits')")
    run, _ = claim(conn, queue)
    none("select absurd.complete_run(%s, %s)", run)


def test_a_lost_lease_and_a_retry(conn, listener, queue):
    conn.execute("select absurd.spawn_task(%s, 't', '{}', '{\"max_attempts\": 2}')", (queue,))
    drain(listener)
    claim(conn, queue, 1)
    conn.execute("select set_config('absurd.fake_now', (now() + interval '5 seconds')::text, false)")
    _, task = claim(conn, queue, 1)
    assert drain(listener) == [queue]
    conn.execute("select set_config('absurd.fake_now', (now() + interval '10 seconds')::text, false)")
    assert claim(conn, queue, 1) is None
    assert drain(listener) == []
    conn.execute("select absurd.retry_task(%s, %s)", (queue, task))
    assert drain(listener) == [queue]


def test_one_a_transaction_and_none_when_it_is_rolled_back(connect, listener, queue):
    worker = connect(autocommit=False)
    for _ in range(50):
        worker.execute("select absurd.spawn_task(%s, 't', '{}')", (queue,))
    assert drain(listener) == []
    worker.commit()
    assert drain(listener) == [queue]
    worker.execute("select absurd.spawn_task(%s, 't', '{}')", (queue,))
    worker.rollback()
    assert drain(listener) == []


def test_other_sessions_learn_of_a_changed_policy(connect, listener, queue):
    worker, owner = connect(), connect()

    def spawn():
        worker.execute("select absurd.spawn_task(%s, 't', '{}')", (queue,))
        return drain(listener)

    assert spawn() == [queue]
    owner.execute("select absurd.set_queue_policy(%s, '{\"notify\": false}')", (queue,))
    assert spawn() == []
    owner.execute("update absurd.queues set notify = true where queue_name = %s", (queue,))
    assert spawn() == [queue]
    # A change that is rolled back, or not yet committed, is none.
    changing = connect(autocommit=False)
    changing.execute("select absurd.set_queue_policy(%s, '{\"notify\": false}')", (queue,))
    assert spawn() == [queue]
    changing.rollback()
    assert spawn() == [queue]
