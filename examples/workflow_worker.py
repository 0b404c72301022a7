"""A worker for the workflow documents of the example, with the package absurd-sdk

    pip install absurd-sdk==0.5.1 'psycopg[binary]'
    python examples/workflow_worker.py "host=localhost dbname=warehouse" --queue etl

A step of a workflow is an ordinary task: its name is the step's function, its params hold the step's
args and kwargs with everything filled in, and its headers say which workflow run it belongs to. What
a handler returns is the step's result. Which step comes next is the database's business.

The handlers read orders from a CSV file, clean them, add them up per day and per country in tables
of schema etl, and publish the sums. Each may be repeated: it replaces what an earlier attempt left.
"""

import argparse
import csv
import signal
from collections import Counter
from decimal import Decimal, InvalidOperation
from pathlib import Path

import psycopg
from absurd_sdk import Absurd

SOURCE = Path(__file__).with_name("data") / "orders.csv"

TABLES = """
create schema if not exists etl;
create table if not exists etl.staged_orders (
    workflow_run_id uuid, order_id bigint, country text not null, ordered_on date not null,
    amount numeric not null, currency text not null, primary key (workflow_run_id, order_id));
create table if not exists etl.staged_revenue (
    workflow_run_id uuid, ordered_on date, currency text, orders bigint not null,
    revenue numeric not null, primary key (workflow_run_id, ordered_on, currency));
create table if not exists etl.staged_countries (
    workflow_run_id uuid, country text, orders bigint not null,
    primary key (workflow_run_id, country));
create table if not exists etl.daily_revenue (
    ordered_on date, currency text, orders bigint not null, revenue numeric not null,
    primary key (ordered_on, currency));
create table if not exists etl.country_orders (country text primary key, orders bigint not null);
create table if not exists etl.announcement (workflow_run_id uuid primary key, words text not null);
"""


class SourceBusy(Exception):
    """What the worker is told to run into, see --fail."""


# The work itself ----------------------------------------------------------------------------------


def clean(rows: list[dict]) -> tuple[list[tuple], list[dict]]:
    """Splits rows into good orders, tidied, and rejected ones with the reason."""
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
        country, currency = row["country"].upper(), row["currency"].upper()
        good.append((row["order_id"], country, row["ordered_on"], row["amount"], currency))
    return good, rejected


class Pipeline:
    """The handlers. Every one gets the id of the workflow run and the step's arguments; its changes
    of the tables are one transaction."""

    def __init__(self, work: psycopg.Connection, source: Path) -> None:
        self.work = work
        self.source = source

    def extract(self, run: str) -> list[dict]:
        with self.source.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))

    def transform(self, run: str, rows: list[dict]) -> dict:
        good, rejected = clean(rows)
        self.work.execute("delete from etl.staged_orders where workflow_run_id = %s", (run,))
        with self.work.cursor() as cursor:
            cursor.executemany(
                "insert into etl.staged_orders values (%s, %s, %s, %s, %s, %s)",
                [(run, *order) for order in good],
            )
        return {"accepted": len(good), "rejected": rejected}

    def process_a(self, run: str) -> dict:
        """Revenue per day and currency."""
        self.work.execute("delete from etl.staged_revenue where workflow_run_id = %s", (run,))
        lines = self.work.execute(
            "insert into etl.staged_revenue"
            " select workflow_run_id, ordered_on, currency, count(*), sum(amount)"
            "   from etl.staged_orders where workflow_run_id = %s group by 1, 2, 3",
            (run,),
        ).rowcount
        return {"lines": lines}

    def process_b(self, run: str) -> dict:
        """Orders per country."""
        self.work.execute("delete from etl.staged_countries where workflow_run_id = %s", (run,))
        countries = self.work.execute(
            "insert into etl.staged_countries select workflow_run_id, country, count(*)"
            "   from etl.staged_orders where workflow_run_id = %s group by 1, 2",
            (run,),
        ).rowcount
        return {"countries": countries}

    def load(self, run: str, transformed: dict) -> dict:
        """Publishes what both parts have added up."""
        (orders,) = self.work.execute(
            "select count(*) from etl.staged_orders where workflow_run_id = %s", (run,)
        ).fetchone()
        if orders != transformed["accepted"]:
            raise ValueError(f"{orders} orders are staged instead of {transformed['accepted']}")
        lines = self.work.execute(
            "insert into etl.daily_revenue"
            " select ordered_on, currency, orders, revenue from etl.staged_revenue"
            "  where workflow_run_id = %s"
            " on conflict (ordered_on, currency) do update"
            "    set orders = excluded.orders, revenue = excluded.revenue",
            (run,),
        ).rowcount
        countries = self.work.execute(
            "insert into etl.country_orders"
            " select country, orders from etl.staged_countries where workflow_run_id = %s"
            " on conflict (country) do update set orders = excluded.orders",
            (run,),
        ).rowcount
        return {"orders": orders, "revenue_lines": lines, "countries": countries}

    def announce(self, run: str, orders: int, approved_by: str) -> str:
        words = f"{orders} orders, approved by {approved_by}"
        self.work.execute(
            "insert into etl.announcement values (%s, %s) on conflict (workflow_run_id)"
            " do update set words = excluded.words",
            (run, words),
        )
        return words


