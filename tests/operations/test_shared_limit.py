"""Commands that contact one org from one machine share its calls in flight."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from bulklink import Connection, Job, RunCallbacks, StopController, run, verify
from bulklink.emulator.crm import Crm
from bulklink.emulator.http import Answer, Request
from bulklink.emulator.world import World
from bulklink.emulator.worldfile import parse_world
from bulklink.engine.dispatch import worker_count
from bulklink.engine.ratelimit.limiter import ConcurrencyLimiter
from bulklink.engine.signal import Signal
from bulklink.operations.credit_limits import usage_key
from bulklink.operations.environment import real_environment
from bulklink.operations.org_share import OrgShare, OrgShares
from bulklink.operations.session import CrmSession
from bulklink.operations.shared_limit import SharedLimit
from tests.operations.local_crm import OWNER, LocalCrm, message, serve_crm
from tests.operations.test_org_lock import WaitingCallbacks

LIMIT = 4
CONTACTS = 24
SHARED = "1 other command on this machine contacts this org: the calls in flight are shared."


def world() -> World:
    """Return contacts with a deal and an email each."""
    numbers = range(CONTACTS)
    return parse_world(
        {
            "module_id": "5843104000000003735",
            "users": [{"id": OWNER, "full_name": "Patricia Boyle", "email": "p@us.example"}],
            "contacts": [{"id": contact(n), "name": f"c{n}", "email": ""} for n in numbers],
            "deals": [{"id": deal(n), "name": f"d{n}", "contact_id": contact(n)} for n in numbers],
            "emails": [
                {"contact_id": contact(n), "message_id": message(n), "owner_id": OWNER}
                for n in numbers
            ],
        }
    )


def contact(number: int) -> str:
    return f"58431040000043820{number:02}"


def deal(number: int) -> str:
    return f"58431040000043821{number:02}"


class CountingCrm(LocalCrm):
    """A CRM that counts calls in flight and answers them when told to.

    Attributes:
        held_back: kinds of calls that are not answered.
        may_answer: calls of these kinds that are answered nevertheless.
        in_flight: calls in flight by kind: link, read or other.
        most_in_flight: most calls that were in flight at once.
    """

    def __init__(self, crm_world: World) -> None:
        super().__init__(crm_world)
        self.held_back = set[str]()
        self.may_answer = Counter[str]()
        self.in_flight = Counter[str]()
        self.most_in_flight = 0
        self._changed = Signal()

    async def handle(self, request: Request) -> Answer:
        if request.path.startswith("/oauth"):  # requests for tokens do not count
            return await Crm.handle(self, request)
        kind = _KINDS.get(request.path.rpartition("/")[2], "other")
        self.in_flight[kind] += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight.total())
        self._changed.notify()
        try:
            await self.until(lambda: kind not in self.held_back or self.may_answer[kind] > 0)
            self.may_answer[kind] -= kind in self.held_back
            return await Crm.handle(self, request)
        finally:
            self.in_flight[kind] -= 1
            self._changed.notify()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until a condition about the calls holds."""
        while not condition():
            await self._changed.wait()

    def hold_back(self, *kinds: str) -> None:
        """Answer only the calls of other kinds."""
        self.held_back = set(kinds)
        self._changed.notify()

    def answer(self, kind: str, calls: int) -> None:
        """Answer some calls of a kind that is held back."""
        self.may_answer[kind] = calls
        self._changed.notify()


_KINDS = {"link_record": "link", "Emails": "read"}


class SharingCallbacks(RunCallbacks):
    """Tells when the calls in flight are shared.

    Attributes:
        warnings: all warnings.
        shared: set with the first one.
    """

    def __init__(self) -> None:
        self.warnings: list[str] = []
        self.shared = anyio.Event()

    def on_warning(self, text: str) -> None:
        self.warnings.append(text)
        self.shared.set()


@pytest.fixture
async def crm() -> AsyncIterator[CountingCrm]:
    """Serve a CRM for this test only."""
    crm = CountingCrm(world())
    async with serve_crm(crm):
        yield crm
        crm.hold_back()


@pytest.fixture
def connection(crm: CountingCrm) -> Connection:
    """Return the connection to it."""
    return crm.connection


def job_of(tmp_path: Path, numbers: range, name: str, **options: Any) -> Job:
    """Return a job that links the emails of some contacts."""
    path = tmp_path / f"{name}.csv"
    rows = [f"{contact(n)},{OWNER},{message(n)},{deal(n)}\n" for n in numbers]
    path.write_text("contact_id,owner_id,message_id,deal_id\n" + "".join(rows))
    settings: dict[str, Any] = {"op": "link", "concurrency": LIMIT, "snapshot": False} | options
    return Job(mappings=(str(path),), run_dir=tmp_path / name, **settings)


