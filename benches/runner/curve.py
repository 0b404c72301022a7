"""Claim latency of the other systems against their backlog, for the curve."""

import statistics

from .book import Book
from .peers import Peers
from .server import Server, median_of


class Curve:
    """Grows each system's queue from size to size and times its claim of one there."""

    def __init__(self, server: Server, book: Book, peers: Peers, sizes: list[int], calls: int):
        self.server, self.book, self.peers = server, book, peers
        self.sizes, self.calls = sizes, calls

    def in_server(self, name: str, database: str, queue: str, make: list[str], table: str,
                  calls: int, warm: int) -> None:
        with self.book.part(f"curve {name}"):
            for statement in make:
                self.server.run(database, statement)
            points, there = [], 0
            for size in self.sizes:
                with self.server.connect(database) as db:
                    db.execute("call bench.fill(%s, %s)", [queue, size - there])
                    self.server.settle(database, table)
                    points.append((size, median_of(db, "claim", queue, calls, 1, False, warm=warm)))
                there = size
            self.book.curve[name] = points

    def by_client(self, name: str, run, script: str, database: str, table: str) -> None:
        """Timed by the system's own client, the trip to the server included."""
        with self.book.part(f"curve {name}"):
            points, there = [], 0
            for size in self.sizes:
                run(script, database, "fill", size - there)
                self.server.settle(database, table)
                # The first two warm up; a slow one stops by itself after some seconds.
                times = run(script, database, "claim", self.calls + 2)["us"][2:]
                points.append((size, statistics.median(times)))
                there = size
            self.book.curve[name] = points

    def measure(self) -> None:
        self.in_server("pgmq", "pgmq", "backlog", ["select pgmq.create('backlog')"], "pgmq.q_backlog",
                       self.calls, 20)
        self.in_server("PgQ", "pgq", "backlog",
                       ["select pgq.create_queue('backlog')", "select pgq.register_consumer('backlog', 'worker')",
                        "select pgq.set_queue_config('backlog', 'ticker_max_count', '50')"],
                       "pgq.tick", 5, 1)
        self.by_client("graphile-worker", self.peers.node, "graphile.mjs", "graphile", "graphile_worker._private_jobs")
        self.by_client("pg-boss", self.peers.node, "pgboss.mjs", "pgboss", "pgboss.job")
        self.in_server("procrastinate", "procrastinate", "backlog", [], "procrastinate_jobs", self.calls, 20)
        self.by_client("DBOS", self.peers.python, "dbos_steps.py", "dbos", "dbos.workflow_status")
