"""Canary result, which decides whether the rest of the run is sent (pure)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from bulklink.counts import count_of, inflect
from bulklink.engine.failure_limit import FailureCounter
from bulklink.ledger.records import Result
from bulklink.models import Op
from bulklink.zoho.email_pages import LinkedDeal

_SHOWN = 3


class ObservedLink(msgspec.Struct, frozen=True):
    """The deal a page shows for a message.

    Args:
        deal: the deal; None for no deal.
        call: number of the call that read the page.
        trusted: whether it was read late enough to show all changes.
    """

    deal: LinkedDeal | None
    call: int | None
    trusted: bool

    @property
    def deal_id(self) -> str | None:
        """Id of the deal; None for no deal."""
        return self.deal.id if self.deal else None

    @property
    def location(self) -> str:
        """Where the message is, in words."""
        return f"on deal {self.deal.id}" if self.deal else "on no deal"


class ReadBackResult(msgspec.Struct, frozen=True):
    """Observed links of messages that succeeded.

    Args:
        observed: links that a page lists, by row.
        differing: results that a page contradicts.
        truncated: whether pages were left unread.
    """

    observed: dict[int, ObservedLink]
    differing: tuple[Result, ...]
    truncated: bool


class CanaryResult(msgspec.Struct, frozen=True):
    """Result of a canary.

    Args:
        tried: messages settled.
        succeeded: messages done or unchanged.
        listed: successful messages that a page lists.
        not_listed: successful messages that no page lists.
        truncated: whether the page limit left pages unread.
        differences: description of each message that a read contradicts.
        ops: operations of these messages.
        failure_summary: how many failed and why; empty if none did.
        advice: what to do about the failures.
    """

    tried: int
    succeeded: int
    listed: int
    not_listed: int
    truncated: bool
    differences: tuple[str, ...]
    ops: tuple[Op, ...]
    failure_summary: str
    advice: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether the run continues without confirmation."""
        return self.succeeded > 0 and not self.differences

    @property
    def summary(self) -> str:
        """The result in one or two sentences."""
        sentences = []
        if self.differences:
            sentences.append(
                f"{len(self.differences):,} of"
                f" {count_of(self.listed, 'email that was', 'emails that were')} answered with"
                f" success {inflect(len(self.differences), 'is', 'are')} not"
                f" {_expected_text(self.ops)}: {'; '.join(self.differences[:_SHOWN])}."
            )
        elif self.passed:
            sentences.append(
                f"the first {count_of(self.tried, 'email was', 'emails were')} tried;"
                f" {self.listed:,} of those answered with success"
                f" {inflect(self.listed, 'was', 'were')} read back, all as recorded."
            )
        if not self.succeeded and self.failure_summary:
            sentences.append(
                f"None of the first {count_of(self.tried, 'email')} is as wanted:"
                f" {self.failure_summary}."
            )
        if self.not_listed:
            where = "within the limit of pages" if self.truncated else "that could be read"
            sentences.append(f"{count_of(self.not_listed, 'was', 'were')} on no page {where}.")
        return " ".join(sentences)


def build_result(
    results: Iterable[Result], succeeded: int, comparison: ReadBackResult
) -> CanaryResult:
    """Return the result of a canary.

    Args:
        results: the last result of each message tried.
        succeeded: number of successful messages.
        comparison: observed links of these messages.
    """
    failures, observed = FailureCounter(), comparison.observed
    for result in results:
        failures.add(result)
    differing = comparison.differing
    return CanaryResult(
        tried=failures.settled,
        succeeded=failures.settled - failures.failed,
        listed=len(observed),
        not_listed=succeeded - len(observed),
        truncated=comparison.truncated,
        differences=tuple(
            f"row {mismatch.row} is {observed[mismatch.row].location}" for mismatch in differing
        ),
        ops=tuple({mismatch.op for mismatch in differing if mismatch.op is not None}),
        failure_summary=failures.summary if failures.failed else "",
        advice=tuple(failures.explanations()),
    )


def _expected_text(ops: Sequence[Op]) -> str:
    if Op.UNLINK not in ops:
        return "on the wanted deal"
    return "off their deal" if len(ops) == 1 else "as wanted"
