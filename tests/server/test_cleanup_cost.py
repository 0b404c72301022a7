"""Cleanup costs what it deletes, not what it keeps: blocks read are counted, not seconds."""

import json

import pytest

HISTORY = 1_000_000
BATCH = 1000


@pytest.fixture(scope="module")
def history(database):
    """Two queues with the same thousand old tasks, one of them among a million newer ones."""
    import psycopg

    with psycopg.connect(database, autocommit=True) as conn:
        for queue, kept in (("small", 0), ("large", HISTORY)):
            conn.execute("select absurd.create_queue(%s)", (queue,))
            conn.execute(
                f"""
                with tasks as (
                    insert into absurd.t_{queue} (task_id, task_name, params, state, attempts, last_attempt_run, enqueue_at)
                    select gen_random_uuid(), 'past', '{{}}', 'completed', 1, gen_random_uuid(),
                           now() - case when n <= %(old)s then interval '40 days' else interval '1 day' end
                      from generate_series(1, %(old)s + %(kept)s) n
                    returning task_id, last_attempt_run, enqueue_at
                )
                insert into absurd.r_{queue} (run_id, task_id, attempt, state, available_at, completed_at)
                select last_attempt_run, task_id, 1, 'completed', enqueue_at, enqueue_at from tasks
                """,
                {"old": BATCH, "kept": kept},
            )
        conn.execute("vacuum analyze")
        yield conn


def blocks(conn, query):
    """The blocks that a statement touches, and its single value."""
    (plan,) = conn.execute("explain (analyze, buffers, format json) " + query).fetchone()
    plan = plan if isinstance(plan, list) else json.loads(plan)
    return plan[0]["Plan"]["Shared Hit Blocks"] + plan[0]["Plan"]["Shared Read Blocks"]


def test_a_thousand_out_of_a_million(history):
    cost = {}
    for queue in ("small", "large"):
        history.execute("begin")
        cost[queue] = blocks(history, f"select absurd.cleanup_tasks('{queue}', 30 * 86400, {BATCH})")
        gone = history.execute(f"select count(*) from absurd.t_{queue} where enqueue_at < now() - interval '30 days'")
        assert gone.fetchone() == (0,)
        history.execute("rollback")
    # Deeper indexes cost a block more a look-up, a larger table none.
    assert cost["large"] <= 2 * cost["small"] + 100, cost


def test_nothing_to_do_among_a_million(history):
    assert blocks(history, "select absurd.cleanup_tasks('large', 60 * 86400)") < 200


def test_by_policy(history):
    history.execute("begin")
    rows = history.execute("select * from absurd.cleanup_all_queues()").fetchall()
    history.execute("rollback")
    assert rows == [("large", BATCH, 0), ("small", BATCH, 0)]
