"""SQL for the faults of merged cells and of formulas without a value."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bulklink.duckdb_sql import literal
from bulklink.mapping.faults import BROKEN_RECORD, MERGED_CELL, UNCOMPUTED_FORMULA
from bulklink.mapping.headers import find_header
from bulklink.mapping.input.sheet_staging import MERGED_KIND
from bulklink.mapping.input.staging import ESCAPE_CHAR
from bulklink.mapping.input.xlsx_reader import UNCOMPUTED_CELL
from bulklink.spreadsheet_grid import column_letters

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bulklink.mapping.headers import MappingColumn
    from bulklink.mapping.schema import MappingOptions

_FAULTS = {
    MERGED_KIND: (
        MERGED_CELL,
        " is merged with another cell, which holds the value; unmerge the cells, and fill every"
        " cell",
    ),
    UNCOMPUTED_CELL: (
        UNCOMPUTED_FORMULA,
        " is a formula without a value; open the file in a spreadsheet and save it",
    ),
}


def sheet_faults_sql(
    source: str,
    columns: Sequence[MappingColumn],
    options: MappingOptions,
    file: int,
    sheet_columns: Sequence[int],
) -> str:
    """Build the relation of the staged rows of a sheet, with the faults of the cells that matter.

    Args:
        source: SQL of the staged rows.
        columns: the user's columns.
        options: options for reading the mapping.
        file: position of the file among those of the mapping, from 0.
        sheet_columns: for each cell of a record its column in the sheet, from 0.
    """
    reasons = messages = cells = ""
    filters = _filter_columns(columns, options)
    for column in dict.fromkeys((*filters, *(column for column in columns if column.known))):
        place = column.places[file]
        if place is None:
            continue
        name = column.headers[file] or column.header
        address = f"{name} in cell {column_letters(sheet_columns[place])}"
        for kind, (reason, message) in _FAULTS.items():
            when = f" WHEN starts_with(f{place}, {literal(ESCAPE_CHAR + kind)}) THEN "
            reasons += when + literal(BROKEN_RECORD if column in filters else reason)
            messages += when + f"concat({literal(address)}, line, {literal(message)})"
            cells += when + f"f{place}"
    if not reasons:
        return source
    replaced = {"reason": reasons, "message": messages, "raw": cells}
    expressions = ", ".join(
        f"CASE WHEN reason IS NOT NULL THEN {column}{cases} END AS {column}"
        for column, cases in replaced.items()
    )
    return f"(SELECT * REPLACE ({expressions}) FROM {source})"  # noqa: S608


def _filter_columns(
    columns: Sequence[MappingColumn], options: MappingOptions
) -> list[MappingColumn]:
    """Return the columns of `only`; a row without their values cannot be left out."""
    headers = [column.header for column in columns]
    indexes = [find_header(headers, header) for header, _ in options.only]
    return [columns[index] for index in indexes if index is not None]
