"""Cases of simulation tests, and summaries of their outcomes."""

from __future__ import annotations

from collections import Counter
from typing import Any

from bulklink.errors import StoppedBy
from bulklink.models import Message, Op
from tests.simulation.simulator import Case, SimulatedRun, contact, deal, email, message


def make_case(
    groups: list[tuple[int, str, Op, int]], present_deal: str | None = None, **options: Any
) -> Case:
    """Return a case of groups of emails whose target is the first deal of their contact.

    Args:
        groups: for each group, the number of its contact, its owner, its op, and its number of
            emails.
        present_deal: the deal that all emails are on; "other" for their contact's second deal.
        options: other fields of `Case`.
    """
    emails: list[dict[str, Any]] = []
    messages: list[Message] = []
    deals: dict[str, str] = {}
    for number, owner, op, count in groups:
        deals[deal(number)] = contact(number)
        deals[deal(100 + number)] = contact(number)
        for _ in range(count):
            present = deal(100 + number) if present_deal == "other" else present_deal
            emails.append(email(len(emails), contact(number), owner, present))
            messages.append(message(len(emails), emails[-1], op, deal(number)))
    return Case(emails, messages, deals, **options)


def count_statuses(outcome: SimulatedRun) -> Counter[str]:
    """Return the number of rows by the status of their last result."""
    return Counter(result["status"] for result in outcome.results.values())


def stopped_by(outcome: SimulatedRun) -> StoppedBy | None:
    """Return what stopped the last command, or None."""
    return outcome.stop.reason.stopped_by if outcome.stop.reason else None
