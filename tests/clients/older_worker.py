"""The older client as a process: `python older_worker.py VERSION work DSN QUEUE NAME`, or
`... VERSION emit DSN QUEUE EVENT PAYLOAD`.

It works as an orchestrator on this client does: one transaction a task, the client's own INSERT
into the waits and UPDATE of the run when the task must wait, its own INSERT of an event and UPDATE
of those that wait for it.
"""

import json
import signal
import sys
import time
from importlib.metadata import version

import psycopg
from absurd_client import AbsurdClient, AbsurdSleepError

POLL = 0.02
TRIES = 10


def hear(client, conn, run_id, task_id, event, patience):
    """Waits for an event; a timeout is no end: it looks again, as another step."""
    for number in range(TRIES):
        try:
            return client.wait_for_event(
                conn,
                run_id,
                event,
                timeout_seconds=patience,
                task_id=task_id,
                step_name=f"wait {number}",
            )
        except TimeoutError:
            continue
    raise RuntimeError(f"{event} did not come")


def perform(client, conn, name, params, run_id, task_id):
    if name == "listener":
        patience = params.get("timeout", 30)
        return {"heard": hear(client, conn, run_id, task_id, params["event"], patience)}
    if name == "relay":
        heard = hear(client, conn, run_id, task_id, params["hear"], params["patience"])
        client.emit_event(conn, params["say"], {"hops": heard["hops"] + 1})
        return {"heard": heard}
    raise RuntimeError(f"no task is named {name}")


def work_off(client, conn, claimed) -> None:
    run_id, task_id, _, name, params, *_ = claimed
    try:
        with conn.transaction():
            try:
                result = perform(client, conn, name, params, run_id, task_id)
            except AbsurdSleepError as sleep:
                client.set_run_sleeping(conn, run_id, sleep.event_name)
            else:
                client.complete_task(conn, run_id, result)
    except Exception as problem:
        client.fail_task(conn, run_id, f"{type(problem).__name__}: {problem}")


def work(dsn: str, queue: str, name: str) -> None:
    working = [True]
    signal.signal(signal.SIGTERM, lambda *_: working.clear())
    client = AbsurdClient(queue_name=queue, worker_id=name)
    with psycopg.connect(dsn, autocommit=True) as conn:
        print("ready", flush=True)
        while working:
            claims = client.claim_task(conn, claim_timeout=30)
            for claimed in claims:
                work_off(client, conn, claimed)
            if not claims:
                time.sleep(POLL)
    print("stopped", flush=True)


def emit(dsn: str, queue: str, event: str, payload: str) -> None:
    with psycopg.connect(dsn) as conn:
        AbsurdClient(queue_name=queue).emit_event(conn, event, json.loads(payload))


if __name__ == "__main__":
    wanted, what, *rest = sys.argv[1:]
    assert version("absurd") == wanted, f"absurd is {version('absurd')}, not {wanted}"
    {"work": work, "emit": emit}[what](*rest)
