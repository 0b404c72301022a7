"""Calls with the values that nobody expects: every function with the extremes of its types, and documents, JSON and YAML,
that are almost right, registered, started and worked. For ABSURD_FUZZ_SECONDS, from ABSURD_FUZZ_SEED or a new one.

An internal error (XX...), a lost connection, or a call of more than five seconds is a failure; any other error is an answer."""

import copy
import json
import os
import random
import time
import uuid

import psycopg
import pytest
from psycopg.types.json import set_json_loads

SECONDS = float(os.environ.get("ABSURD_FUZZ_SECONDS", "20"))
SEED = int(os.environ.get("ABSURD_FUZZ_SEED", uuid.uuid4().int % 1_000_000))
LONGEST = 5.0
# What a fuzzed call may not do: end the queues and roles that the others work with, or wait for an operator.
LEFT_OUT = {"drop_queue", "grant_access", "revoke_access", "adopt_queue", "uuid_v7"}

DEEP = 3000
TEXTS = ["", " ", "q", "weekly", "Q", "flow", "1", "w", "e", "a", "each", "each[0]/b", "x" * 57, "x" * 58, "y" * 100_000, "é\u0301\U0001f600",
         "a\tb\nc", "'; drop table x; --", '"q"', "null", "\\", "%s{}$1", "{{a}}", "{{", "2026-01-01", "P1D", "*/5 * * * *", "infinity", "-1",
         "partitioned", "plain", "t_q", "\u202e", "\x7f"]
INTEGERS = [0, 1, -1, 2, 10, 2**15, 2**31 - 1, -(2**31), 1000, 86400]
TIMES = ["infinity", "-infinity", "294276-12-31 23:59:59+00", "4713-01-01 00:00:00+00 BC", "1970-01-01", "2026-02-28 12:00:00+14", "now"]
JSONS = ["null", "true", "0", "-0.0", "1e300", "1e-300", "9" * 400, '""', '"x"', "[]", "{}", "[[[]]]", "[" * DEEP + "]" * DEEP,
         '{"a":' * 900 + "1" + "}" * 900, json.dumps([0] * 50_000), json.dumps({f"k{i}": i for i in range(2000)}), '{"": ""}',
         '[{"task_name": "t"}]', '[{"task_name": "t", "params": {}, "options": {"max_attempts": 1}}]', '[null]', '[{"event_name": "e"}]',
         '{"max_attempts": 2147483647}', '{"max_attempts": -1}', '{"headers": []}', '{"retry_strategy": {"kind": "exponential", "base_seconds": 1e300}}',
         '{"cancellation": {"max_delay": 1e18, "max_duration": -1}}', '{"idempotency_key": ""}', '{"available_at": "infinity"}', '{"delay_seconds": 1e308}',
         '{"priority": 32768}', '{"tenant_id": 5}', '{"spawn_new": true}', '{"partition_lookahead": "1e9 years"}', '{"notify": true}',
         json.dumps("z" * 300_000), '"\\ud83d\\ude00"', '{"name": "w", "tasks": {}}']

