"""What docs/clients.md shows of each driver, and what it says of it."""

import asyncio
import contextlib
import os
import re
import shutil
import subprocess
import threading
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.types.json import Json

from processes import needed
from support import ROOT, until

SNIPPET = re.compile(r"<!-- driver: (\S+) -->\n```(\w+)\n(.*?)```", re.S)
SHOWN = {name: (language, code) for name, language, code in SNIPPET.findall((ROOT / "docs" / "clients.md").read_text())}
IN_NODE = [name for name, (language, _) in SHOWN.items() if language == "js"]


@pytest.fixture(autouse=True)
def jobs(conn):
    """The queue of the snippets, new for each test."""
    conn.execute("select absurd.create_queue('jobs')")
    yield
    conn.execute("select absurd.drop_queue('jobs')")


def where(dsn):
    """The keywords of a connection, as most drivers name them."""
    found = conninfo_to_dict(dsn)
    return {"host": found["host"], "port": int(found["port"]), "user": found["user"], "database": found["dbname"]}


def shown(name):
    """The names that a snippet in Python defines."""
    names = {}
    exec(SHOWN[name][1], names)
    return names


def worked(conn, tasks=1):
    found = conn.execute("select state, params, completed_payload from absurd.t_jobs").fetchall()
    assert found == [("completed", {"n": 1}, {"got": 1})] * tasks


def test_the_document_shows_these():
    assert set(SHOWN) == {"psycopg", "asyncpg", "sqlalchemy", "django", "node-postgres", "postgres.js", "drizzle", "pgbouncer"}


def test_psycopg(conn, database):
    exec(SHOWN["psycopg"][1], {"dsn": database})
    worked(conn)
    with pytest.raises(psycopg.errors.UndefinedFunction):
        conn.execute("select absurd.spawn_task(%s, %s, %s)", ("jobs", "work", Json({})))


def test_asyncpg(conn, database):
    asyncio.run(shown("asyncpg")["main"](**where(database)))
    worked(conn)


def test_sqlalchemy(conn, database):
    from sqlalchemy import create_engine

    engine = create_engine("postgresql+psycopg://", connect_args=conninfo_to_dict(database))
    shown("sqlalchemy")["main"](engine)
    engine.dispose()
    worked(conn)


def test_django(conn, database):
    import django
    from django.conf import settings
    from django.db import connection

    found = where(database)
    server = {"HOST": found["host"], "PORT": str(found["port"]), "USER": found["user"], "NAME": found["database"]}
    settings.configure(DATABASES={"default": {"ENGINE": "django.db.backends.postgresql"} | server})
    django.setup()
    shown("django")["main"]()
    connection.close()
    worked(conn)


@pytest.mark.parametrize("name", IN_NODE)
def test_in_node(conn, database, name):
    found = where(database)
    program = Path(needed("ABSURD_TEST_TYPESCRIPT")) / f"driver_{name}.mjs"
    program.write_text(SHOWN[name][1])
    variables = {"PGHOST": found["host"], "PGPORT": str(found["port"]), "PGUSER": found["user"], "PGDATABASE": found["database"]}
    done = subprocess.run(["node", program], env=os.environ | variables, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    worked(conn)


@contextlib.contextmanager
def pool(dsn, folder):
    """A pgbouncer that gives each transaction one of two connections; the DSN of a client."""
    packages = Path(needed("ABSURD_TEST_PACKAGES"))
    program = shutil.which("pgbouncer", path=f"{packages}/usr/sbin:/usr/sbin:/usr/bin")
    assert program, "pgbouncer is neither installed nor below target/packages"
    found = where(dsn)
    folder.chmod(0o777)
    (folder / "users").write_text(f'"{found["user"]}" ""\n')
    (folder / "pgbouncer.ini").write_text(
        f"""[databases]
{found["database"]} = host={found["host"]} port={found["port"]}
[pgbouncer]
unix_socket_dir = {folder}
listen_port = {found["port"]}
auth_type = trust
auth_file = {folder}/users
pool_mode = transaction
default_pool_size = 2
"""
    )
    as_user = ["-u", "postgres"] if os.geteuid() == 0 else []
    libraries = {"LD_LIBRARY_PATH": ":".join(str(path) for path in packages.glob("usr/lib/*-linux-gnu"))}
    server = subprocess.Popen([program, "-q", *as_user, folder / "pgbouncer.ini"], env=os.environ | libraries)
    client = make_conninfo(dsn, host=str(folder))
    try:
        until((folder / f".s.PGSQL.{found['port']}").exists, "pgbouncer listens")
        yield client
    finally:
        server.terminate()
        server.wait()


def test_twenty_clients_on_two_connections(conn, database):
    main, problems = shown("pgbouncer")["main"], []
    # The path of a socket is short.
    folder = Path(subprocess.check_output(["mktemp", "-d", "/tmp/absurd.XXXXXX"], text=True).strip())

    def client(dsn):
        try:
            for _ in range(5):
                main(dsn)
        except Exception as problem:
            problems.append(problem)

    try:
        with pool(database, folder) as dsn:
            clients = [threading.Thread(target=client, args=(dsn,)) for _ in range(20)]
            for each in clients:
                each.start()
            for each in clients:
                each.join()
            assert problems == []
            # Those two, and the fixture's own.
            backends = "select count(*) from pg_stat_activity where datname = current_database() and backend_type = 'client backend'"
            assert 1 < conn.execute(backends).fetchone()[0] <= 2 + 1
    finally:
        shutil.rmtree(folder)
    # A claim passes over what another holds just then, so a few may be left.
    left = conn.execute("select run_id, params from absurd.claim_task('jobs', 'w', 60, 100)").fetchall()
    assert len(left) < 50
    for run, params in left:
        conn.execute("select absurd.complete_run('jobs', %s, jsonb_build_object('got', %s))", (run, params["n"]))
    worked(conn, 100)
