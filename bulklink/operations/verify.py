"""Holding a ledger against the CRM: is every email where the ledger says it is?"""

from __future__ import annotations

import tempfile
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Unpack

import anyio.to_thread

from bulklink.engine.shutdown import Stopping
from bulklink.errors import RunDirError
from bulklink.ledger.state import mend, replay
from bulklink.mapping.interrupt import Stop
from bulklink.operations.callbacks import Watch
from bulklink.operations.cancellation import guarded
from bulklink.operations.environment import real_surroundings
from bulklink.operations.expected_links import Claims
from bulklink.operations.job import PACE, Job, PaceOptions, with_options
from bulklink.operations.preflight import check_place
from bulklink.operations.verify_run import Asked, Verification, Verifier, checked_asked
from bulklink.runs.folder import RunFolder, folder_of
from bulklink.runs.record import RunRecord, State
from bulklink.shell import quoted
from bulklink.zoho.connection import Connection


async def verify(
    run: str | PathLike[str],
    connection: Connection,
    *,
    in_doubt: bool = False,
    sample: int | None = None,
    seed: int = 1,
    read_pages: int | None = None,
    watch: Watch | None = None,
    stopping: Stopping | None = None,
    **pace: Unpack[PaceOptions],
) -> Verification:
    """Hold the ledger of a run against the CRM. Neither ledger nor `run.json` is changed.

    Args:
        run: the run folder, in any state in which something was sent.
        connection: where the CRM is and how to sign in.
        in_doubt: look at the emails in doubt alone.
        sample: how many emails are drawn; None looks at all.
        seed: which are drawn: the same seed draws the same.
        read_pages: pages of a contact's emails that are read at most; None is no limit.
        watch: call-backs; None watches nothing.
        stopping: by which it can be stopped from outside.
        **pace: options of `Job`: how many calls are made, and how fast.

    Returns:
        What came out; `exit_code` is 1 at a difference. Every finding is in `verify.jsonl`.

    Raises:
        UsageError: if a sample is to be drawn of the emails in doubt.
        RunDirError: if this is no run that sent anything, or the folder cannot be written.
        LockedError: if another process verifies it.
        WrongOrgError: if it ran elsewhere.
        LedgerError: if the ledger cannot be read.
        InterruptedPlanningError: if it was stopped before anything was read.
    """
    asked = checked_asked(Asked(in_doubt, sample, seed, read_pages))
    limits = with_options(None, pace, PACE)
    work = partial(_verify, folder_of(run), asked, limits, connection)
    return await guarded(work, watch, stopping)


async def _verify(
    folder: RunFolder,
    asked: Asked,
    limits: Job,
    connection: Connection,
    watch: Watch,
    stopping: Stopping,
) -> Verification:
    record = _sent(folder)
    check_place(record, connection)
    loading, loaded = Stop(), False

    def interrupt() -> None:
        if not loaded:  # later the claims are read to where the work stops
            loading.interrupt()

    stopping.on_stop(interrupt)
    with tempfile.TemporaryDirectory(prefix="bulklink-") as scratch, folder.verified():
        watch.phase("Reading the ledger")
        mend(folder.verification, folder.verification_torn)
        claims = await anyio.to_thread.run_sync(_claims, folder, asked, Path(scratch), loading)
        try:
            if record.state in (State.RUNNING, State.STOPPED):
                watch.warn(
                    f"The run is not over (its state is {record.state}): what it has settled so"
                    " far is compared."
                )
            verifier = await anyio.to_thread.run_sync(
                Verifier, folder, record, claims, asked, watch, stopping
            )
            loaded = True
            return await verifier.run(limits, connection, real_surroundings())
        finally:
            claims.close()


def _sent(folder: RunFolder) -> RunRecord:
    record = folder.read()
    if record.state is State.REFUSED or not record.invocations:
        raise RunDirError(
            "Nothing of this run was sent, so there is nothing to verify.",
            where=str(folder.path),
            advice=f"{quoted('status', folder.path)} shows where it stands.",
        )
    return record


def _claims(folder: RunFolder, asked: Asked, scratch: Path, stop: Stop) -> Claims:
    told = replay(folder.ledger)
    return Claims(
        folder.ledger, frozenset(told.open), in_doubt=asked.in_doubt, folder=scratch, stop=stop
    )
