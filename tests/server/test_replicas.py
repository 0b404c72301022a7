"""Replicas by logical replication, and a database all of whose tables are published."""

import json
import os
import subprocess
import uuid
from pathlib import Path

import psycopg
import pytest

from common import FLOW, NOW, until, value

SCRIPT = Path(__file__).parents[2] / ".ci" / "server"


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
        # From 16 on only a superuser alters a subscription without a password.
        was_super = value(self.admin, "select rolsuper from pg_roles where rolname = %s", self.owner)
        self.admin.execute(f"alter role {self.owner} superuser")
        self.subscriber.execute("alter subscription work disable")
        self.subscriber.execute("alter subscription work set (slot_name = none)")
        self.subscriber.execute("drop subscription work")
        self.admin.execute(f"alter role {self.owner} {'' if was_super else 'no'}superuser")

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
    # Who may use it, and whom it forgets when it goes.
    role = f"published_{uuid.uuid4().hex[:8]}"
    conn.execute(f"create role {role}")
    access = "select queue_name from absurd.queue_access order by 1"
    for of in (queue, None, queue, None):
        conn.execute(f"select absurd.grant_access('{role}', 'worker', %s)", (of,))
    assert conn.execute(access).fetchall() == [(queue,), (None,)]
    conn.execute(f"select absurd.revoke_access('{role}', 'worker', %s)", (queue,))
    assert conn.execute(access).fetchall() == [(None,)]
    conn.execute(f"select absurd.revoke_access('{role}', 'worker')")
    conn.execute(f"select absurd.grant_access('{role}', 'worker', %s)", (queue,))
    assert conn.execute(access).fetchall() == [(queue,)]
    conn.execute("select absurd.drop_queue(%s)", (queue,))
    assert conn.execute(access).fetchall() == []
    conn.execute("drop publication everything")
    conn.execute(f"drop owned by {role}; drop role {role}")
