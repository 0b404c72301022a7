"""Who may do what: every function as every access, as the table of docs/rights.md has it."""

import re
import uuid
from pathlib import Path

import psycopg
import pytest

DOCUMENT = Path(__file__).parents[2] / "docs" / "rights.md"
ACCESSES = ["usage", "producer", "worker", "viewer", "admin"]
# What is no matter of rights here: there is no pg_cron, and nothing is to be detached.
OTHERWISE = {"enable_cron": "55000", "disable_cron": "55000", "schedule_detach_jobs": "55000"}

CALLS = {
    "spawn_task": "select * from absurd.spawn_task('q', 'x', '{}')",
    "spawn_task with a key":
        "select * from absurd.spawn_task('q', 'x', '{}', '{\"idempotency_key\": \"known\"}')",
    "spawn_task of a workflow run":
        "select * from absurd.spawn_task('q', 'x', '{}', '{\"workflow_run_id\": \"<tracked>\"}')",
    "spawn_tasks": "select * from absurd.spawn_tasks('q', '[{\"task_name\": \"x\"}]')",
    "claim_task": "select * from absurd.claim_task('q', 'w')",
    "complete_run": "select absurd.complete_run('q', '<run>')",
    "complete_runs": "select absurd.complete_runs('q', '{<run>}')",
    "fail_run": "select absurd.fail_run('q', '<run>', '1')",
    "fail_runs": "select absurd.fail_runs('q', '{<run>}')",
    "schedule_run": "select absurd.schedule_run('q', '<run>', now())",
    "extend_claim": "select absurd.extend_claim('q', '<run>', 60)",
    "retry_task": "select * from absurd.retry_task('q', '<failed>')",
    "cancel_task": "select absurd.cancel_task('q', '<task>')",
    "get_task_result": "select * from absurd.get_task_result('q', '<task>')",
    "set_task_checkpoint_state":
        "select absurd.set_task_checkpoint_state('q', '<task>', 's', '1', '<run>', 60)",
    "save_checkpoint_for_run": "select absurd.save_checkpoint_for_run('q', '<run>', 's', '1')",
    "get_task_checkpoint_state": "select * from absurd.get_task_checkpoint_state('q', '<task>', 's')",
    "get_task_checkpoint_states":
        "select * from absurd.get_task_checkpoint_states('q', '<task>', '<run>')",
    "get_checkpoints_for_run": "select * from absurd.get_checkpoints_for_run('q', '<run>')",
    "get_run_checkpoint": "select absurd.get_run_checkpoint('q', '<run>', 's')",
    "await_event": "select * from absurd.await_event('q', '<task>', '<run>', 's', 'e')",
    "emit_event": "select absurd.emit_event('q', 'awaited')",
    "emit_events": "select absurd.emit_events('q', '{awaited}')",
    "cleanup_tasks": "select absurd.cleanup_tasks('q', 0)",
    "cleanup_events": "select absurd.cleanup_events('q', 0)",
    "verify": "select * from absurd.verify('q')",
    "cleanup_all_queues": "select * from absurd.cleanup_all_queues('q')",
    "create_queue": "select absurd.create_queue('new')",
    "create_queue of one that exists": "select absurd.create_queue('q')",
    "drop_queue": "select absurd.drop_queue('other')",
    "ensure_queue_tables": "select absurd.ensure_queue_tables('q')",
    "list_queues": "select * from absurd.list_queues()",
    "get_queue_policy": "select * from absurd.get_queue_policy('q')",
    "set_queue_policy": "select absurd.set_queue_policy('q', '{\"cleanup_limit\": 5}')",
    "ensure_partitions": "select absurd.ensure_partitions('weekly')",
    "list_detach_candidates": "select * from absurd.list_detach_candidates('weekly')",
    "detach_partition": "select absurd.detach_partition('t_weekly', 't_weekly_601')",
    "drop_detached_partition": "select absurd.drop_detached_partition('t_weekly_601')",
    "schedule_detach_jobs": "select * from absurd.schedule_detach_jobs('weekly')",
    "enable_cron": "select * from absurd.enable_cron('q')",
    "disable_cron": "select * from absurd.disable_cron('q')",
    "create_workflow_run": "select absurd.create_workflow_run('w', '1')",
    "update_workflow_run_status": "select absurd.update_workflow_run_status('<tracked>', 'running')",
    "get_workflow_run": "select absurd.get_workflow_run('<tracked>')",
    "list_workflow_runs": "select * from absurd.list_workflow_runs()",
    "workflow_run_tasks": "select * from absurd.workflow_run_tasks('<tracked>')",
    "workflow_run_progress": "select * from absurd.workflow_run_progress('<tracked>')",
    "workflow_run_history": "select * from absurd.workflow_run_history('<tracked>')",
    "cancel_workflow_run": "select absurd.cancel_workflow_run('<tracked>')",
    "cancel_workflow_run of an executed one": "select absurd.cancel_workflow_run('<executed>')",
    "register_workflow": """select * from absurd.register_workflow('{"name": "other", "tasks":
        {"a": {"task_id": "a", "operator_type": "task", "function": "f"}}}')""",
    "register_workflow_yaml": """select * from absurd.register_workflow_yaml('{"name": "other",
        "tasks": {"a": {"task_id": "a", "operator_type": "task", "function": "f"}}}')""",
    "canonical_document": "select absurd.canonical_document('{\"name\": \"w\"}')",
    "get_workflow": "select * from absurd.get_workflow('flow')",
    "list_workflows": "select * from absurd.list_workflows()",
    "workflow_diagram": "select absurd.workflow_diagram('flow')",
    "start_workflow": "select absurd.start_workflow('flow')",
    "workflow_run_steps": "select * from absurd.workflow_run_steps('<executed>')",
    "list_event_waits": "select * from absurd.list_event_waits()",
    "workflow_run_context": "select absurd.workflow_run_context('<executed>')",
    "workflow_run_diagram": "select absurd.workflow_run_diagram('<executed>')",
    "set_current_version": "select absurd.set_current_version('flow', '2.0.0')",
    "delete_workflow": "select absurd.delete_workflow('spare')",
    "pause_workflow": "select absurd.pause_workflow('flow')",
    "resume_workflow": "select absurd.resume_workflow('flow')",
    "advance_timers": "select absurd.advance_timers('q')",
    "run_schedules": "select absurd.run_schedules()",
    "add_workflow_items": "select absurd.add_workflow_items('<executed>', 'loop', '[1]')",
    "retry_workflow_run": "select absurd.cancel_workflow_run('<executed>'); select absurd.retry_workflow_run('<executed>')",
    "pause_workflow_run": "select absurd.pause_workflow_run('<executed>')",
    "resume_workflow_run": "select absurd.pause_workflow_run('<executed>'); select absurd.resume_workflow_run('<executed>')",
    "skip_step": "select absurd.skip_step('<executed>', 'first')",
    "fail_step": "select absurd.fail_step('<executed>', 'first')",
    "complete_run of a step": "select absurd.complete_run('q', '<step>')",
    "grant_access": "select absurd.grant_access('<role>', 'viewer')",
    "revoke_access": "select absurd.revoke_access('<role>', 'viewer')",
    "adopt_queue": "select absurd.adopt_queue('q')",
    "fast_path": "select * from absurd.fast_path()",
    "current_time": "select absurd.current_time()",
    "version": "select absurd.version()",
    "get_schema_version": "select absurd.get_schema_version()",
    "validate_queue_name": "select absurd.validate_queue_name('q')",
    "portable_uuidv7": "select absurd.portable_uuidv7()",
    "uuidv7_timestamp": "select absurd.uuidv7_timestamp(absurd.portable_uuidv7())",
    "uuidv7_floor": "select absurd.uuidv7_floor(now())",
    "week_bucket_utc": "select absurd.week_bucket_utc(now())",
    "partition_week_tag": "select absurd.partition_week_tag(now())",
    "retry_delay_seconds": "select absurd.retry_delay_seconds(null, 1)",
    "workflow_step_name": "select absurd.workflow_step_name('a', '1', 's')",
    "parse_workflow_step_name": "select * from absurd.parse_workflow_step_name('a__1__s')",
}

