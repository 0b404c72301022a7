"""Roles that are not trusted: whose rights the engine lends to whom, and what it refuses to touch."""

import json
import uuid

import psycopg
import pytest

STEP = {"task_id": "a", "operator_type": "task", "function": "f"}
NEXT = {"task_id": "b", "operator_type": "task", "function": "f", "dependencies": ["a"]}


def value(conn, sql, *values):
    row = conn.execute(sql, values or None).fetchone()
    return row[0] if row else None


def state(conn, sql, *values):
    """The SQLSTATE and message of a statement that must fail; it leaves nothing."""
    with pytest.raises(psycopg.Error) as raised, conn.transaction():
        conn.execute(sql, values or None)
    return raised.value.sqlstate, raised.value.diag.message_primary


@pytest.fixture
def queue(conn):
    name = f"q{uuid.uuid4().hex[:8]}"
    conn.execute("select absurd.create_queue(%s)", (name,))
    return name


@pytest.fixture
def role(conn, connect):
    """Makes roles with grants; sessions as them end with the test."""
    made = []

    def make(*grants):
        name = f"role_{uuid.uuid4().hex[:8]}"
        conn.execute(f"create role {name} login")
        made.append(name)
        for grant in ("usage on schema absurd", *grants):
            conn.execute(f"grant {grant} to {name}")
        session = connect(user=name)
        session.role = name
        return session

    yield make
    for name in made:
        conn.execute(f"drop owned by {name} cascade")
        conn.execute(f"drop role {name}")


@pytest.fixture
def creator(role):
    return role("select, insert, update, delete on absurd.queues",
                "select, insert, update on absurd.workflow_run")


def work(conn, queue):
    """A run at work, with its task."""
    conn.execute("select absurd.spawn_task(%s, 'x', '{}')", (queue,))
    return conn.execute(
        "select run_id, task_id from absurd.claim_task(%s, 'w', 600)", (queue,)).fetchone()


# Whose the tables are ---------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["unpartitioned", "partitioned"])
def test_tables_are_the_owners_whoever_creates_the_queue(conn, creator, mode):
    name = f"made_{mode}"
    creator.execute("select absurd.create_queue(%s, %s)", (name, mode))
    owners = conn.execute(
        "select distinct c.relowner = (select relowner from pg_class where oid ="
        " 'absurd.queues'::regclass) from pg_class c where relnamespace = 'absurd'::regnamespace"
        " and relname ~ %s", (f"^[trcewi]_{name}",)).fetchall()
    assert owners == [(True,)]
    run, task = work(creator, name)
    creator.execute("select absurd.set_task_checkpoint_state(%s, %s, 's', '1', %s)", (name, task, run))
    creator.execute("select absurd.complete_run(%s, %s)", (name, run))
    assert value(creator, "select absurd.cleanup_tasks(%s, 0)", name) == 1
    for sql in ("alter table absurd.t_{0} add column x int",
                "create trigger t after insert on absurd.t_{0} for each row"
                " execute function suppress_redundant_updates_trigger()",
                "drop table absurd.e_{0}"):
        assert state(creator, sql.format(name))[0] == "42501"
    creator.execute("select absurd.drop_queue(%s)", (name,))
    assert value(conn, "select count(*) from pg_class where relname ~ %s", f"^._{name}") == 0


def test_a_queue_that_exists_is_nobodys_secret_and_nothing_more(role, queue):
    nobody = role()
    nobody.execute("select absurd.create_queue(%s)", (queue,))
    assert state(nobody, "select absurd.create_queue('another')")[0] == "42501"
    assert state(nobody, "select * from absurd.list_queues()")[0] == "42501"


