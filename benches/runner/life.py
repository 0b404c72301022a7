"""Lines 3 and 10: processor time and write-ahead log of the whole life of a task."""

import statistics

from .book import Book, show, us
from .server import Server, cpu_seconds


class Life:
    """Five runs of so many lives for each system; the middle one counts, and of the log the least."""

    def __init__(self, server: Server, book: Book, lives: int, in_flight: int):
        self.server, self.book, self.lives, self.in_flight = server, book, lives, in_flight

    def run(self, database: str, queue: str, lives: int) -> tuple[float, float]:
        """Microseconds of the backend's processor time, and bytes of log, a life."""
        with self.server.connect(database) as db:
            pid = db.info.backend_pid
            db.execute("call bench.life(%s, %s)", [queue, max(lives // 10, 10)])
            cpu, wal = [], []
            for _ in range(5):
                began, log = cpu_seconds(pid), self.log(db)
                db.execute("call bench.life(%s, %s)", [queue, lives])
                cpu.append((cpu_seconds(pid) - began) * 1e6 / lives)
                wal.append((self.log(db) - log) / lives)
        # What others write, autovacuum mostly, can only be added to the log.
        return statistics.median(cpu), min(wal)

    @staticmethod
    def log(db) -> float:
        return float(db.execute("select pg_current_wal_insert_lsn() - '0/0'::pg_lsn").fetchone()[0])

    def measure(self) -> None:
        book = self.book
        reference = book.row(3, "life of a task (spawn, claim, 2 checkpoints, complete), server CPU", ">=", 3)
        empty = book.row(3, "the same against pgmq's send, read, archive: nothing in flight", "<=", 1.5)
        flight = self.in_flight // 1000
        full = book.row(3, f"the same with {flight}k messages in flight (\"far below\": a fifth)", "<=", 0.2,
                        note="" if flight >= 100 else f"quick: at {flight}k")
        log = book.row(10, "write-ahead log of the life of a task", "<=", 0.7, "%")
        least = book.row(10, "the same against the least that its tables can be written with", "<=", 1.1)
        with book.part("lines 3 and 10", reference, empty, full, log, least):
            self.server.run("ours", "select absurd.create_queue('life')")
            cpu, wal = self.run("ours", "life", self.lives)
            reference.ours = empty.ours = full.ours = us(cpu)
            log.ours = least.ours = show(wal, "B")
            book.keep(3, "ours", {"cpu us": cpu, "wal bytes": wal})
            self.server.run("reference", "select absurd.create_queue('life')")
            their_cpu, their_wal = self.run("reference", "life", self.lives)
            reference.other, reference.figure = us(their_cpu), their_cpu / cpu
            log.other, log.figure = show(their_wal, "B"), wal / their_wal
            book.keep(3, "reference", {"cpu us": their_cpu, "wal bytes": their_wal})
            floor = self.floor()
            least.other, least.figure = f"plain {show(floor, 'B')}", wal / floor
            log.note = f"the least is {show(floor / their_wal, '%')}: docs/performance.md"
            self.pgmq(cpu, empty, full)

    def floor(self) -> float:
        """Bytes of log when plain statements write the rows of a life to tables with the interface's columns,
        keys and named indexes alone, which an engine with those tables hardly gets below."""
        self.server.create("floor")
        self.server.load("floor", "floor.sql")
        _, wal = self.run("floor", "life", self.lives)
        self.book.keep(10, "floor", {"wal bytes": wal})
        return wal

    def pgmq(self, cpu: float, empty, full) -> None:
        server = self.server
        server.run("pgmq", "select pgmq.create('life')")
        quiet, wal = self.run("pgmq", "life", self.lives)
        empty.other, empty.figure = f"pgmq {us(quiet)}", cpu / quiet
        server.run("pgmq", "select pgmq.create('flight')")
        server.run("pgmq", "call bench.fill('flight', %s)", self.in_flight)
        server.run("pgmq", "select count(*) from pgmq.read('flight', 36000, %s)", self.in_flight)
        server.settle("pgmq", "pgmq.q_flight")
        # A read steps over every message in flight, so a few lives say enough.
        busy, _ = self.run("pgmq", "flight", max(self.lives // 80, 20))
        full.other, full.figure = f"pgmq {us(busy)}", cpu / busy
        self.book.keep(3, "pgmq", {"cpu us": quiet, "wal bytes": wal, "cpu us in flight": busy})
