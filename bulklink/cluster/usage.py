"""Credits of an org used in the last 24 hours, counted in the database of the cluster."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import anyio
import msgspec
import psycopg

from bulklink.cluster.database import ClusterDatabase, call_in_thread, first_line
from bulklink.cluster.lease import lease_error
from bulklink.engine.quota.daily_usage import WINDOW_MINUTES, AllowanceRequest, uncountable_error

_TAKE = """
SELECT take_credits(%(org_key)s, %(minute)s, %(wanted)s, %(minimum)s, %(already_spent)s,
    %(returned)s, %(returned_minute)s, %(limit)s, %(window_minutes)s)
"""
_SPENT = """
SELECT minute, credits FROM spent JOIN org USING (org_key)
WHERE org_key = %(org_key)s AND credits > 0
    AND minute >= %(minute)s - coalesce(window_minutes, %(day)s)
ORDER BY minute
"""
_WINDOW = "SELECT coalesce(window_minutes, %(day)s) FROM org WHERE org_key = %(org_key)s"
_WAIT_SECONDS = 0.5


class ClusterUsage:
    """The 24-hour usage of an org, which all its drivers share.

    A takeover does not forget what was spent, as credits are taken before they are spent. While the
    database cannot be reached, a driver waits, as long as it has the lease.

    Args:
        database: the database, for this object alone.
        org_key: key of the org.
        seconds_left: returns for how many seconds the driver has the lease for certain.
    """

    def __init__(
        self, database: ClusterDatabase, org_key: str, seconds_left: Callable[[], float]
    ) -> None:
        self._database = database
        self._org_key = org_key
        self._seconds_left = seconds_left

    async def take(self, request: AllowanceRequest) -> int:
        """Take credits, and return how many were granted.

        Credits of a request whose answer was lost stay counted: too many, never too few.

        Raises:
            RunStoppedError: if the lease is over meanwhile, or they cannot be counted.
        """
        ((granted,),) = await self._query(_TAKE, msgspec.structs.asdict(request))
        return int(granted)

    async def spent_by_minute(self, minute: int) -> list[tuple[int, int]]:
        """Return (minute, credits) of the window before a minute, oldest first."""
        rows = await self._query(_SPENT, {"minute": minute, "day": WINDOW_MINUTES})
        return [(int(spent_minute), int(credits_)) for spent_minute, credits_ in rows]

    async def window_minutes(self) -> int:
        """Return the length of the window."""
        ((minutes,),) = await self._query(_WINDOW, {"day": WINDOW_MINUTES})
        return int(minutes)

    async def org(self) -> str | None:
        """Return the key of the org, which was looked up when the run was submitted."""
        return self._org_key

    def close(self) -> None:
        """Close the connection."""
        self._database.close()

    async def _query(self, statement: str, values: dict[str, Any]) -> list[Any]:
        values = values | {"org_key": self._org_key}
        while (seconds := self._seconds_left()) > 0.0:
            query = partial(self._database.query, statement, values, within=seconds)
            try:
                return await call_in_thread(query)
            except (psycopg.OperationalError, psycopg.InterfaceError):
                await anyio.sleep(min(_WAIT_SECONDS, seconds))
            except psycopg.Error as error:
                raise uncountable_error(Exception(first_line(error))) from None
        raise lease_error()
