"""The direct path: what claims find in plain tables without a statement is what the statements find, and
everything that is not plain is left to them."""

import json
import threading
import uuid

import psycopg
import pytest

COLUMNS = {
    "t": "task_name, params, headers, retry_strategy, max_attempts, cancellation, enqueue_at, first_started_at, state,"
    " attempts, completed_payload, cancelled_at, tenant_id, idempotency_key, workflow_run_id, cancel_done,"
    " workflow_step, attempt_timeout, leave_late",
    "c": "checkpoint_name, state, status, updated_at",
    "r": "attempt, state, claimed_by, claim_expires_at, available_at, wake_event, event_payload, started_at,"
    " completed_at, failed_at, result, failure_reason, created_at, last_heartbeat, tenant_id, priority,"
    " attempt_ends_at",
}
NOW = "2026-03-04 05:06:07+00"


@pytest.fixture
def queue(conn):
    name = f"q{uuid.uuid4().hex[:8]}"
    conn.execute("select absurd.create_queue(%s)", (name,))
    yield name
    conn.execute("select absurd.drop_queue(%s)", (name,))


def claim(conn, queue, quantity=1, worker="worker"):
    """What a claim returns, without ids."""
    sql = "select * from absurd.claim_task(%s, %s, 60, %s)"
    return conn.execute(sql, (queue, worker, quantity)).fetchall()



def rows(conn, queue, table):
    order = {"t": "enqueue_at, params", "c": "updated_at, checkpoint_name, state",
             "r": "created_at, priority, attempt, available_at, state"}[table]
    return conn.execute(f'select {COLUMNS[table]} from absurd."{table}_{queue}" order by {order}').fetchall()


LIVES = [
    ("plain", "{}"),
    ("all", json.dumps({
        "headers": {"a": [1, "x"]}, "retry_strategy": {"kind": "fixed", "base_seconds": 7}, "max_attempts": 3,
        "cancellation": {"max_delay": 100, "max_duration": 200}, "tenant_id": "me", "priority": 3,
    })),
    ("nulls", '{"headers": null, "retry_strategy": null, "cancellation": null, "max_attempts": null}'),
    ("low", '{"priority": -8}'),
    ("later", '{"available_at": "2026-03-04 06:00:00+00"}'),
    ("large", json.dumps({"headers": {"text": "x" * 20_000}})),
]


def live(conn, queue):
    """Tasks of every kind through every end, at times set by hand. Returns what the calls did."""
    seen = []
    conn.execute("set absurd.fake_now to %s" % psycopg.sql.Literal(NOW).as_string(conn))
    for name, options in LIVES:
        conn.execute("select absurd.spawn_task(%s, %s, %s, %s)", (queue, name, json.dumps({"n": name}), options))
    for minutes in (1, 2, 60):
        conn.execute("select set_config('absurd.fake_now', (%s::timestamptz + make_interval(mins => %s))::text, false)",
                     (NOW, minutes))
        for run in claim(conn, queue, 2) + claim(conn, queue, 10):
            seen.append(run[2:])
            for step, extend in (("one", 60), ("two", 600), ("one", 30), ("three", None)):
                conn.execute("select absurd.set_task_checkpoint_state(%s, %s, %s, %s, %s, %s)",
                             (queue, run[1], step, json.dumps([step, minutes, extend]), run[0], extend))
            # The first attempt's own name, written by a later one.
            conn.execute("select absurd.save_checkpoint_for_run(%s, %s, 'one', '2')", (queue, run[0]))
            conn.execute("select absurd.extend_claim(%s, %s, 10)", (queue, run[0]))
            if minutes == 1 and run[3] == "all":
                conn.execute("select absurd.fail_run(%s, %s, '{\"name\": \"no\"}')", (queue, run[0]))
            else:
                conn.execute("select absurd.complete_run(%s, %s, %s)", (queue, run[0], json.dumps([run[3]])))
            for call in ("complete_run(%(queue)s, %(run)s, 'null')", "extend_claim(%(queue)s, %(run)s, 10)",
                         "set_task_checkpoint_state(%(queue)s, %(task)s, 'late', '1', %(run)s, 10)",
                         "set_task_checkpoint_state(%(queue)s, %(queue_id)s, 'late', '1', %(run)s, 10)"):
                with pytest.raises(psycopg.Error) as error:
                    conn.execute(f"select absurd.{call}", {"queue": queue, "run": run[0], "task": run[1], "queue_id": uuid.UUID(int=1)})
                message = error.value.diag.message_primary
                for value, name in ((run[0], "RUN"), (run[1], "TASK"), (queue, "QUEUE")):
                    message = message.replace(str(value), name)
                seen.append((error.value.sqlstate, message))
    conn.execute("reset absurd.fake_now")
    return seen


