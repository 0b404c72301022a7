"""The table as Markdown, the raw numbers as JSON, and the curve."""

import json
import os
import pathlib
import platform
import re

from .book import Book, rate, us
from .chart import draw
from .server import SETTINGS, Server

TITLES = {
    1: "claim, flat",
    2: "verbs",
    3: "whole life",
    4: "concurrency",
    5: "old snapshot",
    6: "large params",
    7: "upkeep",
    8: "memory",
    9: "workflow steps",
    10: "write-ahead log",
}


def machine() -> dict:
    """What the run stood on."""
    cpu = memory = ""
    try:
        cpu = re.search(r"model name\s*:\s*(.*)", pathlib.Path("/proc/cpuinfo").read_text("utf-8"))[1]
        total = re.search(r"MemTotal:\s*(\d+)", pathlib.Path("/proc/meminfo").read_text("utf-8"))[1]
        memory = f"{int(total) / 1e6:.0f} GB"
    except (OSError, TypeError):
        pass
    return {"processor": cpu, "cores": len(os.sched_getaffinity(0)), "memory": memory, "kernel": platform.release()}


def about(server: Server, versions: dict) -> dict:
    return {
        "machine": machine(),
        "postgres": server.run("postgres", "show server_version")[0][0],
        "settings": {name: value for name, value in SETTINGS.items() if name not in ("listen_addresses", "log_min_messages")},
        "versions": versions,
    }


def table(headings: list[str], rows: list[list[str]]) -> list[str]:
    """A Markdown table whose columns also line up as plain text."""
    cells = [[cell.replace("|", "\\|") for cell in row] for row in [headings, *rows]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(headings))]
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |" for row in cells]
    return [lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]]


def markdown(book: Book) -> str:
    info = book.about
    host = info["machine"]
    rows = [[str(row.line), TITLES[row.line], row.what, row.ours, row.other, row.result, row.target,
             "yes" if row.holds else "no", row.note] for row in sorted(book.rows, key=lambda row: row.line)]
    held = sum(row.holds for row in book.rows)
    lines = ["# Benchmark", "",
             f"PostgreSQL {info['postgres']} on {host['cores']} cores of {host['processor']}, {host['memory']}"
             f"{', quick sizes' if book.quick else ''}. All systems share one server: "
             + ", ".join(f"{name} = {value}" for name, value in info["settings"].items())
             + "; a checkpoint before each part.",
             "Versions: " + ", ".join(f"{name} {version}" for name, version in info["versions"].items()) + ".", "",
             "## What must hold", "",
             "`other` is the plpgsql schema of Absurd 0.5.1 unless it says otherwise. Times are medians.", "",
             *table(["line", "of", "what", "absurd", "other", "figure", "target", "holds", "note"], rows), "",
             f"{held} of {len(book.rows)} hold.", ""]
    lines += on_and_off(book)
    lines += peers(book)
    lines += curve(book)
    return "\n".join(lines)


def on_and_off(book: Book) -> list[str]:
    """What it saves to go without statements, where the engine does."""
    if not book.direct:
        return []
    rows = [[call, us(times["on"]), us(times["off"]), f"{times['off'] / times['on']:.2f}x"]
            for call, times in book.direct.items()]
    return ["## Without statements, and with them", "",
            "Processor time of the backend, a call of a client, the protocol included: `absurd.direct` on and off, two "
            "sessions in turns, the median of the rounds.", "",
            *table(["call", "on", "off", "off / on"], rows), ""]


def peers(book: Book) -> list[str]:
    """Tasks a second of each system, and how many times the first one's that is."""
    if not book.peers:
        return []
    best = book.peers[0].get("both")
    rows = []
    for entry in book.peers:
        if "both" not in entry:
            rows.append([entry["system"], "-", "-", "-", "-", "-", f"not available ({entry['how']})"])
            continue
        ratio = f"{best / entry['both']:.3g}x" if best else "-"
        rows.append([entry["system"], f"{entry['tasks']:,}", rate(entry["enqueue"]), rate(entry["work"]),
                     rate(entry["both"]), ratio, entry["how"]])
    return ["## Enqueue n tasks one by one, work them with 4 workers", "",
            "Each task is acknowledged by itself. A ratio above one says how many times as many tasks a second "
            "absurd puts through.", "",
            *table(["system", "n", "enqueued", "worked", "both", "absurd is", "how"], rows), ""]


def curve(book: Book) -> list[str]:
    if not book.curve:
        return []
    sizes = sorted({size for points in book.curve.values() for size, _ in points})
    rows = []
    for name, points in book.curve.items():
        by_size = dict(points)
        rows.append([name, *[f"{by_size[size]:,.0f}" if size in by_size else "-" for size in sizes]])
    return ["## Microseconds to claim one, by backlog", "",
            "graphile-worker, pg-boss and DBOS claim by a statement of their client, so their figures hold the trip from it; "
            "PgQ's is for finding a batch and reading its first event.", "",
            *table(["system", *[f"{size:,}" for size in sizes]], rows), ""]


def write(book: Book, folder: pathlib.Path) -> str:
    """Writes table.md, numbers.json and backlog.svg, and hands back the table."""
    folder.mkdir(parents=True, exist_ok=True)
    text = markdown(book)
    (folder / "table.md").write_text(text, "utf-8")
    numbers = {
        "about": book.about, "quick": book.quick,
        "rows": [{"line": row.line, "what": row.what, "absurd": row.ours, "other": row.other, "figure": row.figure,
                  "unit": row.unit, "target": row.target, "holds": row.holds, "note": row.note} for row in book.rows],
        "direct": book.direct, "throughput": book.peers, "curve": book.curve, "raw": book.raw,
    }
    (folder / "numbers.json").write_text(json.dumps(numbers, indent=1, default=str) + "\n", "utf-8")
    if book.curve:
        with book.part("curve drawing"):
            (folder / "backlog.svg").write_text(
                draw(book.curve, f"PostgreSQL {book.about['postgres']}, one server for all, both axes logarithmic"),
                "utf-8")
    return text
