"""The hold-out, which is counted while emails are judged, and the tiers that it demotes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec
import pytest

from bulklink.finding.values import ContactFacts, EmailFacts
from bulklink.finding.verdicts import Tier
from bulklink.mapping.interrupt import PlanningStop
from bulklink.mapping.sorted_emails import EmailCounts
from bulklink.mapping.verdict_table import open_verdict_table
from bulklink.operations.auditing.deals_file import DealsFile, DealsHeader, utc_time
from bulklink.operations.auditing.files import NOTES_KEY, plan_audit_files
from bulklink.operations.auditing.judging import AuditNotes, EmailJudging
from bulklink.operations.auditing.parts import ContactPart, PartProcesses, PartResult, Work
from bulklink.operations.auditing.proposal_filter import ProposalFilter
from bulklink.operations.auditing.reading import AuditInputs, DealCounts
from bulklink.runs.record import OrgRecord
from tests.finding.builders import DAY, STAGES, email
from tests.finding.judged import CREATED, known_deal, weights
from tests.operations.auditing.audited import read_ops, read_tiers

T = TypeVar("T")
DEALS = (
    known_deal("d1", "Service Bern", created=CREATED + DAY),
    known_deal("d2", "Rollout Berlin"),
    known_deal("d3", "Audit"),
)


def mail(name: str, day: float, deal_id: str | None, subject: str) -> EmailFacts:
    return email(day * DAY, deal_id, message_id=name, subject=subject)


def sent(name: str, day: float, deal_id: str, subject: str) -> EmailFacts:
    return msgspec.structs.replace(mail(name, day, deal_id, subject), direction="sent")


EMAILS = (
    mail("by-rule", 900, "d1", "Plan"),
    # People moved it from d1 to d3, but its subject names d2: the hold-out proposes the wrong deal.
    mail("by-hand", 1000, "d3", "Re: Rollout Berlin"),
    sent("its-answer", 1001, "d3", "Re: Rollout Berlin"),
    # Sent from d2, so the others of the conversation are proposed for it.
    mail("to-move", 1005, "d1", "Re: cranes"),
    sent("from-d2", 1006, "d2", "Re: cranes"),
    mail("to-attach", 1007, None, "Re: cranes"),
    mail("by-rule-too", 1100, "d1", "Plan"),
)


class ContactsInMemory(PartProcesses):
    """Contacts in the place of parts of files; counts the passes over them."""

    def __init__(self, contacts: int) -> None:
        super().__init__(1, PlanningStop())
        self._contacts = [ContactFacts(str(number), EMAILS, DEALS) for number in range(contacts)]
        self.passes = 0

    def map(self, work: Work[T], parts: Sequence[ContactPart]) -> Iterator[PartResult[T]]:
        self.passes += 1
        yield PartResult(work(self._contacts), len(EMAILS) * len(self._contacts), [])


class NoFiles(AuditInputs):
    def parts(self, emails: int = 0) -> list[ContactPart]:
        return []


def make_judging(processes: ContactsInMemory) -> EmailJudging:
    """Return what judges the contacts, and proposes nearly everything as sure."""
    inputs = NoFiles(
        emails=EmailCounts(0, 0, 0, 0, 0, 0, 0, ""),
        deals=DealCounts(),
        header=DealsHeader(utc_time(0), "https://crm", None, OrgRecord(), STAGES, None, "", 0),
        deals_path=None,
        complete=True,
        calls={},
        credits=0,
        sorted_emails=Path(),
        deals_file=DealsFile(Path()),
        planning_stop=PlanningStop(),
    )
    thresholds = dict.fromkeys(weights().thresholds, 0.0)
    return EmailJudging(
        inputs=inputs,
        weights=msgspec.structs.replace(weights(), thresholds=thresholds),
        roles=True,
        reading=None,
        propose_detach=False,
        proposal_filter=ProposalFilter(),
        processes=processes,
    )


@pytest.mark.parametrize(
    ("contacts", "tier", "op", "passes"), [(99, "sure", "relink", 2), (100, "look", None, 3)]
)
def test_only_a_demotion_takes_another_pass_and_then_all_files_have_the_lower_tiers(
    tmp_path: Path, contacts: int, tier: str, op: str | None, passes: int
) -> None:
    """A hundred conversations suffice to demote."""
    processes = ContactsInMemory(contacts)
    judging = make_judging(processes)
    judging.learn()
    files = plan_audit_files(tmp_path / "m.csv", None, spreadsheet=False, force=False)
    judging.write(files)
    assert processes.passes == passes
    assert judging.hold_out.conversations == contacts
    assert judging.hold_out.demotions == (
        {Tier.SURE: Tier.LOOK, Tier.LIKELY: Tier.LOOK} if tier == "look" else {}
    )
    assert read_tiers(files.mapping) == Counter(
        {("move", tier, tier): contacts, ("attach", "sure", "sure"): contacts}
    )
    assert read_ops(files.mapping) == {
        ("move", tier, op): contacts,
        ("attach", "sure", "link"): contacts,
    }
    assert judging.tally.emails == contacts * len(EMAILS)
    with open_verdict_table(files.verdicts) as table:
        notes = msgspec.json.decode(table.metadata(NOTES_KEY) or "", type=AuditNotes)
    assert notes.hold_out == judging.hold_out
