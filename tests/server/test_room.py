"""Pages for new row versions: whoever fills pages has the next one in hand before it is needed, so that
nobody waits for whoever makes a table longer just then; and tables are no longer for it."""

import random
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

# Enough for some pages of each table.
MANY = 150
TABLES = {"t": "task_id", "r": "run_id"}


@pytest.fixture
def queue(conn):
    name = f"room_{conn.execute('select count(*) from absurd.queues').fetchone()[0]}"
    conn.execute("select absurd.create_queue(%s)", (name,))
    for table in TABLES:
        # A vacuum makes room of its own, when it comes.
        conn.execute(f"alter table absurd.{table}_{name} set (autovacuum_enabled = off)")
    return name


def spawn(worker, queue, params="{}"):
    statement = "select task_id, run_id from absurd.spawn_task(%s, 'task', %s)"
    return worker.execute(statement, (queue, params)).fetchone()


def claim(worker, queue):
    statement = "select task_id, run_id from absurd.claim_task(%s, 'worker', 600, 1)"
    return worker.execute(statement, (queue,)).fetchone()


def page_of(conn, name, ids):
    table = name[0]
    statement = f"select (ctid::text::point)[0]::int from absurd.{name} where {TABLES[table]} = %s"
    return conn.execute(statement, (ids[list(TABLES).index(table)],)).fetchone()[0]


def pages(conn, name, schema="absurd"):
    size = "select pg_relation_size(%s::regclass)::int / current_setting('block_size')::int"
    return conn.execute(size, (f"{schema}.{name}",)).fetchone()[0]


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("verb", [spawn, claim])
def test_the_next_page_is_there_before_it_is_needed(conn, connect, queue, verb, table):
    name = f"{table}_{queue}"
    if verb is claim:
        for _ in range(4 * MANY):
            spawn(conn, queue)
        # Somebody sees the runs as they are, so that no room is made where they lie.
        holder = connect(autocommit=False)
        holder.execute("set transaction isolation level repeatable read")
        holder.execute("select 1")
    workers = [connect(), connect()]
    # Where rows were put, and the pages that each worker came to beside them.
    seen, came = set(), {worker: [] for worker in workers}
    if verb is claim:
        seen.update(range(pages(conn, name)))
    for _ in range(2 * MANY):
        for worker in workers:
            before = pages(conn, name)
            page = page_of(conn, name, verb(worker, queue))
            if page not in seen:
                seen.add(page)
                came[worker].append((page, before))
    for found in came.values():
        # With the first page that it fills, a worker is found to be one who does.
        assert len(found) > 2
        assert [page for page, before in found[2:] if page >= before] == []


def test_pages_are_filled(conn, connect, queue):
    workers = [connect() for _ in range(4)]
    with ThreadPoolExecutor(len(workers)) as pool:
        list(pool.map(lambda worker: [spawn(worker, queue) for _ in range(2 * MANY)], workers))
    for table in TABLES:
        name = f"{table}_{queue}"
        assert conn.execute(f"select count(*) from absurd.{name}").fetchone()[0] == 2 * MANY * len(workers)
        # As many as one session alone fills, one that each has begun and one that each has in hand. Who waits
        # all the same makes the table longer by twenty for each who waits with it, as Postgres does.
        conn.execute(f"create table public.{name} (like absurd.{name}) with (fillfactor = 70)")
        conn.execute(f"insert into public.{name} select * from absurd.{name}")
        least = pages(conn, name, "public")
        assert least > 10
        assert least <= pages(conn, name) <= least + 2 * len(workers) + 20 * (len(workers) - 1)


def test_who_only_comes_by_takes_no_page(connect, queue):
    for _ in range(20):
        worker = connect()
        spawn(worker, queue)
        spawn(worker, queue)
        worker.close()
    conn = connect()
    assert all(pages(conn, f"{table}_{queue}") <= 2 for table in TABLES)


def empty(conn, name, how="(verbose, truncate off)"):
    """Removes all rows of a table, and vacuums until nobody sees any of them."""
    conn.execute(f"delete from absurd.{name}")
    said = []
    conn.add_notice_handler(lambda notice: said.append(notice.message_primary + (notice.message_detail or "")))
    until = time.monotonic() + 60
    while not any(name in text and " 0 are dead but not yet removable" in text for text in said):
        assert time.monotonic() < until, said
        said.clear()
        conn.execute(f"vacuum {how} absurd.{name}")


def test_freed_room_is_used_again(conn, connect, queue):
    worker = connect()
    names = [f"{table}_{queue}" for table in TABLES]
    for _ in range(8 * MANY):
        spawn(worker, queue)
    for name in names:
        empty(conn, name)
    before = [pages(conn, name) for name in names]
    # Each fills some pages, and ends with one in hand.
    for _ in range(6):
        other = connect()
        for _ in range(MANY - 10):
            spawn(other, queue)
        other.close()
    assert [pages(conn, name) for name in names] == before
    for name in names:
        empty(conn, name)
    for _ in range(8 * MANY):
        spawn(worker, queue)
    # All that anybody had in hand is there again, but for a page that is not filled to the end.
    assert all(0 <= pages(conn, name) - old <= 1 for name, old in zip(names, before))


@pytest.mark.parametrize("table", TABLES)
def test_a_page_in_hand_comes_back(conn, connect, queue, table):
    name = f"{table}_{queue}"
    conn.execute("create extension if not exists pg_freespacemap")
    worker, used, rows = connect(), set(), 0
    # Until it has a page in hand, and then it is gone.
    while pages(conn, name) == len(used):
        used.add(page_of(conn, name, spawn(worker, queue)))
        rows += 1
        assert rows < 4 * MANY
    worker.close()
    assert used == set(range(pages(conn, name) - 1))
    free = "select blkno::int from pg_freespace(%s::regclass) where avail > 8000"
    for _ in range(2):
        conn.execute(f"vacuum (truncate off) absurd.{name}")
        # It is offered to anybody.
        assert conn.execute(free, (f"absurd.{name}",)).fetchall() == [(len(used),)]


@pytest.mark.parametrize(
    "how",
    [
        None,
        "truncate absurd.{name}",
        "vacuum full absurd.{name}",
        "alter table absurd.{name} set (fillfactor = 10)",
        "alter table absurd.{name} reset (fillfactor)",
    ],
    ids=["shorter", "emptied", "written anew", "little in a page", "much in a page"],
)
def test_what_becomes_of_the_table_is_minded(conn, connect, queue, how):
    worker = connect()
    for _ in range(MANY):
        spawn(worker, queue)
    for table in TABLES:
        name = f"{table}_{queue}"
        if how is None:
            empty(conn, name, "(verbose)")
            assert pages(conn, name) == 0
        else:
            conn.execute(how.format(name=name))
    spawned = [spawn(worker, queue)[1] for _ in range(2 * MANY)]
    claimed = {claim(worker, queue)[1] for _ in range(2 * MANY)}
    there = {row for (row,) in conn.execute(f"select run_id from absurd.r_{queue}")}
    assert set(spawned) <= there and claimed <= there and len(claimed) == 2 * MANY


def test_rows_too_long_for_a_page(conn, connect, queue):
    worker = connect()
    noise = random.Random(4)
    for size in [10, 1500, 2500, 20_000] * 20:
        text = "".join(noise.choice("abcdefghijklmnopqrstuvwxyz0123456789") for _ in range(size))
        spawn(worker, queue, f'{{"text": "{text}"}}')
    statement = f"select length(params->>'text') from absurd.t_{queue} order by task_id"
    assert [size for (size,) in conn.execute(statement)] == [10, 1500, 2500, 20_000] * 20
