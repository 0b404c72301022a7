"""The front of a queue under an old snapshot: claims do not step over what was claimed before, and find
at the next scan what becomes ready behind them, also where a full scan would take longer."""

import contextlib
import json
import threading
import time
import uuid

import pytest

from common import TRIES, Scans

QUEUE = "littered"
# How looks find what there is.
NEAR, IN_WEEKS = "near looks alone", "near looks alone, in weeks"
# Lives of tasks before the tests: enough index entries in front that a claim of one notices.
LIVES = 3500
# Blocks that a claim of one may look at. Stepping over the entries of so many lives takes hundreds.
BLOCKS = 120
# Scans that claims may write down until one of them hands out what has become ready: the first sees it, unless it
# began before.
SCANS = 2


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


@contextlib.contextmanager
def litter(connect, how):
    """A queue whose front is littered, by a transaction that stays open; the session that claims there."""
    holder, conn = connect(autocommit=False), connect()
    if how == IN_WEEKS:
        conn.execute("select absurd.create_queue(%s, 'partitioned')", (QUEUE,))
        policy = '{"partition_lookahead": "70 days", "partition_lookback": "70 days"}'
        conn.execute("select absurd.set_queue_policy(%s, %s)", (QUEUE, policy))
        conn.execute("select absurd.ensure_partitions(%s)", (QUEUE,))
    else:
        conn.execute("select absurd.create_queue(%s)", (QUEUE,))
    holder.execute("set transaction isolation level repeatable read")
    holder.execute("select 1")
    conn.execute("call live(%s, %s)", (QUEUE, LIVES))
    if how in (NEAR, IN_WEEKS):
        # The first two looks are at everything.
        is_near = "select confirmed[1] > '-infinity' from absurd.queue_watermark where queue_name = %s"
        while conn.execute(is_near, (QUEUE,)).fetchone() != (True,):
            conn.execute("call live(%s, 100)", (QUEUE,))
        # As if there were so much litter that looking at all of it took a quarter of an hour.
        conn.execute(
            "update absurd.queue_watermark set (full_scan_seconds, fully_scanned_at, scanned_at) = (1000, clock_timestamp(), clock_timestamp())"
        )
    elif how == "statements":
        conn.execute("set absurd.direct = off")
    try:
        yield conn
        if how in (NEAR, IN_WEEKS):
            assert conn.execute("select full_scan_seconds from absurd.queue_watermark").fetchone() == (1000,)
    finally:
        # What a test that failed has left open would be waited for.
        for opened in connect.all:
            if opened is not conn:
                opened.close()
        conn.execute("select absurd.drop_queue(%s)", (QUEUE,))


@pytest.fixture(params=[NEAR, IN_WEEKS, "looks at everything", "statements"])
def littered(connect, request):
    with litter(connect, request.param) as conn:
        yield conn


@pytest.fixture(params=[NEAR, IN_WEEKS])
def near(connect, request):
    """The same where near looks have to find it."""
    with litter(connect, request.param) as conn:
        yield conn


def spawn(conn, name, options="{}"):
    conn.execute("select absurd.spawn_task(%s, %s, '{}', %s)", (QUEUE, name, options))


def claim(conn, quantity=1, timeout=600):
    rows = conn.execute("select task_name from absurd.claim_task(%s, 'worker', %s, %s)", (QUEUE, timeout, quantity))
    return [name for (name,) in rows]


def claimed_by_the_next_scans(conn, *names, full=False):
    """Claims beside a steady supply of other work until all of these tasks were handed out."""
    wanted, scans = set(names), Scans(conn, QUEUE, full)
    while wanted:
        assert scans.so_far() <= SCANS, wanted
        spawn(conn, "other")
        wanted -= set(claim(conn))


