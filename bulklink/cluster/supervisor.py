"""The worker of a cluster: takes orgs from the queue, and drives a run of each in a child process.

The decisions are those of the worker of one machine (`worker/verdict`). Where a run stands is read
from the database, where its driver has recorded it, or has not: so a driver that died with its
machine is judged like one whose end was seen.
"""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from secrets import token_hex
from typing import TypeVar
from uuid import UUID

import anyio
import msgspec
import psycopg
from anyio.abc import TaskGroup

from bulklink.advice import Advice, NextCall
from bulklink.cluster.clocks import now
from bulklink.cluster.database import (
    ANSWER_SECONDS,
    ClusterDatabase,
    call_in_thread,
    describe,
    first_line,
)
from bulklink.cluster.driver_command import driver_command
from bulklink.cluster.lease import Lease
from bulklink.cluster.queue import OrgQueue, QueueUnavailableError
from bulklink.cluster.runs import ClusterRun, RunTable, needs_accept_canary
from bulklink.cluster.settling import Settled, settle_run
from bulklink.cluster.timing import ClusterTiming
from bulklink.cluster.workers import forget_worker, mark_seen
from bulklink.counts import count_of
from bulklink.engine.shutdown import StopController
from bulklink.engine.signal import Signal
from bulklink.errors import ExitCode, RunDirError
from bulklink.operations.wording import ACCEPT_CANARY
from bulklink.runs.queue import LeftRun
from bulklink.task_group import task_group
from bulklink.worker.children import KillableChild, start_child
from bulklink.worker.tracked_run import waiting_text
from bulklink.worker.verdict import Ended, Kind
from bulklink.worker.worker import worker_exit_code

T = TypeVar("T")
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 30.0


class ClusterWorkResult(msgspec.Struct, frozen=True):
    """What a worker of a cluster did until it ended.

    Args:
        worker: its name.
        finished: runs that finished.
        with_failures: those of them with emails that are not done.
        left: names of the runs that were left to a person; once drained, of all that need one in
            the cluster, also because no worker has their profile.
        stopped_by: StoppedBy value if it was stopped; None if the queue was drained.
        exit_code: exit code.
    """

    worker: str
    finished: int
    with_failures: int
    left: tuple[str, ...]
    stopped_by: str | None
    exit_code: int


async def supervise(
    database: ClusterDatabase,
    queue: OrgQueue,
    timing: ClusterTiming,
    *,
    slots: int,
    drain: bool,
    stop: StopController,
    report: Callable[[str | Advice], None],
    profiles: Callable[[], Sequence[str]],
    profile: str | None = None,
    start: Callable[[Sequence[str]], Awaitable[KillableChild]] = start_child,
) -> ClusterWorkResult:
    """Drive runs of the cluster until this worker is stopped.

    Args:
        database: the database, for this worker alone.
        queue: the queue of orgs.
        timing: times of the cluster.
        slots: runs that are sent at the same time.
        drain: whether to end when nothing in the cluster can be sent any more.
        stop: stops the worker; its drivers are stopped gently then.
        report: called with each event.
        profiles: returns the profiles of this machine.
        profile: profile of runs that were submitted without one; None for the environment's.
        start: starts a child process by its command.
    """
    supervisor = _Supervisor(
        database=database,
        queue=queue,
        timing=timing,
        slots=slots,
        stop=stop,
        report=report,
        profiles=profiles,
        profile=profile,
        start=start,
    )
    return await supervisor.work(drain=drain)


@dataclass(slots=True)
class _Driver:
    """A child process that drives a run.

    Attributes:
        run: the run.
        lease: what is known of its lease; until it has one, of the time in which it must take it.
        child: the process; None until it has started.
    """

    run: ClusterRun
    lease: Lease
    child: KillableChild | None = None


