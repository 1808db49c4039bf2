"""Limit of a session's calls in flight, shared with other commands of this machine."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Self

import anyio

from bulklink.blocking import ThreadRunner
from bulklink.counts import count_of, inflect
from bulklink.engine.ratelimit.limiter import ConcurrencyLimiter
from bulklink.engine.shutdown import StopController
from bulklink.errors import BulklinkError
from bulklink.operations.org_share import OrgShare, OrgShares, Share
from bulklink.task_group import task_group

_PERIOD = 1.0
_UNSETTLED_PERIOD = 0.1
"""Seconds between two recounts; the shorter ones while a share changes."""
_PATIENCE = 15.0
"""Seconds after which a fair share is taken even if another command has not made room: it may be
suspended, or wait for an answer of its user."""


@dataclass(slots=True, kw_only=True)
class SharedLimit:
    """Keeps the calls in flight to a session's share; a context manager that owns its recounts.

    A session begins with what others leave free, and waits if that is nothing. Meanwhile they
    shrink to their fair shares, as soon as they notice the newcomer and their calls are answered.
    Once it ends, the others have its places within a period. Nothing is done per call.

    Args:
        limiter: limits the calls in flight; no call is made before `join`.
        max_in_flight: limit of the calls in flight if no other command contacts the org.
        shares: shares of the orgs on this machine; None if the limit is not shared.
        stop: ends the wait for a place.
        monotonic: returns monotonic seconds.
        run_blocking: recounts in threads.
        warn: called when others appear, and once if the limit cannot be shared.
    """

    limiter: ConcurrencyLimiter
    max_in_flight: int
    shares: OrgShares | None
    stop: StopController
    monotonic: Callable[[], float]
    run_blocking: ThreadRunner
    warn: Callable[[str], None]
    _key: str | None = field(init=False, default=None)
    _share: OrgShare | None = field(init=False, default=None)
    _places: int = field(init=False, default=0)
    _is_settled: bool = field(init=False, default=True)
    _is_reduced: bool = field(init=False, default=False)
    _short_since: float | None = field(init=False, default=None)
    _busy: anyio.Lock = field(init=False, default_factory=anyio.Lock)
    _stack: AsyncExitStack = field(init=False)

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            stack.callback(self._leave)
            if self.shares is not None:
                group = await stack.enter_async_context(task_group())
                stack.callback(group.cancel_scope.cancel)
                group.start_soon(self._keep_counting)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *error: object) -> None:
        """End the recounts and leave; an error of the block is raised unchanged, not in a group."""
        await self._stack.aclose()

    async def join(self, key: str) -> None:
        """Share the limit of an org from now on, and wait until there is a place.

        Args:
            key: key of the org; the share of another one is given up.

        Raises:
            StoppedError: if the run was stopped meanwhile.
        """
        if self.shares is None or key == self._key:
            return
        await self.leave()
        self._key, self._share = key, self.shares.share_of(key)
        while not await self._recount():
            await self.stop.sleep(_UNSETTLED_PERIOD)

    async def leave(self) -> None:
        """Give up the share; no call is made until the next `join`."""
        async with self._busy:
            self._leave()

    async def resize(self, max_in_flight: int) -> None:
        """Change the limit of the calls in flight, as the org's licence allows.

        Args:
            max_in_flight: limit if no other command contacts the org.
        """
        if max_in_flight == self.max_in_flight:
            return
        self.max_in_flight = max_in_flight
        if self._share is None:
            self.limiter.resize(max_in_flight)
        await self._recount()

    async def _keep_counting(self) -> None:
        while True:
            await anyio.sleep(_PERIOD if self._is_settled else _UNSETTLED_PERIOD)
            await self._recount()

    async def _recount(self) -> bool:
        """Recount the participants, and return whether a call may be made."""
        async with self._busy:
            if self._share is None:
                return True
            recount = partial(
                self._share.recount,
                self.max_in_flight,
                held=max(self._places, self.limiter.in_flight),
                insists=self._is_impatient(),
            )
            try:
                self._apply(await self.run_blocking(recount))
            except (OSError, BulklinkError) as error:
                self._give_up(error)
                return True
            return self._places > 0

    def _is_impatient(self) -> bool:
        since = self._short_since
        return since is not None and self.monotonic() - since >= _PATIENCE

    def _apply(self, share: Share) -> None:
        self._places, self._is_settled = share.places, share.is_settled
        if share.places == share.fair:
            self._short_since = None
        elif self._short_since is None:
            self._short_since = self.monotonic()
        if share.places:
            self.limiter.resize(share.places)
        was_reduced, self._is_reduced = self._is_reduced, share.fair < self.max_in_flight
        if self._is_reduced and not was_reduced:
            commands = count_of(share.others, "other command")
            verb = inflect(share.others, "contacts", "contact")
            self.warn(
                f"{commands} on this machine {verb} this org: the calls in flight are shared."
            )

    def _give_up(self, error: Exception) -> None:
        self._leave()
        self.shares = None
        self.limiter.resize(self.max_in_flight)
        self.warn(
            f"The calls in flight cannot be shared with other commands on this machine ({error}):"
            " together they may exceed the limit of the org."
        )

    def _leave(self) -> None:
        if self._share is not None:
            self._share.leave()
        self._key, self._share, self._places, self._short_since = None, None, 0, None
        self._is_settled, self._is_reduced = True, False
