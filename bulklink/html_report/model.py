"""What the page of a run says, as plain values; the template has the words.

A field that is None where ids and names are left out says so. Times are as the ledger writes them.
"""

from __future__ import annotations

from collections import Counter

import msgspec

from bulklink.html_report.timeline import ChartData


class NamedRecord(msgspec.Struct, frozen=True):
    """A deal or an owner: its id, and its name where it is known."""

    id: str
    name: str | None = None


class RunIdentity(msgspec.Struct, frozen=True, kw_only=True):
    """What tells whose run this is; a page of counts alone has none of it."""

    folder: str
    org_id: str | None
    org_name: str | None
    api_url: str | None
    canary_found: str | None
    undo_of: str | None
    files: tuple[str, ...]


class AccountingLine(msgspec.Struct, frozen=True):
    """The rows of one status: of each op where they can be told apart, and of all."""

    status: str
    by_op: tuple[int | None, ...]
    rows: int


class Accounting(msgspec.Struct, frozen=True):
    """The rows of a run by status and op; `sums` are of the ops, None where they are not known."""

    ops: tuple[str, ...]
    lines: tuple[AccountingLine, ...]
    sums: tuple[int | None, ...]
    rows: int

    @property
    def by_status(self) -> Counter[str]:
        """The rows of each status, 0 of one that none has."""
        return Counter({line.status: line.rows for line in self.lines})


class FailureGroup(msgspec.Struct, frozen=True, kw_only=True):
    """Rows that have a code, a deal or an owner in common.

    Args:
        key: the code or the id, as the rows of the page have it; None for rows without one, and
            where ids are left out.
        label: what a person reads.
        name: of the deal or owner, where it is known.
        count: how many rows.
        in_doubt: how many of these are in doubt.
        advice: what to do about a code; empty if nothing is known.
        commonest_code: the commonest code of a deal or an owner.
        embedded: how many of the rows the page has.
        command: gets all of them; empty where no command does.
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
    """Rows by code, by deal or by owner, the classes with most first.

    Args:
        field: `code`, `deal` or `owner`.
        groups: those that are shown.
        other_groups: how many more classes there are.
        other_rows: the rows of those.
    """

    field: str
    groups: tuple[FailureGroup, ...]
    other_groups: int = 0
    other_rows: int = 0


class FailureSummary(msgspec.Struct, frozen=True, kw_only=True):
    """Rows that failed or are in doubt, or that were refused, looked at in several ways."""

    rows: int
    breakdowns: tuple[Breakdown, ...]
    command: str


class CallSummaryLine(msgspec.Struct, frozen=True):
    """Calls of a kind: made, forecast, and the fewest there can be, None where nobody can tell."""

    kind: str
    made: int
    forecast: int | None
    fewest: int | None


class CallSummary(msgspec.Struct, frozen=True, kw_only=True):
    """Calls and credits beside the forecast and the least possible."""

    lines: tuple[CallSummaryLine, ...]
    credits: CallSummaryLine
    retried: int
    seconds: float
    forecast_seconds: float | None
    limited: str = ""
    beyond_max_credits: int = 0


class EmailCount(msgspec.Struct, frozen=True, kw_only=True):
    """How many emails of a plan concern one deal or owner; `by_status` is None without ids."""

    record: NamedRecord | None
    emails: int
    contacts: int


class OpCount(msgspec.Struct, frozen=True, kw_only=True):
    """What is done to how many emails of how many contacts, owners and deals."""

    op: str
    emails: int
    contacts: int
    owners: int
    deals: int


class SampleRow(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the plan, to look at."""

    row: int
    op: str
    contact_id: str
    owner: NamedRecord
    message_id: str
    deal: NamedRecord | None
    from_deal_id: str | None


class PlanSummary(msgspec.Struct, frozen=True, kw_only=True):
    """What a plan does."""

    ops: tuple[OpCount, ...]
    contacts: int
    guarded: int
    deals: tuple[EmailCount, ...]
    total_deals: int
    owners: tuple[EmailCount, ...]
    total_owners: int
    sample: tuple[SampleRow, ...]


class Setting(msgspec.Struct, frozen=True):
    """An option of the run, or another fact, in words."""

    name: str
    value: str


class InputSummary(msgspec.Struct, frozen=True):
    """A mapping as it was read."""

    name: str | None
    records: int
    bytes: int
    sha256: str


class InvocationSummary(msgspec.Struct, frozen=True):
    """One command that drove the run."""

    started: str
    ended: str | None
    seconds: float | None
    outcome: str


class ForgetSummary(msgspec.Struct, frozen=True):
    """When columns and names were dropped, and the hashes before that."""

    at: str
    plan_before: str | None
    ledger_before: str | None


class NextCommands(msgspec.Struct, frozen=True):
    """Commands, ready to be typed; empty where one makes no sense."""

    apply: str
    resume: str
    retry: str


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """All that the page of a run says.

    Args:
        identity: None on a page of counts alone.
        made_at: when the page was made.
        began: when the first command began that sent; `ended` when the last ended.
        charts: what happened over time; None without anything to draw.
        embedded_rows: the JSON of the rows that the page has; None without any.
        invocations: the last commands that drove the run, of `total_invocations`.
        undo: what an undo can do.
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
    forgotten: tuple[ForgetSummary, ...]
    commands: NextCommands
