"""Link calls that `--group-by contact` saves on synthetic mappings.

    python benchmarks/grouping.py [--write]

Counts calls as `bulklink plan` does. Nothing is sent, so the table is the same on every machine.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from tables import put_table, table

from bulklink.mapping.checked import check
from bulklink.mapping.input.files import find_sources
from bulklink.mapping.schema import MappingOptions
from bulklink.models import Op

CONTACTS = 1_000
BATCH = 20
COLUMNS = (
    "emails per contact",
    "owners per contact",
    "calls by contact and owner",
    "by contact",
    "saved",
)


def count_calls(emails: int, owners: int) -> tuple[int, int]:
    """Generate a mapping and return its link calls with both groupings."""
    with tempfile.TemporaryDirectory() as name:
        amounts = {
            "messages": emails * CONTACTS,
            "contacts": CONTACTS,
            "owners-per-contact": owners,
        }
        options = [f"--{option}={amount}" for option, amount in amounts.items()]
        command = [sys.executable, "-m", "bulklink", "generate", "--skew=1", f"--out={name}"]
        subprocess.run([*command, *options], check=True, stdout=subprocess.DEVNULL)
        inputs = find_sources([str(Path(name) / "mapping.csv")])
        with check(inputs, MappingOptions(Op.LINK), Path(name)) as checked:
            shape = checked.plan_stats()
            return shape.link_calls(BATCH), shape.link_calls(BATCH, by_contact=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="write the table to README.md")
    arguments = parser.parse_args()
    rows = []
    for emails in (4, 8, 20, 50):
        for owners in (1, 2, 3):
            by_owner, by_contact = count_calls(emails, owners)
            saved = f"{(by_owner - by_contact) / by_owner:.0%}"
            rows.append((str(emails), str(owners), f"{by_owner:,}", f"{by_contact:,}", saved))
    text = table(COLUMNS, rows)
    print(text)
    if arguments.write:
        put_table("grouping", text)


if __name__ == "__main__":
    main()
