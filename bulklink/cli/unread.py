"""Contacts that could not be read, and what selects no contact, as lines of text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from bulklink.counts import count_of

if TYPE_CHECKING:
    from bulklink.mapping.contact_selection import Unresolved
    from bulklink.operations.fetching.progress import UnreadContact

_MAX_SHOWN = 20


def unread_lines(contacts: Sequence[UnreadContact], total: int) -> Iterator[str]:
    """Yield a line for each contact that could not be read.

    Args:
        contacts: the first of them.
        total: how many there are.
    """
    for contact in contacts[:_MAX_SHOWN]:
        reason = ": ".join(filter(None, (contact.code, contact.message)))
        yield f"contact {contact.contact_id}: {reason}"
    if total > _MAX_SHOWN:
        more = count_of(total - _MAX_SHOWN, "more contact")
        yield f"… and {more} that could not be read"


def unresolved_lines(requests: Sequence[Unresolved]) -> Iterator[str]:
    """Yield a line for each address, name or deal that selects no contact."""
    for request in requests[:_MAX_SHOWN]:
        place = f"{request.place}: " if request.place not in ("", request.value) else ""
        yield f"{place}{request.value}: {request.message}"
    if len(requests) > _MAX_SHOWN:
        more = count_of(len(requests) - _MAX_SHOWN, "more that selects", "more that select")
        yield f"… and {more} no contact; --json names up to 1,000"
