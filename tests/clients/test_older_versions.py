"""The tests of the older client once more, under the oldest version that must work."""

import os
import subprocess
import sys
import xml.etree.ElementTree as xml
from pathlib import Path

from processes import older

OLDEST = "0.0.7"
TESTS = Path(__file__).with_name("test_absurd_client.py")


def python(*args):
    return subprocess.run(
        [sys.executable, *map(str, args)],
        cwd=TESTS.parent,
        env=os.environ | older(OLDEST),
        capture_output=True,
        text=True,
        timeout=170,
    )


def test_the_oldest_client_passes_every_test_of_the_newest(tmp_path):
    shown = python(
        "-c", "import importlib.metadata as m, absurd_client as a;"
        "print(m.version('absurd'), a.__file__)"
    )  # fmt: skip
    folder = Path(older(OLDEST)["PYTHONPATH"]).resolve()
    version, file = shown.stdout.split()
    assert version == OLDEST and Path(file).resolve().is_relative_to(folder), shown

    report = tmp_path / "report.xml"
    done = python("-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}", TESTS)
    assert done.returncode == 0, done.stdout + done.stderr
    suite = xml.parse(report).getroot().find("testsuite")
    counts = {key: int(suite.get(key)) for key in ("failures", "errors", "skipped")}
    assert counts == {"failures": 0, "errors": 0, "skipped": 0}
    # The last of them asserts that every public method of this version has been called.
    names = {case.get("name") for case in suite.iter("testcase")}
    assert "test_every_public_method_has_been_called" in names and len(names) > 60
