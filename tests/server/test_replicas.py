"""Replicas by logical replication, ids of other queues, caches beside DDL, cancelled claims, and
partitions of strangers."""

import json
import os
import subprocess
import threading
import time
import uuid
from pathlib import Path

import psycopg
import pytest

SCRIPT = Path(__file__).parents[2] / ".ci" / "server"
NOW = "2026-03-04 05:06:07+00"


def value(conn, sql, *values):
    row = conn.execute(sql, values or None).fetchone()
    return row[0] if row else None


def outcome(conn, sql, values=None):
    """Rows of a statement, or its SQLSTATE; what fails leaves nothing."""
    try:
        with conn.transaction():
            return conn.execute(sql, values).fetchall()
    except psycopg.Error as error:
        return error.sqlstate


def until(condition, what):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, what


def in_background(call):
    """Runs a call in a thread; the returned function joins it and gives its result."""
    came = []
    thread = threading.Thread(target=lambda: came.append(call()))
    thread.start()

    def join():
        thread.join(60)
        assert not thread.is_alive()
        return came[0]

    join.is_over = lambda: not thread.is_alive()
    return join


def waits(conn, other):
    return value(conn, "select coalesce(wait_event_type = 'Lock' or wait_event = 'PgSleep', false)"
                       " from pg_stat_activity where pid = %s", other.info.backend_pid)


def contents(conn, queue, letters="trcew"):
    """Rows of a queue's tables, each with its place and the transaction that wrote it."""
    return {letter: conn.execute(
        f"select t.tableoid::regclass::text, t.ctid::text, t.xmin::text, t::text"
        f" from absurd.{letter}_{queue} t order by 4").fetchall() for letter in letters}


# Logical replication ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def logical():
    """A server of this module's own, whose log is decoded and whose workers start at once."""
    options = "-c wal_level=logical -c wal_retrieve_retry_interval=50ms"
    name = f"replicas-{os.getpid()}"
    started = subprocess.run([SCRIPT, "start", name, options], check=True,
                             stdout=subprocess.PIPE, text=True)
    try:
        yield f"host={started.stdout.strip()} port=54329 user=postgres"
    finally:
        subprocess.run([SCRIPT, "stop", name], check=True)


class Pair:
    """Publisher and subscriber in one cluster; one role owns extension, queues, subscription."""

    def __init__(self, server):
        tag = uuid.uuid4().hex[:8]
        self.server, self.owner, self.worker = server, f"owner_{tag}", f"worker_{tag}"
        self.names = {"publisher": f"publisher_{tag}", "subscriber": f"subscriber_{tag}"}
        self.slot, self.open = f"slot_{tag}", []
        self.admin = self.session(dbname="postgres")
        self.admin.execute(f"create role {self.owner} login superuser replication")
        self.admin.execute(f"create role {self.worker} login")
        for name in self.names.values():
            self.admin.execute(f"create database {name} owner {self.owner}")
        self.publisher = self.session("publisher")
        self.subscriber = self.session("subscriber")
        for conn in (self.publisher, self.subscriber):
            conn.execute("create extension absurd")
            conn.execute(f"grant usage on schema absurd to {self.worker}")

    def session(self, of=None, **arguments):
        if of:
            arguments = {"user": self.owner, "dbname": self.names[of], **arguments}
        self.open.append(psycopg.connect(self.server, autocommit=True, **arguments))
        return self.open[-1]

    def subscribe(self, tables):
        options = "publish_via_partition_root = true"
        self.publisher.execute(f"create publication work for table {tables} with ({options})")
        self.publisher.execute("select pg_create_logical_replication_slot(%s, 'pgoutput')",
                               (self.slot,))
        reach = f"{self.server} dbname={self.names['publisher']} user={self.owner}"
        more = ", password_required = false" if self.admin.info.server_version >= 160000 else ""
        self.subscriber.execute(f"create subscription work connection '{reach}' publication work"
                                f" with (create_slot = false, slot_name = '{self.slot}'{more})")
        until(lambda: value(self.subscriber, "select bool_and(srsubstate = 'r')"
                                             " from pg_subscription_rel"), "no first copy")

    def same(self, sql):
        """Waits until a query gives the same on both sides, and more than nothing."""
        def is_same():
            rows = self.publisher.execute(sql).fetchall()
            return rows and rows == self.subscriber.execute(sql).fetchall()
        until(is_same, f"not replicated: {sql}")

    def take_over(self):
        """The subscription ends; from now on the subscriber works."""
        self.subscriber.execute("alter subscription work disable")
        self.subscriber.execute("alter subscription work set (slot_name = none)")
        self.subscriber.execute("drop subscription work")

    def close(self):
        self.admin.execute(f"alter role {self.owner} superuser")
        if value(self.subscriber, "select count(*) from pg_subscription where subname = 'work'"
                                  " and subdbid = (select oid from pg_database"
                                  " where datname = current_database())"):
            self.take_over()
        for conn in self.open[1:]:
            conn.close()
        slots = "select count(*) from pg_replication_slots where slot_name = %s and active"
        until(lambda: value(self.admin, slots, self.slot) == 0, "the slot stays in use")
        self.admin.execute("select pg_drop_replication_slot(slot_name) from pg_replication_slots"
                           " where slot_name = %s", (self.slot,))
        for name in self.names.values():
            self.admin.execute(f"drop database {name} with (force)")
        self.admin.execute(f"drop role {self.owner}, {self.worker}")
        self.admin.close()


