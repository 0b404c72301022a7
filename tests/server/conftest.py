"""A database per module with the extension, dropped at the end.

ABSURD_TEST_DSN_BASE names the server and a superuser as libpq keywords. There is no default and
nothing is skipped.
"""

import os
import uuid

import psycopg
import pytest


@pytest.fixture(scope="module")
def database(request):
    server = os.environ.get("ABSURD_TEST_DSN_BASE")
    if not server:
        raise pytest.UsageError("ABSURD_TEST_DSN_BASE is not set")
    module = request.module.__name__.removeprefix("test_")
    name = f"server_{module}_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(f"{server} dbname=postgres", autocommit=True) as admin:
        admin.execute(f"create database {name}")
        with psycopg.connect(f"{server} dbname={name}", autocommit=True) as conn:
            conn.execute("create extension absurd")
        yield f"{server} dbname={name}"
        admin.execute(f"drop database {name} with (force)")


@pytest.fixture
def connect(database):
    """Opens connections that end with the test."""
    opened = []

    def open_one(**arguments):
        opened.append(psycopg.connect(database, **{"autocommit": True, **arguments}))
        return opened[-1]

    open_one.all = opened
    yield open_one
    for connection in opened:
        connection.close()


@pytest.fixture
def conn(connect):
    return connect()
