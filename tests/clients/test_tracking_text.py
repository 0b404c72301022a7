"""The examples of the client's page on workflow tracking, run as printed.

Adapted where they cannot run as printed: a UUID in the parameters of a task becomes text, since the
client writes them as JSON; and every status example gets a workflow run of its own.

`datetime.now()` has no time zone, so the database reads it in the zone of the session: the examples
run in sessions on either side of the client's clock too.
"""

import uuid
from datetime import datetime, timedelta

import psycopg
import pytest
from absurd_client import AbsurdClient

from support import SEARCH_PATH, in_order, row, rows, run, table, value


@pytest.fixture(params=["UTC", "Pacific/Kiritimati", "Etc/GMT+12"])
def conn(database, request):
    """The session's clock agrees with the client's, is ahead of it, or behind it."""
    with psycopg.connect(
        database, autocommit=True, options=f"{SEARCH_PATH} -c timezone={request.param}"
    ) as connection:
        yield connection


def stored(conn, workflow_run_id):
    query = "select * from absurd.workflow_run where workflow_run_id = %s"
    return row(conn, query, workflow_run_id)


def history(conn, workflow_run_id):
    found = rows(conn, "select * from absurd.workflow_run_history(%s)", workflow_run_id)
    return [(change["from_status"], change["to_status"]) for change in found]


def in_session(conn, moment):
    """A datetime without zone, as the session reads it."""
    return value(conn, "select %s::timestamp::timestamptz", moment)


client = AbsurdClient(queue_name="workflow_queue")


def create(conn):
    return client.create_workflow_run(
        conn=conn,
        workflow_name="data_pipeline",
        workflow_version="1.0.0",
        inputs={"source": "s3://bucket/data", "target": "warehouse"},
        created_by="pipeline_system",
        tags={"environment": "production", "priority": "high"},
        workflow_hash="sha256_hash_of_definition",
    )


def test_creating_a_workflow_run(conn):
    workflow_run_id = create(conn)
    found = stored(conn, workflow_run_id)
    assert isinstance(workflow_run_id, uuid.UUID)
    assert found["workflow_name"] == "data_pipeline"
    assert found["workflow_version"] == "1.0.0"
    assert found["inputs"] == {"source": "s3://bucket/data", "target": "warehouse"}
    assert found["created_by"] == "pipeline_system"
    assert found["tags"] == {"environment": "production", "priority": "high"}
    assert found["workflow_hash"] == "sha256_hash_of_definition"
    assert found["absurd_queue"] == "workflow_queue"
    assert found["status"] == "pending"
    assert found["created_at"] is not None
    for column in ("absurd_run_id", "result", "error", "started_at", "completed_at", "task_count"):
        assert found[column] is None, column
    assert history(conn, workflow_run_id) == []


@pytest.mark.parametrize("name", ["Data", "1data", "data-pipeline", "_data", "", "data pipeline"])
def test_names_that_the_page_rules_out(conn, name):
    with pytest.raises(psycopg.Error) as refusal:
        client.create_workflow_run(conn, name, "1.0.0")
    assert refusal.value.sqlstate == "22023"


@pytest.mark.parametrize("version", ["1 0", "1/0", "", "1.0\n", "é"])
def test_versions_that_the_page_rules_out(conn, version):
    with pytest.raises(psycopg.Error) as refusal:
        client.create_workflow_run(conn, "data_pipeline", version)
    assert refusal.value.sqlstate == "22023"


@pytest.mark.parametrize("name, version", [("data__pipeline", "1.0.0"), ("data_pipeline", "1__0")])
def test_double_underscores(conn, name, version):
    with pytest.raises(ValueError):
        client.create_workflow_run(conn, name, version)
    with pytest.raises(psycopg.Error) as refusal:  # and past the client's own check
        conn.execute(
            "insert into workflow_run (workflow_run_id, workflow_name, workflow_version, status)"
            " values (%s, %s, %s, 'pending')",
            (uuid.uuid4(), name, version),
        )
    assert refusal.value.sqlstate == "22023"


