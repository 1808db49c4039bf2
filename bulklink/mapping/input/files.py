"""Input files of a mapping: format, compression, readability, content as UTF-8."""

from __future__ import annotations

import codecs
import gzip
import hashlib
import io
import shutil
import stat
import sys
import zlib
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import msgspec

from bulklink.atomic_files import temporary_path
from bulklink.errors import BadFileError, UsageError
from bulklink.file_names import file_name_text
from bulklink.mapping.input.encodings import UTF8, parse_encoding, recode_to_utf8

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from bulklink.mapping.interrupt import PlanningStop
    from bulklink.mapping.schema import MappingOptions

STANDARD_INPUT = "-"
COPY_BYTES = 1 << 20
_FIRST_BYTES = 64
_AS_UTF8 = "save it again as UTF-8"
UNPACKING = "Unpacking the mapping"
_BOMS = (
    (codecs.BOM_UTF32_LE, "UTF-32", "utf-32"),
    (codecs.BOM_UTF16_LE, "UTF-16", "utf-16"),
    (codecs.BOM_UTF16_BE, "UTF-16", "utf-16"),
)
#: First bytes of other formats, what they are, and what to do.
_OTHER_FORMATS = (
    (b"\x1f\x8b", "compressed by gzip", "Give it a name that ends in .gz."),
    (b"\x28\xb5\x2f\xfd", "compressed by zstd", "Give it a name that ends in .zst."),
    (b"PK\x03\x04", "a zip file", "Give a workbook a name that ends in .xlsx."),
    (b"\xd0\xcf\x11\xe0", "an old or protected workbook", "Save it as .xlsx or CSV."),
    (b"PAR1", "a Parquet file", "Save it as CSV."),
)


class InputFormat(StrEnum):
    """Format of a mapping file."""

    CSV = "csv"
    JSONL = "jsonl"
    XLSX = "xlsx"


class Compression(StrEnum):
    """Compression of a mapping file, by the suffix of its name."""

    GZIP = ".gz"
    ZSTD = ".zst"


_FORMAT_BY_SUFFIX = {
    ".csv": InputFormat.CSV,
    ".jsonl": InputFormat.JSONL,
    ".ndjson": InputFormat.JSONL,
    ".xlsx": InputFormat.XLSX,
}
_OTHER_WORKBOOKS = (".xls", ".xlsb", ".xlsm", ".ods", ".numbers")
#: Formats that `--format` takes, for names without a known suffix.
_OPTION_FORMATS = (InputFormat.CSV, InputFormat.JSONL)


class Source(msgspec.Struct, frozen=True):
    """One input of a mapping.

    Args:
        name: the input as the user named it, as text that UTF-8 can hold.
        path: its path; None for standard input.
        format: its format.
        compression: its compression; None if it is not compressed.
    """

    name: str
    path: Path | None
    format: InputFormat
    compression: Compression | None = None


def find_sources(names: Iterable[str], format: str | None = None) -> tuple[Source, ...]:  # noqa: A002
    """Find the inputs of a mapping.

    Args:
        names: paths of files, or `-` for standard input.
        format: `csv` or `jsonl`, for inputs whose name does not tell.

    Returns:
        The inputs, in the order given.

    Raises:
        UsageError: if a format is unknown, or standard input is named twice.
        BadFileError: if a file is missing, empty, or not a file.
    """
    inputs = tuple(_source(name, format) for name in names)
    if not inputs:
        raise UsageError(
            "No mapping is named.",
            where="MAPPING",
            advice="Give a CSV, JSONL or .xlsx file, or '-'.",
        )
    if sum(source.path is None for source in inputs) > 1:
        raise UsageError("Standard input is named twice.", where="-", advice="Name it once.")
    return inputs


def _source(name: str, format_option: str | None) -> Source:
    if name == STANDARD_INPUT:
        return Source(name=name, path=None, format=_format(name, None, format_option))
    path, name = Path(name), file_name_text(name)
    check_readable(path)
    suffix, compression = path.suffix.lower(), None
    if suffix in list(Compression):
        suffix, compression = Path(path.stem).suffix.lower(), Compression(suffix)
    return Source(name, path, _format(name, suffix, format_option), compression)