@asynccontextmanager
async def in_background(work: Callable[[], Awaitable[object]]) -> AsyncIterator[anyio.Event]:
    """Do some work during the block; yield an event that is set when it ends."""
    ended = anyio.Event()

    async def do() -> None:
        await work()
        ended.set()

    async with anyio.create_task_group() as group:
        group.start_soon(do)
        yield ended


async def test_a_verification_and_a_run_share_the_limit_and_both_progress(
    tmp_path: Path, crm: CountingCrm, connection: Connection
) -> None:
    """And once the verification has ended, the run has the whole limit."""
    await run(job_of(tmp_path, range(12), "first"), connection)
    sending, verifying = SharingCallbacks(), SharingCallbacks()

    async def send() -> None:
        await run(job_of(tmp_path, range(12, 24), "second"), connection, callbacks=sending)

    async def check() -> None:
        verified = await verify(
            *(tmp_path / "first", connection),
            callbacks=verifying,
            concurrency=LIMIT,
            settle_after=0,
        )
        assert verified.as_recorded == 12

    crm.hold_back("link", "read")
    async with in_background(send) as sent:
        await crm.until(lambda: crm.in_flight["link"] == LIMIT)
        async with in_background(check):
            await sending.shared.wait()
            crm.answer("link", LIMIT // 2)
            await crm.until(lambda: crm.in_flight == Counter(link=2, read=2))
            crm.hold_back("link")
        assert not sent.is_set()
        await crm.until(lambda: crm.in_flight["link"] == LIMIT)
        crm.hold_back()
    assert crm.most_in_flight == LIMIT
    assert sending.warnings == verifying.warnings == [SHARED]


async def test_a_verification_of_one_call_at_a_time_takes_one_place_from_a_run(
    tmp_path: Path, crm: CountingCrm, connection: Connection
) -> None:
    await run(job_of(tmp_path, range(12), "first"), connection)
    sending, verifying = SharingCallbacks(), SharingCallbacks()

    async def send() -> None:
        await run(job_of(tmp_path, range(12, 24), "second"), connection, callbacks=sending)

    async def check() -> None:
        await verify(
            *(tmp_path / "first", connection), callbacks=verifying, concurrency=1, settle_after=0
        )

    crm.hold_back("link", "read")
    async with in_background(send):
        await crm.until(lambda: crm.in_flight["link"] == LIMIT)
        async with in_background(check):
            await sending.shared.wait()
            crm.answer("link", 1)
            await crm.until(lambda: crm.in_flight == Counter(link=3, read=1))
            crm.hold_back()
    assert crm.most_in_flight == LIMIT
    assert verifying.warnings == [], "it has all the calls that it was given"


async def test_a_run_that_waits_for_its_org_takes_no_place_from_the_other(
    tmp_path: Path, crm: CountingCrm, connection: Connection
) -> None:
    sending, waiting, results = SharingCallbacks(), WaitingCallbacks(), list[str]()

    async def send() -> None:
        await run(job_of(tmp_path, range(12), "first"), connection, callbacks=sending)

    async def wait() -> None:
        second = job_of(tmp_path, range(12, 24), "second", wait_for_org=True)
        results.append((await run(second, connection, callbacks=waiting)).state)

    crm.hold_back("link")
    async with in_background(send):
        await crm.until(lambda: crm.in_flight["link"] == LIMIT)
        async with in_background(wait):
            await sending.shared.wait()
            crm.answer("link", LIMIT // 2)
            await waiting.waiting.wait()
            await crm.until(lambda: crm.in_flight["link"] == LIMIT)
            crm.hold_back()
    assert (results, crm.most_in_flight) == (["finished"], LIMIT)


async def test_a_command_that_waits_for_a_place_can_be_stopped(
    tmp_path: Path, crm: CountingCrm, connection: Connection
) -> None:
    await run(job_of(tmp_path, range(12), "first"), connection)
    other, verifying, stop = share_of_org(crm), SharingCallbacks(), StopController()

    async def check() -> None:
        verified = await verify(
            *(tmp_path / "first", connection),
            callbacks=verifying,
            stop=stop,
            concurrency=LIMIT,
            settle_after=0,
        )
        assert verified.stopped_by == "interrupted"

    await anyio.to_thread.run_sync(lambda: other.recount(LIMIT, held=LIMIT))
    async with in_background(check):
        await verifying.shared.wait()
        stop.interrupt()
    assert (await anyio.to_thread.run_sync(lambda: other.recount(LIMIT, held=LIMIT))).others == 0
    other.leave()


async def test_without_a_state_folder_the_limit_is_not_shared_with_one_warning(
    tmp_path: Path, crm: CountingCrm, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = tmp_path / "no-folder"
    state.write_text("a file")
    monkeypatch.setenv("XDG_STATE_HOME", str(state))
    callbacks = SharingCallbacks()

    async def send() -> None:
        await run(job_of(tmp_path, range(12), "first"), connection, callbacks=callbacks)

    crm.hold_back("link")
    async with in_background(send):
        await crm.until(lambda: crm.in_flight["link"] == LIMIT)
        crm.hold_back()
    assert sum("cannot be shared" in warning for warning in callbacks.warnings) == 1


def share_of_org(crm: LocalCrm) -> OrgShare:
    """Return a share of the CRM's org, taken by another command."""
    shares = OrgShares(Path(os.environ["XDG_STATE_HOME"]) / "bulklink" / "orgs")
    return shares.share_of(usage_key(crm.url, crm.world.org.id))


@pytest.fixture
def shares(tmp_path: Path) -> OrgShares:
    """Return the shares of a machine."""
    return OrgShares(tmp_path / "orgs")


def shared_limit(shares: OrgShares, **options: Any) -> SharedLimit:
    """Return the limit of a session, whose limiter is not needed."""
    stop = StopController()
    limiter = ConcurrencyLimiter(
        max_in_flight=LIMIT, max_per_second=None, stop=stop, clock=lambda: 0.0
    )
    settings: dict[str, Any] = {
        "limiter": limiter,
        "max_in_flight": LIMIT,
        "shares": shares,
        "stop": stop,
        "monotonic": lambda: 0.0,
        "run_blocking": anyio.to_thread.run_sync,
        "warn": lambda text: None,
    }
    return SharedLimit(**settings | options)


async def test_a_fair_share_is_taken_from_a_command_that_is_suspended(shares: OrgShares) -> None:
    suspended, seconds = shares.share_of("org"), count(step=4)
    await anyio.to_thread.run_sync(lambda: suspended.recount(LIMIT, held=0))
    limit = shared_limit(shares, monotonic=lambda: next(seconds))
    async with limit:
        await limit.join("org")
        assert limit.limiter.max_in_flight == LIMIT // 2
    suspended.leave()


def link_lock(folder: Path) -> None:
    """Replace the lock of the only org by a link."""
    (lock,) = folder.glob("*.calls/lock")
    lock.unlink()
    lock.symlink_to(folder / "elsewhere")


async def test_places_of_calls_in_flight_are_not_free(shares: OrgShares) -> None:
    """A place is given up when its call has ended, not before."""
    limit, other = shared_limit(shares), shares.share_of("org")

    async def places_of_other() -> int:
        await limit.resize(LIMIT - 1)  # it recounts twice
        await limit.resize(LIMIT)
        share = await anyio.to_thread.run_sync(lambda: other.recount(LIMIT, held=0))
        return share.places

    async with limit.limiter as limiter, limit:
        await limit.join("org")
        attempts = [await limiter.admit(limiter.new_call()) for _ in range(LIMIT)]
        for attempt in attempts:
            await limiter.acquire_slot(attempt)
        assert [await places_of_other() for _ in range(2)] == [0, 0]
        limiter.end(attempts[0])
        assert await places_of_other() == 1
        for attempt in attempts[1:]:
            limiter.end(attempt)
        assert await places_of_other() == LIMIT // 2
    other.leave()


@pytest.mark.parametrize("shares_limit", [True, False])
async def test_a_session_prepares_as_many_calls_as_it_may_have_once_it_is_alone(
    tmp_path: Path, crm: CountingCrm, connection: Connection, shares_limit: bool
) -> None:
    other, limit = share_of_org(crm), 100
    session = CrmSession(
        environment=real_environment(),
        connection=connection,
        job=job_of(tmp_path, range(1), "job", concurrency=limit),
        stop=StopController(),
        ledger_path=tmp_path / "ledger.jsonl",
        answers_path=tmp_path / "answers.jsonl",
        shares_limit=shares_limit,
    )
    await anyio.to_thread.run_sync(lambda: other.recount(LIMIT, held=0))
    async with session:
        await session.look_up_org()
        assert session.limiter.max_in_flight == limit - LIMIT * shares_limit
        assert session.workers == worker_count(limit)
    other.leave()


async def test_a_share_that_cannot_be_recounted_is_given_up(
    tmp_path: Path, shares: OrgShares
) -> None:
    warnings, other = list[str](), shares.share_of("org")
    limit = shared_limit(shares, warn=warnings.append)
    async with limit:
        await limit.join("org")
        await anyio.to_thread.run_sync(lambda: other.recount(LIMIT, held=0))
        await limit.resize(LIMIT + 2)
        assert limit.limiter.max_in_flight == (LIMIT + 2) // 2
        await anyio.to_thread.run_sync(link_lock, tmp_path / "orgs")
        await limit.resize(LIMIT + 1)
        await limit.join("another org")
        assert limit.limiter.max_in_flight == LIMIT + 1
    assert [warning.partition("(")[0] for warning in warnings] == [
        SHARED,
        "The calls in flight cannot be shared with other commands on this machine ",
    ]
    other.leave()
