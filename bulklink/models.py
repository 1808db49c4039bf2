"""Values shared by all packages: operations, statuses, messages."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

import msgspec

MAX_ROWS = 100_000_000
"""Maximum rows of a run; limits the memory allocated by row number, which a file could forge."""


class Op(StrEnum):
    """Operation on one email."""

    LINK = "link"
    UNLINK = "unlink"
    RELINK = "relink"


class Status(StrEnum):
    """Status of a row in the ledger; docs/results.md explains each."""

    DONE = "done"
    UNCHANGED = "unchanged"
    FAILED = "failed"
    IN_DOUBT = "in_doubt"
    REJECTED = "rejected"
    DUPLICATE = "duplicate"


NEVER_SENT = (Status.REJECTED, Status.DUPLICATE)
"""Statuses of rows that are in no call."""

ForecastType = Literal["open", "won", "lost"]
"""What Zoho forecasts for a deal by its stage."""

# Guard syntax: deal ids, or NO_DEAL, separated by GUARD_SEPARATOR.
NO_DEAL = "none"
"""Guard of an email that must not be on a deal."""
GUARD_SEPARATOR = "|"
"""Separates the deals of a guard."""


class Message(msgspec.Struct, frozen=True, gc=False):
    """One email of a sealed plan and its operation.

    Args:
        row: row number in the mapping, from 1.
        op: operation.
        contact_id: id of the contact.
        owner_id: id of the user who owns the email.
        message_id: id of the email.
        deal_id: wanted deal of a link or relink, None for an unlink.
        owner_name: name of the owner, None if unknown.
        deal_name: name of the wanted deal, None if unknown.
        from_deal_id: guard: deals that the email may be on before the change; None for no guard.
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
        """Return whether the guard allows a change of an email on this deal; None is no deal."""
        guard = self.from_deal_id
        return guard is None or (deal_id or NO_DEAL) in guard.split(GUARD_SEPARATOR)
