"""The values that every room speaks of: operations, messages, statuses, counts."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class Op(StrEnum):
    """What is done to one email."""

    LINK = "link"
    UNLINK = "unlink"
    RELINK = "relink"


class Status(StrEnum):
    """What the ledger says of a row; the meaning of each is in the README."""

    DONE = "done"
    UNCHANGED = "unchanged"
    FAILED = "failed"
    IN_DOUBT = "in_doubt"
    REJECTED = "rejected"
    DUPLICATE = "duplicate"


NEVER_SENT = (Status.REJECTED, Status.DUPLICATE)
"""Statuses of rows that no call carries."""

NO_DEAL = "none"
"""What a guard says where an email is to be on no deal."""
GUARD_SEPARATOR = "|"
"""What parts the deals of a guard that names several."""


class Message(msgspec.Struct, frozen=True):
    """One email of a sealed plan and what is wanted of it.

    `row` is the number of its record in the mapping, from 1. `deal_id` is the wanted deal of a
    link or relink and None for an unlink. The names are None where the mapping names none.
    `from_deal_id` is its guard, None where it has none.
    """

    row: int
    op: Op
    contact_id: str
    owner_id: str
    message_id: str
    deal_id: str | None = None
    owner_name: str | None = None
    deal_name: str | None = None
    from_deal_id: str | None = None

    def guard_allows(self, deal_id: str | None) -> bool:
        """Tell whether its guard lets it be changed while it is on this deal; None is no deal."""
        guard = self.from_deal_id
        return guard is None or (deal_id or NO_DEAL) in guard.split(GUARD_SEPARATOR)
