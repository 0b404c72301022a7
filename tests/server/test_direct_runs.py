"""The direct path of executed workflow runs: their own rows and history are what statements write, and what
users have added to the tables is not passed by. What a backend remembers of tables is forgotten when they
change."""

import json
import uuid

import psycopg
import pytest

NOW = "2026-03-04 05:06:07+00"


def step(name, dependencies=(), **more):
    return {"task_id": name, "operator_type": "task", "function": "f", "dependencies": list(dependencies), **more}


def document(name, *steps):
    return {"name": name, "version": "1", "tasks": {each["task_id"]: each for each in steps}}


@pytest.fixture
def flow(conn):
    """A queue with a chain of two steps registered under the same name."""
    name = f"q{uuid.uuid4().hex[:8]}"
    register(conn, name)
    yield name
    conn.execute("select absurd.drop_queue(%s)", (name,))


def register(conn, name):
    conn.execute("select absurd.create_queue(%s)", (name,))
    chain = document(name, step("a", result_key="a"), step("b", ["a"], args=["{{inputs.n}}"]))
    conn.execute("select absurd.register_workflow(%s, %s)", (json.dumps(chain), name))


def start(conn, name, options="{}"):
    sql = "select absurd.start_workflow(%s, p_inputs => '{\"n\": 7}', p_queue_name => %s, p_options => %s)"
    return conn.execute(sql, (name, name, options)).fetchone()[0]


def work(conn, queue, verb="complete_run", value="1"):
    """Ends every task there is, one after another; returns their parameters."""
    seen = []
    while rows := conn.execute("select run_id, params from absurd.claim_task(%s, 'worker', 60, 1)", (queue,)).fetchall():
        conn.execute(f"select absurd.{verb}(%s, %s, %s)", (queue, rows[0][0], value))
        seen.append(rows[0][1])
    return seen


SHOWN = """select w.status, w.absurd_queue, w.inputs, w.created_by, w.tags, w.result, w.error, w.started_at,
                  w.completed_at, w.task_count, w.created_at, w.updated_at, w.root_run_id = w.workflow_run_id,
                  w.parent_run_id is null, w.parent_step, w.workflow_name, w.workflow_version, w.workflow_hash,
                  (select array_agg((from_status, to_status, changed_at, changed_by)::text order by to_status)
                     from absurd.workflow_transition t where t.workflow_run_id = w.workflow_run_id),
                  e.status, e.depth, e.transitions, e.next_scope, e.bounded, e.started_at, e.result, e.queue_name,
                  e.parent_branch, e.parent_scope, e.parent_node
             from absurd.workflow_run w join absurd.workflow_execution e using (workflow_run_id)
            where w.workflow_name like %s
            order by w.workflow_name, w.created_at, w.status, w.inputs"""


