"""`verify`: compare the ledger of a run with the CRM."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Unpack

import msgspec

from bulklink.advice import Advice, Keyword, NextCall
from bulklink.counts import count_of, inflect
from bulklink.engine.quota.budget import command_credits_error
from bulklink.engine.shutdown import StopController
from bulklink.errors import (
    BulklinkError,
    InterruptedPlanningError,
    RunDirError,
    RunStoppedError,
    StoppedBy,
)
from bulklink.ledger.state import repair_torn_line
from bulklink.mapping.interrupt import PlanningStop
from bulklink.mapping.original_rows import load_origin_rows
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
from bulklink.operations.verify_log import VerifyCost, VerifyOptions
from bulklink.operations.verify_run import Findings, Verifier, VerifyResult
from bulklink.operations.verify_share import Part, VerifyShare, divide, sum_costs
from bulklink.operations.wording import describe_undone
from bulklink.runs.folder import RunFolder
from bulklink.runs.forecast import CreditRange, SecondsRange
from bulklink.runs.job_folder import find_job, undoing_path
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

    A sample is drawn over all shards of a job, and bounds the wrong emails of all of them.

    Args:
        run: run folder, in any state after something was sent, or the folder of a job, whose
            shards are verified one after another.
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
        The result; `exit_code` is 1 if anything differs. Every finding is in `verify.jsonl`
        of the run or shard.

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
        Path(run),
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
        run: run folder, in any state after something was sent, or the folder of a job.
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
    work = partial(_plan_verify, Path(run), verify_options, job)
    return run_blocking_planning(work, callbacks, stop)


def _plan_verify(
    path: Path,
    verify_options: VerifyOptions,
    job: Job,
    stop: PlanningStop,
    warn: Callable[[str | Advice], None],
) -> VerifyPlan:
    parts = _sent_parts(path, warn)
    with (
        tempfile.TemporaryDirectory(prefix="bulklink-") as scratch,
        closing(_Loader(verify_options, Path(scratch), stop)) as loader,
    ):
        cost = sum_costs(divide(parts, loader.load, verify_options))
    return VerifyPlan(
        run_dir=str(path),
        emails=cost.emails,
        contacts=cost.contacts,
        calls={"read_at_least": cost.reads, "lookup_at_least": cost.lookups},
        credits=cost.credits,
        seconds=estimate_seconds(cost.credits, job),
        reason=_width_reason([record for _, record in parts], verify_options),
    )


def _width_reason(records: Sequence[RunRecord], verify_options: VerifyOptions) -> str:
    """Return why the forecast of a verification is so wide, in sentences."""
    measured = (
        "The run measured how many pages its contacts take."
        if all(record.renewed is not None for record in records)
        else "Unknown before the first calls: how many other emails the contacts have, each page of"
        " which takes a call."
    )
    if verify_options.sample is None:
        return measured
    return f"{measured} A page is read for each email of the sample that is not on one before."


async def _verify(
    path: Path,
    verify_options: VerifyOptions,
    job: Job,
    connection: Connection,
    environment: Environment,
    callbacks: RunCallbacks,
    stop: StopController,
) -> VerifyResult:
    parts = _sent_parts(path, callbacks.warn)
    for _, record in parts:
        check_same_host(record, connection)
    with (
        tempfile.TemporaryDirectory(prefix="bulklink-") as scratch,
        closing(_Loader(verify_options, Path(scratch), make_planning_stop(stop))) as loader,
    ):
        callbacks.on_phase("Reading the ledger")
        for folder, _ in parts:
            folder.check_writable()
        shares = await environment.run_blocking(partial(divide, parts, loader.load, verify_options))
        _warn_of_states([record for _, record in parts], callbacks.warn)
        verification = _Verification(
            loader=loader,
            options=verify_options,
            job=job,
            connection=connection,
            environment=environment,
            callbacks=callbacks,
            stop=stop,
        )
        await verification.run(parts, shares)
    return verification.result(path, parts, shares)


@dataclass(slots=True, kw_only=True)
class _Verification:
    """Verification of a run, or of the shards of a job one after another.

    Attributes:
        findings: findings so far, with row numbers over the whole mapping.
    """

    loader: _Loader
    options: VerifyOptions
    job: Job
    connection: Connection
    environment: Environment
    callbacks: RunCallbacks
    stop: StopController
    findings: Findings = field(default_factory=Findings, init=False)

    async def run(self, parts: Sequence[Part], shares: Sequence[VerifyShare]) -> None:
        """Verify each run until one stops; an error that is not the first run's stops it."""
        # A shard of a job that has nothing to look for is left as it is.
        chosen = [
            (part, share)
            for part, share in zip(parts, shares, strict=True)
            if share.cost.emails or len(parts) == 1
        ]
        for number, (part, share) in enumerate(chosen):
            try:
                await self._verify_part(part, share, shares if number == 0 else ())
            except InterruptedPlanningError:
                if number == 0:
                    raise
            except BulklinkError as error:
                if number == 0:
                    raise
                self.stop.request(error)
            if self.stop.reason is not None:
                return

    async def _verify_part(
        self, part: Part, share: VerifyShare, announced: Sequence[VerifyShare]
    ) -> None:
        """Verify a run.

        Args:
            part: the run.
            share: what is verified of it.
            announced: shares whose cost is announced before anything is read.
        """
        folder, record = part
        job, limit, spent = self.job, self.job.max_credits, self._credits
        if limit is not None and spent:
            if spent >= limit:
                self.stop.request(_credits_error(limit))
                return
            job = msgspec.structs.replace(job, max_credits=limit - spent)
        if record.shard is not None:
            self.callbacks.on_phase(f"Shard {record.shard.number:,} of {record.shard.shards:,}")
        links = await self.environment.run_blocking(partial(self.loader.load, part))
        with folder.verify_lock():
            repair_torn_line(folder.verification, folder.verification_torn)
            if announced:
                self._announce(sum_costs(announced))
            verifier = Verifier(
                folder, record, links, share, self.options, self.callbacks, self.stop
            )
            findings = await verifier.run(job, self.connection, self.environment)
        await self.environment.run_blocking(partial(_name_origin_rows, folder, record, findings))
        self.findings.add(findings)
        reason = self.stop.reason
        if limit is not None and spent and reason and reason.stopped_by is StoppedBy.MAX_CREDITS:
            self.stop.reason = _credits_error(limit)  # not only what was left for this shard

    @property
    def _credits(self) -> int:
        """Credits of the runs so far."""
        return self.findings.calls["read"] + self.findings.calls["lookup"]

    def _announce(self, cost: VerifyCost) -> None:
        if cost.emails:
            emails, contacts = count_of(cost.emails, "email"), count_of(cost.contacts, "contact")
            self.callbacks.on_cost(
                f"{emails} of {contacts}",
                credits_at_least=cost.credits.least,
                credit_range=cost.credits,
            )

    def result(
        self, path: Path, parts: Sequence[Part], shares: Sequence[VerifyShare]
    ) -> VerifyResult:
        """Return the sum of what was found."""
        sample, options = None, self.options
        if options.sample is not None:
            population = sum(share.population for share in shares)
            sample = self.findings.bound(population, min(options.sample, population), options.seed)
        return self.findings.result(
            str(path), sample=sample, reason=self.stop.reason, undone_by=_undone_by(parts)
        )


