"""Errors as a client sees them: SQLSTATE, message, detail, hint. And parameters of other types."""

import uuid

import psycopg
import pytest
from psycopg.types.json import Jsonb
from psycopg.types.numeric import Int2

from support import SEARCH_PATH, run, states, table, value


def refusal(conn, query, *values):
    """The error that a statement raises."""
    with pytest.raises(psycopg.Error) as caught:
        conn.execute(query, values)
    return caught.value


def spawn(conn, queue, options="{}"):
    return conn.execute(
        "select task_id, run_id from absurd.spawn_task(%s, 'work', '{}', %s)", (queue, options)
    ).fetchone()


@pytest.fixture
def claimed(conn, queue):
    task_id, run_id = spawn(conn, queue, '{"max_attempts": 2}')
    assert value(conn, "select run_id from absurd.claim_task(%s, 'w')", queue) == run_id
    return task_id, run_id


# Every verb of a run that is told to stop.
VERBS = {
    "complete": "select absurd.complete_run(%(queue)s, %(run)s)",
    "fail": "select absurd.fail_run(%(queue)s, %(run)s, '{}')",
    "schedule": "select absurd.schedule_run(%(queue)s, %(run)s, now())",
    "extend": "select absurd.extend_claim(%(queue)s, %(run)s, 10)",
    "checkpoint": "select absurd.set_task_checkpoint_state(%(queue)s, %(task)s, 's', '1', %(run)s)",
    "await": "select * from absurd.await_event(%(queue)s, %(task)s, %(run)s, 's', 'e')",
}
IN_PLPGSQL = """
do $do$ begin
    {verb};
    raise exception 'not refused';
exception when sqlstate '{sqlstate}' then
    perform set_config('test.caught', sqlstate || ' ' || sqlerrm, false);
end $do$"""


def caught_in_plpgsql(conn, verb, values, sqlstate):
    statement = psycopg.ClientCursor(conn).mogrify(verb, values)
    statement = "perform" + statement.removeprefix("select")
    conn.execute(IN_PLPGSQL.format(verb=statement, sqlstate=sqlstate))
    return value(conn, "select current_setting('test.caught')")


@pytest.mark.parametrize("verb", VERBS.values(), ids=VERBS.keys())
def test_cancelled_is_ab001(conn, queue, claimed, verb):
    task_id, run_id = claimed
    conn.execute("select absurd.cancel_task(%s, %s)", (queue, task_id))
    values = {"queue": queue, "task": task_id, "run": run_id}
    with pytest.raises(psycopg.Error) as caught:
        conn.execute(verb, values)
    error = caught.value
    assert error.sqlstate == "AB001"
    assert str(task_id) in error.diag.message_primary
    assert f'"{queue}"' in error.diag.message_primary
    assert error.diag.message_hint
    text = caught_in_plpgsql(conn, verb, values, "AB001")
    assert text == f"AB001 {error.diag.message_primary}"
    assert states(conn, queue, run_id) == ("cancelled", "cancelled")


@pytest.mark.parametrize("verb", VERBS.values(), ids=VERBS.keys())
def test_failed_is_ab002(conn, queue, claimed, verb):
    task_id, run_id = claimed
    conn.execute("select absurd.fail_run(%s, %s, '{}')", (queue, run_id))
    values = {"queue": queue, "task": task_id, "run": run_id}
    with pytest.raises(psycopg.Error) as caught:
        conn.execute(verb, values)
    error = caught.value
    assert error.sqlstate == "AB002"
    assert str(run_id) in error.diag.message_primary
    assert f'"{queue}"' in error.diag.message_primary
    assert error.diag.message_hint
    text = caught_in_plpgsql(conn, verb, values, "AB002")
    assert text == f"AB002 {error.diag.message_primary}"
    assert states(conn, queue, run_id) == ("failed", "pending")


