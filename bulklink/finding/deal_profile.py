"""What tells that a conversation is about a deal: its name, its number, its life, its owners."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from enum import IntEnum, auto
from math import inf

from bulklink.finding.deal_state import EXISTING, OPEN, WON, DealStates
from bulklink.finding.subjects import (
    contains_phrase,
    normalize,
    parse_deal_number,
    split_words,
    telling_words,
)
from bulklink.finding.values import DAY, DealFacts, EmailFacts

_NEAR = 30 * DAY
_FAR = 120 * DAY
_FORTNIGHT = 14 * DAY
_FRESH = 3 * DAY
_WORKED_ON = DAY
_AUTOMATIC_SOURCES = frozenset({"workflow", "crm_api", "scheduler", "blueprint", "automation"})
"""Sources of changes that no person makes by hand."""
_LEGAL_FORMS = frozenset(
    (
        *("ag", "bv", "bvba", "corp", "company", "cv", "gbr", "gmbh", "group", "holding", "inc"),
        *("kgaa", "limited", "llc", "llp", "ltd", "ltda", "mbh", "ohg", "oyj", "pbc", "plc", "pty"),
        *("pvt", "sarl", "sas", "spa", "srl", "sro", "ug", "aps", "zoo"),
    )
)
"""Words of company names that tell nothing; words of two letters tell nothing anyway."""
_FILLERS = frozenset(
    (
        *("and", "for", "from", "the", "with", "und", "der", "die", "das", "für", "von", "mit"),
        *("les", "des", "pour", "avec", "los", "las", "del", "para", "con", "per", "een", "het"),
        *("van", "voor", "och", "til"),
    )
)
_TELL_NOTHING = _LEGAL_FORMS | _FILLERS


class LifeStage(IntEnum):
    """Where in the life of a deal a time is."""

    ALIVE = auto()
    """It was open."""
    MAYBE_ALIVE = auto()
    """It may have been open."""
    SOON = auto()
    """It was created within 30 days after."""
    EARLY = auto()
    """It was created within 120 days after."""
    BEFORE = auto()
    """It was created later still."""
    JUST_WON = auto()
    """It had been won within 30 days before."""
    JUST_LOST = auto()
    """It had been lost within 30 days before."""
    WON = auto()
    """It had been won within 120 days before."""
    OVER = auto()
    """It had been closed for longer, or lost for more than 30 days."""
    UNKNOWN = auto()
    """Nothing is known of it at that time."""


class DealProfile:
    """What identifies a deal in a conversation.

    Args:
        deal: the deal.
        states: its states over time.
    """

    __slots__ = (
        "_closings",
        "_openings",
        "_owners",
        "_touches",
        "deal",
        "number",
        "states",
        "telling_words",
        "words",
    )

    def __init__(self, deal: DealFacts, states: DealStates) -> None:
        self.deal = deal
        self.states = states
        self.words = split_words(normalize(deal.name or ""))
        self.number = parse_deal_number(deal.number)
        self.telling_words = frozenset[str]()
        history = deal.history or ()
        self._touches = [
            change.time for change in history if change.source not in _AUTOMATIC_SOURCES
        ]
        spans = _open_spans(states)
        self._openings = [start for start, _ in spans]
        self._closings = [end for _, end in spans]
        if not spans and deal.created is not None:  # it was created won or lost
            self._closings = [deal.created]
        self._owners = [change for change in history if change.field == "Owner"]

    def life_stage(self, time: float) -> LifeStage:
        """Return where in the deal's life a time is."""
        forecasts = self.states.at(time).forecasts
        if forecasts & OPEN:
            return LifeStage.ALIVE if forecasts == OPEN else LifeStage.MAYBE_ALIVE
        opening = bisect_right(self._openings, time)
        before = self._openings[opening] - time if opening < len(self._openings) else inf
        if forecasts & EXISTING == 0:
            if before == inf:
                created = self.deal.created
                before = inf if created is None or created < time else created - time
            return (
                LifeStage.SOON
                if before <= _NEAR
                else LifeStage.EARLY
                if before <= _FAR
                else LifeStage.BEFORE
            )
        if before <= _NEAR:
            return LifeStage.SOON
        closing = bisect_right(self._closings, time)
        after = time - self._closings[closing - 1] if closing else inf
        is_won = bool(forecasts & WON)
        if after <= _NEAR:
            return LifeStage.JUST_WON if is_won else LifeStage.JUST_LOST
        return LifeStage.WON if is_won and after <= _FAR else LifeStage.OVER

    def was_worked_on(self, start: float, end: float) -> bool:
        """Return whether a person changed the deal within a day of a span of time."""
        first = bisect_left(self._touches, start - _WORKED_ON)
        return first < len(self._touches) and self._touches[first] <= end + _WORKED_ON

    def edits_after(self, times: Iterable[float]) -> int:
        """Return after how many of several times a person changed the deal within a day."""
        touches = self._touches
        next_touches = [(time, bisect_left(touches, time)) for time in times]
        return sum(
            [
                place < len(touches) and touches[place] <= time + _WORKED_ON
                for time, place in next_touches
            ]
        )

    def is_fresh(self, times: Iterable[float]) -> bool:
        """Return whether the deal was created within three days of any of several times."""
        created = self.deal.created
        return created is not None and any(abs(time - created) < _FRESH for time in times)

    def is_young(self, time: float) -> bool:
        """Return whether the deal had been created within the two weeks before a time."""
        created = self.deal.created
        return created is not None and 0 <= time - created < _FORTNIGHT

    def is_active(self, time: float) -> bool:
        """Return whether a person changed the deal from a day to two weeks after a time."""
        place = bisect_left(self._touches, time + _WORKED_ON)
        return place < len(self._touches) and self._touches[place] - time < _FORTNIGHT

    def is_owner(self, email: EmailFacts) -> bool | None:
        """Return whether the mailbox of an email was that of the deal's owner; None if unknown."""
        if email.time is not None:
            for change in self._owners:
                if change.time > email.time:
                    if change.old is None or email.owner_name is None:
                        return None
                    return change.old in (email.owner_name, email.owner_id)
        if self.deal.owner_id is None or email.owner_id is None:
            return None
        return self.deal.owner_id == email.owner_id


