"""absurdctl, unmodified from PyPI: every command but init and migrate, as a process."""

import hashlib
import os
import re
import subprocess
import sys
import uuid
from pathlib import Path
from urllib.parse import quote, urlencode

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from support import row, rows, run, states, table, task, value

PROGRAM = Path(sys.executable).with_name("absurdctl")
CRON = Path(__file__).with_name("cron.sql").read_text()
NOT_OURS = {"init", "migrate"}  # they install the other engine
ODD = """it's "Ctl" ☂"""  # a queue name that must be quoted wherever it goes


@pytest.fixture(scope="module")
def uri(database):
    given = conninfo_to_dict(database)
    name = quote(given.pop("dbname"))
    return f"postgresql:///{name}?{urlencode(given)}"


@pytest.fixture(scope="module")
def called():
    """The commands that tests have called with success."""
    return set()


@pytest.fixture
def ctl(uri, called, tmp_path):
    """Runs a command and returns what it printed; `fails` asks for an error and returns that."""

    def call(command, *args, fails=False):
        done = subprocess.run(
            [str(PROGRAM), command, *map(str, args)],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            timeout=60,
            env=os.environ
            | {
                "ABSURD_DATABASE_URL": uri,
                "PATH": f"{os.environ['ABSURD_TEST_BIN']}:{os.environ['PATH']}",
            },
        )
        if fails:
            assert done.returncode != 0, done.stdout
            return done.stderr
        assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
        called.add(command)
        return done.stdout

    return call


@pytest.fixture
def cron(conn):
    """A stand-in for pg_cron; what is scheduled stays in cron.job."""
    conn.execute(CRON)
    yield
    conn.execute("drop schema cron cascade")


def printed(out, label):
    """The value that follows a label in what a command printed."""
    found = re.findall(rf"^\s*{re.escape(label)}:\s*(.*)$", out, re.MULTILINE)
    assert len(found) == 1, f"{label} is {len(found)} times in:\n{out}"
    return found[0]


def spawn(ctl, queue, name, *args):
    """Spawns a task and returns its id and its run's."""
    out = ctl("spawn-task", name, "-q", queue, *args)
    assert "Task spawned successfully" in out
    assert printed(out, "Attempt") == "1"
    return printed(out, "Task ID"), printed(out, "Run ID")


def claim(conn, queue, qty=1):
    return rows(conn, "select * from absurd.claim_task(%s, 'w', 60, %s)", queue, qty)


def fail(conn, queue, run_id, reason="{}"):
    conn.execute("select absurd.fail_run(%s, %s, %s)", (queue, run_id, reason))


# Queues -------------------------------------------------------------------------------------------


def test_schema_version_is_the_contract_s(ctl):
    assert ctl("schema-version") == "0.5.1\n"


def test_help_names_every_command(ctl):
    assert "Usage: absurdctl" in ctl("help")


@pytest.mark.parametrize("name", ["plain", "Mixed Case", ODD])
def test_create_list_and_drop_a_queue(ctl, conn, name):
    assert "created successfully" in ctl("create-queue", name)
    assert "created successfully" in ctl("create-queue", name)  # again: no effect
    assert name in ctl("list-queues").splitlines()
    assert value(conn, "select storage_mode from absurd.get_queue_policy(%s)", name) == (
        "unpartitioned"
    )
    assert "created successfully" not in ctl(
        "create-queue", name, "--storage-mode", "partitioned", fails=True
    )
    assert "dropped successfully" in ctl("drop-queue", "--yes", name)
    assert name not in ctl("list-queues").splitlines()
    assert "does not exist" in ctl("drop-queue", "--yes", name, fails=True)


def test_list_queues_in_order(ctl, conn):
    for name in ("zebra", "Adder", "mole"):
        ctl("create-queue", name)
    assert ctl("list-queues").splitlines() == [
        found["queue_name"] for found in rows(conn, "select * from absurd.list_queues()")
    ]


