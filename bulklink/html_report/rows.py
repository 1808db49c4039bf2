"""The rows that a page has: each once, and no more than fit. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, tzinfo

import msgspec

MAX_ROWS_PER_GROUP = 1000
"""Rows of one class that a page shows."""
MAX_EMBEDDED_BYTES = 4_000_000
"""Bytes of all rows of a page; with scripts and tables it stays below 6 MB."""
EMBEDDED_COLUMNS = (
    *("row", "op", "contact", "owner", "message", "deal"),
    *("status", "code", "text", "time"),
)


class EmbeddedRow(msgspec.Struct, frozen=True, kw_only=True):
    """A row that failed or was refused; what is not known of it is None."""

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
    """The rows of a page as JSON in which no text stands twice.

    Texts of the same column are told by their place in a list, but message ids: those differ.

    Args:
        most_bytes: of the JSON, about.
        zone: local time; None is that of this machine.
    """

    def __init__(self, max_bytes: int = MAX_EMBEDDED_BYTES, zone: tzinfo | None = None) -> None:
        self._bytes_left = max_bytes
        self._zone = zone
        self._texts: dict[str, dict[str, int]] = {}
        self._rows: dict[int, list[int | str | None]] = {}
        self._counts: dict[tuple[bool, str, str | None], int] = {}

    def add(self, rows: Iterable[EmbeddedRow]) -> None:
        """Take rows until there is no more room; those to be preferred come first."""
        for row in rows:
            cost, cells = self._cells(row)
            if cost > self._bytes_left:
                return
            self._bytes_left -= cost
            self._rows[row.row] = cells
            refused = row.status == "rejected"
            for field, key in (("code", row.code), ("deal", row.deal), ("owner", row.owner)):
                group = (refused, field, key)
                self._counts[group] = self._counts.get(group, 0) + 1

    def count(self, field: str, key: str | None, *, refused: bool) -> int:
        """Return how many rows of a class the page shows."""
        return min(MAX_ROWS_PER_GROUP, self._counts.get((refused, field, key), 0))

    def json(self) -> bytes | None:
        """Return the rows, in the order of the mapping, and the texts; None without rows."""
        if not self._rows:
            return None
        rows = [self._rows[row] for row in sorted(self._rows)]
        texts = {name: list(indexes) for name, indexes in self._texts.items()}
        return msgspec.json.encode({"columns": EMBEDDED_COLUMNS, "texts": texts, "rows": rows})

    def _cells(self, row: EmbeddedRow) -> tuple[int, list[int | str | None]]:
        when = datetime.fromisoformat(row.ts).astimezone(self._zone).isoformat(" ", "seconds")
        texts = [
            *(("op", row.op), ("contact", row.contact), ("owner", row.owner), ("deal", row.deal)),
            *(("status", row.status), ("code", row.code), ("text", row.text), ("time", when)),
        ]
        cost = len(_escaped_json(row.message)) + 12
        indexes: dict[str, int | None] = {}
        for name, text in texts:
            if text is None:
                indexes[name] = None
                cost += 5
                continue
            known_texts = self._texts.setdefault(name, {})
            if text not in known_texts:
                known_texts[text] = len(known_texts)
                cost += len(_escaped_json(text)) + 1
            indexes[name] = known_texts[text]
            cost += len(str(known_texts[text])) + 1
        return cost, [
            *(row.row, indexes["op"], indexes["contact"], indexes["owner"], row.message),
            *(
                indexes["deal"],
                indexes["status"],
                indexes["code"],
                indexes["text"],
                indexes["time"],
            ),
        ]


def _escaped_json(text: str | None) -> bytes:
    return escape_json(msgspec.json.encode(text))


def escape_json(json: bytes) -> bytes:
    """Write JSON so that it cannot end the element of a page that it stands in."""
    return json.replace(b"<", b"\\u003c").replace(b">", b"\\u003e").replace(b"&", b"\\u0026")
