"""Refused rows, for the screen, the ledger and rejects.csv."""

# ruff: noqa: S608

from __future__ import annotations

import csv
import io
import os
import shutil
from typing import TYPE_CHECKING, Any

import msgspec

from bulklink.atomic_files import atomic_replace, temporary_path
from bulklink.duckdb_sql import literal
from bulklink.folder_files import check_folder_file, open_to_append
from bulklink.mapping import faults
from bulklink.mapping.database import Database, open_database, spill_folder
from bulklink.mapping.load import DEFAULTED, GOOD, MAY_BE_FAULTY, TRAILING_ZEROS
from bulklink.mapping.plan_layout import OWN_COLUMNS, load_layout, plan_relation
from bulklink.mapping.schema import (
    GUARD,
    ID_COLUMNS,
    NUMERIC_ID_COLUMNS,
    ORIGIN_ROW,
    OWN_PREFIX,
    RefusedRow,
    RowFault,
)
from bulklink.models import Op
from bulklink.spreadsheet_grid import column_letters

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from bulklink.mapping.database import Database
    from bulklink.mapping.headers import MappingColumn
    from bulklink.mapping.input.prepare import PreparedInput
    from bulklink.mapping.interrupt import PlanningStop

REJECTS_FILE = "rejects.csv"
REJECT_COLUMNS = tuple(
    f"bulklink_{name}" for name in ("file", "row", "line", "column", "reason", "raw")
)
REJECT_ORIGIN = OWN_PREFIX + ORIGIN_ROW
"""Last column of the refused rows of a shard: their number over the whole mapping."""
#: Rows of the mapping in one query, if there are conflicts.
_SLICE_ROWS = 100_000
_COPY_BYTES = 1 << 20
_REJECTS_OPTIONS = (
    *("FORMAT csv", "HEADER false", "DELIMITER ','", "QUOTE '\"'", "ESCAPE '\"'", "NULLSTR ''"),
    "NEW_LINE '\\r\\n'",
)

REFUSALS_SQL = (
    "SELECT reason, count(*) AS rows FROM (SELECT reason FROM checked_rows WHERE reason IS NOT NULL"
    f" UNION ALL SELECT {literal(faults.CONFLICT)} FROM conflicts"
    " UNION ALL SELECT unknown FROM unknown_rows) GROUP BY reason"
    " ORDER BY rows DESC, reason"
)
DUPLICATES_SQL = (
    "SELECT row, op, contact_id, owner_id, message_id, deal_id, first FROM good WHERE repeated "
    "ORDER BY row"
)


class MappingFiles(msgspec.Struct, frozen=True):
    """Names, line offsets and headers of the files, by file number.

    Args:
        names: the files as the user named them.
        line_offsets: physical line of a row minus its number; not used for rows from an exact
            reader, which have their line.
        any_staged: whether an exact reader read any of the files.
        headers: the user's header of each known column.
        sheet_letters: letters of each known column; empty if the file is not a sheet.
    """

    names: tuple[str, ...]
    line_offsets: tuple[int, ...]
    any_staged: bool
    headers: tuple[dict[str, str], ...]
    sheet_letters: tuple[dict[str, str], ...]

    @classmethod
    def from_inputs(
        cls, prepared_inputs: Sequence[PreparedInput], columns: Sequence[MappingColumn]
    ) -> MappingFiles:
        """Collect the names and headers of loaded files."""
        line_offsets, rows_before = [], 0
        for prepared_input in prepared_inputs:
            line_offsets.append(prepared_input.table.skip_lines - rows_before)
            rows_before += prepared_input.input.records
        headers = tuple(
            {column.known: column.headers[n] or column.known for column in columns if column.known}
            for n in range(len(prepared_inputs))
        )
        names = tuple(prepared_input.input.name for prepared_input in prepared_inputs)
        sheet_letters = tuple(
            _letters(prepared_input, n, columns) for n, prepared_input in enumerate(prepared_inputs)
        )
        any_staged = any(prepared_input.table.staged for prepared_input in prepared_inputs)
        return cls(names, tuple(line_offsets), any_staged, headers, sheet_letters)

    def user_header(self, file: int, known: str | None) -> str | None:
        """Return the header of a known column in its file."""
        return self.headers[file].get(known, known) if known else None

    def to_fault(self, record: Sequence[Any]) -> RowFault:
        """Convert a row of `refused_rows_sql` to a fault."""
        row, file, line, known, reason, raw, message = record[:7]
        return RowFault(
            row=row,
            file=self.names[file],
            line=line,
            column=self.user_header(file, known),
            reason=reason,
            raw=raw or "",
            message=message
            or faults.explain_fault(reason, self._cell_name(file, line, known), raw, known),
        )

    def _cell_name(self, file: int, line: int, known: str | None) -> str | None:
        """Return the header of a known column in its file; for a sheet, with the cell."""
        letters = self.sheet_letters[file].get(known or "")
        column = self.user_header(file, known)
        return f"{column} in cell {letters}{line}" if letters else column

    def to_refused_row(self, record: Sequence[Any]) -> RefusedRow:
        """Convert a row of `refused_rows_sql` to the values that the ledger keeps of it."""
        fault = self.to_fault(record)
        op, contact_id, owner_id, message_id, deal_id = record[7:]
        return RefusedRow(
            row=fault.row,
            op=Op(op) if op else None,
            contact_id=contact_id,
            owner_id=owner_id,
            message_id=message_id,
            deal_id=deal_id,
            reason=fault.reason,
            message=fault.message,
        )

    def rejects_columns_sql(self) -> str:
        """Build the values of bulklink's columns of `rejects.csv`."""
        names = ", ".join(map(literal, self.names))
        column = "fault_column"
        for known in self.headers[0]:
            headers = ", ".join(literal(file_headers[known]) for file_headers in self.headers)
            header = f"[{headers}][file + 1]"
            column = f"CASE WHEN fault_column = '{known}' THEN {header} ELSE {column} END"
        return f"[{names}][file + 1], row, line, {column}, reason, nullif(raw, '')"