@pytest.mark.parametrize("name", ["rotor", ODD + " p"])
def test_create_and_drop_a_partitioned_queue(ctl, conn, name):
    ctl("create-queue", name, "--storage-mode", "partitioned")
    policy = ctl("queue-policy", name)
    assert printed(policy, "storage_mode") == "partitioned"
    assert printed(policy, "default_partition") == "enabled"
    task_id, _ = spawn(ctl, name, "work")
    (stored,) = rows(
        conn,
        'select tableoid::regclass::text as partition from absurd."{}" where task_id = %s'.format(
            f"t_{name}".replace('"', '""')
        ),
        task_id,
    )
    assert re.search(r"_[0-9]{3}\"?$", stored["partition"]), stored
    ctl("drop-queue", "--yes", name)
    left = "select count(*) from pg_class where relnamespace = 'absurd'::regnamespace" \
        " and position(%s in relname) > 0"
    assert value(conn, left, f"_{name}") == 0


def test_queue_policy_shows_and_sets(ctl, conn, queue):
    shown = ctl("queue-policy", queue)
    assert shown.startswith(f"Queue policy for '{queue}':\n")
    assert printed(shown, "storage_mode") == "unpartitioned"
    assert printed(shown, "cleanup_ttl") == "30 days"
    assert printed(shown, "cleanup_limit") == "1000"
    assert printed(shown, "detach_mode") == "none"
    assert printed(shown, "detach_min_age") == "30 days"
    assert printed(shown, "partition_lookahead") == "28 days"
    assert printed(shown, "partition_lookback") == "1 day"
    changed = ctl(
        "queue-policy", queue,
        "--partition-lookahead", "42 days", "--partition-lookback", "2 days",
        "--cleanup-ttl", "7 days", "--cleanup-limit", "50",
        "--detach-mode", "empty", "--detach-min-age", "90 minutes",
    )  # fmt: skip
    stored = row(conn, "select * from absurd.get_queue_policy(%s)", queue)
    for label, wanted in [
        ("partition_lookahead", "42 days"),
        ("partition_lookback", "2 days"),
        ("cleanup_ttl", "7 days"),
        ("cleanup_limit", "50"),
        ("detach_mode", "empty"),
        ("detach_min_age", "01:30:00"),
    ]:
        assert printed(changed, label) == wanted
    assert (stored["cleanup_limit"], stored["detach_mode"]) == (50, "empty")
    assert ctl("queue-policy", queue) == changed
    assert "cleanup_ttl" in ctl("queue-policy", queue, "--cleanup-ttl", "soon", fails=True)
    assert "does not exist" in ctl("queue-policy", "nowhere", fails=True)
    assert ctl("queue-policy", queue) == changed


def test_queue_policy_switches_the_default_partition(ctl, conn):
    ctl("create-queue", "switched", "--storage-mode", "partitioned")
    attached = (
        "select count(*) from pg_inherits join pg_class c on c.oid = inhrelid"
        " where c.relnamespace = 'absurd'::regnamespace and c.relname ~ '^[trcw]_switched_d$'"
    )
    assert value(conn, attached) == 4
    out = ctl("queue-policy", "switched", "--default-partition", "disabled")
    assert printed(out, "default_partition") == "disabled"
    assert value(conn, attached) == 0
    out = ctl("queue-policy", "switched", "--default-partition", "enabled")
    assert printed(out, "default_partition") == "enabled"
    assert value(conn, attached) == 4


