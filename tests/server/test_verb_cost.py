"""What a call costs does not depend on how much else the queue holds: blocks read are counted, not
seconds, in a queue where reading all rows of a table, or of an index, takes hundreds."""

import json

import psycopg
import pytest

ROWS = 20_000
# Blocks that a call may read and write: a few dozen look-ups and entries, four blocks each.
LIMIT = 150


@pytest.fixture(scope="module")
def full(database):
    """A queue of waiting, asleep, waiting for events, running, failed and finished tasks, with checkpoints."""
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute("select absurd.create_queue('full')")
        conn.execute(
            """
            with tasks as (
                insert into absurd.t_full (task_id, task_name, params, state, attempts, last_attempt_run, cancellation, enqueue_at)
                select absurd.portable_uuidv7(), 'task ' || n, '{}',
                       (array['pending', 'sleeping', 'sleeping', 'running', 'failed', 'completed'])[1 + n %% 6], 1,
                       absurd.portable_uuidv7(), case when n %% 2 = 0 then '{"max_duration": 864000}'::jsonb end, now()
                  from generate_series(1, %(rows)s) n
                returning *, substr(task_name, 6)::int as n
            ), runs as (
                insert into absurd.r_full (run_id, task_id, attempt, state, available_at, claimed_by, claim_expires_at,
                                           wake_event, started_at, completed_at, failed_at)
                select last_attempt_run, task_id, 1, state,
                       now() + case when n %% 6 = 1 then interval '1 day' else '0' end,
                       case state when 'running' then 'worker' end, case state when 'running' then now() + interval '1 hour' end,
                       case when n %% 6 = 2 then 'event ' || n end, now(),
                       case state when 'completed' then now() end, case state when 'failed' then now() end
                  from tasks
            ), waits as (
                insert into absurd.w_full (task_id, run_id, step_name, event_name)
                select task_id, last_attempt_run, 'step', 'event ' || n from tasks where n %% 6 = 2
            ), events as (
                insert into absurd.e_full (event_name, payload) select 'past ' || n, '1' from tasks
            )
            insert into absurd.c_full (task_id, checkpoint_name, state, owner_run_id)
            select task_id, 'step', '1', last_attempt_run from tasks
            """,
            {"rows": ROWS},
        )
        conn.execute("vacuum analyze")
        yield conn


def some(conn, state, count=1):
    """Tasks of a state with their runs, from the middle."""
    found = conn.execute(
        """select t.task_id, r.run_id from absurd.t_full t join absurd.r_full r using (task_id)
            where t.state = %s and not exists (select from absurd.w_full w where w.run_id = r.run_id)
            order by t.task_name offset 500 limit %s""",
        (state, count),
    ).fetchall()
    assert len(found) == count
    return found


def blocks(conn, call, *values):
    ((plan,),) = conn.execute("explain (analyze, buffers, format json) select " + call, values)
    plan = plan if isinstance(plan, list) else json.loads(plan)
    return plan[0]["Plan"]["Shared Hit Blocks"] + plan[0]["Plan"]["Shared Read Blocks"]


def waiting(conn):
    return conn.execute("select task_id, run_id, event_name from absurd.w_full order by event_name offset 300").fetchone()


def running(conn):
    return some(conn, "running")[0]


CALLS = {
    "spawn_task": lambda conn: ("spawn_task('full', 'task', '{}')",),
    "spawn_task with a key": lambda conn: ("""spawn_task('full', 'task', '{}', '{"idempotency_key": "k"}')""",),
    "claim_task": lambda conn: ("claim_task('full', 'worker', 60, 1)",),
    "complete_run": lambda conn: ("complete_run('full', %s, '1')", running(conn)[1]),
    "fail_run": lambda conn: ("fail_run('full', %s, '{}')", running(conn)[1]),
    "extend_claim": lambda conn: ("extend_claim('full', %s, 60)", running(conn)[1]),
    "schedule_run": lambda conn: ("schedule_run('full', %s, now() + interval '1 hour')", running(conn)[1]),
    "await_event": lambda conn: ("await_event('full', %s, %s, 'wait', 'other', 60)", *running(conn)),
    "await_event of the past": lambda conn: ("await_event('full', %s, %s, 'wait', 'past 77', 60)", *running(conn)),
    "emit_event": lambda conn: ("emit_event('full', 'nobody waits', '1')",),
    "emit_event to a waiter": lambda conn: ("emit_event('full', %s, '1')", waiting(conn)[2]),
    "emit_event to two waiters": lambda conn: ("emit_event('full', %s, '1')", doubled(conn)),
    "set_task_checkpoint_state": lambda conn: ("set_task_checkpoint_state('full', %s, 'new', '1', %s, 60)", *running(conn)),
    "get_task_checkpoint_state": lambda conn: ("get_task_checkpoint_state('full', %s, 'step')", running(conn)[0]),
    "get_task_checkpoint_states": lambda conn: ("get_task_checkpoint_states('full', %s, %s)", *running(conn)),
    "get_task_result": lambda conn: ("get_task_result('full', %s)", some(conn, "completed")[0][0]),
    "retry_task": lambda conn: ("retry_task('full', %s)", some(conn, "failed")[0][0]),
    "retry_task as a new one": lambda conn: ("""retry_task('full', %s, '{"spawn_new": true}')""", some(conn, "failed")[0][0]),
    "cancel_task": lambda conn: ("cancel_task('full', %s)", some(conn, "pending")[0][0]),
    "cancel_task that waits": lambda conn: ("cancel_task('full', %s)", waiting(conn)[0]),
    "cancel_task by its run": lambda conn: ("cancel_task('full', %s)", running(conn)[1]),
    "complete_runs": lambda conn: ("complete_runs('full', %s, array['1', '2']::jsonb[])", [run for _, run in some(conn, "running", 2)]),
}


def doubled(conn):
    """An event that two runs wait for."""
    _, _, event = waiting(conn)
    conn.execute(
        """update absurd.w_full set event_name = %s
            where run_id = (select run_id from absurd.w_full where event_name > %s order by event_name limit 1)""",
        (event, event),
    )
    return event


@pytest.mark.parametrize("name", CALLS)
def test_a_call_reads_what_it_needs(full, name):
    full.execute("begin")
    try:
        call, *values = CALLS[name](full)
        # The first call of a backend reads the catalogue too.
        full.execute("savepoint warm")
        blocks(full, "absurd." + call, *values)
        full.execute("rollback to warm")
        assert blocks(full, "absurd." + call, *values) < LIMIT
    finally:
        full.execute("rollback")
