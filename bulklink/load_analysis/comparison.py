"""Comparison of load tests: whether B is faster than A, and how sure that is.

Rounds are pairs of load tests, A B, B A, A B, …: what changes slowly on the machine acts on both
sides of a pair, and the alternating order cancels what changes steadily. The estimate is the mean
log ratio of a figure, its interval that of Student's t distribution over the rounds. The log ratios
of pairs are far less skewed than figures such as p99; and with so few rounds, the intervals of a
bootstrap would be too narrow.

One load test of each says less. How much a figure varies within a load test is known, from the
means of ten batches of its intervals (single intervals resemble their neighbours). How much it
varies from one load test to the next, with the same code on the same machine, is not. So a verdict
on one pair asks for more: its whole interval has to lie beyond the margin, and it never says that
there is no difference.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import StrEnum
from itertools import chain, combinations, pairwise

import msgspec

from bulklink.errors import UsageError
from bulklink.load_analysis.comparison_warnings import comparison_warnings
from bulklink.load_analysis.estimates import RatioEstimate, estimate_batches, estimate_rounds
from bulklink.load_analysis.figures import (
    LATENCY_NAMES,
    figure_label,
    figure_name,
    named_latency,
)
from bulklink.load_analysis.rounds import LoadPair, b_came_first
from bulklink.load_analysis.series import measured_intervals
from bulklink.load_results import LoadInterval, LoadResult
from bulklink.suggestions import close_matches, did_you_mean

THROUGHPUT = "throughput"
"""Figure: emails of answered calls, per second."""
COMPARED_FIGURES = (THROUGHPUT, *LATENCY_NAMES)
DEFAULT_MARGIN = 0.05
"""Relative difference that does not matter."""
_BATCHES = 10
_FIGURES_OF_THE_LONGEST = ("max", "service.max")
_FIGURES_NOT_IN_BINS = ("mean", "service.mean", *_FIGURES_OF_THE_LONGEST)
_MAX_LOG = 700.0
"""Largest logarithm whose number can be represented."""


class LoadVerdict(StrEnum):
    """What a comparison says about B; the values are for users."""

    FASTER = "faster"
    SLOWER = "slower"
    NO_DIFFERENCE = "no difference"
    CANNOT_TELL = "cannot tell"


class LoadComparison(msgspec.Struct, frozen=True, kw_only=True):
    """Comparison of load tests A and B.

    Args:
        figure: what was compared, such as `p99`; latencies are from the intended start unless
            `service.` precedes.
        verdict: what it says about B.
        ratio: figure of B as a multiple of that of A; None if one of them is missing or 0.
        interval: the ratio with 95% confidence; None if there are too few measurements.
        margin: relative difference that does not matter.
        smallest_visible: relative difference that such a comparison finds four times in five; None
            without an interval.
        rounds: number of pairs.
        ratios: the ratio in each round; none if the figure is missing in one of them.
        warnings: reasons to distrust the comparison, as sentences.
    """

    figure: str
    verdict: LoadVerdict
    ratio: float | None
    interval: tuple[float, float] | None
    margin: float
    smallest_visible: float | None
    rounds: int
    ratios: list[float]
    warnings: list[str]


def compare_loads(
    pairs: Sequence[LoadPair], figure: str | None = None, *, margin: float = DEFAULT_MARGIN
) -> LoadComparison:
    """Return whether B is faster than A.

    Args:
        pairs: the rounds; best six or more, with A first in every other one.
        figure: one of `COMPARED_FIGURES`, chosen before the results are seen; None for p99 if both
            sides were asked for a rate, else for the throughput.
        margin: relative difference that does not matter, above 0 and below 1.

    Raises:
        UsageError: if the figure or the margin is not valid, or a load test occurs twice.
    """
    figure = _default_figure(pairs) if figure is None else _valid_figure(figure)
    _check(pairs, margin)
    logs = _log_ratios(pairs, figure)
    estimate = _estimate(pairs, logs, figure) if logs else None
    beyond = math.log1p(margin) if len(pairs) == 1 else 0.0
    return LoadComparison(
        figure=figure,
        verdict=_verdict(estimate, figure, margin, beyond),
        ratio=None if estimate is None else _exp(estimate.log_ratio),
        interval=_interval(estimate),
        margin=margin,
        smallest_visible=_smallest_visible(estimate, beyond),
        rounds=len(pairs),
        ratios=list(map(_exp, logs)),
        warnings=comparison_warnings(pairs, figure),
    )


def describe_comparison(comparison: LoadComparison) -> str:
    """Return the verdict and its reason, as a sentence."""
    verdict = {
        LoadVerdict.FASTER: "B is faster",
        LoadVerdict.SLOWER: "B is slower",
        LoadVerdict.NO_DIFFERENCE: f"No difference beyond {100 * comparison.margin:.3g}%",
        LoadVerdict.CANNOT_TELL: "Cannot tell",
    }
    return f"{verdict[comparison.verdict]}. {comparison_reason(comparison)}"


def comparison_reason(comparison: LoadComparison) -> str:
    """Return what the verdict rests on, without the verdict."""
    figure = figure_label(comparison.figure)
    if comparison.ratio is None:
        return f"The {figure} was not measured on both sides."
    text = f"The {figure} of B is {comparison.ratio:.3f} times that of A"
    if comparison.interval is None or comparison.smallest_visible is None:
        return f"{text}, and there are too few measurements for an interval."
    low, high = comparison.interval
    text = f"{text} ({low:.3f} to {high:.3f} with 95% confidence)"
    if comparison.verdict is LoadVerdict.CANNOT_TELL:
        visible = f"{100 * comparison.smallest_visible:,.0f}%"
        return f"{text}; a difference of {visible} or more would probably show."
    return f"{text}."


def typical_pair(pairs: Sequence[LoadPair], comparison: LoadComparison) -> LoadPair:
    """Return the round to draw: that whose ratio is nearest to the estimate."""
    ratio = comparison.ratio
    if ratio is None:
        return pairs[-1]
    distances = [abs(math.log(each / ratio)) for each in comparison.ratios]
    return pairs[distances.index(min(distances))]


def _check(pairs: Sequence[LoadPair], margin: float) -> None:
    if not 0 < margin < 1:
        raise UsageError(
            f"{margin:g} is not a valid margin.",
            where="margin",
            advice="Use a share of 1: 0.05 is 5%.",
        )
    if any(left == right for left, right in combinations(chain.from_iterable(pairs), 2)):
        raise UsageError(
            "A load test is compared with itself, or counted twice.",
            where="compare",
            advice="Name each result once; two load tests with the same settings show the noise.",
        )


def _valid_figure(text: str) -> str:
    name = figure_name(text)
    if name not in COMPARED_FIGURES:
        matches = close_matches(name, COMPARED_FIGURES)
        raise UsageError(
            f"There is no figure {text[:40]!r}.",
            where="figure",
            advice=f"{did_you_mean(matches)}The figures are {', '.join(COMPARED_FIGURES)}.",
        )
    return name


def _default_figure(pairs: Sequence[LoadPair]) -> str:
    has_schedule = all(
        result.asked_calls_per_second is not None for pair in pairs for result in pair
    )
    return "p99" if has_schedule else THROUGHPUT


def _log_ratios(pairs: Sequence[LoadPair], figure: str) -> list[float]:
    """Return the log ratio of each round; none if a figure is missing or 0."""
    logs = []
    for pair in pairs:
        a, b = (_figure_of(result, figure) for result in pair)
        if not a or not b:
            return []
        logs.append(math.log(b) - math.log(a))
    return logs


def _estimate(pairs: Sequence[LoadPair], logs: Sequence[float], figure: str) -> RatioEstimate:
    resolution = _resolution(pairs, figure)
    if len(pairs) > 1:
        return estimate_rounds(logs, list(map(b_came_first, pairs)), resolution)
    a_batches, b_batches = (_batch_figures(result, figure) for result in pairs[0])
    return estimate_batches(logs[0], a_batches, b_batches, resolution)


def _figure_of(result: LoadResult, figure: str) -> float | None:
    if figure == THROUGHPUT:
        return result.messages_per_second
    return named_latency(result.latency, figure)


def _resolution(pairs: Sequence[LoadPair], figure: str) -> float:
    """Return how far the log ratio of two figures may be off because both are read from bins."""
    if figure == THROUGHPUT or figure in _FIGURES_NOT_IN_BINS:
        return 0.0
    error = max(result.histogram.intended.relative_error for pair in pairs for result in pair)
    return math.log((1 + error) / (1 - error))


def _batch_figures(result: LoadResult, figure: str) -> list[float]:
    """Return the figure in each batch of intervals; none if it cannot be taken from batches."""
    series = measured_intervals(result)
    if len(series) < _BATCHES or figure in _FIGURES_OF_THE_LONGEST:
        return []
    edges = [len(series) * n // _BATCHES for n in range(_BATCHES + 1)]
    batches = [series[start:end] for start, end in pairwise(edges)]
    if figure == THROUGHPUT:
        return [
            sum(each.messages for each in batch) / sum(each.seconds for each in batch)
            for batch in batches
        ]
    means = (_mean_latency(batch, figure) for batch in batches)
    return [mean for mean in means if mean is not None]


def _mean_latency(batch: Sequence[LoadInterval], figure: str) -> float | None:
    """Return the mean of a latency over intervals, by the calls answered in them."""
    known = [
        (latency, each.answered)
        for each in batch
        if (latency := named_latency(each.latency, figure)) is not None
    ]
    answered = sum(calls for _, calls in known)
    return sum(latency * calls for latency, calls in known) / answered if answered else None


def _verdict(
    estimate: RatioEstimate | None, figure: str, margin: float, beyond: float
) -> LoadVerdict:
    """Return the verdict.

    Args:
        estimate: the estimate; None if there is none.
        figure: name of the figure.
        margin: relative difference that does not matter.
        beyond: log ratio that the whole interval has to exceed for B to be faster or slower; above
            0, the verdict is never that there is no difference.
    """
    if estimate is None:
        return LoadVerdict.CANNOT_TELL
    gain = estimate.log_ratio if figure == THROUGHPUT else -estimate.log_ratio
    if abs(gain) - estimate.half_width > beyond:
        return LoadVerdict.FASTER if gain > 0 else LoadVerdict.SLOWER
    if not beyond and abs(gain) + estimate.half_width <= math.log1p(margin):
        return LoadVerdict.NO_DIFFERENCE
    return LoadVerdict.CANNOT_TELL


def _interval(estimate: RatioEstimate | None) -> tuple[float, float] | None:
    if estimate is None or math.isinf(estimate.error):
        return None
    log_ratio, half_width = estimate.log_ratio, estimate.half_width
    return _exp(log_ratio - half_width), _exp(log_ratio + half_width)


def _smallest_visible(estimate: RatioEstimate | None, beyond: float) -> float | None:
    if estimate is None or math.isinf(estimate.error):
        return None
    return _exp(estimate.visible + beyond) - 1


def _exp(log: float) -> float:
    return math.exp(max(-_MAX_LOG, min(_MAX_LOG, log)))
