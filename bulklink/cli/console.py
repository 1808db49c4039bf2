"""Terminal output: lines, notes, warnings, errors, questions, tables.

Every command prints through this module, which escapes control characters.
"""

from __future__ import annotations

import io
import os
import shutil
import sys
from codecs import getincrementaldecoder
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from textwrap import indent, wrap
from typing import Any, BinaryIO, cast

import click

from bulklink.advice import Keyword, NextCall
from bulklink.cli.suggested_commands import with_profile
from bulklink.errors import BulklinkError, InvalidRowsError
from bulklink.file_names import file_name_text
from bulklink.shell import bulklink_command, format_command, path_word
from bulklink.visible_text import escape_controls, escape_json_controls


@dataclass(frozen=True, slots=True)
class Styled:
    """Text with a colour or in bold.

    Args:
        text: the text.
        colour: its colour; None for the terminal's default.
        bold: whether it is bold.
    """

    text: str
    colour: str | None = None
    bold: bool = False


Line = str | Styled | tuple[str | Styled, ...]
"""One line of output, or its parts. Control characters and line breaks in it are escaped."""


def print_line(line: Line, *, err: bool = False) -> None:
    """Print a line on standard output.

    Args:
        line: the line.
        err: print it on standard error.
    """
    click.echo(render(line), err=err, color=colour_setting())


def print_json(content: Mapping[str, Any]) -> None:
    """Print one JSON object on standard output, in UTF-8 regardless of the locale."""
    import orjson  # noqa: PLC0415 - not for --help

    try:
        json = orjson.dumps(content, default=str)
    except TypeError:  # a file name is not UTF-8
        json = orjson.dumps(_with_encodable_texts(content))
    click.echo(escape_json_controls(json.decode()).encode())


def _with_encodable_texts(content: Any) -> Any:
    match content:
        case Mapping():
            return {key: _with_encodable_texts(value) for key, value in content.items()}
        case list() | tuple():
            return [*map(_with_encodable_texts, content)]
        case str() | os.PathLike():
            return file_name_text(content)
        case _:
            return content


def render(line: Line) -> str:
    """Return a line as it is written: escape its texts, add styles."""
    parts = line if isinstance(line, tuple) else (line,)
    return "".join(
        click.style(_escape_text(part.text), fg=part.colour, bold=part.bold or None)
        if isinstance(part, Styled)
        else _escape_text(part)
        for part in parts
    )


def _escape_text(text: str) -> str:
    """Escape control characters, and bytes of file names that are not text."""
    return escape_controls(file_name_text(text))


def stdout_stream() -> BinaryIO:
    """Return standard output for rows; at a terminal, control characters are escaped."""
    if sys.stdout.isatty():
        return cast("BinaryIO", _TerminalStream(sys.stdout.buffer))
    return sys.stdout.buffer


class _TerminalStream(io.RawIOBase):
    """UTF-8 stream that escapes control characters except line breaks and tabs."""

    def __init__(self, terminal: BinaryIO) -> None:
        self._terminal = terminal
        self._decoder = getincrementaldecoder("utf-8")("backslashreplace")
        self._rest = ""

    def writable(self) -> bool:
        return True

    def write(self, content: Any) -> int:
        view = memoryview(content)
        text = self._rest + self._decoder.decode(view)
        self._rest = "\r" if text.endswith("\r") else ""
        text = text.removesuffix("\r").replace("\r\n", "\n")
        self._terminal.write(escape_json_controls(text).encode())
        return view.nbytes

    def flush(self) -> None:
        self._terminal.flush()


def _write_stderr(text: str) -> None:
    click.echo(text, err=True, color=colour_setting())


def colour_setting() -> bool | None:
    """Return False if NO_COLOR is set, None to colour at a terminal only."""
    return False if os.environ.get("NO_COLOR") else None


class _NoteOutput:
    """Destination of notes."""

    def __init__(self) -> None:
        self.write: Callable[[str], object] = _write_stderr


_note_output = _NoteOutput()


@contextmanager
def redirect_notes(write: Callable[[str], object]) -> Iterator[None]:
    """Redirect notes and warnings to `write` while the block runs."""
    previous, _note_output.write = _note_output.write, write
    try:
        yield
    finally:
        _note_output.write = previous


def note(line: Line) -> None:
    """Write a note to standard error; if that fails, the command continues."""
    with suppress(OSError):
        _note_output.write(render(line))


def note_lines(text: str) -> None:
    """Write a text of several lines to standard error."""
    for line in text.split("\n"):
        note(line)


def warn(text: str) -> None:
    """Write a warning to standard error."""
    note((Styled("warning:", "yellow"), f" {text}"))


