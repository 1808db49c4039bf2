"""What a page says about the list that it is part of."""

from __future__ import annotations

from typing import Any

EMAILS_PER_PAGE = 10
"""Emails on one page of a contact's list."""
ROLES_PER_PAGE = 100
"""Contacts on one page of those with a role on a deal."""
RECORDS_PER_PAGE = 200
"""Records, users or entries of a timeline on one page."""


def may_have_more(content: dict[str, Any], entries: int, per_page: int) -> bool:
    """Return whether a list goes on after a page: as its `info` says, else if the page is full.

    Args:
        content: content of the answer.
        entries: entries on the page.
        per_page: entries on a full page.
    """
    info = content.get("info")
    more = info.get("more_records") if isinstance(info, dict) else None
    return more if isinstance(more, bool) else entries >= per_page
