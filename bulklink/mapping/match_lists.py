"""The lists that are matched: wanted emails, fetched emails and deals, each as one Parquet file.

A user's file is read once, whatever its format. Times become seconds, and addresses become lists.
`n` is the number of a row in its file, from 1.
"""
# ruff: noqa: S608

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import msgspec

from bulklink.advice import Advice, Keyword
from bulklink.counts import count_of
from bulklink.duckdb_sql import literal
from bulklink.errors import BadFileError, UsageError
from bulklink.mapping.database import Database
from bulklink.mapping.email_files import EmailFile, EmailRows, id_or_null_sql
from bulklink.mapping.faults import quote_cell
from bulklink.mapping.input.files import find_sources
from bulklink.mapping.input.staging import NO_LINE
from bulklink.mapping.load import macro_statements
from bulklink.mapping.match_cells import (
    LOCAL_TIME,
    ZONE_OFFSET,
    addresses_sql,
    direction_sql,
    header_id_sql,
    kept_text_sql,
    plain_id_sql,
    seconds_sql,
)
from bulklink.mapping.match_columns import (
    WantedOptions,
    find_deal_columns,
    find_fetched_columns,
    find_wanted_columns,
    has_compared_columns,
)
from bulklink.mapping.schema import HiddenRows, MappingOptions, is_id_sql
from bulklink.mapping.sheet_choice import refuse_hidden_rows
from bulklink.models import NO_DEAL, Op

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from bulklink.mapping.input.prepare import FileHeaders
    from bulklink.mapping.interrupt import PlanningStop

READING_WANTED = "Reading the wanted emails"
READING_FETCHED = "Reading the fetched emails"
_FETCHED_OPTIONS = MappingOptions(
    op=Op.UNLINK, user_columns=("op",), hidden_rows=HiddenRows.INCLUDE, allow_round_ids=True
)
_ROW_GROUP_ROWS = 65_536
_EMPTY = "NULL::VARCHAR"
_PARQUET_NUMBER = "file_row_number + 1"


class WantedCounts(msgspec.Struct, frozen=True):
    """Counts of the wanted emails.

    Args:
        rows: rows of the file.
        emails: rows that name a deal.
        has_header_ids: whether there is a column of the ids in the headers of the emails.
        is_comparable: whether there are the columns of people, subject and time.
    """

    rows: int
    emails: int
    has_header_ids: bool
    is_comparable: bool


class InvalidRows(msgspec.Struct, frozen=True):
    """Rows of fetched emails with an id that is not valid.

    Args:
        rows: their number.
        first: number of the first one.
        column: its first column that is not valid.
        cell: what is there.
    """

    rows: int
    first: int
    column: str
    cell: str


class FetchedList(msgspec.Struct, frozen=True):
    """The fetched emails, ready to be read.

    Args:
        name: the file, as the user named it.
        path: Parquet file with them: the user's own, or a copy.
        columns: SQL of the columns of the user's own file; None for a copy.
        rows: rows of the file.
        emails: rows that name an email, its contact and its owner.
        has_header_ids: whether there is a column of the ids in the headers of the emails.
        invalid: the rows with an id that is not valid; None if there are none.
    """

    name: str
    path: Path
    columns: str | None
    rows: int
    emails: int
    has_header_ids: bool
    invalid: InvalidRows | None = None

    def rows_sql(self, database: Database) -> str:
        """Build the query of the rows; `n` is the number of a row, from 1."""
        if self.columns is None:
            return f"FROM {database.files.read_parquet(self.path)}"
        return f"{self.columns} FROM {database.files.read_parquet(self.path, row_numbers=True)}"


