"""Line 9: steps a second of a ten-step chain, here and in DBOS."""

import json
import time

from .book import Book, rate
from .peers import Peers
from .server import Server


def chain(steps: int) -> dict:
    """The document of a chain of empty steps."""
    names = [f"step_{i}" for i in range(steps)]
    return {
        "name": "bench_chain",
        "version": "1",
        "start_task": names[0],
        "tasks": {
            name: {
                "task_id": name,
                "operator_type": "task",
                "function": "bench.empty",
                "dependencies": names[i - 1 : i] if i else [],
            }
            for i, name in enumerate(names)
        },
    }


def steps(server: Server, book: Book, peers: Peers, seconds: int) -> None:
    ratio = book.row(9, "steps of a ten-step chain, 4 clients, against DBOS with 4 threads", ">=", 10)
    absolute = book.row(9, "the same in absolute terms", ">=", 1000, "/s")
    theirs = None
    with book.part("line 9 DBOS", ratio):
        done = peers.python("dbos_steps.py", "dbos", "chains", seconds, 4)
        theirs = done["steps"] / done["seconds"]
        ratio.other = rate(theirs)
        book.keep(9, "DBOS", done)
    with book.part("line 9", ratio, absolute):
        with server.connect("ours") as db:
            db.execute("select absurd.create_queue('steps')")
            db.execute("select absurd.register_workflow(%s::jsonb, 'steps')", [json.dumps(chain(10))])
            for _ in range(20):
                db.execute("select absurd.start_workflow('bench_chain', '1', '{}', 'steps')")
        server.pgbench("ours", "steps.sql", 4, "-T", "1", queue="steps")
        count = "select count(*) from absurd.r_steps where state = 'completed'"
        before, began = server.run("ours", count)[0][0], time.monotonic()
        server.pgbench("ours", "steps.sql", 4, "-T", str(seconds), queue="steps")
        took = time.monotonic() - began
        ours = (server.run("ours", count)[0][0] - before) / took
        ended = server.run("ours", "select count(*) from absurd.workflow_run where status = 'completed'")[0][0]
        if not ended:
            raise RuntimeError("no workflow run ended")
        ratio.ours = absolute.ours = rate(ours)
        absolute.figure = ours
        if theirs:
            ratio.figure = ours / theirs
        book.keep(9, "ours", {"steps a second": ours, "runs completed": ended})