FLOW = """{"name": "flow", "tasks": {
    "first": {"task_id": "first", "operator_type": "task", "function": "step"},
    "second": {"task_id": "second", "operator_type": "task", "function": "step",
               "dependencies": ["first"]},
    "loop": {"task_id": "loop", "operator_type": "foreach", "items": "{{range(1)}}", "dynamic": true,
             "loop_body": [{"task_id": "body", "operator_type": "task", "function": "body",
                            "dependencies": ["loop"], "is_internal_loop_task": true}]}}}"""


@pytest.fixture(scope="module")
def world(database):
    """A queue with work in every state, another, a weekly one, and a role of each access."""
    tag = uuid.uuid4().hex[:8]
    with psycopg.connect(database, autocommit=True) as su:
        one = lambda sql: su.execute(sql).fetchone()
        for access in ACCESSES:
            su.execute(f"create role {access}_{tag}")
            su.execute(f"grant usage on schema absurd to {access}_{tag}")
            if access != "usage":
                su.execute(f"select absurd.grant_access('{access}_{tag}', '{access}')")
        # Made after the grants, so that each access is one on queues that were not there yet.
        for queue in ("q", "other"):
            su.execute(f"select absurd.create_queue('{queue}')")
        su.execute("select absurd.create_queue('weekly', 'partitioned')")
        su.execute("""select absurd.spawn_task('q', 'keyed', '{}',
            '{"idempotency_key": "known", "available_at": "2100-01-01"}')""")
        known = {"role": f"usage_{tag}"}
        su.execute("select absurd.spawn_task('q', 'failing', '{}', '{\"max_attempts\": 1}')")
        failing, known["failed"] = one("select run_id, task_id from absurd.claim_task('q', 'w')")
        su.execute("select absurd.fail_run('q', %s, '1')", (failing,))
        su.execute("select absurd.spawn_task('q', 'waiting', '{}')")
        run, task = one("select run_id, task_id from absurd.claim_task('q', 'w')")
        su.execute("select absurd.await_event('q', %s, %s, 's', 'awaited')", (task, run))
        su.execute("select absurd.spawn_task('q', 'working', '{}')")
        known["run"], known["task"] = one("select run_id, task_id from absurd.claim_task('q', 'w', 3600)")
        known["tracked"] = one("select absurd.create_workflow_run('tracked', '1')")[0]
        su.execute("select absurd.spawn_task('q', 'linked', '{}', %s::jsonb)", (
            f'{{"workflow_run_id": "{known["tracked"]}", "available_at": "2100-01-01"}}',))
        su.execute("select absurd.register_workflow(%s, 'q')", (FLOW,))
        known["executed"] = one("select absurd.start_workflow('flow')")[0]
        one("select absurd.register_workflow('{\"name\": \"spare\"}', 'q')")
        known["step"] = one("select run_id from absurd.claim_task('q', 'w', 0)")[0]
        su.execute("select absurd.spawn_task('q', 'pending', '{}')")
        yield {"tag": tag, **known}
        for access in ACCESSES:
            su.execute(f"drop owned by {access}_{tag}")
            su.execute(f"drop role {access}_{tag}")


