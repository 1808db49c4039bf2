"""Rendering the report as one self-contained HTML file."""

from __future__ import annotations

from base64 import b64encode
from datetime import tzinfo
from functools import lru_cache, partial
from hashlib import sha256
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from bulklink.counts import count_of, inflect
from bulklink.html_report.model import Report
from bulklink.html_report.plot_area import PLOT_HEIGHT, PLOT_WIDTH, format_coordinate
from bulklink.html_report.rows import MAX_ROWS_PER_GROUP, escape_json
from bulklink.html_report.time_axis import humanize_duration
from bulklink.local_time import format_local_time
from bulklink.visible_text import escape_controls

_PACKAGE_FILES = files("bulklink.html_report")


def render_report(report: Report, zone: tzinfo | None = None) -> str:
    """Return the report as HTML.

    All texts are escaped, including control characters. Script and style are allowed only by their
    hashes, and nothing may be fetched.

    Args:
        report: report model.
        zone: time zone of the report; None for this machine's.
    """
    style = _read("assets/page.css")
    script = _read("assets/page.js") if _needs_script(report) else None
    return _load_page(zone).render(
        report=report,
        most_rows=MAX_ROWS_PER_GROUP,
        policy=_content_security_policy(script, style),
        style=style,
        script=script,
        rows=_script_data(report.embedded_rows),
    )


@lru_cache(maxsize=1)
def _load_page(zone: tzinfo | None) -> Template:
    """Return the compiled template, which takes longer to compile than to render."""
    env = Environment(
        loader=PackageLoader("bulklink.html_report"),
        autoescape=True,
        finalize=_finalize,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.filters |= {
        "local": partial(format_local_time, zone=zone),
        "number": "{:,}".format,
        "count_of": count_of,
        "inflect": inflect,
        "duration": humanize_duration,
        "coordinate": format_coordinate,
    }
    env.globals |= {"plot_width": PLOT_WIDTH, "plot_height": PLOT_HEIGHT}
    return env.get_template("page.html.j2")


def _finalize(value: object) -> object:
    """Escape control characters of a text; markup marked as safe is not user text."""
    return escape_controls(value) if type(value) is str else value


def _needs_script(report: Report) -> bool:
    """Return whether anything in the report needs the script."""
    return report.charts is not None or report.embedded_rows is not None


def _script_data(json: bytes | None) -> str | None:
    return None if json is None else escape_json(json).decode()


def _content_security_policy(script: str | None, style: str) -> str:
    """Return the policy that allows this script and style, and nothing else."""
    allowed = [f"style-src {_hash(style)}"]
    if script is not None:
        allowed.insert(0, f"script-src {_hash(script)}")
    return "; ".join(["default-src 'none'", *allowed, "base-uri 'none'", "form-action 'none'"])


def _hash(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"


def _read(name: str) -> str:
    return _PACKAGE_FILES.joinpath(name).read_text(encoding="utf-8")