STEP = {"task_id": "a", "operator_type": "task", "function": "f"}
DOCUMENT = {
    "name": "fuzzed", "version": "1", "description": "", "variables": {"n": 3, "list": [1, {"x": [2]}]}, "max_active_runs": 3, "deadline_seconds": 600,
    "default_retry_policy": {"max_retries": 1, "delay": "PT0S", "backoff_factor": 2.0},
    "tasks": {
        "a": {**STEP, "args": ["{{n}}", "{{list[1].x}}"], "kwargs": {"k": "{{missing | default(1)}}"}, "result_key": "r", "metadata": {"absurd": {"max_lost_leases": 1}},
              "circuit_breaker_policy": {"failure_threshold": 2, "isolation_duration": "PT1S"}, "timeout_policy": {"timeout": "PT30S"},
              "preconditions": [{"variable": "{{n}}", "check": "in_range", "value": [0, 9]}], "on_failure_task_id": "h"},
        "h": {"task_id": "h", "operator_type": "task", "function": "f"},
        "c": {"task_id": "c", "operator_type": "condition", "condition": "{{n}} > 2 and not ({{list.length}} == 1)", "if_true": "s", "if_false": "t", "dependencies": ["a"]},
        "s": {"task_id": "s", "operator_type": "switch", "switch_on": "{{n}}", "cases": {"3": "m"}, "default": None},
        "t": {"task_id": "t", "operator_type": "terminate", "status": "failed", "result": {"why": "{{n}}"}},
        "m": {"task_id": "m", "operator_type": "multi_choice", "branches": {"x": {"condition": "{{n}} > 0", "tasks": ["i"]}}, "branch_workflows": {
            "x": {"name": "b", "tasks": {"i": {"task_id": "i", "operator_type": "task", "function": "f"}}}}},
        "p": {"task_id": "p", "operator_type": "parallel", "branches": {"one": ["x"], "two": ["y"]}, "branch_workflows": {
            "one": {"name": "b1", "tasks": {"x": {"task_id": "x", "operator_type": "task", "function": "f"}}},
            "two": {"name": "b2", "tasks": {"y": {"task_id": "y", "operator_type": "wait", "wait_for": "PT0S"}}}}},
        "each": {"task_id": "each", "operator_type": "foreach", "items": "range(4)", "parallel": True, "dynamic": True, "loop_body": [
            {"task_id": "b", "operator_type": "task", "function": "f", "args": ["{{item}}", "{{loop.index}}"]}]},
        "w": {"task_id": "w", "operator_type": "while", "condition": "{{loop.index}} < 2", "loop_body": [{"task_id": "b", "operator_type": "switch", "switch_on": "{{loop.iteration}}"}]},
        "e": {"task_id": "e", "operator_type": "wait_for_event", "event_name": "e_{{run.id}}", "timeout_seconds": 5},
        "o": {"task_id": "o", "operator_type": "emit_event", "event_name": "o_{{n}}", "payload": {"n": "{{n}}"}},
        "k": {"task_id": "k", "operator_type": "child_workflow", "children": {"one": {"workflow_name": "fuzzed_child", "inputs": {"n": "{{n}}"}}}},
        "j": {"task_id": "j", "operator_type": "join", "join_tasks": ["each", "w", "o"], "join_mode": "any_of", "timeout_policy": {"timeout": 5},
              "metadata": {"absurd": {"cancel_losers": True}}},
        "v": {"task_id": "v", "operator_type": "reflexive", "generator": "g", "verifier": "v", "max_turns": 2},
    },
}
YAML = """name: fuzzed
version: '1'
# a comment
tasks:
  a: &a
    task_id: a
    operator_type: task
    function: f
    args: [1, "two", {three: 3}]
    description: >-
      folded
      text
  b:
    task_id: b
    operator_type: switch
    switch_on: "{{n}}"
    cases: {'1': a}
    dependencies: []
"""


def mutate(choose, value, depth=0):
    """A value with something changed, somewhere."""
    if isinstance(value, dict) and value and choose.random() < 0.85:
        key = choose.choice(list(value))
        changed = dict(value)
        kind = choose.random()
        if kind < 0.15:
            del changed[key]
        elif kind < 0.25:
            changed[choose.choice(["task_id", key + "x", "", "dependencies", "é"])] = copy.deepcopy(value[key])
        else:
            changed[key] = mutate(choose, value[key], depth + 1)
        return changed
    if isinstance(value, list) and value and choose.random() < 0.7:
        changed, at = list(value), choose.randrange(len(value))
        changed[at] = mutate(choose, value[at], depth + 1)
        return changed * choose.choice([1, 1, 1, 2, 100])
    if isinstance(value, str) and choose.random() < 0.6:
        at = choose.randrange(len(value) + 1)
        return value[:at] + choose.choice(["", "{{", "}}", "'", "\\", " and ", "[", ".", "9" * 30, "é", "(", "n"]) + value[at + choose.randrange(3):]
    return choose.choice([None, True, 0, -1, 1e300, 2**53 + 1, 0.1, "", "a", "{{n}}", "{{a}}", [], {}, [[]], "range(0, 10)", "range(1000000)", "x" * 5000, ["a", "b"], {"a": {}}])