def test_does_what_the_statements_do(connect):
    came = []
    for setting in ("on", "off"):
        conn = connect()
        conn.execute(f"set absurd.direct to {setting}")
        queue = f"same_{setting}"
        conn.execute("select absurd.create_queue(%s)", (queue,))
        seen = live(conn, queue)
        assert len(seen) > 2 * len(LIVES)
        came.append((seen, *(rows(conn, queue, table) for table in COLUMNS)))
    for direct, stated in zip(*came, strict=True):
        assert direct == stated


def test_a_look_needs_no_statement(connect, queue):
    """A fresh backend whose claim finds nothing has planned nothing that touches the queue's tables."""
    conn = connect()
    assert claim(conn, queue) == []
    assert planned(conn, queue) == []
    conn.execute("set absurd.direct to off")
    assert claim(conn, queue) == []
    assert planned(conn, queue) != []


def planned(conn, queue):
    """What a session has planned that touches a queue's tables."""
    plans = conn.execute(
        """select ident from pg_backend_memory_contexts
            where name = 'CachedPlanSource' and ident like '/* absurd */%%' || %s || '%%'""",
        (queue,),
    )
    return plans.fetchall()


def test_an_index_of_another_name_serves(connect, conn, queue):
    conn.execute(f'alter index absurd."r_{queue}_rdy" rename to "another name"')
    worker = connect()
    assert claim(worker, queue) == []
    assert planned(worker, queue) == []
    conn.execute("select absurd.spawn_task(%s, 'x', '{}')", (queue,))
    assert len(claim(worker, queue)) == 1


def statements(conn):
    """Makes the database count the updates of a queue's tables that are made by statements."""
    conn.execute("create table if not exists public.counted (n int)")
    conn.execute(
        """create or replace function public.count_it() returns trigger language plpgsql as $$
           begin insert into public.counted values (1); return null; end $$"""
    )


def counted(conn):
    return conn.execute("with gone as (delete from public.counted returning n) select count(*) from gone").fetchone()[0]


@pytest.mark.parametrize("table", ["t", "r"])
def test_triggers_fire(conn, queue, table):
    statements(conn)
    conn.execute(f'create trigger seen after insert or update on absurd."{table}_{queue}"'
                 " for each row execute function public.count_it()")
    conn.execute("select absurd.spawn_task(%s, 'x', '{}')", (queue,))
    assert counted(conn) == 1
    [run] = claim(conn, queue)
    assert counted(conn) == 1
    conn.execute("select absurd.complete_run(%s, %s)", (queue, run[0]))
    assert counted(conn) == 1


def test_own_columns_get_their_defaults(conn, queue):
    conn.execute(f"alter table absurd.\"t_{queue}\" add column mine text not null default 'mine'")
    conn.execute(f'alter table absurd."r_{queue}" add column twice int generated always as (attempt * 2) stored')
    conn.execute("create domain public.given as int default 5")
    conn.execute(f'alter table absurd."r_{queue}" add column number int generated always as identity,'
                 " add column given public.given")
    conn.execute("select absurd.spawn_task(%s, 'x', '{}')", (queue,))
    [run] = claim(conn, queue)
    conn.execute("select absurd.complete_run(%s, %s)", (queue, run[0]))
    assert conn.execute(f'select mine from absurd."t_{queue}"').fetchone() == ("mine",)
    assert conn.execute(f'select twice, number, given from absurd."r_{queue}"').fetchone() == (2, 1, 5)


@pytest.mark.parametrize("column", [
    "number int generated always as identity", "given public.fives", "needed public.needed default 1"])
def test_columns_that_fill_themselves_do(conn, queue, column):
    conn.execute("drop domain if exists public.fives, public.needed")
    conn.execute("create domain public.fives as int default 5")
    conn.execute("create domain public.needed as int not null")
    conn.execute(f'alter table absurd."r_{queue}" add column {column}')
    conn.execute("select absurd.spawn_task(%s, 'x', '{}')", (queue,))
    name = column.split()[0]
    assert conn.execute(f'select {name} is not null from absurd."r_{queue}"').fetchone() == (True,)
    conn.execute(f'alter table absurd."r_{queue}" drop column {name}')
    conn.execute("select absurd.spawn_task(%s, 'y', '{}')", (queue,))
    assert len(claim(conn, queue, 2)) == 2


