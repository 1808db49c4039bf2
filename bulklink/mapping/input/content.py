"""Content of an input on disk: unpacked, of a known format, text as UTF-8."""

from __future__ import annotations

import codecs
import hashlib
import io
import shutil
from functools import partial
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, BinaryIO

import msgspec

from bulklink.advice import Advice, Keyword
from bulklink.atomic_files import temporary_path
from bulklink.errors import BadFileError, RunDirError
from bulklink.mapping.input.dialect_detection import has_known_headers
from bulklink.mapping.input.encodings import UTF8, parse_encoding, recode_to_utf8
from bulklink.mapping.input.files import InputFormat, Source, format_of_name
from bulklink.mapping.input.json_format import find_json_format
from bulklink.mapping.input.lines import LineReader
from bulklink.mapping.input.ole_files import OLE_MAGIC, find_ole_format
from bulklink.mapping.input.scan import hash_file
from bulklink.mapping.input.signatures import (
    SIGNATURE_BYTES,
    Packing,
    find_binary_content,
    find_packing,
    find_unread_format,
    is_parquet,
)
from bulklink.mapping.input.unpacking import find_member, gzip_blocks, zip_blocks, zstd_blocks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from zipfile import ZipInfo

    from bulklink.mapping.input.signatures import UnreadFormat
    from bulklink.mapping.interrupt import PlanningStop
    from bulklink.mapping.schema import MappingOptions

COPY_BYTES = 1 << 20
UNPACKING = "Unpacking the mapping"
#: Maximum number of nested packings.
_MAX_PACKINGS = 3
_ENCODING_BYTES = 64
_AS_UTF8 = "save it again as UTF-8"
_BOMS = (
    (codecs.BOM_UTF32_LE, "UTF-32", "utf-32"),
    (codecs.BOM_UTF32_BE, "UTF-32", "utf-32"),
    (codecs.BOM_UTF16_LE, "UTF-16", "utf-16"),
    (codecs.BOM_UTF16_BE, "UTF-16", "utf-16"),
)
_JSON_FORMATS = (InputFormat.JSONL, InputFormat.JSON)


class InputContent(msgspec.Struct, frozen=True):
    """One input, with the original file and the copy that is read.

    Args:
        source: the input.
        original: the file as given, or the copy of a pipe.
        size_and_mtime: size and modification time in ns of `original` when it was first opened.
        path: the file that is read: `original`, or its copy unpacked and as UTF-8.
        encoding: encoding of the text of `original`.
        sha256_and_size: SHA-256 and size of `original`, if `path` is another file.
        format: format of `path`.
    """

    source: Source
    original: Path
    size_and_mtime: tuple[int, int]
    path: Path
    encoding: str = UTF8
    sha256_and_size: tuple[str, int] | None = None
    format: InputFormat | None = None

    @property
    def changed(self) -> bool:
        """Whether the original changed after it was first opened."""
        return _size_and_mtime(self.original) != self.size_and_mtime

    def discard(self) -> None:
        """Remove the temporary files of this input."""
        for path in {self.original, self.path} - {self.source.path}:
            path.unlink(missing_ok=True)

    def discard_copy(self) -> None:
        """Remove the copy that is read, once another replaces it."""
        if self.path != self.original:
            self.path.unlink(missing_ok=True)

    def start(self) -> bytes:
        """Return the first bytes of the file that is read."""
        with self.path.open("rb") as file:
            return file.read(SIGNATURE_BYTES)


