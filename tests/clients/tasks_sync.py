"""The tasks of the SDK tests for Absurd, each the twin of one in tasks_async.py."""

import time
from datetime import datetime

from absurd_sdk import CancelledTask, FailedTask, TimeoutError, get_current_context

from ledger import Ledger, hold

PAUSE = 0.02
TRIES = 10


def wait(check) -> None:
    for _ in hold(check):
        time.sleep(PAUSE)


def register(app, book: Ledger, children: str) -> None:
    """Registers the tasks; a parent spawns into the queue `children`."""

    @app.register_task("steps")
    def steps(params, context):
        book.did(context.task_id, "start")

        def add(number):
            book.did(context.task_id, f"add {number}")
            return {"sum": params["base"] + number}

        first = context.step("add", lambda: add(1))
        second = context.step("add", lambda: add(2))
        handle = context.begin_step("by hand")
        third = context.complete_step(handle, ["by", "hand", None])

        @context.run_step("decorated")
        def fourth():
            return "ünï"

        assert get_current_context() is context
        return {"all": [first, second, third, fourth], "headers": dict(context.headers)}

    @app.register_task("together")
    def together(params, context):
        def meet():
            book.did(context.task_id, params["place"])
            wait(lambda: book.present(params["place"]) >= params["of"])
            return "met"

        return context.step("meet", meet)

    @app.register_task("sleeper")
    def sleeper(params, context):
        book.did(context.task_id, "start")
        context.step("before", lambda: book.did(context.task_id, "before"))
        if "until" in params:
            context.sleep_until("nap", datetime.fromisoformat(params["until"]))
        else:
            context.sleep_for("nap", params["seconds"])
        context.step("after", lambda: book.did(context.task_id, "after"))
        return "awake"

    @app.register_task("listener")
    def listener(params, context):
        book.did(context.task_id, "start")
        try:
            payload = context.await_event(params["event"], timeout=params.get("timeout"))
        except TimeoutError:
            payload = context.await_event(params["then"]) if "then" in params else None
            return {"gave up": params["event"], "then": payload}
        return {"heard": payload}

    @app.register_task("speaker")
    def speaker(params, context):
        context.emit_event(params["event"], params["payload"])
        return "said"

    @app.register_task("relay")
    def relay(params, context):
        """Passes an event on. A timeout is no end: it looks again. After one the next answer, of
        the same event, may be nothing: the engine tells a timeout once, too."""
        for _ in range(TRIES):
            try:
                heard = context.await_event(params["hear"], timeout=params["patience"])
            except TimeoutError:
                continue
            if heard is None:
                continue
            context.emit_event(params["say"], {"hops": heard["hops"] + 1})
            return {"heard": heard}

    @app.register_task("beating")
    def beating(params, context):
        def work():
            context.heartbeat(params["seconds"])
            book.did(context.task_id, "beat")
            wait(lambda: book.is_open(params["gate"]))
            context.heartbeat()
            return "alive"

        return context.step("work", work)

    @app.register_task("flaky")
    def flaky(params, context):
        kept = context.step("once", lambda: book.did(context.task_id, "once") or "kept")
        book.did(context.task_id, "try")
        tried = book.times(context.task_id, "try")
        if tried <= params["failures"]:
            raise RuntimeError(f"try {tried} goes wrong")
        return {"once": kept, "tries": tried}

    @app.register_task("long")
    def long(params, context):
        book.did(context.task_id, "started")
        try:
            for _ in hold(lambda: False):  # until the engine says that the task is not ours
                context.heartbeat(30)
                time.sleep(PAUSE)
        except CancelledTask:
            book.did(context.task_id, "cancelled")
            raise

    @app.register_task("parent")
    def parent(params, context):
        def spawn():
            spawned = app.spawn(
                "grow",
                {"base": params["base"]},
                queue=children,
                idempotency_key=f"child of {context.task_id}",
            )
            return str(spawned["task_id"])

        child = context.step("spawn", spawn)
        result = context.await_task_result(child, queue_name=children, timeout=30)
        return {"child": child, "state": result.state, "of": result.result}

    @app.register_task("guarded")
    def guarded(params, context):
        """Stays inside its second step until the gate opens."""
        context.step("first", lambda: book.did(context.task_id, "first"))

        def second():
            book.did(context.task_id, "second")
            wait(lambda: book.is_open(params["gate"]))
            return params["gate"]

        try:
            return context.step("second", second)
        except FailedTask:
            book.did(context.task_id, "lost")
            raise


def register_child(app) -> None:
    """The task of the queue of children."""

    @app.register_task("grow")
    def grow(params, context):
        return {"grown": params["base"] + 1}