def test_references_to_other_keys_follow(conn, queue):
    """A table of a user's that refers to something which a claim changes."""
    conn.execute(f'alter table absurd."t_{queue}" add unique (last_attempt_run)')
    conn.execute(f'create table public.mine (run uuid references absurd."t_{queue}" (last_attempt_run)'
                 " on update cascade)")
    conn.execute("select absurd.spawn_task(%s, 'x', '{}', '{\"retry_strategy\": {\"kind\": \"none\"}}')", (queue,))
    conn.execute(f'insert into public.mine select last_attempt_run from absurd."t_{queue}"')
    [run] = claim(conn, queue)
    conn.execute("select absurd.fail_run(%s, %s, '1')", (queue, run[0]))
    [run] = claim(conn, queue)
    assert conn.execute("select run from public.mine").fetchone() == (run[0],)
    conn.execute("drop table public.mine")


def test_a_held_task_costs_little(connect, conn, queue):
    """Claims that come upon a task which somebody holds for long leave no trace but the first."""
    task, run = conn.execute("select task_id, run_id from absurd.spawn_task(%s, 'x', '{}')", (queue,)).fetchone()
    holder = connect(autocommit=False)
    holder.execute(f'select from absurd."t_{queue}" where task_id = %s for update', (task,))
    place = f'select ctid, * from absurd."r_{queue}" where run_id = %s'
    assert claim(conn, queue) == []
    before = conn.execute(place, (run,)).fetchone()
    for _ in range(20):
        assert claim(conn, queue) == []
    assert conn.execute(place, (run,)).fetchone() == before
    holder.rollback()
    assert len(claim(conn, queue)) == 1


def test_own_checks_are_kept(conn, queue):
    """A constraint that calls a function of a user's, which is replaced between two calls."""
    body = "create or replace function public.may(state text) returns boolean language plpgsql immutable as $$ %s $$"
    conn.execute(body % "begin return true; end")
    conn.execute(f'alter table absurd."t_{queue}" add constraint mine check (public.may(state))')
    conn.execute("select absurd.spawn_task(%s, 'x', '{}')", (queue,))
    conn.execute(body % "begin return state <> ''running''; end".replace("''", "'"))
    assert claim(conn, queue) == []
    [(kind, code)] = conn.execute("select kind, error ->> 'sqlstate' from absurd.stuck_work where queue = %s", (queue,)).fetchall()
    assert (kind, code) == ("claim", "23514")
    conn.execute(body % "begin return true; end")
    conn.execute("delete from absurd.stuck_work where queue = %s", (queue,))
    assert len(claim(conn, queue)) == 1


def test_an_index_of_the_same_name_is_not_trusted(conn, queue):
    conn.execute("select absurd.spawn_task(%s, 'x', '{}')", (queue,))
    conn.execute(f'drop index absurd."r_{queue}_rdy"')
    conn.execute(f'create index "r_{queue}_rdy" on absurd."r_{queue}" (priority desc, available_at, run_id)'
                 " where state = 'sleeping'")
    assert len(claim(conn, queue)) == 1


def test_without_an_index_statements_find_the_runs(conn, queue):
    conn.execute("select absurd.spawn_task(%s, 'x', '{}')", (queue,))
    conn.execute(f'drop index absurd."r_{queue}_rdy"')
    assert len(claim(conn, queue)) == 1


def test_row_security_holds(connect, database, queue):
    owner = connect()
    role = f"worker_{queue}"
    owner.execute(f"create role {role}")
    try:
        owner.execute(f"grant usage on schema absurd to {role}")
        owner.execute(f"grant select, insert, update, delete on all tables in schema absurd to {role}")
        owner.execute(f"grant execute on all functions in schema absurd to {role}")
        for tenant in ("mine", "theirs"):
            owner.execute("select absurd.spawn_task(%s, %s, '{}', %s)",
                          (queue, tenant, json.dumps({"tenant_id": tenant})))
        owner.execute(f'alter table absurd."r_{queue}" enable row level security')
        owner.execute(f"create policy own on absurd.\"r_{queue}\" using (tenant_id = 'mine')")
        worker = connect()
        worker.execute(f"set role {role}")
        assert [run[3] for run in claim(worker, queue, 10)] == ["mine"]
        owner.execute(f'alter table absurd."r_{queue}" disable row level security')
        owner.execute(f'revoke update on absurd."t_{queue}" from {role}')
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            claim(worker, queue, 10)
        owner.execute(f'grant update on absurd."t_{queue}" to {role}')
        assert [run[3] for run in claim(worker, queue, 10)] == ["theirs"]
        worker.close()
    finally:
        owner.execute(f"drop owned by {role}")
        owner.execute(f"drop role {role}")


