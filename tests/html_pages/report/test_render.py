"""The page allows only its own script and style, by hash, and is small."""

from __future__ import annotations

import re
from base64 import b64encode
from datetime import timedelta
from hashlib import sha256
from pathlib import Path

from bulklink import html_pages
from bulklink.models import Status
from bulklink.runs.record import RunState
from tests.html_pages.report.run_folders import (
    mapping_rows,
    plan_run,
    render_page,
    result,
    write_results,
    write_timeline,
)

PAGES = Path(html_pages.__file__).parent


def csp_hash(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"


def test_script_and_style_can_be_embedded_in_a_page() -> None:
    scripts, styles = list(PAGES.rglob("*.js")), list(PAGES.rglob("*.css"))
    assert len(scripts) >= 2
    assert len(styles) >= 2
    for path in scripts:
        text = path.read_text("utf-8")
        assert "</script" not in text.lower()
        assert "<!--" not in text
        assert "\r" not in text
    for path in styles:
        assert "</style" not in path.read_text("utf-8").lower()


def test_the_page_may_run_only_its_own_script_and_fetch_nothing(tmp_path: Path) -> None:
    rows = mapping_rows(3)
    run = plan_run(tmp_path, rows)
    write_results(run, [result(1, rows[0], Status.FAILED, "X")])
    text = render_page(run)
    found = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)
    assert found is not None
    policy = dict(rule.split(" ", 1) for rule in found[1].replace("&#39;", "'").split("; "))
    assert policy["default-src"] == "'none'"
    assert set(policy) == {"default-src", "script-src", "style-src", "base-uri", "form-action"}
    scripts = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    (style,) = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    assert policy["script-src"].split() == [csp_hash(script) for script in scripts]
    assert policy["style-src"].split() == [csp_hash(style)]
    assert not re.search(r"""\s(src|style|on\w+)=["']""", text.partition("<script")[0])


def test_a_page_without_charts_and_rows_has_no_script(tmp_path: Path) -> None:
    text = render_page(plan_run(tmp_path, mapping_rows(3)))
    assert "<script" not in text
    assert "script-src" not in text


def test_the_page_begins_with_counts_then_headline_figures_then_facts(tmp_path: Path) -> None:
    rows = mapping_rows(3)
    run = plan_run(tmp_path, rows)
    write_results(run, [result(1, rows[0], Status.DONE)])
    text = render_page(run)
    places = [text.index(part) for part in ("1 done", "<dt>Credits</dt>", "<dt>Org</dt>", "<nav")]
    assert places == sorted(places)


def test_a_run_that_waits_says_until_when_in_a_sentence_of_its_own(tmp_path: Path) -> None:
    rows = mapping_rows(3)
    run = plan_run(tmp_path, rows)
    write_results(
        run, [result(1, rows[0], Status.DONE)], state=RunState.STOPPED, stopped_by="credits"
    )
    run.write(run.read().replace(resume_at="2026-11-24T14:15:00.000Z"))
    lede = re.search(r'<p class="lede">(.*?)</p>', render_page(run), re.DOTALL)
    assert lede is not None
    words = " ".join(lede[1].split())
    assert words.endswith("2 not yet settled. Credits are expected at 2026-11-24 14:15:00+00:00.")


def test_stripes_between_commands_say_how_the_command_ended(tmp_path: Path) -> None:
    rows = mapping_rows(3)
    run = plan_run(tmp_path, rows)
    write_timeline(run, 60)
    write_results(
        run, [result(1, rows[0], Status.DONE)], state=RunState.STOPPED, stopped_by="max-failures"
    )
    write_timeline(run, 60, after=timedelta(days=1))
    write_timeline(run, 60, after=timedelta(days=1, hours=1))
    text = render_page(run)
    labels = re.findall(r'class="pause-label".*?<text[^>]*>([^<]*)<', text.split("<figure>")[1])
    assert labels == ["max-failures 23 h 59 min", "no calls 59 min"]
    assert "<td>23 h 59 min</td><td>max-failures</td>" in text
