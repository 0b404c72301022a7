"""A private server for one run, and the programs that work on it."""

import os
import pathlib
import re
import shutil
import statistics
import subprocess
import tempfile
import time

import psycopg

PORT = 54330
SQL = pathlib.Path(__file__).resolve().parent.parent / "sql"

# The same for every system. Durable acknowledgement is left to the write-ahead log writer, and the disk is
# not waited for, so that what is compared is the work and not the machine's storage.
SETTINGS = {
    "listen_addresses": "''",
    "fsync": "off",
    "synchronous_commit": "off",
    "shared_buffers": "4GB",
    "max_wal_size": "32GB",
    "min_wal_size": "2GB",
    "checkpoint_timeout": "1h",
    "maintenance_work_mem": "512MB",
    "max_connections": "120",
    "max_locks_per_transaction": "256",
    "jit": "off",
    "timezone": "UTC",
    "log_min_messages": "error",
}


class Server:
    """One Postgres with a data folder of its own below `home`, reached by a socket in a folder of its own."""

    def __init__(self, programs: str, home: str):
        self.bin = pathlib.Path(programs)
        self.folder = pathlib.Path(home) / f"bench-{os.getpid()}"
        self.socket = ""

    def as_server(self, *command: str) -> subprocess.CompletedProcess:
        """Runs a program as the user that the server runs as: a server refuses root."""
        who = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
        return subprocess.run([*who, *command], cwd="/", text=True, capture_output=True, check=True)

    def start(self) -> None:
        self.folder.mkdir(parents=True)
        self.socket = tempfile.mkdtemp(prefix="absurd.")
        os.chmod(self.socket, 0o755)
        if os.getuid() == 0:
            shutil.chown(self.folder, "postgres", "postgres")
            shutil.chown(self.socket, "postgres", "postgres")
        data = f"{self.folder}/data"
        self.as_server(f"{self.bin}/initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8",
                       "--locale=C.UTF-8", "-N")
        lines = [f"{name} = {value}" for name, value in SETTINGS.items()]
        lines += [f"port = {PORT}", f"unix_socket_directories = '{self.socket}'"]
        with open(f"{data}/postgresql.conf", "a", encoding="utf-8") as conf:
            conf.write("\n".join(lines) + "\n")
        # The server keeps its output: a pipe would never close.
        self.as_server(f"{self.bin}/pg_ctl", "-D", data, "-l", f"{self.folder}/log", "-w", "-t", "60", "start")

    def stop(self) -> None:
        """Ends the server and removes its data; no error when it never started."""
        if (self.folder / "data" / "postmaster.pid").exists():
            try:
                self.as_server(f"{self.bin}/pg_ctl", "-D", f"{self.folder}/data", "-m", "immediate", "stop")
            except subprocess.CalledProcessError as error:
                print(error.stderr)
        shutil.rmtree(self.folder, ignore_errors=True)
        if self.socket:
            shutil.rmtree(self.socket, ignore_errors=True)

    def dsn(self, database: str) -> str:
        """Key and value form, for libpq."""
        return f"host={self.socket} port={PORT} user=postgres dbname={database}"

    def url(self, database: str) -> str:
        return f"postgresql://postgres@/{database}?host={self.socket}&port={PORT}"

    def connect(self, database: str) -> psycopg.Connection:
        return psycopg.connect(self.dsn(database), autocommit=True)

    def run(self, database: str, statement: str, *values):
        """Carries out a statement and hands back the rows, if it has any."""
        with self.connect(database) as db:
            cursor = db.execute(statement, values or None)
            return cursor.fetchall() if cursor.description else []

    def load(self, database: str, *files) -> None:
        """Carries out whole files of SQL."""
        for file in files:
            path = SQL / file if not os.path.isabs(file) else file
            done = subprocess.run(
                [self.bin / "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", self.dsn(database), "-f", path],
                text=True, capture_output=True, check=False)
            if done.returncode:
                raise RuntimeError(f"{file}: {done.stderr.strip()}")

    def create(self, database: str) -> None:
        with self.connect("postgres") as db:
            db.execute(f'create database "{database}"')

    def pgbench(self, database: str, script: str, clients: int, *more: str, **variables) -> str:
        """Runs a script of ours with that many clients and hands back what pgbench says."""
        command = [str(self.bin / "pgbench"), "-n", "-M", "prepared", "-c", str(clients), "-j", "1",
                   "-h", self.socket, "-p", str(PORT), "-U", "postgres", "-f", str(SQL / script), *more]
        for name, value in variables.items():
            command += ["-D", f"{name}={value}"]
        done = subprocess.run([*command, database], text=True, capture_output=True, check=False)
        if done.returncode or "aborted" in done.stderr:
            lines = [line for line in done.stderr.splitlines() if "ERROR" in line] or done.stderr.splitlines()
            raise RuntimeError(f"pgbench {script}: {lines[0] if lines else done.returncode}")
        return done.stdout

    def rest(self) -> None:
        """Writes what is dirty to the disk, as a server's own checkpoints do every few minutes. Else whoever needs a
        page in the next part first has to write one of the last part's."""
        self.run("postgres", "checkpoint")
        os.sync()

    def settle(self, database: str, *tables: str) -> None:
        """Vacuums and analyzes, as autovacuum would have done a minute after a load."""
        with self.connect(database) as db:
            for table in tables:
                db.execute(f"vacuum analyze {table}")

    def settle_queue(self, database: str, queue: str) -> None:
        self.settle(database, *[row[0] for row in self.run(database, "select bench.tables_of(%s)", queue)])


def tps(output: str) -> float:
    """Transactions a second, of pgbench's report."""
    return float(re.search(r"tps = ([0-9.]+)", output)[1])


def timings(db: psycopg.Connection, procedure: str, *arguments) -> list[float]:
    """Calls a procedure of ours whose last argument hands back microseconds, one a call."""
    marks = "".join("%s, " for _ in arguments)
    return db.execute(f"call bench.{procedure}({marks}null)", arguments).fetchone()[0]


def median_of(db: psycopg.Connection, procedure: str, queue: str, calls: int, *arguments, warm: int = 20) -> float:
    """The median of so many calls after some to warm up. When each takes over 10 ms (a run, where a
    call is for many), of five."""
    # The first calls read the catalogue and make plans: they say nothing about the others.
    first = timings(db, procedure, queue, 4, *arguments)
    if first and min(first) > 10_000:
        calls, warm = 5, 1
    timings(db, procedure, queue, warm, *arguments)
    return statistics.median(timings(db, procedure, queue, calls, *arguments))


def cpu_seconds(pid: int) -> float:
    """Processor time that a backend has used: the scheduler's count where the kernel keeps it, else clock ticks."""
    try:
        with open(f"/proc/{pid}/schedstat", encoding="ascii") as file:
            return int(file.read().split()[0]) / 1e9
    except FileNotFoundError:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def private_bytes(pid: int) -> int:
    """Memory of a backend that no other process shares."""
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return int(re.search(r"RssAnon:\s+(\d+) kB", file.read())[1]) * 1024


class Watch:
    """Seconds since it was made, for the runner's own notes."""

    def __init__(self):
        self.began = time.monotonic()

    def __str__(self) -> str:
        return f"{time.monotonic() - self.began:6.1f}s"