def write_wanted(
    name: str, path: Path, options: WantedOptions, *, stop: PlanningStop, memory: str
) -> WantedCounts:
    """Write the wanted emails that name a deal; blocks.

    Args:
        name: the user's file, in any format of a mapping.
        path: Parquet file to write; its folder holds temporary files.
        options: how it is read.
        stop: interrupts the work.
        memory: DuckDB's memory limit, such as `512MB`.

    Raises:
        UsageError: if the options name an unknown column or zone.
        BadFileError: if the file cannot be read, lacks a column, or has a time or a deal that
            cannot be read.
        InterruptedPlanningError: if `stop` stopped it.
    """
    columns: set[str] = set()

    def find_columns(headers: FileHeaders) -> Mapping[str, int]:
        refuse_hidden_rows([headers], options.reading)
        places = find_wanted_columns(headers, options)
        columns.update(places)
        return places

    def use(rows: EmailRows) -> int:
        _refuse_unreadable(database, rows, name)
        query = _wanted_sql(rows.cells, options)
        if "time" in rows.cells:
            # A cell of its own, as it is read for two columns and takes long.
            seconds = {"seconds": seconds_sql(rows.cells["time"], options.zone)}
            rows = msgspec.structs.replace(rows, cells={**rows.cells, **seconds})
        return _copy(database, path, query, rows)

    stop.begin_stage(READING_WANTED, single_query=True)
    with closing(_database(path, stop, memory)) as database:
        _check_zone(database, options.zone)
        file = EmailFile(
            find_sources([name])[0], options.reading, find_columns, path.parent, stop, memory
        )
        rows, _ = file.read(database, use)
        if not rows:
            raise _no_rows_error(name)
        relation = database.files.read_parquet(path)
        _refuse_times(database, relation, name, options.zone)
        _refuse_deals(database, relation, name)
        (emails,) = database.fetch_one(f"SELECT count(*) FROM {relation} WHERE {HAS_DEAL}")
    if not emails:
        raise BadFileError(
            "No row names a deal.",
            where=name,
            advice=Advice(
                "Name the header of the ids or keys of the deals with {}.", Keyword("columns")
            ),
        )
    return WantedCounts(
        rows, int(emails), "internet_message_id" in columns, has_compared_columns(columns)
    )


HAS_DEAL = "(deal_id IS NOT NULL OR deal_key IS NOT NULL)"
"""Condition that a wanted email names a deal."""


def read_fetched(name: str, path: Path, *, stop: PlanningStop, memory: str) -> FetchedList:
    """Prepare a file of fetched emails; blocks.

    Parquet is read where it is; another format is copied.

    Args:
        name: the user's file, in any format that a fetch writes.
        path: Parquet file for a copy; its folder holds temporary files.
        stop: interrupts the work.
        memory: DuckDB's memory limit, such as `512MB`.

    Raises:
        BadFileError: if the file cannot be read, does not hold fetched emails, or has no row with
            valid ids.
        InterruptedPlanningError: if `stop` stopped it.
    """
    found: dict[str, int] = {}
    raw: list[EmailRows] = []

    def find_columns(headers: FileHeaders) -> Mapping[str, int]:
        found.clear()
        found.update(find_fetched_columns(headers))
        return found

    def use(rows: EmailRows) -> int:
        if rows.parquet is not None:
            raw.append(rows)
            database.forgo_order()
            return 0
        return _copy(database, path, _fetched_sql(_named(rows.cells)), rows)

    stop.begin_stage(READING_FETCHED, single_query=True)
    with closing(_database(path, stop, memory)) as database:
        source = find_sources([name])[0]
        file = EmailFile(source, _FETCHED_OPTIONS, find_columns, path.parent, stop, memory)
        rows, _ = file.read(database, use)
        fetched = FetchedList(name, path, None, rows, 0, "internet_message_id" in found)
        if raw and raw[0].parquet is not None:
            fetched = msgspec.structs.replace(
                fetched,
                path=raw[0].parquet,
                columns=_fetched_sql(raw[0].cells, f"({_PARQUET_NUMBER})::UINTEGER"),
            )
        relation = f"({fetched.rows_sql(database)})"
        emails, faulty, first = database.fetch_one(
            f"SELECT count(*) FILTER ({IS_EMAIL}), count(*) FILTER ({_IS_INVALID}),"
            f" min(n) FILTER ({_IS_INVALID}) FROM {relation}"
        )
        invalid = None
        if faulty:
            ((column, cell),) = database.fetch_one(
                f"SELECT {_INVALID_CELL} FROM {relation} WHERE n = {first}"
            )
            invalid = InvalidRows(int(faulty), int(first), column, cell)
    if not emails:
        raise _no_rows_error(name) if invalid is None else _invalid_ids_error(name, invalid)
    return msgspec.structs.replace(fetched, emails=int(emails), invalid=invalid)


