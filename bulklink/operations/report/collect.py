"""Gathering what the page of a run says from its folder: record, ledger, plan and timeline."""

from __future__ import annotations

import tempfile
from contextlib import closing
from datetime import tzinfo
from pathlib import Path

from bulklink.html_report.model import Accounting, Findings, Line, Report
from bulklink.html_report.rows import MOST_BYTES, Kept
from bulklink.ledger.records import timestamp
from bulklink.mapping.database import Database
from bulklink.mapping.interrupt import Stop
from bulklink.models import Status
from bulklink.operations import wording
from bulklink.operations.report import facts
from bulklink.operations.report.failures import Describing, rows_to_keep, shown
from bulklink.operations.report.overtime import over_time
from bulklink.operations.report.plan import planned
from bulklink.operations.report.results import Results
from bulklink.runs.folder import RunFolder
from bulklink.runs.record import RunRecord, State
from bulklink.runs.status import PENDING, RunSummary, status

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
        self._run = str(folder.path) if full else facts.RUN
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
            identity=facts.identity(self._folder, record) if self._full else None,
            accounting=accounting,
            planned=planned(self._database, self._folder, full=self._full),
            failures=failures,
            refused=refused,
            calls=facts.calls(record, summary),
            course=over_time(self._folder, self._results, zone),
            kept=kept.json() if kept is not None else None,
            settings=facts.settings(record, full=self._full),
            inputs=facts.inputs(record, full=self._full),
            hashes=facts.hashes(record),
            invocations=facts.invocations(record, summary),
            commands_in_all=len(begun),
            canary=f"{record.canary.state}, {record.canary.messages:,} emails"
            if record.canary
            else "",
            undo=facts.undo_told(record),
            undo_digest=(record.undo_of.digest or "") if record.undo_of else None,
            forgotten=facts.forgotten(record),
            commands=facts.commands(record, summary, self._run),
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
