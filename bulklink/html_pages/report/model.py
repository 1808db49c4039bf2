"""Report model: plain values; texts are in the templates.

Times are as the ledger writes them.
"""

from __future__ import annotations

from collections import Counter

import msgspec

from bulklink.html_pages.report.charts import ChartData
from bulklink.html_pages.report.plan_model import PlanSummary


class RunIdentity(msgspec.Struct, frozen=True, kw_only=True):
    """Folder, org and files of the run; left out of a report without ids and names.

    Args:
        folder: run folder.
        org_id: id of the org; None if unknown.
        org_name: name of the org; None if unknown.
        api_url: URL of the API; None if unknown.
        canary_found: result of the canary; None if there is none.
        undo_of: folder of the run that this run undoes, if any.
        undone_by: folder of the last undo of this run, if any.
        files: names of the mappings.
    """

    folder: str
    org_id: str | None
    org_name: str | None
    api_url: str | None
    canary_found: str | None
    undo_of: str | None
    undone_by: str | None
    files: tuple[str, ...]


class AccountingLine(msgspec.Struct, frozen=True):
    """Row counts of one status.

    Args:
        status: the status.
        by_op: rows of each op; None where they cannot be attributed.
        rows: rows of all ops.
    """

    status: str
    by_op: tuple[int | None, ...]
    rows: int


class Accounting(msgspec.Struct, frozen=True):
    """Row counts of a run by status and op; lines and columns add up.

    Args:
        ops: the ops, one a column.
        lines: the statuses.
        sums: rows of each op; None where they cannot be attributed.
        rows: rows of the run.
    """

    ops: tuple[str, ...]
    lines: tuple[AccountingLine, ...]
    sums: tuple[int | None, ...]
    rows: int

    @property
    def by_status(self) -> Counter[str]:
        """Rows by status; 0 for a status without rows."""
        return Counter({line.status: line.rows for line in self.lines})


class FailureGroup(msgspec.Struct, frozen=True, kw_only=True):
    """Rows that have a code, a deal or an owner in common.

    Args:
        key: the code or id, as in the embedded rows; None for rows without one, and in a report
            without ids.
        label: text to show for the key.
        name: name of the deal or owner, if known.
        count: number of rows.
        in_doubt: number of rows in doubt.
        advice: advice on the code; empty if unknown.
        commonest_code: commonest code of a deal or an owner; empty if not shown.
        embedded: number of rows embedded in the report.
        command: command that exports the rows; empty if there is none.
    """

    key: str | None
    label: str
    name: str | None = None
    count: int
    in_doubt: int = 0
    advice: str = ""
    commonest_code: str = ""
    embedded: int = 0
    command: str = ""


class Breakdown(msgspec.Struct, frozen=True, kw_only=True):
    """Rows by code, by deal or by owner.

    Args:
        field: `code`, `deal` or `owner`.
        groups: groups that are shown, largest first.
        other_groups: number of groups that are not shown.
        other_rows: number of rows of those.
    """

    field: str
    groups: tuple[FailureGroup, ...]
    other_groups: int = 0
    other_rows: int = 0


class FailureSummary(msgspec.Struct, frozen=True, kw_only=True):
    """Rows that failed or are in doubt, or that were refused.

    Args:
        rows: number of rows.
        breakdowns: the same rows by several fields.
        command: command that exports all of them; empty if there is none.
    """

    rows: int
    breakdowns: tuple[Breakdown, ...]
    command: str


class CallSummaryLine(msgspec.Struct, frozen=True):
    """Calls of one kind.

    Args:
        kind: kind of call.
        made: calls made.
        forecast: calls forecast; None if unknown.
        fewest: minimum possible; None if unknown.
    """

    kind: str
    made: int
    forecast: int | None
    fewest: int | None


class CallSummary(msgspec.Struct, frozen=True, kw_only=True):
    """Calls and credits, with the forecast and the minimum.

    Args:
        lines: calls by kind.
        credits: credits used.
        retried: calls that were retries.
        seconds: time that the run took.
        forecast_seconds: minimum time forecast, in seconds; None without a forecast.
        rate: sentence about the rate and the latencies; empty if they were not measured.
        limited: sentence about the bottleneck of the run; empty if there was none.
        beyond_max_credits: calls made beyond the limit on credits.
    """

    lines: tuple[CallSummaryLine, ...]
    credits: CallSummaryLine
    retried: int
    seconds: float
    forecast_seconds: float | None
    rate: str = ""
    limited: str = ""
    beyond_max_credits: int = 0


