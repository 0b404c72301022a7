"""Dumps, roles, and what belongs to the extension."""

import subprocess
import uuid
from pathlib import Path

import psycopg
import pytest
from documents import branches, document, step, task
from player import NOON, Worker, register, start, states, status
from psycopg import sql
from psycopg.conninfo import make_conninfo

GRANTS = Path(__file__).with_name("grants.sql").read_text()


def value(conn, query, *values):
    return conn.execute(query, values).fetchone()[0]


def busy(conn, queue):
    """Runs in the middle of everything: a timer, a wait, branches, a loop, a child, retries."""
    child = register(conn, document(task("c", result_key="r")), queue)[0]
    body = [task("s1", "each", is_internal_loop_task=True)]
    doc = document(
        step("wait", "w", wait_for="PT1H"),
        step("wait_for_event", "hear", event_name="go"),
        step("parallel", "fork", **branches(a=[task("a1"), task("a2", "a1")], b=[task("b1")])),
        step("foreach", "each", items="[1, 2]", loop_body=body),
        step("child_workflow", "kid", children={"one": {"workflow_name": child}}),
        task("last", "w", "hear", "fork", "each", "kid", args=["{{hear}}"]),
    )
    return start(conn, register(conn, doc, queue)[0])


def dumped(tools, dsn):
    """A dump without the key that newer versions of pg_dump draw for each."""
    dump = subprocess.run([tools / "pg_dump", "--dbname", dsn], capture_output=True, check=True)
    lines = dump.stdout.splitlines(keepends=True)
    return b"".join(line for line in lines if not line.startswith((b"\\restrict", b"\\unrestrict")))


def test_running_executions_survive_dump_and_restore(new_database, tools):
    source, target = new_database(), new_database(extension=False)
    with psycopg.connect(source, autocommit=True) as conn:
        conn.execute("select absurd.create_queue('q')")
        worker = Worker(conn, "q")
        run = busy(conn, "q")
        assert worker.paths() == ["c", "each[0]/s1", "fork.a/a1", "fork.b/b1"]
        worker.complete("fork.a/a1", 1)
        before = states(conn, run)
    dump = dumped(tools, source)
    subprocess.run(
        [tools / "psql", "--dbname", target, "-v", "ON_ERROR_STOP=1", "-qX"],
        input=dump,
        capture_output=True,
        check=True,
    )
    assert dumped(tools, target).splitlines() == dump.splitlines()
    with psycopg.connect(target, autocommit=True) as conn:
        assert states(conn, run) == before
        worker.conn = conn
        worker.set_clock(NOON)
        assert worker.paths() == ["fork.a/a2"]
        for path in ("fork.a/a2", "fork.b/b1", "each[0]/s1", "c"):
            worker.complete(path, path)
        worker.emit("go", "on")
        assert worker.paths() == ["each[1]/s1"]
        worker.complete("each[1]/s1")
        assert worker.paths() == []
        worker.advance(3600)
        assert worker.paths() == ["last"]
        assert worker.held("last")["params"]["args"] == ["on"]
        worker.complete("last")
        assert status(conn, run) == "completed"


@pytest.fixture
def app(database, conn):
    """A session of a role that may do what grants.sql says and nothing else."""
    name = f"app_{uuid.uuid4().hex[:8]}"
    role = sql.Identifier(name)
    conn.execute(sql.SQL("create role {} login").format(role))
    conn.execute("select absurd.create_queue('pipeline')")
    conn.execute(GRANTS.replace("to app;", f"to {name};"))
    with psycopg.connect(make_conninfo(database, user=name), autocommit=True) as session:
        yield session
    conn.execute(sql.SQL("drop owned by {}").format(role))
    conn.execute(sql.SQL("drop role {}").format(role))


def test_a_role_with_the_documented_grants_runs_workflows(app, conn):
    worker = Worker(conn, "pipeline")
    conn.execute("reset absurd.fake_now")
    worker.conn = app
    run = busy(app, "pipeline")
    for _ in range(3):
        for claimed in worker.claim():
            worker.complete(claimed["path"], 1)
    app.execute("select absurd.emit_event('pipeline', 'go')")
    assert {"completed", "running", "pending"} == set(states(app, run).values())
    assert value(app, "select absurd.advance_timers('pipeline')") == 0
    assert value(app, "select absurd.run_schedules()") == 0
    assert value(app, "select absurd.cancel_workflow_run(%s)", run) == 0
    assert status(app, run) == "cancelled"


