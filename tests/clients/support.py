"""What the client tests share."""

import contextlib
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo
from psycopg.rows import dict_row

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "data_pipeline.py"
ORDERS = ROOT / "examples" / "data" / "orders.csv"
SEARCH_PATH = "-c search_path=absurd,public"


@contextlib.contextmanager
def empty_database(server, name):
    """The DSN of a database without anything, which is dropped at the end."""
    admin, identifier = make_conninfo(server, dbname="postgres"), sql.Identifier(name)
    with psycopg.connect(admin, autocommit=True) as conn:
        conn.execute(sql.SQL("create database {}").format(identifier))
    try:
        yield make_conninfo(server, dbname=name)
    finally:
        with psycopg.connect(admin, autocommit=True) as conn:
            conn.execute(sql.SQL("drop database {} with (force)").format(identifier))


def until(check, what, seconds=30):
    """Asks until the answer is true and returns it; fails when the deadline has passed."""
    deadline = time.monotonic() + seconds
    while True:
        answer = check()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} seconds: {what}")
        time.sleep(0.02)


def in_order(*moments):
    """Whether moments follow each other, give or take what a machine's clock may be set back."""
    slack = timedelta(milliseconds=250)
    return all(earlier <= later + slack for earlier, later in zip(moments, moments[1:]))


def rows(conn, query, *values):
    """All rows of a query as dictionaries."""
    with conn.cursor(row_factory=dict_row) as cur:
        return cur.execute(query, values).fetchall()


def row(conn, query, *values):
    """The only row of a query."""
    found = rows(conn, query, *values)
    assert len(found) == 1, f"{len(found)} rows instead of one: {found}"
    return found[0]


def value(conn, query, *values):
    """The only column of the only row."""
    (answer,) = row(conn, query, *values).values()
    return answer


def table(conn, prefix, queue, where="true", *values, order="1"):
    """Rows of one of a queue's tables."""
    query = sql.SQL("select * from absurd.{} where " + where + " order by " + order)
    name = sql.Identifier(f"{prefix}_{queue}")
    with conn.cursor(row_factory=dict_row) as cur:
        return cur.execute(query.format(name), values).fetchall()


def task(conn, queue, task_id):
    (found,) = table(conn, "t", queue, "task_id = %s", task_id)
    return found


def run(conn, queue, run_id):
    (found,) = table(conn, "r", queue, "run_id = %s", run_id)
    return found


def states(conn, queue, run_id):
    """The state of a run and of its task."""
    query = sql.SQL(
        "select r.state, t.state from absurd.{} r join absurd.{} t on t.task_id = r.task_id"
        " where r.run_id = %s"
    )
    names = [sql.Identifier(f"{prefix}_{queue}") for prefix in "rt"]
    return conn.execute(query.format(*names), (run_id,)).fetchone()


def run_example(dsn):
    """Runs the example as a process of its own and returns what it printed."""
    done = subprocess.run(
        [sys.executable, str(EXAMPLE), dsn], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def expected_revenue(conn):
    """What the pipeline must load, computed from the CSV file by the database."""
    conn.execute(
        "create temporary table raw (line bigint generated always as identity, order_id text,"
        " customer text, country text, ordered_on text, amount text, currency text)"
    )
    columns = "order_id, customer, country, ordered_on, amount, currency"
    with conn.cursor().copy(
        f"copy raw ({columns}) from stdin with (format csv, header, force_not_null ({columns}))"
    ) as copy:
        copy.write(ORDERS.read_bytes())
    conn.execute(
        """create temporary view accepted as
           select distinct on (order_id) ordered_on::date as day, upper(trim(country)) as country,
                  upper(trim(currency)) as currency, trim(amount)::numeric as amount
             from raw
            where trim(customer) <> '' and trim(amount) ~ '^[0-9]+(\\.[0-9]+)?$'
            order by order_id, line"""
    )
    total = value(conn, "select count(*) from raw")
    accepted = value(conn, "select count(*) from accepted")
    revenue = conn.execute(
        "select day, country, currency, count(*)::integer, sum(amount) from accepted"
        " group by 1, 2, 3 order by 1, 2, 3"
    ).fetchall()
    assert 0 < accepted < total, "the file must hold good rows and rows to reject"
    return revenue, accepted, total - accepted
