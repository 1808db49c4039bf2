"""The values of planning: how a mapping is to be read, and what was found in it."""

from __future__ import annotations

import msgspec

from bulklink.models import Op

#: Columns that bulklink gives a meaning to, in the order in which a row is checked.
ID_COLUMNS = ("contact_id", "owner_id", "message_id", "deal_id")
NAME_COLUMNS = ("owner_name", "deal_name")
#: The deal that an email must be on for its row to be sent.
GUARD = "from_deal_id"
KNOWN_COLUMNS = ("op", *ID_COLUMNS, *NAME_COLUMNS, GUARD)
#: Ids that are digits alone.
NUMERIC_ID_COLUMNS = ("contact_id", "owner_id", "deal_id")
#: Prefix of the columns that bulklink writes itself.
OWN_PREFIX = "bulklink_"
MAX_ID_LENGTH = 100
MAX_MESSAGE_ID_LENGTH = 500


def id_pattern(column: str) -> str:
    """Return the regular expression of a clean id, for Python and for DuckDB."""
    if column == "message_id":
        return f"[0-9A-Za-z]{{1,{MAX_MESSAGE_ID_LENGTH}}}"
    return f"[0-9]{{1,{MAX_ID_LENGTH}}}"


def normalize_header(header: str) -> str:
    """Drop what headers are matched without: case, spaces and underscores."""
    return "".join(header.casefold().replace("_", " ").split())


class MappingOptions(msgspec.Struct, frozen=True):
    """How a mapping is to be read.

    `op` is None where the op column decides. `columns` holds pairs of a column and the header
    that carries it, `defaults` pairs of a column and the value of its empty cells, `only` pairs
    of a header and the value a row must have there (None: any that is not empty). `delimiter` parts
    the cells of CSV files, `encoding` is the one of texts; None finds the one and takes UTF-8.
    `keep` names headers of the user's own columns that the plan and the refused rows have; None is
    all. `guarded_ops` are the operations that the guard is for; elsewhere it is a column of the
    user's own. `user_columns` are columns that have no meaning either.
    """

    op: Op | None
    columns: tuple[tuple[str, str], ...] = ()
    defaults: tuple[tuple[str, str], ...] = ()
    only: tuple[tuple[str, str | None], ...] = ()
    keep: tuple[str, ...] | None = None
    allow_round_ids: bool = False
    delimiter: str | None = None
    encoding: str | None = None
    guarded_ops: tuple[Op, ...] = (Op.UNLINK, Op.RELINK)
    user_columns: tuple[str, ...] = ()

    @property
    def active_columns(self) -> tuple[str, ...]:
        """Columns that have a meaning for this operation; the rest are the user's own."""
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
        """Columns that a mapping must have, unless a default fills them."""
        ids = ("contact_id", "owner_id", "message_id")
        if self.op is None:
            return ("op", *ids)
        return ids if self.op is Op.UNLINK else (*ids, "deal_id")


class InputFile(msgspec.Struct, frozen=True):
    """One mapping file as it was read; `bytes` is its size, `records` its data records."""

    name: str
    sha256: str
    bytes: int
    records: int


class RowFault(msgspec.Struct, frozen=True):
    """Why one row is refused: where it stands, and what is wrong in words for a person.

    `column` is the user's own header, or None where the fault is the whole record's.
    """

    row: int
    file: str
    line: int
    column: str | None
    reason: str
    raw: str
    message: str


class DuplicateRow(msgspec.Struct, frozen=True):
    """A good row that says the same as the earlier row `duplicate_of`."""

    row: int
    op: Op
    contact_id: str
    owner_id: str
    message_id: str
    deal_id: str | None
    duplicate_of: int


class RefusedRow(msgspec.Struct, frozen=True):
    """A refused row with as much of its ids as could be read (None else)."""

    row: int
    op: Op | None
    contact_id: str | None
    owner_id: str | None
    message_id: str | None
    deal_id: str | None
    reason: str
    message: str