def _open_spans(states: DealStates) -> list[tuple[float, float]]:
    """Return the times in which a deal was, or may have been, open."""
    starts = [-inf, *states.times]
    ends = [*states.times, inf]
    return [
        (start, end)
        for start, end, state in zip(starts, ends, states.states, strict=True)
        if state.forecasts & OPEN
    ]


def profile_deals(
    deals: Sequence[DealFacts], states: Mapping[str, DealStates], common_words: frozenset[str]
) -> list[DealProfile]:
    """Return the profiles of a contact's deals, by id.

    Args:
        deals: the deals of the contact.
        states: the states of each deal over time.
        common_words: words that say nothing, such as the name of the contact's company.
    """
    profiles = [
        DealProfile(deal, states[deal.id]) for deal in sorted(deals, key=lambda deal: deal.id)
    ]
    telling = telling_words(profile.words for profile in profiles) - common_words
    for profile in profiles:
        profile.telling_words = frozenset(
            word for word in profile.words if word in telling and is_telling(word)
        )
    return profiles


def is_telling(word: str) -> bool:
    """Return whether a word of a name can tell one deal from another."""
    return (len(word) > 2 or any(map(str.isdigit, word))) and word not in _TELL_NOTHING


def named_deals(words: tuple[str, ...], profiles: Sequence[DealProfile]) -> list[DealProfile]:
    """Return the deals whose full name a subject has; of names within names only the longest."""
    found = [profile for profile in profiles if contains_phrase(words, profile.words)]
    return [
        profile
        for profile in found
        if not any(
            len(other.words) > len(profile.words) and contains_phrase(other.words, profile.words)
            for other in found
        )
    ]
