"""What SQL sees of registering, starting and working workflow documents."""

import psycopg
import pytest
from documents import branches, chain, document, step, task, unique
from player import Worker, register, run_row, start, states, status, steps
from psycopg.types.json import Jsonb


def refused(sqlstate, call, *fragments):
    with pytest.raises(psycopg.Error) as caught:
        call()
    assert caught.value.sqlstate == sqlstate, caught.value
    for fragment in fragments:
        assert fragment in str(caught.value), caught.value


def value(conn, query, *values):
    return conn.execute(query, values).fetchone()[0]


# Registration --------------------------------------------------------------------------------


def test_same_content_again_is_no_new_registration(conn, queue):
    doc = chain(2)
    first = register(conn, doc, queue)
    assert first[3] is True and len(first[2]) == 64
    again = register(conn, doc | {"unknown": 1, "description": ""}, queue)
    assert again == (*first[:3], False)


def test_other_content_under_a_version_is_refused(conn):
    doc = chain(2)
    register(conn, doc)
    refused(
        "42710", lambda: register(conn, doc | {"description": "x"}), doc["name"], "other content"
    )


def test_yaml_and_json_hash_alike(conn):
    name = unique()
    doc = document(task("a", kwargs={"n": 1.0}), name=name)
    text = f"name: {name}\ntasks:\n  a: {{task_id: a, operator_type: task, function: f.a, kwargs: {{n: 1.0}}}}\n"
    query = "select workflow_hash, created from absurd.register_workflow_yaml(%s)"
    yaml_hash, created = conn.execute(query, (text,)).fetchone()
    assert created
    assert register(conn, doc)[2:] == (yaml_hash, False)


@pytest.mark.parametrize(
    "doc, fragments",
    [
        (document(task("a", "nobody")), ("a", "nobody")),
        (document(task("a", "b"), task("b", "a")), ("cycle",)),
        (document(step("try_catch", "t")), ("Unknown operator type: try_catch",)),
        ({"name": "Bad Name", "tasks": {}}, ("Bad Name",)),
        ({"name": "ends_", "tasks": {}}, ("ends_",)),
        (document(task("a"), schedule="nope"), ("schedule",)),
    ],
)
def test_documents_that_cannot_run_are_refused(conn, doc, fragments):
    refused("22023", lambda: register(conn, doc), *fragments)
    assert value(
        conn, "select count(*) from absurd.workflow_definition where workflow_name = %s", doc["name"]
    ) == 0


def test_the_queue_must_exist_and_may_change(conn, queue):
    doc = chain(1)
    refused("42P01", lambda: register(conn, doc, "nowhere"))
    register(conn, doc)
    refused("22004", lambda: start(conn, doc["name"]), "p_queue_name")
    assert register(conn, doc, queue)[3] is False
    start(conn, doc["name"])


def test_stored_documents_are_listed(conn, queue):
    name = unique()
    register(conn, chain(1, name=name, version="1"), queue)
    register(conn, chain(2, name=name, version="0"), queue)
    rows = conn.execute(
        "select workflow_version, is_latest from absurd.list_workflows() where workflow_name = %s",
        (name,),
    ).fetchall()
    assert rows == [("0", True), ("1", False)]
    query = "select workflow_version, document -> 'tasks' ? 's1' from absurd.get_workflow(%s, %s)"
    assert conn.execute(query, (name, None)).fetchone() == ("0", True)
    assert conn.execute(query, (name, "1")).fetchone() == ("1", False)
    refused("P0002", lambda: conn.execute(query, (name, "2")), name)


# Starting ------------------------------------------------------------------------------------


def test_the_version_registered_last_is_started(conn, queue):
    name = unique()
    register(conn, chain(1, name=name, version="9"), queue)
    old = start(conn, name)
    register(conn, chain(2, name=name, version="1"), queue)
    new = start(conn, name)
    assert (run_row(conn, old)["workflow_version"], run_row(conn, new)["workflow_version"]) == (
        "9",
        "1",
    )
    # The old run keeps its version.
    worker = Worker(conn, queue)
    worker.work()
    assert list(states(conn, old)) == ["s0"] and list(states(conn, new)) == ["s0", "s1"]
    assert status(conn, old) == status(conn, new) == "completed"


def test_options_of_start(conn, queue):
    name = register(conn, chain(1), queue)[0]
    run = start(conn, name, {"a": 1}, created_by="me", tags={"t": 1}, idempotency_key="k")
    row = run_row(conn, run)
    assert (row["created_by"], row["tags"], row["inputs"]) == ("me", {"t": 1}, {"a": 1})
    assert row["absurd_queue"] == queue and row["root_run_id"] == run
    assert start(conn, name, idempotency_key="k") == run
    other = register(conn, chain(1), queue)[0]
    assert start(conn, other, idempotency_key="k") != run


