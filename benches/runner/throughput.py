"""Every system on one task: enqueue n, work n with k workers, a durable acknowledgement a task."""

import time

from .book import Book
from .peers import Peers
from .server import Server

WORKERS = 4


def timed(work) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began


class Throughput:
    """Enqueues and works a number of tasks in each system and notes tasks a second."""

    def __init__(self, server: Server, book: Book, peers: Peers, tasks: int, slow_tasks: int):
        self.server, self.book, self.peers = server, book, peers
        self.tasks, self.slow_tasks = tasks, slow_tasks

    def bench(self, database: str, script: str, tasks: int, **variables) -> float:
        each = str(tasks // WORKERS)
        return timed(lambda: self.server.pgbench(database, script, WORKERS, "-t", each, **variables))

    def schema(self, database: str) -> tuple[int, float, float]:
        self.server.run(database, "select absurd.create_queue('tasks')")
        enqueue = self.bench(database, "spawn.sql", self.tasks, queue="tasks")
        work = self.bench(database, "finish.sql", self.tasks, queue="tasks")
        left = self.server.run(database, "select count(*) from absurd.t_tasks where state <> 'completed'")[0][0]
        # A claim passes over what another holds at that moment, so a worker's turn may find nothing.
        done = self.tasks - left
        return self.tasks, enqueue, work * self.tasks / done

    def pgmq(self) -> tuple[int, float, float]:
        self.server.run("pgmq", "select pgmq.create('tasks')")
        enqueue = self.bench("pgmq", "pgmq_send.sql", self.tasks, queue="tasks")
        work = self.bench("pgmq", "pgmq_finish.sql", self.tasks, queue="tasks")
        done = self.server.run("pgmq", "select count(*) from pgmq.a_tasks")[0][0]
        return self.tasks, enqueue, work * self.tasks / done

    def pgq(self) -> tuple[int, float, float]:
        """Its consumer is one, reads a batch and acknowledges the batch: that is how it is meant."""
        with self.server.connect("pgq") as db:
            db.execute("select pgq.create_queue('tasks')")
            db.execute("select pgq.register_consumer('tasks', 'worker')")
            enqueue = self.bench("pgq", "pgq_insert.sql", self.tasks, queue="tasks")
            db.execute("select pgq.ticker('tasks')")
            began = time.monotonic()
            events = db.execute("call bench.drain('tasks', null)").fetchone()[0]
            work = time.monotonic() - began
        if events != self.tasks:
            raise RuntimeError(f"PgQ handed out {events} of {self.tasks} events")
        return self.tasks, enqueue, work

    def node(self, script: str, database: str) -> tuple[int, float, float]:
        enqueue = self.peers.node(script, database, "enqueue", self.slow_tasks, WORKERS)["seconds"]
        work = self.peers.node(script, database, "work", self.slow_tasks, WORKERS)["seconds"]
        return self.slow_tasks, enqueue, work

    def python(self, script: str, database: str, tasks: int) -> tuple[int, float, float]:
        enqueue = self.peers.python(script, database, "enqueue", tasks, WORKERS)["seconds"]
        work = self.peers.python(script, database, "work", tasks, WORKERS)["seconds"]
        return tasks, enqueue, work

    def measure(self) -> None:
        systems = [
            ("absurd", "SQL calls by pgbench", lambda: self.schema("ours")),
            ("Absurd 0.5.1 (plpgsql)", "SQL calls by pgbench", lambda: self.schema("reference")),
            ("pgmq", "SQL calls by pgbench: send, read, archive", self.pgmq),
            ("PgQ", "SQL calls; one consumer, acknowledged by the batch", self.pgq),
            ("graphile-worker", "its own worker, Node.js", lambda: self.node("graphile.mjs", "graphile")),
            ("pg-boss", "its send, fetch, complete, Node.js", lambda: self.node("pgboss.mjs", "pgboss")),
            ("procrastinate", "its own worker, Python",
             lambda: self.python("procrastinate_jobs.py", "procrastinate", self.slow_tasks)),
            ("DBOS", "its own queue, Python", lambda: self.python("dbos_steps.py", "dbos", self.slow_tasks // 5)),
        ]
        for name, how, work in systems:
            entry = {"system": name, "how": how}
            self.book.peers.append(entry)
            with self.book.part(f"throughput {name}"):
                tasks, enqueue, worked = work()
                entry.update(tasks=tasks, enqueue=tasks / enqueue, work=tasks / worked, both=tasks / (enqueue + worked))
