"""Line 1: a claim of one costs the same whatever the backlog, and whatever lies beside it."""

import statistics

from .book import Book, us
from .chart import count
from .server import Server, median_of, timings
from .upkeep import cleanup_time

ROUNDS = 5
BOTH = ("ours", "reference")
# Each kind of queue with what makes it: the mode, what is there before, the options of its tasks.
KINDS = {
    "plain": "",
    "history": "{history} finished tasks in history",
    "rules": "half of the rows with cancellation rules",
    "asleep": "{asleep} runs asleep in the future",
    "weeks": "a partitioned queue of 52 weeks",
}
RULE = '{"cancellation": {"max_delay": 864000}}'


class Claims:
    """Fills queues of both engines step by step and times the claim at each step."""

    def __init__(self, server: Server, book: Book, sizes: list[int], top: dict[str, int], history: int, asleep: int):
        self.server, self.book = server, book
        self.sizes, self.top, self.history, self.asleep = sizes, top, history, asleep
        self.cleanups: dict[str, float] = {}

    def make(self, database: str, kind: str, queue: str) -> None:
        """A queue of a kind, empty of work, with what lies beside the work."""
        mode = "partitioned" if kind == "weeks" else "unpartitioned"
        with self.server.connect(database) as db:
            db.execute("select absurd.create_queue(%s, %s)", [queue, mode])
            if kind == "weeks":
                # The default partition has to be there for the tasks of other weeks.
                db.execute("""select absurd.set_queue_policy(%s,
                    '{"partition_lookahead": "182 days", "partition_lookback": "182 days"}')""", [queue])
                db.execute("select absurd.ensure_partitions(%s)", [queue])
                self.spread(db, queue)
            if kind == "history":
                self.past(db, database, queue)
                self.server.settle_queue(database, queue)
                if queue == kind:
                    with self.book.part(f"cleanup {database}"):
                        self.cleanups[database] = cleanup_time(self.server, database, queue)
            if kind == "asleep" and database == "ours":
                db.execute("call bench.fill(%s, %s, '{\"delay_seconds\": 86400}')", [queue, self.asleep])
            elif kind == "asleep":
                db.execute("call bench.fill_rows(%s, %s, 'sleeping')", [queue, self.asleep])

    @staticmethod
    def spread(db, queue: str) -> None:
        """A task in each of the past weeks, so that none of their partitions is empty."""
        for week in range(1, 26):
            db.execute("select set_config('absurd.fake_now', (now() - make_interval(weeks => %s))::text, false)", [week])
            db.execute("select absurd.spawn_task(%s, 'task', '{\"n\": 1}')", [queue])
        db.execute("select set_config('absurd.fake_now', '', false)")

    def past(self, db, database: str, queue: str) -> None:
        """Finished tasks: first six thousand that ended 40 days ago, for cleanup, then those that stay."""
        if database == "reference":
            db.execute("call bench.fill_rows(%s, 6000, 'completed', '40 days')", [queue])
            db.execute("call bench.fill_rows(%s, %s, 'completed', '1 day')", [queue, self.history])
            return
        db.execute("select set_config('absurd.fake_now', (now() - interval '40 days')::text, false)")
        db.execute("call bench.work(%s, 6000)", [queue])
        db.execute("select set_config('absurd.fake_now', '', false)")
        db.execute("call bench.work(%s, %s)", [queue, self.history])

    def grow(self, database: str, kind: str, queue: str, size: int) -> None:
        """Spawns as many as the queue lacks."""
        with self.server.connect(database) as db:
            ready = f"select count(*) from absurd.r_{queue} where state = 'pending' and available_at <= now()"
            lacks = size - db.execute(ready).fetchone()[0]
            if database == "ours":
                db.execute("call bench.fill(%s, %s, '{}', %s::jsonb)", [queue, lacks, RULE if kind == "rules" else None])
            else:
                db.execute("call bench.fill_rows(%s, %s, 'pending', '0', %s::jsonb)",
                           [queue, lacks, '{"max_delay": 864000}' if kind == "rules" else None])
        self.server.settle_queue(database, queue)

    def time(self, database: str, kind: str, queue: str, size: int) -> float:
        """Microseconds of a claim of one at a backlog: the median of 200, or of five that take long."""
        self.grow(database, kind, queue, size)
        with self.server.connect(database) as db:
            return median_of(db, "claim", queue, 200, 1, False)

    def ours(self, kind: str, sizes: list[int]) -> dict[int, float]:
        """The same of ours at each backlog.

        Two hundred claims take ten milliseconds, and the machine may be half as fast or twice some seconds
        later, or in between. So the smallest backlog and the largest are two queues, of which one is claimed and
        then the other, and the median is that of all calls in some rounds."""
        small, found = f"{kind}_small", {}
        self.make("ours", kind, kind)
        self.make("ours", kind, small)
        for size in sizes[1:-1]:
            found[size] = self.time("ours", kind, kind, size)
        ends = {sizes[0]: small, sizes[-1]: kind}
        calls, rounds = {size: [] for size in ends}, []
        for _ in range(1 if self.book.quick else ROUNDS):
            for size, queue in ends.items():
                self.grow("ours", kind, queue, size)
            with self.server.connect("ours") as db:
                timings(db, "claim_in_turn", list(ends.values()), 20)
                took = timings(db, "claim_in_turn", list(ends.values()), 200)
            for i, size in enumerate(ends):
                calls[size] += took[i :: len(ends)]
            rounds.append({size: statistics.median(took[i :: len(ends)]) for i, size in enumerate(ends)})
        self.book.keep(1, f"{kind} rounds", rounds)
        self.server.run("ours", "select absurd.drop_queue(%s)", small)
        for size in ends:
            found[size] = statistics.median(calls[size])
        return dict(sorted(found.items()))

    def theirs(self, kind: str, sizes: list[int]) -> dict[int, float]:
        """The same of the reference."""
        self.make("reference", kind, kind)
        return {size: self.time("reference", kind, kind, size) for size in sizes}

    def measure(self) -> None:
        for kind, words in KINDS.items():
            self.kind(kind, words.format(history=count(self.history), asleep=count(self.asleep)))
            for database in BOTH:
                with self.book.part(f"drop {kind}"):
                    self.server.run(database, "select absurd.drop_queue(%s)", kind)

    def kind(self, kind: str, words: str) -> None:
        book, top = self.book, self.top[kind]
        sizes = [size for size in self.sizes if size <= top] if kind == "plain" else [1000, top]
        mark = "" if top >= 1_000_000 else f"quick: at {count(top)}"
        named = f"claim of 1, {words}" if words else "claim of 1"
        size = count(top)
        flat = book.row(1, f"{named}: backlog {size} against 1k", "<=", 1.3, note=mark)
        small = book.row(1, f"{named}: at 1k", ">=", 8)
        large = book.row(1, f"{named}: at {size}", ">=", 5000, note=mark)
        with book.part(f"line 1 {kind}", flat, small, large):
            ours = self.ours(kind, sizes)
            flat.figure = ours[top] / ours[1000]
            flat.ours = f"{us(ours[1000])} -> {us(ours[top])}"
            small.ours, large.ours = us(ours[1000]), us(ours[top])
            book.keep(1, kind, {"ours": ours})
            if kind == "plain":
                book.curve["absurd"] = list(ours.items())
            theirs = self.theirs(kind, sizes)
            flat.other = f"{us(theirs[1000])} -> {us(theirs[top])}"
            small.other, large.other = us(theirs[1000]), us(theirs[top])
            small.figure, large.figure = theirs[1000] / ours[1000], theirs[top] / ours[top]
            book.keep(1, kind, {"ours": ours, "reference": theirs})
            if kind == "plain":
                book.curve["Absurd 0.5.1"] = list(theirs.items())