class Setting(msgspec.Struct, frozen=True):
    """An option of the run, or another fact.

    Args:
        name: its name.
        value: its value, as text.
    """

    name: str
    value: str


class InputSummary(msgspec.Struct, frozen=True):
    """A mapping that was read.

    Args:
        name: file name; None in a report without names.
        records: number of records.
        bytes: size of the file; None for rows that a program passed.
        sha256: hash of the file; None for rows.
    """

    name: str | None
    records: int
    bytes: int | None
    sha256: str | None


class InvocationSummary(msgspec.Struct, frozen=True):
    """One command on the run.

    Args:
        started: when it started.
        ended: when it ended; None if it has not.
        seconds: how long it took; None if unknown.
        outcome: how it ended, as text.
    """

    started: str
    ended: str | None
    seconds: float | None
    outcome: str


class ForgetSummary(msgspec.Struct, frozen=True):
    """Removal of columns and names.

    Args:
        at: when it started.
        plan_before: hash of the plan before; None without a plan.
        ledger_before: hash of the ledger before; None without a ledger.
    """

    at: str
    plan_before: str | None
    ledger_before: str | None


class ShardSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A shard of a job.

    Args:
        name: name of its folder.
        state: its state, and what stopped it.
        rows: its rows.
        counts: rows of each status that the job has, as in its accounting.
        credits: credits used.
        seconds: time that it took.
    """

    name: str
    state: str
    rows: int
    counts: tuple[int, ...]
    credits: int
    seconds: float


class NextCommands(msgspec.Struct, frozen=True):
    """Commands that continue the run; empty if one does not apply.

    Args:
        apply: sends a planned run.
        verify: reads back the emails of a failed canary.
        undo: undoes a failed canary.
        resume: continues a stopped run.
        retry: sends the failed rows of a finished run.
    """

    apply: str
    verify: str
    undo: str
    resume: str
    retry: str


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Content of the report of a run or job.

    Args:
        op: op of the run.
        state: state of the run.
        stopped_by: what stopped it, if it was stopped.
        resume_at: when it can be resumed, if it waits for credits.
        version: version of bulklink that planned it.
        made_at: when the report was made.
        created: when the run was planned.
        began: when the first command began to send; None if none did.
        ended: when the last command ended; None if it has not.
        org_type: type of the org; None if unknown.
        data_centre: data centre; None if unknown.
        digest: digest of the plan; None without a plan.
        messages: messages of the plan.
        left_out: rows of the mapping that the user left out.
        headline: figures at the top of the page.
        identity: folder, org and files; None in a report without ids and names.
        accounting: rows by status and op.
        plan: summary of the plan; None without a plan.
        failures: rows that failed or are in doubt.
        refused: rows that were refused.
        calls: calls and credits.
        charts: activity over time; None if there was none.
        embedded_rows: JSON of the rows embedded in the report; None without any.
        settings: options of the run.
        inputs: mappings that were read.
        hashes: digest and recorded hashes.
        invocations: the last commands on the run.
        total_invocations: number of all commands on the run.
        canary: state and size of the canary; empty without one.
        undo: sentence about what an undo can do.
        undo_digest: digest of the run that this run undoes, if it is an undo.
        undone: whether the run was undone in whole or in part; empty if it was not.
        forgotten: removals of columns and names.
        commands: commands that continue the run.
        shards: shards of a job; empty for a run.
    """

    op: str
    state: str
    stopped_by: str | None
    resume_at: str | None
    version: str
    made_at: str
    created: str
    began: str | None
    ended: str | None
    org_type: str | None
    data_centre: str | None
    digest: str | None
    messages: int
    left_out: int
    headline: tuple[Setting, ...]
    identity: RunIdentity | None
    accounting: Accounting
    plan: PlanSummary | None
    failures: FailureSummary
    refused: FailureSummary
    calls: CallSummary
    charts: ChartData | None
    embedded_rows: bytes | None
    settings: tuple[Setting, ...]
    inputs: tuple[InputSummary, ...]
    hashes: tuple[Setting, ...]
    invocations: tuple[InvocationSummary, ...]
    total_invocations: int
    canary: str
    undo: str
    undo_digest: str | None
    undone: str
    forgotten: tuple[ForgetSummary, ...]
    commands: NextCommands
    shards: tuple[ShardSummary, ...] = ()