def claim_and_hold(session, conn, name):
    """A session claims this task in a transaction that stays open. One that came to scan for all would keep others from
    it for as long, so it lets go and claims again."""
    spawn(conn, name)
    scans_for_all = "select from pg_locks where pid = %s and locktype = 'advisory'"
    for _ in range(TRIES):
        if claim(session) == [name] and not conn.execute(scans_for_all, (session.info.backend_pid,)).rowcount:
            return
        session.rollback()
    raise AssertionError(f"{name} was not handed out in {TRIES} claims")


def look(conn, looks):
    """Claims beside a steady supply of other work until so many scans were written down."""
    scans = Scans(conn, QUEUE)
    while scans.so_far() < looks:
        spawn(conn, "other")
        assert claim(conn) == ["other"]


def strays(conn):
    return conn.execute("select cardinality(late_runs) from absurd.queue_watermark where queue_name = %s", (QUEUE,)).fetchone()[0]


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


def test_a_late_commit_is_found_by_the_next_scan(littered, connect):
    late = connect(autocommit=False)
    spawn(late, "late")
    time.sleep(0.1)
    for _ in range(20):
        spawn(littered, "other")
        assert claim(littered) == ["other"]
    late.commit()
    claimed_by_the_next_scans(littered, "late")


def test_what_ends_after_several_looks_is_found_by_the_next_scan(littered, connect):
    taker, holder, late, prepared = (connect(autocommit=False) for _ in range(4))
    claim_and_hold(taker, littered, "tried")
    spawn(littered, "held")
    assert holder.execute(f"select from absurd.t_{QUEUE} where task_name = 'held' for update").rowcount == 1
    spawn(late, "late")
    spawn(prepared, "prepared")
    # Names of prepared transactions are the cluster's.
    name = str(uuid.uuid4())
    prepared.execute(f"prepare transaction '{name}'")
    prepared.autocommit = True
    try:
        look(littered, 4)
        prepared.execute(f"commit prepared '{name}'")
    except BaseException:
        prepared.execute(f"rollback prepared '{name}'")
        raise
    claimed_by_the_next_scans(littered, "prepared")
    for session, end, task in ((taker, "rollback", "tried"), (holder, "rollback", "held"), (late, "commit", "late")):
        session.execute(end)
        claimed_by_the_next_scans(littered, task)


def test_what_transactions_under_way_have_made_ready_is_remembered_until_they_end(near, connect):
    late, other = connect(autocommit=False), connect(autocommit=False)
    assert strays(near) == 0
    spawn(late, "late")
    claim_and_hold(other, near, "tried")
    look(near, 4)
    assert strays(near) == 2
    late.rollback()
    other.commit()
    look(near, 1)
    assert strays(near) == 0


