"""Worker processes of the client tests: started, stopped and killed."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
OPTIONS = {"claim_timeout": 30, "concurrency": 4, "poll_interval": 0.02}
WHAT = {
    "ABSURD_TEST_PACKAGES": "the folder that .ci/setup unpacked pgbouncer into",
    "ABSURD_TEST_OLDER": "the folder that `pip install --target` put absurd 0.0.7 into",
    "ABSURD_TEST_TYPESCRIPT": "a copy of tests/clients/typescript after `npm ci`",
}


class Worker:
    """A process that prints `ready` when it works and `stopped` when it has ended well."""

    def __init__(self, name: str, command: list[str], environment: dict | None = None) -> None:
        self.name = name
        self._log = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            command,
            cwd=HERE,
            env=os.environ | (environment or {}),
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )

    def log(self) -> str:
        """What the process has written to its standard error."""
        self._log.seek(0)
        return self._log.read()

    def ready(self) -> "Worker":
        line = self.process.stdout.readline()
        assert line == "ready\n", f"{self.name}: {line}{self.log()}"
        return self

    def stop(self) -> None:
        """Ends the worker between two tasks."""
        assert self.process.poll() is None, f"{self.name}: {self.log()}"
        self.process.send_signal(signal.SIGTERM)
        out, _ = self.process.communicate(timeout=60)
        assert (self.process.returncode, out) == (0, "stopped\n"), f"{self.name}: {self.log()}"

    def kill(self) -> None:
        """kill -9, whatever the worker is doing."""
        self.process.kill()
        assert self.process.wait(timeout=30) == -signal.SIGKILL
        self.process.stdout.close()

    def freeze(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.process.send_signal(signal.SIGCONT)


def sdk_worker(kind: str, dsn: str, queue: str, name: str, **options) -> Worker:
    """A process of absurd-sdk for Python; KIND is `sync` or `async`."""
    chosen = json.dumps(OPTIONS | options)
    program = str(HERE / "task_worker.py")
    return Worker(name, [sys.executable, program, kind, dsn, queue, name, chosen])


def older(version: str) -> dict:
    """The environment in which absurd_client is of a version of its own."""
    if version == "0.1.0":
        return {}
    return {"PYTHONPATH": needed("ABSURD_TEST_OLDER")}


def older_worker(version: str, dsn: str, queue: str, name: str) -> Worker:
    """A process of the older client."""
    program = str(HERE / "older_worker.py")
    command = [sys.executable, program, version, "work", dsn, queue, name]
    return Worker(name, command, older(version))


def older_emits(version: str, dsn: str, queue: str, event: str, payload) -> None:
    """Emits an event with the older client, in a process of its own."""
    program = str(HERE / "older_worker.py")
    command = [sys.executable, program, version, "emit", dsn, queue, event, json.dumps(payload)]
    run(command, os.environ | older(version))


def typescript_worker(dsn: str, queue: str, name: str, **options) -> Worker:
    """A process of absurd-sdk for TypeScript, with the options of sdk_worker."""
    names = {"claim_timeout": "claimTimeout", "poll_interval": "pollInterval"}
    chosen = {names.get(key, key): option for key, option in (OPTIONS | options).items()}
    program = str(Path(needed("ABSURD_TEST_TYPESCRIPT")) / "worker.js")
    return Worker(name, ["node", program, dsn, queue, name, json.dumps(chosen)])


def typescript_emits(dsn: str, queue: str, event: str, payload) -> None:
    """Emits an event with absurd-sdk for TypeScript, in a process of its own."""
    program = str(Path(needed("ABSURD_TEST_TYPESCRIPT")) / "emit.js")
    run(["node", program, dsn, queue, event, json.dumps(payload)], os.environ)


def run(command: list[str], environment: dict) -> None:
    done = subprocess.run(
        command, cwd=HERE, env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr


def needed(variable: str) -> str:
    """A variable that the tests cannot do without."""
    assert os.environ.get(variable), f"{variable} is not set: {WHAT[variable]}"
    return os.environ[variable]


class Shift:
    """Worker processes that end with the block: stopped when it went well, killed when not."""

    def __init__(self) -> None:
        self._workers: list[Worker] = []

    def __enter__(self) -> "Shift":
        return self

    def add(self, *workers: Worker) -> None:
        """Takes over workers that were started together and waits until all of them work."""
        self._workers += workers
        for worker in workers:
            worker.ready()

    def kill(self, worker: Worker) -> None:
        worker.kill()
        self._workers.remove(worker)

    def __exit__(self, problem, *_) -> None:
        try:
            if problem is None:
                for worker in self._workers:
                    worker.stop()
        finally:
            for worker in self._workers:
                if worker.process.poll() is None:
                    worker.process.kill()
                    worker.process.wait(timeout=30)