@pytest.fixture
def pair(logical):
    pair = Pair(logical)
    yield pair
    pair.close()


def rows_of(letter):
    return f"select t::text from absurd.{letter} t order by 1"


TABLES = ("t_q", "r_q", "c_q", "e_q", "w_q", "workflow_run")


def publish_life(conn, name):
    """A task in each state, with checkpoint, wait and event, and a workflow run; ids by state."""
    ids = {}
    for state in ("completed", "failed", "cancelled", "sleeping", "running", "pending"):
        options = {"max_attempts": 1, "priority": -1 if state == "pending" else 0}
        task, run = conn.execute(
            "select task_id, run_id from absurd.spawn_task('q', %s, '{}', %s)",
            (f"{name} {state}", json.dumps(options))).fetchone()
        ids[state] = {"task": task, "run": run}
        if state != "pending":
            claimed = value(conn, "select run_id from absurd.claim_task('q', 'first', 3600)")
            assert claimed == run
            conn.execute("select absurd.set_task_checkpoint_state('q', %s, 's', %s, %s)",
                         (task, json.dumps(state), run))
    conn.execute("select absurd.complete_run('q', %s, '1')", (ids["completed"]["run"],))
    conn.execute("select absurd.fail_run('q', %s, '2')", (ids["failed"]["run"],))
    conn.execute("select absurd.cancel_task('q', %s)", (ids["cancelled"]["task"],))
    conn.execute("select absurd.await_event('q', %(task)s, %(run)s, 'w', %(name)s)",
                 {**ids["sleeping"], "name": name})
    conn.execute("select absurd.emit_event('q', %s, '3')", (f"{name} emitted",))
    ids["workflow"] = value(conn, "select absurd.create_workflow_run('w', '1')")
    conn.execute("select absurd.update_workflow_run_status(%s, 'running')", (ids["workflow"],))
    return ids


@pytest.mark.parametrize("is_super", [True, False], ids=["superuser", "plain"])
@pytest.mark.parametrize("mode", ["unpartitioned", "partitioned"])
def test_a_subscriber_takes_over(pair, mode, is_super):
    publisher, subscriber = pair.publisher, pair.subscriber
    for conn in (publisher, subscriber):
        conn.execute("select absurd.create_queue('q', %s)", (mode,))
    assert value(subscriber, "select pg_get_userbyid(relowner) from pg_class"
                             " where oid = 'absurd.t_q'::regclass") == pair.owner
    # A user's triggers, by what they are marked with.
    subscriber.execute("""
        create table public.seen (name text, who text, is_super bool);
        create function public.note() returns trigger language plpgsql as $$ begin
            insert into public.seen select tg_name, current_user, rolsuper
              from pg_roles where rolname = current_user;
            return new; end $$;
        create trigger in_origin before insert on absurd.t_q for each row execute function note();
        create trigger in_replica before insert on absurd.t_q for each row execute function note();
        create trigger in_both before insert on absurd.t_q for each row execute function note();
        alter table absurd.t_q enable replica trigger in_replica, enable always trigger in_both""")
    warm = pair.session("subscriber")
    assert warm.execute("select * from absurd.claim_task('q', 'second')").fetchall() == []
    copied = publish_life(publisher, "copied")
    keys = ", absurd.i_q" if mode == "partitioned" else ""
    pair.subscribe("absurd.t_q, absurd.r_q, absurd.c_q, absurd.e_q, absurd.w_q,"
                   f" absurd.workflow_run{keys}")
    subscriber.execute("truncate public.seen")
    if not is_super:
        pair.admin.execute(f"alter role {pair.owner} nosuperuser")
    applied = publish_life(publisher, "applied")
    for table in TABLES:
        pair.same(rows_of(table))
    seen = subscriber.execute("select distinct name, who, is_super from public.seen order by 1")
    assert seen.fetchall() == [("in_both", pair.owner, is_super),
                               ("in_replica", pair.owner, is_super)]
    # The engine's own are marked for the origin: history is written where a status is changed.
    history = "select count(*) from absurd.workflow_transition"
    assert (value(publisher, history), value(subscriber, history)) == (2, 0)
    pair.take_over()
    for ids, name in ((copied, "copied"), (applied, "applied")):
        task, run = warm.execute(
            "select task_id, run_id from absurd.claim_task('q', 'second', 60)").fetchone()
        assert {"task": task, "run": run} == ids["pending"]
        for done in (run, ids["running"]["run"]):
            warm.execute("select absurd.complete_run('q', %s, '4')", (done,))
        state = "select state from absurd.get_task_checkpoint_state('q', %s, 's')"
        assert value(warm, state, ids["running"]["task"]) == "running"
        with pytest.raises(psycopg.Error) as refused:
            warm.execute("select absurd.complete_run('q', %s)", (ids["cancelled"]["run"],))
        assert refused.value.sqlstate == "AB001"
        warm.execute("select absurd.emit_event('q', %s, '5')", (name,))
        payload = "select run_id, event_payload from absurd.claim_task('q', 'second', 60)"
        assert warm.execute(payload).fetchall() == [(ids["sleeping"]["run"], 5)]
        attempt = warm.execute("select attempt, created from absurd.retry_task('q', %s)",
                               (ids["failed"]["task"],)).fetchone()
        assert attempt == (2, False)
        claimed = value(warm, "select task_id from absurd.claim_task('q', 'second', 60)")
        assert claimed == ids["failed"]["task"]
        # An event that was emitted there is one here, too.
        warm.execute("select absurd.emit_event('q', %s, '6')", (f"{name} emitted",))
        assert value(warm, "select payload from absurd.e_q where event_name = %s",
                     f"{name} emitted") == 3
        warm.execute("select absurd.update_workflow_run_status(%s, 'completed')",
                     (ids["workflow"],))
    assert value(warm, history) == 2
    assert value(warm, "select count(*) from absurd.t_q where state = 'completed'") == 6
    # And by another role's worker, in a queue of its access.
    warm.execute("select absurd.spawn_task('q', 'last', '{}')")
    warm.execute(f"select absurd.grant_access('{pair.worker}', 'worker', 'q')")
    other = pair.session("subscriber", user=pair.worker)
    last = value(other, "select run_id from absurd.claim_task('q', 'third', 60)")
    other.execute("select absurd.complete_run('q', %s)", (last,))
    seen = warm.execute("select distinct name, who from public.seen order by 1, 2").fetchall()
    assert seen == [("in_both", pair.owner), ("in_origin", pair.owner), ("in_replica", pair.owner)]


