"""Choice among the emails that a wanted email may be, and of a shift of all times.

A wanted email is a row of another system's list; a message is an email in the CRM. A pair of both
says that the message may be the wanted email, and how much they agree. Most wanted emails have one
pair, whose message has no other; this module decides about the rest.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import chain
from typing import Protocol

import msgspec

SHIFT_STEP_SECONDS = 900
"""Step of the shifts that are tried: a quarter of an hour, as zones differ."""
MIN_SHIFT_EMAILS = 10
"""Emails that must agree on a shift."""
COPY_SECONDS = 10
"""Seconds between the times of an email in two mailboxes, at most."""
_SHIFT_SHARE = 0.9
"""Share of the emails that differ by a multiple of the step which must agree on it."""


class MatchPair(Protocol):
    """A wanted email and a message that it may be."""

    @property
    def wanted(self) -> int:
        """Row of the wanted email."""
        ...

    @property
    def deal_id(self) -> str:
        """Deal that it is wanted on."""
        ...

    @property
    def message_id(self) -> str:
        """Id of the message."""
        ...

    @property
    def owner_id(self) -> str | None:
        """User whose mailbox holds the message."""
        ...

    @property
    def time(self) -> int | None:
        """Time of the message, in seconds since 1970; None if unknown."""
        ...

    @property
    def content(self) -> str:
        """What the copies of one email in several mailboxes have in common."""
        ...

    @property
    def is_usual_time(self) -> bool:
        """Whether their times differ as those of most emails do."""
        ...

    @property
    def subject(self) -> int:
        """How much their subjects agree; more is better."""
        ...

    @property
    def people(self) -> int:
        """How much sender and recipients agree; more is better."""
        ...


class UnclearReason(StrEnum):
    """Why it is not clear which message a wanted email is."""

    SEVERAL_EMAILS = "several-emails"
    SEVERAL_DEALS = "several-deals"


class MatchChoice(msgspec.Struct, frozen=True):
    """What was decided about wanted emails whose pairs are connected.

    Args:
        matched: the messages found, each with the wanted email that it is.
        repeated: wanted emails that repeat another one with the same deal.
        unclear: wanted emails about which the pairs do not decide.
    """

    matched: Mapping[str, int]
    repeated: Collection[int]
    unclear: Mapping[int, UnclearReason]


_Strength = tuple[bool, int, int]


def choose_messages(pairs: Sequence[MatchPair]) -> MatchChoice:
    """Decide which messages some wanted emails are.

    A pair is clear if it is stronger than every other pair of its wanted email and of its message:
    nowhere weaker, and somewhere stronger. Clear pairs are taken out until there are none. If all
    wanted emails that are left have one deal, and there are as many of them as messages, it does
    not matter which is which. The copies of an email in several mailboxes count as one message.

    Args:
        pairs: all pairs of wanted emails and messages that are connected by pairs; their order does
            not matter.
    """
    choosing = _Choosing(_deals(pairs), *_options(pairs))
    choosing.take_clear()
    choosing.take_equal()
    return choosing.choice()


def _deals(pairs: Iterable[MatchPair]) -> dict[int, str]:
    return {pair.wanted: pair.deal_id for pair in pairs}


def _options(
    pairs: Sequence[MatchPair],
) -> tuple[dict[tuple[int, str], _Strength], dict[str, Sequence[str]]]:
    """Return the strength of each wanted email and copy, and the messages of each copy."""
    same_content: dict[str, dict[str, MatchPair]] = defaultdict(dict)
    for pair in pairs:
        same_content[pair.content][pair.message_id] = pair
    copies: dict[str, Sequence[str]] = {}
    copy_of: dict[str, str] = {}
    for messages in same_content.values():
        for copy in _copies(messages):
            copies[copy[0]] = copy
            copy_of |= dict.fromkeys(copy, copy[0])
    strengths: dict[tuple[int, str], _Strength] = {}
    for pair in pairs:
        key = (pair.wanted, copy_of[pair.message_id])
        strength = (pair.is_usual_time, pair.subject, pair.people)
        strengths[key] = max(strength, strengths.get(key, strength))
    return strengths, copies


def _copies(messages: Mapping[str, MatchPair]) -> Iterable[list[str]]:
    """Yield the messages that are copies of one email: of one moment, each in another mailbox.

    Args:
        messages: a pair of each message; all have the same content.
    """
    by_time: list[list[str]] = []
    previous: int | None = None
    for message in sorted(messages, key=lambda message: (messages[message].time or 0, message)):
        time = messages[message].time
        is_close = previous is not None and time is not None and time - previous <= COPY_SECONDS
        if is_close:
            by_time[-1].append(message)
        else:
            by_time.append([message])
        previous = time
    for copy in by_time:
        has_own_mailboxes = len({messages[message].owner_id for message in copy}) == len(copy)
        yield from [sorted(copy)] if has_own_mailboxes else [[message] for message in copy]


@dataclass(slots=True)
class _Choosing:
    """Wanted emails and copies that are not decided yet.

    Args:
        deals: the deal of each wanted email.
        options: the strength of each wanted email and copy.
        copies: the messages of each copy.
    """

    deals: Mapping[int, str]
    options: dict[tuple[int, str], _Strength]
    copies: Mapping[str, Sequence[str]]
    _taken: dict[str, int] = field(init=False, default_factory=dict)
    _repeated: set[int] = field(init=False, default_factory=set)
    _all_options: Mapping[tuple[int, str], _Strength] = field(init=False)

    def __post_init__(self) -> None:
        self._all_options = dict(self.options)

    def take_clear(self) -> None:
        """Take out the clear pairs, until there are none."""
        while clear := [key for key in self.options if self._is_clear(key)]:
            for wanted, copy in clear:
                self._taken[copy] = wanted
            taken = {wanted for wanted, _ in clear}
            self.options = {
                key: strength
                for key, strength in self.options.items()
                if key[0] not in taken and key[1] not in self._taken
            }

    def _is_clear(self, key: tuple[int, str]) -> bool:
        strength = self.options[key]
        return all(
            _is_stronger(strength, other)
            for other_key, other in self.options.items()
            if other_key != key and (other_key[0] == key[0] or other_key[1] == key[1])
        )

    def take_equal(self) -> None:
        """Take the copies of wanted emails that have one deal, if there are enough of these."""
        for group in _connected(self.options):
            wanted_emails = sorted({wanted for wanted, _ in group})
            copies = sorted({copy for _, copy in group})
            has_one_deal = len({self.deals[wanted] for wanted in wanted_emails}) == 1
            if has_one_deal and len(copies) <= len(wanted_emails):
                for copy in copies:
                    self._taken[copy] = self._partner(copy, group)
                self._repeated.update(set(wanted_emails).difference(self._taken.values()))

    def _partner(self, copy: str, group: Collection[tuple[int, str]]) -> int:
        """Return the strongest wanted email of a copy, if possible one without a copy."""
        partners = [wanted for wanted, other in group if other == copy]
        taken = set(self._taken.values())
        return max(
            partners,
            key=lambda wanted: (wanted not in taken, self.options[wanted, copy], -wanted),
        )

    def choice(self) -> MatchChoice:
        """Return what is decided; the rest is unclear."""
        matched = {
            message: wanted for copy, wanted in self._taken.items() for message in self.copies[copy]
        }
        decided = {*self._taken.values(), *self._repeated}
        repeated, unclear = set(self._repeated), {}
        for wanted in set(self.deals) - decided:
            copies = [copy for other, copy in self._all_options if other == wanted]
            takers = {self._taken[copy] for copy in copies if copy in self._taken}
            if len(copies) == len([copy for copy in copies if copy in self._taken]) and any(
                self.deals[taker] == self.deals[wanted] for taker in takers
            ):
                repeated.add(wanted)
            else:
                unclear[wanted] = self._reason(wanted, copies)
        return MatchChoice(matched, repeated, unclear)

    def _reason(self, wanted: int, copies: Sequence[str]) -> UnclearReason:
        """Return whether the copy that a wanted email may be is wanted on another deal too."""
        rivals = {self.deals[other] for other, copy in self._all_options if copy in copies}
        is_one_email = len(copies) == 1 and rivals != {self.deals[wanted]}
        return UnclearReason.SEVERAL_DEALS if is_one_email else UnclearReason.SEVERAL_EMAILS


def _is_stronger(strength: _Strength, other: _Strength) -> bool:
    return strength != other and all(map(lambda one, two: one >= two, strength, other))


def _connected(
    keys: Collection[tuple[int, str]],
) -> list[list[tuple[int, str]]]:
    """Return the groups of keys that share wanted emails or copies, directly or by others."""
    by_part: dict[int | str, list[tuple[int, str]]] = defaultdict(list)
    for key in keys:
        for part in key:
            by_part[part].append(key)
    groups, seen = [], set[tuple[int, str]]()
    for key in keys:
        if key in seen:
            continue
        seen.add(key)
        group = [key]
        for member in group:  # grows while it is iterated
            for neighbour in chain.from_iterable(by_part[part] for part in member):
                if neighbour not in seen:
                    seen.add(neighbour)
                    group.append(neighbour)
        groups.append(group)
    return groups


class TimeShift(msgspec.Struct, frozen=True):
    """A difference that the times of the wanted emails may have throughout.

    Args:
        seconds: what is to be added to the times of the wanted emails.
        emails: emails that differ by it.
        of: emails that both lists have once, whose times differ by a multiple of the step.
    """

    seconds: int
    emails: int
    of: int

    @property
    def is_clear(self) -> bool:
        """Whether nearly all of these emails, and enough of them, agree on it."""
        return self.emails >= MIN_SHIFT_EMAILS and self.emails >= _SHIFT_SHARE * self.of


def find_shift(differences: Mapping[int, int]) -> TimeShift | None:
    """Return the shift that most emails agree on; None if there is none, or it is zero.

    If most emails have none, but many have one, this one is returned; it is not clear.

    Args:
        differences: emails that both lists have once, by the multiple of the step that their times
            differ by.
    """
    if not differences:
        return None
    emails = sum(differences.values())
    ranked = sorted(differences, key=lambda step: (-differences[step], abs(step), -step))
    step = next((step for step in ranked if step), 0)
    if not step:
        return None
    many = max(MIN_SHIFT_EMAILS, (1 - _SHIFT_SHARE) * emails)
    if not ranked[0] and differences[step] < many:
        return None
    return TimeShift(step * SHIFT_STEP_SECONDS, differences[step], emails)
