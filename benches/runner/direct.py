"""What reading and writing without statements saves: processor time of calls with absurd.direct on and off."""

import json
import statistics

from .book import Book
from .server import Server, cpu_seconds
from .workflow import chain

STEPS = 10


def direct(server: Server, book: Book, rounds: int) -> None:
    """Two sessions in turns, each with a queue of its own; of what the backends used, the medians of the rounds."""
    with book.part("on and off"), server.connect("ours") as admin:
        admin.execute("select absurd.register_workflow(%s)", [json.dumps(chain(STEPS) | {"name": "bench_direct"})])
        used: dict[str, dict[str, list[float]]] = {}
        sessions = {setting: server.connect("ours") for setting in ("on", "off")}
        for setting, db in sessions.items():
            db.execute(f"set absurd.direct = {setting}")
            db.execute("select absurd.create_queue(%s)", [f"direct_{setting}"])
            turn(db, f"direct_{setting}", {})
        for _ in range(rounds):
            for setting, db in sessions.items():
                seconds: dict[str, list[float]] = {}
                turn(db, f"direct_{setting}", seconds)
                for call, times in seconds.items():
                    by_setting = used.setdefault(call, {})
                    by_setting.setdefault(setting, []).append(sum(times) / len(times) * 1e6)
        for db in sessions.values():
            db.close()
        book.direct = {
            call: {setting: statistics.median(times) for setting, times in by_setting.items()}
            for call, by_setting in used.items()
        }
        book.keep(0, "absurd.direct on and off, us a call", used)


def turn(db, queue: str, seconds: dict[str, list[float]]) -> None:
    """Twenty tasks and two workflow runs through their lives, with the processor time of every call."""
    pid = db.info.backend_pid

    def call(what: str, sql: str, *values):
        began = cpu_seconds(pid)
        rows = db.execute(sql, values, prepare=True).fetchall()
        seconds.setdefault(what, []).append(cpu_seconds(pid) - began)
        return rows

    claim = "select run_id, task_id from absurd.claim_task(%s, 'worker', 600, 1)"
    complete = "select absurd.complete_run(%s, %s, '{\"ok\": true}')"
    for _ in range(20):
        call("claim_task that finds nothing", claim, queue)
        call("spawn_task", "select absurd.spawn_task(%s, 'task', '{\"n\": 1}')", queue)
        [(run, task)] = call("claim_task of 1", claim, queue)
        call("extend_claim", "select absurd.extend_claim(%s, %s, 600)", queue, run)
        call("set_task_checkpoint_state",
             "select absurd.set_task_checkpoint_state(%s, %s, 'one', '1', %s, 600)", queue, task, run)
        call("complete_run", complete, queue, run)
        call("spawn_task", "select absurd.spawn_task(%s, 'task', '{\"n\": 1}', '{\"max_attempts\": 1}')", queue)
        [(run, _)] = call("claim_task of 1", claim, queue)
        call("fail_run", "select absurd.fail_run(%s, %s, '1')", queue, run)
    for _ in range(2):
        call("start_workflow", "select absurd.start_workflow('bench_direct', '1', '{}', %s)", queue)
        for _ in range(STEPS):
            [(run, _)] = call("claim_task of a workflow's step", claim, queue)
            call("complete_run of a workflow's step", complete, queue, run)
    call("cleanup_tasks of 60", "select absurd.cleanup_tasks(%s, 0, 1000)", queue)
