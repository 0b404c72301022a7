"""The text that a document is hashed by is what another implementation of RFC 8785 writes."""

import hashlib
import json

import pytest
import rfc8785
from cases import scenarios
from psycopg.types.json import Jsonb

from documents import document, task, unique

# What the RFC's own examples show: order of keys, escapes, numbers.
STRANGE = {
    "numbers": [333333333.33333329, 1e30, 4.50, 2e-3, 1e-27, -0.0, 1e21, 123456789012345680000, 0.000001, 1e-7],
    "string": "\u20ac$\u000f\nA'B\"\\\\\"/",
    "\u20ac": "Euro Sign", "\r": "Carriage Return", "\ufb33": "Hebrew Letter Dalet With Dagesh", "1": "One",
    "\U0001f600": "Emoji: Grinning Face", "\u0080": "Control", "\u00f6": "Latin Small Letter O With Diaeresis",
}
DOCUMENTS = [doc for _, _, doc, _ in scenarios()] + [document(task("a", args=[STRANGE]), name="strange")]


@pytest.mark.parametrize("number", range(len(DOCUMENTS)))
def test_another_implementation_writes_the_same(conn, number):
    raw = DOCUMENTS[number]
    text = conn.execute("select absurd.canonical_document(%s)", (Jsonb(raw),)).fetchone()[0]
    # It takes integers to 2^53 only: the others as doubles.
    assert rfc8785.dumps(json.loads(text, parse_int=float)).decode() == text
    assert conn.execute("select absurd.canonical_document(%s::jsonb)", (text,)).fetchone() == (text,)


def test_its_sha_256_is_the_hash(conn, queue):
    raw = document(task("a", args=[STRANGE]), name=unique())
    (registered,) = conn.execute("select workflow_hash from absurd.register_workflow(%s, %s)", (Jsonb(raw), queue)).fetchone()
    (text,) = conn.execute("select absurd.canonical_document(%s)", (Jsonb(raw),)).fetchone()
    assert hashlib.sha256(text.encode()).hexdigest() == registered


def test_a_number_that_no_double_holds_is_refused_with_its_path(conn, queue):
    raw = json.dumps(document(task("a", args=[{"b": 9007199254740993}]), name=unique()))
    for call in ("absurd.canonical_document(%s::jsonb)", "absurd.register_workflow(%s::jsonb)", "absurd.register_workflow_yaml(%s)"):
        with pytest.raises(Exception, match=r"tasks\.a\.args\[0\]\.b 9007199254740993 must be a number that a double holds") as told:
            conn.execute(f"select {call}", (raw,))
        assert told.value.sqlstate == "22023"
