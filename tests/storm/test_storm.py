"""A storm: workers, producers, documents, DDL, locks, cancels, terminated and killed backends, all at once for
ABSURD_STORM_SECONDS; afterwards nothing is lost, nothing was done twice, and the tables and indexes are whole.

ABSURD_STORM_SEED makes the same choices again; what the sessions make of them is up to the scheduler."""

import os
import random
import signal
import subprocess
import threading
import time
import uuid
import warnings
from pathlib import Path

import psycopg
import pytest

ROOT = Path(__file__).parents[2]
SECONDS = float(os.environ.get("ABSURD_STORM_SECONDS", "10"))
SEED = int(os.environ.get("ABSURD_STORM_SEED", uuid.uuid4().int % 1_000_000))
QUEUES = ("plain", "weekly")
# What a storm makes of calls: cancels, ends of backends, locks, states that others have changed, tables that DDL is at.
EXPECTED = {"57014", "57P01", "57P02", "57P03", "08006", "08003", "55P03", "40P01", "40001", "AB001", "AB002", "55000", "P0002",
            "25P02", "23505"}
# Only what alters tables meets its own leftovers.
OF_DDL = {"42P07", "42701", "42710"}
FLOW = """{"name": "storm", "tasks": {
    "a": {"task_id": "a", "operator_type": "task", "function": "f", "retry_policy": {"max_retries": 5, "delay": 0}},
    "each": {"task_id": "each", "operator_type": "foreach", "items": "[1, 2, 3]", "parallel": true, "dependencies": ["a"],
        "loop_body": [{"task_id": "body", "operator_type": "task", "function": "f", "retry_policy": {"max_retries": 5, "delay": 0}}]},
    "e": {"task_id": "e", "operator_type": "wait_for_event", "event_name": "storm_{{n}}", "timeout_seconds": 2},
    "w": {"task_id": "w", "operator_type": "wait", "wait_for": "1"},
    "j": {"task_id": "j", "operator_type": "join", "join_tasks": ["e", "w"], "join_mode": "all_of", "timeout_policy": {"timeout": 5}},
    "last": {"task_id": "last", "operator_type": "task", "function": "f", "dependencies": ["each", "j"]}}}"""


class Storm:
    def __init__(self, dsn, seconds):
        self.dsn, self.until = dsn, time.monotonic() + seconds
        self.unexpected, self.counts = [], {}
        self.pids = set()

    def connect(self):
        while True:
            try:
                conn = psycopg.connect(self.dsn, autocommit=True)
                self.pids.add(conn.info.backend_pid)
                return conn
            except psycopg.OperationalError:
                # The server recovers from a killed backend.
                time.sleep(0.05)

    def actor(self, name, step, seed):
        """Calls `step` until the storm is over, with a new session whenever the last is gone."""
        choose, conn = random.Random(seed), self.connect()
        while time.monotonic() < self.until:
            try:
                step(choose, conn)
                self.counts[name] = self.counts.get(name, 0) + 1
            except psycopg.Error as error:
                code = error.sqlstate or "08006"
                if code not in EXPECTED and not (name == "ddl" and code in OF_DDL):
                    self.unexpected.append(f"{name}: {code} {error}")
            if conn.closed or conn.broken:
                self.pids.discard(conn.info.backend_pid if not conn.closed else None)
                conn = self.connect()
        conn.close()


# What the server has acknowledged, as its clients know it: workflow runs and, by queue, tasks. Those of queue plain are
# cleaned up meanwhile.
ACKNOWLEDGED = {"runs": [], **{queue: [] for queue in QUEUES}}


def spawn(conn, queue, options):
    """Without a transaction around it, so that an answer is an acknowledged commit."""
    spawned = conn.execute("select task_id from absurd.spawn_task(%s, 'f', '{}', %s)", (queue, psycopg.types.json.Jsonb(options)))
    ACKNOWLEDGED[queue].append(spawned.fetchone()[0])


