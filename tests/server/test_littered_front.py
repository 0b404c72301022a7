"""The front of a queue under an old snapshot: claims do not step over what was claimed before, and find
within a second what becomes ready behind them."""

import json
import time

import pytest

QUEUE = "littered"
# Lives of tasks before the tests: enough index entries in front that a claim of one notices.
LIVES = 6000
# Blocks that a claim of one may look at. Stepping over the entries of so many lives takes hundreds.
BLOCKS = 120
# A second, with what a busy machine adds to it.
A_SECOND = 1.5


@pytest.fixture(autouse=True)
def live(conn):
    """A procedure that lets tasks live, each in transactions of its own."""
    conn.execute(
        """
        create or replace procedure live(queue text, lives int) language plpgsql as $$
        declare run uuid;
        begin
            for i in 1 .. lives loop
                perform absurd.spawn_task(queue, 'past', '{}');
                select run_id into strict run from absurd.claim_task(queue, 'worker', 600, 1);
                perform absurd.complete_run(queue, run);
                commit;
            end loop;
        end $$"""
    )


@pytest.fixture
def littered(connect):
    """A queue whose front is littered, by a transaction that stays open."""
    holder, conn = connect(autocommit=False), connect()
    conn.execute("select absurd.create_queue(%s)", (QUEUE,))
    holder.execute("set transaction isolation level repeatable read")
    holder.execute("select 1")
    conn.execute("call live(%s, %s)", (QUEUE, LIVES))
    yield conn
    holder.rollback()
    conn.execute("select absurd.drop_queue(%s)", (QUEUE,))


def spawn(conn, name, options="{}"):
    conn.execute("select absurd.spawn_task(%s, %s, '{}', %s)", (QUEUE, name, options))


def claim(conn, quantity=1, timeout=600):
    rows = conn.execute("select task_name from absurd.claim_task(%s, 'worker', %s, %s)", (QUEUE, timeout, quantity))
    return [name for (name,) in rows]


def claimed_within(conn, name, seconds):
    """Claims beside a steady supply of other work until the task is handed out; how long that took."""
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        spawn(conn, "other")
        if name in claim(conn):
            return time.monotonic() - began
    raise AssertionError(f"{name} was not handed out within {seconds} s")


def blocks_of_a_claim(conn):
    ((plan,),) = conn.execute(
        f"explain (analyze, buffers, format json) select absurd.claim_task('{QUEUE}', 'worker', 600, 1)"
    )
    plan = plan if isinstance(plan, list) else json.loads(plan)
    return plan[0]["Plan"]["Shared Hit Blocks"] + plan[0]["Plan"]["Shared Read Blocks"]


def test_claims_do_not_step_over_the_past(littered, connect):
    newcomer = connect()
    costs = []
    for _ in range(50):
        spawn(newcomer, "task")
        costs.append(blocks_of_a_claim(newcomer))
    # The first notices and the second looks at everything, as one claim a second does.
    assert max(costs[:2]) > BLOCKS, "nothing was in the way: the test tests nothing"
    assert sorted(costs)[len(costs) * 9 // 10] < BLOCKS, costs


def test_a_late_commit_is_found_within_a_second(littered, connect):
    late = connect(autocommit=False)
    spawn(late, "late")
    time.sleep(0.1)
    for _ in range(20):
        spawn(littered, "other")
        assert claim(littered) == ["other"]
    late.commit()
    assert claimed_within(littered, "late", 5) < A_SECOND


def test_a_rolled_back_claim_is_found_within_a_second(littered, connect):
    other = connect(autocommit=False)
    spawn(littered, "tried")
    assert claim(other) == ["tried"]
    time.sleep(0.1)
    for _ in range(20):
        spawn(littered, "other")
        assert claim(littered) == ["other"]
    other.rollback()
    assert claimed_within(littered, "tried", 5) < A_SECOND


def test_a_higher_priority_is_found_within_a_second(littered):
    for _ in range(2000):
        spawn(littered, "other")
    assert claim(littered) == ["other"]
    spawn(littered, "urgent", '{"priority": 7}')
    began = time.monotonic()
    while claim(littered) != ["urgent"]:
        assert time.monotonic() - began < A_SECOND


def test_an_ended_lease_is_found_within_a_second(littered):
    spawn(littered, "left", '{"max_attempts": 2}')
    assert claim(littered, timeout=1) == ["left"]
    time.sleep(1)
    assert claimed_within(littered, "left", 5) < A_SECOND


def test_a_claim_that_looks_and_rolls_back_leaves_it_to_others(littered, connect):
    other = connect(autocommit=False)
    time.sleep(1)
    spawn(littered, "first")
    # It looks at everything for all, and keeps that to itself for as long as it is open.
    assert claim(other) == ["first"]
    late = connect(autocommit=False)
    spawn(late, "late")
    time.sleep(0.1)
    spawn(littered, "other")
    assert claim(littered) == ["other"]
    late.commit()
    assert claimed_within(littered, "late", 5) < 2 * A_SECOND
    other.rollback()
    assert claimed_within(littered, "first", 5) < A_SECOND


def test_no_claim_loses_a_run(littered, connect):
    workers = [connect() for _ in range(4)]
    wanted = {f"task {n}" for n in range(200)}
    got = []
    for n, name in enumerate(sorted(wanted)):
        spawn(littered, name)
        got += claim(workers[n % 4])
    began = time.monotonic()
    while len(got) < len(wanted):
        assert time.monotonic() - began < 2
        for worker in workers:
            got += claim(worker, 10)
    assert sorted(got) == sorted(wanted)


def test_keeping_a_snapshot_looks_at_everything(littered, connect):
    late = connect(autocommit=False)
    spawn(late, "late")
    time.sleep(0.1)
    spawn(littered, "other")
    assert claim(littered) == ["other"]
    late.commit()
    littered.execute("begin isolation level repeatable read")
    assert claim(littered) == ["late"]
    littered.execute("commit")


def test_it_is_forgotten_when_the_snapshot_is_gone(connect):
    conn = connect()
    conn.execute("select absurd.create_queue('tidy')")
    with connect(autocommit=False) as holder:
        holder.execute("set transaction isolation level repeatable read")
        holder.execute("select 1")
        conn.execute("call live('tidy', %s)", (LIVES,))
        look = "select blocks < %s from absurd.queue_front where queue_name = 'tidy'"
        assert conn.execute(look, (BLOCKS,)).fetchone() == (False,)
    conn.execute("vacuum absurd.r_tidy")
    time.sleep(1)
    conn.execute("select absurd.claim_task('tidy', 'worker', 600, 1)")
    assert conn.execute(look, (BLOCKS,)).fetchone() == (True,)
    conn.execute("select absurd.drop_queue('tidy')")
    assert conn.execute(look, (BLOCKS,)).fetchone() is None