def test_the_engines_triggers_marked_always_serve_the_apply_worker(pair):
    publisher, subscriber = pair.publisher, pair.subscriber
    for conn in (publisher, subscriber):
        conn.execute("select absurd.create_queue('q')")
    subscriber.execute("""
        alter table absurd.workflow_run enable always trigger workflow_run_guard,
                                        enable always trigger workflow_run_record;
        alter table absurd.e_q enable always trigger event_emission""")
    pair.subscribe("absurd.e_q, absurd.workflow_run")
    pair.admin.execute(f"alter role {pair.owner} nosuperuser")
    run = value(publisher, "select absurd.create_workflow_run('w', '1')")
    for status in ("running", "completed"):
        publisher.execute("select absurd.update_workflow_run_status(%s, %s)", (run, status))
        publisher.execute("select absurd.emit_event('q', %s, '1')", (status,))
    pair.same(rows_of("e_q"))
    pair.same("select status from absurd.workflow_run where status = 'completed'")
    steps = "select from_status, to_status, changed_by from absurd.workflow_run_history(%s)"
    assert subscriber.execute(steps, (run,)).fetchall() == [
        ("pending", "running", pair.owner),
        ("running", "completed", pair.owner)]


FLOW = {"name": "flow", "tasks": {
    "a": {"task_id": "a", "operator_type": "task", "function": "f"},
    "rest": {"task_id": "rest", "operator_type": "wait", "wait_for": "PT1M", "dependencies": ["a"]},
    "b": {"task_id": "b", "operator_type": "task", "function": "slow", "dependencies": ["rest"]}}}


@pytest.mark.parametrize("setting", ["on", "off"])
def test_verbs_work_where_all_tables_are_published(connect, setting):
    """Each table that the engine updates or deletes from has an identity for its rows."""
    conn = connect()
    conn.execute(f"set absurd.direct to {setting}")
    conn.execute("create publication everything for all tables")
    queue = f"published_{setting}"
    conn.execute("select absurd.create_queue(%s)", (queue,))
    conn.execute("select absurd.set_queue_policy(%s, '{\"cleanup_ttl\": \"0\"}')", (queue,))
    conn.execute("select absurd.register_workflow(%s, %s)", (json.dumps(FLOW), queue))
    conn.execute("select set_config('absurd.fake_now', %s, false)", (NOW,))
    run = value(conn, "select absurd.start_workflow('flow', p_queue_name => %s)", queue)
    done = []
    for minutes in (0, 1, 2):
        conn.execute("select set_config('absurd.fake_now', (%s::timestamptz"
                     " + make_interval(mins => %s))::text, false)", (NOW, minutes))
        for step, name in conn.execute("select run_id, task_name from absurd.claim_task(%s, 'w')",
                                       (queue,)).fetchall():
            conn.execute("select absurd.complete_run(%s, %s, '1')", (queue, step))
            done.append(name)
    assert len(done) == 2
    assert value(conn, "select status from absurd.workflow_run where workflow_run_id = %s",
                 run) == "completed"
    conn.execute("delete from absurd.workflow_run where workflow_run_id = %s", (run,))
    conn.execute("select absurd.spawn_task(%s, 'x', '{}', '{\"idempotency_key\": \"k\"}')",
                 (queue,))
    failing = value(conn, "select run_id from absurd.claim_task(%s, 'w')", queue)
    conn.execute("select absurd.fail_run(%s, %s, '1', 'infinity')", (queue, failing))
    assert value(conn, "select absurd.cancel_task(%s, %s)", queue, failing) is True
    conn.execute("reset absurd.fake_now")
    assert value(conn, "select absurd.cleanup_tasks(%s, 0)", queue) == 3
    conn.execute("drop publication everything")
    conn.execute("select absurd.drop_queue(%s)", (queue,))