# Tasks --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["unpartitioned", "partitioned"])
def test_spawn_task_with_everything(ctl, conn, mode):
    queue = f"spawned {mode}"
    ctl("create-queue", queue, "--storage-mode", mode)
    task_id, run_id = spawn(
        ctl, queue, "send-mail",
        "--params", '{"base": 1}', "-P", "to=it's", "-P", "user.age:=30",
        "-H", "trace=t-1", "--max-attempts", "4",
        "--retry-kind", "exponential", "--retry-base", "5", "--retry-factor", "1.5",
        "--retry-max", "60", "--max-duration", "120", "--max-delay", "30",
    )  # fmt: skip
    stored = task(conn, queue, task_id)
    assert stored["task_name"] == "send-mail"
    assert stored["params"] == {"base": 1, "to": "it's", "user": {"age": 30}}
    assert stored["headers"] == {"trace": "t-1"}
    assert stored["max_attempts"] == 4
    assert stored["retry_strategy"] == {
        "kind": "exponential", "base_seconds": 5, "factor": 1.5, "max_seconds": 60
    }  # fmt: skip
    assert stored["cancellation"] == {"max_duration": 120, "max_delay": 30}
    assert states(conn, queue, run_id) == ("pending", "pending")


def test_spawn_task_refusals(ctl, conn, queue):
    assert "does not exist" in ctl("spawn-task", "work", "-q", "nowhere", fails=True)
    problem = ctl("spawn-task", "work", "-q", queue, "--max-attempts", "0", fails=True)
    assert "max_attempts" in problem
    problem = ctl(
        "spawn-task", "work", "-q", queue, "--retry-kind", "fixed", "--retry-base", "-1",
        fails=True,
    )  # fmt: skip
    assert "base_seconds" in problem
    assert table(conn, "t", queue) == []


@pytest.mark.parametrize("mode", ["unpartitioned", "partitioned"])
def test_retry_task(ctl, conn, mode):
    queue = f"retried {mode}"
    ctl("create-queue", queue, "--storage-mode", mode)
    task_id, run_id = spawn(ctl, queue, "work", "-P", "n:=1", "--max-attempts", "1")
    assert "is not currently failed" in ctl("retry-task", "-q", queue, task_id, fails=True)
    (claimed,) = claim(conn, queue)
    fail(conn, queue, claimed["run_id"])

    fresh = ctl("retry-task", "-q", queue, task_id, "--spawn-new", "--max-attempts", "8")
    assert fresh.startswith("Task respawned successfully")
    assert printed(fresh, "Attempt") == "1"
    copy = task(conn, queue, printed(fresh, "Task ID"))
    assert str(copy["task_id"]) != task_id
    assert (copy["params"], copy["max_attempts"]) == ({"n": 1}, 8)

    problem = ctl("retry-task", "-q", queue, task_id, "--max-attempts", "1", fails=True)
    assert "must be greater than current attempts" in problem
    again = ctl("retry-task", "-q", queue, task_id, "--max-attempts", "3")
    assert again.startswith("Task retried successfully")
    assert (printed(again, "Task ID"), printed(again, "Attempt")) == (task_id, "2")
    assert states(conn, queue, printed(again, "Run ID")) == ("pending", "pending")
    assert task(conn, queue, task_id)["max_attempts"] == 3
    assert "not found" in ctl("retry-task", "-q", queue, uuid.uuid4(), fails=True)


def test_cancel_task(ctl, conn, queue):
    task_id, run_id = spawn(ctl, queue, "work")
    assert "cancelled" in ctl("cancel-task", "-q", queue, task_id)
    assert states(conn, queue, run_id) == ("cancelled", "cancelled")
    assert "cancelled" in ctl("cancel-task", "-q", queue, task_id)
    assert "not found" in ctl("cancel-task", "-q", queue, uuid.uuid4(), fails=True)


def test_emit_event(ctl, conn, queue):
    task_id, run_id = spawn(ctl, queue, "work")
    claim(conn, queue)
    conn.execute(
        "select absurd.await_event(%s, %s, %s, 'step', 'order.completed')",
        (queue, task_id, run_id),
    )
    assert states(conn, queue, run_id) == ("sleeping", "sleeping")
    out = ctl(
        "emit-event", "order.completed", "-q", queue,
        "--payload", '{"id": "a"}', "-P", "user.id:=42", "-P", "status=it's sent",
    )  # fmt: skip
    assert "emitted successfully" in out
    payload = {"id": "a", "user": {"id": 42}, "status": "it's sent"}
    (event,) = table(conn, "e", queue)
    assert (event["event_name"], event["payload"]) == ("order.completed", payload)
    (woken,) = claim(conn, queue)
    assert (str(woken["run_id"]), woken["event_payload"]) == (run_id, payload)
    assert "does not exist" in ctl("emit-event", "e", "-q", "nowhere", fails=True)


