"""Undo plan: the inverse of a run as a mapping, and the rows that cannot be undone."""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import repeat
from pathlib import Path
from typing import BinaryIO, TextIO

import msgspec

from bulklink.advice import Advice, Keyword
from bulklink.atomic_files import atomic_replace
from bulklink.counts import count_of
from bulklink.decoding import json_decoder
from bulklink.errors import LockedError
from bulklink.folder_files import check_folder_file, open_to_append
from bulklink.ledger.records import Result
from bulklink.mapping.interrupt import PlanningStop
from bulklink.mapping.plain_plan import PlainPlan
from bulklink.mapping.rejects import REJECT_COLUMNS, REJECT_ORIGIN
from bulklink.mapping.schema import GUARD, KNOWN_COLUMNS
from bulklink.models import Op, Status
from bulklink.operations.applied_changes import DoneLinks, stream_changes
from bulklink.operations.seal import check_sealed_files
from bulklink.operations.undo_steps import (
    AppliedChange,
    NotUndone,
    NotUndoneReason,
    UndoStep,
    undo_step_for,
)
from bulklink.runs.folder import RunFolder

UNDO_COLUMNS = (
    *("op", "contact_id", "owner_id", "message_id", "deal_id", "owner_name", "deal_name"),
    *("from_deal_id", "source_row"),
)
_REJECT_HEADER = (*UNDO_COLUMNS, *REJECT_COLUMNS)
MAX_ROWS_NAMED = 20
_UNLINK = Op.UNLINK.value
_STEPS_AT_ONCE = 512
_QUOTED_CHARACTERS = ',"\r\n'
_ADVICE = {
    NotUndoneReason.NO_SNAPSHOT: "The run took no snapshot, so the previous deal is unknown.",
    NotUndoneReason.SETTLED_BY_READ: "A read settled the email after a lost answer, without a"
    " snapshot: it may have been linked before the run.",
    NotUndoneReason.IN_DOUBT: "The email is in doubt, without a snapshot: it may have been linked"
    " before the run, or not be linked at all.",
}


class NotUndoneRow(msgspec.Struct, frozen=True):
    """A row that is not undone.

    Args:
        change: change of the email by the run.
        not_undone: why it is not undone.
    """

    change: AppliedChange
    not_undone: NotUndone


@dataclass(slots=True)
class UndoRemarks:
    """What the user has to know before an undo, of one run or of several.

    Attributes:
        without_snapshot: links without a snapshot that are undone.
        not_undone: rows that are not undone, by reason.
        first_not_undone: first of these rows, by reason; numbers over the whole mapping.
    """

    without_snapshot: int = 0
    not_undone: Counter[NotUndoneReason] = field(default_factory=Counter)
    first_not_undone: dict[NotUndoneReason, list[int]] = field(default_factory=dict)

    def add_row(self, reason: NotUndoneReason, row: int) -> None:
        """Count a row that is not undone."""
        self.not_undone[reason] += 1
        first_rows = self.first_not_undone.setdefault(reason, [])
        if len(first_rows) < MAX_ROWS_NAMED:
            first_rows.append(row)

    def add(self, others: UndoRemarks) -> None:
        """Add those about another run."""
        self.without_snapshot += others.without_snapshot
        self.not_undone.update(others.not_undone)
        for reason, rows in others.first_not_undone.items():
            first_rows = self.first_not_undone.setdefault(reason, [])
            first_rows += rows[: MAX_ROWS_NAMED - len(first_rows)]

    def warnings(self) -> Iterator[Advice]:
        """Yield them as warnings."""
        if self.without_snapshot:
            made = count_of(self.without_snapshot, "link was made", "links were made")
            yield Advice(
                "{} without a snapshot, so it is unknown which of these emails were linked before."
                " All that are still on that deal are unlinked.",
                made,
            )
        for reason, count in sorted(self.not_undone.items()):
            rows = ", ".join(map(str, self.first_not_undone[reason]))
            more = f" and {count - MAX_ROWS_NAMED:,} more" if count > MAX_ROWS_NAMED else ""
            left = count_of(count, "row is not undone", "rows are not undone")
            include = Advice(
                " {} unlinks those that are linked.", Keyword("include_settled", value=True)
            )
            is_optional = reason is not NotUndoneReason.NO_SNAPSHOT
            left = f"{left} ({reason}): row {rows}{more}."
            yield Advice("{} {}{}", left, _ADVICE[reason], include if is_optional else "")


class UndoPlan(msgspec.Struct, frozen=True):
    """Inverse of a run, in a temporary folder.

    Args:
        mapping: path of the rows that reverse the run, an ordinary mapping.
        not_undone_path: path of the rows that are not undone, one JSON object a line.
        rows: number of rows that are undone.
        remarks: what the user has to know before.
        plain_plan: plan of the mapping, if its rows are plain.
    """

    mapping: Path
    not_undone_path: Path
    rows: int
    remarks: UndoRemarks
    plain_plan: PlainPlan | None

    @property
    def not_undone(self) -> int:
        """Number of rows that are not undone."""
        return self.remarks.not_undone.total()

    def warnings(self) -> Iterator[Advice]:
        """Yield warnings for the user before the undo starts."""
        return self.remarks.warnings()


