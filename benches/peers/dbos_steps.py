"""DBOS on its own task: `dbos_steps.py SOCKET DATABASE setup | chains SECONDS THREADS | enqueue N K
| work N K | fill N | claim N`."""

import concurrent.futures
import importlib.metadata
import json
import sys
import time

import psycopg
from dbos import DBOS

socket, database, verb, *numbers = sys.argv[1:]
instance = DBOS(config={
    "name": "bench", "application_version": "1", "log_level": "ERROR", "run_admin_server": False,
    "system_database_url": f"postgresql+psycopg://postgres@/{database}?host={socket}&port=54330",
})


@DBOS.step()
def step(i: int) -> int:
    return i


@DBOS.workflow()
def chain() -> None:
    for i in range(10):
        step(i)


@DBOS.workflow()
def work(i: int) -> int:
    return i


def chains(seconds: float, threads: int) -> dict:
    """Ten empty steps a workflow, in so many threads, until the time is over."""
    for _ in range(5):
        chain()
    end = time.perf_counter() + seconds

    def one() -> int:
        steps = 0
        while time.perf_counter() < end:
            chain()
            steps += 10
        return steps

    began = time.perf_counter()
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        done = [pool.submit(one) for _ in range(threads)]
        steps = sum(future.result() for future in done)
    return {"steps": steps, "seconds": time.perf_counter() - began}


def enqueue(count: int, clients: int) -> dict:
    """Enqueues so many workflows of one empty body, with nothing listening here."""
    queue = DBOS.register_queue("work", worker_concurrency=clients, polling_interval_sec=0.001)
    began = time.perf_counter()
    with concurrent.futures.ThreadPoolExecutor(clients) as pool:
        list(pool.map(lambda i: queue.enqueue(work, i), range(count)))
    return {"seconds": time.perf_counter() - began}


def count_of(db, status: str) -> int:
    return db.execute("select count(*) from dbos.workflow_status where queue_name = 'work' and status = %s",
                      [status]).fetchone()[0]


def drain(count: int) -> dict:
    """Seconds until what was enqueued is done; launching has begun the work."""
    with psycopg.connect(host=socket, port=54330, user="postgres", dbname=database, autocommit=True) as db:
        while count_of(db, "SUCCESS") < count:
            time.sleep(0.02)
    return {"seconds": time.perf_counter() - BEGAN}


def fill(count: int) -> dict:
    """So many more enqueued workflows, as copies of the row of one."""
    DBOS.register_queue("work", worker_concurrency=1, polling_interval_sec=60).enqueue(work, 1)
    with psycopg.connect(host=socket, port=54330, user="postgres", dbname=database, autocommit=True) as db:
        columns = [row[0] for row in db.execute(
            "select column_name from information_schema.columns where table_schema = 'dbos' "
            "and table_name = 'workflow_status' and is_generated = 'NEVER' and column_name <> 'workflow_uuid'")]
        names = ", ".join(f'"{name}"' for name in columns)
        db.execute(f"insert into dbos.workflow_status (workflow_uuid, {names}) "
                   f"select gen_random_uuid()::text, {names} from (select * from dbos.workflow_status "
                   "where queue_name = 'work' and status = 'ENQUEUED' limit 1) one, "
                   "generate_series(1, %s)", [count])
        db.execute("vacuum analyze dbos.workflow_status")
    return {}


def claim(count: int) -> dict:
    """Microseconds of its claim of one, called as its queue thread calls it."""
    queue = DBOS.register_queue("work", worker_concurrency=1, polling_interval_sec=60)
    system = instance._sys_db
    times = []
    end = time.perf_counter() + 3
    while len(times) < count and (len(times) < 7 or time.perf_counter() < end):
        began = time.perf_counter()
        ids, _ = system.start_queued_workflows(queue, "bench", "1", None)
        times.append((time.perf_counter() - began) * 1e6)
        assert len(ids) == 1, ids
    return {"us": times}


if verb in ("enqueue", "fill", "claim"):
    DBOS.listen_queues(["nothing"])
BEGAN = time.perf_counter()
DBOS.launch()
verbs = {
    "setup": lambda: {"version": importlib.metadata.version("dbos")},
    "chains": lambda: chains(float(numbers[0]), int(numbers[1])),
    "enqueue": lambda: enqueue(int(numbers[0]), int(numbers[1])),
    "work": lambda: drain(int(numbers[0])),
    "fill": lambda: fill(int(numbers[0])),
    "claim": lambda: claim(int(numbers[0])),
}
print(json.dumps(verbs[verb]()))
DBOS.destroy()
