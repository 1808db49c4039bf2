"""Rendering the report as one self-contained HTML file."""

from __future__ import annotations

from datetime import tzinfo
from functools import lru_cache

from jinja2 import Template

from bulklink.html_pages.page import escape_json, load_assets, page_environment
from bulklink.html_pages.plot_area import PLOT_HEIGHT, PLOT_WIDTH, format_coordinate
from bulklink.html_pages.report.model import Report
from bulklink.html_pages.report.rows import MAX_ROWS_PER_GROUP
from bulklink.html_pages.time_axis import humanize_duration


def render_report(report: Report, zone: tzinfo | None = None) -> str:
    """Return the report as HTML.

    All texts are escaped, including control characters. Script and style are allowed only by their
    hashes, and nothing may be fetched.

    Args:
        report: report model.
        zone: time zone of the report; None for this machine's.
    """
    return _load_page(zone).render(
        report=report,
        most_rows=MAX_ROWS_PER_GROUP,
        assets=load_assets(
            "report", ["report.js"] if _needs_script(report) else [], has_charts=True
        ),
        rows=_script_data(report.embedded_rows),
    )


@lru_cache(maxsize=1)
def _load_page(zone: tzinfo | None) -> Template:
    """Return the compiled template, which takes longer to compile than to render."""
    environment = page_environment(
        "report", zone, {"duration": humanize_duration, "coordinate": format_coordinate}
    )
    environment.globals |= {"plot_width": PLOT_WIDTH, "plot_height": PLOT_HEIGHT}
    return environment.get_template("page.html.j2")


def _needs_script(report: Report) -> bool:
    """Return whether anything in the report needs the script."""
    return report.charts is not None or report.embedded_rows is not None


def _script_data(json: bytes | None) -> str | None:
    return None if json is None else escape_json(json).decode()