def produce(choose, conn):
    queue, n = choose.choice(QUEUES), choose.randrange(200)
    match choose.randrange(6):
        case 0:
            started = conn.execute(
                "select absurd.start_workflow('storm', p_inputs => %s, p_queue_name => %s)", (f'{{"n": {n}}}', queue)
            )
            ACKNOWLEDGED["runs"].append(started.fetchone()[0])
        case 1:
            conn.execute("select absurd.emit_event(%s, %s, '1')", (queue, f"storm_{n}"))
        case 2:
            spawn(conn, queue, {"idempotency_key": f"key {n}"})
        case 3:
            found = conn.execute(f"select task_id from absurd.t_{queue} where state = 'pending' limit 1").fetchone()
            if found and choose.random() < 0.2:
                conn.execute("select absurd.cancel_task(%s, %s)", (queue, found[0]))
        case _:
            spawn(conn, queue, {"priority": choose.randrange(3), "max_attempts": choose.choice([1, 3])})
    time.sleep(0.004)


def work(choose, conn, lease=2):
    queue = choose.choice(QUEUES)
    runs = conn.execute("select run_id, task_id from absurd.claim_task(%s, 'w', %s, %s)", (queue, lease, choose.choice([1, 1, 5]))).fetchall()
    for run, task in runs:
        what = choose.random() if lease == 2 else 1
        if what < 0.05:
            continue
        if what < 0.1:
            conn.execute("select absurd.await_event(%s, %s, %s, 's', %s, 1)", (queue, task, run, f"storm_{choose.randrange(200)}"))
        elif what < 0.2:
            conn.execute("select absurd.fail_run(%s, %s, '{\"name\": \"Storm\"}')", (queue, run))
        else:
            # What a worker does in the transaction that completes its run is done once.
            with conn.transaction():
                conn.execute("insert into public.ledger values (%s, %s)", (task, run))
                conn.execute("select absurd.complete_run(%s, %s, '1')", (queue, run))
                done = conn.execute(f"select state = 'completed' from absurd.r_{queue} where run_id = %s", (run,)).fetchone()
                if done != (True,):
                    # It came too late, which is no error.
                    raise psycopg.Rollback()
    if not runs:
        time.sleep(0.01)


def by_hand(choose, conn):
    """What older clients do without a function: they sleep for an event, emit it and write checkpoints by DML."""
    queue, event = choose.choice(QUEUES), f"hand_{choose.randrange(50)}"
    tables = {letter: f"absurd.{letter}_{queue}" for letter in "trcwe"}
    if choose.random() < 0.5:
        for run, task in conn.execute("select run_id, task_id from absurd.claim_task(%s, 'hand', 30, 1)", (queue,)).fetchall():
            with conn.transaction():
                held = conn.execute(f"select state from {tables['r']} where run_id = %s for update", (run,)).fetchone()
                if held != ("running",):
                    continue
                conn.execute(f"""insert into {tables['c']} (task_id, checkpoint_name, state, status, owner_run_id, updated_at)
                                 values (%s, 'hand', '1', 'committed', %s, now()) on conflict (task_id, checkpoint_name) do nothing""", (task, run))
                conn.execute(f"""insert into {tables['w']} (task_id, run_id, step_name, event_name, timeout_at)
                                 values (%s, %s, 'hand', %s, now() + interval '1 s')""", (task, run, event))
                conn.execute(f"""update {tables['r']} r set state = 'sleeping', wake_event = %s,
                                 available_at = (select w.timeout_at from {tables['w']} w where w.run_id = r.run_id limit 1) where r.run_id = %s""",
                             (event, run))
    else:
        with conn.transaction():
            conn.execute(f"insert into {tables['e']} (event_name, payload, emitted_at) values (%s, '1', now()) on conflict do nothing", (event,))
            for (run,) in conn.execute(f"select run_id from {tables['w']} where event_name = %s", (event,)).fetchall():
                conn.execute(f"""update {tables['r']} set state = 'pending', available_at = now(), wake_event = %s, event_payload = '1'
                                  where run_id = %s and state = 'sleeping'""", (event, run))
            conn.execute(f"delete from {tables['w']} where event_name = %s", (event,))
        if choose.random() < 0.3:
            conn.execute(f"delete from {tables['e']} where event_name = %s", (event,))
    time.sleep(0.01)


