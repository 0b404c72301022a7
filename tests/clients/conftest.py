"""Databases for the client tests: one per module, with the extension, dropped at the end.

ABSURD_TEST_DSN_BASE names the server and a superuser as libpq keywords, for example
"host=/tmp/socket port=5432 user=postgres". There are no defaults and nothing is skipped.
"""

import itertools
import os
import uuid

import psycopg
import pytest

from support import SEARCH_PATH, empty_database

VARIABLE = "ABSURD_TEST_DSN_BASE"
_numbers = itertools.count(1)


def pytest_configure():
    if not os.environ.get(VARIABLE):
        raise pytest.UsageError(
            f"{VARIABLE} is not set; it must hold a server's libpq keywords, "
            'such as "host=/tmp/socket port=5432 user=postgres"'
        )


@pytest.fixture(scope="session")
def server() -> str:
    return os.environ[VARIABLE]


@pytest.fixture(scope="module")
def database(server, request):
    """The DSN of a database with the extension, this module's own."""
    module = request.module.__name__.removeprefix("test_")
    name = f"clients_{module}_{uuid.uuid4().hex[:8]}"
    with empty_database(server, name) as dsn:
        with psycopg.connect(dsn, autocommit=True) as conn:
            conn.execute("create extension absurd")
        yield dsn


@pytest.fixture
def conn(database):
    """A connection as the clients of the extension open it; every statement stands for itself."""
    with psycopg.connect(database, autocommit=True, options=SEARCH_PATH) as connection:
        yield connection


@pytest.fixture
def queue(conn) -> str:
    """A queue that no other test uses."""
    name = f"queue_{next(_numbers)}"
    conn.execute("select absurd.create_queue(%s)", (name,))
    return name