def test_status_running_then_completed(conn):
    workflow_run_id = create(conn)
    before = datetime.now()
    client.update_workflow_run_status(
        conn=conn,
        workflow_run_id=workflow_run_id,
        status="running",
        started_at=datetime.now(),
    )
    found = stored(conn, workflow_run_id)
    assert found["status"] == "running"
    assert in_order(in_session(conn, before), found["started_at"], in_session(conn, datetime.now()))

    client.update_workflow_run_status(
        conn=conn,
        workflow_run_id=workflow_run_id,
        status="completed",
        result={
            "output": "final_result",
            "metrics": {"processed_records": 1000, "duration": "5min"},
        },
        completed_at=datetime.now(),
        task_count=10,
    )
    found = stored(conn, workflow_run_id)
    assert found["status"] == "completed"
    assert found["result"] == {
        "output": "final_result",
        "metrics": {"processed_records": 1000, "duration": "5min"},
    }
    assert found["task_count"] == 10
    assert found["started_at"] <= found["completed_at"]
    assert in_order(found["completed_at"], in_session(conn, datetime.now()))
    assert history(conn, workflow_run_id) == [("pending", "running"), ("running", "completed")]


def failure():
    return {
        "type": "ProcessingError",
        "message": "Data source unavailable",
        "details": {
            "source_url": "s3://bucket/data",
            "attempted_at": datetime.now().isoformat(),
            "retries_attempted": 3,
        },
        "timestamp": datetime.now().isoformat(),
    }


def test_status_failed_with_the_error(conn):
    workflow_run_id = create(conn)
    client.update_workflow_run_status(
        conn=conn,
        workflow_run_id=workflow_run_id,
        status="running",
        started_at=datetime.now(),
    )
    error = failure()
    client.update_workflow_run_status(
        conn=conn, workflow_run_id=workflow_run_id, status="failed", error=error
    )
    found = stored(conn, workflow_run_id)
    assert (found["status"], found["error"], found["result"]) == ("failed", error, None)
    # Nobody gave the end: it is filled in, and not before a start by another clock.
    assert found["completed_at"] >= found["started_at"]
    assert history(conn, workflow_run_id) == [("pending", "running"), ("running", "failed")]


def test_one_run_does_not_do_all_that_the_page_prints(conn):
    workflow_run_id = create(conn)
    client.update_workflow_run_status(conn, workflow_run_id, "running")
    client.update_workflow_run_status(conn, workflow_run_id, "completed", result={"output": 1})
    with pytest.raises(psycopg.Error) as refusal:
        client.update_workflow_run_status(conn, workflow_run_id, "failed", error=failure())
    assert refusal.value.sqlstate == "55000"
    assert "from completed to failed" in refusal.value.diag.message_primary
    found = stored(conn, workflow_run_id)
    assert (found["status"], found["result"], found["error"]) == ("completed", {"output": 1}, None)


def test_every_status_of_the_page_exists(conn):
    reached = set()
    for path in (["running", "completed"], ["failed"], ["cancelled"], []):
        workflow_run_id = create(conn)
        reached.add(stored(conn, workflow_run_id)["status"])
        for status in path:
            client.update_workflow_run_status(conn, workflow_run_id, status)
            assert stored(conn, workflow_run_id)["status"] == status
            reached.add(status)
    assert reached == {"pending", "running", "completed", "failed", "cancelled"}
    with pytest.raises(psycopg.Error) as refusal:
        client.update_workflow_run_status(conn, create(conn), "paused")
    assert refusal.value.sqlstate == "22023"


