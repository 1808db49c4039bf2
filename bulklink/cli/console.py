"""Terminal output: notes, warnings, errors, tables."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from textwrap import indent, wrap
from typing import Any

import click

from bulklink.errors import BulklinkError, InvalidRowsError
from bulklink.file_names import file_name_text


def print_json(content: Mapping[str, Any]) -> None:
    """Print one JSON object on standard output, in UTF-8 whatever the locale is."""
    import orjson  # noqa: PLC0415 - not for --help

    try:
        line = orjson.dumps(content, default=str)
    except TypeError:  # the name of a file is not UTF-8
        line = orjson.dumps(_with_encodable_texts(content))
    click.echo(line)


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
    """Send notes and warnings to `write` while the block runs."""
    previous, _note_output.write = _note_output.write, write
    try:
        yield
    finally:
        _note_output.write = previous


def note(text: str) -> None:
    """Write a note to standard error; if it cannot be written, the command goes on."""
    with suppress(OSError):
        _note_output.write(text)


def warn(text: str) -> None:
    """Write a warning to standard error."""
    note(f"{click.style('warning:', fg='yellow')} {text}")


def show_error(error: BulklinkError, *, as_json: bool) -> None:
    """Show an error with its place and advice; with `as_json` on standard output."""
    for fault in error.faults if isinstance(error, InvalidRowsError) else ():
        note(f"  {fault}")
    if as_json:
        content = {"code": error.code, **error_object(error)}
        print_json({"error": content, "exit_code": int(error.exit_code)})
        return
    where = f"{error.where}: " if error.where else ""
    note(f"{click.style('error:', fg='red', bold=True)} {where}{error.message}")
    if error.advice:
        note(indent(error.advice, "  "))


def error_object(error: BulklinkError) -> dict[str, str]:
    """Return an error as JSON output has it, without its code."""
    return {"where": error.where, "message": error.message, "advice": error.advice}


def can_ask() -> bool:
    """Return whether the user can be asked: standard input and error are terminals."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def format_columns(rows: Sequence[Sequence[str]], right_aligned: Collection[int]) -> Iterator[str]:
    """Yield rows as indented lines with aligned columns.

    Args:
        rows: texts of equal number.
        right_aligned: indices of the columns that are aligned right.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (
            cell.rjust(width) if index in right_aligned else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        yield "  ".join(("", *cells)).rstrip()


def format_counts(counts: Mapping[str, int], *, always: Collection[str]) -> str:
    """Return counts as a table, without those that are 0 and not always shown."""
    return format_table({name: n for name, n in counts.items() if n or name in always})


def format_table(rows: Mapping[str, object]) -> str:
    """Return names and values in two columns, numbers with thousands separators."""
    texts = {
        name: f"{value:,}" if isinstance(value, int | float) else str(value)
        for name, value in rows.items()
    }
    width = max(map(len, texts))
    number_width = max(
        (len(v) for n, v in texts.items() if isinstance(rows[n], int | float)), default=0
    )
    return "\n".join(
        f"  {name:<{width}}  {value:>{number_width if isinstance(rows[name], int | float) else 0}}"
        for name, value in texts.items()
    )


def wrap_text(text: str, margin: str = "") -> list[str]:
    """Return a text in lines that fit the terminal, the later ones indented; whole without one.

    Args:
        text: one paragraph. Words are never cut: ids and paths stay whole.
        margin: what every line begins with.
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
