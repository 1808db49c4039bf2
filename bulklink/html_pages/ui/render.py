"""Rendering the pages of `bulklink ui`, which load their style and script from it."""

from __future__ import annotations

from datetime import datetime, tzinfo
from functools import lru_cache, partial
from typing import Any

from jinja2 import Environment

from bulklink.html_pages.page import page_environment, read_asset
from bulklink.html_pages.time_axis import humanize_duration

_ASSETS = {
    "ui.css": ("text/css", ("assets/base.css", "ui/assets/ui.css")),
    "ui.js": ("text/javascript", ("ui/assets/ui.js",)),
}
"""Content type and sources of each asset."""


def render_ui(template: str, zone: tzinfo | None = None, **values: Any) -> str:
    """Return a page as HTML; all texts are escaped, including control characters.

    Args:
        template: name of its template.
        zone: time zone of the page; None for this machine's.
        **values: values of the template; `link` returns the address of a path.
    """
    return _environment(zone).get_template(f"{template}.html.j2").render(**values)


@lru_cache
def ui_asset(name: str) -> tuple[str, str] | None:
    """Return the content type and the content of an asset; None if there is none of this name."""
    if name not in _ASSETS:
        return None
    content_type, sources = _ASSETS[name]
    return content_type, "".join(map(read_asset, sources))


@lru_cache(maxsize=1)
def _environment(zone: tzinfo | None) -> Environment:
    local = partial(_local_minute, zone=zone)
    return page_environment("ui", zone, {"duration": humanize_duration, "local": local})


def _local_minute(timestamp: str, zone: tzinfo | None) -> str:
    """Return a timestamp as local time to the minute; whoever reads it is on this machine."""
    return datetime.fromisoformat(timestamp).astimezone(zone).strftime("%Y-%m-%d %H:%M")