@pytest.fixture
def zoo(conn, queue):
    """A queue with a task in each state."""
    made = {}

    def spawn(name, options="{}"):
        query = (
            "select task_id::text, run_id::text from absurd.spawn_task(%s, %s, '{}', %s::jsonb)"
        )
        return tuple(row(conn, query, queue, name, options).values())

    for name in ("completed", "failed", "sleeping", "running"):
        made[name] = spawn(name, '{"max_attempts": 1}')
        (claimed,) = claim(conn, queue)
        assert str(claimed["run_id"]) == made[name][1]
    run_ids = {name: ids[1] for name, ids in made.items()}
    conn.execute("select absurd.complete_run(%s, %s, '1')", (queue, run_ids["completed"]))
    fail(conn, queue, run_ids["failed"], '{"name": "Oops", "message": "it broke"}')
    conn.execute(
        "select absurd.schedule_run(%s, %s, now() + interval '1 hour')",
        (queue, run_ids["sleeping"]),
    )
    made["pending"] = spawn("pending")
    made["cancelled"] = spawn("cancelled")
    conn.execute("select absurd.cancel_task(%s, %s)", (queue, made["cancelled"][0]))
    return queue, made


def listed(out):
    """The tasks that list-tasks printed: task id -> the fields."""
    found = {}
    for block in re.split(r"^task_id=", out, flags=re.MULTILINE)[1:]:
        task_id, *fields = block.splitlines()
        found[task_id] = dict(
            field.strip().split("=", 1) for field in fields if "=" in field
        )
    assert f"Total: {len(found)} task(s)" in out
    return found


def test_list_tasks_with_filters(ctl, zoo):
    queue, made = zoo
    everything = listed(ctl("list-tasks", "--queue", queue))
    assert set(everything) == {ids[0] for ids in made.values()}
    for name, (task_id, run_id) in made.items():
        fields = everything[task_id]
        assert (fields["run_id"], fields["queue"]) == (run_id, queue)
        assert (fields["task_name"], fields["status"]) == (name, name)
        assert fields["attempts"] == ("1/1" if name not in ("pending", "cancelled") else "1/∞")
        assert set(listed(ctl("list-tasks", "-q", queue, "-s", name))) == {task_id}
    assert set(listed(ctl("list-tasks", "-q", queue, "-n", "failed"))) == {made["failed"][0]}
    assert len(listed(ctl("list-tasks", "-q", queue, "--limit", "2"))) == 2
    assert ctl("list-tasks", "-q", queue, "-n", "failed", "-s", "pending") == "No tasks found\n"
    over_all = listed(ctl("list-tasks", "-n", "failed", "-l", "1000"))
    assert made["failed"][0] in over_all
    assert "Invalid status" in ctl("list-tasks", "-s", "paused", fails=True)