def test_held_runs_are_not_in_the_way(near, connect):
    other = connect(autocommit=False)
    spawn(near, "held")
    assert other.execute(f"select from absurd.r_{QUEUE} where state = 'pending' for update").rowcount == 1
    look(near, 2)
    near.execute("call live(%s, %s)", (QUEUE, LIVES))
    look(near, 2)
    costs = []
    for _ in range(50):
        spawn(near, "other")
        costs.append(blocks_of_a_claim(near))
    assert sorted(costs)[len(costs) * 9 // 10] < BLOCKS, costs
    other.rollback()
    claimed_by_the_next_scans(near, "held")


def test_more_than_is_remembered_is_found_too(near, connect):
    many, late = 1500, connect(autocommit=False)
    late.execute("select absurd.spawn_task(%s, 'late', '{}') from generate_series(1, %s)", (QUEUE, many))
    look(near, 4)
    assert strays(near) == 1000
    late.commit()
    claimed, scans = 0, Scans(near, QUEUE)
    while claimed < many:
        assert scans.so_far() <= SCANS, claimed
        claimed += len(claim(near, 100))
    assert claimed == many


def spawn_old(session, name, weeks_ago):
    """Spawns a task as if some weeks ago, to be ready now."""
    then = "select set_config('absurd.fake_now', (now() - make_interval(weeks => %s))::text, false)"
    ready = "select absurd.spawn_task(%s, %s, '{}', jsonb_build_object('available_at', clock_timestamp()))"
    session.execute(then, (weeks_ago,))
    session.execute(ready, (QUEUE, name))
    session.execute("reset absurd.fake_now")


@pytest.mark.parametrize("weeks_ago", [3, 150], ids=["of another week", "of no week"])
def test_runs_of_other_weeks_are_found_by_the_next_scan(connect, weeks_ago):
    taker, holder, late = (connect(autocommit=False) for _ in range(3))
    with litter(connect, IN_WEEKS) as conn:
        spawn_old(conn, "tried", weeks_ago)
        spawn_old(conn, "held", weeks_ago)
        held = f"select tableoid::regclass::text from absurd.r_{QUEUE} where run_id = %s for update"
        run = f"select run_id from absurd.r_{QUEUE} join absurd.t_{QUEUE} using (task_id) where task_name = 'held'"
        table = holder.execute(held, conn.execute(run).fetchone()).fetchone()[0]
        assert table.endswith("_d") == (weeks_ago == 150)
        assert claim(taker) == ["tried"]
        spawn_old(late, "late", weeks_ago)
        late.execute("select absurd.spawn_task(%s, 'late too', '{}')", (QUEUE,))
        look(conn, 4)
        assert strays(conn) == 4
        for session, end, names in (
            (taker, "rollback", ["tried"]), (holder, "rollback", ["held"]), (late, "commit", ["late", "late too"])
        ):
            session.execute(end)
            claimed_by_the_next_scans(conn, *names)


def test_a_run_that_moves_to_its_week_meanwhile_is_found_by_the_next_scan(connect):
    late, mover, watch = connect(autocommit=False), connect(autocommit=False), connect()
    with litter(connect, IN_WEEKS) as conn:
        spawn_old(late, "moved", 20)
        look(conn, 4)
        late.commit()
        mover.execute("select absurd.set_queue_policy(%s, %s)", (QUEUE, '{"partition_lookback": "200 days"}'))
        mover.execute("select absurd.ensure_partitions(%s)", (QUEUE,))
        # The next claim looks, and has seen which partitions there are when it comes to wait for the default one.
        time.sleep(1)
        claimed = []
        claims = threading.Thread(target=lambda: claimed.extend(claim(conn)))
        claims.start()
        waits = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and query like '%claim_task%'"
        while watch.execute(waits).fetchone() == (0,):
            pass
        mover.commit()
        claims.join()
        if claimed != ["moved"]:
            claimed_by_the_next_scans(conn, "moved")


def test_strays_that_take_statements_are_tried_in_turn(connect):
    many, late, taker = 990, connect(autocommit=False), connect(autocommit=False)
    with litter(connect, IN_WEEKS) as conn:
        conn.execute("create function public.nothing() returns trigger language plpgsql as 'begin return null; end'")
        conn.execute(
            f"create trigger nothing after update on absurd.r_{QUEUE} for each statement execute function public.nothing()"
        )
        for _ in range(many):
            spawn(late, "late")
        claim_and_hold(taker, conn, "tried")
        look(conn, 4)
        assert strays(conn) == many + 1
        costs, scans = [], Scans(conn, QUEUE)
        while scans.so_far() < 3:
            spawn(conn, "other")
            before, cost = scans.count, blocks_of_a_claim(conn)
            # A claim that scans comes upon all of them.
            costs += [cost] * (scans.so_far() == before)
        # To try one takes a search of the index and of the run's row, three blocks at least.
        assert sorted(costs)[len(costs) * 9 // 10] < 3 * many, sorted(costs)[-10:]
        taker.rollback()
        late.commit()
        wanted = many + 1
        for _ in range(TRIES):
            spawn(conn, "other")
            wanted -= sum(name != "other" for name in claim(conn, 100))
            if not wanted:
                break
        assert not wanted
        conn.execute("drop function public.nothing() cascade")


def test_a_savepoint_that_is_rolled_back_gives_back_what_was_claimed_in_it(littered):
    spawn(littered, "tried")
    littered.execute("begin")
    for _ in range(3):
        littered.execute("savepoint before")
        assert claim(littered) == ["tried"]
        littered.execute("rollback to before")
    littered.execute("commit")
    assert claim(littered) == ["tried"]


def test_a_start_that_has_passed_is_found_by_the_next_scan(littered):
    look(littered, 3)
    wanted = set()
    for when in ("-1 day", "-1 hour", "-2 seconds"):
        littered.execute(
            "select absurd.spawn_task(%s, %s, '{}', jsonb_build_object('available_at', now() + %s::interval))",
            (QUEUE, f"{when}, alone", when),
        )
        littered.execute(
            """select absurd.spawn_tasks(%s, jsonb_build_array(
                   jsonb_build_object('task_name', 'in time'),
                   jsonb_build_object('task_name', %s::text,
                       'options', jsonb_build_object('priority', 3, 'available_at', now() + %s::interval))))""",
            (QUEUE, f"{when}, of two", when),
        )
        wanted |= {f"{when}, alone", f"{when}, of two"}
    claimed_by_the_next_scans(littered, *wanted)


def test_a_retry_that_has_passed_is_found_by_the_next_scan(littered):
    wanted = {"failed", "put off"}
    for name in wanted:
        spawn(littered, name)
    claimed = littered.execute("select task_name, run_id from absurd.claim_task(%s, 'worker', 600, 2)", (QUEUE,))
    runs = dict(claimed.fetchall())
    assert set(runs) == wanted
    look(littered, 3)
    littered.execute("select absurd.fail_run(%s, %s, '{}', now() - interval '1 hour')", (QUEUE, runs["failed"]))
    littered.execute("select absurd.schedule_run(%s, %s, now() - interval '1 hour')", (QUEUE, runs["put off"]))
    claimed_by_the_next_scans(littered, *wanted)


def test_a_call_that_had_to_wait_is_found_by_the_next_scan(littered, connect):
    other, waiting = connect(autocommit=False), connect()
    spawn(littered, "again")
    run, name = littered.execute(
        "select run_id, task_name from absurd.claim_task(%s, 'worker', 600, 1)", (QUEUE,)
    ).fetchone()
    assert name == "again"
    assert other.execute(f"select from absurd.t_{QUEUE} where task_name = 'again' for update").rowcount == 1
    fails = threading.Thread(
        target=waiting.execute, args=("select absurd.fail_run(%s, %s, '{}')", (QUEUE, run))
    )
    fails.start()
    look(littered, 4)
    other.rollback()
    fails.join()
    claimed_by_the_next_scans(littered, "again")


def test_instants_are_noted_only_where_they_matter(near, connect):
    conn = connect()
    conn.execute("select absurd.create_queue('tidy')")
    past = '{"available_at": "2020-02-02"}'
    conn.execute("select absurd.spawn_task('tidy', 'task', '{}', %s)", (past,))
    spawn(conn, "task")
    noted = "select queue_name, available_at::date::text from absurd.queue_late"
    assert conn.execute(noted).fetchall() == []
    spawn(conn, "task", past)
    assert conn.execute(noted).fetchall() == [(QUEUE, "2020-02-02")]
    scans = Scans(near, QUEUE)
    while conn.execute(noted).fetchall():
        assert scans.so_far() <= SCANS
        claim(near)
    conn.execute("select absurd.drop_queue('tidy')")


def test_notes_go_with_their_queue(connect):
    with litter(connect, "looks at everything") as conn:
        spawn(conn, "task", '{"available_at": "2020-02-02"}')
        noted = "select count(*) from absurd.queue_late"
        assert conn.execute(noted).fetchone() == (1,)
        conn.execute("select absurd.drop_queue(%s)", (QUEUE,))
        assert conn.execute(noted).fetchone() == (0,)
        conn.execute("select absurd.create_queue(%s)", (QUEUE,))


def test_an_instant_of_long_ago_is_found_by_a_look_at_everything(connect):
    with litter(connect, "looks at everything") as conn:
        spawn(conn, "old")
        spawn(conn, "new")
        conn.execute(
            f"""update absurd.r_{QUEUE} r set available_at = '2020-02-02'
                  from absurd.t_{QUEUE} t where t.task_id = r.task_id and t.task_name = 'old'"""
        )
        # Unless a full scan is due just now.
        first = claim(conn)
        assert first in (["new"], ["old"])
        if first == ["new"]:
            claimed_by_the_next_scans(conn, "old", full=True)


def test_what_another_look_has_found_is_not_lost(near):
    look(near, 1)
    spawn(near, "old")
    near.execute(
        f"""update absurd.r_{QUEUE} r set available_at = '2020-02-02'
              from absurd.t_{QUEUE} t where t.task_id = r.task_id and t.task_name = 'old'"""
    )
    # Written down now by a session that began to look before this one last did.
    near.execute(
        f"""update absurd.queue_watermark f
               set scanned_at = scanned_at - interval '10 ms', late_priorities = '{{0}}',
                   late_due_times = array[r.available_at], late_runs = array[r.run_id]
              from absurd.r_{QUEUE} r
             where f.queue_name = %s and r.available_at = '2020-02-02'""",
        (QUEUE,),
    )
    claimed_by_the_next_scans(near, "old")


def test_a_cancellation_rule_is_carried_out_by_the_next_scan(littered):
    spawn(littered, "left", '{"cancellation": {"max_delay": 1}, "available_at": "2099-01-01"}')
    # Its second has passed by then.
    time.sleep(1)
    state, scans = f"select state from absurd.t_{QUEUE} where task_name = 'left'", Scans(littered, QUEUE)
    while littered.execute(state).fetchone() != ("cancelled",):
        assert scans.so_far() <= SCANS
        spawn(littered, "other")
        assert claim(littered) == ["other"]


def test_a_rolled_back_claim_is_found_by_the_next_scan(littered, connect):
    other = connect(autocommit=False)
    claim_and_hold(other, littered, "tried")
    time.sleep(0.1)
    for _ in range(20):
        spawn(littered, "other")
        assert claim(littered) == ["other"]
    other.rollback()
    claimed_by_the_next_scans(littered, "tried")


def test_a_higher_priority_is_found_by_the_next_scan(littered):
    for _ in range(2000):
        spawn(littered, "other")
    assert claim(littered) == ["other"]
    spawn(littered, "urgent", '{"priority": 7}')
    scans = Scans(littered, QUEUE)
    while claim(littered) != ["urgent"]:
        assert scans.so_far() <= SCANS


def test_an_ended_lease_is_found_by_the_next_scan(littered):
    spawn(littered, "left", '{"max_attempts": 2}')
    assert claim(littered, timeout=1) == ["left"]
    time.sleep(1)
    claimed_by_the_next_scans(littered, "left")


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
    claimed_by_the_next_scans(littered, "late")
    other.rollback()
    claimed_by_the_next_scans(littered, "first")


def test_no_claim_loses_a_run(littered, connect):
    workers = [connect() for _ in range(4)]
    wanted = {f"task {n}" for n in range(200)}
    got = []
    for n, name in enumerate(sorted(wanted)):
        spawn(littered, name)
        got += claim(workers[n % 4])
    scans = Scans(littered, QUEUE)
    while len(got) < len(wanted):
        assert scans.so_far() <= SCANS
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
        look = "select full_scan_blocks < %s from absurd.queue_watermark where queue_name = 'tidy'"
        assert conn.execute(look, (BLOCKS,)).fetchone() == (False,)
    conn.execute("vacuum absurd.r_tidy")
    time.sleep(1)
    conn.execute("select absurd.claim_task('tidy', 'worker', 600, 1)")
    assert conn.execute(look, (BLOCKS,)).fetchone() == (True,)
    conn.execute("select absurd.drop_queue('tidy')")
    assert conn.execute(look, (BLOCKS,)).fetchone() is None
