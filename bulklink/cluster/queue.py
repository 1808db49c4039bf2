"""Queue of orgs that have something to send; procrastinate gives each to one worker at a time.

Nothing depends on it: a job that is lost is queued again by the next look of any worker, and one
that runs twice finds the lease of its org taken. What is to be sent, in which order, is in the
table of runs; the queue has at most one waiting job for each org.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, Protocol, Self

import procrastinate
import psycopg
from procrastinate.exceptions import AlreadyEnqueued, ConnectorException
from procrastinate.jobs import Job, Status
from procrastinate.worker import Worker

from bulklink.cluster.timing import ClusterTiming

_TASK = "bulklink.drive"
_PLAIN = "runs"
_ABORT_SECONDS = 0.1
_POOL_SECONDS = 5.0


class QueueUnavailableError(Exception):
    """Raised while the database of the queue cannot be used."""


class OrgQueue(Protocol):
    """Queue of orgs."""

    async def add(self, org_key: str, profile: str | None) -> None:
        """Queue an org, unless it waits already.

        Raises:
            QueueUnavailableError: if the database cannot be used.
        """
        ...

    async def drop_lost(self, seconds: float) -> None:
        """Remove the jobs of workers that were silent for some seconds; others queue them again.

        Raises:
            QueueUnavailableError: if the database cannot be used.
        """
        ...

    def use_profiles(self, profiles: Sequence[str]) -> None:
        """Take orgs that need these profiles too, from the next look of `work` on."""
        ...

    async def work(
        self, drive: Callable[[str], Awaitable[None]], *, slots: int, profiles: Sequence[str]
    ) -> None:
        """Call a function for each org that is queued, until `stop`.

        Args:
            drive: called with the key of an org, for several orgs at the same time.
            slots: how many.
            profiles: profiles of this worker; it gets no orgs that need another one.

        Raises:
            QueueUnavailableError: if the database cannot be used any more.
        """
        ...

    def stop(self) -> None:
        """Call it for no further org; calls that have not returned are abandoned."""
        ...


class _Worker(Worker):
    """A worker of the queue that goes on if the end of a job cannot be recorded."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.unrecorded: dict[int, Job] = {}

    async def _persist_job_status(self, job: Job, *args: Any, **options: Any) -> None:
        try:
            await super()._persist_job_status(job, *args, **options)
        except ConnectorException:
            # It would keep the org from all workers: this one is alive.
            self.unrecorded[job.id or 0] = job


class ProcrastinateQueue:
    """Queue of orgs in PostgreSQL; a context manager.

    Args:
        conninfo: how to connect.
        timing: times of the cluster.
    """

    def __init__(self, conninfo: str, timing: ClusterTiming) -> None:
        logging.getLogger("procrastinate").setLevel(logging.CRITICAL)
        logging.getLogger("psycopg.pool").setLevel(logging.CRITICAL)
        self._timing = timing
        self._drive: Callable[[str], Awaitable[None]] | None = None
        self._worker: _Worker | None = None
        self._unrecorded: dict[int, Job] = {}
        connector = procrastinate.PsycopgConnector(
            conninfo=conninfo, min_size=0, max_size=4, timeout=_POOL_SECONDS
        )
        self._app = procrastinate.App(connector=connector)
        self._task = self._app.task(name=_TASK)(self._run)

    async def __aenter__(self) -> Self:
        await self._app.open_async()
        return self

    async def __aexit__(self, *error: object) -> None:
        """Close the connections."""
        await self._app.close_async()

    async def _run(self, org_key: str) -> None:
        if self._drive is not None:
            await self._drive(org_key)

    async def add(self, org_key: str, profile: str | None) -> None:
        """Queue an org, unless it waits already."""
        job = self._task.configure(lock=org_key, queueing_lock=org_key, queue=_queue_of(profile))
        try:
            with suppress(AlreadyEnqueued):
                await job.defer_async(org_key=org_key)
        except ConnectorException as error:
            raise QueueUnavailableError from error

    async def drop_lost(self, seconds: float) -> None:
        """Remove the jobs of workers that were silent for some seconds; others queue them again."""
        manager = self._app.job_manager
        try:
            for number, job in list(self._unrecorded.items()):
                await self._drop(job)
                del self._unrecorded[number]
            for job in await manager.get_stalled_jobs(seconds_since_heartbeat=seconds):
                await self._drop(job)
        except ConnectorException as error:
            raise QueueUnavailableError from error

    async def _drop(self, job: Job) -> None:
        try:
            await self._app.job_manager.finish_job(job, Status.ABORTED, delete_job=True)
        except ConnectorException as error:
            if isinstance(error.__cause__, psycopg.OperationalError):
                raise
            # Another worker was first.

    def use_profiles(self, profiles: Sequence[str]) -> None:
        """Take orgs that need these profiles too, from the next look of `work` on."""
        if self._worker is not None:
            self._worker.queues = _queues_of(profiles)

    async def work(
        self, drive: Callable[[str], Awaitable[None]], *, slots: int, profiles: Sequence[str]
    ) -> None:
        """Call a function for each org that is queued, until `stop`."""
        self._drive = drive
        self._worker = _Worker(
            self._app,
            queues=_queues_of(profiles),
            concurrency=slots,
            fetch_job_polling_interval=self._timing.watch,
            abort_job_polling_interval=self._timing.stalled,
            shutdown_graceful_timeout=_ABORT_SECONDS,
            delete_jobs="always",
            install_signal_handlers=False,
            update_heartbeat_interval=self._timing.stalled / 3,
            stalled_worker_timeout=self._timing.stalled,
        )
        try:
            self._worker.unrecorded = self._unrecorded
            await self._worker.run()  # type: ignore[no-untyped-call]
        except ConnectorException as error:
            raise QueueUnavailableError from error
        finally:
            self._worker = None

    def stop(self) -> None:
        """Call it for no further org; calls that have not returned are abandoned."""
        if self._worker is not None:
            self._worker.stop()  # type: ignore[no-untyped-call]


def _queues_of(profiles: Sequence[str]) -> list[str]:
    return [_queue_of(None), *map(_queue_of, profiles)]


def _queue_of(profile: str | None) -> str:
    return _PLAIN if profile is None else f"profile:{profile}"
