"""Zoho's prediction rule, for deals whose states may be uncertain.

For an email that is received for a contact: exactly one open deal gets it; of several open deals
the last modified, provided that it is not closed-lost; without a valid open deal, none. The end of
the second rule can be read in three ways. `last-modified-first` is the last modified of all deals,
even if only one of them is open.

A choice is a set of deals, and None for none: each deal that the rule may have picked in one of the
possible states.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from enum import StrEnum
from math import inf

from bulklink.finding.deal_state import ABSENT, EXISTING, LOST, OPEN, WON, DealState

Choice = frozenset[int | None]
"""Places of deals in a sequence of states; None for none."""

_SAME_SECOND = 1.0
"""Two times closer than this do not tell which change was the last: Zoho shows whole seconds."""


class Reading(StrEnum):
    """How rule 2, "the last modified, provided that it is not closed-lost", is read."""

    STRICT = "strict"
    LOOSE = "loose"
    LAST_MODIFIED_FIRST = "last-modified-first"


_MOST_COMPARED = 6
"""Deals of which each is compared with each other; of more, the times themselves are compared."""
_CONSIDERED = {
    Reading.STRICT: OPEN,
    Reading.LOOSE: OPEN | WON,
    Reading.LAST_MODIFIED_FIRST: EXISTING,
}
"""The deals of which the last modified is taken."""
_LINKED = OPEN | WON
"""The deals that get the email if they are the last modified; the others leave it on none."""
_NO_DEAL: Choice = frozenset((None,))
_BACKLOG_OPEN = {
    Reading.STRICT: (OPEN,),
    Reading.LOOSE: (OPEN, OPEN | WON),
    Reading.LAST_MODIFIED_FIRST: (OPEN, OPEN | WON),
}
"""What "open" may mean where Zoho says that mail is on no deal "with more than one open deal"."""


def outline(states: Sequence[DealState]) -> Hashable:
    """Return all that choices depend on: sequences of the same outline lead to the same ones.

    That is what each deal may have been, and which may have changed after which: the times do not
    matter. Nearly all changes of a contact's deals leave the outline as it was.

    Args:
        states: the state of each deal of the contact at some time.
    """
    kinds = tuple([(state.forecasts, state.uncertainty) for state in states])
    existing = [state for state in states if state.forecasts & EXISTING]
    if len(existing) < 2:
        return kinds
    if len(existing) > _MOST_COMPARED:
        return kinds, tuple([(state.modified_from, state.modified_to) for state in existing])
    changes = [state.modified_from for state in existing]
    latest = [state.modified_to + _SAME_SECOND for state in existing]
    return kinds, tuple([time > change for time in latest for change in changes])


def choose_live(states: Sequence[DealState], reading: Reading) -> Choice:
    """Return what the rule may have chosen for an email of a connected mailbox.

    Args:
        states: the state of each deal of the contact when the email came.
        reading: how rule 2 is read.
    """
    considered = _CONSIDERED[reading]
    others = EXISTING & ~considered | ABSENT
    # A deal can be the last modified unless one that is surely considered changed after it.
    last_change = -inf
    may_be_none = True
    for state in states:
        if not state.forecasts & others:
            may_be_none = False
            if state.modified_from > last_change:
                last_change = state.modified_from
    chosen: set[int | None] = set()
    for place, state in enumerate(states):
        forecasts = state.forecasts & considered
        if forecasts and state.modified_to + _SAME_SECOND > last_change:
            if forecasts & _LINKED:
                chosen.add(place)
            if forecasts & LOST:
                may_be_none = True
    if may_be_none:
        chosen.add(None)
    return frozenset(chosen)


def choose_backlog(states: Sequence[DealState], reading: Reading) -> Choice:
    """Return what may be chosen for an email from before its mailbox was connected.

    Zoho's help: such an email is linked only if the contact had a single deal when it was
    received; "with more than one open deal", it is on no deal. Which deals count is open where a
    contact has one open deal and others, or one deal that is closed.

    Args:
        states: the state of each deal of the contact when the email came.
        reading: how rule 2 is read.
    """
    if sum(state.forecasts == OPEN for state in states) > 1:
        return _NO_DEAL
    chosen: set[int | None] = set()
    for counted in (EXISTING, *_BACKLOG_OPEN[reading]):
        certain = [place for place, state in enumerate(states) if not state.forecasts & ~counted]
        possible = [place for place, state in enumerate(states) if state.forecasts & counted]
        if len(possible) != 1:
            chosen.add(None)
        if len(certain) < 2:
            for place in certain or possible:
                chosen |= _choose_single(states, place, reading)
    return frozenset(chosen)


def _choose_single(states: Sequence[DealState], place: int, reading: Reading) -> Choice:
    """Return what may be chosen if this deal may be the only one that counts."""
    others = (state for other, state in enumerate(states) if other != place)
    if states[place].forecasts == OPEN and all(state.forecasts == ABSENT for state in others):
        return frozenset((place,))
    return choose_live(states, reading) | {place, None}