def refused(session, query, *values):
    with pytest.raises(psycopg.Error) as caught:
        session.execute(query, values)
    assert caught.value.sqlstate == "42501", caught.value


def test_who_may_not_write_definitions_registers_none(app, conn):
    name = register(conn, document(task("a")), "pipeline")[0]
    conn.execute(
        sql.SQL("revoke all on absurd.workflow_definition from {}").format(
            sql.Identifier(app.info.user)
        )
    )
    with pytest.raises(psycopg.Error) as caught:
        register(app, document(task("a")))
    assert caught.value.sqlstate == "42501"
    refused(app, "select absurd.workflow_diagram(%s)", name)
    refused(app, "select absurd.pause_workflow(%s)", name)
    # What is registered may still be started and worked.
    run = start(app, name)
    worker = Worker(conn, "pipeline")
    conn.execute("reset absurd.fake_now")
    worker.conn = app
    worker.claim()
    worker.complete("a")
    assert status(app, run) == "completed"


def test_who_may_not_write_runs_starts_none(app, conn):
    name = register(conn, document(task("a")), "pipeline")[0]
    run = start(conn, name)
    conn.execute(
        sql.SQL("revoke all on absurd.workflow_run from {}").format(sql.Identifier(app.info.user))
    )
    refused(app, "select absurd.start_workflow(%s)", name)
    refused(app, "select absurd.cancel_workflow_run(%s)", run)
    refused(app, "select absurd.add_workflow_items(%s, 'a', '[]')", run)
    refused(app, "select absurd.run_schedules()")
    for view in ("steps", "context", "diagram", "progress"):
        refused(app, f"select absurd.workflow_run_{view}(%s)", run)


def test_nobody_writes_by_hand_what_the_engine_keeps(app):
    for table in ("execution", "scope", "step", "value", "timer", "wait", "stimulus", "breaker"):
        refused(app, f"delete from absurd.workflow_{table}")
        refused(app, f"select * from absurd.workflow_{table}")


def test_a_search_path_lends_nobody_the_engines_rights(app, conn):
    """Functions that a caller puts in the way run with the caller's rights, or not at all."""
    schema = sql.Identifier(f"evil_{uuid.uuid4().hex[:8]}")
    role = sql.Identifier(app.info.user)
    conn.execute(sql.SQL("create schema {} authorization {}").format(schema, role))
    app.execute(sql.SQL("set search_path = {}, pg_catalog").format(schema))
    app.execute("create table log (ran_as text)")
    for function in ("clock_timestamp() returns timestamptz", "gen_random_uuid() returns uuid"):
        name, kind = function.split("() returns ")
        app.execute(
            f"create function {name}() returns {kind} volatile language plpgsql as "
            f"$$ begin insert into log values (current_user); return pg_catalog.{name}(); end $$"
        )
    app.execute("select gen_random_uuid()")
    doc = document(step("wait_for_event", "hear", event_name="now"), task("a", "hear"))
    run = start(app, register(app, doc, "pipeline")[0])
    app.execute("select absurd.emit_event('pipeline', 'now')")
    assert states(app, run) == {"hear": "completed", "a": "running"}
    found = app.execute("select distinct ran_as from log").fetchall()
    assert found == [(app.info.user,)]
    app.execute("reset search_path")


def test_every_object_has_a_comment(conn):
    missing = conn.execute(
        """select c.relname || coalesce('.' || a.attname, '')
             from pg_class c
             left join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
            where c.relnamespace = 'absurd'::regnamespace and c.relkind = 'r'
              and c.relname like 'workflow%'
              and (obj_description(c.oid, 'pg_class') is null
                   or col_description(c.oid, a.attnum) is null)
           union all
           select p.proname from pg_proc p
            where p.pronamespace = 'absurd'::regnamespace
              and obj_description(p.oid, 'pg_proc') is null"""
    ).fetchall()
    assert missing == []


def test_dropping_the_extension_and_creating_it_again(new_database):
    dsn = new_database()
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("select absurd.create_queue('q')")
        start(conn, register(conn, document(task("a")), "q")[0])
        conn.execute("drop extension absurd")
        conn.execute("create extension absurd")
        conn.execute("select absurd.create_queue('q')")
        # Nobody follows the task any longer; a worker works it like any other.
        worker = Worker(conn, "q")
        (claimed,) = worker.claim()
        conn.execute("select absurd.complete_run('q', %s)", (claimed["run_id"],))
