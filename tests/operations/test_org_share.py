"""Commands that contact an org at the same time share its calls in flight."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulklink import Op, RunCallbacks, apply, verify
from bulklink.emulator.http import Answer, Request
from bulklink.emulator.world import World
from bulklink.errors import RunDirError
from bulklink.operations import cancellation, org_share
from bulklink.operations.org_share import OrgShares, calls_share
from tests.operations.local_crm import LocalCrm, serve_crm
from tests.operations.sharded_jobs import CONTACT_IDS, seal, sharded_world

KEY = "crm 58"


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


class CountingCrm(LocalCrm):
    """A CRM whose calls take a while, and are counted.

    Attributes:
        in_flight: calls in flight.
        most: the most of them at the same time since it was reset.
        changed: set when a call that changes links arrives.
    """

    def __init__(self, crm_world: World) -> None:
        super().__init__(crm_world)
        self.in_flight = 0
        self.most = 0
        self.changed = anyio.Event()

    async def handle(self, request: Request) -> Answer:
        # A command knows its org only after it has looked it up.
        is_counted = not request.path.endswith("/org") and "oauth" not in request.path
        is_change = "link_record" in request.path or "unlink" in request.path
        if is_change:
            self.changed.set()
        self.in_flight += is_counted
        self.most = max(self.most, self.in_flight)
        try:
            await anyio.sleep(0.1)
            return await super().handle(request)
        finally:
            self.in_flight -= is_counted


class SharingCallbacks(RunCallbacks):
    """Records warnings."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def on_warning(self, text: str) -> None:
        self.warnings.append(text)


async def test_a_verification_beside_a_run_shares_its_calls_in_flight(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(org_share, "SETTLE_SECONDS", 1.0)
    monkeypatch.setattr(cancellation, "SAMPLE_SECONDS", 0.05)
    options: dict[str, Any] = {"concurrency": 4, "rate": None}
    crm = CountingCrm(sharded_world())
    async with serve_crm(crm):
        linked = await seal(tmp_path, **options)
        await apply(linked, crm.connection)
        linked.path.rename(tmp_path / "linked")
        unlinked = await seal(
            tmp_path, dict.fromkeys(CONTACT_IDS, Op.UNLINK), batch_size=1, **options
        )
        crm.most, crm.changed = 0, anyio.Event()
        sending, verifying = SharingCallbacks(), SharingCallbacks()
        async with anyio.create_task_group() as group:
            group.start_soon(partial(apply, unlinked, crm.connection, callbacks=sending))
            await crm.changed.wait()
            await verify(
                tmp_path / "linked",
                crm.connection,
                callbacks=verifying,
                concurrency=4,
                settle_after=0.0,
            )
            assert crm.most == 4
            crm.most = 0
        assert crm.most == 4, "the run has the whole limit again"
    for callbacks in (sending, verifying):
        (warning,) = set(callbacks.warnings)  # of each shard that is sent meanwhile
        assert "share the calls in flight, 2 for this one" in warning