@pytest.mark.parametrize(
    "strategy",
    [
        '{"kind": "sometimes"}',
        '{"kind": "fixed", "base_seconds": -1}',
        '{"kind": "fixed", "base_seconds": 86401}',
        '{"kind": "exponential", "factor": -2}',
        '{"kind": "exponential", "factor": "2"}',
        '{"kind": "exponential", "max_seconds": 1e9}',
        '"fixed"',
    ],
)
def test_bad_retry_strategy_is_ab003(conn, queue, strategy):
    call = "select absurd.spawn_task(%(queue)s, 'work', '{}', %(options)s)"
    values = {"queue": queue, "options": f'{{"retry_strategy": {strategy}}}'}
    with pytest.raises(psycopg.Error) as caught:
        conn.execute(call, values)
    assert caught.value.sqlstate == "AB003"
    assert "retry_strategy" in caught.value.diag.message_primary
    assert caught_in_plpgsql(conn, call, values, "AB003").startswith("AB003 ")
    assert table(conn, "t", queue) == []


def test_error_in_a_savepoint_leaves_the_transaction_usable(conn, queue, claimed):
    task_id, run_id = claimed
    with conn.transaction():
        with pytest.raises(psycopg.Error) as caught:
            with conn.transaction():
                conn.execute("select absurd.complete_run(%s, %s)", (queue, uuid.uuid4()))
        assert caught.value.sqlstate == "P0002"
        conn.execute("select absurd.complete_run(%s, %s)", (queue, run_id))
    assert states(conn, queue, run_id) == ("completed", "completed")


UNKNOWN_QUEUE = {
    "spawn_task": "select absurd.spawn_task('nowhere', 'work', '{}')",
    "claim_task": "select absurd.claim_task('nowhere', 'w')",
    "complete_run": "select absurd.complete_run('nowhere', %s)",
    "fail_run": "select absurd.fail_run('nowhere', %s, '{}')",
    "schedule_run": "select absurd.schedule_run('nowhere', %s, now())",
    "extend_claim": "select absurd.extend_claim('nowhere', %s, 5)",
    "retry_task": "select absurd.retry_task('nowhere', %s)",
    "cancel_task": "select absurd.cancel_task('nowhere', %s)",
    "get_task_result": "select absurd.get_task_result('nowhere', %s)",
    "set_checkpoint": "select absurd.set_task_checkpoint_state('nowhere', %s, 's', '1', %s)",
    "get_checkpoint": "select absurd.get_task_checkpoint_state('nowhere', %s, 's')",
    "get_checkpoints": "select absurd.get_task_checkpoint_states('nowhere', %s, %s)",
    "await_event": "select absurd.await_event('nowhere', %s, %s, 's', 'e')",
    "emit_event": "select absurd.emit_event('nowhere', 'e')",
    "cleanup_tasks": "select absurd.cleanup_tasks('nowhere', 1)",
    "cleanup_events": "select absurd.cleanup_events('nowhere', 1)",
    "checkpoints_for_run": "select absurd.get_checkpoints_for_run('nowhere', %s)",
    "run_checkpoint": "select absurd.get_run_checkpoint('nowhere', %s, 's')",
    "save_for_run": "select absurd.save_checkpoint_for_run('nowhere', %s, 's', '1')",
}


@pytest.mark.parametrize("query", UNKNOWN_QUEUE.values(), ids=UNKNOWN_QUEUE.keys())
def test_unknown_queue_names_the_relation(conn, query):
    error = refusal(conn, query, *[uuid.uuid4()] * query.count("%s"))
    assert isinstance(error, psycopg.errors.UndefinedTable)
    assert error.sqlstate == "42P01"
    words = error.diag.message_primary
    assert any(f"absurd.{prefix}_nowhere" in words.replace('"', "") for prefix in "trcew"), words
    assert "absurd.create_queue('nowhere')" in error.diag.message_hint


@pytest.mark.parametrize(
    "query",
    [
        "select absurd.set_queue_policy('nowhere', '{}')",
        "select absurd.cleanup_all_queues('nowhere')",
        "select absurd.ensure_queue_tables('nowhere')",
    ],
)
def test_unknown_queue_of_a_policy(conn, query):
    error = refusal(conn, query)
    assert error.sqlstate == "42P01"
    assert error.diag.message_primary == 'Queue "nowhere" does not exist'