_EMAIL_IDS = ("contact_id", "owner_id", "message_id")
_HAS_IDS = " AND ".join(f"{column} IS NOT NULL" for column in _EMAIL_IDS)
_IS_INVALID_DEAL = f"(deal_id <> '{NO_DEAL}' AND NOT {is_id_sql('deal_id', 'deal_id')}) IS true"
_HAS_INVALID_IDS = " OR ".join(
    (*(f"NOT {is_id_sql(column, column)}" for column in _EMAIL_IDS), _IS_INVALID_DEAL)
)
_IS_INVALID = f"{_HAS_IDS} AND ({_HAS_INVALID_IDS})"
_INVALID_CELL = (
    "CASE "
    + " ".join(
        f"WHEN NOT {is_id_sql(column, column)} THEN ['{column}', {column}]" for column in _EMAIL_IDS
    )
    + " ELSE ['from_deal_id', deal_id] END"
)
IS_EMAIL = f"{_HAS_IDS} AND NOT ({_HAS_INVALID_IDS})"
"""Condition that a row names an email, its contact and its owner, and that its ids are valid."""


def write_deals(
    name: str, path: Path, encoding: str | None, *, stop: PlanningStop, memory: str
) -> None:
    """Write a table of deals with their keys in the other system; blocks.

    Args:
        name: the user's file, with the columns `deal_key`, `deal_id` and perhaps `deal_name`.
        path: Parquet file to write; its folder holds temporary files.
        encoding: encoding of a text file; None is UTF-8.
        stop: interrupts the work.
        memory: DuckDB's memory limit, such as `512MB`.

    Raises:
        BadFileError: if the file cannot be read, lacks a column, or has a row without key or id.
    """

    def use(rows: EmailRows) -> int:
        _refuse_unreadable(database, rows, name)
        deal_name = kept_text_sql("deal_name" if "deal_name" in rows.cells else _EMPTY)
        query = (
            "SELECT n, nullif(trimmed(deal_key), '') AS deal_key, deal_id AS deal_text,"
            f" {id_or_null_sql('deal_id', 'deal_id')} AS deal_id, {deal_name} AS deal_name"
        )
        return _copy(database, path, query, rows)

    with closing(_database(path, stop, memory)) as database:
        source = find_sources([name])[0]
        options = msgspec.structs.replace(_FETCHED_OPTIONS, encoding=encoding)
        file = EmailFile(source, options, find_deal_columns, path.parent, stop, memory)
        if not file.read(database, use)[1]:
            raise _no_rows_error(name)
        faults = (
            f"SELECT n, deal_key, deal_text FROM {database.files.read_parquet(path)}"
            " WHERE deal_key IS NULL OR deal_id IS NULL ORDER BY n LIMIT 1"
        )
        for number, key, text in database.rows(faults):
            fault = "There is no key" if key is None else f"{text or ''!r} is not the id of a deal"
            raise BadFileError(
                f"{fault}.",
                where=f"{name}, row {number}",
                advice="A row has the key of a deal in the other system, and its id in Zoho.",
            )