# Ids of another queue ---------------------------------------------------------------------------

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


# Caches beside DDL ------------------------------------------------------------------------------

# What another session does to queue `q`, and the SQLSTATE that calls after it come to, if any.
CHANGES = {
    "queue made anew": ("select absurd.drop_queue('q'); select absurd.create_queue('q', '{mode}')",
                        None),
    "queue of the other mode": (
        "select absurd.drop_queue('q'); select absurd.create_queue('q', '{other}')", None),
    "queue gone": ("select absurd.drop_queue('q')", "42P01"),
    "extension made anew": (
        "drop extension absurd cascade; create extension absurd;"
        " select absurd.create_queue('q', '{mode}')", None),
    "column added": ("alter table absurd.t_q add column mine text not null default 'x';"
                     " alter table absurd.r_q add column mine text not null default 'x'", None),
    "column dropped": ("alter table absurd.r_q drop column extra;"
                       " alter table absurd.t_q drop column extra", None),
    "column moved": ("alter table absurd.t_q rename headers to former;"
                     " alter table absurd.t_q add column headers jsonb", None),
    "own column dropped": ("alter table absurd.r_q drop column wake_event", "55000"),
    "column renamed": ("alter table absurd.t_q rename task_name to former", "55000"),
    "index dropped": ("drop index absurd.r_q_rdy", None),
    "index made anew": (
        "drop index absurd.r_q_rdy; create index another on absurd.r_q"
        " (priority desc, available_at, run_id) where state in ('pending', 'sleeping')", None),
    "index of the name for other rows": (
        "drop index absurd.r_q_rdy; create index r_q_rdy on absurd.r_q"
        " (priority desc, available_at, run_id) where state = 'sleeping'", None),
    "index added": ("create index more on absurd.r_q (claimed_by);"
                    " create index on absurd.t_q (state)", None),
    "type back and forth": (
        "alter table absurd.t_q alter task_name type varchar(99), alter headers type json"
        " using headers::json; alter table absurd.t_q alter task_name type text, alter headers type"
        " jsonb using headers::jsonb; alter table absurd.r_q alter claimed_by type varchar(99);"
        " alter table absurd.r_q alter claimed_by type text", None),
    "another type": ("alter table absurd.t_q alter task_name type varchar(99)", "55000"),
    "trigger added": (
        "create trigger note before insert or update on absurd.t_q for each row"
        " execute function public.count_it()", None),
    "check added": ("alter table absurd.c_q add check (checkpoint_name <> 's') not valid", "23514"),
    "owner changed": ("alter table absurd.t_q owner to {stranger}", "55000"),
    "table away": ("alter table absurd.r_q set schema attic", "42P01"),
    "table replaced": (
        "alter table absurd.e_q rename to e_former; create table absurd.e_q"
        " (like absurd.e_former including all)", None),
    "rows moved": ("vacuum full absurd.t_q; cluster absurd.r_q using r_q_pkey; reindex table"
                   " absurd.r_q", None),
    "truncated": ("truncate absurd.t_q, absurd.r_q, absurd.c_q, absurd.e_q, absurd.w_q", None),
}
WEEKLY = {
    "partition detached": ("alter table absurd.r_q detach partition absurd.r_q_{week};"
                           " alter table absurd.t_q detach partition absurd.t_q_{week}", None),
    "partition detached and attached": (
        "alter table absurd.r_q detach partition absurd.r_q_{week};"
        " alter table absurd.r_q attach partition absurd.r_q_{week} for values {bound}", None),
    "partition detached and dropped": (
        "alter table absurd.r_q detach partition absurd.r_q_{week}; drop table absurd.r_q_{week};"
        " alter table absurd.t_q detach partition absurd.t_q_{week}; drop table absurd.t_q_{week}",
        None),
    "index of a partition": (
        "drop index absurd.r_q_rdy; create index r_q_rdy on only absurd.r_q"
        " (priority desc, available_at, run_id) where state in ('pending', 'sleeping')", None),
    "default partitions gone": (
        "select absurd.set_queue_policy('q', '{{\"default_partition\": \"disabled\"}}')", None),
}
ALL = {**CHANGES, **WEEKLY}
# Where the session is when it happens.
PLACES = ["between calls", "in a transaction", "after a savepoint"]
# Of these each statement is a transaction of its own.
ALONE = {"rows moved"}
# These are compared only with sessions that are in no transaction.
OUTSIDE = {"queue of the other mode", "queue made anew", "queue gone", "extension made anew",
           *(name for name in ALL if ALL[name][1] == "55000")}
