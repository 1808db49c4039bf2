"""An invocation's credits: how it deals with them, and where the org's day is counted."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import msgspec

from bulklink.engine.quota.budget import Limits
from bulklink.engine.quota.gate import Credits, Rules
from bulklink.engine.shutdown import Stopping
from bulklink.errors import BulklinkError, ConfigError
from bulklink.operations.credit_limits import credits_key, limits_of, quota_of
from bulklink.operations.environment import Surroundings
from bulklink.operations.job import Job, WhenCreditsOut
from bulklink.zoho.connection import Connection
from bulklink.zoho.lookup_responses import Org

_CALLS_A_MESSAGE = 3


class Spending:
    """The credits of an invocation, counted in the org's day once the org is known.

    Args:
        job: what is asked.
        connection: where the CRM is.
        stopping: is told when credits are out.
        around: clock, and where the day is counted.
        doubted: whether the run stopped for want of credits before.
        warn: told what a person should know.
        waits: told until when the run waits for credits, and None when it goes on.
        messages_left: returns how many messages are left to do; None where nobody knows.
    """

    def __init__(
        self,
        job: Job,
        connection: Connection,
        stopping: Stopping,
        around: Surroundings,
        *,
        doubted: bool = False,
        warn: Callable[[str], None] = lambda text: None,
        waits: Callable[[float | None], None] = lambda until: None,
        messages_left: Callable[[], int] | None = None,
    ) -> None:
        self._job = job
        self._connection = connection
        self._around = around
        self._warn = warn
        self._key: str | None = None
        rules = Rules(
            limits_of(job),
            wait=job.when_credits_out is WhenCreditsOut.WAIT,
            most_in_flight=job.in_flight(),
            doubted=doubted,
        )
        self.credits = Credits(
            rules,
            stopping,
            wall=around.clock.wall,
            monotonic=around.clock.monotonic,
            told=waits,
            rest=None if messages_left is None else lambda: _CALLS_A_MESSAGE * messages_left(),
        )

    async def begin(self, org_id: str | None) -> None:
        """Count from the first call on, where the run has met its org before.

        Its licence is not known yet, so the reserve is not reckoned with: one call finds out.

        Raises:
            ConfigError: if the day has a limit and cannot be counted.
        """
        if org_id is not None:
            await self._open(
                Org(org_id), msgspec.structs.replace(limits_of(self._job), untold=None)
            )

    async def met(self, org: Org) -> None:
        """Count from now on, with what was spent so far: the org is known.

        Raises:
            ConfigError: if the day has a limit and cannot be counted.
        """
        limits = limits_of(self._job, quota_of(self._job, org))
        await self._open(org, limits)
        if limits.reserve and limits.untold is None:
            self._warn(
                "--reserve-credits is kept once the CRM tells what is left, from half of it on:"
                " the org's credits are not known. --credits-per-day or --edition tells them."
            )

    async def end(self) -> None:
        """Give back what was not spent of the day's credits; after a second Ctrl-C it stays."""
        with suppress(BulklinkError):
            await self.credits.close()

    async def _open(self, org: Org, limits: Limits) -> None:
        key = credits_key(self._connection.api_url, org.id)
        if key == self._key:
            self.credits.book.limits = limits
            return
        try:
            day = self._around.day(key)
        except OSError as error:
            if limits.a_day is None and limits.untold is None:
                self.credits.book.limits = limits
                return
            raise ConfigError(
                f"The credits of 24 hours cannot be counted: {error}.",
                where="--credits-per-day, --reserve-credits",
                advice="Make the folder for the state of programs writable (XDG_STATE_HOME).",
            ) from None
        self._key = key
        await self.credits.open(day, limits)


def too_early(resume_at: str) -> str:
    """Tell that a run is resumed before its time."""
    return (
        f"The run stopped for want of credits, and there may be none before {resume_at}: its first"
        " call finds out."
    )
