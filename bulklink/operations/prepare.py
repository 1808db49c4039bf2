"""Preparing a run: check the mapping, seal the plan, open the ledger with what is never sent."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import version
from itertools import chain, islice
from pathlib import Path
from typing import Any

import msgspec

from bulklink.errors import InvalidRowsError, LedgerError, UsageError
from bulklink.ledger.records import Result, result_line, timestamp
from bulklink.mapping.checked import CheckedMapping, check
from bulklink.mapping.input.files import Source
from bulklink.mapping.interrupt import PlanningStop
from bulklink.mapping.plan_stats import PlanStats
from bulklink.mapping.plan_writer import digest
from bulklink.mapping.schema import MappingOptions, RowFault
from bulklink.models import Op, Status
from bulklink.operations.estimate import (
    ASSUMED_LATENCY,
    estimate_calls,
    estimate_run,
    minimum_calls,
)
from bulklink.operations.job import Job, OnInvalid
from bulklink.runs.folder import RunFolder
from bulklink.runs.hashes import ledger_hash, sha256_of
from bulklink.runs.record import CallForecast, InputRecord, RunRecord, RunState

MAX_FAULTS_SHOWN = 20


class ExtraRows(msgspec.Struct, frozen=True):
    """What a run holds beside its mapping.

    Args:
        count: rows behind those of the mapping that are refused for reasons of their own.
        results: streams what the ledger says of them.
        record_fields: fields of the record.
    """

    count: int
    results: Callable[[], Iterator[Result]]
    record_fields: dict[str, Any]


NO_EXTRA_ROWS = ExtraRows(0, lambda: iter(()), {})


def check_mapping(
    job: Job,
    inputs: tuple[Source, ...],
    scratch: Path,
    stop: PlanningStop,
    *,
    guarded: tuple[Op, ...] = (Op.UNLINK, Op.RELINK),
) -> CheckedMapping:
    """Read a job's mapping and check every row; to be closed when done.

    Args:
        job: what is asked.
        inputs: the files.
        scratch: a folder for temporary files.
        stop: ends it from another thread.
        guarded: operations that `from_deal_id` guards.

    Raises:
        BadFileError: if the mapping cannot be read as a whole.
        InterruptedPlanningError: if `stop` ended it.
    """
    options = MappingOptions(
        op=job.op,
        columns=job.columns,
        defaults=job.defaults,
        only=job.only,
        keep=job.keep,
        allow_round_ids=job.allow_round_ids,
        delimiter=job.delimiter,
        encoding=job.encoding,
        guarded_ops=guarded,
    )
    return check(inputs, options, scratch, stop=stop, memory=job.memory)


def prepare_run(
    checked: CheckedMapping,
    job: Job,
    folder: RunFolder,
    now: float,
    extra_rows: ExtraRows = NO_EXTRA_ROWS,
) -> RunRecord:
    """Seal the plan of a checked mapping in a fresh run folder.

    Args:
        checked: the mapping.
        job: what is asked.
        folder: of the run, driven by this process.
        now: seconds since 1970.
        extra_rows: what the run holds beside the mapping.

    Returns:
        The record of the run, planned.

    Raises:
        InvalidRowsError: if rows are refused and the job stops at such rows.
        UsageError: if it cannot be without a snapshot, as the job asks.
        LedgerError: if the ledger cannot be written.
        InterruptedPlanningError: if it was ended from another thread.
    """
    record = new_record(
        job,
        timestamp(now),
        inputs=tuple(InputRecord(i.name, i.sha256, i.bytes, i.records) for i in checked.inputs),
        rows=checked.rows + extra_rows.count,
        left_out=checked.left_out,
        messages=checked.messages,
        counts={
            Status.REJECTED: checked.rejected + extra_rows.count,
            Status.DUPLICATE: checked.duplicates,
        },
        **extra_rows.record_fields,
    )
    if checked.rejected:
        checked.write_rejects(folder.path)
    if is_refused(checked, job):
        folder.write(record.replace(state=RunState.REFUSED, reason=InvalidRowsError.code))
        raise invalid_rows_error(
            checked, f"Mend them in {folder.rejects}, which is a mapping itself"
        )
    shape = checked.plan_stats()
    check_snapshot(job, guarded=checked.guarded, relinks=shape.relinks)
    checked.seal(folder.path)
    create_ledger(
        folder.ledger, chain(_initial_results(checked), extra_rows.results()), timestamp(now)
    )
    sealed = record.replace(
        digest=digest(checked.inputs, job.plan_settings()),
        plan_sha256=sha256_of(folder.plan),
        **ledger_hash(folder.ledger),
        by_op={Op.LINK: shape.links, Op.UNLINK: shape.unlinks, Op.RELINK: shape.relinks},
        least=minimum_calls(shape, job),
        forecast=_forecast(shape, job),
    )
    folder.write(sealed)
    return sealed


def check_snapshot(job: Job, *, guarded: int, relinks: int) -> None:
    """Refuse to go without a snapshot where that could not be meant.

    Args:
        job: what is asked.
        guarded: rows with a guard.
        relinks: messages that are relinked.

    Raises:
        UsageError: if guards could not be looked at, or relinks not be put back.
    """
    if job.snapshot is not False:
        return
    if guarded:
        raise UsageError(
            f"{guarded:,} rows say in from_deal_id which deal their email must be on, and only the"
            " snapshot tells which it is on.",
            where="--no-snapshot",
            advice="Leave it out; or rename the column, if it is one of your own.",
        )
    if relinks and not job.accept_no_put_back:
        raise UsageError(
            "Without a snapshot a relink whose link is refused cannot be put back on the deal that"
            " it was on.",
            where="--no-snapshot",
            advice="Leave it out, or add --accept-no-put-back if that may happen.",
        )


def _forecast(shape: PlanStats, job: Job) -> CallForecast:
    calls = estimate_calls(shape, job, module_known=False)
    estimate = estimate_run(shape, calls, job, latency=ASSUMED_LATENCY, users=1)
    reads, lookups = calls.read_at_least, calls.lookup_at_least
    return CallForecast(calls.link, calls.unlink, reads, lookups, estimate.seconds)


def is_refused(checked: CheckedMapping, job: Job) -> bool:
    """Tell whether the rows of a mapping keep it from being sent."""
    stops = checked.rejected > 0 and job.on_invalid is OnInvalid.STOP
    return stops or checked.unclosed_quote is not None


def invalid_rows_error(checked: CheckedMapping, fix: str) -> InvalidRowsError:
    """Return the error that shows the first refused rows.

    Args:
        checked: the mapping.
        fix: how to mend them, the beginning of a sentence.
    """
    first = list(islice(checked.faults(), MAX_FAULTS_SHOWN))
    faults = [f"{_location(f)}: row {f.row}: {f.reason}: {f.message}" for f in first]
    unclosed = checked.unclosed_quote
    if unclosed is not None:
        return InvalidRowsError(
            "A quote is never closed: what follows it cannot be told apart.",
            where=f"{_location(unclosed)}, row {unclosed.row}",
            advice="Close it, or double it if it is part of the text.",
            faults=tuple(faults),
        )
    return InvalidRowsError(
        f"{checked.rejected:,} of {checked.rows:,} rows are refused; nothing was sent.",
        where=", ".join(map(_location, first[:1])),
        advice=f"{fix}, or leave them out with --on-invalid skip.",
        faults=tuple(faults),
    )


def _location(fault: RowFault) -> str:
    return f"{fault.file}:{fault.line}"


def new_record(job: Job, ts: str, **fields: Any) -> RunRecord:
    """Return the record of a new run.

    Args:
        job: options of the run.
        ts: time of its creation, as the ledger writes it.
        **fields: further fields of the record.
    """
    return RunRecord(
        version=version("bulklink"),
        op=job.op_name,
        asked=serialize_job(job),
        created=ts,
        **fields,
    )


def serialize_job(job: Job) -> dict[str, object]:
    """Return all options of a job as `run.json` keeps them."""
    options = msgspec.to_builtins(job, enc_hook=str)
    return {name: value for name, value in options.items() if value is not None}


def create_ledger(path: Path, results: Iterable[Result], ts: str) -> None:
    """Write what is known before anything is sent: refused rows and duplicates.

    Raises:
        LedgerError: if it cannot be written.
    """
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            for result in results:
                file.write(result_line(ts, result))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise LedgerError(
            f"The ledger cannot be written: {error.strerror or error}.",
            where=str(path),
            advice="Make room on the disk, then start again in another run folder.",
        ) from None


def _initial_results(checked: CheckedMapping) -> Iterator[Result]:
    for row in checked.refused_rows():
        yield Result(
            row.row, row.op, row.contact_id, row.owner_id, row.message_id, row.deal_id,
            Status.REJECTED, row.reason, message=row.message,
        )  # fmt: skip
    for duplicate in checked.duplicate_rows():
        yield Result(
            duplicate.row,
            duplicate.op,
            duplicate.contact_id,
            duplicate.owner_id,
            duplicate.message_id,
            duplicate.deal_id,
            Status.DUPLICATE,
            duplicate_of=duplicate.duplicate_of,
        )
