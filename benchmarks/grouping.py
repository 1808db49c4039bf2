"""Link calls that `--group-by contact` saves on synthetic mappings.

    python benchmarks/grouping.py [--write]

Counts what `bulklink plan` would print: nothing is sent, so the table is the same everywhere.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from tables import put, table

from bulklink.mapping import Reading, check, sources
from bulklink.models import Op

CONTACTS = 1_000
BATCH = 20
COLUMNS = (
    "emails a contact",
    "owners a contact",
    "calls by contact and owner",
    "by contact",
    "saved",
)


def counted(emails: int, owners: int) -> tuple[int, int]:
    """Generate a mapping and count its link calls by both groupings."""
    with tempfile.TemporaryDirectory() as name:
        amounts = {
            "messages": emails * CONTACTS,
            "contacts": CONTACTS,
            "owners-per-contact": owners,
        }
        options = [f"--{option}={amount}" for option, amount in amounts.items()]
        command = [sys.executable, "-m", "bulklink", "generate", "--skew=1", f"--out={name}"]
        subprocess.run([*command, *options], check=True, stdout=subprocess.DEVNULL)
        inputs = sources([str(Path(name) / "mapping.csv")])
        with check(inputs, Reading(Op.LINK), Path(name)) as checked:
            shape = checked.shape()
            return shape.link_calls(BATCH), shape.link_calls(BATCH, by_contact=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="put the table into README.md")
    asked = parser.parse_args()
    rows = []
    for emails in (4, 8, 20, 50):
        for owners in (1, 2, 3):
            apart, shared = counted(emails, owners)
            saved = f"{(apart - shared) / apart:.0%}"
            rows.append((str(emails), str(owners), f"{apart:,}", f"{shared:,}", saved))
    made = table(COLUMNS, rows)
    print(made)
    if asked.write:
        put("grouping", made)


if __name__ == "__main__":
    main()
