"""A worker process of absurd-sdk: `python task_worker.py KIND DSN QUEUE NAME OPTIONS`.

KIND is `sync` or `async`; NAME is the worker's id; OPTIONS are start_worker's, as JSON. The queue
`<queue>_children` is worked for with the children's task alone. Ends on SIGTERM, between two tasks.
"""

import asyncio
import json
import signal
import sys

from absurd_sdk import Absurd, AsyncAbsurd

import tasks_async
import tasks_sync
from ledger import Ledger

CHILDREN = "_children"


def prepare(app, tasks, book: Ledger, queue: str) -> None:
    if queue.endswith(CHILDREN):
        tasks.register_child(app)
    else:
        tasks.register(app, book, queue + CHILDREN)


def work(dsn: str, queue: str, name: str, options: dict) -> None:
    book = Ledger(dsn, name)
    app = Absurd(dsn, queue_name=queue)
    prepare(app, tasks_sync, book, queue)
    signal.signal(signal.SIGTERM, lambda *_: app.stop_worker())
    print("ready", flush=True)
    app.start_worker(worker_id=name, **options)
    app.close()
    book.close()


async def work_async(dsn: str, queue: str, name: str, options: dict) -> None:
    book = Ledger(dsn, name)
    app = AsyncAbsurd(dsn, queue_name=queue)
    prepare(app, tasks_async, book, queue)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, app.stop_worker)
    print("ready", flush=True)
    await app.start_worker(worker_id=name, **options)
    await app.close()
    book.close()


if __name__ == "__main__":
    kind, dsn, queue, name, options = sys.argv[1:]
    if kind == "sync":
        work(dsn, queue, name, json.loads(options))
    else:
        asyncio.run(work_async(dsn, queue, name, json.loads(options)))
    print("stopped", flush=True)