def test_a_run_is_written_as_statements_write_it(connect):
    """Runs that complete, fail, are cancelled, end at once, and have a child."""
    came = []
    for setting in ("on", "off"):
        conn = connect()
        conn.execute(f"set absurd.direct to {setting}")
        conn.execute("set absurd.fake_now to %s" % psycopg.sql.Literal(NOW).as_string(conn))
        conn.execute("select absurd.create_queue('written')")
        documents = [
            document("w_chain", step("a", result_key="a"), step("b", ["a"], args=["{{a}}", "{{inputs.n}}"])),
            document("w_nothing", {"task_id": "end", "operator_type": "terminate", "status": "failed",
                                   "result": {"why": "{{inputs.n}}"}}),
            document("w_parent", {"task_id": "child", "operator_type": "child_workflow",
                                  "children": {"one": {"workflow_name": "w_chain", "inputs": {"n": 5}}}}),
        ]
        for each in documents:
            conn.execute("select absurd.register_workflow(%s, 'written')", (json.dumps(each),))
        start_it = "select absurd.start_workflow(%s, p_inputs => %s, p_options => %s)"
        options = json.dumps({"created_by": "me", "tags": {"team": "x"}})
        conn.execute(start_it, ("w_chain", '{"n": 1}', options))
        assert len(work(conn, "written")) == 2
        conn.execute(start_it, ("w_chain", '{"n": 2}', '{"idempotency_key": "k"}'))
        work(conn, "written", "fail_run", '{"name": "no"}')
        run = conn.execute(start_it, ("w_chain", '{"n": 3}', '{"respect_max_active_runs": true}')).fetchone()[0]
        conn.execute("select absurd.cancel_workflow_run(%s, 'enough')", (run,))
        conn.execute(start_it, ("w_nothing", '{"n": 4}', "{}"))
        conn.execute(start_it, ("w_parent", "{}", "{}"))
        assert len(work(conn, "written")) == 2
        rows = conn.execute(SHOWN, ("w\\_%",)).fetchall()
        assert {row[0] for row in rows} == {"completed", "failed", "cancelled"} and len(rows) == 6
        came.append(rows)
        conn.execute("delete from absurd.workflow_run where workflow_name like 'w\\_%%'")
        conn.execute("select absurd.drop_queue('written')")
    for direct, stated in zip(*came, strict=True):
        assert direct == stated


def test_needs_no_statement(connect, conn, flow):
    """A fresh backend that starts and works a run off has planned nothing that writes one."""
    mine = connect()
    start(mine, flow)
    assert len(work(mine, flow)) == 2
    planned = """select ident from pg_backend_memory_contexts
                  where name = 'CachedPlanSource'
                    and ident ~ '(update|insert into) absurd\\.workflow_(execution|step|scope)\\M'"""
    assert mine.execute(planned).fetchall() == []
    mine.execute("set absurd.direct to off")
    start(mine, flow)
    assert mine.execute(planned).fetchall() != []


def test_triggers_of_users_fire(connect, conn, flow):
    """On the run's row, also for a backend that has written it without statements before."""
    mine = connect()
    start(mine, flow)
    work(mine, flow)
    conn.execute("create table if not exists public.seen (status text)")
    conn.execute(
        """create or replace function public.see() returns trigger language plpgsql as $$
           begin insert into public.seen values (new.status); return null; end $$"""
    )
    conn.execute("create trigger seen after insert or update on absurd.workflow_run"
                 " for each row execute function public.see()")
    start(mine, flow)
    work(mine, flow)
    conn.execute("drop trigger seen on absurd.workflow_run")
    start(mine, flow)
    seen = conn.execute("with gone as (delete from public.seen returning *) select status from gone").fetchall()
    assert seen == [("pending",), ("running",), ("completed",)]


@pytest.mark.parametrize("setting", ["on", "off"])
def test_history_that_is_switched_off_is_not_written(connect, conn, flow, setting):
    mine = connect()
    mine.execute(f"set absurd.direct to {setting}")
    written = "select count(*) from absurd.workflow_transition where workflow_run_id = %s"
    for change, count in (("disable trigger workflow_run_record", 0), ("enable trigger workflow_run_record", 1)):
        conn.execute(f"alter table absurd.workflow_run {change}")
        run = start(mine, flow)
        assert mine.execute(written, (run,)).fetchone() == (count,)
        work(mine, flow)
    # Where no trigger fires, the guard does not fill in what it fills in.
    mine.execute("set session_replication_role to replica")
    with pytest.raises(psycopg.errors.NotNullViolation):
        start(mine, flow)


