"""States and answers of both engines in one language: ids become names such as "task 2 run 1".

A name says which task of the sequence it is and which attempt, so the same name means the same
thing on both sides, and what differs can be told row by row and column by column.
"""

import json
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache

from calls import STRANGERS
from engine import KEYS

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
ENDED = ("completed", "failed", "cancelled")
OPEN = ("pending", "running", "sleeping")


@lru_cache(maxsize=4096)
def instant(text):
    """An instant as the server prints it, in seconds since 1970."""
    if text in ("infinity", "-infinity"):
        return float(text.replace("inity", ""))
    moment = datetime.fromisoformat(text)
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds()


@dataclass(frozen=True)
class Difference:
    """One thing that is not equal. `where` is error, columns, answer, queue, row or value; the
    last two name table and key, a value also its column."""

    where: str
    reference: object
    ours: object
    queue: str | None = None
    table: str | None = None
    key: tuple = ()
    column: str | None = None

    def __str__(self):
        place = " ".join(
            str(part) for part in (self.where, self.queue, self.table, self.column) if part
        )
        key = f" of {', '.join(self.key)}" if self.key else ""
        return f"{place}{key}:\n    reference {self.reference!r}\n    ours      {self.ours!r}"


@dataclass
class State:
    """The registry of queues, and the rows of each queue's tables by key, with names for ids."""

    registry: dict = field(default_factory=dict)
    queues: dict = field(default_factory=dict)

    def rows(self, queue, prefix):
        return self.queues.get(queue, {}).get(prefix, {}).values()

    def row(self, queue, prefix, *key):
        return self.queues.get(queue, {}).get(prefix, {}).get(key)


class Names:
    """The names of one side's ids."""

    def __init__(self):
        self.name_of = {}
        self.id_of = {}

    def learn(self, identity, name):
        while name in self.id_of:
            name += "'"
        self.name_of[identity] = name
        self.id_of[name] = identity

    def forget(self, names):
        for name in list(names):
            del self.name_of[self.id_of.pop(name)]

    def named(self, value):
        """A value with a name in place of an id."""
        if isinstance(value, str) and len(value) == 36 and UUID.fullmatch(value):
            return self.name_of.get(value, value)
        return value

    def identified(self, value):
        return self.id_of.get(value, value) if isinstance(value, str) else value


def name_new(sides, raw, counter):
    """Gives names to the ids that an operation made; returns the number of the last task named.

    `raw` holds each side's tables as read. One operation makes one task at most, so that a new task
    has the same number on both sides.
    """
    last = counter
    for names, queues in zip(sides, raw):
        number = counter
        for contents in queues.values():
            new = [row["task_id"] for row in contents["t"] if row["task_id"] not in names.name_of]
            for task in sorted(new):
                number += 1
                names.learn(task, f"task {number}")
            for run in contents["r"]:
                if run["run_id"] not in names.name_of:
                    task = names.named(run["task_id"])
                    names.learn(run["run_id"], f"{task} run {run['attempt']}")
        last = max(last, number)
    return last


def state_of(names, registry, raw):
    """One side's state, in names."""
    state = State(registry=registry)
    for queue, contents in raw.items():
        tables = state.queues[queue] = {}
        for prefix, rows in contents.items():
            keys = KEYS[prefix]
            found = tables[prefix] = {}
            for row in rows:
                named = {column: names.named(value) for column, value in row.items()}
                found[tuple(named[key] for key in keys)] = named
    return state


def differences_of_states(reference, ours):
    for queue in sorted(reference.registry.keys() | ours.registry.keys()):
        left, right = reference.registry.get(queue), ours.registry.get(queue)
        if left is None or right is None:
            yield Difference("queue", left, right, queue)
            continue
        for column, value in left.items():
            if value != right[column]:
                yield Difference("queue", value, right[column], queue, column=column)
    for queue in sorted(reference.queues.keys() & ours.queues.keys()):
        for prefix, rows in reference.queues[queue].items():
            others = ours.queues[queue][prefix]
            if rows == others:
                continue
            for key in sorted(rows.keys() | others.keys()):
                left, right = rows.get(key), others.get(key)
                if left is None or right is None:
                    yield Difference("row", left, right, queue, prefix, key)
                    continue
                for column, value in left.items():
                    if value != right[column]:
                        yield Difference("value", value, right[column], queue, prefix, key, column)


def named_rows(names, answer, new_runs=frozenset()):
    """An answer's rows in names. Runs that a claim itself has made follow the others in no order
    that matters: they were made at one instant."""
    rows = [tuple(names.named(value) for value in row) for row in answer.rows]
    if sum(row[0] in new_runs for row in rows if row) > 1:
        old = [row for row in rows if row[0] not in new_runs]
        rows = old + sorted(row for row in rows if row[0] in new_runs)
    return rows


def differences_of_answers(reference, ours, left_rows, right_rows):
    if reference.error != ours.error:
        yield Difference("error", reference.error, ours.error)
    elif reference.error is None:
        if reference.columns != ours.columns:
            yield Difference("columns", reference.columns, ours.columns)
        if left_rows != right_rows:
            yield Difference("answer", left_rows, right_rows)


def pick(rows, column, nth):
    """The nth newest of some rows, by name; a stranger when there is none."""
    names = sorted((row[column] for row in rows), key=lambda name: (len(name), name))
    return names[-1 - nth % len(names)] if names else STRANGERS[0]


def rule_dues(task):
    """When the cancellation rules of a task come due."""
    rules = json.loads(task["cancellation"] or "{}")
    if not isinstance(rules, dict):
        return
    for name, column in (("max_delay", "enqueue_at"), ("max_duration", "first_started_at")):
        if isinstance(rules.get(name), int) and task[column]:
            yield instant(task[column]) + rules[name]
