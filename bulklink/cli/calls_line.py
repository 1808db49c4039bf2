"""Calls of a command that reads, and what they cost, as a line of text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from bulklink.counts import count_of
from bulklink.local_time import format_local_time


def calls_line(calls: Mapping[str, int], credits_spent: int) -> str:
    """Return the calls by kind, and their credits where these differ.

    Args:
        calls: requests by kind: read, lookup, retried.
        credits_spent: what they cost.
    """
    price = ""
    if credits_spent != calls["read"] + calls["lookup"]:
        price = f"; {count_of(credits_spent, 'credit')}"
    return (
        f"Calls: {calls['read']:,} read, {calls['lookup']:,} look-up,"
        f" {calls['retried']:,} retried{price}."
    )


def unfinished_lines(
    calls: Mapping[str, int], credits_spent: int, resume_at: str | None, advice: str
) -> Iterator[str]:
    """Yield what a command did that stopped before it wrote a mapping.

    Args:
        calls: requests by kind: read, lookup, retried.
        credits_spent: what they cost.
        resume_at: when credits are expected, RFC 3339; None if time alone does not help.
        advice: what to do.
    """
    yield calls_line(calls, credits_spent)
    if resume_at is not None:
        yield f"Credits are expected at {format_local_time(resume_at)}."
    yield f"Not finished: no mapping was written. {advice}"