CASES = [("unpartitioned", name) for name in CHANGES] + [("partitioned", name) for name in (
    "queue made anew", "queue of the other mode", "type back and forth", *WEEKLY)]


def life(conn):
    """What a session's calls come to, without ids: a task through its states, others' rows met."""
    came = []

    def call(sql, *values):
        came.append(outcome(conn, sql, values or None))
        return came[-1] if isinstance(came[-1], list) else []

    def hidden(columns):
        came[-1] = [row[columns:] for row in came[-1]] if isinstance(came[-1], list) else came[-1]

    call("select task_id, created, attempt from absurd.spawn_task('q', 'new', '{\"a\": 1}',"
         " '{\"headers\": {\"h\": 1}, \"idempotency_key\": \"key\"}')")
    hidden(1)
    call("select created, attempt from absurd.spawn_task('q', 'fresh', '{\"b\": 2}')")
    runs = call("select run_id, task_id, task_name, params, headers, attempt"
                " from absurd.claim_task('q', 'worker', 600, 10)")
    hidden(2)
    for place, (run, task, name, *_) in enumerate(sorted(runs, key=lambda row: (row[2], row[0]))):
        call("select absurd.extend_claim('q', %s, 60)", run)
        call("select absurd.set_task_checkpoint_state('q', %s, 's', '1', %s, 5)", task, run)
        call("select checkpoint_name, state from absurd.get_task_checkpoint_states('q', %s, %s)",
             task, run)
        if place % 2:
            call("select absurd.complete_run('q', %s, '2')", run)
        else:
            call("select * from absurd.await_event('q', %s, %s, 'w', 'early')", task, run)
            call("select absurd.fail_run('q', %s, '3', 'infinity')", run)
            call("select absurd.cancel_task('q', %s)", task)
        call("select state, result from absurd.get_task_result('q', %s)", task)
    call("select absurd.emit_event('q', 'early', '7')")
    call("select absurd.emit_event('q', 'late', '8')")
    call("select absurd.cleanup_events('q', 0)")
    return came


REMAINS = (
    "select task_name, params, headers, state, attempts, idempotency_key from absurd.t_q"
    " order by 1, 4",
    "select attempt, state, claimed_by, result, failure_reason from absurd.r_q order by 2, 1",
    "select checkpoint_name, state::text from absurd.c_q order by 1, 2",
    "select event_name, payload from absurd.e_q order by 1",
    "select count(*) from public.counted",
)


@pytest.fixture
def world(connect, conn):
    """A database's worth of what changes need; the queue is made anew for each life."""
    conn.execute("create schema if not exists attic")
    conn.execute("create table if not exists public.counted (n int)")
    conn.execute("""create or replace function public.count_it() returns trigger language plpgsql as
                    $$ begin insert into public.counted values (1); return new; end $$""")
    conn.stranger = f"stranger_{uuid.uuid4().hex[:8]}"
    conn.execute(f"grant insert on public.counted to public; create role {conn.stranger}")
    yield conn
    for session in connect.all:
        if session is not conn:
            session.close()
    tidy(conn)
    conn.execute(f"drop role {conn.stranger}")


def tidy(conn):
    conn.execute("reset absurd.fake_now")
    conn.execute("alter table if exists absurd.t_q owner to postgres")
    conn.execute("drop schema attic cascade; create schema attic")
    conn.execute("drop table if exists absurd.e_former cascade")
    conn.execute("select absurd.drop_queue('q')")
    for (table,) in conn.execute("select oid::regclass::text from pg_class where relnamespace ="
                                 " 'absurd'::regnamespace and relname ~ '^[trcewi]_q(_...)?$'"
                                 " and relkind in ('r', 'p')").fetchall():
        conn.execute(f"drop table if exists {table} cascade")
    conn.execute("truncate public.counted")


def lived(connect, conn, mode, name, place, setting, is_warm):
    """A life after a change, of a session that has used the queue before or of a new one."""
    change = ALL[name][0]
    tidy(conn)
    conn.execute("select absurd.create_queue('q', %s)", (mode,))
    conn.execute("alter table absurd.t_q add column extra int; alter table absurd.r_q add column"
                 " extra int")
    week = value(conn, "select absurd.partition_week_tag(now())")
    bound = value(conn, "select replace(pg_get_expr(relpartbound, oid), 'FOR VALUES ', '')"
                        " from pg_class where relname = %s", f"r_q_{week}") or ""
    change = change.format(mode=mode, week=week, bound=bound, stranger=conn.stranger, other={
        "partitioned": "unpartitioned", "unpartitioned": "partitioned"}[mode])
    used = connect()
    used.execute(f"set absurd.direct to {setting}")
    assert len(life(used)) > 8
    conn.execute("select absurd.spawn_task('q', 'left', '{}')")
    session = used if is_warm else connect()
    session.execute(f"set absurd.direct to {setting}")
    other = connect()
    other.execute("set lock_timeout = '20s'")
    statements = change.split(";") if name in ALONE else [change]
    if place == "between calls":
        pass
    elif place == "in a snapshot":
        session.execute("begin isolation level repeatable read; select 1 from pg_class limit 1")
    elif place == "waiting":
        other.execute("begin")
    else:
        session.execute("begin")
        if place == "after a savepoint" and is_warm:
            session.execute("savepoint used")
            life(session)
            session.execute("rollback to used")
    for statement in statements:
        other.execute(statement)
    if place == "waiting":
        join = in_background(lambda: life(session))
        until(lambda: waits(conn, session) or join.is_over(), "neither waits nor ends")
        other.commit()
        came = join()
    else:
        came = life(session)
    session.commit()
    return came, [outcome(conn, query) for query in REMAINS]