def documented():
    """The table of the document: by call, who may make it."""
    table = {}
    for line in DOCUMENT.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == len(ACCESSES) + 2 and re.match(r"`\w+`", cells[0]):
            for name in cells[0].split(","):
                words = name.replace("`", "").strip()
                table[words] = {a for a, cell in zip(ACCESSES, cells[2:]) if cell == "yes"}
    return table


def answer(conn, world, access, call):
    """None for a call that is done, else the SQLSTATE; nothing of it remains."""
    sql = re.sub(r"<(\w+)>", lambda found: str(world[found[1]]), CALLS[call])
    with conn.transaction(force_rollback=True):
        conn.execute(f"set local session authorization {access}_{world['tag']}")
        try:
            conn.execute(sql)
        except psycopg.Error as error:
            return error.sqlstate
    return None


def test_the_document_names_every_function(conn):
    functions = {name for (name,) in conn.execute(
        "select distinct proname from pg_proc where pronamespace = 'absurd'::regnamespace"
        " and prorettype <> 'trigger'::regtype").fetchall()}
    assert {call.split()[0] for call in CALLS} == functions
    assert set(documented()) == set(CALLS)


@pytest.mark.parametrize("access", ACCESSES)
def test_every_function_as_every_access(conn, world, access):
    allowed = {call for call, accesses in documented().items() if access in accesses}
    answers = {call: answer(conn, world, access, call) for call in CALLS}
    done = {call for call, state in answers.items()
            if state is None or state == OTHERWISE.get(call)}
    assert done == allowed, {call: answers[call] for call in done ^ allowed}
    assert {state for call, state in answers.items() if call not in done} <= {"42501"}