@pytest.mark.parametrize("letter", "trcew")
def test_tables_of_a_stranger_are_not_taken_up(conn, creator, letter, queue):
    name = f"prepared_{letter}"
    conn.execute(f"create table absurd.{letter}_{name} (like absurd.{letter}_{queue} including all)")
    conn.execute(f"alter table absurd.{letter}_{name} owner to {creator.role}")
    code, message = state(conn, "select absurd.create_queue(%s)", name)
    assert code == "42P07" and f"{letter}_{name}" in message
    assert value(conn, "select count(*) from absurd.queues where queue_name = %s", name) == 0
    conn.execute("select absurd.adopt_queue(%s)", (name,))
    conn.execute("select absurd.create_queue(%s)", (name,))
    assert work(conn, name)


STRANGE = {
    "trigger": "create trigger code before insert on absurd.t_{0} for each row execute function {1}.fire()",
    "rule": "create rule code as on insert to absurd.t_{0} do also select {1}.call()",
    "policy": "create policy code on absurd.t_{0} using ({1}.call())",
    "default": "alter table absurd.t_{0} alter column task_name set default {1}.call()::text",
    "constraint": "alter table absurd.t_{0} add check ({1}.call())",
    "index": "create index on absurd.t_{0} (task_name) where {1}.call()",
    "column": "alter table absurd.t_{0} add column x {1}.kind",
    "statistics": "create statistics {1}.code on ({1}.call()), state from absurd.t_{0}",
    "expression": "alter table absurd.t_{0} alter column task_name"
                  " set default query_to_xml('select {1}.call()', true, true, '')::text",
    "child": "create table {1}.child () inherits (absurd.t_{0})",
}


@pytest.mark.parametrize("kind", STRANGE)
def test_adopting_refuses_what_it_does_not_know(conn, creator, queue, kind):
    name, schema = f"strange_{kind}", f"s_{uuid.uuid4().hex[:8]}"
    conn.execute(f"create schema {schema} authorization {creator.role}")
    conn.execute(f"create function {schema}.call() returns boolean immutable language sql as 'select true'")
    conn.execute(f"create function {schema}.fire() returns trigger language plpgsql as 'begin return new; end'")
    conn.execute(f"create domain {schema}.kind as text")
    for letter in "trcew":
        conn.execute(f"create table absurd.{letter}_{name} (like absurd.{letter}_{queue} including all)")
        conn.execute(f"alter table absurd.{letter}_{name} owner to {creator.role}")
    conn.execute(STRANGE[kind].format(name, schema))
    with pytest.raises(psycopg.Error) as raised:
        conn.execute("select absurd.adopt_queue(%s)", (name,))
    assert raised.value.sqlstate == "55000" and f"{kind} " in raised.value.diag.message_detail
    owner = "select pg_get_userbyid(relowner) from pg_class where relname = %s"
    assert value(conn, owner, f"t_{name}") == creator.role
    assert state(creator, "select absurd.adopt_queue(%s)", name)[0] == "42501"
    for letter in "trcew":
        conn.execute(f"drop table absurd.{letter}_{name} cascade")
    conn.execute(f"drop schema {schema} cascade")


def test_adopting_takes_others_rights_away(conn, creator, queue):
    name = "once_theirs"
    for letter in "trcew":
        conn.execute(f"create table absurd.{letter}_{name} (like absurd.{letter}_{queue} including all)")
        conn.execute(f"alter table absurd.{letter}_{name} owner to {creator.role}")
    conn.execute(f"grant trigger, references on absurd.t_{name} to public")
    conn.execute(f"grant update (state) on absurd.r_{name} to {creator.role}, public")
    conn.execute("select absurd.adopt_queue(%s)", (name,))
    left = """select count(*) from pg_class c, lateral (select c.relacl union all
                     select attacl from pg_attribute where attrelid = c.oid) l (acl), lateral aclexplode(l.acl) g
               where c.relname like '__once\\_theirs' and g.grantee <> c.relowner"""
    assert value(conn, left) == 0


