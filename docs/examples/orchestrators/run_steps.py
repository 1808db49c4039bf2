"""Steps of a scheduled run. Each can be repeated: what is done already is not done twice."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import bulklink
from bulklink import ExitCode, Job, Op, RunState, StopController


class OutOfCreditsError(Exception):
    """Raised when the credits are used up: a later try continues the run."""


def seal(mapping: str, run: str) -> str:
    """Check the mapping and seal its plan in the run folder, unless an earlier try did.

    A plan that was refused sent nothing: it is made again, of the mapping as it is now.

    Raises:
        RuntimeError: if rows are refused.
    """
    is_planned = (Path(run) / "run.json").exists()
    if is_planned and bulklink.status(run).state is RunState.REFUSED:
        shutil.rmtree(run)
        is_planned = False
    if not is_planned:
        job = Job(mappings=(mapping,), op=Op.RELINK, run_dir=Path(run))
        try:
            bulklink.plan(job)
        except bulklink.InvalidRowsError as error:
            raise RuntimeError("\n".join([str(error), *error.faults])) from error
    return run


def send(run: str) -> dict[str, int]:
    """Send the sealed plan, or continue where an earlier try stopped; return the counts.

    Raises:
        OutOfCreditsError: if the run stopped for credits.
        bulklink.BulklinkError: if it stopped for anything else, so somebody must look.
    """
    is_new = bulklink.status(run).state is RunState.PLANNED
    send_plan = bulklink.apply if is_new else bulklink.resume
    stop = StopController()
    result = asyncio.run(send_plan(run, bulklink.load_connection(), stop=stop, yes=True))
    if result.exit_code == ExitCode.CREDITS:
        raise OutOfCreditsError(str(stop.reason))
    if result.state is RunState.STOPPED and stop.reason is not None:
        raise stop.reason
    return dict(result.counts)


def verify(run: str) -> str:
    """Read a sample of the emails back and write the results of all rows; return what is left.

    Raises:
        RuntimeError: if the CRM differs from the ledger, or some rows are not done.
    """
    check = asyncio.run(bulklink.verify(run, bulklink.load_connection(), sample=299))
    bulklink.export(run, Path(run).with_suffix(".csv"), force=True)
    counts = bulklink.status(run).counts
    summary = f"{check.as_recorded} of {check.checked} as recorded; {dict(counts)}"
    if check.exit_code != ExitCode.OK or counts["failed"] or counts["in_doubt"]:
        raise RuntimeError(summary)
    return summary