def places(mode, name, setting):
    """Where else the used session is compared with a new one that comes after."""
    if setting == "off" or name in OUTSIDE:
        return PLACES[:1]
    return PLACES if mode == "unpartitioned" else PLACES[:2]


@pytest.mark.parametrize("setting", ["on", "off"])
@pytest.mark.parametrize("mode, name", CASES)
def test_a_used_session_is_as_a_new_one_after(connect, world, mode, name, setting):
    new = lived(connect, world, mode, name, "between calls", setting, is_warm=False)
    wanted = ALL[name][1]
    assert {came for came in new[0] if isinstance(came, str)} == ({wanted} if wanted else set())
    for place in places(mode, name, setting):
        assert lived(connect, world, mode, name, place, setting, is_warm=True) == new, place


def is_of_use(mode, name, place):
    """Not where Postgres itself refuses a function that is dropped while it is called."""
    if place == "waiting":
        return name not in {*ALONE, "extension made anew"}
    return mode == "unpartitioned" and name not in OUTSIDE


@pytest.mark.parametrize("mode, name, place", [
    (*case, place) for case in CASES for place in ("in a snapshot", "waiting")
    if is_of_use(*case, place)])
def test_a_used_session_is_as_a_new_one_beside(connect, world, mode, name, place):
    new, used = (lived(connect, world, mode, name, place, "on", is_warm)
                 for is_warm in (False, True))
    assert used == new
    assert len(used[0]) > 4


# Claims that are cancelled ----------------------------------------------------------------------

HELD = 4711


@pytest.fixture
def slow(conn):
    """A queue, and a trigger function that waits at tasks `slow` and refuses those called `bad`."""
    conn.queue = f"c{uuid.uuid4().hex[:8]}"
    conn.execute("select absurd.create_queue(%s)", (conn.queue,))
    conn.execute(f"""create or replace function public.slow() returns trigger language plpgsql as $$
        declare name text;
        begin
            select task_name into name from absurd.t_{conn.queue} where task_id = new.task_id;
            if tg_op = 'INSERT' and tg_table_name ~ '^t' then name := new.task_name; end if;
            if name ~ 'slow$' and not pg_try_advisory_xact_lock({HELD}) then
                -- Not at a lock where a claim gives up waiting for one after a moment.
                if tg_argv[0] = 'lock' then perform pg_advisory_xact_lock({HELD});
                else perform pg_sleep(600); end if;
            end if;
            if name ~ 'bad$' then raise exception 'no'; end if;
            return new;
        end $$""")
    conn.execute("select set_config('absurd.fake_now', %s, false)", (NOW,))
    yield conn
    conn.execute("reset absurd.fake_now; truncate absurd.stuck_work")
    conn.execute("select absurd.drop_queue(%s)", (conn.queue,))


def leased(conn, name):
    conn.execute("select absurd.spawn_task(%s, %s, '{}')", (conn.queue, name))
    conn.execute("select absurd.claim_task(%s, 'w', 10)", (conn.queue,))


def ruled(conn, name):
    options = {"cancellation": {"max_delay": 10}}
    conn.execute("select absurd.spawn_task(%s, %s, '{}', %s)",
                 (conn.queue, name, json.dumps(options)))


def ended(conn, name):
    """A lease that has ended after its task did."""
    leased(conn, name)
    conn.execute(f"update absurd.t_{conn.queue} set state = 'cancelled', cancelled_at = now()"
                 " where task_name = %s", (name,))


def started(conn, tasks):
    flow = f"flow_{uuid.uuid4().hex[:8]}"
    conn.execute("select absurd.register_workflow(%s, %s)",
                 (json.dumps({"name": flow, "tasks": tasks}), conn.queue))
    conn.execute("select absurd.start_workflow(%s)", (flow,))


def timed(conn, name):
    """A step whose attempt has five seconds."""
    started(conn, {"a": {"task_id": "a", "operator_type": "task", "function": name,
                         "timeout_policy": {"timeout": "PT5S"}}})
    conn.execute("select absurd.claim_task(%s, 'w', 600)", (conn.queue,))


def resting(conn, name):
    """A workflow that goes on with a task of that name after ten seconds."""
    started(conn, {
        "rest": {"task_id": "rest", "operator_type": "wait", "wait_for": "PT10S"},
        "b": {"task_id": "b", "operator_type": "task", "function": name, "dependencies": ["rest"]}})


# What becomes due, and where the trigger is.
DUE = {"lease": (leased, "t"), "attempt": (timed, "t"), "cancellation": (ruled, "t"),
       "lease, at its run": (leased, "r"), "lease of an ended task": (ended, "r"),
       "workflow": (resting, "t")}


