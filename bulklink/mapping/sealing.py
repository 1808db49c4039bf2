"""Sealing the plan: every valid row into one Parquet file, sorted as it will be sent."""
# ruff: noqa: S608

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from bulklink.files import replacing
from bulklink.mapping.checking import NAME_COLUMNS, NUMBER_COLUMNS, OWNER_FORMS, name_cell
from bulklink.mapping.database import identifier, literal
from bulklink.mapping.headers import OWN_PREFIX
from bulklink.mapping.refusing import verbatim
from bulklink.mapping.values import ID_COLUMNS
from bulklink.models import Op

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bulklink.mapping.database import Database
    from bulklink.mapping.headers import Column
    from bulklink.mapping.values import Reading

PLAN = "plan.parquet"
#: DuckDB's own size: smaller groups make a plan slower to write and no cheaper to read.
ROW_GROUP_ROWS = 122_880

_CARRIED = (
    "good.row",
    "file",
    "line",
    "op",
    *(f"good.{form}" for form in OWNER_FORMS),
    "message_id",
    "deal_id_number",
    "deal_id_text",
)


def write_plan(
    database: Database,
    folder: Path,
    columns: Sequence[Column],
    reading: Reading,
    files: Sequence[str],
) -> None:
    """Write `plan.parquet`.

    Args:
        database: where the rows are checked and grouped.
        folder: where the plan is to be.
        columns: the user's columns.
        reading: how the mapping was read.
        files: the names of its files.
    """
    with replacing(folder / PLAN) as temporary:
        database.run(
            f"COPY ({_query(columns, reading, files)}) TO {literal(str(temporary))} "
            f"(FORMAT parquet, USE_TMP_FILE false, ROW_GROUP_SIZE {ROW_GROUP_ROWS}, "
            f"KV_METADATA {{headers: {literal(_said([column.header for column in columns]))}, "
            f"known: {literal(_said([column.known for column in columns]))}}})"
        )


def _said(of_columns: Sequence[str | None]) -> str:
    return msgspec.json.encode(of_columns).decode()


def _query(columns: Sequence[Column], reading: Reading, files: Sequence[str]) -> str:
    """Sort as little as there is to sort, then build the rest from it."""
    ours = [
        "row AS bulklink_row",
        f"{_file(files)} AS bulklink_file",
        "line AS bulklink_line",
        f"{'op' if reading.op is None else literal(reading.op.value)} AS bulklink_op",
        *(f"{column} AS bulklink_{column}" for column in ID_COLUMNS),
        *(f"{name_cell(name, reading, columns)} AS bulklink_{name}" for name in NAME_COLUMNS),
        "number AS bulklink_group",
        "duplicate_of AS bulklink_duplicate_of",
    ]
    names = unique_names([column.header for column in columns])
    rebuilt = _rebuilt(reading)
    own = [
        f"{_cell(place, column, rebuilt)} AS {identifier(name)}"
        for place, (column, name) in enumerate(zip(columns, names, strict=True))
    ]
    # A layer of its own: each is written twice and made once.
    texts = ", ".join(
        f"coalesce({column}_number::VARCHAR, {column}_text) AS {column}"
        for column in NUMBER_COLUMNS
    )
    layer = f"SELECT *, {texts} FROM ({_sorted(columns, reading)})"
    return f"SELECT {', '.join(ours + own)} FROM ({layer})"


def _sorted(columns: Sequence[Column], reading: Reading) -> str:
    rebuilt = _rebuilt(reading)
    carried = [
        *(name for name in _CARRIED if name != "op" or reading.op is None),
        *(
            f"c{place}" if column.known in rebuilt else f"{verbatim(place, column)} AS c{place}"
            for place, column in enumerate(columns)
        ),
    ]
    same = " AND ".join(f"groups.{form} IS NOT DISTINCT FROM good.{form}" for form in OWNER_FORMS)
    return (
        f"SELECT {', '.join(carried)}, number, CASE WHEN repeated THEN first END AS duplicate_of "
        f"FROM good JOIN (SELECT number, {', '.join(OWNER_FORMS)} FROM groups) AS groups "
        f"ON {same} ORDER BY number, good.row"
    )


def _file(files: Sequence[str]) -> str:
    if len(files) == 1:
        return literal(files[0])
    return f"[{', '.join(map(literal, files))}][file + 1]"


def _rebuilt(reading: Reading) -> frozenset[str | None]:
    """Columns whose cell, where cleaning left it alone, is the id that is sent."""
    filled = {column for column, _ in reading.defaults}
    guarded = {"deal_id"} if reading.op in (None, Op.UNLINK) else set[str]()
    return frozenset(set(ID_COLUMNS) - filled - guarded)


def _cell(place: int, column: Column, rebuilt: frozenset[str | None]) -> str:
    return f"coalesce(c{place}, {column.known})" if column.known in rebuilt else f"c{place}"


def unique_names(headers: Sequence[str]) -> list[str]:
    """Name columns after their headers so that no two are alike without regard to case.

    Args:
        headers: the user's headers; they may be empty or repeat.
    """
    taken: set[str] = set()
    names = []
    for place, header in enumerate(headers):
        plain = header.replace("\0", " ") or f"column_{place + 1}"
        name, number = plain, 1
        while name.casefold() in taken or name.casefold().startswith(OWN_PREFIX):
            number += 1
            name = f"{plain}_{number}" if number < 1 << 20 else f"column_{place}_{number}"
        taken.add(name.casefold())
        names.append(name)
    return names
