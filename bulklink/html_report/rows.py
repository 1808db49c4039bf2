"""The rows that a page has: each once, and no more than fit. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, tzinfo

import msgspec

MOST_ROWS = 1000
"""Rows of one class that a page shows."""
MOST_BYTES = 4_000_000
"""Bytes of all rows of a page; with scripts and tables it stays below 6 MB."""
COLUMNS = (
    *("row", "op", "contact", "owner", "message", "deal"),
    *("status", "code", "text", "time"),
)


class Row(msgspec.Struct, frozen=True, kw_only=True):
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


class Kept:
    """The rows of a page as JSON in which no text stands twice.

    Texts of the same column are told by their place in a list, but message ids: those differ.

    Args:
        most_bytes: of the JSON, about.
        zone: local time; None is that of this machine.
    """

    def __init__(self, most_bytes: int = MOST_BYTES, zone: tzinfo | None = None) -> None:
        self._left = most_bytes
        self._zone = zone
        self._texts: dict[str, dict[str, int]] = {}
        self._rows: dict[int, list[int | str | None]] = {}
        self._counts: dict[tuple[bool, str, str | None], int] = {}

    def take(self, rows: Iterable[Row]) -> None:
        """Take rows until there is no more room; those to be preferred come first."""
        for row in rows:
            cost, cells = self._cells(row)
            if cost > self._left:
                return
            self._left -= cost
            self._rows[row.row] = cells
            refused = row.status == "rejected"
            for field, key in (("code", row.code), ("deal", row.deal), ("owner", row.owner)):
                place = (refused, field, key)
                self._counts[place] = self._counts.get(place, 0) + 1

    def count(self, field: str, key: str | None, *, refused: bool) -> int:
        """Return how many rows of a class the page shows."""
        return min(MOST_ROWS, self._counts.get((refused, field, key), 0))

    def json(self) -> bytes | None:
        """Return the rows, in the order of the mapping, and the texts; None without rows."""
        if not self._rows:
            return None
        rows = [self._rows[row] for row in sorted(self._rows)]
        texts = {name: list(places) for name, places in self._texts.items()}
        return msgspec.json.encode({"columns": COLUMNS, "texts": texts, "rows": rows})

    def _cells(self, row: Row) -> tuple[int, list[int | str | None]]:
        when = datetime.fromisoformat(row.ts).astimezone(self._zone).isoformat(" ", "seconds")
        told = [
            *(("op", row.op), ("contact", row.contact), ("owner", row.owner), ("deal", row.deal)),
            *(("status", row.status), ("code", row.code), ("text", row.text), ("time", when)),
        ]
        cost = len(_escaped(row.message)) + 12
        places: dict[str, int | None] = {}
        for name, text in told:
            if text is None:
                places[name] = None
                cost += 5
                continue
            known = self._texts.setdefault(name, {})
            if text not in known:
                known[text] = len(known)
                cost += len(_escaped(text)) + 1
            places[name] = known[text]
            cost += len(str(known[text])) + 1
        return cost, [
            *(row.row, places["op"], places["contact"], places["owner"], row.message),
            *(places["deal"], places["status"], places["code"], places["text"], places["time"]),
        ]


def _escaped(text: str | None) -> bytes:
    return harmless(msgspec.json.encode(text))


def harmless(json: bytes) -> bytes:
    """Write JSON so that it cannot end the element of a page that it stands in."""
    return json.replace(b"<", b"\\u003c").replace(b">", b"\\u003e").replace(b"&", b"\\u0026")
