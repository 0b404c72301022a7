"""The diagrams of docs/state-machines.md against the engine.

Every verb is tried in every state, with several kinds of tasks and before and after leases and
cancellation rules have come due. Triggers on the tables note each move and the verb that made it;
what they noted must be what is drawn, no more and no less.
"""

import itertools
import re
from pathlib import Path

import psycopg
import pytest
from psycopg.types.json import Jsonb

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "state-machines.md").read_text()
STATES = ["pending", "running", "sleeping", "completed", "failed", "cancelled"]
OPEN, FINAL = STATES[:3], STATES[3:]
STATUSES = ["pending", "running", "completed", "failed", "cancelled"]
NONE = "[*]"
START = "2026-01-05 09:00:00+00"
LATER = "2026-01-05 10:00:00+00"


def section(title):
    found = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", PAGE, re.M | re.S)
    assert found, title
    return found[1]


def drawn(title):
    """The moves of a diagram: (from, to, verb)."""
    diagram = re.search(r"```mermaid\nstateDiagram-v2\n(.*?)```", section(title), re.S)[1]
    moves = set()
    for line in diagram.strip().splitlines():
        edge = re.fullmatch(r"\s*(\S+) --> (\S+) : ([\w, ]+)", line)
        assert edge, line
        for verb in edge[3].split(", "):
            assert (edge[1], edge[2], verb) not in moves, line
            moves.add((edge[1], edge[2], verb))
    return moves


def edges(moves):
    return {(source, target) for source, target, _ in moves}


@pytest.mark.parametrize("title", ["Tasks", "Runs", "Workflow runs"])
def test_the_table_beside_a_diagram_has_its_edges(title):
    rows = re.findall(r"^\| (\w*) ?\| (\w*) ?\| .+ \|$", section(title), re.M)
    listed = [(source or NONE, target or NONE) for source, target in rows if source != "from"]
    assert len(listed) == len(set(listed))
    assert set(listed) == edges(drawn(title))


# Tasks and runs -----------------------------------------------------------------------------------

RECORDER = """
create table public.moves (kind text, source text, target text, verb text);
create function public.record() returns trigger language plpgsql as $$
begin
    insert into public.moves
    select tg_argv[0],
           case when tg_op = 'INSERT' then '[*]' else old.state end,
           case when tg_op = 'DELETE' then '[*]' else new.state end,
           current_setting('test.verb')
     where tg_op <> 'UPDATE' or old.state <> new.state;
    return null;
end $$;
create trigger record after insert or update or delete on absurd.t_machine
    for each row execute function public.record('task');
create trigger record after insert or update or delete on absurd.r_machine
    for each row execute function public.record('run');
"""

# What the tasks are like; all of them belong to a workflow run.
KINDS = {
    "retried at once": {},
    "tried once": {"max_attempts": 1},
    "retried later": {"retry_strategy": {"kind": "fixed", "base_seconds": 60}},
    "in a hurry": {
        "cancellation": {"max_delay": 600, "max_duration": 600},
        "retry_strategy": {"kind": "fixed", "base_seconds": 3600},
    },
}

