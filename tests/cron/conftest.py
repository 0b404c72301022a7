"""A database with the extension and pg_cron, on a server that has loaded pg_cron for it.

ABSURD_TEST_CRON_DSN names that database and a superuser as libpq keywords. There is no default and
nothing is skipped.
"""

import os

import psycopg
import pytest

VARIABLE = "ABSURD_TEST_CRON_DSN"


@pytest.fixture
def conn():
    dsn = os.environ.get(VARIABLE)
    if not dsn:
        raise pytest.UsageError(f"{VARIABLE} is not set")
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("create extension if not exists pg_cron")
        connection.execute("create extension if not exists absurd")
        yield connection
        connection.execute("reset absurd.fake_now")
        connection.execute("select absurd.drop_queue(q) from absurd.list_queues() q (q)")
        connection.execute("select count(*) from absurd.disable_cron()")
        assert connection.execute("select * from cron.job where jobname ~ '^absurd_'").fetchall() == []
