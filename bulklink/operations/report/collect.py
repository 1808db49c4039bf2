"""Report model of a run, collected from its folder."""

from __future__ import annotations

import tempfile
from contextlib import closing
from dataclasses import dataclass
from datetime import tzinfo
from pathlib import Path
from typing import Any

from bulklink.counts import count_of
from bulklink.errors import StoppedBy
from bulklink.file_names import file_name_text
from bulklink.html_pages.report.model import (
    Accounting,
    AccountingLine,
    CallSummary,
    CallSummaryLine,
    ForgetSummary,
    InputSummary,
    InvocationSummary,
    Report,
    RunIdentity,
    Setting,
)
from bulklink.html_pages.report.rows import MAX_EMBEDDED_BYTES, EmbeddedRows
from bulklink.html_pages.time_axis import humanize_duration
from bulklink.ledger.records import timestamp
from bulklink.ledger.replay import replay
from bulklink.mapping.database import Database
from bulklink.mapping.interrupt import PlanningStop
from bulklink.models import Op, Status
from bulklink.operations import wording
from bulklink.operations.job import MIXED
from bulklink.operations.report.activity import collect_chart_data
from bulklink.operations.report.commands import next_commands
from bulklink.operations.report.failures import (
    FailureDescriber,
    count_groups,
    rows_to_embed,
)
from bulklink.operations.report.plan import collect_plan_summary
from bulklink.operations.report.result_tables import ResultTables
from bulklink.operations.seal import check_seal
from bulklink.operations.wording import (
    beyond_max_credits,
    can_be_undone,
    describe_limit,
    describe_rate,
    format_latency,
    format_rate,
)
from bulklink.runs.folder import RunFolder
from bulklink.runs.job_folder import commanded_path
from bulklink.runs.record import Invocation, RunRecord, RunState
from bulklink.runs.status import RunResult, status

RUN_PLACEHOLDER = "RUN"
"""Placeholder for the run folder in a report without names."""
MAX_INVOCATIONS = 100
"""Maximum commands of the run to list: the last ones."""
_ANONYMOUS_OPTIONS = (
    *("batch_size", "group_by", "single_endpoint", "names", "snapshot", "accept_no_put_back"),
    *("on_invalid", "allow_round_ids", "concurrency", "edition", "rate", "canary"),
    *("read_back", "read_pages", "settle_after", "outage", "max_failures", "max_credits"),
    *("credits_per_day", "reserve_credits", "when_credits_out", "sync", "memory", "format"),
    "skip_lines",
)
"""Options whose values identify nobody."""
_HIDDEN_OPTIONS = ("op", "mappings", "run_dir", "runs_dir", "yes")
_HASHES = {
    "Digest of the plan": "digest",
    "SHA-256 of plan.parquet": "plan_sha256",
    "SHA-256 of the ledger": "ledger_sha256",
}
_MEMORY, _RESULTS_MEMORY = "64MB", "256MB"
_FIELDS = ("code", "deal", "owner")
FINDING_STATUSES = (Status.FAILED, Status.IN_DOUBT, Status.REJECTED)
"""Statuses of rows that a report lists by code."""


@dataclass(slots=True, frozen=True)
class _Sources:
    """Sources of a report; without `full`, the report has no ids and names."""

    folder: RunFolder
    record: RunRecord
    summary: RunResult
    database: Database
    results: ResultTables
    full: bool

    @property
    def run_argument(self) -> str:
        """The run folder, as it is typed."""
        return str(self.folder.path) if self.full else RUN_PLACEHOLDER

    @property
    def commanded_argument(self) -> str:
        """The folder that commands about the run name, as it is typed."""
        return str(commanded_path(self.folder, self.record)) if self.full else RUN_PLACEHOLDER

    @property
    def export_run(self) -> str:
        """The same for `export`; empty if the run has no plan."""
        has_plan = self.record.state is not RunState.REFUSED or self.folder.plan.is_file()
        return self.run_argument if has_plan else ""


