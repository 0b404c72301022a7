"""The tasks of the SDK tests for AsyncAbsurd, each the twin of one in tasks_sync.py."""

import asyncio
from datetime import datetime

from absurd_sdk import CancelledTask, FailedTask, TimeoutError, get_current_context

from ledger import Ledger, hold

PAUSE = 0.02
TRIES = 10


async def wait(check) -> None:
    for _ in hold(check):
        await asyncio.sleep(PAUSE)


def register(app, book: Ledger, children: str) -> None:
    """Registers the tasks; a parent spawns into the queue `children`."""

    def noting(context, what, answer=None):
        async def note():
            book.did(context.task_id, what)
            return answer

        return note

    @app.register_task("steps")
    async def steps(params, context):
        book.did(context.task_id, "start")
        answers = [{"sum": params["base"] + number} for number in (1, 2)]
        first = await context.step("add", noting(context, "add 1", answers[0]))
        second = await context.step("add", noting(context, "add 2", answers[1]))
        handle = await context.begin_step("by hand")
        third = await context.complete_step(handle, ["by", "hand", None])
        fourth = await context.step("decorated", noting(context, "decorated", "ünï"))
        assert get_current_context() is context
        return {"all": [first, second, third, fourth], "headers": dict(context.headers)}

    @app.register_task("together")
    async def together(params, context):
        async def meet():
            book.did(context.task_id, params["place"])
            await wait(lambda: book.present(params["place"]) >= params["of"])
            return "met"

        return await context.step("meet", meet)

    @app.register_task("sleeper")
    async def sleeper(params, context):
        book.did(context.task_id, "start")
        await context.step("before", noting(context, "before"))
        if "until" in params:
            await context.sleep_until("nap", datetime.fromisoformat(params["until"]))
        else:
            await context.sleep_for("nap", params["seconds"])
        await context.step("after", noting(context, "after"))
        return "awake"

    @app.register_task("listener")
    async def listener(params, context):
        book.did(context.task_id, "start")
        try:
            payload = await context.await_event(params["event"], timeout=params.get("timeout"))
        except TimeoutError:
            payload = await context.await_event(params["then"]) if "then" in params else None
            return {"gave up": params["event"], "then": payload}
        return {"heard": payload}

    @app.register_task("speaker")
    async def speaker(params, context):
        await context.emit_event(params["event"], params["payload"])
        return "said"

    @app.register_task("relay")
    async def relay(params, context):
        """Passes an event on. A timeout is no end: it looks again. After one the next answer, of
        the same event, may be nothing: the engine tells a timeout once, too."""
        for _ in range(TRIES):
            try:
                heard = await context.await_event(params["hear"], timeout=params["patience"])
            except TimeoutError:
                continue
            if heard is None:
                continue
            await context.emit_event(params["say"], {"hops": heard["hops"] + 1})
            return {"heard": heard}

    @app.register_task("beating")
    async def beating(params, context):
        async def work():
            await context.heartbeat(params["seconds"])
            book.did(context.task_id, "beat")
            await wait(lambda: book.is_open(params["gate"]))
            await context.heartbeat()
            return "alive"

        return await context.step("work", work)

    @app.register_task("flaky")
    async def flaky(params, context):
        kept = await context.step("once", noting(context, "once", "kept"))
        book.did(context.task_id, "try")
        tried = book.times(context.task_id, "try")
        if tried <= params["failures"]:
            raise RuntimeError(f"try {tried} goes wrong")
        return {"once": kept, "tries": tried}

    @app.register_task("long")
    async def long(params, context):
        book.did(context.task_id, "started")
        try:
            for _ in hold(lambda: False):  # until the engine says that the task is not ours
                await context.heartbeat(30)
                await asyncio.sleep(PAUSE)
        except CancelledTask:
            book.did(context.task_id, "cancelled")
            raise

    @app.register_task("parent")
    async def parent(params, context):
        async def spawn():
            spawned = await app.spawn(
                "grow",
                {"base": params["base"]},
                queue=children,
                idempotency_key=f"child of {context.task_id}",
            )
            return str(spawned["task_id"])

        child = await context.step("spawn", spawn)
        result = await context.await_task_result(child, queue_name=children, timeout=30)
        return {"child": child, "state": result.state, "of": result.result}

    @app.register_task("guarded")
    async def guarded(params, context):
        """Stays inside its second step until the gate opens."""
        await context.step("first", noting(context, "first"))

        async def second():
            book.did(context.task_id, "second")
            await wait(lambda: book.is_open(params["gate"]))
            return params["gate"]

        try:
            return await context.step("second", second)
        except FailedTask:
            book.did(context.task_id, "lost")
            raise


def register_child(app) -> None:
    """The task of the queue of children."""

    @app.register_task("grow")
    async def grow(params, context):
        return {"grown": params["base"] + 1}
