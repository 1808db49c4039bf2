"""CSV dialect: delimiter, quoting, lines before the header, Excel's `sep=` line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from bulklink.advice import Advice, Keyword
from bulklink.errors import UsageError

if TYPE_CHECKING:
    from bulklink.mapping.schema import MappingOptions

#: Delimiters that are detected; any other must be set.
DETECTED_DELIMITERS = (",", ";", "\t", "|")
QUOTE = '"'
#: Value of `quote` for files whose quotes are ordinary characters.
NO_QUOTE = "none"
_WHITE_SPACE = b" \t\r\n\v\f"
_NAMES = {"tab": "\t"}
_NEVER_DELIMITERS = "\"'\r\n\v\f\0\1 "
_NEVER_MARKS = "\t\r\n\v\f\0\1 "


class Dialect(msgspec.Struct, frozen=True):
    """Dialect of a CSV file.

    Args:
        delimiter: one character.
        has_sep_line: whether its first line is Excel's `sep=` and the delimiter; that line is
            neither a header nor a record.
        quote: character around cells; None if quotes are ordinary characters.
        escape: character before a quote that is part of a cell; None if it is doubled.
        skip_lines: lines before the header that the user skips.
    """

    delimiter: str = ","
    has_sep_line: bool = False
    quote: str | None = QUOTE
    escape: str | None = None
    skip_lines: int = 0

    @property
    def lines_before_header(self) -> int:
        """Lines at the start of the file that are neither its header nor records."""
        return max(self.skip_lines, self.has_sep_line)

    @property
    def irregular_bytes(self) -> tuple[bytes, ...]:
        """Bytes that only the exact reader understands."""
        return tuple(mark.encode() for mark in (self.quote, self.escape) if mark)

    @property
    def blank_bytes(self) -> bytes:
        """Bytes that a line of only white space and empty cells consists of."""
        return _WHITE_SPACE + f"{self.delimiter}{self.quote or ''}".encode()

    def is_blank(self, line: bytes) -> bool:
        """Return whether a line has only white space and empty cells."""
        if line.strip(self.blank_bytes):
            return False
        empty = (b"", 2 * (self.quote or "").encode())
        cells = line.strip(b"\r\n").split(self.delimiter.encode())
        return all(cell.strip(_WHITE_SPACE) in empty for cell in cells)


def is_delimiter(text: str) -> bool:
    """Return whether a text is one character that can delimit cells."""
    return (
        len(text) == 1 and text.isascii() and not text.isalnum() and text not in _NEVER_DELIMITERS
    )


def parse_delimiter(text: str) -> str:
    """Parse a delimiter: one character, or `tab`.

    Raises:
        UsageError: if it cannot delimit cells.
    """
    delimiter = _NAMES.get(text.strip().lower(), text)
    if not is_delimiter(delimiter):
        raise UsageError(
            f"{text!r} cannot delimit the cells of a CSV file.",
            where=Advice("{}", Keyword("delimiter")),
            advice="Use one character: ',' ';' tab '|' or another symbol.",
        )
    return delimiter


def dialect_options(options: MappingOptions) -> Dialect:
    """Return the dialect that options set; its delimiter is `,` unless set.

    Raises:
        UsageError: if a value is invalid, or two of them are the same character.
    """
    quote = QUOTE if options.quote is None else _parse_quote(options.quote)
    escape = None if options.escape is None else _parse_mark("escape", options.escape)
    delimiter = "," if options.delimiter is None else parse_delimiter(options.delimiter)
    if options.delimiter is not None and delimiter in (quote, escape):
        raise UsageError(
            f"{options.delimiter!r} cannot both delimit cells and quote them.",
            where=Advice("{}", Keyword("delimiter")),
            advice=Advice(
                "Set {}, {} and {} to different characters.",
                *map(Keyword, ("delimiter", "quote", "escape")),
            ),
        )
    if options.skip_lines < 0:
        raise UsageError(
            f"{options.skip_lines} is not a number of lines.",
            where=Advice("{}", Keyword("skip_lines")),
            advice="Use 0 or more.",
        )
    return Dialect(
        delimiter,
        quote=quote,
        # A doubled quote needs no other character.
        escape=None if escape == quote else escape,
        skip_lines=options.skip_lines,
    )


def _parse_quote(text: str) -> str | None:
    return None if text.strip().lower() == NO_QUOTE else _parse_mark("quote", text)


def _parse_mark(option: str, text: str) -> str:
    if len(text) != 1 or not text.isascii() or text.isalnum() or text in _NEVER_MARKS:
        raise UsageError(
            f"{text!r} cannot quote the cells of a CSV file.",
            where=Advice("{}", Keyword(option)),
            advice="Use one character, such as \\."
            if option == "escape"
            else "Use one character, such as ', or none.",
        )
    return text


def format_delimiter(delimiter: str) -> str:
    """Format a delimiter for a message, as `parse_delimiter` reads it."""
    return "tab" if delimiter == "\t" else f"'{delimiter}'"
