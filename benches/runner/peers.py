"""The systems that the engine is measured against, each in a database of its own on the one server.

They come from the package registries, by the ordinary clients, at the versions written here.
"""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

from .server import Server

HERE = pathlib.Path(__file__).resolve().parent.parent
PGMQ_CRATE = "0.33.7"
NPM = {"graphile-worker": "0.17.3", "pg-boss": "10.4.2", "pg": "8.16.3"}


def command(*words, cwd=None, env=None) -> str:
    done = subprocess.run([str(word) for word in words], cwd=cwd, env=env, text=True, capture_output=True, check=False)
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()
        # The line that names the error is not the first of a stack trace.
        reason = next((line for line in reversed(lines) if "rror" in line), lines[-1] if lines else done.returncode)
        raise RuntimeError(f"{pathlib.Path(str(words[0])).name} {pathlib.Path(str(words[1])).name}: {reason}")
    return done.stdout


class Peers:
    """Installs each peer once below `cache`; `versions` says which were had."""

    def __init__(self, server: Server, cache: str):
        self.server = server
        self.cache = pathlib.Path(cache)
        self.cache.mkdir(parents=True, exist_ok=True)
        self.versions: dict[str, str] = {}

    def engine(self) -> None:
        self.server.create("ours")
        self.server.run("ours", "create extension absurd")
        self.versions["absurd"] = self.server.run("ours", "select absurd.version()")[0][0]
        self.server.load("ours", "fill.sql", "verbs.sql", "lives.sql", "payload.sql")

    def reference(self) -> None:
        self.server.create("reference")
        command(pathlib.Path(sys.executable).parent / "absurdctl", "init", "-d", self.server.url("reference"),
                env={**os.environ, "PATH": f"{self.server.bin}:{os.environ['PATH']}"})
        self.versions["reference"] = "absurdctl 0.5.1"
        self.server.load("reference", "fill.sql", "verbs.sql", "lives.sql", "payload.sql")

    def pgmq(self) -> None:
        """The crate carries the extension's SQL, which also installs without the extension machinery."""
        crate = self.cache / "pgmq"
        (crate / "src").mkdir(parents=True, exist_ok=True)
        (crate / "src" / "lib.rs").touch()
        (crate / "Cargo.toml").write_text(
            '[package]\nname = "peer"\nversion = "0.0.0"\nedition = "2021"\n[workspace]\n'
            f'[dependencies]\npgmq = "={PGMQ_CRATE}"\n', encoding="utf-8")
        packages = json.loads(command("cargo", "metadata", "--format-version", "1", cwd=crate))["packages"]
        manifest = next(package["manifest_path"] for package in packages if package["name"] == "pgmq")
        source = pathlib.Path(manifest).parent / "src" / "install" / "embedded"
        version = re.search(r"default_version = '(.*)'", (source / "pgmq.control").read_text("utf-8"))[1]
        self.versions["pgmq"] = f"{version} (crate {PGMQ_CRATE})"
        self.server.create("pgmq")
        self.server.load("pgmq", str(source / "sql" / "pgmq.sql"), "pgmq.sql")

    def pgq(self) -> None:
        """Debian's package, unpacked and laid into the private copy of the installation."""
        config = command(self.server.bin / "pg_config", "--version")
        major = re.search(r"(\d+)", config)[1]
        share = pathlib.Path(command(self.server.bin / "pg_config", "--sharedir").strip())
        folder = self.cache / f"pgq-{major}"
        if not (folder / "usr").exists():
            folder.mkdir(parents=True, exist_ok=True)
            try:
                command("apt-get", "download", f"postgresql-{major}-pgq3", cwd=folder)
            except RuntimeError:
                command("apt-get", "update")
                command("apt-get", "download", f"postgresql-{major}-pgq3", cwd=folder)
            command("dpkg", "-x", next(folder.glob("*.deb")), folder)
        library = pathlib.Path(command(self.server.bin / "pg_config", "--pkglibdir").strip())
        for name in (folder / "usr/lib/postgresql" / major / "lib").glob("*.so"):
            shutil.copy(name, library)
        for name in (folder / "usr/share/postgresql" / major / "extension").glob("pgq*"):
            shutil.copy(name, share / "extension")
        self.server.create("pgq")
        self.server.run("pgq", "create extension pgq")
        self.versions["PgQ"] = self.server.run(
            "pgq", "select extversion from pg_extension where extname = 'pgq'")[0][0]
        self.server.load("pgq", "pgq.sql")

    def npm(self) -> pathlib.Path:
        folder = self.cache / "npm"
        wanted = json.dumps({"private": True, "type": "module", "dependencies": NPM})
        if not (folder / "installed").exists() or (folder / "installed").read_text("utf-8") != wanted:
            folder.mkdir(exist_ok=True)
            (folder / "package.json").write_text(wanted, "utf-8")
            command("npm", "install", "--no-audit", "--no-fund", "--silent", cwd=folder)
            (folder / "installed").write_text(wanted, "utf-8")
        for script in (HERE / "peers").glob("*.mjs"):
            shutil.copy(script, folder)
        return folder

    def node(self, script: str, database: str, *arguments) -> dict:
        """Runs a client written in JavaScript, which prints its numbers as JSON on its last line."""
        out = command("node", self.npm() / script, self.server.socket, database, *arguments, cwd=self.npm())
        return json.loads(out.strip().splitlines()[-1])

    def graphile(self) -> None:
        self.npm()
        self.server.create("graphile")
        self.node("graphile.mjs", "graphile", "setup")
        self.versions["graphile-worker"] = NPM["graphile-worker"]

    def pgboss(self) -> None:
        self.npm()
        self.server.create("pgboss")
        self.node("pgboss.mjs", "pgboss", "setup")
        self.versions["pg-boss"] = NPM["pg-boss"]

    def python(self, script: str, database: str, *arguments) -> dict:
        out = command(sys.executable, "-B", HERE / "peers" / script, self.server.socket, database, *arguments)
        return json.loads(out.strip().splitlines()[-1])

    def procrastinate(self) -> None:
        self.server.create("procrastinate")
        self.versions["procrastinate"] = self.python("procrastinate_jobs.py", "procrastinate", "setup")["version"]
        self.server.load("procrastinate", "procrastinate.sql")

    def dbos(self) -> None:
        self.server.create("dbos")
        self.versions["DBOS"] = self.python("dbos_steps.py", "dbos", "setup")["version"]
