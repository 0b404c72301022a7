"""Claims that are cancelled at a task that they have to end: they end there, and nothing has changed."""

import json
import uuid

import psycopg
import pytest

from common import NOW, in_background, outcome, until, value, waits

HELD = 4711


@pytest.fixture
def slow(conn):
    """A queue, and a trigger function that waits at tasks `slow` and refuses those called `bad`."""
    conn.queue = f"c{uuid.uuid4().hex[:8]}"
    conn.execute("select absurd.create_queue(%s)", (conn.queue,))
    conn.execute(f"""create or replace function public.slow() returns trigger language plpgsql as $$
        declare name text;
        begin
            select task_name into name from absurd.t_{conn.queue} where task_id = new.task_id;
            if tg_op = 'INSERT' and tg_table_name ~ '^t' then name := new.task_name; end if;
            if name ~ 'slow$' and not pg_try_advisory_xact_lock({HELD}) then
                -- Not at a lock where a claim gives up waiting for one after a moment.
                if tg_argv[0] = 'lock' then perform pg_advisory_xact_lock({HELD});
                else perform pg_sleep(600); end if;
            end if;
            if name ~ 'bad$' then raise exception 'no'; end if;
            return new;
        end $$""")
    conn.execute("select set_config('absurd.fake_now', %s, false)", (NOW,))
    yield conn
    conn.execute("reset absurd.fake_now; truncate absurd.stuck_work")
    conn.execute("select absurd.drop_queue(%s)", (conn.queue,))


def leased(conn, name):
    conn.execute("select absurd.spawn_task(%s, %s, '{}')", (conn.queue, name))
    conn.execute("select absurd.claim_task(%s, 'w', 10)", (conn.queue,))


def ruled(conn, name):
    options = {"cancellation": {"max_delay": 10}}
    conn.execute("select absurd.spawn_task(%s, %s, '{}', %s)",
                 (conn.queue, name, json.dumps(options)))


def ended(conn, name):
    """A lease that has ended after its task did."""
    leased(conn, name)
    conn.execute(f"update absurd.t_{conn.queue} set state = 'cancelled', cancelled_at = now()"
                 " where task_name = %s", (name,))


def started(conn, tasks):
    flow = f"flow_{uuid.uuid4().hex[:8]}"
    conn.execute("select absurd.register_workflow(%s, %s)",
                 (json.dumps({"name": flow, "tasks": tasks}), conn.queue))
    conn.execute("select absurd.start_workflow(%s)", (flow,))


def timed(conn, name):
    """A step whose attempt has five seconds."""
    started(conn, {"a": {"task_id": "a", "operator_type": "task", "function": name,
                         "timeout_policy": {"timeout": "PT5S"}}})
    conn.execute("select absurd.claim_task(%s, 'w', 600)", (conn.queue,))


def resting(conn, name):
    """A workflow that goes on with a task of that name after ten seconds."""
    started(conn, {
        "rest": {"task_id": "rest", "operator_type": "wait", "wait_for": "PT10S"},
        "b": {"task_id": "b", "operator_type": "task", "function": name, "dependencies": ["rest"]}})


# What becomes due, and where the trigger is.
DUE = {"lease": (leased, "t"), "attempt": (timed, "t"), "cancellation": (ruled, "t"),
       "lease, at its run": (leased, "r"), "lease of an ended task": (ended, "r"),
       "workflow": (resting, "t")}


def everything(conn):
    tables = [f"{letter}_{conn.queue}" for letter in "trcew"] + [
        "workflow_run", "workflow_step", "workflow_timer", "workflow_stimulus", "stuck_work"]
    return [conn.execute(f"select t.ctid::text, t.xmin::text, t::text from absurd.{table} t"
                         " order by 3").fetchall() for table in tables]


@pytest.mark.parametrize("how", ["cancel", "statement_timeout", "terminate"])
@pytest.mark.parametrize("kind, names", [
    # Where the rest may be left to the next claim, it is not certain that the second is come to.
    (kind, names) for kind in DUE for names in (["slow"], ["bad", "slow"])
    if len(names) == 1 or kind not in ("cancellation", "workflow")])
def test_a_cancel_ends_the_claim_and_changes_nothing(connect, slow, kind, how, names):
    prepare, table = DUE[kind]
    conn = slow
    for name in names:
        prepare(conn, name)
        conn.execute("select set_config('absurd.fake_now', (absurd.current_time()"
                     " + interval '1 ms')::text, false)")
    conn.execute(f"create trigger slow before insert or update on"
                 f" absurd.{table}_{conn.queue} for each row execute function"
                 f" public.slow('{'sleep' if kind == 'workflow' else 'lock'}')")
    conn.execute("select set_config('absurd.fake_now', (%s::timestamptz"
                 " + interval '1 minute')::text, false)", (NOW,))
    holder, claimer = connect(), connect()
    holder.execute("select pg_advisory_lock(%s)", (HELD,))
    claimer.execute("select set_config('absurd.fake_now', %s, false)",
                    (value(conn, "select absurd.current_time()::text"),))
    if how == "statement_timeout":
        claimer.execute("set statement_timeout = '150ms'")
    before = everything(conn)
    claim = f"select * from absurd.claim_task('{conn.queue}', 'w', 60, 5)"

    def claimed():
        try:
            return claimer.execute(claim).fetchall()
        except psycopg.Error as error:
            return error.sqlstate or "57P01"

    join = in_background(claimed)
    until(lambda: waits(conn, claimer) or join.is_over(), "the claim does not come to the trigger")
    assert how == "statement_timeout" or not join.is_over()
    if how != "statement_timeout":
        call = {"cancel": "pg_cancel_backend", "terminate": "pg_terminate_backend"}[how]
        assert value(conn, f"select {call}(%s)", claimer.info.backend_pid) is True
    assert join() == ("57P01" if how == "terminate" else "57014")
    assert everything(conn) == before
    # Nobody is in the way: the same claim gets through, by the same session if there still is one.
    holder.execute("select pg_advisory_unlock(%s)", (HELD,))
    if how == "terminate":
        claimer = conn
    claimer.execute("reset statement_timeout")
    outcome(claimer, claim)
    assert everything(conn) != before
    stuck = conn.execute("select distinct error->>'message' from absurd.stuck_work").fetchall()
    assert stuck == ([("no",)] if "bad" in names else [])
