"""The workflow documents of the example, built with highway-dsl and printed as YAML

    pip install highway-dsl==2.2.0
    python examples/workflow_document.py                        # examples/seed_data_pipeline.yaml
    python examples/workflow_document.py --version 2.0.1 --retry-delay 1
    python examples/workflow_document.py approval

The database does not need this package: it executes what is printed here. Register that with
absurd.register_workflow_yaml; examples/workflow_worker.py does the work of the steps.
"""

import argparse
from datetime import timedelta

from highway_dsl import RetryPolicy, Workflow, WorkflowBuilder


def pipeline(version: str = "2.0.0", retry_delay: float = 30) -> Workflow:
    """Extract, transform, two parts side by side, load; every night at two, four tries a step."""
    return (
        WorkflowBuilder("data_pipeline", version=version)
        .set_description("Extract, transform, fan out and load")
        .set_schedule("0 2 * * *")
        .add_tags("etl", "production")
        .set_default_retry_policy(
            RetryPolicy(max_retries=3, delay=timedelta(seconds=retry_delay), backoff_factor=2.0)
        )
        .task("extract", "etl.extract", result_key="raw_data")
        .task("transform", "etl.transform", args=["{{raw_data}}"], result_key="transformed_data")
        .parallel(
            "process_branches",
            {
                "branch_a": lambda branch: branch.task("process_a", "etl.process_a"),
                "branch_b": lambda branch: branch.task("process_b", "etl.process_b"),
            },
        )
        .task("load", "etl.load", args=["{{transformed_data}}"])
        .build()
    )


def approval(version: str = "1.0.0", retry_delay: float = 30) -> Workflow:
    """Cleans the orders, then waits, for a day at most, until a person approves of them.

    The first emission of an event counts for everybody, hence the run's id in its name.
    """
    return (
        WorkflowBuilder("orders_with_approval", version=version)
        .set_description("Announce the orders once somebody has approved of them")
        .set_default_retry_policy(
            RetryPolicy(max_retries=3, delay=timedelta(seconds=retry_delay), backoff_factor=2.0)
        )
        .task("extract", "etl.extract", result_key="raw_data")
        .task("transform", "etl.transform", args=["{{raw_data}}"], result_key="cleaned")
        .wait_for_event(
            "approval", "approved:{{run.id}}", timeout_seconds=86400, result_key="approval"
        )
        .task(
            "announce",
            "etl.announce",
            kwargs={"orders": "{{cleaned.accepted}}", "approved_by": "{{approval.by}}"},
            result_key="announcement",
        )
        .build()
    )


DOCUMENTS = {"pipeline": pipeline, "approval": approval}


def main() -> None:
    parser = argparse.ArgumentParser(description="Prints a workflow document as YAML.")
    parser.add_argument("document", nargs="?", choices=DOCUMENTS, default="pipeline")
    parser.add_argument("--version", help="its version, instead of the document's own")
    parser.add_argument("--retry-delay", type=float, help="seconds before a step's second try")
    given = vars(parser.parse_args())
    build = DOCUMENTS[given.pop("document")]
    chosen = {name: value for name, value in given.items() if value is not None}
    print(build(**chosen).to_yaml(), end="")


if __name__ == "__main__":
    main()