def load_content(
    source: Source,
    options: MappingOptions,
    folder: Path,
    standard_input: BinaryIO,
    stop: PlanningStop,
    memory_bytes: int,
) -> InputContent:
    """Write the content of an input to disk, unpacked and as UTF-8, and determine its format.

    Args:
        source: the input.
        options: options for reading the mapping.
        folder: folder for copies.
        standard_input: stream that `-` reads.
        stop: stops the work.
        memory_bytes: memory limit.

    Raises:
        BadFileError: if the content is damaged, of an unsupported format, or in another
            encoding.
    """
    original = _ensure_on_disk(source, folder, standard_input, stop)
    content = InputContent(
        source, original, _size_and_mtime(original), original, format=source.format
    )
    content = _unpack(content, folder, stop, memory_bytes)
    start = content.start()
    if find_packing(start) is Packing.ZIP:
        return msgspec.structs.replace(content, format=InputFormat.XLSX)
    if is_parquet(start):
        return msgspec.structs.replace(content, format=InputFormat.PARQUET)
    if start.startswith(OLE_MAGIC):
        with content.path.open("rb") as file:
            _refuse(content, find_ole_format(file))
    encoding = parse_encoding(options.encoding)
    _refuse(content, find_unread_format(start))
    if encoding != UTF8:
        content = _recode(content, encoding, folder, stop)
        _refuse(content, find_unread_format(content.start()))
    _refuse_other_text(content)
    return msgspec.structs.replace(content, format=_text_format(content, options))


def _ensure_on_disk(
    source: Source, scratch: Path, standard_input: BinaryIO, stop: PlanningStop
) -> Path:
    """Return a seekable path; copy pipes into `scratch` first."""
    if source.path is not None and source.path.is_file():
        return source.path
    copy = temporary_path(scratch, ".copy")
    if source.path is None:
        _copy(standard_input, copy, stop)
    else:
        with source.path.open("rb") as pipe:
            _copy(pipe, copy, stop)
    if not copy.stat().st_size:
        raise BadFileError(
            "The input is empty.", where=source.name, advice="Check the command that writes it."
        )
    return copy


def _copy(reader: BinaryIO, target: Path, stop: PlanningStop) -> None:
    with target.open("xb") as writer:
        while block := reader.read(COPY_BYTES):
            stop.check()
            writer.write(block)


