"""Plan of the histories to read: those on which the verdict on an email depends."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from bulklink.finding.needed_histories import needed_histories
from bulklink.finding.org_evidence import OrgEvidence
from bulklink.finding.prediction_rule import Reading
from bulklink.finding.rule_replay import RuleReplay
from bulklink.finding.values import ContactFacts
from bulklink.models import ForecastType
from bulklink.operations.auditing.timelines import Contacts


def plan_histories(
    contacts: Contacts,
    stages: Mapping[str, ForecastType],
    *,
    roles: bool | None,
    reading: Reading | None,
) -> Iterator[tuple[ContactFacts, Collection[str]]]:
    """Yield contacts with the deals whose histories have to be read next; blocks.

    What the org's links tell of its mailboxes and its reading of the rule saves histories.

    Args:
        contacts: begins a pass over all contacts.
        stages: forecast of each stage.
        roles: whether the rule considers deals that a contact is on by a contact role only; None
            for what the links of the org tell.
        reading: how the rule is read; None for all readings that explain the links well.
    """
    evidence = OrgEvidence(stages, roles=roles)
    for contact in contacts():
        evidence.add(contact)
    org = evidence.org_facts(reading)
    for contact in contacts():
        if not contact.deals:
            continue
        replay = RuleReplay(contact, stages, roles=org.roles)
        if deal_ids := needed_histories(replay, org.readings, org.connections):
            yield contact, deal_ids
