"""Line 9: steps a second of a ten-step chain, here and in DBOS; what compiling a document takes; what a step costs
after thousands of others."""

import datetime
import json
import statistics
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


def compiling(server: Server, book: Book, rounds: int) -> None:
    """What the first start of a document takes in a new session beyond a second start, for each of its steps; of that,
    what Postgres takes to print the stored document, which is read before it is compiled."""
    larger = book.row(9, "compiling a document of 8,000 steps in a new session, a step", "<=", 10, "us")
    growth = book.row(9, "the same against one of 500 steps", "<=", 1.5)
    with book.part("line 9 compiling", larger, growth):
        taken = {steps: compiled(server, steps, rounds) for steps in (500, 8000)}
        book.keep(9, "compiling, microseconds a step", taken)
        larger.figure, growth.figure = taken[8000]["compiled"], taken[8000]["compiled"] / taken[500]["compiled"]
        larger.ours = growth.ours = f"{taken[8000]['compiled']:.1f} us"
        larger.note = f"without {taken[8000]['printed']:.1f} us in which Postgres prints it"
        growth.other = f"{taken[500]['compiled']:.1f} us"


def compiled(server: Server, steps: int, rounds: int) -> dict[str, float]:
    """Microseconds a step; medians of rounds, each in a session of its own that has started another document."""
    name = f"bench_compile_{steps}"
    document = chain(steps) | {"name": name, "max_active_runs": 1000}
    warm = chain(1) | {"name": "bench_warm", "max_active_runs": 1000}
    with server.connect("ours") as db:
        for each in (document, warm):
            db.execute("select absurd.register_workflow(%s::jsonb, 'steps')", [json.dumps(each)])
    printing = "select length(document::text) from absurd.workflow_definition where workflow_name = %s"
    starting = "select absurd.start_workflow(%s)"
    beyond, printed = [], []
    for _ in range(rounds):
        with server.connect("ours") as db:
            db.execute(starting, ["bench_warm"])
            times = []
            for call in (starting, starting, printing):
                began = time.perf_counter()
                db.execute(call, [name])
                times.append(time.perf_counter() - began)
            beyond.append(times[0] - times[1] - times[2])
            printed.append(times[2])
    return {"compiled": statistics.median(beyond) / steps * 1e6, "printed": statistics.median(printed) / steps * 1e6}


def late_steps(server: Server, book: Book, rounds: int) -> None:
    """A step after 7,000 others against one after as many hundreds, claimed and completed in turn in one session, so that
    what else the machine does meets both."""
    rows = {form: book.row(9, f"a step of {form} of 8,000 after 7,000 steps, against its start", "<=", 1.2)
            for form in ("a chain", "a loop", "a parallel loop")}
    with book.part("line 9 late steps", *rows.values()):
        for form, row in rows.items():
            late, early = [], []
            with server.connect("ours") as db:
                for queue, past in (("steps_late", 7000), ("steps_early", 0)):
                    db.execute("select absurd.create_queue(%s)", [queue])
                    document = eight_thousand(form) | {"name": queue, "version": form.replace(" ", "_")}
                    db.execute("select absurd.register_workflow(%s::jsonb, %s)", [json.dumps(document), queue])
                    db.execute("select absurd.start_workflow(%s, %s, '{}', %s)", [queue, document["version"], queue])
                    for _ in range(past):
                        step(db, queue)
                for _ in range(100 * rounds):
                    late.append(step(db, "steps_late"))
                    early.append(step(db, "steps_early"))
                db.execute("select absurd.drop_queue('steps_late'), absurd.drop_queue('steps_early')")
            book.keep(9, f"seconds of a step, {form}", {"late": statistics.median(late), "early": statistics.median(early)})
            row.figure = statistics.median(late) / statistics.median(early)
            row.ours = f"{statistics.median(late) * 1e6:.0f} us"
            row.other = f"{statistics.median(early) * 1e6:.0f} us"


def eight_thousand(form: str) -> dict:
    """A document whose run takes 8,000 steps."""
    if form == "a chain":
        return chain(8000)
    body = {"task_id": "each", "operator_type": "task", "function": "bench.empty", "dependencies": []}
    loop = {"task_id": "loop", "operator_type": "foreach", "dependencies": [], "items": "range(8000)",
            "parallel": form == "a parallel loop", "loop_body": [body]}
    return {"start_task": "loop", "tasks": {"loop": loop}}


def step(db, queue: str) -> float:
    """Seconds in which a session claims a step and completes it."""
    began = time.perf_counter()
    run = db.execute("select run_id from absurd.claim_task(%s, 'worker', 600, 1)", [queue]).fetchone()[0]
    db.execute("select absurd.complete_run(%s, %s, '1'::jsonb)", [queue, run])
    return time.perf_counter() - began


def worked(server: Server, seconds: int) -> float:
    """Steps a second that four clients get done, after a second in which their sessions warm up; those of DBOS
    have done five chains before theirs are counted."""
    began = server.run("ours", "select clock_timestamp()")[0][0]
    server.pgbench("ours", "steps.sql", 4, "-T", str(seconds + 2), queue="steps")
    count = """select count(*) from absurd.r_steps
        where state = 'completed' and completed_at >= %s and completed_at < %s"""
    since = began + datetime.timedelta(seconds=1)
    return server.run("ours", count, since, since + datetime.timedelta(seconds=seconds))[0][0] / seconds