def _format(name: str, suffix: str | None, format_option: str | None) -> InputFormat:
    suffix_format = _FORMAT_BY_SUFFIX.get(suffix or "")
    if suffix_format is not None:
        return suffix_format
    if suffix in _OTHER_WORKBOOKS:
        raise BadFileError(
            f"A workbook of the kind {suffix} is not read.",
            where=name,
            advice="Open it in a spreadsheet and save it as .xlsx or as CSV.",
        )
    if format_option in _OPTION_FORMATS:
        return InputFormat(format_option)
    raise UsageError(
        f"The format {format_option!r} is not known."
        if format_option
        else "The name does not tell the format of the mapping.",
        where=name,
        advice="Give --format csv or --format jsonl.",
    )


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
    """Build the error of a file that cannot be read, with the reason of the system."""
    reason = getattr(error, "strerror", None) or "no file here can have this name"
    return BadFileError(
        f"The file cannot be read: {reason}.",
        where=name,
        advice="Check that it exists and that you may read it.",
    )


def ensure_on_disk(
    source: Source, scratch: Path, standard_input: BinaryIO, stop: PlanningStop
) -> Path:
    """Return a seekable path; copy pipes into `scratch` first."""
    if source.path is not None and source.path.is_file():
        return source.path
    copy = temporary_path(scratch, f".{source.format}")
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


def _copy(reader: BinaryIO, target: Path, stop: PlanningStop) -> None:
    with target.open("xb") as writer:
        while block := reader.read(COPY_BYTES):
            stop.check()
            writer.write(block)


def remove_folder(folder: Path) -> None:
    """Remove a folder of temporary files, whatever is left in it."""
    shutil.rmtree(folder, ignore_errors=True)


class InputContent(msgspec.Struct, frozen=True):
    """One input, with the original file and the UTF-8 copy that is read.

    Args:
        source: the input.
        original: the file as given, or the copy of a pipe.
        size_and_mtime: size and modification time in ns of `original` when it was opened first.
        path: the file that is read: `original`, or its copy as plain UTF-8.
        encoding: encoding of the text of `original`.
        sha256_and_size: SHA-256 and size of `original`, if `path` is another file.
    """

    source: Source
    original: Path
    size_and_mtime: tuple[int, int]
    path: Path
    encoding: str = UTF8
    sha256_and_size: tuple[str, int] | None = None

    @property
    def changed(self) -> bool:
        """Whether the original was written to since it was opened first."""
        return _size_and_mtime(self.original) != self.size_and_mtime

    def discard(self) -> None:
        """Remove the temporary files of this input."""
        for path in {self.original, self.path} - {self.source.path}:
            path.unlink(missing_ok=True)


def load_content(
    source: Source,
    options: MappingOptions,
    folder: Path,
    standard_input: BinaryIO,
    stop: PlanningStop,
) -> InputContent:
    """Put the content of an input on disk, decompressed, texts as UTF-8.

    Args:
        source: the input.
        options: options for reading the mapping, for its encoding.
        folder: folder for copies.
        standard_input: what `-` reads.
        stop: stops the work.

    Raises:
        BadFileError: if the compressed file is damaged, or the text in another encoding.
    """
    original = ensure_on_disk(source, folder, standard_input, stop)
    is_text = source.format is not InputFormat.XLSX
    encoding = parse_encoding(options.encoding) if is_text else UTF8
    content = InputContent(source, original, _size_and_mtime(original), original, encoding)
    if source.compression is not None or encoding != UTF8:
        content = _copy_as_utf8(content, folder, stop)
    if is_text:
        _refuse_other_formats(content)
    return content


