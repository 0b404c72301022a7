"""The two engines: the reference schema and the extension, in two databases of one server.

ABSURD_TEST_DSN_BASE names the server and a superuser as libpq keywords, for example
"host=/tmp/socket port=5432 user=postgres"; ABSURD_TEST_BIN is the folder that has psql, which the
reference's installer runs. There are no defaults and nothing is skipped.
"""

import os
import subprocess
import sys
import uuid
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from hypothesis.configuration import set_hypothesis_home_dir
from psycopg import sql
from psycopg.conninfo import make_conninfo

from engine import Engine

SERVER, PROGRAMS = "ABSURD_TEST_DSN_BASE", "ABSURD_TEST_BIN"


# What hypothesis keeps between runs goes where built files go.
HOME = Path(__file__).resolve().parents[2] / "target" / "hypothesis"


def pytest_configure():
    set_hypothesis_home_dir(HOME)
    if not os.environ.get(SERVER):
        raise pytest.UsageError(
            f"{SERVER} is not set; it must hold a server's libpq keywords, "
            'such as "host=/tmp/socket port=5432 user=postgres"'
        )
    if not os.environ.get(PROGRAMS):
        raise pytest.UsageError(f"{PROGRAMS} is not set; it must name the folder that has psql")


@contextmanager
def database(prefix):
    """A new database, dropped at the end; its DSN."""
    server = os.environ[SERVER]
    name = f"{prefix}_{uuid.uuid4().hex[:8]}"
    admin = make_conninfo(server, dbname="postgres")
    with psycopg.connect(admin, autocommit=True) as conn:
        conn.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
    try:
        yield make_conninfo(server, dbname=name)
    finally:
        with psycopg.connect(admin, autocommit=True) as conn:
            conn.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))


@pytest.fixture(scope="session")
def reference():
    """The reference schema, as its own tool installs it."""
    with database("diff_ref") as dsn:
        tool = Path(sys.executable).with_name("absurdctl")
        path = os.pathsep.join([os.environ[PROGRAMS], os.environ["PATH"]])
        subprocess.run(
            [tool, "init", "-d", dsn], check=True, timeout=60, env=os.environ | {"PATH": path}
        )
        engine = Engine("reference", dsn)
        if engine.conn.server_version >= 180000:
            engine.close()
            pytest.skip("from 18 on Absurd 0.5.1 takes ids from Postgres's own uuidv7(), which no fake time reaches")
        yield engine
        engine.close()


@pytest.fixture(scope="session")
def ours():
    with database("diff_ours") as dsn:
        with psycopg.connect(dsn, autocommit=True) as conn:
            conn.execute("create extension absurd")
        engine = Engine("ours", dsn)
        yield engine
        engine.close()
