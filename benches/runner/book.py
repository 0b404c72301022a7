"""What was measured and what must hold: one row a claim of the table, and the raw numbers behind it."""

import contextlib
import dataclasses
import sys
import time
import traceback


@dataclasses.dataclass
class Row:
    """One thing that must hold. `figure` is what is judged: a ratio, or a number in `unit` of its own."""

    line: int
    what: str
    sense: str  # '>=', '<=' or '<'
    bound: float
    unit: str = "x"
    ours: str = ""
    other: str = ""
    figure: float | None = None
    note: str = ""

    @property
    def holds(self) -> bool:
        if self.figure is None:
            return False
        if self.sense == ">=":
            return self.figure >= self.bound
        return self.figure <= self.bound if self.sense == "<=" else self.figure < self.bound

    @property
    def target(self) -> str:
        return f"{self.sense} {show(self.bound, self.unit)}"

    @property
    def result(self) -> str:
        return show(self.figure, self.unit) if self.figure is not None else "-"


class Book:
    """All rows in their order, the raw numbers by line, and the run's circumstances."""

    def __init__(self, quick: bool):
        self.quick = quick
        self.rows: list[Row] = []
        self.raw: dict = {}
        self.peers: list[dict] = []
        self.curve: dict[str, list[tuple[int, float]]] = {}
        self.about: dict = {}
        # Microseconds a call with absurd.direct on and off.
        self.direct: dict[str, dict[str, float]] = {}

    def row(self, line: int, what: str, sense: str, bound: float, unit: str = "x", note: str = "") -> Row:
        """Puts a row down before it is measured, so that it stands in the table whatever happens."""
        row = Row(line, what, sense, bound, unit, note=note)
        self.rows.append(row)
        return row

    def keep(self, line: int, name: str, value) -> None:
        self.raw.setdefault(f"line {line}", {})[name] = value

    @contextlib.contextmanager
    def part(self, name: str, *rows: Row):
        """Measures some rows. An error leaves those that have no figure yet as not available and goes on."""
        began = time.monotonic()
        try:
            yield
        except Exception as error:  # pylint: disable=broad-except
            message = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            print(f"    {name}: {message}", file=sys.stderr, flush=True)
            self.raw.setdefault("errors", {})[name] = traceback.format_exc()
            for row in rows:
                if row.figure is None:
                    row.note = f"not available: {message}"
        self.raw.setdefault("seconds", {})[name] = round(time.monotonic() - began, 1)


def show(number: float, unit: str) -> str:
    """A number as a reader wants it: three digits, and its unit."""
    if unit == "x":
        return f"{number:,.0f}x" if number >= 100 else f"{number:.3g}x"
    if unit == "%":
        return f"{number * 100:.0f}%"
    if unit == "us":
        if number >= 1e6:
            return f"{number / 1e6:.3g} s"
        return f"{number / 1000:.3g} ms" if number >= 1000 else f"{number:.3g} us"
    if unit == "s":
        return f"{number:.2f} s"
    if unit == "MB":
        return f"{number / 1e6:,.0f} MB" if number >= 1e8 else f"{number / 1e6:.3g} MB"
    if unit == "B":
        return f"{number:,.0f} B"
    if unit == "/s":
        return f"{number:,.0f}/s" if number >= 10 else f"{number:.2g}/s"
    return f"{number:,.0f} {unit}".strip()


def us(number: float) -> str:
    return show(number, "us")


def rate(number: float) -> str:
    return show(number, "/s")
