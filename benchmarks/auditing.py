"""CPU, time and memory of `audit --fetched`, by the number of emails, compared with a bare sort.

A world of conversations becomes a file of fetched emails and the deals that an audit read, so that
no call is made. Larger files repeat its contacts under other ids. DuckDB sorts the same file by
contact and writes it, with one thread and the memory limit that the audit has; processes take
turns. Quote the ratios.

    python benchmarks/auditing.py [--emails 100000 1000000] [--rounds 2] [--write]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parents[1]))

from processes import Figures, measure
from servers import BULKLINK
from tables import put_table, table

from bulklink.emulator.conversations.knobs import ConversationRecipe
from bulklink.emulator.conversations.writer import generate_conversations
from bulklink.finding.values import ContactFacts, EmailFacts, Person
from bulklink.mapping.interrupt import PlanningStop
from bulklink.mapping.sorted_emails import write_sorted_emails
from bulklink.models import NO_DEAL
from bulklink.operations.auditing.deals_file import (
    ContactDeals,
    DealsFile,
    DealsHeader,
    deals_file_path,
)
from bulklink.runs.record import OrgRecord
from bulklink.tables import FileType, TableColumn, TableFormat, write_table
from tests.finding.worlds import GeneratedWorld

BASE_EMAILS = 10_000
COLUMNS = (
    *("contact_id", "owner_id", "owner_name", "message_id", "from_deal_id", "subject", "time"),
    *("direction", "from_address", "from_name", "to_addresses", "cc_addresses"),
)
HEADER = (
    *("emails", "CPU", "time", "peak memory", "CPU µs per email", "CPU of the sort"),
    *("times the sort", "time of the sort", "times its time"),
)
_ID_SPAN = 10**9
"""Distance between the ids of a contact and of its repetitions."""
_SORT = """
import duckdb, sys
config = {"threads": 1, "memory_limit": "512MB", "temp_directory": sys.argv[2] + ".spill"}
duckdb.connect(config=config).execute(
    f"COPY (FROM read_parquet('{sys.argv[1]}') ORDER BY contact_id) TO '{sys.argv[2]}'"
    " (FORMAT parquet)"
)
"""


def write_files(emails: int, folder: Path) -> Path:
    """Write a file of fetched emails and its deals; return the file of emails."""
    recipe = ConversationRecipe(messages=min(emails, BASE_EMAILS), seed=201)
    generate_conversations(recipe, folder)
    world = GeneratedWorld(folder)
    contacts = sorted(world.contacts(), key=lambda contact: contact.id)
    repetitions = -(-emails // BASE_EMAILS)
    path = folder / "emails.parquet"
    columns = [TableColumn(name) for name in COLUMNS]
    with write_table(path, TableFormat(FileType.PARQUET), columns) as rows:
        for contact in contacts:
            for repetition in range(repetitions):
                rows.write(_rows(contact, repetition))
    counts = write_sorted_emails(str(path), folder / "sorted.parquet", stop=PlanningStop())
    header = DealsHeader(
        datetime.now(UTC).replace(microsecond=0),
        "https://www.zohoapis.com",
        "com",
        OrgRecord(),
        world.stages,
        None,
        counts.digest,
        counts.contacts,
    )
    deals = (
        ContactDeals(_moved(contact.id, repetition), contact.deals, contact.addresses)
        for repetition in range(repetitions)
        for contact in contacts
    )
    DealsFile(deals_file_path(path)).write(header, deals)
    return path


def _rows(contact: ContactFacts, repetition: int) -> Iterator[list[str | None]]:
    contact_id = _moved(contact.id, repetition)
    for email in contact.emails:
        yield _row(contact_id, email, f"{repetition:04x}{email.message_id[4:]}")


def _moved(contact_id: str, repetition: int) -> str:
    return str(int(contact_id) + repetition * _ID_SPAN)


def _row(contact_id: str, email: EmailFacts, message_id: str) -> list[str | None]:
    assert email.time is not None
    return [
        contact_id,
        email.owner_id,
        email.owner_name,
        message_id,
        email.deal_id or NO_DEAL,
        email.subject,
        datetime.fromtimestamp(email.time, UTC).isoformat(),
        email.direction,
        None if email.sender is None else email.sender.address,
        None if email.sender is None else email.sender.name,
        _people(email.to),
        _people(email.cc),
    ]


def _people(people: tuple[Person, ...]) -> str | None:
    return "; ".join(person.address for person in people) or None


def measure_audit(emails: Path) -> Figures:
    """Audit a file of emails; an audit with proposals for a person exits with 1."""
    output = str(emails.with_name("mapping.csv"))
    options = ["-o", output, "--force", "--progress", "none", "--json"]
    return measure([*BULKLINK, "audit", "--fetched", str(emails), *options], (0, 1))


def measure_sort(emails: Path) -> Figures:
    """Sort a file of emails by contact with DuckDB."""
    output = str(emails.with_name("bare.parquet"))
    return measure([sys.executable, "-c", _SORT, str(emails), output])


def format_row(emails: int, rounds: list[tuple[Figures, Figures]]) -> list[str]:
    """Return the row of a size: medians over the rounds, the ratios within each round."""
    audits, sorts = zip(*rounds, strict=True)
    cpu = median(audit.cpu for audit in audits)
    cpu_ratio = median(audit.cpu / sort.cpu for audit, sort in rounds)
    time_ratio = median(audit.seconds / sort.seconds for audit, sort in rounds)
    return [
        f"{emails:,}",
        f"{cpu:.1f} s",
        f"{median(audit.seconds for audit in audits):.1f} s",
        f"{median(audit.memory for audit in audits) / 1e6:.0f} MB",
        f"{cpu / emails * 1e6:.0f}",
        f"{median(sort.cpu for sort in sorts):.2f} s",
        f"{cpu_ratio:.1f}",
        f"{median(sort.seconds for sort in sorts):.2f} s",
        f"{time_ratio:.1f}",
    ]


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--emails", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--write", action="store_true", help="write the table to README.md")
    arguments = parser.parse_args()
    rows = []
    for emails in arguments.emails:
        with tempfile.TemporaryDirectory() as folder:
            with ProcessPoolExecutor(1, get_context("spawn")) as pool:
                # The peak of a child begins with that of its parent, which has to stay small.
                path = pool.submit(write_files, emails, Path(folder)).result()
            rounds = [(measure_audit(path), measure_sort(path)) for _ in range(arguments.rounds)]
        rows.append(format_row(emails, rounds))
        print(" | ".join(rows[-1]), flush=True)
    text = table(HEADER, rows)
    print(text)
    if arguments.write:
        put_table("auditing", text)


if __name__ == "__main__":
    main()