def everything(conn):
    tables = [f"{letter}_{conn.queue}" for letter in "trcew"] + [
        "workflow_run", "workflow_step", "workflow_timer", "workflow_stimulus", "stuck_work"]
    return [conn.execute(f"select t.ctid::text, t.xmin::text, t::text from absurd.{table} t"
                         " order by 3").fetchall() for table in tables]


@pytest.mark.parametrize("how", ["cancel", "statement_timeout", "terminate"])
@pytest.mark.parametrize("kind, names", [
    # Where the rest may be left to the next claim, it is not certain that the second is come to.
    (kind, names) for kind in DUE for names in (["slow"], ["bad", "slow"])
    if len(names) == 1 or kind not in ("cancellation", "workflow")])
def test_a_cancel_ends_the_claim_and_changes_nothing(connect, slow, kind, how, names):
    prepare, table = DUE[kind]
    conn = slow
    for name in names:
        prepare(conn, name)
        conn.execute("select set_config('absurd.fake_now', (absurd.current_time()"
                     " + interval '1 ms')::text, false)")
    conn.execute(f"create trigger slow before insert or update on"
                 f" absurd.{table}_{conn.queue} for each row execute function"
                 f" public.slow('{'sleep' if kind == 'workflow' else 'lock'}')")
    conn.execute("select set_config('absurd.fake_now', (%s::timestamptz"
                 " + interval '1 minute')::text, false)", (NOW,))
    holder, claimer = connect(), connect()
    holder.execute("select pg_advisory_lock(%s)", (HELD,))
    claimer.execute("select set_config('absurd.fake_now', %s, false)",
                    (value(conn, "select absurd.current_time()::text"),))
    if how == "statement_timeout":
        claimer.execute("set statement_timeout = '150ms'")
    before = everything(conn)
    claim = f"select * from absurd.claim_task('{conn.queue}', 'w', 60, 5)"

    def claimed():
        try:
            return claimer.execute(claim).fetchall()
        except psycopg.Error as error:
            return error.sqlstate or "57P01"

    join = in_background(claimed)
    until(lambda: waits(conn, claimer) or join.is_over(), "the claim does not come to the trigger")
    assert how == "statement_timeout" or not join.is_over()
    if how != "statement_timeout":
        call = {"cancel": "pg_cancel_backend", "terminate": "pg_terminate_backend"}[how]
        assert value(conn, f"select {call}(%s)", claimer.info.backend_pid) is True
    assert join() == ("57P01" if how == "terminate" else "57014")
    assert everything(conn) == before
    # Nobody is in the way: the same claim gets through, by the same session if there still is one.
    holder.execute("select pg_advisory_unlock(%s)", (HELD,))
    if how == "terminate":
        claimer = conn
    claimer.execute("reset statement_timeout")
    outcome(claimer, claim)
    assert everything(conn) != before
    stuck = conn.execute("select distinct error->>'message' from absurd.stuck_work").fetchall()
    assert stuck == ([("no",)] if "bad" in names else [])


# Partitions of strangers ------------------------------------------------------------------------

# What a partition's owner may hang on it. Each calls the owner's function, which notes its caller.
HUNG = {
    "index": "create index on absurd.{part} ((evil.noted({column}::text)))",
    "partial index": "create index on absurd.{part} ({column})"
                     " where evil.noted({column}::text) <> ''",
    "check": "alter table absurd.{part} add check (evil.noted({column}::text) <> '') not valid",
    "trigger": "create trigger evil before insert or update or delete on absurd.{part} for each row"
               " execute function evil.fire()",
    "policy": "create policy evil on absurd.{part} using (evil.noted({column}::text) <> '');"
              " alter table absurd.{part} enable row level security, force row level security",
}
KEYS = {"t": "task_id", "r": "run_id", "c": "task_id", "w": "run_id"}


@pytest.fixture
def strangers(conn, connect):
    """A weekly queue whose partitions are a stranger's, a worker and an admin; the notes are seen
    by all, also those of calls that fail, since they are sent and not stored."""
    tag = uuid.uuid4().hex[:8]
    roles = {name: f"{name}_{tag}" for name in ("stranger", "worker", "admin")}
    for name in roles.values():
        conn.execute(f"create role {name} login")
        conn.execute(f"grant usage on schema absurd to {name}")
    conn.execute(f"create schema evil authorization {roles['stranger']}; grant usage on schema evil"
                 " to public")
    conn.execute("""
        create function evil.noted(text) returns text immutable language plpgsql as
            $$ begin raise info 'noted %', current_user; return $1; end $$;
        create function evil.fire() returns trigger language plpgsql as $$ begin
            raise info 'noted %', current_user;
            if tg_op = 'DELETE' then return old; end if; return new; end $$""")
    for function in ("noted(text)", "fire()"):
        conn.execute(f"alter function evil.{function} owner to {roles['stranger']}")
    conn.execute("select absurd.create_queue('p', 'partitioned')")
    for access in ("worker", "admin"):
        conn.execute(f"select absurd.grant_access('{roles[access]}', '{access}')")
    conn.roles = roles
    yield conn
    conn.execute("reset absurd.fake_now")
    for session in connect.all:
        if session is not conn:
            session.close()
    conn.execute("select absurd.drop_queue('p')")
    conn.execute("drop schema evil cascade")
    for name in roles.values():
        conn.execute(f"drop owned by {name}; drop role {name}")


