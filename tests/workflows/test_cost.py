"""What finishing a step costs: blocks are counted where the size of something must not matter. And what a session that dies in the middle leaves: a run that goes on."""

import statistics
import time

import psycopg
import pytest
from psycopg.types.json import Jsonb

from documents import document, step, task, unique


def register(conn, queue, definition):
    conn.execute("select * from absurd.register_workflow(%s, %s)", (Jsonb(definition), queue))
    return definition["name"]


def start(conn, name):
    return conn.execute("select absurd.start_workflow(%s)", (name,)).fetchone()[0]


def chain(length):
    steps = [f"s{n:04}" for n in range(length)]
    return document(*(task(s, *steps[n - 1 : n] if n else ()) for n, s in enumerate(steps)), name=unique())


def complete_one(conn, queue):
    """Blocks that the completion of the next step touches; none when nothing is ready."""
    claimed = conn.execute("select run_id from absurd.claim_task(%s, 'w', 600)", (queue,)).fetchone()
    if claimed is None:
        return None
    (plan,) = conn.execute(
        "explain (analyze, buffers, format json) select absurd.complete_run(%s, %s, '1')", (queue, claimed[0])
    ).fetchone()
    return plan[0]["Plan"]["Shared Hit Blocks"] + plan[0]["Plan"]["Shared Read Blocks"]


def blocks(conn, queue, count):
    # While a table is being analyzed, no row version that it may see is pruned, and the rows that
    # many completions have changed have long chains of them.
    busy = "select count(*) from pg_stat_activity where backend_type = 'autovacuum worker'"
    while conn.execute(busy).fetchone() != (0,):
        time.sleep(0.1)
    return [complete_one(conn, queue) for _ in range(count)]


def test_a_step_costs_the_same_in_a_long_document(conn, queue):
    cost = {}
    for length in (10, 1000):
        name = register(conn, queue, chain(length))
        for _ in range(3 if length == 10 else 1):
            start(conn, name)
        # Others first: plans are made and the catalogue's caches filled.
        blocks(conn, queue, 9)
        cost[length] = statistics.median(blocks(conn, queue, 15))
        while complete_one(conn, queue) is not None:
            pass
    assert cost[1000] <= 1.5 * cost[10], cost


def fan_out(conn, queue, items):
    """Starts a parallel loop; the run, and the blocks that the start touches."""
    body = [task("b", "each", args=["{{item}}"])]
    each = step("foreach", "each", items=f"range({items})", parallel=True, loop_body=body)
    name = register(conn, queue, document(each, name=unique()))
    (plan,) = conn.execute("explain (analyze, buffers, format json) select absurd.start_workflow(%s)", (name,)).fetchone()
    (run,) = conn.execute("select workflow_run_id from absurd.workflow_run where workflow_name = %s", (name,)).fetchone()
    return run, plan[0]["Plan"]["Shared Hit Blocks"] + plan[0]["Plan"]["Shared Read Blocks"]


def test_a_fan_out_starts_at_once_and_each_item_costs_the_same(conn, queue):
    fan_out(conn, queue, 10)
    cost = {}
    for items in (2000, 10000):
        run, cost[items] = fan_out(conn, queue, items)
        if items == 2000:
            conn.execute("select absurd.cancel_workflow_run(%s)", (run,))
    # Five times as many: it begins with a thousand, what is beyond is stored and begun by claims.
    assert cost[10000] <= 2 * cost[2000], cost
    blocks(conn, queue, 20)
    early = statistics.median(blocks(conn, queue, 50))
    done = conn.execute(
        """select count(absurd.complete_runs(%s, array[run_id], array['1'::jsonb]))
             from absurd.claim_task(%s, 'w', 600, 9800)""",
        (queue, queue),
    ).fetchone()
    assert done == (9800,)
    late = statistics.median(blocks(conn, queue, 50))
    assert late <= 1.5 * early, (early, late)
    while complete_one(conn, queue) is not None:
        pass
    status = conn.execute("select status from absurd.get_workflow_run(%s)", (run,)).fetchone()
    assert status == ("completed",)


def test_a_history_of_finished_runs_changes_nothing(conn, queue):
    name = register(conn, queue, chain(10))

    def cost():
        for _ in range(4):
            start(conn, name)
        blocks(conn, queue, 9)
        return statistics.median(blocks(conn, queue, 20))

    before = cost()
    while complete_one(conn, queue) is not None:
        pass
    # As many rows as finished runs leave, written below the functions.
    conn.execute(
        """with runs as (
               insert into absurd.workflow_run (workflow_run_id, workflow_name, workflow_version, status, started_at,
                                                completed_at, root_run_id)
               select id, %(name)s, '2.0.0', 'completed', now(), now(), id
                 from (select gen_random_uuid() as id from generate_series(1, 100000)) ids
               returning workflow_run_id
           ), executions as (
               insert into absurd.workflow_execution (workflow_run_id, root_run_id, depth, workflow_name,
                      workflow_version, workflow_hash, queue_name, status, next_scope, bounded, started_at)
               select workflow_run_id, workflow_run_id, 0, %(name)s, '2.0.0', 'past', %(queue)s, 'completed', 1,
                      false, now()
                 from runs
           )
           insert into absurd.workflow_step (workflow_run_id, scope, node, state, referrers, open, iterations, attempts)
           select workflow_run_id, 0, node, 'completed', 0, 0, 0, 1 from runs, generate_series(0, 9) node""",
        {"name": name, "queue": queue},
    )
    after = cost()
    # Taller indexes cost a block more for each look-up, a longer history none.
    assert after <= 1.3 * before + 10, (before, after)


@pytest.mark.parametrize("die", ["before the completion", "after the completion"])
def test_a_session_that_dies_leaves_a_run_that_goes_on(connect, conn, queue, die):
    name = register(conn, queue, document(task("a"), task("b", "a"), name=unique()))
    run = start(conn, name)
    worker = connect(autocommit=False)
    (claimed,) = worker.execute("select run_id from absurd.claim_task(%s, 'w', 600)", (queue,)).fetchone()
    worker.commit()
    if die == "after the completion":
        worker.execute("select absurd.complete_run(%s, %s, '1')", (queue, claimed))
        assert worker.execute("select task_name from absurd.claim_task(%s, 'w', 600)", (queue,)).fetchone() == ("f.b",)
    conn.execute("select pg_terminate_backend(%s)", (worker.info.backend_pid,))
    with pytest.raises(psycopg.OperationalError):
        worker.execute("select 1")
    # What it had not committed never was.
    states = conn.execute("select path, state from absurd.workflow_run_steps(%s)", (run,)).fetchall()
    assert states == [("a", "running"), ("b", "pending")]
    conn.execute("select absurd.complete_run(%s, %s, '1')", (queue, claimed))
    assert complete_one(conn, queue) is not None
    status = conn.execute("select status from absurd.get_workflow_run(%s)", (run,)).fetchone()
    assert status == ("completed",)
