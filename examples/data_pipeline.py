"""A data pipeline, told with the Python client, the package absurd from PyPI

    pip install absurd==0.1.0 'psycopg[binary]'
    psql "$DATABASE_URL" -c 'create extension if not exists absurd'
    python examples/data_pipeline.py "host=localhost dbname=warehouse"

Two workflow runs of `data_pipeline` 1.0.0. The first extracts orders from a CSV file, cleans and
aggregates them and loads the table public.daily_revenue, although a worker is lost on the way and a
person has to approve the load. The second finds no source file and fails. May be run as often as
you like on the same database.
"""

import csv
import hashlib
import os
import sys
import time
from collections import defaultdict
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal, InvalidOperation
from pathlib import Path

import psycopg
from absurd_client import AbsurdClient, AbsurdSleepError

SOURCE = Path(__file__).with_name("data") / "orders.csv"
WEEK = 7 * 24 * 3600

client = AbsurdClient(queue_name="pipeline", worker_id="etl-1")


def say(text: str) -> None:
    print(f"  {text}")


def now() -> datetime:
    return datetime.now(timezone.utc)


# The work itself: plain functions of plain data ---------------------------------------------------


def extract(path: Path) -> list[dict]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def clean(rows: list[dict]) -> tuple[list[dict], list[dict]]:
    """Splits rows into good ones, tidied, and rejected ones with the reason."""
    good, rejected, seen = [], [], set()
    for row in rows:
        row = {name: value.strip() for name, value in row.items()}
        try:
            amount = Decimal(row["amount"])
            problem = None if amount.is_finite() and amount >= 0 else "negative amount"
        except InvalidOperation:
            problem = "malformed amount"
        if not row["customer"]:
            problem = "no customer"
        elif row["order_id"] in seen:
            problem = "duplicate order"
        if problem:
            rejected.append({"order_id": row["order_id"], "reason": problem})
            continue
        seen.add(row["order_id"])
        good.append(row | {"country": row["country"].upper(), "currency": row["currency"].upper()})
    return good, rejected


def aggregate(orders: list[dict]) -> list[dict]:
    """Orders and revenue per day, country and currency. Amounts stay decimal text: no floats."""
    groups = defaultdict(list)
    for order in orders:
        groups[order["ordered_on"], order["country"], order["currency"]].append(order)
    return [
        {"day": day, "country": country, "currency": currency, "orders": len(group),
         "revenue": str(sum(Decimal(order["amount"]) for order in group))}
        for (day, country, currency), group in sorted(groups.items())
    ]


def load(conn: psycopg.Connection, revenue: list[dict]) -> None:
    """Replaces the days at hand, so that loading twice is loading once."""
    days = sorted({date.fromisoformat(line["day"]) for line in revenue})
    conn.execute("delete from public.daily_revenue where day = any (%s)", (days,))
    with conn.cursor() as cur:
        cur.executemany(
            "insert into public.daily_revenue (day, country, currency, orders, revenue) values "
            "(%(day)s, %(country)s, %(currency)s, %(orders)s, %(revenue)s)", revenue)


# Talking to the queue -----------------------------------------------------------------------------


def spawn(conn, name, workflow_run_id, max_attempts=1, **params):
    """A task of a workflow run: the run's id travels in params and headers, as text."""
    link = {"workflow_run_id": str(workflow_run_id)}
    task_id, run_id, _ = client.spawn_task(
        conn, name, params=link | params, headers=link, max_attempts=max_attempts)
    say(f"spawned {name}: task {task_id}")
    return task_id, run_id


