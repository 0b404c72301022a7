"""Every SQL example in README.md and docs/ runs, each document's in order, in one session.

A comment above a block may say what it does: `<!-- error: 55000 -->` names the SQLSTATE that its
last statement must end with; `<!-- role: app -->` a role that it creates.
"""

import re
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

TOP = Path(__file__).resolve().parents[2]
DOCUMENTS = [TOP / "README.md", *sorted((TOP / "docs").glob("**/*.md"))]
BLOCK = re.compile(r"(?:<!-- (\w+): (\w+) -->\n)?```sql\n(.*?)```", re.S)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_sql_examples_run(document, conn):
    blocks = BLOCK.findall(document.read_text())
    assert blocks or document.name != "README.md"
    for kind, value, text in blocks:
        if kind == "error":
            with pytest.raises(psycopg.Error) as raised:
                conn.execute(text)
            assert raised.value.sqlstate == value, text
            continue
        if kind == "role":
            conn.execute(sql.SQL("drop role if exists {}").format(sql.Identifier(value)))
        conn.execute(text)
        if kind == "role":
            role = sql.Identifier(value)
            usable = conn.execute(
                "select has_schema_privilege(%s, 'absurd', 'usage')", (value,)
            ).fetchone()
            assert usable == (True,)
            conn.execute(sql.SQL("drop owned by {0}; drop role {0}").format(role))


def test_the_older_clients_example_in_the_readme_runs(database, monkeypatch):
    text = (TOP / "README.md").read_text()
    # The first is a worker: test_quickstart.py runs it.
    _, code = re.findall(r"```python\n(.*?)```", text, re.S)
    assert '"dbname=app"' in code
    names = {}
    exec(code.replace('"dbname=app"', repr(database)), names)
    with psycopg.connect(database) as check:
        row = check.execute(
            "select status, absurd_queue from absurd.workflow_run where workflow_run_id = %s",
            (names["run"],),
        ).fetchone()
    assert row == ("pending", "pipeline")