def collect_report(
    folder: RunFolder,
    now: float,
    *,
    full: bool = True,
    zone: tzinfo | None = None,
    max_bytes: int = MAX_EMBEDDED_BYTES,
) -> Report:
    """Collect the report model of a run.

    Works at any time, even during the run. Memory does not grow with the run.

    Args:
        folder: run folder.
        now: seconds since 1970.
        full: whether to include ids and names; otherwise only counts, codes and times.
        zone: time zone of the report; None for this machine's.
        max_bytes: limit on the rows embedded in the report, in bytes of JSON.

    Raises:
        RunDirError: if this is not a run folder.
        DigestError: if it is a plan not sent yet that was changed since it was sealed.
        LedgerError: if its ledger is damaged.
    """
    summary = status(folder.path, check_ledger=True)
    record = folder.read()
    if record.state is RunState.PLANNED and folder.plan.is_file():
        check_seal(folder, record, replay(folder.ledger))  # the page is for approval
    has_findings = any(summary.counts[status] for status in FINDING_STATUSES)
    needs_results = has_findings or record.op == MIXED or not folder.timeline.is_file()
    memory = _RESULTS_MEMORY if needs_results else _MEMORY
    with (
        tempfile.TemporaryDirectory(prefix="bulklink-") as scratch,
        closing(Database(Path(scratch) / "spill", PlanningStop(), memory=memory)) as database,
    ):
        results = ResultTables(database, folder.ledger, has_findings=has_findings)
        if record.state is RunState.REFUSED and not results.count_rows():
            results.add_rejects(folder.rejects, record.created)
        sources = _Sources(folder, record, summary, database, results, full)
        return _build_report(sources, timestamp(now), zone, max_bytes)


def _build_report(sources: _Sources, made_at: str, zone: tzinfo | None, max_bytes: int) -> Report:
    folder, record, summary = sources.folder, sources.record, sources.summary
    database, full = sources.database, sources.full
    failed_counts = [count_groups(database, field, refused=False) for field in _FIELDS]
    refused_counts = [count_groups(database, "code", refused=True)]
    embedded_rows = EmbeddedRows(max_bytes, zone) if full else None
    if embedded_rows is not None:
        embedded_rows.add(rows_to_embed(database, [*failed_counts, *refused_counts]))
    several_codes = len(failed_counts[0].groups) > 1
    describer = FailureDescriber(database, folder, embedded_rows, sources.export_run, several_codes)
    invocations = record.invocations
    return Report(
        op=record.shown_op,
        state=summary.state,
        stopped_by=summary.stopped_by,
        resume_at=summary.resume_at,
        version=record.version,
        made_at=made_at,
        created=record.created,
        began=invocations[0].started if invocations else None,
        ended=invocations[-1].ended if invocations else None,
        org_type=record.org.type if record.org else None,
        data_centre=record.data_centre,
        digest=record.digest,
        messages=record.messages,
        left_out=record.left_out,
        headline=headline_figures(summary) if invocations else (),
        identity=run_identity(folder, record) if full else None,
        accounting=_accounting(record, summary, sources.results),
        plan=collect_plan_summary(database, folder, full=full),
        failures=describer.summary(failed_counts),
        refused=describer.summary(refused_counts),
        calls=call_summary(record, summary),
        charts=collect_chart_data(folder, sources.results, zone, invocations),
        embedded_rows=embedded_rows.json() if embedded_rows is not None else None,
        settings=shown_settings(record, full=full),
        inputs=input_summaries(record, full=full),
        hashes=recorded_hashes(record),
        invocations=last_invocations(record, summary),
        total_invocations=len(invocations),
        canary=canary_text(record),
        undo=describe_undo(record),
        undo_digest=(record.undo_of.digest or "") if record.undo_of else None,
        undone=_undone_extent(record),
        forgotten=forget_summaries(record),
        commands=next_commands(record, summary, sources.commanded_argument, full=full),
    )


