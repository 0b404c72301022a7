"""Ids of another queue: refused, and nothing has changed."""

import json

import pytest

from common import FLOW, outcome, value

STRANGERS = {
    "select * from absurd.retry_task(%(q)s, %(their_failed)s)": "P0002",
    "select * from absurd.retry_task(%(q)s, %(their_failed)s, '{\"spawn_new\": true}')": "P0002",
    "select absurd.complete_run(%(q)s, %(their_run)s, '1')": "P0002",
    "select absurd.complete_runs(%(q)s, array[%(run)s, %(their_run)s]::uuid[])": "P0002",
    "select absurd.fail_run(%(q)s, %(their_run)s, '1')": "P0002",
    "select absurd.fail_runs(%(q)s, array[%(run)s, %(their_run)s]::uuid[])": "P0002",
    "select absurd.extend_claim(%(q)s, %(their_run)s, 60)": "P0002",
    "select absurd.schedule_run(%(q)s, %(their_run)s, now())": "P0002",
    "select absurd.cancel_task(%(q)s, %(their_task)s)": "P0002",
    "select absurd.cancel_task(%(q)s, %(their_run)s)": "P0002",
    "select absurd.set_task_checkpoint_state(%(q)s, %(their_task)s, 's', '1', %(their_run)s, 60)":
        "P0002",
    "select absurd.set_task_checkpoint_state(%(q)s, %(task)s, 's', '1', %(their_run)s, 60)":
        "P0002",
    "select absurd.set_task_checkpoint_state(%(q)s, %(their_task)s, 's', '1', %(run)s, 60)":
        "22023",
    "select absurd.set_task_checkpoint_state(%(q)s, %(their_run)s, 's', '1', %(run)s, 60)": "22023",
    "select absurd.save_checkpoint_for_run(%(q)s, %(their_run)s, 's', '1')": "P0002",
    "select absurd.save_checkpoint_for_run(%(q)s, %(run)s, 's', '1', %(their_task)s)": "22023",
    "select * from absurd.await_event(%(q)s, %(their_task)s, %(their_run)s, 's', 'e')": "P0002",
    "select * from absurd.await_event(%(q)s, %(task)s, %(their_run)s, 's', 'e')": "P0002",
    "select * from absurd.await_event(%(q)s, %(their_task)s, %(run)s, 's', 'e')": "22023",
    "select absurd.complete_run(%(q)s, %(their_step)s, '1')": "P0002",
    "select absurd.fail_run(%(q)s, %(their_step)s, '1')": "P0002",
    "select absurd.cancel_task(%(q)s, %(their_step)s)": "P0002",
}


def contents(conn, queue, letters="trcew"):
    """Rows of a queue's tables, each with its place and the transaction that wrote it."""
    return {letter: conn.execute(
        f"select t.tableoid::regclass::text, t.ctid::text, t.xmin::text, t::text"
        f" from absurd.{letter}_{queue} t order by 4").fetchall() for letter in letters}


@pytest.mark.parametrize("setting", ["on", "off"])
@pytest.mark.parametrize("mode", ["unpartitioned", "partitioned"])
def test_ids_of_another_queue_are_refused_and_change_nothing(connect, mode, setting):
    conn = connect()
    conn.execute(f"set absurd.direct to {setting}")
    ids = {"q": "mine"}
    for queue, prefix in (("mine", ""), ("theirs", "their_")):
        conn.execute("select absurd.create_queue(%s, %s)", (queue, mode))
        for name in ("failed", "run"):
            conn.execute("select absurd.spawn_task(%s, %s, '{}', '{\"max_attempts\": 1}')",
                         (queue, name))
            run, task = conn.execute("select run_id, task_id from absurd.claim_task(%s, 'w', 600)",
                                     (queue,)).fetchone()
            ids[f"{prefix}{name}"] = run if name == "run" else task
            if name == "failed":
                conn.execute("select absurd.fail_run(%s, %s, '1')", (queue, run))
            else:
                ids[f"{prefix}task"] = task
    conn.execute("select absurd.register_workflow(%s, 'theirs')", (json.dumps(FLOW),))
    conn.execute("select absurd.start_workflow('flow')")
    ids["their_step"] = value(conn, "select run_id from absurd.claim_task('theirs', 'w', 600)")
    steps = "select s::text from absurd.workflow_step s order by 1"

    def everything():
        return contents(conn, "mine"), contents(conn, "theirs"), conn.execute(steps).fetchall()

    before = everything()
    came = {call: outcome(conn, call, ids) for call in STRANGERS}
    assert came == STRANGERS
    assert everything() == before
    assert conn.execute("select * from absurd.get_task_result(%(q)s, %(their_task)s)",
                        ids).fetchall() == []
    # Each works where it belongs.
    conn.execute("select absurd.complete_run('theirs', %(their_run)s)", ids)
    assert everything() != before
    conn.execute("select absurd.drop_queue('mine'), absurd.drop_queue('theirs')")