def _size_and_mtime(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns


class _HashingReader(io.RawIOBase):
    """Read a file and hash what was read."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._digest = hashlib.sha256()
        self._bytes = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        block = self._file.read(len(view))
        view[: len(block)] = block
        self._digest.update(block)
        self._bytes += len(block)
        return len(block)

    @property
    def count(self) -> int:
        """Bytes read so far."""
        return self._bytes

    @property
    def sha256_and_size(self) -> tuple[str, int]:
        return self._digest.hexdigest(), self._bytes


def _copy_as_utf8(content: InputContent, folder: Path, stop: PlanningStop) -> InputContent:
    """Copy an input as plain UTF-8, in one pass and constant memory."""
    target = temporary_path(folder, f".{content.source.format}")
    name = content.source.name
    stop.begin_stage(UNPACKING, content.size_and_mtime[0])
    try:
        with content.original.open("rb") as file, target.open("xb") as writer:
            reader = _HashingReader(file)
            blocks = _blocks(reader, content.source.compression, stop)
            if content.encoding != UTF8:
                blocks = recode_to_utf8(_check_not_utf8(blocks, content), content.encoding)
            for block in blocks:
                writer.write(block)
                stop.report_position(reader.count)
    except (EOFError, gzip.BadGzipFile, zlib.error, zstd.ZstdError) as error:
        raise _damaged_error(name, error) from None
    except UnicodeError:
        raise _wrong_encoding_error(content.encoding, name) from None
    if not target.stat().st_size:
        raise BadFileError("The file is empty.", where=name, advice="Check the export of it.")
    return msgspec.structs.replace(content, path=target, sha256_and_size=reader.sha256_and_size)


def _blocks(
    reader: io.RawIOBase, compression: Compression | None, stop: PlanningStop
) -> Iterator[bytes]:
    file: io.BufferedIOBase = io.BufferedReader(reader, COPY_BYTES)
    if compression is Compression.GZIP:
        file = gzip.GzipFile(fileobj=file)
    elif compression is Compression.ZSTD:
        file = zstd.ZstdFile(file)
    while block := file.read(COPY_BYTES):
        stop.check()
        yield block


def _check_not_utf8(blocks: Iterator[bytes], content: InputContent) -> Iterator[bytes]:
    for number, block in enumerate(blocks):
        if not number and (block.startswith(codecs.BOM_UTF8) or _is_narrow(block, content)):
            raise BadFileError(
                f"The file looks like UTF-8, not {content.encoding}.",
                where=content.source.name,
                advice="Leave --encoding out.",
            )
        yield block


def _is_narrow(block: bytes, content: InputContent) -> bool:
    """Return whether a text that should be UTF-16 or UTF-32 has no zero bytes."""
    return content.encoding.startswith(("utf-16", "utf-32")) and b"\0" not in block


def _damaged_error(name: str, error: Exception) -> BadFileError:
    cut = isinstance(error, EOFError)
    return BadFileError(
        "The compressed file is cut off." if cut else "The compressed file is damaged.",
        where=name,
        advice="Copy it again, or compress it again.",
    )


def _wrong_encoding_error(encoding: str, name: str) -> BadFileError:
    advice = "Check --encoding."
    if encoding in ("utf-16", "utf-32"):
        advice = f"Give --encoding {encoding}-le or --encoding {encoding}-be."
    return BadFileError(f"It cannot be read as {encoding}.", where=name, advice=advice)


def _refuse_other_formats(content: InputContent) -> None:
    """Refuse content whose first bytes are not UTF-8 text, with what they look like."""
    with content.path.open("rb") as file:
        start = file.read(_FIRST_BYTES)
    for prefix, description, advice in _OTHER_FORMATS:
        if start.startswith(prefix):
            raise BadFileError(
                f"This is {description}, not text.", where=content.source.name, advice=advice
            )
    detected = _detect_encoding(start)
    if detected is not None:
        name, option = detected
        raise BadFileError(
            f"This looks like {name}, not UTF-8.",
            where=content.source.name,
            advice=f"Give --encoding {option}, or {_AS_UTF8}.",
        )


def _detect_encoding(start: bytes) -> tuple[str, str] | None:
    for mark, name, option in _BOMS:
        if start.startswith(mark):
            return name, option
    even, odd = start[::2].count(0), start[1::2].count(0)
    if even + odd < len(start) // 4 or (even and odd):
        return None
    return ("UTF-16", "utf-16-be" if even else "utf-16-le") if even + odd else None
