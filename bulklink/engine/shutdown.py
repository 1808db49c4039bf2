"""Why and how hard a run stops: the one place that every task asks before it sends."""

from __future__ import annotations

from collections.abc import Callable

import anyio

from bulklink.errors import BulklinkError, RunStoppedError, StoppedBy

_GRACEFUL = (
    StoppedBy.INTERRUPTED,
    StoppedBy.TERMINATED,
    StoppedBy.MAX_FAILURES,
    StoppedBy.CREDITS,
    StoppedBy.MAX_CREDITS,
    StoppedBy.CANARY,
)


class StoppedError(Exception):
    """Raised where a call would have started after the run was stopped; never leaves the engine."""


class StopController:
    """Whether the run goes on; one for each run, made by whoever wants to stop it from outside.

    All its methods are for the thread of the event loop.

    After a gentle stop (a person, the system, too many failures, credits) no new work starts, but
    a relink that is between its halves is finished. After a hard one (the server takes no more,
    the ledger is broken) nothing more is sent.

    Attributes:
        reason: why it stops; None while it goes on.
        quota_exhausted: whether no call can be made now, not even one that finishes a relink: the
            CRM has no credits left.
    """

    def __init__(self) -> None:
        self.reason: RunStoppedError | None = None
        self.quota_exhausted = False
        self._stopped = anyio.Event()
        self._on_stop: list[Callable[[], None]] = []

    def on_stop(self, action: Callable[[], None]) -> None:
        """Have something done when the run is stopped: whoever waits must be woken."""
        self._on_stop.append(action)

    def interrupt(self, by: StoppedBy = StoppedBy.INTERRUPTED) -> None:
        """Stop the run gently: what is in flight is finished and recorded, nothing else is begun.

        It can be resumed. For signals and buttons: from another thread it is called by the loop's
        `call_soon_threadsafe`.

        Args:
            by: what the run is said to be stopped by.
        """
        self.request(RunStoppedError(by, "It was told to stop."))

    def request(self, reason: BulklinkError) -> None:
        """Stop the run for a reason.

        The first reason stands, unless a hard one follows a gentle one, or the ledger breaks: then
        it does not tell all that was done, whatever else stops the run.
        """
        if not isinstance(reason, RunStoppedError):
            by = StoppedBy.LEDGER if reason.code == "ledger" else StoppedBy.INTERNAL
            reason = RunStoppedError(by, reason.message, where=reason.where, advice=reason.advice)
        if self.reason is None or _severity(reason) > _severity(self.reason):
            self.reason = reason
        self._stopped.set()
        for action in self._on_stop:
            action()

    def check(self, *, completes_relink: bool = False) -> None:
        """Raise StoppedError if a call may not start, `completes_relink` one between two halves."""
        if self.forbids_start(completes_relink=completes_relink):
            raise StoppedError

    def forbids_start(self, *, completes_relink: bool = False) -> bool:
        """Tell whether a call may not start; `completes_relink` is between a relink's halves."""
        if self.reason is None:
            return False
        return self.quota_exhausted or not (
            completes_relink and self.reason.stopped_by in _GRACEFUL
        )

    def mark_quota_exhausted(self) -> None:
        """Note that no call can be made now, not even one that finishes a relink."""
        self.quota_exhausted = True

    def mark_quota_available(self) -> None:
        """Note that calls may be made again."""
        self.quota_exhausted = False

    async def sleep(self, seconds: float, *, completes_relink: bool = False) -> None:
        """Wait, but no longer than the run goes on.

        Raises:
            StoppedError: if the run was stopped meanwhile.
        """
        if completes_relink:
            await anyio.sleep(seconds)
        else:
            with anyio.move_on_after(seconds):
                await self._stopped.wait()
        self.check(completes_relink=completes_relink)


def _severity(reason: RunStoppedError) -> int:
    if reason.stopped_by in _GRACEFUL:
        return 0
    return 2 if reason.stopped_by is StoppedBy.LEDGER else 1
