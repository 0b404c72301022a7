"""What tasks really did, written beside the engine, and the gates that hold them up.

Tasks write each piece of work to the table public.work in a connection of their own, so that a test
can count how often it was done and by whom. A gate is a row of public.gate: a task that reaches a
closed gate stays inside its step until the test opens it.
"""

import time

import psycopg

TABLES = """
create table public.work (
    task_id uuid not null,
    what text not null,
    worker text not null,
    at timestamptz not null default clock_timestamp()
);
create table public.gate (name text primary key);
"""
PATIENCE = 30  # seconds that a task waits for a gate or for its companions


class Ledger:
    """The books of one worker process. Its connection may be used by several threads."""

    def __init__(self, dsn: str, worker: str) -> None:
        self._conn = psycopg.connect(dsn, autocommit=True)
        self._worker = worker

    def did(self, task_id, what: str) -> None:
        self._conn.execute(
            "insert into public.work (task_id, what, worker) values (%s, %s, %s)",
            (task_id, what, self._worker),
        )

    def times(self, task_id, what: str) -> int:
        """How often a task has done something so far."""
        query = "select count(*) from public.work where task_id = %s and what = %s"
        return self._conn.execute(query, (task_id, what)).fetchone()[0]

    def is_open(self, gate: str) -> bool:
        query = "select exists (select from public.gate where name = %s)"
        return self._conn.execute(query, (gate,)).fetchone()[0]

    def present(self, what: str) -> int:
        """How many tasks have done something so far."""
        query = "select count(distinct task_id) from public.work where what = %s"
        return self._conn.execute(query, (what,)).fetchone()[0]

    def close(self) -> None:
        self._conn.close()


def hold(check):
    """Yields until the check is true: a `for` over it waits, in a thread or on an event loop."""
    deadline = time.monotonic() + PATIENCE
    while not check():
        if time.monotonic() > deadline:
            raise RuntimeError("nobody opened the gate")
        yield
