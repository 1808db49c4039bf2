"""Refused rows: on the screen, in the ledger and in rejects.csv."""

# ruff: noqa: S608

from __future__ import annotations

import csv
import io
import os
import shutil
from contextlib import closing
from itertools import islice
from typing import TYPE_CHECKING, Any

import msgspec

from bulklink.atomic_files import atomic_replace, temporary_path
from bulklink.duckdb_sql import literal
from bulklink.mapping import faults
from bulklink.mapping.database import Database
from bulklink.mapping.input.xlsx_reader import column_letters
from bulklink.mapping.interrupt import PlanningStop
from bulklink.mapping.load import DEFAULTED, GOOD, TRAILING_ZEROS
from bulklink.mapping.plan_layout import OWN_COLUMNS, load_layout, plan_relation
from bulklink.mapping.schema import GUARD, ID_COLUMNS, NUMERIC_ID_COLUMNS, RefusedRow, RowFault
from bulklink.models import Op

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from bulklink.mapping.database import Database
    from bulklink.mapping.headers import MappingColumn
    from bulklink.mapping.input.prepare import PreparedInput

REJECTS_FILE = "rejects.csv"
REJECT_COLUMNS = tuple(
    f"bulklink_{name}" for name in ("file", "row", "line", "column", "reason", "raw")
)
#: Rows of the mapping that are looked through at a time.
_SLICE = 100_000
_PART_BYTES = 1 << 20

DUPLICATES_SQL = (
    "SELECT row, op, contact_id, owner_id, message_id, deal_id, first FROM good WHERE repeated "
    "ORDER BY row"
)


class MappingFiles(msgspec.Struct, frozen=True):
    """What the numbers of files and columns in the database stand for.

    The line of a row is the row and its file's shift, unless it is `any_staged` by an exact reader.
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
        """Name the files of a mapping and their headers."""
        line_offsets, rows_before = [], 0
        for prepared_input in prepared_inputs:
            line_offsets.append(prepared_input.csv_input.skip_lines - rows_before)
            rows_before += prepared_input.input.records
        headers = tuple(
            {column.known: column.headers[n] or column.known for column in columns if column.known}
            for n in range(len(prepared_inputs))
        )
        names = tuple(prepared_input.source.name for prepared_input in prepared_inputs)
        sheet_letters = tuple(
            _letters(prepared_input, n, columns) for n, prepared_input in enumerate(prepared_inputs)
        )
        any_staged = any(prepared_input.csv_input.staged for prepared_input in prepared_inputs)
        return cls(names, tuple(line_offsets), any_staged, headers, sheet_letters)

    def user_header(self, file: int, known: str | None) -> str | None:
        """Name a column as its file does."""
        return self.headers[file].get(known, known) if known else None

    def to_fault(self, record: Sequence[Any]) -> RowFault:
        """Turn a row of `refused_rows_sql` into a fault."""
        row, file, line, known, reason, raw, why = record[:7]
        return RowFault(
            row=row,
            file=self.names[file],
            line=line,
            column=self.user_header(file, known),
            reason=reason,
            raw=raw or "",
            message=why
            or faults.explain_fault(reason, self._cell_name(file, line, known), raw, known),
        )

    def _cell_name(self, file: int, line: int, known: str | None) -> str | None:
        """Name a column as its file does, and in a sheet the cell."""
        letters = self.sheet_letters[file].get(known or "")
        column = self.user_header(file, known)
        return f"{column} in cell {letters}{line}" if letters else column

    def to_refused_row(self, record: Sequence[Any]) -> RefusedRow:
        """Turn a row of `refused_rows_sql` into what the ledger keeps of it."""
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
        """Build what `rejects.csv` says of a refused row, behind the user's columns."""
        names = ", ".join(map(literal, self.names))
        column = "blame"
        for known in self.headers[0]:
            headers = ", ".join(literal(file_headers[known]) for file_headers in self.headers)
            column = f"CASE WHEN blame = '{known}' THEN [{headers}][file + 1] ELSE {column} END"
        return f"[{names}][file + 1], row, line, {column}, reason, nullif(raw, '')"