def build_undo_plan(
    source: RunFolder,
    scratch: Path,
    *,
    include_settled: bool,
    stop: PlanningStop,
    measured: bool = False,
) -> UndoPlan:
    """Write the inverse of a run into a temporary folder.

    Args:
        source: run folder.
        scratch: folder for the files.
        include_settled: whether to undo links that might not be the run's.
        stop: interrupts the work from another thread.
        measured: whether to write no mapping if its rows are plain, and `plain_plan` suffices.

    Raises:
        LockedError: if a process is running the run.
        DigestError: if its plan or its names changed since it sent them.
        LedgerError: if its ledger is damaged.
        InterruptedPlanningError: if `stop` ended it.
    """
    mapping, not_undone_path = scratch / "undo.csv", scratch / "left.jsonl"
    with ExitStack() as stack:
        not_undone_file = stack.enter_context(not_undone_path.open("wb"))
        mapping_file = None
        if not measured:
            mapping_file = stack.enter_context(mapping.open("w", encoding="utf-8", newline=""))
        writer = UndoWriter(mapping_file, not_undone_file, include_settled=include_settled)
        for change in _changes_to_undo(source, scratch / "spill", stop):
            match change:
                case DoneLinks():
                    writer.add_links(change)
                case AppliedChange():
                    writer.add(change)
            if measured and not writer.plain_plan.is_plain:
                break
        writer.end()
    if measured and not writer.plain_plan.is_plain:
        return build_undo_plan(source, scratch, include_settled=include_settled, stop=stop)
    return UndoPlan(
        mapping,
        not_undone_path,
        writer.rows,
        writer.remarks,
        writer.plain_plan if writer.plain_plan.is_plain else None,
    )


def _is_plain(cells: Sequence[str]) -> bool:
    """Return whether CSV needs no quotes around any of some cells."""
    text = "".join(cells)
    return not any(character in text for character in _QUOTED_CHARACTERS)


@lru_cache(1024)
def _csv_cell(text: str | None) -> str:
    """Return a cell as CSV, as `csv.writer` writes it."""
    if text is None:
        return ""
    return text if _is_plain([text]) else '"' + text.replace('"', '""') + '"'


class UndoWriter:
    """Writer of the inverse of a run.

    Args:
        mapping: file for the rows that reverse the run; None to write none.
        not_undone: file for the rows that are not undone.
        include_settled: whether to undo links that might not be the run's.

    Attributes:
        rows: number of rows that are undone.
        remarks: what the user has to know before.
        plain_plan: plan of the rows that are undone.
    """

    def __init__(
        self, mapping: TextIO | None, not_undone: BinaryIO, *, include_settled: bool
    ) -> None:
        self._mapping = mapping
        if mapping is not None:
            csv.writer(mapping).writerow(UNDO_COLUMNS)
        self._not_undone = not_undone
        self._include_settled = include_settled
        self.rows = 0
        self.remarks = UndoRemarks()
        self.plain_plan = PlainPlan()
        self._steps: list[tuple[str | None, ...]] = []

    def end(self) -> None:
        """Complete the plan after the last change."""
        self._add_steps()
        self.plain_plan.end()

    def _add_steps(self) -> None:
        if self._steps:
            columns = zip(*self._steps, strict=True)
            self.plain_plan.add(dict(zip(KNOWN_COLUMNS, columns, strict=True)))
            self._steps.clear()

    def add_links(self, links: DoneLinks) -> None:
        """Add the steps that reverse links: each is `undo_step_for` of its link."""
        self.rows += len(links.rows)
        self.remarks.without_snapshot += len(links.rows)
        self._add_steps()
        count = len(links.rows)
        self.plain_plan.add(
            {
                "op": [_UNLINK] * count,
                "contact_id": links.contact_ids,
                "owner_id": links.owner_ids,
                "message_id": links.message_ids,
                "deal_id": [None] * count,
                "owner_name": links.owner_names,
                "deal_name": [None] * count,
                GUARD: links.deal_ids,
            }
        )
        if self._mapping is not None:
            self._write_links(links, self._mapping)

    @staticmethod
    def _write_links(links: DoneLinks, mapping: TextIO) -> None:
        ids = (links.contact_ids, links.owner_ids, links.message_ids, links.deal_ids)
        if not all(map(_is_plain, ids)):
            columns = (*ids[:3], repeat(None), links.owner_names, repeat(None), ids[3], links.rows)
            csv.writer(mapping).writerows(zip(repeat(_UNLINK), *columns, strict=False))
            return
        mapping.write(
            "".join(
                f"unlink,{contact_id},{owner_id},{message_id},,{owner_name},,{deal_id},{row}\r\n"
                for contact_id, owner_id, message_id, deal_id, owner_name, row in zip(
                    *ids, map(_csv_cell, links.owner_names), links.rows, strict=True
                )
            )
        )

    def add(self, change: AppliedChange) -> None:
        """Add the step that reverses a change, or note that it is not undone."""
        match undo_step_for(change, include_settled=self._include_settled):
            case UndoStep() as step:
                self.rows += 1
                self.remarks.without_snapshot += not change.has_snapshot
                *cells, row = _cells(change, step)
                if self._mapping is not None:
                    csv.writer(self._mapping).writerow([*cells, row])
                self._steps.append(tuple(cells))
                if len(self._steps) == _STEPS_AT_ONCE:
                    self._add_steps()
            case NotUndone() as not_undone:
                self.remarks.add_row(not_undone.reason, change.row)
                line = msgspec.json.encode(NotUndoneRow(change, not_undone))
                self._not_undone.write(line + b"\n")


