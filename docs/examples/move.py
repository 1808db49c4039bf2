"""Relink the emails of a mapping: look at the plan, send it, verify it, keep the results."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from pathlib import Path

import bulklink
from bulklink import (
    Connection,
    Job,
    Op,
    Result,
    RunCallbacks,
    RunProgress,
    RunState,
    StopController,
)

LOG = logging.getLogger("move")


class Log(RunCallbacks):
    """Logs the progress of a run."""

    def on_phase(self, text: str) -> None:
        """Log the current phase."""
        LOG.info("%s …", text)

    def on_warning(self, text: str) -> None:
        """Log a warning."""
        LOG.warning("%s", text)

    def on_progress(self, progress: RunProgress) -> None:
        """Log the rows done and the time left."""
        left = progress.metrics.seconds_left
        rest = f"{left:,.0f} s left" if left is not None else "measuring"
        LOG.info("%d of %d rows, %s", progress.settled, progress.rows, rest)

    def on_failure(self, result: Result) -> None:
        """Log an email that failed or is in doubt."""
        LOG.warning("row %d: %s %s: %s", result.row, result.status, result.code, result.message)


async def move(mapping: str, folder: Path) -> int:
    """Do the whole job and return the exit code that the command line would."""
    connection = Connection.from_environment()
    job = Job(mappings=(mapping,), op=Op.RELINK, run_dir=folder / "run")

    plan = await asyncio.to_thread(bulklink.plan, job)
    LOG.info("%d emails, %d credits at most", plan.messages, plan.credits.most)

    stop, loop = StopController(), asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.interrupt)
    try:
        result = await bulklink.apply(
            folder / "run",
            connection,
            expect=plan.digest,
            callbacks=Log(),
            stop=stop,
            max_credits=100_000,
        )
    finally:
        loop.remove_signal_handler(signal.SIGTERM)
    if result.state is RunState.STOPPED:
        LOG.error("%s", stop.reason)  # why it stopped, and what to do
        return result.exit_code or 0

    check = await bulklink.verify(result.run_dir, connection, sample=299, settle_after=1)
    LOG.info("%d of %d as recorded", check.as_recorded, check.checked)
    await asyncio.to_thread(bulklink.export, result.run_dir, folder / "results.csv")
    return max(result.exit_code or 0, check.exit_code)


def main() -> int:
    """Run the job named on the command line, and exit as bulklink does."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        return asyncio.run(move(sys.argv[1], Path(sys.argv[2])))
    except bulklink.InvalidRowsError as error:
        LOG.critical("%s\n%s", error, "\n".join(error.faults))
        return error.exit_code
    except bulklink.BulklinkError as error:
        LOG.critical("%s", error)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
