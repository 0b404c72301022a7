"""What an operation is: a verb of the contract and operands that say what they mean.

An operation names tasks and runs by what they are ("the second newest running run"), not by id;
which row that is, is decided when the operation is carried out.
"""

from dataclasses import dataclass

MAIN = "q"
# A second queue, which sequences create and drop; its name must be quoted everywhere.
OTHER = 'Other "Queue"; --é'
UNKNOWN = "nowhere"
# Well-formed ids that no engine has handed out: one of version 7, one of version 4.
STRANGERS = ("018e08e7-e900-7000-8000-000000000000", "3f2b8a6e-1c5d-4e7f-9a0b-1c2d3e4f5a6b")


@dataclass(frozen=True)
class Task:
    """The nth newest task of a kind: open, failed, ended, any; or a run's id, a stranger, null."""

    kind: str
    nth: int = 0


@dataclass(frozen=True)
class Run:
    """The nth newest run of a kind: a state, ended, any; or a task's id, a stranger, null."""

    kind: str
    nth: int = 0


@dataclass(frozen=True)
class Owner:
    """The task of the run in another argument: its own, the run's id itself, another, ..."""

    kind: str


@dataclass(frozen=True)
class In:
    """So many seconds from now; None for never (infinity)."""

    seconds: float | None


@dataclass(frozen=True)
class Until:
    """The nth instant to come at which something is due, and microseconds off it."""

    nth: int
    off: int = 0


@dataclass(frozen=True)
class Operation:
    verb: str
    args: tuple = ()

    def __repr__(self):
        return f"{self.verb}({', '.join(map(repr, self.args))})"


# The verbs with the types of their arguments. A call may leave out arguments at the end.
VERBS = {
    "current_time": (),
    "get_schema_version": (),
    "validate_queue_name": ("text",),
    "create_queue": ("text", "text"),
    "drop_queue": ("text",),
    "list_queues": (),
    "get_queue_policy": ("text",),
    "set_queue_policy": ("text", "jsonb"),
    "spawn_task": ("text", "text", "jsonb", "jsonb"),
    "claim_task": ("text", "text", "int", "int"),
    "complete_run": ("text", "uuid", "jsonb"),
    "fail_run": ("text", "uuid", "jsonb", "timestamptz"),
    "schedule_run": ("text", "uuid", "timestamptz"),
    "retry_task": ("text", "uuid", "jsonb"),
    "cancel_task": ("text", "uuid"),
    "extend_claim": ("text", "uuid", "int"),
    "get_task_result": ("text", "uuid"),
    "set_task_checkpoint_state": ("text", "uuid", "text", "jsonb", "uuid", "int"),
    "get_task_checkpoint_state": ("text", "uuid", "text", "bool"),
    "get_task_checkpoint_states": ("text", "uuid", "uuid"),
    "await_event": ("text", "uuid", "uuid", "text", "text", "int"),
    "emit_event": ("text", "text", "jsonb"),
    "cleanup_tasks": ("text", "int", "int"),
    "cleanup_events": ("text", "int", "int"),
    "cleanup_all_queues": ("text",),
    "uuidv7_timestamp": ("uuid",),
    "uuidv7_floor": ("timestamptz",),
    "week_bucket_utc": ("timestamptz",),
    "partition_week_tag": ("timestamptz",),
    "retry_delay_seconds": ("jsonb", "int"),
    "ensure_queue_tables": ("text",),
    "ensure_partitions": ("text",),
    "list_detach_candidates": ("text",),
    "drop_detached_partition": ("text", "text"),
    "schedule_detach_jobs": ("text",),
    "enable_cron": ("text",),
    "disable_cron": ("text",),
}
