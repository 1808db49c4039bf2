"""Local time: for display, and as users write it."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, tzinfo


def format_local_time(timestamp: str, zone: tzinfo | None = None) -> str:
    """Return a timestamp as local time with its offset, to the second.

    Args:
        timestamp: RFC 3339, as the ledger writes it.
        zone: time zone; None for this machine's.
    """
    return datetime.fromisoformat(timestamp).astimezone(zone).isoformat(" ", "seconds")


def format_local_moment(seconds: float) -> str:
    """Return seconds since 1970 as local time with its offset, to the second."""
    return format_local_time(datetime.fromtimestamp(seconds, UTC).isoformat())


def parse_point_in_time(text: str, zone: tzinfo | None = None, *, end_of_day: bool = False) -> str:
    """Return the time that a user wrote, ISO 8601 with offset.

    Args:
        text: ISO 8601; without an offset, local time. A date alone is its first moment.
        zone: time zone of times without an offset; None for this machine's.
        end_of_day: whether a date alone is the first moment of the day after it.

    Raises:
        ValueError: if the text is not such a time.
    """
    try:
        day = date.fromisoformat(text)
    except ValueError:
        moment = datetime.fromisoformat(text)
    else:
        moment = datetime.combine(day, datetime.min.time())
        if end_of_day:
            moment = datetime.max if day == date.max else moment + timedelta(days=1)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=zone) if zone else _with_offset(moment)
    return moment.isoformat()


def _with_offset(moment: datetime) -> datetime:
    """Return a local time with its offset; UTC for a time that this machine cannot compute."""
    try:
        return moment.astimezone()
    except (ValueError, OverflowError, OSError):
        return moment.replace(tzinfo=UTC)
