"""Claims on a queue of a year's weeks: they look at the week where the runs are, and miss none elsewhere."""

import json
import time

import psycopg
import pytest

from common import Scans

QUEUE = "weeks"
# Blocks that a claim of one may look at: one block of each index of each week would be more.
BLOCKS = 120
# Scans that claims may write down until one of them hands out what has become ready.
SCANS = 2


@pytest.fixture(params=["directly", "by statements"])
def weekly(conn, request):
    conn.execute("select set_config('absurd.direct', %s, false)", ("on" if request.param == "directly" else "off",))
    conn.execute("select absurd.create_queue(%s, 'partitioned')", (QUEUE,))
    policy = '{"partition_lookahead": "182 days", "partition_lookback": "182 days"}'
    conn.execute("select absurd.set_queue_policy(%s, %s)", (QUEUE, policy))
    conn.execute("select absurd.ensure_partitions(%s)", (QUEUE,))
    # The first claim notices that there is much to look at, and the second does so.
    for _ in range(2):
        conn.execute("select absurd.claim_task(%s, 'worker')", (QUEUE,))
    yield conn
    conn.rollback()
    conn.execute("reset absurd.direct")
    conn.execute("select absurd.drop_queue(%s)", (QUEUE,))


def spawn(conn, name, options="{}", weeks_ago=0):
    """Spawns a task, as if some weeks ago, to be ready when it says."""
    if weeks_ago:
        conn.execute("select set_config('absurd.fake_now', (clock_timestamp() - make_interval(weeks => %s))::text, false)", (weeks_ago,))
    row = conn.execute("select task_id, run_id from absurd.spawn_task(%s, %s, '{}', %s)", (QUEUE, name, options)).fetchone()
    conn.execute("select set_config('absurd.fake_now', '', false)")
    return row


def claim(conn, quantity=1, timeout=600):
    rows = conn.execute("select task_name from absurd.claim_task(%s, 'worker', %s, %s)", (QUEUE, timeout, quantity))
    return [name for (name,) in rows]


def blocks_of_a_claim(conn):
    ((plan,),) = conn.execute(
        f"explain (analyze, buffers, format json) select absurd.claim_task('{QUEUE}', 'worker', 600, 1)"
    )
    plan = plan if isinstance(plan, list) else json.loads(plan)
    return plan[0]["Plan"]["Shared Hit Blocks"] + plan[0]["Plan"]["Shared Read Blocks"]


def test_a_claim_looks_at_its_week(weekly):
    for n in range(100):
        spawn(weekly, f"task {n}")
    costs = [blocks_of_a_claim(weekly) for _ in range(50)]
    assert sorted(costs)[40] < BLOCKS, costs
    assert claim(weekly) == ["task 50"]


def test_a_claim_writes_to_one_week(weekly):
    for _ in range(5):
        spawn(weekly, "task")
        assert claim(weekly) == ["task"]
    tag = weekly.execute("select absurd.partition_week_tag(now())").fetchone()[0]
    spawn(weekly, "task")
    with weekly.transaction():
        assert claim(weekly) == ["task"]
        written = weekly.execute(
            """select relation::regclass::text from pg_locks
                where pid = pg_backend_pid() and mode = 'RowExclusiveLock' and relation::regclass::text like '%r\\_weeks%'
                  and relation in (select oid from pg_class where relkind in ('r', 'p'))"""
        )
        assert written.fetchall() == [(f"absurd.r_{QUEUE}_{tag}",)]


