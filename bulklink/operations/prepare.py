"""Preparation of a run: check the mapping, seal the plan, create the ledger."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from importlib.metadata import version
from itertools import chain, islice
from pathlib import Path
from typing import Any

import msgspec

from bulklink.advice import Advice, Keyword
from bulklink.counts import count_of
from bulklink.decoding import convert
from bulklink.errors import BadFileError, InvalidRowsError, LedgerError, UsageError
from bulklink.folder_files import create_file
from bulklink.ledger.records import Result, result_line, timestamp
from bulklink.mapping.checked import CheckedMapping, check
from bulklink.mapping.input.files import Source
from bulklink.mapping.interrupt import PlanningStop
from bulklink.mapping.plan_digest import DIGEST_VERSION, read_plan_content
from bulklink.mapping.plan_reader import UnknownRow
from bulklink.mapping.schema import DuplicateRow, MappingOptions, RefusedRow, RowFault
from bulklink.models import MAX_ROWS, Op, Status
from bulklink.operations.cost_model import measure_sizes
from bulklink.operations.estimate import (
    ASSUMED_LATENCY,
    CallEstimate,
    RunEstimate,
    estimate_calls,
    estimate_run,
)
from bulklink.operations.job import Job, OnInvalid
from bulklink.operations.job_options import serialize_job
from bulklink.runs.folder import RunFolder
from bulklink.runs.forecast import CallForecast, PlanSizes
from bulklink.runs.hashes import ledger_hash, sha256_of
from bulklink.runs.record import InputRecord, RunRecord, RunState

MAX_FAULTS_SHOWN = 20


_NO_SNAPSHOT = Advice("{}", Keyword("snapshot", value=False))


class ExtraRows(msgspec.Struct, frozen=True):
    """Rows and record fields that a run has in addition to its mapping.

    Args:
        count: rejected rows, numbered after those of the mapping.
        results: streams their results.
        record_fields: fields of `run.json`.
        pages_ratio: pages that an earlier run read, relative to those its emails alone would fill.
    """

    count: int
    results: Callable[[], Iterator[Result]]
    record_fields: dict[str, Any]
    pages_ratio: float = 1.0


NO_EXTRA_ROWS = ExtraRows(0, lambda: iter(()), {})


def check_mapping(
    job: Job,
    inputs: tuple[Source, ...],
    scratch: Path,
    stop: PlanningStop,
    *,
    guarded: tuple[Op, ...] = (Op.UNLINK, Op.RELINK),
) -> CheckedMapping:
    """Read a job's mapping and check every row; the caller closes it.

    Args:
        job: options of the mapping.
        inputs: the files.
        scratch: folder of temporary files.
        stop: stops the work from another thread.
        guarded: operations that `from_deal_id` guards.

    Raises:
        BadFileError: if the mapping cannot be read as a whole.
        InterruptedPlanningError: if `stop` ended it.
    """
    options = mapping_options(job, guarded)
    return check(inputs, options, scratch, stop=stop, memory=job.memory)


def mapping_options(job: Job, guarded: tuple[Op, ...] = (Op.UNLINK, Op.RELINK)) -> MappingOptions:
    """Return the options of a job for reading its mapping.

    Args:
        job: the job.
        guarded: operations that `from_deal_id` guards.
    """
    return MappingOptions(
        op=job.op,
        columns=job.columns,
        preset=job.preset,
        defaults=job.defaults,
        only=job.only,
        keep=job.keep,
        allow_round_ids=job.allow_round_ids,
        delimiter=job.delimiter,
        quote=job.quote,
        escape=job.escape,
        skip_lines=job.skip_lines,
        encoding=job.encoding,
        sheet=job.sheet,
        hidden_rows=job.hidden_rows,
        guarded_ops=guarded,
    )


def prepare_run(
    checked: CheckedMapping,
    job: Job,
    folder: RunFolder,
    now: float,
    extra_rows: ExtraRows = NO_EXTRA_ROWS,
    *,
    latency: float = ASSUMED_LATENCY,
    module_known: bool = False,
) -> RunRecord:
    """Seal the plan of a checked mapping in a new run folder.

    Args:
        checked: the mapping.
        job: options of the run.
        folder: the run folder, locked by this process.
        now: seconds since 1970.
        extra_rows: rows of the run in addition to the mapping.
        latency: seconds that a call is assumed to take.
        module_known: whether the id of the Deals module need not be looked up.

    Returns:
        The record of the run, planned.

    Raises:
        InvalidRowsError: if rows are refused and the job stops at such rows.
        UsageError: if the job excludes a snapshot that the mapping needs.
        BadFileError: if there are more rows than a run can have.
        LedgerError: if the ledger cannot be written.
        InterruptedPlanningError: if it was ended from another thread.
    """
    _check_size(checked.rows + checked.left_out + extra_rows.count)
    record = new_record(
        job,
        timestamp(now),
        inputs=convert(checked.inputs, tuple[InputRecord, ...], from_attributes=True),
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
        checked.write_rejects(folder.rejects)
    if is_refused(checked, job):
        folder.write(record.replace(state=RunState.REFUSED, reason=InvalidRowsError.code))
        raise invalid_rows_error(
            checked, f"Fix them in {folder.rejects}, which is a mapping itself"
        )
    shape = checked.plan_stats()
    check_snapshot(job, guarded=checked.guarded, relinks=shape.relinks)
    checked.seal(folder.path)
    create_ledger(
        folder.ledger, chain(_initial_results(checked), extra_rows.results()), timestamp(now)
    )
    calls = estimate_calls(shape, job, module_known=module_known)
    estimate = estimate_run(
        shape,
        calls,
        job,
        latency=latency,
        module_known=module_known,
        pages_ratio=extra_rows.pages_ratio,
    )
    content = read_plan_content(folder.plan, checked.stop)
    sealed = record.replace(
        digest=content.hashes.digest(job.plan_settings(content.messages)),
        digest_version=DIGEST_VERSION,
        plan_sha256=sha256_of(folder.plan),
        **ledger_hash(folder.ledger),
        by_op=dict(shape.messages),
        least=calls.least,
        forecast=_forecast(calls, estimate, measure_sizes(shape, job)),
    )
    folder.write(sealed)
    return sealed


def _check_size(rows: int) -> None:
    if rows > MAX_ROWS:
        raise BadFileError(
            f"The mapping has {count_of(rows, 'row')}; a run has {MAX_ROWS:,} at most.",
            where="MAPPING",
            advice="Split it into several mappings.",
        )


def check_snapshot(job: Job, *, guarded: int, relinks: int) -> None:
    """Refuse to send guarded rows or relinks without a snapshot.

    Args:
        job: options of the run.
        guarded: rows with a guard.
        relinks: messages to relink.

    Raises:
        UsageError: if guards could not be checked, or relinks could not be put back.
    """
    if job.snapshot is not False:
        return
    if guarded:
        raise UsageError(
            f"{count_of(guarded, 'row has', 'rows have')} a guard in from_deal_id, which only a"
            " snapshot can check.",
            where=_NO_SNAPSHOT,
            advice="Omit the option, or rename the column if it is one of your own.",
        )
    if relinks and not job.accept_no_put_back:
        raise UsageError(
            "Without a snapshot, an email whose link is refused in a relink cannot be put back on"
            " its previous deal.",
            where=_NO_SNAPSHOT,
            advice=Advice(
                "Omit the option, or allow this with {}.",
                Keyword("accept_no_put_back", value=True),
            ),
        )


def _forecast(calls: CallEstimate, estimate: RunEstimate, sizes: PlanSizes) -> CallForecast:
    return CallForecast(
        link=calls.link,
        unlink=calls.unlink,
        read=calls.read_at_least,
        lookup=calls.lookup_at_least,
        seconds=estimate.seconds.likely,
        credit_range=estimate.credits,
        seconds_range=estimate.seconds,
        reason=estimate.reason,
        sizes=sizes,
    )


def is_refused(checked: CheckedMapping, job: Job) -> bool:
    """Return whether a mapping cannot be sent because of its rows."""
    stops = checked.rejected > 0 and job.on_invalid is OnInvalid.STOP
    return stops or checked.unclosed_quote is not None


def invalid_rows_error(checked: CheckedMapping, fix: str) -> InvalidRowsError:
    """Return the error that shows the first refused rows.

    Args:
        checked: the mapping.
        fix: how to fix them, the beginning of a sentence.
    """
    first = list(islice(checked.faults(), MAX_FAULTS_SHOWN))
    faults = [f"{_location(f)}: row {f.row}: {f.reason}: {f.message}" for f in first]
    unclosed = checked.unclosed_quote
    if unclosed is not None:
        return InvalidRowsError(
            "A quote is never closed: the cells after it cannot be separated.",
            where=f"{_location(unclosed)}, row {unclosed.row}",
            advice="Close it, or double it if it is part of the text.",
            faults=tuple(faults),
        )
    rows = count_of(checked.rows, "row is", "rows are")
    counts = format_refusals(checked.refusals())
    return InvalidRowsError(
        f"{checked.rejected:,} of {rows} refused ({counts}); nothing was sent.",
        where=", ".join(map(_location, first[:1])),
        advice=Advice("{}, or leave them out with {}.", fix, Keyword("on_invalid", "skip")),
        faults=tuple(faults),
    )


def format_refusals(refusals: Mapping[str, int]) -> str:
    """Format the numbers of refused rows by reason."""
    return ", ".join(f"{count:,} {reason}" for reason, count in refusals.items())


def _location(fault: RowFault) -> str:
    return fault.file if fault.line is None else f"{fault.file}:{fault.line}"


def new_record(job: Job, ts: str, **fields: Any) -> RunRecord:
    """Return the record of a new run.

    Args:
        job: options of the run.
        ts: time of its creation, as the ledger writes it.
        **fields: further fields of the record.
    """
    return RunRecord(
        version=_read_version(),
        op=job.op_name,
        asked=serialize_job(job),
        created=ts,
        **fields,
    )


@cache
def _read_version() -> str:
    """Return the version of bulklink; it is parsed out of the metadata of the package."""
    return version("bulklink")


def create_ledger(path: Path, results: Iterable[Result], ts: str) -> None:
    """Create the ledger with the results known before sending: rejected and duplicate rows.

    Raises:
        LedgerError: if it cannot be written.
    """
    try:
        with create_file(path) as file:
            for result in results:
                file.write(result_line(ts, result))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise LedgerError(
            f"Cannot write the ledger: {error.strerror or error}.",
            where=str(path),
            advice="Free some disk space, then start again in another run folder.",
        ) from None


def result_of(row: RefusedRow | DuplicateRow | UnknownRow, status: Status, **fields: Any) -> Result:
    """Return the result of a row that is never sent.

    Args:
        row: the row and its ids.
        status: rejected or duplicate.
        **fields: further fields of the result.
    """
    return Result(
        row.row,
        row.op,
        row.contact_id,
        row.owner_id,
        row.message_id,
        row.deal_id,
        status,
        **fields,
    )


def _initial_results(checked: CheckedMapping) -> Iterator[Result]:
    for row in checked.refused_rows():
        yield result_of(row, Status.REJECTED, code=row.reason, message=row.message)
    for duplicate in checked.duplicate_rows():
        yield result_of(duplicate, Status.DUPLICATE, duplicate_of=duplicate.duplicate_of)
