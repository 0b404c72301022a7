"""Databases for the dump tests, made empty, and the server's own programs.

ABSURD_TEST_DSN_BASE names the server and a superuser as libpq keywords, ABSURD_TEST_BIN the folder
of psql and pg_dump. There are no defaults and nothing is skipped.
"""

import os
import uuid
from pathlib import Path
from types import SimpleNamespace

import psycopg
import pytest


def required(variable):
    value = os.environ.get(variable)
    if not value:
        raise pytest.UsageError(f"{variable} is not set")
    return value


@pytest.fixture(scope="session")
def tools():
    return Path(required("ABSURD_TEST_BIN"))


@pytest.fixture(scope="module")
def new_database():
    """Makes empty databases, dropped when the module ends."""
    server = required("ABSURD_TEST_DSN_BASE")
    names = []

    def make():
        names.append(f"dump_{uuid.uuid4().hex[:12]}")
        admin.execute(f"create database {names[-1]}")
        return SimpleNamespace(dsn=f"{server} dbname={names[-1]}")

    with psycopg.connect(f"{server} dbname=postgres", autocommit=True) as admin:
        yield make
        for name in names:
            admin.execute(f"drop database {name} with (force)")
