"""Replay of the prediction rule over the emails of one contact.

A verdict is exact if all that is unknown (changes of deals that were not read, the order of changes
in the same second, clocks that differ, when a mailbox was connected) would lead to the same deal.

The rule's choice can change only when a deal does, and few changes matter to it. So the periods
between changes are reduced to a few situations of the deals, the choice is made once for each of
these, and an email costs little more than the search for its period.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Hashable, Iterable, Mapping, Sequence
from math import inf

import msgspec

from bulklink.finding.connection_span import CONNECTION_UNKNOWN, Arrival, ConnectionSpan
from bulklink.finding.deal_state import DealState, DealStates, trace_deal, trace_unlisted_deal
from bulklink.finding.prediction_rule import Reading, choose_backlog, choose_live, outline
from bulklink.finding.uncertainty import Uncertainty, first_uncertainty
from bulklink.finding.values import ContactFacts, DealFacts, EmailFacts
from bulklink.models import ForecastType

DEFAULT_MARGIN = 60.0
"""Seconds by which the time of an email may differ from the moment at which it was linked."""
Moment = tuple[tuple[int, ...], bool, bool]
"""The situations of the deals in which an email may have come, whether its time is known, and
whether its contact may be a merged one: all that its verdict depends on besides the reading and how
it came in."""
_Circumstances = tuple[Reading, Arrival, bool]
"""The reading, how an email came in, and whether its contact may be a merged one."""
_RULE_UNCERTAINTIES = {
    Arrival.LIVE: Uncertainty.SAME_SECOND,
    Arrival.BACKLOG: Uncertainty.BACKLOG_RULE,
}
"""Why a verdict is uncertain although the states of all deals are known."""


class RuleVerdict(msgspec.Struct, frozen=True, gc=False):
    """What the prediction rule did with an email.

    Args:
        possible: ids of the deals that it may have linked the email to, None for none; sorted.
        uncertainty: why there are several; None if the verdict is exact.
    """

    possible: tuple[str | None, ...]
    uncertainty: Uncertainty | None = None

    @property
    def exact(self) -> bool:
        """Return whether only one outcome is possible."""
        return self.uncertainty is None

    @property
    def deal_id(self) -> str | None:
        """Return the deal of an exact verdict; None if that is none, or the verdict uncertain."""
        return self.possible[0] if self.uncertainty is None else None


class RuleReplay:
    """The rule, replayed for one contact.

    Args:
        contact: the contact with its deals; their histories where they were read. Its emails
            show deals that are missing among them, and whether it was merged from several.
        stages: forecast of each stage, under its display value and its actual value.
        roles: whether deals count that the contact is on by a contact role only; None if that is
            unknown.
        margin: seconds by which the time of an email may differ from the moment at which the rule
            was applied.
        deals: the states of each deal, if another replay of the contact has traced them.
    """

    def __init__(
        self,
        contact: ContactFacts,
        stages: Mapping[str, ForecastType],
        *,
        roles: bool | None = True,
        margin: float = DEFAULT_MARGIN,
        deals: Mapping[str, DealStates] | None = None,
    ) -> None:
        self.contact = contact
        self._margin = margin
        self.deals: Mapping[str, DealStates] = deals or {
            deal.id: trace_deal(deal, stages, contact.id) for deal in contact.deals
        }
        """The states of each deal of the contact."""
        self._candidates = [
            *_candidates(contact.deals, self.deals, roles=roles),
            *_unlisted(contact),
        ]
        self._changes = sorted(set().union(*[deal.times for deal in self._candidates]))
        self._periods: list[int | None] = [None] * (len(self._changes) + 1)
        """The situation of each period, once it was looked at."""
        self._situations: dict[Hashable, int] = {}
        self._states_by_situation: list[list[DealState]] = []
        self._verdicts: dict[_Circumstances, dict[int, RuleVerdict]] = {}
        self._replayed: dict[tuple[tuple[Reading, ...], Arrival, Moment], RuleVerdict] = {}

    def replay(
        self,
        email: EmailFacts,
        readings: Sequence[Reading],
        connection: ConnectionSpan = CONNECTION_UNKNOWN,
    ) -> RuleVerdict:
        """Return what the rule did with an email, which is taken as received.

        Args:
            email: an email of the contact.
            readings: how the rule may have to be read.
            connection: when the mailbox of the email was connected.
        """
        circumstances = tuple(readings), self.arrival(email, connection), self.moment(email)
        verdict = self._replayed.get(circumstances)
        if verdict is None:
            verdict = self._replayed[circumstances] = self._replay(*circumstances)
        return verdict

    def moment(self, email: EmailFacts) -> Moment:
        """Return what the verdict on an email depends on; emails of the same moment are alike."""
        may_be_merged = self._may_be_merged(email)
        if email.time is None:
            return self._situations_of(range(len(self._periods))), False, may_be_merged
        first = bisect_right(self._changes, email.time - self._margin)
        last = bisect_right(self._changes, email.time + self._margin, lo=first)
        if first == last:
            return (self._situation(first),), True, may_be_merged
        return self._situations_of(range(first, last + 1)), True, may_be_merged

    def replay_as(self, moment: Moment, reading: Reading, arrival: Arrival) -> RuleVerdict:
        """Return what the rule did with the emails of a moment that came in as given.

        Args:
            moment: when an email of the contact came, which is taken as received.
            reading: how the rule is read.
            arrival: how the email came in.
        """
        situations, time_known, may_be_merged = moment
        circumstances = reading, arrival, may_be_merged
        if len(situations) == 1:
            return self._replay_situation(circumstances, situations[0])
        why = Uncertainty.NEAR_CHANGE if time_known else Uncertainty.TIME_UNKNOWN
        verdicts = [self._replay_situation(circumstances, situation) for situation in situations]
        return _combine(verdicts, why)

    def arrival(self, email: EmailFacts, connection: ConnectionSpan) -> Arrival:
        """Return how an email came in, by when its mailbox was connected."""
        if email.time is None:
            return Arrival.LIVE if connection.latest == -inf else Arrival.EITHER
        return connection.arrival(email.time, self._margin)

    def period(self, time: float) -> int:
        """Return the number of the period between changes that a time is in."""
        return bisect_right(self._changes, time)

    def by_role(self, deal_id: str) -> bool | None:
        """Return whether the contact is on a deal by a contact role only; None if unknown."""
        return next((deal.by_role for deal in self.contact.deals if deal.id == deal_id), None)

    def unread(self, time: float) -> list[str]:
        """Return the deals, by id, whose state around a time their unread history would tell."""
        why = Uncertainty.HISTORY_NOT_READ
        periods = range(self.period(time - self._margin), self.period(time + self._margin) + 1)
        states = [self._states(period) for period in periods]
        return [
            deal.deal_id
            for place, deal in enumerate(self._candidates)
            if any(at_period[place].uncertainty is why for at_period in states)
        ]

    def is_unread(self, deal_id: str, time: float) -> bool:
        """Return whether the state of a deal at a time is unknown until its history is read."""
        return self.deals[deal_id].at(time).uncertainty is Uncertainty.HISTORY_NOT_READ

    def _may_be_merged(self, email: EmailFacts) -> bool:
        """Return whether an email may have been another contact's before both were merged."""
        addresses = self.contact.addresses
        if not addresses or email.sender is None or email.sender.address in addresses:
            return False
        return not any(person.address in addresses for person in (*email.to, *email.cc))

    def _replay(self, readings: Sequence[Reading], arrival: Arrival, moment: Moment) -> RuleVerdict:
        verdicts = [self.replay_as(moment, reading, arrival) for reading in readings]
        return verdicts[0] if len(verdicts) == 1 else _combine(verdicts, Uncertainty.READING)

    def _replay_situation(self, circumstances: _Circumstances, situation: int) -> RuleVerdict:
        """Return the verdict on emails that came in a situation, which is made once."""
        verdicts = self._verdicts.setdefault(circumstances, {})
        verdict = verdicts.get(situation)
        if verdict is None:
            verdict = verdicts[situation] = self._judge(circumstances, situation)
        return verdict

    def _judge(self, circumstances: _Circumstances, situation: int) -> RuleVerdict:
        reading, arrival, may_be_merged = circumstances
        if arrival is Arrival.EITHER:
            live = self._replay_situation((reading, Arrival.LIVE, may_be_merged), situation)
            backlog = self._replay_situation((reading, Arrival.BACKLOG, may_be_merged), situation)
            if live.possible == backlog.possible:
                return live
            if live.exact and not backlog.exact:
                return RuleVerdict(_join((live, backlog)), Uncertainty.MAILBOX)
            return _combine((live, backlog), Uncertainty.MAILBOX)
        states = self._states_by_situation[situation]
        if may_be_merged:
            states = [state.or_absent(Uncertainty.CONTACT_MERGED) for state in states]
        return self._verdict(states, reading, arrival)

    def _situations_of(self, periods: Iterable[int]) -> tuple[int, ...]:
        """Return the different situations of some periods, in their order."""
        return tuple(dict.fromkeys(map(self._situation, periods)))

    def _situation(self, period: int) -> int:
        """Return the number of the situation in a period."""
        situation = self._periods[period]
        if situation is None:
            states = self._states(period)
            situation = self._situations.setdefault(outline(states), len(self._situations))
            if situation == len(self._states_by_situation):
                self._states_by_situation.append(states)
            self._periods[period] = situation
        return situation

    def _states(self, period: int) -> list[DealState]:
        start = self._changes[period - 1] if period else -inf
        return [deal.at(start) for deal in self._candidates]

    def _verdict(
        self, states: Sequence[DealState], reading: Reading, arrival: Arrival
    ) -> RuleVerdict:
        choose = choose_live if arrival is Arrival.LIVE else choose_backlog
        choice = choose(states, reading)
        if len(choice) == 1:
            (place,) = choice
            return RuleVerdict((None if place is None else self._candidates[place].deal_id,))
        ids = [None if place is None else self._candidates[place].deal_id for place in choice]
        possible = tuple(sorted(ids, key=_order))
        chosen = [states[place] for place in choice if place is not None]
        uncertainty = (
            first_uncertainty(state.uncertainty for state in chosen)
            or first_uncertainty(state.uncertainty for state in states)
            or _RULE_UNCERTAINTIES[arrival]
        )
        return RuleVerdict(possible, uncertainty)