def show_error(error: BulklinkError, *, as_json: bool) -> None:
    """Show an error with its place and advice; with `as_json` on standard output."""
    for fault in error.faults if isinstance(error, InvalidRowsError) else ():
        note(f"  {fault}")
    if as_json:
        content = {"code": error.code, **error_object(error)}
        print_json({"error": content, "exit_code": int(error.exit_code)})
        return
    where, advice = error.place.worded(command_words), error.guidance.worded(command_words)
    place = f"{where}: " if where else ""
    note((Styled("error:", "red", bold=True), f" {place}{error.message}"))
    if advice:
        note_lines(indent(advice, "  "))


def confirm(question: str) -> bool:
    """Ask a question on standard error and return whether the answer is yes.

    Raises:
        click.Abort: at Ctrl-C or the end of the input.
    """
    return click.confirm(escape_controls(question), err=True)


def ask(label: str, **options: Any) -> str:
    """Ask for a text on standard error.

    Args:
        label: label of the prompt.
        options: keyword arguments of `click.prompt`.

    Raises:
        click.Abort: at Ctrl-C or the end of the input.
    """
    answer: str = click.prompt(escape_controls(label), err=True, **options)
    return answer


def error_object(error: BulklinkError) -> dict[str, str]:
    """Return an error as in JSON output, without its code."""
    return {
        "where": error.place.worded(command_words),
        "message": error.message,
        "advice": error.guidance.worded(command_words),
    }


def command_words(part: Keyword | NextCall) -> str:
    """Return a setting as a command-line option, and a call as a command."""
    if isinstance(part, Keyword):
        return format_command(*_option_words(part))
    options = (word for setting in part.settings for word in _option_words(setting))
    words = (*part.function.split("_"), *map(path_word, part.arguments), *options)
    names_profile = any(setting.name == "profile" for setting in part.settings)
    return bulklink_command(*(words if names_profile else with_profile(*words)))


_TRUE_VALUES = ("1", "true", "t", "yes", "y", "on")
_OPTIONS = {
    "columns": "column",
    "defaults": "default",
    "emails": "email",
    "format_": "format",
    "thresholds": "threshold",
    "from_system": "from",
}
"""Options whose name differs from the library's keyword."""


def _option_words(setting: Keyword) -> Sequence[str]:
    name = _OPTIONS.get(setting.name, setting.name).replace("_", "-")
    if isinstance(setting.value, tuple):
        values = (value if isinstance(value, str) else "=".join(value) for value in setting.value)
        return [word for value in values for word in (f"--{name}", value)]
    if setting.value is False:
        return (f"--no-{name}",)
    if setting.value is None or setting.value is True:
        return (f"--{name}",)
    return (f"--{name}", str(setting.value))


def can_ask() -> bool:
    """Return whether the user can be asked: standard input and error are terminals."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def format_columns(rows: Sequence[Sequence[str]], right_aligned: Collection[int]) -> Iterator[str]:
    """Yield rows as indented lines with aligned columns.

    Args:
        rows: rows of equal length.
        right_aligned: indices of right-aligned columns.
    """
    rows = [[escape_controls(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (
            cell.rjust(width) if index in right_aligned else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        yield "  ".join(("", *cells)).rstrip()


def count_lines(counts: Mapping[str, int], *, always: Collection[str]) -> Iterator[Line]:
    """Yield counts as a table; leave out zeros unless they are always shown."""
    return table_lines({name: n for name, n in counts.items() if n or name in always})


def table_lines(rows: Mapping[str, int | float | Line]) -> Iterator[Line]:
    """Yield names and values in two columns, numbers with thousands separators."""
    if not rows:
        return
    numbers = {name: f"{n:,}" for name, n in rows.items() if isinstance(n, int | float)}
    width = max(map(len, rows))
    number_width = max(map(len, numbers.values()), default=0)
    for name, value in rows.items():
        if isinstance(value, int | float):
            yield f"  {name:<{width}}  {numbers[name]:>{number_width}}"
        else:
            parts = value if isinstance(value, tuple) else (value,)
            yield (f"  {name:<{width}}  ", *parts)


def wrap_text(text: str, margin: str = "") -> list[str]:
    """Wrap a text to the terminal's width with a hanging indent; without a terminal, do not wrap.

    Args:
        text: one paragraph. Words are never cut: ids and paths stay whole.
        margin: prefix of every line.
    """
    if not sys.stdout.isatty():
        return [margin + text]
    return wrap(
        text,
        max(20, shutil.get_terminal_size().columns),
        initial_indent=margin,
        subsequent_indent=margin + "  ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def is_option_set(option: str, variable: str) -> bool:
    """Return whether an option is set, even if the command line is invalid."""
    return option in sys.argv[1:] or os.environ.get(variable, "").strip().lower() in _TRUE_VALUES
