"""A worker of absurd-sdk: `python sdk_worker.py DSN QUEUE`. Ends on SIGTERM, when idle or between
two tasks.

Each piece of work that a task does is written to the table public.work, outside of the engine, so
that a test can count how often it was really done.
"""

import signal
import sys

import psycopg
from absurd_sdk import Absurd, CancelledTask, TimeoutError


def main(dsn: str, queue: str) -> None:
    work = psycopg.connect(dsn, autocommit=True)
    app = Absurd(dsn, queue_name=queue)

    def did(context, what: str) -> None:
        work.execute("insert into public.work values (%s, %s)", (context.task_id, what))

    @app.register_task("order")
    def order(params, context):
        def reserve():
            did(context, "reserve")
            return {"item": params["item"], "reserved": True}

        def charge():
            did(context, "charge")
            return {"amount": params["amount"]}

        did(context, "start")
        reserved = context.step("reserve", reserve)
        context.sleep_for("cool-down", 0.3)
        charged = context.step("charge", charge)
        shipment = context.await_event(f"shipped:{params['item']}", timeout=60)
        return {"reserved": reserved, "charged": charged, "shipment": shipment}

    @app.register_task("flaky")
    def flaky(params, context):
        attempt = context.step("first", lambda: did(context, "first") or "kept")
        did(context, "try")
        if work.execute(
            "select count(*) from public.work where task_id = %s and what = 'try'",
            (context.task_id,),
        ).fetchone() == (1,):
            raise RuntimeError("first try goes wrong")
        return {"first": attempt}

    @app.register_task("impatient")
    def impatient(params, context):
        try:
            context.await_event("never", timeout=1)
        except TimeoutError as problem:
            return {"gave up": type(problem).__name__}

    @app.register_task("long")
    def long(params, context):
        did(context, "started")
        try:
            while True:  # until the engine says that the task is no longer ours
                context.heartbeat(30)
        except CancelledTask:
            did(context, "cancelled")
            raise

    signal.signal(signal.SIGTERM, lambda *_: app.stop_worker())
    print("ready", flush=True)
    app.start_worker(worker_id="sdk-worker", claim_timeout=30, poll_interval=0.02)
    app.close()
    work.close()
    print("stopped", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
