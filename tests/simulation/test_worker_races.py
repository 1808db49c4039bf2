"""A worker whose children start and end while it reads and writes files, on a virtual clock."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TypeVar

import anyio
import msgspec
import pytest

from bulklink.advice import Advice
from bulklink.blocking import run_inline
from bulklink.engine.clock import Clock
from bulklink.engine.shutdown import StopController
from bulklink.errors import RunDirError
from bulklink.operations.environment import Environment, real_environment
from bulklink.operations.queue_access import open_queue
from bulklink.runs.folder import RunFolder
from bulklink.runs.queue import Approval, RunNotes, RunQueue
from bulklink.runs.record import Invocation, RunRecord, RunState
from bulklink.worker.children import Child
from bulklink.worker.verdict import Ended
from bulklink.worker.worker import WorkResult, work
from tests.virtual import now

T = TypeVar("T")
RUNS, SLOTS = 40, 8
_CREATED = "2026-11-22T10:15:00Z"


def make_environment(rng: random.Random) -> Environment:
    """Return an environment in which every blocking function takes a while."""

    async def run_slowly(function: Callable[[], T], /) -> T:
        await anyio.sleep(rng.uniform(0.0, 0.05))
        result = await run_inline(function)
        await anyio.sleep(rng.uniform(0.0, 0.05))
        return result

    return msgspec.structs.replace(
        real_environment(),
        clock=Clock(wall=now, monotonic=now, random=rng.random),
        run_blocking=run_slowly,
        approval_key=lambda: "key",
    )


def approve_runs(runs_dir: Path, environment: Environment) -> None:
    """Approve runs of as many orgs."""
    runs_dir.mkdir()
    for number in range(RUNS):
        run = RunFolder(runs_dir / f"run{number}")
        run.path.mkdir()
        run.write(
            RunRecord(
                version="1", op="link", asked={}, inputs=(), created=_CREATED, rows=1, digest="d"
            )
        )
        open_queue(runs_dir, environment).add(make_approval(run.path.name))


def make_approval(run: str) -> Approval:
    """Return the approval of a run that has an org of its own."""
    return Approval(
        run=run,
        created=_CREATED,
        digest="d",
        op="link",
        messages=1,
        invocations=0,
        approved=_CREATED,
        org_key=run,
    )


async def drain(
    runs_dir: Path,
    environment: Environment,
    start: Callable[[Sequence[str]], Awaitable[Child]],
    report: Callable[[str | Advice], None] = lambda event: None,
) -> WorkResult:
    """Let a worker drain the queue."""
    return await work(
        runs_dir,
        slots=SLOTS,
        drain=True,
        stop=StopController(),
        report=report,
        environment=environment,
        start=start,
    )


class FinishingChild:
    """A child that finishes its run after a while."""

    def __init__(self, run: RunFolder, seconds: float) -> None:
        self._run, self._seconds = run, seconds

    async def wait(self) -> Ended:
        await anyio.sleep(self._seconds)
        record = self._run.read()
        invocation = Invocation(_CREATED, _CREATED, self._seconds, None, 0)
        self._run.write(record.replace(state=RunState.FINISHED, invocations=(invocation,)))
        return Ended(0)

    def stop(self) -> None:
        raise AssertionError("nothing stops it here")


@pytest.mark.parametrize("seed", range(5))
async def test_each_run_is_noted_before_its_start_and_finishes_once(
    seed: int, tmp_path: Path
) -> None:
    rng, events, notes = random.Random(seed), Counter[str](), list[RunNotes | None]()
    environment, runs_dir = make_environment(rng), tmp_path / "runs"
    approve_runs(runs_dir, environment)
    queue = open_queue(runs_dir, environment)

    async def start(command: Sequence[str]) -> Child:
        run = RunFolder(Path(command[5]))
        notes.append(queue.notes().get(run.path.name))
        return FinishingChild(run, rng.uniform(0.0, 0.3))

    def report(event: str | Advice) -> None:
        events[str(event)] += 1

    result = await drain(runs_dir, environment, start, report)
    assert result == WorkResult(str(runs_dir), RUNS, 0, (), (), None, 0)
    assert set(events.values()) == {1}, events.most_common(3)
    assert notes == [RunNotes(_CREATED, started=True)] * RUNS


@pytest.mark.parametrize("code", [0, -9])
async def test_the_failures_of_a_run_count_however_its_process_ended(
    code: int, tmp_path: Path
) -> None:
    """One is killed after its last record; the other finishes without its worker."""
    environment, runs_dir = make_environment(random.Random(1)), tmp_path / "runs"
    approve_runs(runs_dir, environment)
    runs = [RunFolder(runs_dir / f"run{number}") for number in range(RUNS)]
    counts = {"done": 0, "failed": 1}
    finished = runs[0].read().replace(state=RunState.FINISHED, counts=counts)
    runs[0].write(finished)

    class KilledChild(FinishingChild):
        async def wait(self) -> Ended:
            await super().wait()
            self._run.write(finished)
            return Ended(code)

    async def start(command: Sequence[str]) -> Child:
        return KilledChild(RunFolder(Path(command[5])), 1.0)

    result = await drain(runs_dir, environment, start)
    assert (result.finished, result.with_failures, result.exit_code) == (RUNS, RUNS, 1)


def test_an_approval_that_is_removed_while_the_queue_is_read_hides_no_other(
    tmp_path: Path,
) -> None:
    """A worker would stop the children of those."""

    class ChangingQueue(RunQueue):
        """A queue from which other approvals are taken out when the first one is read."""

        removed = 0

        def _load(self, name: str) -> Approval | RunDirError:
            for other in (
                sorted(tmp_path.glob(".queue/*.approved"))[::2] if not self.removed else ()
            ):
                if other.name != name:
                    other.unlink()
                    self.removed += 1
            return super()._load(name)

    queue = ChangingQueue(tmp_path, "key")
    for name in map(str, range(RUNS)):
        RunQueue(tmp_path, "key").add(make_approval(name))
    assert len(queue.entries()) == RUNS - queue.removed
    assert queue.removed >= RUNS // 2 - 1
    assert all(isinstance(entry, Approval) for entry in queue.entries().values())


class StoppableChild(FinishingChild):
    """A child that finishes its run, or is stopped before."""

    def __init__(self, run: RunFolder, seconds: float) -> None:
        super().__init__(run, seconds)
        self._stopped = anyio.Event()

    async def wait(self) -> Ended:
        with anyio.move_on_after(self._seconds):
            await self._stopped.wait()
            return Ended(143, stopped=True)
        self._seconds = 0.0
        return await super().wait()

    def stop(self) -> None:
        self._stopped.set()


@pytest.mark.parametrize("seed", range(20))
async def test_runs_can_be_taken_out_of_the_queue_and_approved_again_at_any_time(
    seed: int, tmp_path: Path
) -> None:
    rng = random.Random(seed)
    environment, runs_dir = make_environment(rng), tmp_path / "runs"
    approve_runs(runs_dir, environment)
    queue, started = open_queue(runs_dir, environment), set[str]()

    async def start(command: Sequence[str]) -> Child:
        started.add(Path(command[5]).name)
        return StoppableChild(RunFolder(Path(command[5])), rng.uniform(0.0, 0.3))

    async def meddle() -> None:
        for _ in range(60):
            await anyio.sleep(rng.uniform(0.0, 0.05))
            name = f"run{rng.randrange(RUNS)}"
            queue.remove(name)
            if rng.random() < 0.5:
                queue.add(make_approval(name))

    async with anyio.create_task_group() as group:
        group.start_soon(meddle)
        await drain(runs_dir, environment, start)
    await drain(runs_dir, environment, start)
    assert queue.approvals() == []
    records = {name: RunFolder(runs_dir / name).read() for name in started}
    assert all(record.state in (RunState.FINISHED, RunState.PLANNED) for record in records.values())
