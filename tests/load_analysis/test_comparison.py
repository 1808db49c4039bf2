"""Comparison of load tests: on many repetitions, it is as sure as it says."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from bulklink.errors import UsageError
from bulklink.load_analysis.comparison import (
    COMPARED_FIGURES,
    LoadComparison,
    LoadVerdict,
    compare_loads,
    describe_comparison,
    typical_pair,
)
from bulklink.load_analysis.rounds import LoadPair
from bulklink.load_results import (
    BothLatencies,
    LatencyFigures,
    LoadInterval,
    LoadResult,
    LoadTarget,
)
from tests.load_results import load_result

REPETITIONS = 400
ROUNDS = ((0, 1300.0), (1, 1100.0), (2, 900.0))
TEMPLATE = load_result(rate=None, places=1, seconds=10)
START = datetime(2026, 11, 22, 12, tzinfo=UTC)
Noise = Callable[[random.Random], float]


def measured(number: int, throughput: float, latency: float, **changes: Any) -> LoadResult:
    """Return the result of a load test.

    Args:
        number: its number in the order of their starts.
        throughput: emails a second.
        latency: p99 in seconds.
        changes: other fields of the result.
    """
    figures = LatencyFigures(
        **dict.fromkeys(("mean", "p50", "p90", "p95", "p999", "max"), 1.0), p99=latency
    )
    return msgspec.structs.replace(
        TEMPLATE,
        started=(START + timedelta(minutes=number)).isoformat(),
        messages_per_second=throughput,
        latency=BothLatencies(service=figures, intended=figures),
        **changes,
    )


def at(hour: int, result: LoadResult) -> LoadResult:
    """Return a load test that began at another time."""
    started = (START + timedelta(hours=hour)).isoformat()
    return msgspec.structs.replace(result, started=started)


def rounds(
    rng: random.Random, count: int, noise: Noise, gain: float = 1.0, drift: float = 0.0
) -> list[LoadPair]:
    """Return rounds A B, B A, …

    Args:
        rng: random numbers.
        count: number of rounds.
        noise: log of what differs from one load test to the next.
        gain: how much faster B is.
        drift: log by which each load test is slower than the one before.
    """

    def run(number: int, gain: float) -> LoadResult:
        speed = gain * math.exp(noise(rng) - drift * number)
        return measured(number, 1000 * speed, 0.05 / speed)

    pairs = []
    for n in range(count):
        first, second = 2 * n, 2 * n + 1
        a, b = (second, first) if n % 2 else (first, second)
        pairs.append((run(a, 1.0), run(b, gain)))
    return pairs


def normal(rng: random.Random) -> float:
    return rng.gauss(0, 0.03)


def heavy_tailed(rng: random.Random) -> float:
    """Return noise of Student's t distribution with three degrees of freedom."""
    return 0.02 * rng.gauss(0, 1) / math.sqrt(sum(rng.gauss(0, 1) ** 2 for _ in range(3)) / 3)


def with_hiccups(rng: random.Random) -> float:
    """Return noise in which one load test of twenty is much slower."""
    return rng.gauss(0, 0.015) - (0.15 if rng.random() < 0.05 else 0)


def verdicts(figure: str, noise: Noise, **options: float) -> Counter[str]:
    """Return how often each verdict is given on seven rounds of a drifting machine."""
    rng = random.Random(f"{figure} {noise.__name__} {options}")
    return Counter(
        compare_loads(rounds(rng, 7, noise, drift=0.02, **options), figure).verdict
        for _ in range(REPETITIONS)
    )


@pytest.mark.parametrize("figure", ["throughput", "p99"])
@pytest.mark.parametrize("noise", [normal, heavy_tailed, with_hiccups])
def test_equal_sides_are_rarely_called_different(figure: str, noise: Noise) -> None:
    counts = verdicts(figure, noise)
    assert counts[LoadVerdict.FASTER] + counts[LoadVerdict.SLOWER] <= 0.07 * REPETITIONS
    assert counts[LoadVerdict.NO_DIFFERENCE] > 0.15 * REPETITIONS


@pytest.mark.parametrize("figure", ["throughput", "p99"])
@pytest.mark.parametrize("noise", [normal, heavy_tailed])
def test_a_tenth_faster_or_slower_is_found(figure: str, noise: Noise) -> None:
    assert verdicts(figure, noise, gain=1.1)[LoadVerdict.FASTER] >= 0.9 * REPETITIONS
    assert verdicts(figure, noise, gain=1 / 1.1)[LoadVerdict.SLOWER] >= 0.9 * REPETITIONS


