"""Dagster: correct the emails of a mapping, over as many days as their credits need.

python dagster_job.py MAPPING RUN
"""

# Dagster reads the annotation of a configuration, so it cannot be postponed by __future__.
import sys

import dagster as dg
import run_steps


class Paths(dg.Config):
    """The mapping to send, and a new run folder."""

    mapping: str
    run: str


@dg.op
def seal(config: Paths) -> str:
    """Seal the plan."""
    return run_steps.seal(config.mapping, config.run)


@dg.op
def send(run: str) -> str:
    """Send the plan; after a stop for credits the next try continues, an hour later."""
    try:
        counts = run_steps.send(run)
    except run_steps.OutOfCreditsError as error:
        raise dg.RetryRequested(max_retries=14 * 24, seconds_to_wait=3600) from error
    dg.get_dagster_logger().info(str(counts))
    return run


@dg.op
def verify(run: str) -> None:
    """Read a sample back."""
    dg.get_dagster_logger().info(run_steps.verify(run))


@dg.job
def correct_emails() -> None:
    """Seal, send and verify."""
    verify(send(seal()))


definitions = dg.Definitions(jobs=[correct_emails])

if __name__ == "__main__":
    paths = Paths(mapping=sys.argv[1], run=sys.argv[2])
    correct_emails.execute_in_process(run_config=dg.RunConfig(ops={"seal": paths}))