CLAIM = "select count(*) from absurd.claim_task('machine', 'w', 60, 1)"
FAIL = "select absurd.fail_run('machine', %(run)s, '1')"
# How a task gets into a state, starting from pending.
WAYS = {
    "pending": [],
    "running": [CLAIM],
    "sleeping till a time": [
        CLAIM,
        "select absurd.schedule_run('machine', %(run)s, timestamptz '2026-01-05 09:30:00+00')",
    ],
    "sleeping till an event": [
        CLAIM,
        "select * from absurd.await_event('machine', %(task)s, %(run)s, 's', 'e')",
    ],
    "completed": [CLAIM, "select absurd.complete_run('machine', %(run)s)"],
    "failed": [
        "update absurd.t_machine set max_attempts = 1, cancellation = null",
        CLAIM,
        FAIL,
    ],
    "cancelled": ["select absurd.cancel_task('machine', %(task)s)"],
}
VERBS = {
    "spawn_task": ["select absurd.spawn_task('machine', 'other', '{}')"],
    "spawn_tasks": ["select absurd.spawn_tasks('machine', '[{\"task_name\": \"other\"}]')"],
    "claim_task": [CLAIM, "select count(*) from absurd.claim_task('machine', 'w', 0, 20)"],
    "extend_claim": ["select absurd.extend_claim('machine', %(run)s, 60)"],
    "complete_run": ["select absurd.complete_run('machine', %(run)s, '1')"],
    "complete_runs": ["select absurd.complete_runs('machine', array[%(run)s]::uuid[])"],
    "fail_run": [FAIL, "select absurd.fail_run('machine', %(run)s, '1', 'infinity')"],
    "fail_runs": ["select absurd.fail_runs('machine', array[%(run)s]::uuid[])"],
    "schedule_run": ["select absurd.schedule_run('machine', %(run)s, absurd.current_time())"],
    "retry_task": [
        "select absurd.retry_task('machine', %(task)s)",
        "select absurd.retry_task('machine', %(task)s, '{\"spawn_new\": true}')",
    ],
    "cancel_task": [
        "select absurd.cancel_task('machine', %(task)s)",
        "select absurd.cancel_task('machine', %(run)s)",
    ],
    "get_task_result": ["select * from absurd.get_task_result('machine', %(task)s)"],
    "set_task_checkpoint_state": [
        "select absurd.set_task_checkpoint_state('machine', %(task)s, 'c', '1', %(run)s, 60)"
    ],
    "await_event": [
        "select * from absurd.await_event('machine', %(task)s, %(run)s, 'a', 'b', 60)"
    ],
    "emit_event": ["select absurd.emit_event('machine', 'e', '1')"],
    "emit_events": ["select absurd.emit_events('machine', array['e'])"],
    "cancel_workflow_run": ["select absurd.cancel_workflow_run(%(workflow)s)"],
    "update_workflow_run_status": [
        "select absurd.update_workflow_run_status(%(workflow)s, 'failed')"
    ],
    "cleanup_tasks": ["select absurd.cleanup_tasks('machine', 0)"],
}


def clock(conn, instant):
    conn.execute("select set_config('absurd.fake_now', %s, true)", (instant,))


def enter(conn, kind, way):
    """Spawns a task of a kind and brings it into a state; returns its ids."""
    conn.execute("set local test.verb = 'spawn_task'")
    clock(conn, START)
    (workflow,) = conn.execute("select absurd.create_workflow_run('machine', '1')").fetchone()
    options = KINDS[kind] | {"workflow_run_id": str(workflow)}
    task, run = conn.execute(
        "select task_id, run_id from absurd.spawn_task('machine', 'work', '{}', %s)",
        (Jsonb(options),),
    ).fetchone()
    ids = {"task": task, "run": run, "workflow": workflow}
    conn.execute("set local test.verb = 'setup'")
    for statement in WAYS[way]:
        conn.execute(statement, ids)
    (state,) = conn.execute("select state from absurd.t_machine").fetchone()
    assert state == way.split()[0]
    return ids


@pytest.fixture(scope="module")
def made(database):
    """Every move that any verb made: (kind, from, to, verb)."""
    moves = set()
    tried = refused = 0
    with psycopg.connect(database) as conn:
        conn.execute("select absurd.create_queue('machine')")
        conn.execute(RECORDER)
        conn.commit()
        for kind, way, instant in itertools.product(KINDS, WAYS, (START, LATER)):
            # Every try is rolled back, and what it wrote must not be read over and over again.
            conn.autocommit = True
            conn.execute("vacuum absurd.t_machine, absurd.r_machine, public.moves")
            conn.autocommit = False
            for verb, statement in ((v, one) for v, all_of in VERBS.items() for one in all_of):
                ids = enter(conn, kind, way)
                clock(conn, instant)
                conn.execute("select set_config('test.verb', %s, true)", (verb,))
                tried += 1
                try:
                    with conn.transaction():
                        conn.execute(statement, ids)
                except psycopg.Error as error:
                    assert error.sqlstate in ("55000", "AB001", "AB002"), (statement, error)
                    refused += 1
                moves |= set(conn.execute("select * from public.moves where verb <> 'setup'"))
                conn.rollback()
    assert 0 < refused < tried
    return moves


@pytest.mark.parametrize("title, kind", [("Tasks", "task"), ("Runs", "run")])
def test_exactly_the_drawn_moves_are_made(made, title, kind):
    seen = {tuple(move) for of, *move in made if of == kind}
    assert drawn(title) - seen == set(), "drawn, but nothing does it"
    assert seen - drawn(title) == set(), "done, but not drawn"


