"""What several tests of a server share."""

import contextlib
import threading
import time

import psycopg
from psycopg.pq import TransactionStatus

NOW = "2026-03-04 05:06:07+00"
# A task, a minute's rest, a task.
FLOW = {"name": "flow", "tasks": {
    "a": {"task_id": "a", "operator_type": "task", "function": "f"},
    "rest": {"task_id": "rest", "operator_type": "wait", "wait_for": "PT1M", "dependencies": ["a"]},
    "b": {"task_id": "b", "operator_type": "task", "function": "slow", "dependencies": ["rest"]}}}


def value(conn, sql, *values):
    row = conn.execute(sql, values or None).fetchone()
    return row[0] if row else None


def outcome(conn, sql, values=None):
    """Rows of a statement, or its SQLSTATE; what fails leaves nothing."""
    is_alone = conn.info.transaction_status == TransactionStatus.IDLE
    try:
        with contextlib.nullcontext() if is_alone else conn.transaction():
            return conn.execute(sql, values).fetchall()
    except psycopg.Error as error:
        return error.sqlstate


def until(condition, what):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, what


# Claims without a scan, or without what is waited for, after which a test is given up: some hundreds come between two
# scans, fewer the slower the machine is.
TRIES = 100_000


class Scans:
    """The scans of a queue's front that claims have written down since: claims find at the next one what has become
    ready behind the watermarks. How often one is due is a matter of time, which the benchmark measures."""

    def __init__(self, conn, queue, full=False):
        self.conn, self.queue = conn, queue
        self.column = "fully_scanned_at" if full else "scanned_at"
        self.count, self.last, self.tries = 0, self._read(), 0

    def _read(self):
        return value(self.conn, f"select {self.column} from absurd.queue_watermark where queue_name = %s", self.queue)

    def so_far(self):
        self.tries += 1
        assert self.tries < TRIES, f"{self.count} scans in {TRIES} tries"
        now = self._read()
        if now != self.last:
            self.count, self.last, self.tries = self.count + 1, now, 0
        return self.count


def in_background(call):
    """Runs a call in a thread; the returned function joins it and gives its result."""
    came = []
    thread = threading.Thread(target=lambda: came.append(call()))
    thread.start()

    def join():
        thread.join(60)
        assert not thread.is_alive()
        return came[0]

    join.is_over = lambda: not thread.is_alive()
    return join


def waits(conn, other):
    return value(conn, "select coalesce(wait_event_type = 'Lock' or wait_event = 'PgSleep', false)"
                       " from pg_stat_activity where pid = %s", other.info.backend_pid)


def listening(connect, **arguments):
    """A session, and whom strangers' functions have noted as their caller in it: in messages, which
    also calls that fail leave."""
    session, noted = connect(**arguments), set()

    def note(notice):
        text = notice.message_primary
        if text.startswith("noted "):
            noted.add(text.removeprefix("noted "))

    session.add_notice_handler(note)
    return session, noted
