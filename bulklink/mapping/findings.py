"""What one look at all rows says of them together."""
# ruff: noqa: S608

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from bulklink.mapping.marks import CLEANED, TEXT
from bulklink.mapping.schema import GUARD

if TYPE_CHECKING:
    from bulklink.mapping.database import Database
    from bulklink.mapping.schema import Reading


class Findings(NamedTuple):
    """What one look at all rows of the run says.

    `marks` are those of any row that nothing is wrong with by itself, together; `guarded` counts
    such rows that have a guard.
    """

    rows: int
    faulty: int
    marks: int
    guarded: int

    def owner_forms(self) -> tuple[str, ...]:
        """Name what tells contact and owner apart, as it is stored: cheaper than their texts."""
        return tuple(
            form
            for column in ("contact_id", "owner_id")
            for form in (f"{column}_number", f"{column}_text")
            if form.endswith("number") or self.marks & TEXT[column]
        )


def findings(database: Database, reading: Reading) -> Findings:
    """Look at all rows of the run; an id that is filled in may be anything."""
    rows, faulty, marks, guarded = database.one(
        "SELECT count(*), count(*) FILTER (reason IS NOT NULL), "
        "coalesce(bit_or(marks) FILTER (reason IS NULL), 0), "
        f"count({GUARD}) FILTER (reason IS NULL) FROM run"
    )
    for column, _ in reading.defaults:
        marks |= CLEANED.get(column, 0) | TEXT.get(column, 0)
    return Findings(int(rows), int(faulty), int(marks), int(guarded))