def shape(choose, conn):
    queue = choose.choice(QUEUES)
    conn.execute("set lock_timeout = '200ms'")
    for statement in choose.choice([
        ("create index concurrently if not exists extra on absurd.r_plain (task_id, created_at)", "drop index concurrently if exists absurd.extra"),
        ("vacuum full absurd.t_plain",), ("vacuum (analyze) absurd.r_plain",), ("reindex table absurd.r_plain",),
        (f"alter table absurd.t_{queue} add column if not exists extra text default 'x'", f"alter table absurd.t_{queue} drop column if exists extra"),
        (f"create or replace trigger quiet before update on absurd.t_{queue} for each row execute function public.quiet()",
         f"drop trigger if exists quiet on absurd.t_{queue}"),
        (f"create policy everything on absurd.t_{queue} using (true)", f"alter table absurd.t_{queue} enable row level security",
         f"drop policy everything on absurd.t_{queue}", f"alter table absurd.t_{queue} disable row level security"),
        (f"alter table absurd.t_{queue} alter task_name type varchar", f"alter table absurd.t_{queue} alter task_name type text"),
        (f"alter table absurd.t_{queue} add column if not exists other integer", f"alter table absurd.t_{queue} alter other type bigint",
         f"alter table absurd.t_{queue} drop column other"),
        (f"alter table absurd.t_{queue} enable row level security", f"alter table absurd.t_{queue} disable row level security"),
        ("select absurd.cleanup_tasks('plain', 1, 50)", "select absurd.ensure_partitions()", "select absurd.advance_timers()"),
    ]):
        conn.execute(statement)
    time.sleep(choose.random() / 5)


def hold(choose, conn):
    """A client that locks rows and takes its time."""
    with conn.transaction():
        conn.execute(f"select from absurd.{choose.choice('tr')}_plain order by random() limit 3 for update skip locked")
        time.sleep(choose.random() / 20)


def disturb(storm):
    def step(choose, conn):
        pid = choose.choice(sorted(storm.pids))
        call = choose.choice(["pg_cancel_backend", "pg_cancel_backend", "pg_terminate_backend"])
        if pid != conn.info.backend_pid:
            conn.execute(f"select {call}(%s) from pg_stat_activity where pid = %s and backend_type = 'client backend'", (pid, pid))
        time.sleep(choose.random() / 5)
    return step


@pytest.fixture
def server():
    name = f"storm-{os.getpid()}"
    socket = subprocess.run([ROOT / ".ci/server", "start", name, "-c fsync=off -c log_min_messages=panic"], check=True,
                            stdout=subprocess.PIPE, text=True, cwd=ROOT).stdout.strip()
    yield name, f"host={socket} port=54329 user=postgres dbname=postgres"
    subprocess.run([ROOT / ".ci/server", "stop", name], check=True, cwd=ROOT)


def kill(conn, name, postmaster):
    """The server dies, or a backend, which takes every session with it: it recovers from its log."""
    if postmaster:
        folder = conn.execute("select current_setting('data_directory')").fetchone()[0]
        pid = int(conn.execute("select pg_read_file(%s)", (f"{folder}/postmaster.pid",)).fetchone()[0].split()[0])
        os.kill(pid, signal.SIGKILL)
        subprocess.run([ROOT / ".ci/server", "again", name], check=True, cwd=ROOT)
        return
    found = conn.execute("select pid from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid() limit 1").fetchone()
    if found:
        os.kill(found[0], signal.SIGKILL)