def test_a_read_only_transaction_is_refused(conn, queue):
    conn.execute("select absurd.spawn_task(%s, 'x', '{}')", (queue,))
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction), conn.transaction():
        conn.execute("set transaction read only")
        claim(conn, queue)


def test_what_a_subtransaction_took_comes_back(conn, queue):
    conn.execute("select absurd.spawn_task(%s, 'x', '{}')", (queue,))
    with conn.transaction():
        for _ in range(3):
            with pytest.raises(ZeroDivisionError), conn.transaction():
                assert len(claim(conn, queue)) == 1
                raise ZeroDivisionError
        [run] = claim(conn, queue)
        assert claim(conn, queue) == []
        conn.execute("select absurd.complete_run(%s, %s)", (queue, run[0]))
    assert conn.execute(f'select state from absurd."t_{queue}"').fetchone() == ("completed",)


def test_errors_within_a_block_leave_nothing_open(conn, queue):
    """plpgsql catches the error of a call that has opened tables; the backend stays sound."""
    conn.execute("select absurd.spawn_task(%s, 'x', '{}')", (queue,))
    [run] = claim(conn, queue)
    conn.execute("select absurd.complete_run(%s, %s)", (queue, run[0]))
    notices = []
    conn.add_notice_handler(lambda notice: notices.append(notice.message_primary))
    conn.execute(
        f"""do $$ begin
            for i in 1 .. 50 loop
                begin
                    perform absurd.complete_run('{queue}', '{run[0]}');
                    raise 'completed twice';
                exception when sqlstate '55000' then null;
                end;
                perform absurd.spawn_task('{queue}', 'y', '{{}}');
            end loop;
        end $$"""
    )
    assert len(claim(conn, queue, 100)) == 50
    assert notices == []
    conn.execute(f'alter table absurd."t_{queue}" add column fresh int')


def test_held_tasks_and_runs_are_passed_over(connect, conn, queue):
    """Without waiting, whichever of the two rows is held, and however."""
    tasks = [conn.execute("select task_id, run_id from absurd.spawn_task(%s, %s, '{}')", (queue, str(n))).fetchone()
             for n in range(5)]
    holder = connect(autocommit=False)
    holder.execute(f'select from absurd."r_{queue}" where run_id = %s for update', (tasks[0][1],))
    holder.execute(f'select from absurd."t_{queue}" where task_id = %s for update', (tasks[1][0],))
    holder.execute(f'update absurd."t_{queue}" set headers = null where task_id = %s', (tasks[2][0],))
    # Who only keeps the key, as spawn_task does of a task that it has found, is in nobody's way.
    holder.execute(f'select from absurd."t_{queue}" where task_id = %s for key share', (tasks[3][0],))
    passed = f'select * from absurd."r_{queue}" where run_id = any (%s) order by run_id'
    before = conn.execute(passed, ([run for _, run in tasks[:3]],)).fetchall()
    conn.execute("set lock_timeout to '1ms'")
    assert [run[3] for run in claim(conn, queue, 10)] == ["3", "4"]
    # A run whose task was found to be held only after it had been taken is as it was.
    assert conn.execute(passed, ([run for _, run in tasks[:3]],)).fetchall() == before
    holder.rollback()
    assert [run[3] for run in claim(conn, queue, 10)] == ["0", "1", "2"]


def test_a_task_that_its_own_transaction_holds_can_be_claimed(conn, queue):
    with conn.transaction():
        task = conn.execute("select task_id from absurd.spawn_task(%s, 'x', '{}')", (queue,)).fetchone()[0]
        conn.execute(f'select from absurd."t_{queue}" where task_id = %s for update', (task,))
        assert len(claim(conn, queue)) == 1


