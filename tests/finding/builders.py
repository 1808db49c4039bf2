"""Short ways to write deals, emails and contacts."""

from __future__ import annotations

from collections.abc import Iterable

from bulklink.finding.connection_span import ALWAYS_CONNECTED, ConnectionSpan
from bulklink.finding.prediction_rule import Reading
from bulklink.finding.rule_replay import RuleReplay, RuleVerdict
from bulklink.finding.values import (
    ContactFacts,
    DealFacts,
    Direction,
    EmailFacts,
    FieldChange,
    Person,
)
from bulklink.models import ForecastType

STAGES: dict[str, ForecastType] = {
    "Open": "open",
    "Talks": "open",
    "Negotiation": "open",
    "Won": "won",
    "Lost": "lost",
    "Gone": "lost",
}
CONTACT = "c1"
OWNER = "o1"
MINUTE = 60.0
DAY = 86_400.0


def move(time: float, old: str | None, new: str | None) -> FieldChange:
    return FieldChange(time, "Stage", old, new)


def touch(time: float) -> FieldChange:
    return FieldChange(time)


def deal(
    deal_id: str,
    stage: str | None = "Open",
    *,
    created: float | None = 0.0,
    modified: float | None = 0.0,
    history: Iterable[FieldChange] | None = None,
    history_since: float | None = None,
    by_role: bool | None = False,
    name: str | None = None,
    number: str | None = None,
    owner_id: str | None = None,
) -> DealFacts:
    return DealFacts(
        deal_id,
        name,
        stage=stage,
        created=created,
        modified=modified,
        history=None if history is None else tuple(history),
        history_since=history_since,
        by_role=by_role,
        number=number,
        owner_id=owner_id,
    )


def email(
    time: float | None,
    deal_id: str | None = None,
    *,
    message_id: str | None = None,
    owner_id: str | None = OWNER,
    direction: Direction | None = "received",
    link_known: bool = True,
    subject: str | None = None,
    sender: str | None = None,
    to: Iterable[str] = (),
    thread_id: str | None = None,
    owner_name: str | None = None,
) -> EmailFacts:
    return EmailFacts(
        message_id or f"m{time}",
        owner_id,
        subject,
        time=time,
        direction=direction,
        deal_id=deal_id,
        link_known=link_known,
        sender=None if sender is None else Person(sender),
        to=tuple(map(Person, to)),
        thread_id=thread_id,
        owner_name=owner_name,
    )


def contact(
    deals: Iterable[DealFacts], emails: Iterable[EmailFacts] = (), contact_id: str = CONTACT
) -> ContactFacts:
    return ContactFacts(contact_id, tuple(emails), tuple(deals))


def replay_email(
    message: EmailFacts,
    *deals: DealFacts,
    reading: Reading = Reading.STRICT,
    connection: ConnectionSpan = ALWAYS_CONNECTED,
    roles: bool = True,
) -> RuleVerdict:
    replay = RuleReplay(contact(deals, [message]), STAGES, roles=roles)
    return replay.replay(message, [reading], connection)
