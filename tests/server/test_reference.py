"""The documents against the database: every function is described as the catalogue has it, every
example shows what it really returns, every column is listed, every link leads somewhere."""

import re
from pathlib import Path

import pytest
from psycopg import sql
from psycopg.pq import DiagnosticField, ExecStatus

DOCS = Path(__file__).resolve().parents[2] / "docs"
REFERENCE = DOCS / "reference.md"
# The other document that may describe functions.
WORKFLOWS = DOCS / "workflows.md"
# The documents whose examples show their results.
SHOWING = ["reference.md", "operations.md", "clients.md", "state-machines.md", "workflows.md", "faq.md"]
STARTED = r"(?:<!-- (?P<kind>\w+): (?P<value>\w+) -->\n)?```sql\n(?P<code>.*?)```"
EXAMPLE = re.compile(STARTED + r"(?:\n```\n(?P<shown>.*?)```)?", re.S)
TYPES = {"timestamp with time zone": "timestamptz"}


def squeeze(text):
    """Text without regard for line breaks and repeated spaces."""
    return re.sub(r"\s+", " ", text).replace("( ", "(").replace(" )", ")").strip()


def as_documented(text):
    """What the catalogue says, as the documents write it."""
    for name, short in TYPES.items():
        text = text.replace(name, short)
    text = re.sub(r"DEFAULT ('(?:[^']|'')*'|\w+)(?:::[\w \[\]]+?)?(?=,|$)", r"default \1", text)
    return text.replace("NULL", "null")


def signatures(conn):
    """Each function but the triggers: name and signatures, one a number of arguments."""
    found = {}
    for name, arguments, result in conn.execute(
        "select proname::text, pg_get_function_arguments(oid), pg_get_function_result(oid)"
        "  from pg_proc where pronamespace = 'absurd'::regnamespace"
        "   and prorettype <> 'trigger'::regtype order by proname, pronargs"
    ):
        result = re.sub("^(TABLE|SETOF)", lambda word: word[0].lower(), as_documented(result))
        result = result.replace("table(", "table (")
        found.setdefault(name, []).append(f"{name}({as_documented(arguments)}) returns {result}")
    return found


def sections(path):
    """The text below each heading that is a function's name."""
    parts = re.split(r"^#{2,4} `?([a-z_0-9]+)`?(?:\(.*)?$", path.read_text(), flags=re.M)
    texts = [re.split(r"^#{1,4} ", part, flags=re.M)[0] for part in parts[2::2]]
    return dict(zip(parts[1::2], texts))


def documented():
    return {
        name: text
        for path in (REFERENCE, WORKFLOWS)
        if path.exists()
        for name, text in sections(path).items()
    }


def first_block(text):
    block = re.search(r"```\w*\n(.*?)```", text, re.S)
    return squeeze(block[1]) if block else ""


def test_every_function_is_described_as_it_is(conn):
    text = documented()
    wrong = []
    for name, wanted in signatures(conn).items():
        if name not in text:
            wrong.append(f"{name} has no heading")
        elif first_block(text[name]) != squeeze(" ".join(wanted)):
            wrong.append(f"{name}: {first_block(text[name])!r} should be {' '.join(wanted)!r}")
    assert wrong == []


def test_nothing_else_is_described(conn):
    """A heading of the reference's third level is a function that exists."""
    headings = re.findall(r"^### (.*)$", REFERENCE.read_text(), re.M)
    tables = [heading for heading in headings if heading.startswith("absurd.")]
    assert set(headings) - set(tables) <= set(signatures(conn))
    assert len(headings) == len(set(headings))


def test_every_function_has_an_example(conn):
    text = documented()
    calls = {
        name: any(
            re.search(rf'absurd\."?{name}"?\(', example["code"])
            for example in EXAMPLE.finditer(text.get(name, ""))
        )
        for name in signatures(conn)
    }
    assert [name for name, called in calls.items() if not called] == []


def aligned(lines):
    """The cells of psql's aligned output, line by line."""
    rows = [[cell.strip() for cell in line.split("|")] for line in lines]
    return [row for row in rows if not re.fullmatch("-[-+]*", row[0])]


def output(result):
    """A result in psql's words."""
    names = [result.fname(column).decode() for column in range(result.nfields)]
    lines = [" | ".join(names)]
    for row in range(result.ntuples):
        values = (result.get_value(row, column) for column in range(result.nfields))
        lines.append(" | ".join("" if value is None else value.decode() for value in values))
    return lines