def test_intervals_cover_the_ratio_and_the_smallest_visible_difference_is_found() -> None:
    rng = random.Random(5)
    covered, visible = 0, []
    for _ in range(REPETITIONS):
        comparison = compare_loads(rounds(rng, 6, normal, 1.07), "throughput")
        assert comparison.interval is not None
        assert comparison.smallest_visible is not None
        low, high = comparison.interval
        covered += low <= 1.07 <= high
        visible.append(comparison.smallest_visible)
    assert 0.92 <= covered / REPETITIONS <= 0.98
    gain = 1 + sum(visible) / REPETITIONS
    found = Counter(
        compare_loads(rounds(rng, 6, normal, gain), "throughput").verdict
        for _ in range(REPETITIONS)
    )
    assert 0.7 <= found[LoadVerdict.FASTER] / REPETITIONS <= 0.9


def steady(n: int, throughput: float = 1000.0, latency: float = 0.05) -> LoadPair:
    """Return a round in which B is 0.4% faster."""
    return (
        measured(2 * n, throughput, latency),
        measured(2 * n + 1, throughput * 1.004, latency / 1.004),
    )


def test_a_difference_within_the_error_of_a_histogram_is_not_one() -> None:
    """Without noise, each figure may still be rounded by half a percent."""
    pairs = [steady(n) for n in range(6)]
    assert compare_loads(pairs, "p99").verdict is LoadVerdict.NO_DIFFERENCE
    assert compare_loads(pairs, "throughput").verdict is LoadVerdict.FASTER
    assert compare_loads(pairs, "p99", margin=0.01).verdict is LoadVerdict.CANNOT_TELL


def test_what_changes_steadily_cancels_in_alternating_rounds() -> None:
    def no_noise(_rng: random.Random) -> float:
        return 0.0

    pairs = rounds(random.Random(1), 7, no_noise, 1.1, drift=0.05)
    assert compare_loads(pairs, "throughput").interval == pytest.approx((1.1, 1.1))
    few = compare_loads(pairs[:2], "throughput")
    assert few.ratio == pytest.approx(1.1)
    assert few.verdict is LoadVerdict.CANNOT_TELL


def test_the_typical_round_is_nearest_to_the_estimate() -> None:
    pairs = [(measured(2 * n, 1000, 0.05), measured(2 * n + 1, b, 0.05)) for n, b in ROUNDS]
    comparison = compare_loads(pairs, "throughput")
    assert comparison.ratios == pytest.approx([1.3, 1.1, 0.9])
    assert typical_pair(pairs, comparison) == pairs[1]
    missing = msgspec.structs.replace(comparison, ratio=None, ratios=[])
    assert typical_pair(pairs, missing) == pairs[2]


def test_swapped_sides_give_the_opposite_verdict() -> None:
    pairs = rounds(random.Random(1), 7, normal, 1.1)
    comparison = compare_loads(pairs, "p99")
    swapped = compare_loads([(b, a) for a, b in pairs], "p99")
    assert (comparison.verdict, swapped.verdict) == ("faster", "slower")
    assert comparison.ratio is not None
    assert swapped.ratio == pytest.approx(1 / comparison.ratio)
    assert comparison.ratio < 1


def repetition(rng: random.Random, number: int, speed: float = 1.0) -> LoadResult:
    """Return a load test whose seconds resemble their neighbours; repetitions differ by 1.5%."""
    speed *= math.exp(rng.gauss(0, 0.015))
    level, series = 0.0, []
    for second in range(60):
        level = 0.6 * level + rng.gauss(0, 0.05)
        series.append(interval(second, round(1000 * speed * math.exp(level)), 0.05 / speed))
    throughput = sum(each.messages for each in series) / 60
    return measured(number, throughput, 0.05 / speed, series=series, seconds=60.0)


def interval(second: int, messages: int, latency: float) -> LoadInterval:
    figures = measured(0, 1, latency).latency
    return LoadInterval(
        at=second,
        seconds=1,
        asked=None,
        calls=messages // 20,
        answered=messages // 20,
        messages=messages,
        errors=0,
        late=0,
        in_flight=5,
        latency=figures,
    )


