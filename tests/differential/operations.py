"""The operations that a sequence is made of, as a strategy.

Operands that hit something alive are drawn more often than those that miss.
"""

import json

from hypothesis import strategies as st

from calls import MAIN, OTHER, UNKNOWN, In, Operation, Owner, Run, Task, Until


def weighted(*choices):
    """One of some values, each as often as its weight says: value, weight, value, weight ..."""
    values = [v for v, weight in zip(choices[::2], choices[1::2]) for _ in range(weight)]
    return st.sampled_from(values)


nth = st.integers(0, 4)
queues = weighted(MAIN, 100, OTHER, 4, UNKNOWN, 1, None, 1)
queue_names = weighted(OTHER, 6, MAIN, 3, None, 1, "", 1, " \t", 1, "x" * 57, 1, "x" * 58, 1)
modes = weighted("unpartitioned", 6, "partitioned", 1, "heap", 1, None, 1)
task_names = weighted("job", 30, "другой job", 4, "", 1, "  ", 1, None, 1)
steps = weighted("one", 40, "two", 20, "three", 8, "", 1, "  ", 1, None, 1)
events = weighted("go", 40, "stop", 16, "paid:42", 8, "", 1, "\t", 1, None, 1)
payloads = weighted('{"n": 1}', 5, "7", 2, '"text"', 2, "[]", 1, "null", 1, None, 2)
workers = weighted("w1", 8, "w2", 4, "", 1, " ", 1, None, 1)
strategies = st.one_of(
    st.sampled_from(
        [
            {"kind": "none"},
            {"kind": "fixed", "base_seconds": 5},
            {"kind": "fixed", "base_seconds": 0},
            {"kind": "exponential", "base_seconds": 2, "factor": 3, "max_seconds": 40},
            {"kind": "fixed"},
            {"kind": "exponential"},
            {"kind": "fixed", "base_seconds": 0.25},
            {"kind": "exponential", "factor": 1e300},
            {"kind": "exponential", "base_seconds": 0, "factor": 0.5},
            {"kind": "exponential", "max_seconds": 7},
            {},
            {"kind": None},
        ]
    ),
    st.builds(
        lambda base, factor, cap: {
            "kind": "exponential",
            "base_seconds": base,
            "factor": factor,
            "max_seconds": cap,
        },
        st.integers(0, 90),
        st.sampled_from([0, 0.5, 1, 1.5, 2, 10]),
        st.integers(0, 600),
    ),
)
bad_strategies = st.sampled_from(
    [
        {"kind": "linear"},
        {"kind": "fixed", "base_seconds": -1},
        {"kind": "fixed", "base_seconds": 86401},
        {"kind": "fixed", "base_seconds": "soon"},
        {"kind": "exponential", "factor": -2},
        {"kind": "exponential", "max_seconds": 1e9},
        [],
        "fixed",
    ]
)
cancellations = st.sampled_from(
    [
        {"max_delay": 30},
        {"max_duration": 60},
        {"max_delay": 5, "max_duration": 20},
        {"max_duration": 3600},
        {"max_delay": 0},
        {"max_duration": 0},
        {},
        {"max_delay": None},
    ]
)
bad_cancellations = st.sampled_from(
    [{"max_delay": 1.5}, {"max_duration": "10"}, {"max_delay": -1}, {"max_duration": True}, []]
)
GOOD_OPTIONS = {
    "headers": st.sampled_from([{"trace": "a"}, {}, None]),
    "retry_strategy": strategies,
    "max_attempts": weighted(1, 7, 2, 4, 3, 1, None, 1),
    "cancellation": cancellations,
    "idempotency_key": weighted("k1", 3, "k2", 2, None, 1),
}
BAD_OPTIONS = {
    "headers": st.sampled_from([[1], "text", 5]),
    "retry_strategy": bad_strategies,
    "max_attempts": st.sampled_from([0, -1, "two", 1.5, 3_000_000_000, True]),
    "cancellation": bad_cancellations,
    "idempotency_key": st.sampled_from(["", "  ", 5]),
}


@st.composite
def options(draw):
    kind = draw(weighted("good", 17, "bad", 2, "odd", 1))
    if kind == "odd":
        return draw(st.sampled_from([None, "null", "[]", '"x"', '{"unheard_of": 1}']))
    names = list(GOOD_OPTIONS)
    chosen = draw(st.sets(st.sampled_from(names + ["max_attempts"] * 3), min_size=1, max_size=3))
    answer = {name: draw(GOOD_OPTIONS[name]) for name in names if name in chosen}
    if kind == "bad":
        name = draw(st.sampled_from(names))
        answer[name] = draw(BAD_OPTIONS[name])
    return json.dumps(answer)