def test_dropping_a_queue_leaves_one_that_is_called_like_its_week(conn):
    conn.execute("select absurd.create_queue('near'), absurd.create_queue('near_601')")
    conn.execute("select absurd.spawn_task('near_601', 'x', '{}')")
    # As after the extension has been made anew: the tables are there, the registry is empty.
    conn.execute("delete from absurd.queues where queue_name = 'near_601'")
    conn.execute("select absurd.drop_queue('near')")
    assert state(conn, "select absurd.drop_detached_partition('t_near_601')")[0] == "22023"
    assert value(conn, "select count(*) from absurd.t_near_601") == 1
    conn.execute("select absurd.create_queue('near_601'), absurd.drop_queue('near_601')")


def test_triggers_on_the_registry_have_their_own_path(conn, creator):
    schema = f"s_{uuid.uuid4().hex[:8]}"
    conn.execute(f"create schema {schema}")
    conn.execute(f"create table {schema}.log (name text)")
    conn.execute(f"""create function {schema}.note() returns trigger language plpgsql set search_path = {schema}
                     as 'begin insert into log values (new.queue_name); return new; end'""")
    conn.execute(f"create trigger zz_note before insert or update on absurd.queues for each row"
                 f" execute function {schema}.note()")
    conn.execute(f"grant usage on schema {schema} to {creator.role}")
    conn.execute(f"grant insert on {schema}.log to {creator.role}")
    creator.execute("select absurd.create_queue('noted')")
    creator.execute("select absurd.set_queue_policy('noted', '{\"notify\": true}')")
    assert conn.execute(f"select distinct name from {schema}.log").fetchall() == [("noted",)]
    conn.execute("drop trigger zz_note on absurd.queues")
    conn.execute("select absurd.drop_queue('noted')")
    conn.execute(f"drop schema {schema} cascade")


def test_rows_of_any_size_pass_the_guard(role, conn, queue):
    """The guard's row is read after its call, whose memory is gone by then."""
    producer = role()
    conn.execute(f"select absurd.grant_access('{producer.role}', 'producer')")
    text = "x" * 40_000
    run = value(producer, "select absurd.create_workflow_run('large', '1', jsonb_build_object('x', %s::text), created_by => %s)", text, text)
    for n in range(20):
        producer.execute("update absurd.workflow_run set tags = jsonb_build_object('n', %s::int, 'x', %s::text)"
                         " where workflow_run_id = %s", (n, text * n, run))
    kept = conn.execute("select inputs->>'x' = %s, created_by = %s, tags->>'x' = %s from absurd.workflow_run"
                        " where workflow_run_id = %s", (text, text, text * 19, run)).fetchone()
    assert kept == (True, True, True)


def test_a_task_that_may_be_seen_and_not_changed_is_not_cancelled(role, conn, queue):
    worker = role()
    conn.execute(f"select absurd.grant_access('{worker.role}', 'worker')")
    task = value(conn, "select task_id from absurd.spawn_task(%s, 'x', '{}')", queue)
    conn.execute(f"create policy seen on absurd.t_{queue} for select using (true)")
    conn.execute(f"create policy mine on absurd.t_{queue} for update using (false)")
    conn.execute(f"alter table absurd.t_{queue} enable row level security")
    # Half of it is not done either: its run stays.
    with pytest.raises(psycopg.errors.TriggeredDataChangeViolation):
        worker.execute("select absurd.cancel_task(%s, %s)", (queue, task))
    assert value(conn, f"select state from absurd.t_{queue}") == "pending"
    assert value(conn, f"select state from absurd.r_{queue}") == "pending"


def test_moving_rows_to_their_week_fires_nobodys_triggers(role, conn):
    conn.execute("select absurd.create_queue('moved', 'partitioned')")
    conn.execute("create table public.moves (what text, who text)")
    conn.execute("grant insert on public.moves to public")
    holder = role("trigger on absurd.t_moved_d", "create on schema public")
    holder.execute("""create function public.note_move() returns trigger language plpgsql
                      as 'begin insert into public.moves values (tg_op, current_user); return old; end'""")
    holder.execute("create trigger note before delete on absurd.t_moved_d for each row execute function public.note_move()")
    conn.execute("set absurd.fake_now = '2034-09-01'")
    conn.execute("select absurd.spawn_task('moved', 'x', '{}')")
    assert value(conn, "select count(*) from absurd.t_moved_d") == 1
    conn.execute("select absurd.ensure_partitions('moved')")
    conn.execute("reset absurd.fake_now")
    assert value(conn, "select count(*) from absurd.t_moved_d") == 0
    assert value(conn, "select count(*) from public.moves") == 0
    assert value(conn, "select tgenabled::text from pg_trigger where tgname = 'note'") == "O"
    conn.execute("select absurd.drop_queue('moved')")
    conn.execute("drop table public.moves cascade; drop function public.note_move() cascade")


