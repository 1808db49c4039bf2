"""Random small contacts, for properties of the judge; of half of them, anything may be unknown."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import msgspec

from bulklink.finding.values import ContactFacts, DealFacts, EmailFacts, FieldChange, Person
from tests.finding.builders import DAY, STAGES

ANN = "ann@acme.test"
UNLISTED = "dX"
"""A deal that emails may be on although the contact is not."""
_STAGES = (*STAGES, "Renamed", None)
_PEOPLE = tuple(map(Person, (ANN, "bo@acme.test", "no-reply@shop.test")))
_NAMES = (None, "", "Rollout Berlin", "Rollout Bern", "Service", "Service")
_SUBJECTS = (
    *(None, "", "Plan", "Re: Plan", "Rollout Berlin, dates", "Re: Rollout Berlin, dates"),
    *("Re: Q-10432", "Accepted: Plan", "Service Bern", "Re: Service"),
)


def small_contact(seed: int, *, least_deals: int = 0) -> ContactFacts:
    """Return a contact of at most four deals and eight emails, with an id that tells the seed."""
    random = Random(seed)
    ids = [f"d{number}" for number in range(random.randint(least_deals, 4))]
    return ContactFacts(
        f"seed {seed}",
        tuple(
            _email(random, f"m{number}", [None, *ids, *ids, *([] if seed % 2 else [UNLISTED])])
            for number in range(random.randint(0, 8))
        ),
        tuple(
            _known_deal(random, deal_id) if seed % 2 else _deal(random, deal_id) for deal_id in ids
        ),
        random.choice([(), (ANN,)]),
    )


def one_conversation(seed: int) -> ContactFacts:
    """Return a contact with deals, whose emails all belong to one conversation."""
    contact = small_contact(seed, least_deals=1)
    random = Random(f"conversation {seed}")
    subject, start = random.choice(_SUBJECTS[4:]), random.randint(0, 60) * DAY
    first = EmailFacts("first", "o1", subject, start, "received")
    others = (
        msgspec.structs.replace(
            email, subject=subject, time=start + number * DAY, owner_id="o1", thread_id=None
        )
        for number, email in enumerate(contact.emails)
    )
    return msgspec.structs.replace(contact, emails=(first, *others))


def _days(random: Random) -> float:
    return random.randint(0, 120) * DAY / 2


def _maybe_days(random: Random) -> float | None:
    return None if random.random() < 0.15 else _days(random)


def _deal(random: Random, deal_id: str) -> DealFacts:
    history = [_change(random) for _ in range(random.choice([0, 0, 1, 2, 3]))]
    return DealFacts(
        deal_id,
        random.choice(_NAMES),
        random.choice(_STAGES),
        _maybe_days(random),
        _maybe_days(random),
        owner_id=random.choice([None, "o1", "o2"]),
        by_role=random.choice([False, False, True, None]),
        number=random.choice([None, "Q-10432", "Q-77777", "12"]),
        history=random.choice([None, tuple(sorted(history, key=lambda change: change.time))]),
    )


def _known_deal(random: Random, deal_id: str) -> DealFacts:
    """Return a deal that never changed."""
    created = _days(random)
    deal = msgspec.structs.replace(_deal(random, deal_id), created=created, modified=created)
    stage = random.choice(list(STAGES))
    return msgspec.structs.replace(deal, stage=stage, by_role=False, history=())


def _change(random: Random) -> FieldChange:
    return FieldChange(
        _days(random),
        random.choice(["Stage", "Owner", None]),
        random.choice(_STAGES),
        random.choice(_STAGES),
        random.choice(["crm_ui", "workflow", None]),
    )


def _email(random: Random, message_id: str, deal_ids: Sequence[str | None]) -> EmailFacts:
    return EmailFacts(
        message_id,
        random.choice(["o1", "o1", "o2", None]),
        random.choice(_SUBJECTS),
        _maybe_days(random),
        random.choice(["received", "received", "sent", None]),
        link_known=random.random() < 0.85,
        deal_id=random.choice(deal_ids),
        sender=random.choice([None, *_PEOPLE]),
        to=tuple(random.sample(_PEOPLE, random.randint(0, 2))),
        thread_id=random.choice([None, None, None, "t"]),
        owner_name=random.choice([None, "Open"]),
    )