def write_read_deals(deals: Path, path: Path, *, stop: PlanningStop, memory: str) -> None:
    """Write deals that were read from the CRM as `write_deals` does; blocks.

    Args:
        deals: file of the deals, a line of JSON each: `deal_key`, `deal_id` and `deal_name`.
        path: Parquet file to write; its folder holds temporary files.
        stop: interrupts the work.
        memory: DuckDB's memory limit, such as `512MB`.
    """
    types = dict.fromkeys(("deal_key", "deal_id", "deal_name"), "VARCHAR")
    with closing(_database(path, stop, memory)) as database:
        query = (
            "SELECT row_number() OVER () AS n, nullif(trimmed(deal_key), '') AS deal_key,"
            " deal_id AS deal_text, deal_id, deal_name"
            f" FROM {database.files.read_json(deals, types)}"
        )
        database.execute(database.files.copy(query, path, "FORMAT parquet"))


def _database(path: Path, stop: PlanningStop, memory: str) -> Database:
    """Open a database that keeps the order of rows, with the macros that clean cells."""
    spill = path.with_name(f"{path.name}.spill")
    database = Database(spill, stop, threads=1, memory=memory, adjustable=True)
    for macro in macro_statements():
        database.execute(macro)
    return database


def _copy(database: Database, path: Path, query: str, rows: EmailRows) -> int:
    """Write the cleaned rows of a file; return their number."""
    cells = ", ".join(f"{cell} AS {name}" for name, cell in rows.cells.items())
    number, relation = "row_number() OVER ()", rows.relation
    if rows.parquet is not None:
        database.forgo_order()
        number = _PARQUET_NUMBER
        relation = database.files.read_parquet(rows.parquet, row_numbers=True)
    source = f"(SELECT ({number})::UINTEGER AS n, {cells} FROM {relation})"
    options = ("FORMAT parquet", f"ROW_GROUP_SIZE {_ROW_GROUP_ROWS}", "COMPRESSION snappy")
    return database.execute(database.files.copy(f"{query} FROM {source}", path, *options))


def _wanted_sql(cells: Mapping[str, str], options: WantedOptions) -> str:
    """Build the columns of the wanted emails."""

    def cell(name: str) -> str:
        return name if name in cells else _EMPTY

    deal = _EMPTY if options.has_keys else cell("deal_id")
    key = cell("deal_key") if options.has_keys else _EMPTY
    time = "seconds" if "time" in cells else "NULL::BIGINT"
    return f"""
SELECT n, {id_or_null_sql("contact_id", cell("contact_id"))} AS contact_id,
    {id_or_null_sql("deal_id", deal)} AS deal_id, nullif(trimmed({deal}), '') AS deal_text,
    nullif(trimmed({key}), '') AS deal_key, {kept_text_sql(cell("deal_name"))} AS deal_name,
    {kept_text_sql(cell("subject"))} AS subject, {time} AS time,
    CASE WHEN {time} IS NULL THEN nullif(trimmed({cell("time")}), '') END AS time_text,
    {direction_sql(cell("direction"))} AS direction,
    ({addresses_sql(cell("from_address"))})[1] AS sender,
    {addresses_sql(cell("to_addresses"))} AS recipients,
    {addresses_sql(cell("cc_addresses"))} AS copied,
    {header_id_sql(cell("internet_message_id"))} AS header_id
"""


def _named(cells: Mapping[str, str]) -> dict[str, str]:
    """Return the cells of rows whose columns have the names of the cells."""
    return {name: name for name in cells}


def _fetched_sql(cells: Mapping[str, str], number: str = "n") -> str:
    """Build the columns of the fetched emails, from the SQL of their cells and of their number.

    Each is cheap: a query computes them for all emails before it selects some. Ids are checked by
    `IS_EMAIL`.
    """

    def cell(name: str) -> str:
        return cells.get(name, _EMPTY)

    time, deal = cell("time"), cell("from_deal_id")
    return f"""
SELECT {number} AS n, {plain_id_sql(cell("contact_id"))} AS contact_id,
    {plain_id_sql(cell("owner_id"))} AS owner_id, nullif({cell("owner_name")}, '') AS owner_name,
    nullif({cell("message_id")}, '') AS message_id,
    CASE WHEN {deal} = '{NO_DEAL}' THEN {deal} ELSE {plain_id_sql(deal)} END AS deal_id,
    nullif({cell("from_deal_name")}, '') AS deal_name,
    {kept_text_sql(cell("subject"))} AS subject,
    CASE WHEN ({time})[-1] = 'Z' OR ({time})[-6] IN ('+', '-')
        THEN floor(epoch(TRY_CAST({time} AS TIMESTAMPTZ)))::BIGINT END AS time,
    {cell("direction")} AS direction, lower(nullif({cell("from_address")}, '')) AS sender,
    {cell("to_addresses")} AS recipients, {cell("cc_addresses")} AS copied,
    {header_id_sql(cell("internet_message_id"))} AS header_id,
    {cell("candidates")} AS candidates
"""


