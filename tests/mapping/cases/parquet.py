"""Parquet: ids keep their digits, floats are refused, own columns are kept, no lines."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

import duckdb

from tests.mapping.cases import MappingCase

ID = 5843104000000424163


def parquet_of(rows: str) -> bytes:
    """Return the rows of a query as Parquet."""
    with tempfile.TemporaryDirectory() as folder, duckdb.connect() as connection:
        path = Path(folder, "rows.parquet")
        connection.execute(f"COPY ({rows}) TO '{path}' (FORMAT parquet)")
        return path.read_bytes()


def parquet_of_cells(header: Sequence[str], rows: Iterable[Sequence[str]]) -> bytes:
    """Return rows of texts as Parquet."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "rows.json")
        source.write_text(
            "\n".join(json.dumps(dict(zip(header, row, strict=True))) for row in rows)
        )
        types = ", ".join(f"'{name}': 'VARCHAR'" for name in header)
        return parquet_of(f"SELECT * FROM read_json('{source}', columns = {{{types}}})")


def _row(**columns: str) -> Callable[[], bytes]:
    cells = {"contact_id": "1", "owner_id": "2", "message_id": "'m'", "deal_id": "3"} | columns
    query = "SELECT " + ", ".join(f'{sql} AS "{name}"' for name, sql in cells.items())
    return partial(parquet_of, query)


def _changed(change: Callable[[bytes], bytes], **columns: str) -> Callable[[], bytes]:
    row = _row(**columns)
    return lambda: change(row())


def _contact(sql: str) -> MappingCase:
    return MappingCase(
        content=_row(contact_id=sql),
        name="m.parquet",
        messages=1,
        sent={"contact_id": str(ID)},
        lines=(None,),
    )


def _refused(sql: str, reason: str, problem: str) -> MappingCase:
    return MappingCase(
        content=_row(contact_id=sql), name="m.parquet", refused={1: (reason, problem)}
    )


def _own(sql: str, cell: str | None) -> MappingCase:
    return MappingCase(content=_row(Note=sql), name="m.parquet", messages=1, cells={"Note": cell})


CASES = {
    "text": _contact(f"'{ID}'"),
    "int64": _contact(f"{ID}::BIGINT"),
    "uint64": _contact(f"{ID}::UBIGINT"),
    "decimal": _contact(f"{ID}::DECIMAL(38,0)"),
    "decimal-of-18-digits": MappingCase(
        content=_row(contact_id="123456789012345678::DECIMAL(18,0)"),
        name="m.parquet",
        messages=1,
        sent={"contact_id": "123456789012345678"},
    ),
    "bytes": _contact(f"'{ID}'::BLOB"),
    "padded-text": _contact(f"' zcrm_{ID} '"),
    "double": _refused(f"{ID}::DOUBLE", "rounded-id", "read ids as numbers"),
    "small-double": _refused("5::DOUBLE", "rounded-id", "'5.0'"),
    "float": _refused("5::FLOAT", "rounded-id", "read ids as numbers"),
    "decimal-with-places": _refused("5::DECIMAL(20,2)", "rounded-id", "'5.00'"),
    "null": _refused("NULL::BIGINT", "missing-value", "contact_id is empty"),
    "boolean": _refused("true", "bad-id", "'true'"),
    "date": _refused("DATE '2026-03-01'", "bad-id", "'2026-03-01'"),
    "list": _refused("[1]", "bad-id", "'[1]'"),
    "not-text": _refused("'\\xff'::BLOB", "bad-id", "contact_id is"),
    "negative": _refused("-5", "bad-id", "'-5'"),
    "own-text": _own("'a, \"b\"' || chr(10) || 'c' || chr(31)", 'a, "b"\nc\x1f'),
    "own-number": _own("1.5::DOUBLE", "1.5"),
    "own-null": _own("NULL::VARCHAR", None),
    "own-empty": _own("''", ""),
    "own-list": _own("[1, 2]", "[1,2]"),
    "own-struct": _own("{'a': 'x'}", '{"a":"x"}'),
    "own-time": _own("TIMESTAMP '2026-03-01 10:00:00'", "2026-03-01 10:00:00"),
    "columns-of-bulklink": MappingCase(
        content=_row(bulklink_row="7", bulklink_reason="'bad-id'"), name="m.parquet", messages=1
    ),
    **{
        f"named-{name}": MappingCase(content=_row(), name=name, messages=1)
        for name in ("m.csv", "m", "m.xlsx", "m.gz", "m.json")
    },
    "many-rows": MappingCase(
        content=partial(
            parquet_of,
            "SELECT 1 AS contact_id, 2 AS owner_id, 'm' || n AS message_id, 3 AS deal_id"
            " FROM range(5000) AS r(n)",
        ),
        name="m.parquet",
        messages=5000,
        sent={"message_id": "m0"},
    ),
    "row-too-long": MappingCase(
        content=_row(Note="repeat('x', 1100000)"),
        name="m.parquet",
        refused={1: ("broken-record", "longer than 1024 KiB")},
    ),
    "no-rows": MappingCase(
        content=partial(parquet_of, "SELECT 1 AS contact_id WHERE false"),
        name="m.parquet",
        error=("no",),
    ),
    "no-column": MappingCase(
        content=partial(parquet_of, "SELECT 1 AS contact_id, 2 AS owner_id, 3 AS deal_id"),
        name="m.parquet",
        error=("There is no column message_id",),
    ),
    "two-columns": MappingCase(
        content=_changed(
            lambda content: content.replace(b"contact__no", b"contact__id"), contact__no="9"
        ),
        name="m.parquet",
        error=("Several headers match the column contact_id",),
    ),
    "cut-off": MappingCase(
        content=_changed(lambda content: content[:-9]),
        name="m.parquet",
        error=("cut off", "again"),
    ),
    "damaged-footer": MappingCase(
        content=_changed(lambda content: content[:-60] + b"\xff" * 40 + content[-20:]),
        name="m.parquet",
        error=("damaged",),
    ),
}
