"""make install puts the extension where any other goes: below DESTDIR, where PG_CONFIG says."""

import os
import subprocess
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]


def config(name):
    answer = subprocess.run(
        [os.environ["PG_CONFIG"], f"--{name}"], check=True, capture_output=True, text=True
    )
    return answer.stdout.strip()


def make(target, destdir):
    subprocess.run(["make", "-s", target, f"DESTDIR={destdir}"], cwd=TOP, check=True)


def test_install_and_uninstall_respect_destdir(tmp_path):
    extension = Path(f"{tmp_path}{config('sharedir')}/extension")
    library = Path(f"{tmp_path}{config('pkglibdir')}/absurd.so")
    make("install", tmp_path)
    assert library.stat().st_mode & 0o777 == 0o755
    control = (extension / "absurd.control").read_text()
    [version] = [
        line.split("'")[1] for line in control.splitlines() if line.startswith("default_version")
    ]
    assert (extension / f"absurd--{version}.sql").stat().st_mode & 0o777 == 0o644
    assert "'$libdir/absurd'" in control
    installed = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(installed) == 3
    make("uninstall", tmp_path)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_help_lists_the_targets():
    answer = subprocess.run(["make"], cwd=TOP, check=True, capture_output=True, text=True).stdout
    for target in ("demo", "demo-stop", "psql", "test", "lint", "install"):
        assert f"make {target} " in answer