def _letters(
    prepared_input: PreparedInput, file: int, columns: Sequence[MappingColumn]
) -> dict[str, str]:
    """Return the letters of the known columns of a sheet; empty for other formats."""
    sheet_columns = prepared_input.table.sheet_columns
    if sheet_columns is None:
        return {}
    places = [(column.known, column.places[file]) for column in columns]
    return {k: column_letters(sheet_columns[p]) for k, p in places if k and p is not None}


def stream_refused(
    database: Database, columns: Sequence[MappingColumn]
) -> Iterator[list[tuple[Any, ...]]]:
    """Stream the refused rows in order, in batches of database rows."""
    for first, last, joined in _slices(database):
        yield from database.batches(refused_rows_sql(columns, first, last, joined=joined))


def _slices(database: Database) -> Iterator[tuple[int, int, bool]]:
    """Yield ranges of rows, and whether a join is needed; the whole mapping is one if not.

    The conflicts of a large mapping, each with the rows that it names, are too many to join and
    sort in one query, and so are rows with an unknown deal.
    """
    rows, joined = database.fetch_one(
        "SELECT (SELECT count(*) FROM staged), (SELECT count(*) FROM conflicts) + "
        "(SELECT count(*) FROM unknown_rows)"
    )
    step = _SLICE_ROWS if joined else max(1, rows)
    for first in range(1, rows + 1, step):
        yield first, first + step - 1, bool(joined)


def readable_id_sql(column: str, is_kept: str = "false") -> str:
    """Build an id of a row of `checked_rows`; NULL if it is at fault itself.

    Args:
        column: the id.
        is_kept: condition on which it is kept although it is at fault.
    """
    return (
        f"CASE WHEN (fault_column IS DISTINCT FROM '{column}' OR {is_kept}) AND {column}_grade IN "
        f"({GOOD}, {TRAILING_ZEROS}, {DEFAULTED}) THEN {column} END"
    )


def refused_rows_sql(
    columns: Sequence[MappingColumn], first: int, last: int, *, joined: bool
) -> str:
    """Build the query of the refused rows from row `first` to `last`, in order.

    Args:
        columns: the user's columns.
        first: the first row.
        last: the last row.
        joined: whether rows may conflict, or have an unknown deal or owner.
    """
    unknown = f"reason IN ({literal(faults.UNKNOWN_DEAL)}, {literal(faults.UNKNOWN_OWNER)})"
    ids = [f"{readable_id_sql(column, unknown)} AS {column}" for column in ID_COLUMNS]
    selected = ", ".join(["row, file, line, fault_column, reason, raw, message, op", *ids])
    rows = _faulty_rows_sql(columns, first, last, joined=joined)
    return f"SELECT {selected} FROM ({rows}) ORDER BY row"


