"""What is done to each input before DuckDB reads it: hash it, read its header, choose the way."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, BinaryIO

import msgspec

from bulklink.errors import BadFileError
from bulklink.mapping.csv_records import CsvRecords
from bulklink.mapping.files import unwritable
from bulklink.mapping.headers import Headers
from bulklink.mapping.loading import Feed
from bulklink.mapping.records import Broken, Lines
from bulklink.mapping.sources import Format, Source, on_disk, unreadable
from bulklink.mapping.staging import Opening, Staged, stage_csv, stage_jsonl
from bulklink.mapping.survey import Survey, survey
from bulklink.mapping.values import InputFile

if TYPE_CHECKING:
    from pathlib import Path

    from bulklink.mapping.stop import Stop

_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT if hasattr(errno, "EDQUOT") else errno.ENOSPC)
_AS_UTF8 = "Save it again as UTF-8."


class Prepared(msgspec.Struct, frozen=True):
    """One input, ready to be read into the table."""

    source: Source
    path: Path
    stamp: tuple[int, int]
    input: InputFile
    headers: Headers
    feed: Feed
    unclosed: Opening | None = None

    @property
    def changed(self) -> bool:
        """Whether the file was written to since it was opened first."""
        return _stamp(self.path) != self.stamp


class _CsvHeader(msgspec.Struct, frozen=True):
    cells: tuple[str, ...]
    lines: int
    bytes: int


def prepare(source: Source, folder: Path, standard_input: BinaryIO, stop: Stop) -> Prepared:
    """Hash one input, read its header, and stage it if it is not regular.

    Args:
        source: the input.
        folder: where a staging file is written.
        standard_input: what `-` reads.
        stop: ends the work.

    Raises:
        BadFileError: if the input cannot be read as a whole.
    """
    try:
        path = on_disk(source, folder, standard_input, stop)
        stamp = _stamp(path)
        _refuse_utf16(path, source.name)
        if source.format is Format.JSONL:
            return _prepare_jsonl(source, path, stamp, folder, stop)
        return _prepare_csv(source, path, stamp, folder, stop)
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise unwritable(folder, error) from None
        raise unreadable(source.name, error) from None


def _stamp(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_size, found.st_mtime_ns


def _refuse_utf16(path: Path, name: str) -> None:
    with path.open("rb") as file:
        start = file.read(64)
    if start.startswith(_UTF16) or b"\0" in start:
        raise BadFileError("This looks like UTF-16, not UTF-8.", where=name, advice=_AS_UTF8)


def _prepare_jsonl(
    source: Source, path: Path, stamp: tuple[int, int], folder: Path, stop: Stop
) -> Prepared:
    seen = survey(path, 0, 1, stop)
    target = _new(folder)
    staged = stage_jsonl(path, target, source.name, stop)
    return _prepared(source, path, stamp, seen, staged, target)


def _prepare_csv(
    source: Source, path: Path, stamp: tuple[int, int], folder: Path, stop: Stop
) -> Prepared:
    header = _csv_header(path, source.name)
    seen = survey(path, header.bytes, len(header.cells), stop)
    if not (seen.regular and header.lines == 1):
        return restage(source, path, stamp, seen, folder, stop)
    return Prepared(
        source=source,
        path=path,
        stamp=stamp,
        input=_input(source, seen, seen.lines),
        headers=Headers(source.name, header.cells),
        feed=Feed(path, staged=False, cells=len(header.cells), crlf=seen.crlf),
    )


def restage(
    source: Source, path: Path, stamp: tuple[int, int], seen: Survey, folder: Path, stop: Stop
) -> Prepared:
    """Read a CSV file by the exact reader."""
    target = _new(folder)
    staged = stage_csv(path, target, stop)
    return _prepared(source, path, stamp, seen, staged, target)


def stage_after_all(prepared: Prepared, folder: Path, stop: Stop) -> Prepared:
    """Read a CSV file by the exact reader that turned out not to be regular."""
    target = _new(folder)
    staged = stage_csv(prepared.path, target, stop)
    return msgspec.structs.replace(
        prepared,
        input=msgspec.structs.replace(prepared.input, records=staged.records),
        feed=Feed(target, staged=True, cells=len(staged.headers)),
        unclosed=staged.unclosed,
    )


def _prepared(
    source: Source,
    path: Path,
    stamp: tuple[int, int],
    seen: Survey,
    staged: Staged,
    target: Path,
) -> Prepared:
    readable = source.format is Format.CSV or not staged.records or staged.readable > 0
    return Prepared(
        source=source,
        path=path,
        stamp=stamp,
        input=_input(source, seen, staged.records),
        headers=Headers(source.name, staged.headers, readable),
        feed=Feed(target, staged=True, cells=len(staged.headers)),
        unclosed=staged.unclosed,
    )


def _input(source: Source, seen: Survey, records: int) -> InputFile:
    return InputFile(name=source.name, sha256=seen.sha256, bytes=seen.bytes, records=records)


def _new(folder: Path) -> Path:
    return folder / f"staged-{len(list(folder.iterdir()))}"


def _csv_header(path: Path, name: str) -> _CsvHeader:
    with path.open("rb") as file:
        lines = Lines(file)
        first = CsvRecords(lines).next()
        if first is None:
            raise BadFileError(
                "The file has no header.", where=name, advice="Check the export that made it."
            )
        line, cells = first
        if isinstance(cells, Broken):
            raise BadFileError(
                f"The header cannot be read: {cells.why}.",
                where=f"{name}, line {line}",
                advice=_AS_UTF8 if cells.reason == "bad-encoding" else "Mend the first line.",
            )
        return _CsvHeader(tuple(cells), lines.number, lines.offset)