@dataclass(slots=True, kw_only=True)
class _Supervisor:
    database: ClusterDatabase
    queue: OrgQueue
    timing: ClusterTiming
    slots: int
    stop: StopController
    report: Callable[[str | Advice], None]
    profiles: Callable[[], Sequence[str]]
    profile: str | None
    start: Callable[[Sequence[str]], Awaitable[KillableChild]]
    name: str = field(default_factory=lambda: f"{socket.gethostname()}-{token_hex(3)}")
    _runs: RunTable = field(init=False)
    _drivers: dict[str, _Driver] = field(default_factory=dict, init=False)
    _group: TaskGroup = field(init=False)
    _busy: anyio.Lock = field(default_factory=anyio.Lock, init=False)
    _changed: Signal = field(default_factory=Signal, init=False)
    _places: anyio.Semaphore = field(init=False)
    _is_ending: bool = field(default=False, init=False)
    _is_reachable: bool = field(default=True, init=False)
    _finished: int = field(default=0, init=False)
    _with_failures: int = field(default=0, init=False)
    _left: dict[UUID, str] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self._runs = RunTable(self.database)
        self._places = anyio.Semaphore(self.slots)

    async def work(self, *, drain: bool) -> ClusterWorkResult:
        """Drive runs until the stop, or until nothing can be sent any more."""
        self.stop.on_stop(self._on_stop)
        self.report(
            f"Worker {self.name}; up to {count_of(self.slots, 'run')} at the same time, from"
            f" {describe(self.database.conninfo)}."
        )
        async with task_group() as guards:
            guards.start_soon(self._look_at_leases)
            guards.start_soon(self._kill_expired)
            async with task_group() as drivers:
                self._group = drivers
                async with task_group() as group:
                    group.start_soon(self._work_queue)
                    await self._watch(drain=drain)
                    self._is_ending = True
                    self.queue.stop()
                    self._changed.notify()
            guards.cancel_scope.cancel()
        left = tuple(sorted(self._left.values()))
        if not self._is_stopping:  # drained: also what others left, or nobody can send
            needing_person = partial(self._runs.needing_person, self.timing.stalled)
            left = tuple(sorted(await self._try(needing_person) or left))
        await self._try(partial(forget_worker, self.database, self.name, self.timing.stalled))
        return self._result(left)

    def _on_stop(self) -> None:
        self._changed.notify()
        for driver in self._drivers.values():
            if driver.child is not None:
                driver.child.stop()

    @property
    def _is_stopping(self) -> bool:
        return self.stop.reason is not None

    async def _work_queue(self) -> None:
        """Take orgs from the queue, also after the database was away: the queue ends then."""
        wait = _FIRST_WAIT
        while not self._is_ending and not self._is_stopping:
            started_at = now().boot
            with suppress(QueueUnavailableError):
                await self.queue.work(
                    self._drive, slots=self.slots, profiles=sorted(self.profiles())
                )
            if now().boot - started_at > _LONGEST_WAIT:
                wait = _FIRST_WAIT
            if not self._is_ending:
                await self._sleep(wait)
            wait = min(2 * wait, _LONGEST_WAIT)

    async def _sleep(self, seconds: float) -> None:
        """Sleep, unless the worker is stopped meanwhile, or one of its runs ends."""
        with anyio.move_on_after(seconds):
            if not self._is_stopping:
                await self._changed.wait()

    async def _watch(self, *, drain: bool) -> None:
        """Look at the drivers and for orgs that nobody drives, until the end."""
        while not self._is_stopping:
            await self._mark_seen()
            orgs = await self._queue_due_orgs()
            if drain and orgs == 0 and not self._drivers and not await self._are_runs_active():
                return
            await self._sleep(self.timing.watch)

    async def _mark_seen(self) -> None:
        profiles = sorted(self.profiles())
        self.queue.use_profiles(profiles)  # one may have been added
        host = socket.gethostname()
        await self._try(
            partial(
                mark_seen,
                self.database,
                self.name,
                host=host,
                slots=self.slots,
                profiles=profiles,
            )
        )

    async def _queue_due_orgs(self) -> int | None:
        """Queue the orgs that have something to send now; return how many, None if unknown."""
        with anyio.move_on_after(ANSWER_SECONDS), suppress(QueueUnavailableError):
            await self.queue.drop_lost(self.timing.stalled)
            orgs = await self._try(partial(self._runs.due_orgs, sorted(self.profiles())))
            if orgs is None:
                return None
            for org_key, profile in orgs:
                await self.queue.add(org_key, profile)
            return len(orgs)
        return None

    async def _are_runs_active(self) -> bool:
        return await self._try(partial(self._runs.has_active, self.timing.stalled)) is not False

    async def _look_at_leases(self) -> None:
        """Learn until when the own drivers have their leases, until it is cancelled."""
        while True:
            await anyio.sleep(self.timing.watch)
            if not self._drivers:
                continue
            asked_at = now()
            seconds = await self._try(partial(self._runs.lease_seconds, list(self._drivers)))
            for name, left in (seconds or {}).items():
                if name in self._drivers:
                    self._drivers[name].lease = Lease(0, asked_at, left, 0.0)

    async def _kill_expired(self) -> None:
        """Kill drivers whose lease is over, as they should have ended; until it is cancelled.

        It asks nobody: the database may be what is away.
        """
        while True:
            await anyio.sleep(self.timing.watch)
            for driver in self._drivers.values():
                child = driver.child
                if child is not None and driver.lease.seconds_to_end(now()) < -self.timing.kill:
                    self.report(
                        f"{driver.run.name}: its driver kept on after its lease; it is killed."
                    )
                    child.kill()

    async def _drive(self, org_key: str) -> None:
        """Drive the runs of an org, in a task that outlives the queue."""
        ended = anyio.Event()
        self._group.start_soon(self._drive_org, org_key, ended)
        await ended.wait()

    async def _drive_org(self, org_key: str, ended: anyio.Event) -> None:
        try:
            async with self._places:  # drivers of before an outage may have them
                while not self._is_stopping:
                    run = await self._assign_next(org_key)
                    if run is None:
                        break
                    await self._send(run)
        finally:
            ended.set()
            self._changed.notify()

    async def _assign_next(self, org_key: str) -> ClusterRun | None:
        """Return the run of an org that this worker is to send now, after assigning it."""
        run = await self._try(partial(self._runs.first_of, org_key))
        if run is None or run.state == "left" or self._is_elsewhere(run):
            return None
        if run.state == "running":
            died = Ended(-9, message="Its worker, or its machine, died with it.")
            lived = (run.lease_until or run.now) - (run.started_at or run.now)
            await self._settle(run, died, lived, was_seen=False)
            run = await self._try(partial(self._runs.first_of, org_key))
            if run is None or run.state != "queued":
                return None
        if run.not_before is not None and run.not_before > run.now:
            return None
        if run.profile is not None and run.profile not in self.profiles():
            return None
        driver = f"{self.name}-{token_hex(4)}"
        if not await self._insist(partial(self._runs.assign, run.run, driver)):
            return None
        return msgspec.structs.replace(run, state="running", driver=driver)

    def _is_elsewhere(self, run: ClusterRun) -> bool:
        """Return whether a run has a driver, or was given to one that may still start."""
        if run.state != "running" or not run.is_lease_free:
            return not run.is_lease_free
        started_at = run.started_at or run.now
        has_had_lease = run.lease_until is not None and run.lease_until > started_at
        return not has_had_lease and run.now - started_at < self.timing.start

    async def _send(self, run: ClusterRun) -> None:
        """Send a run in a child process, and settle what is to be done next."""
        lease = Lease(0, now(), self.timing.start, 0.0)
        driver = self._drivers[run.driver or ""] = _Driver(run, lease)
        started_at = now().boot
        try:
            try:
                command = driver_command(run, run.profile or self.profile)
                child = driver.child = await self.start(command)
            except OSError as error:
                ended = Ended(ExitCode.STOPPED, message=f"It cannot be started: {error}.")
            except RunDirError as error:
                ended = Ended(ExitCode.REFUSED, error.code, error.message)
            else:
                org = f" for {run.org_name}" if run.org_name else ""
                emails = count_of(run.messages, "email")
                self.report(f"{run.name}: started, {run.op} of {emails}{org}.")
                if self._is_stopping:
                    child.stop()
                try:
                    ended = await child.wait()
                except BaseException:  # stopped immediately
                    child.stop()
                    raise
            await self._settle(run, ended, now().boot - started_at)
        finally:
            del self._drivers[run.driver or ""]

    async def _settle(
        self, run: ClusterRun, ended: Ended, seconds: float, *, was_seen: bool = True
    ) -> None:
        """Record what is to be done with a run whose driver has ended.

        Args:
            run: the run.
            ended: how its driver ended.
            seconds: how long it lived.
            was_seen: whether its end was seen, so that its lease can be ended now.
        """
        is_repeated = False

        def settle() -> Settled:
            nonlocal is_repeated
            was_tried, is_repeated = is_repeated, True
            return settle_run(
                self.database,
                self.timing,
                run,
                ended,
                seconds,
                was_seen=was_seen,
                is_repeated=was_tried,
            )

        settled = await self._insist(settle)  # None: another worker finds it after its lease
        if settled is not None and settled.is_recorded:
            self._report(run, settled)

    def _report(self, run: ClusterRun, settled: Settled) -> None:
        verdict = settled.verdict
        self._left.pop(run.run, None)  # it was given back
        if verdict.kind is Kind.DONE:
            has_failures = settled.exit_code == ExitCode.ROWS_NOT_DONE
            self._finished += 1
            self._with_failures += has_failures
            not_done = ", not all emails are done" if has_failures else ""
            self.report(f"{run.name}: finished{not_done}.")
        elif settled.is_cancelled:
            self.report(f"{run.name}: cancelled.")
        elif verdict.left is not None:
            self._left[run.run] = run.name
            self.report(_left_text(run, verdict.left))
        elif verdict.deaths > run.deaths or verdict.after:
            self.report(waiting_text(run.name, verdict, has_died=verdict.deaths > run.deaths))
        else:
            self.report(f"{run.name}: stopped.")

    async def _insist(self, function: Callable[[], T]) -> T | None:
        """Ask the database until it answers; return None if the worker is stopped before."""
        wait = _FIRST_WAIT
        while (result := await self._try(function)) is None and not self._is_stopping:
            await self._sleep(wait)
            wait = min(2 * wait, _LONGEST_WAIT)
        return result

    async def _try(self, function: Callable[[], T]) -> T | None:
        """Ask the database; return None, with a report, while it cannot be used."""
        try:
            async with self._busy:
                result = await call_in_thread(function)
        except psycopg.Error as error:
            if self._is_reachable:
                self._is_reachable = False
                self.report(
                    f"The database cannot be used: {first_line(error)}. Drivers stop before their"
                    " leases end; this worker goes on when the database is back."
                )
            return None
        if not self._is_reachable:
            self._is_reachable = True
            self.report("The database can be used again.")
        return result

    def _result(self, left: tuple[str, ...]) -> ClusterWorkResult:
        reason = self.stop.reason
        stopped_by = None if reason is None else reason.stopped_by
        return ClusterWorkResult(
            worker=self.name,
            finished=self._finished,
            with_failures=self._with_failures,
            left=left,
            stopped_by=stopped_by,
            exit_code=worker_exit_code(stopped_by, left, self._with_failures),
        )


def _left_text(run: ClusterRun, left: LeftRun) -> Advice:
    """Return that a run was left to a person, why, and what to do."""
    settings = [ACCEPT_CANARY] if needs_accept_canary(left.code) else []
    return Advice(
        "{} is left to you ({}): {}{} Give it back to the workers: {}; or take it out of the"
        " queue: {}.",
        run.name,
        left.code,
        left.message,
        " The later runs of its org wait." if left.holds_org else "",
        NextCall("cluster_resume", run.name, settings=settings),
        NextCall("cluster_cancel", run.name),
    )
