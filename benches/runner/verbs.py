"""Line 2: what a call of each verb costs, one client, each call a transaction."""

import contextlib
import statistics

from .book import Book, us
from .server import Server, median_of, timings

# Verb, its name in the table, procedure, and how many times faster than the reference it must be. The
# order matters where one leaves behind what the next needs: emit wakes what await put to sleep.
ONE = [
    ("spawn_task", "spawn", 2.2),
    ("set_task_checkpoint_state", "checkpoint", 2.5),
    ("complete_run", "complete", 2.5),
    ("fail_run", "fail", 2.5),
    ("extend_claim", "extend", 2.5),
    ("await_event", "await", 2.5),
    ("emit_event", "emit", 2.5),
]

# Turns that both sides of a verb take.
ROUNDS = 5


class Verbs:
    def __init__(self, server: Server, book: Book, calls: int, batches: int):
        self.server, self.book, self.calls, self.batches = server, book, calls, batches

    def queue(self, database: str, queue: str, backlog: int) -> None:
        with self.server.connect(database) as db:
            db.execute("select absurd.create_queue(%s)", [queue])
            db.execute("call bench.fill(%s, %s)", [queue, backlog])
        self.server.settle_queue(database, queue)

    def measure(self) -> None:
        claim = self.book.row(2, "claim of 50 at a backlog of 5k, a run", ">=", 4)
        rows = {verb: self.book.row(2, verb, ">=", bound) for verb, _, bound in ONE}
        spawns = self.book.row(2, "spawn_tasks of 100 against spawn_task, a task", ">=", 7)
        completes = self.book.row(2, "complete_runs of 100 against complete_run, a run", ">=", 4)
        found: dict[str, dict[str, float]] = {"ours": {}, "reference": {}}
        for database in found:
            with self.book.part(f"line 2 claim of 50, {database}"):
                self.queue(database, "fifty", 5000)
                with self.server.connect(database) as db:
                    found[database]["claim of 50"] = median_of(db, "claim", "fifty", self.batches, 50, True, warm=5)
        for verb, procedure, _ in ONE:
            with self.book.part(f"line 2 {verb}", rows[verb]):
                for database, median in self.one(procedure).items():
                    found[database][verb] = median
        for verb, procedure, row in (("spawn_tasks", "spawn_many", spawns), ("complete_runs", "complete_many", completes)):
            with self.book.part(f"line 2 {verb}", row):
                self.queue("ours", verb, 1000)
                with self.server.connect("ours") as db:
                    found["ours"][verb] = median_of(db, procedure, verb, self.batches, 100, warm=5)
        self.book.keep(2, "microseconds", found)
        rows["claim of 50"] = claim
        for verb, row in rows.items():
            self.judge(row, found["ours"].get(verb), found["reference"].get(verb))
        self.judge(spawns, found["ours"].get("spawn_tasks"), found["reference"].get("spawn_task"))
        self.judge(completes, found["ours"].get("complete_runs"), found["reference"].get("complete_run"))

    @staticmethod
    def judge(row, ours: float | None, theirs: float | None) -> None:
        row.ours = us(ours) if ours else ""
        row.other = us(theirs) if theirs else ""
        if ours and theirs:
            row.figure = theirs / ours

    def one(self, procedure: str) -> dict[str, float]:
        """The median of a verb's calls in each database. They take turns, round by round, so that what else
        the machine does meets both; each round on a queue of its own, with a backlog that its runs come from."""
        took: dict[str, list[float]] = {"ours": [], "reference": []}
        calls = self.calls // ROUNDS
        with contextlib.ExitStack() as stack:
            sessions = {database: stack.enter_context(self.server.connect(database)) for database in took}
            for turn in range(ROUNDS):
                for database, db in sessions.items():
                    queue = f"{'await' if procedure == 'emit' else procedure}_{turn}"
                    if procedure != "emit":
                        self.queue(database, queue, calls + 200)
                    # The first calls plan and fill caches: they are part of the run, and not of the median.
                    took[database] += timings(db, procedure, queue, calls)[20:]
        return {database: statistics.median(microseconds) for database, microseconds in took.items()}
