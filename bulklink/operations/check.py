"""`status --check`: compare a run's files with their hashes, and its ledger with its plan."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path

import msgspec

from bulklink.counts import count_of
from bulklink.errors import LedgerError
from bulklink.folder_files import check_folder_file
from bulklink.ledger.checkpoint import LedgerCheckpoint
from bulklink.ledger.index import LedgerIndex, RecordedResult
from bulklink.ledger.row_array import RowArray
from bulklink.ledger.state import LedgerState
from bulklink.mapping.original_rows import PlannedIds, stream_planned_ids
from bulklink.mapping.plan_digest import read_plan_content
from bulklink.models import Status
from bulklink.operations.seal import has_former_digest, plan_digest
from bulklink.runs.check_result import CheckItem, CheckResult, CheckStatus
from bulklink.runs.folder import RunFolder, folder_of
from bulklink.runs.hashes import sha256_of, whole_lines_length
from bulklink.runs.record import InputRecord, RunRecord, RunState
from bulklink.runs.status import PENDING, status_counts

_STANDARD_INPUT = "-"
_MAX_ROWS_NAMED = 5


def check_run(run: str | PathLike[str]) -> CheckResult:
    """Check a run's files against their hashes, and its ledger against its plan.

    Works at any time. During a run, the ledger is compared up to its length when the last
    invocation ended: lines are only ever appended.

    Args:
        run: run folder.

    Returns:
        The outcome of each check; `ok` is True if nothing differs.

    Raises:
        RunDirError: if this is not a run folder.
    """
    folder = folder_of(run)
    record = folder.read()
    result = _check_files(folder, record)
    latest_record = folder.read()
    if result.ok or latest_record == record:
        return result
    return _check_files(folder, latest_record)  # an invocation ended between the two reads


def _check_files(folder: RunFolder, record: RunRecord) -> CheckResult:
    plan_item = _check_plan(folder, record)
    return CheckResult(
        plan=plan_item,
        names=_check_names(folder, record),
        ledger=_check_ledger(folder, record),
        accounting=_check_accounting(folder, record, plan_ok=plan_item.verdict is CheckStatus.OK),
        mappings={
            input_record.name: _check_mapping(input_record) for input_record in record.inputs
        },
        forgotten=record.forgotten,
    )


def _check_plan(folder: RunFolder, record: RunRecord) -> CheckItem:
    if any(not forget_result.complete for forget_result in record.forgotten):
        return CheckItem(CheckStatus.DIFFERS, "forget was interrupted: run it again")
    if record.plan_sha256 is None or record.digest is None:
        if folder.plan.exists():
            return CheckItem(CheckStatus.DIFFERS, "its hash is not recorded")
        return CheckItem(CheckStatus.NOT_YET, "the run has no plan")
    file_item = _check_hash(folder.plan, record.plan_sha256)
    if file_item.verdict is not CheckStatus.OK or has_former_digest(record):
        return file_item
    digest = plan_digest(record, read_plan_content(folder.plan))
    if digest == record.digest:
        return file_item
    return CheckItem(CheckStatus.DIFFERS, f"digest {digest}, recorded {record.digest}")


def _check_names(folder: RunFolder, record: RunRecord) -> CheckItem:
    if not folder.names.exists():
        return CheckItem(CheckStatus.NOT_YET, "no names are stored")
    if record.names_sha256 is not None:
        return _check_hash(folder.names, record.names_sha256)
    if has_former_digest(record):
        return CheckItem(CheckStatus.NOT_YET, "no hash is recorded")
    return CheckItem(CheckStatus.DIFFERS, "this run did not write them")


def _check_hash(path: Path, sha256: str) -> CheckItem:
    if not path.is_file():
        return CheckItem(CheckStatus.MISSING)
    actual_sha256 = sha256_of(path)
    if actual_sha256 == sha256:
        return CheckItem(CheckStatus.OK)
    return CheckItem(CheckStatus.DIFFERS, f"SHA-256 {actual_sha256}, recorded {sha256}")


def _check_ledger(folder: RunFolder, record: RunRecord) -> CheckItem:
    if record.ledger_sha256 is None or record.ledger_bytes is None:
        return CheckItem(CheckStatus.NOT_YET, "no hash is recorded")
    if not check_folder_file(folder.ledger):
        return CheckItem(CheckStatus.MISSING)
    length = whole_lines_length(folder.ledger)
    if length < record.ledger_bytes:
        return CheckItem(CheckStatus.DIFFERS, f"{length:,} bytes, recorded {record.ledger_bytes:,}")
    actual_sha256 = sha256_of(folder.ledger, record.ledger_bytes)
    if actual_sha256 != record.ledger_sha256:
        return CheckItem(
            CheckStatus.DIFFERS, f"SHA-256 {actual_sha256}, recorded {record.ledger_sha256}"
        )
    extra_bytes = length - record.ledger_bytes
    if not extra_bytes:
        return CheckItem(CheckStatus.OK)
    if record.state is RunState.RUNNING:
        return CheckItem(
            CheckStatus.OK, f"{extra_bytes:,} bytes were added since, by a run that has not ended"
        )
    return CheckItem(CheckStatus.DIFFERS, f"{extra_bytes:,} bytes were added since the run ended")


def _check_mapping(input_record: InputRecord) -> CheckItem:
    if input_record.name == _STANDARD_INPUT:
        return CheckItem(CheckStatus.MISSING, "it was standard input")
    if input_record.sha256 is None:
        return CheckItem(CheckStatus.MISSING, "it was rows of a program")
    return _check_hash(Path(input_record.name), input_record.sha256)


def _check_accounting(folder: RunFolder, record: RunRecord, *, plan_ok: bool) -> CheckItem:
    """Check the counts, and every row if the plan can be trusted."""
    try:
        with LedgerIndex(folder.ledger, checkpoint=LedgerCheckpoint(record.last_row)) as results:
            faults = _ledger_faults(record, results.state)
            if plan_ok:
                faults += _row_faults(folder, record, results)
    except LedgerError as error:
        faults = [f"{error.where}: {error.message}"]
    if faults:
        return CheckItem(CheckStatus.DIFFERS, "; ".join(faults))
    return CheckItem(CheckStatus.OK)


def _ledger_faults(record: RunRecord, ledger_state: LedgerState) -> list[str]:
    faults = _count_faults(record, status_counts(record, ledger_state))
    if ledger_state.resettled_rows and not record.load_test:
        rows = ", ".join(map(str, ledger_state.resettled_rows[:_MAX_ROWS_NAMED]))
        faults.append(f"rows were settled twice: {rows}")
    return faults


def _count_faults(record: RunRecord, counts: dict[str, int]) -> list[str]:
    faults = []
    pending = counts[PENDING]
    if pending < 0 or (record.state is RunState.FINISHED and pending and not record.load_test):
        faults.append(
            f"{sum(counts.values()) - pending:,} of"
            f" {count_of(record.rows, 'row has', 'rows have')} a result"
        )
    if record.state is not RunState.RUNNING:
        faults += [
            f"run.json says {recorded:,} {status}, the ledger {counts[status]:,}"
            for status, recorded in record.counts.items()
            if counts[status] != recorded
        ]
    return faults


def _row_faults(folder: RunFolder, record: RunRecord, results: LedgerIndex) -> list[str]:
    """Compare every result with its row in the plan."""
    planned_rows, mismatched, unplanned = _RowSet(record.last_row), _RowSet(record.last_row), 0
    with tempfile.TemporaryDirectory(prefix="bulklink-") as scratch:
        for row in stream_planned_ids(folder.plan, Path(scratch) / "spill"):
            if row.row > record.last_row:
                rows_of_run = count_of(record.last_row, "row")
                return [f"the plan has a row {row.row:,}, but the run has {rows_of_run}"]
            planned_rows.add(row.row)
            outcome = results.result(row.row)
            if outcome is not None and not _matches_planned_row(outcome, row):
                mismatched.add(row.row)
        for result_row in results.rows(0):
            if result_row not in planned_rows:
                unplanned += 1
                if not _is_refused(results.result(result_row)):
                    mismatched.add(result_row)
    faults = []
    if mismatched.count:
        first_rows = ", ".join(map(str, mismatched.first))
        results_do = count_of(mismatched.count, "result does", "results do")
        faults.append(f"{results_do} not match the plan: row {first_rows}")
    rows = planned_rows.count + unplanned
    if rows != record.rows:
        faults.append(
            f"plan and refused rows are {count_of(rows, 'row')}, the run has {record.rows:,}"
        )
    return faults


def _matches_planned_row(outcome: RecordedResult, row: PlannedIds) -> bool:
    duplicate_of = row.duplicate_of if outcome.status is Status.DUPLICATE else msgspec.UNSET
    same_ids = (outcome.contact_id, outcome.message_id) == (row.contact_id, row.message_id)
    return same_ids and outcome.duplicate_of == duplicate_of


def _is_refused(outcome: RecordedResult | None) -> bool:
    return outcome is not None and outcome.status is Status.REJECTED


@dataclass(slots=True)
class _RowSet:
    """Set of row numbers, a byte each, with its size and first few rows."""

    rows: int
    present: RowArray = field(init=False)
    count: int = 0
    first: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.present = RowArray("B", self.rows)

    def add(self, row: int) -> None:
        self.count += not self.present[row]
        self.present[row] = 1
        if len(self.first) < _MAX_ROWS_NAMED:
            self.first.append(row)

    def __contains__(self, row: int) -> bool:
        return self.present[row] == 1