def _changes_to_undo(
    source: RunFolder, spill: Path, stop: PlanningStop
) -> Iterator[DoneLinks | AppliedChange]:
    record = source.read()
    if not record.invocations or not source.plan.is_file():
        return iter(())
    if source.is_running():
        raise LockedError(
            "A process is running this run.",
            where=str(source.path),
            advice="Wait until it ends, or stop it, then undo it.",
        )
    check_sealed_files(source, record)
    return stream_changes(source, spill, stop, record.checkpoint, is_shard=record.shard is not None)


def rejected_results(undo_plan: UndoPlan) -> Iterator[Result]:
    """Stream the ledger's results of the rows that are not undone."""
    for row, not_undone_row in _not_undone_rows(undo_plan):
        change, not_undone = not_undone_row.change, not_undone_row.not_undone
        yield Result(
            row,
            not_undone.step.op,
            change.contact_id,
            change.owner_id,
            change.message_id,
            None,
            Status.REJECTED,
            not_undone.reason,
            message=_ADVICE[not_undone.reason],
        )


def write_undo_rejects(undo_plan: UndoPlan, path: Path, name: str, rows_before: int) -> None:
    """Write the rows that are not undone as a mapping that can be fixed and sent.

    Args:
        undo_plan: inverse of the run.
        path: file to write.
        name: name of the inverse, shown as a mapping's name.
        rows_before: rows of the earlier shards, if it is a shard of a job.
    """
    with (
        atomic_replace(path) as temporary,
        temporary.open("w", encoding="utf-8", newline="") as file,
    ):
        writer = csv.writer(file)
        origin_header = [REJECT_ORIGIN] if rows_before else []
        writer.writerow([*_REJECT_HEADER, *origin_header])
        for row, cells in _reject_rows(undo_plan, name):
            writer.writerow([*cells, row + rows_before] if rows_before else cells)


def append_undo_rejects(undo_plan: UndoPlan, path: Path, name: str, rows_before: int) -> None:
    """Append the rows of a shard that are not undone to those of the whole job.

    Args:
        undo_plan: inverse of the shard.
        path: file to append to, created with a header if needed.
        name: name of the inverse, shown as a mapping's name.
        rows_before: rows of the earlier shards.
    """
    is_new = not check_folder_file(path)
    with os.fdopen(open_to_append(path), "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        if is_new:
            writer.writerow(_REJECT_HEADER)
        writer.writerows(cells for _, cells in _reject_rows(undo_plan, name, rows_before))


def _reject_rows(
    undo_plan: UndoPlan, name: str, rows_before: int = 0
) -> Iterator[tuple[int, list[str | int | None]]]:
    """Yield the number and the cells of the rows that are not undone.

    Args:
        undo_plan: inverse of the run.
        name: name of the inverse, shown as a mapping's name.
        rows_before: number to add to the row numbers in the cells.
    """
    for row, not_undone_row in _not_undone_rows(undo_plan):
        not_undone = not_undone_row.not_undone
        cells = _cells(not_undone_row.change, not_undone.step)
        yield row, [*cells, name, row + rows_before, None, None, not_undone.reason, ""]


def _not_undone_rows(undo_plan: UndoPlan) -> Iterator[tuple[int, NotUndoneRow]]:
    """Stream the rows that are not undone, numbered after those that are."""
    decoder = json_decoder(NotUndoneRow)
    with undo_plan.not_undone_path.open("rb") as file:
        for row, line in enumerate(file, undo_plan.rows + 1):
            yield row, decoder.decode(line)


def _cells(change: AppliedChange, step: UndoStep) -> tuple[str | None, ...]:
    return (
        step.op.value, change.contact_id, change.owner_id, change.message_id, step.deal_id,
        change.owner_name, step.deal_name, step.from_deal_id, str(change.row),
    )  # fmt: skip
