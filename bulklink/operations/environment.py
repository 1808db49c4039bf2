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
from bulklink.engine.quota.daily_usage import DailyUsage, DailyUsageFile, ThreadedDailyUsage
from bulklink.ledger.writer import DiskLedgerFiles, LedgerFiles
from bulklink.zoho.tokens import TokenStore
from bulklink.zoho.transport import HttpTransport, Transport


class Environment(msgspec.Struct, frozen=True):
    """Network, disk and clock of a run; the tests bring a CRM and a clock of their own.

    `daily_usage` returns the day's credits that are counted under a key.
    """

    clock: Clock
    transport: Callable[[], AbstractAsyncContextManager[Transport]]
    files: Callable[[Path, Path, bool], LedgerFiles]
    token_store: TokenStore | None
    daily_usage: Callable[[str], DailyUsage]


def real_environment() -> Environment:
    """Return the network, the disk and the clock of this machine."""
    state_folder = Path(platformdirs.user_state_dir("bulklink", appauthor=False))
    return Environment(
        clock=Clock(wall=time.time, monotonic=time.monotonic, random=random.random),
        transport=HttpTransport,
        files=lambda ledger, answers, sync: DiskLedgerFiles(ledger, answers, sync=sync),
        token_store=TokenStore(state_folder / "tokens"),
        daily_usage=lambda key: ThreadedDailyUsage(
            DailyUsageFile(state_folder / "credits.sqlite3", key)
        ),
    )
