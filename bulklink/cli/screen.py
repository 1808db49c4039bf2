"""What a person sees: errors and warnings on standard error, results on standard output."""

from __future__ import annotations

from collections.abc import Mapping
from textwrap import indent
from typing import Any

import click

from bulklink.errors import BulklinkError, InvalidRowsError


def print_json(content: Mapping[str, Any]) -> None:
    """Print one JSON object on standard output."""
    import orjson  # noqa: PLC0415 - not for --help

    click.echo(orjson.dumps(content, default=str).decode())


def note(text: str) -> None:
    """Tell a person something beside the result."""
    click.echo(text, err=True)


def warn(text: str) -> None:
    """Tell a person what deserves a look."""
    click.echo(f"{click.style('warning:', fg='yellow')} {text}", err=True)


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
