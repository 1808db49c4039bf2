"""The live view shows all values and fits any width without truncating a number."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from bulklink.cli.progress_view import ProgressView, format_duration, render_lines, render_one_line
from bulklink.engine.metrics import LimitedBy
from bulklink.operations.callbacks import Metrics
from tests.hostile_text import HOSTILE, HOSTILE_TEXTS, find_acting_characters

GAUGE = Metrics(
    rate=1240.4,
    seconds_left=312.0,
    in_flight=17.8,
    allowed_in_flight=20,
    max_in_flight=20,
    credits_spent=4100,
    credits_left=95_900,
    credits_spendable=95_900,
    limited_by=LimitedBy.IN_FLIGHT,
)
SENDING = ProgressView(
    "Sending",
    done=41_200,
    total=200_000,
    metrics=GAUGE,
    failed=12,
    in_doubt=3,
    codes={"INVALID_DATA": 8, "NOT_ALLOWED": 4, "no-answer": 3},
    run_dir="runs/20261122T101500Z-link-3f2a",
    org="Acme Ltd (production)",
    elapsed=80.0,
)


def plain_lines(view: ProgressView, width: int) -> list[str]:
    return [line.plain for line in render_lines(view, width)]


def test_at_60_columns() -> None:
    assert plain_lines(SENDING, 60) == [
        "Sending  ━━╸──────────  41,200 of 200,000  20 %  5m 10s left",
        "1,240 emails/s · 18 of 20 in flight",
        "4,100 credits spent, 95,900 left",
        "12 failed, 3 in doubt: 8 INVALID_DATA, 4 NOT_ALLOWED",
        "3 no-answer",
        "Limited by calls in flight",
        "runs/20261122T101500Z-link-3f2a · Acme Ltd (production)",
        "1m 20s elapsed · Ctrl-C stops safely",
    ]


def test_at_200_columns() -> None:
    head, *rest = plain_lines(SENDING, 200)
    assert head.startswith("Sending  ━━━━")
    assert head.endswith("───  41,200 of 200,000  20 %  5m 10s left")
    assert (head.count("━"), head.count("╸"), head.count("─")) == (20, 1, 79)
    assert rest == [
        "1,240 emails/s · 18 of 20 calls in flight · 4,100 credits spent, 95,900 left",
        "12 failed, 3 in doubt: 8 INVALID_DATA, 4 NOT_ALLOWED, 3 no-answer",
        "Limited by calls in flight",
        "runs/20261122T101500Z-link-3f2a · Acme Ltd (production) · 1m 20s elapsed"
        " · Ctrl-C stops safely",
    ]


def test_without_a_terminal_the_same_figures_are_one_line() -> None:
    assert render_one_line(SENDING) == (
        "Sending: 41,200 of 200,000, 20 %, 5m 10s left, 1,240 emails/s,"
        " 18 of 20 calls in flight, 4,100 credits spent, 95,900 left,"
        " 12 failed, 3 in doubt: 8 INVALID_DATA, 4 NOT_ALLOWED, 3 no-answer,"
        " limited by calls in flight"
    )


@pytest.mark.parametrize(
    ("metrics", "expected_text"),
    [
        (Metrics(rate=None, max_in_flight=20, allowed_in_flight=20), "0 of 20 in flight"),
        (
            Metrics(max_in_flight=20, allowed_in_flight=12, in_flight=11.6),
            "12 of 12 (at most 20) in flight",
        ),
        (
            Metrics(max_in_flight=9, allowed_in_flight=9, credits_spent=1),
            "0 of 9 in flight · 1 credit spent",
        ),
        (
            Metrics(credits_spent=10, credits_left=800, credits_spendable=90),
            "10 credits spent, 90 left · the org has",
        ),
        (Metrics(credits_spent=10, credits_spendable=90), "10 credits spent, 90 left"),
        (Metrics(rate=3.25), "3.2 emails/s"),
        (Metrics(rate=0.05), "3.0 emails/min"),
        (Metrics(credits_last_for=41_234), "Credits last for about 41,000 more emails"),
    ],
)
def test_known_metrics_are_shown(metrics: Metrics, expected_text: str) -> None:
    assert expected_text in "\n".join(
        plain_lines(ProgressView("Sending", done=1, total=2, metrics=metrics), 70)
    )


def test_a_wait_for_credits_replaces_the_time_left_and_the_limit() -> None:
    waiting = replace(SENDING, waiting_until="2026-11-24 14:15:00+01:00")
    text = "\n".join(plain_lines(waiting, 60))
    assert text.startswith("Waiting for credits until 2026-11-24 14:15:00+01:00\n")
    assert "left\n" not in text.splitlines()[1]
    assert "Limited" not in text


@pytest.mark.parametrize(
    ("view", "expected_text"),
    [
        (ProgressView("Looking up the org"), "Looking up the org"),
        (
            ProgressView("Sorting the plan", fraction=0.5),
            "Sorting the plan  ━━━━━━━━━━━───────────  50 %",
        ),
        (
            ProgressView("Reading the mapping", fraction=0.456, total_bytes=3_400_000_000),
            "Reading the mapping  ━━━━─────  45 % of 3.4 GB",
        ),
        (
            ProgressView("Looking up names", unit="names", done=120, total=3000),
            "Looking up names  ─────────  120 of 3,000  4 %",
        ),
    ],
)
def test_each_phase_shows_its_own_figures(view: ProgressView, expected_text: str) -> None:
    assert plain_lines(view, 46) == [expected_text, "Ctrl-C stops safely"]


@pytest.mark.parametrize(
    ("view", "expected_text"),
    [
        (ProgressView("Sending", elapsed=5), "5s elapsed · Ctrl-C stops safely"),
        (ProgressView("Sending", is_stopping=True), "finishing the calls in flight"),
        (ProgressView("Sending", org="(sandbox)"), "(sandbox) · Ctrl-C stops safely"),
        (
            ProgressView("Sending", run_dir="/srv/" + "x" * 99 + "/20261122T101500Z-link-3f2a"),
            "…" + "x" * 22 + "/20261122T101500Z-link-3f2a",
        ),
        (
            ProgressView("Sending", org="An org with a long name, GmbH & Co. KG (production)"),
            "An org with a long name, GmbH & Co. KG …",
        ),
        (ProgressView("Sending", org="株" * 60), "株" * 19 + "…"),
    ],
)
def test_the_view_ends_with_where_how_long_and_how_to_stop(
    view: ProgressView, expected_text: str
) -> None:
    assert "\n".join(plain_lines(view, 50)[1:]).startswith(expected_text)


def test_only_the_commonest_codes_are_shown() -> None:
    codes = {f"CODE_{n}": 100 - n for n in range(9)}
    text = render_one_line(replace(SENDING, codes=codes))
    assert "100 CODE_0, 99 CODE_1" in text
    assert "CODE_5" not in text
    assert f"{95 + 94 + 93 + 92} of other codes" in text


COUNTS = st.integers(0, 10**9)
VIEWS = st.builds(
    ProgressView,
    phase=st.sampled_from(["Sending", "Reading them back", "Trying the first 10,000 emails"]),
    done=COUNTS,
    total=COUNTS,
    failed=COUNTS,
    in_doubt=COUNTS,
    codes=st.dictionaries(st.sampled_from(["A", "NOT_ALLOWED", "Z" * 60, "no-answer"]), COUNTS),
    org=st.sampled_from([None, "Acme", "株式会社" * 5]),
    elapsed=st.none() | st.floats(0, 10**7),
    is_stopping=st.booleans(),
    metrics=st.builds(
        Metrics,
        rate=st.none() | st.floats(0, 10**6),
        seconds_left=st.none() | st.floats(0, 10**8),
        in_flight=st.floats(0, 1000),
        allowed_in_flight=st.integers(0, 1000),
        max_in_flight=st.integers(0, 1000),
        credits_spent=COUNTS,
        credits_left=st.none() | COUNTS,
        credits_spendable=st.none() | COUNTS,
        credits_last_for=st.none() | COUNTS,
        limited_by=st.none() | st.sampled_from(LimitedBy),
    ),
)


@given(view=VIEWS, width=st.integers(40, 250))
def test_lines_fit_any_width_and_keep_all_figures(view: ProgressView, width: int) -> None:
    rendered = plain_lines(view, width)
    assert max(map(cell_len, rendered)) <= width
    figures = re.compile(r"\d[\d,.]*")
    assert figures.findall(" ".join(rendered)) == figures.findall(" ".join(plain_lines(view, 250)))


@pytest.mark.parametrize(
    ("seconds", "expected_text"),
    [
        (0.2, "1s"),
        (9.4, "9s"),
        (9.6, "10s"),
        (57.6, "1m 00s"),
        (312, "5m 10s"),
        (599, "10m"),
        (3590, "1h 00m"),
        (5000, "1h 25m"),
        (86_000, "1d 0h"),
        (500_000, "5d 19h"),
    ],
)
def test_longer_durations_are_coarser(seconds: float, expected_text: str) -> None:
    assert format_duration(seconds) == expected_text


@given(seconds=st.floats(1, 10**6))
def test_a_duration_is_off_by_at_most_a_twelfth(seconds: float) -> None:
    units = {"d": 86_400, "h": 3600, "m": 60, "s": 1}
    shown_seconds = sum(
        int(n) * units[unit] for n, unit in re.findall(r"(\d+)([dhms])", format_duration(seconds))
    )
    assert abs(shown_seconds - seconds) <= max(0.5, seconds / 4 if seconds < 60 else seconds / 12)


def test_control_characters_of_the_server_are_escaped_in_the_view() -> None:
    view = replace(
        SENDING,
        phase=HOSTILE,
        codes=dict.fromkeys(HOSTILE_TEXTS.values(), 1),
        org=HOSTILE,
        run_dir=f"runs/{HOSTILE}\udcff",
    )
    lines = plain_lines(view, 80)
    assert [find_acting_characters(line, allowed="") for line in lines] == [[]] * len(lines)
