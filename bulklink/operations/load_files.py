"""Files of load tests: `loadtest.json`, percentiles for plotters of HdrHistogram, and pages."""

from __future__ import annotations

from datetime import datetime
from os import PathLike
from pathlib import Path

import msgspec

from bulklink.atomic_files import atomic_replace
from bulklink.decoding import decode_json
from bulklink.errors import BadFileError
from bulklink.folder_files import read_small_file
from bulklink.html_pages.load.render import render_comparison, render_load
from bulklink.load_analysis.comparison import LoadComparison
from bulklink.load_analysis.figures import histogram_of_bins
from bulklink.load_analysis.hgrm import format_hgrm
from bulklink.load_results import VERSION, HistogramBins, LoadResult

RESULT_NAME = "loadtest.json"
PERCENTILES_NAME = "percentiles.hgrm"
_WHICH_FILE = f"Use the {RESULT_NAME} of a load test; it is in the run folder."
_RESTORE = "Restore it from a backup, or repeat the load test."
_SHORTEST, _LONGEST = 1e-9, 1e10
"""Seconds that a bin of a histogram may count; those of bulklink are far within."""
_FINEST = 1e-6
"""Smallest relative error of a histogram whose bins floating-point numbers can tell apart."""


def write_load_result(path: Path, result: LoadResult) -> None:
    """Replace a file with the result of a load test, as JSON; blocks.

    Raises:
        RunDirError: if it cannot be written.
    """
    with atomic_replace(path) as temporary:
        temporary.write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=1) + b"\n")


def write_percentiles(path: Path, result: LoadResult) -> None:
    """Replace a file with the latencies from the intended start, as HdrHistogram prints them.

    Raises:
        RunDirError: if it cannot be written.
    """
    with atomic_replace(path) as temporary:
        text = format_hgrm(histogram_of_bins(result.histogram.intended))
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_load_page(path: Path, result: LoadResult) -> None:
    """Replace a file with the page about a load test.

    Raises:
        RunDirError: if it cannot be written.
    """
    with atomic_replace(path) as temporary:
        temporary.write_text(render_load(result), encoding="utf-8")


def write_comparison_page(
    path: Path, a: LoadResult, b: LoadResult, comparison: LoadComparison
) -> None:
    """Replace a file with the page about a comparison.

    Args:
        path: the file.
        a: load test A; of several rounds, the one to draw.
        b: load test B.
        comparison: what the comparison says about all rounds.

    Raises:
        RunDirError: if it cannot be written.
    """
    with atomic_replace(path) as temporary:
        temporary.write_text(render_comparison(a, b, comparison), encoding="utf-8")


def read_load_result(path: str | PathLike[str]) -> LoadResult:
    """Return the result of a load test; blocks.

    Args:
        path: its `loadtest.json`, or the run folder that has it.

    Raises:
        BadFileError: if there is none, it is damaged, or another version of bulklink wrote it.
        RunDirError: if it cannot be read, is too large, or is not a regular file.
    """
    file = Path(path)
    if file.is_dir():
        file /= RESULT_NAME
    try:
        content = read_small_file(file)
    except FileNotFoundError:
        raise BadFileError("There is no such file.", where=str(file), advice=_WHICH_FILE) from None
    try:
        _check_version(content, file)
        result = decode_json(content, LoadResult)
        _check_values(result)
    except msgspec.ValidationError as error:
        raise _damaged_error(file, _place_of(error)) from None
    except msgspec.DecodeError:
        raise BadFileError("The file is not JSON.", where=str(file), advice=_WHICH_FILE) from None
    except RecursionError:
        raise _damaged_error(file, "it is nested too deeply") from None
    return result


class _Header(msgspec.Struct):
    """What every version of the format has."""

    version: int
    histogram: msgspec.Raw
    versions: dict[str, str] = {}


def _check_version(content: bytes, file: Path) -> None:
    try:
        header = decode_json(content, _Header)
    except msgspec.ValidationError:
        raise BadFileError(
            "The file is JSON, but not the result of a load test.",
            where=str(file),
            advice=_WHICH_FILE,
        ) from None
    if header.version != VERSION:
        writer = header.versions.get("bulklink")
        raise BadFileError(
            f"The file has version {header.version} of the format, and this bulklink reads"
            f" version {VERSION}.",
            where=str(file),
            advice=f"Read it with bulklink {writer}, which wrote it."
            if writer
            else "Read it with the version of bulklink that wrote it.",
        )


def _check_values(result: LoadResult) -> None:
    """Check what the types do not say.

    Raises:
        msgspec.ValidationError: if a value makes no sense.
    """
    if not _is_time(result.started):
        raise msgspec.ValidationError("no time - at `$.started`")
    for name in ("service", "intended"):
        bins: HistogramBins = getattr(result.histogram, name)
        if not _is_possible(bins):
            raise msgspec.ValidationError(f"no latency - at `$.histogram.{name}`")


def _is_time(text: str) -> bool:
    """Return whether a text is a point in time, with its offset, that any time zone can show."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return False
    return moment.tzinfo is not None and datetime.min.year < moment.year < datetime.max.year


def _is_possible(bins: HistogramBins) -> bool:
    """Return whether the latencies of all bins are times that a computer can measure."""
    if bins.relative_error < _FINEST:
        return False
    histogram = histogram_of_bins(bins)
    if not histogram.bins:
        return not bins.longest
    try:
        lowest, highest = map(histogram.highest_of, (min(bins.bins), max(bins.bins)))
    except OverflowError:
        return False
    return _SHORTEST < lowest <= highest < _LONGEST and 0 < bins.longest <= highest * 1.000001


def _place_of(error: msgspec.ValidationError) -> str:
    message, _, place = str(error).partition(" - at `$.")
    return f"{place.removesuffix('`')} has a wrong type or value" if place else message


def _damaged_error(file: Path, problem: str) -> BadFileError:
    return BadFileError(f"The file is damaged: {problem}.", where=str(file), advice=_RESTORE)
