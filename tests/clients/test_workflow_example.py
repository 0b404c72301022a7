"""The example of workflow documents, end to end: the documents that examples/workflow_document.py
prints, registered and started here, and worked by processes of examples/workflow_worker.py."""

import json
import re
import subprocess
import sys
import tempfile

import pytest
from highway_dsl import Workflow

from support import ORDERS, ROOT, expected_revenue, row, rows, until, value

EXAMPLES = ROOT / "examples"
QUEUE = "etl"
STEPS = [
    "extract",
    "transform",
    "process_branches",
    "process_branches.branch_a/process_a",
    "process_branches.branch_b/process_b",
    "load",
]
FINAL = ("completed", "failed", "cancelled")


def document(*arguments):
    """What the example prints, as YAML."""
    program = str(EXAMPLES / "workflow_document.py")
    done = subprocess.run(
        [sys.executable, program, *arguments], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


class Worker:
    """A process of the example's worker; killed with the block when it has not ended by then."""

    def __init__(self, dsn, *options):
        self._log = tempfile.TemporaryFile("w+")
        program = str(EXAMPLES / "workflow_worker.py")
        self._process = subprocess.Popen(
            [sys.executable, program, dsn, "--queue", QUEUE, "--poll", "0.02", *options],
            stdout=self._log,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait(timeout=30)
        self._log.close()

    def said(self):
        self._log.seek(0)
        return self._log.read().splitlines()

    def alive(self):
        assert self._process.poll() is None, self.said()

    def ends(self):
        """The lines that it has printed, once it has ended by itself."""
        code = self._process.wait(timeout=60)
        said = self.said()
        assert (code, said[0], said[-1]) == (0, "ready", "stopped"), said
        return said[1:-1]

    def stop(self):
        self.alive()
        self._process.terminate()
        return self.ends()


@pytest.fixture
def etl(conn):
    conn.execute("select absurd.create_queue(%s)", (QUEUE,))


@pytest.fixture
def start(conn, etl):
    """Registers a document for the example's queue and starts a run of it."""

    def started(text):
        known = row(conn, "select * from absurd.register_workflow_yaml(%s, %s)", text, QUEUE)
        return value(
            conn,
            "select absurd.start_workflow(%s, %s)",
            known["workflow_name"],
            known["workflow_version"],
        )

    return started


def steps(conn, run):
    return {
        step["path"]: step
        for step in rows(conn, "select * from absurd.workflow_run_steps(%s)", run)
    }


def states(conn, run):
    return {path: step["state"] for path, step in steps(conn, run).items()}


def work_to_the_end(conn, dsn, run):
    """Lets a worker finish a run; returns the worker's lines and the workflow run."""
    query = "select * from absurd.get_workflow_run(%s)"
    with Worker(dsn) as worker:
        until(lambda: worker.alive() or row(conn, query, run)["status"] in FINAL, "an ended run")
        return worker.stop(), row(conn, query, run)


def assert_published(conn, revenue):
    """What the database adds up from the CSV file is what the pipeline has loaded."""
    per_day = {}
    for day, _, currency, orders, amount in revenue:
        known = per_day.get((day, currency), (0, 0))
        per_day[day, currency] = (known[0] + orders, known[1] + amount)
    loaded = conn.execute("select * from etl.daily_revenue").fetchall()
    assert {(day, currency): (orders, total) for day, currency, orders, total in loaded} == per_day
    countries = {}
    for _, country, _, orders, _ in revenue:
        countries[country] = countries.get(country, 0) + orders
    assert dict(conn.execute("select * from etl.country_orders").fetchall()) == countries


def clear(conn):
    """What an earlier test has published is not this one's work."""
    for table in ("daily_revenue", "country_orders"):
        if value(conn, "select to_regclass(%s) is not null", f"etl.{table}"):
            conn.execute(f"truncate etl.{table}")


def test_the_file_is_what_the_builder_exports(conn, etl):
    exported = (EXAMPLES / "seed_data_pipeline.yaml").read_text()
    assert document() == exported
    as_yaml = row(conn, "select * from absurd.register_workflow_yaml(%s, %s)", exported, QUEUE)
    as_json = row(
        conn,
        "select * from absurd.register_workflow(%s::jsonb, %s)",
        Workflow.from_yaml(exported).to_json(),
        QUEUE,
    )
    assert as_json == as_yaml | {"created": False}
    assert len(as_yaml["workflow_hash"]) == 64


def test_the_pipeline_runs(conn, database, start):
    clear(conn)
    run = start((EXAMPLES / "seed_data_pipeline.yaml").read_text())
    assert states(conn, run) == dict.fromkeys(STEPS, "pending") | {"extract": "running"}

    with Worker(database, "--tasks", "3") as first:
        said = first.ends()
    assert [line.split(":")[0] for line in said[:2]] == ["extract", "transform"]
    assert said[0] == f"extract: {len(ORDERS.read_text().splitlines()) - 1} rows"
    middle = states(conn, run)
    branches = [middle.pop(path) for path in STEPS[3:5]]
    assert sorted(branches) == ["completed", "running"]
    assert middle == {
        "extract": "completed",
        "transform": "completed",
        "process_branches": "running",
        "load": "pending",
    }
    assert "classDef running" in value(conn, "select absurd.workflow_run_diagram(%s)", run)

    said, ended = work_to_the_end(conn, database, run)
    assert len(said) == 2 and said[1].startswith("load: ")
    assert ended["status"] == "completed", ended["error"]
    found = steps(conn, run)
    assert {step["state"] for step in found.values()} == {"completed"}
    # In the order of execution; which branch comes first is the queue's business.
    order = list(found)
    assert order[:3] == STEPS[:3] and sorted(order[3:5]) == STEPS[3:5] and order[5] == "load"
    assert {path: step["attempts"] for path, step in found.items()} == dict.fromkeys(STEPS, 1) | {
        "process_branches": 0
    }

    revenue, accepted, rejected = expected_revenue(conn)
    assert found["transform"]["result"]["accepted"] == accepted
    assert len(found["transform"]["result"]["rejected"]) == rejected
    lines = len({(day, currency) for day, _, currency, _, _ in revenue})
    countries = len({country for _, country, _, _, _ in revenue})
    assert found[STEPS[3]]["result"] == {"lines": lines}
    assert found[STEPS[4]]["result"] == {"countries": countries}
    assert found["load"]["result"] == {
        "orders": accepted,
        "revenue_lines": lines,
        "countries": countries,
    }
    assert found["process_branches"]["result"] == {
        "branch_a": {"status": "completed", "result": {"lines": lines}, "results": {}},
        "branch_b": {"status": "completed", "result": {"countries": countries}, "results": {}},
    }
    assert ended["result"] == {
        "raw_data": found["extract"]["result"],
        "transformed_data": found["transform"]["result"],
    }
    assert_published(conn, revenue)
    progress = row(conn, "select * from absurd.workflow_run_progress(%s)", run)
    assert (progress["total"], progress["completed"], progress["percent"]) == (6, 6, 100)
    history = rows(conn, "select * from absurd.workflow_run_history(%s)", run)
    assert [change["to_status"] for change in history] == ["running", "completed"]


def test_a_failing_step_recovers(conn, database, start):
    clear(conn)
    run = start(document("--version", "2.0.1", "--retry-delay", "0.2"))
    failing, other = STEPS[3:5]
    options = ("--fail", "etl.process_a", "--times", "2", "--tasks", "5")
    with Worker(database, *options) as first:
        said = first.ends()
    assert said.count(f"{failing}: fails, as it was told to") == 2
    middle = steps(conn, run)
    assert (middle[failing]["state"], middle[failing]["attempts"]) == ("running", 2)
    assert (middle[other]["state"], middle[other]["attempts"]) == ("completed", 1)
    assert middle["load"]["state"] == "pending"
    failures = rows(
        conn,
        "select failure_reason ->> 'name' as name, failure_reason ->> 'message' as message"
        "  from absurd.r_etl where task_id = %s and state = 'failed' order by attempt",
        middle[failing]["task_id"],
    )
    busy = {"name": "SourceBusy", "message": "etl.process_a is busy, try again"}
    assert failures == [busy, busy]

    said, ended = work_to_the_end(conn, database, run)
    assert [line.split(":")[0] for line in said] == [failing, "load"]
    assert ended["status"] == "completed", ended["error"]
    found = steps(conn, run)
    assert {step["state"] for step in found.values()} == {"completed"}
    assert found[failing]["attempts"] == 3
    assert found[failing]["error"] is None
    assert {found[path]["attempts"] for path in ("extract", "transform", other, "load")} == {1}
    revenue, _, _ = expected_revenue(conn)
    assert_published(conn, revenue)


def test_a_step_that_never_recovers_fails_the_run(conn, database, start):
    run = start(document("--version", "2.0.2", "--retry-delay", "0"))
    with Worker(database, "--fail", "etl.transform", "--times", "4") as worker:
        query = "select status from absurd.workflow_run where workflow_run_id = %s"
        until(lambda: worker.alive() or value(conn, query, run) in FINAL, "an ended run")
        said = worker.stop()
    assert [line for line in said if "extract" not in line] == [
        "transform: fails, as it was told to"
    ] * 4
    ended = row(conn, "select * from absurd.get_workflow_run(%s)", run)
    assert (ended["status"], ended["result"]) == ("failed", None)
    assert ended["error"] == {
        "name": "SourceBusy",
        "message": "etl.transform is busy, try again",
        "task_id": "transform",
        "attempts": 4,
    }
    assert states(conn, run) == dict.fromkeys(STEPS, "upstream_failed") | {
        "extract": "completed",
        "transform": "failed",
    }


def test_a_run_waits_for_an_event(conn, database, start):
    run = start(document("approval"))
    with Worker(database) as worker:
        until(
            lambda: worker.alive() or states(conn, run)["approval"] == "running",
            "a step that waits for its event",
        )
        assert states(conn, run)["announce"] == "pending"
        # Somebody else's approval is not this run's.
        payload = json.dumps({"by": "Eve"})
        conn.execute("select absurd.emit_event(%s, 'approved:other', %s)", (QUEUE, payload))
        assert states(conn, run)["approval"] == "running"
        payload = json.dumps({"by": "Ada"})
        event = f"approved:{run}"
        conn.execute("select absurd.emit_event(%s, %s, %s)", (QUEUE, event, payload))
        query = "select status from absurd.workflow_run where workflow_run_id = %s"
        until(lambda: worker.alive() or value(conn, query, run) in FINAL, "an ended run")
        worker.stop()
    _, accepted, _ = expected_revenue(conn)
    words = f"{accepted} orders, approved by Ada"
    found = steps(conn, run)
    assert {path: (step["state"], step["attempts"]) for path, step in found.items()} == {
        "extract": ("completed", 1),
        "transform": ("completed", 1),
        "approval": ("completed", 0),
        "announce": ("completed", 1),
    }
    assert found["approval"]["result"] == {"by": "Ada"}
    assert found["announce"]["result"] == words
    ended = row(conn, "select * from absurd.get_workflow_run(%s)", run)
    assert ended["status"] == "completed"
    assert ended["result"]["announcement"] == words
    assert value(conn, "select words from etl.announcement where workflow_run_id = %s", run) == words


# docs/workflows.md ---------------------------------------------------------------------------------

WORKFLOWS = (ROOT / "docs" / "workflows.md").read_text()


def test_the_builder_of_the_document_builds_what_it_registers(conn):
    [code] = re.findall(r"```python\n(.*?)```", WORKFLOWS, re.S)
    names = {}
    exec(code, names)
    [registered] = re.findall(
        r"absurd\.register_workflow\('(\{\s+\"name\": \"welcome\".*?)'", WORKFLOWS, re.S
    )
    known = row(conn, "select * from absurd.register_workflow(%s)", registered)
    assert known["created"] is True
    again = row(conn, "select * from absurd.register_workflow_yaml(%s)", names["workflow"].to_yaml())
    assert again == known | {"created": False}


def test_the_diagram_of_the_document_is_the_one_that_the_run_shows():
    [mermaid] = re.findall(r"```mermaid\n(.*?)```", WORKFLOWS, re.S)
    [shown] = re.findall(
        r"absurd\.workflow_run_diagram\(id\).*?```\n```\n.*?\n-+\n(.*?)```", WORKFLOWS, re.S
    )
    assert [line.strip() for line in mermaid.splitlines()] == [
        line.strip() for line in shown.splitlines()
    ]