def _candidates(
    deals: Iterable[DealFacts], states: Mapping[str, DealStates], *, roles: bool | None
) -> Iterable[DealStates]:
    """Yield the deals that the rule considers, or may consider."""
    for deal in deals:
        if roles or deal.by_role is False:
            yield states[deal.id]
        elif roles is None or deal.by_role is None:
            yield states[deal.id].possibly_absent(Uncertainty.ROLE_UNKNOWN)


def _unlisted(contact: ContactFacts) -> list[DealStates]:
    """Return the deals that the contact was on once, as its emails show."""
    listed = {None, *(deal.id for deal in contact.deals)}
    ids = {email.deal_id for email in contact.emails if email.deal_id not in listed}
    return [trace_unlisted_deal(deal_id) for deal_id in sorted(filter(None, ids))]


def _combine(verdicts: Sequence[RuleVerdict], why: Uncertainty) -> RuleVerdict:
    """Return the verdict on an email for which several may hold; `why` if exact ones differ."""
    possible = _join(verdicts)
    if len(possible) == 1:
        return verdicts[0]
    return RuleVerdict(
        possible, first_uncertainty(verdict.uncertainty for verdict in verdicts) or why
    )


def _join(verdicts: Sequence[RuleVerdict]) -> tuple[str | None, ...]:
    """Return the deals that are possible by one of the verdicts."""
    possible = {deal_id for verdict in verdicts for deal_id in verdict.possible}
    return tuple(sorted(possible, key=_order))


def _order(deal_id: str | None) -> str:
    return deal_id or ""
