"""What a person sees: errors and warnings on standard error, results on standard output."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from textwrap import indent, wrap
from typing import Any

import click

from bulklink.errors import BulklinkError, InvalidRowsError


def print_json(content: Mapping[str, Any]) -> None:
    """Print one JSON object on standard output."""
    import orjson  # noqa: PLC0415 - not for --help

    click.echo(orjson.dumps(content, default=str))  # UTF-8, whatever the terminal's encoding is


def _write_stderr(text: str) -> None:
    click.echo(text, err=True, color=colour_setting())


def colour_setting() -> bool | None:
    """Tell click whether to colour: never where NO_COLOR is set, else where there is a terminal."""
    return False if os.environ.get("NO_COLOR") else None


class _NoteOutput:
    """Where notes go."""

    def __init__(self) -> None:
        self.write: Callable[[str], object] = _write_stderr


_note_output = _NoteOutput()


@contextmanager
def redirect_notes(write: Callable[[str], object]) -> Iterator[None]:
    """Have notes and warnings said by somebody else meanwhile, such as what draws a live view."""
    previous, _note_output.write = _note_output.write, write
    try:
        yield
    finally:
        _note_output.write = previous


def note(text: str) -> None:
    """Tell a person something beside the result; if nobody can read it, the command goes on."""
    with suppress(OSError):
        _note_output.write(text)


def warn(text: str) -> None:
    """Tell a person what deserves a look."""
    note(f"{click.style('warning:', fg='yellow')} {text}")


def show_error(error: BulklinkError, *, as_json: bool) -> None:
    """Show what is wrong, where, and what to do; as JSON on standard output if asked for."""
    for fault in error.faults if isinstance(error, InvalidRowsError) else ():
        note(f"  {fault}")
    if as_json:
        content = {
            "code": error.code,
            "where": error.where,
            "message": error.message,
            "advice": error.advice,
        }
        print_json({"error": content, "exit_code": int(error.exit_code)})
        return
    where = f"{error.where}: " if error.where else ""
    note(f"{click.style('error:', fg='red', bold=True)} {where}{error.message}")
    if error.advice:
        note(indent(error.advice, "  "))


def format_table(rows: Mapping[str, object]) -> str:
    """Return names and values in two columns, numbers with thousands marks."""
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


def format_local_time(timestamp: str) -> str:
    """Return a time of a file, which is UTC, as local time with its offset."""
    return datetime.fromisoformat(timestamp).astimezone().isoformat(" ", "seconds")


def wrap_text(text: str, margin: str = "") -> list[str]:
    """Return a text in lines that fit the terminal, the later ones set in; whole without one.

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
