"""The page of a run: one file, all in it, that can fetch nothing."""

from __future__ import annotations

from base64 import b64encode
from datetime import datetime, tzinfo
from hashlib import sha256
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined

from bulklink.html_report.model import Report
from bulklink.html_report.rows import MOST_ROWS, harmless
from bulklink.html_report.timeline import lasting

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
_ROOM = files("bulklink.html_report")


def render(report: Report, zone: tzinfo | None = None) -> str:
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
    env.filters |= {"local": local, "number": "{:,}".format, "lasting": lasting}
    style = _read("assets/page.css")
    scripts = [*map(_read, _LIBRARIES), _read("assets/page.js")] if _is_drawn(report) else []
    return env.get_template("page.html.j2").render(
        report=report,
        most_rows=MOST_ROWS,
        policy=_policy(scripts, [style, PLOT_STYLE]),
        style=style,
        scripts=scripts,
        course=_data(report.course.json if report.course else None),
        kept=_data(report.kept),
    )


def _is_drawn(report: Report) -> bool:
    """Tell whether a page has anything for which it needs scripts."""
    return report.course is not None or report.kept is not None


def _data(json: bytes | None) -> str | None:
    return None if json is None else harmless(json).decode()


def _policy(scripts: list[str], styles: list[str]) -> str:
    """Say what the page may do: run these scripts and take these styles, nothing else."""
    allowed = {"script-src": scripts, "style-src": styles}
    rules = [f"{what} {' '.join(map(_hash, of))}" for what, of in allowed.items() if of]
    return "; ".join(["default-src 'none'", *rules, "base-uri 'none'", "form-action 'none'"])


def _hash(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"


def _read(name: str) -> str:
    return _ROOM.joinpath(name).read_text(encoding="utf-8")
