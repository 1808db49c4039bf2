"""Shared strings of a workbook: the first in memory, the rest in a temporary file."""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING

from bulklink.atomic_files import temporary_path
from bulklink.mapping.input.plain_elements import shorten_strings, split_elements
from bulklink.mapping.input.workbook_package import damaged_workbook_error
from bulklink.mapping.input.xml_parts import MAX_TEXT_CHARS, XmlHandler, local_name, parse_part

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

#: Maximum size of the strings that are kept in memory.
MEMORY_BYTES = 48 << 20
_STRING_OVERHEAD = 64
_POSITION = struct.Struct("<QI")
_ESCAPED_CHARACTER = re.compile("_x([0-9A-Fa-f]{4})_")


def unescape_text(text: str) -> str:
    """Decode characters that a workbook escapes, such as `_x000D_`."""
    if "_x" not in text:
        return text
    text = _ESCAPED_CHARACTER.sub(lambda match: chr(int(match[1], 16)), text)
    # The surrogates of a pair may be escaped separately.
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


class _StringsHandler(XmlHandler):
    """Passes on the text of each string: all its runs except phonetic ones."""

    __slots__ = ("_add", "_in_string", "_phonetic", "_text")

    def __init__(self, add: Callable[[str], None]) -> None:
        super().__init__()
        self._add = add
        self._text = ""
        self._phonetic = self._in_string = False

    def start(self, name: str, attributes: dict[str, str]) -> None:
        """Receive a start tag."""
        self.depth += 1
        name = local_name(name)
        if name == "t" and self._in_string and not self._phonetic:
            self.start_text()
        elif name == "si":
            self._take_plain_strings()
            self._text = ""
            self._in_string = True
        elif name == "rPh":
            self._phonetic = True

    def end_block(self) -> None:
        """Take the plain strings so far."""
        if not self._in_string:
            self._take_plain_strings()
        super().end_block()

    def _take_plain_strings(self) -> None:
        """Take the strings that `shorten_strings` turned into text."""
        text = "".join(self.texts)
        self.texts.clear()
        for string, _ in split_elements(text):
            self._add(unescape_text(string))

    def end(self, name: str) -> None:
        """Receive an end tag."""
        self.depth -= 1
        name = local_name(name)
        if name == "t" and self.in_text:
            text = self.end_text()
            self._text = (self._text + text)[:MAX_TEXT_CHARS] if self._text else text
        elif name == "rPh":
            self._phonetic = False
        elif name == "si":
            self._in_string = False
            self.texts.clear()
            self._add(unescape_text(self._text))


class SharedStrings:
    """Texts that cells refer to by number; close them when done.

    Args:
        name: the workbook as the user named it.
        folder: folder for a temporary file.
    """

    def __init__(self, name: str, folder: Path) -> None:
        self._name = name
        self._folder = folder
        self._strings: list[str] = []
        self._free_bytes = MEMORY_BYTES
        self._spilled: _SpilledStrings | None = None

    def load(self, blocks: Iterable[bytes]) -> None:
        """Read the part that holds the strings."""
        for _ in parse_part(shorten_strings(blocks), _StringsHandler(self._append)):
            pass
        if self._spilled is not None:
            self._spilled.flush()

    def _append(self, text: str) -> None:
        if self._spilled is None:
            self._free_bytes -= len(text) * 2 + _STRING_OVERHEAD
            if self._free_bytes > 0:
                self._strings.append(text)
                return
            self._spilled = _SpilledStrings(self._folder)
        self._spilled.append(text)

    def __getitem__(self, number: int) -> str:
        if 0 <= number < len(self._strings):
            return self._strings[number]
        spilled = None
        if self._spilled is not None and number >= 0:
            spilled = self._spilled.read(number - len(self._strings))
        if spilled is None:
            raise damaged_workbook_error(self._name, f"it has no shared string {number}")
        return spilled

    def close(self) -> None:
        """Remove the temporary file."""
        if self._spilled is not None:
            self._spilled.close()


class _SpilledStrings:
    """Strings in one temporary file, their positions in another."""

    def __init__(self, folder: Path) -> None:
        self._paths = (temporary_path(folder), temporary_path(folder))
        self._texts, self._positions = (path.open("x+b", 1 << 16) for path in self._paths)
        self._end = 0

    def append(self, text: str) -> None:
        content = text.encode()
        self._texts.write(content)
        self._positions.write(_POSITION.pack(self._end, len(content)))
        self._end += len(content)

    def flush(self) -> None:
        """Write everything to the files."""
        self._texts.flush()
        self._positions.flush()

    def read(self, number: int) -> str | None:
        """Return a string; None if there are fewer."""
        self._positions.seek(number * _POSITION.size)
        entry = self._positions.read(_POSITION.size)
        if len(entry) != _POSITION.size:
            return None
        start, size = _POSITION.unpack(entry)
        self._texts.seek(start)
        return self._texts.read(size).decode()

    def close(self) -> None:
        self._texts.close()
        self._positions.close()
        for path in self._paths:
            path.unlink(missing_ok=True)
