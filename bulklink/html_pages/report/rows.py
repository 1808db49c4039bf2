"""Rows embedded in the report, each once, within a size limit. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import tzinfo

import msgspec

from bulklink.html_pages.page import escape_json
from bulklink.local_time import format_local_time
from bulklink.visible_text import escape_controls

MAX_ROWS_PER_GROUP = 1000
"""Maximum rows shown of one group."""
MAX_EMBEDDED_BYTES = 4_000_000
"""Maximum bytes of all embedded rows; the rest of the page has less than 150 KB."""
EMBEDDED_COLUMNS = (
    *("row", "op", "contact", "owner", "message", "deal"),
    *("status", "code", "text", "time"),
)


class EmbeddedRow(msgspec.Struct, frozen=True, kw_only=True):
    """A row that failed or was refused.

    Args:
        row: number of the row in the mapping.
        op: planned operation; None if unknown.
        contact: id of its contact; None if unknown.
        owner: id of its owner; None if unknown.
        message: id of its message; None if unknown.
        deal: id of its deal; None if unknown.
        status: status of its last result.
        code: error code, or the reason of the refusal.
        text: message of the CRM, or of the refusal.
        ts: time, as the ledger writes it.
    """

    row: int
    op: str | None
    contact: str | None
    owner: str | None
    message: str | None
    deal: str | None
    status: str
    code: str
    text: str
    ts: str


class EmbeddedRows:
    """Rows embedded in the report, as JSON without repeated texts.

    A text is written as its index in the list of its column's texts, except message ids, which
    differ in each row.

    Args:
        max_bytes: approximate limit on the JSON, in bytes.
        zone: time zone of the report; None for this machine's.
    """

    def __init__(self, max_bytes: int = MAX_EMBEDDED_BYTES, zone: tzinfo | None = None) -> None:
        self._bytes_left = max_bytes
        self._zone = zone
        self._texts: dict[str, dict[str, int]] = {}
        self._rows: dict[int, list[int | str | None]] = {}
        self._counts: dict[tuple[bool, str, str | None], int] = {}

    def add(self, rows: Iterable[EmbeddedRow]) -> None:
        """Add rows until the limit is reached; the most important ones come first."""
        for row in rows:
            cost, cells, new_texts = self._cells(row)
            if cost > self._bytes_left:
                return
            self._bytes_left -= cost
            for name, text in new_texts.items():
                self._texts[name][text] = len(self._texts[name])
            self._rows[row.row] = cells
            refused = row.status == "rejected"
            for field, key in (("code", row.code), ("deal", row.deal), ("owner", row.owner)):
                group = (refused, field, key)
                self._counts[group] = self._counts.get(group, 0) + 1

    def count(self, field: str, key: str | None, *, refused: bool) -> int:
        """Return the number of rows of a group that the page shows.

        Args:
            field: `code`, `deal` or `owner`.
            key: the code or id that the rows have in common.
            refused: whether refused rows are counted.
        """
        return min(MAX_ROWS_PER_GROUP, self._counts.get((refused, field, key), 0))

    def json(self) -> bytes | None:
        """Return columns, texts, and rows in the order of the mapping; None without rows."""
        if not self._rows:
            return None
        rows = [self._rows[row] for row in sorted(self._rows)]
        texts = {name: list(indexes) for name, indexes in self._texts.items()}
        return msgspec.json.encode({"columns": EMBEDDED_COLUMNS, "texts": texts, "rows": rows})

    def _cells(self, row: EmbeddedRow) -> tuple[int, list[int | str | None], dict[str, str]]:
        """Return the bytes that a row takes, its cells, and its texts that no row has yet."""
        when = format_local_time(row.ts, self._zone)
        texts = [
            *(("op", row.op), ("contact", row.contact), ("owner", row.owner), ("deal", row.deal)),
            *(("status", row.status), ("code", row.code), ("text", row.text), ("time", when)),
        ]
        message = _visible(row.message)
        cost = len(_escaped_json(message)) + 12
        indexes: dict[str, int | str | None] = {}
        new_texts: dict[str, str] = {}
        for name, raw_text in texts:
            text = _visible(raw_text)
            if text is None:
                indexes[name] = None
                cost += 5
                continue
            known_texts = self._texts.setdefault(name, {})
            if text not in known_texts:
                new_texts[name] = text
                cost += len(_escaped_json(text)) + 1
            indexes[name] = index = known_texts.get(text, len(known_texts))
            cost += len(str(index)) + 1
        cells = indexes | {"row": row.row, "message": message}
        return cost, [cells[column] for column in EMBEDDED_COLUMNS], new_texts


def _visible(text: str | None) -> str | None:
    return None if text is None else escape_controls(text)


def _escaped_json(text: str | None) -> bytes:
    return escape_json(msgspec.json.encode(text))
