"""State of a deal at any time in the past: whether it existed, its forecast, its modified time.

Without its history a deal is known only after its last change, when it was as it is today, and
before its creation. With its history it is known from one change to the next. Whatever is not
certain is a set of possible states, so that callers can tell whether it matters.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import inf

import msgspec

from bulklink.finding.uncertainty import Uncertainty
from bulklink.finding.values import DealFacts, FieldChange
from bulklink.models import ForecastType

ABSENT = 1
"""Bit of a deal that does not exist, or that the contact is not on."""
OPEN = 2
"""Bit of a deal whose stage is forecast open."""
WON = 4
"""Bit of a deal that is closed-won."""
LOST = 8
"""Bit of a deal that is closed-lost."""
EXISTING = OPEN | WON | LOST
"""Bits of a deal that exists, whatever its stage."""

_BITS: dict[ForecastType, int] = {"open": OPEN, "won": WON, "lost": LOST}
_FORECASTS: dict[int, ForecastType] = {bit: forecast for forecast, bit in _BITS.items()}
_LOG_DELAY = 2.0
"""Seconds by which the time of an entry in a history and the deal's own times may differ."""
_STAGE = "Stage"
_CONTACT = "Contact_Name"


class DealState(msgspec.Struct, frozen=True, gc=False):
    """What is known of a deal at some time.

    Args:
        forecasts: bits of what it may have been: `ABSENT`, `OPEN`, `WON`, `LOST`.
        modified_from: earliest possible time of its last modification before that time.
        modified_to: latest such time; infinite if it may have been modified until then.
        uncertainty: why more than one state is possible; None if the state is certain.
    """

    forecasts: int
    modified_from: float
    modified_to: float
    uncertainty: Uncertainty | None = None

    @property
    def forecast(self) -> ForecastType | None:
        """Return its forecast; None if it did not exist or that is unknown."""
        return _FORECASTS.get(self.forecasts)

    def or_absent(self, uncertainty: Uncertainty) -> DealState:
        """Return this state, or none."""
        if self.forecasts & ABSENT:
            return self
        return DealState(
            self.forecasts | ABSENT,
            self.modified_from,
            self.modified_to,
            self.uncertainty or uncertainty,
        )


_NO_DEAL = DealState(ABSENT, inf, -inf)


class DealStates:
    """The states of a deal over time.

    Args:
        deal_id: id of the deal.
        times: ascending times at which the state changes.
        states: the state before the first of these times, and after each.
    """

    __slots__ = ("deal_id", "states", "times")

    def __init__(self, deal_id: str, times: Sequence[float], states: Sequence[DealState]) -> None:
        self.deal_id = deal_id
        self.times = tuple(times)
        self.states = tuple(states)

    def at(self, time: float) -> DealState:
        """Return the state at a time, changes of that moment included."""
        return self.states[bisect_right(self.times, time)]

    def between(self, start: float, end: float) -> Sequence[DealState]:
        """Return all states from one time to another, both included."""
        return self.states[bisect_right(self.times, start) : bisect_right(self.times, end) + 1]

    def possibly_absent(self, uncertainty: Uncertainty) -> DealStates:
        """Return the states of a deal that may not count at all."""
        states = [state.or_absent(uncertainty) for state in self.states]
        return DealStates(self.deal_id, self.times, states)


def trace_deal(
    deal: DealFacts, stages: Mapping[str, ForecastType], contact_id: str | None = None
) -> DealStates:
    """Return the states of a deal over time.

    Args:
        deal: the deal, with its history if it was read.
        stages: forecast of each stage, under its display value and its actual value.
        contact_id: the contact, to know when the deal was another contact's; None to ignore that.
    """
    tracer = _Tracer(deal, stages, contact_id)
    if deal.history is not None:
        from_history = tracer.from_history(deal.history)
        if from_history is not None:
            return from_history
        return tracer.from_today(Uncertainty.HISTORY_CONTRADICTS)
    return tracer.from_today(Uncertainty.HISTORY_NOT_READ)


def trace_unlisted_deal(deal_id: str) -> DealStates:
    """Return the states of a deal of which nothing is known."""
    state = DealState(ABSENT | EXISTING, -inf, inf, Uncertainty.DEAL_NOT_LISTED)
    return DealStates(deal_id, (), (state,))


class _Pieces:
    """Collects the states of a deal, oldest first."""

    def __init__(self, first: DealState) -> None:
        self._first = first
        self._later: dict[float, DealState] = {}
        """The states by the time from which they hold; the last of those of a time counts."""

    def add(self, time: float, state: DealState) -> None:
        """Add the state from a time on; it replaces one that begins then or later."""
        last = next(reversed(self._later), time)
        self._later[max(time, last)] = state

    def follow(self, times: Sequence[float], forecasts: Sequence[int]) -> None:
        """Add the states after modifications at ascending times, none before those added."""
        for time, bits in zip(times, forecasts, strict=True):
            why = None if bits in _FORECASTS else Uncertainty.STAGE_UNKNOWN
            self._later[time] = DealState(bits, time, time, why)

    def of_deal(self, deal_id: str) -> DealStates:
        """Return the states as those of a deal."""
        return DealStates(deal_id, tuple(self._later), (self._first, *self._later.values()))