VERBS = {
    "spawn_task": "select * from absurd.spawn_task('{q}', 'y', '{{}}')",
    "claim_task": "select * from absurd.claim_task('{q}', 'w', 30, 5)",
    "complete_run": "select absurd.complete_run('{q}', '{run}')",
    "fail_run": "select absurd.fail_run('{q}', '{run}', '1')",
    "extend_claim": "select absurd.extend_claim('{q}', '{run}', 60)",
    "set_task_checkpoint_state": "select absurd.set_task_checkpoint_state('{q}', '{task}', 's', '1', '{run}')",
    "get_task_checkpoint_states": "select * from absurd.get_task_checkpoint_states('{q}', '{task}', '{run}')",
    "get_task_result": "select * from absurd.get_task_result('{q}', '{task}')",
    "await_event": "select * from absurd.await_event('{q}', '{task}', '{run}', 's', 'e')",
    "emit_event": "select absurd.emit_event('{q}', 'e')",
    "cancel_task": "select absurd.cancel_task('{q}', '{task}')",
    "cleanup_tasks": "select absurd.cleanup_tasks('{q}', 0)",
}


@pytest.mark.parametrize("how", ["another owner", "a view"])
def test_no_verb_uses_a_table_that_is_not_the_engines(conn, creator, queue, how):
    run, task = work(conn, queue)
    if how == "a view":
        conn.execute(f"alter table absurd.t_{queue} rename to base_{queue}")
        conn.execute(f"create view absurd.t_{queue} as select * from absurd.base_{queue}")
    else:
        conn.execute(f"alter table absurd.t_{queue} owner to {creator.role}")
    for verb in VERBS.values():
        code, message = state(conn, verb.format(q=queue, run=run, task=task))
        assert code == "55000" and f"t_{queue}" in message, verb
    if how == "another owner":
        conn.execute("select absurd.adopt_queue(%s)", (queue,))
        conn.execute("select absurd.complete_run(%s, %s)", (queue, run))


@pytest.mark.parametrize("table, column", [
    ("t", "params"), ("t", "task_name"), ("t", "workflow_run_id"), ("r", "task_id"), ("r", "claimed_by"),
    ("r", "event_payload"), ("c", "state"), ("c", "checkpoint_name"), ("e", "payload"), ("w", "step_name"),
])
def test_a_column_of_another_type_is_named_and_not_read(conn, connect, queue, table, column):
    run, task = work(conn, queue)
    conn.execute("select absurd.set_task_checkpoint_state(%s, %s, 's', '1', %s)", (queue, task, run))
    warm = connect()
    warm.execute("select * from absurd.get_task_result(%s, %s)", (queue, task))
    name = f"absurd.{table}_{queue}"
    for (constraint,) in conn.execute(
            "select conname from pg_constraint where conrelid = %s::regclass and contype <> 'n'", (name,)).fetchall():
        conn.execute(f"alter table {name} drop constraint {constraint}")
    for (index,) in conn.execute(
            "select indexrelid::regclass::text from pg_index where indrelid = %s::regclass", (name,)).fetchall():
        conn.execute(f"drop index {index}")
    conn.execute(f"alter table {name} alter column {column} drop default, alter column {column} drop not null")
    conn.execute(f"alter table {name} alter column {column} type bigint using 4711")
    for session in (warm, connect()):
        for verb in VERBS.values():
            code, message = state(session, verb.format(q=queue, run=run, task=task))
            assert code == "55000" and f"{table}_{queue}" in message and column in message, verb


