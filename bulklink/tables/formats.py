"""Which form a table takes, by the name of its file."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from bulklink.errors import UsageError

_GZIP = ".gz"


class Kind(StrEnum):
    """The formats of tables."""

    CSV = "csv"
    JSONL = "jsonl"
    PARQUET = "parquet"
    XLSX = "xlsx"


_TEXTS = (Kind.CSV, Kind.JSONL)


class Column(msgspec.Struct, frozen=True):
    """A column of a table.

    `header` is what CSV and .xlsx show. `key` is its name in JSONL and Parquet, where no two may
    be alike; empty if it is the header. `number` tells that its cells are whole numbers, `ident`
    that they are ids, which a spreadsheet must not take for numbers.
    """

    header: str
    key: str = ""
    number: bool = False
    ident: bool = False

    @property
    def name(self) -> str:
        """Its name in JSONL and Parquet."""
        return self.key or self.header


class Form(msgspec.Struct, frozen=True):
    """How a table is written; `spreadsheet` disarms the cells of a CSV file."""

    kind: Kind
    gzip: bool = False
    spreadsheet: bool = False


def form_of(name: str, kind: str | None = None, *, spreadsheet: bool = False) -> Form:
    """Return the form that the name of a file asks for; `.gz` behind it compresses texts.

    Args:
        name: of the file, or `-` for standard output, which is CSV unless `kind` says otherwise.
        kind: the format where the name does not tell.
        spreadsheet: whether a spreadsheet is to open the CSV file.

    Raises:
        UsageError: if the name tells no format, or one that does not go with the rest.
    """
    packed = name.lower().endswith(_GZIP)
    ending = name.lower().removesuffix(_GZIP).rpartition(".")[2]
    told = ending if ending in list(Kind) else kind or (Kind.CSV if name == "-" else "")
    if told not in list(Kind) or (packed and told not in _TEXTS):
        raise UsageError(
            "Its name tells no format that can be written.",
            where=name,
            advice="Names end in .csv, .jsonl, .csv.gz, .jsonl.gz, .parquet or .xlsx.",
        )
    form = Form(Kind(told), packed, spreadsheet)
    if name == "-" and form.kind not in _TEXTS:
        raise UsageError(
            f"{told} cannot go to standard output.", where="-o -", advice="Name a file."
        )
    if spreadsheet and form.kind is not Kind.CSV:
        raise UsageError(
            f"--spreadsheet is for CSV; {told} has text cells already.",
            where=name,
            advice="Leave it out.",
        )
    return form
