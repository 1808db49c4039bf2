"""What parts the cells of a CSV file."""

from __future__ import annotations

import msgspec

from bulklink.errors import UsageError

#: What is found without being told; any other character has to be given.
DETECTED_DELIMITERS = (",", ";", "\t", "|")
_NAMES = {"tab": "\t"}
_NEVER = "\"'\r\n\v\f\0\1 "


class Dialect(msgspec.Struct, frozen=True):
    """How a CSV file is written.

    `has_sep_line` says that its first line is `sep=` and the delimiter, as Excel writes and reads
    it; that line is no header and no record.
    """

    delimiter: str = ","
    has_sep_line: bool = False

    @property
    def blank_bytes(self) -> bytes:
        """What a line may consist of to be blank: white space, but never the delimiter."""
        return b" \t\r\n\v\f".replace(self.delimiter.encode(), b"")


def is_delimiter(text: str) -> bool:
    """Tell whether a text is one character that can part cells."""
    return len(text) == 1 and text.isascii() and not text.isalnum() and text not in _NEVER


def parse_delimiter(text: str) -> str:
    """Return the delimiter that `--delimiter` names: a character, or `tab`.

    Raises:
        UsageError: if it cannot part cells.
    """
    delimiter = _NAMES.get(text.strip().lower(), text)
    if not is_delimiter(delimiter):
        raise UsageError(
            f"{text!r} cannot part the cells of a CSV file.",
            where="--delimiter",
            advice="Give one character: ',' ';' tab '|' or another sign.",
        )
    return delimiter


def format_delimiter(delimiter: str) -> str:
    """Write a delimiter as `--delimiter` takes it at a command line."""
    return "tab" if delimiter == "\t" else f"'{delimiter}'"
