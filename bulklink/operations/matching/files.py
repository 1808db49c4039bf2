"""Files of a match: the mapping, and what stands beside it with the same stem."""

from __future__ import annotations

from os import PathLike, fspath
from pathlib import Path

import msgspec

from bulklink.advice import Advice, Keyword
from bulklink.errors import BadFileError, UsageError
from bulklink.file_names import table_stem
from bulklink.mapping.input.files import check_readable
from bulklink.operations.fetching.emails import has_unfinished_fetch
from bulklink.tables import (
    FileType,
    TableColumn,
    TableFile,
    TableFormat,
    format_for,
    resolve_output,
)
from bulklink.tables.output import check_can_create

MAPPING_OF_MATCHES = (
    TableColumn("contact_id", is_id=True),
    TableColumn("owner_id", is_id=True),
    TableColumn("owner_name"),
    TableColumn("message_id", is_id=True),
    TableColumn("deal_id", is_id=True),
    TableColumn("deal_name"),
    TableColumn("from_deal_id", is_id=True),
    TableColumn("op"),
    TableColumn("kind"),
    TableColumn("reasons"),
    TableColumn("subject"),
    TableColumn("time"),
    TableColumn("wanted_row", is_number=True),
)
AMBIGUOUS_COLUMNS = (*MAPPING_OF_MATCHES, TableColumn("why"))
MISSING_COLUMNS = (
    TableColumn("wanted_row", is_number=True),
    TableColumn("reason"),
    TableColumn("from"),
    TableColumn("to"),
    TableColumn("cc"),
    TableColumn("subject"),
    TableColumn("content"),
    TableColumn("date_time"),
    TableColumn("sent"),
    TableColumn("original_message_id"),
    TableColumn("contact_id", is_id=True),
    TableColumn("deal_id", is_id=True),
    TableColumn("deal_name"),
    TableColumn("deal_key"),
)
"""`from` to `original_message_id` are what Zoho's call Associate Email describes an email by."""


class MatchFiles(msgspec.Struct, frozen=True):
    """Files that a match writes.

    Args:
        mapping: the mapping.
        mapping_format: its format.
        ambiguous: the candidates of emails that may be several.
        missing: the emails that were not found.
        other_format: format of these two.
    """

    mapping: Path
    mapping_format: TableFormat
    ambiguous: Path
    missing: Path
    other_format: TableFormat

    @property
    def is_plain(self) -> bool:
        """Whether the mapping is a file that a database can write itself."""
        return self.mapping_format in (TableFormat(FileType.CSV), TableFormat(FileType.PARQUET))

    def tables(self) -> tuple[TableFile, ...]:
        """Return the tables, in the order of the files."""
        return (
            TableFile(self.mapping, self.mapping_format, MAPPING_OF_MATCHES),
            TableFile(self.ambiguous, self.other_format, AMBIGUOUS_COLUMNS),
            TableFile(self.missing, self.other_format, MISSING_COLUMNS),
        )

    @property
    def names(self) -> dict[str, str]:
        """The files by what they hold."""
        return {
            "mapping": str(self.mapping),
            "ambiguous": str(self.ambiguous),
            "missing": str(self.missing),
        }


def plan_match_files(
    mapping: str | PathLike[str], format_: str | None, *, spreadsheet: bool, force: bool
) -> MatchFiles:
    """Return the files of a match, after checking that they can be written.

    Args:
        mapping: the mapping, whose suffix determines its format.
        format_: format, if there is no suffix.
        spreadsheet: whether a spreadsheet will open CSV files.
        force: whether to replace existing files.

    Raises:
        UsageError: if one cannot be written, or exists.
    """
    path = Path(fspath(mapping))
    if str(path) == "-":
        raise UsageError(
            "A match writes several files, which standard output cannot hold.",
            where="-",
            advice="Name a file.",
        )
    output = resolve_output(path, format_, spreadsheet=spreadsheet, force=force)
    suffix = ".xlsx" if path.suffix.lower() == ".xlsx" else ".csv"
    ambiguous, missing = (
        path.with_name(f"{table_stem(path)}.{part}{suffix}") for part in ("ambiguous", "missing")
    )
    for other in (ambiguous, missing):
        check_can_create(other, force=force)
    other_format = format_for(missing.name, spreadsheet=spreadsheet)
    return MatchFiles(path, output.table_format, ambiguous, missing, other_format)


def check_inputs(files: MatchFiles, wanted: str, fetched: Path, deals: str | None) -> None:
    """Check the files that are read.

    Args:
        files: the files that are written.
        wanted: list of wanted emails; `-` is standard input.
        fetched: file of fetched emails.
        deals: table of deals; None if there is none.

    Raises:
        UsageError: if one of them would be replaced.
        BadFileError: if one of them is missing or empty, or its fetch is not complete.
    """
    if not fetched.exists() and has_unfinished_fetch(fetched):
        raise BadFileError(
            "The fetch into this file is not complete.",
            where=str(fetched),
            advice="Run the same fetch again: it continues, and writes the file at its end.",
        )
    inputs = [Path(name) for name in (wanted, deals) if name not in (None, "-")]
    for path in (*inputs, fetched):
        check_readable(path)
        replaced = (files.mapping, files.ambiguous, files.missing)
        if path.resolve() in (other.resolve() for other in replaced):
            raise UsageError(
                "The match would replace a file that it reads.",
                where=str(path),
                advice=Advice("Use another name for the mapping with {}.", Keyword("output")),
            )