def _accounting(record: RunRecord, summary: RunResult, results: ResultTables) -> Accounting:
    """Return the rows by status; by op if there are several and the ledger names them."""
    rows = results.count_rows() if record.op == MIXED else {}
    if not rows:
        return accounting_by_status(summary)
    accounting = wording.build_accounting(rows, record.rows, record.by_op)
    return accounting if len(accounting.ops) > 1 else _without_ops(accounting)


def accounting_by_status(summary: RunResult) -> Accounting:
    """Return the rows by status."""
    counts = summary.counts
    lines = tuple(AccountingLine(status, (), rows) for status, rows in counts.items() if rows)
    return Accounting((), lines, (), summary.rows)


def _without_ops(accounting: Accounting) -> Accounting:
    lines = tuple(AccountingLine(line.status, (), line.rows) for line in accounting.lines)
    return Accounting((), lines, (), accounting.rows)


def run_identity(folder: RunFolder, record: RunRecord) -> RunIdentity:
    """Return whose run it is: folder, org, host, files."""
    org = record.org
    return RunIdentity(
        folder=file_name_text(folder.path),
        org_id=org.id if org else None,
        org_name=org.name if org else None,
        api_url=record.api_url,
        canary_found=record.canary.found if record.canary else None,
        undo_of=record.undo_of.run_dir if record.undo_of else None,
        undone_by=record.last_undo.run_dir if record.last_undo else None,
        files=tuple(input_record.name for input_record in record.inputs),
    )


def call_summary(record: RunRecord, summary: RunResult) -> CallSummary:
    """Return calls and credits, with the forecast and the minimum."""
    made, forecast = summary.calls, record.forecast
    made_by_kind = {
        "link": made.link,
        "unlink": made.unlink,
        "read": made.read,
        "look-up": made.lookup,
    }
    forecast_by_kind: dict[str, int | None] = dict.fromkeys(made_by_kind)
    if forecast is not None:
        forecast_by_kind = {"link": forecast.link, "unlink": forecast.unlink, "read": forecast.read}
        forecast_by_kind["look-up"] = forecast.lookup
    writes = [op for op in ("link", "unlink") if _needs_calls(record, op)]
    fewest = {writes[0]: record.least} if len(writes) == 1 else {}
    lines = [
        CallSummaryLine(kind, count, forecast_by_kind[kind], fewest.get(kind))
        for kind, count in made_by_kind.items()
    ]
    if len(writes) > 1:
        forecast_writes = forecast.link + forecast.unlink if forecast else None
        lines.insert(
            2,
            CallSummaryLine(
                "link and unlink", made.link + made.unlink, forecast_writes, record.least
            ),
        )
    total = made.link + made.unlink + made.read + made.lookup
    return CallSummary(
        lines=tuple(lines),
        credits=CallSummaryLine("credits", total, forecast.credits if forecast else None, None),
        retried=made.retried,
        seconds=summary.seconds,
        forecast_seconds=forecast.seconds if forecast else None,
        rate=describe_rate(summary),
        limited=describe_limit(record),
        beyond_max_credits=beyond_max_credits(record),
    )


def headline_figures(summary: RunResult) -> tuple[Setting, ...]:
    """Return the figures at the top of the page, as far as they were measured."""
    figures = [Setting("Credits", f"{summary.credits:,}")]
    if summary.messages_per_second is not None:
        rate = format_rate(summary.messages_per_second, "emails")
        figures.insert(0, Setting("Rate", rate))
    if summary.latency is not None:
        figures.append(Setting("95 % of calls within", format_latency(summary.latency.p95)))
    if summary.waited_seconds:
        waited = humanize_duration(summary.waited_seconds)
        figures.append(Setting("Waited for credits", waited))
    return tuple(figures)


