"""Sealing of a checked mapping as a job: a plan for each shard, in a run folder of its own."""

from __future__ import annotations

from secrets import token_hex
from typing import NamedTuple

import msgspec

from bulklink.advice import Advice, Keyword
from bulklink.counts import count_of
from bulklink.engine.clock import Clock
from bulklink.errors import BadFileError, UsageError
from bulklink.mapping.checked import CheckedMapping
from bulklink.mapping.sharding import HASH_NAME, count_contacts, split_mapping
from bulklink.operations.estimate import CallEstimate, estimate_calls, sum_calls
from bulklink.operations.job import Job
from bulklink.operations.prepare import (
    ExtraRows,
    check_snapshot,
    invalid_rows_error,
    is_refused,
    prepare_run,
)
from bulklink.runs.folder import create_run_folder
from bulklink.runs.forecast import CreditRange, SecondsRange
from bulklink.runs.job_folder import (
    MAX_JOB_ROWS,
    MAX_SHARDS,
    JobFolder,
    JobRecord,
)
from bulklink.runs.record import RunRecord, ShardRecord


class ShardSize(NamedTuple):
    """How many shards a mapping is split into; one field is set.

    Args:
        shards: number of shards.
        rows: rows of a shard, about; rows of one contact stay together.
    """

    shards: int | None = None
    rows: int | None = None

    def check(self, job: Job) -> None:
        """Refuse numbers that make no job, and a job without a folder.

        Raises:
            UsageError: if there are any.
        """
        name = "shards" if self.shards is not None else "rows_per_shard"
        if self.shards is not None and self.rows is not None:
            raise UsageError(
                "The number of shards is given twice.",
                where=Advice("{}, {}", Keyword("shards"), Keyword("rows_per_shard")),
                advice="Omit one of them.",
            )
        if self.shards is not None and not 2 <= self.shards <= MAX_SHARDS:
            raise UsageError(
                f"A mapping is split into 2 to {MAX_SHARDS:,} shards, not {self.shards:,}.",
                where=Advice("{}", Keyword(name)),
                advice="Omit the option for one plan.",
            )
        if self.rows is not None and self.rows < 1:
            raise UsageError(
                "A shard has at least one row.",
                where=Advice("{}", Keyword(name)),
                advice="Use a number such as 500,000.",
            )
        if job.run_dir is None:
            raise UsageError(
                "Shards are sealed, and need a folder.",
                where=Advice("{}", Keyword(name)),
                advice=Advice("Name a new folder with {}.", Keyword("run_dir")),
            )

    def count(self, checked: CheckedMapping) -> int:
        """Return the number of shards of a mapping.

        Raises:
            UsageError: if it exceeds what is possible.
        """
        contacts = count_contacts(checked)
        has = f"The mapping has {count_of(contacts, 'contact')}"
        has += " with a row that is not refused" if checked.rejected else ""
        if self.shards is not None:
            if self.shards > contacts:
                raise UsageError(
                    f"{has}, too few for {self.shards:,} shards: rows of one contact stay"
                    " together.",
                    where=Advice("{}", Keyword("shards")),
                    advice="Use fewer shards, or omit the option for one plan.",
                )
            return self.shards
        shards = -(-checked.rows // (self.rows or 1))
        if not 2 <= shards <= min(contacts, MAX_SHARDS):
            raise UsageError(
                f"The mapping has {count_of(checked.rows, 'row')} of"
                f" {count_of(contacts, 'contact')}, which makes {count_of(shards, 'shard')} of"
                f" {self.rows:,}; a job has 2 to {min(contacts, MAX_SHARDS):,}.",
                where=Advice("{}", Keyword("rows_per_shard")),
                advice="Use another number, or omit the option for one plan.",
            )
        return shards


class SealedJob(NamedTuple):
    """A sealed job, and what it will cost.

    Args:
        record: its record.
        calls: estimated calls, those of all shards.
        credits: credits that it may take.
        seconds: seconds that it may take.
    """

    record: JobRecord
    calls: CallEstimate
    credits: CreditRange
    seconds: SecondsRange


def seal_job(
    checked: CheckedMapping,
    job: Job,
    size: ShardSize,
    folder: JobFolder,
    clock: Clock,
    extra_rows: ExtraRows,
    *,
    latency: float,
    module_known: bool,
) -> SealedJob:
    """Seal each shard of a checked mapping, then the job.

    Args:
        checked: the mapping, measured; afterwards it can only be closed.
        job: options of the runs; only the first shard has a canary.
        size: number of shards.
        folder: the folder of the job.
        clock: the clock.
        extra_rows: record fields that each run has besides those of its shard.
        latency: seconds that a call is assumed to take.
        module_known: whether the id of the Deals module need not be looked up.

    Raises:
        InvalidRowsError: if rows are refused and the job stops at such rows; nothing is sealed.
        UsageError: if the mapping cannot be split like this.
        BadFileError: if there are more rows than a job can have, or a shard more than a run.
        LedgerError: if a ledger cannot be written.
        InterruptedPlanningError: if it was ended from another thread.
    """
    _check_size(checked.rows + checked.left_out)
    refused = is_refused(checked, job)
    shards = 0 if refused else size.count(checked)  # before anything is in the folder
    if checked.rejected:
        checked.write_rejects(folder.rejects)
    if refused:
        raise invalid_rows_error(
            checked, f"Fix them in {job.run_dir}/rejects.csv, which is a mapping itself"
        )
    check_snapshot(job, guarded=checked.guarded, relinks=checked.plan_stats().relinks)
    now, job_id = clock.wall(), token_hex(16)
    left_out, messages = checked.left_out, checked.messages
    runs: list[RunRecord] = []
    calls: list[CallEstimate] = []
    canary_job = msgspec.structs.replace(job, run_dir=None)
    job = msgspec.structs.replace(canary_job, canary=0)
    for number, shard in split_mapping(checked, shards):
        reference = ShardRecord(job_id, number, shards, messages)
        fields = {**extra_rows.record_fields, "shard": reference}
        is_first = not any(run.messages for run in runs)
        run_folder = folder.shard(number, shards)
        create_run_folder(run_folder.path, run_folder.path.parent, job.op_name, now, "")
        runs.append(
            prepare_run(
                shard,
                canary_job if is_first and shard.messages else job,
                run_folder,
                now,
                msgspec.structs.replace(extra_rows, record_fields=fields),
                latency=latency,
                module_known=module_known,
            )
        )
        calls.append(estimate_calls(shard.plan_stats(), job, module_known=module_known))
    record = JobRecord.of(runs, shards, HASH_NAME, left_out=left_out)
    folder.write(record)
    forecasts = [run.forecast for run in runs if run.forecast is not None]
    return SealedJob(
        record,
        sum_calls(calls),
        CreditRange.sum([each.credit_range for each in forecasts if each.credit_range]),
        SecondsRange.sum([each.seconds_range for each in forecasts if each.seconds_range]),
    )


def _check_size(rows: int) -> None:
    if rows > MAX_JOB_ROWS:
        raise BadFileError(
            f"The mapping has {count_of(rows, 'row')}; a job has {MAX_JOB_ROWS:,} at most.",
            where="MAPPING",
            advice="Split it into several mappings.",
        )
