"""Correct an email that Zoho's prediction links to one deal, although its subject names another.

Run it against an emulator that serves business_logic/world.json: docs/which-call.md shows how.
"""

from __future__ import annotations

import asyncio
import csv
import json
import os
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import aiohttp

import bulklink
from bulklink import Connection, Job, Op

Row = Mapping[str, str]
INPUT = Path(__file__).with_suffix("")
ORDER = re.compile(r"\bPO-\d+\b")
COLUMNS = ["contact_id", "owner_id", "owner_name", "message_id", "deal_id", "deal_name"]
GUARD = "from_deal_id"


async def receive(crm: str, email: Mapping[str, str]) -> str:
    """Let an email come in at the emulator, and return the deal that prediction links it to."""
    async with (
        aiohttp.ClientSession(raise_for_status=True) as session,
        session.post(f"{crm}/_emulator/receive", json=email) as answer,
    ):
        return str((await answer.json())["deal_id"])


def read_table(path: Path) -> list[Row]:
    """Return the rows of a CSV file."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def write_mapping(path: Path, rows: Iterable[Row]) -> None:
    """Write rows as a mapping."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [*COLUMNS, GUARD], extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def find_order(subject: str, orders: Mapping[str, Row]) -> Row | None:
    """Return the order that a subject names; None if it names no known order, or several."""
    named = {number for number in ORDER.findall(subject) if number in orders}
    return orders[named.pop()] if len(named) == 1 else None


def find_corrections(emails: Iterable[Row], orders: Mapping[str, Row]) -> list[Row]:
    """Return the emails that are not on the deal of their order, each with that deal."""
    corrections: list[Row] = []
    for email in emails:
        order = find_order(email["subject"], orders)
        # An empty guard means that the list does not show the deal: leave the email alone.
        if order is not None and email[GUARD] not in ("", order["deal_id"]):
            corrections.append({**email, **order})
    return corrections


async def fetch_emails(contact_id: str, path: Path, connection: Connection) -> list[Row]:
    """Return the emails of a contact, each with the deal it is on."""
    fetched = await bulklink.fetch([contact_id], path, connection)
    if fetched.exit_code:
        raise SystemExit(fetched.exit_code)
    return read_table(path)


async def correct(contact_id: str, folder: Path, connection: Connection) -> int:
    """Correct the emails of a contact, and return the exit code that the command line would."""
    orders = {row["order"]: row for row in read_table(INPUT / "orders.csv")}
    emails = await fetch_emails(contact_id, folder / "before.csv", connection)
    corrections = find_corrections(emails, orders)
    for row in corrections:
        present = row["from_deal_name"] or "no deal"
        print(f"wrong: {row['subject']!r} is on {present}, but is about {row['deal_name']}")
    if not corrections:
        return 0
    mapping = folder / "mapping.csv"
    write_mapping(mapping, corrections)

    for op in (Op.UNLINK, Op.LINK):
        # A live org is changed only with yes=True, or if a callback confirms it.
        job = Job(mappings=(str(mapping),), op=op, run_dir=folder / op.value)
        result = await bulklink.run(job, connection)
        print(f"{op.value}: {result.counts['done']} of {result.rows} done")
        if result.exit_code:
            return result.exit_code

    check = await bulklink.verify(folder / "link", connection, settle_after=1)
    print(f"verify: {check.as_recorded} of {check.checked} as recorded")
    for email in await fetch_emails(contact_id, folder / "after.csv", connection):
        print(f"now: {email['subject']!r} is on {email['from_deal_name'] or 'no deal'}")
    return check.exit_code


async def rehearse(email: Mapping[str, str], folder: Path) -> int:
    """Receive an email at the emulator, and correct the emails of its contact."""
    deal_id = await receive(os.environ["BULKLINK_API_URL"], email)
    print(f"received: {email['subject']!r}; prediction links it to {deal_id}")
    return await correct(email["contact_id"], folder, Connection.from_environment())


def main() -> int:
    """Run the example in a new folder, named on the command line, and exit as bulklink does."""
    folder = Path(sys.argv[1])
    folder.mkdir()
    email = json.loads((INPUT / "email.json").read_text(encoding="utf-8"))
    try:
        return asyncio.run(rehearse(email, folder))
    except bulklink.BulklinkError as error:
        print(error, file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
