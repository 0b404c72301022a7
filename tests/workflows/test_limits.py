"""Data and documents beyond the limits: refused by name or failing their step alone, and never at the
cost of memory, of other steps or of the queue."""

import json
import uuid

import psycopg
import pytest
from psycopg.types.json import Jsonb

from documents import document, step, task, unique
from player import register, start, steps

LEVELS = 1000


def nested(levels, inner="1"):
    return "[" * levels + inner + "]" * levels


def refused(conn, sqlstate, query, *values):
    with pytest.raises(psycopg.Error) as caught:
        conn.execute(query, values)
    assert caught.value.sqlstate == sqlstate, caught.value
    message = str(caught.value.diag.message_primary)
    assert len(message.encode()) <= 2000
    return message


def claim(conn, queue):
    rows = conn.execute("select run_id, params::text, task_name from absurd.claim_task(%s, 'w', 600, 10)", (queue,))
    return {name: (run, params) for run, params, name in rows}


def complete(conn, queue, run, text):
    conn.execute("select absurd.complete_run(%s, %s, %s::jsonb)", (queue, run, text))


def warned(conn):
    heard = []
    conn.add_notice_handler(lambda said: heard.append(said.message_primary) if said.severity == "WARNING" else None)
    return heard


def levels(value):
    deepest, level = 0, 0
    for character in value:
        level += {"[": 1, "{": 1, "]": -1, "}": -1}.get(character, 0)
        deepest = max(deepest, level)
    return deepest


# Values that nest ----------------------------------------------------------------------------


@pytest.mark.parametrize("depth", [127, 128, LEVELS])
def test_deep_values_are_carried_everywhere(conn, queue, depth):
    each = step("foreach", "each", "b", items="{{r}}", loop_body=[task("i", args=["{{item}}"])])
    a = task("a", args=["{{x}}"], result_key="r")
    name = register(conn, document(a, task("b", "a", args=["{{r}}"]), each), queue)[0]
    (run,) = conn.execute(
        "select absurd.start_workflow(%s, p_inputs => %s::jsonb)", (name, '{"x": %s}' % nested(depth - 1))
    ).fetchone()
    attempt, params = claim(conn, queue)["f.a"]
    assert levels(params) == depth - 1 + 2
    complete(conn, queue, attempt, nested(depth))
    attempt, params = claim(conn, queue)["f.b"]
    assert levels(params) == depth + 2
    conn.execute("select absurd.fail_run(%s, %s, %s::jsonb)", (queue, attempt, '{"message": %s}' % nested(depth - 1)))
    # Python's own reader of JSON gives up before 1,000 levels.
    ended = conn.execute("select path, state from absurd.workflow_run_steps(%s)", (run,)).fetchall()
    assert ended == [("a", "completed"), ("b", "failed"), ("each", "upstream_failed")]


def test_deeper_values_are_refused_by_name(conn, queue):
    name = register(conn, document(task("a"), task("free")), queue)[0]
    deep = nested(LEVELS + 1)
    inputs = "select absurd.start_workflow(%s, p_inputs => %s::jsonb)"
    said = refused(conn, "22023", inputs, name, '{"x": %s}' % nested(LEVELS))
    assert "p_inputs" in said and "1000 levels" in said
    run = start(conn, name)
    attempt, _ = claim(conn, queue)["f.a"]
    for verb, argument in (("complete_run", "p_state"), ("fail_run", "p_reason")):
        said = refused(conn, "22023", f"select absurd.{verb}(%s, %s, %s::jsonb)", queue, attempt, deep)
        assert argument in said and "1000 levels" in said
    many = "select absurd.complete_runs(%s, array[%s::uuid], array[%s::jsonb])"
    refused(conn, "22023", many, queue, attempt, deep)
    complete(conn, queue, attempt, "1")
    assert steps(conn, run)["a"]["state"] == "completed"
    refused(conn, "22023", "select absurd.add_workflow_items(%s, 'a', %s::jsonb)", run, deep)
    spawn = "select absurd.spawn_task(%s, 't', '1', jsonb_build_object(%s::text, %s::jsonb))"
    for option in ("max_attempts", "priority", "workflow_run_id"):
        assert "levels" in refused(conn, "22023", spawn, queue, option, deep)
    for option in ("headers", "unknown"):
        conn.execute(spawn, (queue, option, '{"x": %s}' % deep))
    refused(conn, "22023", "select absurd.set_queue_policy(%s, jsonb_build_object('notify', %s::jsonb))", queue, deep)
    options = "select absurd.start_workflow(%s, p_options => jsonb_build_object('tags', %s::jsonb))"
    assert "levels" in refused(conn, "22023", options, name, deep)


