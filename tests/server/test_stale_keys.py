"""A key never answers "retry" for ever: not when its task is gone, nor when row security hides it."""

import psycopg
import pytest

QUEUE = "keys"
OPTIONS = '{"idempotency_key": "the key", "tenant_id": %s}'


@pytest.fixture(params=["unpartitioned", "partitioned"])
def keys(conn, connect, request):
    conn.execute("select absurd.create_queue(%s, %s)", (QUEUE, request.param))
    yield conn
    for session in connect.all:
        session.rollback()
    conn.execute("select absurd.drop_queue(%s)", (QUEUE,))


def spawn(conn, tenant="null"):
    return conn.execute("select task_id, created from absurd.spawn_task(%s, 'task', '{}', %s)", (QUEUE, OPTIONS % tenant)).fetchone()


def spawn_many(conn, tenant="null"):
    item = '[{"task_name": "task", "options": %s}]' % (OPTIONS % tenant)
    return conn.execute("select task_id, created from absurd.spawn_tasks(%s, %s)", (QUEUE, item)).fetchone()


@pytest.mark.parametrize("again", [spawn, spawn_many])
@pytest.mark.parametrize(
    "loss",
    [
        "truncate absurd.t_keys, absurd.r_keys, absurd.c_keys, absurd.e_keys, absurd.w_keys",
        "delete from absurd.t_keys",
        "delete from absurd.t_keys; delete from absurd.r_keys",
    ],
)
def test_a_key_whose_task_is_gone_makes_another(keys, loss, again):
    lost, created = spawn(keys)
    assert created
    keys.execute(loss)
    task, created = again(keys)
    assert created and task != lost
    assert again(keys) == (task, False)
    assert keys.execute("select idempotency_key from absurd.t_keys").fetchall() == [("the key",)]
    found = keys.execute("select task_id from absurd.claim_task(%s, 'worker', 600, 10)", (QUEUE,)).fetchall()
    assert (task,) in found


def test_of_two_that_find_it_gone_one_makes_it(keys, connect):
    spawn(keys)
    keys.execute("truncate absurd.t_keys, absurd.r_keys")
    first, second = connect(autocommit=False), connect()
    task, created = spawn(first)
    assert created
    second.execute("set lock_timeout = '20ms'")
    with pytest.raises(psycopg.errors.LockNotAvailable):
        spawn(second)
    first.commit()
    assert spawn(second) == (task, False)


def test_a_removal_that_is_under_way_is_not_the_end_of_it(keys, connect):
    task, _ = spawn(keys)
    keys.execute("update absurd.t_keys set state = 'completed'")
    keys.execute("update absurd.r_keys set state = 'completed', completed_at = now() - interval '1 day'")
    remover = connect(autocommit=False)
    assert remover.execute("select absurd.cleanup_tasks(%s, 0)", (QUEUE,)).fetchone() == (1,)
    keys.execute("set lock_timeout = '20ms'")
    with pytest.raises(psycopg.errors.LockNotAvailable):
        spawn(keys)
    keys.execute("reset lock_timeout")
    remover.rollback()
    assert spawn(keys) == (task, False)


def test_what_row_security_hides_is_a_definite_error(keys, database):
    task, _ = spawn(keys)
    keys.execute("create role keys_tenant login")
    try:
        keys.execute("grant usage on schema absurd to keys_tenant")
        tables = keys.execute("select string_agg('absurd.' || relname, ', ') from pg_class where relname ~ '^[trcewi]_keys$'").fetchone()[0]
        keys.execute(f"grant select, insert, update, delete on {tables} to keys_tenant")
        keys.execute("alter table absurd.t_keys enable row level security")
        keys.execute("create policy own on absurd.t_keys using (tenant_id = 'mine')")
        with psycopg.connect(database, autocommit=True, user="keys_tenant") as tenant:
            for again in (spawn, spawn_many):
                with pytest.raises(psycopg.errors.InsufficientPrivilege) as refusal:
                    again(tenant, '"mine"')
                said = str(refusal.value)
                assert "the key" in said and f'"{QUEUE}"' in said
                assert str(task) not in said
        assert spawn(keys) == (task, False)
    finally:
        keys.execute("alter table absurd.t_keys disable row level security")
        keys.execute("drop owned by keys_tenant")
        keys.execute("drop role keys_tenant")