def _credits_error(limit: int) -> RunStoppedError:
    return command_credits_error(
        limit, Advice("Verify the job with another {}, or a sample.", Keyword("max_credits"))
    )


def _name_origin_rows(folder: RunFolder, record: RunRecord, findings: Findings) -> None:
    """Replace the row numbers of a shard in the findings to show by those over the mapping."""
    if record.shard is None or not findings.details:
        return
    rows = {detail.expected.row for details in findings.details.values() for detail in details}
    origins = load_origin_rows(folder.plan, rows)
    replace = msgspec.structs.replace
    findings.details = {
        finding: [
            replace(
                detail,
                expected=replace(
                    detail.expected, row=origins.get(detail.expected.row, detail.expected.row)
                ),
            )
            for detail in details
        ]
        for finding, details in findings.details.items()
    }


def _undone_by(parts: Sequence[Part]) -> str | None:
    """Return the folder of the run or job that wholly undid the runs; None if none did."""
    undos = [record.effective_undo for _, record in parts]
    first = undos[0]
    if first is None or None in undos:
        return None
    return str(undoing_path(parts[0][1], first))


def _sent_parts(path: Path, warn: Callable[[str | Advice], None]) -> list[Part]:
    """Return the run, or the shards of a job of which something was sent; warn about others.

    Raises:
        RunDirError: if nothing was sent.
    """
    job = find_job(path)
    if job is None:
        return [(RunFolder(path), _read_sent_record(RunFolder(path)))]
    shards = job.open_shards(job.read())
    parts = [part for part in shards if _was_sent(part[1])]
    if not parts:
        raise _unsent_error(path)
    if unsent := len(shards) - len(parts):
        warn(
            f"{count_of(unsent, 'shard')} of {len(shards):,} {inflect(unsent, 'was', 'were')} not"
            f" sent yet, and {inflect(unsent, 'is', 'are')} left out."
        )
    return parts


