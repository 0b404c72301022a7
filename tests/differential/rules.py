"""What the contract asks of arguments and operands, worked out from a call and the state before it.

The list of intended differences uses this to tell which error the contract asks for. It decides
nothing where both engines agree.
"""

import json
import math

from calls import VERBS
from compare import ENDED, OPEN

DAY = 86_400
POLICY = (
    "default_partition",
    "partition_lookahead",
    "partition_lookback",
    "cleanup_ttl",
    "cleanup_limit",
    "detach_mode",
    "detach_min_age",
)
# Positions of arguments that must have a value, those that must not be blank either, and those that
# are numbers with a least value.
REQUIRED = {
    "set_queue_policy": (1,),
    "complete_run": (1,),
    "fail_run": (1,),
    "schedule_run": (1, 2),
    "retry_task": (1,),
    "cancel_task": (1,),
    "extend_claim": (1, 2),
    "get_task_result": (1,),
    "set_task_checkpoint_state": (1, 4),
    "get_task_checkpoint_state": (1,),
    "get_task_checkpoint_states": (1, 2),
    "await_event": (1, 2),
    "cleanup_tasks": (1, 2),
    "cleanup_events": (1, 2),
    "retry_delay_seconds": (1,),
    "create_queue": (1,),
}
NOT_BLANK = {
    "spawn_task": (1,),
    "set_task_checkpoint_state": (2,),
    "get_task_checkpoint_state": (2,),
    "await_event": (3, 4),
    "emit_event": (1,),
    "drop_detached_partition": (0,),
}
LEAST = {
    "extend_claim": {2: 1},
    "await_event": {5: 0},
    "cleanup_tasks": {1: 0, 2: 1},
    "cleanup_events": {1: 0, 2: 1},
}
NAMES_A_QUEUE = tuple(
    verb
    for verb, types in VERBS.items()
    if types[:1] == ("text",)
    and verb not in ("drop_queue", "get_queue_policy", "drop_detached_partition")
)
MODES = ("unpartitioned", "partitioned")
NEED_CRON = ("schedule_detach_jobs", "enable_cron", "disable_cron")
NULL_MEANS_ALL = (
    "cleanup_all_queues",
    "ensure_partitions",
    "list_detach_candidates",
    *NEED_CRON,
)


def argument_errors(step):
    """The SQLSTATEs that the contract asks for because of a call's arguments alone (A4)."""
    codes = set()
    args = dict(enumerate(step.args))
    for position in REQUIRED.get(step.verb, ()) + NOT_BLANK.get(step.verb, ()):
        if position in args and args[position] is None:
            codes.add("22004")
    for position in NOT_BLANK.get(step.verb, ()):
        if isinstance(args.get(position), str) and not args[position].strip():
            codes.add("22023")
    for position, least in LEAST.get(step.verb, {}).items():
        if isinstance(args.get(position), int) and args[position] < least:
            codes.add("22023")
    if step.verb in NAMES_A_QUEUE and args:
        codes |= name_errors(args[0], step.verb)
    if step.verb in ("drop_queue", "get_queue_policy") and args[0] is None:
        codes.add("22004")
    if step.verb == "create_queue" and args.get(1, "partitioned") not in MODES + (None,):
        codes.add("22023")
    if step.verb == "spawn_task" and args.get(3) is not None:
        codes |= spawn_errors(json.loads(args[3]))
    if step.verb == "retry_task" and args.get(2) is not None:
        codes |= retry_errors(json.loads(args[2]))
    if step.verb == "set_queue_policy" and args[1] is not None:
        codes |= policy_errors(json.loads(args[1]), step)
    return codes


def name_errors(name, verb):
    if name is None:
        return set() if verb in NULL_MEANS_ALL else {"22004"}
    if not name:
        return {"22023"}
    return {"42622"} if len(name.encode()) > 57 else set()


def spawn_errors(options):
    if options is None:
        return set()
    if not isinstance(options, dict):
        return {"22023"}
    codes = set()
    headers, strategy = options.get("headers"), options.get("retry_strategy")
    key = options.get("idempotency_key")
    if headers is not None and not isinstance(headers, dict):
        codes.add("22023")
    if strategy is not None and not sound_strategy(strategy):
        codes.add("AB003")
    if not sound_attempts(options.get("max_attempts")):
        codes.add("22023")
    if not sound_cancellation(options.get("cancellation")):
        codes.add("22023")
    if key is not None and not (isinstance(key, str) and key.strip()):
        codes.add("22023")
    return codes


def number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def sound_attempts(value):
    return value is None or (type(value) is int and 1 <= value < 2**31)