def _faulty_rows_sql(
    columns: Sequence[MappingColumn], first: int, last: int, *, joined: bool
) -> str:
    """Build the query of all columns of these refused rows.

    Its parts skip the many valid rows early.
    """
    within = f"row BETWEEN {first} AND {last}"
    faulty = (
        f"SELECT * REPLACE ({_raw_cell_sql(columns)} AS raw) FROM checked_rows "
        f"WHERE {MAY_BE_FAULTY}(flags, {GUARD}) AND reason IS NOT NULL AND {within}"
    )
    if not joined:
        return faulty
    message = faults.conflict_message_sql(ORIGIN_ROW, "named", "rows")
    conflicts = (
        f"SELECT row AS conflict_row, {message} AS conflict_message FROM conflicts WHERE {within}"
    )
    return (
        f"{faulty} UNION ALL SELECT checked_rows.* REPLACE ({literal(faults.CONFLICT)} AS reason, "
        "conflict_message AS raw, conflict_message AS message) "
        f"FROM checked_rows JOIN ({conflicts}) ON conflict_row = row WHERE {within} "
        "UNION ALL SELECT checked_rows.* REPLACE (unknown AS reason, "
        f"unknown_column AS fault_column, {_raw_cell_sql(columns, 'unknown_column')} AS raw, "
        "unknown_message AS message) FROM checked_rows JOIN (SELECT row AS unknown_row, "
        f"* EXCLUDE (row) FROM unknown_rows WHERE {within}) ON unknown_row = row WHERE {within}"
    )


def verbatim_cell_sql(place: int, column: MappingColumn) -> str:
    """Build the user's cell as in the file; a plain number is stored in its own column."""
    if column.known in NUMERIC_ID_COLUMNS:
        return f"coalesce(c{place}, n_{column.known}::VARCHAR)"
    return f"c{place}"


def _raw_cell_sql(columns: Sequence[MappingColumn], fault_column: str = "fault_column") -> str:
    cells = [
        f"WHEN {fault_column} = '{column.known}' THEN {verbatim_cell_sql(place, column)}"
        for place, column in enumerate(columns)
        if column.known
    ]
    return f"CASE WHEN fault IS NOT NULL THEN raw {' '.join(cells)} END"


def write_rejects(
    database: Database,
    path: Path,
    scratch: Path,
    columns: Sequence[MappingColumn],
    files: MappingFiles,
    *,
    is_shard: bool = False,
) -> None:
    """Write the refused rows as a mapping that can be fixed and reused.

    Args:
        database: holds the rows.
        path: the file.
        scratch: folder for temporary files.
        columns: the user's columns.
        files: files of the mapping.
        is_shard: whether the rows are those of a shard.
    """
    origin, origin_header = ([ORIGIN_ROW], [REJECT_ORIGIN]) if is_shard else ([], [])
    user_columns = [
        f"nullif({verbatim_cell_sql(place, column)}, '')" for place, column in enumerate(columns)
    ]
    selected = ", ".join([*user_columns, files.rejects_columns_sql(), *origin])
    with atomic_replace(path) as temporary, temporary.open("ab") as file:
        header = io.StringIO(newline="")
        headers = [*(column.header for column in columns), *REJECT_COLUMNS, *origin_header]
        csv.writer(header).writerow(headers)
        file.write(header.getvalue().encode())
        for first, last, joined in _slices(database):
            part = temporary_path(scratch)
            rows = _faulty_rows_sql(columns, first, last, joined=joined)
            query = f"SELECT {selected} FROM ({rows}) ORDER BY row"
            database.execute(database.files.copy(query, part, *_REJECTS_OPTIONS))
            with part.open("rb") as part_file:
                shutil.copyfileobj(part_file, file, _COPY_BYTES)
            part.unlink()


#: Columns of `_unknown_rows` before those of the plan.
_LEADING_COLUMNS = ("file", "row", "line", ORIGIN_ROW, "refused", "deal_id", "owner_id")


def append_unknown_rows(plan: Path, names: Path, rejects: Path) -> int:
    """Append the rows whose deal or owner does not exist to `rejects.csv`.

    Args:
        plan: the sealed plan.
        names: names that were looked up for it.
        rejects: the file, created if needed.

    Returns:
        Number of rows appended.
    """
    with open_database(spill_folder(plan), memory="128MB") as database:
        added, layout = 0, load_layout(database, plan)
        origin_header = [REJECT_ORIGIN] if layout.is_shard else []
        for *row, origin_row in _unknown_rows(database, plan, names):
            if not added and not check_folder_file(rejects):
                _append(rejects, [*layout.headers, *REJECT_COLUMNS, *origin_header])
            _append(rejects, [*row, origin_row] if layout.is_shard else row)
            added += 1
        return added