def test_runs_of_several_weeks_come_in_order(weekly):
    for n in range(12):
        spawn(weekly, f"task {n}", weeks_ago=(12 - n) // 3)
    # By then the next scan is due, which finds what was spawned for the past.
    time.sleep(1)
    assert claim(weekly, 5) == [f"task {n}" for n in range(5)]
    assert [claim(weekly) for _ in range(5)] == [[f"task {n}"] for n in range(5, 10)]
    assert claim(weekly, 5) == ["task 10", "task 11"]
    assert claim(weekly, 5) == []


def test_a_run_of_another_week_is_found_by_the_next_scan(weekly):
    at = weekly.execute("select to_json(clock_timestamp() + interval '500 milliseconds')#>>'{}'").fetchone()[0]
    spawn(weekly, "old", json.dumps({"available_at": at}), weeks_ago=3)
    time.sleep(0.5)
    scans = Scans(weekly, QUEUE)
    while True:
        spawn(weekly, "new")
        spawn(weekly, "new")
        if claim(weekly) == ["old"]:
            break
        assert scans.so_far() <= SCANS


def test_a_woken_run_of_another_week_is_found_by_the_next_scan(weekly):
    task, run = spawn(weekly, "old", weeks_ago=5)
    assert claim(weekly) == ["old"]
    weekly.execute("select absurd.await_event(%s, %s, %s, 'step', 'event', 3600)", (QUEUE, task, run))
    for n in range(2000):
        spawn(weekly, "new")
    assert claim(weekly) == ["new"]
    weekly.execute("select absurd.emit_event(%s, 'event', '1')", (QUEUE,))
    # Those 2,000 stand before it, a claim of all of them does not.
    got, scans = [], Scans(weekly, QUEUE)
    while "old" not in got:
        got += claim(weekly, 500)
        assert scans.so_far() <= SCANS
    assert got.count("old") == 1


def test_the_task_may_be_of_another_week(weekly):
    _, run = spawn(weekly, "retried", '{"max_attempts": 3}', weeks_ago=4)
    assert claim(weekly) == ["retried"]
    weekly.execute("select absurd.fail_run(%s, %s, '{}')", (QUEUE, run))
    spawn(weekly, "other")
    found = weekly.execute("select task_name, attempt from absurd.claim_task(%s, 'worker', 600, 2)", (QUEUE,))
    assert sorted(found.fetchall()) == [("other", 1), ("retried", 2)]
    week = "select right(tableoid::regclass::text, 3) from absurd.{} where task_id = (select task_id from absurd.t_weeks where task_name = 'retried')"
    of_runs = {row[0] for row in weekly.execute(week.format("r_weeks"))}
    assert len(of_runs) == 2, "the retry lies in the week of its task: the test tests nothing"


def test_a_held_task_is_passed_over(weekly, connect):
    task, _ = spawn(weekly, "held")
    spawn(weekly, "free")
    other = connect(autocommit=False)
    other.execute("select from absurd.t_weeks where task_id = %s for update", (task,))
    assert claim(weekly) == ["free"]
    assert claim(weekly) == []
    other.rollback()
    assert claim(weekly) == ["held"]


def test_an_ended_lease_is_found_at_once(weekly):
    spawn(weekly, "left", '{"max_attempts": 2}')
    assert claim(weekly, timeout=1) == ["left"]
    time.sleep(1.01)
    assert claim(weekly) == ["left"]


def test_rights_on_the_whole_are_enough(weekly, database):
    weekly.execute("create role weekly_worker login")
    try:
        weekly.execute("grant usage on schema absurd to weekly_worker")
        weekly.execute("grant select, insert, update, delete on absurd.t_weeks, absurd.r_weeks, absurd.w_weeks, absurd.c_weeks, absurd.e_weeks to weekly_worker")
        for n in range(6):
            spawn(weekly, f"task {n}")
        with psycopg.connect(database, autocommit=True, user="weekly_worker") as worker:
            assert [claim(worker) for _ in range(5)] == [[f"task {n}"] for n in range(5)]
    finally:
        weekly.execute("drop owned by weekly_worker")
        weekly.execute("drop role weekly_worker")


def test_triggers_of_the_whole_fire(weekly):
    weekly.execute("create table told (queries int)")
    weekly.execute("create function tell() returns trigger language plpgsql as $$ begin insert into told values (1); return null; end $$")
    weekly.execute("create trigger tell after update on absurd.r_weeks for each statement execute function tell()")
    for n in range(5):
        spawn(weekly, f"task {n}")
    for n in range(5):
        assert claim(weekly) == [f"task {n}"]
    assert weekly.execute("select count(*) from told").fetchone() == (5,)
    weekly.execute("drop trigger tell on absurd.r_weeks")
    weekly.execute("drop function tell")
    weekly.execute("drop table told")


def test_a_dropped_week_is_no_error(weekly):
    spawn(weekly, "task")
    assert claim(weekly) == ["task"]
    tag = weekly.execute("select absurd.partition_week_tag(now())").fetchone()[0]
    weekly.execute("begin")
    for table in "wrt":
        weekly.execute(f"drop table absurd.{table}_weeks_{tag}")
    assert claim(weekly) == []
    weekly.execute("rollback")
    spawn(weekly, "next")
    assert claim(weekly) == ["next"]