def test_a_plain_task_takes_any_depth(conn, queue):
    deep = nested(3000)
    conn.execute("select absurd.spawn_task(%s, 'plain', %s::jsonb)", (queue, deep))
    attempt, params = claim(conn, queue)["plain"]
    assert levels(params) == 3000
    complete(conn, queue, attempt, deep)


def test_a_step_that_waits_for_deep_data_fails_alone(conn, queue):
    heard = warned(conn)
    wait = step("wait_for_event", "wait", event_name="ev-{{x}}", timeout_seconds=600)
    joined = task("joined", idempotency_key="key-{{x}}")
    after = task("after", "wait", trigger_rule="all_done", args=["{{wait.error.name}}"])
    name = register(conn, document(wait, joined, after, task("free")), queue)[0]
    key = unique("key")
    conn.execute(
        "select absurd.spawn_task(%s, 'plain', '1', jsonb_build_object('idempotency_key', 'key-' || %s::text))",
        (queue, key),
    )
    complete(conn, queue, claim(conn, queue)["plain"][0], nested(3000))
    run = start(conn, name, {"x": key})
    claimed = claim(conn, queue)
    conn.execute("select absurd.emit_event(%s, %s, %s::jsonb)", (queue, f"ev-{key}", nested(3000)))
    complete(conn, queue, claimed["f.free"][0], "1")
    attempt, params = claim(conn, queue)["f.after"]
    assert json.loads(params)["args"] == ["DataLimitExceeded"]
    complete(conn, queue, attempt, "1")
    found = steps(conn, run)
    assert {path: s["state"] for path, s in found.items()} == {
        "wait": "failed",
        "joined": "failed",
        "after": "completed",
        "free": "completed",
    }
    for path in ("wait", "joined"):
        assert found[path]["error"]["name"] == "DataLimitExceeded"
        assert "1000 levels" in found[path]["error"]["message"]
    assert not heard


def test_a_value_that_grows_fails_the_step_that_passes_the_limit(conn, queue):
    grow = [step("emit_event", "grow", event_name="e-{{loop.index}}", payload={"a": ["{{grow.payload}}"]})]
    loop = step("while", "loop", condition="{{loop.index}} < 2000", loop_body=grow)
    name = register(conn, document(loop, task("free")), queue)[0]
    run = start(conn, name)
    # A loop of so many goes on in pieces.
    for _ in range(20):
        conn.execute("select absurd.advance_timers(%s)", (queue,))
    assert steps(conn, run)["loop"]["state"] in ("failed", "completed")
    complete(conn, queue, claim(conn, queue)["f.free"][0], "1")
    assert steps(conn, run)["free"]["state"] == "completed"


@pytest.mark.parametrize(
    "fields",
    [
        {"operator_type": "emit_event", "event_name": "e", "payload": {"a": '{{no | default("\\u0000")}}'}},
        {"operator_type": "emit_event", "event_name": "e", "payload": {"a": "{{no | default(1e999999)}}"}},
        {"operator_type": "foreach", "items": '["\\u0000"]', "loop_body": [task("i", args=["{{item}}"])]},
        {"operator_type": "foreach", "items": "[1e999999]", "loop_body": [task("i", args=["{{item}}"])]},
        {"operator_type": "foreach", "items": nested(3000), "loop_body": [task("i", args=["{{item}}"])]},
    ],
)
def test_what_the_database_cannot_store_fails_the_step(conn, queue, fields):
    bad = step("task", "bad", "first") | fields
    no = task("no", "first", "free")
    name = register(conn, document(task("first"), task("free"), no, bad), queue)[0]
    run = start(conn, name)
    claimed = claim(conn, queue)
    complete(conn, queue, claimed["f.first"][0], "1")
    found = steps(conn, run)["bad"]
    assert found["state"] == "failed" and found["error"]["name"] in ("TemplateError", "ExpressionError")
    complete(conn, queue, claimed["f.free"][0], "1")


