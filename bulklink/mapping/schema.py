"""Mapping columns, options for reading a mapping, and the values a check yields."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from bulklink.mapping.ignorable import remove_ignorable
from bulklink.models import Op

#: Columns with a meaning for bulklink, in the order in which a row is checked.
ID_COLUMNS = ("contact_id", "owner_id", "message_id", "deal_id")
NAME_COLUMNS = ("owner_name", "deal_name")
#: Deal that an email must be on for its row to be sent.
GUARD = "from_deal_id"
#: Deal that a fetched file shows an email on, and its name.
FETCHED_COLUMNS = ("fetched_deal_id", "fetched_deal_name")
#: Number of a row over the whole mapping, of which the plan may be a shard.
ORIGIN_ROW = "origin_row"
KNOWN_COLUMNS = ("op", *ID_COLUMNS, *NAME_COLUMNS, GUARD)
#: Ids that consist of digits.
NUMERIC_ID_COLUMNS = ("contact_id", "owner_id", "deal_id")
#: Systems whose headers are known.
PRESETS = ("zoho",)
#: Prefix of the columns that bulklink writes itself.
OWN_PREFIX = "bulklink_"
MAX_ID_LENGTH = 100
MAX_MESSAGE_ID_LENGTH = 500


def id_pattern(column: str) -> str:
    """Return the regular expression of a clean id."""
    characters, length = _id_characters(column)
    return f"{characters}{{1,{length}}}"


def is_id_sql(text: str, column: str) -> str:
    """Build the condition that a text is a clean id.

    DuckDB compiles a pattern wherever it stands in a query, and takes milliseconds for one with a
    maximum of 500 characters.
    """
    characters, length = _id_characters(column)
    return f"(regexp_full_match({text}, '{characters}+') AND strlen({text}) <= {length})"


def _id_characters(column: str) -> tuple[str, int]:
    """Return the class of the characters of an id, and their maximum number."""
    if column == "message_id":
        return "[0-9A-Za-z]", MAX_MESSAGE_ID_LENGTH
    return "[0-9]", MAX_ID_LENGTH


def normalize_header(header: str) -> str:
    """Normalize a header for matching: drop case, spaces, underscores, invisible characters."""
    return remove_ignorable(header.casefold().replace("_", ""))


class HiddenRows(StrEnum):
    """Treatment of the rows that a sheet hides."""

    INCLUDE = "include"
    SKIP = "skip"


class MappingOptions(msgspec.Struct, frozen=True):
    """Options for reading a mapping.

    Args:
        op: operation of every row; None if the op column decides.
        columns: pairs of a column and the header that carries it.
        preset: system whose headers are also known, one of `PRESETS`; None for bulklink's only.
        defaults: pairs of a column and the value of its empty cells.
        only: pairs of a header and the value that a row must have there to be in the run; None
            for any value that is not empty.
        keep: headers of the user's own columns that the plan and the refused rows keep; None
            for all.
        allow_round_ids: accept ids that look rounded to 15 digits.
        delimiter: delimiter of CSV files, one character or `tab`; detected if None.
        quote: character around cells of CSV files, or `none`; `"` or detected if None.
        escape: character before quotes that are part of a cell; None if they are doubled.
        skip_lines: lines, or rows of a sheet, above the headers that are skipped.
        encoding: encoding of texts; UTF-8 if None.
        sheet: name or number of the sheet of workbooks; the first visible one if None.
        hidden_rows: whether the rows that a sheet hides are included; None refuses such a sheet.
        guarded_ops: operations for which `from_deal_id` is the guard; for others it is a column
            of the user's own.
        user_columns: known columns to treat as the user's own.
    """

    op: Op | None
    columns: tuple[tuple[str, str], ...] = ()
    preset: str | None = None
    defaults: tuple[tuple[str, str], ...] = ()
    only: tuple[tuple[str, str | None], ...] = ()
    keep: tuple[str, ...] | None = None
    allow_round_ids: bool = False
    delimiter: str | None = None
    quote: str | None = None
    escape: str | None = None
    skip_lines: int = 0
    encoding: str | None = None
    sheet: str | None = None
    hidden_rows: HiddenRows | None = None
    guarded_ops: tuple[Op, ...] = (Op.UNLINK, Op.RELINK)
    user_columns: tuple[str, ...] = ()

    @property
    def active_columns(self) -> tuple[str, ...]:
        """Columns with a meaning for this operation; the rest are the user's own."""
        excluded = (
            {GUARD} if self.op is not None and self.op not in self.guarded_ops else set[str]()
        )
        if self.op is Op.UNLINK:
            excluded |= {"deal_id", *NAME_COLUMNS}
        return tuple(
            column for column in KNOWN_COLUMNS if column not in excluded | {*self.user_columns}
        )

    @property
    def default_values(self) -> dict[str, str]:
        """Values of the empty cells of a column, without the spaces around them."""
        return {column: value.strip() for column, value in self.defaults}

    @property
    def required_columns(self) -> tuple[str, ...]:
        """Columns that a mapping must have unless a default fills them."""
        ids = ("contact_id", "owner_id", "message_id")
        if self.op is None:
            return ("op", *ids)
        return ids if self.op is Op.UNLINK else (*ids, "deal_id")


class InputFile(msgspec.Struct, frozen=True):
    """A mapping file that was read, or rows that a program passed.

    Args:
        name: the file as the user named it; for rows, what they are.
        sha256: SHA-256 of the file as given, before decompression and recoding, in hexadecimal;
            None for rows.
        bytes: its size; None for rows.
        records: number of data records.
    """

    name: str
    sha256: str | None
    bytes: int | None
    records: int


class RowFault(msgspec.Struct, frozen=True):
    """Reason why a row is refused, with its position.

    Args:
        row: row number in the mapping, from 1.
        file: the file as the user named it.
        line: physical line in the file, from 1; None if its format has no lines.
        column: the user's header of the cell; None if the whole record is at fault.
        reason: fault code.
        raw: the cell or record as in the file.
        message: the problem in words.
    """

    row: int
    file: str
    line: int | None
    column: str | None
    reason: str
    raw: str
    message: str


class DuplicateRow(msgspec.Struct, frozen=True):
    """A good row that repeats an earlier one.

    Args:
        row: row number in the mapping, from 1.
        op: operation of the row.
        contact_id: id of its contact.
        owner_id: id of the owner of the mailbox.
        message_id: id of its email.
        deal_id: id of its deal; None for an unlink.
        duplicate_of: first row that this one repeats.
    """

    row: int
    op: Op
    contact_id: str
    owner_id: str
    message_id: str
    deal_id: str | None
    duplicate_of: int


class RefusedRow(msgspec.Struct, frozen=True):
    """A refused row, with the fields that could be read.

    Args:
        row: row number in the mapping, from 1.
        op: operation of the row; None if unknown.
        contact_id: id of its contact; None if it cannot be read, like the other ids.
        owner_id: id of the owner of the mailbox.
        message_id: id of its email.
        deal_id: id of its deal.
        reason: fault code.
        message: the problem in words.
    """

    row: int
    op: Op | None
    contact_id: str | None
    owner_id: str | None
    message_id: str | None
    deal_id: str | None
    reason: str
    message: str
