"""Report model of a job, collected from its shards."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from datetime import tzinfo
from pathlib import Path
from typing import Any

import msgspec

from bulklink.html_pages.report.model import (
    Accounting,
    ForgetSummary,
    Report,
    RunIdentity,
    Setting,
    ShardSummary,
)
from bulklink.html_pages.report.rows import EmbeddedRows
from bulklink.ledger.records import timestamp
from bulklink.ledger.replay import replay
from bulklink.mapping.database import Database
from bulklink.mapping.interrupt import PlanningStop
from bulklink.operations.report.collect import (
    FINDING_STATUSES,
    RUN_PLACEHOLDER,
    accounting_by_status,
    call_summary,
    canary_text,
    describe_undo,
    headline_figures,
    input_summaries,
    run_identity,
    shown_settings,
)
from bulklink.operations.report.commands import next_commands
from bulklink.operations.report.failures import (
    MAX_GROUPS,
    FailureDescriber,
    FieldCounts,
    GroupCount,
    count_groups,
)
from bulklink.operations.report.result_tables import ResultTables
from bulklink.operations.seal import check_seal
from bulklink.runs.folder import RunFolder
from bulklink.runs.forecast import CallForecast, CreditRange
from bulklink.runs.job_folder import JobFolder, JobRecord, undoing_path
from bulklink.runs.record import RunRecord, RunState
from bulklink.runs.status import RunResult, build_job_result, status

_MEMORY = "256MB"
_Shard = tuple[RunFolder, RunRecord]


def collect_job_report(
    job: JobFolder, now: float, *, full: bool = True, zone: tzinfo | None = None
) -> Report:
    """Collect the report model of a job: sums over its shards, and a line for each.

    Args:
        job: folder of the job.
        now: seconds since 1970.
        full: whether to include ids and names; otherwise only counts, codes and times.
        zone: time zone of the report; None for this machine's.

    Raises:
        RunDirError: if a shard is missing, or is not that of the job.
        DigestError: if a plan not sent yet was changed since it was sealed.
        LedgerError: if a ledger is damaged.
    """
    record = job.read()
    shards = job.open_shards(record)
    results = [status(folder.path, check_ledger=True) for folder, _ in shards]
    for folder, shard in shards:
        if shard.state is RunState.PLANNED and folder.plan.is_file():
            check_seal(folder, shard, replay(folder.ledger))  # the page is for approval
    with (
        tempfile.TemporaryDirectory(prefix="bulklink-") as scratch,
        closing(Database(Path(scratch) / "spill", PlanningStop(), memory=_MEMORY)) as database,
    ):
        return _build_report(
            job, record, shards, results, timestamp(now), database, full=full, zone=zone
        )


def _build_report(
    job: JobFolder,
    record: JobRecord,
    shards: Sequence[_Shard],
    results: Sequence[RunResult],
    made_at: str,
    database: Database,
    *,
    full: bool,
    zone: tzinfo | None,
) -> Report:
    summary = build_job_result(job, record, results)
    records = [shard for _, shard in shards]
    whole, accounting = _as_one_run(record, records), accounting_by_status(summary)
    run = str(job.path) if full else RUN_PLACEHOLDER
    counts = [_count_codes(database, shards, results, refused=refused) for refused in (False, True)]
    describer = FailureDescriber(
        database, shards[0][0], EmbeddedRows(0, zone) if full else None, run, several_codes=False
    )
    began, ended = _times(records, summary)
    undone_by = _undoing_job(records)
    return Report(
        op=summary.shown_op,
        state=summary.state,
        stopped_by=summary.stopped_by,
        resume_at=summary.resume_at,
        version=record.version,
        made_at=made_at,
        created=record.created,
        began=began,
        ended=ended,
        org_type=whole.org.type if whole.org else None,
        data_centre=whole.data_centre,
        digest=record.digest,
        messages=record.messages,
        left_out=record.left_out,
        headline=headline_figures(summary) if began else (),
        identity=_identity(job, whole, summary, undone_by) if full else None,
        accounting=accounting,
        plan=None,
        failures=describer.summary(counts[:1]),
        refused=describer.summary(counts[1:]),
        calls=call_summary(whole, summary),
        charts=None,
        embedded_rows=None,
        settings=shown_settings(whole, full=full),
        inputs=() if whole.undo_of else input_summaries(whole, full=full),
        hashes=(Setting("Digest of the job", record.digest),),
        invocations=(),
        total_invocations=0,
        canary=canary_text(whole),
        undo=describe_undo(whole),
        undo_digest="" if summary.undo_of is not None else None,
        undone=("in whole" if summary.undone else "in part") if undone_by else "",
        forgotten=tuple(
            ForgetSummary(at, None, None)
            for at in sorted({entry.at for shard in records for entry in shard.forgotten})
        ),
        commands=next_commands(whole, summary, run, full=full),
        shards=tuple(
            _shard_summary(folder, result, accounting)
            for (folder, _), result in zip(shards, results, strict=True)
        ),
    )


def _count_codes(
    database: Database, shards: Sequence[_Shard], results: Sequence[RunResult], *, refused: bool
) -> FieldCounts:
    """Count the findings of all shards by code."""
    sums = FieldCounts("code", refused, (), 0, 0, 0)
    for (folder, _), result in zip(shards, results, strict=True):
        if any(result.counts[status] for status in FINDING_STATUSES):
            with database.schema("shard"):
                ResultTables(database, folder.ledger, has_findings=True)
                sums = _add_counts(sums, count_groups(database, "code", refused=refused))
    return sums


def _add_counts(left: FieldCounts, right: FieldCounts) -> FieldCounts:
    groups: dict[str | None, GroupCount] = {group.key: group for group in left.groups}
    for group in right.groups:
        known = groups.get(group.key)
        groups[group.key] = (
            group
            if known is None
            else known._replace(
                rows=known.rows + group.rows,
                in_doubt=known.in_doubt + group.in_doubt,
                coded=known.coded and group.coded,
            )
        )
    ordered = sorted(groups.values(), key=lambda group: (-group.rows, group.key or ""))
    return FieldCounts(
        left.field,
        left.refused,
        tuple(ordered[:MAX_GROUPS]),
        max(left.other_groups, right.other_groups) + len(ordered[MAX_GROUPS:]),
        left.rows + right.rows,
        left.in_doubt + right.in_doubt,
    )


def _as_one_run(record: JobRecord, records: Sequence[RunRecord]) -> RunRecord:
    """Return the record of a run with the sums of all shards, and the options of the first."""
    first, by_op = records[0], Counter[str]()
    for shard in records:
        by_op.update(shard.by_op)
    forecasts = [shard.forecast for shard in records if shard.forecast is not None]
    names = ("link", "unlink", "read", "lookup", "seconds")
    sums: dict[str, Any] = {
        name: sum(getattr(forecast, name) for forecast in forecasts) for name in names
    }
    known = next((shard for shard in records if shard.org is not None), first)
    return first.replace(
        rows=record.rows,
        messages=record.messages,
        by_op=dict(by_op),
        least=sum(shard.least for shard in records),
        digest=record.digest,
        forecast=CallForecast(**sums, credit_range=_credits(forecasts)) if forecasts else None,
        org=known.org,
        api_url=known.api_url,
        data_centre=known.data_centre,
        canary=next((shard.canary for shard in records if shard.canary is not None), None),
        limited=None,
        shard=None,
    )


def _credits(forecasts: Sequence[CallForecast]) -> CreditRange | None:
    ranges = [forecast.credit_range for forecast in forecasts if forecast.credit_range is not None]
    if len(ranges) < len(forecasts):
        return None
    return CreditRange.sum(ranges)


def _identity(job: JobFolder, whole: RunRecord, summary: RunResult, undone_by: str) -> RunIdentity:
    identity = run_identity(RunFolder(job.path), whole)
    return msgspec.structs.replace(
        identity,
        undo_of=summary.undo_of,
        undone_by=undone_by or None,
        files=() if summary.undo_of is not None else identity.files,
    )


def _undoing_job(records: Sequence[RunRecord]) -> str:
    """Return the folder of the last undo of the job; empty if there was none."""
    paths = [
        undoing_path(record, record.last_undo) for record in records if record.last_undo is not None
    ]
    return str(paths[-1]) if paths else ""


def _times(records: Sequence[RunRecord], summary: RunResult) -> tuple[str | None, str | None]:
    """Return when the first command began and the last one ended; None if none did."""
    invocations = [invocation for record in records for invocation in record.invocations]
    began = min((invocation.started for invocation in invocations), default=None)
    ended = [invocation.ended for invocation in invocations if invocation.ended is not None]
    return began, None if summary.state is RunState.RUNNING else max(ended, default=None)


def _shard_summary(folder: RunFolder, result: RunResult, accounting: Accounting) -> ShardSummary:
    stopped = f" ({result.stopped_by})" if result.stopped_by else ""
    return ShardSummary(
        name=folder.path.name,
        state=f"{result.state}{stopped}",
        rows=result.rows,
        counts=tuple(result.counts[line.status] for line in accounting.lines),
        credits=result.credits,
        seconds=result.seconds,
    )
