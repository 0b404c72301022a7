"""The case files of tests/highway, played through SQL step by step."""

import json
from pathlib import Path

from documents import document, task
from player import NOON, Worker, register, run_row, start, states
from psycopg.rows import dict_row

FOLDER = Path(__file__).resolve().parents[1] / "highway"

# Failures that the engine names itself; what their messages say is its own business.
ENGINE = {
    "TemplateError",
    "ExpressionError",
    "PreconditionFailed",
    "PostconditionFailed",
    "TimeoutError",
    "BranchFailed",
    "IterationFailed",
    "LoopLimitExceeded",
    "JoinFailed",
    "InsufficientBranches",
    "ChildWorkflowFailed",
    "CircuitOpen",
    "Terminated",
    "DeadlineExceeded",
}


def scenarios():
    """Every scenario as (name of its file, name, document, scenario)."""
    found = []
    for path in sorted(FOLDER.glob("*.json")):
        case = json.loads(path.read_text())
        for scenario in case.get("scenarios", []):
            found.append((path.stem, scenario["name"], case["document"], scenario))
    assert found, f"no case files in {FOLDER}"
    return found


def normal(error):
    """An error without the messages of engine failures."""
    if isinstance(error, dict):
        own = error.get("name") in ENGINE
        return {k: normal(v) for k, v in error.items() if not (own and k == "message")}
    return error


class Case:
    def __init__(self, conn, queue, case_document, scenario):
        self.conn = conn
        self.queue = queue
        self.document = case_document
        self.scenario = scenario
        self.worker = Worker(conn, queue, NOON)
        self.run = None
        self.events = set()
        self.children = set()

    def play(self):
        register(self.conn, self.document, self.queue)
        self.register_children()
        for place, step in enumerate(self.scenario["steps"]):
            seen = self.act(step["action"])
            where = f"step {place}: {step['action']}"
            self.compare(step, seen, where)
        self.compare_final(self.scenario["final"])

    # The stimuli ------------------------------------------------------------------------------

    def act(self, action):
        if "start" in action:
            self.run = start(self.conn, self.document["name"], action["start"])
        elif "complete" in action:
            self.worker.complete(action["complete"], action.get("result"))
        elif "fail" in action:
            self.worker.fail(action["fail"], action["error"])
        elif "advance_seconds" in action:
            self.worker.advance(action["advance_seconds"])
        elif "emit" in action:
            self.events.add(action["emit"])
            self.worker.emit(action["emit"], action.get("payload"))
        elif "child_finished" in action:
            self.finish_child(action)
        else:
            raise AssertionError(f"unknown action {action}")
        return self.worker.claim()

    # Child workflows stand in for the case's own: a task for each key of the result that the case
    # has a child come to.

    def register_children(self):
        ends = [s["action"] for s in self.scenario["steps"] if "child_finished" in s["action"]]
        keys = {key for end in ends for key in (end.get("result") or {})}
        for name in sorted(self.child_names(self.document)):
            steps = [task(f"stand_in_{key}", result_key=key) for key in sorted(keys)]
            steps.append(task("stand_in"))
            register(self.conn, document(*steps, name=name, version="stand-in"), self.queue)

    def child_names(self, node):
        if isinstance(node, dict):
            if node.get("operator_type") == "child_workflow":
                for child in node["children"].values():
                    yield child["workflow_name"]
            node = list(node.values())
        if isinstance(node, list):
            for inner in node:
                yield from self.child_names(inner)

    def child(self, path, branch):
        return self.conn.execute(
            "select w.workflow_run_id from absurd.workflow_run w"
            "  join absurd.workflow_execution e using (workflow_run_id)"
            " where w.parent_run_id = %s and w.parent_step = %s and e.parent_branch = %s",
            (self.run, path, branch),
        ).fetchone()[0]

    def finish_child(self, action):
        child = self.child(action["child_finished"], action["branch"])
        if action["status"] == "cancelled":
            self.conn.execute("select absurd.cancel_workflow_run(%s)", (child,))
            return
        for key, value in (action.get("result") or {}).items():
            self.worker.complete(f"stand_in_{key}", value, child)
        if action["status"] == "failed":
            self.worker.fail("stand_in", run=child)
        else:
            self.worker.complete("stand_in", None, child)

    # What must have come of them ----------------------------------------------------------------

    def compare(self, step, seen, where):
        of_children = {str(run) for run in self.child_runs()}
        own = [run for run in seen if run["headers"]["workflow_run_id"] not in of_children]
        first = {run["path"]: run for run in own if run["attempt"] == 1}
        expected = {task["path"]: task for task in step["spawned"]}
        assert sorted(first) == sorted(expected), where
        for path, wanted in expected.items():
            run = first[path]
            assert run["task_name"] == wanted["function"], (where, path)
            assert run["params"] == wanted["params"], (where, path)
            name = f"{self.document['name']}__{self.document['version']}__{wanted['task_id']}"
            assert run["headers"]["workflow_step_name"] == name, (where, path)
            assert run["headers"]["workflow_run_id"] == str(self.run), (where, path)
        again = [
            {"path": run["path"], "attempt": run["attempt"]} for run in own if run["attempt"] > 1
        ]
        assert again == step.get("redelivered", []), where
        for retry in step.get("retry_scheduled", []):
            self.compare_retry(retry, where)
        for event in step.get("events_emitted", []):
            name, payload = self.event(event)
            found = self.worker.table("e", "event_name = %s", name)
            assert [e["payload"] for e in found] == [payload], where
        self.compare_children(step.get("children_started", []), where)
        assert run_row(self.conn, self.run)["status"] == step["run_status"], where

    @staticmethod
    def event(event):
        if isinstance(event, str):
            return event, None
        return event.get("event_name", event.get("event")), event.get("payload")

    def compare_retry(self, retry, where):
        task_id = self.worker.held(retry["path"])["task_id"]
        (run,) = self.worker.table(
            "r", "task_id = %s and attempt = %s", task_id, retry["next_attempt"]
        )
        after = (run["available_at"] - self.worker.now).total_seconds()
        assert after == retry["after_seconds"], where

    def child_runs(self):
        found = self.conn.execute(
            "select workflow_run_id from absurd.workflow_run where root_run_id = %s"
            " and parent_run_id is not null",
            (self.run,),
        ).fetchall()
        return [run for (run,) in found]

    def compare_children(self, expected, where):
        with self.conn.cursor(row_factory=dict_row) as cur:
            found = cur.execute(
                "select w.workflow_run_id, w.parent_step as path, e.parent_branch as branch,"
                "       w.workflow_name, w.inputs"
                "  from absurd.workflow_run w"
                "  join absurd.workflow_execution e using (workflow_run_id)"
                " where w.parent_run_id = %s",
                (self.run,),
            ).fetchall()
        new = [child for child in found if child["workflow_run_id"] not in self.children]
        self.children.update(child["workflow_run_id"] for child in found)
        assert len(new) == len(expected), where
        for wanted in expected:
            same = [
                child
                for child in new
                if all(child[key] == wanted[key] for key in child.keys() & wanted.keys())
            ]
            assert len(same) == 1, (where, wanted, new)

    def compare_final(self, final):
        row = run_row(self.conn, self.run)
        assert row["status"] == final["status"]
        assert row["result"] == final.get("result")
        assert normal(row["error"]) == normal(final.get("error"))
        assert states(self.conn, self.run) == final["node_states"]
