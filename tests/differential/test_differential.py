"""The extension and the reference schema, side by side on the same generated sequences.

After every operation the answers, the SQLSTATEs of errors and the contents of the queue's tables
must be equal, save for what differences.py lists. ABSURD_DIFF_SEQUENCES sets how many sequences
are run (500), ABSURD_DIFF_SEED what they are generated from. Both are printed, with what was
compared.
"""

import os

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from machine import Partitioned, Tally, Unpartitioned
from operations import SELDOM, WEIGHTS, WEIGHTS_OF_PARTITIONS
from rules import NEED_CRON

SEQUENCES = int(os.environ.get("ABSURD_DIFF_SEQUENCES", "500"))
SEED = int(os.environ.get("ABSURD_DIFF_SEED", "20240304"))
# A sequence is generated with this many operations; one with fewer than the least is not counted.
STEPS, LEAST = 45, 40
# The share of all sequences that an intended difference may end early.
CUT_SHORT = 0.02
# From so many sequences on, every verb must have succeeded in one of them.
TELLING = 200


def compare(machine, reference, ours, sequences, weights, capsys):
    tally = Tally()
    engines = {"reference": reference, "engine": ours, "tally": tally}
    machine = type(machine.__name__, (machine,), engines)
    chosen = settings(
        # Some more, since a few end before their time.
        max_examples=sequences + sequences // 10 + 10,
        stateful_step_count=STEPS,
        deadline=None,
        database=None,
        phases=(Phase.generate, Phase.shrink),
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
    try:
        run_state_machine_as_test(seed(SEED)(machine), settings=chosen)
    finally:
        with capsys.disabled():
            report(machine.__name__, tally)
    assert tally.complete(LEAST) >= sequences, "too few sequences of the least length"
    assert sum(tally.stopped.values()) <= CUT_SHORT * tally.sequences, tally.stopped
    if sequences >= TELLING:
        verbs = {*weights, *SELDOM} - {"seldom", "pass_time", *NEED_CRON}
        silent = sorted(verb for verb in verbs if not tally.answered[verb])
        assert not silent, f"verbs that never succeeded: {silent}"


def report(name, tally):
    calls = sum(tally.verbs.values())
    whole = tally.complete(LEAST)
    print(f"\n{name}: seed {SEED}, {whole} sequences of {LEAST} operations or more, {calls} calls")
    answered = (f"{verb} {tally.answered[verb]}/{n}" for verb, n in tally.verbs.most_common())
    print(f"  succeeded: {', '.join(answered)}")
    for entry, count in tally.intended.most_common():
        print(f"  intended: {count} x {entry}")
    for why, count in tally.stopped.most_common():
        print(f"  cut short: {count} x {why}")


def test_unpartitioned_queue(reference, ours, capsys):
    compare(Unpartitioned, reference, ours, SEQUENCES, WEIGHTS, capsys)


def test_partitioned_queue(reference, ours, capsys):
    sequences = max(SEQUENCES // 20, 24)
    compare(Partitioned, reference, ours, sequences, WEIGHTS_OF_PARTITIONS, capsys)
