"""What the links of an org tell of it: which reading it follows, when mailboxes were connected.

Contacts are added one by one, in any order. Only counts by mailbox and day are kept. Emails of one
contact that tell the same are counted once for each conversation, or each period between changes of
its deals: whoever corrects a conversation corrects all of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import groupby

import msgspec

from bulklink.binomial import binomial_tail
from bulklink.finding.connection_inference import infer_connection
from bulklink.finding.connection_span import Arrival, ConnectionSpan
from bulklink.finding.prediction_rule import Reading
from bulklink.finding.rule_replay import Moment, RuleReplay
from bulklink.finding.values import DAY, EmailFacts

_READINGS = tuple(Reading)
SIGNIFICANCE = 0.01
"""Chance at which two hypotheses that explain links equally well would differ so much."""
_SAME_CONVERSATION = 21 * DAY
"""Seconds between emails of one contact beyond which they are another conversation."""
_ON_DEAL = -1
_ON_NONE = -2
"""Outcomes that tell when a mailbox was connected; any other has a bit for each reading."""


class ReadingScore(msgspec.Struct, frozen=True):
    """How well a reading explains the links of the org.

    Args:
        reading: the reading.
        explained: groups of alike emails whose deal it explains, of those that the readings
            would put on different deals.
        contradicted: the others of them.
    """

    reading: Reading
    explained: int
    contradicted: int


class ReadingChoice(msgspec.Struct, frozen=True):
    """The reading that explains the links of an org best.

    Args:
        reading: the best reading; the first of those that explain equally well.
        rivals: readings that explain nearly as well, or about which too little is known.
        scores: what each reading explains, best first.
    """

    reading: Reading
    rivals: tuple[Reading, ...]
    scores: tuple[ReadingScore, ...]

    @property
    def plausible(self) -> tuple[Reading, ...]:
        """Return the readings that the org may follow, the best one first."""
        return (self.reading, *self.rivals)


class LinkEvidence:
    """Counts of what the links of an org tell."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, int, int]] = Counter()
        """Emails by mailbox, day and outcome."""

    def add(self, replay: RuleReplay) -> None:
        """Add the emails of one contact.

        Args:
            replay: the replay of the contact, with what is known of its deals.
        """
        outcomes: dict[str, list[tuple[float, int]]] = {}
        periods: dict[tuple[str, int, int], float] = {}
        known: dict[tuple[Moment, str | None], int | None] = {}
        for email in replay.contact.emails:
            if email.time is None or email.owner_id is None or not can_tell(email):
                continue
            key = replay.moment(email), email.deal_id
            outcome = known[key] if key in known else known.setdefault(key, _outcome(replay, *key))
            if outcome is None:
                continue
            if outcome < 0:
                outcomes.setdefault(email.owner_id, []).append((email.time, outcome))
            else:  # the last one, when the mailbox is most likely to have been connected
                period = email.owner_id, outcome, replay.period(email.time)
                periods[period] = max(email.time, periods.get(period, email.time))
        for owner, emails in outcomes.items():
            self._counts.update((owner, _day(time), outcome) for time, outcome in _distinct(emails))
        self._counts.update(
            (owner, _day(time), outcome) for (owner, outcome, _), time in periods.items()
        )

    def merge(self, other: LinkEvidence) -> None:
        """Add what other contacts tell."""
        self._counts.update(other._counts)

    def connections(self) -> dict[str, ConnectionSpan]:
        """Return when each mailbox was connected, by the id of its owner.

        A mailbox that no email tells about is missing.
        """
        telling = sorted(key for key in self._counts if key[2] < 0)
        return {
            owner: infer_connection(
                (day, self._counts[owner, day, _ON_DEAL], self._counts[owner, day, _ON_NONE])
                for day in dict.fromkeys(day for _, day, _ in days)
            )
            for owner, days in groupby(telling, key=lambda key: key[0])
        }

    def choose_reading(self, connections: Mapping[str, ConnectionSpan]) -> ReadingChoice:
        """Return the reading that explains best where the readings differ.

        Args:
            connections: when each mailbox was connected; only emails that came afterwards tell.
        """
        patterns: Counter[int] = Counter()
        for (owner, day, outcome), count in self._counts.items():
            connection = connections.get(owner)
            if outcome >= 0 and connection is not None:
                noon = (day + 0.5) * DAY
                if connection.arrival(noon, DAY / 2) is Arrival.LIVE:
                    patterns[outcome] += count
        total = sum(patterns.values())
        explained = {reading: _count(patterns, explaining=reading) for reading in _READINGS}
        ranked = sorted(_READINGS, key=lambda reading: -explained[reading])
        best, *others = ranked
        return ReadingChoice(
            best,
            tuple(other for other in others if not _is_better(patterns, best, other)),
            tuple(
                ReadingScore(reading, explained[reading], total - explained[reading])
                for reading in ranked
            ),
        )


def _day(time: float) -> int:
    return int(time // DAY)


def _distinct(emails: list[tuple[float, int]]) -> Iterator[tuple[float, int]]:
    """Yield one of each series of emails of the same outcome, which somebody may have corrected.

    Of emails on deals that is the first, and of those on none the last: those that tell most about
    the time between.
    """
    series: list[tuple[float, int]] = []
    for email in sorted(emails):
        if series and (email[1] != series[-1][1] or email[0] - series[-1][0] > _SAME_CONVERSATION):
            yield series[0 if series[0][1] == _ON_DEAL else -1]
            series = []
        series.append(email)
    if series:
        yield series[0 if series[0][1] == _ON_DEAL else -1]


def can_tell(email: EmailFacts) -> bool:
    """Return whether an email may show what the rule did."""
    return email.direction == "received" and email.link_known


def _outcome(replay: RuleReplay, moment: Moment, linked: str | None) -> int | None:
    """Return what the received emails of a moment on a deal, or on none, tell; None for nothing.

    Whether it tells anything must not depend on the deal that it is on, or the readings that
    people contradict more often would look better.
    """
    live = [replay.replay_as(moment, reading, Arrival.LIVE) for reading in _READINGS]
    if not all(verdict.exact for verdict in live):
        return None
    deal_ids = [verdict.deal_id for verdict in live]
    if len(set(deal_ids)) > 1:
        bits = (deal_id == linked for deal_id in deal_ids)
        return sum(1 << place for place, explains in enumerate(bits) if explains)
    if deal_ids[0] is None or linked not in (None, deal_ids[0]):
        return None
    for reading in _READINGS:
        backlog = replay.replay_as(moment, reading, Arrival.BACKLOG)
        if backlog.possible != (None,):
            return None
    return _ON_NONE if linked is None else _ON_DEAL


def _count(patterns: Mapping[int, int], *, explaining: Reading) -> int:
    bit = 1 << _READINGS.index(explaining)
    return sum(count for pattern, count in patterns.items() if pattern & bit)


def _is_better(patterns: Mapping[int, int], best: Reading, other: Reading) -> bool:
    """Return whether one reading explains more than another, and not by chance (sign test)."""
    best_bit, other_bit = (1 << _READINGS.index(reading) for reading in (best, other))
    for_best = for_other = 0
    for pattern, count in patterns.items():
        for_best += count * (pattern & (best_bit | other_bit) == best_bit)
        for_other += count * (pattern & (best_bit | other_bit) == other_bit)
    return binomial_tail(for_best + for_other, for_best, 0.5) < SIGNIFICANCE
