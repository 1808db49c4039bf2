"""Airflow: correct the emails of a mapping, over as many days as their credits need.

Copy this file and run_steps.py into the folder of your DAGs. To try it without a scheduler:

python airflow_dag.py MAPPING RUN
"""

from __future__ import annotations

import sys
from datetime import timedelta

import run_steps
from airflow.sdk import dag, task
from airflow.sdk.exceptions import AirflowFailException

import bulklink


@task
def seal(mapping: str, run: str) -> str:
    """Seal the plan. Refused rows fail the task, with their reasons in its log."""
    return run_steps.seal(mapping, run)


@task(retries=14 * 24, retry_delay=timedelta(hours=1))
def send(run: str) -> dict[str, int]:
    """Send the plan; after a stop for credits the next try continues, an hour later."""
    try:
        return run_steps.send(run)
    except bulklink.BulklinkError as error:
        raise AirflowFailException(str(error)) from error


@task
def verify(run: str) -> str:
    """Read a sample back."""
    return run_steps.verify(run)


@dag(schedule=None, params={"mapping": "mapping.csv", "run": "run"}, max_active_runs=1)
def correct_emails() -> None:
    """Seal, send and verify; trigger it with the paths of the mapping and a new run folder."""
    run = seal("{{ params.mapping }}", "{{ params.run }}")
    send(run) >> verify(run)


correct = correct_emails()

if __name__ == "__main__":
    correct.test(run_conf={"mapping": sys.argv[1], "run": sys.argv[2]})
