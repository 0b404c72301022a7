"""Runs the benchmark: see ../run for how it is started."""

import argparse
import pathlib
import signal
import sys

from . import memory, report, upkeep, workflow
from .book import Book
from .claims import Claims
from .curve import Curve
from .direct import direct
from .held import held
from .life import Life
from .load import Load
from .peers import Peers
from .server import Server, Watch
from .throughput import Throughput
from .verbs import Verbs

# Sizes in full and, in the quick run, small enough for three minutes in all.
FULL = {
    "sizes": [1000, 10_000, 100_000, 1_000_000], "top": 1_000_000, "history": 1_000_000, "asleep": 100_000, "calls": 1000,
    "batches": 200, "lives": 4000, "in_flight": 100_000, "seconds": 60, "backlog": 200_000, "hold": 300, "warm": 30, "window": 60,
    "payloads": 200, "queues": 10_000, "loops": 1_000_000, "steps": 39, "tasks": 10_000, "slow_tasks": 5000, "curve_calls": 200,
    "curve_sizes": [1000, 10_000, 100_000, 1_000_000], "rounds": 15,
}
QUICK = {
    "sizes": [1000, 10_000, 100_000], "top": 10_000, "history": 10_000, "asleep": 10_000, "calls": 240,
    "batches": 40, "lives": 200, "in_flight": 100_000, "seconds": 2, "backlog": 20_000, "hold": 14, "warm": 2, "window": 4,
    "payloads": 20, "queues": 200, "loops": 20_000, "steps": 3, "tasks": 1000, "slow_tasks": 200, "curve_calls": 25,
    "curve_sizes": [1000, 10_000], "rounds": 3,
}
PARTS = ["claims", "verbs", "life", "load", "held", "payload", "upkeep", "memory", "workflow", "direct", "throughput", "curve"]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benches/run", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes, under three minutes")
    parser.add_argument("--no-build", action="store_true", help="take the installation of --pg-bin as it is")
    parser.add_argument("--pg-bin", required=True, help="folder of the server's programs")
    parser.add_argument("--home", required=True, help="folder that the server's user can enter, for its data")
    parser.add_argument("--cache", required=True, help="folder for what comes from the registries")
    parser.add_argument("--out", required=True, help="folder for table.md, numbers.json and backlog.svg")
    parser.add_argument("--only", default=",".join(PARTS), help=f"parts to run: {', '.join(PARTS)}")
    parser.add_argument("--size", action="append", default=[], metavar="NAME=N",
                        help="another value for a size of the run, such as seconds=2")
    return parser.parse_args()


class Run:
    def __init__(self, server: Server, options: argparse.Namespace):
        self.server, self.options = server, options
        self.book = Book(options.quick)
        self.peers = Peers(server, options.cache)
        self.sizes = dict(QUICK if options.quick else FULL)
        for change in options.size:
            name, value = change.split("=")
            if name in ("sizes", "curve_sizes"):
                self.sizes[name] = [int(size) for size in value.split(",")]
            elif name in self.sizes:
                self.sizes[name] = int(value)
            else:
                raise SystemExit(f"there is no size {name}; there are {', '.join(self.sizes)}")
        self.watch = Watch()

    def say(self, what: str) -> None:
        print(f"{self.watch}  {what}", flush=True)

    def install(self) -> None:
        peers = self.peers
        peers.engine()
        for name, install in (("Absurd 0.5.1", peers.reference), ("pgmq", peers.pgmq), ("PgQ", peers.pgq),
                              ("graphile-worker", peers.graphile), ("pg-boss", peers.pgboss),
                              ("procrastinate", peers.procrastinate), ("DBOS", peers.dbos)):
            self.say(f"installing {name}")
            with self.book.part(f"install {name}"):
                install()
        self.book.about = report.about(self.server, peers.versions)

    def claims(self) -> None:
        sizes = self.sizes
        top = dict.fromkeys(("history", "rules", "asleep", "weeks"), sizes["top"]) | {"plain": sizes["sizes"][-1]}
        claims = Claims(self.server, self.book, sizes["sizes"], top, sizes["history"], sizes["asleep"])
        claims.measure()
        upkeep.cleanup(self.book, claims.cleanups, sizes["history"])

    def part(self, name: str) -> None:
        server, book, sizes, peers = self.server, self.book, self.sizes, self.peers
        load = Load(server, book, sizes["seconds"], sizes["backlog"])
        parts = {
            "claims": self.claims,
            "verbs": lambda: Verbs(server, book, sizes["calls"], sizes["batches"]).measure(),
            "life": lambda: Life(server, book, sizes["lives"], sizes["in_flight"]).measure(),
            "load": load.concurrent,
            "held": lambda: held(server, book, sizes["warm"], sizes["hold"], sizes["window"]),
            "payload": lambda: upkeep.payload(server, book, sizes["payloads"]),
            "upkeep": lambda: upkeep.create_again(server, book, max(sizes["calls"], 220)),
            "memory": lambda: (memory.calls(server, book, sizes["loops"]), memory.queues(server, book, sizes["queues"])),
            "workflow": lambda: (workflow.steps(server, book, peers, sizes["steps"]),
                                 workflow.compiling(server, book, sizes["rounds"]),
                                 workflow.late_steps(server, book, sizes["rounds"])),
            "direct": lambda: direct(server, book, sizes["rounds"]),
            "throughput": lambda: Throughput(server, book, peers, sizes["tasks"], sizes["slow_tasks"]).measure(),
            "curve": lambda: Curve(server, book, peers, sizes["curve_sizes"], sizes["curve_calls"]).measure(),
        }
        self.say(name)
        server.rest()
        parts[name]()

    def all(self) -> None:
        self.install()
        wanted = self.options.only.split(",")
        for name in PARTS:
            if name in wanted:
                self.part(name)
        text = report.write(self.book, pathlib.Path(self.options.out))
        self.say(f"written to {self.options.out}\n")
        print(text)


def main() -> None:
    options = arguments()
    # Ended from outside, it still stops its server.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    server = Server(options.pg_bin, options.home)
    try:
        server.start()
        Run(server, options).all()
    finally:
        server.stop()


main()
