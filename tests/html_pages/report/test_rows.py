"""The rows of a page are embedded once, within a size limit, and escaped."""

from __future__ import annotations

from datetime import UTC

import msgspec
from hypothesis import example, given
from hypothesis import strategies as st

from bulklink.html_pages.page import escape_json
from bulklink.html_pages.report.rows import EmbeddedRow, EmbeddedRows
from bulklink.visible_text import escape_controls


def row(number: int, **changes: str | None) -> EmbeddedRow:
    fields: dict[str, str | None] = {
        "op": "link",
        "contact": "5843104000000424162",
        "owner": "5843104000000424672",
        "message": f"{number:064x}",
        "deal": "5843104000004382122",
        "status": "failed",
        "code": "INVALID_DATA",
        "text": "invalid data",
        "ts": "2026-11-22T10:15:00.123Z",
    }
    return msgspec.convert({"row": number, **fields, **changes}, EmbeddedRow)


def read_rows(embedded_rows: EmbeddedRows) -> list[dict[str, object]]:
    """Read the rows back as the page does."""
    read = msgspec.json.decode(embedded_rows.json() or b"null")
    texts = read["texts"]
    return [
        {
            name: texts[name][cell] if name in texts and cell is not None else cell
            for name, cell in zip(read["columns"], cells, strict=True)
        }
        for cells in read["rows"]
    ]


_TEXT = st.text(max_size=20)


@given(st.dictionaries(st.integers(1, 10**9), st.tuples(_TEXT, _TEXT, st.none() | _TEXT)))
def test_rows_are_read_back_unchanged_in_the_order_of_the_mapping(
    rows: dict[int, tuple[str, str, str | None]],
) -> None:
    kept = EmbeddedRows(zone=UTC)
    kept.add(row(n, code=code, text=text, deal=deal) for n, (code, text, deal) in rows.items())
    found = read_rows(kept) if rows else []
    assert [entry["row"] for entry in found] == sorted(rows)
    assert [(entry["code"], entry["text"], entry["deal"]) for entry in found] == [
        tuple(cell and escape_controls(cell) for cell in rows[n]) for n in sorted(rows)
    ]
    assert all(entry["time"] == "2026-11-22 10:15:00+00:00" for entry in found)


@given(st.integers(0, 5_000), st.text(min_size=1, max_size=40))
@example(1105, "&" * 40)
def test_rows_stay_within_the_size_limit(most: int, text: str) -> None:
    kept = EmbeddedRows(most, UTC)
    kept.add(row(n, text=f"{text}{n}", deal=f"{n}", message=text * 3) for n in range(1, 60))
    json = escape_json(kept.json() or b"")
    assert len(json) <= most + 250  # the names of the columns


def test_the_first_rows_are_kept() -> None:
    kept = EmbeddedRows(2000, UTC)
    kept.add(map(row, range(100, 0, -1)))
    found = [entry["row"] for entry in read_rows(kept)]
    assert 5 < len(found) < 30
    assert found == sorted(range(100, 100 - len(found), -1))
    assert kept.count("code", "INVALID_DATA", refused=False) == len(found)
    assert kept.count("code", "INVALID_DATA", refused=True) == 0


def test_no_text_ends_its_html_element() -> None:
    kept = EmbeddedRows(zone=UTC)
    kept.add([row(1, text="</script><script>alert(1)</script><!--", deal="]]>&lt;")])
    json = escape_json(kept.json() or b"")
    assert b"<" not in json
    assert b">" not in json
    assert msgspec.json.decode(json) == msgspec.json.decode(kept.json() or b"")
