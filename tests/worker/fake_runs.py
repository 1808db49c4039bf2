"""Runs whose child processes are played, on virtual time."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio

from bulklink.advice import Advice
from bulklink.blocking import run_inline
from bulklink.engine.clock import Clock
from bulklink.engine.shutdown import StopController
from bulklink.errors import ExitCode, StoppedBy
from bulklink.ledger.records import timestamp
from bulklink.operations.environment import Environment
from bulklink.runs.folder import RunFolder
from bulklink.runs.queue import Approval, RunQueue
from bulklink.runs.record import Invocation, OrgRecord, RunRecord, RunState
from bulklink.task_group import task_group
from bulklink.worker.verdict import Ended, Timing
from bulklink.worker.worker import WorkResult, work
from tests.virtual import now, run_virtual

KEY = "5" * 32


@dataclass(frozen=True)
class Play:
    """What a child process does.

    Args:
        seconds: how long it lives.
        exit_code: its exit code.
        state: state in which it leaves its run; None to leave it as it is.
        stopped_by: why it stopped.
        resume_in: seconds after its end at which the run can continue.
        code: code of its error.
        message: its error.
    """

    seconds: float = 10.0
    exit_code: int = 0
    state: RunState | None = RunState.FINISHED
    stopped_by: str | None = None
    resume_in: float | None = None
    code: str | None = None
    message: str = ""


FINISH = Play()
DIE = Play(exit_code=-9, state=RunState.RUNNING)


def stops(by: StoppedBy, **options: Any) -> Play:
    """Return a child process that stops."""
    code = {StoppedBy.CREDITS: ExitCode.CREDITS}.get(by, ExitCode.STOPPED)
    return Play(exit_code=code, state=RunState.STOPPED, stopped_by=by, **options)


def is_refused(code: str, message: str = "") -> Play:
    """Return a child process that is refused."""
    return Play(1.0, ExitCode.REFUSED, None, code=code, message=message)


@dataclass
class FakeRuns:
    """A runs folder, its queue, and the child processes that are played for its runs.

    Attributes:
        folder: the runs folder.
        starts: time after the beginning, run and command of each start.
        most_active: for each org, the most child processes at the same time; under "" of all.
        reports: what the worker said.
        clock_error: seconds by which the wall clock is wrong.
    """

    folder: Path
    starts: list[tuple[float, str, str]] = field(default_factory=list)
    commands: list[list[str]] = field(default_factory=list)
    most_active: dict[str, int] = field(default_factory=dict)
    reports: list[str] = field(default_factory=list)
    clock_error: float = 0.0
    stop: StopController = field(default_factory=StopController)
    _plays: dict[str, deque[Play]] = field(default_factory=dict)
    _orgs: dict[str, str] = field(default_factory=dict)
    _active: dict[str, int] = field(default_factory=dict)
    _began: float | None = None
    _ended: float = 0.0

    @property
    def queue(self) -> RunQueue:
        return RunQueue(self.folder, KEY)

    def add(self, name: str, *plays: Play, of: str = "org", **fields: Any) -> Approval:
        """Add an approved run."""
        (self.folder / name).mkdir(parents=True, exist_ok=True)
        record = RunRecord(
            version="1",
            op="link",
            asked={},
            inputs=(),
            created="2027-01-15T08:00:00.000Z",
            digest=name,
            messages=7,
        )
        RunFolder(self.folder / name).write(record)
        self._orgs[name] = of
        self._plays[name] = deque(plays)
        return self.approve(name, **fields)

    def approve(self, name: str, **fields: Any) -> Approval:
        """Approve a run as it stands."""
        record = RunFolder(self.folder / name).read()
        approval = Approval(
            run=name,
            created=record.created,
            digest=name,
            op="link",
            messages=7,
            invocations=len(record.invocations),
            approved=f"2027-01-15T08:00:{random.random():.12f}Z",
            org_key=self._orgs[name],
            **fields,
        )
        return self.queue.add(approval)

    def play(self, name: str, *plays: Play) -> None:
        """Set what the next child processes of a run do."""
        self._plays[name].extend(plays)

    def record(self, name: str) -> RunRecord:
        """Return the record of a run."""
        return RunFolder(self.folder / name).read()

    def started(self, name: str) -> list[float]:
        """Return when a run was started, in seconds after the beginning."""
        return [at for at, run, _ in self.starts if run == name]

    def work(
        self,
        *,
        slots: int = 8,
        drain: bool = True,
        meanwhile: Callable[[], Any] | None = None,
        timing: Timing | None = None,
    ) -> WorkResult:
        """Let a worker drive the runs, on virtual time.

        Args:
            slots: runs at the same time.
            drain: whether it ends with its queue.
            meanwhile: a coroutine function that runs beside it.
            timing: times of the worker.
        """

        async def main() -> WorkResult:
            self._began = now()
            async with task_group() as group:
                if meanwhile is not None:
                    group.start_soon(meanwhile)
                return await work(
                    self.folder,
                    slots=slots,
                    drain=drain,
                    stop=self.stop,
                    report=self._report,
                    environment=self.environment(),
                    start=self._start,
                    timing=timing,
                )

        return run_virtual(main())

    def environment(self) -> Environment:
        """Return an environment on virtual time."""
        return Environment(
            clock=Clock(wall=self._wall, monotonic=now, random=random.Random(1).random),
            transport=_unused,
            files=_unused,
            token_store=None,
            daily_usage=_unused,
            machine_mark=lambda: None,
            run_blocking=run_inline,
            approval_key=lambda: KEY,
        )

    def _wall(self) -> float:
        with suppress(RuntimeError):  # after the end of the worker
            self._ended = now()
        return self._ended + self.clock_error

    def _report(self, event: str | Advice) -> None:
        self.reports.append(str(event))

    async def _start(self, command: Sequence[str]) -> _FakeChild:
        verb = next(word for word in command if word in ("apply", "resume"))
        name = Path(command[command.index(verb) + 1]).name
        assert self._began is not None
        self.starts.append((round(now() - self._began, 1), name, verb))
        self.commands.append(list(command))
        folder = RunFolder(self.folder / name)
        play = self._plays[name].popleft() if self._plays[name] else FINISH
        if play.exit_code != ExitCode.REFUSED:
            record = folder.read()
            invocations = (*record.invocations, Invocation(started=timestamp(now())))
            org = OrgRecord(self._orgs[name], None, None)
            folder.write(
                record.replace(
                    state=RunState.RUNNING,
                    stopped_by=None,
                    invocations=invocations,
                    org=org,
                    api_url="https://www.zohoapis.eu",
                )
            )
        return _FakeChild(self, name, folder, play)

    def count(self, name: str, change: int) -> None:
        """Count the child processes of an org, and of all."""
        for key in (self._orgs[name], ""):
            self._active[key] = self._active.get(key, 0) + change
            self.most_active[key] = max(self.most_active.get(key, 0), self._active[key])


def _unused(*arguments: object) -> Any:
    raise AssertionError(f"the worker contacts no CRM: {arguments}")


class _FakeChild:
    def __init__(self, runs: FakeRuns, name: str, folder: RunFolder, play: Play) -> None:
        self._runs, self._name, self._folder, self._play = runs, name, folder, play
        self._stopped = anyio.Event()

    async def wait(self) -> Ended:
        play = self._play
        self._runs.count(self._name, 1)
        with anyio.move_on_after(play.seconds):
            await self._stopped.wait()
        self._runs.count(self._name, -1)
        if self._stopped.is_set():
            play = Play(1.0, ExitCode.TERMINATED, RunState.STOPPED, StoppedBy.TERMINATED)
        if play.state is not None and self._folder.path.is_dir():
            resume_at = None if play.resume_in is None else timestamp(now() + play.resume_in)
            record = self._folder.read()
            self._folder.write(
                record.replace(
                    state=play.state,
                    stopped_by=play.stopped_by,
                    resume_at=resume_at,
                    reason=play.message or None,
                )
            )
        return Ended(
            play.exit_code,
            code=play.code,
            message=play.message,
            stopped=self._stopped.is_set(),
        )

    def stop(self) -> None:
        self._stopped.set()
