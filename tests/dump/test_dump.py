"""Dump and restore, drop and create again: nothing is lost, and work goes on."""

import subprocess

import psycopg
import pytest

TABLES = "select relname from pg_class where relnamespace = 'absurd'::regnamespace and relkind = 'r'"


def fill(connection):
    """A database in the middle of its work: tasks of every state, workflow runs of every status."""
    run = connection.execute
    run("select absurd.create_queue('jobs'), absurd.create_queue('Ünïcode \"q\" 🦀')")
    run("select absurd.set_queue_policy('jobs', '{\"cleanup_limit\": 7}')")
    live, done, failed, dropped = (
        run("select absurd.create_workflow_run('etl', '1', tags => '{\"n\": 1}')").fetchone()[0]
        for _ in range(4)
    )
    for workflow in (live, done, failed):
        run("select absurd.update_workflow_run_status(%s, 'running')", (workflow,))
    run("select absurd.update_workflow_run_status(%s, 'completed', result => '[1]')", (done,))
    run("select absurd.update_workflow_run_status(%s, 'failed', error => '{}')", (failed,))
    run("select absurd.cancel_workflow_run(%s)", (dropped,))

    def spawn(name, options="{}"):
        return run(
            "select task_id, run_id from absurd.spawn_task('jobs', %s, %s, %s::jsonb || %s)",
            (name, '{"n": 1}', options, f'{{"workflow_run_id": "{live}"}}'),
        ).fetchone()

    ready = spawn("ready", '{"idempotency_key": "k", "cancellation": {"max_delay": 3600}}')
    waiting, claimed = spawn("waiting"), spawn("claimed")
    rows = run("select task_name, run_id from absurd.claim_task('jobs', 'w', 600, 3)").fetchall()
    assert len(rows) == 3
    run("select * from absurd.await_event('jobs', %s, %s, 'step', 'go', 600)", waiting)
    run(
        "select absurd.set_task_checkpoint_state('jobs', %s, 'half', '{\"at\": 50}', %s)",
        claimed,
    )
    run("select absurd.fail_run('jobs', %s, '{}')", (ready[1],))
    run("select absurd.emit_event('jobs', 'earlier', '{\"x\": 1}')")
    run("select * from absurd.spawn_task('Ünïcode \"q\" 🦀', 'other', 'null')")
    return {"live": live, "waiting": waiting, "claimed": claimed, "ready": ready}


@pytest.fixture(scope="module")
def filled(new_database):
    database = new_database()
    with psycopg.connect(database.dsn, autocommit=True) as connection:
        connection.execute("create extension absurd")
        return database, fill(connection)


def restore(tools, dump, database):
    subprocess.run(
        [tools / "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", database.dsn],
        input=dump, check=True, stdout=subprocess.DEVNULL,
    )


def dump_of(tools, database):
    dump = subprocess.run(
        [tools / "pg_dump", "-d", database.dsn], check=True, stdout=subprocess.PIPE
    ).stdout
    # Newer minor versions fence each dump with a key of its own.
    return b"\n".join(
        line for line in dump.split(b"\n") if not line.startswith((b"\\restrict", b"\\unrestrict"))
    )


def test_a_restored_database_dumps_to_the_same_bytes(filled, new_database, tools):
    source, _ = filled
    first = dump_of(tools, source)
    assert b"COPY absurd.workflow_run " in first
    assert b"COPY absurd.workflow_transition " in first
    assert b'COPY absurd."t_jobs"' in first or b"COPY absurd.t_jobs " in first
    copy = new_database()
    restore(tools, first, copy)
    assert dump_of(tools, copy) == first


def test_restored_tasks_complete(filled, new_database, tools):
    source, ids = filled
    copy = new_database()
    restore(tools, dump_of(tools, source), copy)
    with psycopg.connect(copy.dsn, autocommit=True) as connection:
        run = connection.execute
        task, run_id = ids["claimed"]
        seen = run(
            "select checkpoint_name, state from absurd.get_task_checkpoint_states('jobs', %s, %s)",
            (task, run_id),
        ).fetchall()
        assert seen == [("half", {"at": 50})]
        run("select absurd.complete_run('jobs', %s, '\"done\"')", (run_id,))
        run("select absurd.emit_event('jobs', 'go', '{\"y\": 2}')")
        rows = run(
            "select task_id, task_name, attempt, event_payload"
            "  from absurd.claim_task('jobs', 'w2', 60, 10) order by task_name"
        ).fetchall()
        assert [row[1:] for row in rows] == [("ready", 2, None), ("waiting", 1, {"y": 2})]
        # The idempotency key still finds its task.
        again = run(
            "select task_id, created from absurd.spawn_task('jobs', 'ready', '{}',"
            " '{\"idempotency_key\": \"k\"}')"
        ).fetchone()
        assert again == (ids["ready"][0], False)
        assert run("select absurd.cancel_workflow_run(%s)", (ids["live"],)).fetchone() == (2,)
        states = run(
            "select task_name, state from absurd.workflow_run_tasks(%s) order by 1", (ids["live"],)
        ).fetchall()
        assert states == [("claimed", "completed"), ("ready", "cancelled"), ("waiting", "cancelled")]
        policy = run("select cleanup_limit from absurd.get_queue_policy('jobs')").fetchone()
        assert policy == (7,)


