"""An application role that is no superuser, with the grants of grants.sql and no others."""

import re
import uuid
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from support import SEARCH_PATH, expected_revenue, rows, run_example, value

GRANTS = Path(__file__).with_name("grants.sql").read_text()


@pytest.fixture(scope="module")
def role(database):
    """A role of this module's own that may do what grants.sql says; the file calls it `app`."""
    name = f"app_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(database, autocommit=True) as owner:
        owner.execute(sql.SQL("create role {} login").format(sql.Identifier(name)))
        owner.execute("select absurd.create_queue('pipeline')")
        # The table that the pipeline loads is the application's own.
        owner.execute(sql.SQL("grant create on schema public to {}").format(sql.Identifier(name)))
        owner.execute(re.sub(r"\bto app;", f"to {name};", GRANTS))
    yield name
    with psycopg.connect(database, autocommit=True) as owner:
        owner.execute(sql.SQL("drop owned by {}").format(sql.Identifier(name)))
        owner.execute(sql.SQL("drop role {}").format(sql.Identifier(name)))


@pytest.fixture(scope="module")
def app_dsn(database, role):
    return make_conninfo(database, user=role)


@pytest.fixture
def app(app_dsn):
    with psycopg.connect(app_dsn, autocommit=True, options=SEARCH_PATH) as connection:
        query = "select rolsuper from pg_roles where rolname = current_user"
        assert value(connection, query) is False
        yield connection


def refused(conn, query, *values):
    with pytest.raises(psycopg.Error) as caught:
        conn.execute(query, values)
    assert caught.value.sqlstate == "42501", caught.value


@pytest.fixture(scope="module")
def printed(app_dsn):
    return run_example(app_dsn)


def test_role_runs_the_whole_pipeline(conn, printed):
    statuses = rows(
        conn,
        "select status from absurd.workflow_run where workflow_name = 'data_pipeline'"
        " order by created_at",
    )
    assert [found["status"] for found in statuses] == ["completed", "failed"]
    states = rows(
        conn,
        "select task_name, state from absurd.t_pipeline where workflow_run_id is not null"
        " order by enqueue_at",
    )
    assert [(found["task_name"], found["state"]) for found in states] == [
        ("extract", "completed"),
        ("transform", "completed"),
        ("load", "completed"),
        ("extract", "failed"),
        ("load", "cancelled"),
    ]
    revenue, _, _ = expected_revenue(conn)
    loaded = conn.execute("select * from public.daily_revenue order by 1, 2, 3").fetchall()
    assert loaded == revenue


def test_history_names_the_role(conn, printed, role):
    changes = rows(
        conn,
        "select changed_by from absurd.workflow_transition join absurd.workflow_run"
        " using (workflow_run_id) where workflow_name = 'data_pipeline'",
    )
    assert len(changes) == 4
    assert {change["changed_by"] for change in changes} == {role}


def test_history_names_the_role_that_was_set(conn, role):
    """Not who logged in, but in whose name the change was made."""
    workflow_run_id = value(conn, "select absurd.create_workflow_run('report', '1')")
    conn.execute(sql.SQL("set role {}").format(sql.Identifier(role)))
    conn.execute("select absurd.update_workflow_run_status(%s, 'running')", (workflow_run_id,))
    conn.execute("reset role")
    conn.execute("select absurd.update_workflow_run_status(%s, 'completed')", (workflow_run_id,))
    changes = rows(conn, "select changed_by from absurd.workflow_run_history(%s)", workflow_run_id)
    assert [change["changed_by"] for change in changes] == [role, conn.info.user]


@pytest.mark.parametrize(
    "query",
    [
        "insert into absurd.workflow_transition values (%s, 'completed', 'running', now(), 'boss')",
        "update absurd.workflow_transition set changed_by = 'boss' where workflow_run_id = %s",
        "delete from absurd.workflow_transition where workflow_run_id = %s",
        "delete from absurd.workflow_run where workflow_run_id = %s",
    ],
)
def test_role_cannot_forge_history(conn, app, query):
    workflow_run_id = value(app, "select absurd.create_workflow_run('report', '1')")
    app.execute("select absurd.update_workflow_run_status(%s, 'running')", (workflow_run_id,))
    read = "select * from absurd.workflow_run_history(%s)"
    before = rows(conn, read, workflow_run_id)
    refused(app, query, workflow_run_id)
    assert rows(conn, read, workflow_run_id) == before
    assert len(before) == 1


@pytest.mark.parametrize(
    "query",
    [
        "truncate absurd.workflow_transition",
        "select absurd.workflow_run_record()",
        "select absurd.workflow_run_guard()",
        "create trigger t before insert on absurd.workflow_transition"
        " for each row execute function absurd.workflow_run_record()",
        "alter table absurd.workflow_run disable trigger workflow_run_guard",
        "set session_replication_role = replica",
    ],
)
def test_role_cannot_get_around_the_guard(app, query):
    refused(app, query)


def test_role_cannot_lend_the_recorder_to_a_table_of_its_own(conn, app):
    """The recorder runs with its owner's rights: on another table it would write any history."""
    app.execute(
        "create table public.decoy (workflow_run_id uuid, status text, changed_by text)"
    )
    workflow_run_id = value(app, "select absurd.create_workflow_run('report', '1')")
    try:
        refused(
            app,
            "create trigger forge after update on public.decoy"
            " for each row execute function absurd.workflow_run_record()",
        )
    finally:
        app.execute("drop table public.decoy")
    history = rows(conn, "select * from absurd.workflow_run_history(%s)", workflow_run_id)
    assert history == []