# Rows that others wrote ---------------------------------------------------------------------------


@pytest.fixture
def pair(database):
    """Makes a task and its run with a pair of states, due and with an ended lease if running."""
    with psycopg.connect(database) as conn:
        conn.execute("select absurd.create_queue('pairs')")

        def make(run_state, task_state):
            clock(conn, START)
            task, run = conn.execute(
                "select task_id, run_id from absurd.spawn_task('pairs', 'work', '{}')"
            ).fetchone()
            conn.execute(
                "update absurd.r_pairs set state = %s, claim_expires_at = case when %s = 'running'"
                " then timestamptz '2026-01-05 09:01:00+00' end",
                (run_state, run_state),
            )
            conn.execute("update absurd.t_pairs set state = %s", (task_state,))
            return conn, task, run

        yield make
        conn.rollback()


def states(conn, run):
    return conn.execute(
        "select r.state, t.state from absurd.r_pairs r join absurd.t_pairs t using (task_id)"
        " where run_id = %s",
        (run,),
    ).fetchone()


@pytest.mark.parametrize("task_state", STATES)
@pytest.mark.parametrize("run_state", STATES)
def test_a_claim_meets_a_pair_of_states(pair, run_state, task_state):
    conn, _, run = pair(run_state, task_state)
    clock(conn, LATER)
    claimed = conn.execute("select run_id, attempt from absurd.claim_task('pairs', 'w')").fetchall()
    after = states(conn, run)
    if run_state in FINAL:
        assert (claimed, after) == ([], (run_state, task_state))
    elif task_state in FINAL:
        assert (claimed, after) == ([], ("cancelled", task_state))
    elif run_state == "running":
        assert [attempt for _, attempt in claimed] == [2]
        assert after == ("failed", "running")
    else:
        assert (claimed, after) == ([(run, 1)], ("running", "running"))


@pytest.mark.parametrize("task_state", STATES)
def test_a_worker_reports_to_a_task_in_any_state(pair, task_state):
    conn, _, run = pair("running", task_state)
    report = "select absurd.complete_run('pairs', %s)"
    if task_state in OPEN:
        conn.execute(report, (run,))
        assert states(conn, run) == ("completed", "completed")
        return
    with pytest.raises(psycopg.Error) as refused, conn.transaction():
        conn.execute(report, (run,))
    assert refused.value.sqlstate == ("AB001" if task_state == "cancelled" else "55000")
    assert states(conn, run) == ("running", task_state)


@pytest.mark.parametrize("run_state", FINAL)
@pytest.mark.parametrize("task_state", OPEN)
def test_an_open_task_without_an_open_run_can_be_cancelled(pair, run_state, task_state):
    conn, task, run = pair(run_state, task_state)
    assert conn.execute("select absurd.cancel_task('pairs', %s)", (task,)).fetchone() == (True,)
    assert states(conn, run) == (run_state, "cancelled")


def test_an_open_task_without_an_open_run_ends_by_its_rule(pair):
    conn, _, run = pair("failed", "sleeping")
    conn.execute("update absurd.t_pairs set cancellation = '{\"max_delay\": 60}'")
    clock(conn, LATER)
    assert conn.execute("select * from absurd.claim_task('pairs', 'w')").fetchall() == []
    assert states(conn, run) == ("failed", "cancelled")


def test_a_running_run_of_an_ended_task_without_a_lease_stays(pair):
    conn, _, run = pair("running", "completed")
    conn.execute("update absurd.r_pairs set claim_expires_at = null")
    clock(conn, LATER)
    assert conn.execute("select * from absurd.claim_task('pairs', 'w')").fetchall() == []
    assert states(conn, run) == ("running", "completed")


def test_a_run_whose_lease_has_ended_is_its_workers_until_a_claim(pair):
    conn, task, run = pair("running", "running")
    clock(conn, LATER)
    conn.execute(
        "select absurd.set_task_checkpoint_state('pairs', %s, 's', '1', %s)", (task, run)
    )
    conn.execute("select absurd.extend_claim('pairs', %s, 5)", (run,))
    conn.execute("select absurd.complete_run('pairs', %s)", (run,))
    assert states(conn, run) == ("completed", "completed")