class _Tracer:
    """Reconstructs the states of one deal."""

    def __init__(
        self, deal: DealFacts, stages: Mapping[str, ForecastType], contact_id: str | None
    ) -> None:
        self._deal = deal
        self._stages = stages
        self._contact_id = contact_id
        self._today = self._stage_bits(deal.stage)

    def from_today(self, why_unknown: Uncertainty) -> DealStates:
        """Return what the deal's present state alone tells."""
        created, modified = self._deal.created, self._deal.modified
        if modified is None:
            why_unknown = Uncertainty.DEAL_TIMES_UNKNOWN
        if created is None or (modified is not None and created > modified + _LOG_DELAY):
            earlier = ABSENT | EXISTING
            pieces = _Pieces(DealState(earlier, -inf, inf, why_unknown))
        else:
            pieces = _Pieces(_NO_DEAL)
            pieces.add(created, DealState(EXISTING, created, inf, why_unknown))
        if modified is not None:
            time = modified if created is None else max(created, modified)
            pieces.add(time, self._state(self._today, modified, modified))
        return pieces.of_deal(self._deal.id)

    def from_history(self, history: Sequence[FieldChange]) -> DealStates | None:
        """Return the states by the deal's history; None if it contradicts itself or the deal."""
        created, modified = self._deal.created, self._deal.modified
        since = self._deal.history_since
        if modified is None or (created is not None and created > modified + _LOG_DELAY):
            return None
        start = -inf if created is None else created
        if since is not None and since >= modified:
            return self.from_today(Uncertainty.HISTORY_NOT_READ)
        known_from = start if since is None else max(start, since)
        entries = _in_order(history)
        if entries and entries[0].time < known_from - _LOG_DELAY:
            entries = [entry for entry in entries if entry.time >= known_from - _LOG_DELAY]
        if since is None and len(entries) < len(history):
            return None  # an entry from before the creation
        if abs((entries[-1].time if entries else known_from) - modified) > _LOG_DELAY:
            return None
        masks = self._forecasts(entries)
        if masks is None:
            return None
        pieces = self._beginning(start, known_from, masks[0])
        times = [entry.time for entry in entries]
        if times and not known_from <= times[0] <= times[-1] <= modified:
            times = [min(max(time, known_from), modified) for time in times]
        pieces.follow(times, masks[1:])
        pieces.add(modified, self._state(masks[-1], modified, modified))
        states = pieces.of_deal(self._deal.id)
        places = [place for place, entry in enumerate(entries) if entry.field == _CONTACT]
        return self._with_contacts(states, [(times[place], entries[place]) for place in places])

    def _beginning(self, start: float, known_from: float, mask: int) -> _Pieces:
        """Return the states before the first entry of the history."""
        if start == -inf:  # the creation is unknown
            why = Uncertainty.DEAL_TIMES_UNKNOWN
            return _Pieces(DealState(ABSENT | EXISTING, -inf, inf, why))
        pieces = _Pieces(_NO_DEAL)
        if known_from == start:
            pieces.add(start, self._state(mask, start, start))
            return pieces
        why = Uncertainty.HISTORY_NOT_READ
        pieces.add(start, DealState(EXISTING, start, inf, why))
        pieces.add(known_from, DealState(mask, start, known_from, why))
        return pieces

    def _forecasts(self, entries: Sequence[FieldChange]) -> list[int] | None:
        """Return the forecasts before the first entry and after each; None if they contradict.

        The display value of a stage may have been changed since: the last stage of the history is
        the present one, whatever it was called.
        """
        places = [place for place, entry in enumerate(entries) if entry.field == _STAGE]
        if not places:
            return [self._today] * (len(entries) + 1)
        moves = [entries[place] for place in places]
        renamed = moves[-1].new if moves[-1].new not in self._stages else None
        before = [self._stage_bits(move.old, renamed) for move in moves]
        after = [self._stage_bits(move.new, renamed) for move in moves]
        following = [*before[1:], self._today]
        between = [ended & begun for ended, begun in zip(after, following, strict=True)]
        if not all(between):
            return None
        forecasts = [before[0]] * (places[0] + 1)
        for (place, next_place), bits in zip(
            pairwise([*places, len(entries)]), between, strict=True
        ):
            forecasts += [bits] * (next_place - place)
        return forecasts

    def _with_contacts(
        self, states: DealStates, changes: Sequence[tuple[float, FieldChange]]
    ) -> DealStates:
        """Return the states with the times at which the deal may have been another contact's."""
        if self._contact_id is None or not changes:
            return states
        holders = [changes[0][1].old, *(change.new for _, change in changes[:-1])]
        times = [-inf, *(time for time, _ in changes)]
        strange = [
            (start, end)
            for (start, end), holder in zip(pairwise(times), holders, strict=True)
            if holder != self._contact_id
        ]
        return DealStates(
            states.deal_id,
            states.times,
            [
                state.or_absent(Uncertainty.CONTACT_CHANGED)
                if any(start <= time < end for start, end in strange)
                else state
                for time, state in zip([-inf, *states.times], states.states, strict=True)
            ],
        )

    def _stage_bits(self, stage: str | None, renamed: str | None = None) -> int:
        """Return the possible forecasts of a stage; `renamed` is another name of today's."""
        if stage is None:
            return EXISTING
        if stage == renamed:
            return self._today
        forecast = self._stages.get(stage)
        return EXISTING if forecast is None else _BITS[forecast]

    def _state(self, forecasts: int, modified_from: float, modified_to: float) -> DealState:
        certain = forecasts in _FORECASTS
        why = None if certain else Uncertainty.STAGE_UNKNOWN
        return DealState(forecasts, modified_from, modified_to, why)


def _in_order(history: Sequence[FieldChange]) -> Sequence[FieldChange]:
    """Return changes, oldest first; nearly all histories are in this order already."""
    times = [change.time for change in history]
    if times == sorted(times):
        return history
    return sorted(history, key=lambda change: change.time)
