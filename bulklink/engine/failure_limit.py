"""Failure limit of a run, `--max-failures` (pure)."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import msgspec

from bulklink.advice import Advice, Keyword, NextCall
from bulklink.engine.transitions import ALREADY_LINKED, CHANGED_SINCE, NOT_LISTED
from bulklink.errors import RunStoppedError, StoppedBy
from bulklink.ledger.records import Result, failure_code
from bulklink.ledger.state import NOT_APPLIED, PUT_BACK_FAILED
from bulklink.ledger.statistics import OTHER_CODES
from bulklink.models import NEVER_SENT, Status
from bulklink.zoho.error_codes import Code
from bulklink.zoho.error_policy import advice_for_code

MIN_ALL_FAILED = 20
"""A run stops if all of its first settled messages fail, once there are this many."""
DEFAULT_MAX_PERCENT = 25.0
"""Default limit of failures, in percent of settled messages."""
MIN_SETTLED_FOR_PERCENT = 200
"""Messages that must be settled before a limit in percent applies."""
_MAX_CODES = 50
_CODES_SHOWN = 3
_BULKLINK_ADVICE = {
    CHANGED_SINCE: "The email was changed in the meantime: check where it is now, then fix its"
    " row.",
    NOT_LISTED: "No page that was read lists the email: check contact, owner and message id.",
    ALREADY_LINKED: advice_for_code(Code.ALREADY_LINKED),
    NOT_APPLIED: "The call was answered with success, but a read shows otherwise: check the"
    " email in the CRM.",
    PUT_BACK_FAILED: "It is no longer on its previous deal: link it by hand, or retry.",
}
_SUCCEEDED = (Status.DONE, Status.UNCHANGED)


class MaxFailures(msgspec.Struct, frozen=True):
    """Maximum failures in one invocation, messages in doubt included; one more stops the run.

    Args:
        count: failures allowed, in messages.
        percent: failures allowed, in percent of settled messages, once 200 are settled.

    Raises:
        ValueError: if the count is below 0, or the percentage not from 0 to 100.
    """

    count: int | None = None
    percent: float | None = None

    def __post_init__(self) -> None:
        """Refuse limits that are none."""
        if (self.count or 0) < 0 or not 0 <= (self.percent or 0) <= 100:
            raise ValueError("a count is at least 0, and a percentage from 0 to 100")


def exceeds_max_failures(max_failures: MaxFailures | None, failed: int, settled: int) -> bool:
    """Return whether a run stops after this many failures.

    Args:
        max_failures: failures allowed; None stops if the first 20 messages all fail, or at 25% of
            at least 200.
        failed: messages of this invocation that failed or are in doubt.
        settled: messages of this invocation that are settled.
    """
    percent_applies = settled >= MIN_SETTLED_FOR_PERCENT
    if max_failures is None:
        all_failed = failed == settled >= MIN_ALL_FAILED
        return all_failed or (percent_applies and failed * 100 >= DEFAULT_MAX_PERCENT * settled)
    if max_failures.count is not None:
        return failed > max_failures.count
    return (
        percent_applies
        and max_failures.percent is not None
        and failed * 100 > max_failures.percent * settled
    )


@dataclass(slots=True)
class FailureCounter:
    """Counts failures by code, with an example of each.

    Rows never sent do not count. Memory: at most 51 codes, whatever the server answers.

    A read can fail an email before the other emails of its contact are sent. A limit in percent
    counts such failures only once the contact is done.

    Args:
        max_failures: failures allowed; None for the default limits.

    Attributes:
        settled: messages settled.
        failed: messages that failed or are in doubt.
    """

    max_failures: MaxFailures | None = None
    settled: int = field(default=0, init=False)
    failed: int = field(default=0, init=False)
    _counts: dict[str, int] = field(default_factory=dict, init=False)
    _examples: dict[str, Result] = field(default_factory=dict, init=False)
    _early: Counter[str] = field(default_factory=Counter, init=False)

    def add(self, result: Result, *, early: bool = False) -> None:
        """Count a result.

        Args:
            result: result of a message.
            early: whether other messages of its contact are still to be sent.
        """
        if result.status in NEVER_SENT:
            return
        self.settled += 1
        if result.status in _SUCCEEDED:
            return
        self.failed += 1
        if early:
            self._early[result.contact_id or ""] += 1
        code = failure_code(result)
        if code not in self._counts and len(self._counts) >= _MAX_CODES:
            code = OTHER_CODES
        self._counts[code] = self._counts.get(code, 0) + 1
        self._examples.setdefault(code, result)

    def end_contact(self, contact_id: str) -> None:
        """Record that all of a contact's messages are settled."""
        del self._early[contact_id]

    @property
    def limit_exceeded(self) -> bool:
        """Whether more messages failed than allowed."""
        is_share = self.max_failures is None or self.max_failures.count is None
        early = self._early.total() if is_share and self._early else 0
        return exceeds_max_failures(self.max_failures, self.failed - early, self.settled - early)

    @property
    def summary(self) -> str:
        """Number of failures, with the most common codes."""
        codes = ", ".join(f"{count:,} {code}" for code, count in self._most_common())
        share = self.failed / self.settled if self.settled else 0.0
        return f"{self.failed:,} of {self.settled:,} ({share:.1%}: {codes})"

    def explanations(self) -> list[str]:
        """Return advice on the most common codes, and an example of the first."""
        commonest = self._most_common()
        lines = [explain_code(code, count, self._examples[code]) for code, count in commonest]
        return lines + [example_text(self._examples[code]) for code, _ in commonest[:1]]

    def stop_reason(self, run_dir: str) -> RunStoppedError:
        """Return the stop reason: number of failures, their codes, and advice.

        Args:
            run_dir: the run folder, for the advice.
        """
        higher_limit = NextCall("resume", run_dir, settings=[Keyword("max_failures", "50%")])
        resume = Advice(
            "Fix the cause, then run {}. To continue despite the failures, raise the limit: {}, or"
            " off.",
            NextCall("resume", run_dir),
            higher_limit,
        )
        return RunStoppedError(
            StoppedBy.MAX_FAILURES,
            f"Too many emails failed or are in doubt: {self.summary}.",
            advice=Advice.join("\n", [*self.explanations(), resume]),
        )

    def _most_common(self) -> list[tuple[str, int]]:
        return sorted(self._counts.items(), key=lambda item: -item[1])[:_CODES_SHOWN]


def explain_code(code: str, count: int, example: Result) -> str:
    """Return a line on a code: the number of rows, and what to do.

    Args:
        code: Zoho's code or our own.
        count: rows that ended with it.
        example: one of these rows; its message is shown if there is no advice.
    """
    advice = failure_advice(code, example.message) or example.message or "see answers.jsonl."
    return f"{count:,} {code}: {advice}"


def failure_advice(code: str, text: str = "") -> str:
    """Return advice on a code, Zoho's or our own; empty if there is none.

    Args:
        code: the code.
        text: message of a row that ended with it, which may name a field.
    """
    return advice_for_code(code, text) or _BULKLINK_ADVICE.get(code, "")


def example_text(example: Result) -> str:
    """Return a sentence that identifies a row in the CRM."""
    deal = f", deal {example.deal_id}" if example.deal_id else ""
    return (
        f"For example row {example.row}: contact {example.contact_id},"
        f" message {example.message_id}{deal}."
    )
