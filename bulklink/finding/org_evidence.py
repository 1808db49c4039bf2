"""What has to be known of the whole org before its emails are judged, collected in a first pass."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from bulklink.finding.connection_span import ConnectionSpan
from bulklink.finding.link_evidence import LinkEvidence, ReadingChoice
from bulklink.finding.prediction_rule import Reading
from bulklink.finding.role_evidence import RoleEvidence
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
        roles: whether the rule considers deals that a contact is on by a contact role only; None if
            that is unknown.
        number_shapes: shapes of the numbers of deals, with a 9 for each digit.
    """

    stages: Mapping[str, ForecastType]
    readings: tuple[Reading, ...] = tuple(Reading)
    connections: Mapping[str, ConnectionSpan] = {}
    roles: bool | None = True
    number_shapes: frozenset[str] = frozenset()


class OrgEvidence:
    """Collects what the contacts tell about the org, in any order.

    Args:
        stages: forecast of each stage, under its display value and its actual value.
        roles: whether the rule considers deals that a contact is on by a contact role only; None
            for what the links of the org tell.
    """

    def __init__(self, stages: Mapping[str, ForecastType], *, roles: bool | None = None) -> None:
        self._stages = stages
        self._roles = roles
        self._links = LinkEvidence()
        """What contacts tell, whether or not roles count."""
        self._links_by_roles = {True: LinkEvidence(), False: LinkEvidence()}
        """What contacts with a role on a deal tell, if roles count and if they do not."""
        self._role_evidence = RoleEvidence()
        self._shapes: dict[str, None] = {}

    def add(self, contact: ContactFacts) -> None:
        """Add a contact."""
        if not contact.deals:
            return
        self._add_links(contact)
        for deal in contact.deals:
            number = parse_deal_number(deal.number)
            if number is not None:
                self._add_shape(number_shape(number))

    def _add_shape(self, shape: str) -> None:
        if len(self._shapes) < _MAX_SHAPES:
            self._shapes[shape] = None

    def merge(self, later: OrgEvidence) -> None:
        """Add what was collected of contacts that follow."""
        self._links.merge(later._links)
        for roles, links in later._links_by_roles.items():
            self._links_by_roles[roles].merge(links)
        self._role_evidence.merge(later._role_evidence)
        for shape in later._shapes:
            self._add_shape(shape)

    def _add_links(self, contact: ContactFacts) -> None:
        if all(deal.by_role is False for deal in contact.deals):
            self._links.add(RuleReplay(contact, self._stages))
            return
        if self._roles is not None:
            replay = RuleReplay(contact, self._stages, roles=self._roles)
            self._links_by_roles[self._roles].add(replay)
            return
        with_roles = RuleReplay(contact, self._stages)
        without_roles = RuleReplay(contact, self._stages, roles=False, deals=with_roles.deals)
        self._links_by_roles[True].add(with_roles)
        self._links_by_roles[False].add(without_roles)
        self._role_evidence.add(with_roles, without_roles)

    def choose_reading(self) -> ReadingChoice:
        """Return the reading of the rule that explains the links of the org best."""
        _, links = self._known_links()
        return links.choose_reading(links.connections())

    def _choose_roles(self) -> bool | None:
        if self._roles is not None:
            return self._roles
        return self._role_evidence.decide(self._links.connections())

    def _known_links(self) -> tuple[bool | None, LinkEvidence]:
        """Return whether roles count, and what the links tell if that is so.

        If it is unknown, contacts with a role are left out.
        """
        roles = self._choose_roles()
        links = LinkEvidence()
        links.merge(self._links)
        if roles is not None:
            links.merge(self._links_by_roles[roles])
        return roles, links

    def org_facts(self, reading: Reading | None = None) -> OrgFacts:
        """Return what is known of the org.

        Args:
            reading: how the rule is read; None for all readings that explain the links well.
        """
        roles, links = self._known_links()
        connections = links.connections()
        readings = links.choose_reading(connections).plausible if reading is None else (reading,)
        return OrgFacts(self._stages, readings, connections, roles, frozenset(self._shapes))