# Trigger functions ------------------------------------------------------------------------------


@pytest.mark.parametrize("function", [
    "event_emission", "workflow_run_guard", "workflow_run_record", "queues_changed",
    "workflow_execution_forget",
])
@pytest.mark.parametrize("when, act", [
    ("before insert on {0} for each row", "insert into {0} values (1)"),
    ("after delete on {0} for each row", "delete from {0}"),
    ("after update on {0} for each statement", "update {0} set event_name = 2"),
    ("before truncate on {0} for each statement", "truncate {0}"),
])
def test_trigger_functions_serve_no_other_table(conn, role, function, when, act):
    nobody = role()
    nobody.execute("create temp table own (event_name bigint, workflow_run_id bigint, status bigint)")
    trigger = f"create trigger t {when.format('own')} execute function absurd.{function}('q')"
    assert state(nobody, trigger)[0] == "42501"
    # Nor for who may make such a trigger.
    with conn.transaction(force_rollback=True):
        conn.execute("create table public.own (event_name bigint, workflow_run_id bigint, status bigint)")
        conn.execute("insert into public.own values (1)")
        conn.execute(f"create trigger t {when.format('public.own')} execute function absurd.{function}('q')")
        code, message = state(conn, act.format("public.own"))
        assert code == "0A000" and '"t"' in message


@pytest.mark.parametrize("when, act", [
    ("after insert", "insert into absurd.e_{0} values ('a')"),
    ("before update", "update absurd.e_{0} set payload = '1'"),
])
def test_a_trigger_function_serves_no_other_event_of_its_table(conn, queue, when, act):
    conn.execute("select absurd.emit_event(%s, 'x')", (queue,))
    conn.execute(f"create trigger more {when} on absurd.e_{queue} for each row"
                 f" execute function absurd.event_emission('{queue}')")
    assert state(conn, act.format(queue))[0] == "0A000"


# Before any lock --------------------------------------------------------------------------------


def test_rights_are_asked_for_before_a_lock_is_waited_for(conn, connect, role, queue):
    """Each of these locks is held by somebody: who lacks the right is told so, and does not wait."""
    conn.execute("select absurd.register_workflow(%s, %s)", (
        json.dumps({"name": "locked", "tasks": {"a": STEP, "b": NEXT}}), queue))
    workflow = value(conn, "select absurd.start_workflow('locked')")
    run = value(conn, "select run_id from absurd.claim_task(%s, 'w', 600)", queue)
    holder = connect(autocommit=False)
    holder.execute("select absurd.create_queue('held')")
    holder.execute("select absurd.emit_event(%s, 'held')", (queue,))
    holder.execute("select absurd.complete_run(%s, %s)", (queue, run))
    holder.execute("select absurd.register_workflow(%s, %s)", (
        json.dumps({"name": "registering", "tasks": {"a": STEP}}), queue))
    nobody, reader = role(), role("select on absurd.queues, absurd.workflow_run")
    for session in (nobody, reader):
        session.execute("set lock_timeout = '200ms'")
        for sql in (
            "select absurd.ensure_queue_tables('{q}')",
            "select absurd.create_queue('more')",
            "select absurd.drop_queue('{q}')",
            "select absurd.set_queue_policy('{q}', '{{\"cleanup_limit\": 5}}')",
            "select absurd.ensure_partitions()",
            "select * from absurd.await_event('{q}', '{run}', '{run}', 's', 'held')",
            "select absurd.emit_event('{q}', 'held')",
            "select absurd.complete_run('{q}', '{run}')",
            "select absurd.cancel_workflow_run('{workflow}')",
            "select absurd.add_workflow_items('{workflow}', 'x', '[]')",
            "select absurd.advance_timers('{q}')",
            "select * from absurd.register_workflow('{{\"name\": \"registering\"}}')",
            "select * from absurd.register_workflow_yaml('not: [a document')",
            "select absurd.start_workflow('locked')",
            "select * from absurd.spawn_task('{q}', 'x', '{{}}', '{{\"workflow_run_id\": \"{workflow}\"}}')",
        ):
            code, _ = state(session, sql.format(q=queue, run=run, workflow=workflow))
            assert code == "42501", (session is nobody, sql)
    assert value(reader, "select absurd.advance_timers()") == 0
    holder.rollback()


