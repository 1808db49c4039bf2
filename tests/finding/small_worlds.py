"""Random contacts whose deals change while emails come, linked by the rule as they come.

Written apart from the replay: it goes through the events in order, and knows each deal as it is.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from math import floor
from random import Random

import msgspec

from bulklink.finding.prediction_rule import Reading
from bulklink.finding.values import ContactFacts, DealFacts, EmailFacts, FieldChange
from bulklink.models import ForecastType
from tests.finding.builders import CONTACT, OWNER, STAGES

MARGIN = 60.0
"""Seconds between the time of an email and its link, at most."""
_CANDIDATES = {
    Reading.STRICT: ("open",),
    Reading.LOOSE: ("open", "won"),
    Reading.LAST_MODIFIED_FIRST: ("open", "won", "lost"),
}


@dataclass
class LiveDeal:
    """A deal while the events happen."""

    id: str
    stage: str
    created: float
    modified: float
    history: list[FieldChange] = field(default_factory=list)

    @property
    def forecast(self) -> ForecastType:
        return STAGES[self.stage]

    def facts(self) -> DealFacts:
        """Return the deal as the CRM shows it afterwards, with whole seconds."""
        return DealFacts(
            self.id,
            stage=self.stage,
            created=floor(self.created),
            modified=floor(self.modified),
            by_role=False,
            history=tuple(
                msgspec.structs.replace(change, time=floor(change.time)) for change in self.history
            ),
        )


@dataclass(frozen=True)
class SmallWorld:
    """A contact, and how its emails were linked: by the rule, as it was read."""

    contact: ContactFacts
    reading: Reading
    connected: float

    def without_histories(self, withheld: Iterable[str]) -> ContactFacts:
        """Return the contact as it is known without the histories of some deals."""
        ids = set(withheld)
        deals = tuple(
            msgspec.structs.replace(deal, history=None) if deal.id in ids else deal
            for deal in self.contact.deals
        )
        return msgspec.structs.replace(self.contact, deals=deals)


def pick(deals: Iterable[LiveDeal], reading: Reading) -> str | None:
    """Return the deal that the rule picks now."""
    candidates = [deal for deal in deals if deal.forecast in _CANDIDATES[reading]]
    last = max(candidates, key=lambda deal: deal.modified, default=None)
    return None if last is None or last.forecast == "lost" else last.id


def pick_from_backlog(deals: list[LiveDeal], reading: Reading, counted: str) -> str | None:
    """Return the deal of an email from before its mailbox was connected."""
    singles = [deal for deal in deals if counted == "all" or deal.forecast == "open"]
    return pick(deals, reading) if len(singles) == 1 else None


def make_small_world(
    seed: int, *, deals: int = 3, emails: int = 6, steps: int = 12, backlog: bool = False
) -> SmallWorld:
    """Return a contact to whom emails come while deals change, often at nearly the same time."""
    random = Random(seed)
    reading = random.choice(list(Reading))
    counted = random.choice(["all", "open"])
    length = random.choice([300.0, 5_000.0, 100_000.0])
    connected = random.uniform(0, length) if backlog else 0.0
    live: list[LiveDeal] = []
    messages: list[EmailFacts] = []
    actions = ["create"] * deals + ["email"] * emails + ["change"] * steps
    random.shuffle(actions)
    times = sorted(1e9 + random.uniform(0, length) for _ in actions)
    for time, action in zip(times, actions, strict=True):
        if action == "create":
            stage = random.choice(list(STAGES))
            live.append(LiveDeal(f"d{len(live)}", stage, time, time))
        elif action == "change" and live:
            change(random.choice(live), time, random)
        elif action == "email":
            sent = time + random.uniform(-MARGIN + 2, MARGIN - 2)
            is_backlog = sent < 1e9 + connected
            deal_id = (
                pick_from_backlog(live, reading, counted) if is_backlog else pick(live, reading)
            )
            messages.append(
                EmailFacts(
                    f"m{len(messages)}",
                    OWNER,
                    time=floor(sent),
                    direction="received",
                    deal_id=deal_id,
                )
            )
    facts = tuple(deal.facts() for deal in live)
    return SmallWorld(ContactFacts(CONTACT, tuple(messages), facts), reading, 1e9 + connected)


def change(deal: LiveDeal, time: float, random: Random) -> None:
    """Move a deal to another stage, or touch it."""
    if random.random() < 0.5:
        deal.history.append(FieldChange(time))
    else:
        stage = random.choice(list(STAGES))
        deal.history.append(FieldChange(time, "Stage", deal.stage, stage))
        deal.stage = stage
    deal.modified = time
