"""Calls of a command that reads, and what they cost, as a line of text."""

from __future__ import annotations

from collections.abc import Mapping

from bulklink.counts import count_of


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
