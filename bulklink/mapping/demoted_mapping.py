"""Mapping of an audit after a demotion: the user's file, with lower tiers and without their ops."""
# ruff: noqa: S608

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from bulklink.duckdb_sql import literal
from bulklink.errors import BadFileError
from bulklink.mapping.audit_proposals import demoted_tier_sql
from bulklink.mapping.headers import find_header
from bulklink.mapping.input.files import InputFormat
from bulklink.mapping.user_table import UserTable, open_user_table
from bulklink.spreadsheet_cells import ESCAPED_HEADER, has_escaped_cells

_IDS = ("contact_id", "owner_id", "message_id")
_COLUMNS = (*_IDS, "op", "kind", "tier")


class DemotedMapping(msgspec.Struct, frozen=True):
    """A mapping whose tiers are lowered while it is read.

    Args:
        headers: its headers, without the mark of escaped cells.
        format: format of the file.
        escaped: whether its cells are escaped for spreadsheets.
        lowered: rows whose tier is lowered.
        rows: its rows.
    """

    headers: tuple[str, ...]
    format: InputFormat
    escaped: bool
    lowered: int
    rows: Iterator[Sequence[str | None]]


@contextmanager
def open_demoted_mapping(
    mapping: Path,
    verdicts: Path,
    tiers: Mapping[tuple[str, str], str],
    ops: Mapping[str, str],
) -> Iterator[DemotedMapping]:
    """Read a mapping with lower tiers; blocks.

    Other cells stay as they are, also those that the user filled in. The op of a row that becomes
    `look` is removed, unless the user has changed it, or written anything into `accept`.

    Args:
        mapping: the mapping that an audit wrote, perhaps edited.
        verdicts: its file of verdicts, before the demotion.
        tiers: new tier by the tier that the audit gave, and kind.
        ops: op by kind, as the audit writes it.

    Raises:
        BadFileError: if the mapping cannot be read, or a row that may be demoted names no email of
            the audit.
    """
    with open_user_table(str(mapping), _COLUMNS) as table:
        _refuse_other_sheets(table)
        headers = table.headers.headers
        escaped = has_escaped_cells(headers)
        kept = [
            place
            for place, header in enumerate(headers)
            if not (escaped and header.strip().casefold() == ESCAPED_HEADER)
        ]
        _create_views(table, table.database.files.read_parquet(verdicts), tiers)
        _refuse_unknown(table)
        cells = _cells_sql(table, ops)
        rows = table.rows("joined ORDER BY n", [cells[place] for place in kept])
        yield DemotedMapping(
            headers=tuple(headers[place] for place in kept),
            format=table.format,
            escaped=escaped and table.format is InputFormat.CSV,
            lowered=_count_lowered(table),
            rows=(row.cells for row in rows),
        )


def _refuse_other_sheets(table: UserTable) -> None:
    sheet = table.headers.sheet
    if sheet is not None and len(sheet.sheets) > 1:
        raise BadFileError(
            "The workbook has other sheets, which would be lost if the mapping were written again.",
            where=table.headers.name,
            advice="Move them to another workbook, and try again.",
        )


def _create_views(table: UserTable, verdicts: str, tiers: Mapping[tuple[str, str], str]) -> None:
    """Create a view of the proposals, and one of the rows with what the audit says about each."""
    table.database.execute(
        "CREATE VIEW proposals AS SELECT contact_id, owner_id, message_id, kind AS judged_kind,"
        f" tier AS former_tier, {demoted_tier_sql(tiers)} AS new_tier"
        f" FROM {verdicts} WHERE kind IS NOT NULL"
    )
    same = " AND ".join(
        f"nullif(clean_id({table.cell_sql(table.find(name))}), '')"
        f" IS NOT DISTINCT FROM proposals.{name}"
        for name in _IDS
    )
    table.database.execute(
        f"CREATE VIEW joined AS SELECT records.*, judged_kind, former_tier, new_tier"
        f" FROM (SELECT *, row_number() OVER () AS n FROM {table.relation}) AS records"
        f" LEFT JOIN proposals ON {same}"
    )


def _lowered_sql(table: UserTable) -> str:
    """Build whether the tier of a row is lowered: not one that the user has changed."""
    tier = _text_sql(table, "tier")
    return f"coalesce(former_tier = {tier} AND new_tier <> former_tier, false)"


def _count_lowered(table: UserTable) -> int:
    query = f"SELECT count(*) FROM joined WHERE {_lowered_sql(table)}"
    return int(table.database.fetch_one(query)[0])


def _text_sql(table: UserTable, name: str) -> str:
    return f"lower(trimmed(coalesce({table.cell_sql(table.find(name))}, '')))"


def _refuse_unknown(table: UserTable) -> None:
    """Refuse a row that may be demoted, but names no email of the audit."""
    group = f"({_text_sql(table, 'tier')}, {_text_sql(table, 'kind')})"
    demoted = "SELECT (former_tier, judged_kind) FROM proposals WHERE former_tier <> new_tier"
    unknown = f"joined WHERE former_tier IS NULL AND {group} IN ({demoted}) ORDER BY n LIMIT 1"
    for row in table.rows(unknown):
        raise BadFileError(
            "The row names no email of the audit, so its tier cannot be changed.",
            where=row.place,
            advice="If a program has rewritten its ids, restore them; or run the audit again into"
            " another file.",
        )


def _cells_sql(table: UserTable, ops: Mapping[str, str]) -> list[str]:
    """Build the cells of a row after the demotion."""
    cells = [table.cell_sql(place) for place in range(len(table.headers.headers))]
    tier, op = table.find("tier"), table.find("op")
    lower = _lowered_sql(table)
    own_ops = " ".join(f"WHEN {literal(kind)} THEN {literal(op)}" for kind, op in ops.items())
    removed = [
        lower,
        "new_tier = 'look'",
        f"{_text_sql(table, 'op')} = CASE judged_kind {own_ops} END",
    ]
    if find_header(table.headers.headers, "accept", table.headers.where) is not None:
        removed.append(f"{_text_sql(table, 'accept')} = ''")
    cells[tier] = f"CASE WHEN {lower} THEN new_tier ELSE {cells[tier]} END"
    cells[op] = f"CASE WHEN {' AND '.join(removed)} THEN NULL ELSE {cells[op]} END"
    return cells