# Cancellation rules -------------------------------------------------------------------------------


def hurried(conn, rules):
    return conn.execute(
        "select task_id, run_id from absurd.spawn_task('pairs', 'hurried', '{}', %s)",
        (Jsonb({"max_attempts": 1, "delay_seconds": 5, "cancellation": rules}),),
    ).fetchone()


def test_a_task_whose_rule_is_due_and_not_swept_completes(pair):
    conn, _, _ = pair("completed", "completed")
    _, run = hurried(conn, {"max_duration": 60})
    clock(conn, "2026-01-05 09:00:05+00")
    conn.execute("select absurd.claim_task('pairs', 'w', 0)")
    clock(conn, LATER)
    conn.execute("select absurd.complete_run('pairs', %s)", (run,))
    assert states(conn, run) == ("completed", "completed")


def test_max_delay_counts_from_the_spawn_and_not_after_a_retry(pair):
    conn, _, _ = pair("completed", "completed")
    task, run = hurried(conn, {"max_delay": 4})
    clock(conn, "2026-01-05 09:00:05+00")
    assert conn.execute("select * from absurd.claim_task('pairs', 'w')").fetchall() == []
    assert states(conn, run) == ("cancelled", "cancelled")

    clock(conn, START)
    task, run = hurried(conn, {"max_delay": 10, "max_duration": 600})
    clock(conn, "2026-01-05 09:00:05+00")
    conn.execute("select absurd.claim_task('pairs', 'w')")
    conn.execute("select absurd.fail_run('pairs', %s, '1')", (run,))
    clock(conn, LATER)
    conn.execute("select absurd.retry_task('pairs', %s)", (task,))
    assert conn.execute("select attempt from absurd.claim_task('pairs', 'w')").fetchone() == (2,)


# Workflow runs ------------------------------------------------------------------------------------

BRING = {
    "pending": [],
    "running": ["running"],
    "completed": ["running", "completed"],
    "failed": ["failed"],
    "cancelled": ["cancelled"],
}


def workflow_run(conn, status):
    (run,) = conn.execute("select absurd.create_workflow_run('machine', '1')").fetchone()
    for step in BRING[status]:
        conn.execute("select absurd.update_workflow_run_status(%s, %s)", (run, step))
    return run


def status_of(conn, run):
    query = "select status from absurd.workflow_run where workflow_run_id = %s"
    return conn.execute(query, (run,)).fetchone()[0]


WAYS_TO_WRITE = {
    "the table": "update absurd.workflow_run set status = %(to)s where workflow_run_id = %(run)s",
    "update_workflow_run_status": "select absurd.update_workflow_run_status(%(run)s, %(to)s)",
}


@pytest.mark.parametrize("how", WAYS_TO_WRITE)
@pytest.mark.parametrize("target", STATUSES)
@pytest.mark.parametrize("source", STATUSES)
def test_a_workflow_run_makes_the_drawn_moves_and_no_others(conn, source, target, how):
    run = workflow_run(conn, source)
    move = {"run": run, "to": target}
    if source == target or (source, target, "update_workflow_run_status") in drawn("Workflow runs"):
        conn.execute(WAYS_TO_WRITE[how], move)
        assert status_of(conn, run) == target
        return
    with pytest.raises(psycopg.Error) as refused:
        conn.execute(WAYS_TO_WRITE[how], move)
    assert refused.value.sqlstate == "55000"
    assert f"from {source} to {target}" in str(refused.value)
    assert status_of(conn, run) == source


@pytest.mark.parametrize("source", STATUSES)
def test_cancel_workflow_run_makes_its_drawn_moves(conn, source):
    run = workflow_run(conn, source)
    cancel = "select absurd.cancel_workflow_run(%s)"
    move = (source, "cancelled", "cancel_workflow_run")
    if source == "cancelled" or move in drawn("Workflow runs"):
        conn.execute(cancel, (run,))
        assert status_of(conn, run) == "cancelled"
    else:
        with pytest.raises(psycopg.Error) as refused:
            conn.execute(cancel, (run,))
        assert refused.value.sqlstate == "55000"
        assert status_of(conn, run) == source


def test_a_workflow_run_is_created_as_drawn(conn):
    assert (NONE, status_of(conn, workflow_run(conn, "pending")), "create_workflow_run") in drawn(
        "Workflow runs"
    )
