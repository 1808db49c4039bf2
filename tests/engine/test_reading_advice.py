"""Advice of what stops a command that only reads: it has no run to resume."""

from __future__ import annotations

import pytest

from bulklink.engine.quota.budget import (
    Budget,
    CreditLimits,
    Shortage,
    credits_exhausted_error,
    credits_spent_error,
)
from bulklink.errors import RunStoppedError, StoppedBy

SPENT = Budget(CreditLimits(per_invocation=5))


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (
            credits_spent_error(Shortage.INVOCATION, SPENT, 0.0),
            "Run the same command again with another max_credits.",
        ),
        (
            credits_spent_error(Shortage.ORG, SPENT, 0.0),
            "Run the same command again at 1970-01-01T00:00:00.000Z or later.",
        ),
        (
            credits_exhausted_error(0.0),
            "Run the same command again at 1970-01-01T00:00:00.000Z or later.",
        ),
    ],
)
def test_a_lack_of_credits_has_advice_for_runs_and_for_readings(
    error: RunStoppedError, advice: str
) -> None:
    assert error.advice.startswith("Resume the run ")
    error.advise_reading("answers.jsonl")
    assert error.advice == advice


def test_other_advice_stays() -> None:
    error = RunStoppedError(StoppedBy.FATAL, "It is refused.", advice="Ask the administrator.")
    error.advise_reading("answers.jsonl")
    assert error.advice == "Ask the administrator."
