"""What a session keeps of tables, beside DDL of others."""

import uuid

import pytest

from common import in_background, listening, outcome, until, value, waits

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
# Of these each statement is a transaction of its own.
ALONE = {"rows moved"}
CASES = [("unpartitioned", name) for name in CHANGES] + [("partitioned", name) for name in (
    "queue made anew", "queue of the other mode", "type back and forth", *WEEKLY)]


def life(conn, *left):
    """What a session's calls come to, without ids: a task through its states, others' rows met.
    Runs that are at work may be left to it."""
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
    runs = sorted([*runs, *left], key=lambda row: (row[2], row[0]))
    for place, (run, task, name, *_) in enumerate(runs):
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
    " order by 1, 2, 3, 4, 5, 6",
    "select attempt, state, claimed_by, result, failure_reason from absurd.r_q"
    " order by 1, 2, 3, 4, 5",
    "select checkpoint_name, state::text from absurd.c_q order by 1, 2",
    "select event_name, payload from absurd.e_q order by 1, 2",
    "select count(*) from public.counted",
)


@pytest.fixture
def world(connect, conn):
    """A database's worth of what changes need; the queue is made anew for each life."""
    conn.execute("create schema if not exists attic")
    # A week or two instead of six.
    conn.execute("alter table absurd.queues alter partition_lookahead set default '0'")
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


def made(conn, mode, name):
    """A queue for a change to happen to; the change."""
    tidy(conn)
    conn.execute("select absurd.create_queue('q', %s)", (mode,))
    conn.execute("alter table absurd.t_q add column extra int; alter table absurd.r_q add column"
                 " extra int")
    week = value(conn, "select absurd.partition_week_tag(now())")
    bound = value(conn, "select replace(pg_get_expr(relpartbound, oid), 'FOR VALUES ', '')"
                        " from pg_class where relname = %s", f"r_q_{week}") or ""
    return ALL[name][0].format(mode=mode, week=week, bound=bound, stranger=conn.stranger, other={
        "partitioned": "unpartitioned", "unpartitioned": "partitioned"}[mode])


def session(connect, setting, is_used):
    opened = connect()
    opened.execute(f"set absurd.direct to {setting}")
    if is_used:
        assert len(life(opened)) > 8
    return opened


# Where a session is when it happens: outside of transactions, in one that has held no lock, in one that
# has let its locks go, in one that keeps its snapshot.
OUTSIDE, INSIDE, AGAIN, SNAPSHOT = "outside", "in a transaction", "after a savepoint", "in a snapshot"
# Place, absurd.direct, whether the session has used the queue before.
NEW, NEW_IN_SNAPSHOT = (OUTSIDE, "on", False), (SNAPSHOT, "on", False)
SESSIONS = [NEW, (OUTSIDE, "on", True), (INSIDE, "on", True), (INSIDE, "off", True), (AGAIN, "on", True),
            NEW_IN_SNAPSHOT, (SNAPSHOT, "on", True)]


@pytest.mark.parametrize("mode, name", CASES)
def test_a_used_session_is_as_a_new_one(connect, world, mode, name):
    change = made(world, mode, name)
    sessions = [session(connect, setting, is_used) for _, setting, is_used in SESSIONS]
    # At work already: a claim that is rolled back hides a run from the next one for a moment.
    world.execute("select absurd.spawn_task('q', 'left', '{}')")
    left = world.execute("select run_id, task_id, task_name"
                         " from absurd.claim_task('q', 'another', 600)").fetchone()
    for (place, *_), used in zip(SESSIONS, sessions):
        if place == SNAPSHOT:
            used.execute("begin isolation level repeatable read; select 1 from pg_class limit 1")
        elif place != OUTSIDE:
            used.execute("begin")
        if place == AGAIN:
            used.execute("savepoint used")
            life(used, left)
            used.execute("rollback to used")
    for statement in change.split(";") if name in ALONE else [change]:
        world.execute(statement)
    came = {}
    for key, used in zip(SESSIONS, sessions):
        if key[0] == OUTSIDE:
            used.execute("begin")
        if name == "extension made anew":
            # Postgres finds a function before it is called: in a transaction still the one dropped.
            outcome(used, "select absurd.current_time()")
        came[key] = life(used, left), [outcome(used, query) for query in REMAINS]
        # The next one meets the same rows.
        used.execute("rollback")
    for key in came:
        assert came[key] == came[NEW_IN_SNAPSHOT if key[0] == SNAPSHOT else NEW], key
    wanted = ALL[name][1]
    refused = {of for of in came[NEW][0] if isinstance(of, str)}
    # P0002 where the run that was left is no more.
    assert refused - {"P0002"} == ({wanted} if wanted else set())


