"""Too many failures: when a run stops for them, and what it says then. Pure."""

from __future__ import annotations

import msgspec

from bulklink.engine.transitions import ALREADY_LINKED, CHANGED_SINCE, NOT_LISTED
from bulklink.errors import RunStoppedError, StoppedBy
from bulklink.ledger.records import Result, code_of
from bulklink.ledger.state import NOT_APPLIED, PUT_BACK_FAILED
from bulklink.ledger.statistics import OTHERS
from bulklink.models import Status
from bulklink.shell import quoted
from bulklink.zoho.error_codes import Code
from bulklink.zoho.error_policy import advice_for

FIRST = 20
"""Messages that stop a run if they are the first to be settled and all of them failed."""
PERCENT = 25.0
"""Share of failures at which a run stops where nothing else is asked for."""
SHARE_FROM = 200
"""Messages that must be settled before their share of failures counts."""
_MOST_CODES = 50
_CODES_SHOWN = 3
_OWN_ADVICE = {
    CHANGED_SINCE: "Somebody has changed the email since: see where it is now, then mend its row.",
    NOT_LISTED: "No page that was read lists it: check contact, owner and message id.",
    ALREADY_LINKED: advice_for(Code.ALREADY_LINKED),
    NOT_APPLIED: "It was answered with success, and a read shows otherwise: look at it in the CRM.",
    PUT_BACK_FAILED: "It is off the deal that it was on: link it by hand, or retry.",
}
_NEVER_SENT = (Status.REJECTED, Status.DUPLICATE)
_AS_WANTED = (Status.DONE, Status.UNCHANGED)


class MaxFailures(msgspec.Struct, frozen=True):
    """What one invocation takes in failures, those in doubt included; one more stops the run.

    Args:
        count: that many messages; 0 stops at the first failure.
        percent: that share of what is settled, from 200 on: 0 stops at the first failure then,
            100 never.
    """

    count: int | None = None
    percent: float | None = None


def too_many(asked: MaxFailures | None, failures: int, settled: int) -> bool:
    """Tell whether a run stops after so many failures.

    Args:
        asked: what it takes; None stops if the first 20 all failed, or at 25 % of at least 200.
        failures: messages of this invocation that failed or are in doubt.
        settled: messages of this invocation whose fate is known, or known to be unknowable.
    """
    counts = settled >= SHARE_FROM
    if asked is None:
        all_of_the_first = failures == settled >= FIRST
        return all_of_the_first or (counts and failures * 100 >= PERCENT * settled)
    if asked.count is not None:
        return failures > asked.count
    return counts and asked.percent is not None and failures * 100 > asked.percent * settled


class Failures:
    """What failed in an invocation, by code, with an example of each.

    Rows that were never sent do not count. Memory: a few codes, whatever a server answers.

    Args:
        asked: what the invocation takes, as `too_many` has it.
    """

    def __init__(self, asked: MaxFailures | None = None) -> None:
        self.asked = asked
        self.settled = 0
        self.failed = 0
        self._codes: dict[str, int] = {}
        self._examples: dict[str, Result] = {}

    def add(self, result: Result) -> None:
        """Count a result."""
        if result.status in _NEVER_SENT:
            return
        self.settled += 1
        if result.status in _AS_WANTED:
            return
        self.failed += 1
        code = code_of(result)
        if code not in self._codes and len(self._codes) >= _MOST_CODES:
            code = OTHERS
        self._codes[code] = self._codes.get(code, 0) + 1
        self._examples.setdefault(code, result)

    @property
    def too_many(self) -> bool:
        """Whether the run stops for them."""
        return too_many(self.asked, self.failed, self.settled)

    @property
    def in_words(self) -> str:
        """Say how many failed, and the commonest codes."""
        codes = ", ".join(f"{count:,} {code}" for code, count in self._commonest())
        share = self.failed / self.settled if self.settled else 0.0
        return f"{self.failed:,} of {self.settled:,} ({share:.1%}: {codes})"

    def explained(self) -> list[str]:
        """Say of the commonest codes what to do, and name a row of the commonest."""
        commonest = self._commonest()
        lines = [explained(code, count, self._examples[code]) for code, count in commonest]
        return lines + [shown(self._examples[code]) for code, _ in commonest[:1]]

    def reason(self, run_dir: str) -> RunStoppedError:
        """Return why the run stops: how many failed, of which codes, and what to do.

        Args:
            run_dir: the run folder, for the advice.
        """
        advice = (
            f"Mend the cause, then {quoted('resume', run_dir)}. To go on though as many fail:"
            f" {quoted('resume', run_dir, '--max-failures', '50%')}, or off."
        )
        return RunStoppedError(
            StoppedBy.MAX_FAILURES,
            f"Too many emails failed or are in doubt: {self.in_words}.",
            advice="\n".join([*self.explained(), advice]),
        )

    def _commonest(self) -> list[tuple[str, int]]:
        return sorted(self._codes.items(), key=lambda found: -found[1])[:_CODES_SHOWN]


def explained(code: str, count: int, example: Result) -> str:
    """Say how many failed with a code, and what to do about it.

    Args:
        code: Zoho's or our own.
        count: the rows that ended with it.
        example: one of them, whose message stands in where nothing is known to do.
    """
    return f"{count:,} {code}: {advice_of(code) or example.message or 'see answers.jsonl.'}"


def advice_of(code: str) -> str:
    """Return what a person can do about a code, Zoho's or our own; empty if nothing is known."""
    return advice_for(code) or _OWN_ADVICE.get(code, "")


def shown(example: Result) -> str:
    """Name a row, so that somebody can look at it in the CRM."""
    on = f", deal {example.deal_id}" if example.deal_id else ""
    return (
        f"For example row {example.row}: contact {example.contact_id},"
        f" message {example.message_id}{on}."
    )
