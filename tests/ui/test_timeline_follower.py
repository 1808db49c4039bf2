"""Results of a run that goes on elsewhere, read from its timeline as it grows."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from bulklink.errors import RunDirError
from bulklink.ui.timeline_follower import TimelineFollower, TimelineFollowers
from tests.ui.intervals import interval

MIB = 1024 * 1024
FIRST, SECOND, THIRD = (f"2026-11-30T12:00:0{second}Z" for second in (1, 2, 3))


def line(done: int, ts: str = FIRST, limited_by: str = "latency", **settled: int) -> bytes:
    settled = {"done": done} | settled
    return msgspec.json.encode(interval(ts=ts, limited_by=limited_by, settled=settled)) + b"\n"


@pytest.fixture
def timeline(tmp_path: Path) -> Path:
    return tmp_path / "timeline.jsonl"


def append(path: Path, *lines: bytes) -> None:
    with path.open("ab") as file:
        file.write(b"".join(lines))


def test_a_missing_timeline_has_no_results(timeline: Path) -> None:
    follower = TimelineFollower()
    assert follower.read(timeline) == {}
    assert follower.limited_by is None


def test_lines_count_once_as_the_timeline_grows(timeline: Path) -> None:
    follower = TimelineFollower()
    append(timeline, line(3))
    assert follower.read(timeline) == {"done": 3}
    assert follower.read(timeline) == {"done": 3}
    append(timeline, line(4, SECOND, "the rate limit", in_doubt=1), line(0, THIRD, in_doubt=-1))
    assert follower.read(timeline) == {"done": 7, "in_doubt": 0}


def test_the_last_line_says_what_limits_the_run(timeline: Path) -> None:
    follower = TimelineFollower()
    append(timeline, line(1), line(1, SECOND, "concurrency"))
    follower.read(timeline)
    assert follower.limited_by == "concurrency"


def test_a_line_counts_when_it_is_whole(timeline: Path) -> None:
    follower, whole = TimelineFollower(), line(5)
    append(timeline, line(1), whole[:20])
    assert follower.read(timeline) == {"done": 1}
    append(timeline, whole[20:])
    assert follower.read(timeline) == {"done": 6}


@pytest.mark.parametrize(
    "torn",
    [line(9)[:30], b"", b"[" * 100_000, b'{"ts":1}', b"\xff\xfe", line(9, ts="yesterday")[:-1]],
    ids=["torn by a kill", "empty", "deep", "not a line", "not UTF-8", "no time"],
)
def test_a_damaged_line_is_skipped(timeline: Path, torn: bytes) -> None:
    follower = TimelineFollower(since="2026-11-30T12:00:00Z")
    append(timeline, line(1), torn + b"\n", line(2, SECOND))
    assert follower.read(timeline) == {"done": 3}


def test_lines_of_earlier_commands_do_not_count(timeline: Path) -> None:
    append(timeline, line(1, FIRST), line(2, SECOND), line(4, THIRD))
    assert TimelineFollower(SECOND).read(timeline) == {"done": 4}


def test_a_long_timeline_is_read_in_parts(timeline: Path) -> None:
    padding = b" " * (3 * MIB)
    append(timeline, line(1), padding, line(2), padding, line(4))
    follower = TimelineFollower()
    assert [follower.read(timeline)["done"] for _ in range(2)] == [3, 7]


def test_an_endless_line_does_not_hide_what_follows(timeline: Path) -> None:
    append(timeline, b"x" * (9 * MIB), b"\n", line(2))
    follower = TimelineFollower()
    assert [follower.read(timeline)["done"] for _ in range(3)] == [0, 0, 2]


def test_several_windows_count_a_line_once(timeline: Path) -> None:
    follower = TimelineFollower()
    append(timeline, *[line(1)] * 2000)
    with ThreadPoolExecutor(8) as pool:
        sums = list(pool.map(follower.read, [timeline] * 32))
    assert {counts["done"] for counts in sums} == {2000}


def test_what_is_no_regular_file_is_refused(timeline: Path) -> None:
    timeline.mkdir()
    with pytest.raises(RunDirError):
        TimelineFollower().read(timeline)


def test_a_run_keeps_its_follower_until_another_command_works_on_it() -> None:
    followers = TimelineFollowers()
    follower = followers.of("a", None)
    assert followers.of("a", None) is follower
    assert followers.of("b", None) is not follower
    assert followers.of("a", FIRST) is not follower


def test_a_dropped_run_is_read_from_its_beginning() -> None:
    followers = TimelineFollowers()
    follower = followers.of("a", None)
    followers.drop("a")
    followers.drop("never followed")
    assert followers.of("a", None) is not follower