def _warn_of_states(records: Sequence[RunRecord], warn: Callable[[str | Advice], None]) -> None:
    """Warn of runs whose ledger does not show what became of all their emails."""
    unfinished = [r for r in records if r.state in (RunState.RUNNING, RunState.STOPPED)]
    if unfinished:
        record = unfinished[0]
        run, state = "The run has", f"(its state is {record.state})"
        if record.shard is not None:
            run = count_of(len(unfinished), "shard has", "shards have")
            state = f"(the state of shard {record.shard.number:,} is {record.state})"
        warn(f"{run} not finished {state}: only the emails settled so far are compared.")
    undone = next((record for record in records if record.last_undo is not None), None)
    if undone is not None and undone.last_undo is not None:
        path = undoing_path(undone, undone.last_undo)
        text = describe_undone(undone)
        if len(records) > 1:
            text = f"Undone in whole or in part by {path}."
        warn(
            Advice(
                "{} The emails that it restored differ from the ledger of this run. To verify"
                " the undo: {}.",
                text,
                NextCall("verify", path),
            )
        )


def _was_sent(record: RunRecord) -> bool:
    return record.state is not RunState.REFUSED and bool(record.invocations)


def _unsent_error(path: Path) -> RunDirError:
    return RunDirError(
        "Nothing of this run was sent, so there is nothing to verify.",
        where=str(path),
        advice=Advice("See its state: {}.", NextCall("status", path)),
    )


def _read_sent_record(folder: RunFolder) -> RunRecord:
    record = folder.read()
    refuse_load_test(record, folder.path)
    if not _was_sent(record):
        raise _unsent_error(folder.path)
    return record


class _Loader:
    """Loads the expected links of one run at a time.

    Args:
        options: options of the verification.
        scratch: folder for temporary files.
        stop: interrupts the work from another thread.
    """

    def __init__(self, options: VerifyOptions, scratch: Path, stop: PlanningStop) -> None:
        self._options = options
        self._scratch = scratch
        self._stop = stop
        self._loaded: tuple[Path, ExpectedLinks] | None = None

    def load(self, part: Part) -> ExpectedLinks:
        """Return the expected links of a run, and drop those of another; blocks."""
        folder, record = part
        if self._loaded is not None and self._loaded[0] == folder.path:
            return self._loaded[1]
        self.close()
        links = ExpectedLinks(
            folder.ledger,
            record.checkpoint,
            in_doubt=self._options.in_doubt,
            folder=self._scratch,
            stop=self._stop,
        )
        self._loaded = folder.path, links
        return links

    def close(self) -> None:
        """Drop the expected links."""
        if self._loaded is not None:
            self._loaded[1].close()
            self._loaded = None
