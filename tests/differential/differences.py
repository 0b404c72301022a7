"""The intended differences between the reference and this extension, each with its reason.

An entry recognises one difference exactly, from the call, the state before it and both outcomes.
Whatever no entry recognises fails the test. After a recognised difference the reference's tables
are made equal to ours, so that the rest of the sequence is compared too.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass

import rules
from compare import OPEN, instant


@dataclass(frozen=True)
class Entry:
    name: str
    # The clause of the contract that asks for it.
    why: str
    explains: Callable


@dataclass(frozen=True)
class Translation:
    """An argument that the contract gives a meaning which the reference does not know. The
    reference is called with what it means, so that the outcomes can be compared in full."""

    name: str
    why: str
    # The arguments for the reference, or None when the call is not of this kind.
    translate: Callable


def refused(errors):
    """Ours refuses, for a reason that the contract gives, what the reference accepts or refuses
    under another code. Nothing has changed in ours, so that every difference of state is the
    reference's doing."""

    def explains(step, difference):
        if step.ours.error is None or step.ours.error not in errors(step):
            return False
        if difference.where == "error":
            return True
        return step.reference.error is None and step.after_ours == step.before

    return explains


def answers_whether_it_cancelled(step, difference):
    if step.verb != "cancel_task" or step.ours.error or step.reference.error:
        return False
    if difference.where == "columns":
        return [name for name, _ in step.ours.columns] == ["cancel_task"]
    if difference.where == "answer":
        run = step.before.row(step.queue, "r", step.args[1])
        task = step.before.row(step.queue, "t", run["task_id"] if run else step.args[1])
        return step.rows_ours == [("t" if task["state"] in OPEN else "f",)]
    return False


def says_a_lease_ended_in_its_own_words(step, difference):
    if (step.verb, difference.table, difference.column) != ("claim_task", "r", "failure_reason"):
        return False
    if difference.reference is None or difference.ours is None:
        return False
    left, right = json.loads(difference.reference), json.loads(difference.ours)
    run = step.before.row(difference.queue, "r", *difference.key)
    return (
        right.pop("message", "") != ""
        and left.pop("message", "") != ""
        and left == right
        and right["name"] == "$ClaimTimeout"
        and run["state"] == "running"
        and instant(run["claim_expires_at"]) <= step.at
    )


def keeps_no_placeholder(step, difference):
    if step.verb != "await_event" or difference.where != "row" or difference.table != "e":
        return False
    row = difference.reference
    return (
        difference.ours is None
        and difference.key == (step.args[4],)
        and row["payload"] is None
        and row["emitted_at"].startswith("1970-01-01 00:00:00")
    )


def never_shortens_a_lease(step, difference):
    if step.verb != "set_task_checkpoint_state" or difference.column != "claim_expires_at":
        return False
    run = step.before.row(step.queue, "r", step.args[4])
    before = run["claim_expires_at"]
    asked = step.at + (step.arg(5) or 0)
    return (
        difference.key == (run["run_id"],)
        and difference.ours == before
        and abs(instant(difference.reference) - asked) < 1e-6
        and (before is None or instant(before) > asked)
    )


def forgets_what_woke_a_run_it_answers(step, difference):
    if step.verb != "await_event" or step.rows_ours[:1] == [] or step.rows_ours[0][0] != "f":
        return False
    run = step.before.row(step.queue, "r", step.args[2])
    return (
        difference.where == "value"
        and (difference.table, difference.key) == ("r", (run["run_id"],))
        and difference.column in ("wake_event", "event_payload")
        and difference.ours is None
        and difference.reference == run[difference.column]
    )


def forgets_the_event_when_put_to_sleep(step, difference):
    if step.verb != "schedule_run" or difference.ours is not None:
        return False
    run = step.args[1]
    if difference.where == "row" and difference.table == "w":
        return difference.reference["run_id"] == run
    return (
        difference.where == "value"
        and difference.key == (run,)
        and difference.column == "event_payload"
    )


def starts_the_clock_anew(step, difference):
    return (
        step.verb == "retry_task"
        and difference.where == "value"
        and (difference.table, difference.column) == ("t", "first_started_at")
        and difference.key == (step.args[1],)
        and difference.ours is None
    )


def answers_from_an_empty_checkpoint(step, difference):
    """Ours answers (false, null); the reference takes such a checkpoint for none and goes on."""
    if step.verb != "await_event" or step.ours.error or step.reference.error:
        return False
    run = step.before.row(step.queue, "r", step.args[2])
    found = step.before.row(step.queue, "c", run["task_id"], step.args[3])
    if found is None or found["state"] is not None or step.rows_ours != [("f", None)]:
        return False
    if difference.where == "answer":
        return True
    return (difference.table, difference.key) in (
        ("t", (run["task_id"],)),
        ("r", (run["run_id"],)),
        ("c", (run["task_id"], step.args[3])),
        ("e", (step.args[4],)),
        ("w", (run["run_id"], step.args[3])),
    )


