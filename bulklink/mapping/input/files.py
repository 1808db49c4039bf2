"""Input files of a mapping: their names, and whether they can be read."""

from __future__ import annotations

import shutil
import stat
from enum import StrEnum
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

import msgspec

from bulklink.advice import Advice, Keyword
from bulklink.errors import BadFileError, UsageError
from bulklink.file_names import file_name_text
from bulklink.mapping.input.rows import Rows

if TYPE_CHECKING:
    from collections.abc import Iterable

STANDARD_INPUT = "-"


class InputFormat(StrEnum):
    """Format of a mapping file."""

    CSV = "csv"
    JSONL = "jsonl"
    JSON = "json"
    PARQUET = "parquet"
    XLSX = "xlsx"


#: Suffixes of compressed files; the format is that of the suffix before.
_COMPRESSED = (".gz", ".zst")
_FORMAT_BY_SUFFIX = {
    **dict.fromkeys((".csv", ".tsv", ".tab"), InputFormat.CSV),
    **dict.fromkeys((".jsonl", ".ndjson"), InputFormat.JSONL),
    ".json": InputFormat.JSON,
    ".parquet": InputFormat.PARQUET,
    ".xlsx": InputFormat.XLSX,
}
#: Formats that `--format` takes, for texts that may be either.
_OPTION_FORMATS = (InputFormat.CSV, InputFormat.JSONL)


class Source(msgspec.Struct, frozen=True):
    """One input of a mapping.

    Args:
        name: the input as the user named it, as text that UTF-8 can hold; for rows, what they are.
        path: its path; None for standard input and rows.
        format: format by its name, or the one that the user set; used if the content is
            ambiguous.
        rows: rows that a program passes in place of a file; None for a file.
    """

    name: str
    path: Path | None
    format: InputFormat | None = None
    rows: Rows | None = None

    @property
    def is_standard_input(self) -> bool:
        """Whether it is standard input."""
        return self.path is None and self.rows is None


def find_sources(
    mappings: Iterable[str | Rows],
    format: str | None = None,  # noqa: A002
) -> tuple[Source, ...]:
    """Return the inputs of a mapping, after checking their names.

    Args:
        mappings: paths of files, `-` for standard input, or rows.
        format: `csv` or `jsonl`, for inputs whose name and content are ambiguous.

    Returns:
        The inputs, in order.

    Raises:
        UsageError: if a format is unknown, or standard input is named twice.
        BadFileError: if a file is missing, empty, or not a file.
    """
    if format not in (None, *_OPTION_FORMATS):
        raise UsageError(
            f"{format!r} is not a valid format.",
            where=Advice("{}", Keyword("format_")),
            advice=f"Use one of: {', '.join(_OPTION_FORMATS)}; or omit it.",
        )
    format_option = None if format is None else InputFormat(format)
    inputs = tuple(_source(mapping, format_option) for mapping in mappings)
    if not inputs:
        raise UsageError(
            "No mapping was given.",
            where="MAPPING",
            advice="Name a CSV, JSON, Parquet or .xlsx file, or '-' for standard input.",
        )
    if sum(source.is_standard_input for source in inputs) > 1:
        raise UsageError("Standard input is named twice.", where="-", advice="Name it once.")
    return inputs


def _source(mapping: str | Rows, format_option: InputFormat | None) -> Source:
    if isinstance(mapping, Rows):
        return Source(mapping.name, None, rows=mapping)
    name = mapping
    if name == STANDARD_INPUT:
        return Source(name, None, format_option)
    path = Path(name)
    check_readable(path)
    return Source(file_name_text(name), path, format_of_name(path) or format_option)


def format_of_name(path: PurePath) -> InputFormat | None:
    """Return the format of a file by the suffix of its name; None if unknown."""
    suffix = path.suffix.lower()
    if suffix in _COMPRESSED:
        suffix = PurePath(path.stem).suffix.lower()
    return _FORMAT_BY_SUFFIX.get(suffix)


def check_readable(path: Path) -> None:
    """Raise BadFileError unless the path is a readable, non-empty file.

    Raises:
        BadFileError: if it is not.
    """
    name = str(path)
    try:
        status = path.stat()
    except FileNotFoundError:
        raise BadFileError(
            "There is no such file.", where=name, advice="Check the path of the mapping."
        ) from None
    except (OSError, ValueError) as error:
        raise unreadable_file_error(name, error) from None
    if stat.S_ISDIR(status.st_mode):
        raise BadFileError(
            "This is a folder, not a mapping file.", where=name, advice="Name the file in it."
        )
    if stat.S_ISREG(status.st_mode) and not status.st_size:
        raise BadFileError(
            "The file is empty.", where=name, advice="Check the export that made it."
        )


def unreadable_file_error(name: str, error: Exception) -> BadFileError:
    """Build the error of a file that cannot be read, with the reason from the system."""
    reason = getattr(error, "strerror", None) or "a file cannot have this name here"
    return BadFileError(
        f"The file cannot be read: {reason}.",
        where=name,
        advice="Check that it exists and that you may read it.",
    )


def remove_folder(folder: Path) -> None:
    """Remove a folder of temporary files and everything in it."""
    shutil.rmtree(folder, ignore_errors=True)
