"""procrastinate on its own task: `procrastinate_jobs.py SOCKET DATABASE setup | enqueue N K | work N K`."""

import asyncio
import importlib.metadata
import json
import logging
import sys
import time

import procrastinate

logging.disable(logging.CRITICAL)
socket, database, verb, *numbers = sys.argv[1:]
app = procrastinate.App(connector=procrastinate.PsycopgConnector(
    kwargs={"host": socket, "port": 54330, "user": "postgres", "dbname": database}, min_size=4, max_size=12))


@app.task(name="work", queue="work")
async def work(n: int) -> int:
    return n


async def enqueue(count: int, clients: int) -> None:
    async def one(share: int) -> None:
        for _ in range(share):
            await work.defer_async(n=1)

    await asyncio.gather(*[one(count // clients) for _ in range(clients)])


async def main() -> dict:
    async with app.open_async():
        if verb == "setup":
            await app.schema_manager.apply_schema_async()
            return {"version": importlib.metadata.version("procrastinate")}
        count, clients = (int(number) for number in numbers)
        began = time.perf_counter()
        if verb == "enqueue":
            await enqueue(count, clients)
        else:
            await app.run_worker_async(queues=["work"], concurrency=clients, wait=False, listen_notify=False)
        return {"seconds": time.perf_counter() - began}


print(json.dumps(asyncio.run(main())))
