"""Reader of single lines of a file, by their offsets."""

from __future__ import annotations

from collections import deque
from io import FileIO

from bulklink.folder_files import MAX_LINE_BYTES

_LINE_BYTES = 1024
_BLOCK_BYTES = 64 << 10
#: Calls in flight end in any order, so the lines of successive rows lie within a few blocks.
_BLOCKS = 4


class LineAtReader:
    """Reader of lines by offset: where lines are near each other, whole blocks are read.

    Args:
        file: the file; its lines are at most `MAX_LINE_BYTES` long.
    """

    __slots__ = ("_blocks", "_file", "_missed")

    def __init__(self, file: FileIO) -> None:
        self._file = file
        self._blocks: dict[int, bytes] = {}
        self._missed: deque[int] = deque(maxlen=_BLOCKS)

    def read(self, offset: int) -> bytes:
        """Return the line at an offset, without its newline; the rest of the file without one."""
        number, start = divmod(offset, _BLOCK_BYTES)
        block = self._blocks.get(number)
        if block is None and self._is_near(number):
            block = self._read_block(number)
        if block is not None:
            end = block.find(b"\n", start)
            if end >= 0:
                return block[start:end]
        return self._read_line(offset)

    def _is_near(self, number: int) -> bool:
        """Return whether a line was read recently in the same block or in one next to it."""
        is_near = any(number - 1 <= missed <= number + 1 for missed in self._missed)
        self._missed.append(number)
        return is_near

    def _read_block(self, number: int) -> bytes:
        if len(self._blocks) == _BLOCKS:
            del self._blocks[next(iter(self._blocks))]
        self._file.seek(number * _BLOCK_BYTES)
        # The last line that begins in a block may end beyond it.
        block = self._blocks[number] = self._file.read(_BLOCK_BYTES + _LINE_BYTES)
        return block

    def _read_line(self, offset: int) -> bytes:
        self._file.seek(offset)
        line = self._file.read(_LINE_BYTES)
        while (
            b"\n" not in line
            and len(line) <= MAX_LINE_BYTES
            and (more := self._file.read(_LINE_BYTES))
        ):
            line += more
        return line.partition(b"\n")[0]
