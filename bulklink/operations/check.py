"""`status --check`: whether the files of a run are as they were written, and add up."""

from __future__ import annotations

import tempfile
from enum import StrEnum
from os import PathLike
from pathlib import Path

import msgspec

from bulklink.ledger.index import Outcome, Outcomes
from bulklink.ledger.row_array import RowArray
from bulklink.ledger.state import replay
from bulklink.mapping.original_rows import PlannedIds, planned_ids
from bulklink.models import Status
from bulklink.runs.folder import RunFolder, folder_of
from bulklink.runs.hashes import sha256_of, whole_lines
from bulklink.runs.record import Forgotten, InputRecord, RunRecord, State
from bulklink.runs.status import PENDING, counts_of

_STANDARD_INPUT = "-"
_NAMED = 5


class Verdict(StrEnum):
    """What a check of one part came to."""

    OK = "ok"
    DIFFERS = "differs"
    MISSING = "missing"
    NOT_YET = "not-yet"


class Part(msgspec.Struct, frozen=True):
    """A part of a run that was checked; `detail` says more where there is more to say."""

    verdict: Verdict
    detail: str = ""


class Proof(msgspec.Struct, frozen=True):
    """What was checked of a run.

    `mappings` has each input by its name: one that is not there any more proves nothing and is no
    difference. `forgotten` tells when columns and names were dropped, and the hashes before and
    after.
    """

    plan: Part
    ledger: Part
    accounting: Part
    mappings: dict[str, Part]
    forgotten: tuple[Forgotten, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing differs, and nothing that a run must have is missing."""
        own = (self.plan, self.ledger, self.accounting)
        return all(part.verdict in (Verdict.OK, Verdict.NOT_YET) for part in own) and all(
            part.verdict is not Verdict.DIFFERS for part in self.mappings.values()
        )


def prove(run: str | PathLike[str]) -> Proof:
    """Hold the files of a run against the hashes that were kept, and the ledger against the plan.

    Works at any time. While a run goes on, the ledger is held against what it was when the last
    invocation ended: it is only ever added to.

    Args:
        run: the run folder.

    Returns:
        What was found of each part; `ok` tells whether nothing differs.

    Raises:
        RunDirError: if this is no run folder.
        LedgerError: if the ledger is damaged.
    """
    folder = folder_of(run)
    record = folder.read()
    proof = _prove(folder, record)
    now = folder.read()
    if proof.ok or now == record:
        return proof
    return _prove(folder, now)  # it ended between the two looks


def _prove(folder: RunFolder, record: RunRecord) -> Proof:
    plan = _plan(folder, record)
    return Proof(
        plan=plan,
        ledger=_ledger(folder, record),
        accounting=_accounting(folder, record, planned=plan.verdict is Verdict.OK),
        mappings={one.name: _mapping(one) for one in record.inputs},
        forgotten=record.forgotten,
    )


def _plan(folder: RunFolder, record: RunRecord) -> Part:
    if any(not one.complete for one in record.forgotten):
        return Part(Verdict.DIFFERS, "forget was begun and not ended: run it again")
    if record.plan_sha256 is None:
        return Part(Verdict.NOT_YET, "the run came to no plan")
    return _same(folder.plan, record.plan_sha256)


def _same(path: Path, sha256: str) -> Part:
    if not path.is_file():
        return Part(Verdict.MISSING)
    found = sha256_of(path)
    if found == sha256:
        return Part(Verdict.OK)
    return Part(Verdict.DIFFERS, f"SHA-256 {found}, recorded {sha256}")


def _ledger(folder: RunFolder, record: RunRecord) -> Part:
    if record.ledger_sha256 is None or record.ledger_bytes is None:
        return Part(Verdict.NOT_YET, "no hash is recorded")
    length = whole_lines(folder.ledger)
    if length < record.ledger_bytes:
        if not folder.ledger.exists():
            return Part(Verdict.MISSING)
        return Part(Verdict.DIFFERS, f"{length:,} bytes, recorded {record.ledger_bytes:,}")
    found = sha256_of(folder.ledger, record.ledger_bytes) if record.ledger_bytes else None
    if found is not None and found != record.ledger_sha256:
        return Part(Verdict.DIFFERS, f"SHA-256 {found}, recorded {record.ledger_sha256}")
    more = length - record.ledger_bytes
    if not more:
        return Part(Verdict.OK)
    if record.state is State.RUNNING:
        return Part(Verdict.OK, f"{more:,} bytes more since, by a run that has not ended")
    return Part(Verdict.DIFFERS, f"{more:,} bytes were added since the run ended")


def _mapping(one: InputRecord) -> Part:
    if one.name == _STANDARD_INPUT:
        return Part(Verdict.MISSING, "it was standard input")
    return _same(Path(one.name), one.sha256)


def _accounting(folder: RunFolder, record: RunRecord, *, planned: bool) -> Part:
    """Check the counts; and every row, where the plan can be trusted."""
    told = replay(folder.ledger)
    counts = counts_of(record, told)
    faults = _faults_of_counts(record, counts)
    if told.settled_twice:
        rows = ", ".join(map(str, told.settled_twice[:_NAMED]))
        faults.append(f"rows were settled twice: {rows}")
    if planned:
        faults += _faults_of_rows(folder, record)
    if faults:
        return Part(Verdict.DIFFERS, "; ".join(faults))
    return Part(Verdict.OK)


def _faults_of_counts(record: RunRecord, counts: dict[str, int]) -> list[str]:
    faults = []
    pending = counts[PENDING]
    if pending < 0 or (record.state is State.FINISHED and pending):
        faults.append(f"{sum(counts.values()) - pending:,} of {record.rows:,} rows have a result")
    if record.state is not State.RUNNING:
        faults += [
            f"run.json says {known:,} {status}, the ledger {counts[status]:,}"
            for status, known in record.counts.items()
            if counts[status] != known
        ]
    return faults


def _faults_of_rows(folder: RunFolder, record: RunRecord) -> list[str]:
    """Hold every result against the row of the plan that it is of.

    All is told from one look at the ledger, for a run that goes on adds to it meanwhile.
    """
    planned, strange, unplanned = _Rows(), _Rows(), 0
    with (
        Outcomes(folder.ledger) as outcomes,
        tempfile.TemporaryDirectory(prefix="bulklink-") as scratch,
    ):
        for row in planned_ids(folder.plan, Path(scratch) / "spill"):
            planned.add(row.row)
            outcome = outcomes.of(row.row)
            if outcome is not None and not _is_of(outcome, row):
                strange.add(row.row)
        for other in outcomes.rows(0):
            if other not in planned:
                unplanned += 1
                if not _is_refused(outcomes.of(other)):
                    strange.add(other)
    faults = []
    if strange.count:
        named = ", ".join(map(str, strange.first))
        faults.append(f"{strange.count:,} results are not of the run's rows: row {named}")
    rows = planned.count + unplanned
    if rows != record.rows:
        faults.append(f"plan and refused rows are {rows:,}, not {record.rows:,}")
    return faults


def _is_of(outcome: Outcome, row: PlannedIds) -> bool:
    twin = row.duplicate_of if outcome.status is Status.DUPLICATE else msgspec.UNSET
    same = (outcome.contact_id, outcome.message_id) == (row.contact_id, row.message_id)
    return same and outcome.duplicate_of == twin


def _is_refused(outcome: Outcome | None) -> bool:
    return outcome is not None and outcome.status is Status.REJECTED


class _Rows:
    """The numbers of rows, a byte each; how many there are, and the first few."""

    def __init__(self) -> None:
        self._known = RowArray("B")
        self.count = 0
        self.first: list[int] = []

    def add(self, row: int) -> None:
        """Note a row."""
        self.count += not self._known[row]
        self._known[row] = 1
        if len(self.first) < _NAMED:
            self.first.append(row)

    def __contains__(self, row: int) -> bool:
        return self._known[row] == 1