@pytest.mark.parametrize("table", ["workflow_run", "workflow_execution", "workflow_step", "workflow_scope"])
def test_foreign_keys_of_users_hold(connect, conn, flow, table):
    """None of what the engine refers to is there, so that whatever it writes is refused."""
    mine = connect()
    start(mine, flow)
    work(mine, flow)
    conn.execute("create table if not exists public.listed (id uuid primary key)")
    conn.execute(f"alter table absurd.{table} add constraint listed foreign key (workflow_run_id)"
                 " references public.listed not valid")
    try:
        with pytest.raises(psycopg.errors.ForeignKeyViolation):
            start(mine, flow)
    finally:
        conn.execute(f"alter table absurd.{table} drop constraint listed")
    start(mine, flow)
    assert work(mine, flow) == [{"args": [], "kwargs": {}}, {"args": [7], "kwargs": {}}]


def test_a_name_may_come_to_mean_another_table(connect, conn, flow):
    """What a backend remembers of a name is forgotten with the table that it meant."""
    mine = connect()
    mine.execute("select absurd.spawn_task(%s, 'before', '{}')", (flow,))
    with conn.transaction():
        conn.execute(f'alter table absurd."t_{flow}" rename to set_aside')
        conn.execute(f'create table absurd."t_{flow}" (like absurd.set_aside including all)')
    mine.execute("select absurd.spawn_task(%s, 'after', '{}')", (flow,))
    names = "select array_agg(task_name) from absurd.%s"
    assert conn.execute(names % f'"t_{flow}"').fetchone() == (["after"],)
    assert conn.execute(names % "set_aside").fetchone() == (["before"],)
    with conn.transaction():
        conn.execute(f'drop table absurd."t_{flow}"')
        conn.execute(f'alter table absurd.set_aside rename to "t_{flow}"')
    mine.execute("select absurd.spawn_task(%s, 'again', '{}')", (flow,))
    assert conn.execute(names % f'"t_{flow}"').fetchone() == (["before", "again"],)


def test_a_name_may_change_in_the_same_transaction(connect, conn, flow):
    """Both ways: what is rolled back has not happened."""
    mine = connect()
    mine.execute("select absurd.spawn_task(%s, 'before', '{}')", (flow,))
    mine.execute("begin")
    mine.execute(f'alter table absurd."t_{flow}" rename to set_aside')
    mine.execute(f'create table absurd."t_{flow}" (like absurd.set_aside including all)')
    mine.execute("select absurd.spawn_task(%s, 'lost', '{}')", (flow,))
    mine.execute("rollback")
    mine.execute("select absurd.spawn_task(%s, 'after', '{}')", (flow,))
    assert conn.execute(f'select array_agg(task_name) from absurd."t_{flow}"').fetchone() == (["before", "after"],)


def test_an_index_may_come_to_be_another(connect, conn, flow):
    """A backend that has relied upon an index does not rely upon another of its name."""
    mine = connect()
    claim = "select task_name from absurd.claim_task(%s, 'worker', 60, 10)"
    spawn = "select absurd.spawn_task(%s, %s, '{}')"
    mine.execute(spawn, (flow, "one"))
    assert mine.execute(claim, (flow,)).fetchall() == [("one",)]
    conn.execute(f'drop index absurd."r_{flow}_rdy"')
    conn.execute(f"create index \"r_{flow}_rdy\" on absurd.\"r_{flow}\" (priority desc, available_at, run_id)"
                 " where state = 'sleeping'")
    mine.execute(spawn, (flow, "two"))
    assert mine.execute(claim, (flow,)).fetchall() == [("two",)]
    conn.execute(f'drop index absurd."r_{flow}_rdy"')
    mine.execute(spawn, (flow, "three"))
    assert mine.execute(claim, (flow,)).fetchall() == [("three",)]


def test_ids_of_one_moment_differ(connect):
    """In one backend beyond what it keeps of random bytes, and between backends."""
    ids = []
    for _ in range(3):
        conn = connect()
        conn.execute("set absurd.fake_now to %s" % psycopg.sql.Literal(NOW).as_string(conn))
        rows = conn.execute("select absurd.portable_uuidv7() from generate_series(1, 2000)").fetchall()
        assert sorted(rows) == rows
        ids += rows
    assert len(set(ids)) == len(ids)