MAX_FOREIGN_DEALS = 100
"""Maximum deals of other contacts whose contact roles are checked."""


class ForeignDeals(msgspec.Struct, frozen=True):
    """Rows that link an email to a deal of another contact.

    Args:
        rows: number of such rows.
        first_rows: row numbers of the first three.
        deal_ids: ids of their deals, up to one more than `MAX_FOREIGN_DEALS`.
    """

    rows: int
    first_rows: tuple[int, ...]
    deal_ids: tuple[str, ...] = ()


def find_foreign_deals(
    plan: Path,
    contacts: Iterable[tuple[str, str]],
    stop: PlanningStop | None = None,
    *,
    roles: Iterable[tuple[str, str]] = (),
) -> ForeignDeals:
    """Find rows whose deal belongs to another contact.

    Args:
        plan: the sealed plan.
        contacts: pairs of a deal and its contact, of the deals that were looked up.
        stop: interrupts the query.
        roles: pairs of a deal and a contact with a role on it, whose rows are left out.
    """
    with open_database(spill_folder(plan), memory="256MB", stop=stop) as database:
        return query_foreign_deals(database, plan_relation(database, plan), contacts, roles)


def query_foreign_deals(
    database: Database,
    plan: str,
    contacts: Iterable[tuple[str, str]],
    roles: Iterable[tuple[str, str]] = (),
) -> ForeignDeals:
    """Find rows whose deal belongs to another contact, as `find_foreign_deals` does.

    Args:
        database: database to query with.
        plan: SQL of the plan.
        contacts: pairs of a deal and its contact, of the deals that were looked up.
        roles: pairs of a deal and a contact with a role on it, whose rows are left out.
    """
    for table, pairs in (("contacts", contacts), ("roles", roles)):
        database.execute(f"CREATE OR REPLACE TABLE {table} (id VARCHAR, contact_id VARCHAR)")
        database.insert_all(table, pairs)
    rows = _FOREIGN_DEALS_SQL.format(plan=plan)
    count, first_rows = database.fetch_one(f"SELECT count(*), min(bulklink_row, 3) {rows}")
    (deal_ids,) = database.fetch_one(
        f"SELECT list(id ORDER BY id) FROM (SELECT DISTINCT contacts.id AS id {rows}"
        f" ORDER BY id LIMIT {MAX_FOREIGN_DEALS + 1})"
    )
    return ForeignDeals(int(count), tuple(first_rows or ()), tuple(deal_ids or ()))


_FOREIGN_DEALS_SQL = """
FROM {plan} AS plan
JOIN contacts ON contacts.id = plan.bulklink_deal_id
WHERE contacts.contact_id <> plan.bulklink_contact_id AND bulklink_op <> 'unlink'
    AND bulklink_duplicate_of IS NULL
    AND NOT EXISTS (
        FROM roles
        WHERE roles.id = plan.bulklink_deal_id AND roles.contact_id = plan.bulklink_contact_id
    )
"""


def _append(rejects: Path, row: Iterable[Any]) -> None:
    file = open_to_append(rejects)
    with os.fdopen(file, "w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerow(row)


def _unknown_rows(database: Database, plan: Path, names: Path) -> Iterator[tuple[Any, ...]]:
    query = (
        f"SELECT bulklink_file, plan.bulklink_row, bulklink_line, {OWN_PREFIX}{ORIGIN_ROW}, "
        "refused, bulklink_deal_id, "
        f"bulklink_owner_id, plan.* FROM {plan_relation(database, plan)} AS plan "
        f"POSITIONAL JOIN {database.files.read_parquet(names)} AS names "
        "WHERE refused IS NOT NULL AND bulklink_duplicate_of IS NULL"
    )
    for values in database.rows(query):
        file, row, line, origin_row, reason, deal_id, owner_id = values[: len(_LEADING_COLUMNS)]
        is_deal = reason == faults.UNKNOWN_DEAL
        column, raw = ("deal_id", deal_id) if is_deal else ("owner_id", owner_id)
        user_cells = values[len(_LEADING_COLUMNS) + len(OWN_COLUMNS) :]
        yield (*user_cells, file, row, line, column, reason, raw, origin_row)
