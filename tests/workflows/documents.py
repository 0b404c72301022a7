"""Workflow documents in a few lines."""

import itertools

_names = itertools.count(1)


def unique(prefix="flow"):
    """A workflow name that no other test uses."""
    return f"{prefix}{next(_names)}"


def task(task_id, *dependencies, **fields):
    step = {
        "task_id": task_id,
        "operator_type": "task",
        "function": f"f.{task_id}",
        "dependencies": list(dependencies),
    }
    return step | fields


def step(operator, task_id, *dependencies, **fields):
    base = {"task_id": task_id, "operator_type": operator, "dependencies": list(dependencies)}
    return base | fields


def document(*steps, name=None, **fields):
    return {"name": name or unique(), "tasks": {s["task_id"]: s for s in steps}} | fields


def branches(**by_name):
    """The two fields of a parallel's branches."""
    return {
        "branches": {name: [s["task_id"] for s in steps] for name, steps in by_name.items()},
        "branch_workflows": {
            name: {"name": f"b_{name}", "tasks": {s["task_id"]: s for s in steps}}
            for name, steps in by_name.items()
        },
    }


def chain(length, name=None, **fields):
    steps = [task("s0")] + [task(f"s{i}", f"s{i - 1}") for i in range(1, length)]
    return document(*steps, name=name, **fields)
