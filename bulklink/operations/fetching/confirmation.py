"""Question before a command spends many credits on reading."""

from __future__ import annotations

from pathlib import Path

from bulklink.errors import NotConfirmedError
from bulklink.operations.callbacks import RunCallbacks
from bulklink.runs.forecast import CreditRange

MAX_UNASKED_CREDITS = 1_000
"""Credits above which the user is asked at a terminal."""


def confirm_credits(
    callbacks: RunCallbacks, description: str, credit_range: CreditRange, *, yes: bool, folder: Path
) -> None:
    """Ask at a terminal before many credits are spent.

    Args:
        callbacks: asked if they can be.
        description: what is read.
        credit_range: credits that it takes.
        yes: whether the cost needs no confirmation.
        folder: folder in which what was read is kept.

    Raises:
        NotConfirmedError: if the answer is no.
    """
    must_ask = credit_range.likely > MAX_UNASKED_CREDITS and callbacks.can_ask
    if not must_ask or yes:
        return
    if not callbacks.confirm_cost(description, credit_range):
        raise NotConfirmedError(
            f"Not confirmed: {description} were not read.",
            where=str(folder),
            advice="What was read is kept there; the same command asks again.",
        )