def cancels_what_would_never_start_in_time(step, difference):
    """The reference subtracts instants, which it cannot do with infinity."""
    if step.verb != "fail_run" or step.arg(3) != "infinity":
        return False
    if step.reference.error != "22008" or step.ours.error:
        return False
    run = step.before.row(step.queue, "r", step.args[1])
    task = step.before.row(step.queue, "t", run["task_id"])
    ended = step.after_ours.row(step.queue, "t", run["task_id"])
    limit = json.loads(task["cancellation"] or "{}").get("max_duration")
    if limit is None or ended["state"] != "cancelled":
        return False
    if difference.where == "error":
        return True
    return (difference.table, difference.key) in (
        ("t", (run["task_id"],)),
        ("r", (run["run_id"],)),
    ) or (difference.table == "w" and difference.key[0] == run["run_id"])


INTENDED = (
    Entry(
        "argument refused under its own code",
        "A4: a bad argument is 22023, a missing one 22004, an invalid retry_strategy AB003; "
        "A1: names of more than 57 bytes; A3: blank names and malformed options are errors; D3",
        refused(rules.argument_errors),
    ),
    Entry(
        "operand refused under its own code",
        "A4: no such row is P0002, the wrong state 55000, AB001 and AB002 for all six verbs of a "
        "worker; D8, D9, D11",
        refused(rules.operand_errors),
    ),
    Entry(
        "unknown queue is undefined_table, another mode 42710",
        "A3, A4: an unknown queue surfaces as 42P01 in every function; A2: another mode: error",
        refused(rules.queue_errors),
    ),
    Entry(
        "pg_cron is missing: 55000",
        "A3, A4: enable_cron needs pg_cron; what is not in the required state is 55000",
        refused(rules.cron_errors),
    ),
    Entry(
        "cancel_task says whether it cancelled",
        "A2: cancel_task returns a boolean",
        answers_whether_it_cancelled,
    ),
    Entry(
        "words of a claim timeout",
        "A3 leaves the message of $ClaimTimeout open; every other member is equal",
        says_a_lease_ended_in_its_own_words,
    ),
    Entry(
        "no placeholder of an awaited event",
        "D7: a row in e_ exists exactly when the event was emitted",
        keeps_no_placeholder,
    ),
    Entry(
        "a checkpoint without a state answers",
        "A3: an existing checkpoint of the step answers at once, whatever it holds",
        answers_from_an_empty_checkpoint,
    ),
    Entry(
        "a checkpoint does not shorten a lease",
        "D10: a checkpoint never shortens a lease; none at all is the longest",
        never_shortens_a_lease,
    ),
    Entry(
        "an answer forgets what woke the run",
        "A3: answering await_event clears wake_event and event_payload, whatever answers it",
        forgets_what_woke_a_run_it_answers,
    ),
    Entry(
        "schedule_run forgets the event",
        "D11: schedule_run clears stale event_payload and waits",
        forgets_the_event_when_put_to_sleep,
    ),
    Entry(
        "a retry at infinity passes max_duration",
        "A3: if the next start would pass max_duration the task is cancelled instead",
        cancels_what_would_never_start_in_time,
    ),
    Entry(
        "a retried task has a fresh clock",
        "D5: retry_task gives the task a fresh max_duration clock",
        starts_the_clock_anew,
    ),
)


def run_for_task(step):
    """A run's id where a task's is expected."""
    if step.verb not in (
        "cancel_task",
        "get_task_checkpoint_state",
        "get_task_checkpoint_states",
        "set_task_checkpoint_state",
        "await_event",
    ):
        return None
    run = step.before.row(step.queue, "r", step.arg(1))
    if run is None:
        return None
    if step.verb in rules.RUN_AT and step.arg(rules.RUN_AT[step.verb][0]) != run["run_id"]:
        return None
    return (step.args[0], run["task_id"], *step.args[2:])


def blank_worker(step):
    if step.verb != "claim_task" or step.arg(1) is None or step.arg(1).strip():
        return None
    return (step.args[0], "worker", *step.args[2:])


TRANSLATIONS = (
    Translation(
        "a run's id stands for its task",
        "A3: cancel_task takes the id of a run; p_task_id may be the owner run's own id",
        run_for_task,
    ),
    Translation("a blank worker is 'worker'", "A3: blank becomes 'worker'", blank_worker),
)