# Documents -----------------------------------------------------------------------------------

REGISTER = "select * from absurd.register_workflow(%s::jsonb, %s)"
YAML = "select * from absurd.register_workflow_yaml(%s, %s)"


def test_documents_beyond_a_limit_are_refused(conn, queue):
    def variables(count):
        return '{"name": "%s", "variables": {"a": [%s1]}}' % (unique(), "1," * (count - 5))

    for query in (REGISTER, YAML):
        assert conn.execute(query, (variables(100_000), queue)).fetchone()[3] is True
        assert "100000 values" in refused(conn, "54000", query, variables(100_002), queue)
        large = '{"name": "large", "description": "%s"}' % ("x" * (4 << 20))
        assert "4194304 bytes" in refused(conn, "54000", query, large, queue)
    # Few bytes, and more than a gigabyte once they are printed.
    numbers = '{"name": "large", "variables": {"a": [%s1]}}' % ("1e131000," * 20_000)
    assert "4194304 bytes" in refused(conn, "54000", REGISTER, numbers, queue)
    yaml = "name: large\nvariables:\n  a: [{}1]\n".format("1, " * 100_000)
    assert "100000 values" in refused(conn, "54000", YAML, yaml, queue)


def test_the_right_to_register_comes_first(conn, queue, connect):
    role = f"role_{uuid.uuid4().hex[:8]}"
    conn.execute(f"create role {role}")
    conn.execute(f"grant usage on schema absurd to {role}")
    other = connect()
    other.execute(f"set role {role}")
    refused(other, "42501", YAML, "not: [yaml", None)
    refused(other, "42501", REGISTER, '{"name": "%s"}' % ("x" * (5 << 20)), None)
    conn.execute(f"drop owned by {role}")
    conn.execute(f"drop role {role}")


@pytest.mark.parametrize("shape", ["wide", "routers", "guards"])
def test_registering_can_be_cancelled(conn, queue, connect, shape):
    """A cancel that is pending when the work begins ends it, whatever it is at."""
    if shape == "wide":
        definition = document(*(task(f"t{i}") for i in range(9000)))
    elif shape == "routers":
        cases = {f"c{i}": f"c{i}" for i in range(600)}
        rest = [step("switch", f"c{i}", "s", switch_on="a") for i in range(600)]
        after = [task(f"n{i}", "s") for i in range(600)]
        definition = document(step("switch", "s", switch_on="a", cases=cases), *rest, *after)
    else:
        guards = [{"variable": "{{a}}", "check": "matches_regex", "value": "(a|b)*" * 100}] * 2000
        definition = document(task("a", preconditions=guards))
    text = json.dumps(definition)
    for query in (REGISTER, YAML):
        busy = connect()
        busy.execute("set statement_timeout = '1ms'")
        with pytest.raises(psycopg.errors.QueryCanceled):
            busy.execute(query, (text, queue))


def test_a_stored_document_is_the_jsonb_of_its_text(conn, queue):
    values = ["", "x", "é", "\U0001f600", 'q"uote', "back\\slash", "tab\t", 0, -1.5, 1e300, 2**60, True, False, None]
    values += [[], {}, [[1], {"a": [None] * 100}], {str(n): n for n in range(100)}]
    kwargs = {f"{'k' * (n % 7)}{n}\u00e9\n": value for n, value in enumerate(values)} | {"": 1, 'a"b': 2}
    flow = document(task("a", kwargs=kwargs, args=values), variables=kwargs)
    conn.execute(REGISTER, (json.dumps(flow), queue))
    find = """select document = document::text::jsonb, document -> 'variables' = %s::jsonb,
                     document -> 'tasks' -> 'a' -> 'args' = %s::jsonb,
                     (select bool_and(d.document #> array['tasks', 'a', 'kwargs', key] = value) from jsonb_each(%s::jsonb))
                from absurd.get_workflow(%s) d"""
    found = conn.execute(find, (json.dumps(kwargs), json.dumps(values), json.dumps(kwargs), flow["name"]))
    assert found.fetchone() == (True, True, True, True)