# The worker ---------------------------------------------------------------------------------------


def register(
    app: Absurd, pipeline: Pipeline, fail: str | None, times: int, limit: int | None
) -> None:
    """One task handler per function that the documents name."""
    count = Counter()

    def add(function: str, work) -> None:
        @app.register_task(function)
        def handler(params, context):
            run, step = context.headers["workflow_run_id"], context.headers["workflow_step"]
            count["tasks"] += 1
            if count["tasks"] == limit:
                app.stop_worker()  # once this task has ended
            if function == fail and count[run] < times:
                count[run] += 1
                print(f"{step}: fails, as it was told to", flush=True)
                raise SourceBusy(f"{function} is busy, try again")
            with pipeline.work.transaction():
                result = work(run, *params["args"], **params["kwargs"])
            told = f"{len(result)} rows" if isinstance(result, list) else str(result)
            print(f"{step}: {told if len(told) < 60 else told[:57] + '...'}", flush=True)
            return result

    for name in ("extract", "transform", "process_a", "process_b", "load", "announce"):
        add(f"etl.{name}", getattr(pipeline, name))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Works the steps of the example's workflows.")
    parser.add_argument("dsn", help="the database, as libpq keywords or as an URI")
    parser.add_argument("--queue", default="etl")
    parser.add_argument("--source", type=Path, default=SOURCE, help="the CSV file of the orders")
    parser.add_argument("--fail", metavar="FUNCTION", help="let this step fail first")
    parser.add_argument("--times", type=int, default=1, help="how often in a run, by default once")
    parser.add_argument("--tasks", type=int, metavar="N", help="end after N tasks")
    parser.add_argument("--poll", type=float, default=0.1, metavar="SECONDS",
                        help="how long to wait when there is nothing to do")
    return parser.parse_args()


def main() -> None:
    given = arguments()
    with psycopg.connect(given.dsn, autocommit=True) as work:
        work.execute(TABLES)
        app = Absurd(given.dsn, queue_name=given.queue)
        register(app, Pipeline(work, given.source), given.fail, given.times, given.tasks)
        signal.signal(signal.SIGTERM, lambda *_: app.stop_worker())
        signal.signal(signal.SIGINT, lambda *_: app.stop_worker())
        print("ready", flush=True)
        # One task at a time: the handlers share one connection.
        app.start_worker(claim_timeout=60, poll_interval=given.poll)
        app.close()
        print("stopped", flush=True)


if __name__ == "__main__":
    main()
