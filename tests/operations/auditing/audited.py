"""Files of an audit with any number of proposals of each tier and kind."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random

import duckdb
import msgspec

from bulklink.finding.link_origin import LinkFacts, LinkOrigin
from bulklink.finding.values import ContactFacts, DealFacts, EmailFacts
from bulklink.finding.verdicts import CandidateScore, ChangeKind, EmailVerdict, Evidence, Tier
from bulklink.mapping.user_table import open_user_table
from bulklink.operations.auditing.files import plan_audit_files
from bulklink.operations.auditing.judging import AuditNotes, HoldOutResult
from bulklink.operations.auditing.rows import ContactRows

OWNER = "5843104000000100001"
CRANES = DealFacts("5843104000000300001", name="Harbour Cranes")
PUMPS = DealFacts("5843104000000300002", name="Bilge Pumps")
SCORES = (
    CandidateScore(CRANES.id, 0.99, (Evidence("named", 4.2, "its name is in the subject"),)),
    CandidateScore(PUMPS.id, 0.01, ()),
)
NOTES = msgspec.json.encode(AuditNotes("strict", HoldOutResult()))
_EMAILS_PER_CONTACT = 7

Groups = Mapping[tuple[Tier, ChangeKind], int]
MIXED: Groups = {
    (Tier.SURE, ChangeKind.ATTACH): 300,
    (Tier.SURE, ChangeKind.MOVE): 200,
    (Tier.LIKELY, ChangeKind.ATTACH): 60,
    (Tier.LIKELY, ChangeKind.MOVE): 40,
    (Tier.LOOK, ChangeKind.MOVE): 20,
}


def write_audit(
    folder: Path,
    groups: Groups = MIXED,
    name: str = "m.csv",
    *,
    spreadsheet: bool = False,
    last_first: bool = False,
    subject: str = "=Cranes",
) -> Path:
    """Write mapping and verdicts of an audit whose proposals are mixed; return the mapping."""
    proposals = [group for group, count in groups.items() for _ in range(count)]
    Random(1).shuffle(proposals)
    files = plan_audit_files(folder / name, None, spreadsheet=spreadsheet, force=True)
    with files.open(lambda: NOTES) as (mapping, verdict_table):
        contacts = range(0, len(proposals), _EMAILS_PER_CONTACT)
        for first in reversed(contacts) if last_first else contacts:
            rows = contact_rows(first, proposals[first : first + _EMAILS_PER_CONTACT], subject)
            mapping.write(rows.mapping_rows())
            verdict_table.write(rows.verdict_rows())
    return files.mapping


def contact_rows(first: int, proposals: list[tuple[Tier, ChangeKind]], subject: str) -> ContactRows:
    contact_id = f"58431040000002{first:05}"
    verdicts = [
        EmailVerdict(
            EmailFacts(
                f"{first + place:04}8937fb4a",
                OWNER,
                subject=f"{subject} {first + place}",
                time=0.0,
                owner_name="Pat",
                deal_id=None if kind is ChangeKind.ATTACH else PUMPS.id,
            ),
            0,
            link=LinkFacts(LinkOrigin.NONE),
            rule=None,
            scores=SCORES,
            kind=kind,
            deal_id=None if kind is ChangeKind.DETACH else CRANES.id,
            tier=tier,
            confidence=0.99,
        )
        for place, (tier, kind) in enumerate(proposals)
    ]
    emails = tuple(verdict.email for verdict in verdicts)
    return ContactRows(ContactFacts(contact_id, emails, (CRANES, PUMPS)), verdicts)


def read_rows(path: Path) -> list[dict[str, str]]:
    """Return the rows of a CSV file."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def write_rows(path: Path, rows: list[dict[str, str]]) -> Path:
    """Write rows to a CSV file."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def answer(path: Path, verdict: Callable[[dict[str, str]], str]) -> Path:
    """Fill in the verdicts of a table in CSV."""
    return write_rows(path, [row | {"verdict": verdict(row)} for row in read_rows(path)])


def read_tiers(mapping: Path) -> Counter[tuple[str, str, str]]:
    """Return how many verdicts there are by kind, tier that the audit gave, and present tier."""
    path = str(mapping.with_name("m.audit.parquet"))
    query = "SELECT kind, judged_tier, tier FROM read_parquet(?) WHERE kind IS NOT NULL"
    with duckdb.connect() as connection:
        return Counter(connection.execute(query, [path]).fetchall())


def read_ops(mapping: Path) -> Counter[tuple[str | None, ...]]:
    """Return how many rows of the mapping there are by kind, tier and op, in any format."""
    with open_user_table(str(mapping), ()) as table:
        places = [table.find(name) for name in ("kind", "tier", "op")]
        return Counter(tuple(row.cells[place] or None for place in places) for row in table.rows())
