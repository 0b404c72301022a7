"""The workers of README and of the quickstart, as processes of their own, and what the quickstart shows of them."""

import os
import re
import subprocess
import sys
import uuid
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from processes import needed
from support import ROOT, empty_database, until

QUICKSTART = (ROOT / "docs" / "quickstart.md").read_text()
BLOCK = re.compile(r"```sql\n(.*?)```(?:\n```\n(.*?)```)?", re.S)


@pytest.fixture
def fresh(server):
    """A database without anything; a document makes what it needs."""
    with empty_database(server, f"quick_{uuid.uuid4().hex[:8]}") as dsn:
        yield dsn


def code(text, language):
    """The first block of a language."""
    return re.search(rf"```{language}\n(.*?)```", text, re.S)[1]


def started(kind, text, dsn, folder):
    """A process of the worker that a document shows, connected to the database of the test."""
    if kind == "python":
        shown = code(text, "python")
        assert '"dbname=app"' in shown
        program = folder / "shop.py"
        program.write_text(shown.replace('"dbname=app"', repr(dsn)))
        return subprocess.Popen([sys.executable, program])
    # Beside the packages that it imports.
    home = Path(needed("ABSURD_TEST_TYPESCRIPT"))
    program = home / f"quickstart_{os.getpid()}.mjs"
    shown = code(text, "js")
    assert '{ database: "app" }' in shown
    where = conninfo_to_dict(dsn)
    program.write_text(shown.replace('{ database: "app" }', '{ database: "%s" }' % where["dbname"]))
    variables = {"PGHOST": where["host"], "PGPORT": str(where["port"]), "PGUSER": where["user"]}
    return subprocess.Popen(["node", program], env=os.environ | variables)


def shown_rows(shown):
    """What a table of psql shows, as texts."""
    return [tuple(cell.strip() for cell in line.split("|")) for line in shown.splitlines()[2:] if line]


def texts(rows):
    return [tuple(str(cell) for cell in row) for row in rows]


@pytest.mark.parametrize("kind", ["python", "typescript"])
def test_the_quickstart_shows_what_happens(fresh, tmp_path, kind):
    blocks = BLOCK.findall(QUICKSTART)
    spawn, emit, (look, result), document, (steps, ended), grant = (
        blocks[0][0], blocks[1][0], blocks[2], blocks[3][0], blocks[4], blocks[5][0]
    )
    with psycopg.connect(fresh, autocommit=True) as conn:
        as_text = lambda query: texts(conn.execute(re.sub(r"(\w)\.result", r"\1.result::text", query)).fetchall())
        conn.execute(spawn)
        worker = started(kind, QUICKSTART, fresh, tmp_path)
        try:
            waits = "select from absurd.r_shop where state = 'sleeping' and wake_event = 'packed:42'"
            until(lambda: conn.execute(waits).rowcount == 1, "the task waits for its event")
            assert conn.execute("select checkpoint_name, state from absurd.c_shop").fetchall() == [("reserve", {"shelf": 7})]
            conn.execute(emit)
            until(lambda: as_text(look)[0][0] == "completed", "the task has ended")
            assert as_text(look) == shown_rows(result)
            conn.execute(document)
            until(lambda: {row[1] for row in as_text(steps)} == {"completed"}, "the workflow has ended")
            assert as_text(steps) == shown_rows(ended)
            conn.execute("drop role if exists shop_app")
            conn.execute(grant)
            conn.execute("drop owned by shop_app; drop role shop_app")
        finally:
            worker.kill()
            worker.wait()


def test_the_worker_of_the_readme_works_its_task(fresh, tmp_path):
    readme = (ROOT / "README.md").read_text()
    with psycopg.connect(fresh, autocommit=True) as conn:
        conn.execute(BLOCK.search(readme)[1])
        worker = started("python", readme, fresh, tmp_path)
        try:
            state = "select state, completed_payload from absurd.t_shop"
            until(lambda: conn.execute(state).fetchone()[0] == "completed", "the task has ended")
            assert conn.execute(state).fetchone()[1] == {"shelf": 7, "key": "order-42", "paid": True}
        finally:
            worker.kill()
            worker.wait()
