"""What a run meets outside of itself: network, disk, clock."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import msgspec
import platformdirs

from bulklink.engine.clock import Clock
from bulklink.engine.quota.daily_usage import Day, DayFile, ThreadedDay
from bulklink.ledger.writer import DiskFiles, Files
from bulklink.zoho.tokens import TokenStore
from bulklink.zoho.transport import HttpTransport, Transport


class Surroundings(msgspec.Struct, frozen=True):
    """Network, disk and clock of a run; the tests bring a CRM and a clock of their own.

    `day` returns the day's credits that are counted under a key.
    """

    clock: Clock
    transport: Callable[[], AbstractAsyncContextManager[Transport]]
    files: Callable[[Path, Path, bool], Files]
    token_store: TokenStore | None
    day: Callable[[str], Day]


def real_surroundings() -> Surroundings:
    """Return the network, the disk and the clock of this machine."""
    state = Path(platformdirs.user_state_dir("bulklink", appauthor=False))
    return Surroundings(
        clock=Clock(wall=time.time, monotonic=time.monotonic, chance=random.random),
        transport=HttpTransport,
        files=lambda ledger, answers, sync: DiskFiles(ledger, answers, sync=sync),
        token_store=TokenStore(state / "tokens"),
        day=lambda key: ThreadedDay(DayFile(state / "credits.sqlite3", key)),
    )