def _letters(
    prepared_input: PreparedInput, file: int, columns: Sequence[MappingColumn]
) -> dict[str, str]:
    """Name the columns of a sheet by letters; of another file there are none."""
    if prepared_input.first_column is None:
        return {}
    places = [(column.known, column.places[file]) for column in columns]
    return {
        k: column_letters(prepared_input.first_column + p) for k, p in places if k and p is not None
    }


def stream_refused(
    database: Database, columns: Sequence[MappingColumn]
) -> Iterator[list[tuple[Any, ...]]]:
    """Stream the refused rows in order."""
    for first, last in _slices(database):
        yield from database.batches(refused_rows_sql(columns, first, last))


def _slices(database: Database) -> Iterator[tuple[int, int]]:
    """Part the rows of the mapping where there are conflicts.

    Those of a large mapping, each with the rows that it names, cannot be joined and sorted all at
    once.
    """
    rows, conflicts = database.fetch_one(
        "SELECT (SELECT count(*) FROM staged), (SELECT count(*) FROM conflicts)"
    )
    step = _SLICE if conflicts else max(1, rows)
    for first in range(1, rows + 1, step):
        yield first, first + step - 1


def refused_rows_sql(columns: Sequence[MappingColumn], first: int, last: int) -> str:
    """Select the refused rows from row `first_rows` to `last`, in order."""
    ids = [
        f"CASE WHEN blame IS DISTINCT FROM '{column}' AND {column}_grade IN "
        f"({GOOD}, {TRAILING_ZEROS}, {DEFAULTED}) THEN {column} END AS {column}"
        for column in ID_COLUMNS
    ]
    selected = ", ".join(["row, file, line, blame, reason, raw, why, op", *ids])
    return f"SELECT {selected} FROM ({_faulty_rows_sql(columns, first, last)}) ORDER BY row"


def _faulty_rows_sql(columns: Sequence[MappingColumn], first: int, last: int) -> str:
    """Select what is known of these refused rows.

    In two halves, so that the many rows that nothing is wrong with are passed over early.
    """
    within = f"row BETWEEN {first} AND {last}"
    meeting = (
        f"SELECT row AS met, {faults.conflict_message_sql('row', 'named', 'rows')} AS meeting "
        f"FROM conflicts WHERE {within}"
    )
    return (
        f"SELECT * REPLACE ({_raw_cell(columns)} AS raw) FROM run "
        f"WHERE (marks <> 0 OR {GUARD} IS NOT NULL) AND reason IS NOT NULL AND {within} "
        f"UNION ALL SELECT run.* REPLACE ({literal(faults.CONFLICT)} AS reason, "
        f"meeting AS raw, meeting AS why) FROM run JOIN ({meeting}) ON met = row WHERE {within}"
    )


def verbatim_cell_sql(place: int, column: MappingColumn) -> str:
    """Build the user's own cell again: of an id it is kept where it is no number alone."""
    if column.known in NUMERIC_ID_COLUMNS:
        return f"coalesce(c{place}, n_{column.known}::VARCHAR)"
    return f"c{place}"


def _raw_cell(columns: Sequence[MappingColumn]) -> str:
    cells = [
        f"WHEN blame = '{column.known}' THEN {verbatim_cell_sql(place, column)}"
        for place, column in enumerate(columns)
        if column.known
    ]
    return f"CASE WHEN fault IS NOT NULL THEN raw {' '.join(cells)} END"