def test_a_restored_history_is_the_old_one(filled, new_database, tools):
    source, ids = filled
    copy = new_database()
    restore(tools, dump_of(tools, source), copy)
    history = "select * from absurd.workflow_transition order by 1, 2"
    with psycopg.connect(source.dsn) as before, psycopg.connect(copy.dsn) as after:
        rows = before.execute(history).fetchall()
        assert len(rows) == 6
        assert after.execute(history).fetchall() == rows


def test_drop_extension_leaves_queues_and_create_takes_them_up(new_database):
    database = new_database()
    with psycopg.connect(database.dsn, autocommit=True) as connection:
        run = connection.execute
        run("create extension absurd")
        ids = fill(connection)
        before = {row[0] for row in run(TABLES).fetchall()}
        run("drop extension absurd")
        left = {row[0] for row in run(TABLES).fetchall()}
        members = {table for table in before if table.startswith(("queue", "workflow_", "stuck_"))}
        assert left == before - members
        # The tables stand on their own: defaults and generated columns need nothing of ours.
        run(
            "insert into absurd.t_jobs (task_id, task_name, params, state, cancellation)"
            " values (gen_random_uuid(), 'by hand', '{}', 'pending', '{\"max_delay\": 5}')"
        )
        run("delete from absurd.t_jobs where task_name = 'by hand'")

        run("create extension absurd")
        assert run("select * from absurd.list_queues()").fetchall() == []
        columns = "select attrelid::regclass::text, attname, attnum from pg_attribute" \
            " where attrelid in ('absurd.t_jobs'::regclass, 'absurd.r_jobs'::regclass) order by 1, 3"
        shape = run(columns).fetchall()
        run("select absurd.create_queue('jobs')")
        assert run(columns).fetchall() == shape
        run("select absurd.complete_run('jobs', %s, '1')", (ids["claimed"][1],))
        state = run(
            "select state, result from absurd.get_task_result('jobs', %s)", (ids["claimed"][0],)
        ).fetchone()
        assert state == ("completed", 1)


def test_dropping_the_extension_in_a_session_that_used_it(new_database):
    """Kept plans of dropped functions and tables do not haunt the session."""
    database = new_database()
    with psycopg.connect(database.dsn, autocommit=True) as connection:
        run = connection.execute
        for _ in range(3):
            run("create extension absurd")
            run("select absurd.create_queue('q')")
            run("select * from absurd.spawn_task('q', 'a', '{}')")
            claimed = run("select run_id from absurd.claim_task('q', 'w')").fetchall()
            assert len(claimed) == 1
            run("select absurd.complete_run('q', %s)", claimed[0])
            run("select absurd.create_workflow_run('a', '1')")
            run("select absurd.drop_queue('q')")
            run("drop extension absurd")
        assert run(TABLES).fetchall() == []


def test_a_queue_of_another_make_is_taken_up(new_database):
    """Tables with the contract's columns alone, as older tools create them, get ours added."""
    database = new_database()
    with psycopg.connect(database.dsn, autocommit=True) as connection:
        run = connection.execute
        run("create extension absurd")
        run("select absurd.create_queue('old')")
        run("delete from absurd.queues")
        run(
            "alter table absurd.t_old drop column tenant_id, drop column workflow_run_id,"
            " drop column cancel_done"
        )
        run("alter table absurd.r_old drop column last_heartbeat, drop column tenant_id")
        run("drop index absurd.r_old_rdy")
        run(
            "insert into absurd.t_old (task_id, task_name, params, state, attempts)"
            " values ('019b76da-a800-7000-8000-000000000001', 'legacy', '{}', 'pending', 1)"
        )
        run(
            "insert into absurd.r_old (run_id, task_id, attempt, state, available_at)"
            " values ('019b76da-a800-7000-8000-000000000002',"
            " '019b76da-a800-7000-8000-000000000001', 1, 'pending', now())"
        )
        run("select absurd.create_queue('old')")
        claimed = run("select task_name, run_id from absurd.claim_task('old', 'w')").fetchall()
        assert [name for name, _ in claimed] == ["legacy"]
        run("select absurd.complete_run('old', %s)", (claimed[0][1],))
        indexes = run(
            "select count(*) from pg_indexes where schemaname = 'absurd' and tablename = 'r_old'"
        ).fetchone()
        assert indexes == (6,)
