"""What came due is worked off a part a claim: the blocks that a claim reads do not grow with how much is due,
and every claim makes progress."""

import json

import pytest

# Blocks that sweeping one task takes at most, and a claim beside that.
EACH = 60
BESIDE = 2000


@pytest.fixture
def queue(conn, request):
    name = request.node.name[5:40].replace("[", "_").replace("]", "")
    conn.execute("select absurd.create_queue(%s)", (name,))
    return name


def claim(conn, queue, quantity=1):
    """Names of what a claim hands out, and the blocks that it read."""
    (plan,) = conn.execute(
        "explain (analyze, buffers, format json) insert into handed select task_name from absurd.claim_task(%s, 'w', 600, %s)",
        (queue, quantity),
    ).fetchone()
    root = plan[0]["Plan"]
    names = [name for (name,) in conn.execute("delete from handed returning task_name")]
    return names, root["Shared Hit Blocks"] + root["Shared Read Blocks"]


def count(conn, queue, state):
    return conn.execute(f"select count(*) from absurd.t_{queue} where state = %s", (state,)).fetchone()[0]


@pytest.mark.parametrize("direct", ["on", "off"])
def test_due_cancellations_are_swept_in_parts(conn, queue, direct):
    conn.execute("select set_config('absurd.direct', %s, false)", (direct,))
    conn.execute("create temporary table handed (task_name text)")
    due = 20_000
    options = json.dumps({"cancellation": {"max_delay": 1}})
    conn.execute("set absurd.fake_now = '2026-01-01 00:00:00+00'")
    tasks = f"select jsonb_agg(jsonb_build_object('task_name', 'due', 'options', '{options}'::jsonb)) from generate_series(1, {due})"
    conn.execute(f"select count(*) from absurd.spawn_tasks(%s, ({tasks}))", (queue,))
    conn.execute("set absurd.fake_now = '2026-01-01 00:01:00+00'")
    conn.execute("select count(*) from generate_series(1, 3), absurd.spawn_task(%s, 'good', '1')", (queue,))
    conn.execute(f"analyze absurd.t_{queue}, absurd.r_{queue}")
    claim(conn, queue)
    swept = count(conn, queue, "cancelled")
    handed, claims = [], 1
    while not handed:
        names, blocks = claim(conn, queue)
        now = count(conn, queue, "cancelled")
        assert names or 0 < now - swept <= 1000, (names, now - swept)
        assert blocks <= EACH * (now - swept) + BESIDE, (blocks, now - swept)
        handed, swept, claims = names, now, claims + 1
    assert handed == ["good"]
    assert claims >= due / 1000


def test_a_due_task_that_cannot_be_swept_is_passed_over(connect, conn, queue):
    conn.execute("create temporary table handed (task_name text)")
    conn.execute("set absurd.fake_now = '2026-01-01 00:00:00+00'")
    conn.execute(
        """select count(*) from generate_series(1, 1500), absurd.spawn_task(%s, 'due', '1', '{"cancellation": {"max_delay": 1}}')""",
        (queue,),
    )
    conn.execute("set absurd.fake_now = '2026-01-01 00:01:00+00'")
    conn.execute("select absurd.spawn_task(%s, 'good', '1')", (queue,))
    with connect(autocommit=False) as holder:
        # Runs are free, the sweep of each needs its task.
        holder.execute(f"select from absurd.t_{queue} where task_name = 'due' for update")
        assert claim(conn, queue)[0] == ["good"]
        assert count(conn, queue, "cancelled") == 0


@pytest.mark.parametrize("direct", ["on", "off"])
def test_rows_without_a_task_are_cleared_away_in_parts(conn, queue, direct):
    conn.execute("select set_config('absurd.direct', %s, false)", (direct,))
    conn.execute("create temporary table handed (task_name text)")
    conn.execute(
        f"""insert into absurd.r_{queue} (run_id, task_id, attempt, state, available_at)
            select gen_random_uuid(), gen_random_uuid(), 1, 'pending', now() - interval '1 hour' from generate_series(1, 5000)"""
    )
    conn.execute("select absurd.spawn_task(%s, 'good', '1')", (queue,))
    handed, left = [], 5000
    while not handed:
        handed, blocks = claim(conn, queue)
        (now,) = conn.execute(f"select count(*) from absurd.r_{queue} where state = 'pending'").fetchone()
        assert handed or now < left
        assert blocks <= EACH * max(left - now, 1000) + BESIDE, (blocks, left - now)
        left = now
    assert handed == ["good"]


