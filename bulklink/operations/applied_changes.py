"""Applied changes: what a run did to each email that it reached, by its ledger and its plan."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec

from bulklink.ledger.checkpoint import NO_CHECKPOINT, LedgerCheckpoint
from bulklink.ledger.index import LedgerIndex, RecordedResult, Snapshot
from bulklink.ledger.state import OpenRow
from bulklink.mapping.database import Database
from bulklink.mapping.interrupt import PlanningStop
from bulklink.mapping.plan_layout import plan_relation_with_names, shared_texts
from bulklink.mapping.schema import ORIGIN_ROW, OWN_PREFIX
from bulklink.models import NEVER_SENT, Op, Status
from bulklink.operations.undo_steps import AppliedChange
from bulklink.runs.folder import RunFolder

_MEMORY = "64MB"
_SELECT_MESSAGES = """
SELECT bulklink_row, bulklink_op, bulklink_contact_id, bulklink_owner_id,
    bulklink_message_id::VARCHAR, bulklink_deal_id, bulklink_owner_name::VARCHAR{origin}
FROM {plan} WHERE bulklink_duplicate_of IS NULL
"""
_ORIGIN = f", {OWN_PREFIX}{ORIGIN_ROW}"
_LINK = Op.LINK.value
_Columns = Sequence[Sequence[Any]]


class DoneLinks(msgspec.Struct, frozen=True):
    """Links that the answers to their calls report as done, without a snapshot, in columns.

    Nearly all changes of a large run are such links, and all of them are undone in the same way.

    Args:
        rows: numbers of the rows in the mapping, also of those of a shard.
        contact_ids: contacts of the emails.
        owner_ids: owners of the mailboxes.
        message_ids: message ids of the emails.
        deal_ids: the deals that the emails were linked to.
        owner_names: names of the owners; None where unknown.
    """

    rows: Sequence[int]
    contact_ids: Sequence[str]
    owner_ids: Sequence[str]
    message_ids: Sequence[str]
    deal_ids: Sequence[str]
    owner_names: Sequence[str | None]


def stream_changes(
    folder: RunFolder,
    spill: Path,
    stop: PlanningStop,
    checkpoint: LedgerCheckpoint = NO_CHECKPOINT,
    *,
    is_shard: bool = False,
) -> Iterator[DoneLinks | AppliedChange]:
    """Stream the changes of a run to each email it reached, in plan order.

    A torn last line, left by a killed run, does not count. Memory: some bytes per row.

    Args:
        folder: run folder.
        spill: folder for data that does not fit into memory; removed at the end.
        stop: interrupts the work from another thread.
        checkpoint: required beginning of the ledger, and the rows that it may name.
        is_shard: whether the run is a shard, whose ledger has row numbers of its own.

    Yields:
        Each change, or several changes that are alike.

    Raises:
        LedgerError: if a line of the ledger is damaged, or it does not begin with the checkpoint.
        InterruptedPlanningError: if `stop` ended it.
    """
    with (
        closing(Database(spill, stop, threads=1, memory=_MEMORY)) as database,
        LedgerIndex(folder.ledger, stop.check, checkpoint, uniform=False) as ledger,
    ):
        plan = plan_relation_with_names(database, folder.plan, folder.names, as_written=True)
        query = _SELECT_MESSAGES.format(plan=plan, origin=_ORIGIN if is_shard else "")
        for rows, ops, contacts, owners, messages, deals, names, *origins in database.columns(
            query
        ):
            ids = shared_texts(contacts), shared_texts(owners), messages, shared_texts(deals)
            numbers = origins[0] if origins else rows
            yield from _changes_of(rows, (numbers, ops, *ids, names), ledger)


def _changes_of(
    rows: Sequence[int], columns: _Columns, ledger: LedgerIndex
) -> Iterator[DoneLinks | AppliedChange]:
    """Yield the changes of some rows of the plan.

    Args:
        rows: their numbers in the ledger.
        columns: what the changes are about.
        ledger: the ledger.
    """
    numbers, ops, *_, deal_ids, _ = columns
    only_done = ledger.only_done(rows)
    if all(only_done) and ops.count(_LINK) == len(ops) and None not in deal_ids:
        yield DoneLinks(numbers, *columns[2:])
        return
    is_done_link = [
        done and op == _LINK and deal_id is not None
        for done, op, deal_id in zip(only_done, ops, deal_ids, strict=True)
    ]
    end = 0
    while end < len(rows):
        start, is_alike = end, is_done_link[end]
        end = _find(not is_alike, is_done_link, start)
        part = [column[start:end] for column in columns]
        if is_alike:
            shown_rows, _, *others = part
            yield DoneLinks(shown_rows, *others)
            continue
        for row, done, *cells in zip(rows[start:end], only_done[start:end], *part, strict=True):
            change = _done_change(cells) if done else _change_of(row, cells, ledger)
            if change is not None:
                yield change


def _find(value: object, values: list[Any], start: int) -> int:
    """Return the index of the first such value from a start on; the length if there is none."""
    try:
        return values.index(value, start)
    except ValueError:
        return len(values)


def _done_change(cells: Sequence[Any]) -> AppliedChange:
    """Return the change of a row of the plan that has only a uniform result."""
    row, op, contact_id, owner_id, message_id, deal_id, owner_name = cells
    return AppliedChange(
        row, Op(op), contact_id, owner_id, message_id, deal_id, owner_name, status=Status.DONE
    )


def _change_of(row: int, cells: Sequence[Any], ledger: LedgerIndex) -> AppliedChange | None:
    """Return the change of a row of the plan; None if the run did not reach it."""
    outcome, open_row = ledger.result(row), ledger.state.open_rows.get(row)
    if open_row is None and (outcome is None or outcome.status in NEVER_SENT):
        return None
    return _applied_change(cells, ledger.snapshot(row), outcome, open_row)


def _applied_change(
    cells: Sequence[Any],
    snapshot: Snapshot | None,
    outcome: RecordedResult | None,
    open_row: OpenRow | None,
) -> AppliedChange:
    row, op, contact_id, owner_id, message_id, deal_id, owner_name = cells
    original_deal_id = snapshot.previous_deal_id if snapshot else None
    final_outcome = outcome if open_row is None else None
    return AppliedChange(
        row,
        Op(op),
        contact_id,
        owner_id,
        message_id,
        deal_id,
        owner_name,
        has_snapshot=snapshot is not None,
        original_deal_id=original_deal_id,
        original_deal_name=snapshot.previous_deal_name if snapshot else None,
        last_snapshot_deal_id=_last_snapshot_deal_id(outcome, original_deal_id),
        status=final_outcome.status if final_outcome else None,
        code=final_outcome.code if final_outcome else None,
        current_deal_id=final_outcome.current_deal_id if final_outcome else msgspec.UNSET,
        may_have_changed=(outcome is not None and outcome.attempts > 0)
        or (open_row is not None and _may_have_been_sent(open_row)),
    )


def _last_snapshot_deal_id(
    outcome: RecordedResult | None, original_deal_id: str | None
) -> str | None:
    """Return the deal in the last snapshot, from the result or the first snapshot."""
    last_deal_id = outcome.previous_deal_id if outcome else original_deal_id
    return (
        last_deal_id if last_deal_id is None or isinstance(last_deal_id, str) else original_deal_id
    )


def _may_have_been_sent(open_row: OpenRow) -> bool:
    return open_row.last_op is not None or open_row.unlinked or open_row.may_have_changed
