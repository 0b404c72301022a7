"""Cleanup costs what it deletes, not what it keeps: blocks read are counted, not seconds."""

import json

import psycopg
import pytest

HISTORY = 1_000_000
BATCH = 1000
ATTEMPTS = 40
OPEN = 500


@pytest.fixture(scope="module")
def history(database):
    """Two queues with the same thousand old tasks, one of them among a million newer ones."""
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


@pytest.fixture(params=["on", "off"])
def direct(conn, request):
    conn.execute("select set_config('absurd.direct', %s, false)", (request.param,))
    return conn


def attempt(conn, queue):
    """Claims all that is ready, and fails it; the tasks are tried again at once."""
    conn.execute(
        """with claimed as materialized (select run_id from absurd.claim_task(%s, 'worker', 600, 10000))
           select absurd.fail_runs(%s, array(select run_id from claimed))""",
        (queue, queue),
    )


def some_old_tasks(conn, queue):
    conn.execute("select count(*) from absurd.spawn_tasks(%s, (select jsonb_agg('{\"task_name\": \"old\"}'::jsonb) from generate_series(1, 100)))", (queue,))
    conn.execute("select absurd.complete_runs(%s, array(select run_id from absurd.claim_task(%s, 'worker', 600, 100)))", (queue, queue))


def test_failed_attempts_of_open_tasks_are_not_in_the_way(direct):
    cost = {}
    for queue, tasks in (("few", 0), ("many", OPEN)):
        direct.execute("select absurd.create_queue(%s)", (queue,))
        direct.execute("select count(*) from generate_series(1, %s::int) n, absurd.spawn_task(%s, 'open', to_jsonb(n))", (tasks, queue))
        for _ in range(ATTEMPTS if tasks else 0):
            attempt(direct, queue)
        assert direct.execute(f"select count(*) from absurd.r_{queue} where state = 'failed'").fetchone() == (tasks * ATTEMPTS,)
        # The open tasks wait elsewhere.
        direct.execute(f"update absurd.r_{queue} set available_at = 'infinity' where state = 'pending'")
        some_old_tasks(direct, queue)
        direct.execute(f"vacuum analyze absurd.r_{queue}, absurd.t_{queue}")
        cost[queue] = blocks(direct, f"select absurd.cleanup_tasks('{queue}', 0)")
        assert direct.execute(f"select count(*) from absurd.t_{queue}").fetchone() == (tasks,)
        direct.execute("select absurd.drop_queue(%s)", (queue,))
    assert cost["many"] <= 2 * cost["few"] + 100, cost


def test_attempts_that_a_client_wrote_are_stepped_over_once(direct):
    direct.execute("select absurd.create_queue('written')")
    direct.execute("select count(*) from generate_series(1, %s::int) n, absurd.spawn_task('written', 'open', to_jsonb(n))", (OPEN,))
    direct.execute(
        """insert into absurd.r_written (run_id, task_id, attempt, state, available_at, failed_at)
           select gen_random_uuid(), task_id, -n, 'failed', now(), now() - interval '1 day'
             from absurd.t_written, generate_series(1, 18) n"""
    )
    direct.execute("update absurd.r_written set available_at = 'infinity' where state = 'pending'")
    costs = []
    for _ in range(2):
        some_old_tasks(direct, "written")
        direct.execute("vacuum analyze absurd.r_written, absurd.t_written")
        costs.append(blocks(direct, "select absurd.cleanup_tasks('written', 0)"))
        assert direct.execute("select count(*) from absurd.t_written").fetchone() == (OPEN,)
    assert costs[1] < costs[0] / 5, costs
    direct.execute("select absurd.drop_queue('written')")


def rows_passed(plan):
    """The rows that the nodes of an analyzed plan have passed on or dropped, over all their loops."""
    passed = plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0) + plan.get("Rows Removed by Join Filter", 0)
    return passed * plan["Actual Loops"] + sum(map(rows_passed, plan.get("Plans", [])))


def test_rows_a_task_are_the_same_for_more_tasks(direct):
    try:
        direct.execute("load 'auto_explain'")
    except psycopg.errors.UndefinedFile:
        pytest.skip("this Postgres comes without auto_explain, which tells how many rows a plan passes on")
    direct.execute(
        """select set_config('auto_explain.' || name, value, false)
             from (values ('log_min_duration', '0'), ('log_analyze', 'on'), ('log_timing', 'off'),
                          ('log_nested_statements', 'on'), ('log_format', 'json'), ('log_level', 'notice')) s(name, value)"""
    )
    plans = []
    direct.add_notice_handler(lambda notice: plans.append(json.loads(notice.message_primary.split("plan:\n")[1])))
    rows = {}
    for tasks in (100, 3000):
        direct.execute("select absurd.create_queue('counted')")
        for _ in range(tasks // 100):
            some_old_tasks(direct, "counted")
        plans.clear()
        gone = direct.execute("select absurd.cleanup_tasks('counted', 0, %s)", (tasks,)).fetchone()
        rows[tasks] = sum(rows_passed(plan["Plan"]) for plan in plans) / tasks
        assert gone == (tasks,)
        direct.execute("select absurd.drop_queue('counted')")
    assert 0 < rows[3000] <= 1.5 * rows[100], rows
