"""The case files of the format's digest, step by step through SQL."""

import pytest
from cases import Case, scenarios

CASES = scenarios()


@pytest.mark.parametrize("storage", ["unpartitioned", "partitioned"])
@pytest.mark.parametrize(
    "case_document, scenario",
    [(document, scenario) for _, _, document, scenario in CASES],
    ids=[f"{file}-{name}" for file, name, _, _ in CASES],
)
def test_case(conn, storage, case_document, scenario):
    queue = f"{storage} {scenario['name']}"[:50]
    conn.execute("select absurd.create_queue(%s, %s)", (queue, storage))
    Case(conn, queue, case_document, scenario).play()


def test_every_case_leaves_nothing_behind(conn):
    """No timer, wait or stimulus of an ended run remains."""
    for table in ("workflow_timer", "workflow_wait", "workflow_stimulus"):
        (left,) = conn.execute(f"select count(*) from absurd.{table}").fetchone()
        assert left == 0, table