@pytest.mark.parametrize(
    "query, sqlstate, words",
    [
        ("select absurd.create_queue(null)", "22004", "Queue name must be provided"),
        ("select absurd.create_queue('')", "22023", "Queue name must be provided"),
        ("select absurd.create_queue(repeat('x', 58))", "42622", "too long"),
        ("select absurd.create_queue(repeat('é', 29))", "42622", "too long"),
        ("select absurd.create_queue('x', 'striped')", "22023", "striped"),
        ("select absurd.spawn_task('{q}', null, '1')", "22004", "task"),
        ("select absurd.spawn_task('{q}', ' ', '1')", "22023", "task"),
        ("select absurd.spawn_task('{q}', 'w', '1', '{{\"max_attempts\": 0}}')", "22023",
         "max_attempts"),
        ("select absurd.spawn_task('{q}', 'w', '1', '{{\"cancellation\": 5}}')", "22023",
         "cancellation"),
        ("select absurd.spawn_task('{q}', 'w', '1', '[]')", "22023", "options"),
        ("select absurd.spawn_task('{q}', 'w', '1', '{{\"workflow_run_id\": \"x\"}}')", "22023",
         "workflow_run_id"),
        ("select absurd.complete_run('{q}', null)", "22004", "run_id"),
        ("select absurd.extend_claim('{q}', gen_random_uuid(), 0)", "22023",
         "extend_by must be > 0"),
        ("select absurd.extend_claim('{q}', gen_random_uuid(), 5)", "P0002", "not found"),
        ("select absurd.complete_run('{q}', gen_random_uuid())", "P0002", "not found"),
        ("select absurd.cancel_task('{q}', gen_random_uuid())", "P0002", "not found"),
        ("select absurd.retry_task('{q}', gen_random_uuid())", "P0002", "not found"),
        ("select absurd.cleanup_tasks('{q}', -1)", "22023", "ttl_seconds"),
        ("select absurd.cleanup_events('{q}', 1, 0)", "22023", "limit"),
        ("select absurd.emit_event('{q}', ' ')", "22023", "event"),
        ("select absurd.emit_event('{q}', null)", "22004", "event"),
        ("select absurd.set_queue_policy('{q}', '{{\"colour\": 1}}')", "22023", "colour"),
        ("select absurd.set_queue_policy('{q}', '{{\"cleanup_limit\": 0}}')", "22023",
         "cleanup_limit"),
        ("select absurd.get_workflow_run(gen_random_uuid())", "P0002", "not found"),
        ("select absurd.create_workflow_run('Bad', '1')", "22023", "Bad"),
        ("select absurd.create_workflow_run(null, '1')", "22004", "workflow_name"),
        ("select absurd.create_workflow_run('good', '1__2')", "22023", "1__2"),
        ("select absurd.cancel_workflow_run(gen_random_uuid())", "P0002", "not found"),
        ("select absurd.workflow_run_tasks(gen_random_uuid())", "P0002", "not found"),
        ("select absurd.workflow_run_history(gen_random_uuid())", "P0002", "not found"),
        ("select absurd.workflow_run_progress(gen_random_uuid())", "P0002", "not found"),
        ("select absurd.list_workflow_runs(page_limit => 0)", "22023", "page_limit"),
        ("select absurd.parse_workflow_step_name('a__b')", "22023", "a__b"),
    ],
)  # fmt: skip
def test_standard_codes(conn, queue, query, sqlstate, words):
    error = refusal(conn, query.format(q=queue))
    assert error.sqlstate == sqlstate, error
    assert words in error.diag.message_primary
    assert table(conn, "t", queue) == []


def test_run_that_is_not_running(conn, queue):
    task_id, run_id = spawn(conn, queue)
    for query in (
        "select absurd.complete_run(%s, %s)",
        "select absurd.schedule_run(%s, %s, now())",
        "select absurd.extend_claim(%s, %s, 5)",
    ):
        error = refusal(conn, query, queue, run_id)
        assert error.sqlstate == "55000"
        assert "is not currently running" in error.diag.message_primary
        assert str(run_id) in error.diag.message_primary
        assert f'"{queue}"' in error.diag.message_primary
    error = refusal(conn, "select absurd.retry_task(%s, %s)", queue, task_id)
    assert error.sqlstate == "55000"
    assert "is not currently failed" in error.diag.message_primary


def test_retry_with_too_few_attempts(conn, queue):
    task_id, run_id = spawn(conn, queue, '{"max_attempts": 1}')
    conn.execute("select absurd.claim_task(%s, 'w')", (queue,))
    conn.execute("select absurd.fail_run(%s, %s, '{}')", (queue, run_id))
    error = refusal(
        conn, """select absurd.retry_task(%s, %s, '{"max_attempts": 1}')""", queue, task_id
    )
    assert error.sqlstate == "22023"
    assert "must be greater than current attempts" in error.diag.message_primary


