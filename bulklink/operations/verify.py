"""`verify`: compare the ledger of a run with the CRM."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import ExitStack, closing
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Unpack

import msgspec

from bulklink.advice import Advice, NextCall
from bulklink.engine.shutdown import StopController
from bulklink.errors import RunDirError
from bulklink.ledger.state import repair_torn_line
from bulklink.mapping.interrupt import PlanningStop
from bulklink.operations.callbacks import RunCallbacks
from bulklink.operations.cancellation import (
    make_planning_stop,
    run_blocking_planning,
    run_guarded,
)
from bulklink.operations.environment import Environment, real_environment
from bulklink.operations.estimate import estimate_seconds
from bulklink.operations.expected_links import ExpectedLinks
from bulklink.operations.job import Job
from bulklink.operations.job_options import PACE_OPTIONS, PaceOptions, with_options
from bulklink.operations.preflight import check_same_host
from bulklink.operations.verify_log import VerifyOptions
from bulklink.operations.verify_run import Verifier, VerifyResult
from bulklink.operations.wording import describe_undone
from bulklink.runs.folder import RunFolder, folder_of
from bulklink.runs.forecast import CreditRange, SecondsRange
from bulklink.runs.record import RunRecord, RunState, refuse_load_test
from bulklink.zoho.connection import Connection


async def verify(
    run: str | PathLike[str],
    connection: Connection,
    *,
    in_doubt: bool = False,
    sample: int | None = None,
    seed: int = 1,
    read_pages: int | None = None,
    callbacks: RunCallbacks | None = None,
    stop: StopController | None = None,
    environment: Environment | None = None,
    **pace: Unpack[PaceOptions],
) -> VerifyResult:
    """Compare the ledger of a run with the CRM. Neither ledger nor `run.json` is changed.

    Args:
        run: run folder, in any state after something was sent.
        connection: endpoint and credentials of the CRM.
        in_doubt: whether to check only the emails in doubt.
        sample: number of emails to draw at random; None to check all.
        seed: random seed of the sample.
        read_pages: limit on the pages read of each contact; None for no limit.
        callbacks: receives progress and events; None for none.
        stop: stops the verification from outside.
        environment: network, disk and clock; None for this machine's, others for tests.
        **pace: options of `Job`: limits on calls and their rate.

    Returns:
        The result; `exit_code` is 1 if anything differs. Every finding is in `verify.jsonl`.

    Raises:
        UsageError: if a sample is combined with the emails in doubt.
        RunDirError: if this is not a run that sent anything, or the folder cannot be written.
        LockedError: if another process verifies it.
        WrongOrgError: if the run is of another org.
        LedgerError: if the ledger cannot be read.
        InterruptedPlanningError: if it was stopped before anything was read.
    """
    verify_options = VerifyOptions(in_doubt, sample, seed, read_pages)
    job = with_options(None, pace, PACE_OPTIONS)
    work = partial(
        _verify,
        folder_of(run),
        verify_options,
        job,
        connection,
        environment or real_environment(),
    )
    return await run_guarded(work, callbacks, stop)


class VerifyPlan(msgspec.Struct, frozen=True):
    """Plan of a verification: its emails and cost.

    Args:
        run_dir: the run folder.
        emails: emails to look for.
        contacts: contacts of these emails.
        calls: minimum calls, by kind.
        credits: range of credits; one per call.
        seconds: range of seconds.
        reason: why these ranges are so wide; not part of the JSON output.
    """

    run_dir: str
    emails: int
    contacts: int
    calls: dict[str, int]
    credits: CreditRange
    seconds: SecondsRange
    reason: str


def plan_verify(
    run: str | PathLike[str],
    *,
    in_doubt: bool = False,
    sample: int | None = None,
    seed: int = 1,
    read_pages: int | None = None,
    callbacks: RunCallbacks | None = None,
    stop: StopController | None = None,
    **pace: Unpack[PaceOptions],
) -> VerifyPlan:
    """Plan a verification and estimate its cost. No connection is opened.

    Blocks and calls the callbacks as `plan` does.

    Args:
        run: run folder, in any state after something was sent.
        in_doubt: whether to check only the emails in doubt.
        sample: number of emails to draw at random; None to check all.
        seed: random seed of the sample.
        read_pages: limit on the pages read of each contact; None for no limit.
        callbacks: `on_planning` is called twice a second in the calling thread; None for none.
        stop: stops the planning; any thread or signal handler may call its `interrupt`.
        **pace: options of `Job`: limits on calls and their rate.

    Returns:
        The cost.

    Raises:
        UsageError: if a sample is combined with the emails in doubt.
        RunDirError: if this is not a run that sent anything.
        LedgerError: if the ledger cannot be read.
        InterruptedPlanningError: if `stop` ended it.
    """
    verify_options = VerifyOptions(in_doubt, sample, seed, read_pages)
    job = with_options(None, pace, PACE_OPTIONS)
    work = partial(_plan_verify, folder_of(run), verify_options, job)
    return run_blocking_planning(work, callbacks, stop)


def _plan_verify(
    folder: RunFolder,
    verify_options: VerifyOptions,
    job: Job,
    stop: PlanningStop,
    warn: Callable[[str | Advice], None],
) -> VerifyPlan:
    del warn
    record = _read_sent_record(folder)
    with tempfile.TemporaryDirectory(prefix="bulklink-") as scratch:
        expected_links = _load_expected_links(folder, record, verify_options, Path(scratch), stop)
        with closing(expected_links):
            verifier = Verifier(
                folder, record, expected_links, verify_options, RunCallbacks(), StopController()
            )
            cost = verifier.count_cost()
    return VerifyPlan(
        run_dir=str(folder.path),
        emails=cost.emails,
        contacts=cost.contacts,
        calls={"read_at_least": cost.reads, "lookup_at_least": cost.lookups},
        credits=cost.credits,
        seconds=estimate_seconds(cost.credits, job),
        reason=_width_reason(record, verify_options),
    )


def _width_reason(record: RunRecord, verify_options: VerifyOptions) -> str:
    """Return why the forecast of a verification is so wide, in sentences."""
    measured = (
        "The run measured how many pages its contacts take."
        if record.renewed is not None
        else "Unknown before the first calls: how many other emails the contacts have, each page of"
        " which takes a call."
    )
    if verify_options.sample is None:
        return measured
    return f"{measured} A page is read for each email of the sample that is not on one before."


async def _verify(
    folder: RunFolder,
    verify_options: VerifyOptions,
    job: Job,
    connection: Connection,
    environment: Environment,
    callbacks: RunCallbacks,
    stop: StopController,
) -> VerifyResult:
    record = _read_sent_record(folder)
    check_same_host(record, connection)
    interrupt = make_planning_stop(stop)
    with tempfile.TemporaryDirectory(prefix="bulklink-") as scratch, ExitStack() as stack:
        callbacks.on_phase("Reading the ledger")
        folder.check_writable()
        expected_links = await environment.run_blocking(
            partial(_load_expected_links, folder, record, verify_options, Path(scratch), interrupt)
        )
        stack.callback(expected_links.close)
        stack.enter_context(folder.verify_lock())
        repair_torn_line(folder.verification, folder.verification_torn)
        if record.state in (RunState.RUNNING, RunState.STOPPED):
            callbacks.warn(
                f"The run has not finished (its state is {record.state}): only the emails settled"
                " so far are compared."
            )
        if record.last_undo is not None:
            callbacks.warn(
                Advice(
                    "{} The emails that it restored differ from the ledger of this run. To verify"
                    " the undo: {}.",
                    describe_undone(record),
                    NextCall("verify", record.last_undo.run_dir),
                )
            )
        verifier = Verifier(folder, record, expected_links, verify_options, callbacks, stop)
        cost = await environment.run_blocking(verifier.count_cost)
        return await verifier.run(cost, job, connection, environment)


def _read_sent_record(folder: RunFolder) -> RunRecord:
    record = folder.read()
    refuse_load_test(record, folder.path)
    if record.state is RunState.REFUSED or not record.invocations:
        raise RunDirError(
            "Nothing of this run was sent, so there is nothing to verify.",
            where=str(folder.path),
            advice=Advice("See its state: {}.", NextCall("status", folder.path)),
        )
    return record


def _load_expected_links(
    folder: RunFolder,
    record: RunRecord,
    verify_options: VerifyOptions,
    scratch: Path,
    stop: PlanningStop,
) -> ExpectedLinks:
    return ExpectedLinks(
        folder.ledger,
        record.checkpoint,
        in_doubt=verify_options.in_doubt,
        folder=scratch,
        stop=stop,
    )