def test_dump_task(ctl, conn, queue):
    task_id, run_id = spawn(
        ctl, queue, "report", "-P", "day=monday", "-H", "trace=t-9",
        "--max-attempts", "2", "--retry-kind", "fixed", "--retry-base", "0",
    )  # fmt: skip
    claim(conn, queue)
    conn.execute(
        "select absurd.set_task_checkpoint_state(%s, %s, 'collect', '{\"rows\": 7}', %s)",
        (queue, task_id, run_id),
    )
    fail(conn, queue, run_id, '{"name": "Oops", "message": "it broke"}')
    ((second),) = claim(conn, queue)
    conn.execute(
        "select absurd.await_event(%s, %s, %s, 'approval', 'approved', 600)",
        (queue, task_id, second["run_id"]),
    )
    dump = ctl("dump-task", f"--task-id={task_id}")
    first, last = dump.split("-" * 80)
    for part, run_state, attempt, identity in [
        (first, "failed", "1 of 2", run_id),
        (last, "sleeping", "2 of 2", str(second["run_id"])),
    ]:
        assert printed(part, "Current status") == run_state
        assert printed(part, "Task Name") == "report"
        assert printed(part, "Queue") == queue
        assert printed(part, "Task ID") == task_id
        assert printed(part, "Run ID") == identity
        assert printed(part, "Attempt") == attempt
        assert "monday" in part and "t-9" in part
    assert "it broke" in first and "it broke" not in last
    assert "collect (committed)" in first and "collect" not in last
    assert printed(last, "Step") == "approval"
    assert printed(last, "Wake event") == "approved"
    assert "WAIT STATES" not in first
    # By the run's id: that run alone.
    assert ctl("dump-task", f"--run-id={run_id}").rstrip() == first.rstrip()
    assert "not found" in ctl("dump-task", f"--task-id={uuid.uuid4()}", fails=True)


def test_dump_task_while_it_sleeps_without_end(ctl, conn, queue):
    """A wait without timeout: available_at is infinity."""
    task_id, run_id = spawn(ctl, queue, "patient")
    claim(conn, queue)
    conn.execute(
        "select absurd.await_event(%s, %s, %s, 'approval', 'approved')", (queue, task_id, run_id)
    )
    dump = ctl("dump-task", f"--task-id={task_id}")
    assert printed(dump, "Wake event") == "approved"
    assert printed(dump, "Wake at") == "infinity"


@pytest.mark.parametrize("mode", ["unpartitioned", "partitioned"])
def test_cleanup(ctl, conn, mode):
    queue = f"cleaned {mode}"
    ctl("create-queue", queue, "--storage-mode", mode)
    conn.execute("set absurd.fake_now = '2024-05-01 12:00+00'")
    for n in range(5):
        conn.execute("select absurd.spawn_task(%s, %s, '{}')", (queue, f"old {n}"))
    for claimed in claim(conn, queue, 5):
        conn.execute("select absurd.complete_run(%s, %s)", (queue, claimed["run_id"]))
    conn.execute("select absurd.emit_event(%s, 'old')", (queue,))
    conn.execute("set absurd.fake_now = ''")
    conn.execute("select absurd.emit_event(%s, 'new')", (queue,))
    open_task = value(
        conn, "select task_id::text from absurd.spawn_task(%s, 'open', '{}')", queue
    )
    would = ctl("cleanup", "--dry-run", queue, "30")
    assert "Would delete 5 tasks and 1 events" in would
    assert len(table(conn, "t", queue)) == 6
    out = ctl("cleanup", "--limit", "2", queue, "30")
    assert "Cleanup complete: 5 tasks, 1 events deleted in 4 iterations" in out
    assert [str(found["task_id"]) for found in table(conn, "t", queue)] == [open_task]
    assert [found["event_name"] for found in table(conn, "e", queue)] == ["new"]
    assert "0 tasks, 0 events" in ctl("cleanup", queue, "30")


# Partitions and cron ------------------------------------------------------------------------------


@pytest.fixture
def aged(ctl, conn):
    """A partitioned queue with weeks that ended long ago, one of which holds a task."""
    queue = f"aged_{uuid.uuid4().hex[:6]}"
    ctl("create-queue", queue, "--storage-mode", "partitioned")
    ctl("queue-policy", queue, "--detach-mode", "empty", "--detach-min-age", "30 days")
    conn.execute("set absurd.fake_now = '2024-04-10 12:00+00'")
    ctl("queue-policy", queue, "--partition-lookahead", "14 days")
    conn.execute("select absurd.ensure_partitions(%s)", (queue,))
    # ISO week 16 of 2024 begins on Monday, 15 April.
    conn.execute("set absurd.fake_now = '2024-04-17 12:00+00'")
    conn.execute("select absurd.spawn_task(%s, 'kept', '{}')", (queue,))
    conn.execute("set absurd.fake_now = ''")
    return queue


