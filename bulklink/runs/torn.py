"""Relinks that left an email off the deal it was on: what a person must hear of first."""

from __future__ import annotations

import msgspec

from bulklink.ledger.state import OpenRow, replay
from bulklink.models import Op
from bulklink.runs.folder import RunFolder


class Torn(msgspec.Struct, frozen=True):
    """Rows of relinks that are off the deal they were on; that deal with each, None if not known.

    Those `not_put_back` stay so unless somebody acts. Those `open` are, or may be, between their
    halves: a resume finishes them first.
    """

    not_put_back: dict[int, str | None]
    open: dict[int, str | None]


def torn_of(folder: RunFolder) -> Torn:
    """Return the torn relinks of a run.

    Raises:
        LedgerError: if its ledger is damaged.
    """
    told = replay(folder.ledger)
    left = _relinks(folder, {row: one for row, one in told.open.items() if one.torn})
    return Torn(
        dict(told.not_put_back),
        {row: one.previous[0] if one.previous else None for row, one in left.items()},
    )


def _relinks(folder: RunFolder, rows: dict[int, OpenRow]) -> dict[int, OpenRow]:
    """Return those of some rows that are relinks: an unlink in flight has no second half."""
    if not rows or folder.read().op == Op.RELINK:
        return rows
    from bulklink.mapping.plan_reader import SealedPlan  # noqa: PLC0415 - DuckDB, seldom needed

    chunks = SealedPlan(folder.plan).chunks()
    relinks = {m.row for chunk in chunks for m in chunk if m.op is Op.RELINK and m.row in rows}
    return {row: one for row, one in rows.items() if row in relinks}
