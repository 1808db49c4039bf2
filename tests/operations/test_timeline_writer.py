"""The timeline consists of stretches that grow with the run, and is optional."""

from __future__ import annotations

from pathlib import Path

import anyio.to_thread

from bulklink.blocking import call_inline
from bulklink.engine.metrics import MeterTotals
from bulklink.models import Status
from bulklink.operations.monitor import TimelineWriter
from bulklink.runs.timeline import TimelineInterval, read_timeline
from bulklink.zoho.http import CallKind

TS = "2026-11-22T10:15:00.000Z"


def totals(at: float, calls: int, waited: float = 0.0, answered_429: int = 0) -> MeterTotals:
    finished_calls = dict.fromkeys(CallKind, 0) | {CallKind.LINK: calls}
    seconds_in_flight = calls * 0.5
    return MeterTotals(
        at,
        calls,
        finished_calls,
        answered_429,
        seconds_in_flight,
        at * 10,
        0.0,
        waited,
        0.0,
        {-30: calls},
    )


class FakeRun:
    """A run sampled every half second, with 20 emails and one call per sample."""

    def __init__(self, path: Path, before: float = 0.0) -> None:
        self.path = path
        self.warned: list[str] = []
        self.writer = TimelineWriter(
            path,
            earlier_seconds=before,
            rate=None,
            warn=self.warned.append,
            timestamp=lambda: TS,
            run_blocking=anyio.to_thread.run_sync,
        )
        self.samples = self.calls = 0
        self.waited = 0.0

    async def advance(
        self, samples: int, *, waits: bool = False, works: bool = True, sending: bool = True
    ) -> None:
        for _ in range(samples):
            self.samples += 1
            self.calls += works and not waits
            self.waited += 0.5 if waits else 0.0
            await self.writer.add_sample(*self._sample(), waiting=waits, sending=sending)

    def end(self) -> list[TimelineInterval]:
        self.writer.close(*self._sample())
        return call_inline(lambda: list(read_timeline(self.path)))

    def _sample(self) -> tuple[MeterTotals, dict[Status, int], int | None]:
        counts = dict.fromkeys(Status, 0) | {Status.DONE: 20 * self.calls}
        return totals(self.samples / 2, self.calls, self.waited), counts, 1000 - self.calls


async def test_a_stretch_has_the_work_done_in_it(tmp_path: Path) -> None:
    run = FakeRun(tmp_path / "timeline.jsonl")
    await run.advance(4)
    first, *_ = run.end()
    assert (first.ts, first.seconds, first.settled) == (TS, 1.0, {"done": 40})
    assert first.calls == {"link": 2, "unlink": 0, "read": 0, "lookup": 0}
    assert (first.in_flight, first.most_in_flight, first.credits_left) == (1.0, 10.0, 997)
    assert list(first.latency.values()) == [2]
    assert not run.warned


async def test_the_stretches_add_up_to_all_work(tmp_path: Path) -> None:
    run = FakeRun(tmp_path / "timeline.jsonl")
    await run.advance(101)
    await run.advance(300, waits=True)
    await run.advance(51)
    stretches = run.end()
    assert sum(stretch.seconds for stretch in stretches) == run.samples / 2 - 0.5
    assert sum(stretch.settled.get("done", 0) for stretch in stretches) == 20 * (run.calls - 1)
    assert sum(stretch.calls["link"] for stretch in stretches) == run.calls - 1
    assert sum(stretch.waited for stretch in stretches) == 150.0


async def test_five_days_make_about_a_thousand_lines(tmp_path: Path) -> None:
    """Two more hours add few lines, because a stretch then lasts 14 minutes."""
    run = FakeRun(tmp_path / "timeline.jsonl", before=5 * 86_400.0)
    await run.advance(2 * 4 * 3600)
    assert len(run.end()) < 20


async def test_a_wait_for_credits_is_one_stretch(tmp_path: Path) -> None:
    run = FakeRun(tmp_path / "timeline.jsonl")
    await run.advance(10)
    await run.advance(5000, waits=True)
    await run.advance(10)
    (wait,) = [stretch for stretch in run.end() if stretch.limited_by == "credits"]
    assert wait.seconds - 0.5 == wait.waited == 2499.5


async def test_stretches_without_work_are_written_only_while_emails_are_sent(
    tmp_path: Path,
) -> None:
    """So the stretches of sending add up, and a question to the user is not among them."""
    run = FakeRun(tmp_path / "timeline.jsonl")
    for look_ups in (20, 60):
        await run.advance(look_ups, works=False, sending=False)
        await run.advance(1, works=False)
        await run.advance(20)
        await run.advance(20, works=False)
        await run.advance(1, works=False, sending=False)
    stretches = run.end()
    assert all(stretch.sending for stretch in stretches)
    assert sum(stretch.seconds for stretch in stretches) == 2 * 41 / 2


async def test_a_timeline_that_cannot_be_written_causes_one_warning(tmp_path: Path) -> None:
    path = tmp_path / "timeline.jsonl"
    path.mkdir()
    run = FakeRun(path)
    await run.advance(20)
    path.rmdir()
    assert run.end() == []
    assert len(run.warned) == 1
    assert "timeline.jsonl cannot be written" in run.warned[0]
