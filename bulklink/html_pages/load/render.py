"""Rendering pages about load tests, each as one self-contained HTML file without a script."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import tzinfo
from functools import lru_cache

from jinja2 import Environment

from bulklink.html_pages.load.charts import build_comparison_charts, build_load_charts
from bulklink.html_pages.load.side_by_side import (
    dropped_share,
    failed_share,
    figure_groups,
    has_schedule,
    late_share,
    plot_interval,
)
from bulklink.html_pages.load.values import ValueRow, client_values, value_rows
from bulklink.html_pages.page import load_assets, page_environment
from bulklink.html_pages.plot_area import PLOT_HEIGHT, PLOT_WIDTH, format_coordinate
from bulklink.html_pages.time_axis import humanize_duration
from bulklink.load_analysis.comparison import LoadComparison, comparison_reason
from bulklink.load_analysis.figures import figure_label
from bulklink.load_analysis.texts import (
    latency_text,
    rate_text,
    share_of,
    share_text,
    threshold_text,
)
from bulklink.load_results import LoadResult


def render_load(result: LoadResult, zone: tzinfo | None = None) -> str:
    """Return the page about a load test as HTML.

    Args:
        result: result of the load test.
        zone: time zone of the page; None for this machine's.
    """
    return (
        _environment(zone)
        .get_template("page.html.j2")
        .render(
            result=result,
            charts=build_load_charts(result),
            failed=failed_share(result),
            late=late_share(result),
            dropped=dropped_share(result),
            reached=share_of(result.calls_per_second, result.asked_calls_per_second),
            settings=value_rows(client_values(result.settings)),
            machine=value_rows(client_values(result.machine)),
            versions=value_rows([result.versions]),
            assets=load_assets("load", has_charts=True),
        )
    )


def render_comparison(
    a: LoadResult, b: LoadResult, comparison: LoadComparison, zone: tzinfo | None = None
) -> str:
    """Return the page about a comparison as HTML.

    Args:
        a: load test A; of several rounds, the one to draw.
        b: load test B.
        comparison: what the comparison says about all rounds.
        zone: time zone of the page; None for this machine's.
    """
    return (
        _environment(zone)
        .get_template("comparison.html.j2")
        .render(
            a=a,
            b=b,
            comparison=comparison,
            reason=comparison_reason(comparison),
            plot=plot_interval(comparison),
            charts=build_comparison_charts(a, b),
            figures=figure_groups(a, b, comparison.figure),
            has_schedule=has_schedule(a, b),
            settings=value_rows([a.settings, b.settings]),
            machines=value_rows([{**a.machine, **a.versions}, {**b.machine, **b.versions}]),
            assets=load_assets("load", has_charts=True),
        )
    )


@lru_cache(maxsize=1)
def _environment(zone: tzinfo | None) -> Environment:
    """Return the environment of the templates, which take longer to compile than to render."""
    environment = page_environment(
        "load",
        zone,
        {
            "coordinate": format_coordinate,
            "duration": humanize_duration,
            "latency": _unbroken_latency,
            "rate": rate_text,
            "share": share_text,
            "measured": threshold_text,
            "figure": figure_label,
        },
    )
    environment.globals |= {
        "plot_width": PLOT_WIDTH,
        "plot_height": PLOT_HEIGHT,
        "client_names": _client_names,
    }
    return environment


def _unbroken_latency(seconds: float | None) -> str:
    """Return a latency that is not separated from its unit."""
    return latency_text(seconds).replace(" ", "\N{NO-BREAK SPACE}")


def _client_names(rows: Sequence[ValueRow]) -> list[str]:
    """Return the names of the columns of values; none of a single client."""
    clients = len(rows[0].values) if rows else 0
    return [f"Client {n}" for n in range(1, clients + 1)] if clients > 1 else []
