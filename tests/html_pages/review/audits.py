"""Files of audits for review pages, without a CRM: written as an audit writes them."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from bulklink.finding.link_origin import LinkFacts, LinkOrigin
from bulklink.finding.rule_replay import RuleVerdict
from bulklink.finding.values import ContactFacts, DealFacts, EmailFacts, Person
from bulklink.finding.verdicts import CandidateScore, ChangeKind, EmailVerdict, Evidence, Tier
from bulklink.operations.auditing.files import AuditFiles, plan_audit_files
from bulklink.operations.auditing.judging import AuditNotes, HoldOutResult, TierCheck
from bulklink.operations.auditing.review import write_review
from bulklink.operations.auditing.rows import ContactRows

MADE_AT = 1_790_000_000.0
FEBRUARY = 1_770_000_000.0
CRANES, PUMPS, BUOYS = "5843104000002000001", "5843104000002000002", "5843104000002000003"
DEALS = (
    DealFacts(CRANES, name="Harbour Cranes"),
    DealFacts(PUMPS, name="Orchard Pumps"),
    DealFacts(BUOYS, name='Buoys, "large"'),
)
HOLD_OUT = HoldOutResult(
    120,
    (
        TierCheck(Tier.SURE, 400, 399, 0.995, 0.9882, Tier.SURE),
        TierCheck(Tier.LIKELY, 600, 540, 0.97, 0.8773, Tier.LOOK),
    ),
)
PAT = "5843104000000424672"


def contact_of(number: int) -> str:
    return str(5843104000001000000 + number)


def message_of(number: int, place: int) -> str:
    return f"{number:032x}{place:032x}"


def scores(best: str | None = CRANES) -> tuple[CandidateScore, ...]:
    """Return candidates of a conversation, a deal or no deal first."""
    reasons = (
        Evidence("alive", 0.5, "open"),
        Evidence("named", 4.2, "its name is in the subject"),
        Evidence("over", -1.4, "closed long before"),
    )
    others = [deal.id for deal in DEALS if deal.id != best]
    order: list[str | None] = [best, *([None] if best else []), *others]
    shares = (0.99996, 0.00003, 0.00001, 0.0)
    return tuple(
        CandidateScore(deal_id, share, reasons if place < 2 else reasons[:1])
        for place, (deal_id, share) in enumerate(zip(order, shares, strict=False))
    )


def email(number: int, place: int, deal_id: str | None, **fields: Any) -> EmailFacts:
    """Return an email of a contact, one a day."""
    defaults: dict[str, Any] = {
        "owner_id": PAT,
        "subject": f"Cranes {number}",
        "time": FEBRUARY + 86_400 * place,
        "direction": "received",
        "sender": Person(f"ann{number}@customer.example", f"Ann {number}"),
        "owner_name": "Patricia Boyle",
    }
    return EmailFacts(message_of(number, place), deal_id=deal_id, **(defaults | fields))


def proposal(
    judged: EmailFacts, tier: Tier = Tier.SURE, best: str | None = CRANES, conversation: int = 0
) -> EmailVerdict:
    """Return the verdict that an email belongs to another deal."""
    kind = ChangeKind.ATTACH if judged.deal_id is None else ChangeKind.MOVE
    if best is None:
        kind = ChangeKind.DETACH
    rule = RuleVerdict((PUMPS,)) if judged.direction == "received" else None
    found = scores(best)
    link = LinkFacts(LinkOrigin.RULE if judged.deal_id else LinkOrigin.NONE)
    return EmailVerdict(
        judged, conversation, link, rule, found, kind, best, tier, found[0].probability
    )


def staying(judged: EmailFacts) -> EmailVerdict:
    """Return the verdict on an email of the same conversation that people linked."""
    return EmailVerdict(judged, 0, LinkFacts(LinkOrigin.SENT), None, scores())


def usual_contact(number: int, tier: Tier) -> list[EmailVerdict]:
    """Return verdicts on a conversation: an email to move, one that stays, one to attach."""
    sent = {"direction": "sent"}
    return [
        proposal(email(number, 0, PUMPS), tier),
        staying(email(number, 1, CRANES, **sent)),
        proposal(email(number, 2, None, **sent), tier),
    ]


def write_audit(
    folder: Path, contacts: Iterable[Sequence[EmailVerdict]], name: str = "m.csv"
) -> AuditFiles:
    """Write mapping, verdicts and review page of an audit; a contact for each list of verdicts."""
    files = plan_audit_files(folder / name, None, spreadsheet=False, force=True)
    notes = msgspec.json.encode(AuditNotes("strict", HOLD_OUT))
    with files.open(lambda: notes) as (mapping, verdict_table):
        for number, verdicts in enumerate(contacts):
            emails = tuple(verdict.email for verdict in verdicts)
            rows = ContactRows(ContactFacts(contact_of(number), emails, DEALS), verdicts)
            mapping.write(rows.mapping_rows())
            verdict_table.write(rows.verdict_rows())
    os.utime(files.verdicts, (MADE_AT, MADE_AT))
    write_review(files.mapping)
    return files


def rows_of_mapping(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