def write_rejects(
    database: Database,
    folder: Path,
    scratch: Path,
    columns: Sequence[MappingColumn],
    files: MappingFiles,
) -> None:
    """Write the refused rows as a mapping that can be mended and fed again.

    Args:
        database: where they are.
        folder: where the file is to be.
        scratch: where parts of it may be written.
        columns: the user's columns.
        files: the files of the mapping.
    """
    users = [
        f"nullif({verbatim_cell_sql(place, column)}, '')" for place, column in enumerate(columns)
    ]
    selected = ", ".join([*users, files.rejects_columns_sql()])
    with atomic_replace(folder / REJECTS_FILE) as temporary, temporary.open("ab") as file:
        header = io.StringIO(newline="")
        csv.writer(header).writerow([*(column.header for column in columns), *REJECT_COLUMNS])
        file.write(header.getvalue().encode())
        for first, last in _slices(database):
            part = temporary_path(scratch)
            database.execute(
                f"COPY (SELECT {selected} FROM ({_faulty_rows_sql(columns, first, last)}) ORDER BY"
                " row) "
                f"TO {literal(str(part))} (FORMAT csv, HEADER false, DELIMITER ',', QUOTE '\"', "
                "ESCAPE '\"', NULLSTR '', NEW_LINE '\\r\\n')"
            )
            with part.open("rb") as part_file:
                shutil.copyfileobj(part_file, file, _PART_BYTES)
            part.unlink()


#: Columns of the query before the user's own, which come behind all of bulklink's.
_FRONT = ("file", "row", "line", "refused", "deal_id", "owner_id")
_PAIRS = 2048


def append_unknown_rows(plan: Path, names: Path, rejects: Path) -> int:
    """Add rows whose deal or owner was not found to `rejects.csv`, which may not be there yet.

    Args:
        plan: the sealed plan.
        names: what was looked up for it.
        rejects: the file to add to.

    Returns:
        How many rows were added.
    """
    spill = plan.with_name(plan.name + ".spill")
    with closing(Database(spill, PlanningStop(), threads=1, memory="128MB")) as database:
        added = 0
        for row in _refused(database, plan, names):
            if not added and not rejects.exists():
                _append(rejects, [*load_layout(database, plan).headers, *REJECT_COLUMNS])
            _append(rejects, row)
            added += 1
        return added


class ForeignDeals(msgspec.Struct, frozen=True):
    """Rows that link an email to a deal of another contact: how many, and the first few."""

    rows: int
    first_rows: tuple[int, ...]


def find_foreign_deals(plan: Path, contacts: Iterable[tuple[str, str]]) -> ForeignDeals:
    """Find rows whose deal is another contact's; contact roles are not seen.

    Args:
        plan: the sealed plan.
        contacts: pairs of a deal and its contact, as far as they were looked up.
    """
    spill = plan.with_name(plan.name + ".spill")
    with closing(Database(spill, PlanningStop(), threads=1, memory="256MB")) as database:
        database.execute("CREATE TABLE contacts (id VARCHAR, contact_id VARCHAR)")
        pairs = iter(contacts)
        while batch := list(islice(pairs, _PAIRS)):
            database.insert("contacts", batch)
        count, first_rows = database.fetch_one(_FOREIGN.format(plan=plan_relation(database, plan)))
    return ForeignDeals(int(count), tuple(first_rows or ()))


_FOREIGN = """
SELECT count(*), min(bulklink_row, 3) FROM {plan} AS plan
JOIN contacts ON contacts.id = plan.bulklink_deal_id
WHERE contacts.contact_id <> plan.bulklink_contact_id AND bulklink_op <> 'unlink'
    AND bulklink_duplicate_of IS NULL
"""


def _append(rejects: Path, row: Iterable[Any]) -> None:
    file = os.open(rejects, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    with os.fdopen(file, "a", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerow(row)


def _refused(database: Database, plan: Path, names: Path) -> Iterator[tuple[Any, ...]]:
    query = (
        "SELECT bulklink_file, plan.bulklink_row, bulklink_line, refused, bulklink_deal_id, "
        f"bulklink_owner_id, plan.* FROM {plan_relation(database, plan)} AS plan "
        f"POSITIONAL JOIN read_parquet({literal(str(names))}) AS names "
        "WHERE refused IS NOT NULL AND bulklink_duplicate_of IS NULL"
    )
    for values in database.rows(query):
        file, row, line, reason, deal_id, owner_id = values[: len(_FRONT)]
        deal = reason == faults.UNKNOWN_DEAL
        column, raw = ("deal_id", deal_id) if deal else ("owner_id", owner_id)
        user_cells = values[len(_FRONT) + len(OWN_COLUMNS) :]
        yield (*user_cells, file, row, line, column, reason, raw)
