"""Injected dependencies: clock, transport, files, tokens, daily usage, threads."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import anyio.to_thread
import msgspec
import platformdirs

from bulklink.blocking import ThreadRunner
from bulklink.engine.clock import Clock, real_clock
from bulklink.engine.quota.daily_usage import DailyUsage, DailyUsageFile, ThreadedDailyUsage
from bulklink.engine.quota.gate import QuotaGate
from bulklink.engine.ratelimit.limiter import ConcurrencyLimiter
from bulklink.ledger.writer import DiskLedgerFiles, LedgerFiles
from bulklink.mapping.interrupt import PlanningStop
from bulklink.mapping.plan_reader import SealedPlan
from bulklink.operations.cancellation import PeriodicSampling
from bulklink.operations.org_lock import OrgLocks
from bulklink.operations.org_share import OrgShares
from bulklink.runs.random_mark import load_random_mark
from bulklink.zoho.http import Transport
from bulklink.zoho.tokens import TokenStore


class Environment(msgspec.Struct, frozen=True, kw_only=True):
    """Clock, network and disk of an operation; tests supply their own.

    Each operation that contacts the CRM takes an `environment`, `real_environment()` by default; an
    operation that only needs the time takes a `clock`. Neither is a public name. Scratch files are
    not part of it: `tempfile` creates them below TMPDIR, and no result depends on them.

    Args:
        clock: the clocks and the random source.
        transport: opens the HTTP transport.
        files: opens a ledger and its file of answers, by their paths; the flag sets whether ledger
            lines are flushed to disk.
        token_store: keeps access tokens between runs; None keeps them in memory.
        daily_usage: opens the 24-hour usage, by the key of the connection.
        machine_mark: returns the mark of this machine; None if it has none.
        limiter: creates the limiter of calls in flight and calls per second.
        quota_gate: creates the quota gate.
        open_plan: opens a sealed plan by its path, with the stop that interrupts reading it.
        run_blocking: runs blocking functions in threads. Coroutines use DuckDB, read ledgers and
            plans, hash files and write spreadsheets only by this function.
        settles_whole_batches: whether messages that need one call have no state of their own; the
            simulation compares runs with and without.
        sample_periodically: calls a function periodically while a block runs.
        org_locks: locks of the orgs that runs are sent to; None if runs need none.
        org_shares: shares of the calls in flight of orgs; None if commands share none.
        approval_key: returns the key that signs approvals for a worker of this machine; None if it
            cannot be stored.
        may_leave: called right before each request to the CRM leaves, with no `await` in between.
            What drives runs on several machines raises `RunStoppedError` with `StoppedBy.LEASE`
            here once another machine may drive the run: nothing more is sent then, and the ledger
            says that this request was not.
    """

    clock: Clock
    transport: Callable[[], AbstractAsyncContextManager[Transport]]
    files: Callable[[Path, Path, bool], LedgerFiles]
    token_store: TokenStore | None
    daily_usage: Callable[[str], DailyUsage]
    machine_mark: Callable[[], str | None]
    limiter: Callable[..., ConcurrencyLimiter] = ConcurrencyLimiter
    quota_gate: Callable[..., QuotaGate] = QuotaGate
    open_plan: Callable[[Path, PlanningStop], SealedPlan] = SealedPlan
    run_blocking: ThreadRunner = anyio.to_thread.run_sync
    settles_whole_batches: bool = True
    sample_periodically: Callable[
        [Callable[[], Awaitable[object]]], AbstractAsyncContextManager[None]
    ] = PeriodicSampling
    org_locks: OrgLocks | None = None
    org_shares: OrgShares | None = None
    approval_key: Callable[[], str | None] = lambda: None
    may_leave: Callable[[], None] = lambda: None


def _http_transport() -> AbstractAsyncContextManager[Transport]:
    # The HTTP client is slow to import, and planning does not need it.
    from bulklink.zoho.transport import HttpTransport  # noqa: PLC0415

    return HttpTransport()


def real_environment() -> Environment:
    """Return the clock, network and disk of this machine."""
    state_folder = Path(platformdirs.user_state_dir("bulklink", appauthor=False))
    return Environment(
        clock=real_clock(),
        transport=_http_transport,
        files=lambda ledger, answers, sync: DiskLedgerFiles(ledger, answers, sync=sync),
        token_store=TokenStore(state_folder / "tokens"),
        daily_usage=lambda key: ThreadedDailyUsage(
            DailyUsageFile(state_folder / "credits.sqlite3", key)
        ),
        machine_mark=lambda: load_random_mark(state_folder / "machine-mark"),
        org_locks=OrgLocks(state_folder / "orgs"),
        org_shares=OrgShares(state_folder / "orgs"),
        approval_key=lambda: load_random_mark(state_folder / "approval-key"),
    )
