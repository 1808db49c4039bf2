"""Forecast of a run, as stored in `run.json`: ranges of credits and seconds, and their basis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import msgspec

from bulklink.ledger.records import Count

Amount = Annotated[float, msgspec.Meta(ge=0, le=1e15)]
"""A number of seconds, emails or calls that `run.json` may contain."""


class CreditRange(msgspec.Struct, frozen=True):
    """Range of credits.

    Args:
        least: minimum.
        likely: most likely number.
        most: maximum.
    """

    least: Count
    likely: Count
    most: Count

    @classmethod
    def sum(cls, ranges: Sequence[CreditRange]) -> CreditRange:
        """Return the range of the sum of several numbers."""
        return cls(*(sum(getattr(one, name) for one in ranges) for name in cls.__struct_fields__))


class SecondsRange(msgspec.Struct, frozen=True):
    """Range of durations.

    Args:
        least: minimum, in seconds.
        likely: most likely duration.
        most: maximum.
    """

    least: Amount
    likely: Amount
    most: Amount

    @classmethod
    def sum(cls, ranges: Sequence[SecondsRange]) -> SecondsRange:
        """Return the range of the sum of several durations."""
        return cls(*(sum(getattr(one, name) for one in ranges) for name in cls.__struct_fields__))


class PlanSizes(msgspec.Struct, frozen=True):
    """Sizes of a plan's groups, from which its calls are computed; similar sizes are merged.

    Args:
        read_contacts: (emails of a contact that the snapshot reads, number of such contacts).
        link_contacts: the same for emails that are linked without a snapshot.
        link_groups: (emails that share link calls, number of such groups).
        unlink_groups: (emails that share unlink calls, emails per call, number of such groups).
    """

    read_contacts: tuple[tuple[Amount, Count], ...] = ()
    link_contacts: tuple[tuple[Amount, Count], ...] = ()
    link_groups: tuple[tuple[Amount, Count], ...] = ()
    unlink_groups: tuple[tuple[Amount, Amount, Count], ...] = ()


class CallForecast(msgspec.Struct, frozen=True):
    """Forecast at planning time.

    Args:
        link: link calls if every email needs one.
        unlink: unlink calls if every email needs one.
        read: minimum reads of emails.
        lookup: minimum look-ups.
        seconds: likely duration.
        credit_range: credits that the run may take; None in folders of earlier versions.
        seconds_range: seconds that it may take; None in folders of earlier versions.
        reason: why the ranges are as wide as they are.
        sizes: sizes from which the forecast is renewed; None in folders of earlier versions.
    """

    link: Count
    unlink: Count
    read: Count
    lookup: Count
    seconds: Amount
    credit_range: CreditRange | None = None
    seconds_range: SecondsRange | None = None
    reason: str = ""
    sizes: PlanSizes | None = None

    @property
    def credits(self) -> int:
        """Likely credits, one per call."""
        if self.credit_range is not None:
            return self.credit_range.likely
        return self.link + self.unlink + self.read + self.lookup


class RenewedForecast(msgspec.Struct, frozen=True):
    """Forecast of a whole run, renewed after its first calls.

    Args:
        credits: credits of the run, including those spent.
        seconds: seconds of the run, including those elapsed.
        reason: basis of the forecast.
        pages_ratio: pages read, divided by the pages that the emails of the plan alone would fill.
    """

    credits: CreditRange
    seconds: SecondsRange
    reason: str
    pages_ratio: Amount = 1.0


class SnapshotChoice(msgspec.Struct, frozen=True):
    """Choice of `--snapshot auto`, made once for a run.

    Args:
        reads_first: whether links are read before they are sent.
        reason: why, in words.
    """

    reads_first: bool
    reason: str