def mutate_text(choose, text):
    for _ in range(choose.randrange(1, 4)):
        at = choose.randrange(len(text))
        piece = choose.choice(["\t", "&x ", "*a", "- ", "? ", "|", ">", "%", "---\n", "...", '"', "'", "{", "[", ": ", "\n\n", "!!int ", "<<: *a", " " * 50, "\x00", "0x1F", "~", "\u2028"])
        text = text[:at] + piece + text[at + choose.randrange(4):]
    return text.replace("\x00", "")


class Fuzz:
    def __init__(self, dsn):
        self.dsn, self.choose = dsn, random.Random(SEED)
        self.answers, self.findings, self.longest = {}, [], 0.0
        self.conn = self.connect()

    def connect(self):
        conn = psycopg.connect(self.dsn, autocommit=True)
        # Python's reader gives up at depths that the server has no trouble with.
        set_json_loads(lambda text: text, conn)
        conn.execute("set client_min_messages = error")
        conn.execute("set statement_timeout = '60s'")
        return conn

    def call(self, sql, values=()):
        """The rows that came; none for an error."""
        began, code, rows = time.monotonic(), "", None
        try:
            result = self.conn.execute(sql, values)
            rows = result.fetchmany(100) if result.description else []
        except psycopg.Error as error:
            code = error.sqlstate or "lost"
            if self.conn.closed or code.startswith("XX") or code in ("57P01", "57P02", "57P03", "lost"):
                # psycopg's own refusals, of NUL bytes for one, never reach the server.
                if error.sqlstate or self.conn.closed:
                    self.finding(f"{code} {error}", sql, values)
        took = time.monotonic() - began
        self.longest = max(self.longest, took)
        if took > LONGEST:
            self.finding(f"took {took:.1f} s", sql, values)
        if self.conn.closed:
            self.conn = self.connect()
        self.answers[code] = self.answers.get(code, 0) + 1
        return rows

    def finding(self, what, sql, values):
        shown = ", ".join(repr(value)[:200] for value in values)
        self.findings.append(f"seed {SEED}: {what}\n  {sql}\n  with {shown}")

    def prepare(self):
        for queue, mode in (("q", "unpartitioned"), ("weekly", "partitioned")):
            self.conn.execute("select absurd.create_queue(%s, %s)", (queue, mode))
        child = {"name": "fuzzed_child", "tasks": {"a": STEP}}
        self.conn.execute("select absurd.register_workflow(%s, 'q')", (json.dumps(child),))
        self.conn.execute("select absurd.register_workflow(%s, 'q')", (json.dumps({**DOCUMENT, "name": "flow"}),))
        self.functions = self.conn.execute(
            """select proname, array(select format_type(t, null) from unnest(proargtypes) t)
                 from pg_proc where pronamespace = 'absurd'::regnamespace and prokind = 'f'
                  and prorettype <> 'trigger'::regtype and prorettype <> 'event_trigger'::regtype
                  and not proname = any (%s) order by oid""", (list(LEFT_OUT),)).fetchall()
        assert len(self.functions) > 50

    def ids(self):
        self.call("select absurd.spawn_task(q, 't', '{}') from unnest(array['q', 'weekly']) q")
        known = self.call("""(select task_id from absurd.t_q order by 1 desc limit 5) union all (select run_id from absurd.r_q order by 1 desc limit 5)
            union all (select run_id from absurd.r_weekly order by 1 desc limit 2) union all (select workflow_run_id from absurd.workflow_run order by 1 desc limit 5)""")
        return [str(row[0]) for row in known or []] + ["00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff"]

    def value(self, kind, ids):
        choose = self.choose
        if kind.endswith("[]"):
            if choose.random() < 0.1:
                return "{}"
            return [self.value(kind[:-2], ids) for _ in range(choose.choice([0, 1, 2, 3, 50]))]
        if choose.random() < 0.07:
            return None
        if kind == "text":
            return choose.choice(TEXTS) if choose.random() < 0.6 else choose.choice(["q", "weekly", "flow", "fuzzed"])
        if kind == "integer":
            return choose.choice(INTEGERS)
        if kind == "boolean":
            return choose.random() < 0.5
        if kind == "uuid":
            return choose.choice(ids)
        if kind == "jsonb":
            return choose.choice(JSONS) if choose.random() < 0.7 else json.dumps(mutate(choose, DOCUMENT))
        if kind == "timestamp with time zone":
            return choose.choice(TIMES)
        return choose.choice(["0", "1"])

    def functions_once(self):
        ids = self.ids()
        order = self.functions[:]
        self.choose.shuffle(order)
        for name, kinds in order:
            # One argument strange, or all of them.
            values = [self.value(kind, ids) for kind in kinds]
            places = ", ".join(f"%s::{kind}" for kind in kinds)
            self.call(f"select * from absurd.{name}({places})", values)
            if time.monotonic() > self.until:
                return

    def document_once(self):
        choose = self.choose
        if choose.random() < 0.25:
            rows = self.call("select * from absurd.register_workflow_yaml(%s, 'q')", (mutate_text(choose, YAML),))
        else:
            document = DOCUMENT
            for _ in range(choose.randrange(1, 4)):
                document = mutate(choose, document)
            if isinstance(document, dict):
                document = {**document, "name": document.get("name") and "fuzzed"}
            rows = self.call("select * from absurd.register_workflow(%s, 'q')", (json.dumps(document),))
        if not rows:
            return
        started = self.call("select absurd.start_workflow('fuzzed', p_inputs => %s)", (choose.choice(['{"n": 1}', "{}", '{"n": "x"}', '{"n": {"a": []}}']),))
        for _ in range(4):
            for run, task in self.call("select run_id, task_id from absurd.claim_task('q', 'w', 60, 20)") or []:
                verb = choose.random()
                if verb < 0.6:
                    self.call("select absurd.complete_run('q', %s, %s)", (run, choose.choice(JSONS)))
                elif verb < 0.9:
                    self.call("select absurd.fail_run('q', %s, %s)", (run, choose.choice(JSONS)))
                else:
                    self.call("select absurd.cancel_task('q', %s)", (task,))
            self.call("select absurd.advance_timers('q')")
        for (run,) in started or []:
            self.call("select * from absurd.workflow_run_steps(%s)", (run,))
            self.call("select absurd.workflow_run_diagram(%s)", (run,))
            if choose.random() < 0.3:
                self.call("select absurd.retry_workflow_run(%s)", (run,))
            self.call("select absurd.cancel_workflow_run(%s)", (run,))
        self.call("delete from absurd.workflow_run where workflow_name = 'fuzzed'")
        self.call("select absurd.delete_workflow('fuzzed')")

    def run(self):
        self.until = time.monotonic() + SECONDS
        while time.monotonic() < self.until:
            self.functions_once()
            for _ in range(60):
                self.document_once()
                if time.monotonic() > self.until:
                    break


@pytest.fixture
def dsn():
    base = os.environ["ABSURD_TEST_DSN_BASE"]
    name = f"fuzz_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(f"{base} dbname=postgres", autocommit=True) as admin:
        admin.execute(f"create database {name}")
        with psycopg.connect(f"{base} dbname={name}", autocommit=True) as conn:
            conn.execute("create extension absurd")
        yield f"{base} dbname={name}"
        admin.execute(f"drop database {name} with (force)")


def test_nothing_that_is_said_breaks_the_server(dsn):
    fuzz = Fuzz(dsn)
    fuzz.prepare()
    fuzz.run()
    calls = sum(fuzz.answers.values())
    print(f"seed {SEED}: {calls} calls, {fuzz.answers.get('', 0)} of them done, {len(fuzz.answers) - 1} kinds of errors, {fuzz.longest:.1f} s the longest")
    assert not fuzz.findings, "\n".join(fuzz.findings[:10])
    assert fuzz.answers.get("", 0) > 50 and len(fuzz.answers) > 5