def claim(conn, task_id, worker="etl-1", claim_timeout=30):
    """Asks for work until this task is handed out; work of others goes back to the queue."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        for run_id, claimed, attempt, name, params, *_ in client.claim_task(
                conn, worker_id=worker, claim_timeout=claim_timeout):
            if claimed == task_id:
                say(f"{worker} claimed {name}, attempt {attempt}")
                return run_id, attempt, params
            client.schedule_task(conn, run_id, now() + timedelta(minutes=1))
        time.sleep(0.1)
    raise TimeoutError(f"task {task_id} was not handed out")


def step(conn, task_id, run_id, name, work):
    """Runs a step once: its checkpoint answers for it on every later attempt."""
    stored = client.get_checkpoint(conn, task_id, name)
    if stored:
        say(f"step {name}: taken from its checkpoint, not repeated")
        return stored["state"]["value"]
    say(f"step {name}: working")
    value = work()
    client.set_checkpoint(
        conn, task_id, name, {"value": value}, owner_run=run_id, extend_claim_by=30)
    return value


# The story ----------------------------------------------------------------------------------------


def start_workflow(conn, source: Path):
    workflow_run_id = client.create_workflow_run(
        conn,
        workflow_name="data_pipeline",
        workflow_version="1.0.0",
        inputs={"source": source.name, "target": "public.daily_revenue"},
        created_by="etl_system",
        tags={"environment": "example", "team": "data-eng"},
        workflow_hash=hashlib.sha256(Path(__file__).read_bytes()).hexdigest(),
    )
    client.update_workflow_run_status(conn, workflow_run_id, "running", started_at=now())
    print(f"workflow run {workflow_run_id} is running")
    return workflow_run_id


def run_extract(conn, workflow_run_id):
    """Lost by one worker, finished by the next, without reading the file twice."""
    task_id, _ = spawn(conn, "extract", workflow_run_id, max_attempts=3, source=SOURCE.name)
    lost_run, _, _ = claim(conn, task_id, worker="etl-lost", claim_timeout=1)
    reads = []

    def read():
        reads.append(SOURCE)
        return extract(SOURCE)

    rows = read()
    # Without prolonging the lease of one second: this worker is about to disappear.
    client.save_checkpoint_for_run(conn, lost_run, "rows", {"value": rows}, task_id=task_id)
    say("etl-lost is lost: it says nothing more, and its lease ends")

    run_id, attempt, _ = claim(conn, task_id)
    assert (attempt, run_id != lost_run) == (2, True), "a lost attempt is followed by another"
    rows = step(conn, task_id, run_id, "rows", read)
    assert len(reads) == 1, "the file was read by the lost worker and by nobody else"
    assert client.get_run_checkpoint(conn, lost_run, "rows") == {"value": rows}
    reason = client.get_run_status(conn, lost_run)["failure_reason"]
    say(f"what became of the first attempt: {reason['name']} of {reason['workerId']}")
    client.complete_task(conn, run_id, {"rows": len(rows)})
    return rows


def run_transform(conn, workflow_run_id, rows):
    """Comes back later once, then does its work in steps that say how far they are."""
    task_id, run_id = spawn(conn, "transform", workflow_run_id)
    run_id, _, _ = claim(conn, task_id)
    client.schedule_task(conn, run_id, now() + timedelta(milliseconds=500))
    say(f"transform comes back in half a second: {client.get_task_status(conn, task_id)['state']}")

    run_id, _, _ = claim(conn, task_id)
    client.extend_claim(conn, run_id, 120)
    good, rejected = step(conn, task_id, run_id, "clean", lambda: clean(rows))
    client.save_checkpoint_for_run(conn, run_id, "progress", {"done": 1, "of": 2})
    revenue = step(conn, task_id, run_id, "aggregate", lambda: aggregate(good))
    client.save_checkpoint_for_run(conn, run_id, "progress", {"done": 2, "of": 2})
    for order in rejected:
        say(f"rejected order {order['order_id']}: {order['reason']}")
    say(f"checkpoints: {', '.join(sorted(client.get_checkpoints_for_run(conn, run_id)))}")
    client.complete_task(conn, run_id, {"accepted": len(good), "rejected": rejected})
    return revenue, len(good), len(rejected)


def run_load(conn, workflow_run_id, revenue):
    """Sleeps until somebody approves, then loads and completes in one transaction."""
    task_id, _ = spawn(conn, "load", workflow_run_id, lines=len(revenue))
    approval = f"approval:{workflow_run_id}"
    run_id, _, _ = claim(conn, task_id)
    with conn.transaction():
        try:
            client.wait_for_event(conn, run_id, approval, timeout_seconds=3600,
                                  task_id=task_id, step_name="approval")
            raise AssertionError("nobody has approved yet")
        except AbsurdSleepError as sleep:
            # Caught inside of the transaction: the wait that was registered must stay.
            client.set_run_sleeping(conn, run_id, sleep.event_name)
    say(f"load waits for {approval}: {client.get_run_status(conn, run_id)['state']}")

    client.emit_event(conn, approval, {"approved_by": "finance"})
    run_id, _, _ = claim(conn, task_id)
    answer = client.wait_for_event(conn, run_id, approval, timeout_seconds=3600,
                                   task_id=task_id, step_name="approval")
    say(f"approved by {answer['approved_by']}")
    with conn.transaction():  # the lines and the end of the task: both, or neither
        load(conn, revenue)
        client.complete_task(conn, run_id, {"lines": len(revenue), **answer})


def good_run(conn):
    workflow_run_id = start_workflow(conn, SOURCE)
    rows = run_extract(conn, workflow_run_id)
    revenue, accepted, rejected = run_transform(conn, workflow_run_id, rows)
    run_load(conn, workflow_run_id, revenue)
    client.update_workflow_run_status(
        conn, workflow_run_id, "completed", completed_at=now(), task_count=3,
        result={"lines": len(revenue), "accepted": accepted, "rejected": rejected})
    print(f"workflow run {workflow_run_id} is completed")


def bad_run(conn):
    missing = SOURCE.with_name("orders-of-tomorrow.csv")
    workflow_run_id = start_workflow(conn, missing)
    extract_id, _ = spawn(conn, "extract", workflow_run_id, source=missing.name)
    load_id, load_run = spawn(conn, "load", workflow_run_id)
    run_id, _, _ = claim(conn, extract_id)
    try:
        extract(missing)
        raise AssertionError(f"{missing} exists")
    except FileNotFoundError as problem:
        error = {"type": type(problem).__name__, "message": f"no file {missing.name}",
                 "timestamp": now().isoformat()}
    client.fail_task(conn, run_id, error)
    say(f"extract has {client.get_task_status(conn, extract_id)['state']}: {error['message']}")
    say(f"load cancelled by the id of its run: {client.cancel_task(conn, load_run)}")
    say(f"and now: {client.get_task_status(conn, load_id)['state']}")
    client.update_workflow_run_status(conn, workflow_run_id, "failed", error=error, task_count=2)
    print(f"workflow run {workflow_run_id} is failed")

    try:
        client.update_workflow_run_status(conn, workflow_run_id, "running")
        raise AssertionError("a failed run came back to life")
    except psycopg.Error as refusal:
        say(f"it stays so: {refusal.diag.message_primary} (SQLSTATE {refusal.sqlstate})")


def main() -> None:
    dsn = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("DATABASE_URL")
    if not dsn:
        sys.exit(f"usage: {sys.argv[0]} DSN, or set DATABASE_URL")
    # The client writes "workflow_run" without its schema, hence the search path. With autocommit
    # every call stands for itself; where two belong together, a transaction says so.
    with psycopg.connect(dsn, autocommit=True, options="-c search_path=absurd,public") as conn:
        conn.execute("""create table if not exists public.daily_revenue (
            day date, country text, currency text, orders integer not null,
            revenue numeric not null, primary key (day, country, currency))""")
        client.create_queue(conn)
        print(f"older than a week: {client.cleanup_tasks(conn, WEEK)} tasks and "
              f"{client.cleanup_events(conn, WEEK)} events removed")
        good_run(conn)
        bad_run(conn)
        print("public.daily_revenue:")
        for day, *line in conn.execute("select day, country, currency, orders, revenue "
                                       "from public.daily_revenue order by 1, 2, 3"):
            say(f"{day} {line[0]} {line[1]} {line[2]:>3} {line[3]:>10}")


if __name__ == "__main__":
    main()