# One of each kind. Not the extension made anew: Postgres refuses a function that is dropped while it is
# called.
WAITING = [("unpartitioned", name) for name in (
    "queue of the other mode", "queue gone", "column added", "column dropped", "own column dropped",
    "index dropped", "index of the name for other rows", "type back and forth", "another type",
    "trigger added", "check added", "owner changed", "table away", "table replaced", "truncated",
)] + [("partitioned", name) for name in (
    "queue of the other mode", "partition detached", "default partitions gone")]


@pytest.mark.parametrize("mode, name", WAITING)
def test_a_used_session_that_waits_is_as_a_new_one_that_waits(connect, world, mode, name):
    came = []
    for is_used in (False, True):
        change = made(world, mode, name)
        used, other = session(connect, "on", True), connect()
        world.execute("select absurd.spawn_task('q', 'left', '{}')")
        used = used if is_used else session(connect, "on", False)
        other.execute("begin")
        other.execute("set lock_timeout = '20s'")
        other.execute(change)
        join = in_background(lambda: life(used))
        until(lambda: waits(world, used) or join.is_over(), "neither waits nor ends")
        other.commit()
        came.append((join(), [outcome(world, query) for query in REMAINS]))
    assert came[1] == came[0]
    assert len(came[0][0]) > 4


# Calls that read or write a task's row, one of each kind.
TAKEN = (
    "select absurd.spawn_task('q', 'new', '{}')",
    "select absurd.spawn_task('q', 'new', '{}', '{\"idempotency_key\": \"key\"}')",
    "select absurd.spawn_tasks('q', '[{\"task_name\": \"new\", \"params\": {}}]')",
    "select * from absurd.claim_task('q', 'worker', 600)",
    "select absurd.extend_claim('q', %(run)s, 60)",
    "select absurd.schedule_run('q', %(run)s, now())",
    "select absurd.set_task_checkpoint_state('q', %(task)s, 's', '1', %(run)s, 60)",
    "select * from absurd.await_event('q', %(task)s, %(run)s, 's', 'e')",
    "select absurd.emit_event('q', 'awaited')",
    "select absurd.complete_run('q', %(run)s)",
    "select absurd.complete_runs('q', array[%(run)s]::uuid[])",
    "select absurd.fail_run('q', %(run)s, '1')",
    "select absurd.fail_runs('q', array[%(run)s]::uuid[])",
    "select absurd.cancel_task('q', %(task)s)",
    "select * from absurd.retry_task('q', %(failed)s)",
    "select absurd.cleanup_tasks('q', 0)",
)


@pytest.mark.parametrize("setting", ["on", "off"])
def test_a_table_that_became_a_strangers_is_refused_by_a_transactions_first_call(
        connect, world, setting):
    made(world, "unpartitioned", "owner changed")
    used, noted = listening(connect)
    used.execute(f"set absurd.direct to {setting}")
    life(used)
    world.execute("""create or replace function public.noted() returns trigger language plpgsql as
        $$ begin raise info 'noted %', current_user; return coalesce(new, old); end $$""")
    runs = {}
    for name in ("failed", "asleep", "claimed"):
        world.execute("select absurd.spawn_task('q', %s, '{}', '{\"max_attempts\": 1}')", (name,))
        runs[name] = world.execute("select run_id, task_id from absurd.claim_task('q', 'w', 600)"
                                   ).fetchone()
    world.execute("select absurd.fail_run('q', %s, '1')", (runs["failed"][0],))
    world.execute("select absurd.await_event('q', %s, %s, 's', 'awaited')", runs["asleep"][::-1])
    world.execute("select absurd.spawn_task('q', 'ready', '{}')")
    ids = {"failed": runs["failed"][1], "run": runs["claimed"][0], "task": runs["claimed"][1]}
    came = {}
    for call in TAKEN:
        # It works, and then it does not.
        used.execute("begin")
        used.execute(call, ids)
        used.execute("rollback")
        used.execute("begin")
        world.execute(f"""alter table absurd.t_q owner to {world.stranger};
            grant usage on schema absurd to {world.stranger};
            set role {world.stranger};
            create trigger noted before insert or update or delete on absurd.t_q for each row
                execute function public.noted();
            reset role""")
        came[call] = outcome(used, call, ids)
        used.execute("rollback")
        world.execute(f"""drop trigger noted on absurd.t_q; alter table absurd.t_q owner to postgres;
            revoke usage on schema absurd from {world.stranger}""")
    assert came == dict.fromkeys(TAKEN, "55000")
    assert noted == set()
