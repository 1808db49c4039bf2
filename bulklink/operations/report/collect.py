"""What the report of a run shows, collected from its folder."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, tzinfo
from itertools import groupby
from pathlib import Path
from typing import Any

from bulklink.errors import RunDirError, StoppedBy
from bulklink.html_report.model import (
    Accounting,
    Calls,
    Commands,
    Findings,
    Forgot,
    Identity,
    Input,
    Invoked,
    Line,
    Made,
    Report,
    Setting,
)
from bulklink.html_report.rows import MOST_BYTES, Kept
from bulklink.html_report.timeline import Course, Measured, course
from bulklink.ledger.records import timestamp
from bulklink.mapping.database import Database
from bulklink.mapping.interrupt import Stop
from bulklink.models import Op, Status
from bulklink.operations import wording
from bulklink.operations.report.failures import Describing, Results, rows_to_keep, shown
from bulklink.operations.report.plan import planned
from bulklink.operations.wording import beyond_max_credits, can_be_undone, limited
from bulklink.runs.folder import RunFolder
from bulklink.runs.record import Invocation, RunRecord, State
from bulklink.runs.status import PENDING, RunSummary, status
from bulklink.runs.timeline import Stretch, timeline
from bulklink.shell import typed


def over_time(folder: RunFolder, results: Results, zone: tzinfo | None) -> Course | None:
    """Return what happened over time; None where nothing did.

    Args:
        folder: of the run.
        results: of its ledger.
        zone: local time; None is that of this machine.

    Raises:
        RunDirError: if there is a timeline that cannot be read.
    """
    try:
        measured = course(map(_measured, timeline(folder.timeline)), zone)
    except OSError as error:
        raise RunDirError(
            f"The timeline cannot be read: {error.strerror or error}.",
            where=str(folder.timeline),
            advice="See that you may read it, or move it away: the page does without.",
        ) from None
    return measured or course(_by_ledger(results), zone)


def _measured(stretch: Stretch) -> Measured:
    ended = datetime.fromisoformat(stretch.ts).timestamp()
    return Measured(
        began=ended - stretch.seconds,
        ended=ended,
        settled=stretch.settled,
        answered_429=stretch.answered_429,
        in_flight=stretch.in_flight,
        allowed=stretch.most_in_flight,
        latency=stretch.latency,
    )


def _by_ledger(results: Results) -> Iterator[Measured]:
    """Tell second by second what was settled: the ledger knows no more."""
    for second, found in groupby(results.settled(), key=_second):
        settled = {status: count for _, status, count in found}
        yield Measured(began=second, ended=second + 1, settled=settled)


def _second(found: tuple[Any, ...]) -> int:
    return int(found[0])


_MEMORY = "256MB"
_FIELDS = ("code", "deal", "owner")


def gather(
    folder: RunFolder,
    now: float,
    *,
    full: bool = True,
    zone: tzinfo | None = None,
    most_bytes: int = MOST_BYTES,
) -> Report:
    """Return what the page of a run says.

    Works at any time, also while the run goes on. Memory does not grow with the run.

    Args:
        folder: of the run.
        now: seconds since 1970.
        full: with ids and names; else counts, codes and times alone.
        zone: local time; None is that of this machine.
        most_bytes: of the rows that the page shows.

    Raises:
        RunDirError: if this is no run folder.
        LedgerError: if its ledger is damaged.
    """
    summary = status(folder.path)
    record = folder.read()
    with (
        tempfile.TemporaryDirectory(prefix="bulklink-") as scratch,
        closing(Database(Path(scratch) / "spill", Stop(), memory=_MEMORY)) as database,
    ):
        gathering = _Gathering(folder, record, summary, database, full=full)
        return gathering.report(timestamp(now), zone, most_bytes)


class _Gathering:
    """What is asked of one run.

    Args:
        folder: of the run.
        record: of the run.
        summary: where it stands.
        database: to ask.
        full: with ids and names.
    """

    def __init__(
        self,
        folder: RunFolder,
        record: RunRecord,
        summary: RunSummary,
        database: Database,
        *,
        full: bool,
    ) -> None:
        self._folder = folder
        self._record = record
        self._summary = summary
        self._database = database
        self._full = full
        self._run = str(folder.path) if full else RUN
        self._results = Results(database, folder.ledger)

    def report(self, made: str, zone: tzinfo | None, most_bytes: int) -> Report:
        """Return what the page says."""
        record, summary = self._record, self._summary
        begun = record.invocations
        accounting = self._accounting()
        failures, refused, kept = self._findings(zone, most_bytes)
        return Report(
            op=record.op,
            state=summary.state,
            stopped_by=summary.stopped_by,
            resume_at=summary.resume_at,
            version=record.version,
            made=made,
            created=record.created,
            began=begun[0].started if begun else None,
            ended=begun[-1].ended if begun else None,
            org_type=record.org.type if record.org else None,
            data_centre=record.data_centre,
            digest=record.digest,
            messages=record.messages,
            left_out=record.left_out,
            identity=identity(self._folder, record) if self._full else None,
            accounting=accounting,
            planned=planned(self._database, self._folder, full=self._full),
            failures=failures,
            refused=refused,
            calls=calls(record, summary),
            course=over_time(self._folder, self._results, zone),
            kept=kept.json() if kept is not None else None,
            settings=settings(record, full=self._full),
            inputs=inputs(record, full=self._full),
            hashes=hashes(record),
            invocations=invocations(record, summary),
            commands_in_all=len(begun),
            canary=f"{record.canary.state}, {record.canary.messages:,} emails"
            if record.canary
            else "",
            undo=undo_told(record),
            undo_digest=(record.undo_of.digest or "") if record.undo_of else None,
            forgotten=forgotten(record),
            commands=commands(record, summary, self._run),
        )

    def _accounting(self) -> Accounting:
        """Return the rows by status; by op where there are several and the ledger tells."""
        record, rows = self._record, self._results.rows()
        if not rows and record.state is State.REFUSED:
            return _known_before(record)
        told = wording.accounting(rows, record.rows, record.by_op)
        return told if len(told.ops) > 1 else _without_ops(told)

    def _findings(
        self, zone: tzinfo | None, most_bytes: int
    ) -> tuple[Findings, Findings, Kept | None]:
        record, database = self._record, self._database
        if record.state is State.REFUSED and not self._results.rows():
            self._results.refuse(self._folder.rejects, record.created)
        failed = [shown(database, field, refused=False) for field in _FIELDS]
        refused = [shown(database, "code", refused=True)]
        kept = None
        if self._full:
            kept = Kept(most_bytes, zone)
            kept.take(rows_to_keep(database, [*failed, *refused]))
        exported = record.state is not State.REFUSED or self._folder.plan.is_file()
        run = self._run if exported else ""
        several = len(failed[0].classes) > 1
        told = Describing(database, self._folder, kept, run, several)
        return told.findings(failed), told.findings(refused), kept


def _known_before(record: RunRecord) -> Accounting:
    """Return what was counted of a run that was refused before it had a ledger."""
    counts = {str(status): record.counts.get(status, 0) for status in Status}
    counts[PENDING] = record.rows - sum(counts.values())
    lines = tuple(Line(status, (), rows) for status, rows in counts.items() if rows)
    return Accounting((), lines, (), record.rows)


def _without_ops(told: Accounting) -> Accounting:
    lines = tuple(Line(line.status, (), line.rows) for line in told.lines)
    return Accounting((), lines, (), told.rows)


RUN = "RUN"
"""What stands for the run folder where its name is left out."""
MOST_INVOCATIONS = 100
"""Commands that drove a run which are listed: the last ones."""
_HARMLESS = (
    *("batch_size", "group_by", "single_endpoint", "names", "snapshot", "accept_no_put_back"),
    *("on_invalid", "allow_round_ids", "concurrency", "edition", "rate", "canary"),
    *("read_back", "read_pages", "settle_after", "max_failures", "max_credits"),
    *("credits_per_day", "reserve_credits", "when_credits_out", "sync", "memory", "format"),
)
"""Options whose values say nothing of whose emails these are."""
_NO_SETTINGS = ("op", "mappings", "run_dir", "runs_dir", "yes")
_HASHES = {
    "Digest of the plan": "digest",
    "SHA-256 of plan.parquet": "plan_sha256",
    "SHA-256 of the ledger": "ledger_sha256",
}


def identity(folder: RunFolder, record: RunRecord) -> Identity:
    """Return what tells whose run it is."""
    org = record.org
    return Identity(
        folder=str(folder.path),
        org_id=org.id if org else None,
        org_name=org.name if org else None,
        api_url=record.api_url,
        canary_found=record.canary.found if record.canary else None,
        undo_of=record.undo_of.run_dir if record.undo_of else None,
        files=tuple(one.name for one in record.inputs),
    )


def calls(record: RunRecord, summary: RunSummary) -> Calls:
    """Return calls and credits beside the forecast and the fewest there can be."""
    made, forecast = summary.calls, record.forecast
    kinds = {"link": made.link, "unlink": made.unlink, "read": made.read, "look-up": made.lookup}
    told: dict[str, int | None] = dict.fromkeys(kinds)
    if forecast is not None:
        told = {"link": forecast.link, "unlink": forecast.unlink, "read": forecast.read}
        told["look-up"] = forecast.lookup
    writes = [op for op in ("link", "unlink") if _writes(record, op)]
    least = {writes[0]: record.least} if len(writes) == 1 else {}
    lines = [Made(kind, count, told[kind], least.get(kind)) for kind, count in kinds.items()]
    if len(writes) > 1:
        both = forecast.link + forecast.unlink if forecast else None
        lines.insert(2, Made("link and unlink", made.link + made.unlink, both, record.least))
    in_all = made.link + made.unlink + made.read + made.lookup
    return Calls(
        lines=tuple(lines),
        credits=Made("credits", in_all, forecast.credits if forecast else None, None),
        retried=made.retried,
        seconds=summary.seconds,
        forecast_seconds=forecast.seconds if forecast else None,
        limited=limited(record),
        beyond_max_credits=beyond_max_credits(record),
    )


def _writes(record: RunRecord, op: str) -> bool:
    """Tell whether messages of a run need calls of a kind: a relink needs both."""
    return record.by_op.get(op, 0) > 0 or record.by_op.get(Op.RELINK, 0) > 0


def settings(record: RunRecord, *, full: bool) -> tuple[Setting, ...]:
    """Return the options of a run; without `full` those alone that say nothing of anybody."""
    kept = {
        name: value
        for name, value in record.asked.items()
        if name not in _NO_SETTINGS and (full or name in _HARMLESS)
    }
    return tuple(Setting(name.replace("_", "-"), _said(value)) for name, value in kept.items())


def _said(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{key} {_said(one)}" for key, one in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_pair, value)) or "none"
    return "none" if value is None else str(value)


def _pair(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "=".join(str(part) for part in value if part is not None)
    return str(value)


def hashes(record: RunRecord) -> tuple[Setting, ...]:
    """Return the digest of the plan, and the hashes of the files as they were last written."""
    known = {name: getattr(record, field) for name, field in _HASHES.items()}
    return tuple(Setting(name, value) for name, value in known.items() if value)


def inputs(record: RunRecord, *, full: bool) -> tuple[Input, ...]:
    """Return the mappings as they were read."""
    return tuple(
        Input(one.name if full else None, one.records, one.bytes, one.sha256)
        for one in record.inputs
    )


def invocations(record: RunRecord, summary: RunSummary) -> tuple[Invoked, ...]:
    """Return the last commands that drove a run, and how each ended."""
    running = summary.state is State.RUNNING
    last = record.invocations[-1] if record.invocations else None
    return tuple(
        Invoked(one.started, one.ended, one.seconds, _how(one, goes_on=running and one is last))
        for one in record.invocations[-MOST_INVOCATIONS:]
    )


def _how(one: Invocation, *, goes_on: bool) -> str:
    if one.ended is None:
        return "goes on" if goes_on else f"stopped: {StoppedBy.KILLED}"
    said = f"stopped: {one.stopped_by}" if one.stopped_by else "reached its end"
    return said if one.exit_code is None else f"{said} (exit code {one.exit_code})"


def forgotten(record: RunRecord) -> tuple[Forgot, ...]:
    """Return when columns and names were dropped, and the hashes before that."""
    return tuple(Forgot(one.at, one.plan_before, one.ledger_before) for one in record.forgotten)


def undo_told(record: RunRecord) -> str:
    """Say whether the run can be taken back."""
    by_op = {op for op, many in record.by_op.items() if many}
    if not can_be_undone(record):
        return "It cannot be taken back: without a snapshot nobody knows which deal emails were on."
    if record.asked.get("snapshot") is False and by_op - {Op.LINK}:
        return (
            "Links can be taken back by `bulklink undo`. Unlinks and relinks cannot: without a"
            " snapshot nobody knows which deal emails were on."
        )
    if record.asked.get("snapshot") or by_op - {Op.LINK}:
        return (
            "It can be taken back: the deal that each email is on is read before it is changed, and"
            " `bulklink undo` puts it back."
        )
    return "It can be taken back: `bulklink undo` takes every email that was linked off its deal."


def commands(record: RunRecord, summary: RunSummary, run: str) -> Commands:
    """Return the commands that go on from where the run stands, as they are typed."""
    failed = summary.counts[Status.FAILED] + summary.counts[Status.IN_DOUBT]
    expect = ["--expect", record.digest] if record.digest else []
    return Commands(
        apply=typed("bulklink", "apply", run, *expect),
        resume=typed("bulklink", "resume", run) if summary.state is State.STOPPED else "",
        retry=typed("bulklink", "retry", run) if summary.state is State.FINISHED and failed else "",
    )
