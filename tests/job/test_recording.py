"""The timeline is cut into stretches that grow with the run; no run needs it."""

from __future__ import annotations

from pathlib import Path

from bulklink.engine.metrics import Totals
from bulklink.models import Status
from bulklink.operations.monitor import Recorder
from bulklink.runs.timeline import Stretch, timeline
from bulklink.zoho.http import CallKind

TS = "2026-11-22T10:15:00.000Z"


def totals(at: float, calls: int, waited: float = 0.0, answered_429: int = 0) -> Totals:
    landed = dict.fromkeys(CallKind, 0) | {CallKind.LINK: calls}
    busy = calls * 0.5
    return Totals(at, calls, landed, answered_429, busy, at * 10, 0.0, waited, 0.0, {-30: calls})


class Recording:
    """Looks at a run each half second: 20 emails and one call are done in it."""

    def __init__(self, path: Path, before: float = 0.0) -> None:
        self.path = path
        self.warned: list[str] = []
        self.recorder = Recorder(path, before, None, self.warned.append)
        self.looks = self.calls = 0
        self.waited = 0.0

    async def go_on(self, looks: int, *, waits: bool = False) -> None:
        for _ in range(looks):
            self.looks += 1
            self.calls += not waits
            self.waited += 0.5 if waits else 0.0
            await self.recorder.look(*self._seen(), lambda: TS, waits=waits)

    def end(self) -> list[Stretch]:
        self.recorder.end(*self._seen(), TS)
        return list(timeline(self.path))

    def _seen(self) -> tuple[Totals, dict[Status, int], int | None]:
        done = dict.fromkeys(Status, 0) | {Status.DONE: 20 * self.calls}
        return totals(self.looks / 2, self.calls, self.waited), done, 1000 - self.calls


async def test_a_stretch_tells_what_was_done_in_it(tmp_path: Path) -> None:
    run = Recording(tmp_path / "timeline.jsonl")
    await run.go_on(4)
    first, *_ = run.end()
    assert (first.ts, first.seconds, first.settled) == (TS, 1.0, {"done": 40})
    assert first.calls == {"link": 2, "unlink": 0, "read": 0, "lookup": 0}
    assert (first.in_flight, first.most_in_flight, first.credits_left) == (1.0, 10.0, 997)
    assert list(first.latency.values()) == [2]
    assert not run.warned


async def test_all_that_was_done_is_in_the_stretches_together(tmp_path: Path) -> None:
    run = Recording(tmp_path / "timeline.jsonl")
    await run.go_on(101)
    await run.go_on(300, waits=True)
    await run.go_on(51)
    told = run.end()
    assert sum(one.seconds for one in told) == run.looks / 2 - 0.5
    assert sum(one.settled.get("done", 0) for one in told) == 20 * (run.calls - 1)
    assert sum(one.calls["link"] for one in told) == run.calls - 1
    assert sum(one.waited for one in told) == 150.0


async def test_five_days_are_some_thousand_lines(tmp_path: Path) -> None:
    """Two hours more are few lines then: a stretch lasts 14 minutes."""
    run = Recording(tmp_path / "timeline.jsonl", before=5 * 86_400.0)
    await run.go_on(2 * 4 * 3600)
    assert len(run.end()) < 20


async def test_a_wait_for_credits_is_one_stretch(tmp_path: Path) -> None:
    run = Recording(tmp_path / "timeline.jsonl")
    await run.go_on(10)
    await run.go_on(5000, waits=True)
    await run.go_on(10)
    (wait,) = [one for one in run.end() if one.limited_by == "credits"]
    assert wait.seconds - 0.5 == wait.waited == 2499.5


async def test_a_timeline_that_cannot_be_written_is_told_of_once(tmp_path: Path) -> None:
    path = tmp_path / "timeline.jsonl"
    path.mkdir()
    run = Recording(path)
    await run.go_on(20)
    path.rmdir()
    assert run.end() == []
    assert len(run.warned) == 1
    assert "timeline.jsonl cannot be written" in run.warned[0]