def test_a_completion_waits_for_who_changes_the_run(connect, conn, queue):
    conn.execute("select absurd.spawn_task(%s, 'x', '{}')", (queue,))
    [run] = claim(conn, queue)
    holder = connect(autocommit=False)
    holder.execute("select absurd.extend_claim(%s, %s, 600)", (queue, run[0]))
    other, done = connect(), threading.Event()

    def complete():
        other.execute("select absurd.complete_run(%s, %s, '1')", (queue, run[0]))
        done.set()

    thread = threading.Thread(target=complete)
    thread.start()
    pid = other.info.backend_pid
    waits = "select exists (select from pg_stat_activity where pid = %s and wait_event_type = 'Lock')"
    while not conn.execute(waits, (pid,)).fetchone()[0]:
        assert not done.is_set()
    holder.commit()
    thread.join(30)
    assert done.is_set()
    row = conn.execute(f'select state, claim_expires_at - started_at from absurd."r_{queue}"').fetchone()
    assert row[0] == "completed"
    # The change that was waited for is not lost.
    assert row[1].total_seconds() > 500


@pytest.mark.parametrize("setting", ["on", "off"])
def test_a_workflow_goes_the_same_way(connect, setting):
    conn = connect()
    conn.execute(f"set absurd.direct to {setting}")
    queue = f"flow_{setting}"
    document = {
        "name": f"flow_{setting}", "version": "1",
        "tasks": {
            "a": {"task_id": "a", "operator_type": "task", "function": "f", "result_key": "a"},
            "b": {"task_id": "b", "operator_type": "task", "function": "f", "dependencies": ["a"],
                  "args": ["{{a}}"]},
            "c": {"task_id": "c", "operator_type": "task", "function": "f", "dependencies": ["a"]},
            "d": {"task_id": "d", "operator_type": "task", "function": "f", "dependencies": ["b", "c"]},
        },
    }
    conn.execute("select absurd.create_queue(%s)", (queue,))
    conn.execute("select absurd.register_workflow(%s, %s)", (json.dumps(document), queue))
    run = conn.execute("select absurd.start_workflow(%s, p_queue_name => %s)", (f"flow_{setting}", queue)).fetchone()[0]
    done = 0
    while tasks := claim(conn, queue):
        conn.execute("select absurd.complete_run(%s, %s, %s)", (queue, tasks[0][0], json.dumps({"n": done})))
        done += 1
    assert done == 4
    assert conn.execute("select status from absurd.workflow_run where workflow_run_id = %s", (run,)).fetchone() == (
        "completed",)
    states = conn.execute("select distinct state, attempts from absurd.workflow_step").fetchall()
    assert states == [("completed", 1)]


def test_cleanup_removes_what_the_statement_does(connect):
    """Retried, cancelled, held and young tasks among the others; in the order of their ends."""
    left = []
    for setting in ("on", "off"):
        conn = connect()
        conn.execute(f"set absurd.direct to {setting}")
        queue = f"clean_{setting}"
        conn.execute("select absurd.create_queue(%s)", (queue,))
        ids = {}
        for n in range(40):
            conn.execute("select set_config('absurd.fake_now', ('2026-01-01'::timestamptz + make_interval(days => %s))::text, false)", (n,))
            options = json.dumps({"max_attempts": 1 + n % 3, "retry_strategy": {"kind": "none"}})
            task, run = conn.execute("select task_id, run_id from absurd.spawn_task(%s, %s, '{}', %s)",
                                     (queue, str(n), options)).fetchone()
            ids[n] = task
            if n % 7 == 0:
                conn.execute("select absurd.cancel_task(%s, %s)", (queue, task))
            while n % 7 and (runs := claim(conn, queue)):
                conn.execute("select absurd.set_task_checkpoint_state(%s, %s, 'step', '1', %s, 60)",
                             (queue, runs[0][1], runs[0][0]))
                if n % 2:
                    conn.execute("select absurd.fail_run(%s, %s, '1')", (queue, runs[0][0]))
                else:
                    conn.execute("select absurd.complete_run(%s, %s)", (queue, runs[0][0]))
        holder = connect(autocommit=False)
        holder.execute(f"select from absurd.c_{queue} where task_id = %s for share", (ids[2],))
        holder.execute(f"select from absurd.t_{queue} where task_id = %s for key share", (ids[7],))
        holder.execute(f"select from absurd.r_{queue} where task_id = %s for update", (ids[9],))
        conn.execute("set absurd.fake_now to '2026-02-01'")
        removed = [conn.execute("select absurd.cleanup_tasks(%s, %s, %s)", (queue, 86400, limit)).fetchone()[0]
                   for limit in (5, 7, 1000, 1000)]
        assert removed[0] == 5 and removed[1] <= 7 and removed[3] == 0
        rest = [sorted(conn.execute(f"select {what} from absurd.{table}_{queue} t").fetchall())
                for table, what in (("t", "task_name"), ("r", "attempt, state"), ("c", "checkpoint_name"))]
        assert {("2",), ("7",), ("9",)} < set(rest[0])
        holder.rollback()
        removed.append(conn.execute("select absurd.cleanup_tasks(%s, 0, 1000)", (queue,)).fetchone()[0])
        left.append((sum(removed), rest))
        orphans = conn.execute(f"select (select count(*) from absurd.c_{queue} where task_id not in (select task_id from absurd.t_{queue}))"
                               f" + (select count(*) from absurd.r_{queue} where task_id not in (select task_id from absurd.t_{queue}))")
        assert orphans.fetchone()[0] == 0
    assert left[0] == left[1]