@pytest.mark.parametrize(
    "call, sqlstate",
    [
        ("start_workflow('no_such')", "P0002"),
        ("start_workflow(null)", "22004"),
        ("start_workflow('{name}', '7')", "P0002"),
        ("start_workflow('{name}', null, '[]')", "22023"),
        ("start_workflow('{name}', null, '{{}}', 'nowhere')", "42P01"),
        ("start_workflow('{name}', null, '{{}}', null, '{{\"tags\": 1}}')", "22023"),
        ("workflow_run_steps('00000000-0000-0000-0000-000000000000')", "P0002"),
        ("workflow_run_context(null)", "22004"),
        ("pause_workflow('no_such')", "P0002"),
        ("advance_timers('nowhere')", "42P01"),
        ("advance_timers(null, 0)", "22023"),
        ("run_schedules(null)", "22004"),
        ("workflow_diagram('no_such')", "P0002"),
    ],
)
def test_wrong_arguments(conn, queue, call, sqlstate):
    name = register(conn, chain(1), queue)[0]
    refused(sqlstate, lambda: conn.execute(f"select absurd.{call.format(name=name)}"))


def test_an_empty_document_completes_at_once(conn, queue):
    run = start(conn, register(conn, document(), queue)[0])
    row = run_row(conn, run)
    assert (row["status"], row["result"]) == ("completed", {})
    history = conn.execute(
        "select from_status, to_status from absurd.workflow_run_history(%s)", (run,)
    ).fetchall()
    assert history == [("pending", "running"), ("running", "completed")]


# Steps, progress, context ----------------------------------------------------------------------


def test_tasks_carry_what_identifies_them(conn, queue):
    doc = document(task("a", args=["{{x}}"], kwargs={"k": 2}, metadata={"team": "t"}), version="1.0")
    name = register(conn, doc, queue)[0]
    run = start(conn, name, {"x": [1]})
    (claimed,) = Worker(conn, queue).claim()
    assert claimed["task_name"] == "f.a"
    assert claimed["params"] == {"args": [[1]], "kwargs": {"k": 2}}
    assert claimed["headers"] == {
        "team": "t",
        "workflow_run_id": str(run),
        "workflow_step": "a",
        "workflow_name": name,
        "workflow_version": "1.0",
        "workflow_step_name": f"{name}__1.0__a",
    }
    (linked,) = conn.execute(
        "select task_id from absurd.workflow_run_tasks(%s)", (run,)
    ).fetchone()
    assert linked == claimed["task_id"] == steps(conn, run)["a"]["task_id"]


def test_steps_come_in_the_order_of_execution(conn, queue):
    run = start(conn, register(conn, document(task("z"), task("a", "z"), task("m", "a")), queue)[0])
    worker = Worker(conn, queue)
    worker.claim()
    worker.complete("z", {"n": 1})
    found = steps(conn, run)
    assert list(found) == ["z", "a", "m"]
    assert found["z"]["result"] == {"n": 1} and found["z"]["attempts"] == 1
    assert found["z"]["operator"] == "task" and found["z"]["queue_name"] == queue
    assert [s["state"] for s in found.values()] == ["completed", "running", "pending"]


def test_progress_counts_steps(conn, queue):
    doc = document(
        step("condition", "check", condition="false", if_true="yes"),
        task("yes", "check"),
        task("bad"),
        task("after", "bad"),
        task("good"),
    )
    run = start(conn, register(conn, doc, queue)[0])
    worker = Worker(conn, queue)
    worker.claim()
    query = "select * from absurd.workflow_run_progress(%s)"
    assert conn.execute(query, (run,)).fetchone() == (5, 1, 2, 0, 1, 0, 0, 40.0, 1)
    worker.fail("bad")
    worker.complete("good")
    assert conn.execute(query, (run,)).fetchone() == (5, 0, 0, 0, 2, 2, 0, 60.0, 1)
    assert status(conn, run) == "failed"


def test_context(conn, queue):
    doc = document(task("a", result_key="x"), task("b", "a"), variables={"v": [1]})
    run = start(conn, register(conn, doc, queue)[0], {"i": None})
    query = "select absurd.workflow_run_context(%s)"
    expected = {"inputs": {"i": None}, "variables": {"v": [1]}, "results": {}}
    assert value(conn, query, run) == expected
    worker = Worker(conn, queue)
    worker.claim()
    worker.complete("a", "result")
    assert value(conn, query, run) == expected | {"results": {"x": "result"}}


