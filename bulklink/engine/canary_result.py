"""What a canary found, and whether the rest of the run may follow. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from bulklink.engine.failure_limit import Failures
from bulklink.ledger.records import Result
from bulklink.models import Op
from bulklink.zoho.email_pages import Deal

_SHOWN = 3


class View(msgspec.Struct, frozen=True):
    """What a page shows of a message: the deal it is on, and the number of the call that read it.

    `believed` tells that it was read so late that it shows all that was carried out.
    """

    deal: Deal | None
    call: int | None
    believed: bool

    @property
    def deal_id(self) -> str | None:
        """The id of the deal, None for no deal."""
        return self.deal.id if self.deal else None

    @property
    def place(self) -> str:
        """Say where the message is."""
        return f"on deal {self.deal.id}" if self.deal else "on no deal"


class Compared(msgspec.Struct, frozen=True):
    """What pages show of messages that were answered with success.

    `views` are those that a page lists, by row; `different` those of them that are not as they
    were answered. `cut_off` tells that pages were left unread.
    """

    views: dict[int, View]
    different: tuple[Result, ...]
    cut_off: bool


class Found(msgspec.Struct, frozen=True):
    """What the canary found.

    `tried` messages were settled, `as_wanted` of them done or unchanged. Of those that were
    answered with success, `listed` were on a page and `not_listed` were not, because the pages
    that may be read ended where `cut_off`. `different` says of each that is not as it was
    answered where it is; `failures` of what failed else how much and why.
    """

    tried: int
    as_wanted: int
    listed: int
    not_listed: int
    cut_off: bool
    different: tuple[str, ...]
    ops: tuple[Op, ...]
    failures: str
    resolutions: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether the run goes on by itself."""
        return self.as_wanted > 0 and not self.different

    @property
    def in_words(self) -> str:
        """Say what was found, one or two sentences."""
        said = []
        if self.different:
            said.append(
                f"{len(self.different):,} of {self.listed:,} emails that were answered with success"
                f" are not {_wanted(self.ops)}: {'; '.join(self.different[:_SHOWN])}."
            )
        elif self.passed:
            said.append(
                f"the first {self.tried:,} emails were tried; {self.listed:,} of those answered"
                " with success were read back, all as recorded."
            )
        if not self.as_wanted and self.failures:
            said.append(f"None of the first {self.tried:,} emails is as wanted: {self.failures}.")
        if self.not_listed:
            why = "within --read-pages" if self.cut_off else "that could be read"
            said.append(f"{self.not_listed:,} were on no page {why}.")
        return " ".join(said)


def found(results: Iterable[Result], done: int, compared: Compared) -> Found:
    """Return what a canary found.

    Args:
        results: the last of each message that was tried.
        done: messages that were answered with success.
        compared: what pages show of those.
    """
    failures, views = Failures(), compared.views
    for result in results:
        failures.add(result)
    different = compared.different
    return Found(
        tried=failures.settled,
        as_wanted=failures.settled - failures.failed,
        listed=len(views),
        not_listed=done - len(views),
        cut_off=compared.cut_off,
        different=tuple(f"row {one.row} is {views[one.row].place}" for one in different),
        ops=tuple({one.op for one in different if one.op is not None}),
        failures=failures.in_words if failures.failed else "",
        resolutions=tuple(failures.explained()),
    )


def _wanted(ops: Sequence[Op]) -> str:
    if Op.UNLINK not in ops:
        return "on the wanted deal"
    return "off their deal" if len(ops) == 1 else "as wanted"
