"""Commands that contact an org at the same time share its calls in flight."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulklink import Job, Op, RunCallbacks, StopController, run, verify
from bulklink.emulator.http import Answer, Request
from bulklink.emulator.world import World
from bulklink.errors import RunDirError
from bulklink.operations import cancellation, org_share
from bulklink.operations.org_share import OrgShares, calls_share
from tests.operations.local_crm import OWNER, LocalCrm, message, serve_crm
from tests.operations.sharded_jobs import (
    CONTACT_IDS,
    DEAL_OF,
    row_contacts,
    sharded_world,
)

KEY = "crm 58"
_EMAILS = 20
"""Emails of each contact: a run has enough of any two to fill its places."""


def test_each_participant_counts_the_others_until_they_leave(tmp_path: Path) -> None:
    shares = OrgShares(tmp_path / "orgs")
    first, second = shares.join(KEY), shares.join(KEY)
    other = shares.join("another org")
    assert (first.count(), second.count(), other.count()) == (2, 2, 1)
    third = shares.join(KEY)
    assert (first.count(), third.count()) == (3, 3)
    second.leave()
    third.leave()
    assert first.count() == 1
    first.leave()
    other.leave()
    assert list((tmp_path / "orgs").glob("*/*")) == []


def test_what_a_killed_process_left_behind_does_not_count_and_goes(tmp_path: Path) -> None:
    shares = OrgShares(tmp_path)
    share = shares.join(KEY)
    (folder,) = tmp_path.iterdir()
    (folder / "0123456789abcdef.part").touch()
    (folder / "fedcba9876543210.part").symlink_to(tmp_path / "elsewhere")
    assert share.count() == 1
    assert share.count() == 1
    assert not (folder / "0123456789abcdef.part").exists()
    assert not (tmp_path / "elsewhere").exists()


def test_a_folder_of_participants_that_is_a_link_is_refused(tmp_path: Path) -> None:
    shares = OrgShares(tmp_path / "orgs")
    shares.join(KEY).leave()
    (folder,) = (tmp_path / "orgs").iterdir()
    folder.rmdir()
    (tmp_path / "elsewhere").mkdir()
    folder.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RunDirError, match="symbolic link"):
        shares.join(KEY)


@given(st.lists(st.integers(1, 25), min_size=1, max_size=30))
def test_shares_never_exceed_the_highest_limit_while_there_are_places(
    limits: list[int],
) -> None:
    total = sum(calls_share(limit, len(limits)) for limit in limits)
    assert total <= max(max(limits), len(limits))
    assert all(calls_share(limit, 1) == limit for limit in limits)


class GatedCrm(LocalCrm):
    """A CRM that holds link calls until they may pass, and counts calls.

    Attributes:
        in_flight: calls in flight.
        most: the most of them at the same time since it was reset.
        passes: link calls that may pass.
        held: link calls that wait until they may.
    """

    def __init__(self, crm_world: World) -> None:
        super().__init__(crm_world)
        self.in_flight = 0
        self.most = 0
        self.passes = 1000
        self.held = 0
        self._changed = anyio.Event()

    async def handle(self, request: Request) -> Answer:
        # A command knows its org only after it has looked it up.
        is_counted = not request.path.endswith("/org") and "oauth" not in request.path
        self._count(int(is_counted))
        try:
            if request.path.endswith("link_record"):
                await self._pass()
            return await super().handle(request)
        finally:
            self._count(-int(is_counted))

    def let_pass(self, calls: int) -> None:
        """Let further link calls pass."""
        self.passes += calls
        self._count()

    async def _pass(self) -> None:
        self._count(held=1)
        await self.wait_until(lambda: self.passes > 0)
        self.passes -= 1
        self._count(held=-1)

    async def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait until a condition on the counts holds."""
        while not condition():
            await self._changed.wait()

    def _count(self, in_flight: int = 0, held: int = 0) -> None:
        self.in_flight += in_flight
        self.held += held
        self.most = max(self.most, self.in_flight)
        self._changed.set()
        self._changed = anyio.Event()


class SharingCallbacks(RunCallbacks):
    """Waits for the warning that calls are shared.

    Attributes:
        shared: set then.
        warnings: all warnings.
    """

    def __init__(self) -> None:
        self.shared = anyio.Event()
        self.warnings: list[str] = []

    def on_warning(self, text: str) -> None:
        self.warnings.append(text)
        self.shared.set()


class RoomyStop(StopController):
    """Lets a newcomer wait until the other command has made room, however slow the machine is.

    Args:
        crm: the CRM that both contact.
        other: callbacks of the other command.
    """

    def __init__(self, crm: GatedCrm, other: SharingCallbacks) -> None:
        super().__init__()
        self._crm, self._other = crm, other

    async def sleep(self, seconds: float, *, completes_relink: bool = False) -> None:
        if seconds != org_share.SETTLE_SECONDS:
            await super().sleep(seconds, completes_relink=completes_relink)
            return
        await self._other.shared.wait()
        assert self._crm.in_flight == 4, "calls in flight are not affected"
        self._crm.let_pass(2)
        await self._crm.wait_until(lambda: self._crm.in_flight == 2)


def links(tmp_path: Path, name: str, contacts: Sequence[str]) -> Job:
    """Return a job that links the emails of some contacts, one in each call."""
    path = tmp_path / f"{name}.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["contact_id", "owner_id", "message_id", "deal_id"])
        for row, contact in enumerate(row_contacts(_EMAILS), 1):
            if contact in contacts:
                writer.writerow([contact, OWNER, message(row), DEAL_OF[contact]])
    options: dict[str, Any] = {"batch_size": 1, "canary": 0, "snapshot": False, "rate": None}
    return Job(mappings=(str(path),), op=Op.LINK, run_dir=tmp_path / name, concurrency=4, **options)


async def test_a_verification_beside_a_run_shares_its_calls_in_flight(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cancellation, "SAMPLE_SECONDS", 0.05)
    crm = GatedCrm(sharded_world(_EMAILS))
    sending, verifying = SharingCallbacks(), SharingCallbacks()
    async with serve_crm(crm):
        await run(links(tmp_path, "linked", CONTACT_IDS[:2]), crm.connection)
        crm.passes = 20  # the first calls of a run are few until they are answered
        async with anyio.create_task_group() as group:
            sent = links(tmp_path, "sent", CONTACT_IDS[2:])
            group.start_soon(partial(run, sent, crm.connection, callbacks=sending))
            await crm.wait_until(lambda: crm.held == 4 and not crm.passes)
            crm.most = 0
            result = await verify(
                tmp_path / "linked",
                crm.connection,
                callbacks=verifying,
                stop=RoomyStop(crm, sending),
                concurrency=4,
                settle_after=0.0,
            )
            assert result.as_recorded == 2 * _EMAILS
            assert 2 < crm.most <= 4
            await crm.wait_until(lambda: crm.held == 4)  # the run has the whole limit again
            crm.let_pass(len(CONTACT_IDS) * _EMAILS)
    for callbacks in (sending, verifying):
        (warning,) = callbacks.warnings
        assert "share the calls in flight, 2 for this one" in warning
