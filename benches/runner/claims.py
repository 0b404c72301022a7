"""Line 1: a claim of one costs the same whatever the backlog, and whatever lies beside it."""

import statistics

from .book import Book, us
from .chart import count
from .server import Server, median_of
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

    def make(self, database: str, kind: str) -> None:
        """The queue of a kind, empty of work, with what lies beside the work."""
        mode = "partitioned" if kind == "weeks" else "unpartitioned"
        with self.server.connect(database) as db:
            db.execute("select absurd.create_queue(%s, %s)", [kind, mode])
            if kind == "weeks":
                # The default partition has to be there for the tasks of other weeks.
                db.execute("""select absurd.set_queue_policy(%s,
                    '{"partition_lookahead": "182 days", "partition_lookback": "182 days"}')""", [kind])
                db.execute("select absurd.ensure_partitions(%s)", [kind])
                self.spread(db, kind)
            if kind == "history":
                self.past(db, database)
                self.server.settle_queue(database, kind)
                with self.book.part(f"cleanup {database}"):
                    self.cleanups[database] = cleanup_time(self.server, database, kind)
            if kind == "asleep" and database == "ours":
                db.execute("call bench.fill(%s, %s, '{\"delay_seconds\": 86400}')", [kind, self.asleep])
            elif kind == "asleep":
                db.execute("call bench.fill_rows(%s, %s, 'sleeping')", [kind, self.asleep])

    @staticmethod
    def spread(db, queue: str) -> None:
        """A task in each of the past weeks, so that none of their partitions is empty."""
        for week in range(1, 26):
            db.execute("select set_config('absurd.fake_now', (now() - make_interval(weeks => %s))::text, false)", [week])
            db.execute("select absurd.spawn_task(%s, 'task', '{\"n\": 1}')", [queue])
        db.execute("select set_config('absurd.fake_now', '', false)")

    def past(self, db, database: str) -> None:
        """Finished tasks: first six thousand that ended 40 days ago, for cleanup, then those that stay."""
        if database == "reference":
            db.execute("call bench.fill_rows('history', 6000, 'completed', '40 days')")
            db.execute("call bench.fill_rows('history', %s, 'completed', '1 day')", [self.history])
            return
        db.execute("select set_config('absurd.fake_now', (now() - interval '40 days')::text, false)")
        db.execute("call bench.work('history', 6000)")
        db.execute("select set_config('absurd.fake_now', '', false)")
        db.execute("call bench.work('history', %s)", [self.history])

    def grow(self, database: str, kind: str, there: int, size: int) -> None:
        with self.server.connect(database) as db:
            if database == "ours":
                db.execute("call bench.fill(%s, %s, '{}', %s::jsonb)",
                           [kind, size - there, RULE if kind == "rules" else None])
            else:
                db.execute("call bench.fill_rows(%s, %s, 'pending', '0', %s::jsonb)",
                           [kind, size - there, '{"max_delay": 864000}' if kind == "rules" else None])
        self.server.settle_queue(database, kind)

    def at_each_size(self, database: str, kind: str, sizes: list[int]) -> dict[int, float]:
        """Microseconds of a claim of one at each backlog. Measuring takes some 220 away; they are put back.

        Two hundred claims of ours take ten milliseconds, in which the machine may be twice as fast or slow as
        in the next ten: so they are timed in several rounds, of which the median counts."""
        rounds = 1 if self.book.quick or database != "ours" else ROUNDS
        found, there = {}, 0
        for size in sizes:
            medians = []
            for _ in range(rounds):
                self.grow(database, kind, there, size)
                with self.server.connect(database) as db:
                    medians.append(median_of(db, "claim", kind, 200, 1, False))
                    waiting = f"select count(*) from absurd.r_{kind} where state = 'pending' and available_at <= now()"
                    there = db.execute(waiting).fetchone()[0]
            found[size] = statistics.median(medians)
        return found

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
            self.make("ours", kind)
            ours = self.at_each_size("ours", kind, sizes)
            flat.figure = ours[top] / ours[1000]
            flat.ours = f"{us(ours[1000])} -> {us(ours[top])}"
            small.ours, large.ours = us(ours[1000]), us(ours[top])
            book.keep(1, kind, {"ours": ours})
            if kind == "plain":
                book.curve["absurd"] = list(ours.items())
            self.make("reference", kind)
            theirs = self.at_each_size("reference", kind, sizes)
            flat.other = f"{us(theirs[1000])} -> {us(theirs[top])}"
            small.other, large.other = us(theirs[1000]), us(theirs[top])
            small.figure, large.figure = theirs[1000] / ours[1000], theirs[top] / ours[top]
            book.keep(1, kind, {"ours": ours, "reference": theirs})
            if kind == "plain":
                book.curve["Absurd 0.5.1"] = list(theirs.items())
