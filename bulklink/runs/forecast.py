"""Forecast of a run as `run.json` holds it: ranges of credits and seconds, and their basis."""

from __future__ import annotations

from typing import Annotated

import msgspec

from bulklink.ledger.records import Count

Amount = Annotated[float, msgspec.Meta(ge=0, le=1e15)]
"""A number of seconds, emails or calls as `run.json` may hold it."""


class CreditRange(msgspec.Struct, frozen=True):
    """Range of credits.

    Args:
        least: the fewest.
        likely: the likeliest number.
        most: the most.
    """

    least: Count
    likely: Count
    most: Count


class SecondsRange(msgspec.Struct, frozen=True):
    """Range of durations.

    Args:
        least: the shortest, in seconds.
        likely: the likeliest.
        most: the longest.
    """

    least: Amount
    likely: Amount
    most: Amount


class PlanSizes(msgspec.Struct, frozen=True):
    """Sizes of a plan's groups, from which its calls are computed; similar sizes are merged.

    Args:
        read_contacts: pairs of emails that the snapshot reads of a contact and such contacts.
        link_contacts: the same of emails that are linked without a snapshot.
        link_groups: pairs of emails that share link calls and such groups.
        unlink_groups: emails that share unlink calls, how many fit into one, and such groups.
    """

    read_contacts: tuple[tuple[Amount, Count], ...] = ()
    link_contacts: tuple[tuple[Amount, Count], ...] = ()
    link_groups: tuple[tuple[Amount, Count], ...] = ()
    unlink_groups: tuple[tuple[Amount, Amount, Count], ...] = ()


class CallForecast(msgspec.Struct, frozen=True):
    """Forecast at planning time.

    Args:
        link: link calls if every email needs one.
        unlink: unlink calls, likewise.
        read: reads of emails at least.
        lookup: look-ups at least.
        seconds: likely duration.
        credit_range: credits that the run may take; None in folders of earlier versions.
        seconds_range: seconds that it may take; None likewise.
        reason: why the ranges are as wide as they are.
        sizes: what the forecast is renewed from; None likewise.
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
        """Likely credits: one a call."""
        if self.credit_range is not None:
            return self.credit_range.likely
        return self.link + self.unlink + self.read + self.lookup


class RenewedForecast(msgspec.Struct, frozen=True):
    """Forecast of a whole run, renewed from what its first calls showed.

    Args:
        credits: credits of the run, those spent included.
        seconds: seconds of the run, those passed included.
        reason: what it is based on.
        pages_ratio: pages read for each that the emails of the plan alone would fill.
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