def test_detach_candidates(ctl, conn, aged):
    out = ctl("list-detach-candidates", "--queue", aged)
    header, *lines = out.splitlines()
    assert header == "partition\tqueue\tparent"
    found = [tuple(line.split("\t")) for line in lines]
    weeks = {f"{prefix}_{aged}_{week}" for prefix in "trcw" for week in ("415", "416", "417")}
    # The task keeps its own week's partitions: of tasks and of runs.
    assert {partition for partition, _, _ in found} == weeks - {
        f"t_{aged}_416",
        f"r_{aged}_416",
    }
    for partition, queue, parent in found:
        assert (queue, parent) == (aged, partition.rsplit("_", 1)[0])
    assert set(lines) <= set(ctl("list-detach-candidates").splitlines())

    shown = ctl("list-detach-candidates", "--queue", aged, "--show-sql")
    assert f'alter table absurd."t_{aged}" detach partition absurd."t_{aged}_415"' in shown
    assert f'drop table if exists absurd."t_{aged}_415"' in shown


@pytest.mark.parametrize("default", ["enabled", "disabled"])
def test_detach_candidate(ctl, conn, aged, default):
    """With a default partition a plain DETACH, without one CONCURRENTLY."""
    ctl("queue-policy", aged, "--default-partition", default)
    attached = (
        "select exists (select from pg_inherits join pg_class c on c.oid = inhrelid"
        " where c.relname = %s)"
    )
    exists = "select to_regclass(%s) is not null"
    first, second = f"c_{aged}_415", f"c_{aged}_416"
    out = ctl("detach-candidate", "--queue", aged, first)
    assert "Detach succeeded" in out
    assert printed(out, "parent") == f"c_{aged}"
    assert value(conn, attached, first) is False
    assert value(conn, exists, f"absurd.{first}") is True
    assert value(conn, "select absurd.drop_detached_partition(%s)", first) is True
    assert value(conn, exists, f"absurd.{first}") is False

    out = ctl("detach-candidate", second, "--drop")
    assert "Detach succeeded" in out and "Drop succeeded" in out
    assert value(conn, exists, f"absurd.{second}") is False
    left = ctl("list-detach-candidates", "--queue", aged)
    assert first not in left and second not in left
    kept = f"t_{aged}_416"
    problem = ctl("detach-candidate", "--queue", aged, kept, fails=True)
    assert "No detach candidate found" in problem
    # The queue works on.
    task_id, _ = spawn(ctl, aged, "work")
    assert {str(found["task_id"]) for found in claim(conn, aged, 5)} >= {task_id}


def jobs(conn):
    found = rows(conn, "select jobname, schedule, command from cron.job")
    return {job["jobname"]: (job["schedule"], job["command"]) for job in found}