@pytest.mark.parametrize(
    ("speed", "expected", "least"),
    [(1.0, "cannot tell", 0.98), (1.25, "faster", 0.95), (0.8, "slower", 0.95)],
)
def test_one_load_test_of_each_is_enough_only_for_large_differences(
    speed: float, expected: str, least: float
) -> None:
    rng = random.Random(7)
    counts = Counter(
        compare_loads([(repetition(rng, 0), repetition(rng, 1, speed))], "throughput").verdict
        for _ in range(60)
    )
    assert counts[LoadVerdict(expected)] >= least * 60
    assert counts[LoadVerdict.NO_DIFFERENCE] == 0


def test_a_short_load_test_or_a_single_longest_call_gives_no_interval() -> None:
    short = measured(0, 1000, 0.05), measured(1, 2000, 0.02)
    for pair, figure in [
        ([msgspec.structs.replace(side, series=side.series[:9]) for side in short], "throughput"),
        (short, "max"),
    ]:
        comparison = compare_loads([(pair[0], pair[1])], figure)
        assert comparison.verdict is LoadVerdict.CANNOT_TELL
        assert comparison.ratio is not None
        assert (comparison.interval, comparison.smallest_visible) == (None, None)
        assert "too few measurements" in describe_comparison(comparison)


def test_the_wait_for_the_last_answers_is_not_part_of_the_throughput() -> None:
    pair = repetition(random.Random(1), 0), repetition(random.Random(2), 1)
    longer = [
        msgspec.structs.replace(
            side,
            seconds=60.0,
            series=[*side.series, *(interval(n, 0, 0.05) for n in range(60, 70))],
        )
        for side in pair
    ]
    without = [msgspec.structs.replace(side, seconds=60.0) for side in pair]
    assert (
        compare_loads([(longer[0], longer[1])], "throughput").interval
        == compare_loads([(without[0], without[1])], "throughput").interval
    )


def test_a_stall_in_a_single_load_test_widens_the_interval() -> None:
    stalled = load_result(rate=None, places=5, seconds=20)
    whole = msgspec.structs.replace(stalled, messages_per_second=stalled.messages_per_second * 1.3)
    series = [
        msgspec.structs.replace(each, messages=0) if 4 <= each.at < 8 else each
        for each in stalled.series
    ]
    stalled = msgspec.structs.replace(stalled, series=series)
    assert compare_loads([(stalled, whole)], "throughput").verdict is LoadVerdict.CANNOT_TELL


def test_a_missing_figure_gives_no_ratio() -> None:
    nothing = msgspec.structs.replace(
        TEMPLATE, latency=BothLatencies(service=None, intended=None), messages_per_second=0.0
    )
    one_pair = [(TEMPLATE, nothing)]
    rounds = [(at(n, nothing), at(n + 10, TEMPLATE)) for n in range(3)]
    for pairs in (one_pair, rounds):
        for figure in ("p99", "throughput"):
            comparison = compare_loads(pairs, figure)
            assert (comparison.verdict, comparison.ratio) == (LoadVerdict.CANNOT_TELL, None)
            assert "was not measured" in describe_comparison(comparison)


def test_absurd_figures_of_a_file_give_finite_numbers() -> None:
    pairs = [(measured(n, 1e-300, 1e9), measured(n + 5, 1e300, 5e-324)) for n in (1, 2)]
    pairs[1] = pairs[1][1], pairs[1][0]
    for figure in ("throughput", "p99"):
        comparison = compare_loads(pairs, figure)
        read = msgspec.json.decode(msgspec.json.encode(comparison), type=LoadComparison)
        assert read == comparison


CLOSED = measured(1, 1000, 0.05, calls=100_000)
OPEN = msgspec.structs.replace(CLOSED, asked_calls_per_second=100.0)
OTHER = LoadTarget(url="https://b.example", world_digest=None)