def test_linking_a_task(conn):
    workflow_run_id = create(conn)
    task_id, run_id, actual_workflow_run_id = client.spawn_task(
        conn=conn,
        task_name="extract_data",
        params={"workflow_run_id": str(workflow_run_id)},
        headers={"workflow_run_id": str(workflow_run_id)},
    )
    # The third value is the run's id, since the keyword workflow_run_id was not given.
    assert actual_workflow_run_id == run_id
    found = row(conn, "select * from absurd.workflow_run_tasks(%s)", workflow_run_id)
    assert (found["task_id"], found["task_name"]) == (task_id, "extract_data")
    assert found["state"] == "pending"
    (task,) = table(conn, "t", "workflow_queue", "task_id = %s", task_id)
    assert task["workflow_run_id"] == workflow_run_id


def test_linking_a_task_by_the_keyword(conn):
    workflow_run_id = create(conn)
    task_id, _, actual_workflow_run_id = client.spawn_task(
        conn=conn, task_name="extract_data", params={}, workflow_run_id=workflow_run_id
    )
    assert actual_workflow_run_id == workflow_run_id
    found = row(conn, "select * from absurd.workflow_run_tasks(%s)", workflow_run_id)
    assert found["task_id"] == task_id


def test_a_task_cannot_join_a_run_that_has_ended(conn):
    workflow_run_id = create(conn)
    client.update_workflow_run_status(conn, workflow_run_id, "cancelled")
    client.create_queue(conn)
    before = len(table(conn, "t", "workflow_queue"))
    with pytest.raises(psycopg.Error) as refusal:
        client.spawn_task(conn, "extract_data", {"workflow_run_id": str(workflow_run_id)})
    assert refusal.value.sqlstate == "55000"
    with pytest.raises(psycopg.Error) as refusal:
        client.spawn_task(conn, "extract_data", {}, headers={"workflow_run_id": str(uuid.uuid4())})
    assert refusal.value.sqlstate == "P0002"
    assert len(table(conn, "t", "workflow_queue")) == before


def execute_data_pipeline(conn, fail=None):
    """The page's full example; the tasks' logic that it leaves out claims and completes them."""
    client = AbsurdClient(queue_name="pipeline_queue")

    def process(task_id):
        ((run_id, claimed, *_),) = client.claim_task(conn)
        assert claimed == task_id
        if fail:
            client.fail_task(conn, run_id, str(fail))
            raise fail
        client.complete_task(conn, run_id, {"of": str(task_id)})

    workflow_run_id = client.create_workflow_run(
        conn=conn,
        workflow_name="data_pipeline",
        workflow_version="1.0.0",
        inputs={"source": "s3://bucket/data", "target": "warehouse"},
        created_by="etl_system",
        tags={"environment": "production", "team": "data-eng"},
    )
    client.update_workflow_run_status(
        conn=conn,
        workflow_run_id=workflow_run_id,
        status="running",
        started_at=datetime.now(),
    )
    try:
        extract_task_id, extract_run_id, _ = client.spawn_task(
            conn=conn,
            task_name="extract_data",
            params={"workflow_run_id": str(workflow_run_id), "source": "s3://bucket/data"},
            headers={"workflow_run_id": str(workflow_run_id)},
        )
        process(extract_task_id)
        transform_task_id, transform_run_id, _ = client.spawn_task(
            conn=conn,
            task_name="transform_data",
            params={"workflow_run_id": str(workflow_run_id), "input_format": "raw"},
            headers={"workflow_run_id": str(workflow_run_id)},
        )
        process(transform_task_id)
        client.update_workflow_run_status(
            conn=conn,
            workflow_run_id=workflow_run_id,
            status="completed",
            result={"output": "warehouse", "records_processed": 10000},
            completed_at=datetime.now(),
            task_count=2,
        )
    except Exception as e:
        client.update_workflow_run_status(
            conn=conn,
            workflow_run_id=workflow_run_id,
            status="failed",
            error={
                "type": type(e).__name__,
                "message": str(e),
                "timestamp": datetime.now().isoformat(),
            },
        )
        raise
    return workflow_run_id


