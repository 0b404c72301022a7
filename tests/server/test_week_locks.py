"""Claims of a queue of a year's weeks lock the week that they take from, and miss no run in another."""

import threading

import pytest

QUEUE = "year"
# Of one week, and of the engine's own.
OF_A_WEEK = 24
OWN = 24


@pytest.fixture(params=["directly", "by statements"])
def open_session(connect, request):
    def open_one(**arguments):
        session = connect(**arguments)
        session.execute("select set_config('absurd.direct', %s, false)", ("on" if request.param == "directly" else "off",))
        return session

    return open_one


@pytest.fixture
def year(open_session, connect, conn):
    conn.execute("select absurd.create_queue(%s, 'partitioned')", (QUEUE,))
    conn.execute("select absurd.set_queue_policy(%s, %s)", (QUEUE, '{"partition_lookahead": "364 days"}'))
    conn.execute("select absurd.ensure_partitions(%s)", (QUEUE,))
    yield open_session()
    for session in connect.all:
        session.rollback()
    conn.execute("select absurd.drop_queue(%s)", (QUEUE,))


def spawn(conn, name, weeks=0, options="{}"):
    """Spawns a task, as if some weeks from now, that is ready at once."""
    if weeks:
        conn.execute("select set_config('absurd.fake_now', (clock_timestamp() + make_interval(weeks => %s))::text, false)", (weeks,))
        options = '{"available_at": "2020-01-01"}'
    conn.execute("select absurd.spawn_task(%s, %s, '{}', %s)", (QUEUE, name, options))
    conn.execute("select set_config('absurd.fake_now', '', false)")


def claim(conn, quantity=1):
    rows = conn.execute("select task_name from absurd.claim_task(%s, 'worker', 600, %s)", (QUEUE, quantity))
    return [name for (name,) in rows]


def locked(conn):
    """The relations that the session has locked: the queue's, and all."""
    return conn.execute(
        """select count(distinct relation) filter (where relation::regclass::text ~ %s), count(distinct relation)
             from pg_locks where pid = pg_backend_pid()""",
        (QUEUE,),
    ).fetchone()


def claim_side_by_side(open_session, conn, tasks, workers):
    """Each worker's claim stays open, and has locked one week; no task is missed."""
    names = [f"task {n}" for n in range(tasks)]
    for name in names:
        spawn(conn, name)
    claimed = []
    for _ in range(workers):
        worker = open_session(autocommit=False)
        claimed += claim(worker)
        of_queue, all_of_them = locked(worker)
        assert of_queue <= OF_A_WEEK
        assert all_of_them <= OF_A_WEEK + OWN
    assert claimed == names


def test_sixty_claims_side_by_side(year, open_session):
    claim_side_by_side(open_session, year, tasks=40, workers=60)


def test_a_queue_of_few_weeks(open_session, connect, conn):
    """As the default policy makes it."""
    conn.execute("select absurd.create_queue(%s, 'partitioned')", (QUEUE,))
    conn.execute("select absurd.ensure_partitions(%s)", (QUEUE,))
    claim_side_by_side(open_session, conn, tasks=4, workers=6)
    for session in connect.all:
        session.rollback()
    conn.execute("select absurd.drop_queue(%s)", (QUEUE,))


def test_an_empty_queue_is_looked_at_without_a_trace(year, open_session):
    for _ in range(3):
        worker = open_session(autocommit=False)
        assert claim(worker) == []
        assert locked(worker)[0] <= OF_A_WEEK


def test_runs_of_other_weeks_are_found_while_others_are_under_way(year, open_session):
    holder = open_session(autocommit=False)
    assert claim(holder) == []
    for weeks in (3, 7, 5):
        spawn(year, f"of week {weeks}", weeks)
    spawn(year, "of this week")
    fresh = open_session()
    assert sorted(claim(fresh, 4)) == ["of this week", "of week 3", "of week 5", "of week 7"]


def test_higher_priorities_come_first(year):
    for n in range(3):
        spawn(year, f"low {n}")
        spawn(year, f"high {n}", options='{"priority": 5}')
    assert claim(year, 4) == ["high 0", "high 1", "high 2", "low 0"]


def test_who_cannot_look_takes_from_this_week(year, open_session, conn):
    """A look is under way for as long as the test keeps one of the weeks from it."""
    spawn(year, "of week 3", 3)
    for n in range(2):
        spawn(year, f"low {n}")
    spawn(year, "high", options='{"priority": 8}')
    holder = open_session(autocommit=False)
    tag = holder.execute("select absurd.partition_week_tag(now() + interval '10 weeks')").fetchone()[0]
    holder.execute(f"lock table absurd.r_{QUEUE}_{tag} in access exclusive mode")
    looker = open_session()
    found = []
    looking = threading.Thread(target=lambda: found.extend(claim(looker)))
    looking.start()
    waits = "select count(*) from pg_locks where not granted and pid = %s"
    while conn.execute(waits, (looker.info.backend_pid,)).fetchone() == (0,):
        assert looking.is_alive()
    fresh = open_session()
    assert claim(fresh, 2) == ["high", "low 0"]
    assert claim(fresh, 2) == ["low 1"]
    assert claim(fresh) == []
    holder.rollback()
    looking.join()
    assert found == ["of week 3"]
    assert claim(fresh) == []
