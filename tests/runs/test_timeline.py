"""Timeline of a run, including lines torn by a kill."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bulklink.runs.timeline import TimelineInterval, append_interval, read_timeline

INTERVAL = TimelineInterval(
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


def interval_of(seconds: float) -> TimelineInterval:
    return msgspec.structs.replace(INTERVAL, seconds=seconds)


def test_intervals_are_read_back_unchanged(tmp_path: Path) -> None:
    path = tmp_path / "timeline.jsonl"
    for seconds in (1.0, 2.5):
        append_interval(path, interval_of(seconds))
    assert list(read_timeline(path)) == [interval_of(1.0), interval_of(2.5)]


def test_each_line_is_a_json_object_with_string_keys(tmp_path: Path) -> None:
    path = tmp_path / "timeline.jsonl"
    append_interval(path, INTERVAL)
    (line,) = path.read_text("utf-8").splitlines()
    record: dict[str, Any] = json.loads(line)
    assert list(record) == list(TimelineInterval.__struct_fields__)
    assert record["latency"] == {"0.052": 12, "0.117": 3}


@pytest.mark.parametrize("left", range(1, 60, 7))
def test_a_torn_line_is_skipped_and_the_next_one_starts_a_new_line(
    tmp_path: Path, left: int
) -> None:
    path = tmp_path / "timeline.jsonl"
    for seconds in (1.0, 2.0):
        append_interval(path, interval_of(seconds))
    first, second = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first + second[:left])
    assert list(read_timeline(path)) == [interval_of(1.0)]
    append_interval(path, interval_of(3.0))
    assert list(read_timeline(path)) == [interval_of(1.0), interval_of(3.0)]


def test_a_missing_timeline_is_empty(tmp_path: Path) -> None:
    assert list(read_timeline(tmp_path / "timeline.jsonl")) == []
