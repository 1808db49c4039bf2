"""Times of a synthetic org: time zones with daylight saving, working hours, ISO 8601 texts.

A moment is whole seconds since 1970, UTC.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from functools import cache
from typing import Literal

from bulklink.emulator.conversations.randomness import Draws

MINUTE, HOUR, DAY = 60, 3_600, 86_400
WORLD_END = int(datetime(2026, 6, 1, tzinfo=UTC).timestamp())
"""The present of every world: nothing happens later."""
_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()
_MARCH, _OCTOBER, _NOVEMBER = 3, 10, 11


@dataclass(frozen=True, slots=True)
class Zone:
    """A time zone.

    Args:
        name: its IANA name.
        standard: minutes ahead of UTC in winter.
        summer: whose daylight saving it follows, if any.
    """

    name: str
    standard: int
    summer: Literal["eu", "us"] | None = None

    def offset_at(self, moment: int) -> int:
        """Return the minutes ahead of UTC at a moment."""
        if self.summer is None:
            return self.standard
        year = date.fromordinal(_EPOCH_ORDINAL + moment // DAY).year
        start, end = _summer_of(self.summer, year, self.standard)
        return self.standard + (60 if start <= moment < end else 0)


ZONES = (
    Zone("Europe/Berlin", 60, "eu"),
    Zone("Europe/London", 0, "eu"),
    Zone("Europe/Warsaw", 60, "eu"),
    Zone("America/New_York", -300, "us"),
    Zone("America/Los_Angeles", -480, "us"),
    Zone("America/Bogota", -300),
    Zone("Asia/Kolkata", 330),
    Zone("Asia/Tokyo", 540),
    Zone("Australia/Brisbane", 600),
)


@cache
def _summer_of(rule: Literal["eu", "us"], year: int, standard: int) -> tuple[int, int]:
    """Return the first moment of summer time in a year, and the first after it."""
    if rule == "eu":
        return _sunday(year, _MARCH, 25) + HOUR, _sunday(year, _OCTOBER, 25) + HOUR
    start = _sunday(year, _MARCH, 8) + (120 - standard) * MINUTE
    return start, _sunday(year, _NOVEMBER, 1) + (60 - standard) * MINUTE


def _sunday(year: int, month: int, first_day: int) -> int:
    """Return the midnight at the start of the first Sunday from a day of a month on."""
    day = date(year, month, first_day)
    day += timedelta(days=(6 - day.weekday()) % 7)
    return (day.toordinal() - _EPOCH_ORDINAL) * DAY


@cache
def _fixed_zone(offset: int) -> timezone:
    return timezone(timedelta(minutes=offset))


def iso_time(moment: int, offset: int) -> str:
    """Return a moment as ISO 8601 text.

    Args:
        moment: the moment.
        offset: minutes ahead of UTC in which the text states it.
    """
    return datetime.fromtimestamp(moment, _fixed_zone(offset)).isoformat()


def iso_day(moment: int) -> str:
    """Return the day of a moment, such as `2026-03-01`."""
    return date.fromordinal(_EPOCH_ORDINAL + moment // DAY).isoformat()


def year_of(moment: int) -> int:
    """Return the year of a moment."""
    return date.fromordinal(_EPOCH_ORDINAL + moment // DAY).year


def working_time(draws: Draws, moment: int, zone: Zone) -> int:
    """Return a moment, or the next one at which somebody works, as most people do.

    Args:
        draws: where randomness comes from.
        moment: the moment.
        zone: the time zone of the person.
    """
    offset = zone.offset_at(moment) * MINUTE
    day, second = divmod(moment + offset, DAY)
    if 7 * HOUR + 1_800 <= second < 19 * HOUR and _is_weekday(day):
        return moment
    if draws.chance(60):
        return moment
    day += second >= 19 * HOUR
    while not _is_weekday(day):
        day += 1
    return day * DAY + 8 * HOUR + draws.below(9 * HOUR) - offset


def _is_weekday(day: int) -> bool:
    """Return whether a day, counted from 1970, is from Monday to Friday."""
    return (day + 3) % 7 < 5


def night_time(draws: Draws, moment: int, zone: Zone, hour: int) -> int:
    """Return a moment in the night after the day of `moment`, when workflows run.

    Args:
        draws: where randomness comes from.
        moment: a moment of the day before.
        zone: the time zone of the org.
        hour: the hour at which they start; each ends within ten minutes.
    """
    offset = zone.offset_at(moment) * MINUTE
    day = (moment + offset) // DAY + 1
    return day * DAY + hour * HOUR + draws.below(600) - offset
