"""Temporal: send a sealed plan, over as many days as its credits need.

Start it on the one machine that has the run folders, with a task queue of its own, and start the
workflow with the path of a run folder:

python temporal_worker.py
temporal workflow start --task-queue bulklink --type SendRun --workflow-id july --input '"run"'
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError
from temporalio.worker import Worker

with workflow.unsafe.imports_passed_through():
    import resume_command

TASK_QUEUE = "bulklink"
HOUR = timedelta(hours=1)


@activity.defn
def send(run: str) -> dict[str, int]:
    """Send the plan; after a stop for credits the next try continues when there are some again."""
    try:
        return resume_command.send(run, tick=activity.heartbeat)
    except resume_command.OutOfCreditsError as error:
        raise ApplicationError(str(error), next_retry_delay=delay(error.resume_at)) from error
    except RuntimeError as error:
        raise ApplicationError(str(error), non_retryable=True) from error


def delay(resume_at: str | None) -> timedelta:
    """Return the time until credits are available again; an hour if that is unknown."""
    if resume_at is None:
        return HOUR
    until = datetime.fromisoformat(resume_at) - datetime.now(UTC)
    return max(until, timedelta(minutes=1))


@workflow.defn
class SendRun:
    """Sends a sealed plan; its id should be that of the run, so that it exists once."""

    @workflow.run
    async def run(self, run: str) -> dict[str, int]:
        """Send the plan, and return the number of rows of each status."""
        counts: dict[str, int] = await workflow.execute_activity(
            send,
            run,
            start_to_close_timeout=timedelta(days=2),
            heartbeat_timeout=timedelta(minutes=1),
            retry_policy=RetryPolicy(initial_interval=HOUR, backoff_coefficient=1.0),
        )
        return counts


async def main() -> None:
    """Work until the process is stopped."""
    client = await Client.connect("localhost:7233")
    with ThreadPoolExecutor(8) as threads:
        worker = Worker(
            client,
            task_queue=TASK_QUEUE,
            workflows=[SendRun],
            activities=[send],
            activity_executor=threads,
        )
        await worker.run()


if __name__ == "__main__":
    asyncio.run(main())