def test_a_session_keeps_the_programs_used_last(conn, queue):
    names = []
    for _ in range(12):
        steps_of = [task(f"t{i}", args=["{{a}} {{b.c}}", {"x": "{{y.z[0]}}"}]) for i in range(3000)]
        names.append(register(conn, document(*steps_of), queue)[0])
    for name in names + names[:1]:
        (text,) = conn.execute("select absurd.workflow_diagram(%s)", (name,)).fetchone()
        assert text.count("\n") == 3001


# What others see -----------------------------------------------------------------------------

NAMES = [
    "a %%{init: {'theme': 'forest', 'themeCSS': '* { display: none }'}}%%",
    "%% comment",
    'x"] --> y["z',
    "x\nclick n0 href 'https://example.org'",
    "<b onclick=x>&lt;i&gt;</b>",
    "`code` #quot; #37;#37;",
    "end; style n0 fill:#f00;",
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("query", [REGISTER, YAML])
def test_no_name_is_a_statement_of_a_diagram(conn, queue, name, query):
    router = step("switch", name, switch_on="a", cases={name: "other"})
    flow = document(router, task("other", function=name), step("foreach", "each", items="[]", loop_body=[task(name)]))
    conn.execute(query, (json.dumps(flow), queue))
    run = start(conn, flow["name"])
    for call, of in (("workflow_diagram", flow["name"]), ("workflow_run_diagram", run)):
        (text,) = conn.execute(f"select absurd.{call}(%s)", (of,)).fetchone()
        assert "%%" not in text and "`" not in text and "&" not in text
        lines = [line.strip() for line in text.splitlines()]
        starts = ("flowchart TD", "n", "subgraph s", "end", "classDef ", "class n")
        assert all(line.startswith(starts) and line.count('"') in (0, 2) for line in lines), text
        assert "<b" not in text.replace("<br/><i>", "")


def test_messages_stay_short(conn, queue):
    long = "é" * 100_000
    for query, values in [
        ("select absurd.start_workflow(%s)", (long,)),
        ("select absurd.start_workflow('x', %s)", (long,)),
        ("select absurd.create_workflow_run(%s, '1')", (long,)),
        ("select absurd.create_workflow_run('a', %s)", (long,)),
        ("select absurd.create_workflow_run('a', '1', tags => to_jsonb(%s::text))", (long,)),
        ("select * from absurd.parse_workflow_step_name(%s)", (long,)),
        ("select absurd.update_workflow_run_status(gen_random_uuid(), %s)", (long,)),
        ("select absurd.list_workflow_runs(status => array[%s])", (long,)),
        ("select absurd.register_workflow(%s)", (Jsonb({"name": long}),)),
        ("select absurd.register_workflow(%s)", (Jsonb(document(step(long, "a"))),)),
        ("select absurd.register_workflow(%s)", (Jsonb(document(task(long))),)),
        ("select absurd.register_workflow(%s)", (Jsonb(document(task("a", long))),)),
        ("select absurd.register_workflow(%s)", (Jsonb(document(task("a", on_failure_task_id=long))),)),
        ("select absurd.register_workflow(%s)", (Jsonb(document(task("a", retry_policy=long))),)),
        ("select absurd.register_workflow(%s)", (Jsonb(document(step("wait", "a", wait_for=long))),)),
        ("select absurd.register_workflow(%s)", (Jsonb(document(step("parallel", "a", branches={"b": [long]}))),)),
        ("select absurd.register_workflow(%s)", (Jsonb(document(step("parallel", "a", branches={long: 1}))),)),
        ("select absurd.register_workflow(%s)", (Jsonb(document(schedule=long)),)),
        ("select absurd.register_workflow_yaml(%s)", (f"a: !{long} x",)),
        ("select absurd.register_workflow_yaml(%s)", (f"a: *{long}",)),
        ("select absurd.start_workflow('x', p_options => %s)", (Jsonb({"created_by": [long]}),)),
        ("select absurd.start_workflow('x', p_options => %s)", (Jsonb([long]),)),
        ("select absurd.get_workflow(%s)", (long,)),
    ]:
        with pytest.raises(psycopg.Error) as caught:
            conn.execute(query, values)
        said = caught.value.diag
        texts = [said.message_primary, said.message_detail or "", said.message_hint or ""]
        assert all(len(text.encode()) <= 2000 for text in texts), (query, texts[0][:200])