def test_names_that_collide(conn, queue):
    for name in (f"{queue}_ti", f"{queue}_eai"):
        error = refusal(conn, "select absurd.create_queue(%s)", name)
        assert error.sqlstate == "42P07"
        assert f'"{name}"' in error.diag.message_primary
        assert f"{name}" in error.diag.message_detail
        assert error.diag.message_hint
        known = value(conn, "select count(*) from absurd.queues where queue_name = %s", name)
        assert known == 0


def test_names_that_collide_the_other_way_round(conn):
    conn.execute("select absurd.create_queue('other_ti')")
    error = refusal(conn, "select absurd.create_queue('other')")
    assert error.sqlstate == "42P07"
    assert '"other"' in error.diag.message_primary


def test_too_long_a_name_tells_its_length(conn):
    error = refusal(conn, "select absurd.create_queue(repeat('x', 60))")
    assert "60" in error.diag.message_detail
    assert "57" in error.diag.message_primary


def test_final_workflow_run_hints_at_a_new_one(conn):
    workflow_run_id = value(conn, "select absurd.create_workflow_run('report', '1')")
    update = "select absurd.update_workflow_run_status(%s, %s)"
    conn.execute(update, (workflow_run_id, "cancelled"))
    error = refusal(conn, update, workflow_run_id, "running")
    assert error.sqlstate == "55000"
    assert str(workflow_run_id) in error.diag.message_primary
    assert "from cancelled to running" in error.diag.message_primary
    assert error.diag.message_hint


def test_transition_names_what_is_allowed(conn):
    workflow_run_id = value(conn, "select absurd.create_workflow_run('report', '1')")
    error = refusal(
        conn, "select absurd.update_workflow_run_status(%s, 'completed')", workflow_run_id
    )
    words = error.diag.message_primary
    assert "from pending to completed" in words
    for allowed in ("running", "cancelled", "failed"):
        assert allowed in words


def test_dropping_a_queue_that_others_depend_on(conn, queue):
    conn.execute(f"create view public.watch_{queue} as select task_id from absurd.t_{queue}")
    error = refusal(conn, "select absurd.drop_queue(%s)", queue)
    assert error.sqlstate == "2BP01"
    assert f"watch_{queue}" in f"{error.diag.message_primary} {error.diag.message_detail}"
    assert value(conn, "select count(*) from absurd.queues where queue_name = %s", queue) == 1


# Parameters as clients of other languages send them -----------------------------------------------


def test_claim_with_int2_and_varchar(conn, queue):
    _, run_id = spawn(conn, queue)
    claims = conn.execute(
        "select * from absurd.claim_task(%s::varchar, %s::varchar, %s, %s)",
        (queue, "small", Int2(45), Int2(1)),
    ).fetchall()
    assert [claim[0] for claim in claims] == [run_id]
    stored = run(conn, queue, run_id)
    assert stored["claimed_by"] == "small"
    assert (stored["claim_expires_at"] - stored["started_at"]).total_seconds() == 45


def test_claim_with_named_arguments(conn, queue):
    _, run_id = spawn(conn, queue)
    claims = conn.execute(
        "select * from absurd.claim_task(p_worker_id => %s, p_queue_name => %s, p_qty => %s)",
        ("named", queue, Int2(2)),
    ).fetchall()
    assert [claim[0] for claim in claims] == [run_id]


