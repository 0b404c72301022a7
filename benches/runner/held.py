"""Line 5: steady load beside an open transaction that holds back vacuum."""

import pathlib
import statistics
import tempfile
import threading
import time

from .book import Book, rate, us
from .server import Server

QUEUE = "held"


def held(server: Server, book: Book, warm: int, hold: int, window: int) -> None:
    """Four clients at full speed beside one that is timed and one whose transactions end late, while an old
    snapshot is kept open for `hold` seconds; the first and the last `window` of these are compared. The load
    has been steady for `warm` seconds when it is taken."""
    mark = "" if hold >= 300 else f"quick: {hold} s"
    through = book.row(5, "throughput at the end of an open transaction against its start", ">=", 0.8, "%", mark)
    tail = book.row(5, "claim p99 at its end against its start", "<=", 2, note=mark)
    behind = book.row(5, "a run made ready behind the front: longest until claimed", "<=", 1, "s", mark)
    with book.part("line 5", through, tail, behind), tempfile.TemporaryDirectory() as folder:
        with server.connect("ours") as db:
            db.execute("select absurd.create_queue(%s)", [QUEUE])
            db.execute("call bench.fill(%s, 1000)", [QUEUE])
        server.settle_queue("ours", QUEUE)
        server.pgbench("ours", "cycle.sql", 4, "-T", str(warm), queue=QUEUE)
        with server.connect("ours") as holder, holder.transaction():
            holder.execute("set transaction isolation level repeatable read")
            holder.execute("select pg_current_xact_id()")
            timed, late = TimedClaims(server), LateEnds(server)
            timed.start()
            late.start()
            try:
                server.pgbench("ours", "cycle.sql", 4, "-T", str(hold), "-l", "--aggregate-interval=1",
                               f"--log-prefix={folder}/log", queue=QUEUE)
                # Those that are behind now are found by the client that is timed.
                late.finish()
            finally:
                timed.finish()
        log = next(pathlib.Path(folder).glob("log*")).read_text("ascii").splitlines()
        counts = [int(line.split()[1]) for line in log]
        first, last = counts[1 : 1 + window], counts[-1 - window : -1]
        start, end = statistics.mean(first), statistics.mean(last)
        through.ours, through.figure = f"{rate(start)} -> {rate(end)}", end / start
        before, after = timed.p99(1, 1 + window), timed.p99(hold - 1 - window, hold - 1)
        tail.ours, tail.figure = f"{us(before)} -> {us(after)}", after / before
        behind.figure = max(seconds for _, seconds in late.waits)
        median = statistics.median(seconds for _, seconds in late.waits)
        behind.ours = f"of {len(late.waits)}, median {median:.2f} s"
        book.keep(5, "tasks each second", counts)
        book.keep(5, "claim p99 each window", timed.windows(window))
        book.keep(5, "seconds until claimed", late.waits)


class Client(threading.Thread):
    """A session of its own that works until it is told to finish."""

    def __init__(self, server: Server):
        super().__init__(daemon=True)
        self.server = server
        self.over = threading.Event()
        self.error: Exception | None = None

    def run(self) -> None:
        try:
            with self.server.connect("ours") as db:
                self.work(db)
        except Exception as error:  # pylint: disable=broad-except
            self.error = error

    def work(self, db) -> None:
        raise NotImplementedError

    def finish(self) -> None:
        self.over.set()
        self.join()
        if self.error:
            raise self.error


class LateEnds(Client):
    """A client whose transactions stay open for two seconds, by which the front has passed what they did:
    in turn one that spawns and commits, and one that claims and rolls back. Notes what they did, and how many
    seconds after their end another client had claimed the run."""

    def __init__(self, server: Server):
        super().__init__(server)
        self.waits: list[tuple[str, float]] = []

    def work(self, db) -> None:
        spawn = "select run_id from absurd.spawn_task(%s, 'late', '{\"n\": 1}')"
        claim = "select run_id from absurd.claim_task(%s, 'late', 600, 1)"
        state = f"select state from absurd.r_{QUEUE} where run_id = %s"
        while not self.over.is_set():
            for statement, end in ((spawn, "commit"), (claim, "rollback")):
                run = None
                while run is None:
                    db.execute("begin")
                    run = db.execute(statement, [QUEUE]).fetchone()
                    if run is None:
                        db.execute("rollback")
                time.sleep(2)
                db.execute(end)
                ended = time.perf_counter()
                while db.execute(state, run).fetchone() == ("pending",):
                    time.sleep(0.002)
                self.waits.append((end, time.perf_counter() - ended))


class TimedClaims(Client):
    """A client that spawns, claims and completes, and notes how long each claim took."""

    def __init__(self, server: Server):
        super().__init__(server)
        self.taken: list[tuple[float, float]] = []

    def work(self, db) -> None:
        began = time.perf_counter()
        while not self.over.is_set():
            db.execute("select absurd.spawn_task(%s, 'task', '{\"n\": 1}')", [QUEUE], prepare=True)
            asked = time.perf_counter()
            run = db.execute("select run_id from absurd.claim_task(%s, 'timed', 600, 1)", [QUEUE],
                             prepare=True).fetchone()
            answered = time.perf_counter()
            self.taken.append((asked - began, (answered - asked) * 1e6))
            if run:
                db.execute("select absurd.complete_run(%s, %s, '{}')", [QUEUE, run[0]], prepare=True)

    def p99(self, since: float, until: float) -> float:
        taken = sorted(took for at, took in self.taken if since <= at < until)
        return taken[int(len(taken) * 0.99)]

    def windows(self, seconds: int) -> list[float]:
        last = int(self.taken[-1][0])
        return [self.p99(at, at + seconds) for at in range(0, last - seconds + 1, seconds)]
