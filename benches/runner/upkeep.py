"""Lines 6 and 7: large documents, cleanup among much that stays, and a queue created again."""

import statistics

from .book import Book, us
from .server import Server, timings

MEGABYTE = 1_000_000


def payload(server: Server, book: Book, calls: int) -> None:
    """Line 6: a document of 1 MB through spawn and claim, and through a plain table, turn by turn."""
    row = book.row(6, "params of 1 MB through spawn and claim against a plain insert and select", "<=", 1.2)
    with book.part("line 6", row), server.connect("ours") as db:
        db.execute("select absurd.create_queue('payload')")
        db.execute("call bench.payload('payload', 3, %s, null, null)", [MEGABYTE])
        task, plain = db.execute("call bench.payload('payload', %s, %s, null, null)", [calls, MEGABYTE]).fetchone()
        ours, theirs = statistics.median(task), statistics.median(plain)
        row.ours, row.other, row.figure = us(ours), f"plain {us(theirs)}", ours / theirs
        book.keep(6, "microseconds", {"task": task, "plain": plain})


def cleanup_time(server: Server, database: str, queue: str) -> float:
    """Microseconds of the middle one of five cleanups of a thousand; a sixth before them warms up."""
    times = []
    with server.connect(database) as db:
        for _ in range(6):
            began = db.execute("select clock_timestamp()").fetchone()[0]
            removed, ended = db.execute("select absurd.cleanup_tasks(%s, 30 * 86400, 1000), clock_timestamp()",
                                        [queue]).fetchone()
            if removed != 1000:
                raise RuntimeError(f"{database} removed {removed} of 1,000")
            times.append((ended - began).total_seconds() * 1e6)
    return statistics.median(times[1:])


def cleanup(book: Book, found: dict[str, float], retained: int) -> None:
    """Line 7, of what the claims measured on their queues with a history before these had any backlog."""
    mark = "" if retained >= 1_000_000 else f"quick: at {retained // 1000}k"
    row = book.row(7, f"cleanup_tasks of 1,000 among {retained // 1000:,}k", ">=", 50, note=mark)
    with book.part("line 7 cleanup", row):
        row.ours = us(found["ours"]) if "ours" in found else ""
        row.other = us(found["reference"]) if "reference" in found else ""
        row.figure = found["reference"] / found["ours"]
        book.keep(7, "cleanup microseconds", found)


def create_again(server: Server, book: Book, calls: int) -> None:
    """Line 7: create_queue on a queue that is there, and what it then holds a lock on."""
    cost = book.row(7, "create_queue on an existing queue", "<", 100, "us")
    locks = book.row(7, "locks that it leaves on the queue's tables, or strong ones anywhere", "<=", 0, "locks")
    with book.part("line 7 create_queue", cost, locks):
        found = {}
        for database in ("ours", "reference"):
            with server.connect(database) as db:
                db.execute("select absurd.create_queue('again')")
                found[database] = statistics.median(timings(db, "create_again", "again", calls)[20:])
                with db.transaction():
                    db.execute("select absurd.create_queue('again')")
                    held = db.execute("""select l.locktype, coalesce(c.relname, ''), l.mode from pg_locks l
                        left join pg_class c on c.oid = l.relation
                        where l.pid = pg_backend_pid() and l.locktype <> 'virtualxid'
                            and (l.mode <> 'AccessShareLock' or c.relname ~ '^._again')""").fetchall()
                found[f"{database} locks"] = held
        cost.ours, cost.other, cost.figure = us(found["ours"]), us(found["reference"]), found["ours"]
        locks.figure = len(found["ours locks"])
        locks.ours, locks.other = f"{len(found['ours locks'])}", f"{len(found['reference locks'])}"
        locks.note = ", ".join(sorted({f"{kind} {name} {mode}".replace("  ", " ")
                                       for kind, name, mode in found["ours locks"]})[:4])
        book.keep(7, "create_queue", found)
