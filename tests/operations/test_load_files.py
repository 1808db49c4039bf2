"""Files of load tests."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bulklink.errors import BadFileError, RunDirError
from bulklink.load_analysis.comparison import compare_loads
from bulklink.load_results import LoadResult
from bulklink.operations.load_files import (
    RESULT_NAME,
    read_load_result,
    write_comparison_page,
    write_load_page,
    write_load_result,
    write_percentiles,
)
from tests.load_results import load_result


@pytest.fixture(scope="module")
def result() -> LoadResult:
    return load_result(seconds=3)


@pytest.fixture
def file(tmp_path: Path, result: LoadResult) -> Path:
    write_load_result(tmp_path / RESULT_NAME, result)
    return tmp_path / RESULT_NAME


def test_a_result_is_read_as_it_was_written(file: Path, result: LoadResult) -> None:
    assert read_load_result(file) == result
    assert read_load_result(file.parent) == result
    write_load_result(file, load_result(seconds=2, rate=None))
    assert read_load_result(file).asked_calls_per_second is None


def test_percentiles_are_of_latencies_from_the_intended_start(tmp_path: Path) -> None:
    behind = load_result(rate=2000, seconds=3, places=10)
    assert behind.latency.intended is not None
    write_percentiles(tmp_path / "percentiles.hgrm", behind)
    text = (tmp_path / "percentiles.hgrm").read_bytes()
    assert f"#[Max     = {1000 * behind.latency.intended.max:12.3f}," in text.decode()
    assert b"\r" not in text


Change = Callable[[dict[str, Any]], object]


@pytest.mark.parametrize(
    ("change", "message", "advice"),
    [
        (
            lambda content: content.update(version=2, histogram={"new": 1}),
            "has version 2 of the format, and this bulklink reads version 1",
            "Read it with bulklink 0.9.0, which wrote it.",
        ),
        (
            lambda content: content.update(version=0, versions={}),
            "version 0",
            "the version of bulklink that wrote it",
        ),
        (lambda content: content.pop("version"), "not the result of a load test", "Use the load"),
        (lambda content: content.pop("histogram"), "not the result of a load test", "Use the load"),
        (lambda content: content.pop("series"), "is damaged: ", "repeat the load test"),
        (lambda content: content.update(late=-1), "damaged: late has a wrong", "Restore it"),
        (
            lambda content: content["series"][2].update(calls="3"),
            "damaged: series[2].calls has a wrong",
            "Restore it",
        ),
        (lambda content: content.update(started="noon"), "started has a wrong", "Restore it"),
        (
            lambda content: content.update(started="2026-11-22T12:00:00"),
            "started has a wrong",
            "Restore it",
        ),
        (
            lambda content: content.update(started="0001-01-01T00:00:00+00:00"),
            "started has a wrong",
            "Restore it",
        ),
        (
            lambda content: content["histogram"]["service"].update(bins={"999999999": 1}),
            "histogram.service has a wrong",
            "Restore it",
        ),
        (
            lambda content: content["histogram"]["service"].update(bins={"9" * 18: 1}),
            "histogram.service has a wrong",
            "Restore it",
        ),
        (
            lambda content: content["histogram"]["intended"].update(relative_error=1e-300),
            "histogram.intended has a wrong",
            "Restore it",
        ),
        (
            lambda content: content["histogram"]["intended"].update(longest=4000),
            "histogram.intended has a wrong",
            "Restore it",
        ),
        (
            lambda content: content["histogram"]["intended"].update(bins={}),
            "histogram.intended has a wrong",
            "Restore it",
        ),
    ],
)
def test_what_is_not_such_a_file_is_refused_with_advice(
    file: Path, change: Change, message: str, advice: str
) -> None:
    content = json.loads(file.read_bytes())
    change(content)
    file.write_text(json.dumps(content))
    with pytest.raises(BadFileError) as caught:
        read_load_result(file)
    assert message in caught.value.message
    assert advice in caught.value.advice
    assert caught.value.where == str(file)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not JSON"),
        (b"\x7fELF", "not JSON"),
        (b'{"version":1', "not JSON"),
        (b"[1]", "not the result of a load test"),
        (b'{"version":1,"histogram":{},"settings":{"a":' + b"[" * 100_000, "nested too deeply"),
    ],
)
def test_a_foreign_file_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "other.json").write_bytes(content)
    with pytest.raises(BadFileError, match=message):
        read_load_result(tmp_path / "other.json")


def test_a_missing_file_and_a_link_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadFileError, match="no such file"):
        read_load_result(tmp_path)
    (tmp_path / RESULT_NAME).symlink_to("/dev/zero")
    with pytest.raises(RunDirError, match="a symbolic link"):
        read_load_result(tmp_path)


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path, result: LoadResult) -> None:
    with pytest.raises(RunDirError, match="Cannot write") as caught:
        write_load_result(tmp_path / "none" / RESULT_NAME, result)
    assert caught.value.where == str(tmp_path / "none" / RESULT_NAME)


def test_pages_are_written_whole(tmp_path: Path, result: LoadResult) -> None:
    other = msgspec.structs.replace(result, started="2026-11-22T13:00:00+00:00")
    write_load_page(tmp_path / "report.html", result)
    comparison = compare_loads([(result, other)])
    write_comparison_page(tmp_path / "comparison.html", result, other, comparison)
    for name in ("report.html", "comparison.html"):
        assert (tmp_path / name).read_text("utf-8").rstrip().endswith("</html>")