def test_many_queues_in_one_backend(connect):
    """More indexes than a backend keeps compiled, with subtransactions and calls within calls between."""
    conn = connect()
    count = 45
    conn.execute("select absurd.create_queue('many_' || n) from generate_series(1, %s) n", (count,))
    conn.execute(
        """create function pg_temp.live(queue text) returns text language plpgsql as $$
           declare run record; state text;
           begin
               perform absurd.spawn_task(queue, 'x', '{}', '{"cancellation": {"max_duration": 60}}');
               begin
                   perform absurd.claim_task(queue, 'worker', 60, 1);
                   raise division_by_zero;
               exception when division_by_zero then null;
               end;
               select * into run from absurd.claim_task(queue, 'worker', 60, 1);
               perform absurd.set_task_checkpoint_state(queue, run.task_id, 'step', '1', run.run_id, 60);
               perform absurd.complete_run(queue, run.run_id);
               return (select r.state from absurd.get_task_result(queue, run.task_id) r);
           end $$"""
    )
    for _ in range(2):
        states = conn.execute("select pg_temp.live('many_' || n) from generate_series(1, %s) n", (count,)).fetchall()
        assert states == [("completed",)] * count
    conn.execute("select absurd.drop_queue('many_' || n) from generate_series(1, %s) n", (count,))


def test_tables_may_be_altered_meanwhile(connect, conn, queue):
    """Indexes come, go and are built anew, columns and triggers come and go, while two backends work."""
    conn.execute("create or replace function public.nothing() returns trigger language plpgsql as 'begin return null; end'")
    over, failures, lives = threading.Event(), [], []

    def work():
        mine = connect()
        while not over.is_set():
            try:
                mine.execute("select absurd.spawn_task(%s, 'x', '{}')", (queue,))
                for run in claim(mine, queue):
                    mine.execute("select absurd.set_task_checkpoint_state(%s, %s, 'step', '1', %s, 60)",
                                 (queue, run[1], run[0]))
                    mine.execute("select absurd.complete_run(%s, %s)", (queue, run[0]))
                    lives.append(run[0])
            except psycopg.Error as error:
                failures.append(error)
                return

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for n in range(8):
        seen = len(lives)
        for change in (
            f'create index concurrently mine on absurd."r_{queue}" (tenant_id) where attempt > 1',
            f'reindex index concurrently absurd."r_{queue}_rdy"',
            f'alter table absurd."t_{queue}" add column extra_{n} text default \'x\'',
            f'create trigger nothing after update on absurd."r_{queue}" for each row execute function public.nothing()',
            f'vacuum absurd."r_{queue}", absurd."t_{queue}", absurd."c_{queue}"',
            f'drop trigger nothing on absurd."r_{queue}"',
            f'alter table absurd."t_{queue}" drop column extra_{n}',
            "drop index concurrently absurd.mine",
        ):
            conn.execute(change)
        while len(lives) < seen + 20 and not failures:
            over.wait(0.01)
    over.set()
    for thread in threads:
        thread.join(30)
    assert failures == []
    states = conn.execute(f'select state, count(*) from absurd."r_{queue}" group by 1').fetchall()
    assert dict(states).get("completed") == len(set(lives)) == len(lives)
