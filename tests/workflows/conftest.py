"""Databases and queues for the workflow tests.

ABSURD_TEST_DSN_BASE names the server and a superuser as libpq keywords, ABSURD_TEST_BIN the folder
of psql and pg_dump. There are no defaults and nothing is skipped.
"""

import itertools
import os
import uuid
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

_numbers = itertools.count(1)


def required(variable):
    value = os.environ.get(variable)
    if not value:
        raise pytest.UsageError(f"{variable} is not set")
    return value


@pytest.fixture(scope="session")
def server() -> str:
    return required("ABSURD_TEST_DSN_BASE")


@pytest.fixture(scope="session")
def tools() -> Path:
    return Path(required("ABSURD_TEST_BIN"))


@pytest.fixture(scope="session")
def new_database(server):
    """Makes databases that are dropped at the end."""
    admin_dsn = make_conninfo(server, dbname="postgres")
    names = []

    def make(extension=True):
        names.append(f"workflows_{uuid.uuid4().hex[:8]}")
        with psycopg.connect(admin_dsn, autocommit=True) as admin:
            admin.execute(sql.SQL("create database {}").format(sql.Identifier(names[-1])))
        dsn = make_conninfo(server, dbname=names[-1])
        if extension:
            with psycopg.connect(dsn, autocommit=True) as conn:
                conn.execute("create extension absurd")
        return dsn

    yield make
    with psycopg.connect(admin_dsn, autocommit=True) as admin:
        for name in names:
            admin.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))


@pytest.fixture(scope="module")
def database(new_database):
    return new_database()


@pytest.fixture
def connect(database):
    """Opens sessions that are closed when the test ends; autocommit unless asked otherwise."""
    opened = []

    def open_session(autocommit=True, **settings):
        conn = psycopg.connect(database, autocommit=autocommit, **settings)
        opened.append(conn)
        return conn

    yield open_session
    for conn in opened:
        conn.close()


@pytest.fixture
def conn(connect):
    return connect()


@pytest.fixture
def queue(conn) -> str:
    """A queue that no other test uses."""
    name = f"queue_{next(_numbers)}"
    conn.execute("select absurd.create_queue(%s)", (name,))
    return name
