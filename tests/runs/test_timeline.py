"""The timeline of a run: what is written is read again, whatever a kill leaves of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bulklink.runs.timeline import TimelineInterval, append_interval, read_timeline

STRETCH = TimelineInterval(
    ts="2026-11-22T10:15:00.000Z",
    seconds=1.0,
    settled={"done": 20},
    calls={"link": 3, "unlink": 0, "read": 2, "lookup": 0},
    answered_429=1,
    in_flight=17.2,
    most_in_flight=20.0,
    latency={0.052: 12, 0.117: 3},
    credits_left=None,
    waited=0.0,
    limited_by="calls in flight",
)


def stretch_of(seconds: float) -> TimelineInterval:
    return msgspec.structs.replace(STRETCH, seconds=seconds)


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "timeline.jsonl"
    for seconds in (1.0, 2.5):
        append_interval(path, stretch_of(seconds))
    assert list(read_timeline(path)) == [stretch_of(1.0), stretch_of(2.5)]


def test_a_line_is_one_json_object_with_texts_for_keys(tmp_path: Path) -> None:
    path = tmp_path / "timeline.jsonl"
    append_interval(path, STRETCH)
    (line,) = path.read_text("utf-8").splitlines()
    record: dict[str, Any] = json.loads(line)
    assert list(record) == list(TimelineInterval.__struct_fields__)
    assert record["latency"] == {"0.052": 12, "0.117": 3}


@pytest.mark.parametrize("left", range(1, 60, 7))
def test_a_torn_line_is_passed_over_and_the_next_one_stands_apart(
    tmp_path: Path, left: int
) -> None:
    path = tmp_path / "timeline.jsonl"
    for seconds in (1.0, 2.0):
        append_interval(path, stretch_of(seconds))
    first, second = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first + second[:left])
    assert list(read_timeline(path)) == [stretch_of(1.0)]
    append_interval(path, stretch_of(3.0))
    assert list(read_timeline(path)) == [stretch_of(1.0), stretch_of(3.0)]


def test_a_run_without_one_has_an_empty_timeline(tmp_path: Path) -> None:
    assert list(read_timeline(tmp_path / "timeline.jsonl")) == []
