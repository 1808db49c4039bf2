"""A CRM with several contacts, and jobs of several shards for it."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from bulklink import Job, Op, plan
from bulklink.emulator.state import Change
from bulklink.emulator.world import World
from bulklink.emulator.worldfile import parse_world
from bulklink.mapping.sharding import shard_of
from bulklink.runs.folder import RunFolder
from bulklink.runs.job_folder import JobFolder
from bulklink.runs.record import RunRecord
from tests.guard import off_loop
from tests.operations.local_crm import OWNER, LocalCrm, message

CONTACTS, EMAILS_EACH, SHARDS = 6, 5, 3
ROWS = CONTACTS * EMAILS_EACH
_IDS = [str(5843104000005000000 + number) for number in range(40)]
#: One contact in the first shard, two in the second, three in the third.
CONTACT_IDS = sorted(
    contact
    for number in range(1, SHARDS + 1)
    for contact in [c for c in _IDS if shard_of(c, SHARDS) == number][:number]
)
DEAL_OF = {contact: str(int(contact) + 1000) for contact in CONTACT_IDS}


def sharded_world() -> World:
    """Return contacts with five free emails and a deal each."""
    return parse_world(
        {
            "module_id": "5843104000000003735",
            "users": [{"id": OWNER, "full_name": "Patricia Boyle", "email": "p@us.example"}],
            "contacts": [{"id": contact, "name": contact, "email": ""} for contact in CONTACT_IDS],
            "deals": [
                {"id": deal, "name": f"Deal {deal}", "contact_id": contact}
                for contact, deal in DEAL_OF.items()
            ],
            "emails": [
                {"contact_id": contact, "message_id": message(row), "owner_id": OWNER}
                for row, contact in enumerate(row_contacts(), 1)
            ],
        }
    )


def row_contacts() -> list[str]:
    """Return the contact of each row: rows of one contact are not next to each other."""
    return CONTACT_IDS * EMAILS_EACH


def shards_of_rows() -> list[int]:
    """Return the shard of each row."""
    return [shard_of(contact, SHARDS) for contact in row_contacts()]


async def seal(
    tmp_path: Path, ops: dict[str, Op] | None = None, *, extra: str = "", **options: Any
) -> JobFolder:
    """Seal a job of three shards.

    Args:
        tmp_path: folder of the mapping and of the job.
        ops: operation of each contact; None links all.
        extra: further lines of the mapping.
        **options: options of the runs.
    """
    path = tmp_path / "mapping.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        header = ["contact_id", "owner_id", "message_id", "deal_id", "note"]
        writer.writerow([*header, "op"] if ops else header)
        for row, contact in enumerate(row_contacts(), 1):
            cells = [contact, OWNER, message(row), DEAL_OF[contact], f"Secret {row}"]
            writer.writerow([*cells, ops[contact].value] if ops else cells)
        file.write(extra)
    job = Job(
        mappings=(str(path),),
        op=None if ops else Op.LINK,
        run_dir=tmp_path / "job",
        **{"canary": 0, "settle_after": 0, **options},
    )
    await off_loop(plan, job, shards=SHARDS)
    return JobFolder(tmp_path / "job")


def shards(job: JobFolder) -> list[tuple[RunFolder, RunRecord]]:
    """Return the shards of a job with their records."""
    return job.open_shards(job.read())


def linked(crm: LocalCrm) -> int:
    """Return how many emails are on a deal."""
    views = [crm.state.view(contact) for contact in CONTACT_IDS]
    return sum(view.deal_of(email) is not None for view in views for email in view.mailbox.emails)


def move(crm: LocalCrm, row: int, deal_id: str | None) -> None:
    """Put the email of a row on another deal, as a user of the CRM does."""
    contact = row_contacts()[row - 1]
    crm.state.apply(contact, [Change(message(row), deal_id)], 0.0, author="user")
