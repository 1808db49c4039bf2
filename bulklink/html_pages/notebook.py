"""HTML of results in a notebook: small tables without style and script, every text escaped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape

from bulklink.visible_text import escape_controls


def facts_html(title: str, facts: Mapping[str, object]) -> str:
    """Return a table of facts, one a line.

    Args:
        title: what they are about.
        facts: values by name; those that are None or empty are left out. A dict is shown as its
            items, and a number with separators.
    """
    lines = "".join(
        f"<tr>{_cell('th', name)}{_cell('td', value)}</tr>"
        for name, value in facts.items()
        if value not in (None, "", {}, ())
    )
    return f"<table>{_cell('caption', title)}<tbody>{lines}</tbody></table>"


def rows_html(title: str, headers: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """Return a table of rows; None is an empty cell.

    Args:
        title: what the rows are.
        headers: headers of the columns.
        rows: their cells.
    """
    head = "".join(f"<th>{_text(header)}</th>" for header in headers)
    body = "".join(f"<tr>{''.join(f'<td>{_text(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return (
        f"<table><caption>{_text(title)}</caption>"
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    )


def _text(value: object) -> str:
    return escape(escape_controls(_plain(value)))


def _plain(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, Mapping):
        return ", ".join(f"{_plain(item)} {name}" for name, item in value.items())
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"{value:,}"
    return str(value)
