"""Run shutdown: stop reasons, and the check before each call."""

from __future__ import annotations

from collections.abc import Callable

import anyio

from bulklink.engine.signal import Signal
from bulklink.errors import BulklinkError, RunStoppedError, StoppedBy, StoppedError

_GRACEFUL = (
    StoppedBy.INTERRUPTED,
    StoppedBy.TERMINATED,
    StoppedBy.MAX_FAILURES,
    StoppedBy.CREDITS,
    StoppedBy.MAX_CREDITS,
    StoppedBy.CANARY,
)


class StopController:
    """Stops a run, gracefully or immediately.

    Each run has its own controller; call its methods in the thread of the event loop. For `plan`
    and `plan_undo`, `interrupt` may be called from any thread or a signal handler.

    After a graceful stop (the user, the system, too many failures, credits) no new work starts, but
    a half-done relink is completed. After an immediate stop (the server refuses all calls,
    the ledger is broken) nothing more is sent.

    Attributes:
        reason: why the run stops; None while it runs.
        quota_exhausted: whether no call can be made now, not even one that completes a relink,
            because the CRM has no credits left.
        unreachable: whether no call is answered, so that none can complete a relink either.
    """

    def __init__(self) -> None:
        self.reason: RunStoppedError | None = None
        self.quota_exhausted = False
        self.unreachable = False
        self._changed = Signal()
        self._on_stop: list[Callable[[], None]] = []

    def on_stop(self, action: Callable[[], None]) -> None:
        """Call `action` when the run is stopped, to wake waiting tasks."""
        self._on_stop.append(action)

    def interrupt(self, by: StoppedBy = StoppedBy.INTERRUPTED) -> None:
        """Stop the run gracefully: complete and record calls in flight, and start no new work.

        The run can be resumed. From another thread, use the loop's `call_soon_threadsafe`.

        Args:
            by: cause of the stop, for the record.
        """
        self.request(RunStoppedError(by, "It was asked to stop."))

    def request(self, reason: BulklinkError) -> None:
        """Stop the run for a reason.

        The first reason stands, but an immediate stop overrides a graceful one, and a broken ledger
        overrides both because it lacks part of what was done.
        """
        if not isinstance(reason, RunStoppedError):
            by = StoppedBy.LEDGER if reason.code == "ledger" else StoppedBy.INTERNAL
            reason = RunStoppedError(by, reason.message, where=reason.place, advice=reason.guidance)
        if self.reason is None or _severity(reason) > _severity(self.reason):
            self.reason = reason
        self._changed.notify()
        for action in self._on_stop:
            action()

    def check(self, *, completes_relink: bool = False) -> None:
        """Raise StoppedError if a call may not start.

        Args:
            completes_relink: whether the call completes a half-done relink.
        """
        if self.reason is not None and self.forbids_start(completes_relink=completes_relink):
            raise StoppedError

    def forbids_start(self, *, completes_relink: bool = False) -> bool:
        """Return whether a call may not start; takes the arguments of `check`."""
        if self.reason is None:
            return False
        return (
            self.quota_exhausted
            or self.unreachable
            or not (completes_relink and self.reason.stopped_by in _GRACEFUL)
        )

    def mark_quota_exhausted(self) -> None:
        """Record that no call can be made now, not even one that completes a relink."""
        self.quota_exhausted = True
        self._changed.notify()

    def mark_quota_available(self) -> None:
        """Record that calls can be made."""
        self.quota_exhausted = False

    def mark_unreachable(self) -> None:
        """Record that no call is answered, not even one that completes a relink."""
        self.unreachable = True
        self._changed.notify()

    def mark_reachable(self) -> None:
        """Record that calls are answered."""
        self.unreachable = False

    async def sleep(self, seconds: float, *, completes_relink: bool = False) -> None:
        """Sleep until the time is up or a stop forbids the call.

        Args:
            seconds: seconds to sleep.
            completes_relink: see `check`.

        Raises:
            StoppedError: if the run was stopped.
        """
        with anyio.move_on_after(seconds):
            while not self.forbids_start(completes_relink=completes_relink):
                await self._changed.wait()
        self.check(completes_relink=completes_relink)


def _severity(reason: RunStoppedError) -> int:
    if reason.stopped_by in _GRACEFUL:
        return 0
    return 2 if reason.stopped_by is StoppedBy.LEDGER else 1
