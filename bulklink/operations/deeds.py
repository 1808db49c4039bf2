"""What a run did with each of its emails: its ledger joined to its plan."""
# ruff: noqa: S608

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from bulklink.ledger.index import FirstSnapshots, Outcome, Outcomes, Snapshot
from bulklink.ledger.state import OpenRow, replay
from bulklink.mapping.database import Database, literal
from bulklink.mapping.interrupt import Stop
from bulklink.mapping.plan_layout import relation
from bulklink.models import Op, Status
from bulklink.operations.inverse import Done
from bulklink.runs.folder import RunFolder

_MEMORY = "128MB"
_COLUMNS = ("row", "op", "contact_id", "owner_id", "message_id", "deal_id")
_NEVER_SENT = (Status.REJECTED, Status.DUPLICATE)


def deeds(folder: RunFolder, spill: Path, stop: Stop) -> Iterator[Done]:
    """Stream what a run did with each email that it came to, in the order of its plan.

    A torn last line, of a run that was killed, does not count. Memory: some bytes a row.

    Args:
        folder: of the run.
        spill: where data goes that does not fit into memory; removed again.
        stop: ends the work from another thread.

    Raises:
        LedgerError: if a line of the ledger is damaged.
        InterruptedPlanningError: if `stop` ended it.
    """
    flying = replay(folder.ledger).open
    with (
        closing(Database(spill, stop, threads=1, memory=_MEMORY)) as database,
        Outcomes(folder.ledger) as outcomes,
        FirstSnapshots(folder.ledger) as snapshots,
    ):
        for found in database.rows(_query(database, folder)):
            row = found[0]
            told, flies = outcomes.of(row), flying.get(row)
            if flies is not None or (told is not None and told.status not in _NEVER_SENT):
                yield _done(found, snapshots.of(row), told, flies)


def _done(
    found: tuple[Any, ...],
    seen: Snapshot | None,
    told: Outcome | None,
    flies: OpenRow | None,
) -> Done:
    row, op, contact_id, owner_id, message_id, deal_id, owner_name = found
    was_on = seen.previous_deal_id if seen else None
    ended = told if flies is None else None
    current = ended.current_deal_id if ended else None
    return Done(
        row,
        Op(op),
        contact_id,
        owner_id,
        message_id,
        deal_id,
        owner_name,
        seen=seen is not None,
        was_on=was_on,
        was_on_name=seen.previous_deal_name if seen else None,
        later_on=_later_on(told, was_on),
        status=ended.status if ended else None,
        code=ended.code if ended else None,
        current=current if isinstance(current, str) else None,
        written=(told is not None and told.attempts > 0) or (flies is not None and _sent(flies)),
    )


def _later_on(told: Outcome | None, was_on: str | None) -> str | None:
    """Return what the last snapshot told; a result has it, unless there was none."""
    later = told.previous_deal_id if told else was_on
    return later if later is None or isinstance(later, str) else was_on


def _sent(left: OpenRow) -> bool:
    return left.asked is not None or left.unlinked or left.doubt


def _query(database: Database, folder: RunFolder) -> str:
    columns = ", ".join(f"plan.bulklink_{column}" for column in _COLUMNS)
    owner_name, names = "plan.bulklink_owner_name", ""
    if folder.names.is_file():
        owner_name = f"coalesce({owner_name}, names.owner_name)"
        path = literal(str(folder.names))
        names = f"POSITIONAL JOIN read_parquet({path}) AS names"
    return (
        f"SELECT {columns}, {owner_name} FROM {relation(database, folder.plan)} AS plan {names} "
        "WHERE plan.bulklink_duplicate_of IS NULL"
    )