def _size_and_mtime(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def _unpack(
    content: InputContent, folder: Path, stop: PlanningStop, memory_bytes: int
) -> InputContent:
    """Unpack an input until no packing is left, but leave a workbook packed."""
    for _ in range(_MAX_PACKINGS + 1):
        packing = find_packing(content.start())
        if packing is None:
            return content
        if packing is Packing.ZIP:
            member = find_member(content.path, content.source.name)
            if member is None:
                return content
            content = _unpack_member(content, member, folder, stop)
        else:
            blocks = partial(_packed_blocks, packing, content.source.name, memory_bytes)
            content = _rewrite(content, blocks, folder, stop)
    raise BadFileError(
        f"The file is packed more than {_MAX_PACKINGS} times.",
        where=content.source.name,
        advice="Unpack it, and use the file inside.",
    )


def _packed_blocks(
    packing: Packing, name: str, memory_bytes: int, file: BinaryIO
) -> Iterator[bytes]:
    if packing is Packing.GZIP:
        return gzip_blocks(file, name)
    return zstd_blocks(file, name, memory_bytes)


def _unpack_member(
    content: InputContent, member: ZipInfo, folder: Path, stop: PlanningStop
) -> InputContent:
    free = shutil.disk_usage(folder).free
    if member.file_size > free:
        raise RunDirError(
            f"The unpacked file takes {member.file_size >> 20:,} MiB; {free >> 20:,} MiB are free.",
            where=str(folder.parent),
            advice="Free some space, or unpack the file on another disk and use the result.",
        )
    name = content.source.name
    if content.sha256_and_size is None:
        stop.begin_stage(UNPACKING, content.size_and_mtime[0])
        hashed = hash_file(content.path, stop)
        content = msgspec.structs.replace(content, sha256_and_size=hashed)
    path = content.path
    unpacked = _rewrite(content, lambda _: zip_blocks(path, member, name), folder, stop)
    format_ = format_of_name(PurePosixPath(member.filename)) or content.format
    return msgspec.structs.replace(unpacked, format=format_)


def _recode(content: InputContent, encoding: str, folder: Path, stop: PlanningStop) -> InputContent:
    """Copy a text as UTF-8."""
    content = msgspec.structs.replace(content, encoding=encoding)

    def recoded_blocks(file: BinaryIO) -> Iterator[bytes]:
        blocks = iter(lambda: file.read(COPY_BYTES), b"")
        return recode_to_utf8(_check_not_utf8(blocks, content), encoding)

    try:
        return _rewrite(content, recoded_blocks, folder, stop)
    except UnicodeError:
        raise _wrong_encoding_error(encoding, content.source.name) from None


def _rewrite(
    content: InputContent,
    read_blocks: Callable[[BinaryIO], Iterator[bytes]],
    folder: Path,
    stop: PlanningStop,
) -> InputContent:
    """Write the transformed bytes of a file to a copy, in one pass and constant memory."""
    target = temporary_path(folder, ".copy")
    stop.begin_stage(UNPACKING, content.path.stat().st_size)
    with content.path.open("rb") as file, target.open("xb") as writer:
        reader = _HashingReader(file)
        for block in read_blocks(io.BufferedReader(reader, COPY_BYTES)):
            stop.check()
            writer.write(block)
            stop.report_position(reader.count)
    if not target.stat().st_size:
        raise BadFileError(
            "The file is empty.", where=content.source.name, advice="Check the export that made it."
        )
    content.discard_copy()
    return msgspec.structs.replace(
        content, path=target, sha256_and_size=content.sha256_and_size or reader.sha256_and_size
    )


class _HashingReader(io.RawIOBase):
    """Reader of a file that hashes what it reads."""

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


def _check_not_utf8(blocks: Iterator[bytes], content: InputContent) -> Iterator[bytes]:
    for number, block in enumerate(blocks):
        if not number and (block.startswith(codecs.BOM_UTF8) or _is_narrow(block, content)):
            raise BadFileError(
                f"The file looks like UTF-8, not {content.encoding}.",
                where=content.source.name,
                advice=Advice("Omit {}.", Keyword("encoding")),
            )
        yield block


def _is_narrow(block: bytes, content: InputContent) -> bool:
    """Return whether a text that should be UTF-16 or UTF-32 has no zero bytes."""
    return content.encoding.startswith(("utf-16", "utf-32")) and b"\0" not in block


def _wrong_encoding_error(encoding: str, name: str) -> BadFileError:
    advice = Advice("Check {}.", Keyword("encoding"))
    if encoding in ("utf-16", "utf-32"):
        orders = (Keyword("encoding", f"{encoding}-{order}") for order in ("le", "be"))
        advice = Advice("Use {} or {}.", *orders)
    return BadFileError(f"The file cannot be read as {encoding}.", where=name, advice=advice)


def _refuse(content: InputContent, unread_format: UnreadFormat | None) -> None:
    if unread_format is not None:
        raise BadFileError(
            unread_format.problem, where=content.source.name, advice=unread_format.advice
        )


def _refuse_other_text(content: InputContent) -> None:
    """Refuse content whose first bytes are not UTF-8 text."""
    start = content.start()
    detected = _detect_encoding(start[:_ENCODING_BYTES])
    if detected is not None:
        name, option = detected
        raise BadFileError(
            f"The file looks like {name}, not UTF-8.",
            where=content.source.name,
            advice=Advice("Use {}, or {}.", Keyword("encoding", option), _AS_UTF8),
        )
    _refuse(content, find_binary_content(start))


def _detect_encoding(start: bytes) -> tuple[str, str] | None:
    for mark, name, option in _BOMS:
        if start.startswith(mark):
            return name, option
    even, odd = start[::2].count(0), start[1::2].count(0)
    if even + odd < len(start) // 4 or (even and odd):
        return None
    return ("UTF-16", "utf-16-be" if even else "utf-16-le") if even + odd else None


def _text_format(content: InputContent, options: MappingOptions) -> InputFormat:
    """Return the format of a text by its first line, or by its name if that is ambiguous."""
    with content.path.open("rb") as file:
        lines = LineReader(file, content.encoding)
        json_format = find_json_format(lines, content.source.name, content.format, options)
    if json_format is not None:
        return json_format
    if content.format in _JSON_FORMATS and not has_known_headers(content.path, options):
        return InputFormat.JSONL
    return InputFormat.CSV