def _check_zone(database: Database, zone: str | None) -> None:
    if zone is None or ZONE_OFFSET.fullmatch(zone):
        return
    known = f"SELECT {literal(zone)} IN (SELECT name FROM pg_timezone_names())"
    if not database.fetch_one(known)[0]:
        raise UsageError(
            f"{zone!r} is not a time zone.",
            where=Advice("{}", Keyword("tz")),
            advice="Use a name such as Europe/Berlin, or an offset such as +02:00.",
        )


def _refuse_unreadable(database: Database, rows: EmailRows, name: str) -> None:
    if rows.unreadable is None:
        return
    for line, message in database.rows(f"SELECT line, message FROM {rows.unreadable} LIMIT 1"):
        raise BadFileError(
            f"The row cannot be read: {message}.",
            where=name if line == NO_LINE else f"{name}, line {line}",
            advice="Fix it, or export the list again.",
        )


def _refuse_times(database: Database, relation: str, name: str, zone: str | None) -> None:
    """Refuse times that cannot be read, and those without a zone if there is no default."""
    without_zone = f"regexp_full_match(time_text, '{LOCAL_TIME}')"
    faults = f"FROM {relation} WHERE time_text IS NOT NULL AND {HAS_DEAL}"
    for number, text, is_local in database.rows(
        f"SELECT n, time_text, {without_zone} {faults} ORDER BY n LIMIT 1"
    ):
        (others,) = database.fetch_one(f"SELECT count(*) - 1 {faults}")
        where = f"{name}, row {number}"
        more = f", like {count_of(others, 'other')}" if others else ""
        if is_local and zone is None:
            raise BadFileError(
                f"The time {text!r} has no time zone{more}.",
                where=where,
                advice=Advice("Name the zone of such times, for example {}.", Keyword("tz", "UTC")),
            )
        raise BadFileError(
            f"The time {text!r} cannot be read{more}.",
            where=where,
            advice="Write times as 2026-01-31T09:00:00+01:00, or as milliseconds since 1970.",
        )


def _refuse_deals(database: Database, relation: str, name: str) -> None:
    faults = f"SELECT n, deal_text FROM {relation} WHERE deal_id IS NULL AND deal_text IS NOT NULL"
    for number, text in database.rows(f"{faults} ORDER BY n LIMIT 1"):
        raise BadFileError(
            f"{text!r} is not the id of a deal.",
            where=f"{name}, row {number}",
            advice=Advice(
                "If it is the key of the deal in the other system, read the column as deal_key with"
                " {}, and say which deal each key is with {}.",
                Keyword("columns"),
                Keyword("deals"),
            ),
        )


INVALID_IDS_ADVICE = (
    "A spreadsheet may have rewritten the ids: use the file that the fetch wrote, or fetch the"
    " emails again."
)


def _invalid_ids_error(name: str, invalid: InvalidRows) -> BadFileError:
    return BadFileError(
        f"No row has valid ids: {invalid.column} is {quote_cell(invalid.cell)}.",
        where=f"{name}, row {invalid.first}",
        advice=INVALID_IDS_ADVICE,
    )


def _no_rows_error(name: str) -> BadFileError:
    return BadFileError(
        "There are no rows.",
        where=name,
        advice="Check the export that made it.",
    )