def drain(storm):
    """Works off what is left, as a calm worker does."""
    conn, choose = storm.connect(), random.Random(0)
    for queue in QUEUES:
        conn.execute(f"drop trigger if exists quiet on absurd.t_{queue}; drop policy if exists everything on absurd.t_{queue}")
    deadline = time.monotonic() + 120
    left = """select (select count(*) from absurd.t_plain where state in ('pending', 'running', 'sleeping'))
                   + (select count(*) from absurd.t_weekly where state in ('pending', 'running', 'sleeping'))
                   + (select count(*) from absurd.workflow_execution where status in ('pending', 'running'))"""
    while conn.execute(left).fetchone() != (0,):
        assert time.monotonic() < deadline, conn.execute("select * from absurd.stuck_work").fetchall()
        try:
            work(choose, conn, lease=60)
            conn.execute("select absurd.advance_timers()")
        except psycopg.Error as error:
            assert error.sqlstate in {"AB001", "AB002", "55000", "23505"}, error
    return conn


def test_nothing_is_lost_and_nothing_is_done_twice(server):
    print(f"ABSURD_STORM_SEED={SEED}")
    name, dsn = server
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("create extension absurd")
        conn.execute("select absurd.create_queue('plain'), absurd.create_queue('weekly', 'partitioned')")
        conn.execute("select absurd.register_workflow(%s, 'plain')", (FLOW,))
        conn.execute("create table public.ledger (task_id uuid, run_id uuid primary key)")
        conn.execute("create function public.quiet() returns trigger language plpgsql as 'begin return new; end'")
    storm = Storm(dsn, SECONDS)
    actors = [("producer", produce)] * 2 + [("worker", work)] * 3 + [("by hand", by_hand), ("ddl", shape), ("holder", hold), ("disturber", disturb(storm))]
    threads = [threading.Thread(target=storm.actor, args=(name, step, SEED * 100 + n)) for n, (name, step) in enumerate(actors)]
    for thread in threads:
        thread.start()
    choose, kills = random.Random(SEED), 0
    while time.monotonic() + 5 < storm.until:
        time.sleep(min(choose.uniform(5, 15), max(storm.until - time.monotonic() - 4, 0.1)))
        with storm.connect() as conn:
            kill(conn, name, postmaster=kills % 3 == 2)
        kills += 1
    for thread in threads:
        thread.join()
    print(storm.counts)
    assert not storm.unexpected, storm.unexpected[:5]
    assert all(storm.counts.get(name) for name in ("producer", "worker", "by hand", "ddl", "holder", "disturber"))

    conn = drain(storm)
    assert conn.execute("select * from absurd.verify()").fetchall() == []
    for queue in QUEUES:
        twice = f"""select t.task_id, t.state, count(l.*) from absurd.t_{queue} t left join public.ledger l using (task_id)
                     group by t.task_id, t.state having count(l.*) <> case when t.state = 'completed' then 1 else 0 end"""
        assert conn.execute(twice).fetchall() == []
    lost = "select id from unnest(%s::uuid[]) id where not exists (select from absurd.{0} where {1} = id)"
    for kind in ("runs", "weekly"):
        ids = ACKNOWLEDGED[kind]
        where = ("workflow_run", "workflow_run_id") if kind == "runs" else (f"t_{kind}", "task_id")
        assert ids and conn.execute(lost.format(*where), (ids,)).fetchall() == []
    keyed = "select idempotency_key from absurd.t_plain where idempotency_key is not null group by 1 having count(*) > 1"
    assert conn.execute(keyed).fetchall() == []
    if conn.execute("select from pg_available_extensions where name = 'amcheck'").fetchone() is None:
        warnings.warn("skipped: what amcheck says of tables and indexes, which this Postgres comes without")
        return
    conn.execute("create extension amcheck")
    conn.execute("""select bt_index_check(c.oid, true) from pg_class c join pg_index i on i.indexrelid = c.oid join pg_am a on a.oid = c.relam
                     where c.relnamespace = 'absurd'::regnamespace and c.relkind = 'i' and a.amname = 'btree' and i.indisvalid""")
    broken = """select c.relname, v.* from pg_class c, lateral verify_heapam(c.oid) v
                 where c.relnamespace = 'absurd'::regnamespace and c.relkind in ('r', 't') and c.relpersistence = 'p'"""
    assert conn.execute(broken).fetchall() == []
