"""Lines 4 and 5: many clients at once, and an open transaction that holds back vacuum."""

import pathlib
import statistics
import tempfile
import threading
import time

from .book import Book, rate, us
from .server import Server

WAITS = """select pid, query_start, wait_event from pg_stat_activity
    where datname = current_database() and wait_event_type = 'Lock' and query like '%%claim_task%%'
        and pid <> pg_backend_pid()"""
STILL = "select count(*) from pg_stat_activity where pid = %s and query_start = %s and state = 'active'"


class LockSampler(threading.Thread):
    """Counts claims that are seen waiting on a lock, twenty times a second, by what they wait for."""

    def __init__(self, server: Server, database: str):
        super().__init__(daemon=True)
        self.db = server.connect(database)
        self.over = threading.Event()
        self.samples, self.seen = 0, {}

    def run(self) -> None:
        while not self.over.wait(0.05):
            self.samples += 1
            for pid, started, event in self.db.execute(WAITS).fetchall():
                # The view reads what a backend waits for after what it runs: only when it runs the same
                # statement still, the two belong together.
                if self.db.execute(STILL, [pid, started]).fetchone()[0]:
                    self.seen[event] = self.seen.get(event, 0) + 1

    def finish(self) -> None:
        self.over.set()
        self.join()
        self.db.close()


class Load:
    def __init__(self, server: Server, book: Book, seconds: int, backlog: int, hold: int, window: int):
        self.server, self.book = server, book
        self.seconds, self.backlog, self.hold, self.window = seconds, backlog, hold, window

    def finished(self, database: str, queue: str) -> int:
        statement = f"select count(*) from absurd.r_{queue} where state = 'completed'"
        return self.server.run(database, statement)[0][0]

    def queue(self, database: str, queue: str, backlog: int) -> None:
        with self.server.connect(database) as db:
            db.execute("select absurd.create_queue(%s)", [queue])
            if backlog and database == "reference":
                db.execute("call bench.fill_rows(%s, %s)", [queue, backlog])
            elif backlog:
                db.execute("call bench.fill(%s, %s)", [queue, backlog])
        self.server.settle_queue(database, queue)

    def crowd(self, database: str, queue: str, backlog: int) -> tuple[float, LockSampler]:
        """Tasks finished a second by 16 clients that spawn, claim and complete."""
        self.queue(database, queue, backlog)
        # As short a run first warms up the queue's plans and pages.
        self.server.pgbench(database, "cycle.sql", 16, "-T", "1", queue=queue)
        before, began = self.finished(database, queue), time.monotonic()
        sampler = LockSampler(self.server, database)
        sampler.start()
        try:
            self.server.pgbench(database, "cycle.sql", 16, "-T", str(self.seconds), queue=queue)
        finally:
            sampler.finish()
        took = time.monotonic() - began
        return (self.finished(database, queue) - before) / took, sampler

    def concurrent(self) -> None:
        book = self.book
        thousands = self.backlog // 1000
        mark = "" if thousands >= 200 else f"quick: at {thousands}k"
        empty = book.row(4, f"16 clients for {self.seconds} s, empty backlog: tasks", ">=", 3)
        full = book.row(4, f"16 clients for {self.seconds} s, backlog {thousands}k: tasks", ">=", 20, note=mark)
        waits = book.row(4, "claims seen waiting on a lock", "<=", 0, "seen")
        with book.part("line 4", empty, full, waits):
            seen, samples = {}, 0
            for row, queue, backlog in ((empty, "crowd", 0), (full, "crowd_full", self.backlog)):
                ours, sampler = self.crowd("ours", queue, backlog)
                row.ours = rate(ours)
                samples += sampler.samples
                for event, count in sampler.seen.items():
                    seen[event] = seen.get(event, 0) + count
                theirs, other = self.crowd("reference", queue, backlog)
                row.other, row.figure = rate(theirs), ours / theirs
                book.keep(4, queue, {"ours": ours, "reference": theirs, "reference waits": other.seen})
            waits.figure, waits.ours = sum(seen.values()), f"{samples} samples"
            waits.note = ", ".join(f"{event}: {count}" for event, count in seen.items())
            book.keep(4, "waits", {"samples": samples, "seen": seen})

    def held(self) -> None:
        """Line 5. Four clients at full speed beside one that is timed, while an old snapshot is kept open."""
        book = self.book
        mark = "" if self.hold >= 300 else f"quick: {self.hold} s"
        through = book.row(5, "throughput at the end of an open transaction against its start", ">=", 0.8, "%", mark)
        tail = book.row(5, "claim p99 at its end against its start", "<=", 2, note=mark)
        with book.part("line 5", through, tail), tempfile.TemporaryDirectory() as folder:
            self.queue("ours", "held", 1000)
            self.server.pgbench("ours", "cycle.sql", 4, "-T", "2", queue="held")
            with self.server.connect("ours") as holder, holder.transaction():
                holder.execute("set transaction isolation level repeatable read")
                holder.execute("select pg_current_xact_id()")
                timed = TimedClaims(self.server, "held")
                timed.start()
                try:
                    self.server.pgbench("ours", "cycle.sql", 4, "-T", str(self.hold), "-l", "--aggregate-interval=1",
                                        f"--log-prefix={folder}/log", queue="held")
                finally:
                    timed.finish()
            if timed.error:
                raise timed.error
            log = next(pathlib.Path(folder).glob("log*")).read_text("ascii").splitlines()
            counts = [int(line.split()[1]) for line in log]
            first, last = counts[1 : 1 + self.window], counts[-1 - self.window : -1]
            start, end = statistics.mean(first), statistics.mean(last)
            through.ours, through.figure = f"{rate(start)} -> {rate(end)}", end / start
            before, after = timed.p99(1, 1 + self.window), timed.p99(self.hold - 1 - self.window, self.hold - 1)
            tail.ours, tail.figure = f"{us(before)} -> {us(after)}", after / before
            book.keep(5, "tasks each second", counts)
            book.keep(5, "claim p99 each window", timed.windows(self.window))


class TimedClaims(threading.Thread):
    """A client that spawns, claims and completes, and notes how long each claim took."""

    def __init__(self, server: Server, queue: str):
        super().__init__(daemon=True)
        self.server, self.queue = server, queue
        self.over = threading.Event()
        self.taken: list[tuple[float, float]] = []
        self.error: Exception | None = None

    def run(self) -> None:
        began = time.perf_counter()
        try:
            with self.server.connect("ours") as db:
                while not self.over.is_set():
                    db.execute("select absurd.spawn_task(%s, 'task', '{\"n\": 1}')", [self.queue], prepare=True)
                    asked = time.perf_counter()
                    run = db.execute("select run_id from absurd.claim_task(%s, 'timed', 600, 1)", [self.queue],
                                     prepare=True).fetchone()
                    answered = time.perf_counter()
                    self.taken.append((asked - began, (answered - asked) * 1e6))
                    if run:
                        db.execute("select absurd.complete_run(%s, %s, '{}')", [self.queue, run[0]], prepare=True)
        except Exception as error:  # pylint: disable=broad-except
            self.error = error

    def finish(self) -> None:
        self.over.set()
        self.join()

    def p99(self, since: float, until: float) -> float:
        taken = sorted(took for at, took in self.taken if since <= at < until)
        return taken[int(len(taken) * 0.99)]

    def windows(self, seconds: int) -> list[float]:
        last = int(self.taken[-1][0])
        return [self.p99(at, at + seconds) for at in range(0, last - seconds + 1, seconds)]