def sound_strategy(strategy):
    if not isinstance(strategy, dict):
        return False
    if strategy.get("kind") not in (None, "none", "fixed", "exponential"):
        return False
    for name in ("base_seconds", "max_seconds"):
        value = strategy.get(name)
        if value is not None and not (number(value) and 0 <= value <= DAY):
            return False
    factor = strategy.get("factor")
    return factor is None or (number(factor) and 0 <= factor < math.inf)


def sound_cancellation(rules):
    if rules is None:
        return True
    if not isinstance(rules, dict):
        return False
    values = [rules.get("max_delay"), rules.get("max_duration")]
    return all(value is None or (type(value) is int and value >= 0) for value in values)


def retry_errors(options):
    if options is None:
        return set()
    if not isinstance(options, dict):
        return {"22023"}
    sound = sound_attempts(options.get("max_attempts"))
    sound = sound and options.get("spawn_new") in (None, True, False)
    return set() if sound else {"22023"}


def policy_errors(policy, step):
    if not isinstance(policy, dict):
        return {"22023"}
    row = step.before.registry.get(step.queue)
    for key, value in policy.items():
        limit_is_bad = key == "cleanup_limit" and not (type(value) is int and value >= 1)
        word_is_bad = (
            key == "detach_mode" and value not in ("none", "empty")
            or key == "default_partition" and value not in ("enabled", "disabled")
        )  # fmt: skip
        interval_is_bad = key in POLICY[1:4] + POLICY[6:] and value in ("soon", "-1 day", None)
        misplaced = key == "default_partition" and row and row["storage_mode"] == MODES[0]
        if key not in POLICY or limit_is_bad or word_is_bad or interval_is_bad or misplaced:
            return {"22023"}
    return set()


# Position of the run, and of the task that it must belong to, in the verbs of a worker.
RUN_AT = {
    "complete_run": (1, None),
    "fail_run": (1, None),
    "schedule_run": (1, None),
    "extend_claim": (1, None),
    "set_task_checkpoint_state": (4, 1),
    "get_task_checkpoint_states": (2, 1),
    "await_event": (2, 1),
}


def operand_errors(step):
    """The SQLSTATEs that the contract asks for because of what a call's operands are (A3, A4, D8,
    D9, D11): no such row, a run of another task, an ended task or run, a state that will not do."""
    queue = step.queue
    if step.verb in RUN_AT:
        run_at, task_at = RUN_AT[step.verb]
        run = step.before.row(queue, "r", step.arg(run_at))
        if run is None:
            return {"P0002"}
        codes = set()
        if task_at is not None and step.arg(task_at) not in (run["task_id"], run["run_id"]):
            codes.add("22023")
        if step.verb == "get_task_checkpoint_states":
            return codes
        return codes | state_errors(step, run)
    if step.verb in ("retry_task", "cancel_task"):
        task = step.before.row(queue, "t", step.arg(1))
        if task is None:
            return {"P0002"}
        if step.verb == "retry_task":
            if task["state"] != "failed":
                return {"55000"}
            options = json.loads(step.arg(2) or "{}")
            wanted = options.get("max_attempts") if isinstance(options, dict) else None
            if type(wanted) is int and wanted <= int(task["attempts"]):
                return {"22023"}
    return set()


def state_errors(step, run):
    task = step.before.row(step.queue, "t", run["task_id"])
    if "cancelled" in (run["state"], task["state"]):
        return {"AB001"}
    if run["state"] == "failed":
        return {"AB002"}
    allowed = {"set_task_checkpoint_state": OPEN, "fail_run": ("running", "sleeping")}
    if run["state"] not in allowed.get(step.verb, ("running",)) or task["state"] in ENDED:
        return {"55000"}
    # Claimed without a lease: there is none to extend.
    if step.verb == "extend_claim" and run["claim_expires_at"] is None:
        return {"55000"}
    return set()


def queue_errors(step):
    """The SQLSTATEs that the contract asks for because of what the queue is (A2, A4)."""
    queue = step.queue
    if step.verb == "create_queue":
        row = step.before.registry.get(queue)
        mode = step.arg(1, MODES[0])
        return {"42710"} if row and row["storage_mode"] != mode else set()
    if not step.args or queue is None or step.verb not in NAMES_A_QUEUE:
        return set()
    if step.verb == "validate_queue_name":
        return set()
    return set() if queue in step.before.registry else {"42P01"}


def cron_errors(step):
    """Without pg_cron, which neither database has, the functions about its jobs are in no state to
    do anything."""
    return {"55000"} if step.verb in NEED_CRON else set()
