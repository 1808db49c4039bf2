"""What has to be known of the whole org before its emails are judged, collected in a first pass."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from bulklink.finding.connection_span import ConnectionSpan
from bulklink.finding.link_evidence import LinkEvidence, ReadingChoice
from bulklink.finding.prediction_rule import Reading
from bulklink.finding.rule_replay import RuleReplay
from bulklink.finding.subjects import number_shape, parse_deal_number
from bulklink.finding.values import ContactFacts
from bulklink.models import ForecastType

_MAX_SHAPES = 1_000
"""Shapes of numbers that are kept; an org has few."""


class OrgFacts(msgspec.Struct, frozen=True):
    """What is known of an org.

    Args:
        stages: forecast of each stage, under its display value and its actual value.
        readings: how the prediction rule may have to be read, the likeliest first.
        connections: when the mailbox of each user was connected.
        roles: whether the rule considers deals that a contact is on by a contact role only.
        number_shapes: shapes of the numbers of deals, with a 9 for each digit.
    """

    stages: Mapping[str, ForecastType]
    readings: tuple[Reading, ...] = tuple(Reading)
    connections: Mapping[str, ConnectionSpan] = {}
    roles: bool = True
    number_shapes: frozenset[str] = frozenset()


class OrgEvidence:
    """Collects what the contacts tell about the org, in any order.

    Args:
        stages: forecast of each stage, under its display value and its actual value.
        roles: whether the rule considers deals that a contact is on by a contact role only.
    """

    def __init__(self, stages: Mapping[str, ForecastType], *, roles: bool = True) -> None:
        self._stages = stages
        self._roles = roles
        self._links = LinkEvidence()
        self._shapes: set[str] = set()

    def add(self, contact: ContactFacts) -> None:
        """Add a contact."""
        if not contact.deals:
            return
        self._links.add(RuleReplay(contact, self._stages, roles=self._roles))
        for deal in contact.deals:
            number = parse_deal_number(deal.number)
            if number is not None and len(self._shapes) < _MAX_SHAPES:
                self._shapes.add(number_shape(number))

    def choose_reading(self) -> ReadingChoice:
        """Return the reading of the rule that explains the links of the org best."""
        return self._links.choose_reading(self._links.connections())

    def org_facts(self, reading: Reading | None = None) -> OrgFacts:
        """Return what is known of the org.

        Args:
            reading: how the rule is read; None for all readings that explain the links well.
        """
        connections = self._links.connections()
        readings = (
            self._links.choose_reading(connections).plausible if reading is None else (reading,)
        )
        shapes = frozenset(self._shapes)
        return OrgFacts(self._stages, readings, connections, self._roles, shapes)