# Others' runs -----------------------------------------------------------------------------------


def test_a_row_in_a_queue_of_ones_own_moves_nobody_elses_run(conn, creator, queue):
    conn.execute("select absurd.register_workflow(%s, %s)", (
        json.dumps({"name": "victim", "tasks": {"a": STEP, "b": NEXT}}), queue))
    workflow = value(conn, "select absurd.start_workflow('victim')")
    task = value(conn, f"select task_id from absurd.t_{queue}")
    creator.execute("select absurd.create_queue('forged')")
    for verb in ("select absurd.complete_run('forged', %s, '\"forged\"')",
                 "select absurd.fail_run('forged', %s, '\"forged\"')", "select absurd.cancel_task('forged', %s)"):
        creator.execute("truncate absurd.t_forged, absurd.r_forged")
        creator.execute(
            "insert into absurd.t_forged (task_id, task_name, params, state, attempts, workflow_run_id,"
            " workflow_step, max_attempts) values (%s, 'f', '{}', 'running', 1, %s, true, 1)", (task, workflow))
        run = value(creator, "insert into absurd.r_forged (run_id, task_id, attempt, state, available_at)"
                    " values (gen_random_uuid(), %s, 1, 'running', now()) returning run_id", task)
        creator.execute(verb, (run,))
        conn.execute("select absurd.advance_timers()")
        assert value(conn, "select state from absurd.workflow_run_steps(%s) where path = 'a'",
                     workflow) == "running", verb


def test_a_key_tells_nothing_of_a_hidden_run(conn, creator, queue):
    conn.execute("select absurd.register_workflow(%s, %s)", (
        json.dumps({"name": "keyed", "tasks": {"a": STEP}}), queue))
    conn.execute("""select absurd.start_workflow('keyed', p_options => '{"idempotency_key": "k"}')""")
    conn.execute(f"grant select, insert, update on absurd.t_{queue}, absurd.r_{queue} to {creator.role}")
    with conn.transaction(force_rollback=True):
        conn.execute("alter table absurd.workflow_run enable row level security")
        conn.execute("create policy own on absurd.workflow_run using (created_by = current_user)")
        conn.execute(f"set local session authorization {creator.role}")
        code, message = state(
            conn, """select absurd.start_workflow('keyed', p_options => '{"idempotency_key": "k"}')""")
        assert code == "42501" and "-" not in message.split("hidden")[0].split("run of")[1]


# Names ------------------------------------------------------------------------------------------


