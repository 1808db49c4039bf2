"""Local time, for display."""

from __future__ import annotations

from datetime import datetime, tzinfo


def format_local_time(timestamp: str, zone: tzinfo | None = None) -> str:
    """Return a timestamp as local time with its offset, to the second.

    Args:
        timestamp: RFC 3339, as the ledger writes it.
        zone: time zone; None for this machine's.
    """
    return datetime.fromisoformat(timestamp).astimezone(zone).isoformat(" ", "seconds")
