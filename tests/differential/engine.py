"""One of the two engines under comparison: its connection, its answers, its tables as text.

Every value is read as the text that the server prints, so that SQL NULL and JSON null stay apart
and nothing is lost in a conversion. A statement is sent to one engine before the answer of the
other is awaited, so the two work at the same time.
"""

import json
from dataclasses import dataclass
from functools import lru_cache

from psycopg import pq

# The contract's columns by table, with the type that text is cast to when a row is put back.
TABLES = {
    "t": {
        "task_id": "uuid",
        "task_name": "text",
        "params": "jsonb",
        "headers": "jsonb",
        "retry_strategy": "jsonb",
        "max_attempts": "int",
        "cancellation": "jsonb",
        "enqueue_at": "timestamptz",
        "first_started_at": "timestamptz",
        "state": "text",
        "attempts": "int",
        "last_attempt_run": "uuid",
        "completed_payload": "jsonb",
        "cancelled_at": "timestamptz",
        "idempotency_key": "text",
    },
    "r": {
        "run_id": "uuid",
        "task_id": "uuid",
        "attempt": "int",
        "state": "text",
        "claimed_by": "text",
        "claim_expires_at": "timestamptz",
        "available_at": "timestamptz",
        "wake_event": "text",
        "event_payload": "jsonb",
        "started_at": "timestamptz",
        "completed_at": "timestamptz",
        "failed_at": "timestamptz",
        "result": "jsonb",
        "failure_reason": "jsonb",
        "created_at": "timestamptz",
    },
    "c": {
        "task_id": "uuid",
        "checkpoint_name": "text",
        "state": "jsonb",
        "status": "text",
        "owner_run_id": "uuid",
        "updated_at": "timestamptz",
    },
    "e": {"event_name": "text", "payload": "jsonb", "emitted_at": "timestamptz"},
    "w": {
        "task_id": "uuid",
        "run_id": "uuid",
        "step_name": "text",
        "event_name": "text",
        "timeout_at": "timestamptz",
        "created_at": "timestamptz",
    },
    "i": {"idempotency_key": "text", "task_id": "uuid"},
}
KEYS = {
    "t": ("task_id",),
    "r": ("run_id",),
    "c": ("task_id", "checkpoint_name"),
    "e": ("event_name",),
    "w": ("run_id", "step_name"),
    "i": ("idempotency_key",),
}
UNPARTITIONED = "trcew"
PARTITIONED = "trcewi"
REGISTRY = (
    "queue_name",
    "created_at",
    "storage_mode",
    "default_partition",
    "partition_lookahead",
    "partition_lookback",
    "cleanup_ttl",
    "cleanup_limit",
    "detach_mode",
    "detach_min_age",
)


@dataclass(frozen=True)
class Answer:
    """What a call came to: its columns and rows, or the SQLSTATE of its error."""

    columns: tuple = ()
    rows: tuple = ()
    error: str | None = None
    message: str = ""


class Refused(Exception):
    """A statement of the test's own failed."""

    def __init__(self, answer, statement):
        super().__init__(f"{answer.error}: {answer.message}\n{statement}")
        self.error = answer.error


def quoted(identifier):
    return '"' + identifier.replace('"', '""') + '"'


def table(prefix, queue):
    return f"absurd.{quoted(f'{prefix}_{queue}')}"


@lru_cache(maxsize=256)
def read_statement(queues):
    """Reads the registry and the tables of some queues, and sets the clock to $1."""
    registry = ", ".join(f"q.{column}::text" for column in REGISTRY)
    parts = [
        f"(select coalesce(json_agg(json_build_array({registry})), '[]') from absurd.queues q)"
    ]
    for queue, prefixes in queues:
        for prefix in prefixes:
            columns = ", ".join(f"x.{column}::text" for column in TABLES[prefix])
            parts.append(
                f"(select coalesce(json_agg(json_build_array({columns})), '[]')"
                f" from {table(prefix, queue)} x)"
            )
    return f"select set_config('absurd.fake_now', $1, false), {', '.join(parts)}"


