"""Plays a workflow run from outside: the calls that a worker, a clock and a sender of events make."""

from datetime import datetime, timedelta, timezone

from psycopg import sql
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

NOON = datetime(2030, 1, 1, 12, tzinfo=timezone.utc)


def register(conn, document, queue=None):
    return conn.execute(
        "select workflow_name, workflow_version, workflow_hash, created"
        "  from absurd.register_workflow(%s, %s)",
        (Jsonb(document), queue),
    ).fetchone()


def start(conn, name, inputs=None, version=None, queue=None, **options):
    (run,) = conn.execute(
        "select absurd.start_workflow(%s, %s, %s, %s, %s)",
        (name, version, Jsonb(inputs or {}), queue, Jsonb(options)),
    ).fetchone()
    return run


def run_row(conn, run):
    with conn.cursor(row_factory=dict_row) as cur:
        return cur.execute(
            "select * from absurd.workflow_run where workflow_run_id = %s", (run,)
        ).fetchone()


def status(conn, run):
    return run_row(conn, run)["status"]


def steps(conn, run):
    """The steps of a run by their paths, in the order of execution."""
    with conn.cursor(row_factory=dict_row) as cur:
        found = cur.execute("select * from absurd.workflow_run_steps(%s)", (run,)).fetchall()
    return {step["path"]: step for step in found}


def states(conn, run):
    return {path: step["state"] for path, step in steps(conn, run).items()}


class Worker:
    """Claims the tasks of a queue and keeps them by the paths of their steps. Its clock stands still
    until it is told otherwise."""

    def __init__(self, conn, queue, now=NOON):
        self.conn = conn
        self.queue = queue
        self.claimed = {}
        self.now = now
        self.set_clock(now)

    def set_clock(self, now):
        self.now = now
        self.conn.execute("select set_config('absurd.fake_now', %s, false)", (now.isoformat(),))

    def advance(self, seconds):
        """Moves the clock and fires what comes due, as a worker's claims would by and by."""
        self.set_clock(self.now + timedelta(seconds=seconds))
        return self.fire()

    def fire(self):
        fired = 0
        while True:
            (count,) = self.conn.execute(
                "select absurd.advance_timers(%s)", (self.queue,)
            ).fetchone()
            if count == 0:
                return fired
            fired += count

    def claim(self, quantity=1000, timeout=0):
        """Claims what is ready; returns it and keeps it by path."""
        with self.conn.cursor(row_factory=dict_row) as cur:
            runs = cur.execute(
                "select * from absurd.claim_task(%s, 'worker', %s, %s)",
                (self.queue, timeout, quantity),
            ).fetchall()
        for run in runs:
            path = (run["headers"] or {}).get("workflow_step")
            run["path"] = path
            self.claimed[(run["headers"] or {}).get("workflow_run_id"), path] = run
        return runs

    def paths(self, **settings):
        """Claims what is ready; returns the paths, sorted."""
        return sorted(run["path"] for run in self.claim(**settings))

    def held(self, path, run=None):
        """The claimed run of a path, the newest when several workflow runs have one."""
        found = [
            claim
            for (of_run, of_path), claim in self.claimed.items()
            if of_path == path and (run is None or of_run == str(run))
        ]
        assert found, f"{path} has not been claimed, only {sorted(p for _, p in self.claimed)}"
        return found[-1]

    def complete(self, path, result=None, run=None):
        self.conn.execute(
            "select absurd.complete_run(%s, %s, %s)",
            (self.queue, self.held(path, run)["run_id"], Jsonb(result)),
        )

    def fail(self, path, error=None, run=None):
        self.conn.execute(
            "select absurd.fail_run(%s, %s, %s)",
            (
                self.queue,
                self.held(path, run)["run_id"],
                Jsonb(error or {"name": "Error", "message": "no"}),
            ),
        )

    def emit(self, event, payload=None):
        self.conn.execute(
            "select absurd.emit_event(%s, %s, %s)", (self.queue, event, Jsonb(payload))
        )

    def table(self, prefix, where="true", *values):
        query = sql.SQL("select * from absurd.{} where " + where)
        with self.conn.cursor(row_factory=dict_row) as cur:
            name = sql.Identifier(f"{prefix}_{self.queue}")
            return cur.execute(query.format(name), values).fetchall()

    def work(self, answer=lambda run: None, rounds=1000):
        """Works what is ready, and what that makes ready, until nothing is left."""
        for _ in range(rounds):
            runs = self.claim()
            if not runs:
                return
            for run in runs:
                self.conn.execute(
                    "select absurd.complete_run(%s, %s, %s)",
                    (self.queue, run["run_id"], Jsonb(answer(run))),
                )
        raise AssertionError(f"work is left after {rounds} rounds")
