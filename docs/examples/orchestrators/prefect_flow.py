"""Prefect: correct the emails of a mapping, over as many days as their credits need.

python prefect_flow.py MAPPING RUN
"""

from __future__ import annotations

import sys
from typing import Any

import run_steps
from prefect import flow, task


def is_out_of_credits(_task: Any, _task_run: Any, state: Any) -> bool:
    """Return whether a later try can continue; anything else needs somebody to look."""
    return isinstance(state.result(raise_on_failure=False), run_steps.OutOfCreditsError)


@task(retries=14 * 24, retry_delay_seconds=3600, retry_condition_fn=is_out_of_credits)
def send(run: str) -> dict[str, int]:
    """Send the plan; after a stop for credits the next try continues, an hour later."""
    return run_steps.send(run)


@flow(log_prints=True)
def correct_emails(mapping: str, run: str) -> None:
    """Seal, send and verify."""
    task(run_steps.seal)(mapping, run)
    print(send(run))
    print(task(run_steps.verify)(run))


if __name__ == "__main__":
    correct_emails(sys.argv[1], sys.argv[2])