def hang(conn, what, parts):
    for letter, column in KEYS.items():
        for part in parts:
            part = f"{letter}_p_{part}"
            conn.execute(HUNG[what].format(part=part, column=column))
            conn.execute(f"alter table absurd.{part} owner to {conn.roles['stranger']}")


def listening(connect, role):
    """A session as a role, and whom the stranger's functions have noted as their caller."""
    session, noted = connect(user=role), set()

    def note(notice):
        text = notice.message_primary
        if text.startswith("noted "):
            noted.add(text.removeprefix("noted "))

    session.add_notice_handler(note)
    return session, noted


@pytest.mark.parametrize("setting", ["on", "off"])
@pytest.mark.parametrize("what", HUNG)
def test_code_on_a_strangers_partition_runs_as_the_caller_or_not_at_all(
        connect, strangers, what, setting):
    conn = strangers
    conn.execute("select absurd.register_workflow(%s, 'p')", (json.dumps(FLOW),))
    week = value(conn, "select absurd.partition_week_tag(now())")
    for name in ("old", "older"):
        conn.execute("select absurd.spawn_task('p', %s, '{}')", (name,))
    hang(conn, what, [week, "d"])
    worker, as_worker = listening(connect, conn.roles["worker"])
    admin, as_admin = listening(connect, conn.roles["admin"])
    for session in (worker, admin):
        session.execute(f"set absurd.direct to {setting}")
    came = {}

    def call(session, sql, *values):
        rows = outcome(session, sql, values or None)
        came[sql] = rows if isinstance(rows, str) else "done"
        return rows if isinstance(rows, list) else []

    call(worker, "select absurd.spawn_task('p', 'x', '{}', '{\"max_attempts\": 1}')")
    call(worker, "select absurd.start_workflow('flow')")
    runs = call(worker, "select run_id, task_id from absurd.claim_task('p', 'w', 600, 4)")
    assert len(runs) == 4
    for run, task in runs:
        call(worker, "select absurd.extend_claim('p', %s, 60)", run)
        call(worker, "select absurd.set_task_checkpoint_state('p', %s, 's', '1', %s, 5)", task, run)
    call(worker, "select absurd.complete_run('p', %s)", runs[0][0])
    call(worker, "select absurd.fail_run('p', %s, '1')", runs[1][0])
    call(worker, "select * from absurd.await_event('p', %s, %s, 's2', 'e')", runs[2][1], runs[2][0])
    call(worker, "select absurd.emit_event('p', 'e')")
    call(worker, "select absurd.cancel_task('p', %s)", runs[2][1])
    call(worker, "select absurd.complete_run('p', %s)", runs[3][0])
    call(worker, "select absurd.advance_timers('p')")
    assert set(came.values()) == {"done"}
    assert as_worker == (set() if what == "policy" else {conn.roles["worker"]})
    # What runs as the extension's owner.
    for sql in (
        "select absurd.create_queue('p', 'partitioned')", "select absurd.ensure_queue_tables('p')",
        "select absurd.ensure_partitions('p')",
        "select absurd.set_queue_policy('p', '{\"detach_mode\": \"empty\","
        " \"detach_min_age\": \"0\"}')",
        "select absurd.set_queue_policy('p', '{\"default_partition\": \"disabled\"}')",
        "select * from absurd.list_detach_candidates('p')",
        f"select absurd.detach_partition('t_p', 't_p_{week}')",
        f"select absurd.drop_detached_partition('t_p_{week}')",
        "select absurd.cleanup_tasks('p', 0)", "select * from absurd.cleanup_all_queues('p')",
    ):
        call(admin, sql)
    assert came[f"select absurd.detach_partition('t_p', 't_p_{week}')"] == "55000"
    assert as_admin <= {conn.roles["admin"]}
    assert value(conn, "select count(*) from pg_class where relname = %s", f"t_p_{week}") == 1


@pytest.mark.parametrize("what", ["index", "check", "trigger", "policy"])
def test_rows_leave_a_strangers_default_partition_without_its_code(connect, strangers, what):
    conn = strangers
    hang(conn, what, ["d"])
    conn.execute("set absurd.fake_now = '2034-09-01'")
    conn.execute("select absurd.spawn_task('p', 'x', '{}')")
    place = "select tableoid::regclass::text from absurd.t_p"
    assert value(conn, place) == "absurd.t_p_d"
    admin, noted = listening(connect, conn.roles["admin"])
    conn.execute(f"grant set on parameter absurd.fake_now to {conn.roles['admin']}")
    admin.execute("set absurd.fake_now = '2034-09-01'")
    came = outcome(admin, "select absurd.ensure_partitions('p')")
    assert noted == set()
    assert (value(conn, place) == "absurd.t_p_d") == (came in ("42501", "55000"))
