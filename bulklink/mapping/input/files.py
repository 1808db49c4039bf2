"""The files of a mapping: which they are, in which format, and whether they can be read."""

from __future__ import annotations

import shutil
import stat
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import msgspec

from bulklink.atomic_files import fresh
from bulklink.errors import BadFileError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bulklink.mapping.interrupt import Stop

STANDARD_INPUT = "-"
COPY_BYTES = 1 << 20


class Format(StrEnum):
    """How the records of a mapping file are written."""

    CSV = "csv"
    JSONL = "jsonl"
    XLSX = "xlsx"


class Compression(StrEnum):
    """How a mapping file is compressed, by the end of its name."""

    GZIP = ".gz"
    ZSTD = ".zst"


_BY_SUFFIX = {
    ".csv": Format.CSV,
    ".jsonl": Format.JSONL,
    ".ndjson": Format.JSONL,
    ".xlsx": Format.XLSX,
}
#: Formats that a name need not tell.
_BY_OPTION = (Format.CSV, Format.JSONL)


class Source(msgspec.Struct, frozen=True):
    """One input of a mapping: a file, or standard input where `path` is None."""

    name: str
    path: Path | None
    format: Format
    compression: Compression | None = None


def sources(names: Iterable[str], format: str | None = None) -> tuple[Source, ...]:  # noqa: A002
    """Find the inputs of a mapping.

    Args:
        names: paths of files, or `-` for standard input.
        format: `csv` or `jsonl`, for the inputs whose name does not tell.

    Returns:
        The inputs, in the order given.

    Raises:
        UsageError: if a format cannot be told, or standard input is named twice.
        BadFileError: if a file is missing, empty, or no file.
    """
    found = tuple(_source(name, format) for name in names)
    if not found:
        raise UsageError(
            "No mapping is named.",
            where="MAPPING",
            advice="Give a CSV, JSONL or .xlsx file, or '-'.",
        )
    if sum(source.path is None for source in found) > 1:
        raise UsageError("Standard input is named twice.", where="-", advice="Name it once.")
    return found


def _source(name: str, wanted: str | None) -> Source:
    if name == STANDARD_INPUT:
        return Source(name=name, path=None, format=_format(name, None, wanted))
    path = Path(name)
    must_be_readable(name)
    suffix, compression = path.suffix.lower(), None
    if suffix in list(Compression):
        suffix, compression = Path(path.stem).suffix.lower(), Compression(suffix)
    return Source(name, path, _format(name, suffix, wanted), compression)


def _format(name: str, suffix: str | None, wanted: str | None) -> Format:
    told = _BY_SUFFIX.get(suffix or "")
    if told is not None:
        return told
    if wanted in _BY_OPTION:
        return Format(wanted)
    raise UsageError(
        f"The format {wanted!r} is not known."
        if wanted
        else "The name does not tell the format of the mapping.",
        where=name,
        advice="Give --format csv or --format jsonl.",
    )


def must_be_readable(name: str) -> None:
    """Refuse what is no file, or cannot be read.

    Raises:
        BadFileError: if it is so.
    """
    path = Path(name)
    try:
        found = path.stat()
    except FileNotFoundError:
        raise BadFileError(
            "There is no such file.", where=name, advice="Check the path of the mapping."
        ) from None
    except (OSError, ValueError) as error:
        raise unreadable(name, error) from None
    if stat.S_ISDIR(found.st_mode):
        raise BadFileError(
            "This is a folder, not a mapping file.", where=name, advice="Name the file in it."
        )
    if stat.S_ISREG(found.st_mode) and not found.st_size:
        raise BadFileError(
            "The file is empty.", where=name, advice="Check the export that made it."
        )


def unreadable(name: str, error: Exception) -> BadFileError:
    """Say that a file cannot be read, and why the system says so."""
    reason = getattr(error, "strerror", None) or str(error)
    return BadFileError(
        f"The file cannot be read: {reason}.",
        where=name,
        advice="Check that it exists and that you may read it.",
    )


def on_disk(source: Source, scratch: Path, standard_input: BinaryIO, stop: Stop) -> Path:
    """Return a path that can be read more than once: pipes are copied into `scratch` first."""
    if source.path is not None and source.path.is_file():
        return source.path
    copy = fresh(scratch, f".{source.format}")
    if source.path is None:
        _copy(standard_input, copy, stop)
    else:
        with source.path.open("rb") as pipe:
            _copy(pipe, copy, stop)
    if not copy.stat().st_size:
        raise BadFileError(
            "There is nothing in it.", where=source.name, advice="Check the command before it."
        )
    return copy


def _copy(reader: BinaryIO, target: Path, stop: Stop) -> None:
    with target.open("xb") as writer:
        while block := reader.read(COPY_BYTES):
            stop.check()
            writer.write(block)


def remove(folder: Path) -> None:
    """Remove a folder of temporary files, whatever is left in it."""
    shutil.rmtree(folder, ignore_errors=True)
