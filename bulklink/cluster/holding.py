"""Renewal of a lease by a thread of its own, so that a busy event loop does not lose it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Self

import psycopg

from bulklink.cluster.clocks import now
from bulklink.cluster.lease import Lease, Moment, lease_error
from bulklink.cluster.leases import OrgLeases

_RETRY_SECONDS = 0.5


class LeaseHolder:
    """Holds a lease until it is closed, or the lease is over; a context manager.

    Args:
        lease: the lease, just taken.
        leases: renews it, by a connection of its own.
        renew: seconds between two renewals.
        clocks: returns the current moment.
    """

    def __init__(
        self,
        lease: Lease,
        leases: OrgLeases,
        *,
        renew: float,
        clocks: Callable[[], Moment] = now,
    ) -> None:
        self._lease = lease
        self._leases = leases
        self._renew = renew
        self._clocks = clocks
        self._is_over = False
        self._is_cancelled = False
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lease", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Renew no longer; the lease itself is not ended."""
        self._closing.set()
        self._thread.join()

    @property
    def is_cancelled(self) -> bool:
        """Whether the run was cancelled."""
        return self._is_cancelled

    def may_send(self) -> bool:
        """Return whether a request may leave now."""
        return self.seconds_left() > 0.0

    def seconds_left(self) -> float:
        """Return for how many seconds requests may leave."""
        return 0.0 if self._is_over else max(0.0, self._lease.seconds_left(self._clocks()))

    def check(self) -> None:
        """Refuse a request that may not leave any more.

        Raises:
            RunStoppedError: if another driver may have the org by now.
        """
        if not self.may_send():
            raise lease_error()

    def _run(self) -> None:
        wait = self._renew
        while not self._closing.wait(wait):
            try:
                renewal = self._leases.renew(self._lease)
            except psycopg.Error:
                wait = min(_RETRY_SECONDS, self._renew)
                continue
            if renewal is None:
                self._is_over = True
                return
            self._lease, wait = renewal.lease, self._renew
            self._is_cancelled = self._is_cancelled or renewal.is_cancelled