def test_operators_functions_and_types_of_others_are_not_used(conn, connect, queue):
    conn.execute("""create schema hostile;
        create function hostile.trap(uuid, uuid) returns boolean language plpgsql as
            $$ begin raise exception 'trapped'; end $$;
        create function hostile.trap(text, text) returns boolean language plpgsql as
            $$ begin raise exception 'trapped'; end $$;
        create function hostile.trap(timestamptz, timestamptz) returns boolean language plpgsql as
            $$ begin raise exception 'trapped'; end $$;
        create function hostile.make_interval(secs double precision) returns interval language plpgsql as
            $$ begin raise exception 'trapped'; end $$;
        create function hostile.count(anyelement) returns bigint language plpgsql as
            $$ begin raise exception 'trapped'; end $$;
        create operator hostile.= (leftarg = uuid, rightarg = uuid, function = hostile.trap);
        create operator hostile.= (leftarg = text, rightarg = text, function = hostile.trap);
        create operator hostile.<= (leftarg = timestamptz, rightarg = timestamptz, function = hostile.trap);
        create domain hostile.jsonb as pg_catalog.jsonb check (false);
        create domain hostile.uuid as pg_catalog.uuid check (false)""")
    conn.execute("select absurd.register_workflow(%s, %s)", (
        json.dumps({"name": "named", "tasks": {"a": STEP, "b": NEXT}}), queue))
    c = connect()
    c.execute("create domain pg_temp.jsonb as pg_catalog.jsonb check (false)")
    c.execute("set search_path = hostile, pg_temp, pg_catalog")
    # Known plans are made anew when the path changes, too.
    for path in ("hostile, pg_catalog", "pg_temp, hostile, pg_catalog", "hostile, pg_temp, pg_catalog"):
        c.execute(f"set search_path = {path}")
        c.execute("select absurd.start_workflow('named')")
        for _ in range(2):
            run, task = c.execute(
                "select run_id, task_id from absurd.claim_task(%s, 'w', 600)", (queue,)).fetchone()
            c.execute("select absurd.set_task_checkpoint_state(%s, %s, 's', '1', %s, 60)", (queue, task, run))
            c.execute("select absurd.complete_run(%s, %s, '1')", (queue, run))
        run, task = work(c, queue)
        c.execute("select * from absurd.await_event(%s, %s, %s, 's', %s)", (queue, task, run, path))
        c.execute("select absurd.emit_event(%s, %s)", (queue, path))
        c.execute("select absurd.cancel_task(%s, %s)", (queue, task))
        c.execute("select absurd.cleanup_tasks(%s, 0)", (queue,))


def test_a_users_trigger_sees_the_callers_path(conn, connect, queue):
    conn.execute("create schema app; create table app.seen (what text)")
    conn.execute("create function app.note() returns trigger language plpgsql as"
                 " $$ begin insert into seen values (current_setting('search_path')); return new; end $$")
    conn.execute(f"create trigger note after insert or update on absurd.t_{queue}"
                 " for each row execute function app.note()")
    c = connect()
    for path in ("app, public", "app"):
        c.execute(f"set search_path = {path}")
        run, _ = work(c, queue)
        c.execute("select absurd.complete_run(%s, %s)", (queue, run))
        assert value(c, "select count(*) from seen where what = %s", path) == 3


# Grants -----------------------------------------------------------------------------------------


def test_a_role_made_anew_inherits_nothing(conn):
    conn.execute("create role again_role")
    conn.execute("select absurd.grant_access('again_role', 'worker')")
    conn.execute("select absurd.create_queue('before')")
    has = "select has_table_privilege('again_role', %s, 'insert')"
    assert value(conn, has, "absurd.t_before")
    conn.execute("drop owned by again_role; drop role again_role; create role again_role")
    conn.execute("select absurd.create_queue('after')")
    assert not value(conn, has, "absurd.t_after")
    conn.execute("alter role again_role rename to renamed_role")
    conn.execute("select absurd.grant_access('renamed_role', 'worker')")
    conn.execute("alter role renamed_role rename to again_role")
    conn.execute("select absurd.create_queue('later')")
    assert value(conn, has, "absurd.t_later")
    conn.execute("drop owned by again_role; drop role again_role")


def test_revoking_one_access_leaves_the_other(conn, queue):
    conn.execute("create role both_role")
    conn.execute("select absurd.grant_access('both_role', 'worker'), absurd.grant_access('both_role', 'viewer', %s)",
                 (queue,))
    conn.execute("select absurd.revoke_access('both_role', 'worker')")
    has = "select has_table_privilege('both_role', %s, %s)"
    assert value(conn, has, f"absurd.t_{queue}", "select")
    assert not value(conn, has, f"absurd.t_{queue}", "update")
    conn.execute("select absurd.create_queue('next')")
    assert not value(conn, has, "absurd.t_next", "select")
    conn.execute("drop owned by both_role; drop role both_role")


