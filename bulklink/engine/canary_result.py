"""What a canary found, and whether the rest of the run may follow. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from bulklink.engine.failure_limit import FailureCounter
from bulklink.ledger.records import Result
from bulklink.models import Op
from bulklink.zoho.email_pages import LinkedDeal

_SHOWN = 3


class ObservedLink(msgspec.Struct, frozen=True):
    """What a page shows of a message: the deal it is on, and the number of the call that read it.

    `trusted` tells that it was read so late that it shows all that was carried out.
    """

    deal: LinkedDeal | None
    call: int | None
    trusted: bool

    @property
    def deal_id(self) -> str | None:
        """The id of the deal, None for no deal."""
        return self.deal.id if self.deal else None

    @property
    def location(self) -> str:
        """Say where the message is."""
        return f"on deal {self.deal.id}" if self.deal else "on no deal"


class ReadBackResult(msgspec.Struct, frozen=True):
    """What pages show of messages that were answered with success.

    `observed` are those that a page lists, by row; `differing` those of them that are not as they
    were answered. `truncated` tells that pages were left unread.
    """

    observed: dict[int, ObservedLink]
    differing: tuple[Result, ...]
    truncated: bool


class CanaryResult(msgspec.Struct, frozen=True):
    """What the canary found.

    `tried` messages were settled, `succeeded` of them done or unchanged. Of those that were
    answered with success, `listed` were on a page and `not_listed` were not, because the pages
    that may be read ended where `truncated`. `differing` says of each that is not as it was
    answered where it is; `failure_summary` of what failed else how much and why.
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
        """Whether the run goes on by itself."""
        return self.succeeded > 0 and not self.differences

    @property
    def summary(self) -> str:
        """Say what was found, one or two sentences."""
        sentences = []
        if self.differences:
            sentences.append(
                f"{len(self.differences):,} of {self.listed:,} emails that were answered with"
                " success"
                f" are not {_expected_text(self.ops)}: {'; '.join(self.differences[:_SHOWN])}."
            )
        elif self.passed:
            sentences.append(
                f"the first {self.tried:,} emails were tried; {self.listed:,} of those answered"
                " with success were read back, all as recorded."
            )
        if not self.succeeded and self.failure_summary:
            sentences.append(
                f"None of the first {self.tried:,} emails is as wanted: {self.failure_summary}."
            )
        if self.not_listed:
            where = "within --read-pages" if self.truncated else "that could be read"
            sentences.append(f"{self.not_listed:,} were on no page {where}.")
        return " ".join(sentences)


def build_result(
    results: Iterable[Result], succeeded: int, comparison: ReadBackResult
) -> CanaryResult:
    """Return what a canary found.

    Args:
        results: the last of each message that was tried.
        succeeded: messages that were answered with success.
        comparison: what pages show of those.
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
