"""The page of a run: one file, all in it, that can fetch nothing."""

from __future__ import annotations

from base64 import b64encode
from datetime import datetime, tzinfo
from hashlib import sha256
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined

from bulklink.html_report.model import Report
from bulklink.html_report.rows import MAX_ROWS_PER_GROUP, escape_json
from bulklink.html_report.timeline import humanize_duration

PLOT_STYLE = """:where(.plot) {
  --plot-background: white;
  display: block;
  height: auto;
  height: intrinsic;
  max-width: 100%;
}
:where(.plot text),
:where(.plot tspan) {
  white-space: pre;
}"""
"""The style that Plot puts into each chart whose class is `plot`."""
_LIBRARIES = ("assets/d3.min.js", "assets/plot.umd.min.js")
_PACKAGE_FILES = files("bulklink.html_report")


def render_report(report: Report, zone: tzinfo | None = None) -> str:
    """Write the page of a run.

    All that stands in it is escaped, its scripts and styles are allowed by their hashes alone, and
    nothing may be fetched.

    Args:
        report: what it says.
        zone: local time; None is that of this machine.
    """

    def local(moment: str) -> str:
        return datetime.fromisoformat(moment).astimezone(zone).isoformat(" ", "seconds")

    env = Environment(
        loader=PackageLoader("bulklink.html_report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.filters |= {"local": local, "number": "{:,}".format, "lasting": humanize_duration}
    style = _read("assets/page.css")
    scripts = [*map(_read, _LIBRARIES), _read("assets/page.js")] if _needs_scripts(report) else []
    return env.get_template("page.html.j2").render(
        report=report,
        most_rows=MAX_ROWS_PER_GROUP,
        policy=_content_security_policy(scripts, [style, PLOT_STYLE]),
        style=style,
        scripts=scripts,
        course=_script_data(report.charts.json if report.charts else None),
        kept=_script_data(report.embedded_rows),
    )


def _needs_scripts(report: Report) -> bool:
    """Tell whether a page has anything for which it needs scripts."""
    return report.charts is not None or report.embedded_rows is not None


def _script_data(json: bytes | None) -> str | None:
    return None if json is None else escape_json(json).decode()


def _content_security_policy(scripts: list[str], styles: list[str]) -> str:
    """Say what the page may do: run these scripts and take these styles, nothing else."""
    allowed = {"script-src": scripts, "style-src": styles}
    rules = [
        f"{directive} {' '.join(map(_hash, sources))}"
        for directive, sources in allowed.items()
        if sources
    ]
    return "; ".join(["default-src 'none'", *rules, "base-uri 'none'", "form-action 'none'"])


def _hash(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"


def _read(name: str) -> str:
    return _PACKAGE_FILES.joinpath(name).read_text(encoding="utf-8")
