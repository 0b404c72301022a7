"""Line 9: steps a second of a ten-step chain, here and in DBOS."""

import datetime
import json
import statistics

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
    """Both in turn, so that what else the machine does meets both; the medians of what each came to."""
    ratio = book.row(9, "steps of a ten-step chain, 4 clients, against DBOS with 4 threads", ">=", 10)
    absolute = book.row(9, "the same in absolute terms", ">=", 1000, "/s")
    # One round where there is little time.
    rounds = 13 if seconds >= 20 else 1
    part = seconds // rounds
    with book.part("line 9", ratio, absolute):
        with server.connect("ours") as db:
            db.execute("select absurd.create_queue('steps')")
            db.execute("select absurd.register_workflow(%s::jsonb, 'steps')", [json.dumps(chain(10))])
            for _ in range(20):
                db.execute("select absurd.start_workflow('bench_chain', '1', '{}', 'steps')")
        ours, theirs = [], []
        for _ in range(rounds):
            done = peers.python("dbos_steps.py", "dbos", "chains", part, 4)
            theirs.append(done["steps"] / done["seconds"])
            ours.append(worked(server, part))
        ended = server.run("ours", "select count(*) from absurd.workflow_run where status = 'completed'")[0][0]
        if not ended:
            raise RuntimeError("no workflow run ended")
        book.keep(9, "steps a second", {"ours": ours, "DBOS": theirs, "runs completed": ended})
        absolute.figure = statistics.median(ours)
        ratio.figure = absolute.figure / statistics.median(theirs)
        ratio.ours = absolute.ours = rate(absolute.figure)
        ratio.other = rate(statistics.median(theirs))


def worked(server: Server, seconds: int) -> float:
    """Steps a second that four clients get done, after a second in which their sessions warm up; those of DBOS
    have done five chains before theirs are counted."""
    began = server.run("ours", "select clock_timestamp()")[0][0]
    server.pgbench("ours", "steps.sql", 4, "-T", str(seconds + 2), queue="steps")
    count = """select count(*) from absurd.r_steps
        where state = 'completed' and completed_at >= %s and completed_at < %s"""
    since = began + datetime.timedelta(seconds=1)
    return server.run("ours", count, since, since + datetime.timedelta(seconds=seconds))[0][0] / seconds
