"""Line 4: many clients at once."""

import threading
import time

from .book import Book, rate
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
    def __init__(self, server: Server, book: Book, seconds: int, backlog: int):
        self.server, self.book, self.seconds, self.backlog = server, book, seconds, backlog

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
