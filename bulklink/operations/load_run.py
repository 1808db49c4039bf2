"""The part of a run that a load test replaces: its calls, and the figures of this machine."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import anyio
import msgspec
from anyio.abc import TaskGroup

from bulklink.engine.clock import Clock
from bulklink.engine.context import SendSettings
from bulklink.engine.load.batches import BatchCycle, LoadOp, NumberedMessages, numbered_batches
from bulklink.engine.load.client_monitor import ClientMonitor
from bulklink.engine.load.driver import LoadDriver
from bulklink.engine.load.preparation import Preparation
from bulklink.engine.load.sender import LoadSender
from bulklink.engine.read_ahead import ReadAhead
from bulklink.ledger.writer import LedgerFiles
from bulklink.models import Message
from bulklink.operations.callbacks import LoadProgress, Metrics, ResultCounter
from bulklink.operations.environment import Environment
from bulklink.operations.load_options import LoadTest
from bulklink.operations.monitor import RunMonitor
from bulklink.operations.session import CrmSession
from bulklink.task_group import task_group


@dataclass(slots=True)
class LoadRun:
    """Drives the calls of a load test in the session of its run.

    Args:
        options: how the calls are driven.
        must_prepare: whether emails may be in another state than the one that the test begins with.

    Attributes:
        driver: what made the calls; None before.
        machine: how busy this machine was in the measured time.
        flush_seconds: seconds in which the ledger was written, in the measured time.
    """

    options: LoadTest
    must_prepare: bool = True
    driver: LoadDriver | None = field(default=None, init=False)
    machine: ClientMonitor = field(init=False)
    flush_seconds: float = field(default=0.0, init=False)
    _clock: Clock = field(init=False)
    _written_seconds: float = field(default=0.0, init=False)

    def watch(self, environment: Environment) -> Environment:
        """Return the environment with a clock at its ledger."""
        self._clock = environment.clock
        self.machine = ClientMonitor(self._clock.monotonic, self._clock.cpu_time)
        return msgspec.structs.replace(
            environment,
            files=lambda ledger, answers, sync: _TimedFiles(
                environment.files(ledger, answers, sync), self._clock.monotonic, self._time_write
            ),
        )

    async def drive(
        self,
        session: CrmSession,
        settings: SendSettings,
        counter: ResultCounter,
        read_plan: Callable[[], Iterable[Sequence[Message]]],
        monitor: RunMonitor,
        on_phase: Callable[[str], None],
    ) -> None:
        """Make the calls of the load test.

        Args:
            session: open session.
            settings: how batches are sent.
            counter: counts the results.
            read_plan: returns a stream of the plan's messages, sorted by contact and owner.
            monitor: samples the session from the first measured call on.
            on_phase: called when a phase begins.
        """
        sender = LoadSender(
            caller=session.caller,
            ledger=session.ledger,
            settings=settings,
            clock=session.clock,
            on_result=counter.add_again,
            on_done_batch=lambda done: counter.add_done_again([m.row for m in done.messages]),
        )

        def read_batches(op: LoadOp, group: TaskGroup) -> ReadAhead[NumberedMessages]:
            batches = numbered_batches(read_plan, op, settings.batch_size)
            return ReadAhead(batches, session.run_blocking, group, size_of=_size_of)

        op = self.options.effective_op
        async with task_group() as group:
            if self.must_prepare:
                on_phase("Preparing the emails")
                opposite = LoadOp.LINK if op is LoadOp.UNLINK else LoadOp.UNLINK
                preparation = Preparation(BatchCycle(read_batches(opposite, group), opposite))
                await preparation.run(sender, session.stop, session.limiter.max_in_flight)
            await session.caller.sign_in()
            batches = BatchCycle(read_batches(op, group), op)
            await batches.read_first()
            self.driver = LoadDriver(
                schedule=self.options.schedule(),
                batches=batches,
                sender=sender,
                stop=session.stop,
                clock=session.clock,
                max_in_flight=session.limiter.max_in_flight,
                max_messages=self.options.messages,
            )
            on_phase("Measuring")
            await monitor.start_sending()
            group.start_soon(self._measure_machine)
            await self.driver.run()
            group.cancel_scope.cancel()
        with anyio.CancelScope(shield=True):
            await monitor.sample()

    def progress(self, metrics: Metrics) -> LoadProgress:
        """Return the progress of the load test with current metrics."""
        schedule, recorder = self._driver.schedule, self._driver.recorder
        seconds = self._clock.monotonic() - recorder.began_at
        index = recorder.phase_index(self._clock.monotonic())
        phase, start = schedule.phases[index], schedule.starts[index]
        whole = recorder.total()
        return LoadProgress(
            seconds=seconds,
            total=None if math.isinf(schedule.seconds) else schedule.seconds,
            phase=phase.name,
            asked=phase.rate_at(seconds - start),
            calls=whole.calls,
            messages=whole.messages,
            errors=dict(whole.errors),
            late=whole.late,
            metrics=metrics,
        )

    @property
    def _driver(self) -> LoadDriver:
        if self.driver is None:
            raise RuntimeError("the load test has not begun")
        return self.driver

    async def _measure_machine(self) -> None:
        """Measure this machine during the measured time, until the task is cancelled."""
        await anyio.sleep(self._driver.schedule.warm_up)
        written_before = self._written_seconds
        try:
            await self.machine.measure()
        finally:
            self.flush_seconds = self._written_seconds - written_before

    def _time_write(self, seconds: float) -> None:
        self._written_seconds += seconds


def _size_of(item: NumberedMessages) -> int:
    return len(item[1])


@dataclass(slots=True)
class _TimedFiles:
    """Files of a ledger whose writes are timed."""

    files: LedgerFiles
    clock: Callable[[], float]
    on_write: Callable[[float], None]

    async def write(self, ledger: bytes, answers: bytes) -> None:
        began_at = self.clock()
        await self.files.write(ledger, answers)
        self.on_write(self.clock() - began_at)

    def close(self) -> None:
        self.files.close()
