"""Comparisons, searches and merges of load tests for the terminal."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click
import msgspec
from click.core import ParameterSource

from bulklink.cli.console import (
    Line,
    Styled,
    format_columns,
    print_json,
    print_line,
    wrap_text,
)
from bulklink.cli.load_runner import LoadRunner
from bulklink.cli.load_summary import show_load_result
from bulklink.counts import count_of
from bulklink.errors import ExitCode, UsageError
from bulklink.load_analysis.capacity import (
    Capacity,
    RateProbe,
    SearchEnd,
    SearchSettings,
    next_rate,
)
from bulklink.load_analysis.comparison import (
    LoadComparison,
    LoadVerdict,
    compare_loads,
    describe_comparison,
    typical_pair,
)
from bulklink.load_analysis.merging import merge_results
from bulklink.load_analysis.texts import latency_text
from bulklink.load_analysis.thresholds import parse_threshold
from bulklink.load_results import LoadResult
from bulklink.operations.load_files import (
    read_load_result,
    write_comparison_page,
    write_load_result,
)

_COLOURS = {LoadVerdict.FASTER: "green", LoadVerdict.SLOWER: "red"}
_FIGURES = ("p50", "p95", "p99", "max")
_FIRST_RATE = 50.0
_NOT_OF_B = {
    *("files", "compare", "against", "rounds", "figure", "margin", "search", "merge", "output"),
    *("force", "run_dir", "thresholds", "as_json", "quiet", "debug", "progress"),
}
"""Parameters that do not change how side B of `--against` measures."""
Pair = tuple[LoadResult, LoadResult]


def compare_files(files: Sequence[str], options: Mapping[str, Any]) -> int:
    """Compare load tests by their files, A and B of each round in turn."""
    if len(files) < 2 or len(files) % 2:
        raise UsageError(
            f"{count_of(len(files), 'file')} cannot be compared in pairs.",
            where="--compare",
            advice="Name the loadtest.json of A and that of B, or of several rounds in turn.",
        )
    results = [read_load_result(file) for file in files]
    return _show_comparison(list(zip(results[::2], results[1::2], strict=True)), options)


def compare_sides(ctx: click.Context, mappings: tuple[str, ...], options: dict[str, Any]) -> int:
    """Run two load tests in turn, A B B A, and compare them."""
    other = with_other_options(ctx, options, options["against"])
    sides = [LoadRunner(mappings, side_options) for side_options in (options, other)]
    with ExitStack() as stack:
        for side in sides:
            stack.enter_context(side)
        pairs: list[Pair] = []
        for number in range(options["rounds"]):
            pair = _run_round(sides, number, options["rounds"])
            if pair is None:
                break
            pairs.append(pair)
    if not pairs:
        return int(ExitCode.INTERRUPTED)
    code = _show_comparison(pairs, options)
    return code if len(pairs) == options["rounds"] else int(ExitCode.INTERRUPTED)


def _run_round(sides: Sequence[LoadRunner], number: int, rounds: int) -> Pair | None:
    """Run A and B, B first in every other round; None if one of them was cut short."""
    results: dict[int, LoadResult] = {}
    for index in (0, 1) if number % 2 == 0 else (1, 0):
        sides[index].note(f"Round {number + 1} of {rounds}, {'AB'[index]}")
        results[index] = sides[index].run()
        if results[index].cut_short:
            return None
    return results[0], results[1]


def with_other_options(ctx: click.Context, options: dict[str, Any], text: str) -> dict[str, Any]:
    """Return the options of side B: those of side A, changed by the options in a text.

    Raises:
        UsageError: if the text cannot be read.
        click.UsageError: if it has options that the command does not know.
    """
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise UsageError(
            f"The options of B cannot be read: {error}.",
            where="--against",
            advice='Quote them as in a shell: --against "--concurrency 40".',
        ) from None
    with ctx.command.make_context(ctx.info_name, words, parent=ctx.parent) as other:
        given = {
            name: value
            for name, value in other.params.items()
            if other.get_parameter_source(name) is ParameterSource.COMMANDLINE
        }
    if not given or _NOT_OF_B & given.keys():
        raise UsageError(
            "They are not options of this command that change how it measures.",
            where="--against",
            advice='Name at least one: --against "--concurrency 40".',
        )
    return options | given


def _show_comparison(pairs: Sequence[Pair], options: Mapping[str, Any]) -> int:
    comparison = compare_loads(pairs, options["figure"], margin=options["margin"] / 100)
    if options["output"] is not None:
        _check_new(options["output"], force=options["force"])
        write_comparison_page(options["output"], *typical_pair(pairs, comparison), comparison)
    if options["as_json"]:
        print_json({**msgspec.to_builtins(comparison), "exit_code": 0})
    else:
        for line in _comparison_lines(pairs, comparison):
            print_line(line)
        if options["output"] is not None:
            print_line(f"Page: {options['output']}")
    return int(ExitCode.OK)


def _comparison_lines(pairs: Sequence[Pair], comparison: LoadComparison) -> Iterator[Line]:
    colour = _COLOURS.get(comparison.verdict)
    for line in wrap_text(describe_comparison(comparison)):
        yield Styled(line, colour)
    rows = [["", "calls/s", "emails/s", *_FIGURES, "errors"]]
    rows += [
        [f"{name}{number if len(pairs) > 1 else ''}", *_cells(result)]
        for number, pair in enumerate(pairs, 1)
        for name, result in zip("AB", pair, strict=True)
    ]
    yield from format_columns(rows, right_aligned=range(1, len(rows[0])))
    for warning in comparison.warnings:
        yield from wrap_text(f"Note: {warning}")


def _cells(result: LoadResult) -> list[str]:
    figures = result.latency.intended
    latencies = [
        "" if figures is None else latency_text(getattr(figures, name)) for name in _FIGURES
    ]
    rates = [f"{result.calls_per_second:,.1f}", f"{result.messages_per_second:,.0f}"]
    return [*rates, *latencies, f"{sum(result.errors.values()):,}"]


def search_capacity(mappings: tuple[str, ...], options: dict[str, Any]) -> int:
    """Search for the highest arrival rate at which a load test meets a threshold."""
    threshold = parse_threshold(options["search"], setting="--search")
    if threshold.sign.startswith(">") is not (threshold.figure == "rate"):
        raise UsageError(
            f"A higher rate rather meets {threshold.expression!r}: there is no highest one.",
            where="--search",
            advice="Use a limit that a higher rate breaks: 'p99 < 400ms', 'errors < 1%'.",
        )
    first = options["arrival_rate"] or _FIRST_RATE
    settings = SearchSettings(first=first)
    history: list[RateProbe] = []
    with LoadRunner(mappings, options | {"arrival_rate": first}) as runner:
        while isinstance(step := next_rate(history, settings), float):
            result = runner.run(arrival_rate=step)
            if result.cut_short:
                return result.exit_code
            checked = threshold.check(result)
            history.append(RateProbe(step, checked.met))
            mark = "meets" if checked.met else "misses"
            runner.note(f"{step:g} calls/s {mark} {threshold.expression}")
    return _show_capacity(step, threshold.expression, options)


def _show_capacity(capacity: Capacity, expression: str, options: Mapping[str, Any]) -> int:
    found = capacity.ended is SearchEnd.FOUND
    exit_code = ExitCode.OK if found else ExitCode.ROWS_NOT_DONE
    if options["as_json"]:
        content = {"threshold": expression, **msgspec.to_builtins(capacity)}
        print_json({**content, "exit_code": int(exit_code)})
        return int(exit_code)
    probes = count_of(capacity.probes, "load test")
    if found and capacity.rate is not None:
        text = f"{capacity.rate:g} calls/s meet {expression}, {capacity.high:g} miss it"
    elif capacity.ended is SearchEnd.NEVER_MET:
        text = f"Not even 1 call/s meets {expression}"
    elif capacity.ended is SearchEnd.NEVER_MISSED:
        text = f"{capacity.rate:g} calls/s meet {expression}, and no higher rate was tried"
    else:
        text = f"The results contradict each other: between {capacity.low} and {capacity.high}"
    print_line(Styled(f"{text} ({probes}).", "green" if found else "yellow"))
    return int(exit_code)


def merge_files(files: Sequence[str], options: Mapping[str, Any]) -> int:
    """Merge the results of several clients of one server into one."""
    output = options["output"]
    if output is None:
        raise UsageError(
            "There is no file for the merged result.",
            where="--merge",
            advice="Name it: -o merged.json.",
        )
    _check_new(output, force=options["force"])
    merged = merge_results([read_load_result(file) for file in files])
    write_load_result(output, merged)
    if options["as_json"]:
        print_json(msgspec.to_builtins(merged, str_keys=True))
    else:
        show_load_result(merged)
        print_line(f"Merged result: {output}")
    return merged.exit_code


def _check_new(path: Path, *, force: bool) -> None:
    from bulklink.tables.output import check_can_create  # noqa: PLC0415 - only with a file

    check_can_create(path, force=force)