@pytest.mark.parametrize("call, code", [
    ("absurd.grant_access(null, 'worker')", "22004"), ("absurd.grant_access('postgres', null)", "22004"),
    ("absurd.grant_access('postgres', 'owner')", "22023"),
    ("absurd.grant_access('postgres', 'worker', 'nowhere')", "42P01"),
    ("absurd.adopt_queue('nowhere')", "42P01"),
])
def test_bad_arguments_are_named(conn, call, code):
    assert state(conn, f"select {call}")[0] == code


# Installing -------------------------------------------------------------------------------------


@pytest.fixture
def bare(database):
    """A database without the extension."""
    name = f"bare_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(database, autocommit=True) as admin:
        admin.execute(f"create database {name}")
        with psycopg.connect(database, dbname=name, autocommit=True) as conn:
            conn.execute("create role early_role")
            yield conn
            conn.execute("drop owned by early_role cascade")
        admin.execute("drop role early_role")
        admin.execute(f"drop database {name} with (force)")


@pytest.mark.parametrize("setup, code", [
    ("create schema absurd authorization early_role", "55000"),
    ("create schema absurd; grant create on schema absurd to early_role", "55000"),
    ("create schema absurd; grant create on schema absurd to public", "55000"),
    ("create schema absurd; create function absurd.spawn_task(text) returns text language sql as 'select $1'", "55000"),
    ("create schema absurd; create domain absurd.jsonb as pg_catalog.jsonb", "55000"),
    ("create schema absurd; create type absurd.pair as (a int)", "55000"),
    ("create schema absurd; create table absurd.t_old (task_id uuid)", None),
    ("create schema absurd; create view absurd.v as select 1 as one", None),
])
def test_the_schema_must_be_the_installers(bare, setup, code):
    bare.execute(setup)
    if code is None:
        bare.execute("create extension absurd")
    else:
        assert state(bare, "create extension absurd")[0] == code
        assert value(bare, "select count(*) from pg_extension where extname = 'absurd'") == 0


def test_another_encoding_is_refused(database):
    with psycopg.connect(database, autocommit=True) as admin:
        admin.execute("create database latin encoding 'LATIN1' locale 'C' template template0")
        with psycopg.connect(database, dbname="latin", autocommit=True) as conn:
            code, message = state(conn, "create extension absurd")
            assert code == "0A000" and "LATIN1" in message
        admin.execute("drop database latin")


def test_strangers_code_in_the_place_of_pg_cron_is_not_called(conn, role):
    other = role()
    with conn.transaction(force_rollback=True):
        conn.execute(f"create schema cron authorization {other.role}")
        conn.execute("""create table cron.job (jobid bigint, schedule text, command text, jobname text);
            create function cron.schedule(text, text, text) returns bigint language sql as 'select 1::bigint';
            create function cron.unschedule(bigint) returns boolean language sql as 'select true'""")
        code, message = state(conn, "select * from absurd.enable_cron()")
        assert code == "55000" and other.role in message
        conn.execute("alter schema cron owner to postgres")
        assert len(conn.execute("select * from absurd.enable_cron()").fetchall()) == 3
        conn.execute(f"alter function cron.schedule(text, text, text) owner to {other.role}")
        assert state(conn, "select * from absurd.enable_cron()")[0] == "55000"


def test_views_of_the_schema_go_with_their_queue_and_others_do_not(conn, queue):
    notices = []
    conn.add_notice_handler(lambda notice: notices.append(notice.message_primary))
    conn.execute(f"create view absurd.all_tasks as select * from absurd.t_{queue}")
    conn.execute(f"create view public.mine as select * from absurd.t_{queue}")
    assert state(conn, "select absurd.drop_queue(%s)", queue)[0] == "2BP01"
    assert value(conn, "select count(*) from pg_views where viewname = 'all_tasks'") == 1
    conn.execute("drop view public.mine")
    conn.execute("select absurd.drop_queue(%s)", (queue,))
    assert any("all_tasks" in notice for notice in notices)
    assert value(conn, "select count(*) from pg_views where viewname = 'all_tasks'") == 0