retry_options = weighted(
    "{}", 6, '{"spawn_new": true}', 4, '{"max_attempts": 5}', 3, '{"max_attempts": 1}', 2,
    '{"spawn_new": true, "max_attempts": 2}', 2, '{"max_attempts": 0}', 1, None, 1, "[]", 1,
    '{"spawn_new": "yes"}', 1, '{"max_attempts": "x"}', 1, '{"spawn_new": null}', 1,
)  # fmt: skip
policies = weighted(
    '{"cleanup_ttl": "1 hour"}', 4, '{"cleanup_ttl": "0"}', 2, '{"cleanup_limit": 1}', 3, "{}", 1,
    '{"cleanup_ttl": "2 days", "cleanup_limit": 2, "detach_mode": "empty"}', 2,
    '{"detach_min_age": "7 days", "partition_lookahead": "14 days"}', 1,
    '{"partition_lookback": "8 days"}', 1, '{"cleanup_limit": 0}', 1, '{"cleanup_limit": "x"}', 1,
    '{"cleanup_ttl": "soon"}', 1, '{"cleanup_ttl": "-1 day"}', 1, '{"detach_mode": "now"}', 1,
    '{"retention": 1}', 1, "[]", 1, None, 1, '{"default_partition": "disabled"}', 1,
    '{"default_partition": "enabled"}', 1, '{"default_partition": "x"}', 1,
    '{"cleanup_ttl": null}', 1,
)  # fmt: skip


def tasks(**weights):
    """References to tasks; misses of every kind come on top of the weights."""
    weights |= {"any": 2, "stranger": 1, "run": 1, "null": 1}
    return st.builds(Task, weighted(*(x for pair in weights.items() for x in pair)), nth)


def runs(**weights):
    weights |= {"any": 2, "stranger": 1, "task": 1, "null": 1}
    return st.builds(Run, weighted(*(x for pair in weights.items() for x in pair)), nth)


active = runs(running=60, sleeping=3, pending=3, ended=3)
owners = st.builds(
    Owner, weighted("own", 50, "another", 2, "run itself", 2, "stranger", 1, "null", 1)
)
instants = st.builds(In, weighted(0, 2, 5, 4, 60, 2, -30, 2, 86_400, 1, None, 1))
seconds = weighted(60, 5, 5, 4, 3600, 1, 1, 1, 0, 1, -1, 1, None, 1)
moments = st.sampled_from(
    [
        "2024-03-04 10:00:00+00",
        "2020-12-31 23:59:59.999999+00",
        "2021-01-03 23:59:59+00",
        "2021-01-04 00:00:00+00",
        "1970-01-01 00:00:00+00",
        "2030-01-01 00:00:00+05",
        None,
    ]
)
HOUR, DAY = 3600, 86_400
timeouts = weighted(None, 12, 30, 8, 5, 6, 0, 3, -1, 1)

