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


def _echo(text: str) -> None:
    click.echo(text, err=True, color=colour())


def colour() -> bool | None:
    """Tell click whether to colour: never where NO_COLOR is set, else where there is a terminal."""
    return False if os.environ.get("NO_COLOR") else None


class _Notes:
    """Where notes go."""

    def __init__(self) -> None:
        self.say: Callable[[str], object] = _echo


_notes = _Notes()


@contextmanager
def notes_by(say: Callable[[str], object]) -> Iterator[None]:
    """Have notes and warnings said by somebody else meanwhile, such as what draws a live view."""
    before, _notes.say = _notes.say, say
    try:
        yield
    finally:
        _notes.say = before


def note(text: str) -> None:
    """Tell a person something beside the result; if nobody can read it, the command goes on."""
    with suppress(OSError):
        _notes.say(text)


def warn(text: str) -> None:
    """Tell a person what deserves a look."""
    note(f"{click.style('warning:', fg='yellow')} {text}")


def show_error(error: BulklinkError, *, as_json: bool) -> None:
    """Show what is wrong, where, and what to do; as JSON on standard output if asked for."""
    for fault in error.faults if isinstance(error, InvalidRowsError) else ():
        note(f"  {fault}")
    if as_json:
        said = {
            "code": error.code,
            "where": error.where,
            "message": error.message,
            "advice": error.advice,
        }
        print_json({"error": said, "exit_code": int(error.exit_code)})
        return
    where = f"{error.where}: " if error.where else ""
    note(f"{click.style('error:', fg='red', bold=True)} {where}{error.message}")
    if error.advice:
        note(indent(error.advice, "  "))


def table(rows: Mapping[str, object]) -> str:
    """Return names and values in two columns, numbers with thousands marks."""
    shown = {
        name: f"{value:,}" if isinstance(value, int | float) else str(value)
        for name, value in rows.items()
    }
    width = max(map(len, shown))
    numbers = max((len(v) for n, v in shown.items() if isinstance(rows[n], int | float)), default=0)
    return "\n".join(
        f"  {name:<{width}}  {value:>{numbers if isinstance(rows[name], int | float) else 0}}"
        for name, value in shown.items()
    )


def local_time(moment: str) -> str:
    """Return a time of a file, which is UTC, as local time with its offset."""
    return datetime.fromisoformat(moment).astimezone().isoformat(" ", "seconds")


def wrapped(text: str, margin: str = "") -> list[str]:
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
