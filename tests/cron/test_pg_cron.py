"""The jobs of enable_cron and schedule_detach_jobs under the real pg_cron.

A job of pg_cron starts at a full minute at the earliest, so the test that waits for pipelines to end
takes one or two minutes; everything that needs such a wait is under way at once.
"""

import time
from datetime import datetime, timedelta, timezone

import psycopg
import pytest

QUEUES = {"with default": "enabled", 'it\'s "concurrent"': "disabled"}


def values(conn, query, *arguments):
    return [row[0] for row in conn.execute(query, arguments).fetchall()]


def old_queue(conn, name, default_partition):
    """A queue whose weeks ended long ago; the oldest of them still holds a task."""
    then = datetime.now(timezone.utc) - timedelta(weeks=12)
    conn.execute("select set_config('absurd.fake_now', %s, false)", (then.isoformat(),))
    conn.execute("select absurd.create_queue(%s, 'partitioned')", (name,))
    conn.execute("select absurd.spawn_task(%s, 'kept', '{}')", (name,))
    policy = (
        '{"detach_mode": "empty", "detach_min_age": "7 days", "partition_lookahead": "7 days", '
        f'"partition_lookback": "0", "default_partition": "{default_partition}"}}'
    )
    conn.execute("select absurd.set_queue_policy(%s, %s)", (name, policy))
    conn.execute("reset absurd.fake_now")


def failures(conn):
    return conn.execute(
        "select command, return_message from cron.job_run_details where status = 'failed'"
    ).fetchall()


def test_detach_and_drop_run_to_their_end(conn):
    for name, default_partition in QUEUES.items():
        old_queue(conn, name, default_partition)
    made = conn.execute("select * from absurd.schedule_detach_jobs()").fetchall()
    # One pipeline of two jobs for each of the four tables of each queue.
    assert len(made) == 16
    partitions = sorted({row[3] for row in made})
    oldest = {row[3] for row in conn.execute(
        "select distinct on (queue_name, parent_table) queue_name, parent_table, 0, partition_table"
        "  from absurd.list_detach_candidates() with ordinality c (queue_name, parent_table, partition_table, n)"
        " order by queue_name, parent_table, n"
    ).fetchall()}
    assert set(partitions) == oldest
    # Jobs of other kinds run beside them.
    conn.execute("select count(*) from absurd.enable_cron(null, '* * * * *', '* * * * *', '0 0 1 1 *')")

    deadline = time.monotonic() + 260
    while values(conn, "select jobname::text from cron.job where jobname ~ '_run_'"):
        assert time.monotonic() < deadline, (
            conn.execute("select jobname, command from cron.job").fetchall(), failures(conn))
        time.sleep(0.5)
    left = values(conn, "select relname::text from pg_class where relname = any (%s)", partitions)
    assert left == []
    # A week with rows stays, and so do its rows.
    for name in QUEUES:
        assert values(conn, f"select count(*) from absurd.{psycopg.sql.Identifier('t_' + name).as_string(conn)}") == [1]

    # The job that makes partitions made this week's.
    tag = values(conn, "select absurd.partition_week_tag(now())")[0]

    def weeks():
        return values(
            conn,
            "select count(*) from pg_inherits i join pg_class p on p.oid = i.inhrelid"
            " where p.relname = any (%s)",
            [f"t_{name}_{tag}" for name in QUEUES],
        )

    while weeks() != [len(QUEUES)]:
        assert time.monotonic() < deadline, failures(conn)
        time.sleep(0.5)
    succeeded = values(conn, "select distinct command from cron.job_run_details where status = 'succeeded'")
    assert "select absurd.ensure_partitions(null::text);" in succeeded
    assert "select * from absurd.cleanup_all_queues(null::text);" in succeeded


def test_jobs_are_replaced_and_removed_by_scope(conn):
    conn.execute("select absurd.create_queue('mail')")
    conn.execute("select count(*) from absurd.enable_cron()")
    first = conn.execute("select * from absurd.enable_cron('mail')").fetchall()
    again = conn.execute("select * from absurd.enable_cron('mail', '9 * * * *')").fetchall()
    assert [name for name, _ in first] == [name for name, _ in again]
    jobs = dict(conn.execute("select jobname::text, jobid from cron.job where jobname ~ '^absurd_'").fetchall())
    assert len(jobs) == 6
    assert all(jobs[name] == number for name, number in again)
    assert values(conn, "select schedule from cron.job where jobid = %s", again[0][1]) == ["9 * * * *"]
    removed = conn.execute("select * from absurd.disable_cron('mail')").fetchall()
    assert sorted(removed) == sorted(again)
    assert values(conn, "select count(*) from cron.job where jobname ~ '^absurd_'") == [3]
    # A dropped queue takes its own along.
    conn.execute("select count(*) from absurd.enable_cron('mail')")
    conn.execute("select absurd.drop_queue('mail')")
    assert values(conn, "select count(*) from cron.job where jobname ~ '^absurd_'") == [3]


def test_a_bad_schedule_changes_nothing(conn):
    conn.execute("select count(*) from absurd.enable_cron()")
    before = conn.execute("select * from cron.job order by jobid").fetchall()
    with pytest.raises(psycopg.Error, match="schedule"):
        conn.execute("select * from absurd.enable_cron(null, '5 * * * *', 'whenever')")
    assert conn.execute("select * from cron.job order by jobid").fetchall() == before


def test_a_workflow_with_a_schedule_makes_its_job(conn):
    conn.execute("select absurd.create_queue('daily')")
    told = []
    conn.add_notice_handler(lambda notice: told.append(notice.message_primary))
    register = """select * from absurd.register_workflow('{"name": "daily", "version": "%s", "schedule": "0 0 * * *"}', 'daily')"""
    conn.execute("select count(*) from absurd.disable_cron()")
    conn.execute(register % 1)
    assert len(told) == 1 and "absurd.run_schedules() must be called every minute" in told[0]
    # Jobs of one queue are no sign that somebody wants jobs for all.
    conn.execute("select count(*) from absurd.enable_cron('daily')")
    conn.execute(register % 2)
    assert len(told) == 2
    conn.execute("select absurd.delete_workflow('daily')")
    assert len(values(conn, "select job_name from absurd.enable_cron()")) == 3
    conn.execute(register % 3)
    conn.execute(register % 4)
    assert len(told) == 2
    made = "select command from cron.job where jobname = 'absurd_schedules_all'"
    assert values(conn, made) == ["select absurd.run_schedules();"]
    conn.execute("select count(*) from absurd.disable_cron()")
    conn.execute("select absurd.drop_queue('daily')")


def test_schedules_of_workflows_run(conn):
    conn.execute("select absurd.create_queue('night')")
    conn.execute(
        """select * from absurd.register_workflow('{"name": "nightly", "version": "1", "schedule": "* * * * *",
             "tasks": {"a": {"task_id": "a", "operator_type": "task", "function": "f"}}}', 'night')"""
    )
    # A minute that has passed comes due at once; the job looks at every full minute.
    names = values(conn, "select job_name from absurd.enable_cron()")
    assert "absurd_schedules_all" in names
    deadline = time.monotonic() + 200
    while not values(conn, "select 1 from absurd.list_workflow_runs('nightly')"):
        assert time.monotonic() < deadline, failures(conn)
        time.sleep(0.5)
    assert values(conn, "select task_name from absurd.claim_task('night', 'w')") == ["f"]
    conn.execute("select absurd.pause_workflow('nightly')")
    assert "absurd_schedules_all" in values(conn, "select job_name from absurd.disable_cron()")
