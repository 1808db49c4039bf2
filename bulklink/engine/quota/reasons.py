"""Why a run stops for want of credits, in words. Pure."""

from __future__ import annotations

from bulklink.engine.quota.budget import Book, Short
from bulklink.errors import RunStoppedError, StoppedBy
from bulklink.ledger.records import timestamp


def _later(until: float) -> str:
    return (
        f"`bulklink resume` goes on with the run, from {timestamp(until)} on;"
        " --when-credits-out wait waits by itself."
    )


def spent(short: Short, book: Book, until: float) -> RunStoppedError:
    """Return why a run stops that keeps to its own limits.

    Args:
        short: which credits are too few.
        book: of the run.
        until: when there are some again, in seconds since 1970.
    """
    limits = book.limits
    if short is Short.OF_INVOCATION:
        return RunStoppedError(
            StoppedBy.MAX_CREDITS,
            f"The credits of this command are spent: --max-credits {limits.most:,}.",
            advice="`bulklink resume` goes on with the run, with a --max-credits of its own.",
        )
    said = {
        Short.OF_DAY: f"The credits of 24 hours are spent: {book.a_day or 0:,}, by all runs on"
        " this org from this machine.",
        Short.OF_ORG: f"The org has no more than {limits.reserve:,} credits left, which are kept."
        if limits.reserve
        else "The org has no credits left, as the CRM says.",
    }[short]
    return RunStoppedError(StoppedBy.CREDITS, said, advice=_later(until), resume_at=until)


def gone(until: float) -> RunStoppedError:
    """Return why a run stops that the CRM gives no credits any more."""
    return RunStoppedError(
        StoppedBy.CREDITS,
        "The org's credits are gone: the CRM refuses all calls.",
        advice=_later(until),
        resume_at=until,
    )
