"""A sequence of operations on both engines, compared after each."""

from collections import Counter
from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

import compare
from calls import MAIN, STRANGERS, VERBS, In, Operation, Owner, Run, Task, Until
from compare import ENDED, OPEN, Difference, Names, instant, pick, rule_dues
from differences import INTENDED, TRANSLATIONS
from operations import WEIGHTS, WEIGHTS_OF_PARTITIONS, operations

START = datetime(2024, 3, 4, 10, tzinfo=UTC)
TICK = timedelta(milliseconds=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def statement(verb, count):
    """The call of a verb with so many arguments."""
    casts = ", ".join(f"${n}::{name}" for n, name in enumerate(VERBS[verb][:count], 1))
    return f"select * from absurd.{verb}({casts})"


class Step:
    """One operation, carried out on both sides: what a written difference may look at."""

    def __init__(self, verb, args, now, before):
        self.verb, self.args, self.now, self.before = verb, args, now, before
        self.reference = self.ours = None
        self.after_reference = self.after_ours = None
        self.rows_reference = self.rows_ours = ()

    @property
    def at(self):
        """The instant of the call in seconds since 1970."""
        return (self.now - EPOCH).total_seconds()

    @property
    def queue(self):
        return self.args[0] if self.args else None

    def arg(self, position, default=None):
        return self.args[position] if len(self.args) > position else default

    def __str__(self):
        def outcome(answer, rows):
            return f"{answer.error}: {answer.message}" if answer.error else repr(rows)

        left = outcome(self.reference, self.rows_reference)
        right = outcome(self.ours, self.rows_ours)
        text = f"{self.now:%m-%d %H:%M:%S.%f} {self.verb}{self.args!r}"
        return f"{text}\n    {left}" + ("" if left == right else f"\n    ours: {right}")


class Tally:
    """What the sequences of one test came to."""

    def __init__(self):
        self.sequences = 0
        self.lengths = Counter()
        self.verbs = Counter()
        self.answered = Counter()
        self.intended = Counter()
        self.stopped = Counter()

    def complete(self, least):
        """How many sequences had at least so many operations."""
        return sum(count for length, count in self.lengths.items() if length >= least)


class Differential(RuleBasedStateMachine):
    """Carries out operations. `reference`, `engine` and `tally` are set by the test."""

    reference = engine = tally = None
    mode = "unpartitioned"
    # Whether the queue is emptied between sequences instead of being dropped and created.
    keep = True

    def __init__(self):
        super().__init__()
        self.sides = (self.reference, self.engine)
        self.names = (Names(), Names())
        self.now = START
        self.last_task = 0
        self.log = []
        self.stopped = None
        self.steps = 0
        for side in self.sides:
            side.start_over(MAIN, self.mode, self.now.isoformat(), self.keep)
        self.read_equal("the queue as created")

    def teardown(self):
        self.tally.sequences += 1
        if self.stopped:
            self.tally.stopped[self.stopped] += 1
        else:
            self.tally.lengths[self.steps] += 1

    def operate(self, operation):
        if self.stopped:
            return
        self.steps += 1
        if operation.verb == "pass_time":
            self.pass_time(*operation.args)
            return
        operation = self.brought_about(operation)
        if operation.verb in ("claim_task", "cleanup_tasks", "cleanup_all_queues"):
            self.tell_apart()
        # The same arguments in names, and as each side knows them.
        args = self.resolve(operation)
        step = Step(operation.verb, args, self.now, self.state)
        call = statement(operation.verb, len(args))
        for side, names, meant in zip(self.sides, self.names, (self.translate(step), args)):
            side.send(call, [names.identified(value) for value in meant])
        step.reference, step.ours = (side.receive() for side in self.sides)
        known = set(self.names[0].id_of)
        self.now += TICK
        step.after_reference, step.after_ours = self.read()
        new_runs = frozenset(self.names[0].id_of.keys() - known)
        step.rows_reference, step.rows_ours = (
            compare.named_rows(names, answer, new_runs if step.verb == "claim_task" else ())
            for names, answer in zip(self.names, (step.reference, step.ours))
        )
        self.log.append(str(step))
        self.tally.verbs[step.verb] += 1
        self.tally.answered[step.verb] += step.ours.error is None
        self.judge(step)

    def translate(self, step):
        """The arguments in words that the reference understands."""
        for translation in TRANSLATIONS:
            args = translation.translate(step)
            if args is not None:
                self.tally.intended[translation.name] += 1
                return args
        return step.args

    def judge(self, step):
        found = [
            *compare.differences_of_answers(
                step.reference, step.ours, step.rows_reference, step.rows_ours
            ),
            *compare.differences_of_states(step.after_reference, step.after_ours),
        ]
        unexplained = []
        for difference in found:
            entry = next((e for e in INTENDED if e.explains(step, difference)), None)
            if entry is None:
                unexplained.append(difference)
            else:
                self.tally.intended[entry.name] += 1
        if step.ours.error and step.after_ours != step.before:
            unexplained.append(Difference("error", "nothing has changed", "something has changed"))
        if unexplained:
            lines = ["the sequence so far:", *self.log, "what differs:", *map(str, unexplained)]
            raise AssertionError("\n".join(lines))
        self.state = step.after_ours
        if found:
            self.align(found)
        if step.verb == "retry_task" and step.rows_ours and step.rows_ours[0][3] == "f":
            self.lift_max_delay(step.queue, step.args[1])
        if step.verb == "ensure_queue_tables" and step.ours.error and not step.reference.error:
            # The reference has made the tables of a queue that it does not know.
            for verb in ("create_queue", "drop_queue"):
                self.reference.run(f"select absurd.{verb}($1)", (step.queue,))

    def read(self):
        """Both sides' states; sets both clocks to the present of the next operation."""
        for side in self.sides:
            side.send_read(self.now.isoformat())
        registries, raw = zip(*(side.receive_read() for side in self.sides))
        self.last_task = compare.name_new(self.names, raw, self.last_task)
        return (
            compare.state_of(names, registry, contents)
            for names, registry, contents in zip(self.names, registries, raw)
        )

    def align(self, found):
        """After an intended difference: puts the reference where ours is, so that the rest of the
        sequence can be compared."""
        for queue in {d.queue for d in found if d.where == "queue"}:
            if queue in self.state.registry:
                self.stopped = f"queue {queue!r} in ours only"
                return
            self.reference.run("select absurd.drop_queue($1)", (queue,))
        names = self.names[0]
        for queue, prefix in sorted({(d.queue, d.table) for d in found if d.table}):
            rows = []
            for row in self.state.rows(queue, prefix):
                for value in row.values():
                    if value in self.names[1].id_of and value not in names.id_of:
                        names.learn(self.names[1].id_of[value], value)
                rows.append({column: names.identified(value) for column, value in row.items()})
            self.reference.replace(queue, prefix, rows)
        names.forget(names.id_of.keys() - self.names[1].id_of.keys())

    def lift_max_delay(self, queue, task):
        """A retried task has a fresh clock (D5). To the reference it then looks as if it had never
        started, and max_delay as if it still held. So such a task goes on without that rule."""
        if "max_delay" not in (self.state.row(queue, "t", task)["cancellation"] or ""):
            return
        for side, names in zip(self.sides, self.names):
            side.lift_max_delay(queue, names.identified(task))
        self.read_equal("after max_delay was lifted")

    def read_equal(self, when):
        """Reads both sides after the test has written to them, the same to both."""
        self.state, other = self.read()
        found = list(compare.differences_of_states(self.state, other))
        assert not found, "\n".join([f"{when}:", *map(str, found)])

    def pass_time(self, to):
        """Moves the clocks: by seconds, or to an instant at which something is due."""
        if isinstance(to, Until):
            coming = sorted(at for at in self.dues() if at > (self.now - EPOCH).total_seconds())
            if not coming:
                return
            at = coming[to.nth % len(coming)]
            moment = EPOCH + timedelta(microseconds=round(at * 1e6) + to.off)
            self.now = max(self.now, moment)
        else:
            self.now += timedelta(seconds=to)
        for side in self.sides:
            side.set_clock(self.now.isoformat())
        self.log.append(f"{self.now:%m-%d %H:%M:%S.%f}")

    def dues(self):
        """Instants at which something of the queue comes due: leases, starts, timeouts, rules."""
        found = set()
        for run in self.state.rows(MAIN, "r"):
            if run["state"] == "running" and run["claim_expires_at"]:
                found.add(instant(run["claim_expires_at"]))
            elif run["state"] in ("pending", "sleeping"):
                found.add(instant(run["available_at"]))
        for wait in self.state.rows(MAIN, "w"):
            if wait["timeout_at"]:
                found.add(instant(wait["timeout_at"]))
        for task in self.state.rows(MAIN, "t"):
            if task["state"] in OPEN:
                found.update(rule_dues(task))
        return found - {float("inf")}

    def tell_apart(self):
        """Moves apart by microseconds what one claim has dated alike: which of two equals comes
        first is nobody's promise, and would be decided by random bits of their ids."""
        moved = False
        for prefix, column, states in (
            ("r", "available_at", ("pending", "sleeping")),
            ("r", "claim_expires_at", ("running",)),
            ("r", "failed_at", ("failed",)),
            ("t", "cancelled_at", ("cancelled",)),
        ):
            alike = {}
            for queue in self.state.queues:
                for (name,), row in self.state.queues[queue][prefix].items():
                    at = row[column]
                    if row["state"] in states and at and at != "infinity":
                        alike.setdefault((queue, at), []).append(name)
            for (queue, _), equal in alike.items():
                if len(equal) > 1:
                    moved = True
                    if prefix == "r":
                        equal.sort(key=lambda name: self.made(queue, name))
                    for side, names in zip(self.sides, self.names):
                        ids = [names.identified(name) for name in equal]
                        side.nudge(queue, prefix, column, ids)
        if moved:
            self.read_equal("after equals were told apart")

    def made(self, queue, run):
        """What equals are ordered by: when the run was made, then its name."""
        return instant(self.state.row(queue, "r", run)["created_at"]), run

    def brought_about(self, operation):
        """The operation; or, where it needs a running run or a failed task and there is none, one
        that leads there."""
        kinds = {arg.kind for arg in operation.args if isinstance(arg, (Run, Task))}
        wanted = kinds & {"running", "failed"}
        if not wanted or MAIN not in self.state.queues or operation.args[0] != MAIN:
            return operation
        states = {run["state"] for run in self.state.rows(MAIN, "r")}
        failed = {task["state"] for task in self.state.rows(MAIN, "t")} & {"failed"}
        if wanted <= (states - {"failed"}) | failed:
            return operation
        if "running" in states:
            return Operation("fail_run", (MAIN, Run("running"), '"broken"'))
        if "pending" in states:
            return Operation("claim_task", (MAIN, "w1", 30, 1))
        return Operation("spawn_task", (MAIN, "job", "7", '{"max_attempts": 1}'))

    def resolve(self, operation):
        queue = operation.args[0] if operation.args else None
        here = queue if queue in self.state.queues else MAIN
        args, run = [], None
        for value in operation.args:
            if isinstance(value, Run):
                value = run = self.a_run(here, value)
            elif isinstance(value, Task):
                value = self.a_task(here, value)
            elif isinstance(value, In):
                value = (
                    "infinity"
                    if value.seconds is None
                    else (self.now + timedelta(seconds=value.seconds)).isoformat()
                )
            args.append(value)
        args = [
            self.owner(here, run, value) if isinstance(value, Owner) else value for value in args
        ]
        if operation.verb == "claim_task" and len(args) == 4 and (args[3] or 1) > 1:
            args[3] = self.all_or_one(here, args[3])
        return tuple(args)

    def all_or_one(self, queue, quantity):
        """A claim that fails several expired runs makes new ones at one instant, equals among
        which nothing chooses; so it then asks for enough to get them all."""
        now = (self.now - EPOCH).total_seconds()
        expired = ready = 0
        for run in self.state.rows(queue, "r"):
            if run["state"] == "running" and run["claim_expires_at"]:
                expired += instant(run["claim_expires_at"]) <= now
            elif run["state"] in ("pending", "sleeping"):
                ready += instant(run["available_at"]) <= now
        return quantity if expired < 2 else max(quantity, expired + ready)

    def a_run(self, queue, ref):
        if ref.kind == "null":
            return None
        if ref.kind == "stranger":
            return STRANGERS[ref.nth % 2]
        if ref.kind == "task":
            return self.a_task(queue, Task("any", ref.nth)) or STRANGERS[0]
        rows = list(self.state.rows(queue, "r"))
        wanted = {"any": OPEN + ENDED, "ended": ENDED}.get(ref.kind, (ref.kind,))
        return pick([row for row in rows if row["state"] in wanted] or rows, "run_id", ref.nth)

    def a_task(self, queue, ref):
        if ref.kind == "null":
            return None
        if ref.kind == "stranger":
            return STRANGERS[ref.nth % 2]
        if ref.kind == "run":
            return self.a_run(queue, Run("any", ref.nth)) or STRANGERS[0]
        rows = list(self.state.rows(queue, "t"))
        wanted = {"any": OPEN + ENDED, "ended": ENDED, "open": OPEN}.get(ref.kind, (ref.kind,))
        return pick([row for row in rows if row["state"] in wanted] or rows, "task_id", ref.nth)

    def owner(self, queue, run, ref):
        row = self.state.row(queue, "r", run)
        if ref.kind == "null":
            return None
        if ref.kind == "run itself":
            return run
        if ref.kind == "stranger" or row is None:
            return STRANGERS[0]
        if ref.kind == "another":
            others = [t for t in self.state.rows(queue, "t") if t["task_id"] != row["task_id"]]
            return pick(others, "task_id", 0)
        return row["task_id"]


class Unpartitioned(Differential):
    @initialize(first=st.lists(operations({"spawn_task": 1}), max_size=4))
    def spawn(self, first):
        for operation in first:
            self.operate(operation)

    @rule(operation=operations(WEIGHTS))
    def step(self, operation):
        self.operate(operation)


class Partitioned(Differential):
    mode = "partitioned"
    keep = False

    @initialize(first=st.lists(operations({"spawn_task": 1}), max_size=4))
    def spawn(self, first):
        for operation in first:
            self.operate(operation)

    @rule(operation=operations(WEIGHTS_OF_PARTITIONS))
    def step(self, operation):
        self.operate(operation)