class Engine:
    """A connection to one engine; every call stands in a transaction of its own."""

    def __init__(self, name, dsn):
        self.name = name
        self.conn = pq.PGconn.connect(dsn.encode())
        if self.conn.status != pq.ConnStatus.OK:
            raise ConnectionError(self.conn.get_error_message())
        self.prepared = {}
        self.pending = ()
        # The queues that are there, with the prefixes of their tables.
        self.queues = ()
        self.run("set timezone = 'UTC'")
        self.run("set synchronous_commit = off")
        self.run("set client_min_messages = error")

    def close(self):
        self.conn.finish()

    def send(self, statement, values=()):
        """Starts a statement, prepared; `receive` has its answer."""
        name = self.prepared.get(statement)
        if name is None:
            name = f"s{len(self.prepared)}".encode()
            result = self.conn.prepare(name, statement.encode())
            if result.status != pq.ExecStatus.COMMAND_OK:
                self.pending = (result,)
                return
            self.prepared[statement] = name
        self.pending = ()
        self.conn.send_query_prepared(
            name, [None if value is None else str(value).encode() for value in values]
        )

    def receive(self):
        """The answer to the statement that was sent."""
        results = list(self.pending)
        while not self.pending and (result := self.conn.get_result()) is not None:
            results.append(result)
        (result,) = results
        if result.status in (pq.ExecStatus.TUPLES_OK, pq.ExecStatus.COMMAND_OK):
            columns = range(result.nfields)
            return Answer(
                columns=tuple((result.fname(n).decode(), result.ftype(n)) for n in columns),
                rows=tuple(
                    tuple(text(result.get_value(row, n)) for n in columns)
                    for row in range(result.ntuples)
                ),
            )
        code = result.error_field(pq.DiagnosticField.SQLSTATE)
        if code is None:
            raise ConnectionError(result.get_error_message())
        message = text(result.error_field(pq.DiagnosticField.MESSAGE_PRIMARY))
        return Answer(error=code.decode(), message=message)

    def run(self, statement, values=()):
        """A statement of the test's own, which must succeed; its rows."""
        self.send(statement, values)
        answer = self.receive()
        if answer.error:
            raise Refused(answer, statement)
        return answer.rows

    def set_clock(self, now):
        self.run("select set_config('absurd.fake_now', $1, false)", (now,))

    def send_read(self, now):
        """Starts to read everything, which also sets the clock; `receive_read` has it."""
        self.now = now
        self.send(read_statement(self.queues), (now,))

    def receive_read(self):
        """The registry's rows by queue, and the rows of all queues' tables by queue and prefix."""
        answer = self.receive()
        while True:
            if answer.error == "42P01":
                # A queue has gone.
                self.queues = ()
            elif answer.error:
                raise Refused(answer, "reading everything")
            else:
                ((_, registry, *tables),) = answer.rows
                registry = {row[0]: dict(zip(REGISTRY, row)) for row in json.loads(registry)}
                queues = tuple(
                    (name, PARTITIONED if row["storage_mode"] == "partitioned" else UNPARTITIONED)
                    for name, row in sorted(registry.items())
                )
                if queues == self.queues:
                    break
                self.queues = queues
            self.send_read(self.now)
            answer = self.receive()
        contents, tables = {}, iter(tables)
        for queue, prefixes in queues:
            contents[queue] = {
                prefix: [dict(zip(TABLES[prefix], row)) for row in json.loads(next(tables))]
                for prefix in prefixes
            }
        return registry, contents

    def replace(self, queue, prefix, rows):
        """Makes a table hold exactly these rows."""
        columns = TABLES[prefix]
        self.run(f"delete from {table(prefix, queue)}")
        self.run(
            f"insert into {table(prefix, queue)} ({', '.join(columns)})"
            f" select {', '.join(f'{column}::{kind}' for column, kind in columns.items())}"
            f" from json_to_recordset($1::json)"
            f" x ({', '.join(f'{column} text' for column in columns)})",
            (json.dumps(rows),),
        )

    def nudge(self, queue, prefix, column, ids):
        """Moves an instant of some rows apart, by a microsecond for each place in the list."""
        self.run(
            f"update {table(prefix, queue)} x"
            f"   set {column} = x.{column} + (n.place - 1) * interval '1 microsecond'"
            f"  from unnest($1::uuid[]) with ordinality n (id, place)"
            f" where x.{KEYS[prefix][0]} = n.id",
            ("{" + ",".join(ids) + "}",),
        )

    def lift_max_delay(self, queue, task):
        """Takes the rule max_delay from a task."""
        self.run(
            f"update {table('t', queue)} set cancellation = cancellation - 'max_delay'"
            " where task_id = $1::uuid",
            (task,),
        )

    def start_over(self, queue, mode, now, keep):
        """Leaves one queue, empty and with the default policy."""
        self.set_clock(now)
        for (name,) in self.run("select queue_name from absurd.queues"):
            if name != queue or not keep:
                self.run("select absurd.drop_queue($1)", (name,))
        self.run("select absurd.create_queue($1, $2)", (queue, mode))
        if keep:
            names = ", ".join(table(prefix, queue) for prefix in UNPARTITIONED)
            self.run(f"truncate {names}")
            defaults = ", ".join(f"{column} = default" for column in REGISTRY[3:])
            self.run(f"update absurd.queues set created_at = $1, {defaults}", (now,))


def text(value):
    return None if value is None else value.decode()