ARGUMENTS = {
    "current_time": st.just(()),
    "pass_time": st.one_of(
        st.tuples(st.builds(Until, st.integers(0, 3), st.sampled_from([0, 1, -1]))),
        st.tuples(weighted(1, 3, 6, 2, 31, 2, 61, 2, HOUR, 1, DAY, 1, 32 * DAY, 1)),
    ),
    "spawn_task": st.one_of(
        st.tuples(queues, task_names, payloads, options()),
        st.tuples(queues, task_names, payloads, options()),
        st.tuples(queues, task_names, payloads),
    ),
    "claim_task": st.one_of(
        st.tuples(st.just(MAIN), st.just("w1"), st.just(30), st.integers(1, 4)),
        st.tuples(
            queues,
            workers,
            weighted(30, 6, 5, 4, 120, 2, 0, 2, -1, 1, None, 1),
            weighted(2, 6, 1, 5, 3, 5, 20, 1, 0, 1, -3, 1, None, 1),
        ),
        st.tuples(queues, workers),
    ),
    "complete_run": st.one_of(st.tuples(queues, active, payloads), st.tuples(queues, active)),
    "fail_run": st.one_of(
        st.tuples(queues, active, payloads),
        st.tuples(queues, active, payloads, st.one_of(st.none(), instants)),
    ),
    "schedule_run": st.tuples(queues, active, st.one_of(instants, instants, st.none())),
    "retry_task": st.one_of(
        st.tuples(queues, tasks(failed=24, open=2, ended=2), retry_options),
        st.tuples(queues, tasks(failed=24)),
    ),
    "cancel_task": st.tuples(queues, tasks(open=16, ended=3)),
    "extend_claim": st.tuples(queues, active, seconds),
    "get_task_result": st.tuples(queues, tasks(ended=8, failed=6, open=3)),
    "set_task_checkpoint_state": st.one_of(
        st.tuples(queues, owners, steps, payloads, active, seconds),
        st.tuples(queues, owners, steps, payloads, active),
    ),
    "get_task_checkpoint_state": st.one_of(
        st.tuples(queues, tasks(open=12, ended=3), steps, st.sampled_from([False, True, None])),
        st.tuples(queues, tasks(open=12, ended=3), steps),
    ),
    "get_task_checkpoint_states": st.tuples(queues, owners, runs(running=12, ended=4, pending=2)),
    "await_event": st.tuples(queues, owners, active, steps, events, timeouts),
    "emit_event": st.one_of(st.tuples(queues, events, payloads), st.tuples(queues, events)),
    "cleanup_tasks": st.one_of(
        st.tuples(
            queues,
            weighted(0, 4, 60, 3, HOUR, 2, -1, 1, None, 1),
            weighted(1, 4, 2, 2, 1000, 2, 0, 1, None, 1),
        ),
        st.tuples(queues, st.sampled_from([0, HOUR, DAY])),
    ),
    "cleanup_events": st.one_of(
        st.tuples(
            queues,
            weighted(0, 4, 60, 3, HOUR, 2, -1, 1, None, 1),
            weighted(1, 4, 2, 2, 0, 1, None, 1),
        ),
        st.tuples(queues, st.sampled_from([0, HOUR, DAY])),
    ),
    "cleanup_all_queues": st.one_of(st.tuples(queues), st.just(())),
    "list_queues": st.just(()),
    "get_queue_policy": st.tuples(queues),
    "set_queue_policy": st.tuples(queues, policies),
    "create_queue": st.one_of(st.tuples(queue_names), st.tuples(queue_names, modes)),
    "drop_queue": st.tuples(weighted(OTHER, 12, UNKNOWN, 2, MAIN, 1, None, 1, "", 1)),
    "validate_queue_name": st.tuples(queue_names),
    "get_schema_version": st.just(()),
    "retry_delay_seconds": st.tuples(
        st.one_of(strategies, bad_strategies, st.none()).map(
            lambda value: None if value is None else json.dumps(value)
        ),
        weighted(1, 3, 2, 3, 5, 2, 30, 1, 2_000_000_000, 1, 0, 1, -4, 1, None, 1),
    ),
    "uuidv7_timestamp": st.tuples(runs(running=3)),
    "uuidv7_floor": st.tuples(moments),
    "week_bucket_utc": st.tuples(moments),
    "partition_week_tag": st.tuples(moments),
    "ensure_queue_tables": st.tuples(queues),
    "ensure_partitions": st.one_of(st.just(()), st.tuples(queues)),
    "list_detach_candidates": st.one_of(st.just(()), st.tuples(queues)),
    "drop_detached_partition": st.tuples(
        weighted("t_q_410", 2, "absurd.t_q_410", 1, "nothing", 1, "", 1, None, 1)
    ),
    "schedule_detach_jobs": st.one_of(st.just(()), st.tuples(queues)),
    "enable_cron": st.one_of(st.just(()), st.tuples(queues)),
    "disable_cron": st.one_of(st.just(()), st.tuples(queues)),
}

# How often a verb is drawn. The first is what a failing sequence shrinks to.
WEIGHTS = {
    "current_time": 1,
    "spawn_task": 13,
    "claim_task": 24,
    "complete_run": 5,
    "fail_run": 8,
    "schedule_run": 4,
    "retry_task": 4,
    "cancel_task": 3,
    "extend_claim": 3,
    "get_task_result": 3,
    "set_task_checkpoint_state": 6,
    "get_task_checkpoint_state": 2,
    "get_task_checkpoint_states": 3,
    "await_event": 9,
    "emit_event": 5,
    "cleanup_tasks": 2,
    "cleanup_events": 1,
    "cleanup_all_queues": 1,
    "pass_time": 12,
    "set_queue_policy": 1,
    "create_queue": 1,
    "drop_queue": 1,
    "seldom": 5,
}
SELDOM = (
    "retry_delay_seconds",
    "validate_queue_name",
    "get_queue_policy",
    "list_queues",
    "get_schema_version",
    "uuidv7_timestamp",
    "uuidv7_floor",
    "week_bucket_utc",
    "partition_week_tag",
    "ensure_queue_tables",
)
WEIGHTS_OF_PARTITIONS = WEIGHTS | {
    "ensure_partitions": 6,
    "list_detach_candidates": 3,
    "drop_detached_partition": 2,
    "schedule_detach_jobs": 1,
    "enable_cron": 1,
    "disable_cron": 1,
    "set_queue_policy": 6,
}


def operations(weights):
    """One operation, drawn by the weights of the verbs."""
    verbs = weighted(*(x for pair in weights.items() for x in pair))
    seldom = st.sampled_from(SELDOM)

    def call(verb):
        if verb == "seldom":
            return seldom.flatmap(call)
        return st.builds(Operation, st.just(verb), ARGUMENTS[verb])

    return verbs.flatmap(call)
