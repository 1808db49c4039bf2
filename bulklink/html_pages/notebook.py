"""HTML of results in a notebook: small tables without a style sheet or script, all text escaped."""

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
        f"<tr>{_element('th', name)}{_element('td', value)}</tr>"
        for name, value in facts.items()
        if value not in (None, "", {}, ())
    )
    return f"<table>{_element('caption', title)}<tbody>{lines}</tbody></table>"


def rows_html(title: str, headers: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """Return a table of rows; None is an empty cell.

    Args:
        title: what the rows are.
        headers: headers of the columns.
        rows: their cells.
    """
    head = "".join(_element("th", header) for header in headers)
    body = "".join(f"<tr>{''.join(_element('td', cell) for cell in row)}</tr>" for row in rows)
    return (
        f"<table>{_element('caption', title)}"
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    )


def _element(tag: str, value: object) -> str:
    """Return an element with a text; notebooks would align that of a cell to the right."""
    text = escape(escape_controls(_plain(value)))
    return f'<{tag} style="text-align:left">{text}</{tag}>'


def _plain(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, Mapping):
        return ", ".join(f"{_plain(item)} {name}" for name, item in value.items())
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"{value:,}"
    return str(value)
