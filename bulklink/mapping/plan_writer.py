"""Writing a sealed plan, and its digest."""

# ruff: noqa: S608

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import msgspec

from bulklink.atomic_files import replacing
from bulklink.mapping.database import identifier, literal
from bulklink.mapping.headers import OWN_PREFIX
from bulklink.mapping.load import CLEANED, TEXT, UNTIDY
from bulklink.mapping.plan_layout import OWN_COLUMNS, ROW_GROUP_ROWS, Elsewhere, Layout
from bulklink.mapping.rejects import verbatim
from bulklink.mapping.schema import GUARD, ID_COLUMNS, NAME_COLUMNS, NUMBER_COLUMNS
from bulklink.mapping.validate import name_cell

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from bulklink.mapping.database import Database
    from bulklink.mapping.headers import Column
    from bulklink.mapping.rejects import Files
    from bulklink.mapping.schema import InputFile, Reading
    from bulklink.mapping.validate import Findings

PLAN = "plan.parquet"
#: Columns with few different values are written as those; to look for more in the others costs
#: a sixth of sealing and saves no room.
MOST_VALUES = 2000


class Plan(msgspec.Struct, frozen=True):
    """What a plan is made of.

    Attributes:
        columns: the user's columns.
        reading: how the mapping was read.
        files: its files.
        findings: what was found in its rows.
    """

    columns: tuple[Column, ...]
    reading: Reading
    files: Files
    findings: Findings


def write_plan(database: Database, folder: Path, plan: Plan) -> None:
    """Write `plan.parquet` into a folder, from a database in which rows are checked and grouped."""
    layout = _layout(plan)
    with replacing(folder / PLAN) as temporary:
        database.run(
            f"COPY ({_query(plan, layout)}) TO {literal(str(temporary))} "
            f"(FORMAT parquet, USE_TMP_FILE false, ROW_GROUP_SIZE {ROW_GROUP_ROWS}, "
            f"DICTIONARY_SIZE_LIMIT {MOST_VALUES}, KV_METADATA {layout.metadata()})"
        )


def _layout(plan: Plan) -> Layout:
    headers = tuple(column.header for column in plan.columns)
    known = tuple(column.known for column in plan.columns)
    return Layout(headers, known, dict(_elsewhere(plan, unique_names(headers))))


def _elsewhere(plan: Plan, names: Sequence[str]) -> Iterator[tuple[str, Elsewhere]]:
    """Find the columns that need not be written."""
    users = {column.known: name for column, name in zip(plan.columns, names, strict=True)}
    if len(plan.files.names) == 1:
        yield "file", Elsewhere(value=plan.files.names[0])
        if not plan.files.told:
            yield "line", Elsewhere(rows_before=plan.files.shifts[0])
    if plan.reading.op is not None:
        yield "op", Elsewhere(value=plan.reading.op.value)
    marks = plan.findings.marks
    for column in ID_COLUMNS:
        unsent = column == "deal_id" and plan.reading.op is None
        if column in users and not unsent and not marks & CLEANED[column]:
            yield column, Elsewhere(same_as=users[column])
    if not plan.findings.guarded:
        yield GUARD, Elsewhere()
    defaults = dict(plan.reading.defaults)
    for column in NAME_COLUMNS:
        if column not in users:
            yield column, Elsewhere(value=(defaults.get(column) or "").strip() or None)
        elif not marks & UNTIDY[column]:
            yield column, Elsewhere(same_as=users[column])


def _query(plan: Plan, layout: Layout) -> str:
    """Sort as little as there is to sort, then build the rest from it."""
    made = {
        "row": "row",
        "file": f"[{', '.join(map(literal, plan.files.names))}][file + 1]",
        "line": "line",
        "op": "op",
        **{column: _id(column) for column in ID_COLUMNS},
        **{name: name_cell(name, plan.reading, plan.columns) for name in NAME_COLUMNS},
        "group": "number",
        "duplicate_of": "duplicate_of",
        GUARD: GUARD,
    }
    ours = [
        f"{made[name]} AS {OWN_PREFIX}{name}"
        for name in OWN_COLUMNS
        if name not in layout.elsewhere
    ]
    users = [
        f"{_cell(place, column, plan.findings)} AS {identifier(name)}"
        for place, (column, name) in enumerate(
            zip(plan.columns, unique_names(layout.headers), strict=True)
        )
    ]
    return f"SELECT {', '.join(ours + users)} FROM ({_sorted(plan, layout)})"


def _id(column: str) -> str:
    if column in NUMBER_COLUMNS:
        return f"coalesce({column}_number::VARCHAR, {column}_text)"
    return column


def _is_number(column: Column, findings: Findings) -> bool:
    """Tell whether the user's cell is a number and nothing else, in every row of the plan."""
    known = column.known or ""
    return known in NUMBER_COLUMNS and not findings.marks & (CLEANED[known] | TEXT[known])


def _cell(place: int, column: Column, findings: Findings) -> str:
    if _is_number(column, findings):
        return f"n_{column.known}::VARCHAR"
    return verbatim(place, column)


def _sorted(plan: Plan, layout: Layout) -> str:
    forms = plan.findings.owner_forms()
    carried = [name for name in ("file", "line", "op", GUARD) if name not in layout.elsewhere]
    for name in ID_COLUMNS:
        if name not in layout.elsewhere:
            number = name in NUMBER_COLUMNS
            carried += [f"{name}_number", f"{name}_text"] if number else [name]
    for place, column in enumerate(plan.columns):
        if column.known in NUMBER_COLUMNS:
            carried.append(f"n_{column.known}")
        if not _is_number(column, plan.findings):
            carried.append(f"c{place}")
    same = " AND ".join(f"groups.{form} IS NOT DISTINCT FROM good.{form}" for form in forms)
    return (
        f"SELECT good.row, number, first AS duplicate_of, "
        f"{', '.join(f'good.{name}' for name in carried)} "
        f"FROM good JOIN (SELECT number, {', '.join(forms)} FROM groups) AS groups "
        f"ON {same} ORDER BY number, good.row"
    )


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


def digest(inputs: Iterable[InputFile], settings: Mapping[str, object]) -> str:
    """Compute a plan's digest.

    Args:
        inputs: the files of the mapping; their contents count, their names do not.
        settings: the options that a plan depends on; values that JSON can hold.

    Returns:
        A SHA-256 in hexadecimal: the same for the same contents and settings, wherever and
        whenever the plan is made.
    """
    said = {"inputs": [one.sha256 for one in inputs], "settings": dict(settings)}
    return hashlib.sha256(msgspec.json.encode(said, order="deterministic")).hexdigest()