def test_binary_parameters_and_results(conn, queue):
    """%b sends a value in its binary form; binary=True asks for the results in theirs."""
    cur = conn.cursor(binary=True)
    task_id, run_id = cur.execute(
        "select task_id, run_id from absurd.spawn_task(%b, %b, %b, %b)",
        (queue, "work", Jsonb({"n": [1, "é"]}), Jsonb({"max_attempts": 2})),
    ).fetchone()
    claim = cur.execute(
        "select * from absurd.claim_task(%b, %b, %b, %b)", (queue, "bin", Int2(30), Int2(1))
    ).fetchone()
    assert claim[:5] == (run_id, task_id, 1, "work", {"n": [1, "é"]})
    assert claim[6] == 2
    cur.execute(
        "select absurd.set_task_checkpoint_state(%b, %b, %b, %b, %b, %b)",
        (queue, task_id, "step", Jsonb({"half": True}), run_id, Int2(60)),
    )
    found = cur.execute(
        "select checkpoint_name, state, status, owner_run_id from absurd.get_task_checkpoint_state"
        "(%b, %b, %b, %b)",
        (queue, task_id, "step", False),
    ).fetchone()
    assert found == ("step", {"half": True}, "committed", run_id)
    cur.execute("select absurd.complete_run(%b, %b, %b)", (queue, run_id, Jsonb([1, None])))
    result = cur.execute(
        "select * from absurd.get_task_result(%b, %b)", (queue, task_id)
    ).fetchone()
    assert result == (task_id, "completed", [1, None], None)


def test_execute_with_binary_results_of_every_tracking_function(conn, queue):
    with conn.cursor() as cur:
        (workflow_run_id,) = cur.execute(
            "select absurd.create_workflow_run(%b, %b, %b, tags => %b)",
            ("report", "1", Jsonb({"day": 1}), Jsonb({"team": "a"})),
            binary=True,
        ).fetchone()
        assert isinstance(workflow_run_id, uuid.UUID)
        options = Jsonb({"workflow_run_id": str(workflow_run_id)})
        cur.execute("select absurd.spawn_task(%b, 'work', '{}', %b)", (queue, options))
        cur.execute(
            "select absurd.update_workflow_run_status(%b, %b, task_count => %b)",
            (workflow_run_id, "running", Int2(1)),
            binary=True,
        )
        progress = cur.execute(
            "select * from absurd.workflow_run_progress(%b)", (workflow_run_id,), binary=True
        ).fetchone()
        assert progress[:2] == (1, 1)
        history = cur.execute(
            "select from_status, to_status from absurd.workflow_run_history(%b)",
            (workflow_run_id,),
            binary=True,
        ).fetchall()
        assert history == [("pending", "running")]
        listed = cur.execute(
            "select workflow_run_id, status, task_count from absurd.list_workflow_runs"
            "(status => %b, tags => %b, page_limit => %b)",
            (["running"], Jsonb({"team": "a"}), Int2(10)),
            binary=True,
        ).fetchall()
        assert (workflow_run_id, "running", 1) in listed


def test_pipeline_of_calls(database, conn, queue):
    """Several calls in one round trip; an error ends its own pipeline and nothing of it remains."""
    _, run_id = spawn(conn, queue)
    with psycopg.connect(database, autocommit=True, options=SEARCH_PATH) as other:
        with other.pipeline():
            claim = other.execute(
                "select run_id from absurd.claim_task(%s, 'w', %s)", (queue, Int2(9))
            )
            done = other.execute("select absurd.complete_run(%s, %s)", (queue, run_id))
        assert claim.fetchall() == [(run_id,)]
        assert len(done.fetchall()) == 1
        assert states(conn, queue, run_id) == ("completed", "completed")
        with pytest.raises(psycopg.Error) as caught:
            with other.pipeline():
                other.execute("select absurd.spawn_task(%s, 'lost', '{}')", (queue,))
                other.execute("select absurd.complete_run(%s, %s)", (queue, run_id))
        assert caught.value.sqlstate == "55000"
        assert table(conn, "t", queue, "task_name = 'lost'") == []


def test_void_results_cast_to_text(conn, queue):
    answer = value(conn, "select absurd.emit_event(%s, 'e', '1')::text", queue)
    assert answer == ""
    assert value(conn, "select absurd.create_queue(%s)::text", queue) == ""


def test_prepared_statements_survive_a_queue_made_anew(conn):
    """A session keeps its plans; the queue that they were made for is dropped and made again."""
    for _ in range(3):
        conn.execute("select absurd.create_queue('again')")
        for _ in range(7):
            _, run_id = spawn(conn, "again")
            claims = conn.execute(
                "select run_id from absurd.claim_task('again', 'w')", prepare=True
            ).fetchall()
            assert claims == [(run_id,)]
            conn.execute("select absurd.complete_run('again', %s)", (run_id,), prepare=True)
            assert states(conn, "again", run_id) == ("completed", "completed")
        conn.execute("select absurd.drop_queue('again')")
