"""Name cells: placeholders for a missing name, and control characters."""

# ruff: noqa: S608

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from bulklink.duckdb_sql import literal
from bulklink.mapping.ignorable import strip_ignorable
from bulklink.mapping.schema import NAME_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from bulklink.mapping.database import Database
    from bulklink.mapping.headers import MappingColumn

#: Placeholders of databases, Python, R and JavaScript for a missing value; spreadsheet errors.
_NO_NAME = (
    r"(?i:null|\(null\)|none|n/a|<na>|<null>|\\n|undefined|#[a-z]*n/a|#[a-z_/0]+[!?]|err:5\d\d"
    r"|#getting_data|#nv)|NA|nan|NaN|NAN|NaT"
)
_LONGEST_NO_NAME = 13
_BREAKS = r"[\t\n\v\f\r\x{85}]+"
_CONTROLS = r"[\x00-\x1f\x7f-\x{9f}]"
_ANY_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
_ANY_NO_NAME = re.compile(_NO_NAME)


def is_clean_name(text: str) -> bool:
    """Return whether a text is surely a name that is sent as it is, as `clean_name` returns it."""
    return (
        text != ""
        and strip_ignorable(text) == text
        and not _ANY_CONTROL.search(text)
        and not _ANY_NO_NAME.fullmatch(text)
    )


def name_macro_statements() -> list[str]:
    """Build the statements that create the macros that clean names; they need those of `load`."""
    bare = f"regexp_replace(cell, {literal(_BREAKS)}, ' ', 'g')"
    bare = f"trim_spaces(regexp_replace({bare}, {literal(_CONTROLS)}, '', 'g'))"
    return [
        "CREATE MACRO is_no_name(cell) AS CASE WHEN strlen(cell) <= "
        f"{_LONGEST_NO_NAME} THEN regexp_full_match(cell, {literal(_NO_NAME)}) ELSE false END",
        f"CREATE MACRO has_controls(cell) AS regexp_matches(cell, {literal(_CONTROLS)})",
        f"CREATE MACRO bare_name(cell) AS {bare}",
        "CREATE MACRO is_plain_name(cell) AS CASE WHEN is_trimmed(cell) "
        "THEN NOT has_controls(cell) AND NOT is_no_name(cell) ELSE false END",
        # Mappings have many empty cells, and each regular expression takes a microsecond.
        "CREATE MACRO clean_name(cell) AS CASE WHEN cell = '' THEN NULL "
        "WHEN is_plain_name(cell) THEN cell "
        "WHEN is_no_name(bare_name(cell)) THEN NULL ELSE nullif(bare_name(cell), '') END",
    ]


def filled_name_sql(cell: str, default: str | None) -> str:
    """Build a clean name, or its default if it is empty."""
    return f"coalesce(clean_name({cell}), {literal(default) if default else 'NULL'})"


def name_warnings(
    database: Database, columns: Sequence[MappingColumn], changed: Mapping[str, int]
) -> Iterator[str]:
    """Yield a warning for each kind of text in names that is not sent, with the number of cells.

    Args:
        database: holds the table `staged`.
        columns: the user's columns.
        changed: for each column of names, the flag of rows whose name differs from their cell.
    """
    places = [
        (place, column) for place, column in enumerate(columns) if column.known in NAME_COLUMNS
    ]
    headers = ", ".join(column.header for _, column in places)
    if not places:
        return
    no_names, controls = database.fetch_one(
        f"SELECT {_count_sql('is_no_name(bare_name({}))', places, changed)},"
        f" {_count_sql('has_controls({})', places, changed)} FROM staged"
    )
    if no_names:
        yield (
            f"{no_names:,} {'cell' if no_names == 1 else 'cells'} in {headers} with a placeholder"
            " such as NULL or #N/A instead of a name: treated as empty"
        )
    if controls:
        yield (
            f"{controls:,} {'cell' if controls == 1 else 'cells'} in {headers} with control"
            " characters: these are not sent"
        )


def _count_sql(
    condition: str, places: Sequence[tuple[int, MappingColumn]], changed: Mapping[str, int]
) -> str:
    counts = (
        f"count(*) FILTER (CASE WHEN flags & {changed[column.known or '']} = 0 OR c{place} = '' "
        f"THEN false ELSE {condition.format(f'c{place}')} END)"
        for place, column in places
    )
    return " + ".join(counts)