@pytest.mark.parametrize(
    ("a", "b", "figure", "expected"),
    [
        (
            CLOSED,
            {"machine": {**CLOSED.machine, "processors": 4}},
            "p99",
            "The machines differ: processors 8 and 4.",
        ),
        (
            CLOSED,
            {"versions": {**CLOSED.versions, "bulklink": "0.8.0", "uvloop": "1"}},
            "p99",
            "The versions differ: bulklink 0.9.0 and 0.8.0, uvloop unknown and 1.",
        ),
        (CLOSED, {"target": OTHER}, "p99", "A loaded emulator, B https://b.example."),
        (
            CLOSED,
            {"target": LoadTarget(url="emulator", world_digest="1")},
            "p99",
            "The worlds of the emulators differ.",
        ),
        (CLOSED, {"plan_digest": "0"}, "p99", "A and B sent different emails."),
        (CLOSED, {"asked_calls_per_second": 9.0}, "p99", "One had a schedule and the other"),
        (OPEN, {}, "throughput", "compare a latency"),
        (CLOSED, {"cut_short": True}, "p99", "B was cut short."),
        (CLOSED, {"errors": {"X": 2000}}, "p99", "2.0% of the calls of B failed"),
        (CLOSED, {"calls": 250}, "p99", "The p99 of a load test rests on its slowest 2 calls"),
        (CLOSED, {"calls": 50}, "p99", "rests on its slowest 1 call:"),
        (CLOSED, {}, "max", "The max of a load test rests on its slowest 1 call:"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_makes_a_comparison_doubtful_is_said(
    a: LoadResult, b: dict[str, Any], figure: str, expected: str
) -> None:
    other = msgspec.structs.replace(a, **b)
    pairs = [(at(1, a), at(2, other)), (at(4, a), at(3, other))]
    (warning,) = compare_loads(pairs, figure).warnings
    assert expected in warning


def test_a_client_that_was_the_bottleneck_is_named() -> None:
    client = msgspec.structs.replace(CLOSED.client, bottleneck=True)
    busy = msgspec.structs.replace(CLOSED, client=client)
    pairs = [(at(1, busy), at(2, CLOSED)), (at(4, CLOSED), at(3, busy))]
    warnings = compare_loads(pairs, "p50").warnings
    assert warnings == [
        "The client may have been the bottleneck of A.",
        "The client may have been the bottleneck of B.",
    ]


@pytest.mark.parametrize(("b_number", "first"), [(1, "A always ran before B"), (-1, "B always")])
def test_rounds_in_one_order_and_single_pairs_are_warned_of(b_number: int, first: str) -> None:
    pairs = [
        (measured(10 * n, 1000, 0.05), measured(10 * n + b_number, 1000, 0.05)) for n in range(3)
    ]
    assert compare_loads(pairs, "throughput").warnings[0].startswith(first)
    assert "There is one load test of each" in compare_loads(pairs[:1], "p50").warnings[0]


@pytest.mark.parametrize(
    ("gain", "sentence"),
    [
        (1.5, "B is faster. The p99 of B is 0.66"),
        (0.6, "B is slower. The p99 of B is 1.6"),
        (1.0, "No difference beyond 5%. The p99 of B is 1"),
        (1.05, "Cannot tell. The p99 of B is 0.961 times that of A (0.842 to "),
    ],
)
def test_a_comparison_is_described_in_a_sentence(gain: float, sentence: str) -> None:
    def noise(rng: random.Random) -> float:
        return rng.gauss(0, 0.005 if gain != 1.05 else 0.08)

    comparison = compare_loads(rounds(random.Random(3), 7, noise, gain), "p99")
    text = describe_comparison(comparison)
    assert text.startswith(sentence)
    assert "with 95% confidence)" in text
    assert text.endswith("." if gain != 1.05 else "% or more would probably show.")


def test_the_figure_is_by_default_what_the_model_leaves_open() -> None:
    later = at(1, OPEN)
    assert compare_loads([(OPEN, later)]).figure == "p99"
    assert compare_loads([(CLOSED, later)]).figure == "throughput"
    assert compare_loads([(OPEN, later)], "service.p99.9").figure == "service.p999"


@pytest.mark.parametrize(
    ("options", "message", "advice"),
    [
        ({"figure": "p98"}, "There is no figure 'p98'", "Did you mean p99"),
        ({"figure": "rate"}, "no figure 'rate'", ", ".join(COMPARED_FIGURES)),
        ({"margin": 0}, "0 is not a valid margin", "0.05 is 5%"),
        ({"margin": 5}, "5 is not a valid margin", "0.05 is 5%"),
        ({"margin": math.nan}, "nan is not a valid margin", "0.05 is 5%"),
    ],
)
def test_a_wrong_figure_or_margin_is_refused(
    options: dict[str, Any], message: str, advice: str
) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        compare_loads([(CLOSED, OPEN)], **options)
    assert advice in caught.value.advice


def test_a_load_test_counts_once() -> None:
    for pairs in ([(OPEN, OPEN)], [(OPEN, CLOSED), (OPEN, at(1, CLOSED))]):
        with pytest.raises(UsageError, match="compared with itself, or counted twice"):
            compare_loads(pairs)
