"""One pass over a file: SHA-256, and whether its CSV records are regular.

DuckDB's CSV reader is ten times as fast as Python's, but drops blank lines, miscounts after broken
records and fails on invalid bytes. It is used for files in which none of that can happen.
"""

from __future__ import annotations

import hashlib
import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec

from bulklink.blocking import blocks
from bulklink.mapping.input.dialect import Dialect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from bulklink.mapping.interrupt import PlanningStop

#: Maximum size of a record in bytes.
MAX_RECORD_BYTES = 1 << 20
#: Every block but the last must have a line end, so that no line of a regular file is longer than
#: two blocks. The memory of larger blocks may be allocated from the system each time.
BLOCK_BYTES = 1 << 16

#: Blocks of a large file that are scanned before DuckDB loads it: most of what is not regular
#: shows there.
_START_BLOCKS = 4
_NEVER_REGULAR = (b"\0", b"\1")


class FileScan(msgspec.Struct, frozen=True):
    """Result of one pass over a file's bytes.

    Args:
        sha256: SHA-256 in hexadecimal.
        bytes: its size.
        lines: lines after the header; valid if `regular`.
        crlf: whether lines end with CR LF; valid if `regular`.
        regular: whether every line after the header is one record with as many cells as the
            header, as far as counting can tell.
    """

    sha256: str
    bytes: int
    lines: int
    crlf: bool
    regular: bool


class _Tally:
    """Counts of the pass so far; regular until a block proves otherwise."""

    def __init__(self, dialect: Dialect) -> None:
        self.regular = True
        self.lines = self.returns = self.delimiters = 0
        self._delimiter = dialect.delimiter.encode()
        self._irregular = (*dialect.irregular_bytes, *_NEVER_REGULAR)
        self._blank = dialect.blank_bytes
        self._blank_line = re.compile(rb"\n[%b]*\n" % re.escape(self._blank.replace(b"\n", b"")))

    def add(self, lines: bytes) -> None:
        if not self.regular:
            return
        returns = lines.count(b"\r") if b"\r" in lines else 0
        self.lines += lines.count(b"\n")
        self.returns += returns
        self.delimiters += lines.count(self._delimiter)
        self.regular = (
            not any(mark in lines for mark in self._irregular)
            and (not returns or returns == lines.count(b"\r\n"))
            and not self._has_blank_line(lines)
            and _is_utf8(lines)
        )

    def _has_blank_line(self, lines: bytes) -> bool:
        first = lines.find(b"\n")
        return not lines[:first].strip(self._blank) or self._blank_line.search(lines) is not None


def hash_file(path: Path, stop: PlanningStop) -> tuple[str, int]:
    """Return the SHA-256 of a file, in hexadecimal, and its size."""
    blocks("hashing a mapping")
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            stop.check()
            digest.update(block)
            stop.report_position(file.tell())
        return digest.hexdigest(), file.tell()


class FileScanner:
    """Pass over a file that hashes it and determines whether its records are regular.

    Args:
        path: the file.
        header_bytes: bytes at its start that belong to the header.
        cells: cells of the header.
        stop: stops the pass.
        dialect: its dialect.

    Attributes:
        result: result of the scan, once `counting` has yielded a number.
    """

    __slots__ = (
        "_cancelled",
        "_cells",
        "_digest",
        "_header_bytes",
        "_partial_line",
        "_path",
        "_size",
        "_stop",
        "_tally",
        "result",
    )

    def __init__(
        self, path: Path, header_bytes: int, cells: int, stop: PlanningStop, dialect: Dialect
    ) -> None:
        self._path = path
        self._header_bytes = header_bytes
        self._cells = cells
        self._stop = stop
        self._digest = hashlib.sha256()
        self._size = 0
        self._tally = _Tally(dialect)
        self._partial_line = b""
        self._cancelled = False
        self.result: FileScan

    def scan_start(self) -> FileScan:
        """Scan the first blocks; `regular` then concerns the lines that end in them."""
        self._scan_blocks(_START_BLOCKS, lambda: None)
        return FileScan(
            sha256="",
            bytes=self._size,
            lines=self._tally.lines,
            crlf=self._tally.returns > 0,
            regular=self._tally.regular and self._tally.returns in (0, self._tally.lines),
        )

    def scan_rest(self, on_irregular: Callable[[], object] = lambda: None) -> FileScan:
        """Scan what is left of the file.

        Args:
            on_irregular: called once, before the end, if a block proves that the records are not
                regular.
        """
        self._scan_blocks(None, on_irregular)
        open_end = bool(self._partial_line)
        tally = self._tally
        if open_end:
            tally.add(self._partial_line + b"\n")
        return FileScan(
            sha256=self._digest.hexdigest(),
            bytes=self._size,
            lines=tally.lines,
            crlf=tally.returns > 0,
            regular=tally.regular
            and not self._partial_line.endswith(b"\r")
            and tally.returns in (0, tally.lines - open_end)
            and tally.delimiters == tally.lines * (self._cells - 1),
        )

    @contextmanager
    def counting(self, on_irregular: Callable[[], object]) -> Iterator[Callable[[], int | None]]:
        """Scan what is left in a thread during the block, whose end cancels the scan.

        Args:
            on_irregular: called in that thread, as `scan_rest` calls it.

        Yields:
            A function that waits for the end of the scan and returns the number of records, or
            None if they are not regular.
        """
        with ThreadPoolExecutor(max_workers=1) as executor:
            future = executor.submit(self.scan_rest, on_irregular)

            def count() -> int | None:
                self.result = future.result()
                return self.result.lines if self.result.regular else None

            try:
                yield count
            finally:
                self._cancelled = True

    def _scan_blocks(self, limit: int | None, on_irregular: Callable[[], object]) -> None:
        blocks("hashing a mapping")
        with self._path.open("rb") as file:
            file.seek(self._size)
            while limit is None or self._size < limit * BLOCK_BYTES:
                block = file.read(BLOCK_BYTES)
                if not block or self._cancelled:
                    return
                self._stop.check()
                was_regular = self._tally.regular
                self._add(block)
                if was_regular and not self._tally.regular:
                    on_irregular()

    def _add(self, block: bytes) -> None:
        self._digest.update(block)
        body = block[max(0, self._header_bytes - self._size) :]
        self._size += len(block)
        self._stop.report_position(self._size)
        self._partial_line = _count_lines(self._partial_line, body, self._tally)


def _count_lines(partial_line: bytes, body: bytes, tally: _Tally) -> bytes:
    """Count the whole lines of a block; return the partial line at its end."""
    if not tally.regular:
        return b""
    end = body.rfind(b"\n") + 1
    if not end:
        if len(partial_line) + len(body) > BLOCK_BYTES:
            tally.regular = False
            return b""
        return partial_line + body
    tally.add(partial_line + body[:end])
    return body[end:]


def _is_utf8(lines: bytes) -> bool:
    if lines.isascii():
        return True
    try:
        lines.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