def test_large_loop_begins_in_parts_that_claims_do(conn, queue):
    conn.execute("create temporary table handed (task_name text)")
    document = {
        "name": "large",
        "tasks": {
            "w": {"task_id": "w", "operator_type": "wait", "wait_for": "PT1S"},
            "e": {
                "task_id": "e",
                "operator_type": "foreach",
                "items": "{{range(50000)}}",
                "parallel": True,
                "dependencies": ["w"],
                "loop_body": [
                    {"task_id": "b", "operator_type": "task", "function": "f", "dependencies": ["e"], "is_internal_loop_task": True}
                ],
            },
        },
    }
    conn.execute("set absurd.fake_now = '2026-01-01 00:00:00+00'")
    conn.execute("select * from absurd.register_workflow(%s, %s)", (json.dumps(document), queue))
    (run,) = conn.execute("select absurd.start_workflow('large')").fetchone()
    conn.execute("select absurd.spawn_task(%s, 'plain', '1')", (queue,))
    conn.execute("set absurd.fake_now = '2026-01-01 00:00:02+00'")
    spawned = 0
    for turn in range(5):
        names, _ = claim(conn, queue)
        (now,) = conn.execute(f"select count(*) from absurd.t_{queue} where task_name = 'f'").fetchone()
        assert 0 < now - spawned <= 1000, (turn, now - spawned)
        assert names == (["plain"] if turn == 0 else ["f"])
        spawned = now
    # Ended from outside it stops at once, and is closed in parts as well.
    conn.execute("select absurd.cancel_workflow_run(%s)", (run,))
    assert conn.execute("select status from absurd.get_workflow_run(%s)", (run,)).fetchone() == ("cancelled",)
    while conn.execute("select exists (select from absurd.workflow_stimulus)").fetchone()[0]:
        claim(conn, queue)
    assert conn.execute(f"select count(*) from absurd.t_{queue} where task_name = 'f' and state in ('pending', 'running', 'sleeping')").fetchone() == (0,)
    # What has not begun is kept for a retry, as long as the run is there.
    items = "select coalesce(sum(count), 0) from absurd.workflow_items"
    assert conn.execute(items).fetchone() == (50000 - spawned,)
    conn.execute("delete from absurd.workflow_run where workflow_run_id = %s", (run,))
    assert conn.execute(items).fetchone() == (0,)
    assert conn.execute("select count(*) from absurd.workflow_scope where phase = 'open'").fetchone() == (0,)


# As text they are longer than Postgres makes one; stored, a hundred kilobytes.
LONG = "(select jsonb_agg(1e131071::numeric) from generate_series(1, 8200))"


@pytest.mark.parametrize("direct", ["on", "off"])
@pytest.mark.parametrize("column", ["retry_strategy", "cancellation"])
def test_stored_rules_that_cannot_be_printed_stop_nobody(conn, queue, column, direct):
    conn.execute("select set_config('absurd.direct', %s, false)", (direct,))
    conn.execute("select absurd.drop_queue(%s)", (queue,))
    conn.execute("select absurd.create_queue(%s)", (queue,))
    for name in ("poison", "good"):
        conn.execute("select absurd.spawn_task(%s, %s, '{}')", (queue, name))
    wrong = f"jsonb_build_object('kind', 'fixed', 'max_delay', 3600, 'x', {LONG})"
    conn.execute(f"update absurd.t_{queue} set {column} = {wrong} where task_name = 'poison'")
    names = "select task_name from absurd.claim_task(%s, 'w', 600, 5)"
    handed = [name for (name,) in conn.execute(names.replace("600", "1"), (queue,))]
    assert sorted(handed) == ["good", "poison"]
    conn.execute(f"update absurd.r_{queue} set claim_expires_at = clock_timestamp() - interval '1 second'")
    conn.execute("select absurd.spawn_task(%s, 'next', '{}')", (queue,))
    again = [name for (name,) in conn.execute(names, (queue,))]
    assert "next" in again and "good" in again
    assert conn.info.transaction_status.name == "IDLE"
    # A strategy that long cannot be followed; a rule that long is none.
    ends = {"retry_strategy": "failed", "cancellation": "running"}
    assert conn.execute(f"select state from absurd.t_{queue} where task_name = 'poison'").fetchone() == (ends[column],)