@pytest.mark.parametrize("name", ["cronned", ODD + " c", None])
def test_cron_of_one_queue_and_of_all(ctl, conn, cron, name):
    if name:
        ctl("create-queue", name)
    scope = ["--queue", name] if name else []
    suffix = hashlib.md5(name.encode()).hexdigest()[:12] if name else "all"
    literal = value(conn, "select quote_literal(%s::text)", name) if name else "null::text"
    names = [f"absurd_{job}_{suffix}" for job in ("cleanup", "detach_plan", "partitions")]
    commands = dict(
        zip(
            names,
            [
                f"select * from absurd.cleanup_all_queues({literal});",
                f"select * from absurd.schedule_detach_jobs({literal});",
                f"select absurd.ensure_partitions({literal});",
            ],
        )
    )

    out = ctl("cron", "--enable", *scope)
    assert out.startswith("Enabled cron jobs:\n")
    assert re.findall(r"^  (\S+) \(job_id=[0-9]+\)$", out, re.MULTILINE) == names
    schedules = dict(zip(names, ["17 * * * *", "29 * * * *", "5 * * * *"]))
    assert jobs(conn) == {job: (schedules[job], commands[job]) for job in names}

    # Again, with schedules of one's own: the jobs are replaced.
    ctl(
        "cron", "--enable", *scope, "--partition-schedule", "*/15 * * * *",
        "--cleanup-schedule", "0 3 * * *", "--detach-schedule", "0 4 * * *",
    )  # fmt: skip
    schedules = dict(zip(names, ["0 3 * * *", "0 4 * * *", "*/15 * * * *"]))
    assert jobs(conn) == {job: (schedules[job], commands[job]) for job in names}
    for _, command in jobs(conn).values():
        conn.execute(command)  # what the scheduler would run

    scheduled = set(jobs(conn))
    assert scheduled >= set(names)  # and the detaches of other tests' queues, planned just now
    out = ctl("cron", "--disable", *scope)
    assert out.startswith("Disabled cron jobs:\n")
    assert set(re.findall(r"^  (\S+) \(job_id=[0-9]+\)$", out, re.MULTILINE)) == scheduled
    assert jobs(conn) == {}
    assert ctl("cron", "--disable", *scope) == "No matching cron jobs found\n"


def test_cron_plans_the_detach_of_a_partition(ctl, conn, cron, aged):
    ctl("cron", "--enable", "--queue", aged)
    (plan,) = [command for job, (_, command) in jobs(conn).items() if "detach_plan" in job]
    conn.execute(plan)
    pipelines = {job: command for job, (_, command) in jobs(conn).items() if "_run_" in job}
    # One pipeline a parent, each for its oldest candidate.
    detaches = [command for job, command in pipelines.items() if "detach_run" in job]
    assert len(detaches) == 4 and len(pipelines) == 8
    for prefix in "trcw":
        (detach,) = [command for command in detaches if f"{prefix}_{aged}_415" in command]
        conn.execute(detach)
    for job, command in pipelines.items():
        if "drop_run" in job:
            assert value(conn, command) is True
    assert [job for job in jobs(conn) if "_run_" in job] == []
    assert value(conn, "select to_regclass(%s)", f"absurd.t_{aged}_415") is None
    ctl("drop-queue", "--yes", aged)
    assert jobs(conn) == {}


def test_cron_without_pg_cron(ctl, conn, queue):
    assert value(conn, "select to_regnamespace('cron')") is None
    assert "pg_cron" in ctl("cron", "--enable", "--queue", queue, fails=True)
    assert value(conn, "select to_regnamespace('cron')") is None


# The program itself -------------------------------------------------------------------------------


def test_install_skill(ctl, tmp_path):
    out = ctl("install-skill", tmp_path / "skills")
    installed = tmp_path / "skills" / "absurd" / "SKILL.md"
    assert str(installed) in out
    text = installed.read_text()
    assert "absurdctl" in text
    assert "already installed" in ctl("install-skill", tmp_path / "skills")
    installed.write_text("mine")
    assert "--force" in ctl("install-skill", tmp_path / "skills", fails=True)
    ctl("install-skill", tmp_path / "skills", "--force")
    assert installed.read_text() == text


def test_every_command_has_been_called(ctl, called, request):
    """Last in this file: the commands that the program's help names, and those that tests ran."""
    names = re.search(r"^Commands:\n(.*?)\n\n", ctl("help"), re.MULTILINE | re.DOTALL)
    commands = set(re.findall(r"^  ([a-z-]+) ", names[1], re.MULTILINE))
    assert len(commands) == 19 and NOT_OURS < commands
    in_file = [item for item in request.session.items if item.module is request.module]
    if len(in_file) > 20:  # not when a few tests of this file were picked out
        assert commands - NOT_OURS - called == set()