def test_role_writes_under_the_same_rules(app):
    """The guard holds for a direct UPDATE by the role, as for the functions."""
    workflow_run_id = value(app, "select absurd.create_workflow_run('report', '1')")
    with pytest.raises(psycopg.Error) as caught:
        app.execute(
            "update workflow_run set status = 'completed' where workflow_run_id = %s",
            (workflow_run_id,),
        )
    assert caught.value.sqlstate == "55000"


def test_role_reads_history_and_awaits_events(app):
    """The two grants that the pipeline does without: history, and updating a wait."""
    workflow_run_id = value(app, "select absurd.create_workflow_run('report', '1')")
    app.execute("select absurd.update_workflow_run_status(%s, 'failed')", (workflow_run_id,))
    history = rows(app, "select * from absurd.workflow_run_history(%s)", workflow_run_id)
    assert [(change["from_status"], change["to_status"]) for change in history] == [
        ("pending", "failed")
    ]
    app.execute("select absurd.spawn_task('pipeline', 'waits', '{}')")
    run_id, task_id = app.execute(
        "select run_id, task_id from absurd.claim_task('pipeline', 'w')"
    ).fetchone()
    answer = app.execute(
        "select * from absurd.await_event('pipeline', %s, %s, 'step', 'never', 60)",
        (task_id, run_id),
    ).fetchone()
    assert answer == (True, None)
    assert value(app, "select absurd.cancel_task('pipeline', %s)", task_id) is True


def test_role_cannot_create_a_queue(conn, app):
    refused(app, "select absurd.create_queue('mine')")
    assert value(conn, "select count(*) from absurd.queues where queue_name = 'mine'") == 0
    assert value(conn, "select to_regclass('absurd.t_mine') is null")


def test_role_may_create_the_queue_that_exists(conn, app):
    query = "select count(*) from pg_class where relnamespace = 'absurd'::regnamespace"
    before = value(conn, query)
    app.execute("select absurd.create_queue('pipeline')")
    app.execute("select absurd.create_queue('pipeline', 'unpartitioned')")
    assert value(conn, query) == before


@pytest.mark.parametrize(
    "query",
    [
        "select absurd.drop_queue('pipeline')",
        """select absurd.set_queue_policy('pipeline', '{"cleanup_limit": 1}')""",
        "delete from absurd.queues",
    ],
)
def test_role_cannot_change_a_queue(conn, app, query):
    refused(app, query)
    assert value(
        conn, "select cleanup_limit from absurd.queues where queue_name = 'pipeline'"
    ) == 1000


def test_role_cannot_reach_another_queue(conn, app, queue):
    refused(app, "select absurd.spawn_task(%s, 'work', '{}')", queue)
    refused(app, "select absurd.claim_task(%s, 'w')", queue)
    assert value(conn, f"select count(*) from absurd.t_{queue}") == 0


FAR = "2001-01-01 00:00:00+00"


def test_role_cannot_set_the_clock(app):
    app.execute("select absurd.current_time()")  # the library is loaded
    refused(app, "set absurd.fake_now = '2001-01-01'")
    refused(app, "select set_config('absurd.fake_now', '2001-01-01', false)")
    assert value(app, "select absurd.current_time() > now() - interval '1 minute'")


@pytest.mark.parametrize("how", ["at the connection", "by SET", "by set_config"])
def test_role_cannot_set_the_clock_before_the_library_is_loaded(app_dsn, how):
    options = f"{SEARCH_PATH} -c absurd.fake_now=2001-01-01" if how == "at the connection" else ""
    with psycopg.connect(app_dsn, autocommit=True, options=options) as early:
        if how == "by SET":
            early.execute("set absurd.fake_now = '2001-01-01'")
        elif how == "by set_config":
            early.execute("select set_config('absurd.fake_now', '2001-01-01', false)")
        # It was there, as a word without meaning; loading the library drops it.
        assert value(early, "select current_setting('absurd.fake_now')") == "2001-01-01"
        assert value(early, "select absurd.current_time() > now() - interval '1 minute'")
        assert value(early, "select absurd.current_time() > now() - interval '1 minute'")


def test_superuser_may_set_the_clock(conn):
    conn.execute(f"set absurd.fake_now = '{FAR}'")
    assert value(conn, f"select absurd.current_time() = '{FAR}'")
    conn.execute("reset absurd.fake_now")
    assert value(conn, "select absurd.current_time() > now() - interval '1 minute'")


GRANT = re.compile(r"grant ([a-z, ]+?)\s+on\s+(.+?)\s+to app;", re.S)


def granted():
    """Every single right of grants.sql, as (privilege, object)."""
    code = "\n".join(line for line in GRANTS.splitlines() if not line.startswith("--"))
    return [
        (privilege.strip(), target.strip())
        for privileges, targets in GRANT.findall(code)
        for privilege in privileges.split(",")
        for target in targets.split(",")
    ]


def test_grants_are_what_the_role_has(conn, role):
    """The file is read in full: 1 schema, 1 + 3 + 1 rights on the extension's tables, 4 on five."""
    assert len(granted()) == 1 + 1 + 3 + 1 + 20
    for privilege, target in granted():
        function = "has_schema_privilege" if target.startswith("schema") else "has_table_privilege"
        name = target.removeprefix("schema ")
        assert value(conn, f"select {function}(%s, %s, %s)", role, name, privilege)