def test_full_example(conn):
    workflow_run_id = execute_data_pipeline(conn)
    found = stored(conn, workflow_run_id)
    assert found["status"] == "completed"
    assert found["result"] == {"output": "warehouse", "records_processed": 10000}
    assert (found["task_count"], found["absurd_queue"]) == (2, "pipeline_queue")
    tasks = rows(conn, "select * from absurd.workflow_run_tasks(%s)", workflow_run_id)
    assert [(task["task_name"], task["state"]) for task in tasks] == [
        ("extract_data", "completed"),
        ("transform_data", "completed"),
    ]
    assert [task["result"] for task in tasks] == [{"of": str(task["task_id"])} for task in tasks]


def test_full_example_that_fails(conn):
    known = {
        found["workflow_run_id"] for found in rows(conn, "select * from absurd.workflow_run")
    }
    with pytest.raises(OSError, match="bucket is gone"):
        execute_data_pipeline(conn, fail=OSError("bucket is gone"))
    (failed,) = [
        found
        for found in rows(conn, "select * from absurd.workflow_run")
        if found["workflow_run_id"] not in known
    ]
    assert failed["status"] == "failed"
    assert (failed["error"]["type"], failed["error"]["message"]) == ("OSError", "bucket is gone")
    task = row(conn, "select * from absurd.workflow_run_tasks(%s)", failed["workflow_run_id"])
    assert (task["task_name"], task["state"]) == ("extract_data", "failed")
    assert task["failure_reason"]["message"] == "bucket is gone"


@pytest.mark.parametrize("claimed", [False, True], ids=["just spawned", "claimed"])
def test_checkpoints_of_a_run(conn, claimed):
    """The page does not say whether the run has been claimed: either will do."""
    client = AbsurdClient(queue_name="checkpoint_queue")
    task_id, run_id, _ = client.spawn_task(conn, "long_work", {})
    if claimed:
        while run_id not in [found[0] for found in client.claim_task(conn, qty=10)]:
            pass

    checkpoints = client.get_checkpoints_for_run(conn, run_id)
    assert (len(checkpoints), list(checkpoints.keys())) == (0, [])
    assert client.get_run_checkpoint(conn, run_id, "progress") is None

    client.save_checkpoint_for_run(
        conn=conn,
        run_id=run_id,
        step_name="current_step",
        data={"step": 3, "total": 10, "status": "in_progress"},
    )
    client.save_checkpoint_for_run(
        conn=conn,
        run_id=run_id,
        step_name="detailed_state",
        data={"state": "processing", "details": {"item": 1, "total": 100}},
        task_id=task_id,
    )
    assert client.get_checkpoints_for_run(conn, run_id) == {
        "current_step": {"step": 3, "total": 10, "status": "in_progress"},
        "detailed_state": {"state": "processing", "details": {"item": 1, "total": 100}},
    }
    assert client.get_run_checkpoint(conn, run_id, "current_step")["step"] == 3
    for found in table(conn, "c", "checkpoint_queue", "task_id = %s", task_id):
        assert (found["owner_run_id"], found["status"]) == (run_id, "committed")
        assert in_order(run(conn, "checkpoint_queue", run_id)["created_at"], found["updated_at"])
    assert value(
        conn, "select absurd.get_run_checkpoint('checkpoint_queue', %s, 'current_step')", run_id
    ) == {"step": 3, "total": 10, "status": "in_progress"}


def test_times_of_a_session_far_from_the_server(conn):
    """A start in the future of the server's clock does not make the end impossible."""
    workflow_run_id = create(conn)
    ahead = datetime.now() + timedelta(hours=20)
    client.update_workflow_run_status(conn, workflow_run_id, "running", started_at=ahead)
    client.update_workflow_run_status(
        conn, workflow_run_id, "completed", completed_at=datetime.now()
    )
    found = stored(conn, workflow_run_id)
    assert found["started_at"] == in_session(conn, ahead)
    assert found["completed_at"] == found["started_at"]