@pytest.mark.parametrize("name", SHOWING)
def test_examples_return_what_they_show(connect, name):
    """Read as the server's text: a driver may not know every value, infinity for one."""
    conn = connect()
    shown = 0
    for example in EXAMPLE.finditer((DOCS / name).read_text()):
        role = example["value"] if example["kind"] == "role" else None
        if role:
            conn.execute(sql.SQL("drop role if exists {}").format(sql.Identifier(role)))
        result = conn.pgconn.exec_(example["code"].encode())
        state = (result.error_field(DiagnosticField.SQLSTATE) or b"").decode()
        if role:
            conn.execute(sql.SQL("drop owned by {0}; drop role {0}").format(sql.Identifier(role)))
        assert state == (example["value"] if example["kind"] == "error" else ""), (
            example["code"] + result.error_message.decode()
        )
        if example["shown"] is None or state:
            continue
        shown += 1
        assert result.status == ExecStatus.TUPLES_OK, example["code"]
        wanted = aligned(example["shown"].rstrip("\n").split("\n"))
        assert aligned(output(result)) == wanted, example["code"]
    assert shown > 0


def listed_columns(heading):
    """Name and type of each column in the table below a heading of the reference."""
    _, found, text = REFERENCE.read_text().partition(f"\n### {heading}\n")
    assert found, heading
    text = re.split(r"^#", text, flags=re.M)[0]
    return re.findall(r"^\| `(\w+)`\*? \| ([\w ]+?) \|", text, re.M)


@pytest.mark.parametrize(
    "table",
    ["queues", "workflow_run", "workflow_transition", "stuck_work", "t_q", "r_q", "c_q", "e_q", "w_q", "i_q"],
)
def test_columns_are_listed_in_their_order(conn, table):
    conn.execute("select absurd.create_queue('q', 'partitioned')")
    columns = conn.execute(
        "select attname::text, format_type(atttypid, atttypmod) from pg_attribute"
        " where attrelid = format('absurd.%%I', %s::text)::regclass and attnum > 0"
        "   and not attisdropped order by attnum",
        (table,),
    ).fetchall()
    wanted = [(name, TYPES.get(kind, kind)) for name, kind in columns]
    assert listed_columns(f"absurd.{table}") == wanted


def anchor(heading):
    """The anchor that a heading gets when the document is shown."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def anchors(path):
    text = re.sub(r"```.*?```", "", path.read_text(), flags=re.S)
    return {anchor(heading) for heading in re.findall(r"^#+ (.*)$", text, re.M)}


@pytest.mark.parametrize("name", ["../README.md", "../CONTRIBUTING.md", *(path.name for path in sorted(DOCS.glob("*.md")))])
def test_links_lead_somewhere(name):
    path = DOCS / name
    text = re.sub(r"```.*?```", "", path.read_text(), flags=re.S)
    broken = []
    for target in re.findall(r"\]\(([^)]+)\)", text):
        file, _, place = target.partition("#")
        if file.startswith("https://"):
            continue
        to = (path.parent / file).resolve() if file else path
        if not to.exists() or (place and place not in anchors(to)):
            broken.append(target)
    assert broken == []


def test_the_clients_document_names_tests_that_exist():
    text = (DOCS / "clients.md").read_text()
    tests = DOCS.parent / "tests" / "clients"
    named = set(re.findall(r"`(test_\w+\.py|typescript/[\w.]+)`", text))
    assert len(named) >= 10
    assert [name for name in sorted(named) if not (tests / name).exists()] == []


def test_error_codes_are_those_of_the_table():
    """Every SQLSTATE that the reference names is explained in its last section."""
    text = REFERENCE.read_text()
    body, _, table = text.partition("\n## Errors\n")
    code = r"\b(?:AB\d{3}|P\d{4}|\d[0-9A-Z]{4})\b"
    explained = set(re.findall(rf"`({code})`", table))
    used = {found for found in re.findall(code, body) if not re.fullmatch(r"\d{5}", found)}
    used |= set(re.findall(r"\b(?:22\d{3}|P0002|55000|40001|42622|42710|23514)\b", body))
    assert used - explained == set()
    assert explained >= {"AB001", "AB002", "AB003"}


def test_the_tests_that_documents_name_are_there():
    named = [
        (path.name, *place.split("::"))
        for path in [*DOCS.glob("*.md"), DOCS.parent / "CONTRIBUTING.md"]
        for place in re.findall(r"`(tests/[\w./-]+\.(?:py|spec|sql)(?:::\w+)?)`", path.read_text())
    ]
    missing = []
    for document, path, *test in named:
        file = DOCS.parent / path
        if not file.exists() or (test and f"def {test[0]}(" not in file.read_text()):
            missing.append((document, path, *test))
    assert named and missing == []
