"""Partitions that belong to a stranger: code on them runs as the caller or not at all."""

import json
import uuid

import pytest

from common import FLOW, listening, outcome, value

# What a partition's owner may hang on it. Each calls the owner's function, which notes its caller.
HUNG = {
    "index": "create index on absurd.{part} ((evil.noted({column}::text)));"
             " create index on absurd.{part} ({column}) where evil.noted({column}::text) <> ''",
    "check": "alter table absurd.{part} add check (evil.noted({column}::text) <> '') not valid",
    "trigger": "create trigger evil before insert or update or delete on absurd.{part} for each row"
               " execute function evil.fire()",
    "rule": "create table evil.{part} as table absurd.{part};"
            " alter table evil.{part} owner to {stranger};"
            " create rule evil as on delete to absurd.{part} do instead delete from evil.{part} e"
            " where e.{column} = old.{column} and evil.noted(e.{column}::text) <> '' returning e.*",
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
    # A week or two instead of six.
    conn.execute("alter table absurd.queues alter partition_lookahead set default '0'")
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


def hang(conn, what, letters, parts):
    stranger = conn.roles["stranger"]
    for letter in letters:
        for part in parts:
            part = f"{letter}_p_{part}"
            conn.execute(HUNG[what].format(part=part, column=KEYS[letter], stranger=stranger))
            conn.execute(f"alter table absurd.{part} owner to {stranger}")


@pytest.mark.parametrize("what, setting", [
    # What statements run is Postgres's own affair.
    *((what, "on") for what in HUNG), ("trigger", "off"), ("policy", "off")])
def test_code_on_a_strangers_partition_runs_as_the_caller_or_not_at_all(
        connect, strangers, what, setting):
    conn = strangers
    conn.execute("select absurd.register_workflow(%s, 'p')", (json.dumps(FLOW),))
    week = value(conn, "select absurd.partition_week_tag(now())")
    for name in ("old", "older"):
        conn.execute("select absurd.spawn_task('p', %s, '{}')", (name,))
    hang(conn, what, KEYS, [week, "d"])
    worker, as_worker = listening(connect, user=conn.roles["worker"])
    admin, as_admin = listening(connect, user=conn.roles["admin"])
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
    assert as_worker == (set() if what in ("policy", "rule") else {conn.roles["worker"]})
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
    assert value(conn, "select to_regclass(%s) is not null", f"absurd.t_p_{week}")


@pytest.mark.parametrize("what", HUNG)
def test_a_strangers_default_partition_is_neither_emptied_nor_dropped(connect, strangers, what):
    conn, noted = listening(connect)
    conn.roles = roles = strangers.roles
    ensure = "select absurd.ensure_partitions('p')"
    disable = "select absurd.set_queue_policy('p', '{\"default_partition\": \"disabled\"}')"

    def refused(call, letter):
        """What is a stranger's for that call only, of all four tables one."""
        with conn.transaction(force_rollback=True):
            hang(conn, what, letter, "d")
            noted.clear()
            conn.execute(f"set local role {roles['admin']}")
            assert (letter, outcome(conn, call)) == (letter, "55000")
        assert (letter, noted) == (letter, set())

    for letter in KEYS:
        refused(disable, letter)
    # Years after the last week there is.
    conn.execute("set absurd.fake_now = '2034-09-01'")
    conn.execute("select absurd.spawn_task('p', 'x', '{}')")
    run, task = conn.execute("select run_id, task_id from absurd.claim_task('p', 'w')").fetchone()
    conn.execute("select absurd.set_task_checkpoint_state('p', %s, 's', '1', %s)", (task, run))
    conn.execute("select absurd.await_event('p', %s, %s, 's2', 'e')", (task, run))
    places = " union ".join(f"select tableoid::regclass::text from absurd.{letter}_p"
                            for letter in KEYS)
    everywhere = {(f"absurd.{letter}_p_d",) for letter in KEYS}
    assert set(conn.execute(places)) == everywhere
    for letter in KEYS:
        refused(ensure, letter)
    assert set(conn.execute(places)) == everywhere
    # Another superuser's are as good as the engine's own.
    conn.execute(f"alter role {roles['stranger']} superuser")
    for letter in KEYS:
        conn.execute(f"alter table absurd.{letter}_p_d owner to {roles['stranger']}")
    conn.execute(f"set role {roles['admin']}")
    assert outcome(conn, ensure) == [("",)] and outcome(conn, disable) == [("",)]
    conn.execute("reset role")
    tag = value(conn, "select absurd.partition_week_tag('2034-09-01')")
    assert set(conn.execute(places)) == {(f"absurd.{letter}_p_{tag}",) for letter in KEYS}
