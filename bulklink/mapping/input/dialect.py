"""CSV delimiter and Excel's `sep=` line."""

from __future__ import annotations

import msgspec

from bulklink.errors import UsageError

#: Delimiters that are detected; any other has to be given.
DETECTED_DELIMITERS = (",", ";", "\t", "|")
_NAMES = {"tab": "\t"}
_NEVER_DELIMITERS = "\"'\r\n\v\f\0\1 "


class Dialect(msgspec.Struct, frozen=True):
    """Delimiter of a CSV file.

    Args:
        delimiter: one character.
        has_sep_line: whether its first line is Excel's `sep=` and the delimiter; that line is
            neither a header nor a record.
    """

    delimiter: str = ","
    has_sep_line: bool = False

    @property
    def blank_bytes(self) -> bytes:
        """Bytes of a blank line: white space, but never the delimiter."""
        return b" \t\r\n\v\f".replace(self.delimiter.encode(), b"")


def is_delimiter(text: str) -> bool:
    """Return whether a text is one character that can delimit cells."""
    return (
        len(text) == 1 and text.isascii() and not text.isalnum() and text not in _NEVER_DELIMITERS
    )


def parse_delimiter(text: str) -> str:
    """Parse the value of `--delimiter`: one character, or `tab`.

    Raises:
        UsageError: if it cannot delimit cells.
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
    """Format a delimiter as `--delimiter` takes it on a command line."""
    return "tab" if delimiter == "\t" else f"'{delimiter}'"
