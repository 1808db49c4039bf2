"""Contacts in progress, and whether each is done or suspended by the circuit breaker."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from bulklink.engine.breaker import CircuitBreaker
from bulklink.engine.shutdown import StopController
from bulklink.engine.signal import Signal


class ActiveContacts:
    """Tracks the contacts in progress, and notifies the breaker when no other call can decide.

    Args:
        breaker: suspends contacts that are refused.
        stop: ends all waits when the run stops.
        on_end: called with each contact whose last window in progress has ended.

    Attributes:
        windows: windows in progress by contact.
    """

    def __init__(
        self,
        breaker: CircuitBreaker,
        stop: StopController,
        on_end: Callable[[str], None] = lambda contact_id: None,
    ) -> None:
        self.windows: Counter[str] = Counter()
        self._breaker = breaker
        self._stop = stop
        self._on_end = on_end
        self._waiting: Counter[str] = Counter()
        self._all_started = False
        self._others_follow = False
        self._changed = Signal()
        breaker.on_suspend(self._notify)
        stop.on_stop(self._changed.notify)

    def start(self, contact_id: str) -> None:
        """Record that a window of a contact is about to be processed."""
        self.windows[contact_id] += 1
        self._all_started = False

    def end(self, contact_id: str) -> None:
        """Record that a window of a contact is done."""
        self.windows[contact_id] -= 1
        if not self.windows[contact_id]:
            del self.windows[contact_id]
            self._on_end(contact_id)
        self._notify()

    def all_started(self, *, others_follow: bool = False) -> None:
        """Record that every contact has started; `others_follow` if more start after these."""
        self._all_started, self._others_follow = True, others_follow
        self._notify()

    @contextmanager
    def waiting(self, contact_id: str) -> Iterator[None]:
        """Count a window of a contact as idle while it waits until a read can be trusted."""
        self._waiting[contact_id] += 1
        self._changed.notify()
        try:
            yield
        finally:
            self._waiting[contact_id] -= 1
            if not self._waiting[contact_id]:
                del self._waiting[contact_id]

    async def wait_until_idle(self) -> None:
        """Wait until all contacts have started and each is done, suspended or waiting.

        Also returns when the run stops.
        """
        while self._stop.reason is None and not (self._all_started and self._all_idle):
            await self._changed.wait()

    @property
    def _all_idle(self) -> bool:
        return all(
            self._waiting[contact_id] >= count or self._breaker.is_suspended(contact_id)
            for contact_id, count in self.windows.items()
        )

    @property
    def _all_suspended(self) -> bool:
        return all(map(self._breaker.is_suspended, self.windows))

    def _notify(self) -> None:
        """Wake waiting tasks, and let the breaker decide if every contact is suspended."""
        self._changed.notify()
        none_follows = self._all_started and not self._others_follow
        if none_follows and self.windows and self._all_suspended:
            self._breaker.resolve_suspended()
