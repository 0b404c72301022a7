"""Line 8: what a backend keeps after ten thousand queues, and after a million calls."""

from .book import Book, show
from .server import Server, private_bytes

# What Postgres itself keeps about relations and plans' catalogues, whoever touches them.
POSTGRES_OWN = [
    "CacheMemoryContext", "index info", "relation rules", "partition descriptor", "partition key", "partition directory",
    "Relcache by OID", "smgr relation table", "MdSmgr", "PgStat Shared Ref", "PgStat Shared Ref Hash", "PgStat Pending",
    "LOCALLOCK hash", "PrivateRefCount", "Type information cache", "Operator lookup cache", "Record information cache",
    "TableSpace cache", "Operator class cache", "table of pending truncates", "RelfilenumberMap cache",
    "MessageContext", "PortalContext", "PortalHoldContext", "PortalHeapMemory", "ExecutorState", "ExprContext",
    "TopTransactionContext", "CurTransactionContext", "printtup", "RowDescriptionContext", "AV Lock", "Portal hash",
]
CONTEXTS = """select name, count(*), sum(total_bytes) from pg_backend_memory_contexts
    where name <> all (%s) group by name"""


def contexts(db) -> dict[str, int]:
    rows = db.execute(CONTEXTS, [POSTGRES_OWN]).fetchall()
    return {name: int(size) for name, _, size in rows}


def make_queues(server: Server, prefix: str, count: int) -> None:
    """Other backends make them, so that the one that is measured has seen none; several, one after the
    other, so that none of them gathers the catalogue of all."""
    for since in range(1, count + 1, 1000):
        with server.connect("ours") as db:
            db.execute("call bench.create_queues(%s, %s, %s)", [prefix, since, min(since + 999, count)])


def queues(server: Server, book: Book, count: int) -> None:
    mark = "" if count >= 10_000 else f"quick: {count:,} queues"
    row = book.row(8, "the extension's own memory after a backend touched 10,000 queues", "<", 20e6, "MB", mark)
    with book.part("line 8 queues", row):
        server.create("many")
        server.run("many", "create extension absurd")
        server.load("many", "fill.sql", "lives.sql")
        many = Many(server)
        make_queues(many, "many_", count)
        with many.connect("ours") as db:
            before, rss = contexts(db), private_bytes(db.info.backend_pid)
            db.execute("call bench.touch_queues('many_', 1, %s)", [count])
            after, rss_after = contexts(db), private_bytes(db.info.backend_pid)
        grown = {name: size - before.get(name, 0) for name, size in after.items() if size != before.get(name, 0)}
        row.figure = sum(grown.values())
        row.ours = show(row.figure, "MB")
        largest = sorted(grown.items(), key=lambda item: -item[1])[:4]
        row.note = "; ".join(filter(None, [row.note, f"backend as a whole grew {show(rss_after - rss, 'MB')}"]))
        book.keep(8, "queues", {"count": count, "contexts": grown, "largest": largest, "process bytes": rss_after - rss})
    with book.part("drop the many queues"):
        server.run("postgres", "drop database if exists many with (force)")


class Many:
    """The server with its database of many queues in the place of ours: their catalogue is a burden to nothing else."""

    def __init__(self, server: Server):
        self.server = server

    def connect(self, _database: str):
        return self.server.connect("many")


def calls(server: Server, book: Book, count: int) -> None:
    """A backend that goes on calling may grow while it warms up, in the first tenth, and no more after it."""
    mark = "" if count >= 1_000_000 else f"quick: {count:,} calls"
    row = book.row(8, "growth of a backend over 1M calls, after the first tenth", "<=", 1e6, "MB", mark)
    with book.part("line 8 calls", row), server.connect("ours") as db:
        db.execute("select absurd.create_queue('calls')")
        sizes = []
        for _ in range(10):
            db.execute("call bench.calls('calls', %s)", [count // 10])
            sizes.append(private_bytes(db.info.backend_pid))
        row.figure = max(sizes[-1] - sizes[0], 0)
        row.ours = show(row.figure, "MB")
        book.keep(8, "calls", {"count": count, "private bytes": sizes})