def _needs_calls(record: RunRecord, op: str) -> bool:
    """Return whether a run needs calls of a kind; a relink needs both kinds."""
    return record.by_op.get(op, 0) > 0 or record.by_op.get(Op.RELINK, 0) > 0


def shown_settings(record: RunRecord, *, full: bool) -> tuple[Setting, ...]:
    """Return the options of a run; without `full`, only those that identify nobody."""
    shown_options = {
        name: value
        for name, value in record.asked.items()
        if name not in _HIDDEN_OPTIONS and (full or name in _ANONYMOUS_OPTIONS)
    }
    return tuple(
        Setting(name.replace("_", "-"), _format_value(value))
        for name, value in shown_options.items()
    )


def _format_value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{key} {_format_value(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_format_pair, value)) or "none"
    return "none" if value is None else str(value)


def _format_pair(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "=".join(str(part) for part in value if part is not None)
    return str(value)


def recorded_hashes(record: RunRecord) -> tuple[Setting, ...]:
    """Return the digest of the plan, and the recorded hashes of the files."""
    values = {name: getattr(record, field) for name, field in _HASHES.items()}
    return tuple(Setting(name, value) for name, value in values.items() if value)


def input_summaries(record: RunRecord, *, full: bool) -> tuple[InputSummary, ...]:
    """Return the mappings that were read."""
    return tuple(
        InputSummary(
            input_record.name if full else None,
            input_record.records,
            input_record.bytes,
            input_record.sha256,
        )
        for input_record in record.inputs
    )


def last_invocations(record: RunRecord, summary: RunResult) -> tuple[InvocationSummary, ...]:
    """Return the last commands of a run, and their outcomes."""
    running = summary.state is RunState.RUNNING
    last = record.invocations[-1] if record.invocations else None
    return tuple(
        InvocationSummary(
            invocation.started,
            invocation.ended,
            invocation.seconds,
            _how_it_ended(invocation, is_running=running and invocation is last),
        )
        for invocation in record.invocations[-MAX_INVOCATIONS:]
    )


def _how_it_ended(invocation: Invocation, *, is_running: bool) -> str:
    if invocation.ended is None:
        return "running" if is_running else f"stopped: {StoppedBy.KILLED}"
    text = f"stopped: {invocation.stopped_by}" if invocation.stopped_by else "finished"
    return text if invocation.exit_code is None else f"{text} (exit code {invocation.exit_code})"


def forget_summaries(record: RunRecord) -> tuple[ForgetSummary, ...]:
    """Return when columns and names were removed, and the hashes before."""
    return tuple(
        ForgetSummary(forget_result.at, forget_result.plan_before, forget_result.ledger_before)
        for forget_result in record.forgotten
    )


def canary_text(record: RunRecord) -> str:
    """Return state and size of the canary; empty without one."""
    canary = record.canary
    return f"{canary.state}, {count_of(canary.messages, 'email')}" if canary else ""


def _undone_extent(record: RunRecord) -> str:
    """Return whether a run was undone in whole or in part; empty if it was not."""
    if record.last_undo is None:
        return ""
    return "in whole" if record.effective_undo else "in part"


def describe_undo(record: RunRecord) -> str:
    """Describe what an undo of the run can do."""
    by_op = {op for op, count in record.by_op.items() if count}
    if not can_be_undone(record):
        return "It cannot be undone: without a snapshot, the previous deals of emails are unknown."
    if record.asked.get("snapshot") is False and by_op - {Op.LINK}:
        return (
            "`bulklink undo` can undo links. It cannot undo unlinks and relinks: without a"
            " snapshot, the previous deals of emails are unknown."
        )
    if record.asked.get("snapshot") or by_op - {Op.LINK}:
        return (
            "It can be undone: the deal that each email is on is read before it is changed, and"
            " `bulklink undo` puts the email back on it."
        )
    return "It can be undone: `bulklink undo` unlinks every email that was linked."