def test_diagrams(conn, queue):
    doc = document(task("a"), step("parallel", "fork", "a", **branches(x=[task("x1")], y=[])))
    name = register(conn, doc, queue)[0]
    text = value(conn, "select absurd.workflow_diagram(%s)", name)
    assert text.startswith("flowchart TD\n") and "subgraph" in text and "x1" in text
    run = start(conn, name)
    worker = Worker(conn, queue)
    worker.claim()
    worker.fail("a")
    text = value(conn, "select absurd.workflow_run_diagram(%s)", run)
    assert "classDef failed" in text and "classDef upstream_failed" in text


def test_dynamic_items(conn, queue):
    body = [task("s1", "each", args=["{{item}}"], is_internal_loop_task=True)]
    loop = step("foreach", "each", items="{{items}}", dynamic=True, loop_body=body, parallel=True)
    run = start(conn, register(conn, document(loop), queue)[0], {"items": [1]})
    worker = Worker(conn, queue)
    assert worker.paths() == ["each[0]/s1"]
    add = lambda items, path="each": conn.execute(  # noqa: E731
        "select absurd.add_workflow_items(%s, %s, %s)", (run, path, Jsonb(items))
    )
    add([2, 3])
    assert worker.paths() == ["each[1]/s1", "each[2]/s1"]
    refused("22023", lambda: add({"not": "a list"}))
    refused("P0002", lambda: add([1], "nowhere"))
    refused("55000", lambda: add([1], "each[0]/s1"))
    for place in range(3):
        worker.complete(f"each[{place}]/s1", place)
    assert status(conn, run) == "completed"
    assert steps(conn, run)["each"]["result"] == [0, 1, 2]
    refused("55000", lambda: add([1]))


# Status by hand ----------------------------------------------------------------------------------


def test_the_status_of_an_executed_run_is_the_engines(conn, queue):
    run = start(conn, register(conn, chain(1), queue)[0])
    for statement in (
        "select absurd.update_workflow_run_status(%s, 'completed')",
        "update absurd.workflow_run set status = 'failed' where workflow_run_id = %s",
        "update absurd.workflow_run set root_run_id = null where workflow_run_id = %s",
    ):
        refused("55000", lambda: conn.execute(statement, (run,)))  # noqa: B023
    refused(
        "55000",
        lambda: conn.execute("select absurd.update_workflow_run_status(%s, 'completed')", (run,)),
        "cancel_workflow_run",
    )
    # What does not concern its course may be noted.
    conn.execute("select absurd.update_workflow_run_status(%s, 'running', null, null, null, null, 7)", (run,))
    assert run_row(conn, run)["task_count"] == 7


def test_a_run_that_names_a_registered_document_must_match_it(conn, queue):
    name, version, digest, _ = register(conn, chain(1), queue)
    query = "select absurd.create_workflow_run(%s, %s, workflow_hash => %s)"
    conn.execute(query, (name, version, digest))
    refused("22023", lambda: conn.execute(query, (name, version, "other")), digest)
    conn.execute(query, (name, "another", "other"))


# Transitions of one call ------------------------------------------------------------------------


def test_a_scope_that_one_call_changes_twice(conn, queue):
    """A step's end changes its branch and, by an event, wakes another step of the branch in the same call."""
    run = unique("changed")
    doc = document(
        step("parallel", "fork", **branches(b=[
            task("x"), step("wait_for_event", "w", event_name=run), task("z", "w"),
        ])),
        step("emit_event", "y", "x", event_name=run),
        name=run,
    )
    register(conn, doc, queue)
    started = start(conn, run)
    worker = Worker(conn, queue)
    worker.claim()
    worker.complete("fork.b/x")
    assert states(conn, started)["fork.b/w"] == "completed"
    worker.claim()
    worker.complete("fork.b/z")
    assert status(conn, started) == "completed"


def test_a_step_that_one_call_writes_twice(conn, queue):
    """Among many steps that are written at once, and alone afterwards."""
    name = unique("written")
    told = [f"e{n}" for n in range(7)]
    doc = document(
        task("p"), task("x"),
        *(step("emit_event", each, "x", event_name=f"{name}_{each}") for each in told),
        step("wait_for_event", "w", event_name=f"{name}_e0"),
        step("join", "last", join_tasks=["p", "x", "w", *told]),
        name=name,
    )
    register(conn, doc, queue)
    started = start(conn, name)
    worker = Worker(conn, queue)
    worker.claim()
    worker.complete("p")
    worker.complete("x")
    assert set(states(conn, started).values()) == {"completed"}
    assert status(conn, started) == "completed"
